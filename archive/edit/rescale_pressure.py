"""Conversion of stored pressures to one scale, with old values and reason in the events.

A scale turns the relative shift x of the ruby line into a pressure, and back. So a stored pressure on a known scale gives x, whatever
its wavelengths, references and corrections, and x gives the pressure on another scale. A pressure that is between two others
keeps its position between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from barospec.archive.edit.corrections import Edit, Find, write_edits
from barospec.archive.sheets import ruby_pressure
from barospec.archive.sheets.conditions import LINES
from barospec.archive.store.repository import Store, Transaction
from barospec.schemas.errors import InvalidData
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec.archive.store.known_row import ExistingRow

TERMS = ("pressure", "pressure_sigma", "pressure_before", "pressure_after", "pressure_scale")


@dataclass(slots=True)
class RescaleReport:
    """Report of `rescale`: the edit of each changed spectrum, and the number unchanged by reason."""

    scale: str
    changed: list[Edit] = field(default_factory=list)
    unchanged: int = 0
    left: dict[str, int] = field(default_factory=dict)
    snapshot: str | None = None


def rescaled(columns: Mapping[str, Any], to: str) -> tuple[dict[str, Any], str]:
    """Convert the pressure terms of a spectrum to another scale.

    Parameters
    ----------
    columns : mapping
        Terms of the spectrum; pressures in GPa.
    to : str
        A name in `ruby_pressure.SCALES`.

    Returns
    -------
    terms : dict
        Those of `TERMS` that have a value; empty if the pressure cannot be converted or is on that scale already.
    reason : str
        Reason if it cannot be converted, else "".

    Raises
    ------
    InvalidData
        For a scale without formula.

    Examples
    --------
    >>> terms, _ = rescaled({"pressure": 24.0, "pressure_scale": "ruby Mao 1986"}, "ruby Dewaele 2004")
    >>> round(terms["pressure"], 2), terms["pressure_scale"]
    (24.27, 'ruby Dewaele 2004')
    """
    ruby_pressure.find_scale(to)
    value, scale = columns.get("pressure"), columns.get("pressure_scale")
    if value is None:
        return {}, "no pressure"
    if columns.get("pressure_method") == "ambient":
        return {}, "ambient, no gauge reading"
    if scale is None:
        return {}, "pressure_scale is not stated"
    if scale not in ruby_pressure.SCALES:
        return {}, f'pressure_scale "{scale}" has no formula'
    if scale == to:
        return {}, ""

    if read := _from_readings(columns, scale, to):
        return {**read, "pressure_scale": to}, ""

    def on_new(name: str) -> float:
        found = columns.get(name)
        return math.nan if found is None else float(ruby_pressure.rescale_pressure(found, scale, to)[0])

    before, after = on_new("pressure_before"), on_new("pressure_after")
    width = float(columns.get("pressure_after") or 0.0) - float(columns.get("pressure_before") or 0.0)
    found, sigma = (
        float(part)
        for part in ruby_pressure.rescale_pressure(value, scale, to, columns.get("pressure_sigma") or math.nan)
    )
    if columns.get("pressure_method") == "interpolated" and not math.isnan(before + after) and width:
        place = (value - float(columns["pressure_before"])) / width
        found = before + place * (after - before)
    if math.isnan(found):
        return {}, f"its pressure is outside the range of {scale}"
    terms = {"pressure": found, "pressure_sigma": sigma, "pressure_before": before, "pressure_after": after}
    if columns.get("pressure_sigma") == 0:
        terms["pressure_sigma"] = 0.0
    # Ten digits, as pressures from a gauge: the last bits of exp and log differ between machines.
    kept = {name: float(f"{number:.10g}") for name, number in terms.items() if not math.isnan(number)}
    return {**kept, "pressure_scale": to}, ""


def _from_readings(columns: Mapping[str, Any], scale: str, to: str) -> dict[str, float]:
    """Compute terms from the stored ruby lines on the new scale; {} unless they gave the stored pressure on the old one."""
    if all(columns.get(name) is None for name in LINES):
        return {}
    given = {name: value for name, value in columns.items() if name not in (*TERMS, "pressure_method")}
    try:
        old, new = (ruby_pressure.from_gauge({**given, "pressure_scale": name})[0] for name in (scale, to))
    except InvalidData:
        return {}
    if not math.isclose(old.get("pressure", math.nan), columns["pressure"], rel_tol=1e-6):
        return {}
    return {name: new[name] for name in TERMS if name in new}


def rescale(
    store: Store, find: Find, to: str, *, reason: str = "", dry_run: bool = False, message: str = ""
) -> RescaleReport:
    """Convert the pressures of spectra to one scale, in one commit.

    Parameters
    ----------
    store : Store
    find : callable
        The spectra at a snapshot. Called under the lock.
    to : str
        A name in `ruby_pressure.SCALES`.
    reason, message : str
        Reason for the events; commit message.
    dry_run : bool
        Report what would change; write nothing.

    Returns
    -------
    RescaleReport
    """
    if dry_run:
        return _plan(to, find(store.location.head()))

    def write(work: Transaction) -> RescaleReport:
        report = _plan(to, find(work.parent))
        if report.changed:
            write_edits(work, "rescale_pressure", report.changed, reason)
            count = len(report.changed)
            work.message = message or f"pressures of {counted(count, 'spectra')} in {to}"
            work.metadata = {"counts": {"rescaled": count}}
        return report

    report, snapshot = store.write("rescale_pressure", write)
    report.snapshot = snapshot
    return report


def _plan(to: str, spectra: Iterable[ExistingRow]) -> RescaleReport:
    report = RescaleReport(to)
    for known in spectra:
        terms, why = rescaled(known.columns, report.scale)
        changed = {name: (known.columns.get(name), value) for name, value in terms.items()}
        if changed:
            report.changed.append(Edit(known, changed))
        elif why:
            report.left[why] = report.left.get(why, 0) + 1
        else:
            report.unchanged += 1
    return report
