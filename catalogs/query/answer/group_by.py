"""Grouped answers, one row per run, sample or value: "runs above 14 GPa", "count by run, edge".

A run is listed if at least one of its spectra meets all conditions. Conditions with "not" apply to
the whole run: "runs not above 14 GPa" have no such spectrum. Runs that are undecided, because values
are missing, are kept apart.
"""

from __future__ import annotations

from typing import Any

from barospec.catalogs.query.answer.sql import Statement, Translator
from barospec.catalogs.query.answer.three_valued import possible
from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.resolve.fields import Field, quoted
from barospec.catalogs.query.resolve.resolve import Resolved

GROUPS = {"runs": ("experiment", "run"), "samples": ("sample", "material")}
# Columns about the spectra of a group that match or could match: column -> field.
SHOWN_OF = {
    "runs": {"samples": "sample", "edges": "edge", "lines": "line", "origins": "origin"},
    "samples": {"runs": "run", "edges": "edge", "lines": "line", "origins": "origin"},
}


def keys_of(resolved: Resolved) -> tuple[str, ...] | None:
    """Return the key fields of a row of the answer; None if every spectrum is a row."""
    if resolved.query.count_by is not None:
        return tuple(name[0] for name in resolved.query.count_by)
    return GROUPS.get(resolved.noun)


def grouped(translator: Translator, keys: tuple[str, ...]) -> tuple[Statement, list[str]]:
    """Return the statement, and the columns of an answer; one more column is True if the group is listed.

    Undecided groups are last; excluded groups are absent. There is no limit: the number of groups is
    reported too.
    """
    keys = _there(translator, keys)
    shown, key = _shown_columns(translator), ", ".join(map(quoted, keys))
    inner = {
        **shown,
        "listed": LISTED,
        **{f"order {i}": sql for i, sql in enumerate(_order_values(translator))},
    }
    # All spectra of a run are counted, but only possible matches are examined further.
    close = f"SELECT {key}, {', '.join(f'{sql} AS {quoted(n)}' for n, sql in inner.items())}"
    close += f" FROM ({_judged(translator, keys, prune=True)}) GROUP BY {key} HAVING ({LISTED}) OR ({UNDECIDED})"
    table = translator.source
    every = f'SELECT {key}, count(*) AS "of" FROM {table} WHERE {translator.searched()} GROUP BY {key}'
    names = [*keys, "matched", "of", *list(shown)[1:]]
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
    """Return SQL for every searched spectrum with the results of the conditions.

    `hit`: all are true; `met`: those without "not" are true; `wrong`: these are, and one of the negated ones too.
    """
    resolved = translator.resolved
    positive, negated = _parts(resolved.query.where)
    met = translator.expression(ast.both(positive), "exact") if positive else "TRUE"
    wrong = translator.expression(ast.either(negated), "exact") if negated else "FALSE"
    needed = [
        *keys,
        *GROUPS.get(resolved.noun, ()),
        *SHOWN_OF.get(resolved.noun, {}).values(),
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
    """Return the conditions on the change of a field within a run."""
    where = resolved.query.where
    items = where.items if isinstance(where, ast.And) else (where,)
    return [item for item in items if isinstance(item, ast.Changes)]


def _changing(translator: Translator, judged: str, keys: tuple[str, ...], node: ast.Changes, number: int) -> str:
    """Return the judged spectra; spectra match if their run changes by the required amount, among spectra of one group.

    An edge at 8 keV and one at 5 keV differ although nothing changed. At least two values are needed: a run with one
    value is undecided.
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
    changing = f"""SELECT *, max({column}) {window} - min({column}) {window} AS {change}, {spread} AS "spread {number}",
        count({column}) {window} AS {count} FROM ({judged})"""
    test = f'({change} {sign} "spread {number}" {node.op} {limit})'
    verdicts = ", ".join(
        f"CASE WHEN {count} < 2 THEN NULL ELSE {name} AND {test} END AS {name}" for name in ("hit", "met")
    )
    return f"SELECT * REPLACE ({verdicts}) FROM ({changing})"


def _parts(where: ast.Expr | None) -> tuple[list[ast.Expr], list[ast.Expr]]:
    """Split into the conditions that a spectrum must meet, and those (without their "not") that no spectrum may meet."""
    positive: list[ast.Expr] = []
    negated: list[ast.Expr] = []
    items = where.items if isinstance(where, ast.And) else () if where is None else (where,)
    for item in items:
        # "is known" applies to a spectrum, although it is the negation of "is missing".
        if isinstance(item, ast.Not) and not isinstance(item.item, ast.Missing):
            negated.append(item.item)
        else:
            positive.append(item)
    return positive, negated


def _shown_columns(translator: Translator) -> dict[str, str]:
    """Return the columns about each group: column -> SQL."""
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
    for column, name in SHOWN_OF[resolved.noun].items():
        if name in fields:
            columns[column] = (
                f"string_agg(DISTINCT {quoted(name)}, ', ' ORDER BY {quoted(name)})"
                " FILTER (WHERE hit IS DISTINCT FROM FALSE)"
            )
    return columns


def counted(translator: Translator, keys: tuple[str, ...]) -> tuple[Statement, list[str]]:
    """Return the statement that counts spectra (or runs, samples) by the values of fields, and its columns."""
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
    """Return the condition that the run (or sample) of a row is listed."""
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
    """Return the order of groups where they are made."""
    values = [f"{sql} {way}" for sql, way in zip(_order_values(translator), _directions(translator), strict=True)]
    return ", ".join([*values, *map(quoted, keys)])


def _order_values(translator: Translator) -> list[str]:
    """Return the sort values of a group: its minimum when ascending, its maximum when descending."""
    sorts = translator.resolved.query.sort
    return [f"{'max' if s.descending else 'min'}({quoted(s.field[0])}) FILTER (WHERE hit)" for s in sorts]


def _directions(translator: Translator) -> list[str]:
    return [f"{'DESC' if s.descending else 'ASC'} NULLS LAST" for s in translator.resolved.query.sort]


def selected(translator: Translator) -> Any:
    """Return the extra condition on spectra in queries for runs or samples: they belong to a listed group."""
    keys = GROUPS.get(translator.resolved.noun)
    if keys is None:
        return "TRUE"
    limited = translator.resolved.query.limit is not None
    return whole_groups(translator, _there(translator, keys), quoted(translator.resolved.table), limited)
