"""Query syntax tree: conditions that can be compared, printed, stored as JSON, and translated.

Every node is immutable. `to_text` prints a query so that parsing the text gives an equal query;
`ast_json.to_dict` is what intake catalogs store instead of SQL. The position of a node in the text
(`span`) is ignored in comparisons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import field as option  # nodes have an attribute of that name
from datetime import datetime, timedelta
from typing import TypeAlias

from barospec.catalogs.query.parse.lexer import ADDRESSED, RESERVED, SIMPLE_WORD

Span: TypeAlias = tuple[int, int]
Name: TypeAlias = tuple[str, ...]  # a field as written, word by word; empty if only a unit identifies it


@dataclass(frozen=True, slots=True)
class Number:
    """A number with the unit after it; `raw` keeps "1.10" for text fields."""

    value: float
    unit: str = ""
    raw: str = option(default="", compare=False, repr=False)
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Date:
    """A day, a month, a minute or a second (UTC), as written: ``2024-05``."""

    text: str
    span: Span = option(default=(0, 0), compare=False, repr=False)

    def interval(self) -> tuple[datetime, datetime]:
        """Return the first instant of it, and the first one after it. Raise ValueError for a day that does not exist.

        >>> Date("2024-12").interval()[1].isoformat()
        '2025-01-01T00:00:00'
        """
        text = self.text.rstrip("Z")
        if len(text) == 7:
            start = datetime.fromisoformat(text + "-01")
            year, month = start.year + start.month // 12, start.month % 12 + 1
            return start, datetime(year, month, 1)
        steps = {10: timedelta(days=1), 16: timedelta(minutes=1)}
        start = datetime.fromisoformat(text)
        return start, start + steps.get(len(text), timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Words:
    """One or several words; a quoted string counts as one."""

    words: tuple[str, ...]
    span: Span = option(default=(0, 0), compare=False, repr=False)


Value: TypeAlias = Number | Date | Words


@dataclass(frozen=True, slots=True)
class Compare:
    """``field op value`` with op one of ``= != < <= > >=``.

    `width` is the uncertainty of the limit (``< 0.25 ± 0.02``). With `sigmas` the value has to be beyond the limit by that
    number of its standard uncertainties.
    """

    field: Name
    op: str
    value: Value
    span: Span = option(default=(0, 0), compare=False, repr=False)
    width: Number | None = None
    sigmas: float = 0.0


@dataclass(frozen=True, slots=True)
class Between:
    """``between a and b``, both ends included."""

    field: Name
    low: Value
    high: Value
    span: Span = option(default=(0, 0), compare=False, repr=False)
    sigmas: float = 0.0


@dataclass(frozen=True, slots=True)
class Within:
    """``10 ± 1 K``: the closed interval of that half width."""

    field: Name
    value: Number
    sigma: Number
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class At:
    """``at 10 K``: equal within the value's own uncertainty or a stated tolerance."""

    field: Name
    value: Number
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class In:
    """``field in (a, b)``: one of several values."""

    field: Name
    values: tuple[Value, ...]
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Contains:
    """``field contains text``, ignoring case."""

    field: Name
    words: Words
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Changes:
    """``valence changes by > 0.1``: the range of the field over the spectra of a run, of one kind each."""

    field: Name
    op: str
    value: Value
    span: Span = option(default=(0, 0), compare=False, repr=False)
    sigmas: float = 0.0


@dataclass(frozen=True, slots=True)
class Missing:
    """``field is missing``: applicable, but without a value. "is known" is its negation."""

    field: Name
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words without an operator: an edge, a material, a run, a technique; `resolve` identifies them."""

    words: Name
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Saved:
    """``@name``: a query saved in the archive."""

    name: str
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    """Negation: true where `item` is false; unknown where it is unknown."""

    item: Expr
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class And:
    """Conjunction. With a single item: a condition in parentheses."""

    items: tuple[Expr, ...]
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Or:
    """Disjunction."""

    items: tuple[Expr, ...]
    span: Span = option(default=(0, 0), compare=False, repr=False)


Condition: TypeAlias = Compare | Between | Within | At | In | Contains | Missing | Changes
Expr: TypeAlias = Condition | Phrase | Saved | Not | And | Or


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key."""

    field: Name
    descending: bool = False
    span: Span = option(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Query:
    """A query: kind of row (`noun`), conditions, order, limit; or the keys of a count.

    ``count_by`` is None for an ordinary query, empty for a bare "count". `include` names what is excluded by default:
    ``stale``, ``uncalibrated``, ``bad``.
    """

    noun: str = "spectra"
    where: Expr | None = None
    count_by: tuple[Name, ...] | None = None
    sort: tuple[Sort, ...] = ()
    limit: int | None = None
    include: tuple[str, ...] = ()
    text: str = option(default="", compare=False, repr=False)
    noun_given: bool = option(default=True, compare=False, repr=False)


def both(items: list[Expr] | tuple[Expr, ...], span: Span = (0, 0)) -> Expr:
    """Return the conjunction of one or more conditions, flat."""
    flat: list[Expr] = []
    for item in items:
        flat += item.items if isinstance(item, And) and (len(items) > 1 or len(item.items) > 1) else (item,)
    return flat[0] if len(flat) == 1 else And(tuple(flat), span)


def either(items: list[Expr] | tuple[Expr, ...], span: Span = (0, 0)) -> Expr:
    """Return the disjunction of one or more conditions, flat."""
    flat: list[Expr] = []
    for item in items:
        flat += item.items if isinstance(item, Or) else (item,)
    return flat[0] if len(flat) == 1 else Or(tuple(flat), span)


def negate(item: Expr, span: Span = (0, 0)) -> Expr:
    """Return the negation; two cancel, in three-valued logic too."""
    return item.item if isinstance(item, Not) else Not(item, span)


def quote(word: str) -> str:
    r"""Return the word as it must be written to be read back.

    >>> quote("run-2"), quote("Ni K"), quote("above")
    ('run-2', '"Ni K"', '"above"')
    """
    if SIMPLE_WORD.fullmatch(word) and word.casefold() not in RESERVED:
        return word
    if ADDRESSED.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def number_text(value: float) -> str:
    """Return the shortest decimal that reads back to the same number.

    >>> number_text(14.0), number_text(23.7)
    ('14', '23.7')
    """
    value = float(value)
    if math.isinf(value):  # too large for a float; rejected where a number is needed
        return "1e999" if value > 0 else "-1e999"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def value_text(value: Value) -> str:
    """Return a value as written in a query."""
    if isinstance(value, Number):
        return f"{number_text(value.value)} {value.unit}".rstrip()
    if isinstance(value, Date):
        return value.text
    return " ".join(map(quote, value.words))


def to_text(node: Query | Expr) -> str:
    """Return the query in its canonical spelling; ``parse(to_text(query)) == query``.

    Parameters
    ----------
    node : Query or condition

    Returns
    -------
    str

    Examples
    --------
    >>> to_text(Query("runs", Compare(("pressure",), ">", Number(14, "GPa"))))
    'runs where pressure > 14 GPa'
    """
    if not isinstance(node, Query):
        return _expr(node)
    parts = []
    if node.where is None:
        parts.append(f"all {node.noun}")
    else:
        parts.append(_expr(node.where) if node.noun == "spectra" else f"{node.noun} where {_expr(node.where)}")
    if node.count_by is not None:
        keys = ", ".join(_name(key) for key in node.count_by)
        parts.append(f"count by {keys}" if keys else "count")
    if node.sort:
        parts.append("sorted by " + ", ".join(_name(s.field) + " descending" * s.descending for s in node.sort))
    if node.limit is not None:
        parts.append(f"limit {node.limit}")
    parts += [f"including {what}" for what in node.include]
    return " ".join(parts)


def _name(name: Name) -> str:
    return " ".join(map(quote, name))


def _expr(node: Expr) -> str:
    if isinstance(node, And):
        inner = " and ".join(f"({_expr(i)})" if isinstance(i, Or) else _expr(i) for i in node.items)
        return f"({inner})" if len(node.items) == 1 else inner
    if isinstance(node, Or):
        return " or ".join(f"({_expr(i)})" if isinstance(i, And) and len(i.items) > 1 else _expr(i) for i in node.items)
    if isinstance(node, Not):
        if isinstance(node.item, Missing):
            return f"{_name(node.item.field)} is known".lstrip()
        if isinstance(node.item, In):
            return _condition(node.item, "not in")
        inner = _expr(node.item)
        return f"not ({inner})" if isinstance(node.item, Or) or is_wide(node.item) else f"not {inner}"
    if isinstance(node, Phrase):
        return _name(node.words)
    if isinstance(node, Saved):
        return f"@{node.name}"
    return _condition(node)


def is_wide(node: Expr) -> bool:
    """Return True if the node is a conjunction of several conditions."""
    return isinstance(node, And) and len(node.items) > 1


def _condition(node: Condition, within: str = "in") -> str:
    match node:
        case Compare(value=Number() as value, width=Number() as width):
            text = f"{node.op} {number_text(value.value)} ± {number_text(width.value)} {value.unit}".rstrip()
        case Compare():
            text = f"{node.op} {value_text(node.value)}"
        case Changes():
            text = f"changes by {node.op} {value_text(node.value)}"
        case Between(low=Number(unit=unit) as low, high=Number() as high) if unit == high.unit:
            text = f"between {number_text(low.value)} and {value_text(high)}"
        case Between():
            text = f"between {value_text(node.low)} and {value_text(node.high)}"
        case Within():
            sigma = number_text(node.sigma.value)
            text = f"= {number_text(node.value.value)} ± {sigma} {node.value.unit}".rstrip()
        case At():
            text = f"at {value_text(node.value)}"
        case In():
            text = f"{within} ({', '.join(map(value_text, node.values))})"
        case Contains():
            text = f"contains {value_text(node.words)}"
        case Missing():
            text = "is missing"
    if isinstance(node, Compare | Between | Changes) and node.sigmas:
        text += f" at {number_text(node.sigmas)} sigma"
    return f"{_name(node.field)} {text}".lstrip()
