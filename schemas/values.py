"""Parse texts of people and files as values of terms, and format values as text.

A value is a float (in the term's unit), an int, a str, or, for times, integer microseconds since 1970 (UTC);
None is "not known". Nothing is guessed: a text that cannot be understood raises InvalidData with the remedy.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from barospec.schemas.errors import InvalidData, did_you_mean
from barospec.schemas.units import parse_quantity
from barospec.schemas.vocabulary import BY_NAME, ELEMENTS, LINES, LONGEST, Term, find_edge, find_line

NOT_KNOWN = frozenset({"", "-", "--", "–", "n/a", "na", "nan", "none given", "not given", "unknown", "?", "missing"})
AMBIENT_PRESSURE = 1.01325e-4  # GPa; one standard atmosphere


def parse_value(term: Term, text: str, *, element: str = "") -> dict[str, Any]:
    """Parse the text of a term; return the value of the term and of other terms that the text states.

    "10 ± 1 K" states a sigma too, "ambient" a pressure and its method. "Not known" gives None.

    >>> from barospec.schemas.vocabulary import BY_NAME
    >>> parse_value(BY_NAME["pressure"], "237 ± 5 kbar")
    {'pressure': 23.7, 'pressure_sigma': 0.5}
    >>> parse_value(BY_NAME["edge"], "ni-k")
    {'edge': 'Ni K'}
    """
    return checked(_parsed(term, text, element))


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """Return the terms unchanged if store, index, bundles and tables accept every value.

    This is the only check of values: run sheets, ``--set``, files, corrections, bundles and records all use it.

    Raises
    ------
    InvalidData
        With the field, the value found, and the values that are possible.

    Examples
    --------
    >>> checked({"pressure": -0.2, "note": None})
    {'pressure': -0.2, 'note': None}
    >>> checked({"pressure": -5.0})
    Traceback (most recent call last):
    ...
    barospec.schemas.errors.InvalidData: pressure -5 GPa is not possible: from -1 GPa to 10000 GPa. Is the unit right? ...
    """
    for name, value in found.items():
        term = BY_NAME.get(name)
        if term is None or value is None or value != value:
            continue
        if term.kind in ("word", "text"):
            check_text(name, str(value), term.longest)
            continue
        low, high = term.limits
        if not low <= value <= high:
            between = f"from {show_value(term, int(low) if term.kind != 'number' else low)} to "
            between += show_value(term, int(high) if term.kind != "number" else high)
            shown = str(value) if term.kind == "time" else show_value(term, value)
            raise InvalidData(
                f"{name} {shown} is not possible: {between}. Is the unit right? Omit the field if the value is not known."
            )
    return found


_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def check_text(name: str, text: str, longest: int = LONGEST["text"]) -> None:
    r"""Raise InvalidData for a text that is not valid UTF-8, has control characters, or is very long.

    >>> check_text("note", "two\nlines")
    >>> check_text("note", "a\0b")
    Traceback (most recent call last):
    ...
    barospec.schemas.errors.InvalidData: note: character 2 is U+0000, a control character or half of one. Delete it.
    """
    if found := _UNWANTED.search(text):
        raise InvalidData(
            f"{name}: character {found.start() + 1} is U+{ord(found[0]):04X}, a control character or half of one. Delete it."
        )
    if len(text) > longest or len(text.encode()) > longest:
        raise InvalidData(
            f"{name} has {len(text.encode())} bytes; at most {longest} are accepted. Shorten it, and keep the rest in a file."
        )


def _parsed(term: Term, text: str, element: str) -> dict[str, Any]:
    text = text.strip()
    if text.casefold() in NOT_KNOWN and term.name not in ("medium", "direction", "energy_calibration"):
        return {term.name: None}
    if term.name == "pressure" and text.casefold() in ("ambient", "ambient pressure"):
        return {"pressure": AMBIENT_PRESSURE, "pressure_method": "ambient"}
    if term.kind == "number":
        return _number(term, text)
    if term.kind == "integer":
        try:
            return {term.name: int(text)}
        except ValueError:
            raise InvalidData(f'{term.name} "{text[:40]}" is not a whole number.') from None
    if term.kind == "time":
        return {term.name: parse_time(text, term.name)}
    if term.kind == "word":
        return {term.name: _word(term, text, element)}
    return {term.name: text}


def _number(term: Term, text: str) -> dict[str, Any]:
    if term.name == "temperature" and text.casefold() in ("rt", "room temperature", "ambient", "room"):
        raise InvalidData(f'temperature "{text}" is not a reading. Write the reading of the sensor, or "295 ± 5 K".')
    try:
        quantity = parse_quantity(text, term.unit)
    except InvalidData as error:
        raise InvalidData(f"{term.name} {error}" if text in str(error) else f'{term.name} "{text}": {error}') from None
    if not math.isfinite(quantity.value):
        raise InvalidData(f'{term.name} "{text}" is not a finite number.')
    if term.name == "temperature" and quantity.value < 0:
        raise InvalidData(f'temperature "{text}" is below absolute zero. Write degC for degrees Celsius.')
    if term.name.endswith("_sigma") and quantity.value < 0:
        raise InvalidData(f'{term.name} "{text}" is negative; an uncertainty is zero or more.')
    stated: dict[str, Any] = {term.name: quantity.value}
    if quantity.sigma is not None:
        if not term.sigma:
            raise InvalidData(f'{term.name} "{text}": {term.name} has no uncertainty. Write the value alone.')
        stated[term.sigma] = abs(quantity.sigma)
    return stated


def _word(term: Term, text: str, element: str) -> str:
    if term.name == "edge":
        edge = find_edge(text, element)
        if edge is None:
            raise InvalidData(f'edge "{text}" is not an element and a level. Write it like "Ni K" or "La L3".')
        return edge
    if term.name == "line":
        line = find_line(text)
        if line is None:
            raise InvalidData(f'line "{text}" is not known. Choose from {", ".join(LINES)} ("Kb" is accepted for Kβ).')
        return line
    if term.name == "element" and text not in ELEMENTS:
        raise InvalidData(f'element "{text}" is not a chemical symbol.{did_you_mean(text, ELEMENTS)}')
    if term.allowed:
        by_key = {_key(choice): choice for choice in term.allowed}
        if term.name == "pressure_scale":  # "Mao 1986" means the ruby
            by_key |= {_key(choice).removeprefix("ruby "): choice for choice in term.allowed}
        if _key(text) not in by_key:
            close = did_you_mean(text, term.allowed)
            raise InvalidData(f'{term.name} "{text}" is not one of {", ".join(term.allowed)}.{close}')
        return by_key[_key(text)]
    return " ".join(text.split())


def _key(text: str) -> str:
    return text.casefold().replace("_", " ").replace("-", " ")


def parse_time(text: str, name: str = "time") -> int:
    """Return microseconds since 1970 of an ISO 8601 time; a time without a zone is UTC.

    >>> parse_time("1970-01-01T00:00:01")
    1000000
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidData(
            f'{name} "{text}" is not a time. Write it like 2024-05-03 or 2024-05-03T14:20:00+02:00.'
        ) from None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidData(f'{name} "{text}" is not possible: its year is 0 or 10000 in UTC.') from None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def coerce(term: Term, value: Any, *, element: str = "") -> dict[str, Any]:
    """Parse like `parse_value`, also values that have a type already, such as those of a reader."""
    if value is None:
        return {term.name: None}
    if isinstance(value, str):
        return parse_value(term, value, element=element)
    if term.kind == "number":
        number = float(value)
        return checked({term.name: None if math.isnan(number) else number})
    if term.kind in ("integer", "time"):
        return checked({term.name: int(value)})
    return parse_value(term, str(value), element=element)


def show_value(term: Term, value: Any) -> str:
    """Return a value as text with its unit, for tables and messages.

    >>> from barospec.schemas.vocabulary import BY_NAME
    >>> show_value(BY_NAME["pressure"], 15.6)
    '15.6 GPa'
    """
    if value is None:
        return "not known"
    if term.kind == "time" and isinstance(value, int):
        return datetime.fromtimestamp(value / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if term.kind == "number":
        return f"{value:.10g}" + (f" {term.unit}" if term.unit not in ("", "1") else "")
    return str(value)


_SINGULAR = {
    "spectra": "spectrum",
    "entries": "entry",
    "are": "is",
    "have": "has",
    "match": "matches",
    "their": "its",
    **{verb: f"{verb}s" for verb in ("come", "lie", "stay")},
    **{
        f"{noun}s": noun
        for noun in (
            "array",
            "bond",
            "calculation",
            "chunk",
            "commit",
            "component",
            "count",
            "fault",
            "file",
            "input",
            "log",
            "manifest",
            "model",
            "output",
            "point",
            "pressure",
            "problem",
            "record",
            "revision",
            "snapshot",
        )
    },
    **{f"{noun}s": noun for noun in ("row", "run", "sample", "scan", "structure", "tag", "value")},
}


def counted(number: int, words: str) -> str:
    """Return a number with its noun and verb; `words` are in the plural.

    >>> counted(3, "spectra are excluded"), counted(1, "spectra are excluded"), counted(1, "files")
    ('3 spectra are excluded', '1 spectrum is excluded', '1 file')
    """
    if number == 1:
        words = re.sub(r"\w+", lambda word: _SINGULAR.get(word[0], word[0]), words)
    return f"{number} {words}"
