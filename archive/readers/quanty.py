"""Quanty's spectra as text, also those that Crispy has it write (``NAME_iso.spec``): not SPEC's format.

Five lines (``#Spectra: n``, energy range, pole range, step and Gamma, labels), then energy and the real and
imaginary part of each spectrum. Quanty's Green's function has a negative imaginary part; Crispy writes
-1/π of it, which is positive. Either is recognized by its sign. After the Quanty documentation (Spectra,
CreateSpectra) and the reference spectra of Crispy 2026.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import columns as plain_columns
from barospec.archive.readers import scans, tables
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Problem, Scan
from barospec.schemas.vocabulary import find_channel

name = "quanty"
version = 1
suffixes = (".spec",)

_FIRST = re.compile(r"#Spectra:\s*(\d+)\s*$")
# Of the largest value: rounding and tails of other poles may turn a sign, a dichroism does more.
_NOISE = 1e-3


def sniff(head: bytes, filename: str) -> bool:
    """Check whether the first line is ``#Spectra: n``."""
    return bool(_FIRST.match(head.decode("latin-1").split("\n", 1)[0]))


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read the spectra of a Quanty file: the imaginary part of each.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``columns: {E_edge: 852.7}`` (eV) is added to energies that are relative to the edge;
        ``columns: {iemission: 3}`` or ``{mucalc: "Im[1]"}`` takes one column as it is, for what is no absorption.

    Returns
    -------
    list of Scan
        Channel ``mucalc``; scans are numbered from 1. Edge, technique and sample are not in such a file.

    Raises
    ------
    UnreadableFile, InvalidData
        See ``archive/readers/README.md``; also for relative energies without ``E_edge``, and for curves of both signs.
    """
    text, problems = tables.read_text(path)
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if tables.is_row(line)), None)
    if first is None:
        raise UnreadableFile(f"{path}: no rows of numbers: truncated, or still being written?")
    labels = lines[first - 1].split() if first else []
    if not labels or labels[0] != "Energy":
        raise UnreadableFile(f'{path}:{first}: no line "Energy Re[0] Im[0]" before the numbers: no spectrum of Quanty?')
    table = tables.parse_table(lines[first:], first + 1, path, cut=not text.endswith("\n"))
    if len(labels) != table.values.shape[1]:
        raise InvalidData(f"{path}:{first}: {len(labels)} labels for {table.values.shape[1]} columns: damaged.")
    stated = _FIRST.match(lines[0])
    if stated and int(stated[1]) * 2 + 1 != len(labels):
        problems.append(Problem("warning", f"{stated[1]} spectra are stated, labels are {len(labels)}", str(path), 1))
    energy = _energy(table.values[:, 0], options, path, problems)
    curves = _curves(table.values, labels, options, path, problems)
    problems += table.problems
    header = {"header": "\n".join(line.rstrip() for line in lines[:first])}
    found: list[Scan] = []
    for number, channels in enumerate(curves, 1):
        found.append(
            scans.make_scan(
                path,
                energy,
                channels,
                name=str(number),
                lines=table.lines,
                title=path.stem,
                conditions=_conditions(lines[:first]),
                header=header,
                problems=problems if not found else (),
            )
        )
    return found


def _energy(values: tables.Array, options: Mapping[str, Any], path: Path, problems: list[Problem]) -> tables.Array:
    edge = scans.edge_energy_from(options, path)
    if edge is not None:
        return values + edge
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() < scans.PLAUSIBLE_EV[0]:
        raise InvalidData(
            f"{path}: energies from {finite.min():.6g} to {finite.max():.6g} are relative to an edge (or an energy loss, "
            "which is no spectrum here). Say columns: {E_edge: 852.7} (eV) in the run sheet."
        )
    problems.append(Problem("note", "energies are those of the model, taken as eV and not calibrated", str(path)))
    return values


def _curves(
    values: tables.Array, labels: list[str], options: Mapping[str, Any], path: Path, problems: list[Problem]
) -> list[dict[str, tables.Array]]:
    given = options.get("columns") or {}
    if not isinstance(given, Mapping):
        raise InvalidData(f"{path}: columns is {given!r}; write columns: {{E_edge: 852.7}}.")
    asked = {key: entry for key, entry in given.items() if str(key).casefold() != "e_edge"}
    if asked:
        if unknown := [str(key) for key in asked if find_channel(str(key)) is None]:
            raise InvalidData(f"{path}: columns: {', '.join(unknown)} is neither E_edge nor a channel, such as mucalc.")
        _, channels = plain_columns.channels_from_options(
            values, labels, {"columns": {"energy": {"column": 1, "unit": "eV"}, **asked}}, path
        )
        return [channels]
    found: list[dict[str, tables.Array]] = []
    for index, label in enumerate(labels):
        if label.startswith("Im"):
            found.append({"mucalc": _positive(values[:, index], label, path, problems)})
    if not found:
        raise InvalidData(f"{path}: no column is an imaginary part (labels are {' '.join(labels)[:60]}).")
    return found


def _positive(curve: tables.Array, label: str, path: Path, problems: list[Problem]) -> tables.Array:
    """Return the absorption from an imaginary part; refused when it has both signs."""
    finite = curve[np.isfinite(curve)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low >= -_NOISE * high:
        return curve
    if high <= -_NOISE * low:
        message = f"{label} is negative, Quanty's own Green's function: its sign is turned"
        problems.append(Problem("note", message, str(path)))
        return -curve
    raise InvalidData(
        f"{path}: {label} has both signs ({low:.3g} to {high:.3g}): a dichroism or a difference, no absorption. To take "
        f'it as it is, say columns: {{mucalc: "{label}"}}.'
    )


def _conditions(lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "origin": "calculated",
        "mode": "calculation",
        "energy_calibration": "calculated",
        "code": "Quanty",
    }
    gamma = next((line.split() for line in lines if re.match(r"dE_*Gamma\b", line)), [])
    width = tables.numeric(gamma[2]) if len(gamma) > 2 else None
    return found | ({"method": f"multiplet; Gamma={width:g} eV (full width)"} if width is not None else {})
