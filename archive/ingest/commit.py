"""Write prepared entries to the store: one atomic commit, idempotent, conflicts reported.

A callable looks up rows of the archive, so that this layer needs no index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as copy
from typing import Any

import numpy as np

from barospec.archive.edit.corrections import Edit, kept, reapply_corrections, show_changes, write_edits
from barospec.archive.ingest.models import add_models
from barospec.archive.ingest.prepared import Prepared, PreparedSpectrum
from barospec.archive.ingest.report import IngestReport
from barospec.archive.ingest.tables import (
    conflict,
    differences,
    new_literature,
    new_structures,
    write_sheets,
    write_structures,
)
from barospec.archive.ingest.theory_outputs import add_calculations
from barospec.archive.sheets.conditions import conditions_sha256
from barospec.archive.store.events import event
from barospec.archive.store.fingerprints import recorded
from barospec.archive.store.known_row import ExistingRow, Lookup
from barospec.archive.store.read import array, count_records, spectra_group
from barospec.archive.store.repository import Store, Transaction, microseconds
from barospec.archive.store.write import Batch, Writer
from barospec.schemas.records import Problem
from barospec.schemas.vocabulary import SPECTRUM_TERMS


def check_number(digest: bytes) -> int:
    """Return the first eight bytes of a sha256 as a number, which an index keeps to recognize a row."""
    return int.from_bytes(digest[:8], "little")


def ingest(
    store: Store, prepared: Prepared, known: Lookup, *, replace: bool = False, strict: bool = False, message: str = ""
) -> IngestReport:
    """Write new entries, in one commit.

    Parameters
    ----------
    store : Store
        The archive.
    prepared : Prepared
        From `prepare`; parsed before the lock is taken.
    known : callable
        See `Lookup`. Called inside the transaction, so that two concurrent writers both succeed.
    replace : bool
        Write entries that contradict the archive as new revisions instead of reporting conflicts.
    strict : bool
        Write nothing if anything was refused or is a conflict.
    message : str
        Commit message; default: a summary.
    """
    if (strict and prepared.refused) or not _holds_anything(prepared):
        return _started(prepared)

    def write(work: Transaction) -> IngestReport:
        return _write(work, prepared, known, replace=replace, strict=strict, message=message)

    report, snapshot = store.write("ingest", write)
    report.snapshot = snapshot
    return report


def _holds_anything(prepared: Prepared) -> bool:
    return bool(
        prepared.entries or prepared.structures or prepared.literature or prepared.models or prepared.calculations
    )


def _started(prepared: Prepared) -> IngestReport:
    return IngestReport(refused=prepared.refused, skipped=prepared.skipped, problems=list(prepared.problems))


def _write(
    work: Transaction, prepared: Prepared, known: Lookup, *, replace: bool, strict: bool, message: str
) -> IngestReport:
    """Run the transaction; it may run more than once, so it does not change `prepared`."""
    report = _started(prepared)
    writer = Writer(work.root, work.changes)
    now = microseconds()
    entries = [copy(entry, columns=dict(entry.columns)) for entry in prepared.entries]
    plan = _compare(entries, known, work, replace, report)
    fresh_structures = new_structures(work, prepared.structures, replace, report)
    fresh_literature = new_literature(work, prepared.literature)
    report.models = add_models(writer, prepared.models, replace, now, report)
    report.calculations = add_calculations(writer, work, prepared.calculations, replace, now, report)
    if strict and report.conflicts:
        report.added = report.replaced = 0
        return report
    _revive(work, plan)
    plan = [planned for planned in plan if not planned.revived]
    _write_spectra(writer, plan, now, report)
    write_structures(writer, fresh_structures, now)
    if fresh_literature:
        writer.append_table("literature", [{**r, "status": "active", "ingested": now} for r in fresh_literature])
    report.structures, report.literature = len(fresh_structures), len(fresh_literature)
    if work.changes.appended or work.changes.tables:
        write_sheets(writer, work, prepared, [planned.entry for planned in plan], now)
        work.message = message or _summary(report)
        work.metadata = {
            "counts": {k: v for k, v in report.to_dict().items() if isinstance(v, int) and v},
            "runs": report.runs,
        }
    return report


@dataclass(slots=True)
class _Planned:
    """An entry to write, and the row that it supersedes."""

    entry: PreparedSpectrum
    conditions: bytes  # as stated, without upheld corrections
    revision: int = 1
    old: ExistingRow | None = None
    kept: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    revived: bool = False  # the row exists and becomes current again

    @property
    def spectrum_id(self) -> str:
        """The spectrum id: a new revision keeps the id of the archive's row."""
        return self.entry.spectrum_id if self.old is None else self.old.spectrum_id


def _compare(
    entries: Sequence[PreparedSpectrum], known: Lookup, work: Transaction, replace: bool, report: IngestReport
) -> list[_Planned]:
    by_id: dict[str, ExistingRow] = {}
    by_source: dict[tuple[str, ...], ExistingRow] = {}
    for row in known(work.parent, [e.spectrum_id for e in entries], [e.source for e in entries]):
        by_id[row.spectrum_id] = row
        if row.status == "active":
            by_source[row.source] = row

    def older(entry: PreparedSpectrum) -> ExistingRow | None:
        # A file that grew by a scan has other bytes; its earlier scans are unchanged.
        return by_id.get(entry.spectrum_id) or by_source.get(entry.source)

    corrections = _corrections(work.root, [(entry, old) for entry in entries if (old := older(entry)) is not None])
    plan: list[_Planned] = []
    planned: dict[str, PreparedSpectrum] = {}
    imported: dict[str, set[int]] = {}
    for entry in entries:
        twin = planned.get(entry.spectrum_id)
        if twin is not None:
            _twin(entry, twin, report)
            continue
        old = older(entry)
        if old is None:
            report.added += 1
            planned[entry.spectrum_id] = entry
            plan.append(_Planned(entry, entry.conditions))
            continue
        fresh = _Planned(entry, entry.conditions, old.revision + 1, old)
        fresh.kept = reapply_corrections(entry.columns, corrections.get(old.spectrum_id, {}))
        if _is_held(old, fresh):
            left_out = _left_out(work.root, entry, old, imported)
            if left_out and replace:
                planned[entry.spectrum_id] = entry
                entry.columns["spectrum_id"] = old.spectrum_id
                report.replaced += 1
                plan.append(fresh)
                continue
            if left_out:
                message = f"in the archive without {', '.join(left_out)}, as a bundle had it; --replace adds them."
                report.problems.append(Problem("note", message, entry.where))
            _held_already(old, entry, plan, report)
        elif old.status == "reverted":  # reverted by restoring an earlier state: as if it were new
            planned[entry.spectrum_id] = entry
            entry.columns["spectrum_id"] = old.spectrum_id
            report.added += 1
            plan.append(fresh)
        elif not replace:
            report.conflicts += 1
            report.problems.append(Problem("error", conflict(entry, old), entry.where))
        else:
            planned[entry.spectrum_id] = entry
            entry.columns["spectrum_id"] = old.spectrum_id
            report.replaced += 1
            plan.append(fresh)
            if fresh.kept:
                report.problems.append(
                    Problem("note", f"corrected; the correction is kept: {show_changes(fresh.kept)}.", entry.where)
                )
    return plan


def _corrections(
    root: Any, pairs: Sequence[tuple[PreparedSpectrum, ExistingRow]]
) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return the corrections of rows that differ from the new values and from the ingested ones."""
    differ = {old.spectrum_id: old for entry, old in pairs if check_number(entry.conditions) != old.conditions}
    return kept(
        root, [n for n, old in differ.items() if check_number(conditions_sha256(old.columns)) != old.conditions]
    )


def _is_held(old: ExistingRow, fresh: _Planned) -> bool:
    """Return True if the archive has these numbers and conditions, as ingested or as corrected since."""
    if old.content != check_number(fresh.entry.content):
        return False
    return check_number(fresh.conditions) == old.conditions or fresh.entry.conditions == conditions_sha256(old.columns)


def _left_out(root: Any, entry: PreparedSpectrum, old: ExistingRow, imported: dict[str, set[int]]) -> list[str]:
    """Return the signals of an entry that the archive's row lacks because it came from a bundle without them.

    `imported` caches the rows of each group that came from bundles.
    """
    group = spectra_group(root, old.group)
    if old.group not in imported:
        codes = np.asarray(array(group, "bundle")[:]) if "bundle" in group else np.array([])
        imported[old.group] = set(np.flatnonzero(codes >= 0).tolist())
    if old.row not in imported[old.group]:
        return []
    names = list(entry.curves.load()[1])
    held = recorded(group, np.array([old.row]), names)
    return [name for name in names if not held[name][0]]


def _held_already(old: ExistingRow, entry: PreparedSpectrum, plan: list[_Planned], report: IngestReport) -> None:
    if old.status == "reverted":
        report.added += 1
        plan.append(_Planned(entry, entry.conditions, old.revision, old, revived=True))
        return
    report.unchanged += 1
    if old.status == "withdrawn":
        message = (
            f"{old.spectrum_id} is in the archive, but withdrawn; `barospec restore {old.spectrum_id}` brings it back."
        )
        report.problems.append(Problem("note", message, entry.where))


def _revive(work: Transaction, plan: Sequence[_Planned]) -> None:
    """Make rows current again that a restore reverted and that were ingested again unchanged."""
    again = [Edit(p.old, {"status": (p.old.status, "active")}) for p in plan if p.revived and p.old is not None]
    if again:
        write_edits(work, "restore", again, "ingested again")


def _twin(entry: PreparedSpectrum, twin: PreparedSpectrum, report: IngestReport) -> None:
    """Report the same bytes and scan twice in one call: one spectrum, unless the conditions disagree."""
    if (entry.content, entry.conditions) == (twin.content, twin.conditions):
        report.unchanged += 1
        report.problems.append(
            Problem("note", f"the same scan of the same file as {twin.where}; ingested once.", entry.where)
        )
        return
    report.conflicts += 1
    differ = differences(entry.columns, twin.columns)
    report.problems.append(
        Problem("error", f"the same scan as {twin.where}, but with other conditions: {differ}.", entry.where)
    )


# Spectra in memory at a time; a multiple of the rows of a chunk, so that few chunks are written twice.
BATCH = 2048


def _write_spectra(writer: Writer, plan: Sequence[_Planned], now: int, report: IngestReport) -> None:
    """Write all planned spectra in one commit, a batch at a time, so that memory does not grow with their number."""
    by_group: dict[str, list[_Planned]] = {}
    for planned in plan:
        by_group.setdefault(planned.entry.group, []).append(planned)
        run = str(planned.entry.columns["run"])
        report.runs[run] = report.runs.get(run, 0) + 1
        report.spectrum_ids.append(planned.spectrum_id)
    header_rows = _write_headers(writer, plan)
    _supersede(writer, plan, now)
    for group, members in sorted(by_group.items()):
        for start in range(0, len(members), BATCH):
            writer.append_spectra(group, _batch(members[start : start + BATCH], header_rows, now))
        report.groups[group] = len(members)


def _batch(plan: Sequence[_Planned], header_rows: Mapping[bytes, int], now: int) -> Batch:
    batch = Batch()
    for planned in plan:
        entry = planned.entry
        columns = {term.name: entry.columns.get(term.name) for term in SPECTRUM_TERMS}
        header = header_rows[_header_key(entry)]
        columns |= {"spectrum_id": planned.spectrum_id, "revision": planned.revision}
        columns |= {"status": "active", "ingested": now, "header": header}
        energy, signals = entry.curves.load()
        batch.energies.append(energy)
        batch.signals.append(signals)
        batch.columns.append(columns)
        batch.hashes["row_sha256"].append(entry.content)
        batch.hashes["conditions_sha256"].append(planned.conditions)
    return batch


def _header_key(entry: PreparedSpectrum) -> bytes:
    return hashlib.sha256(entry.header.encode()).digest()


def _write_headers(writer: Writer, plan: Sequence[_Planned]) -> dict[bytes, int]:
    """Write each distinct header once; return its row by its digest."""
    rows: dict[bytes, int] = {}
    headers: list[dict[str, str]] = []
    base = count_records(writer.root, "headers")
    for planned in plan:
        key = _header_key(planned.entry)
        if key not in rows:
            rows[key] = base + len(headers)
            headers.append({"sha256": key.hex(), "text": planned.entry.header})
    if headers:
        writer.append_table("headers", headers)
    return rows


def _supersede(writer: Writer, plan: Sequence[_Planned], now: int) -> None:
    superseded: dict[str, list[int]] = {}
    events: list[dict[str, Any]] = []
    for planned in plan:
        # Reverted and purged rows stay so; the new row is still a revision.
        if planned.old is not None and planned.old.status in ("active", "withdrawn"):
            superseded.setdefault(planned.old.group, []).append(planned.old.row)
            details = {
                "revision": planned.revision,
                "changed": differences(planned.entry.columns, planned.old.columns),
            }
            if planned.kept:
                details["kept"] = {name: {"old": was, "new": now} for name, (was, now) in planned.kept.items()}
            events.append(event("replace", planned.old.spectrum_id, now, details=details))
    for group, rows in superseded.items():
        writer.edit_spectra(group, rows, {"status": "superseded"})
    if events:
        writer.append_table("events", events)


def _summary(report: IngestReport) -> str:
    parts = []
    if report.added:
        parts.append(f"{report.added} spectra added")
    if report.replaced:
        parts.append(f"{report.replaced} replaced")
    if report.structures:
        parts.append(f"{report.structures} structures")
    if report.literature:
        parts.append(f"{report.literature} literature values")
    if report.models:
        parts.append(f"{report.models} models")
    if report.calculations:
        parts.append(f"{report.calculations} calculations")
    runs = ", ".join(sorted(report.runs)[:8]) + (", …" if len(report.runs) > 8 else "")
    return "; ".join(parts) + (f" ({runs})" if runs else "")
