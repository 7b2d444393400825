"""Permanent names of snapshots, each with author, time and message."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from barospec.archive.history.restore import table_records
from barospec.archive.store.events import event
from barospec.archive.store.repository import Store, Transaction, microseconds
from barospec.archive.store.write import Writer
from barospec.schemas.errors import CallError, Conflict, NotFound, did_you_mean

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SNAPSHOT = re.compile(r"[0-9A-HJKMNP-TV-Z]{20}")


@dataclass(frozen=True, slots=True)
class Tag:
    """A name of a snapshot; author and time are empty if another program gave it."""

    name: str
    snapshot: str
    message: str = ""
    author: str = ""
    time: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def read_tags(store: Store, root: Group) -> list[Tag]:
    """Return all tags by name, with author, time and message from the history at `root`."""
    records: dict[tuple[str, str], dict[str, Any]] = {}
    for record in table_records(root, "events"):
        if record["action"] == "tag":
            records[record["subject"], json.loads(record["details"]).get("snapshot", "")] = record
    found = []
    for name, snapshot in store.location.tags().items():
        known = records.get((name, snapshot))
        if known is None:
            found.append(Tag(name, snapshot))
        else:
            time = datetime.fromtimestamp(known["time"] / 1e6, UTC).replace(tzinfo=None)
            found.append(Tag(name, snapshot, known["reason"], known["actor"], time))
    return found


def make_tag(store: Store, name: str, at: str | None = None, *, message: str = "") -> tuple[Tag, str | None]:
    """Give a snapshot a permanent name; a separate commit keeps message, author and time.

    Parameters
    ----------
    store : Store
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    at : str, optional
        Tag, snapshot or date; default: the newest snapshot.
    message : str
        Purpose of the tag.

    Returns
    -------
    Tag, str or None
        The tag and its commit; None if both existed already.

    Raises
    ------
    CallError
        The name is invalid.
    Conflict
        The name is or was in use for another snapshot: a tag never changes its meaning.
    """
    check_tag_name(name)

    def write(work: Transaction) -> Tag:
        snapshot = work.parent if at is None else store.resolve(at)
        there = store.location.tags().get(name)
        if there is not None and (there != snapshot and at is not None):
            raise Conflict(f'tag "{name}" is of snapshot {there}, and a tag never moves. Use another name.')
        if there is not None:
            tag = next(tag for tag in read_tags(store, work.root) if tag.name == name)
            if at is None and tag.author:
                raise Conflict(f'there is a tag "{name}" already, of snapshot {there}. Use another name.')
            if tag.author:  # without it, an earlier attempt ended between the tag and its record
                return tag
            snapshot = there
        else:
            store.tag(name, snapshot)
        now = microseconds()
        record = event("tag", name, now, reason=message, details={"snapshot": snapshot})
        Writer(work.root, work.changes).append_table("events", [record])
        work.message = f"tag {name}" + (f": {message}" if message else "")
        return Tag(
            name, snapshot, message, record["actor"], datetime.fromtimestamp(now / 1e6, UTC).replace(tzinfo=None)
        )

    return store.write("tag", write)


def delete_tag(store: Store, name: str, *, reason: str = "") -> tuple[str, str | None]:
    """Remove a name; its snapshot stays until `gc`. Return its snapshot and the commit of the removal.

    Raises
    ------
    NotFound
        There is no such tag.
    """
    tags = store.location.tags()
    deleted: set[str] = set()  # the tag is gone, though the record of it may have to be written again

    def write(work: Transaction) -> str:
        if name not in tags:
            raise NotFound(f'there is no tag "{name}".{did_you_mean(name, list(tags))} `barospec tag` lists them.')
        record = event("untag", name, microseconds(), reason=reason, details={"snapshot": tags[name]})
        Writer(work.root, work.changes).append_table("events", [record])
        work.message = f"tag {name} deleted" + (f": {reason}" if reason else "")
        if name not in deleted:
            store.untag(name)
            deleted.add(name)
        return tags[name]

    return store.write("tag", write)


def check_tag_name(name: str) -> None:
    """Raise CallError unless `name` is a valid tag.

    >>> check_tag_name("v1.0-submitted")
    """
    if not NAME.fullmatch(name):
        raise CallError(
            f'"{name}" cannot be a tag: letters, digits, ".", "_" and "-", at most 100, a letter or digit first.'
        )
    if SNAPSHOT.fullmatch(name) or _is_date(name):
        raise CallError(f'"{name}" looks like a snapshot or a date. Use another name, such as v-{name}.')


def _is_date(name: str) -> bool:
    try:
        datetime.fromisoformat(name)
    except ValueError:
        return False
    return True
