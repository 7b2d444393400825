"""Ingest of structures, literature values and run sheets, beside the spectra."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from barospec.archive.ingest.prepared import Prepared, PreparedSpectrum
from barospec.archive.store.read import highest_revisions, read_table
from barospec.archive.store.repository import Transaction
from barospec.archive.store.write import Writer
from barospec.archive.structures.structures import Structure, bonds
from barospec.schemas.records import Problem
from barospec.schemas.values import show_value
from barospec.schemas.vocabulary import SETTABLE

if TYPE_CHECKING:
    from barospec.archive.ingest.report import IngestReport
    from barospec.archive.store.known_row import ExistingRow


def new_structures(
    work: Transaction, records: Sequence[Structure], replace: bool, report: IngestReport
) -> list[tuple[Structure, int]]:
    """Return structures that the archive does not have, with their revision."""
    table = read_table(work.root, "structures", ["structure_id", "source_sha256", "status", "revision"])
    held = {
        str(name): (str(digest), int(revision))
        for name, digest, status, revision in zip(*table.values(), strict=True)
        if status == "active"
    }
    highest = highest_revisions(table["structure_id"], table["revision"])
    fresh: list[tuple[Structure, int]] = []
    for record in records:
        before = held.get(record.structure_id)
        digest = structure_sha256(record)
        if before is None:
            fresh.append((record, highest.get(record.structure_id, 0) + 1))
        elif before[0] == digest:
            report.unchanged += 1
            continue
        elif replace:
            fresh.append((record, highest[record.structure_id] + 1))
            report.replaced += 1
        else:
            report.conflicts += 1
            report.problems.append(
                Problem(
                    "error",
                    f"structure {record.structure_id} is in the archive with other values; --replace makes a revision.",
                )
            )
            continue
        held[record.structure_id] = (digest, fresh[-1][1])
        highest[record.structure_id] = fresh[-1][1]
    return fresh


def structure_sha256(record: Structure) -> str:
    """Return the fingerprint of a structure's content."""
    return hashlib.sha256(repr(record).encode()).hexdigest()


def write_structures(writer: Writer, records: Sequence[tuple[Structure, int]], now: int) -> None:
    if not records:
        return
    replaced = {record.structure_id for record, revision in records if revision > 1}
    if replaced:
        held = read_table(writer.root, "structures", ["structure_id", "status"])
        rows_held = enumerate(zip(held["structure_id"], held["status"], strict=True))
        old = [row for row, (name, status) in rows_held if str(name) in replaced and str(status) == "active"]
        if old:
            writer.edit_table("structures", old, {"status": "superseded"})
    lattice = ("structure_id", "material", "space_group", "a", "b", "c", "alpha", "beta", "gamma", "volume")
    facts = (*lattice, "pressure", "pressure_sigma", "temperature", "source", "source_file", "origin", "note")
    rows = []
    sites: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for record, revision in records:
        row = {name: getattr(record, name, None) for name in facts}
        row |= {"status": "active", "revision": revision, "source_sha256": structure_sha256(record), "ingested": now}
        rows.append(row)
        common = {"structure_id": record.structure_id, "revision": revision}
        for site in record.sites:
            place = {name: getattr(site, name) for name in ("label", "element", "x", "y", "z", "occupancy")}
            sites.append({**common, **place})
        for bond in bonds(record):
            found.append({
                **common, "bond": bond.bond, "site": bond.site, "neighbor": bond.neighbor,
                "bond_length": bond.bond_length, "multiplicity": bond.multiplicity,
            })  # fmt: skip
    writer.append_table("structures", rows)
    if sites:
        writer.append_table("sites", sites)
    if found:
        writer.append_table("bonds", found)


def new_literature(work: Transaction, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return literature values that the archive does not have in the same words."""
    compared = ("quantity", "material", "value", "value_unit", "source", "quote")
    table = read_table(work.root, "literature", (*compared, "status"))
    rows = zip(*table.values(), strict=True)
    held = {tuple(_plain(value) for value in row) for *row, status in rows if str(status) == "active"}
    fresh = []
    for record in records:
        key = tuple(_plain(record.get(name)) for name in compared)
        if key not in held:
            held.add(key)
            fresh.append(dict(record))
    return fresh


def _plain(value: Any) -> str:
    return "" if value is None else f"{float(value):.15g}" if not isinstance(value, str) else value


def write_sheets(
    writer: Writer, work: Transaction, prepared: Prepared, plan: Sequence[PreparedSpectrum], now: int
) -> None:
    """Write the text of each run sheet that described entries, with its runs."""
    held = {str(digest) for digest in read_table(work.root, "sheets", ["sha256"])["sha256"]}
    fresh = {sheet.sha256: sheet for sheet in prepared.sheets if sheet.sha256 not in held}
    if fresh:
        writer.append_table(
            "sheets", [{"name": s.name, "sha256": s.sha256, "text": s.text, "ingested": now} for s in fresh.values()]
        )
    by_name = {sheet.name: sheet for sheet in prepared.sheets}
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in plan:
        columns = entry.columns
        sheet = by_name.get(str(columns.get("run_sheet") or ""))
        key = (str(columns.get("experiment") or ""), str(columns["run"]))
        seen.setdefault(key, {
            "experiment": key[0], "run": key[1], "note": columns.get("note"), "ingested": now,
            "run_sheet": sheet.name if sheet else "", "sheet_sha256": sheet.sha256 if sheet else "",
        })  # fmt: skip
    if seen:
        table = read_table(work.root, "runs", ["experiment", "run", "sheet_sha256"])
        described = set(zip(*(map(str, column) for column in table.values()), strict=True))
        rows = [row for key, row in seen.items() if (*key, row["sheet_sha256"]) not in described]
        if rows:
            writer.append_table("runs", rows)


def differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Return the conditions in which two spectra differ, as text."""
    shown = [
        f"{term.name} {show_value(term, old.get(term.name))} -> {show_value(term, new.get(term.name))}"
        for term in SETTABLE
        if new.get(term.name) != old.get(term.name)
    ]
    return "; ".join(shown[:6]) + (f"; and {len(shown) - 6} more" if len(shown) > 6 else "")


def conflict(entry: PreparedSpectrum, old: ExistingRow) -> str:
    """Return the reason why an entry conflicts with a spectrum of the archive."""
    if old.status == "purged":
        what = f"was purged from the archive ({old.spectrum_id})"
    elif old.spectrum_id == entry.spectrum_id:
        differ = differences(entry.columns, old.columns)
        what = (
            f"is in the archive as {old.spectrum_id} with other conditions ({differ})"
            if differ
            else (
                f"is in the archive as {old.spectrum_id}, but gives other numbers with this reader ({entry.columns['reader']})"
            )
        )
    else:
        what = f"has other bytes than the file of that name in the archive (spectrum {old.spectrum_id})"
    return f"{what}. Nothing was changed; --replace makes it revision {old.revision + 1}."
