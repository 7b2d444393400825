"""Preparation of an ingest, from paths to entries, without archive or lock.

``check`` stops here; `ingest` goes on. Each file, scan or record that cannot be read becomes a problem with its
location, and the rest is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from barospec.archive.ingest.compute_mu import Curve, choose_signal, curves_of, only_reference
from barospec.archive.ingest.parse_pool import Job, Parsed, parse
from barospec.archive.ingest.paths import expand, parse_conditions, set_layouts
from barospec.archive.ingest.prepared import Prepared, PreparedSpectrum
from barospec.archive.ingest.theory_outputs import calculation_format, read_calculations
from barospec.archive.sheets.conditions import fill_between, literature_record, scan_conditions
from barospec.archive.sheets.records import Row, Sheet, SheetRun, is_sheet
from barospec.archive.sheets.run_sheet import read_sheet
from barospec.archive.spins.sheets.records import read_models
from barospec.archive.spins.sheets.sheets import is_model_sheet
from barospec.archive.store.read import row_sha256
from barospec.archive.structures import structures
from barospec.schemas.errors import BarospecError
from barospec.schemas.records import Held, Problem, Scan
from barospec.schemas.values import checked
from barospec.schemas.vocabulary import group_key

Progress = Callable[[str, int, int], None]


ANY_ROW: Sequence[Row | None] = (None,)


@dataclass(frozen=True, slots=True)
class WatchState:
    """A running measurement: only these files are read, only finished scans are ingested, and missing files are awaited.

    ``ready`` holds resolved paths of files that may be read; one that maps to True is still growing. ``seen`` holds, for files
    of many scans, the entries that had ended at an earlier read.
    """

    ready: Mapping[Path, bool]
    seen: Mapping[Path, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file with its stated conditions."""

    file: Path
    run: SheetRun
    sheet: Sheet | None
    rows: list[Row] | None
    folder: Path


def prepare(
    paths: Iterable[Path], settings: Mapping[str, str], progress: Progress | None = None, live: WatchState | None = None
) -> Prepared:
    """Read run sheets and files.

    Parameters
    ----------
    paths : iterable of Path
        Run sheets, files, and folders of them.
    settings : mapping of str to str
        Fields of files that no sheet describes.
    progress : callable, optional
        Called as ``progress(name, done, total)``.
    live : Live, optional
        Restricts the files that are read, during a measurement.

    Returns
    -------
    Prepared
    """
    prepared = Prepared()
    used: set[int] = set()
    sources = _sources(paths, settings, prepared, live, used)
    jobs = [_job(source, live) for source in sources]
    members: dict[int, list[dict[str, Any]]] = {}
    for done, (source, parsed) in enumerate(zip(sources, parse(jobs), strict=True)):
        if progress:
            progress(source.file.name, done, len(jobs))
        first = len(prepared.entries)
        _take_file(source, parsed, prepared, used, live)
        members.setdefault(id(source.run), []).extend(entry.columns for entry in prepared.entries[first:])
    for sheet in prepared.sheets:
        for run in sheet.runs:
            if live is None and not run.broken:
                _unused_rows(run, used, prepared)
            elsewhere = [row for row in run.rows or () if live is not None and id(row) not in used]
            for message in fill_between(run, members.get(id(run), []), elsewhere):
                prepared.problems.append(Problem("warning", message + ".", str(sheet.path), run.line))
    return prepared


def _sources(
    paths: Iterable[Path], settings: Mapping[str, str], prepared: Prepared, live: WatchState | None, used: set[int]
) -> list[_Source]:
    """Return all files to read, each with its run and the rows of the scan table that may apply to it."""
    conditions = parse_conditions(settings)
    layouts = set_layouts(settings)
    found: list[_Source] = []
    described: list[tuple[Sheet | None, SheetRun, Path]]
    for path, folder in expand(paths, prepared):
        if is_model_sheet(path):
            _model_sheet(path, prepared)
            continue
        if path.suffix.lower() == ".cif":
            try:
                prepared.structures.append(structures.from_file(path, conditions))
            except BarospecError as error:
                prepared.error(str(error))
            continue
        if is_sheet(path):
            described = list(_sheet_files(path, prepared, live))
        else:
            run = SheetRun(dict(conditions), (path,), format=settings.get("format"), signal=settings.get("signal"))
            run.options = dict(layouts)
            described = [(None, run, path)]
        for sheet, run, file in described:
            if live is not None and file.resolve() not in live.ready:
                continue
            rows = run.rows
            if rows is not None:
                rows = [row for row in rows if row.file is None or _same_file(row.file, file, sheet)]
            if rows is not None and not rows and not run.take_rest:
                note = "no row of the scan table names this file; not read."
                prepared.problems.append(Problem("note", note, str(file)))
                continue
            kind = None if run.options.get("columns") else calculation_format(file, run.format)
            if kind is not None:
                _calculation(file, kind, run, sheet, rows, prepared, used)
                continue
            found.append(_Source(file, run, sheet, rows, folder))
    return found


def _job(source: _Source, live: WatchState | None) -> Job:
    # Below this folder, a file may lead to others.
    inside = source.file.resolve().is_relative_to(source.folder.resolve())
    options = {**source.run.options, "folder": str(source.folder if inside else source.file.parent)}
    if live is None:
        return Job(source.file, source.run.format, options)
    path = source.file.resolve()
    # Pressures between readings need all scans of the run, not only the new ones.
    seen = () if source.run.between else tuple(live.seen.get(path, ()))
    return Job(source.file, source.run.format, options, live.ready[path], seen)


def _calculation(
    file: Path,
    kind: str,
    run: SheetRun,
    sheet: Sheet | None,
    rows: list[Row] | None,
    prepared: Prepared,
    used: set[int],
) -> None:
    """Read a file of a theory code without spectra; a row of the scan table may state more about it."""
    used.update(id(row) for row in rows or [])
    row = rows[0] if rows else None
    if row is not None and (row.skip or row.broken):
        prepared.skipped += bool(row.skip)
        return
    try:
        found, problems = read_calculations(
            file, kind, row.conditions if row else run.conditions, _source_name(file, sheet)
        )
    except BarospecError as error:
        prepared.failed[file.resolve()] = str(error)
        prepared.error(str(error))
        return
    prepared.calculations += found
    prepared.add_problems(problems)


def _model_sheet(path: Path, prepared: Prepared) -> None:
    try:
        prepared.models += read_models(path)
    except BarospecError as error:
        for line in str(error).splitlines():  # one problem to a line, each with its location
            prepared.error(line)


def _sheet_files(
    path: Path, prepared: Prepared, live: WatchState | None
) -> Iterator[tuple[Sheet | None, SheetRun, Path]]:
    try:
        sheet = read_sheet(path, awaited=live is not None)
    except BarospecError as error:
        prepared.error(str(error))
        return
    prepared.sheets.append(sheet)
    prepared.problems += sheet.problems
    prepared.refused += sum(problem.severity == "error" for problem in sheet.problems)
    for run in sheet.runs:
        if not run.broken:
            yield from ((sheet, run, file) for file in run.files)
    for record in sheet.structures:
        line = int(record.pop("__line__"))
        try:
            prepared.structures.append(structures.from_mapping(record, folder=path.parent))
        except BarospecError as error:
            prepared.error(str(error), path, line)
    for record in sheet.literature:
        line = int(record.pop("__line__"))
        try:
            prepared.literature.append({**literature_record(record), "run_sheet": sheet.name})
        except BarospecError as error:
            prepared.error(str(error), path, line)


def _take_file(source: _Source, parsed: Parsed, prepared: Prepared, used: set[int], live: WatchState | None) -> None:
    """Add the scans of a file, each with the rows that name it."""
    file, run, rows = source.file, source.run, source.rows
    if parsed.error is not None:
        message = str(parsed.error)
        prepared.failed[file.resolve()] = message
        # A reader's message may name the file already.
        prepared.error(message, "" if str(file) in message else file)
        used.update(id(row) for row in rows or [])
        return
    prepared.ended.setdefault(file.resolve(), []).extend(parsed.ended)
    prepared.add_problems(parsed.problems)
    for scan in parsed.scans:
        matching = [row for row in rows or [] if row.scan is None or row.scan == scan.name]
        used.update(id(row) for row in matching)
        if rows is not None and not matching and not run.take_rest:
            continue
        if live is not None and not _finished(scan, parsed.reader, live.ready[file.resolve()]):
            prepared.unfinished += 1
            continue
        if not matching and (why := _elsewhere(scan, parsed, run.signal)):
            prepared.add_problems(scan.problems)
            prepared.problems.append(Problem("note", why, str(file), scan=scan.name))
            prepared.skipped += 1
            continue
        # Two rows for one scan are two signals of it, such as the sample and its foil.
        for row in matching or ANY_ROW:
            _take(scan, source, parsed, row, prepared)
    if rows is not None and any(row.scan is None for row in rows) and len(parsed.scans) > 1:
        names = ", ".join(scan.name for scan in parsed.scans[:6])
        prepared.error(f"holds {len(parsed.scans)} scans ({names}, …): rows for it must name the scan.", file)


def _elsewhere(scan: Scan, parsed: Parsed, signal: str | None) -> str:
    """Return the reason to skip a scan: a reference beside its samples, or the same reference twice."""
    if signal is None and only_reference(scan.channels) and not all(only_reference(s.channels) for s in parsed.scans):
        how = "write signal: murefer in the run sheet, or --set signal=murefer, to ingest it"
        return f"a reference channel, not a sample; not ingested as a separate spectrum ({how})."
    twin = scan.header.get("athena_reference", "")
    if signal == "murefer" and any(other.name == twin and only_reference(other.channels) for other in parsed.scans):
        return f'its reference is ingested as "{twin}", in its own group.'
    return ""


def _finished(scan: Scan, reader: str, growing: bool) -> bool:
    """Return True if a scan is complete: by its end time if the format has one, otherwise when its file rests."""
    return bool(scan.header.get("end_time")) if reader.startswith("bliss ") else not growing


def _same_file(name: str, file: Path, sheet: Sheet | None) -> bool:
    if file.name == name:
        return True
    return sheet is not None and (sheet.path.parent / name).resolve() == file.resolve()


def _unused_rows(run: SheetRun, used: set[int], prepared: Prepared) -> None:
    for row in run.rows or []:
        if id(row) not in used and not row.skip:
            what = f"scan {row.scan} of {row.file or 'any file'}" if row.scan else f"file {row.file}"
            prepared.error(f"{what} was not found in the run's files.", row.where, row.line)


def _take(scan: Scan, source: _Source, parsed: Parsed, row: Row | None, prepared: Prepared) -> None:
    """Add one scan with one row of conditions: an entry, or a problem."""
    file, run = source.file, source.run
    prepared.add_problems(scan.problems)
    if row is not None and row.skip:
        prepared.skipped += 1
        return
    if row is not None and row.broken:
        return  # reported with the sheet's problems, and counted there
    place, line = (row.where, row.line) if row is not None else (str(file), 0)

    def report(severity: Literal["warning", "note"], message: str) -> None:
        prepared.problems.append(
            Problem(severity, message, place if severity == "warning" else str(file), scan=scan.name)
        )

    try:
        columns = scan_conditions(scan, row.conditions if row is not None else run.conditions, report)
        signal = choose_signal(scan.channels, columns["technique"], (row and row.signal) or run.signal)
        energy, signals = curves_of(scan, columns["technique"], signal, report)
        columns |= _origin(scan, source, parsed, signal, energy, signals)
        checked(columns)
    except BarospecError as error:
        prepared.error(str(error), place, line, scan.name if len(scan.name) > 1 or row is None else "")
        return
    prepared.entries.append(
        PreparedSpectrum(
            group=group_key(columns["technique"], columns["edge"], columns.get("line") or ""),
            curves=prepared.spool.put(energy, signals),
            columns=columns | {"element": columns["edge"].split(" ")[0]},
            # A file may hold half characters, which no store accepts.
            header=json.dumps(scan.header, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace").decode(),
            content=row_sha256(energy, signals),
            where=f"{file} [{scan.name}]",
        )
    )


def _origin(
    scan: Scan, source: _Source, parsed: Parsed, signal: str, energy: Curve, signals: Mapping[str, Curve]
) -> dict[str, Any]:
    """Return the archive's own terms of a spectrum: identity, origin and length."""
    file, sheet = source.file, source.sheet
    # A linked scan has the identity of the file that holds it, so that both ways give one spectrum.
    held = scan.held or Held(file, scan.name, parsed.sha256)
    # The sha256 of a growing file will change: the scan's numbers identify it instead.
    name = _source_name(held.file, sheet)
    checked({"source_file": name, "source_scan": held.scan})
    known = held.sha256 if parsed.sha256 else ""
    sha256 = (
        known or hashlib.sha256(f"{held.file.name}\0{held.scan}\0".encode() + row_sha256(energy, signals)).hexdigest()
    )
    return {
        "spectrum_id": hashlib.sha256(f"{sha256}\0{held.scan}\0{signal}".encode()).hexdigest()[:16],
        "signal": signal,
        "point_count": len(energy),
        "energy_min": float(energy.min()),
        "energy_max": float(energy.max()),
        "source_file": name,
        "source_scan": held.scan,
        "source_sha256": sha256,
        "reader": parsed.reader,
        "run_sheet": sheet.name if sheet else None,
    }


def _source_name(file: Path, sheet: Sheet | None) -> str:
    """Return the file's name as shown: relative to its sheet, never a path of the machine."""
    if sheet is not None:
        try:
            return file.resolve().relative_to(sheet.path.parent.resolve()).as_posix()
        except ValueError:
            pass
    return file.name
