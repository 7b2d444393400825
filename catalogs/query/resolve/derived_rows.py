"""Stored derived values as rows of their own, for the noun "derived values": one for each spectrum and quantity.

There is no such table in an index, where derived values are columns of ``spectra``: the rows are made by the statement that asks
for them, so that they cost nothing until then and are found by all conditions that spectra are found by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from barospec.catalogs.query.resolve.fields import VALUES, Field, quoted

FRESH, STALE, UNCALIBRATED, BOTH, FAILED = "fresh", "stale", "uncalibrated", "stale and uncalibrated", "failed"
STATES = (FRESH, STALE, UNCALIBRATED, BOTH, FAILED)

_OWN = (
    Field("quantity", "word", '"quantity"', "", "What the value is of, such as edge_energy.", table=VALUES),
    Field("value", "number", '"value"', "", "The number, in value_unit.", "value_sigma", table=VALUES),
    Field("value_sigma", "number", '"value_sigma"', "", "Its standard uncertainty, in value_unit.", table=VALUES),
    Field("value_unit", "word", '"value_unit"', "", "The unit of value.", table=VALUES),
    Field(
        "state",
        "word",
        '"state"',
        "",
        "Whether a value still follows from what is stored.",
        table=VALUES,
        allowed=STATES,
    ),
    Field("chain", "word", '"chain"', "", "The operators that made it, with all parameters.", table=VALUES),
    Field("set", "word", '"set"', "", "The set of derived values that it belongs to.", table=VALUES),
)
QUOTE_DOLLAR = "' || chr(36) || '"
# No row lacks these.
COMPLETE = ("quantity", "value_unit", "state")


def quantities(spectra: Mapping[str, Field], runs: Collection[str]) -> list[Field]:
    """The fields of spectra that are listed as quantities: no uncertainties, no quality flags, no values of whole runs."""
    sigmas = {field.sigma for field in spectra.values()}
    return [
        field
        for field in spectra.values()
        if field.derived
        and field.name not in sigmas
        and not any(part in field.name.partition("[")[0] for part in ("_sigma", "_quality"))
        and not (field.stored and field.stored.derivation in runs)
    ]


def fields_of(spectra: Mapping[str, Field]) -> dict[str, Field]:
    """What can be asked of a derived value: all that can be asked of its spectrum, and what it is."""
    return {**spectra, **{field.name: field for field in _OWN}}


def listed_values(listed: Collection[Field]) -> dict[str, tuple[str, ...]]:
    """The values that words about derived values have."""
    stored = [field.stored for field in listed if field.stored]
    return {
        "quantity": tuple(field.name for field in listed),
        "value_unit": tuple(dict.fromkeys(field.unit or "1" for field in listed)),
        "state": STATES,
        "chain": tuple(dict.fromkeys(one.chain for one in stored)),
        "set": tuple(dict.fromkeys(one.derivation for one in stored)),
    }


def source(spectra: Mapping[str, Field], listed: Collection[Field]) -> str:
    """The rows as SQL: every stored value of every spectrum, whatever its state."""
    rows = ", ".join(_row(field, spectra.get(field.sigma)) for field in listed)
    own = ", ".join(f"v.{field.sql} AS {field.sql}" for field in _OWN)
    inner = f'SELECT *, unnest([{rows}]) AS v FROM "spectra"'
    return f"(SELECT * EXCLUDE (v), {own} FROM ({inner}) WHERE v.state IS NOT NULL) AS {quoted(VALUES)}"


def _row(field: Field, sigma: Field | None) -> str:
    value, spread = f"{field.sql}::DOUBLE", f"{sigma.sql}::DOUBLE" if sigma else "NULL::DOUBLE"
    state = f"CASE WHEN {field.sql} IS NOT NULL THEN {_literal(FRESH)} END"
    chain = name = "NULL"
    if field.stored:
        other, stale = field.stored.other, f"{field.stored.state} = 1"
        value = f"coalesce({field.sql}, {other})::DOUBLE"
        if sigma and sigma.stored:
            spread = f"coalesce({sigma.sql}, {sigma.stored.other})::DOUBLE"
        cases = [f"WHEN {field.sql} IS NOT NULL THEN {_literal(FRESH)}"]
        cases.append(f"WHEN {other} IS NULL AND {field.stored.state} IS NOT NULL THEN {_literal(FAILED)}")
        if field.stored.absolute:
            calibrated = f"coalesce({quoted('energy_calibration')} IN ('foil', 'reference'), FALSE)"
            cases.append(f"WHEN {stale} AND NOT {calibrated} THEN {_literal(BOTH)}")
        cases += [f"WHEN {stale} THEN {_literal(STALE)}", f"WHEN {other} IS NOT NULL THEN {_literal(UNCALIBRATED)}"]
        state = f"CASE {' '.join(cases)} END"
        chain, name = _literal(field.stored.chain), _literal(field.stored.derivation)
    parts = {
        "quantity": _literal(field.name),
        "value": value,
        "value_sigma": spread,
        "value_unit": _literal(field.unit or "1"),
        "state": state,
        "chain": chain,
        "set": name,
    }
    return "{" + ", ".join(f"'{key}': {sql}" for key, sql in parts.items()) + "}"


def _literal(text: str) -> str:
    """A text that the index itself holds as SQL, never one of a query.

    >>> print(_literal("at='$p0'"))
    ('at=''' || chr(36) || 'p0''')
    """
    written = "'" + text.replace("'", "''") + "'"
    # What looks like a parameter is none.
    return f"({written.replace('$', QUOTE_DOLLAR)})" if "$" in text else written


def served(include: Collection[str]) -> list[str]:
    """The states that are shown: fresh, and what a query includes.

    >>> served(["stale"])
    ['fresh', 'stale']
    """
    more = {STALE: {"stale"}, UNCALIBRATED: {"uncalibrated"}, BOTH: {"stale", "uncalibrated"}}
    return [FRESH, *(state for state, needed in more.items() if needed <= set(include))]
