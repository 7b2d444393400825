"""Run sheets: YAML, with scan tables in CSV or xlsx, read with the location of every value.

Scalars are read as written (scan ``1.10`` is not 1.1, ``no`` is not false); only the vocabulary gives them a type.
A mistake invalidates only its row or run, or at the top the whole sheet.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from barospec.archive.readers.spreadsheet import read_table, split_header
from barospec.archive.sheets.records import Row, Sheet, SheetRun, drop_inherited
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile, did_you_mean
from barospec.schemas.records import Problem
from barospec.schemas.sheet import (
    BETWEEN,
    LITERATURE_KEYS,
    ROW_KEYS,
    RUN_KEYS,
    SIGNALS,
    STRUCTURE_KEYS,
    TOP_KEYS,
    names,
)
from barospec.schemas.values import NOT_KNOWN, parse_value, show_value
from barospec.schemas.vocabulary import BY_NAME, SETTABLE, find_term

MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Value:
    """A scalar as written, with its location."""

    text: str
    line: int
    column: int


def read_sheet(path: Path, *, awaited: bool = False) -> Sheet:
    """Read a run sheet.

    Parameters
    ----------
    path : Path
        The YAML file.
    awaited : bool
        Files may be added later: a glob that matches nothing yet is no mistake.

    Raises
    ------
    UnreadableFile
        The file cannot be read or is not YAML; the message has line and column. Any other mistake is in ``problems``.
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
    _Reading(sheet, awaited).top(node)
    return sheet


class _Reading:
    """One pass over the node tree of a sheet; problems go into the sheet."""

    def __init__(self, sheet: Sheet, awaited: bool) -> None:
        self.sheet = sheet
        self.awaited = awaited
        self.folder = sheet.path.parent
        self.zone: ZoneInfo | None = None

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
        self.set_zone(items)
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
        """Return the entries of a mapping by canonical key; unknown and repeated keys are problems."""
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
                self.problem(f'"{written}" is given twice; keep one.', line, column)
            else:
                found[key] = value
        return found

    def scalar(self, node: Any, key: str) -> _Value | None:
        mark = node.start_mark
        if not isinstance(node, yaml.ScalarNode):
            self.problem(f"{key} needs a single value.", mark.line + 1, mark.column + 1)
            return None
        return _Value(str(node.value), mark.line + 1, mark.column + 1)

    def conditions(self, items: Mapping[str, Any], inherited: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return vocabulary fields among `items` on top of inherited ones, and False if one of them is wrong."""
        merged, ok = dict(inherited), True
        drop_inherited(merged, items)
        for key in sorted(items, key=lambda key: key.endswith("_sigma")):  # an explicit sigma wins over one behind ±
            if key in BY_NAME:
                value = self.scalar(items[key], key)
                ok = value is not None and self.set_value(merged, key, value, str(self.sheet.path)) and ok
        return merged, ok

    def set_zone(self, items: Mapping[str, Any]) -> None:
        """Set the zone of times that are written without one."""
        value = self.scalar(items["time_zone"], "time_zone") if "time_zone" in items else None
        if value is not None:
            try:
                self.zone = ZoneInfo(value.text)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                self.problem(
                    f'time_zone "{value.text}" is not known. Write it like Europe/Paris, or UTC.',
                    value.line,
                    value.column,
                )

    def set_value(self, merged: dict[str, Any], key: str, value: _Value, file: str) -> bool:
        text = self.zoned(value.text) if key == "time" else value.text
        try:
            found = parse_value(BY_NAME[key], text, element=(merged.get("edge") or "").split(" ")[0])
        except InvalidData as error:
            self.problem(str(error), value.line, value.column, file=file)
            return False
        merged.update(found)
        if BY_NAME[key].kind == "number" and not _is_float(value.text):
            shown = [f"{name} {show_value(BY_NAME[name], item)}" for name, item in found.items() if name != key]
            self.sheet.understood[key, value.text.strip()] = ", ".join([show_value(BY_NAME[key], found[key]), *shown])
        return True

    def zoned(self, text: str) -> str:
        """Return a time with the sheet's zone appended, unless it has one."""
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return text  # reported when the value is read
        return moment.replace(tzinfo=self.zone).isoformat() if self.zone and moment.tzinfo is None else text

    def listed_run(self, node: Any, shared: Mapping[str, Any], above: Mapping[str, Any], ok: bool) -> None:
        """Read an entry of ``runs``: its own keys, on top of those above it."""
        if not isinstance(node, yaml.MappingNode):
            self.problem("a run is a mapping of fields.", node.start_mark.line + 1)
            return
        before = len(self.sheet.problems)
        items = self.items(node, (*RUN_KEYS, *(term.name for term in SETTABLE)))
        self.set_zone({**above, **items})
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
        """Return True if all problems since `before` are about rows of the scan table, which have their own mark."""
        lines = {(row.where, row.line) for row in (*(run.rows or ()), *run.log) if row.broken}
        return all((p.file, p.line) in lines for p in self.sheet.problems[before:] if p.severity == "error")

    def run_keys(self, run: SheetRun, items: Mapping[str, Any]) -> None:
        for key in ("format", "signal", "scans_not_listed", "interpolate_pressure"):
            if key in items and (value := self.scalar(items[key], key)) is not None:
                choices = CHOICES.get(key)
                if choices and value.text not in choices:
                    close = did_you_mean(value.text, choices)
                    self.problem(
                        f'{key} "{value.text}" is not one of {", ".join(choices)}.{close}', value.line, value.column
                    )
                elif key == "scans_not_listed":
                    run.take_rest = value.text == "take"
                elif key == "interpolate_pressure":
                    run.between = value.text
                else:
                    setattr(run, key, value.text)
        for key in ("columns", "channels"):
            if key in items:
                run.options[key] = _plain(items[key])
        if "files" in items:
            run.files = self.files(items["files"])
        elif items.get("scans") is None:
            self.problem("a run without files. Write files: NAME or a glob, relative to the sheet.", run.line)
        if "scans" in items:
            run.rows = list(self.rows(items["scans"], run, "scans"))
        if "ruby_log" in items and (value := self.scalar(items["ruby_log"], "ruby_log")) is not None:
            run.log = list(self.rows(items["ruby_log"], run, "ruby_log"))
            if run.between is None:
                self.problem(
                    "ruby_log needs interpolate_pressure: time, or step: the axis along which pressures are interpolated.",
                    value.line,
                    value.column,
                )

    def files(self, node: Any) -> tuple[Path, ...]:
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: list[Path] = []
        for entry in entries:
            value = self.scalar(entry, "files")
            if value is None:
                continue
            matches = _matches(self.folder, value.text)
            if not matches and not self.awaited:
                near = did_you_mean(value.text, [p.name for p in self.folder.iterdir()])
                self.problem(f'files "{value.text}" matches nothing in {self.folder}.{near}', value.line, value.column)
            found += [match for match in matches if match not in found]
        return tuple(found)

    def rows(self, node: Any, run: SheetRun, key: str) -> Iterator[Row]:
        """Yield rows of ``scans`` or ``ruby_log``: a list, or a table beside the sheet."""
        if isinstance(node, yaml.SequenceNode) and key == "scans":
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
        value = self.scalar(node, key)
        if value is not None:
            path = self.folder / value.text
            unknown: set[str] = set()
            try:
                for line, record in read_table(path):
                    yield self.row(self.columns(record, str(path), line, unknown), run, str(path), line)
            except BarospecError as error:
                self.problem(f'{key} "{value.text}": {error}', value.line, value.column)

    def columns(self, cells: Mapping[str, str], file: str, line: int, unknown: set[str]) -> dict[str, _Value]:
        """Return the cells of a table's row under canonical keys, with the header's unit after each number.

        Headers that are not fields are reported once and collected in `unknown`.
        """
        found: dict[str, _Value] = {}
        for header, text in cells.items():
            key, unit = split_header(header)
            term = find_term(key)
            name = key if key in ROW_KEYS else (term.name if term else key)
            if name in ROW_KEYS or (name in BY_NAME and BY_NAME[name] in SETTABLE):
                plain = re.fullmatch(r"[\s0-9.eE+±-]+", text) is not None and text.strip() not in NOT_KNOWN
                found[name] = _Value(f"{text} {unit}" if unit and plain else text, line, 0)
            elif key and header not in unknown:
                unknown.add(header)
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
        # An empty cell keeps the run's value.
        stated = [key for key in cells if key in BY_NAME and cells[key].text.strip()]
        drop_inherited(row.conditions, stated)
        for key in sorted(stated, key=lambda key: key.endswith("_sigma")):
            if not self.set_value(row.conditions, key, cells[key], file):
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


CHOICES: Mapping[str, tuple[str, ...]] = {
    "signal": tuple(SIGNALS),
    "scans_not_listed": ("take", "skip"),
    "interpolate_pressure": BETWEEN,
}


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Return the files that match a name or glob, relative to the folder or absolute."""
    if not pattern or "\0" in pattern:
        return []
    if Path(pattern).is_absolute():
        anchor = Path(pattern).anchor
        found = Path(anchor).glob(str(Path(pattern).relative_to(anchor)))
    else:
        found = folder.glob(pattern)
    return sorted(path for path in found if path.is_file())


def _is_float(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _plain(node: Any) -> Any:
    """Return a node as lists, dicts and strings, scalars as written."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return str(node.value)
