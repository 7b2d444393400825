"""Conditions and corrections that counters of a scan record beside its spectrum: temperature, dead time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from barospec.archive.readers import channel_mapping, scans
from barospec.archive.readers.channel_mapping import ScanEntry
from barospec.schemas.errors import InvalidData
from barospec.schemas.units import convert, find_unit

# Where the sample is, by name; a monochromator or a motor has a thermometer too.
_AT_SAMPLE = re.compile(
    r"(?:^|[_\W])t?(?:sample|cryo\w*|cryostat|lakeshore\w*|stage|furnace|cell)|^t(?:emp(?:erature)?)?$", re.I
)
_THERMOMETER = re.compile(r"temp|^t_|cryo|lakeshore|thermo|pyro", re.I)
_DEAD_TIME = re.compile(
    r"(?:^|[_\W\d])(?:icr|ocr|input_?rate|output_?rate|(?:dead|live|real)_?time)(?:[_\W\d]|$)", re.I
)
# Below is no cryostat, above no furnace: a laser-heated sample has a pyrometer, which the run sheet may name.
_PLAUSIBLE = (0.01, 2500.0)


def dead_time_names(names: Iterable[str]) -> list[str]:
    """Return the names of count rates or times that a dead-time correction needs.

    >>> dead_time_names(["fx_icr_det0", "fx_ocr_det0", "DeadTime", "dt", "picric"])
    ['fx_icr_det0', 'fx_ocr_det0', 'DeadTime']
    """
    return [name for name in names if _DEAD_TIME.search(name)]


def dead_time_columns(labels: Iterable[str], channels: Iterable[str]) -> dict[str, str]:
    """Return header field ``dead_time`` of a table with a fluorescence or emission column, as `dead_time` makes it.

    >>> dead_time_columns(["Energy", "DeadTime", "FY_c"], ["i0", "ifluor"])
    {'dead_time': 'not corrected here; recorded in columns DeadTime'}
    """
    names = dead_time_names(labels)
    if not names or not {"ifluor", "iemission"} & set(channels):
        return {}
    return {"dead_time": f"not corrected here; recorded in columns {', '.join(names)}"}


def dead_time(entry: ScanEntry, channels: Iterable[str]) -> dict[str, str]:
    """Return header field of a scan with a fluorescence or emission channel whose detector records its dead time.

    Parameters
    ----------
    entry : ScanEntry
    channels : iterable of str
        Channels that are read.

    Returns
    -------
    dict of str to str
        ``dead_time``: counters with their means over the scan, and that nothing was corrected; empty when there
        are none. Curves are never corrected here.
    """
    if not {"ifluor", "iemission"} & set(channels):
        return {}
    means = []
    for counter in dead_time_names(entry.counters):
        values = channel_mapping.values_of(entry, counter)
        finite = values[np.isfinite(values)]
        means.append(f"{counter} (mean {finite.mean():.6g})" if finite.size else counter)
    if not means:
        return {}
    entry.add_problem("note", f"dead time is recorded ({len(means)} counters, see the header) and not corrected for")
    return {"dead_time": f"not corrected; recorded: {', '.join(means)}"}


def temperature(entry: ScanEntry, slow: Sequence[ScanEntry], given: Any) -> dict[str, Any]:
    """Return the sample's temperature over a scan, from its own counters or from slow channels recorded with it.

    Parameters
    ----------
    entry : ScanEntry
        The scan.
    slow : sequence of ScanEntry
        Entries recorded at the same time, such as BLISS's ``n.2`` beside ``n.1``.
    given : Any
        The counter that the caller names (``Tcryo`` or ``{counter: Tcryo, unit: degC}``), or None.

    Returns
    -------
    dict
        ``temperature`` (mean, K), ``temperature_sigma`` (standard deviation over the scan) and
        ``temperature_sensor`` (the counter). Empty, with a note of `entry`, when it is not certain: the unit is
        missing, or two thermometers could be meant.

    Raises
    ------
    InvalidData
        When the counter that the caller names is not there or has no value.
    """
    if given is not None:
        names, unit = channel_mapping.named(entry, "temperature", given)
        for one in (entry, *slow):
            if len(names) == 1 and (counter := one.find(names[0])):
                return _mean(entry, one, counter, unit or one.units.get(counter, "") or "K")
        there = ", ".join(one.name for one in (entry, *slow))
        raise InvalidData(f"{entry.place}: channels: temperature: no 1-D counter {' or '.join(names)} in {there}.")
    found = [(one, counter) for one in (entry, *slow) for counter in one.counters if _is_thermometer(one, counter)]
    certain = [(one, counter) for one, counter in found if _unit(one, counter) and _AT_SAMPLE.search(counter)]
    if len(certain) == 1 and sum(bool(_AT_SAMPLE.search(counter)) for _, counter in found) == 1:
        one, counter = certain[0]
        try:
            return _mean(entry, one, counter, one.units[counter])
        except InvalidData as error:
            entry.add_problem("note", f"temperature is left open: {str(error).removeprefix(f'{entry.place}: ')}")
            return {}
    if found:
        names = [
            f"{counter} in {one.name}" + ("" if _unit(one, counter) else ", without unit") for one, counter in found
        ]
        entry.add_problem(
            "note",
            f"temperature is left open; thermometers are {channel_mapping.names_of(names)}: say channels: "
            f"{{temperature: {found[0][1]}}} if it is the sample's",
        )
    return {}


def _unit(entry: ScanEntry, counter: str) -> str:
    """Return the stated unit of a counter if it is one of temperature."""
    unit = find_unit(entry.units.get(counter, ""))
    return unit.symbol if unit and unit.dimension == "temperature" else ""


def _is_thermometer(entry: ScanEntry, counter: str) -> bool:
    return bool(_unit(entry, counter) or _THERMOMETER.search(counter) or _AT_SAMPLE.search(counter))


def _mean(entry: ScanEntry, one: ScanEntry, counter: str, unit: str) -> dict[str, Any]:
    values: scans.Array = channel_mapping.values_of(one, counter)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise InvalidData(f"{entry.place}: {counter} in {one.name} has no value.")
    kelvin = convert(float(finite.mean()), unit, "K")
    if not _PLAUSIBLE[0] <= kelvin <= _PLAUSIBLE[1]:
        raise InvalidData(
            f"{entry.place}: {counter} in {one.name} is {finite.mean():.6g} {unit}, no temperature of a sample."
        )
    found: dict[str, Any] = {"temperature": float(f"{kelvin:.8g}"), "temperature_sensor": counter}
    if finite.size > 1:
        spread = abs(convert(float(finite.std(ddof=1)), unit, "K") - convert(0.0, unit, "K"))
        found["temperature_sigma"] = float(f"{spread:.6g}")
    return found


def like_thermometers(names: Iterable[str]) -> list[str]:
    """Return names that may be those of thermometers, so that their units are worth reading.

    >>> like_thermometers(["I0", "Tcryo", "sample_temp", "ls336_a"])
    ['Tcryo', 'sample_temp']
    """
    return [name for name in names if _THERMOMETER.search(name) or _AT_SAMPLE.search(name)]
