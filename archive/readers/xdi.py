"""XDI 1.0, the XAS Data Interchange text format.

Rules after the specification and the dictionary of metadata of the XAS Data Interchange working group
(https://github.com/XraySpectroscopy/XAS-Data-Interchange, version 1.0). Files that break a rule are read with
a warning where the numbers stay certain, and refused where they do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import sample_environment, scans, tables
from barospec.archive.readers.columns import channels_from_options
from barospec.schemas.errors import InvalidData, UnreadableFile, Unsupported
from barospec.schemas.records import Problem, Scan
from barospec.schemas.units import parse_quantity
from barospec.schemas.vocabulary import CHANNELS, ELEMENTS, LEVELS, find_edge

name = "xdi"
version = 1
suffixes = (".xdi",)

_VERSION = re.compile(r"#\s*XDI/(\d+)\.(\d+)", re.IGNORECASE)
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_-]*\.[A-Za-z0-9_-]+)\s*:(.*)")
_LIKE_XDI = re.compile(rb"^#\s*Column\.1\s*:", re.IGNORECASE | re.MULTILINE)
_FORMULA = re.compile(rf"(?=.*[A-Z])(?:[\[(){{}}\]\s.,+\-\d]|{'|'.join(sorted(ELEMENTS, key=len, reverse=True))})+")
# Labels of the dictionary are the vocabulary's channels; these are in use beside them.
_SYNONYMS = {
    "it": "itrans",
    "if": "ifluor",
    "ifl": "ifluor",
    "ir": "irefer",
    "iref": "irefer",
    "mu": "murecorded",
    "xmu": "murecorded",
}
_TEXT_TERMS = {
    "facility.name": "facility",
    "beamline.name": "beamline",
    "mono.name": "monochromator",
    "sample.name": "sample",
}
_QUANTITIES = {"sample.temperature": ("temperature", "K"), "sample.pressure": ("pressure", "GPa")}


def sniff(head: bytes, filename: str) -> bool:
    """Check whether the file says XDI in its first line, or has XDI's column fields all the same."""
    return bool(re.match(rb"(?:\xef\xbb\xbf)?#\s*XDI/\d", head)) or (
        head.startswith(b"#") and bool(_LIKE_XDI.search(head))
    )


@dataclass(slots=True)
class _Header:
    fields: dict[str, str] = field(default_factory=dict)  # as written
    lower: dict[str, str] = field(default_factory=dict)  # names casefolded, for look-up
    comments: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    end: int = 0  # index of the first line after the header
    problems: list[Problem] = field(default_factory=list)

    @property
    def declared(self) -> dict[int, str]:
        """Columns by number, as ``Column.N`` fields declare them."""
        pairs = ((key.removeprefix("column."), value) for key, value in self.lower.items() if "column." in key)
        return {int(number): value for number, value in pairs if number.isdigit() and int(number) > 0}


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read the one spectrum of an XDI file.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``columns`` replaces what the file says about its columns; ``d_spacing`` (Å) goes before the file's
        own where the abscissa is an angle.

    Returns
    -------
    list of Scan
        One scan; energy in eV, channels as recorded.

    Raises
    ------
    UnreadableFile, InvalidData, Unsupported
        See ``archive/readers/README.md``.
    """
    text, problems = tables.read_text(path)
    lines = text.split("\n")
    header = _read_header(lines, path)
    problems += header.problems
    table = tables.parse_table(lines[header.end :], header.end + 1, path, cut=not text.endswith("\n"))
    problems += table.problems
    columns = _columns(header, table, path, problems)
    if options.get("columns"):
        labels = [columns.get(i, "").split(" ")[0] for i in range(1, table.values.shape[1] + 1)]
        energy, channels = channels_from_options(table.values, labels, options, path)
    else:
        energy = _energy(header, columns, table.values, options, path)
        channels = _channels(columns, table.values, path, problems)
    conditions = _conditions(header, path, problems)
    fields = dict(header.fields)
    if header.comments:
        fields["comments"] = "\n".join(header.comments)
    fields |= sample_environment.dead_time_columns((value.split(" ")[0] for value in columns.values()), channels)
    return [
        scans.make_scan(
            path,
            energy,
            channels,
            lines=table.lines,
            title=header.lower.get("sample.name", ""),
            conditions=conditions,
            header=fields,
            problems=problems,
        )
    ]


def _read_header(lines: list[str], path: Path) -> _Header:
    header = _Header()

    def warn(message: str, line: int) -> None:
        header.problems.append(Problem("warning", message, str(path), line))

    stated = _VERSION.match(lines[0])
    if stated is None:
        warn(f'the first line is "{lines[0][:40]}", not "# XDI/1.0"; read as XDI 1.0', 1)
    elif int(stated[1]) > 1:
        raise Unsupported(f"{path}:1: XDI {stated[1]}.{stated[2]}; this version reads XDI 1.x.")
    else:
        header.fields["XDI"] = lines[0].lstrip("# ").strip()
    comments_began = ended = False
    for index, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        header.end = index + 1
        content = line.lstrip()[1:].strip()
        if index == 0:
            continue
        if re.fullmatch(r"-{3,}", content):
            ended = True
        elif ended:
            header.labels = content.split()
        elif re.fullmatch(r"/{3,}", content):
            comments_began = True
        elif comments_began:
            # One leading space goes, the rest of a comment is the user's.
            header.comments.append(line.lstrip()[1:].removeprefix(" ").rstrip())
        elif content:
            _read_field(header, content, index + 1, warn)
    if not ended:
        warn('no line "#----" ends the header; it is taken to end before the first row of numbers', header.end)
        if header.comments:
            header.labels = header.comments.pop().split()
    if header.end == len(lines):
        raise UnreadableFile(f"{path}: ends within its header (line {len(lines)}): truncated, or still being written?")
    return header


def _read_field(header: _Header, content: str, line: int, warn: Any) -> None:
    match = _FIELD.fullmatch(content)
    if match is None:
        warn(f'"{content[:60]}" is not a field (Namespace.tag: value) and is ignored', line)
        return
    key, value = match[1], match[2].strip()
    if key.casefold() in header.lower and header.lower[key.casefold()] != value:
        warn(f'"{key}" is given twice; the last value counts', line)
    header.fields[key] = value
    header.lower[key.casefold()] = value


def _columns(header: _Header, table: tables.Table, path: Path, problems: list[Problem]) -> dict[int, str]:
    """Return what each column is, by number from 1 ("energy eV"); report where the file contradicts itself."""
    width = table.values.shape[1]
    declared, labels = header.declared, header.labels

    def warn(message: str) -> None:
        problems.append(Problem("warning", message, str(path), header.end))

    surplus = sorted(number for number in declared if number > width)
    if surplus:
        names = ", ".join(f'Column.{number} "{declared[number]}"' for number in surplus)
        warn(f"{names} is declared, but the rows have {width} columns; it is ignored")
    columns = {number: value for number, value in declared.items() if number <= width}
    if not columns and len(labels) == width:
        warn("no Column.N fields; the columns are named by the label line")
        columns = dict(enumerate(labels, 1))
    elif len(labels) == width:
        for number, label in enumerate(labels, 1):
            first = columns.get(number, label).split()[:1]
            if first and first[0].casefold() != label.casefold():
                warn(f'column {number} is "{columns[number]}" by its field but "{label}" by the label line')
    elif labels:
        warn(f"{len(labels)} labels for {width} columns; the label line is ignored")
    unnamed = [str(number) for number in range(1, width + 1) if not columns.get(number)]
    if unnamed and columns:
        warn(f"column {', '.join(unnamed)} has no name and is ignored")
    return columns


def _energy(
    header: _Header, columns: dict[int, str], values: tables.Array, options: Mapping[str, Any], path: Path
) -> tables.Array:
    named = {value.split()[0].casefold(): (number, value.split()[1:]) for number, value in columns.items() if value}
    if "energy" in named:
        number, unit = named["energy"]
        place = f"{path}: column {number}"
        if not unit:
            return scans.assume_ev(values[:, number - 1], place)
        return scans.scale_to(values[:, number - 1], " ".join(unit), "eV", place)
    if "angle" in named:
        number, unit = named["angle"]
        angle = scans.scale_to(values[:, number - 1], " ".join(unit) or "deg", "deg", f"{path}: column {number}")
        d_spacing = scans.d_spacing_from(options, path) or _d_spacing(header)
        if d_spacing is None:
            raise InvalidData(
                f"{path}: the abscissa is an angle, and there is no Mono.d_spacing to turn it into an "
                "energy. "
                "Give d_spacing: 3.1356 (Å) in the run sheet."
            )
        return scans.energy_from_angle(angle, d_spacing)
    first = columns.get(1, "")
    raise InvalidData(
        f'{path}: no column is an energy or an angle (column 1 is "{first}"), so this is no spectrum. If '
        "column 1 is "
        "one nevertheless, say so: columns: {energy: {column: 1, unit: eV}, i0: 2, itrans: 3}."
    )


def _channels(
    columns: dict[int, str], values: tables.Array, path: Path, problems: list[Problem]
) -> dict[str, tables.Array]:
    channels: dict[str, tables.Array] = {}
    left = []
    for number, value in sorted(columns.items()):
        label = value.split()[0].casefold() if value else ""
        channel = _SYNONYMS.get(label, label)
        if channel in CHANNELS and channel not in channels:
            channels[channel] = values[:, number - 1]
        elif label and label not in ("energy", "angle"):
            left.append(value.split()[0])
    if left:
        problems.append(Problem("note", f"columns that are not channels are not kept: {', '.join(left)}", str(path)))
    if not channels:
        raise InvalidData(
            f"{path}: none of its columns ({', '.join(columns.values())}) is a channel. Say which are: "
            "columns: {energy: {column: 1, unit: eV}, i0: 2, itrans: 3}."
        )
    return channels


def _d_spacing(header: _Header) -> float | None:
    """Return the stated lattice spacing in Å; None when missing, no number, or no crystal's, such as 0."""
    value = tables.numeric((header.lower.get("mono.d_spacing", "").split() or [""])[0])
    return value if value is not None and np.isfinite(value) and 0.1 < value < 100 else None


def _conditions(header: _Header, path: Path, problems: list[Problem]) -> dict[str, Any]:
    """Return vocabulary terms that the header states; what it states unclearly stays in the header, with a note."""
    stated = header.lower
    found: dict[str, Any] = {"technique": "xas"}  # the format is for absorption spectra only

    def add_problem(severity: Any, message: str) -> None:
        problems.append(Problem(severity, message, str(path)))

    symbol, level = stated.get("element.symbol", ""), stated.get("element.edge", "")
    edge = find_edge(f"{symbol} {level}") if symbol and level else None
    if edge:
        found["edge"] = edge
    else:
        add_problem(
            "warning",
            f'Element.symbol is "{symbol}" and Element.edge is "{level}": the edge is not known. Give it in '
            f"the run sheet; levels are {', '.join(LEVELS)}",
        )
    found |= {term: stated[key] for key, term in _TEXT_TERMS.items() if stated.get(key)}
    formula = stated.get("sample.stoichiometry") or stated.get("sample.formula")
    if formula and _FORMULA.fullmatch(formula):
        # The IUCr's form has spaces between elements, most files do not: La3 Ni2 O7 is La3Ni2O7.
        found["material"] = "".join(formula.split())
    elif formula:
        add_problem("note", f'"{formula}" is not a chemical formula; material is left open')
    d_spacing = _d_spacing(header)
    if d_spacing is not None:
        found["d_spacing"] = d_spacing
    elif stated.get("mono.d_spacing"):
        add_problem(
            "warning",
            f'Mono.d_spacing "{stated["mono.d_spacing"]}" is not a spacing in Å; d_spacing is left open',
        )
    for key, (term, unit) in _QUANTITIES.items():
        if stated.get(key):
            value = _quantity(stated[key], unit)
            if value is None:
                add_problem("note", f'"{stated[key]}" states no number with a unit; {term} is left open')
            else:
                found[term] = value
    start = stated.get("scan.start_time", "")
    moment = scans.utc(start)
    if moment:
        found["time"] = moment
    elif start:
        add_problem("note", f'Scan.start_time "{start}" has no time zone; time (UTC) is left open')
    return found


def _quantity(text: str, unit: str) -> float | None:
    """Return the number, not negative, that a text states with its unit; None for words and a bare number."""
    plain = re.sub(r"\bdeg(?:rees?)?\.?\s*(?=[KC]\b)", "", text.strip())
    plain = re.sub(r"(?<=[\d\s])C$", "degC", plain)
    if not re.search(r"[^\d\s.eE+±-]", plain):
        return None
    try:
        value = parse_quantity(plain, unit).value
    except InvalidData:
        return None
    return value if value >= 0 else None
