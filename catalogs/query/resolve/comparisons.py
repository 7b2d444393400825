"""Tests on one field: check that they apply, and find the intended value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr, Span
from barospec.catalogs.query.parse.lexer import RESERVED, is_year
from barospec.catalogs.query.parse.parser import of_year
from barospec.catalogs.query.resolve.context import Context
from barospec.catalogs.query.resolve.fields import VALUES, Field
from barospec.catalogs.query.resolve.hints import INSTEAD
from barospec.schemas.errors import QueryError, did_you_mean, nearest
from barospec.schemas.units import BY_SYMBOL, UNITS, convert, find_unit
from barospec.schemas.vocabulary import ELEMENTS, find_edge, find_line

# The field that a bare unit names. Other dimensions have several fields, with no default.
BARE = {"pressure": "pressure", "temperature": "temperature"}

# "at 10 K": tolerance of rows whose own uncertainty is smaller or not recorded. Every answer prints it.
TOLERANCES = {"pressure": 0.5, "temperature": 2.0, "energy": 0.1, "length": 0.01}
RELATIVE_TOLERANCE = 0.01

_EXAMPLE = {
    "pressure": '"pressure > 14 GPa"',
    "temperature": '"temperature < 80 K"',
    "time": '"time >= 2024-05-31"',
}


def tolerance(field: Field, value: float) -> float:
    """Return the tolerance of "at `value`", in the field's unit.

    >>> tolerance(Field("temperature", "number", '"temperature"', "K"), 10.0)
    2.0
    """
    fixed = TOLERANCES.get(field.dimension)
    if fixed is None:
        return abs(value) * RELATIVE_TOLERANCE
    base = next(unit.symbol for unit in UNITS if unit.dimension == field.dimension)
    return abs(convert(fixed, base, field.unit))


class ComparisonResolver:
    """Converts tests as written into normal form, within a `Context`."""

    def __init__(self, context: Context, field: Callable[[ast.Name, Span], Field]) -> None:
        self._context, self._field = context, field

    def _error(self, problem: str, span: Span, *hints: str) -> QueryError:
        return self._context.error(problem, span, *hints)

    def implied(self, item: Any) -> Field:
        """Return the field of a test that names none, from its unit; raise QueryError if the unit does not decide."""
        context = self._context
        value: Any = (
            getattr(item, "value", None) or getattr(item, "high", None) or (getattr(item, "values", None) or [None])[0]
        )
        if isinstance(value, ast.Date):
            return self._field(("time",), item.span)
        if not isinstance(value, ast.Number):
            words = value.words if isinstance(value, ast.Words) else ()
            if any(word.casefold() in ("today", "yesterday", "last", "week", "month") for word in words):
                raise self._error("This is not a date.", item.span, INSTEAD["today"])
            touching = re.match(r"[+-]?[\d.]+([^\W\d].*)", words[0]) if words else None
            if touching and (close := meant_units(touching[1])):
                raise self._error(f'"{touching[1]}" is not a unit. Did you mean {" or ".join(close)}?', value.span)
            tail = "is missing" if isinstance(item, ast.Missing) else "= ..."
            raise self._error("The field is not named.", item.span, f'Put it before: "medium {tail}".')
        number = ast.number_text(value.value)
        unit = find_unit(value.unit) if value.unit else None
        if value.unit and unit is None:
            raise self._error(f'"{value.unit}" is not a unit.{did_you_mean(value.unit, list(BY_SYMBOL))}', value.span)
        last = getattr(item, "width", None) or getattr(item, "sigma", None) or value
        following = re.match(r"\s*([^\s(),]+)", context.text[last.span[1] :])
        if unit is None and following and (close := self._misspelled(following[1])):
            begin = last.span[1] + following.start(1)
            problem = f'"{following[1]}" is not a unit. Did you mean {" or ".join(close)}?'
            raise self._error(problem, (begin, begin + len(following[1])))
        if unit is None or unit.dimension == "number":
            raise self._error(
                f"{number} of what? Name the field or write a unit.",
                value.span,
                f'For example "pressure > {number}", "{number} GPa" or "{number} K".',
            )
        name = BARE.get(unit.dimension)
        field = context.known.find(context.table, name) if name else None
        if field:
            return field
        fields = [f.name for f in context.known.of_dimension(context.table, unit.dimension)]
        if not fields:
            hints = ('For a temperature write "20 degC".',) if unit.dimension == "angle" else ()
            raise self._error(f"No field of {context.noun} is measured in {value.unit}.", value.span, *hints)
        if len(fields) == 1 and context.table != "spectra":  # bonds have one length
            return self._field((fields[0],), item.span)
        raise self._error(
            f"Several fields are measured in {value.unit}; name the intended one."
            if len(fields) > 1
            else f"Name the field that is measured in {value.unit}.",
            item.span,
            f"Fields in units of {unit.dimension}: {', '.join(fields)}.",
        )

    def _misspelled(self, word: str) -> list[str]:
        """Return the likely units for a misspelled word after a number; none if the word has a meaning of its own."""
        known, table = self._context.known, self._context.table
        words = [field for field in known.fields[table].values() if field.kind == "word"]
        if same := same_unit(word):
            return same
        if word.casefold() in RESERVED or known.find(table, word) or known.values.readings(words, word):
            return []
        return meant_units(word)

    def test(self, item: Any, field: Field) -> tuple[Expr, ast.Name]:
        """Return the test in normal form, and words after its value that do not belong to it."""
        item = replace(item, field=(field.name,))
        if isinstance(item, ast.Missing):
            return item, ()
        if isinstance(item, ast.Contains):
            return self._contains(item, field)
        if isinstance(item, ast.At) and field.kind in ("word", "text", "time"):
            # "run 2": a number beside a name is that name's value.
            item = ast.Compare(item.field, "=", item.value, item.span)
        if field.kind in ("number", "integer"):
            return self._numeric(item, field)
        if isinstance(item, ast.Changes) or getattr(item, "sigmas", None) or getattr(item, "width", None):
            written = "changes by" if isinstance(item, ast.Changes) else '"±" or "at ... sigma"'
            raise self._error(f"{field.name} is not a number; {written} does not apply.", item.span, self._say(field))
        if field.kind == "time":
            return self._temporal(item, field), ()
        return self._verbal(item, field)

    def _contains(self, item: ast.Contains, field: Field) -> tuple[Expr, ast.Name]:
        if field.kind not in ("word", "text"):
            raise self._error(f'{field.name} is not text: "contains" does not apply.', item.span, self._say(field))
        return replace(item, words=ast.Words((" ".join(item.words.words),))), ()

    def _say(self, field: Field) -> str:
        example = _EXAMPLE.get(field.name)
        unit = f" {field.unit}" if field.unit else ""
        return f"For example {example}." if example else f'For example "{field.name} > 1{unit}".'

    # Numbers

    def _numeric(self, item: Any, field: Field) -> tuple[Expr, ast.Name]:
        if isinstance(item, ast.Changes):
            return replace(item, value=self._difference(item, field), sigmas=self._sigmas(item, field)), ()
        if isinstance(item, ast.Compare):
            value = self._number(item.value, field)
            width = None if item.width is None else self._width(item.width, value, field)
            return replace(item, value=value, width=width, sigmas=self._sigmas(item, field)), ()
        if isinstance(item, ast.In):
            return replace(item, values=tuple(self._number(value, field) for value in item.values)), ()
        if isinstance(item, ast.Between):
            low, high = self._number(item.low, field), self._number(item.high, field)
            if low.value > high.value:
                wanted = ast.Between((), high, low)
                raise self._error("The lower end comes first.", item.span, f'Write "{ast.to_text(wanted)}".')
            return replace(item, low=low, high=high, sigmas=self._sigmas(item, field)), ()
        value = self._number(item.value, field)
        if isinstance(item, ast.Within):
            return replace(item, value=value, sigma=self._width(item.sigma, value, field)), ()
        allowance = tolerance(field, value.value)
        unit = f" {field.unit}" if field.unit else ""
        own = f", or the row's own {field.sigma} where that is larger" if field.sigma else ""
        allowed = f"±{ast.number_text(float(f'{allowance:.6g}'))}{unit}{own}"
        self._context.notes.append(f'"{field.name} at {ast.value_text(value)}" allows {allowed}.')
        return replace(item, value=value), ()

    def _number(self, value: ast.Value, field: Field) -> ast.Number:
        """Return the number in the field's own unit."""
        if not isinstance(value, ast.Number):
            raise self._not_a_number(value, field)
        if math.isinf(value.value):
            raise self._error(f"{value.raw or value.value} is too large a number.", value.span)
        if not value.unit:
            return ast.Number(value.value, field.unit, span=value.span)
        unit, own = find_unit(value.unit), find_unit(field.unit or "1")
        if unit is None:
            raise self._error(f'"{value.unit}" is not a unit.{did_you_mean(value.unit, list(BY_SYMBOL))}', value.span)
        if own is None or unit.dimension != own.dimension:
            mine = f"is measured in {field.unit} ({field.dimension})" if field.dimension else "is a plain number"
            others = [f.name for f in self._context.known.of_dimension(self._context.table, unit.dimension)]
            hint = f"Fields in units of {unit.dimension}: {', '.join(others)}." if others else self._say(field)
            if field.table == VALUES:
                hint = (
                    'Its unit is that of the quantity, in value_unit: write "quantity = edge_energy and value > 8346".'
                )
            raise self._error(f"{field.name} {mine}, but {value.unit} is a unit of {unit.dimension}.", value.span, hint)
        converted = convert(value.value, value.unit, field.unit or "1")
        if not math.isfinite(converted):
            raise self._error(f"{value.raw or value.value} {value.unit} is too large a number.", value.span)
        return ast.Number(converted, field.unit, span=value.span)

    def _width(self, written: ast.Number, value: ast.Number, field: Field) -> ast.Number:
        """Return the half width as a difference: the offset of degC does not apply to it."""
        unit, own = find_unit(written.unit or field.unit or "1"), find_unit(field.unit or "1")
        assert unit is not None  # the value has the same unit and was accepted
        assert own is not None
        width = float(f"{written.value * unit.factor / own.factor:.15g}")
        if not math.isfinite(width):
            raise self._error(f"{written.raw} is too large a number.", written.span)
        return ast.Number(width, value.unit, span=written.span)

    def _difference(self, item: ast.Changes, field: Field) -> ast.Number:
        """Return the required change of a field, as a difference."""
        checked = self._number(item.value, field)
        assert isinstance(item.value, ast.Number)  # checked
        return self._width(item.value, checked, field)

    def _sigmas(self, item: ast.Compare | ast.Between | ast.Changes, field: Field) -> float:
        """Return the number of standard uncertainties, if the field has any."""
        if item.sigmas:
            sigma = self._context.known.find(field.table, field.sigma) if field.sigma else None
            if sigma is None:
                raise self._error(f"{field.name} has no standard uncertainty in this archive.", item.span)
            self._context.use(sigma)
        return item.sigmas

    def _not_a_number(self, value: ast.Value, field: Field) -> QueryError:
        text = ast.value_text(value).strip('"')
        unit = f" {field.unit}" if field.unit else ""
        digits = len(text) - len(text.lstrip("0123456789.+-eE"))
        symbol = text[digits:].strip()
        close = same_unit(symbol) or nearest(symbol, list(BY_SYMBOL))
        if digits and symbol and close:
            problem = f'"{symbol}" is not a unit. Did you mean {" or ".join(close[:3])}?'
            return self._error(problem, value.span, f'Write "{text[:digits].strip()} {close[0]}".')
        problem = f'{field.name} is a number, but "{text}" is not.'
        return self._error(problem, value.span, f'For example "{field.name} > 14{unit}".')

    # Dates

    def _temporal(self, item: Any, field: Field) -> Expr:
        if isinstance(item, ast.Compare):
            if isinstance(item.value, ast.Number) and is_year(item.value.raw):
                return of_year(item.field, item.op, item.value.raw, item.span)
            return replace(item, value=self._date(item.value, field))
        if isinstance(item, ast.In):
            return replace(item, values=tuple(self._date(value, field) for value in item.values))
        if isinstance(item, ast.Between):
            low, high = self._date(item.low, field), self._date(item.high, field)
            if low.interval()[0] > high.interval()[0]:
                raise self._error("The earlier date comes first.", item.span, f"between {high.text} and {low.text}")
            return replace(item, low=low, high=high)
        raise self._error(f"{field.name} is a date; ± does not apply.", item.span, _EXAMPLE["time"])

    def _date(self, value: ast.Value, field: Field) -> ast.Date:
        if isinstance(value, ast.Date):
            return value
        text = ast.value_text(value)
        hint = "Write a day, a month or an instant (UTC): 2024-05-31, 2024-05, 2024-05-31T12:00."
        raise self._error(f"{field.name} is a date, but {text} is not.", value.span, hint)

    # Names and texts

    def _verbal(self, item: Any, field: Field) -> tuple[Expr, ast.Name]:
        if isinstance(item, ast.Compare) and item.op in ("=", "!="):
            if isinstance(item.value, ast.Words):
                return self._words(item, item.value, field)
            return replace(item, value=self._name(item.value, field)), ()
        if isinstance(item, ast.In):
            return replace(item, values=tuple(dict.fromkeys(self._name(v, field) for v in item.values))), ()
        raise self._error(
            f"{field.name} is a name and has no order.",
            item.span,
            f'Use "=", "in (...)" or "contains": {field.name} = "...".',
        )

    def _words(self, item: ast.Compare, value: ast.Words, field: Field) -> tuple[Expr, ast.Name]:
        """Match the longest run of words that is a value; the rest belongs to the next condition."""
        for size in range(len(value.words), 0, -1) if field.kind == "word" else ():
            found = self.value(field, " ".join(value.words[:size]))
            if found is not None:
                return replace(item, value=ast.Words((found,), value.span)), value.words[size:]
        return replace(item, value=self._name(value, field)), ()

    def _name(self, value: ast.Value, field: Field) -> ast.Words:
        text = value.raw or ast.value_text(value) if isinstance(value, ast.Number) else ""
        text = value.text if isinstance(value, ast.Date) else text
        text = " ".join(value.words) if isinstance(value, ast.Words) else text
        if field.kind == "text":
            return ast.Words((text,), value.span)
        found = self.value(field, text)
        if found is None:
            raise self.unknown_value(field, text, value.span)
        return ast.Words((found,), value.span)

    def value(self, field: Field, written: str) -> str | None:
        """Return the value of the field as the archive spells it; None if no row has it."""
        if field.name == "status":  # withdrawn rows are not among the values, but can be queried
            return next((status for status in field.allowed if status == written.casefold()), None)
        spelled = spelling(field, written)
        found = self._context.known.values.find(field, spelled or written)
        if not found and field.name == "run" and written.isdecimal():  # "run 2" means run-2
            found = [name for sign in "-_ " for name in self._context.known.values.find(field, f"run{sign}{written}")]
        if written in found or spelled in found:
            return written if written in found else spelled
        # Two values that differ in case only need the exact spelling.
        return found[0] if len(found) == 1 else None

    def unknown_value(self, field: Field, written: str, span: Span) -> QueryError:
        """Return the error for a value that no row has."""
        if field.name == "status":
            return self._error(f'"{written}" is not a status.', span, f"Choose one of: {', '.join(field.allowed)}.")
        spelled = spelling(field, written)
        known = self._context.known.values
        values = known.of(field, written)
        noun = {"spectra": "spectrum", "literature": "literature value"}.get(
            field.table, field.table.replace("_", " ").rstrip("s")
        )
        if spelled is not None:
            problem = f'{field.name} "{spelled}" is a known value, but no {noun} in this archive has it.'
        elif field.allowed:
            problem = f'"{written}" is not a value of {field.name}.{did_you_mean(written, list(field.allowed))}'
        else:
            problem = f'No {noun} in this archive has {field.name} "{written}".{did_you_mean(written, values)}'
        if not values:
            return self._error(problem, span, f"No {noun} in this archive has a value of {field.name}.")
        shown = sorted(values) if len(values) <= 12 else values[:8]
        more = "" if len(values) <= 12 else f" and {'more' if len(values) >= 200 else len(values) - 8}"
        hints = [f"In this archive: {', '.join(shown)}{' ...' if more else ''}{more}."]
        if field.allowed and spelled is None:
            hints.append(f"Possible values: {', '.join(field.allowed)}.")
        return self._error(problem, span, *hints)


def same_unit(word: str) -> list[str]:
    """Return the units that differ from the word in case only.

    >>> same_unit("gpa"), same_unit("MBAR")
    (['GPa'], ['Mbar', 'mbar'])
    """
    return [symbol for symbol in BY_SYMBOL if symbol and symbol.casefold() == word.casefold()]


def meant_units(word: str) -> list[str]:
    """Return the likely units for a misspelled one.

    >>> meant_units("gpaa"), meant_units("kbr"), meant_units("C"), meant_units("xyz")
    (['GPa'], ['kbar'], ['degC'], [])
    """
    if word.casefold() == "c":
        return ["degC"]
    # "kk" is a repeated K; single letters are too short to compare.
    once = re.sub(r"(.)\1+", r"\1", word)
    close = nearest(word, [symbol for symbol in BY_SYMBOL if len(symbol) > 1], 1) if len(word) > 1 else []
    return same_unit(word) or same_unit(once) or [find_unit(name).symbol for name in close]  # type: ignore[union-attr]


def spelling(field: Field, word: str) -> str | None:
    """Return the vocabulary's spelling of a value: "ni-k" is the edge "Ni K"; None if unknown.

    >>> spelling(Field("edge", "word", '"edge"'), "ni-k")
    'Ni K'
    """
    if field.name == "edge":
        return find_edge(word)
    if field.name == "line":
        return find_line(word)
    if field.name == "element":
        return word.capitalize() if word.capitalize() in ELEMENTS else None
    return next((value for value in field.allowed if value.casefold() == word.casefold()), None)
