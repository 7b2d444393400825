"""Answers with one row for each run, sample or value: "runs above 14 GPa", "count by run, edge".

A run is listed when at least one of its spectra meets all conditions. Conditions with "not" speak about
the whole run: "runs not above 14 GPa" have no such spectrum. A run that cannot be decided for want of
values is kept apart.
"""

from __future__ import annotations

from typing import Any

from barospec.catalogs.query.answer.sql import Statement, Translator
from barospec.catalogs.query.answer.three_valued import possible
from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.resolve.fields import Field, quoted
from barospec.catalogs.query.resolve.resolve import Resolved

GROUPS = {"runs": ("experiment", "run"), "samples": ("sample", "material")}
# What a row tells about the spectra that match or could match: column -> field.
TOLD = {
    "runs": {"samples": "sample", "edges": "edge", "lines": "line", "origins": "origin"},
    "samples": {"runs": "run", "edges": "edge", "lines": "line", "origins": "origin"},
}


def keys_of(resolved: Resolved) -> tuple[str, ...] | None:
    """The fields that make up a row of the answer; None when every spectrum is a row."""
    if resolved.query.count_by is not None:
        return tuple(name[0] for name in resolved.query.count_by)
    return GROUPS.get(resolved.noun)


def grouped(translator: Translator, keys: tuple[str, ...]) -> tuple[Statement, list[str]]:
    """The statement, and the columns of an answer; one more column says whether the group is listed.

    Groups that cannot be decided come last; those that are ruled out do not come. There is no limit: the
    number of groups is wanted too.
    """
    keys = _there(translator, keys)
    told, key = _told(translator), ", ".join(map(quoted, keys))
    inner = {
        **told,
        "listed": LISTED,
        **{f"order {i}": sql for i, sql in enumerate(_order_values(translator))},
    }
    # All spectra of a run are counted, but only those that may match are looked at more closely.
    close = f"SELECT {key}, {', '.join(f'{sql} AS {quoted(n)}' for n, sql in inner.items())}"
    close += f" FROM ({_judged(translator, keys, prune=True)}) GROUP BY {key} HAVING ({LISTED}) OR ({UNDECIDED})"
    table = translator.source
    every = f'SELECT {key}, count(*) AS "of" FROM {table} WHERE {translator.searched()} GROUP BY {key}'
    names = [*keys, "matched", "of", *list(told)[1:]]
    select = ", ".join(f"{'t' if name == 'of' else 'g'}.{quoted(name)}" for name in [*names, "listed"])
    same = " AND ".join(f"g.{quoted(k)} IS NOT DISTINCT FROM t.{quoted(k)}" for k in keys)
    order = [f"g.{quoted(f'order {i}')} {way}" for i, way in enumerate(_directions(translator))]
    order = ["g.listed DESC", *order, *(f"g.{quoted(k)}" for k in keys)]
    sql = f"SELECT {select} FROM ({close}) AS g JOIN ({every}) AS t ON {same} ORDER BY {', '.join(order)}"
    return translator.statement(sql), names


LISTED = "count(*) FILTER (WHERE met) > 0 AND count(*) FILTER (WHERE wrong IS DISTINCT FROM FALSE) = 0"
UNDECIDED = "count(*) FILTER (WHERE wrong) = 0 AND count(*) FILTER (WHERE met IS DISTINCT FROM FALSE) > 0"


def _there(translator: Translator, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if key in translator.known.fields["spectra"])


def _judged(translator: Translator, keys: tuple[str, ...], prune: bool = False) -> str:
    """Every searched spectrum with what the conditions say about it.

    `hit`: all hold; `met`: those without "not" hold; `wrong`: they do, and one of the negated ones too.
    """
    resolved = translator.resolved
    positive, negated = _parts(resolved.query.where)
    met = translator.expression(ast.both(positive), "exact") if positive else "TRUE"
    wrong = translator.expression(ast.either(negated), "exact") if negated else "FALSE"
    needed = [
        *keys,
        *GROUPS.get(resolved.noun, ()),
        *TOLD.get(resolved.noun, {}).values(),
        *resolved.fields,
        "pressure",
    ]
    fields = translator.known.fields[resolved.table]
    columns = [f"{fields[name].sql} AS {quoted(name)}" for name in dict.fromkeys(needed) if name in fields]
    verdicts = f"({translator.condition()}) AS hit, ({met}) AS met, ({met} AND {wrong}) AS wrong"
    changes = changes_of(resolved)
    kind = ['"grp" AS "grp"'] if changes else []
    sql = f"SELECT {', '.join([*columns, *kind, verdicts])} FROM {translator.source}"
    sql += f" WHERE {translator.searched()}" + (f" AND {possible(translator, positive)}" if prune else "")
    for number, node in enumerate(changes):
        sql = _changing(translator, sql, keys, node, number)
    return sql


def changes_of(resolved: Resolved) -> list[ast.Changes]:
    """The conditions about how much a field changes within a run."""
    where = resolved.query.where
    items = where.items if isinstance(where, ast.And) else (where,)
    return [item for item in items if isinstance(item, ast.Changes)]


def _changing(translator: Translator, judged: str, keys: tuple[str, ...], node: ast.Changes, number: int) -> str:
    """The judged spectra, of which those match whose run changes by as much as asked, among spectra of their kind.

    An edge at 8 keV and one at 5 keV differ without anything having changed. Two values at least are needed: one alone cannot
    tell, and its run is listed among the undecided.
    """
    field = translator.resolved.fields[node.field[0]]
    column, change, count = quoted(field.name), quoted(f"change {number}"), quoted(f"values {number}")
    window = f"FILTER (WHERE hit) OVER (PARTITION BY {', '.join([*map(quoted, keys), 'grp'])})"
    spread = "0"
    if node.sigmas:
        sigma = quoted(translator.known.fields[field.table][field.sigma].name)
        ends = [f"(arg_{end}({sigma}, {column}) {window})" for end in ("min", "max")]
        spread = f"{translator.bind(node.sigmas)} * sqrt({' + '.join(f'{end} * {end}' for end in ends)})"
    sign = "-" if node.op in (">", ">=") else "+"
    assert isinstance(node.value, ast.Number)  # resolved
    limit = translator.bind(node.value.value)
    told = f"""SELECT *, max({column}) {window} - min({column}) {window} AS {change}, {spread} AS "spread {number}",
        count({column}) {window} AS {count} FROM ({judged})"""
    test = f'({change} {sign} "spread {number}" {node.op} {limit})'
    verdicts = ", ".join(
        f"CASE WHEN {count} < 2 THEN NULL ELSE {name} AND {test} END AS {name}" for name in ("hit", "met")
    )
    return f"SELECT * REPLACE ({verdicts}) FROM ({told})"


def _parts(where: ast.Expr | None) -> tuple[list[ast.Expr], list[ast.Expr]]:
    """The conditions that a spectrum must meet, and those (without their "not") that no spectrum may meet."""
    positive: list[ast.Expr] = []
    negated: list[ast.Expr] = []
    items = where.items if isinstance(where, ast.And) else () if where is None else (where,)
    for item in items:
        # "is known" is said of a spectrum, although it is the negation of "is missing".
        if isinstance(item, ast.Not) and not isinstance(item.item, ast.Missing):
            negated.append(item.item)
        else:
            positive.append(item)
    return positive, negated


def _told(translator: Translator) -> dict[str, str]:
    """Column -> SQL for what is told about each group."""
    resolved, fields = translator.resolved, translator.known.fields["spectra"]
    columns = {
        "matched": "count(*) FILTER (WHERE hit)",
        "lacking": "count(*) FILTER (WHERE hit IS NULL)",
    }
    asked = [resolved.fields[name] for name in translator.conditioned()]
    ranges: dict[str, Field] = {f.name: f for f in asked if f.kind in ("number", "integer", "time")}
    if "pressure" in fields:
        ranges = {"pressure": fields["pressure"], **ranges}
    for name in ranges:
        for end in ("min", "max"):
            columns[f"{name}_{end}"] = f"{end}({quoted(name)}) FILTER (WHERE hit)"
    for number, node in enumerate(changes_of(resolved)):
        columns[f"{node.field[0]}_change"] = f"max({quoted(f'change {number}')}) FILTER (WHERE hit)"
    for column, name in TOLD[resolved.noun].items():
        if name in fields:
            columns[column] = (
                f"string_agg(DISTINCT {quoted(name)}, ', ' ORDER BY {quoted(name)})"
                " FILTER (WHERE hit IS DISTINCT FROM FALSE)"
            )
    return columns


def counted(translator: Translator, keys: tuple[str, ...]) -> tuple[Statement, list[str]]:
    """The statement that counts spectra (or runs, samples) by the values of fields, and its columns."""
    resolved = translator.resolved
    of = _there(translator, GROUPS.get(resolved.noun, ())) if resolved.table == "spectra" else ()
    number = f"count(DISTINCT ({', '.join(map(quoted, of))}, 0))" if of else "count(*)"
    where = "hit" + (f" AND {whole_groups(translator, of, 'judged')}" if of else "")
    sql = f"SELECT {''.join(quoted(key) + ', ' for key in keys)}{number} AS count"
    sql += f" FROM ({_judged(translator, (*keys, *of), prune=True)}) AS judged WHERE {where}"
    if keys:
        sql += f" GROUP BY {', '.join(map(quoted, keys))} ORDER BY {order_of_groups(translator, keys)}"
    return translator.statement(sql), [*keys, "count"]


def whole_groups(translator: Translator, keys: tuple[str, ...], outer: str, limited: bool = False) -> str:
    """The condition that a row's run (or sample) is one of those listed."""
    if not limited and not _parts(translator.resolved.query.where)[1]:
        return "TRUE"
    same = " AND ".join(f"g.{quoted(key)} IS NOT DISTINCT FROM {outer}.{quoted(key)}" for key in keys)
    inner = f"SELECT {', '.join(map(quoted, keys))} FROM ({_judged(translator, keys, prune=True)})"
    inner += f" GROUP BY {', '.join(map(quoted, keys))} HAVING {LISTED}"
    if limited:
        limit = translator.resolved.query.limit
        inner += f" ORDER BY {order_of_groups(translator, keys)} LIMIT {limit:d}"
    return f"EXISTS (SELECT 1 FROM ({inner}) AS g WHERE {same})"


def order_of_groups(translator: Translator, keys: tuple[str, ...]) -> str:
    """The order of groups where they are made."""
    values = [f"{sql} {way}" for sql, way in zip(_order_values(translator), _directions(translator), strict=True)]
    return ", ".join([*values, *map(quoted, keys)])


def _order_values(translator: Translator) -> list[str]:
    """What a group is sorted by: its least value when ascending, its largest when descending."""
    sorts = translator.resolved.query.sort
    return [f"{'max' if s.descending else 'min'}({quoted(s.field[0])}) FILTER (WHERE hit)" for s in sorts]


def _directions(translator: Translator) -> list[str]:
    return [f"{'DESC' if s.descending else 'ASC'} NULLS LAST" for s in translator.resolved.query.sort]


def selected(translator: Translator) -> Any:
    """The extra condition on spectra when runs or samples are asked for: they belong to those listed."""
    keys = GROUPS.get(translator.resolved.noun)
    if keys is None:
        return "TRUE"
    limited = translator.resolved.query.limit is not None
    return whole_groups(translator, _there(translator, keys), quoted(translator.resolved.table), limited)
