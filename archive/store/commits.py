"""Commit metadata: author, time, message, changed rows. The store writes and reads them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from barospec.schemas.errors import InvalidData

InsertedRows = Mapping[str, Any]  # arrays of one length, by column


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of the history."""

    snapshot: str
    parent: str | None
    message: str
    time: datetime
    metadata: Mapping[str, Any]


@dataclass(slots=True)
class Changes:
    """Rows changed by a transaction: enough to update an index from the parent snapshot to this one.

    ``written`` has the columns of the new rows of a group, as stored, if they are in memory and few; the next index
    uses it and reads the rest from the store.
    """

    appended: dict[str, tuple[int, int]] = field(default_factory=dict)
    edited: dict[str, set[int]] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    written: dict[str, InsertedRows] = field(default_factory=dict)

    def append(self, group: str, start: int, stop: int, written: InsertedRows | None = None) -> None:
        """Add new rows `start` to `stop` of `group`; within one transaction they are contiguous."""
        first = self.appended.get(group, (start, start))[0]
        self.appended[group] = (first, stop)
        self.written.pop(group, None)
        if written is not None and first == start:
            self.written[group] = written

    def edit(self, group: str, rows: Iterable[int]) -> None:
        """Add edited rows of `group`."""
        self.edited.setdefault(group, set()).update(map(int, rows))
        self.written.pop(group, None)

    def to_dict(self) -> dict[str, Any]:
        """Return the form stored in the commit's metadata."""
        return {
            "appended": {key: list(span) for key, span in sorted(self.appended.items())},
            "edited": {key: sorted(rows) for key, rows in sorted(self.edited.items())},
            "tables": sorted(self.tables),
        }


def current_user() -> str:
    """Return the actor for the history: ``BAROSPEC_ACTOR``, or the login name."""
    try:
        return os.environ.get("BAROSPEC_ACTOR") or getpass.getuser()
    except (KeyError, OSError):  # a container without a user entry
        return "unknown"


def now_text() -> str:
    """Return the current time in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def microseconds() -> int:
    """Return the current time as stored: microseconds since 1970, UTC."""
    return int(datetime.now(UTC).timestamp() * 1e6)


def parse_date(text: str) -> datetime | None:
    """Parse a date; a day without time means its end (UTC). Return None if it is not a date.

    >>> parse_date("2026-03-01"), parse_date("v1")
    (datetime.datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=datetime.timezone.utc), None)
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if len(text.strip()) <= 10:
        found = found.replace(hour=23, minute=59, second=59, microsecond=999999)
    return found.replace(tzinfo=found.tzinfo or UTC)


def in_order(value: Any) -> Any:
    """Sort maps, which the store returns in any order, so that equal histories have equal text."""
    return {key: in_order(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def check_name(name: str, what: str) -> str:
    """Return a name that may be part of a path: letters, digits, ``. _ -``; raise otherwise."""
    if not name or name.startswith(".") or not all(char.isalnum() or char in "._-" for char in name):
        raise InvalidData(f'{what} "{name}" must be letters, digits, ".", "_" or "-".')
    return name
