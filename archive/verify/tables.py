"""Verification of the small tables: structures, models, headers, events, settings; a part of `verify`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.history.changed_rows import column_names, read_fields
from barospec.archive.history.restore import table_records
from barospec.archive.store.settings import read_settings
from barospec.archive.store.table_schema import MISSING_INT, TABLES
from barospec.archive.verify.spectra import TODO, KnownRows, number_of
from barospec.schemas.vocabulary import BY_NAME, STATUSES

if TYPE_CHECKING:
    from barospec.archive.store.read import Group
    from barospec.archive.verify.report import Verified

# Table -> the column that names a record, and the tables whose records belong to one of its revisions.
FAMILIES = (("structures", "structure_id", ("sites", "bonds")), ("models", "model_id", ("model_parameters",)))


def check_records(root: Group, known: KnownRows, report: Verified, progress: Callable[[str, int, int], None]) -> None:
    """Check all small tables of a snapshot."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for done, table in enumerate(name for name in TABLES if name not in ("headers", "sheets")):
        progress(table, done, len(TABLES))
        try:
            tables[table] = table_records(root, table)
            report.count("records", len(tables[table]))
        except Exception as error:
            report.blame(f"/tables/{table}", f"it cannot be read: {' '.join(str(error).split())[:200]}")
    for table, records in tables.items():
        for row, record in enumerate(records):
            status = record.get("status") or "active"
            if status not in (*STATUSES, "removed"):
                report.blame(f"/tables/{table}[{row}]", f'its status is "{status}"', TODO)
    for table, key, parts in FAMILIES:
        _check_family(table, key, parts, tables, report)
    _check_headers(root, report, progress)
    try:
        read_settings(root)
    except Exception as error:
        report.blame("/tables/settings", f"they cannot be read: {error}")
    try:
        _check_events(root, tables.get("events", []), known, report)
    except Exception as error:
        report.blame("/tables/events", f"they cannot be read: {' '.join(str(error).split())[:200]}")


def _check_family(
    table: str, key: str, parts: tuple[str, ...], tables: Mapping[str, list[dict[str, Any]]], report: Verified
) -> None:
    records = tables.get(table, [])
    revisions = [(record[key], record["revision"]) for record in records]
    active = [record[key] for record in records if record["status"] == "active"]
    for name in {pair for pair in revisions if revisions.count(pair) > 1}:
        report.blame(f"/tables/{table}", f"{name[0]} has revision {name[1]} twice", TODO)
    for name in {name for name in active if active.count(name) > 1}:
        report.blame(f"/tables/{table}", f"{name} is active twice", TODO)
    there = set(revisions)
    for part in parts:
        for row, record in enumerate(tables.get(part, [])):
            if (record[key], record["revision"]) not in there:
                report.blame(f"/tables/{part}[{row}]", f"it belongs to {record[key]}, which is missing", TODO)


def _check_headers(root: Group, report: Verified, progress: Callable[[str, int, int], None]) -> None:
    try:
        records = table_records(root, "headers")
    except Exception as error:
        report.blame("/tables/headers", f"it cannot be read: {' '.join(str(error).split())[:200]}")
        return
    for row, record in enumerate(records):
        if row % 4096 == 0:
            progress("headers", row, len(records))
        if record["sha256"] and hashlib.sha256(record["text"].encode()).hexdigest() != record["sha256"]:
            report.blame(f"/tables/headers[{row}]", "its text is not what was written (sha256)")
    report.count("records", len(records))


def _check_events(root: Group, events: list[dict[str, Any]], known: KnownRows, report: Verified) -> None:
    """Check that events can be read, name existing spectra, and agree with the current values of fields."""
    there = known.find()
    last: dict[tuple[int, int], dict[str, Any]] = {}
    for row, record in enumerate(events):
        where = f"/tables/events[{row}]"
        if record["time"] == MISSING_INT or not record["action"]:
            report.blame(where, "its time or action is missing", TODO)
        try:
            details = json.loads(record["details"] or "{}")
        except ValueError:
            report.blame(where, "its details are not JSON")
            continue
        identifier = number_of(record["subject"])
        if not identifier:
            continue
        if identifier not in there:
            report.blame(where, f"it names spectrum {record['subject']}, which is missing", TODO)
        elif record["action"] in ("set", "restore") and isinstance(details.get("changed"), dict):
            fields = last.setdefault((identifier, int(details.get("revision", 1))), {})
            fields.update({name: item["new"] for name, item in details["changed"].items()})
    _compare_last(root, last, known, report)


def _compare_last(
    root: Group, last: Mapping[tuple[int, int], Mapping[str, Any]], known: KnownRows, report: Verified
) -> None:
    """Compare values of the rows that events edited with the events."""
    wanted = np.array(sorted({identifier for identifier, _ in last}), dtype=np.uint64)
    for ids, revisions, (key, start) in zip(known.ids, known.revisions, known.places, strict=True):
        for place in np.flatnonzero(np.isin(ids, wanted)):
            stated = last.get((int(ids[place]), int(revisions[place])))
            if stated is None:
                continue
            names = [name for name in stated if name in BY_NAME and BY_NAME[name].need != "system"]
            held = read_fields(root, key, np.array([start + place]), [n for n in names if n in column_names(root, key)])
            for name in names:
                value = held.get(name, [None])[0]
                if value != stated[name]:
                    what = f"{name} is {value}, but the last event has {stated[name]}"
                    report.blame(f"/spectra/{key}[{start + place}] ({int(ids[place]):016x})", what, TODO)
