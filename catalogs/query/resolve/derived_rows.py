"""Derived values as rows, for the noun "derived values": one for each spectrum and quantity.

An index has no such table; derived values are columns of ``spectra``. The query's own statement computes the rows,
so that they cost nothing until then and match all conditions on spectra.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from barospec.catalogs.query.resolve.fields import VALUES, Field, quoted

FRESH, STALE, UNCALIBRATED, BOTH, FAILED = "fresh", "stale", "uncalibrated", "stale and uncalibrated", "failed"
STATES = (FRESH, STALE, UNCALIBRATED, BOTH, FAILED)

_OWN = (
    Field("quantity", "word", '"quantity"', "", "Quantity of the value, such as edge_energy.", table=VALUES),
    Field("value", "number", '"value"', "", "The number, in value_unit.", "value_sigma", table=VALUES),
    Field("value_sigma", "number", '"value_sigma"', "", "Its standard uncertainty, in value_unit.", table=VALUES),
    Field("value_unit", "word", '"value_unit"', "", "The unit of value.", table=VALUES),
    Field(
        "state",
        "word",
        '"state"',
        "",
        "State of the value: current with its stored inputs, or the reason why it is not served.",
        table=VALUES,
        allowed=STATES,
    ),
    Field("chain", "word", '"chain"', "", "The operators that computed it, with all parameters.", table=VALUES),
    Field("set", "word", '"set"', "", "Its set of derived values.", table=VALUES),
)
QUOTE_DOLLAR = "' || chr(36) || '"
# Every row has these.
COMPLETE = ("quantity", "value_unit", "state")


def quantities(spectra: Mapping[str, Field], runs: Collection[str]) -> list[Field]:
    """List the fields of spectra that are quantities: no uncertainties, no quality flags, no values of whole runs."""
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
    """Return the fields of a derived value: all fields of its spectrum, and its own."""
    return {**spectra, **{field.name: field for field in _OWN}}


def listed_values(listed: Collection[Field]) -> dict[str, tuple[str, ...]]:
    """Return the values of word fields of derived values."""
    stored = [field.stored for field in listed if field.stored]
    return {
        "quantity": tuple(field.name for field in listed),
        "value_unit": tuple(dict.fromkeys(field.unit or "1" for field in listed)),
        "state": STATES,
        "chain": tuple(dict.fromkeys(one.chain for one in stored)),
        "set": tuple(dict.fromkeys(one.derivation for one in stored)),
    }


def source(spectra: Mapping[str, Field], listed: Collection[Field]) -> str:
    """Return the rows as SQL: every stored value of every spectrum, whatever its state."""
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
    """Quote a text of the index as SQL literal, never one of a query.

    >>> print(_literal("at='$p0'"))
    ('at=''' || chr(36) || 'p0''')
    """
    written = "'" + text.replace("'", "''") + "'"
    # Escape anything that looks like a parameter.
    return f"({written.replace('$', QUOTE_DOLLAR)})" if "$" in text else written


def served(include: Collection[str]) -> list[str]:
    """Return the states that are shown: fresh, and those that a query includes.

    >>> served(["stale"])
    ['fresh', 'stale']
    """
    more = {STALE: {"stale"}, UNCALIBRATED: {"uncalibrated"}, BOTH: {"stale", "uncalibrated"}}
    return [FRESH, *(state for state, needed in more.items() if needed <= set(include))]
