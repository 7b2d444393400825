"""Conditions with three outcomes (match, near limit, undecided), evaluated in one SQL pass.

DuckDB's scan decides `reachable` column by column; `unsettled` filters above it; `verdict` is computed for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from barospec.catalogs.query.answer.sql import Temper, Translator, number, tests_in
from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr
from barospec.catalogs.query.resolve.fields import OF_SPECTRA
from barospec.catalogs.query.resolve.missing_pressure import COLUMNS, LACKING, TABLE
from barospec.schemas.vocabulary import ANNOTATIONS

UNDECIDED, SETTLED, NEAR_OUTSIDE, NEAR_INSIDE, CLEAR = -1, 0, 1, 2, 3


def halves(translator: Translator) -> list[tuple[Translator, str]]:
    """Split the rows to count: return translators, each with the source of its rows.

    Usually there is one. A query that no row without a pressure meets, and that uses only columns of the separate table of
    such rows, is split: rows with a pressure, which have no gaps to check, and rows without.
    """
    known, names, whole = translator.known, translator.conditioned(), [(translator, translator.source)]
    if not known.apart or translator.resolved.table != "spectra" or LACKING in known.complete:
        return whole
    if LACKING not in names or not set(COLUMNS).issuperset(names) or translator.leaves_bad_out():
        return whole
    column = translator.resolved.fields[LACKING].sql
    deciding = [part for part in translator.parts() if _decides(translator, part) == column]
    # A reading before or after may replace a value unless its own limits are compared.
    if not any(_widened(translator, part) or not _is_swayed(translator, part) for part in deciding):
        return whole
    there = translator.among(replace(known, complete=known.complete | {LACKING}))
    lacking = translator.among(replace(known, empty=known.empty | {LACKING}))
    return [(there, translator.source), (lacking, TABLE)]


def verdict(translator: Translator) -> str:
    """Return SQL for the verdict of a `reachable` and `unsettled` row: CLEAR or NEAR_INSIDE if it matches, NEAR_OUTSIDE, UNDECIDED.

    Or SETTLED: none of these, as `unsettled` tests only one limit if no value can be missing.
    """
    if _never(translator):
        return str(UNDECIDED)
    swayed, lacking, either = _open(translator)
    cases = []
    if lacking:
        undecided = f"CASE WHEN {_undecided(translator, either)} THEN {UNDECIDED} ELSE {NEAR_OUTSIDE} END"
        cases.append(f"WHEN {_lacks(translator, lacking)} THEN {undecided if swayed else UNDECIDED}")
    otherwise = NEAR_OUTSIDE if swayed else CLEAR
    if swayed:
        hit, strict = (_all(translator, either, temper) for temper in ("exact", "strict"))
        cases.append(f"WHEN {hit} THEN CASE WHEN {strict} THEN {CLEAR} ELSE {NEAR_INSIDE} END")
    if len(swayed) > 1 and not lacking:
        cases.append(f"WHEN {_all(translator, either, 'loose')} THEN {NEAR_OUTSIDE}")
        otherwise = SETTLED
    return f"CASE {' '.join(cases)} ELSE {otherwise} END" if cases else str(otherwise)


def unsettled(translator: Translator) -> str:
    """Return the condition on reachable rows that match, are near a limit or lack a value: uncertainties and gaps may exclude others.

    A condition on several columns, which DuckDB evaluates above its scan: it packs the remaining rows of many blocks
    into one, so that `verdict` is computed for full blocks. Conditions on one column are evaluated in the scan.
    """
    swayed, lacking, either = _open(translator)
    if not swayed or _never(translator):  # all reachable rows are undecided
        return "TRUE"
    if not lacking:  # the fastest one excludes many; `verdict` tests all
        return min((translator.expression(part, "loose") for part in swayed), key=len)
    loose = _all(translator, either, "loose")
    return f"({_lacks(translator, lacking)} AND {_undecided(translator, either)} OR {loose})"


def _undecided(translator: Translator, parts: Sequence[Expr]) -> str:
    """Return SQL that tests that none of these conditions is false for a row that lacks one of the values."""
    lacking = [part for part in parts if _can_lack(translator, part)]
    if len(lacking) == 1 and _decides(translator, lacking[0]):  # that one is unknown
        parts = [part for part in parts if part not in lacking]
    return possible(translator, parts)


def _open(translator: Translator) -> tuple[list[Expr], list[Expr], list[Expr]]:
    """Return the conditions that an uncertainty can change, those that a missing value can leave open, and both in order.

    All others are true for every reachable row.
    """
    parts = translator.parts()
    swayed, lacking = ([part for part in parts if test(translator, part)] for test in (_is_swayed, _can_lack))
    return swayed, lacking, [part for part in parts if part in swayed or part in lacking]


def _all(translator: Translator, parts: Sequence[Expr], temper: Temper) -> str:
    return " AND ".join(translator.expression(part, temper) for part in parts)


def _lacks(translator: Translator, parts: Sequence[Expr]) -> str:
    """Return SQL that tests if any of these conditions is neither true nor false."""
    tests = []
    for part in parts:
        column = _decides(translator, part)
        tests.append(f"{column} IS NULL" if column else f"({translator.expression(part, 'exact')}) IS NULL")
    return f"({' OR '.join(tests)})"


def _decides(translator: Translator, part: Expr) -> str:
    """Return the column that is NULL exactly where the condition is; empty if there is none."""
    if isinstance(part, ast.And | ast.Or | ast.Not | ast.Missing) or getattr(part, "sigmas", None):
        return ""
    assert not isinstance(part, ast.Phrase | ast.Saved)  # resolved
    found = translator.resolved.fields[part.field[0]]
    return "" if found.name in ANNOTATIONS and found.table == "spectra" else found.sql


def _is_void(translator: Translator, part: Expr) -> bool:
    """Return True if every row lacks the condition's value, and no reading replaces it."""
    if not _decides(translator, part):
        return False
    assert not isinstance(part, ast.And | ast.Or | ast.Not | ast.Phrase | ast.Saved)
    found = translator.resolved.fields[part.field[0]]
    readings = [translator.reading(found, end) for end in ("before", "after")]
    return found.table == "spectra" and found.name in translator.known.empty and not any(readings)


def _never(translator: Translator) -> bool:
    """Return True if no row can match or be near: every row is undecided."""
    return any(_is_void(translator, part) for part in translator.parts())


def _is_swayed(translator: Translator, part: Expr) -> bool:
    """Return True if an uncertainty can decide the condition."""
    return translator.expression(part, "loose") != translator.expression(part, "exact")


def _can_lack(translator: Translator, part: Expr) -> bool:
    """Return True if a missing value may leave the condition undecided."""
    names = {node.field[0] for node in tests_in(part)}
    names |= {translator.resolved.fields[node.field[0]].sigma for node in tests_in(part) if getattr(node, "sigmas", 0)}
    return translator.resolved.table not in OF_SPECTRA or not names <= translator.known.complete


def possible(translator: Translator, parts: Sequence[Expr]) -> str:
    """Return a condition met exactly where all parts are true or unknown: tests that DuckDB can push into the scan."""
    tests = [_possible(translator, part) for part in parts]
    return " AND ".join(test for test in tests if test != "TRUE") or "TRUE"


def _possible(translator: Translator, part: Expr, held: str = "") -> str:
    """Return the condition, or `held` in its place, or that it is unknown."""
    if _is_void(translator, part):
        return "TRUE"
    column, exact = _decides(translator, part), translator.expression(part, "exact")
    if not _can_lack(translator, part):
        return held or exact
    if not column:
        return f"({held} OR {exact} IS NOT FALSE)" if held else f"({exact} IS NOT FALSE)"
    return f"({held or exact} OR {column} IS NULL)"


def reachable(translator: Translator, *, undecided: bool = False) -> str:
    """Return a condition met where all parts are true, exactly or loosely, and if requested where a missing value leaves that open.

    If the index has the largest uncertainties, the limits are moved by that much: a plain
    comparison, which DuckDB decides from a column's zone maps, instead of arithmetic for every row.
    """
    if undecided and _never(translator):
        return possible(translator, translator.parts())
    tests = []
    for part in translator.parts():
        held = _widened(translator, part) or translator.expression(part, "loose")
        tests.append(_possible(translator, part, held) if undecided else held)
    return " AND ".join(tests) or "TRUE"


def _widened(translator: Translator, part: Expr) -> str:
    if not isinstance(part, ast.Compare | ast.Between | ast.Within) or part.field[0] not in translator.known.reach:
        return ""
    if getattr(part, "sigmas", None) or getattr(part, "width", None):
        return ""
    found, (below, above) = translator.resolved.fields[part.field[0]], translator.known.reach[part.field[0]]
    if isinstance(part, ast.Compare):
        if part.op in ("=", "!="):
            return ""
        limit = number(part.value)
        low, high = (limit, None) if part.op in (">", ">=") else (None, limit)
    else:
        low, high = translator.ends(part)
    tests = []
    if low is not None:
        tests.append(f"{found.sql} >= {translator.bind(_outside(low, above, -1))}")
    if high is not None:
        tests.append(f"{found.sql} <= {translator.bind(_outside(high, below, 1))}")
    return f"({' AND '.join(tests)})"


def _outside(limit: float, reach: float, sign: int) -> float:
    """Move the limit outwards by the reach, and slightly more, since sums are rounded."""
    return limit + sign * (reach * (1 + 1e-9) + abs(limit) * 1e-12)
