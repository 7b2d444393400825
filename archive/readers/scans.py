"""Shared steps of all readers: energies in eV, times in UTC, and a scan that is checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Problem, Scan
from barospec.schemas.units import find_unit, parse_quantity

Array = NDArray[np.float64]

# h c in eV Å; exact since the SI of 2019 (h, c and e are defined numbers).
HC = 12398.419843320026
# Below are vacuum ultraviolet and pixels, above are counts and clocks.
PLAUSIBLE_EV = (10.0, 300_000.0)
# A number without unit that is smaller is more likely in keV, and guessing is not ours.
SURELY_EV = 100.0


def energy_from_angle(angle: Array, d_spacing: float) -> Array:
    """Return the photon energy in eV that a crystal reflects at a Bragg angle.

    Parameters
    ----------
    angle : ndarray, shape (n,)
        Bragg angle in degrees; outside of 0 to 90 the result is NaN.
    d_spacing : float
        Lattice spacing in Å.

    Returns
    -------
    ndarray, shape (n,)
        E = hc / (2 d sin θ) with hc = 12398.419843320026 eV Å (Bragg's law, first order, no refraction).

    Examples
    --------
    >>> float(energy_from_angle(np.array([30.0]), 3.0).round(6)[0])
    4132.806614
    """
    inside = np.where((angle > 0) & (angle < 90), angle, np.nan)
    return np.asarray(HC / (2.0 * d_spacing * np.sin(np.radians(inside))))


def scale_to(values: Array, unit: str, target: str, where: str) -> Array:
    """Convert values given in `unit` to the unit `target` (eV or deg); InvalidData when that cannot be.

    >>> scale_to(np.array([8.333]), "keV", "eV", "foil.dat").tolist()
    [8333.0]
    """
    # Beamlines write KeV and EV; meV and MeV differ by their case, which therefore counts.
    usual = {"kev": "keV", "ev": "eV"}.get(unit.casefold(), unit)
    source, wanted = find_unit(usual), find_unit(target)
    if source is None or wanted is None or source.dimension != wanted.dimension:
        kinds = {"eV": "eV, keV or meV", "deg": "deg, rad or mrad"}
        raise InvalidData(
            f'{where}: the unit "{unit}" is none of {kinds.get(target, target)}, so the energy axis is '
            "not known. "
            "Say what the column is: columns: {energy: {column: 1, unit: eV}, ...}."
        )
    return values * (source.factor / wanted.factor) if source is not wanted else values


def assume_ev(values: Array, where: str) -> Array:
    """Accept energies without a unit as eV, unless they are so small that keV is likelier: that is refused.

    >>> assume_ev(np.array([8333.0, 8334.0]), "foil.dat").tolist()
    [8333.0, 8334.0]
    """
    finite = values[np.isfinite(values)]
    if finite.size and np.median(finite) < SURELY_EV:
        raise InvalidData(
            f"{where} has no unit, and values such as {finite[0]:.6g} are too small for eV. "
            "Say it: columns: {energy: {column: 1, unit: keV}, ...} (or unit: eV if they are)."
        )
    return values


def d_spacing_from(options: Mapping[str, Any], path: Path) -> float | None:
    """Return the lattice spacing in Å that the caller gives, "3.1356" or "0.31356 nm"; None without one."""
    columns = options.get("columns")
    given = options.get("d_spacing")
    if given is None and isinstance(columns, Mapping):
        given = columns.get("d_spacing")
    if given is None:
        return None
    value = parse_quantity(str(given), "Å").value
    if not 0.1 < value < 100:
        raise InvalidData(f'{path}: d_spacing "{given}" is {value} Å; a monochromator crystal has 0.5 to 10 Å.')
    return value


def edge_energy_from(options: Mapping[str, Any], path: Path) -> float | None:
    """Return the caller's edge energy in eV for relative energies, ``columns: {E_edge: 8333}``; None without one."""
    columns = options.get("columns")
    if not isinstance(columns, Mapping):
        return None
    given = next((columns[key] for key in columns if str(key).casefold() == "e_edge"), None)
    if given is None:
        return None
    value = parse_quantity(str(given), "eV").value
    if not PLAUSIBLE_EV[0] <= value <= PLAUSIBLE_EV[1]:
        raise InvalidData(f'{path}: columns: E_edge "{given}" is {value:.6g} eV, which is no edge of an element.')
    return value


def utc(text: str) -> str | None:
    """Convert an ISO 8601 time to UTC; None when it is no time or its zone is not stated.

    >>> utc("2023-10-28T18:04:45.737156+02:00"), utc("1995-06-20 04:07:07")
    ('2023-10-28T16:04:45.737156Z', None)
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            return None
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


def make_scan(
    path: Path,
    energy: Array,
    channels: Mapping[str, Array],
    *,
    name: str = "1",
    lines: NDArray[np.int64] | None = None,
    title: str = "",
    conditions: Mapping[str, Any] | None = None,
    header: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
) -> Scan:
    """Build a scan and check its energy axis and channels.

    Points without a finite energy have no place on the axis and are dropped with a warning; a channel
    without one finite value is dropped too. Everything else stays as recorded: out-of-order and repeated
    energies, NaN and infinity in channels are reported, not repaired.

    Parameters
    ----------
    path : Path
    energy : ndarray, shape (n,)
        In eV.
    channels : mapping of str to ndarray, each shape (n,)
    lines : ndarray of int, shape (n,), optional
        Line of each point in a text file.
    name, title, conditions, header, problems
        As in `Scan`.

    Returns
    -------
    Scan

    Raises
    ------
    InvalidData
        With fewer than two points, without channels, or where the axis is no x-ray energy in eV.
    """
    scan = name if name != "1" else ""
    place = f"{path} [{scan}]" if scan else str(path)
    found = list(problems)
    keep = np.isfinite(energy)
    if not keep.all():
        line = int(lines[~keep][0]) if lines is not None else 0
        message = f"{int((~keep).sum())} point(s) without an energy are dropped"
        found.append(Problem("warning", message, str(path), line, scan=scan))
        lines = lines[keep] if lines is not None else None
    energy = np.ascontiguousarray(energy[keep])
    if energy.size < 2:
        raise InvalidData(f"{place}: {energy.size} point(s) with an energy; a spectrum has at least two. Truncated?")
    found += _check_axis(energy, lines, place, path, scan)
    taken = _channels({name: values[keep] for name, values in channels.items()}, lines is None, path, scan, found)
    if not taken:
        raise InvalidData(f"{place}: no channel with a finite value; nothing can be formed from it.")
    return Scan(name, energy, taken, title, dict(conditions or {}), dict(header or {}), found)


def _channels(
    channels: Mapping[str, Array], tell_all: bool, path: Path, scan: str, found: list[Problem]
) -> dict[str, Array]:
    """Return channels that have a finite value; what is not finite is reported (for text, parse_table did)."""
    taken = {}
    for channel, values in channels.items():
        bad = int((~np.isfinite(values)).sum())
        if bad == values.size:
            message = f"{channel} has no finite value and is dropped"
        else:
            taken[channel] = np.ascontiguousarray(values, dtype=np.float64)
            message = f"{channel}: {bad} of {values.size} values are not finite" if bad and tell_all else ""
        if message:
            found.append(Problem("warning", message, str(path), scan=scan))
    return taken


def _check_axis(energy: Array, lines: NDArray[np.int64] | None, place: str, path: Path, scan: str) -> list[Problem]:
    low, high = PLAUSIBLE_EV
    outside = (energy < low) | (energy > high)
    if np.median(outside) > 0:
        raise InvalidData(
            f"{place}: the energy axis runs from {energy.min():.6g} to {energy.max():.6g} eV, which is no "
            "x-ray "
            f"energy ({low:.0f} to {high:.0f} eV). Is its unit keV, or is it another column?"
        )
    problems = []

    def add_problem(severity: Literal["warning", "note"], message: str, index: int) -> None:
        line = int(lines[index]) if lines is not None else 0
        problems.append(Problem(severity, message, str(path), line, scan=scan))

    if outside.any():
        index = int(np.argmax(outside))
        add_problem(
            "warning",
            f"energy {energy[index]:.6g} eV is not plausible ({int(outside.sum())} such points)",
            index,
        )
    steps = np.diff(energy)
    direction = 1.0 if np.median(steps) >= 0 else -1.0
    back = steps * direction < 0
    if back.any():
        index = int(np.argmax(back)) + 1
        text = f"energy goes back from {energy[index - 1]:.10g} to {energy[index]:.10g} eV"
        add_problem("warning", f"{text} ({int(back.sum())} such steps); the order is kept", index)
    if (steps == 0).any():
        index = int(np.argmax(steps == 0)) + 1
        add_problem("note", f"{int((steps == 0).sum())} energies are repeated; they are kept", index)
    return problems
