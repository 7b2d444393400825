"""Units against pint, values as people write them."""

from __future__ import annotations

import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barospec.schemas.errors import InvalidData
from barospec.schemas.units import UNITS, convert, find_unit, parse_quantity
from barospec.schemas.values import parse_value
from barospec.schemas.vocabulary import BY_NAME, TERMS, find_term

PINT_NAMES = {
    "Å": "angstrom", "µm": "micrometer", "degC": "degree_Celsius", "Å³": "angstrom**3", "1": "dimensionless", "%": "percent",
    "h": "hour", "min": "minute", "K": "kelvin", "mK": "millikelvin",
}  # fmt: skip


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.symbol)
def test_every_unit_agrees_with_pint(unit: object) -> None:
    registry = pint.UnitRegistry()
    base = next(
        other for other in UNITS if other.dimension == unit.dimension and other.factor == 1 and other.offset == 0
    )  # type: ignore[attr-defined]
    symbol: str = unit.symbol  # type: ignore[attr-defined]
    theirs = (
        registry.Quantity(7.25, PINT_NAMES.get(symbol, symbol)).to(PINT_NAMES.get(base.symbol, base.symbol)).magnitude
    )
    assert convert(7.25, symbol, base.symbol) == pytest.approx(theirs, rel=1e-12)
    for word in unit.aliases:  # type: ignore[attr-defined]
        if len(word) > 3 and word.isascii() and word.isalpha() and word.islower():
            spelled = registry.Quantity(7.25, "degree_Celsius" if word == "celsius" else word)
            assert spelled.to(PINT_NAMES.get(base.symbol, base.symbol)).magnitude == pytest.approx(theirs, rel=1e-12)


@given(st.floats(-1e6, 1e6), st.sampled_from(UNITS), st.sampled_from(UNITS))
def test_conversion_goes_there_and_back(value: float, one: object, other: object) -> None:
    if one.dimension != other.dimension:  # type: ignore[attr-defined]
        with pytest.raises(InvalidData):
            convert(value, one.symbol, other.symbol)  # type: ignore[attr-defined]
        return
    there = convert(value, one.symbol, other.symbol)  # type: ignore[attr-defined]
    back = convert(there, other.symbol, one.symbol)  # type: ignore[attr-defined]
    assert back == pytest.approx(
        value, rel=1e-9, abs=1e-9 + 1e-12 * abs(one.offset / one.factor) + abs(other.offset) * 1e-9
    )  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("term", "text", "expected"),
    [
        ("pressure", "237 kbar", {"pressure": 23.7}),
        ("pressure", "1 bar", {"pressure": 1e-4}),
        ("pressure", "ambient", {"pressure": 1.01325e-4, "pressure_method": "ambient"}),
        ("pressure", "-", {"pressure": None}),
        ("pressure", "n/a", {"pressure": None}),
        ("temperature", "10 ± 1 K", {"temperature": 10.0, "temperature_sigma": 1.0}),
        ("temperature", "20 degC", {"temperature": 293.15}),
        ("temperature", "20 ± 2 °C", {"temperature": 293.15, "temperature_sigma": 2.0}),
        ("culet", "0.3 mm", {"culet": 300.0}),
        ("edge", "nik", {"edge": "Ni K"}),
        ("line", "Kbeta", {"line": "Kβ"}),
        ("technique", "XAS", {"technique": "xas"}),
        ("pressure_method", "carried_over", {"pressure_method": "carried over"}),
        ("time", "2024-05-03T14:20:00+02:00", {"time": 1714738800000000}),
        ("medium", "none", {"medium": "none"}),
    ],
)
def test_values_are_understood(term: str, text: str, expected: dict[str, object]) -> None:
    assert parse_value(BY_NAME[term], text) == expected


@pytest.mark.parametrize(
    ("term", "text", "said"),
    [
        ("pressure", "23,7", 'pressure "23,7" is not a number. Write 23.7 (GPa)'),
        ("pressure", "20 K", "pressure"),
        ("pressure", "20 GPq", "unknown unit"),
        ("pressure", "about 20", "not a number"),
        ("temperature", "room temperature", "not a reading"),
        ("temperature", "-3", "below absolute zero"),
        ("temperature", "nan K", "not a number"),
        ("edge", "Ni Q", "not an element and a level"),
        ("origin", "mesured", "Did you mean measured"),
        ("step", "1.5", "not a whole number"),
        ("time", "3.5.2024", "is not a time"),
        ("culet", "300 ± 10 µm", "culet has no uncertainty"),
    ],
)
def test_values_are_refused_with_a_remedy(term: str, text: str, said: str) -> None:
    with pytest.raises(InvalidData, match=said.replace("(", r"\(").replace(")", r"\)")):
        parse_value(BY_NAME[term], text)


def test_vocabulary_names_are_unambiguous() -> None:
    spellings = [s.casefold() for term in TERMS for s in (term.name, *term.aliases)]
    assert len(spellings) == len(set(spellings))
    for term in TERMS:
        assert term.meaning.endswith(".")
        assert find_term(term.name.upper()) is term
        if term.unit:
            assert find_unit(term.unit), term
        if term.sigma:
            assert BY_NAME[term.sigma].unit == term.unit
        for other in term.applies:
            assert other in BY_NAME


def test_number_without_unit_is_in_the_fields_own() -> None:
    assert parse_quantity("14", "GPa").value == 14.0
