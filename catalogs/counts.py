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
    left_out = _left_out(connection, translator)
    return {
        **left_out,
        "count": count,
        "places": [place for row in hits for place in row[1]] if count <= FEW else None,
        "near_inside": found.get(NEAR_INSIDE, (0,))[0],
        "near_outside": found.get(NEAR_OUTSIDE, (0,))[0],
        "no_sigma": {found.name: n for found, n in zip(uncertain, no_sigma, strict=True) if n},
    }


def _left_out(connection: Connection, translator: Translator) -> dict[str, Any]:
    """Withdrawn and flagged rows that match; rows that cannot be decided, by the field that they lack and why.

    A derived value may be there and not served: stale, or an energy on an axis that is not calibrated. Of those that are
    served, ``failed`` counts spectra for which the operator had no value to give.
    """
    resolved, parts = translator.resolved, translator.parts()
    searched, hit, table = translator.searched(), translator.condition(), f'FROM "{translator.resolved.table}"'
    selects = []
    status = "status" in translator.known.fields[resolved.table] and "status" not in translator.conditioned()
    if status and not (resolved.table == "spectra" and translator.known.all_active):
        selects.append(f"SELECT '', count(*), 0, 0, 0, 0 {table} WHERE {translator.searched('withdrawn')} AND {hit}")
    if translator.leaves_bad_out():
        bad = f"{translator.searched(bad=True)} AND {translator.known.fields['spectra']['flag'].sql} = {translator.bind('bad')}"
        selects.append(f"SELECT 'flagged bad', count(*), 0, 0, 0, 0 {table} WHERE {bad} AND {hit}")
    for name in dict.fromkeys([*translator.conditioned(), *_sigmas_asked(translator)]):
        always_there = resolved.table == "spectra" and name in translator.known.complete
        if always_there or _asks_missing_only(resolved.query.where, name):
            continue
        found = resolved.fields[name]
        column, applies = found.sql, translator.applicable(found)
        fitting = f"count(*) FILTER (WHERE {applies})" if applies != "TRUE" else "count(*)"
        kinds = ["0", "0", "0"]
        if found.stored:
            state, other = found.stored.state, found.stored.other
            tests = f"{state} = 1", f"{state} = 0 AND {other} IS NOT NULL", f"{state} = 0 AND {other} IS NULL"
            kinds = [f"count(*) FILTER (WHERE {test})" for test in tests]
        others = [part for part in parts if getattr(part, "field", None) != (name,)]
        where = f"{searched} AND {column} IS NULL AND {translator.possible(others)} AND {hit} IS NULL"
        selects.append(
            f"SELECT {translator.bind(name)}, count(*), {', '.join([fitting, *kinds])} {table} WHERE {where}"
        )
    counts: dict[str, Any] = {"withdrawn": 0, "flagged": 0, "missing": {}, "not_applicable": {}}
    counts |= {"stale": {}, "uncalibrated": {}, "failed": {}}
    if not selects:
        return counts
    statement = translator.statement(" UNION ALL ".join(selects))
    for name, whole, fits, *kinds in connection.execute(statement.sql, statement.parameters).fetchall():
        if name in ("", "flagged bad"):
            counts["withdrawn" if not name else "flagged"] = whole
            continue
        for kind, number in zip(("stale", "uncalibrated", "failed"), kinds, strict=True):
            if number:
                counts[kind][name] = number
        if fits - kinds[0] - kinds[1]:
            counts["missing"][name] = fits - kinds[0] - kinds[1]
        if whole > fits:
            counts["not_applicable"][name] = whole - fits
    return counts


def _sigmas_asked(translator: Translator) -> list[str]:
    """Fields of uncertainties without which a condition cannot be decided."""
    nodes = [node for node in translator.tests() if getattr(node, "sigmas", 0)]
    return [translator.resolved.fields[node.field[0]].sigma for node in nodes]


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
    for name, number in counts["failed"].items():
        notes.append(
            f"{name} was computed for {number} of the spectra without it, and there was no value; `show --why` says why."
        )
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
