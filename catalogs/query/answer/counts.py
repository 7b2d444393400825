"""Counts of an answer: matching, near-limit and undecided rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from barospec.catalogs.query.answer.sql import Translator
from barospec.catalogs.query.answer.three_valued import (
    CLEAR,
    NEAR_INSIDE,
    NEAR_OUTSIDE,
    UNDECIDED,
    halves,
    reachable,
    unsettled,
    verdict,
)
from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.resolve.derived_rows import BOTH, STALE, STATES, served
from barospec.catalogs.query.resolve.fields import OF_SPECTRA, VALUES, Connection, Field
from barospec.schemas.vocabulary import ANNOTATIONS

FEW = 1_000  # maximum number of rows fetched by position, without a second scan of the table


def counts_of(connection: Connection, translator: Translator) -> dict[str, Any]:
    """Return all counts, and the positions of the matching rows if they are few.

    One pass over the rows that meet the conditions, are near a limit or lack a value: plain comparisons, which skip most
    of the table. Reading a column of a million numbers dominates the cost of a query; each is read once.
    """
    translator.condition()  # first, so that parameters have the order of the question, as `--explain` prints them
    gaps = _gaps(translator)
    sigmas = {found.name: sigma for found in translator.uncertain() if (sigma := _sigma_to_miss(translator, found))}
    place = "0" if translator.resolved.table == VALUES else "rowid"  # rows of no table
    select = ["verdict", "count(*)", f"min(place, {FEW + 1}) FILTER (WHERE verdict > {NEAR_OUTSIDE})"]
    select += [f"count(*) FILTER (WHERE bare{i})" for i in range(len(sigmas))]
    for i, found in enumerate(gaps):
        select += [f"count(*) FILTER (WHERE {name}{i})" for name in _kinds(translator, found)]
    rows = " UNION ALL ".join(
        _judged(half, source, gaps, list(sigmas.values()), place) for half, source in halves(translator)
    )
    statement = translator.statement(f"SELECT {', '.join(select)} FROM ({rows}) GROUP BY verdict")
    by_verdict = {row[0]: row[1:] for row in connection.execute(statement.sql, statement.parameters).fetchall()}
    hits = [by_verdict[verdict] for verdict in (NEAR_INSIDE, CLEAR) if verdict in by_verdict]
    count = sum(row[0] for row in hits)
    no_sigma = {name: sum(row[2 + i] for row in hits) for i, name in enumerate(sigmas)}
    lacking = by_verdict.get(UNDECIDED, (0,) * len(select))[2 + len(sigmas) :]
    without = _without_value(translator, gaps, lacking)
    if translator.resolved.table == VALUES:
        _not_served(connection, translator, without)
    return {
        **without,
        **_left_out(connection, translator),
        "count": count,
        "places": [place for row in hits for place in row[1]] if count <= FEW and place == "rowid" else None,
        "near_inside": by_verdict.get(NEAR_INSIDE, (0,))[0],
        "near_outside": by_verdict.get(NEAR_OUTSIDE, (0,))[0],
        "no_sigma": {name: number for name, number in no_sigma.items() if number},
    }


def _judged(translator: Translator, source: str, gaps: Sequence[Field], sigmas: Sequence[str], place: str) -> str:
    """Return the SQL of rows that match, are near a limit or lack a value: position, verdict, missing fields."""
    own = _gaps(translator)
    columns = [f"{place} AS place", f"{verdict(translator)} AS verdict"]
    columns += [f"{sigma} IS NULL AS bare{i}" for i, sigma in enumerate(sigmas)]
    for i, found in enumerate(gaps):
        for name, test in _kinds(translator, found).items():
            columns.append(f"({test if found in own else 'FALSE'}) AS {name}{i}")
    tests = [translator.searched(briefly=True), reachable(translator, undecided=bool(own)), unsettled(translator)]
    conditions = [test for test in tests if test != "TRUE"]
    return f"SELECT {', '.join(columns)} FROM {source}" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")


def _sigma_to_miss(translator: Translator, found: Field) -> str:
    """Return the column of a field's uncertainty, unless every row has it."""
    sigma = translator.known.find(found.table, found.sigma)
    whole = sigma is not None and found.table == "spectra" and sigma.name in translator.known.complete
    return sigma.sql if sigma and not whole else ""


def _gaps(translator: Translator) -> list[Field]:
    """Return the fields whose absence makes a row undecided."""
    resolved = translator.resolved
    asked = [name for name in translator.conditioned() if not _asks_missing_only(resolved.query.where, name)]
    return [
        resolved.fields[name]
        for name in dict.fromkeys([*asked, *_sigmas_asked(translator)])
        # A spectrum without a flag or label has none: that is known of every spectrum.
        if not (resolved.table in OF_SPECTRA and (name in translator.known.complete or name in ANNOTATIONS))
    ]


def _kinds(translator: Translator, found: Field) -> dict[str, str]:
    """Return tests for rows that lack a value: any, one where the field applies, and for derived values the reason."""
    applies = translator.applicable(found)
    # A row without the value counts as such, and not for its missing uncertainty too.
    held = "".join(f" AND {value.sql} IS NOT NULL" for value in _values_with(translator, found))
    tests = {"lacks": f"{found.sql} IS NULL{held}"}
    if applies != "TRUE":
        tests["fits"] = f"{found.sql} IS NULL{held} AND {applies}"
    if found.stored:
        state, other = found.stored.state, found.stored.other
        tests["stale"] = f"{found.sql} IS NULL AND {state} = 1"
        tests["uncalibrated"] = f"{found.sql} IS NULL AND {state} = 0 AND {other} IS NOT NULL"
        tests["failed"] = f"{found.sql} IS NULL AND {state} = 0 AND {other} IS NULL"
    return tests


def _values_with(translator: Translator, sigma: Field) -> list[Field]:
    """Return the fields in the conditions that have this uncertainty, unless it is itself in a condition."""
    names = translator.conditioned()
    fields = [translator.resolved.fields[name] for name in names]
    return [] if sigma.name in names else [found for found in fields if found.sigma == sigma.name]


def _without_value(translator: Translator, gaps: Sequence[Field], numbers: Sequence[int]) -> dict[str, dict[str, int]]:
    """Count undecided rows by missing field and reason.

    A stored derived value may be not served: stale, or an energy on an axis that is not calibrated. Among the others,
    ``failed`` counts spectra for which the operator gave no value.
    """
    counts: dict[str, dict[str, int]] = {
        kind: {} for kind in ("missing", "not_applicable", "stale", "uncalibrated", "failed")
    }
    left = iter(numbers)
    for found in gaps:
        numbers_of = {kind: next(left) for kind in _kinds(translator, found)}
        fits = numbers_of.get("fits", numbers_of["lacks"])
        numbers_of["missing"] = fits - numbers_of.get("stale", 0) - numbers_of.get("uncalibrated", 0)
        numbers_of["not_applicable"] = numbers_of["lacks"] - fits
        for kind, held in counts.items():
            if numbers_of.get(kind):
                held[found.name] = numbers_of[kind]
    return counts


def _not_served(connection: Connection, translator: Translator, counts: dict[str, dict[str, int]]) -> None:
    """Count the derived values that meet all conditions but are not shown, by quantity and reason."""
    states = set(STATES) - set(served(translator.resolved.query.include))
    if "state" in translator.conditioned():
        return
    where = f"{translator.searched(states=sorted(states))} AND {translator.condition()}"
    statement = translator.statement(
        f'SELECT "state", "quantity", count(*) FROM {translator.source} WHERE {where} GROUP BY ALL ORDER BY ALL'
    )
    for state, quantity, number in connection.execute(statement.sql, statement.parameters).fetchall():
        held = counts[STALE if state == BOTH else state]
        held[quantity] = held.get(quantity, 0) + number


def _left_out(connection: Connection, translator: Translator) -> dict[str, int]:
    """Count matching rows that are withdrawn or flagged. They are few and adjacent: DuckDB skips all other blocks."""
    resolved, hit, table = translator.resolved, translator.condition(), f"FROM {translator.source}"
    selects = []
    status = "status" in translator.known.fields[resolved.table] and "status" not in translator.conditioned()
    if status and not (resolved.table in OF_SPECTRA and translator.known.all_active):
        selects.append(f"SELECT 'withdrawn', count(*) {table} WHERE {translator.searched('withdrawn')} AND {hit}")
    if translator.leaves_bad_out():
        bad = f"{translator.searched(bad=True)} AND {translator.known.fields['spectra']['flag'].sql} = {translator.bind('bad')}"
        selects.append(f"SELECT 'flagged', count(*) {table} WHERE {bad} AND {hit}")
    counts = {"withdrawn": 0, "flagged": 0}
    if selects:
        statement = translator.statement(" UNION ALL ".join(selects))
        counts |= dict(connection.execute(statement.sql, statement.parameters).fetchall())
    return counts


def _sigmas_asked(translator: Translator) -> list[str]:
    """List the uncertainties that a condition needs."""
    nodes = [node for node in translator.tests() if getattr(node, "sigmas", 0)]
    return [translator.resolved.fields[node.field[0]].sigma for node in nodes]


def _asks_missing_only(where: ast.Expr | None, name: str) -> bool:
    """Return True if the field occurs in "is missing" alone, so that its absence is an answer."""
    if isinstance(where, ast.And | ast.Or):
        return all(_asks_missing_only(item, name) for item in where.items)
    if isinstance(where, ast.Not):
        return _asks_missing_only(where.item, name)
    return where is None or isinstance(where, ast.Missing) or getattr(where, "field", None) != (name,)


def notes_on(translator: Translator, counts: Mapping[str, Any]) -> list[str]:
    notes = []
    for name, number in counts["no_sigma"].items():
        notes.append(
            f"{number} of {counts['count']} matching rows {'has' if number == 1 else 'have'} no uncertainty of {name} recorded."
        )
    for name, number in counts["failed"].items():
        notes.append(
            f"{name} has no value for {number} computed {'spectrum' if number == 1 else 'spectra'}; `show --why` gives the reason."
        )
    for node in _exact_numbers(translator.resolved.query.where):
        if not counts["count"]:
            value = ast.value_text(node.value)
            notes.append(f'"{ast.to_text(node)}" is exact; "{node.field[0]} at {value}" allows for the uncertainty.')
    return notes


def _exact_numbers(where: ast.Expr | None) -> list[Any]:
    if isinstance(where, ast.And | ast.Or):
        return [node for item in where.items for node in _exact_numbers(item)]
    is_exact = isinstance(where, ast.Compare) and where.op == "=" and isinstance(where.value, ast.Number)
    return [where] if is_exact else []
