"""Units: table of units and dimensions, conversion, and parsing of numbers with units.

A small fixed table instead of a units library: every query needs it, and the import of a library takes 200 ms, longer than the
query. ``tests/test_units.py`` checks every row against pint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from barospec.schemas.errors import InvalidData, did_you_mean


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit with factor and offset to the base unit of its dimension: base = value * factor + offset."""

    symbol: str
    dimension: str
    factor: float = 1.0
    offset: float = 0.0
    aliases: tuple[str, ...] = ()


UNITS: tuple[Unit, ...] = (
    Unit("GPa", "pressure", 1.0, 0.0, ("gigapascal", "gigapascals")),
    Unit("MPa", "pressure", 1e-3, 0.0, ("megapascal", "megapascals")),
    Unit("kPa", "pressure", 1e-6),
    Unit("Pa", "pressure", 1e-9),
    Unit("Mbar", "pressure", 100.0),
    Unit("kbar", "pressure", 0.1, 0.0, ("kilobar", "kilobars")),
    Unit("bar", "pressure", 1e-4),
    Unit("mbar", "pressure", 1e-7),
    Unit("atm", "pressure", 1.01325e-4),
    Unit("K", "temperature", 1.0, 0.0, ("kelvin", "kelvins")),
    Unit("mK", "temperature", 1e-3),
    Unit("degC", "temperature", 1.0, 273.15, ("°C", "℃", "celsius")),
    Unit("eV", "energy"),
    Unit("keV", "energy", 1e3),
    Unit("meV", "energy", 1e-3),
    Unit("Å", "length", 1.0, 0.0, ("Å", "angstrom", "Angstrom", "Ang", "A")),
    Unit("nm", "length", 10.0),
    Unit("pm", "length", 0.01),
    Unit("µm", "length", 1e4, 0.0, ("μm", "um", "micron")),
    Unit("mm", "length", 1e7),
    Unit("deg", "angle", 1.0, 0.0, ("°", "degrees", "degree")),
    Unit("rad", "angle", 57.29577951308232, 0.0, ("radian", "radians")),
    Unit("mrad", "angle", 0.05729577951308232),
    Unit("s", "time", 1.0, 0.0, ("sec", "seconds")),
    Unit("ms", "time", 1e-3),
    Unit("min", "time", 60.0, 0.0, ("minutes",)),
    Unit("h", "time", 3600.0, 0.0, ("hours",)),
    Unit("Å³", "volume", 1.0, 0.0, ("Å^3", "A^3", "Ang^3", "Å3", "A3")),
    Unit("eV/GPa", "energy per pressure"),
    Unit("meV/GPa", "energy per pressure", 1e-3),
    Unit("eV/K", "energy per temperature"),
    Unit("meV/K", "energy per temperature", 1e-3),
    Unit("1/GPa", "1 per pressure"),
    Unit("1/K", "1 per temperature"),
    Unit("1", "number", 1.0, 0.0, ("",)),
    Unit("%", "number", 0.01, 0.0, ("percent",)),
)

BY_SYMBOL: dict[str, Unit] = {name: unit for unit in UNITS for name in (unit.symbol, *unit.aliases)}


def find_unit(symbol: str) -> Unit | None:
    """Return the unit of a symbol, or None. Case matters (mK is not MK), except for spelled-out words."""
    return BY_SYMBOL.get(symbol) or (BY_SYMBOL.get(symbol.lower()) if len(symbol) > 3 else None)


def convert(value: float, unit: str, to: str) -> float:
    """Convert a value to another unit of the same dimension.

    >>> convert(140, "kbar", "GPa")
    14.0
    >>> convert(20, "degC", "K")
    293.15
    """
    source, target = find_unit(unit), find_unit(to)
    if source is None or target is None:
        unknown = unit if source is None else to
        raise InvalidData(f'unknown unit "{unknown}".{did_you_mean(unknown, list(BY_SYMBOL))}')
    if source is target:
        return float(value)
    if source.dimension != target.dimension:
        raise InvalidData(
            f"{source.symbol} is a unit of {source.dimension}, but {target.symbol} ({target.dimension}) is expected."
        )
    base = value * source.factor + source.offset
    converted = (base - target.offset) / target.factor
    # 140 kbar is 14 GPa, not 14.000000000000002: a decimal number stays a decimal number.
    return float(f"{converted:.15g}")


_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"^\s*({_NUMBER})\s*(?:(?:±|\+-|\+/-)\s*({_NUMBER}))?\s*([^\d\s.,;+-][^\s]*)?\s*$")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in the unit of its field, with its uncertainty if one was given."""

    value: float
    sigma: float | None = None


def parse_quantity(text: str, unit: str) -> Quantity:
    """Read "237 kbar", "23.7", "10 ± 1 K" as a quantity in `unit`.

    A number without a unit is in `unit`. A decimal comma, a word or a wrong dimension is refused.

    >>> parse_quantity("237 kbar", "GPa")
    Quantity(value=23.7, sigma=None)
    >>> parse_quantity("10 +- 1 K", "K")
    Quantity(value=10.0, sigma=1.0)
    """
    match = _QUANTITY.match(text)
    if match is None:
        shown = f" ({unit})" if unit not in ("", "1") else ""
        hint = f"a number{shown}"
        comma = re.match(rf"^\s*({_NUMBER}),(\d+)\s*(\S*)\s*$", text)
        if comma:
            hint = f"{comma[1]}.{comma[2]}{shown}"
        example = {"GPa": ' or a value with a unit, e.g. "237 kbar"', "K": ' or a value with a unit, e.g. "20 degC"'}
        raise InvalidData(f'"{text.strip()}" is not a number. Write {hint}{example.get(unit, "")}.')
    value, sigma, symbol = float(match[1]), match[2], match[3]
    if symbol is None or symbol == unit:
        return Quantity(value, None if sigma is None else float(sigma))
    converted = convert(value, symbol, unit)
    # A sigma is a difference: the offset of degC does not apply to it.
    spread = None if sigma is None else convert(value + float(sigma), symbol, unit) - converted
    return Quantity(converted, None if spread is None else float(f"{spread:.12g}"))
