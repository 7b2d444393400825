"""Conditions of a scan: from its file, overruled by stated values; pressures from gauge readings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from barospec.archive.sheets import ruby_pressure
from barospec.archive.sheets.records import Row, SheetRun
from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Scan
from barospec.schemas.values import checked, coerce, parse_value, show_value
from barospec.schemas.vocabulary import BY_NAME, SETTABLE, TERMS

Reporter = Callable[[Literal["warning", "note"], str], None]
# Both may be right: the file has the sample's name as typed, the sheet as its owner writes it.
NO_CONTRADICTION = ("title", "note", "sample", "material")
LINES = ("ruby_wavelength", "ruby_wavelength_before", "ruby_wavelength_after")

EXAMPLES = {
    "run": "run-2",
    "sample": '"La3Ni2O7 batch 3"',
    "technique": "xas",
    "edge": '"Ni K"',
    "line": "Kb",
    "origin": "measured",
}


def applies(needed: Mapping[str, tuple[str, ...]], columns: Mapping[str, Any]) -> bool:
    """Return True if a term with these conditions applies to a row."""
    return all(columns.get(name) in values for name, values in needed.items())


def scan_conditions(scan: Scan, stated: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Return all terms of a scan; check that required ones are present.

    Parameters
    ----------
    scan : Scan
        With the terms of its file.
    stated : mapping
        Stated terms; they win, and `report` gets a message for each difference.
    report : callable
        ``report(severity, message)``.

    Returns
    -------
    dict

    Raises
    ------
    InvalidData
        A required term is missing, or a gauge reading cannot become a pressure.
    """
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
        _compare(name, columns.get(name), value, report)
        columns[name] = value
    if columns.get("title") is None and scan.title:
        try:
            columns |= checked({"title": scan.title})
        except InvalidData as error:
            report("warning", f"the file's title is not read: {error}")
    require(columns)
    _use_gauge(columns, stated, report)
    for term in SETTABLE:
        if term.applies and columns.get(term.name) is not None and not applies(term.applies, columns):
            del columns[term.name]
    return columns


def conditions_sha256(columns: Mapping[str, Any]) -> bytes:
    """Return the fingerprint of the terms that people may state about a spectrum."""
    settable = {term.name: columns.get(term.name) for term in SETTABLE}
    return hashlib.sha256(json.dumps(settable, sort_keys=True).encode()).digest()


def _compare(name: str, before: Any, value: Any, report: Reporter) -> None:
    if before is not None and before != value and name not in NO_CONTRADICTION:
        term = BY_NAME[name]
        # Another edge or origin than the file's own is more likely a mistake than a correction.
        report(
            "warning" if name in ("edge", "line", "technique", "origin") else "note",
            f"{name} is {show_value(term, before)} in the file, {show_value(term, value)} as stated; the latter is kept.",
        )


def require(columns: Mapping[str, Any]) -> None:
    """Raise InvalidData if a required term is missing."""
    lacking = [t.name for t in SETTABLE if t.need == "required" and columns.get(t.name) is None]
    if columns.get("technique") == "xes" and columns.get("line") is None:
        lacking.append("line")
    if lacking:
        raise InvalidData(
            f"{', '.join(lacking)} not stated in the file or by you. State it in the run sheet, or with "
            + " ".join(f"--set {name}={EXAMPLES.get(name, '...')}" for name in lacking)
        )


def literature_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a literature value in the vocabulary's terms; raise InvalidData if a required term is missing."""
    values: dict[str, Any] = {}
    for name, text in record.items():
        if not isinstance(text, str):
            raise InvalidData(f"{name} needs a single value.")
        values.update(parse_value(BY_NAME[name], text))
    lacking = [t.name for t in TERMS if t.level == "literature" and t.need == "required" and values.get(t.name) is None]
    if lacking:
        raise InvalidData(f"a literature value needs {', '.join(lacking)}.")
    return values


def _use_gauge(columns: dict[str, Any], stated: Mapping[str, Any], report: Reporter) -> None:
    """Add the pressure computed from a ruby; it wins over a pressure that only the file states."""
    known = dict(columns)
    in_file = known.get("pressure")
    from_person = stated.get("pressure") is not None
    if in_file is not None and not from_person and any(stated[n] is not None for n in stated if n in LINES):
        known.pop("pressure")
    terms, warnings = ruby_pressure.from_gauge(known)
    for message in warnings:
        report("warning", message + ".")
    if "pressure" in terms and in_file is not None:
        _compare("pressure", in_file, terms["pressure"], report)
    columns.update(terms)


def fill_between(run: SheetRun, rows: Sequence[dict[str, Any]], elsewhere: Sequence[Row] = ()) -> list[str]:
    """Interpolate missing pressures of a run's scans from its readings; return the messages.

    Parameters
    ----------
    run : SheetRun
        ``between`` names the axis, ``log`` has readings beside those of the scans.
    rows : sequence of dict
        Terms of the run's scans; changed in place.
    elsewhere : sequence of Row
        Rows of the scan table with readings whose scans are not among `rows`.
    """
    axis = run.between
    if axis is None:
        return []
    readings: list[tuple[float, float, float]] = []
    messages = []
    unplaced = sum(not row.broken and row.conditions.get(axis) is None for row in run.log)
    if unplaced:
        messages.append(f"{unplaced} readings of the log have no {axis} and are not used")
    for row in (*run.log, *elsewhere):
        if not row.broken:
            try:
                terms, warnings = ruby_pressure.from_gauge(row.conditions)
                checked(terms)
            except InvalidData as error:
                messages.append(f"{row.where}:{row.line}: {error}")
                continue
            messages += warnings
            _add(readings, {**row.conditions, **terms}, axis)
    for columns in rows:
        _add(readings, columns, axis)
    lacking = [columns for columns in rows if columns.get("pressure") is None]
    placed = [columns for columns in lacking if columns.get(axis) is not None]
    if len(placed) < len(lacking):
        messages.append(
            f"{len(lacking) - len(placed)} scans without pressure have no {axis} either; nothing is interpolated there"
        )
    if not placed:
        return messages
    place, value, sigma = (
        np.array(part, dtype=float) for part in (zip(*readings, strict=True) if readings else ((),) * 3)
    )
    found = ruby_pressure.interpolate([float(columns[axis]) for columns in placed], place, value, sigma)
    outside = 0
    for columns, middle, spread, before, after in zip(placed, *(part.tolist() for part in found), strict=True):
        if middle != middle:
            outside += 1
            continue
        columns |= {"pressure": float(f"{middle:.10g}"), "pressure_method": "interpolated"}
        columns |= {"pressure_before": before, "pressure_after": after}
        if spread == spread:
            columns["pressure_sigma"] = float(f"{spread:.6g}")
        scale = {
            c.get("pressure_scale") for c in (*rows, *(row.conditions for row in run.log)) if c.get("pressure_scale")
        }
        if len(scale) == 1:
            columns["pressure_scale"] = scale.pop()
    if outside:
        messages.append(f"{outside} scans are before the first or after the last reading; their pressure stays unknown")
    return messages


def _add(readings: list[tuple[float, float, float]], columns: Mapping[str, Any], axis: str) -> None:
    if columns.get("pressure") is not None and columns.get(axis) is not None:
        sigma = columns.get("pressure_sigma")
        readings.append((float(columns[axis]), float(columns["pressure"]), np.nan if sigma is None else float(sigma)))
