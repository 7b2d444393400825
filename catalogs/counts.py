"""The counts that an answer tells: what matches, what comes near a limit, what could not be decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barospec.catalogs import ast
from barospec.catalogs.known import Connection
from barospec.catalogs.sql import CLEAR, NEAR_INSIDE, NEAR_OUTSIDE, Translator

FEW = 1_000  # so many rows at most are fetched by their place, without a second look at the table


def counts_of(connection: Connection, translator: Translator) -> dict[str, Any]:
    """All counts, and where the matching rows are if they are few.

    Two statements: one over the rows that meet the conditions or come near a limit, one over those that lack a
    value. Each starts from plain comparisons, which skip most of the table.
    """
    uncertain = translator.uncertain()
    verdict = translator.verdict()
    sigmas = [translator.known.find(found.table, found.sigma) for found in uncertain]
    bare = "".join(f", {sigma.sql} IS NULL AS bare{i}" for i, sigma in enumerate(sigmas) if sigma)
    inner = f'SELECT rowid AS place, {verdict} AS verdict{bare} FROM "{translator.resolved.table}"'
    inner += f" WHERE {translator.searched()} AND {translator.reachable(translator.parts())}"
    select = [f"verdict, count(*), min(place, {FEW + 1}) FILTER (WHERE verdict > {NEAR_OUTSIDE})"]
    select += [f"count(*) FILTER (WHERE bare{i})" if sigma else "0" for i, sigma in enumerate(sigmas)]
    statement = translator.statement(f"SELECT {', '.join(select)} FROM ({inner}) GROUP BY verdict")
    found = {row[0]: row[1:] for row in connection.execute(statement.sql, statement.parameters).fetchall()}
    hits = [found[verdict] for verdict in (NEAR_INSIDE, CLEAR) if verdict in found]
    count = sum(row[0] for row in hits)
    no_sigma = [sum(row[2 + i] for row in hits) for i in range(len(uncertain))]
    withdrawn, missing, not_applicable = _left_out(connection, translator)
    return {
        "count": count,
        "places": [place for row in hits for place in row[1]] if count <= FEW else None,
        "withdrawn": withdrawn,
        "near_inside": found.get(NEAR_INSIDE, (0,))[0],
        "near_outside": found.get(NEAR_OUTSIDE, (0,))[0],
        "missing": missing,
        "not_applicable": not_applicable,
        "no_sigma": {found.name: n for found, n in zip(uncertain, no_sigma, strict=True) if n},
    }


def _left_out(connection: Connection, translator: Translator) -> tuple[int, dict[str, int], dict[str, int]]:
    """Withdrawn rows that match; rows that cannot be decided, by the field that they lack or that does not apply."""
    resolved, parts = translator.resolved, translator.parts()
    searched, hit, table = translator.searched(), translator.condition(), f'FROM "{translator.resolved.table}"'
    selects = []
    status = "status" in translator.known.fields[resolved.table] and "status" not in translator.conditioned()
    if status and not (resolved.table == "spectra" and translator.known.all_active):
        selects.append(f"SELECT '', count(*), 0 {table} WHERE {translator.searched('withdrawn')} AND {hit}")
    for name in translator.conditioned():
        always_there = resolved.table == "spectra" and name in translator.known.complete
        if always_there or _asks_missing_only(resolved.query.where, name):
            continue
        column, applies = resolved.fields[name].sql, translator.applicable(resolved.fields[name])
        fitting = f"count(*) FILTER (WHERE {applies})" if applies != "TRUE" else "count(*)"
        others = [part for part in parts if getattr(part, "field", None) != (name,)]
        where = f"{searched} AND {column} IS NULL AND {translator.possible(others)} AND {hit} IS NULL"
        selects.append(f"SELECT {translator.bind(name)}, count(*), {fitting} {table} WHERE {where}")
    if not selects:
        return 0, {}, {}
    statement = translator.statement(" UNION ALL ".join(selects))
    found = {name: pair for name, *pair in connection.execute(statement.sql, statement.parameters).fetchall()}
    withdrawn = found.pop("", [0, 0])[0]
    missing = {name: fitting for name, (_, fitting) in found.items() if fitting}
    return withdrawn, missing, {name: whole - fitting for name, (whole, fitting) in found.items() if whole > fitting}


def _asks_missing_only(where: ast.Expr | None, name: str) -> bool:
    """Whether the field occurs in "is missing" alone, so that its absence is an answer and no gap."""
    if isinstance(where, ast.And | ast.Or):
        return all(_asks_missing_only(item, name) for item in where.items)
    if isinstance(where, ast.Not):
        return _asks_missing_only(where.item, name)
    return where is None or isinstance(where, ast.Missing) or getattr(where, "field", None) != (name,)


def notes_on(translator: Translator, counts: Mapping[str, Any]) -> list[str]:
    notes = []
    for name, number in counts["no_sigma"].items():
        notes.append(f"{number} of {counts['count']} matching rows have no uncertainty of {name} recorded.")
    for node in _exact_numbers(translator.resolved.query.where):
        if not counts["count"]:
            said = ast.value_text(node.value)
            notes.append(f'"{ast.to_text(node)}" is exact; "{node.field[0]} at {said}" allows for the uncertainty.')
    return notes


def _exact_numbers(where: ast.Expr | None) -> list[Any]:
    if isinstance(where, ast.And | ast.Or):
        return [node for item in where.items for node in _exact_numbers(item)]
    is_exact = isinstance(where, ast.Compare) and where.op == "=" and isinstance(where.value, ast.Number)
    return [where] if is_exact else []
