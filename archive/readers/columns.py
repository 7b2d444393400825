"""Plain columns of numbers: by a layout in the run sheet, or by one of the known beamline layouts.

A run sheet's ``columns`` (docs/run-sheets.md) goes before a known layout. A list of columns is summed, for
the elements of a multi-element detector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import beamline_layouts, sample_environment, scans, tables
from barospec.schemas.errors import InvalidData, did_you_mean
from barospec.schemas.records import Problem, Scan
from barospec.schemas.vocabulary import CHANNELS, find_channel

name = "columns"
version = 1
suffixes = (".dat", ".txt", ".csv", ".xmu")

_AXES = ("energy", "angle")
_HOW = "columns: {energy: {column: 1, unit: eV}, i0: 2, itrans: 3}"


def sniff(head: bytes, filename: str) -> bool:
    """Check whether the file begins like one of the known beamline layouts."""
    return beamline_layouts.find_layout(head) is not None


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read the one spectrum of a column file.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``columns``: vocabulary channels and ``energy`` or ``angle``, each a column's number from 1, its
        label, or a mapping with ``column`` and ``unit``; ``d_spacing`` in Å.

    Returns
    -------
    list of Scan
        One scan; energy in eV.

    Raises
    ------
    UnreadableFile, InvalidData
        See ``archive/readers/README.md``.
    """
    text, problems = tables.read_text(path)
    lines = text.split("\n")
    known = beamline_layouts.find_layout(text[:4096].encode("utf-8"))
    if known:
        layout = known[1](lines)
    else:
        first = beamline_layouts.first_row(lines)
        layout = beamline_layouts.Layout(first, beamline_layouts.labels_above(lines, first), {})
    given = options.get("columns") or _present(layout)
    if not given:
        raise InvalidData(f"{path}: {_describe(lines, layout)} Say which column is what in the run sheet: {_HOW}.")
    table = tables.parse_table(lines[layout.first :], layout.first + 1, path, cut=not text.endswith("\n"))
    problems += table.problems
    energy, channels = channels_from_options(table.values, layout.labels, {**options, "columns": given}, path)
    if known and not options.get("columns"):
        problems.append(Problem("note", f"read as {known[0]}" + (f": {layout.note}" if layout.note else ""), str(path)))
        problems += _against_request(table.values, layout, energy, options, path)
    header = {"header": "\n".join(lines[: layout.first]).rstrip()}
    header |= sample_environment.dead_time_columns(layout.labels, channels)
    return [
        scans.make_scan(
            path,
            energy,
            channels,
            lines=table.lines,
            title=layout.title,
            conditions=layout.conditions,
            header=({"layout": known[0]} if known else {}) | {key: text for key, text in header.items() if text},
            problems=problems,
        )
    ]


def channels_from_options(
    values: tables.Array, labels: list[str], options: Mapping[str, Any], path: Path
) -> tuple[tables.Array, dict[str, tables.Array]]:
    """Take energy and channels from a table, as ``options["columns"]`` describes it.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        The numbers of the file.
    labels : list of str
        Names of the columns, in order; may be shorter, or empty.
    options : mapping
        With ``columns`` as in ``docs/run-sheets.md``, and ``d_spacing``.
    path : Path
        The file, for messages.

    Returns
    -------
    energy : ndarray, shape (rows,)
        In eV.
    channels : dict of str to ndarray, shape (rows,)

    Raises
    ------
    InvalidData
        For an unknown key, column or unit, or without an energy.

    Examples
    --------
    >>> table = np.array([[8.3, 10.0, 5.0], [8.4, 10.0, 4.0]])
    >>> layout = {"columns": {"energy": {"column": 1, "unit": "keV"}, "i0": 2, "itrans": "3"}}
    >>> energy, channels = channels_from_options(table, [], layout, Path("foil.dat"))
    >>> energy.tolist(), sorted(channels)
    ([8300.0, 8400.0], ['i0', 'itrans'])
    """
    columns = options["columns"]
    _check_layout(columns, path)
    named = {key: channel for key in columns if (channel := find_channel(str(key)))}
    channels = {channel: _column(columns[key], key, values, labels, path)[0] for key, channel in named.items()}
    if "energy" in columns:
        energy, unit = _column(columns["energy"], "energy", values, labels, path)
        if unit:
            return scans.scale_to(energy, unit, "eV", f"{path}: columns: energy"), channels
        return scans.assume_ev(energy, f"{path}: columns: energy"), channels
    if "angle" in columns:
        angle, unit = _column(columns["angle"], "angle", values, labels, path)
        d_spacing = scans.d_spacing_from(options, path)
        if d_spacing is None:
            raise InvalidData(f"{path}: columns: an angle needs d_spacing, in Å; write d_spacing: 3.1356 beside it.")
        degrees = scans.scale_to(angle, unit or "deg", "deg", f"{path}: columns: angle")
        return scans.energy_from_angle(degrees, d_spacing), channels
    raise InvalidData(f"{path}: columns has neither energy nor angle. Write {_HOW}.")


def _check_layout(columns: Any, path: Path) -> None:
    """Refuse what is no mapping from known names."""
    if not isinstance(columns, Mapping):
        raise InvalidData(f"{path}: columns is {columns!r}, not a mapping. Write {_HOW}.")
    for key in columns:
        if find_channel(str(key)) is None and key not in (*_AXES, "d_spacing"):
            known = [*_AXES, "mu", *CHANNELS]
            raise InvalidData(f'{path}: columns: no channel "{key}".{did_you_mean(str(key), known)}')


def _column(entry: Any, key: str, values: tables.Array, labels: list[str], path: Path) -> tuple[tables.Array, str]:
    """Return the column that an entry names, or the sum of those, and the unit stated for it ("" when none is)."""
    unit, wanted = "", entry
    if isinstance(entry, Mapping):
        extra = sorted(set(entry) - {"column", "unit"})
        if extra or "column" not in entry:
            raise InvalidData(
                f"{path}: columns: {key}: {dict(entry)} is not understood. Write {{column: 1, unit: eV}}."
            )
        wanted, unit = entry["column"], str(entry.get("unit") or "")
    numbers = [
        _number(one, key, values.shape[1], labels, path)
        for one in (wanted if isinstance(wanted, list | tuple) else [wanted])
    ]
    if not numbers:
        raise InvalidData(f"{path}: columns: {key}: an empty list names no column.")
    label = labels[numbers[0] - 1] if numbers[0] <= len(labels) else ""
    if not unit and key in _AXES:
        stated = re.search(r"(?i)(?:[(\[_/ ]|^)(kev|mev|ev|deg|mrad|rad)[)\]]?$", label)
        unit = stated[1] if stated else ""
    return np.sum([values[:, number - 1] for number in numbers], axis=0), unit


def _number(wanted: Any, key: str, width: int, labels: list[str], path: Path) -> int:
    """Return a column's number from 1, from its number or its label."""
    text = str(wanted).strip()
    for fold in (lambda label: label, str.casefold, lambda label: re.split(r"[\s(\[]", label)[0].casefold()):
        matches = [number for number, label in enumerate(labels, 1) if fold(label) == fold(text)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InvalidData(f'{path}: columns: {key}: {len(matches)} columns are called "{text}"; give its number.')
    if text.isdigit() and 1 <= int(text) <= width:
        return int(text)
    there = f"There are columns 1 to {width}" + (f", called {', '.join(labels)}." if labels else ", without labels.")
    raise InvalidData(f'{path}: columns: {key}: there is no column "{text}". {there}')


def _present(layout: beamline_layouts.Layout) -> dict[str, Any]:
    """Return the layout's columns without the detectors that this file does not have."""
    return {
        key: entry
        for key, entry in layout.columns.items()
        if key not in CHANNELS or not isinstance(entry, str) or entry in layout.labels
    }


def _describe(lines: list[str], layout: beamline_layouts.Layout) -> str:
    """Describe the columns for a person who has to write the layout."""
    if layout.first >= len(lines):
        return "there are no two rows of numbers of one width in it."
    width = len(tables.split_cells(lines[layout.first]))
    names = f" labelled {', '.join(layout.labels)}" if layout.labels else " without labels"
    sample = " ".join(lines[layout.first].split())[:80]
    return f'{width} columns{names}, from line {layout.first + 1} on ("{sample}"); which is what is not known.'


def _against_request(
    values: tables.Array, layout: beamline_layouts.Layout, energy: tables.Array, options: Mapping[str, Any], path: Path
) -> list[Problem]:
    """Return a warning where the measured axis strays from the requested one."""
    if not layout.requested or layout.requested not in layout.labels:
        return []
    axis = next(key for key in _AXES if key in layout.columns)
    columns = {axis: {"column": layout.requested, "unit": layout.columns[axis]["unit"]}}
    if "d_spacing" in layout.columns:
        columns["d_spacing"] = layout.columns["d_spacing"]
    requested, _ = channels_from_options(values, layout.labels, {**options, "columns": columns}, path)
    apart = np.abs(energy - requested)
    largest = float(np.nanmax(apart)) if np.isfinite(apart).any() else 0.0
    if largest <= 1.0:
        return []
    message = f"the measured axis, which is taken, differs from the requested one by up to {largest:.1f} eV"
    return [Problem("warning", message, str(path))]
