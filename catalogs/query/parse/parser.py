"""Parser of query texts.

`parse` runs the tables that `build_parse_table` generated from ``grammar.lark``: a shift-reduce loop of twenty
lines, with one small function for each rule. It needs no knowledge of the archive; `resolve` adds that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr, Span
from barospec.catalogs.query.parse.lexer import Token, tokens
from barospec.catalogs.query.parse.parse_table import END, RULES, START, STATES
from barospec.catalogs.query.parse.syntax_errors import Fault, ambiguous_or, unexpected
from barospec.schemas.errors import QueryError

EXAMPLES = (
    'Examples: "all runs above 14 GPa", "Ni K spectra between 10 and 20 GPa below 80 K",',
    '"pressure > 140 kbar and edge = \\"Ni K\\" and not origin = synthetic".',
)
MOST_ROWS = 10**9


def parse(text: str) -> ast.Query:
    """Parse a query.

    Parameters
    ----------
    text : str
        Query text.

    Returns
    -------
    Query
        With fields and values as written, units not yet converted.

    Raises
    ------
    QueryError
        With the position, and the tokens expected there.

    Examples
    --------
    >>> from barospec.catalogs.query.parse.ast import to_text
    >>> to_text(parse("Ni K spectra between 10 and 20 GPa below 80 K"))
    'Ni K and between 10 and 20 GPa and < 80 K'
    """
    found = tokens(text)
    if not found:
        raise QueryError('The query is empty. "all spectra" finds everything.', text, hints=EXAMPLES)
    try:
        draft: _Draft = _run(found, text)
        return draft.query(text)
    except Fault as fault:
        raise QueryError(fault.problem, text, *fault.span, hints=fault.hints) from None


def canonical(query: Any) -> str:
    """Return the text of a query or a resolved query, with fields and units spelled out.

    >>> canonical(parse("above 14 GPa"))
    '> 14 GPa'
    """
    return ast.to_text(getattr(query, "query", query))


class _Many(list[Any]):
    """Parts of a repetition, to be spliced into the rule that repeats them."""


def _spliced(taken: list[Any]) -> list[Any]:
    if _Many not in map(type, taken):
        return taken
    return [part for value in taken for part in (value if isinstance(value, _Many) else (value,))]


def _run(found: list[Token], text: str) -> Any:
    states, values, spans = [START], list[Any](), list[Span]()
    stream = [*found, Token("$END", "", len(text), len(text))]
    position = 0
    while True:
        token = stream[position]
        action = STATES[states[-1]].get(token.kind)
        if action is None:
            raise unexpected(stream, position, STATES[states[-1]], text)
        if action >= 0:
            states.append(action)
            values.append(token)
            spans.append((token.start, token.end))
            position += 1
            continue
        symbol, size, handler = RULES[-1 - action]
        cut = len(values) - size
        del states[cut + 1 :]
        if size == 1 and not handler and type(values[cut]) is not _Many:  # the same value
            states.append(STATES[states[-1]][symbol])
            if states[-1] == END and token.kind == "$END":
                return values[-1]
            continue
        span = (spans[cut][0], spans[-1][1]) if size else (token.start, token.start)
        taken = values[cut:]
        del values[cut:], spans[cut:]
        if handler == "_" and taken and isinstance(taken[0], _Many):
            value = taken[0]  # a repetition grows in place: n words cost n, not n²
            value.extend(_spliced(taken[1:]))
        else:
            parts = _spliced(taken)
            value = parts[0] if not handler else _Many(parts) if handler == "_" else _HANDLERS[handler](parts, span)
        values.append(value)
        spans.append(span)
        states.append(STATES[states[-1]][symbol])
        if states[-1] == END and token.kind == "$END":
            return values[-1]


@dataclass(slots=True)
class _Draft:
    """A query under construction: conditions, and clauses for the whole query wherever they occur."""

    where: Expr | None = None
    nouns: list[tuple[str, Span]] = field(default_factory=list)
    counts: list[tuple[tuple[ast.Name, ...], Span]] = field(default_factory=list)
    sorts: list[tuple[tuple[ast.Sort, ...], Span]] = field(default_factory=list)
    limits: list[tuple[int, Span]] = field(default_factory=list)
    includes: list[tuple[str, Span]] = field(default_factory=list)
    side_by_side: bool = False
    span: Span = (0, 0)

    def whole(self) -> list[tuple[Any, Span]]:
        return [*self.nouns, *self.counts, *self.sorts, *self.limits, *self.includes]

    def take(self, other: _Draft) -> None:
        """Add the clauses of `other` for the whole query."""
        self.nouns += other.nouns
        self.counts += other.counts
        self.sorts += other.sorts
        self.limits += other.limits
        self.includes += other.includes
        self.side_by_side |= other.side_by_side

    def query(self, text: str) -> ast.Query:
        if len(self.counts) > 1:  # "count runs by edge" has it twice
            self.counts = [clauses for clauses in self.counts if clauses[0]] or self.counts
        for what, clauses in (
            ("noun", self.nouns),
            ("count", self.counts),
            ("order", self.sorts),
            ("limit", self.limits),
        ):
            if len(clauses) > 1 and not (what == "noun" and len({noun for noun, _ in clauses}) == 1):
                first = text[slice(*clauses[0][1])]
                raise Fault(f'The query has a second {what} after "{first}"; only one is possible.', clauses[1][1])
        return ast.Query(
            noun=self.nouns[0][0] if self.nouns else "spectra",
            where=self.where,
            count_by=self.counts[0][0] if self.counts else None,
            sort=self.sorts[0][0] if self.sorts else (),
            limit=self.limits[0][0] if self.limits else None,
            include=tuple(sorted({word for words, _ in self.includes for word in words.split()})),
            text=text,
            noun_given=bool(self.nouns),
        )


def _query(parts: list[Any], span: Span) -> _Draft:
    return parts[0] if parts else _Draft(span=span)


def _group(parts: list[Any], span: Span) -> _Draft:
    draft = _Draft(span=span)
    conditions = []
    for part in parts:
        if isinstance(part, _Draft):
            draft.take(part)
        else:
            conditions.append(part)
    if conditions:
        draft.where = ast.both(conditions, span)
    draft.side_by_side = len(conditions) > 1
    return draft


def _conjunction(parts: list[Any], span: Span) -> _Draft:
    drafts = [part for part in parts if isinstance(part, _Draft)]
    return _joined(drafts, ast.both, span)


def _disjunction(parts: list[Any], span: Span) -> _Draft:
    drafts = [part for part in parts if isinstance(part, _Draft)]
    if len(drafts) > 1:
        for draft in drafts:
            if draft.where is None:
                raise Fault('"or" needs a condition on both sides.', draft.span)
            if draft.side_by_side:
                raise ambiguous_or(draft.span)
    return _joined(drafts, ast.either, span)


def _joined(drafts: list[_Draft], join: Callable[[list[Expr], Span], Expr], span: Span) -> _Draft:
    result = _Draft(span=span)
    for draft in drafts:
        result.take(draft)
    conditions = [draft.where for draft in drafts if draft.where is not None]
    if conditions:
        result.where = join(conditions, span)
    return result


def _parentheses(parts: list[Any], span: Span) -> Expr:
    draft: _Draft = parts[1]
    if draft.whole():
        raise Fault("This applies to the whole query and is not allowed in parentheses.", draft.whole()[0][1])
    if draft.where is None:
        raise Fault("The parentheses contain no condition.", span)
    return draft.where if isinstance(draft.where, ast.And | ast.Or | ast.Not) else ast.And((draft.where,), span)


def _negation(parts: list[Any], span: Span) -> Expr:
    return ast.negate(parts[1], span)


def _condition(parts: list[Any], span: Span) -> Expr:
    """Build a test from the words before it, which name the field (and perhaps more)."""
    make: Callable[[ast.Name, Span], Expr] = parts[-1]
    return make(parts[0].words if len(parts) == 2 else (), span)


def _compare(parts: list[Any], span: Span) -> Any:
    op, value = parts[0].value, parts[1]
    if isinstance(value, ast.Date) and len(value.text) == 4:
        return lambda name, at: of_year(name, op, value.text, at)
    return lambda name, at: ast.Compare(name, op, value, at)


def of_year(name: ast.Name, op: str, year: str, span: Span) -> Expr:
    """Return a comparison with a whole year, in months: ``after 2023`` is ``> 2023-12``."""
    first, last = ast.Date(f"{year}-01", span), ast.Date(f"{year}-12", span)
    if op in ("=", "!="):
        within = ast.Between(name, first, last, span)
        return within if op == "=" else ast.Not(within, span)
    return ast.Compare(name, op, last if op in (">", "<=") else first, span)


def _on_date(parts: list[Any], span: Span) -> Expr:
    return _compare([Token("OP", "=", *span), _date(parts, span)], span)((), span)  # type: ignore[no-any-return]


def _within(parts: list[Any], span: Span) -> Any:
    numbers = [part for part in parts if isinstance(part, ast.Number)]
    value, sigma = _same_unit(*numbers)
    if sigma.value < 0:
        raise Fault("The width after ± cannot be negative.", sigma.span)
    return lambda name, at: ast.Within(name, value, sigma, at)


def _compare_within(parts: list[Any], span: Span) -> Any:
    op, sigmas = parts[0].value, _sigmas(parts)
    if op == "=" and not sigmas:
        return _within(parts, span)
    if op in ("=", "!="):
        written = "at ... sigma" if sigmas else "±"
        raise Fault(f'"{written}" cannot follow "{op}".', span, 'Write "= 10 ± 1 K", or "between 9 and 11 K".')
    limit, width = _same_unit(*(part for part in parts if isinstance(part, ast.Number)))
    if width.value < 0:
        raise Fault("The width after ± cannot be negative.", width.span)
    return lambda name, at: ast.Compare(name, op, limit, at, width, sigmas)


def _sigmas(parts: list[Any]) -> float:
    """Return the requested number of standard uncertainties; 0 by default."""
    last = parts[-1]
    if not (isinstance(last, Token) and last.kind == "SIGMAS"):
        return 0.0
    if not 0 < float(last.value) <= 100:
        raise Fault(f"{last.value} sigma is not a confidence level.", (last.start, last.end), 'Write "at 2 sigma".')
    return float(last.value)


def _compare_sigmas(parts: list[Any], span: Span) -> Any:
    op, value, sigmas = parts[0].value, parts[1], _sigmas(parts)
    if op in ("=", "!=") or not isinstance(value, ast.Number):
        raise Fault('"at ... sigma" needs a limit.', span, 'For example "> 8346 eV at 2 sigma".')
    return lambda name, at: ast.Compare(name, op, value, at, None, sigmas)


def _changes(parts: list[Any], span: Span) -> Any:
    op, value, sigmas = parts[1].value, parts[2], _sigmas(parts)
    if op in ("=", "!="):
        raise Fault("A change needs a limit.", span, 'For example "changes by more than 0.1".')
    return lambda name, at: ast.Changes(name, op, value, at, sigmas)


def _same_unit(low: ast.Number, high: ast.Number) -> tuple[ast.Number, ast.Number]:
    """Apply a unit written once to both: "10 ± 1 K", "between 10 and 20 GPa"."""
    unit = high.unit or low.unit
    return (
        ast.Number(low.value, low.unit or unit, low.raw, low.span),
        ast.Number(high.value, unit, high.raw, high.span),
    )


def _between(parts: list[Any], span: Span) -> Any:
    low, high = (part for part in parts if not isinstance(part, Token))
    sigmas = _sigmas(parts)
    if isinstance(low, ast.Number) and isinstance(high, ast.Number):
        low, high = _same_unit(low, high)
    elif sigmas:
        raise Fault('"at ... sigma" needs numbers.', span)
    return lambda name, at: ast.Between(name, low, high, at, sigmas)


def _at(parts: list[Any], span: Span) -> Any:
    return lambda name, at: ast.At(name, parts[-1], at)


def _in_list(parts: list[Any], span: Span) -> Any:
    return lambda name, at: ast.In(name, parts[1], at)


def _not_in_list(parts: list[Any], span: Span) -> Any:
    return lambda name, at: ast.Not(ast.In(name, parts[1], at), at)


def _values(parts: list[Any], span: Span) -> tuple[ast.Value, ...]:
    return tuple(part for part in parts if not isinstance(part, Token))


def _contains(parts: list[Any], span: Span) -> Any:
    return lambda name, at: ast.Contains(name, parts[1], at)


def _missing(parts: list[Any], span: Span) -> Any:
    return lambda name, at: ast.Missing(name, at)


def _known(parts: list[Any], span: Span) -> Any:
    return lambda name, at: ast.Not(ast.Missing(name, at), at)


def _number(parts: list[Any], span: Span) -> ast.Number:
    written = parts[0].value
    return ast.Number(float(written), parts[1].value if len(parts) == 2 else "", written, span)


def _date(parts: list[Any], span: Span) -> ast.Date:
    text = parts[0].value.replace(" ", "T")
    date = ast.Date(text, span)
    try:
        if len(text) > 4:
            date.interval()
    except (ValueError, OverflowError):
        raise Fault(f"{text} is not a calendar date.", span) from None
    return date


def _words(parts: list[Any], span: Span) -> ast.Words:
    return ast.Words(tuple(part.value for part in parts), span)


def _sort_key(parts: list[Any], span: Span) -> ast.Sort:
    return ast.Sort(parts[0].words, len(parts) == 2 and parts[1].kind == "DESC", span)


def _limit(parts: list[Any], span: Span) -> _Draft:
    number: ast.Number = parts[1]
    if number.unit or not 1 <= number.value <= MOST_ROWS or number.value != int(number.value):
        raise Fault(f'"{parts[0].value}" needs a whole number, such as "{parts[0].value} 10".', number.span)
    draft = _Draft(limits=[(int(number.value), span)], span=span)
    if parts[0].kind != "LIMIT":
        draft.sorts = [((ast.Sort(("time",), parts[0].kind == "LATEST", span),), span)]
    return draft


_HANDLERS: dict[str, Callable[[list[Any], Span], Any]] = {
    "query": _query,
    "disjunction": _disjunction,
    "conjunction": _conjunction,
    "group": _group,
    "parentheses": _parentheses,
    "negation": _negation,
    "condition": _condition,
    "compare": _compare,
    "compare_within": _compare_within,
    "compare_sigmas": _compare_sigmas,
    "changes": _changes,
    "within": _within,
    "between": _between,
    "at": _at,
    "in_list": _in_list,
    "not_in_list": _not_in_list,
    "contains": _contains,
    "missing": _missing,
    "known": _known,
    "on_date": _on_date,
    "values": _values,
    "number": _number,
    "date": _date,
    "words": _words,
    "sort_key": _sort_key,
    "limit": _limit,
    "phrase": lambda parts, span: ast.Phrase(parts[0].words, span),
    "saved": lambda parts, span: ast.Saved(parts[0].value, span),
    "without": lambda parts, span: ast.Missing(parts[1].words, span),
    "noun": lambda parts, span: _Draft(nouns=[(parts[0].value, span)], span=span),
    "include": lambda parts, span: _Draft(includes=[(parts[0].value, span)], span=span),
    "sort": lambda parts, span: _Draft(sorts=[(tuple(p for p in parts if isinstance(p, ast.Sort)), span)], span=span),
    "count": lambda parts, span: _Draft(
        counts=[(tuple(p.words for p in parts if isinstance(p, ast.Words)), span)], span=span
    ),
}
