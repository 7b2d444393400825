"""Conditions as Python keywords: ``query("Ni K", pressure="> 140 kbar", run=["run-2", "run-3"])``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr
from barospec.catalogs.query.parse.lexer import FORBIDDEN
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.ast_json import from_dict
from barospec.catalogs.query.resolve.fields import INCLUDABLE
from barospec.schemas.errors import QueryError

Question: TypeAlias = str | ast.Query | Mapping[str, Any] | None

# Cache of recent texts: the meaning of a text depends on nothing else, and a query is immutable.
_parsed = lru_cache(maxsize=64)(parse)

_OPS = {"=", "!=", "<", "<=", ">", ">="}
# A string that begins like this is a test; any other is a value to be equal to.
_TEST = re.compile(
    r"[<>=!≤≥≠±]|(?:above|below|over|under|between|from|at|near|since|until|before|after|in|not|is|contains|"
    r"at least|at most|more than|less than|up to)\s+\S",
    re.IGNORECASE,
)
_QUANTITY = re.compile(r"[+-]?(?:\d|\.\d)")


def query_of(
    question: Question = "", *, limit: int | None = None, include: Sequence[str] = (), **conditions: Any
) -> ast.Query:
    """Combine a text (or a query, or its structured form) and keyword conditions into one query; all must be true.

    Parameters
    ----------
    question : str, Query or dict
        Empty means all spectra.
    limit : int, optional
        Maximum number of rows; a smaller limit in the text stays.
    include : sequence of str
        Rows to include that are excluded by default: ``stale`` values, energies of ``uncalibrated`` axes, spectra flagged as ``bad``.
    **conditions
        By field name:

        - a value, ``edge="Ni K"``, ``step=3``, ``time=date(2024, 5, 31)``: equal to it;
        - a test, ``pressure="> 140 kbar"``, ``temperature="10 ± 1 K"``, ``temperature="at 10 K"``, or a pair
          ``pressure=(">", 14)``;
        - ``slice(14, None)``: from 14 on, both ends included, as in xarray's ``sel``;
        - a list or set: one of them;
        - None: missing; ``...``: known.

        Numbers are in the field's own unit; strings may carry another.

    Returns
    -------
    Query

    Examples
    --------
    >>> ast.to_text(query_of("Ni K", pressure=slice(14, None), run=["run-2", "run-3"]))
    'Ni K and pressure >= 14 and run in (run-2, run-3)'
    """
    if isinstance(question, ast.Query):
        query = question
    elif isinstance(question, Mapping):
        query = from_dict(question)
    elif question is None or (isinstance(question, str) and not question.strip() and (conditions or question == "")):
        query = ast.Query(noun_given=False)
    elif isinstance(question, str):
        query = _parsed(question)
    else:
        raise QueryError(f"A question must be a text, a query or a mapping, not {type(question).__name__}.")
    parts = ([] if query.where is None else [query.where]) + [condition(n, v) for n, v in conditions.items()]
    if conditions:
        query = replace(query, where=ast.both(parts))
    if include:
        words = {include} if isinstance(include, str) else set(include)
        if not words <= set(INCLUDABLE):
            raise QueryError(f"include is {include!r}; expected some of {', '.join(INCLUDABLE)}.")
        query = replace(query, include=tuple(sorted({*query.include, *words})))
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 10**9:
            raise QueryError(f"limit is {limit!r}; expected a whole number, 1 or more.")
        query = replace(query, limit=min(limit, query.limit or limit))
    return query


def condition(name: str, value: Any) -> Expr:
    """Return the condition that ``name=value`` means; see `query_of`.

    >>> ast.to_text(condition("pressure", (">", 14)))
    'pressure > 14'
    """
    field = (_checked(name),)
    if value is None or value is ...:
        missing = ast.Missing(field)
        return missing if value is None else ast.Not(missing)
    if isinstance(value, slice):
        return _interval(field, value)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and value[0] in _OPS:
        return ast.Compare(field, value[0], _value(name, value[1]))
    if isinstance(value, list | tuple | set | frozenset):
        values = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        if not values:
            raise QueryError(f"{name} is an empty list, which no value matches. Omit it to match all.")
        return ast.In(field, tuple(_value(name, item) for item in values))
    if isinstance(value, str) and (_TEST.match(value.strip()) or _is_quantity(value)):
        return _test(name, value.strip())
    return ast.Compare(field, "=", _value(name, value))


def _checked(text: str) -> str:
    if FORBIDDEN.search(text):
        raise QueryError("A keyword condition has a character that is not allowed in text.")
    return text


def _is_quantity(value: str) -> bool:
    """Return True if a string is a number with a width or range: "10 ± 1 K", "10 to 20 GPa"."""
    return bool(_QUANTITY.match(value.strip()) and re.search(r"±|\+-|\+/-|\bto\b", value))


def _test(name: str, value: str) -> Expr:
    """Parse a test written as text, with the field put before it."""
    text = f"{ast.quote(name)} {value}"
    query = parse(text)
    plain = query.where is not None and not (query.count_by or query.sort or query.limit or query.noun_given)
    if not plain or isinstance(query.where, ast.Phrase | ast.Saved):
        raise QueryError(
            f'"{value}" is not a condition on {name}.', text, hints=('Examples: "> 140 kbar", "10 ± 1 K".',)
        )
    assert query.where is not None
    return query.where


def _interval(field: ast.Name, value: slice) -> Expr:
    if value.step is not None:
        raise QueryError(f"{field[0]} is a slice with a step; only its two ends are used.")
    low = None if value.start is None else _value(field[0], value.start)
    high = None if value.stop is None else _value(field[0], value.stop)
    if low is not None and high is not None:
        return ast.Between(field, low, high)
    if low is None and high is None:
        return ast.Not(ast.Missing(field))
    return ast.Compare(field, "<=", high) if high is not None else ast.Compare(field, ">=", low)  # type: ignore[arg-type]


def _value(name: str, value: Any) -> ast.Value:
    """Convert a Python value to the value of a condition."""
    if isinstance(value, bool):
        raise QueryError(f"{name} is {value}; no field is true or false. Use None for missing, ... for known values.")
    if isinstance(value, date):
        return _date(name, value)
    if isinstance(value, str):
        return _string_value(value)
    try:
        number = float(value)  # numpy numbers too
    except (TypeError, ValueError, OverflowError):
        raise QueryError(
            f"{name} is a {type(value).__name__}; expected a number, a text, a date, a list or a slice."
        ) from None
    if number - number != 0:
        raise QueryError(f"{name} is {number}; for missing values use {name}=None.")
    return ast.Number(number, "", ast.number_text(number))


def _date(name: str, value: date) -> ast.Date:
    """Convert a day, or an instant, to UTC (an instant without time zone is taken as UTC)."""
    try:
        if isinstance(value, datetime):
            utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            found = ast.Date(utc.isoformat(timespec="seconds"))
        else:
            found = ast.Date(value.isoformat())
        found.interval()
    except (ValueError, OverflowError):
        raise QueryError(f"{name} is {value}, too near an end of the calendar.") from None
    return found


def _string_value(value: str) -> ast.Value:
    """Convert a string to a quantity or a date if it is one, otherwise to text."""
    if _QUANTITY.match(value):
        try:
            where = parse(f"x = {value}").where
        except QueryError:
            where = None
        if isinstance(where, ast.Compare) and isinstance(where.value, ast.Number | ast.Date):
            return where.value
    return ast.Words((_checked(value),))
