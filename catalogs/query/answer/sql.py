"""Translation of a resolved query to SQL with bound parameters.

Column names come from the index's own fields (`known.Field.sql`), every value is a parameter; no
character of a query text becomes SQL. A condition has three variants: ``exact``; ``loose``, true
also where the value's uncertainty (sigma, readings before and after) reaches over the limit; ``strict``,
true only where it does not reach the limit. Rows between loose and strict are reported as
near a limit.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema
from barospec.catalogs.query.resolve.comparisons import tolerance
from barospec.catalogs.query.resolve.derived_rows import served
from barospec.catalogs.query.resolve.fields import OF_SPECTRA, VALUES, Field, quoted
from barospec.catalogs.query.resolve.resolve import Resolved
from barospec.schemas.vocabulary import ANNOTATIONS

Temper = Literal["exact", "loose", "strict"]
_OPPOSITE: dict[Temper, Temper] = {"exact": "exact", "loose": "strict", "strict": "loose"}


@dataclass(slots=True)
class Statement:
    """SQL with its named parameters."""

    sql: str
    parameters: dict[str, Any]


@dataclass(slots=True)
class Translator:
    """Writes SQL for one resolved query; its parts share parameters.

    Parameters
    ----------
    resolved : Resolved
    known : ArchiveSchema

    Examples
    --------
    >>> from barospec.catalogs.query.resolve.fields import Field
    >>> from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema
    >>> pressure = Field("pressure", "number", '"pressure"', "GPa")
    >>> test = ast.Compare(("pressure",), ">", ast.Number(14.0, "GPa"))
    >>> found = Resolved(ast.Query(where=test), "spectra", {"pressure": pressure})
    >>> translator = Translator(found, ArchiveSchema({"spectra": {"pressure": pressure}}, values=None))
    >>> translator.condition(), translator.parameters
    ('("pressure" > $p0)', {'p0': 14.0})
    """

    resolved: Resolved
    known: ArchiveSchema
    parameters: dict[str, Any] = field(default_factory=dict)
    _names: dict[Any, str] = field(default_factory=dict)
    _written: dict[tuple[int, Temper], tuple[Expr, str]] = field(default_factory=dict)
    _tests: list[ast.Condition] = field(init=False)
    _conditioned: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._tests = tests_in(self.resolved.query.where)
        self._conditioned = list(dict.fromkeys(node.field[0] for node in self._tests))

    def statement(self, sql: str) -> Statement:
        """Return the SQL with those parameters that occur in it; DuckDB rejects any others."""
        used = dict.fromkeys(re.findall(r"\$(p\d+)\b", sql))
        return Statement(sql, {name: self.parameters[name] for name in used})

    def condition(self, temper: Temper = "exact") -> str:
        """Return the whole condition as a three-valued expression; TRUE if there is no condition."""
        where = self.resolved.query.where
        return "TRUE" if where is None else self.expression(where, temper)

    @property
    def source(self) -> str:
        """SQL source of the rows."""
        return self.known.source(self.resolved.table)

    def leaves_bad_out(self) -> bool:
        """Return True if spectra flagged as bad are excluded: unless the query is about flags or includes them."""
        asked = "bad" in self.resolved.query.include or "flag" in self.conditioned()
        return self.resolved.table in OF_SPECTRA and self.known.flagged and not asked

    def searched(
        self, status: str = "active", *, bad: bool = False, states: Collection[str] = (), briefly: bool = False
    ) -> str:
        """Return the condition on searched rows: active ones, no merged scans, fresh values, unless the query overrides it.

        `briefly`: without the tests that every row is known to pass.
        """
        fields, parts = self.known.fields[self.resolved.table], []
        spared = briefly and self.resolved.table in OF_SPECTRA
        if "status" in fields and "status" not in self.conditioned() and not (spared and self.known.all_active):
            parts.append(f"{fields['status'].sql} = {self.bind(status)}")
        if self.leaves_bad_out() and not bad:
            parts.append(f"{fields['flag'].sql} IS DISTINCT FROM {self.bind('bad')}")
        hidden = self.resolved.table in OF_SPECTRA and self.known.hides_parents and not self.resolved.scans
        if hidden and not (spared and "merged_into" in self.known.empty):
            parts.append(f"{quoted('merged_into')} IS NULL")
        if self.resolved.table == VALUES and "state" not in self.conditioned():
            shown = ", ".join(map(self.bind, states or served(self.resolved.query.include)))
            parts.append(f"{fields['state'].sql} IN ({shown})")
        return " AND ".join(parts) or "TRUE"

    def parts(self) -> Sequence[Expr]:
        """Return the conditions that must all be true."""
        where = self.resolved.query.where
        return where.items if isinstance(where, ast.And) else () if where is None else (where,)

    @staticmethod
    def ends(node: ast.Between | ast.Within) -> tuple[float, float]:
        """Return the limits of a range."""
        if isinstance(node, ast.Between):
            return number(node.low), number(node.high)
        return _interval(node.value.value, node.sigma.value)

    def conditioned(self) -> list[str]:
        """List the names of the fields that conditions use, in order."""
        return self._conditioned

    def tests(self) -> list[ast.Condition]:
        """List the single conditions, in order."""
        return self._tests

    def bind(self, value: Any) -> str:
        """Bind a value and return its parameter."""
        key = (type(value), value)
        if key not in self._names:
            self._names[key] = f"p{len(self._names)}"
            self.parameters[self._names[key]] = value
        return f"${self._names[key]}"

    def applicable(self, field: Field) -> str:
        """Return the condition under which the field is applicable."""
        fields = self.known.fields[self.resolved.table]
        parts = [
            f"coalesce({fields[name].sql} IN ({', '.join(map(self.bind, values))}), FALSE)"
            for name, values in field.applies.items()
            if name in fields
        ]
        return " AND ".join(parts) or "TRUE"

    def among(self, known: ArchiveSchema) -> Translator:
        """Return a translator for some of the rows, of which more is known; parameters stay shared."""
        return Translator(self.resolved, known, self.parameters, self._names)

    def expression(self, node: Expr, temper: Temper) -> str:
        """Translate one condition. NULL where a decisive value is missing."""
        key = id(node), temper
        if key not in self._written:  # keeps the node alive, so that its id is not reused
            self._written[key] = node, self._expression(node, temper)
        return self._written[key][1]

    def _expression(self, node: Expr, temper: Temper) -> str:
        if isinstance(node, ast.And | ast.Or):
            word = " AND " if isinstance(node, ast.And) else " OR "
            return f"({word.join(self.expression(item, temper) for item in node.items)})"
        if isinstance(node, ast.Not):
            return f"(NOT {self.expression(node.item, _OPPOSITE[temper])})"
        if isinstance(node, ast.Phrase | ast.Saved):
            raise TypeError("only resolved queries can be translated")  # a mistake in our own code
        found = self.resolved.fields[node.field[0]]
        if isinstance(node, ast.Changes):  # a single spectrum decides no more; see `group_by`
            return f"(CASE WHEN {found.sql} IS NOT NULL THEN TRUE END)"
        if isinstance(node, ast.Missing) and found.stored:
            # There is a stored value that is not served: neither missing nor known.
            held = f"{found.stored.other} IS NOT NULL AND {found.sql} IS NULL"
            matters = f"{found.sql} IS NOT NULL OR {self.applicable(found)}"
            return f"(CASE WHEN {held} THEN NULL WHEN {matters} THEN {found.sql} IS NULL END)"
        if isinstance(node, ast.Missing):
            # Not applicable is neither missing nor known.
            matters = f"{found.sql} IS NOT NULL OR {self.applicable(found)}"
            return f"(CASE WHEN {matters} THEN {found.sql} IS NULL END)"
        if isinstance(node, ast.Contains):
            inside = f"contains(lower({found.sql}), lower({self.bind(node.words.words[0])}))"
            return f"coalesce({inside}, FALSE)" if found.name in ANNOTATIONS and found.table == "spectra" else inside
        if isinstance(node, ast.At):
            return self._at(node, found)
        if found.name in ANNOTATIONS and found.table == "spectra":
            # A missing annotation is no gap: a spectrum that is not flagged as bad is not bad.
            otherwise = "TRUE" if getattr(node, "op", "") == "!=" else "FALSE"
            return f"coalesce({self._verbal(node, found)}, {otherwise})"
        if found.kind == "time":
            return self._temporal(node, found)
        if found.kind in ("number", "integer"):
            return self._numeric(node, found, temper)
        return self._verbal(node, found)

    def _at(self, node: ast.At, found: Field) -> str:
        value, own = node.value.value, self._sigma(found)
        width = self.bind(tolerance(found, value))
        reach = f"greatest({own}, {width})" if own else width
        # Slightly more than the width, so that 10.3 is at 10 ± 0.3.
        return f"(abs({found.sql} - {self.bind(value)}) <= {reach} * (1 + 1e-12))"

    def _sigma(self, found: Field) -> str:
        sigma = self.known.find(found.table, found.sigma) if found.sigma else None
        return sigma.sql if sigma else ""

    def _numeric(self, node: ast.Compare | ast.Between | ast.Within | ast.In, found: Field, temper: Temper) -> str:
        if isinstance(node, ast.In):
            return self._is_one_of(found, [number(value) for value in node.values])
        if isinstance(node, ast.Compare | ast.Between) and node.sigmas:
            return self._beyond(node, found)
        low, high = self.bounds(found, temper, getattr(node, "width", None))
        if isinstance(node, ast.Compare):
            limit = self.bind(number(node.value))
            if node.op in ("=", "!="):
                return f"({found.sql} {_sql_operator(node.op)} {limit})"
            # Loose tests the more favorable end of the value's interval.
            side = high if node.op in (">", ">=") else low
            return f"({side} {node.op} {limit})"
        ends = self.ends(node)
        return f"({high} >= {self.bind(ends[0])} AND {low} <= {self.bind(ends[1])})"

    def _beyond(self, node: ast.Compare | ast.Between, found: Field) -> str:
        """Return SQL that tests if the value is beyond the limits by the required number of standard uncertainties; NULL where it has none."""
        width = getattr(node, "width", None)
        sigma = self._sigma(found)
        spread = f"sqrt({sigma} * {sigma} + {self.bind(width.value**2)})" if width else sigma
        low, high = (f"({found.sql} {sign} {self.bind(node.sigmas)} * {spread})" for sign in "-+")
        if isinstance(node, ast.Between):
            ends = self.ends(node)
            return f"({low} >= {self.bind(ends[0])} AND {high} <= {self.bind(ends[1])})"
        return f"({low if node.op in ('>', '>=') else high} {node.op} {self.bind(number(node.value))})"

    def bounds(self, found: Field, temper: Temper, width: ast.Number | None = None) -> tuple[str, str]:
        """Return the value as (side compared with upper limits, side compared with lower limits).

        `width` is the uncertainty of the limit, which adds to that of the value.
        """
        others = [other.sql for end in ("before", "after") if (other := self.reading(found, end))]
        sigma = self._sigma(found)
        if temper == "exact" or not (others or sigma or width):
            return found.sql, found.sql
        whole = found.table == "spectra" and found.sigma in self.known.complete
        spread = sigma if whole else f"coalesce({sigma}, 0)" if sigma else "0"
        if width:
            spread = f"sqrt({spread} * {spread} + {self.bind(width.value**2)})"
        smallest, largest = f"({found.sql} - {spread})", f"({found.sql} + {spread})"
        if others:
            smallest, largest = f"least({', '.join([smallest, *others])})", f"greatest({', '.join([largest, *others])})"
        return (smallest, largest) if temper == "loose" else (largest, smallest)

    def reading(self, found: Field, end: str) -> Field | None:
        """Return the field of the reading before or after, unless no row has one."""
        name = f"{found.name}_{end}"
        if found.table == "spectra" and name in self.known.empty:
            return None
        return self.known.fields[found.table].get(name)

    def uncertain(self) -> list[Field]:
        """List the fields in the conditions whose limits an uncertainty can reach."""
        limited = [node for node in self.tests() if _has_limits(node)]
        used = [self.resolved.fields[name] for name in dict.fromkeys(node.field[0] for node in limited)]
        return [f for f in used if f.kind == "number" and self.bounds(f, "loose") != self.bounds(f, "exact")]

    def _temporal(self, node: Any, found: Field) -> str:
        if isinstance(node, ast.In):
            dates: list[Any] = [value.interval() for value in node.values if isinstance(value, ast.Date)]
            return "(" + " OR ".join(self._within(found, date, date) for date in dates) + ")"
        if isinstance(node, ast.Between):
            return self._within(found, node.low.interval(), node.high.interval())  # type: ignore[union-attr]
        start, end = node.value.interval()
        match node.op:
            case "=":
                return self._within(found, (start, end), (start, end))
            case "!=":
                return f"(NOT {self._within(found, (start, end), (start, end))})"
            case ">":  # after 2024-05 means from June on
                return f"({found.sql} >= {self.bind(end)})"
            case ">=":
                return f"({found.sql} >= {self.bind(start)})"
            case "<":
                return f"({found.sql} < {self.bind(start)})"
        return f"({found.sql} < {self.bind(end)})"

    def _within(self, found: Field, first: Any, last: Any) -> str:
        return f"({found.sql} >= {self.bind(first[0])} AND {found.sql} < {self.bind(last[1])})"

    def _verbal(self, node: Any, found: Field) -> str:
        if isinstance(node, ast.In):
            if found.name == "spectrum_id":
                parts = [self._identity(found, value.words[0]) for value in node.values]  # type: ignore[union-attr]
                return f"({' OR '.join(parts)})"
            return self._is_one_of(found, [value.words[0] for value in node.values])  # type: ignore[union-attr]
        text = node.value.words[0]
        if found.name == "spectrum_id":
            identity = self._identity(found, text)
            return identity if node.op == "=" else f"(NOT {identity})"
        return f"({found.sql} {_sql_operator(node.op)} {self.bind(text)})"

    def _identity(self, found: Field, prefix: str) -> str:
        """Match an identity, which may be shortened."""
        if len(prefix) >= 16:
            return f"({found.sql} = {self.bind(prefix.lower())})"
        return f"starts_with({found.sql}, {self.bind(prefix.lower())})"

    def _is_one_of(self, found: Field, values: list[Any]) -> str:
        return f"({found.sql} IN ({', '.join(map(self.bind, values))}))"


def tests_in(where: Expr | None) -> list[ast.Condition]:
    """List the single conditions, in order."""
    found: list[ast.Condition] = []
    pending: list[Any] = [where]
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.And | ast.Or):
            pending[:0] = node.items
        elif isinstance(node, ast.Not):
            pending.insert(0, node.item)
        elif node is not None:
            found.append(node)
    return found


def _has_limits(node: ast.Condition) -> bool:
    """Return True if the condition has a limit that an uncertainty can reach over."""
    if isinstance(node, ast.Compare):
        return node.op not in ("=", "!=")
    return isinstance(node, ast.Between | ast.Within)


def _sql_operator(op: str) -> str:
    return "<>" if op == "!=" else op


def number(value: ast.Value) -> float:
    assert isinstance(value, ast.Number)  # resolved
    return value.value


def _interval(value: float, sigma: float) -> tuple[float, float]:
    """Return the closed interval, in decimal arithmetic: 0.1 ± 0.2 ends at 0.3."""
    return float(f"{value - sigma:.14g}"), float(f"{value + sigma:.14g}")


def columns_sql(fields: Mapping[str, Field], names: list[str]) -> str:
    """Return the select list of these fields."""
    return ", ".join(f"{fields[name].sql} AS {quoted(name)}" for name in names)
