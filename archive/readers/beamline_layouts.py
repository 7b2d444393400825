"""Column layouts of common beamlines, each recognized by an unmistakable first line.

A layout says in the form of a run sheet's ``columns`` what each column is. To add one: a function from header
lines to `Layout`, and a row in `LAYOUTS`. Sources: the files' own headers, and for the 9809 format (requested
and attained angle, modes 1 = i0, 2 = transmission, 3 = fluorescence) the plugin notes of Demeter/Athena.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from barospec.archive.readers.tables import is_row, split_cells


@dataclass(slots=True)
class Layout:
    """Layout of a table: its beginning (`first`, an index of lines), its columns, and what the header states.

    ``requested`` names the column of the axis as it was asked for, beside the one it was measured.
    """

    first: int
    labels: list[str]
    columns: Mapping[str, Any]
    title: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    requested: str = ""


def first_row(lines: list[str], start: int = 0) -> int:
    """Return the index of the first of two rows of numbers of one width; the number of lines when there are none."""
    previous = -1, 0
    for index in range(start, len(lines)):
        line = lines[index]
        if not line.strip():
            continue
        if not is_row(line):
            previous = -1, 0
            continue
        width = len(split_cells(line))
        if previous[1] == width:
            return previous[0]
        previous = index, width
    return len(lines)


def labels_above(lines: list[str], first: int) -> list[str]:
    """Return column labels from the last header line, if it has as many as the table has columns; else none."""
    if first >= len(lines):
        return []
    width = len(split_cells(lines[first]))
    for line in reversed(lines[:first]):
        content = line.strip().strip("#%!;*").strip()
        if not re.search(r"[A-Za-z]", content):
            continue
        for cells in (content.split(), re.split(r"\s{2,}|\t+", content), re.split(r"\s*[,;]\s*", content)):
            if len(cells) == width:
                return cells
        return []
    return []


def _match(pattern: str, lines: list[str]) -> str:
    found = re.search(pattern, "\n".join(lines), re.MULTILINE)
    return found[1].strip() if found else ""


def _stated(**values: str) -> dict[str, Any]:
    return {"technique": "xas"} | {key: value for key, value in values.items() if value}


def _aps_12bm(lines: list[str]) -> Layout:
    first = first_row(lines)
    line = next((line for line in reversed(lines[:first]) if line.startswith("#C 1_Energy")), "")
    labels = re.findall(r"(?:^|\s)\d+_(\S+(?: \([^)]*\))?)", line)
    unit = _match(r"1_Energy \((\w+)\)", [line]) or "keV"
    return Layout(
        first,
        labels,
        {"energy": {"column": 1, "unit": unit}, "i0": "i0", "itrans": "i1", "irefer": "i2"},
        title=_match(r"^#S (.*)$", lines[:first]),
        conditions=_stated(),
        note="fluorescence counters are not taken; name them under columns: to have them",
    )


def _lisa(lines: list[str]) -> Layout:
    columns = {
        "energy": {"column": "eBraggEnergy", "unit": "eV"},
        "i0": "I0_EH1",
        "itrans": "I1_EH1",
        "irefer": "IR_EH2",
        "mutrans": "mu",
        "murefer": "mu_ref",
    }
    return Layout(first_row(lines), lines[0].lstrip("#").split(), columns, conditions=_stated())


def _lucia(lines: list[str]) -> Layout:
    first = first_row(lines)
    head = lines[:first]
    target = _match(r"^# TARGET : (.*)$", head)
    unit = "eV" if _match(r"(From\(eV\))", head) else ""
    return Layout(
        first,
        labels_above(lines, first),
        {"energy": {"column": "Energy", "unit": unit}, "i0": "Io", "ifluor": "FY_c"},
        title=target,
        conditions=_stated(
            facility="SOLEIL",
            beamline="LUCIA",
            sample=target,
            monochromator=_match(r"Monochromator Crystal : (?:\d+: )?(.*)$", head),
        ),
        note="ifluor is FY_c, corrected for dead time by the beamline; It and TEY are not taken",
    )


def _xdac(lines: list[str]) -> Layout:
    rule = next((i for i, line in enumerate(lines) if re.fullmatch(r"-{20,}\s*", line)), 0)
    first = first_row(lines, rule)
    after = next((i for i, line in enumerate(lines[:rule]) if line.startswith("Gains=")), rule)
    return Layout(
        first,
        labels_above(lines, first),
        {"energy": {"column": "Energy", "unit": "eV"}, "i0": "I0", "itrans": "It", "irefer": "Iref"},
        title=next((line.strip() for line in lines[after + 1 : rule] if line.strip()), ""),
        conditions=_stated(
            beamline=_match(r'^".*" created on .* on (\S+)\s*$', lines[:rule]),
            monochromator=_match(r"^Diffraction element= *(.*?)\.? +Ring", lines[:rule]),
        ),
        note="fluorescence counters are not summed; say columns: {ifluor: [4, 5], ...} to sum the good ones",
    )


def _pf_9809(lines: list[str]) -> Layout:
    offset = next((i for i, line in enumerate(lines) if line.split()[:1] == ["Offset"]), 0)
    first = first_row(lines, offset + 1)
    head = lines[:first]
    modes = next((line.split() for line in head if line.split()[:1] == ["Mode"]), [])
    by_mode: dict[str, list[int]] = {}
    for column, mode in enumerate(modes, 1):
        by_mode.setdefault(mode, []).append(column)
    columns: dict[str, Any] = {"angle": {"column": "Angle(o)", "unit": "deg"}}
    for mode, channel in (("1", "i0"), ("2", "itrans"), ("3", "ifluor")):
        if by_mode.get(mode):
            columns[channel] = by_mode[mode]
    columns["d_spacing"] = _match(r"\bD= *([\d.]+) +A\b", head)
    detectors = [f"{cell}_{i}" for i, cell in enumerate(lines[max(offset - 2, 0)].split()[3:], 4)]
    spacing = _match(r"\bD= *([\d.]+) +A\b", head)
    conditions = _stated(
        facility=_match(r"^\s*9809\s+(\S+)", head),
        beamline=_match(r"^\s*9809\s+\S+\s+(\S+)", head),
        monochromator=_match(r"Mono : +(\S+)", head),
    )
    return Layout(
        first,
        ["Angle(c)", "Angle(o)", "time/s", *detectors],
        columns,
        title=head[2].strip() if len(head) > 2 else "",
        conditions=conditions | ({"d_spacing": float(spacing)} if spacing.count(".") <= 1 and spacing else {}),
        note="energy from the attained angle, Angle(o); dark offsets are not subtracted",
        requested="Angle(c)",
    )


def _ssrl(lines: list[str]) -> Layout:
    data = next((i for i, line in enumerate(lines) if line.strip() == "Data:"), len(lines))
    labels = []
    for line in lines[data + 1 :]:
        if not line.strip() or is_row(line):
            break
        labels.append(line.strip())
    return Layout(
        first_row(lines, data + 1 + len(labels)),
        labels,
        {
            "energy": {"column": "Achieved Energy", "unit": "eV"},
            "i0": "I0",
            "itrans": "I1",
            "irefer": "I2",
        },
        title=lines[7].strip() if len(lines) > 7 else "",
        conditions=_stated(facility="SSRL"),
        note="itrans is I1 and irefer is I2, as usual; the file does not say where sample and foil stood",
        requested="Requested Energy",
    )


# Name, what the file must begin with, and the layout of its columns.
LAYOUTS: tuple[tuple[str, re.Pattern[bytes], Callable[[list[str]], Layout]], ...] = (
    ("APS 12-BM", re.compile(rb"(?:#[^\n]*\n)+?#C 1_Energy \("), _aps_12bm),
    ("ESRF BM08 LISA", re.compile(rb"#eBraggEnergy I0_EH1 I1_EH1 mu I1_EH2 IR_EH2 mu_ref\s"), _lisa),
    ("SOLEIL LUCIA", re.compile(rb"# XAS / LUCIA / SOLEIL"), _lucia),
    ("NSLS XDAC", re.compile(rb"XDAC V\d"), _xdac),
    ("9809 (Photon Factory)", re.compile(rb"\s*9809\s+(?:KEK-PF|SPring-8|SAGA-LS|AichiSR)\s"), _pf_9809),
    ("SSRL EXAFS Data Collector", re.compile(rb"SSRL\s+EXAFS Data Collector"), _ssrl),
)


def find_layout(head: bytes) -> tuple[str, Callable[[list[str]], Layout]] | None:
    """Find name and layout of the beamline whose files begin like `head`; None when there is none.

    >>> find_layout(b"XDAC V1.4 Datafile V1")[0]
    'NSLS XDAC'
    """
    for name, pattern, layout in LAYOUTS:
        if pattern.match(head):
            return name, layout
    return None
