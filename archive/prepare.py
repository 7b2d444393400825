"""From paths to entries: everything of an ingest that needs no archive, and no lock.

``check`` stops here; `ingest` goes on. Each file, scan or record that cannot be taken becomes a problem with its
place, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive import structures
from barospec.archive.layout import row_sha256
from barospec.archive.readers import registry
from barospec.archive.runsheet import Row, Sheet, SheetRun, is_sheet, read_sheet
from barospec.archive.signals import choose_signal, form_signal
from barospec.schemas.errors import BarospecError, CallError, InvalidData, did_you_mean
from barospec.schemas.records import Problem, Scan
from barospec.schemas.sheet import SIGNALS
from barospec.schemas.values import coerce, parse_value, show_value
from barospec.schemas.vocabulary import BY_NAME, DATA_NAME, SETTABLE, TERMS, find_term, group_key

Progress = Callable[[str, int, int], None]
SETTINGS = ("format", "signal")


@dataclass(slots=True)
class Entry:
    """A spectrum on its way in."""

    group: str
    energy: NDArray[np.float64]
    signals: dict[str, NDArray[np.float64]]
    columns: dict[str, Any]
    header: str
    content: bytes
    conditions: bytes
    where: str

    @property
    def spectrum_id(self) -> str:
        """16 hex digits of sha256(file sha256, scan, signal)."""
        return str(self.columns["spectrum_id"])

    @property
    def source(self) -> tuple[str, ...]:
        """What the spectrum is called by people: experiment, run, file, scan, signal."""
        return tuple(str(self.columns.get(name) or "") for name in SOURCE)


ANY_ROW: Sequence[Row | None] = (None,)
SOURCE = ("experiment", "run", "source_file", "source_scan", "signal")


@dataclass(slots=True)
class Prepared:
    """All that a set of paths holds, and all that is wrong with it."""

    entries: list[Entry] = field(default_factory=list)
    structures: list[structures.Structure] = field(default_factory=list)
    literature: list[dict[str, Any]] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refused: int = 0
    skipped: int = 0

    def error(self, message: str, file: object = "", line: int = 0, scan: str = "") -> None:
        """Note something that is refused."""
        self.problems.append(Problem("error", message, str(file), line, scan=scan))
        self.refused += 1

    def completeness(self) -> dict[str, tuple[int, int]]:
        """How many entries state each recommended term, of those to which it applies."""
        counts: dict[str, tuple[int, int]] = {}
        for term in SETTABLE:
            if term.need == "recommended":
                rows = [e.columns for e in self.entries if applies(term.applies, e.columns)]
                if rows:
                    counts[term.name] = (sum(row.get(term.name) is not None for row in rows), len(rows))
        return counts


def applies(needed: Mapping[str, tuple[str, ...]], columns: Mapping[str, Any]) -> bool:
    """Whether a term with these conditions is applicable to a row."""
    return all(columns.get(name) in values for name, values in needed.items())


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """``FIELD=VALUE`` of the command line, field names made canonical.

    Raises CallError for an unknown field, a missing "=", or a field that the archive itself writes.
    """
    found: dict[str, str] = {}
    known = [*SETTINGS, *(term.name for term in SETTABLE)]
    for pair in pairs:
        name, equals, value = pair.partition("=")
        term = find_term(name)
        key = name.strip() if name.strip() in SETTINGS else (term.name if term else "")
        if not equals:
            raise CallError(f'--set "{pair}" has no "=". Write --set FIELD=VALUE, such as --set pressure="15.6 GPa".')
        if key not in known:
            raise CallError(
                f"--set {name}: there is no such field to set.{did_you_mean(name, known)} `barospec fields` lists them."
            )
        found[key] = value
    return found


def prepare(paths: Iterable[Path], settings: Mapping[str, str], progress: Progress | None = None) -> Prepared:
    """Read run sheets and files; `settings` are fields for files that no sheet describes."""
    prepared = Prepared()
    conditions = _set_conditions(settings)
    jobs: list[tuple[Path, SheetRun, Sheet | None]] = []
    for path in expand(paths, prepared):
        if is_sheet(path):
            jobs += [(file, run, sheet) for sheet, run, file in _sheet_files(path, prepared)]
        else:
            run = SheetRun(dict(conditions), (path,), format=settings.get("format"), signal=settings.get("signal"))
            jobs.append((path, run, None))
    used: set[int] = set()
    for done, (file, run, sheet) in enumerate(jobs):
        if progress:
            progress(file.name, done, len(jobs))
        _read_file(file, run, sheet, prepared, used)
    for run in {id(run): run for _, run, sheet in jobs if sheet is not None}.values():
        _unused_rows(run, used, prepared)
    return prepared


def expand(paths: Iterable[Path], prepared: Prepared) -> Iterator[Path]:
    """Files among `paths`; a folder stands for its run sheets, or without any for all its files."""
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            sheets = [p for p in inside if is_sheet(p)]
            if not inside:
                prepared.error("the folder is empty.", path)
            yield from sheets or inside
        elif path.exists():
            yield path
        else:
            near = did_you_mean(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
            prepared.error(f"there is no such file.{near}", path)


def _set_conditions(settings: Mapping[str, str]) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    for name in sorted(settings, key=lambda name: (name != "element", name.endswith("_sigma"))):
        if name == "signal" and settings[name] not in SIGNALS:
            raise CallError(f"--set signal={settings[name]}: choose from {', '.join(SIGNALS)}.")
        if name not in SETTINGS:
            try:
                if name == "edge":  # may be completed by the element that the file states
                    conditions["edge"] = settings[name]
                else:
                    conditions.update(parse_value(BY_NAME[name], settings[name]))
            except InvalidData as error:
                raise CallError(f"--set {error}") from None
    return conditions


def _sheet_files(path: Path, prepared: Prepared) -> Iterator[tuple[Sheet, SheetRun, Path]]:
    try:
        sheet = read_sheet(path)
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
            prepared.literature.append({**_literature(record), "run_sheet": sheet.name})
        except BarospecError as error:
            prepared.error(str(error), path, line)


def _literature(record: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in record.items():
        if not isinstance(text, str):
            raise InvalidData(f"{name} wants a single value.")
        values.update(parse_value(BY_NAME[name], text))
    lacking = [t.name for t in TERMS if t.level == "literature" and t.need == "required" and values.get(t.name) is None]
    if lacking:
        raise InvalidData(f"a literature value needs {', '.join(lacking)}.")
    return values


def _read_file(file: Path, run: SheetRun, sheet: Sheet | None, prepared: Prepared, used: set[int]) -> None:
    rows = (
        None if run.rows is None else [row for row in run.rows if row.file is None or _same_file(row.file, file, sheet)]
    )
    if rows is not None and not rows and not run.take_rest:
        prepared.problems.append(Problem("note", "no row of the scan table names this file; left out.", str(file)))
        return
    try:
        reader, scans = registry.read_file(file, run.format, run.options)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except BarospecError as error:
        # A reader's message may name the file already.
        prepared.error(str(error), "" if str(file) in str(error) else file)
        used.update(id(row) for row in rows or [])
        return
    for scan in scans:
        matching = [row for row in rows or [] if row.scan is None or row.scan == scan.name]
        used.update(id(row) for row in matching)
        if rows is not None and not matching and not run.take_rest:
            continue
        # Two rows for one scan are two signals of it, such as the sample and its foil.
        for row in matching or ANY_ROW:
            _take(scan, file, digest, f"{reader.name} {reader.version}", run, row, sheet, prepared)
    if rows is not None and any(row.scan is None for row in rows) and len(scans) > 1:
        names = ", ".join(scan.name for scan in scans[:6])
        prepared.error(f"holds {len(scans)} scans ({names}, …): rows for it must name the scan.", file)


def _same_file(name: str, file: Path, sheet: Sheet | None) -> bool:
    if file.name == name:
        return True
    return sheet is not None and (sheet.path.parent / name).resolve() == file.resolve()


def _unused_rows(run: SheetRun, used: set[int], prepared: Prepared) -> None:
    for row in run.rows or []:
        if id(row) not in used and not row.skip:
            what = f"scan {row.scan} of {row.file or 'any file'}" if row.scan else f"file {row.file}"
            prepared.error(f"{what} was not found in the run's files.", row.where, row.line)


def _take(
    scan: Scan,
    file: Path,
    digest: str,
    reader: str,
    run: SheetRun,
    row: Row | None,
    sheet: Sheet | None,
    prepared: Prepared,
) -> None:
    """One scan with one row of conditions: an entry, or a problem."""
    prepared.problems += [problem for problem in scan.problems if problem not in prepared.problems]
    if row is not None and row.skip:
        prepared.skipped += 1
        return
    if row is not None and row.broken:
        return  # told with the sheet's problems, and counted there
    try:
        stated = row.conditions if row is not None else run.conditions
        columns = _conditions(scan, stated, file, prepared)
        signal = choose_signal(scan.channels, columns["technique"], (row and row.signal) or run.signal)
        energy, signals = _curves(scan, columns["technique"], signal, file, prepared)
    except BarospecError as error:
        place, line = (row.where, row.line) if row is not None else (str(file), 0)
        prepared.error(str(error), place, line, scan.name if len(scan.name) > 1 or row is None else "")
        return
    columns |= {
        "spectrum_id": hashlib.sha256(f"{digest}\0{scan.name}\0{signal}".encode()).hexdigest()[:16],
        "element": columns["edge"].split(" ")[0],
        "signal": signal,
        "point_count": len(energy),
        "energy_min": float(energy.min()),
        "energy_max": float(energy.max()),
        "source_file": _source_name(file, sheet),
        "source_scan": scan.name,
        "source_sha256": digest,
        "reader": reader,
        "run_sheet": sheet.name if sheet else None,
    }
    settable = {term.name: columns.get(term.name) for term in SETTABLE}
    prepared.entries.append(
        Entry(
            group=group_key(columns["technique"], columns["edge"], columns.get("line") or ""),
            energy=energy,
            signals=signals,
            columns=columns,
            header=json.dumps(scan.header, ensure_ascii=False, sort_keys=True),
            content=row_sha256(energy, signals),
            conditions=hashlib.sha256(json.dumps(settable, sort_keys=True).encode()).digest(),
            where=f"{file} [{scan.name}]",
        )
    )


def _conditions(scan: Scan, stated: Mapping[str, Any], file: Path, prepared: Prepared) -> dict[str, Any]:
    """What the file says, overruled by what people say; checked for what must be there."""
    columns: dict[str, Any] = {}
    for name, value in scan.conditions.items():
        if name in BY_NAME and name != "element":
            columns.update(coerce(BY_NAME[name], value))
    element = (columns.get("edge") or "").split(" ")[0] or str(scan.conditions.get("element") or "")
    for name, value in stated.items():
        if value is None:
            continue
        if name == "edge":
            value = parse_value(BY_NAME["edge"], value, element=element)["edge"]
        before = columns.get(name)
        if before is not None and before != value and name not in ("title", "note", "sample", "material"):
            term = BY_NAME[name]
            message = f"{name} is {show_value(term, before)} in the file, {show_value(term, value)} as stated; the latter is kept."
            prepared.problems.append(Problem("note", message, str(file), scan=scan.name))
        columns[name] = value
    if columns.get("title") is None and scan.title:
        columns["title"] = scan.title
    lacking = [t.name for t in SETTABLE if t.need == "required" and columns.get(t.name) is None]
    if columns.get("technique") == "xes" and columns.get("line") is None:
        lacking.append("line")
    if lacking:
        raise InvalidData(
            f"{', '.join(lacking)} not stated, neither by the file nor by you. Say so in the run sheet, or with "
            + " ".join(f"--set {name}={EXAMPLES.get(name, '...')}" for name in lacking)
        )
    for term in SETTABLE:
        if term.applies and columns.get(term.name) is not None and not applies(term.applies, columns):
            del columns[term.name]
    return columns


EXAMPLES = {
    "run": "run-2",
    "sample": '"La3Ni2O7 batch 3"',
    "technique": "xas",
    "edge": '"Ni K"',
    "line": "Kb",
    "origin": "measured",
}


def _curves(
    scan: Scan, technique: str, signal: str, file: Path, prepared: Prepared
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    curve = form_signal(scan.channels, signal)
    keep = np.isfinite(scan.energy)
    if not keep.any() or not np.isfinite(curve[keep]).any():
        raise InvalidData(
            f"the {signal} signal has no finite value in {len(curve)} points; the scan is empty or aborted."
        )
    lost = int(np.count_nonzero(~np.isfinite(curve)))
    if lost:
        message = f"{lost} of {len(curve)} points have no value (NaN or a non-positive intensity); kept as NaN."
        prepared.problems.append(Problem("warning", message, str(file), scan=scan.name))
    signals = {DATA_NAME[technique]: np.ascontiguousarray(curve[keep], dtype=np.float64)}
    for name, channel in scan.channels.items():
        if name != signal and not (signal == "emission" and name == "iemission" and "i0" not in scan.channels):
            signals[name] = np.ascontiguousarray(channel[keep], dtype=np.float64)
    return np.ascontiguousarray(scan.energy[keep], dtype=np.float64), signals


def _source_name(file: Path, sheet: Sheet | None) -> str:
    """The file's name as shown: relative to its sheet, never a path of the machine."""
    if sheet is not None:
        try:
            return file.resolve().relative_to(sheet.path.parent.resolve()).as_posix()
        except ValueError:
            pass
    return file.name
