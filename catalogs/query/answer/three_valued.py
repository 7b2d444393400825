"""What rows come to under a condition whose limits have uncertainties and whose values may be lacking, in one scan.

`reachable` is decided column by column, inside DuckDB's scan; `unsettled` above it; `verdict` is worked out for what is left.
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
    """Where to look for the rows that an answer counts: translators, each with the place of its rows.

    Usually all in one. A question that no row without a pressure meets, and that asks for nothing but columns of the table
    that these have to themselves, is put in two: to those with one, for which no gap has to be minded, and to those without.
    """
    known, names, whole = translator.known, translator.conditioned(), [(translator, translator.source)]
    if not known.apart or translator.resolved.table != "spectra" or LACKING in known.complete:
        return whole
    if LACKING not in names or not set(COLUMNS).issuperset(names) or translator.leaves_bad_out():
        return whole
    column = translator.resolved.fields[LACKING].sql
    deciding = [part for part in translator.parts() if _decides(translator, part) == column]
    # A reading before or after might stand in for the value where its own limits are not what is compared.
    if not any(_widened(translator, part) or not _is_swayed(translator, part) for part in deciding):
        return whole
    there = translator.among(replace(known, complete=known.complete | {LACKING}))
    lacking = translator.among(replace(known, empty=known.empty | {LACKING}))
    return [(there, translator.source), (lacking, TABLE)]


def verdict(translator: Translator) -> str:
    """What a row that is `reachable` and `unsettled` comes to: CLEAR or NEAR_INSIDE when it matches, NEAR_OUTSIDE, UNDECIDED.

    Or SETTLED: neither of these, as `unsettled` looks at one limit only where no value can be lacking.
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
    """The reachable rows that match, come near a limit or lack a value: uncertainties and gaps may rule out others.

    A condition on several columns at once, which DuckDB decides above its scan: it packs what is left of many blocks
    into one, so that `verdict` is worked out for full blocks. Those on one column each are decided in the scan.
    """
    swayed, lacking, either = _open(translator)
    if not swayed or _never(translator):  # whose reachable rows are all undecided
        return "TRUE"
    if not lacking:  # the quickest one rules out many; `verdict` looks at all
        return min((translator.expression(part, "loose") for part in swayed), key=len)
    loose = _all(translator, either, "loose")
    return f"({_lacks(translator, lacking)} AND {_undecided(translator, either)} OR {loose})"


def _undecided(translator: Translator, parts: Sequence[Expr]) -> str:
    """Whether none of these conditions is false, of a row that lacks one of the values."""
    lacking = [part for part in parts if _can_lack(translator, part)]
    if len(lacking) == 1 and _decides(translator, lacking[0]):  # which is unknown, then
        parts = [part for part in parts if part not in lacking]
    return possible(translator, parts)


def _open(translator: Translator) -> tuple[list[Expr], list[Expr], list[Expr]]:
    """The conditions that an uncertainty can sway, those that a lacking value can leave open, and both in order.

    All others hold for every reachable row.
    """
    parts = translator.parts()
    swayed, lacking = ([part for part in parts if test(translator, part)] for test in (_is_swayed, _can_lack))
    return swayed, lacking, [part for part in parts if part in swayed or part in lacking]


def _all(translator: Translator, parts: Sequence[Expr], temper: Temper) -> str:
    return " AND ".join(translator.expression(part, temper) for part in parts)


def _lacks(translator: Translator, parts: Sequence[Expr]) -> str:
    """Whether any of these conditions is neither true nor false."""
    tests = []
    for part in parts:
        column = _decides(translator, part)
        tests.append(f"{column} IS NULL" if column else f"({translator.expression(part, 'exact')}) IS NULL")
    return f"({' OR '.join(tests)})"


def _decides(translator: Translator, part: Expr) -> str:
    """The column that is NULL where, and only where, the condition is; empty if there is no such."""
    if isinstance(part, ast.And | ast.Or | ast.Not | ast.Missing) or getattr(part, "sigmas", None):
        return ""
    assert not isinstance(part, ast.Phrase | ast.Saved)  # resolved
    found = translator.resolved.fields[part.field[0]]
    return "" if found.name in ANNOTATIONS and found.table == "spectra" else found.sql


def _is_void(translator: Translator, part: Expr) -> bool:
    """Whether the condition is unknown of every row, for want of its value, and no reading stands in for that."""
    if not _decides(translator, part):
        return False
    assert not isinstance(part, ast.And | ast.Or | ast.Not | ast.Phrase | ast.Saved)
    found = translator.resolved.fields[part.field[0]]
    readings = [translator.reading(found, end) for end in ("before", "after")]
    return found.table == "spectra" and found.name in translator.known.empty and not any(readings)


def _never(translator: Translator) -> bool:
    """Whether no row can match, or come near to it: all that can be told of any is that it is undecided."""
    return any(_is_void(translator, part) for part in translator.parts())


def _is_swayed(translator: Translator, part: Expr) -> bool:
    """Whether an uncertainty can decide the condition."""
    return translator.expression(part, "loose") != translator.expression(part, "exact")


def _can_lack(translator: Translator, part: Expr) -> bool:
    """Whether the condition may be undecided for want of a value."""
    names = {node.field[0] for node in tests_in(part)}
    names |= {translator.resolved.fields[node.field[0]].sigma for node in tests_in(part) if getattr(node, "sigmas", 0)}
    return translator.resolved.table not in OF_SPECTRA or not names <= translator.known.complete


def possible(translator: Translator, parts: Sequence[Expr]) -> str:
    """A condition met where all parts are true or unknown, and only there: tests that DuckDB can push into the scan."""
    tests = [_possible(translator, part) for part in parts]
    return " AND ".join(test for test in tests if test != "TRUE") or "TRUE"


def _possible(translator: Translator, part: Expr, held: str = "") -> str:
    """The condition, or `held` in its place, or that it is unknown."""
    if _is_void(translator, part):
        return "TRUE"
    column, exact = _decides(translator, part), translator.expression(part, "exact")
    if not _can_lack(translator, part):
        return held or exact
    if not column:
        return f"({held} OR {exact} IS NOT FALSE)" if held else f"({exact} IS NOT FALSE)"
    return f"({held or exact} OR {column} IS NULL)"


def reachable(translator: Translator, *, undecided: bool = False) -> str:
    """A condition met wherever all parts hold, exactly or loosely, and if asked for where a lacking value leaves that open.

    Where the index tells how far uncertainties reach at most, the limits are moved by that much: a plain
    comparison, which DuckDB decides from a column's zone maps, in place of arithmetic for every row.
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
    """The limit moved outwards by the reach, and by a hair more, since sums are rounded."""
    return limit + sign * (reach * (1 + 1e-9) + abs(limit) * 1e-12)
