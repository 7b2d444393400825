"""Resolution of a query: its syntax tree against the fields and values of one archive.

The result is a query in normal form: every condition names its field, values are in the field's own unit
and spelled as in the archive, saved queries are expanded. Anything ambiguous raises an
error that shows the choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr, Span
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import TABLES, ArchiveSchema
from barospec.catalogs.query.resolve.comparisons import ComparisonResolver
from barospec.catalogs.query.resolve.context import Context
from barospec.catalogs.query.resolve.fields import VALUES, Field
from barospec.catalogs.query.resolve.words import WordResolver
from barospec.schemas.errors import QueryError, did_you_mean

_TESTS = (ast.Compare, ast.Between, ast.Within, ast.At, ast.In, ast.Contains, ast.Missing, ast.Changes)
GROUPED = ("runs", "samples")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A query in normal form.

    Parameters
    ----------
    query : Query
        Its canonical text parses back to the same query.
    table : str
        Table of the index for the rows.
    fields : mapping of str to Field
        All fields that conditions, order and counting use.
    notes : tuple of str
        Readings of ambiguous words, and tolerances.
    scans : bool
        True to show spectra that were merged into others too.
    """

    query: ast.Query
    table: str
    fields: Mapping[str, Field]
    notes: tuple[str, ...] = ()
    scans: bool = False

    @property
    def noun(self) -> str:
        """Kind of row of the answer."""
        return self.query.noun


def resolve(query: ast.Query, known: ArchiveSchema, *, scans: bool = False, keep_saved: bool = False) -> Resolved:
    """Resolve a query in an archive.

    Parameters
    ----------
    query : Query
        From `parser.parse`, `keywords.query_of` or `ast_json.from_dict`.
    known : ArchiveSchema
        From `archive_schema.known_from`.
    scans : bool
        Show spectra that were merged into others too, as the noun "scans" does.
    keep_saved : bool
        Check ``@name`` but keep it, so that a query saved on top of it follows it.

    Returns
    -------
    Resolved

    Raises
    ------
    QueryError
        For an unknown field, unit or value, a wrong dimension, or ambiguous words.

    Examples
    --------
    >>> from barospec.catalogs.query.resolve.fields import VALUES, Field
    >>> known = ArchiveSchema({"spectra": {"pressure": Field("pressure", "number", "pressure", "GPa")}}, values=None)
    >>> ast.to_text(resolve(parse("runs above 140 kbar"), known).query)
    'runs where pressure > 14 GPa'
    """
    whole = _inherit(query, known)
    query = replace(query, noun=whole.noun, noun_given=whole.noun_given) if keep_saved else whole
    known = known.including(query.include)
    table = TABLES.get(query.noun, "")
    if not known.fields.get(table):
        there = [noun for noun, name in TABLES.items() if known.fields.get(name)]
        place = query.text.casefold().find(query.noun)
        raise QueryError(
            f"This archive has no {query.noun}.",
            query.text,
            max(place, 0),
            max(place, 0) + len(query.noun),
            (
                "`barospec apply OPERATOR TEXT --store` stores computed values."
                if table == VALUES
                else f"It has {', '.join(there)}.",
            ),
        )
    resolver = Resolver(known, query.text, query.noun, table, keep_saved=keep_saved)
    resolver.only = query.where
    where = None if query.where is None else resolver.whole(query.where)
    resolver.refuse_changes(where)
    normal = replace(
        query,
        where=where,
        count_by=None if query.count_by is None else tuple((resolver.key(k).name,) for k in query.count_by),
        sort=tuple(replace(s, field=(resolver.key(s.field, s.span).name,)) for s in query.sort),
    )
    return Resolved(
        normal, table, resolver.fields, tuple(dict.fromkeys(resolver.notes)), scans or query.noun == "scans"
    )


def _inherit(query: ast.Query, known: ArchiveSchema, seen: tuple[str, ...] = ()) -> ast.Query:
    """Inherit the clauses of a saved query for the whole query: noun; order and limit if there is no other clause."""
    parts = query.where.items if isinstance(query.where, ast.And) else (query.where,)
    used = [part for part in parts if isinstance(part, ast.Saved)]
    for part in used:
        if part.name in seen:
            raise _cycle([*seen, part.name], query.text, part.span)
    inner = [_inherit(saved_query(part.name, known, query.text, part.span), known, (*seen, part.name)) for part in used]
    nouns = {saved.noun for saved in inner if saved.noun_given}
    query = replace(
        query, include=tuple(sorted({*query.include, *(what for saved in inner for what in saved.include)}))
    )
    if not query.noun_given and len(nouns) == 1:
        query = replace(query, noun=nouns.pop(), noun_given=True)
    if len(parts) > 1 or not used:
        return query
    only = inner[0]
    return replace(
        query,
        where=None if only.where is None else query.where,
        count_by=only.count_by if query.count_by is None else query.count_by,
        sort=query.sort or only.sort,
        limit=only.limit if query.limit is None else query.limit,
    )


def saved_query(name: str, known: ArchiveSchema, text: str, span: Span) -> ast.Query:
    """Return the saved query of that name, parsed."""
    from barospec.catalogs.query.resolve.ast_json import from_dict  # only for saved queries

    if name not in known.saved:
        have = sorted(known.saved)
        shown = f"Saved: {', '.join('@' + n for n in have[:12])}." if have else "No query is saved in this archive."
        raise QueryError(f"There is no saved query @{name}.{did_you_mean(name, have)}", text, *span, hints=(shown,))
    stored = known.saved[name]
    try:
        return parse(stored) if isinstance(stored, str) else from_dict(stored)
    except QueryError as error:
        error.add_note(f"This is the text of the saved query @{name}.")
        raise


def _cycle(names: list[str], text: str, span: Span) -> QueryError:
    path = " -> ".join("@" + name for name in names)
    return QueryError(f"The saved query refers to itself: {path}.", text, *span)


class Resolver(Context):
    """Resolves one query text."""

    def __init__(
        self,
        known: ArchiveSchema,
        text: str,
        noun: str,
        table: str,
        inside: tuple[str, ...] = (),
        *,
        keep_saved: bool = False,
    ) -> None:
        super().__init__(known, text, noun, table, inside)
        self.keep_saved = keep_saved
        self.only: Expr | None = None  # the whole condition, in which a saved query may have a limit
        self.meaning = ComparisonResolver(self, self.field)
        self.phrases = WordResolver(self, self.meaning)

    def whole(self, node: Expr) -> Expr:
        """Return the normal form of a complete condition."""
        if isinstance(node, ast.And):
            parts = self._conjunction(node.items)
            self._refuse_contradiction(parts, node.span)
            return ast.both(parts, node.span)
        if isinstance(node, ast.Or):
            return ast.either([self._alone(item, "or") for item in node.items], node.span)
        if isinstance(node, ast.Not):
            return self._denied(node)
        if isinstance(node, ast.Saved):
            return self._saved(node)
        parts = self._conjunction((node,))
        self._refuse_contradiction(parts, node.span)
        return ast.both(parts, node.span)

    def refuse_changes(self, where: Expr | None) -> None:
        """Raise QueryError for a change inside "or" or "not": it applies to a whole run, beside other conditions."""
        parts = where.items if isinstance(where, ast.And) else (where,)
        for part in parts:
            if isinstance(part, ast.Changes) and self.noun not in GROUPED:
                text = ast.to_text(part)
                raise self.error(
                    f"A change applies to runs, not to single {self.noun}.",
                    part.span,
                    f'Query runs: "runs where {text}".',
                )
        pending: list[Any] = [part for part in parts if isinstance(part, ast.And | ast.Or | ast.Not)]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.Changes):
                raise self.error('A change is not allowed inside "or" or "not".', node.span)
            pending += node.items if isinstance(node, ast.And | ast.Or) else []
            pending += [node.item] if isinstance(node, ast.Not) else []

    def _refuse_contradiction(self, parts: list[Expr], span: Span) -> None:
        """Raise QueryError for "run-2 and run-3": it means both runs, but as conditions on one spectrum it silently finds nothing."""
        seen: dict[str, ast.Compare] = {}
        for part in parts:
            if isinstance(part, ast.Compare) and part.op == "=" and isinstance(part.value, ast.Words):
                name = part.field[0]
                other = seen.setdefault(name, part)
                if other.value != part.value and name != "spectrum_id":
                    first, second = (ast.value_text(one.value) for one in (other, part))
                    raise self.error(
                        f"No {'spectrum' if self.table == 'spectra' else 'row'} has {name} {first} and {second} at once.",
                        span,
                        f'For both, write "{name} in ({first}, {second})".',
                    )

    def _denied(self, node: ast.Not) -> Expr:
        """Negate a node. "is known" and "not in" negate only themselves, not the words before; "not" negates what follows."""
        if _is_negative_test(node):
            return ast.both(self._conjunction((node,)), node.span)
        return ast.negate(self._alone(node.item, "not"), node.span)

    def _alone(self, node: Expr, after: str) -> Expr:
        """Return the operand of "not" or "or". One unparenthesized phrase must not become two conditions."""
        result = self.whole(node)
        if isinstance(node, ast.And | ast.Or | ast.Not | ast.Saved) or not isinstance(result, ast.And):
            return result
        parts = [ast.to_text(item) for item in result.items]
        first, rest = parts[0], " and ".join(parts[1:])
        if after == "not":
            readings = f"not ({first} and {rest})", f"(not {first}) and {rest}"
        else:
            readings = f"... or ({first} and {rest})", f"(... or {first}) and {rest}"
        raise self.error(
            f'It is not clear how much "{after}" applies to here. Use parentheses, or join with "and".',
            node.span,
            f'Either "{readings[0]}",',
            f'or "{readings[1]}".',
        )

    def _conjunction(self, items: tuple[Expr, ...]) -> list[Expr]:
        """Join adjacent conditions: words may belong to the test before or after them."""
        queue, result = list(items), list[Expr]()
        while queue:
            item = queue.pop(0)
            if isinstance(item, ast.Phrase):
                words = item.words
                if queue and (bare := _bare(queue[0])) is not None:
                    size = self.phrases.field_at_end(words)
                    if size:
                        queue[0] = _with_field(queue[0], bare, words[len(words) - size :], item.span)
                        words = words[: len(words) - size]
                result += self.phrases.conditions(words, item.span) if words else []
            elif isinstance(item, _TESTS):
                result += self._test(item, queue)
            elif _is_negative_test(item):
                *before, test = self._test(item.item, queue)
                result += [*before, ast.negate(test, item.span)]
            else:
                result.append(self.whole(item))
        return result

    def _test(self, item: Any, queue: list[Expr]) -> list[Expr]:
        """Resolve a test, after splitting off the phrase before its field and the words after its value."""
        size = self.phrases.field_at_end(item.field)
        before = item.field[: len(item.field) - size]
        conditions = self.phrases.conditions(before, item.span) if before else []
        name = item.field[len(item.field) - size :]
        field = self.field(name, item.span) if name else self.meaning.implied(item)
        test, left = self.meaning.test(item, self.use(field))
        if left:
            queue.insert(0, ast.Phrase(left, item.span))
        return [*conditions, test]

    def _saved(self, node: ast.Saved) -> Expr:
        if node.name in self.inside:
            raise _cycle([*self.inside, node.name], self.text, node.span)
        inner = saved_query(node.name, self.known, self.text, node.span)
        if inner.limit is not None and node is not self.only:
            raise self.error(f"@{node.name} has a limit and cannot be part of another query.", node.span)
        deeper = Resolver(
            self.known, inner.text or ast.to_text(inner), self.noun, self.table, (*self.inside, node.name)
        )
        if inner.where is None:
            if self.keep_saved and node is self.only:  # a second name for "all runs"
                return node
            raise self.error(f"@{node.name} has no condition.", node.span)
        deeper.only = inner.where if node is self.only else None
        result = deeper.whole(inner.where)
        self.fields.update(deeper.fields)
        self.notes += deeper.notes
        return node if self.keep_saved else result

    def key(self, name: ast.Name, span: Span = (0, 0)) -> Field:
        """Return the field to sort or count by."""
        if span == (0, 0) and name:
            start = self.text.find(name[0], max(self.text.find(" by "), 0))
            span = (max(start, 0), max(start, 0) + len(" ".join(name)))
        return self.use(self.field(name, span))

    def field(self, name: ast.Name, span: Span) -> Field:
        """Return the field of that name, or raise an error with the nearest names."""
        written = " ".join(name)
        field = self.known.find(self.table, written)
        if field:
            return field
        raise self.phrases.unknown_field(written, span)


def _is_negative_test(item: Any) -> TypeGuard[ast.Not]:
    """Return True if the negation is part of one test, as in "pressure is known": then both have the same position."""
    return isinstance(item, ast.Not) and isinstance(item.item, _TESTS) and item.span == item.item.span


def _bare(item: Expr) -> Any:
    """Return the test without a field in `item`, or the test that it negates."""
    inner = item.item if isinstance(item, ast.Not) else item
    return inner if isinstance(inner, _TESTS) and not inner.field else None


def _with_field(item: Expr, bare: Any, name: ast.Name, span: Span) -> Expr:
    test = replace(bare, field=name, span=(span[0], bare.span[1]))
    return replace(item, item=test) if isinstance(item, ast.Not) else test
