"""Run sheets: YAML, with scan tables in CSV or xlsx, read with the place of every value.

Scalars are taken as written (scan ``1.10`` is not 1.1, ``no`` is not false); only the vocabulary gives them a type.
A mistake spoils what it stands in and nothing else: a row, a run, or at the top the whole sheet.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile, did_you_mean
from barospec.schemas.records import Problem
from barospec.schemas.sheet import (
    LITERATURE_KEYS,
    ROW_KEYS,
    RUN_KEYS,
    SIGNALS,
    STRUCTURE_KEYS,
    TOP_KEYS,
    names,
)
from barospec.schemas.units import find_unit
from barospec.schemas.values import NOT_KNOWN, parse_value
from barospec.schemas.vocabulary import BY_NAME, SETTABLE, find_term

MAX_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Row:
    """Conditions of one scan."""

    file: str | None
    scan: str | None
    conditions: dict[str, Any]
    skip: str | None
    signal: str | None
    where: str
    line: int
    broken: bool = False


@dataclass(slots=True)
class SheetRun:
    """One run of a sheet: what its scans inherit, its files, and the rows of its scan table (None: take all)."""

    conditions: dict[str, Any]
    files: tuple[Path, ...] = ()
    rows: list[Row] | None = None
    take_rest: bool = False
    format: str | None = None
    signal: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    line: int = 0
    broken: bool = False


@dataclass(slots=True)
class Sheet:
    """A run sheet as read, with everything found wrong in it."""

    path: Path
    sha256: str
    text: str
    runs: list[SheetRun] = field(default_factory=list)
    structures: list[dict[str, Any]] = field(default_factory=list)
    literature: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def name(self) -> str:
        """File name of the sheet."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class _Value:
    """A scalar as written, with its place."""

    text: str
    line: int
    column: int


def is_sheet(path: Path) -> bool:
    """Whether a path is a run sheet by its name."""
    return path.suffix.lower() in (".yaml", ".yml")


def read_sheet(path: Path) -> Sheet:
    """Read a run sheet.

    Raises
    ------
    UnreadableFile
        The file cannot be read or is no YAML; the message has line and column. Any other mistake is in ``problems``.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}.") from None
    if len(raw) > MAX_BYTES:
        raise UnreadableFile(f"{path}: {len(raw)} bytes; a run sheet has at most {MAX_BYTES}. Is it a data file?")
    try:
        text = raw.decode("utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path}: byte {error.start} is not UTF-8. Save the sheet as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UnreadableFile(f"{path}{place}: not YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UnreadableFile(f"{path}: not YAML: {str(error).splitlines()[0]}.") from None
    sheet = Sheet(path, hashlib.sha256(raw).hexdigest(), text)
    _Reading(sheet).top(node)
    return sheet


class _Reading:
    """One pass over the node tree of a sheet; problems go into the sheet."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.folder = sheet.path.parent

    def problem(
        self, message: str, line: int, column: int = 0, *, file: str | None = None, severity: Any = "error"
    ) -> None:
        self.sheet.problems.append(Problem(severity, message, file or str(self.sheet.path), line, column))

    def top(self, node: Any) -> None:
        if not isinstance(node, yaml.MappingNode):
            self.problem(
                "a run sheet is a mapping of fields. The shortest has run, sample, technique, edge, origin, files.", 1
            )
            return
        items = self.items(node, (*TOP_KEYS, *(term.name for term in SETTABLE)))
        shared, ok = self.conditions(items, {})
        ok = ok and not self.sheet.problems
        runs = items.get("runs")
        if isinstance(runs, yaml.SequenceNode):
            for entry in runs.value:
                self.listed_run(entry, shared, items, ok)
        elif runs is not None:
            self.problem("runs is a list: begin each run with a dash.", runs.start_mark.line + 1)
        elif "files" in items or "scans" in items:
            self.run(items, shared, ok, 1)
        self.records(
            items.get("structures"), "structures", (*names("structure"), *STRUCTURE_KEYS), self.sheet.structures
        )
        self.records(
            items.get("literature"), "literature", (*names("literature"), *LITERATURE_KEYS), self.sheet.literature
        )
        if not (self.sheet.runs or self.sheet.structures or self.sheet.literature or self.sheet.problems):
            self.problem("the sheet names no files, structures or literature values.", 1)

    def items(self, node: yaml.MappingNode, allowed: Iterable[str]) -> dict[str, Any]:
        """The entries of a mapping by canonical key; unknown and repeated keys are problems."""
        known, found = list(allowed), {}
        for key_node, value in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            written = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a list"
            term = find_term(written)
            key = written if written in known else (term.name if term else written)
            if key not in known:
                what = "is written by the archive itself" if key in BY_NAME else "is not a key here"
                self.problem(f'"{written}" {what}.{did_you_mean(written, known)}', line, column)
            elif key in found:
                self.problem(f'"{written}" stands twice; keep one.', line, column)
            else:
                found[key] = value
        return found

    def scalar(self, node: Any, key: str) -> _Value | None:
        mark = node.start_mark
        if not isinstance(node, yaml.ScalarNode):
            self.problem(f"{key} wants a single value.", mark.line + 1, mark.column + 1)
            return None
        return _Value(str(node.value), mark.line + 1, mark.column + 1)

    def conditions(self, items: Mapping[str, Any], inherited: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Vocabulary fields among `items`, on top of what is inherited; False when one of them is wrong."""
        merged, ok = dict(inherited), True
        for key in sorted(items, key=lambda key: key.endswith("_sigma")):  # an explicit sigma beats one behind ±
            if key in BY_NAME:
                value = self.scalar(items[key], key)
                ok = value is not None and self.set_value(merged, key, value, str(self.sheet.path)) and ok
        return merged, ok

    def set_value(self, merged: dict[str, Any], key: str, value: _Value, file: str) -> bool:
        try:
            # Inherited sigma, before and after belong to the inherited value.
            if key == "pressure":
                for other in ("pressure_sigma", "pressure_before", "pressure_after"):
                    merged.pop(other, None)
            merged.update(parse_value(BY_NAME[key], value.text, element=(merged.get("edge") or "").split(" ")[0]))
        except InvalidData as error:
            self.problem(str(error), value.line, value.column, file=file)
            return False
        return True

    def listed_run(self, node: Any, shared: Mapping[str, Any], above: Mapping[str, Any], ok: bool) -> None:
        """An entry of ``runs``: its own keys, on top of those above it."""
        if not isinstance(node, yaml.MappingNode):
            self.problem("a run is a mapping of fields.", node.start_mark.line + 1)
            return
        before = len(self.sheet.problems)
        items = self.items(node, (*RUN_KEYS, *(term.name for term in SETTABLE)))
        conditions, good = self.conditions(items, shared)
        inherited = {key: above[key] for key in RUN_KEYS if key in above and key not in ("files", "scans")}
        good = good and len(self.sheet.problems) == before
        self.run({**inherited, **items}, conditions, ok and good, node.start_mark.line + 1)

    def run(self, items: Mapping[str, Any], conditions: dict[str, Any], ok: bool, line: int) -> None:
        before = len(self.sheet.problems)
        run = SheetRun(conditions, line=line)
        self.run_keys(run, items)
        run.broken = not ok or not self._only_rows(before, run)
        self.sheet.runs.append(run)

    def _only_rows(self, before: int, run: SheetRun) -> bool:
        """Whether all problems since `before` are about rows of the scan table, which carry their own mark."""
        lines = {(row.where, row.line) for row in run.rows or [] if row.broken}
        return all((p.file, p.line) in lines for p in self.sheet.problems[before:] if p.severity == "error")

    def run_keys(self, run: SheetRun, items: Mapping[str, Any]) -> None:
        for key in ("format", "signal", "scans_not_listed"):
            if key in items and (value := self.scalar(items[key], key)) is not None:
                choices = {"signal": tuple(SIGNALS), "scans_not_listed": ("take", "skip")}.get(key)
                if choices and value.text not in choices:
                    close = did_you_mean(value.text, choices)
                    self.problem(
                        f'{key} "{value.text}" is not one of {", ".join(choices)}.{close}', value.line, value.column
                    )
                elif key == "scans_not_listed":
                    run.take_rest = value.text == "take"
                else:
                    setattr(run, key, value.text)
        for key in ("columns", "channels"):
            if key in items:
                run.options[key] = _plain(items[key])
        if "files" in items:
            run.files = self.files(items["files"])
        elif items.get("scans") is None:
            self.problem("a run without files. Say files: NAME or a glob, relative to the sheet.", run.line)
        if "scans" in items:
            run.rows = list(self.rows(items["scans"], run))

    def files(self, node: Any) -> tuple[Path, ...]:
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: list[Path] = []
        for entry in entries:
            value = self.scalar(entry, "files")
            if value is None:
                continue
            if Path(value.text).is_absolute():
                matches = [Path(value.text)] if Path(value.text).is_file() else []
            else:
                matches = sorted(p for p in self.folder.glob(value.text) if p.is_file()) if value.text else []
            if not matches:
                near = did_you_mean(value.text, [p.name for p in self.folder.iterdir()])
                self.problem(f'files "{value.text}" matches nothing in {self.folder}.{near}', value.line, value.column)
            found += [match for match in matches if match not in found]
        return tuple(found)

    def rows(self, node: Any, run: SheetRun) -> Iterator[Row]:
        if isinstance(node, yaml.SequenceNode):
            for entry in node.value:
                if isinstance(entry, yaml.MappingNode):
                    items = self.items(entry, (*ROW_KEYS, *(term.name for term in SETTABLE)))
                    cells = {key: value for key, item in items.items() if (value := self.scalar(item, key)) is not None}
                    yield self.row(cells, run, str(self.sheet.path), entry.start_mark.line + 1)
                else:
                    self.problem(
                        "a row of scans is a mapping, such as {scan: 1.1, pressure: 1 bar}.", entry.start_mark.line + 1
                    )
            return
        value = self.scalar(node, "scans")
        if value is not None:
            path = self.folder / value.text
            try:
                for line, record in read_table(path):
                    yield self.row(self.columns(record, str(path), line), run, str(path), line)
            except BarospecError as error:
                self.problem(f'scans "{value.text}": {error}', value.line, value.column)

    def columns(self, cells: Mapping[str, str], file: str, line: int) -> dict[str, _Value]:
        """Cells of a table's row under canonical keys, the header's unit put behind each number."""
        found: dict[str, _Value] = {}
        for header, text in cells.items():
            key, unit = split_header(header)
            term = find_term(key)
            name = key if key in ROW_KEYS else (term.name if term else key)
            if name in ROW_KEYS or (name in BY_NAME and BY_NAME[name] in SETTABLE):
                plain = re.fullmatch(r"[\s0-9.eE+±-]+", text) is not None and text.strip() not in NOT_KNOWN
                found[name] = _Value(f"{text} {unit}" if unit and plain else text, line, 0)
            elif line == 2 and key:  # once per table
                known = [*ROW_KEYS, *(t.name for t in SETTABLE)]
                self.problem(
                    f'column "{header}" is not a field.{did_you_mean(key, known)} Write [{key}] to ignore it.',
                    1,
                    file=file,
                )
        return found

    def row(self, cells: Mapping[str, _Value], run: SheetRun, file: str, line: int) -> Row:
        def text(key: str) -> str | None:
            value = cells.get(key)
            return value.text.strip() or None if value else None

        row = Row(text("file"), text("scan"), dict(run.conditions), text("skip"), text("signal"), file, line)
        for key in sorted((key for key in cells if key in BY_NAME), key=lambda key: key.endswith("_sigma")):
            # An empty cell says nothing: the run's value stays.
            if cells[key].text.strip() and not self.set_value(row.conditions, key, cells[key], file):
                row.broken = True
        if row.signal and row.signal not in SIGNALS:
            self.problem(f'signal "{row.signal}" is not one of {", ".join(SIGNALS)}.', line, file=file)
            row.broken = True
        return row

    def records(self, node: Any, what: str, allowed: Iterable[str], into: list[dict[str, Any]]) -> None:
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.problem(f"{what} is a list of records: begin each with a dash.", node.start_mark.line + 1)
            return
        for entry in node.value:
            if not isinstance(entry, yaml.MappingNode):
                self.problem(f"an entry of {what} is a mapping.", entry.start_mark.line + 1)
                continue
            before = len(self.sheet.problems)
            record = {key: _plain(value) for key, value in self.items(entry, allowed).items()}
            if len(self.sheet.problems) == before:
                into.append({**record, "__line__": entry.start_mark.line + 1})


def _plain(node: Any) -> Any:
    """A node as lists, dicts and strings, scalars as written."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return str(node.value)


def split_header(header: str) -> tuple[str, str]:
    """``pressure (GPa)`` -> ("pressure", "GPa"); a header that is only ``[comment]`` -> ("", "").

    >>> split_header("pressure [kbar]")
    ('pressure', 'kbar')
    """
    header = header.strip()
    if header.startswith("[") or not header:
        return "", ""
    match = re.fullmatch(r"(.*?)\s*[(\[]([^)\]]+)[)\]]", header)
    if match and find_unit(match[2].strip()):
        return match[1].strip(), match[2].strip()
    return header, ""


def read_table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV or xlsx table as (line, {header: text}); empty rows are passed over."""
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
        raise UnreadableFile(f"{path} is not there.{near}")
    rows = _xlsx(path) if path.suffix.lower() == ".xlsx" else _csv(path)
    header: list[str] | None = None
    for line, cells in rows:
        if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            repeated = {name for name in header if name and header.count(name) > 1}
            if repeated:
                raise InvalidData(f"{path}:{line}: column {', '.join(sorted(repeated))} stands twice.")
        elif len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise InvalidData(
                f"{path}:{line}: {len(cells)} cells under {len(header)} headers. Quote cells that hold the separator."
            )
        else:
            yield line, dict(zip(header, cells, strict=False))


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile(f"{path} is not UTF-8. Save it as UTF-8.") from None
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _xlsx(path: Path) -> Iterator[tuple[int, list[str]]]:
    import zipfile

    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=False, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise UnreadableFile(f"{path} is not a readable xlsx file ({error}).") from None
    try:
        for line, cells in enumerate(book.worksheets[0].iter_rows(), start=1):
            yield line, [_cell(cell) for cell in cells]
    finally:
        book.close()


def _cell(cell: Any) -> str:
    """A cell's text as the sheet shows it: 1.10 formatted 0.00 stays 1.10."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, float):
        places = re.fullmatch(r"0\.(0+)", str(cell.number_format))
        return f"{value:.{len(places[1])}f}" if places else f"{value:.15g}"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
