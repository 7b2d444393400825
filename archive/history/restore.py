"""Restore an earlier state as a new commit, without loss of history.

Rows never move or vanish. Spectra added later are marked ``reverted``: queries neither find nor count them, their ids and
revisions are not used again, and ingesting the same file again brings them back. Edited fields are set back; saved queries
and settings get a new revision with the old content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.history.changed_rows import Rows, column_names, read_fields, touched, within
from barospec.archive.history.restore_derived import restore_derived
from barospec.archive.store.annotation_events import Remarks, fold
from barospec.archive.store.events import event
from barospec.archive.store.read import count_records, read_table
from barospec.archive.store.repository import Store, Transaction, microseconds
from barospec.archive.store.settings import append_settings, read_settings
from barospec.archive.store.table_schema import TABLES
from barospec.archive.store.write import Writer

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

# Tables whose records are reverted by their status.
WITH_STATUS = tuple(name for name, kinds in TABLES.items() if "status" in kinds and "name" not in kinds)


@dataclass(slots=True)
class Restored:
    """Result of restoring an earlier state, done or dry run.

    Attributes
    ----------
    target : str
        The snapshot whose state it is.
    parent : str
        The snapshot that was the newest before; restoring it undoes this.
    taken_back : int
        Spectra (rows) that were added later.
    set_back : int
        Spectra whose fields or status were changed since.
    records : dict
        Small table -> records that changed.
    """

    target: str
    parent: str
    taken_back: int = 0
    set_back: int = 0
    records: dict[str, int] = field(default_factory=dict)
    snapshot: str | None = None

    @property
    def same(self) -> bool:
        """True if the archive was in that state already."""
        return not (self.taken_back or self.set_back or self.records)


def restore_state(store: Store, target: str, *, name: str = "", reason: str = "", dry_run: bool = False) -> Restored:
    """Make the state of an earlier snapshot the newest one, in one commit.

    Parameters
    ----------
    store : Store
    target : str
        A snapshot.
    name : str
        Its name, a tag or a date, for the history.
    reason : str
    dry_run : bool
        Only report what would be done.
    """

    def write(work: Transaction) -> Restored:
        report = Restored(target, work.parent)
        _bring_back(store, work, report, name or target, reason)
        if dry_run or report.same:
            return report
        details = {
            "snapshot": target,
            "taken_back": report.taken_back,
            "set_back": report.set_back,
            "records": report.records,
        }
        record = event("restore", name or target, microseconds(), reason=reason, details=details)
        Writer(work.root, work.changes).append_table("events", [record])
        parts = [f"{report.taken_back} spectra taken back"] if report.taken_back else []
        parts += [f"{report.set_back} set back"] if report.set_back else []
        parts += [f"{count} {table}" for table, count in sorted(report.records.items())]
        why = f" ({reason})" if reason else ""
        work.message = f"restored to {name or target}: {', '.join(parts)}{why}"
        work.metadata = {"counts": {"taken_back": report.taken_back, "set_back": report.set_back}, "restored": target}
        return report

    report, snapshot = store.write("restore", write)
    report.snapshot = snapshot
    return report


def _bring_back(store: Store, work: Transaction, report: Restored, name: str, reason: str) -> None:
    then = store.read(report.target)
    writer = Writer(work.root, work.changes)
    found = touched(store, report.target, work.parent)
    for key, rows in sorted(found.rows.items()):
        present = within(work.root, key, rows)
        old = within(then, key, present)
        _take_back(writer, key, present[len(old) :], report)
        _set_back(then, writer, key, old, report, name, reason)
    for table in WITH_STATUS:
        _take_back_records(then, writer, table, report)
    _saved_again(then, writer, report, name)
    _remarks_again(then, writer, report, name)
    report.records |= restore_derived(then, writer, f"restored to {name}")
    before, now = read_settings(then), read_settings(work.root)
    if fresh := {key: value for key, value in before.items() if now[key] != value}:
        append_settings(work, fresh, f"restored to {name}")
        report.records["settings"] = len(fresh)


def _take_back(writer: Writer, key: str, rows: Rows, report: Restored) -> None:
    statuses = read_fields(writer.root, key, rows, ["status"])["status"]
    later = [int(row) for row, status in zip(rows, statuses, strict=True) if status not in ("reverted", "purged")]
    if later:
        writer.edit_spectra(key, later, {"status": "reverted"})
        report.taken_back += len(later)


def _set_back(then: Group, writer: Writer, key: str, rows: Rows, report: Restored, name: str, reason: str) -> None:
    """Set back differing fields of rows that existed then."""
    if not len(rows):
        return
    names = sorted({*column_names(then, key), *column_names(writer.root, key)})
    changed: dict[int, dict[str, Any]] = {}
    for column in names:
        was, now = (read_fields(root, key, rows, [column])[column] for root in (then, writer.root))
        differ = [place for place, (a, b) in enumerate(zip(was, now, strict=True)) if a != b]
        if differ:
            writer.edit_each(key, column, [int(rows[place]) for place in differ], [was[place] for place in differ])
        for place in differ:
            changed.setdefault(place, {})[column] = {"old": now[place], "new": was[place]}
    if changed:
        ids = read_fields(then, key, rows, ["spectrum_id", "revision"])
        now_us = microseconds()
        records = []
        for place, fields in sorted(changed.items()):
            details = {"revision": ids["revision"][place], "changed": fields, "to": name}
            records.append(event("restore", ids["spectrum_id"][place], now_us, reason=reason, details=details))
        writer.append_table("events", records)
        report.set_back += len(changed)


def _take_back_records(then: Group, writer: Writer, table: str, report: Restored) -> None:
    """Revert later records of a table; set back the status of the others."""
    now = [str(status) for status in read_table(writer.root, table, ["status"])["status"]]
    was = [str(status) for status in read_table(then, table, ["status"])["status"]]
    wanted = was + ["reverted"] * (len(now) - len(was))
    edits: dict[str, list[int]] = {}
    for row, (a, b) in enumerate(zip(now, wanted, strict=True)):
        if a != b and a != "purged":
            edits.setdefault(b, []).append(row)
    for status, rows in edits.items():
        writer.edit_table(table, rows, {"status": status})
    if edits:
        report.records[table] = sum(map(len, edits.values()))


def _saved_again(then: Group, writer: Writer, report: Restored, name: str) -> None:
    """Restore saved queries: a new record for each that differs."""
    was, now = newest_saved(then), newest_saved(writer.root)
    records = []
    for key, record in now.items():
        old = was.get(key)
        if old is None:
            if record["status"] == "active":
                records.append({**record, "status": "removed"})
        elif (old["query"], old["status"]) != (record["query"], record["status"]):
            records.append(dict(old))
    for record in records:
        record |= {
            "revision": now[record["name"]]["revision"] + 1,
            "time": microseconds(),
            "reason": f"restored to {name}",
        }
    if records:
        from barospec.archive.store.repository import current_user

        writer.append_table("saved", [{**record, "author": current_user()} for record in records])
        report.records["saved"] = len(records)


def _remarks_again(then: Group, writer: Writer, report: Restored, name: str) -> None:
    """Restore flags, labels and notes: an event for each spectrum that has others now."""
    was, now = (fold(_events(root)) for root in (then, writer.root))
    differ = {
        subject: was.get(subject, Remarks()) for subject, held in now.items() if held != was.get(subject, Remarks())
    }
    if differ:
        moment = microseconds()
        records = [
            event("annotate", subject, moment, reason=f"restored to {name}", details=held.to_dict())
            for subject, held in differ.items()
        ]
        writer.append_table("events", records)
        report.records["flags, labels and notes"] = len(differ)


def _events(root: Group) -> Iterator[tuple[str, str, str, str]]:
    table = read_table(root, "events", ["action", "subject", "reason", "details"])
    for action, subject, reason, details in zip(*table.values(), strict=True):
        yield str(action), str(subject), str(reason), str(details)


def newest_saved(root: Group) -> dict[str, dict[str, Any]]:
    """Return the newest record of each saved query by name, removed ones included."""
    found: dict[str, dict[str, Any]] = {}
    for record in table_records(root, "saved"):
        if record["revision"] > found.get(record["name"], {"revision": 0})["revision"]:
            found[record["name"]] = record
    return found


def table_records(
    root: Group, table: str, columns: Sequence[str] | None = None, start: int = 0
) -> list[dict[str, Any]]:
    """Read records of a small table from the row `start` on, as plain values: "" and NaN where unknown."""
    if count_records(root, table) <= start:
        return []
    read = read_table(root, table, columns)
    names = list(read)
    return [
        {
            name: value.item() if isinstance(value, np.generic) else str(value)
            for name, value in zip(names, row, strict=True)
        }
        for row in zip(*(column[start:] for column in read.values()), strict=True)
    ]
