"""Draft of a run sheet from the files of a folder, with blanks for a person to fill in.

Only values that files state are filled in: suggestions are comments, and `check` refuses the sheet until each blank
is replaced.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.ingest.compute_mu import choose_signal, form_signal
from barospec.archive.ingest.edge_table import suggest_edges, suggest_lines
from barospec.archive.ingest.parse_pool import Job, Parsed, parse
from barospec.archive.ingest.paths import files_below
from barospec.archive.ingest.prepare import Progress
from barospec.archive.readers.ruby_log import RubyLog, find_ruby_log
from barospec.archive.sheets.conditions import EXAMPLES
from barospec.archive.sheets.records import is_sheet
from barospec.schemas.errors import BarospecError, CallError, InvalidData
from barospec.schemas.records import Scan
from barospec.schemas.values import coerce
from barospec.schemas.vocabulary import BY_NAME, ELEMENTS, SETTABLE, Term

BLANK = "# FILL IN"
SHEET, SCANS = "run-sheet.yaml", "run-sheet-scans.csv"
LISTED = 12
POSITIONERS = 8
REQUIRED = ("sample", "technique", "edge", "line", "origin")
# Fields that `check` counts and files rarely state; a short list, so that people read it.
ENCOURAGED = (
    "material",
    "medium",
    "cell",
    "anvils",
    "culet",
    "facility",
    "beamline",
    "monochromator",
    "mode",
    "energy_calibration",
)


@dataclass(slots=True)
class Draft:
    """A sheet and its tables by file name, and messages."""

    files: dict[str, str]
    blanks: list[str]
    scans: int = 0
    unread: dict[str, str] = field(default_factory=dict)

    def reasons(self) -> list[tuple[str, str]]:
        """Return the files that were not read, by reason: ("a.txt, b.txt and 7 more", "of no known format")."""
        grouped: dict[str, list[str]] = {}
        for name, reason in self.unread.items():
            grouped.setdefault(re.split(r"[.(]\s|\s\(", reason)[0].strip(" ."), []).append(name)
        return [
            (", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""), reason)
            for reason, names in grouped.items()
        ][:LISTED]


@dataclass(slots=True)
class _Kind:
    """Scans that share the facts of a run: folder, technique, edge and line."""

    folder: str
    facts: dict[str, str]
    suggested: dict[str, str]
    members: list[tuple[Path, Scan]] = field(default_factory=list)


def draft(folder: Path, beside: Path | None = None, progress: Progress | None = None) -> Draft:
    """Draft a run sheet for the files of a folder.

    Parameters
    ----------
    folder : Path
        Folder with the raw files; run sheets among them are ignored.
    beside : Path, optional
        Folder of the sheet; default: the same.
    progress : callable, optional
        Called as ``progress(name, done, total)``.

    Returns
    -------
    Draft

    Raises
    ------
    CallError
        There is no such folder.
    InvalidData
        None of its files is a spectrum.
    """
    if not folder.is_dir():
        raise CallError(f"{folder} is not a folder. Name the folder with the raw files.")
    paths = sorted(files_below(folder))
    logs = {path: found for path in paths if (found := find_ruby_log(path)) is not None}
    candidates = [path for path in paths if path not in logs and not is_sheet(path)]
    made = Draft({}, [])
    kinds: dict[tuple[str, ...], _Kind] = {}
    for done, parsed in enumerate(parse([Job(path) for path in candidates])):
        if progress:
            progress(parsed.path.name, done, len(candidates))
        _sort_in(parsed, folder, kinds, made)
    if not kinds:
        reasons = "".join(f"\n  {names}: {reason}" for names, reason in made.reasons())
        raise InvalidData(f"no file of {folder} is a spectrum.{reasons}")
    base = folder if beside is None else beside
    _write(made, folder, base, list(kinds.values()), next(iter(logs.values()), None))
    return made


def _sort_in(parsed: Parsed, folder: Path, kinds: dict[tuple[str, ...], _Kind], made: Draft) -> None:
    inside = parsed.path.relative_to(folder)
    if parsed.error is not None:
        made.unread[inside.as_posix()] = str(parsed.error).replace(str(parsed.path), "").lstrip(": ").split("\n")[0]
        return
    for scan in parsed.scans:
        facts = {name: str(value) for name in REQUIRED if (value := _stated(scan).get(name)) is not None}
        suggested = _suggested(scan, facts)
        # The sample may differ from scan to scan; a person decides on a run per sample.
        same = tuple(facts.get(name, "") for name in REQUIRED if name != "sample")
        key = (inside.parent.as_posix(), *same, suggested.get("edge", "").split(" (")[0] if "edge" not in facts else "")
        kind = kinds.setdefault(key, _Kind(inside.parent.as_posix(), facts, suggested))
        kind.members.append((parsed.path, scan))
        made.scans += 1


def _stated(scan: Scan) -> dict[str, Any]:
    """Return the terms that a scan's file states, as ingest reads them."""
    found: dict[str, Any] = {}
    for name, value in scan.conditions.items():
        if name in BY_NAME and name != "element":
            found.update(coerce(BY_NAME[name], value))
    return found


def _suggested(scan: Scan, facts: Mapping[str, str]) -> dict[str, str]:
    """Return edge and line suggested by the energies, as text for a comment."""
    low, high = float(np.nanmin(scan.energy)), float(np.nanmax(scan.energy))
    technique = facts.get("technique", "xas")
    try:
        curve = form_signal(scan.channels, choose_signal(scan.channels, technique, None))
    except BarospecError:
        return {}
    good = np.isfinite(curve) & np.isfinite(scan.energy)
    order = np.argsort(scan.energy[good], kind="stable")
    energy, curve = scan.energy[good][order], curve[good][order]
    if energy.size < 5:
        return {}
    if technique == "xes":
        top = float(energy[np.argmax(curve)])
        lines = suggest_lines(low, high, top)
        peak = f" (highest at {top:.1f} eV; "
        if not lines:
            return {}
        first, *others = [f"{edge} {line} {value:g} eV" for edge, line, value in lines]
        return {"edge": f"{lines[0][0]}{peak}{first}{_also(others)})", "line": lines[0][1]}
    # The mean slope over a few eV, so that noise is not the steepest rise.
    wide = np.interp(energy + 2.0, energy, curve) - np.interp(energy - 2.0, energy, curve)
    rise = float(energy[np.argmax(wide)])
    edges = suggest_edges(low, high, rise, elements=_elements(scan))
    if not edges:
        return {}
    first, *others = [f"{edge} {value:g} eV" for edge, value in edges]
    return {"edge": f"{edges[0][0]} (steepest at {rise:.1f} eV; {first}{_also(others)})"}


def _elements(scan: Scan) -> set[str]:
    """Return symbols in the sample's formula, if its name or the file's has one of at least two elements."""
    known = _stated(scan)
    for text in (str(known.get("material") or ""), str(known.get("sample") or ""), scan.title):
        for word in text.split():
            symbols = re.findall(r"[A-Z][a-z]?", word)
            formula = len(set(symbols)) > 1 and re.fullmatch(r"[A-Za-z0-9.()]+", word) is not None
            if formula and all(symbol in ELEMENTS for symbol in symbols):
                return set(symbols)
    return set()


def _also(others: Sequence[str]) -> str:
    return f"; also in the range: {', '.join(others)}" if others else ""


def _write(made: Draft, folder: Path, base: Path, kinds: list[_Kind], log: RubyLog | None) -> None:
    lines = [
        f"# Drafted by `barospec sheet` from {made.scans} scans. Fill in each blank marked {BLANK[2:]}, look through the rest,",
        f"# then run: barospec check {SHEET}",
        "# Every field may be here, in a run, or a column of the scan table; the nearer one wins.",
        "",
        "# experiment:",
    ]
    lines += [f"# {name}: {_hint(BY_NAME[name])}" for name in ENCOURAGED if not _everywhere(name, kinds)]
    lines += _log_lines(made, log)
    lines.append("\nruns:")
    for number, kind in enumerate(kinds, start=1):
        table = SCANS if len(kinds) == 1 else SCANS.replace(".csv", f"-{number}.csv")
        made.files[table] = _table(kind, base, log)
        lines += _run_lines(made, kind, folder, base, table)
    if made.unread:
        lines += ["", "# Not read:"]
        lines += [f"#   {names}: {reason}" for names, reason in made.reasons()]
        lines.append("# To read a plain table, describe it: columns: {energy: {column: 1, unit: eV}, i0: 2, itrans: 3}")
    made.files = {SHEET: "\n".join(lines) + "\n", **made.files}


def _hint(term: Term) -> str:
    if term.allowed:
        return " | ".join(term.allowed)
    return f"... ({term.unit})" if term.unit else "..."


def _everywhere(name: str, kinds: Iterable[_Kind]) -> bool:
    return all(_stated(scan).get(name) is not None for kind in kinds for _, scan in kind.members)


def _log_lines(made: Draft, log: RubyLog | None) -> list[str]:
    if log is None:
        return [
            "",
            "# Pressure: a column of the scan table, or a ruby log (ruby_log: FILE, with interpolate_pressure: time).",
        ]
    lines = [
        "",
        f"# Ruby readings of {log.source}; {log.comment}",
        f"ruby_log: {log.name}",
        f"interpolate_pressure: {log.axis}",
    ]
    made.files[log.name] = log.text
    if log.local_times:
        lines.append(_blank(made, "time_zone", "the clock of the log, such as Europe/Paris"))
    if log.wavelengths:
        if not log.has_scale:
            lines.append(_blank(made, "pressure_scale", "such as ruby Mao 1986 or Ruby2020"))
        if not log.has_reference:
            lines.append(_blank(made, "ruby_reference", "nm, the line at ambient pressure on the same spectrometer"))
    return lines


def _run_lines(made: Draft, kind: _Kind, folder: Path, base: Path, table: str) -> list[str]:
    name = kind.folder if kind.folder != "." else folder.resolve().name
    lines = ["  - " + _blank(made, "run", f"a name for one loading of one sample; the folder is called {name}")]
    for field_name in REQUIRED:
        if field_name == "line" and kind.facts.get("technique") != "xes":
            continue
        if field_name not in kind.facts:
            hint = kind.suggested.get(field_name) or EXAMPLES.get(field_name, "")
            if field_name == "edge" and kind.suggested.get("edge"):
                hint = f"by the energies {hint}"
            lines.append("    " + _blank(made, field_name, hint))
        elif field_name == "sample":
            lines.append(f"    # sample: {_quoted(kind.facts['sample'])} by the files")
        else:
            lines.append(f"    # {field_name}: {kind.facts[field_name]} by the files")
    lines.append(f"    files: {_patterns(kind, folder, base)}")
    lines.append(f"    scans: {table}")
    return lines


def _blank(made: Draft, name: str, hint: str) -> str:
    made.blanks.append(f"{name}: {hint}")
    return f"{name}:  {BLANK}: {hint}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()


def _patterns(kind: _Kind, folder: Path, base: Path) -> str:
    """Return a glob if it matches these files only, otherwise their names; relative to the sheet."""
    wanted = sorted({path for path, _ in kind.members})
    suffixes = {path.suffix for path in wanted}
    if len(suffixes) == 1 and len(wanted) > 1:
        place = folder / kind.folder
        if sorted(place.glob(f"*{wanted[0].suffix}")) == wanted:
            return _quoted(f"{_relative(place, base)}/*{wanted[0].suffix}".removeprefix("./"))
    return "[" + ", ".join(_quoted(_relative(path, base)) for path in wanted) + "]"


def _table(kind: _Kind, base: Path, log: RubyLog | None) -> str:
    """Return the scan list as CSV: keys of a scan, blanks for its conditions, and in brackets help to fill them in."""
    stated = [_stated(scan) for _, scan in kind.members]
    several = any(scan.name != "1" for _, scan in kind.members)
    moved = _positioners([scan for _, scan in kind.members])
    header = ["file", *(["scan"] if several else []), "step"]
    header += [] if log is not None else ["pressure (GPa)"]
    header += [] if all(row.get("temperature") is not None for row in stated) else ["temperature (K)"]
    header += [
        "skip",
        "[title]",
        "[time UTC]",
        "[points]",
        "[from eV]",
        "[to eV]",
        "[pressure in file]",
        "[temperature in file]",
    ]
    header += [f"[{name}]" for name in moved]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for (path, scan), known in zip(kind.members, stated, strict=True):
        blanks = [""] * (len([name for name in header if not name.startswith("[")]) - 1 - several)
        facts = [
            scan.title,
            _time(known.get("time")),
            len(scan.energy),
            f"{scan.energy.min():.2f}",
            f"{scan.energy.max():.2f}",
        ]
        facts += ["" if known.get(name) is None else f"{known[name]:g}" for name in ("pressure", "temperature")]
        facts += [scan.header.get(f"positioners.{name}", "") for name in moved]
        writer.writerow([_relative(path, base), *([scan.name] if several else []), *blanks, *facts])
    return out.getvalue()


def _time(value: Any) -> str:
    return "" if value is None else datetime.fromtimestamp(value / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _positioners(scans: Sequence[Scan]) -> list[str]:
    """Return motors and sensors that differ between the scans, those with the fewest distinct values first."""
    values: dict[str, set[str]] = {}
    for scan in scans:
        for key, text in scan.header.items():
            if key.startswith("positioners."):
                values.setdefault(key.removeprefix("positioners."), set()).add(_rounded(text))
    moving = {name: len(found) for name, found in values.items() if len(found) > 1}
    return sorted(moving, key=lambda name: (moving[name], name))[:POSITIONERS]


def _rounded(text: str) -> str:
    """Round to four digits: an encoder that jitters in the sixth has not moved."""
    match = re.match(r"[-+0-9.eE]+", text)
    try:
        return f"{float(match[0]):.4g}" if match else text
    except ValueError:
        return text


assert all(name in {term.name for term in SETTABLE} for name in (*REQUIRED, *ENCOURAGED))
