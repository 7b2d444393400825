"""Derived values in the index: columns of ``spectra``, with fresh values separate from all others.

Each set has, beside its entries in a table of their own,

- ``<set>:state``: 0 if the newest entry is fresh, 1 if it is stale, NULL if there is none;
- ``<set>:<output>``: the value if it is served: fresh and, for an energy, on a calibrated axis;
- ``<set>:<output>:other``: the value if it is not served, for queries that include it.

A value is fresh if spectrum and revision, their numbers, shift and calibration, the version of every operator of the chain and
the references are unchanged. This is compared when an index is made; no stored flag is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barospec.catalogs.index.references import References
from barospec.catalogs.index.series import load_series
from barospec.catalogs.query.resolve.fields import quoted
from barospec.catalogs.query.resolve.operator_table import VERSIONS
from barospec.schemas.vocabulary import SPECTRUM_TERMS

FRESH, STALE = 0, 1
CALIBRATED = ("foil", "reference")
BLOCK = 200_000
Touched = Iterable[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Column:
    """An output of a set as columns of the index."""

    output: str
    title: str  # the output, with the reference's label if there is one value per reference
    unit: str
    meaning: str
    integer: bool
    absolute: bool


def load_derived(
    connection: Any, root: Any, appended: Mapping[str, tuple[int, int]] | None = None, touched: Touched | None = None
) -> None:
    """Update the derived values of an index to its snapshot.

    Parameters
    ----------
    connection : duckdb connection
        With ``spectra``, ``derivations`` and ``calculations`` of the snapshot.
    root : zarr group
    appended : mapping of str to (start, stop), optional
        New entries of each set; None means all.
    touched : iterable of (group, start, stop), optional
        New or rewritten rows of ``spectra``; None means all.
    """
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS derived_fields ({', '.join(f'{n} {k}' for n, k in FIELDS.items())})"
    )
    sets = _sets(connection)
    fields = _load_sets(connection, root, sets, appended, touched) if sets else []
    fields += load_series(connection)
    _write_fields(connection, fields)
    _measure(connection)


def _load_sets(
    connection: Any,
    root: Any,
    sets: Mapping[str, Mapping[str, Any]],
    appended: Mapping[str, tuple[int, int]] | None,
    touched: Touched | None,
) -> list[dict[str, Any]]:
    """Update the values of spectra; return the fields of the sets that are in use."""
    from barospec.archive.derived.store import count_entries, derived_group

    changed = _judge(connection)
    connection.execute("CREATE OR REPLACE TEMP TABLE touched (spectrum_id VARCHAR)")
    for group, start, stop in touched or ():
        connection.execute(
            "INSERT INTO touched SELECT spectrum_id FROM spectra WHERE grp = ? AND row >= ? AND row < ?",
            [group, start, stop],
        )
    fields: list[dict[str, Any]] = []
    for name in sets:
        held = derived_group(root, name)
        if held is None:
            continue
        columns = columns_of(held)
        _require_columns(connection, name, columns)
        start, stop = (0, count_entries(root, name)) if appended is None else appended.get(name, (0, 0))
        _load_entries(connection, root, name, columns, start, stop)
        whole = touched is None or name in changed
        _fill(connection, name, columns, start, whole, aligned=bool(held.attrs.get("aligned")))
        about = {**sets[name], **dict(held.attrs)}
        fields += [_field(name, column, columns, about) for column in columns if about["active"]]
    connection.execute("DROP TABLE touched")
    return fields


def _sets(connection: Any) -> dict[str, dict[str, Any]]:
    """Return the sets, preferred ones first, then in the order of creation.

    Dropped sets are last: they give no fields, but are kept up to date in case they are restored.
    """
    newest = "QUALIFY row_number() OVER (PARTITION BY name ORDER BY revision DESC) = 1"
    made = "min(time) OVER (PARTITION BY name)"
    rows = connection.execute(
        f"""SELECT name, operator, chain, refs, status = 'active' FROM (
            SELECT *, {made} AS made FROM derivations {newest}) ORDER BY status <> 'active', preferred DESC, made, name"""
    ).fetchall()
    found, served = {}, set()
    for name, operator, chain, refs, active in rows:
        # Without a choice, the first set of an operator has the plain names of its outputs.
        first = active and operator not in served
        found[name] = {"operator": operator, "chain": chain, "refs": refs or "{}", "preferred": first, "active": active}
        served.add(operator)
    return found


def _judge(connection: Any) -> set[str]:
    """Write the reason why each calculation is out of date, or nothing; return the sets for which that has changed."""
    references = References(connection)
    # Sets that follow have a calculation for each commit with new spectra: nearly all alike, and judged once.
    judged = [
        [group, steps, refs, _outdated(json.loads(steps)) or references.changed(refs, group)]
        for group, steps, refs in connection.execute(
            "SELECT DISTINCT grp, steps, coalesce(refs, '') FROM calculations ORDER BY ALL"
        ).fetchall()
    ]
    connection.execute("CREATE TEMP TABLE judged (grp VARCHAR, steps VARCHAR, refs VARCHAR, reason VARCHAR)")
    if judged:
        connection.executemany("INSERT INTO judged VALUES (?, ?, ?, ?)", judged)
    connection.execute(
        """CREATE TEMP TABLE states_now AS SELECT c.name, c.number, j.reason FROM calculations c
        JOIN judged j ON j.grp = c.grp AND j.steps = c.steps AND j.refs = coalesce(c.refs, '')"""
    )
    connection.execute("CREATE TABLE IF NOT EXISTS calculation_states (name VARCHAR, number BIGINT, reason VARCHAR)")
    changed = connection.execute(
        """SELECT DISTINCT name FROM states_now n JOIN calculation_states c USING (name, number)
        WHERE n.reason <> c.reason"""
    ).fetchall()
    connection.execute("CREATE OR REPLACE TABLE calculation_states AS SELECT * FROM states_now")
    connection.execute("DROP TABLE judged")
    connection.execute("DROP TABLE states_now")
    return {name for (name,) in changed}


def _outdated(steps: Sequence[Mapping[str, Any]]) -> str:
    for step in steps:
        now = VERSIONS.get(step["operator"])
        if now != step["version"]:
            return f"{step['operator']} was version {step['version']} and is now {now or 'gone'}"
    return ""


def columns_of(group: Any) -> list[Column]:
    """Return the per-spectrum outputs of a set, in the order of the operator."""
    from barospec.archive.derived.store import KEYS
    from barospec.archive.store.read import dims_of

    order = list(group.attrs.get("outputs", ()))
    labels = list(group.attrs.get("references", ()))
    found = []
    for name, node in sorted(group.arrays(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)):
        dims = dims_of(node)
        if name in KEYS or "point" in dims:
            continue
        about = dict(node.attrs)
        details = (
            str(about.get("units", "")),
            str(about.get("long_name", "")),
            node.dtype.kind == "i",
            bool(about.get("absolute_energy")),
        )
        titles = [f"{name}[{label}]" for label in labels[: node.shape[1]]] if len(dims) == 2 else [name]
        found += [Column(name, title, *details) for title in titles]
    return found


def _table(name: str) -> str:
    return quoted(f"derived/{name}")


def _require_columns(connection: Any, name: str, columns: Sequence[Column]) -> None:
    keys = (
        "entry BIGINT, spectrum_id VARCHAR, revision BIGINT, calculation BIGINT, content UBIGINT, energy_shift DOUBLE"
    )
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_table(name)} ({keys}, energy_calibration VARCHAR)")
    connection.execute(f"ALTER TABLE spectra ADD COLUMN IF NOT EXISTS {quoted(f'{name}:state')} UTINYINT")
    for column in columns:
        kind = "BIGINT" if column.integer else "DOUBLE"
        connection.execute(f"ALTER TABLE {_table(name)} ADD COLUMN IF NOT EXISTS {quoted(column.title)} {kind}")
        for physical in (f"{name}:{column.title}", f"{name}:{column.title}:other"):
            connection.execute(f"ALTER TABLE spectra ADD COLUMN IF NOT EXISTS {quoted(physical)} {kind}")


def _load_entries(connection: Any, root: Any, name: str, columns: Sequence[Column], start: int, stop: int) -> None:
    import numpy as np

    from barospec.archive.derived.store import read_entries
    from barospec.archive.store.read import read_words

    words = read_words(root, "energy_calibration")
    for first in range(start, stop, BLOCK):
        last = min(stop, first + BLOCK)
        stored = read_entries(root, name, first, last)
        arrays: dict[str, Any] = {
            "entry": np.arange(first, last),
            "spectrum_id": stored["spectrum_id"].astype(object),
            "revision": stored["revision"],
            "calculation": stored["calculation"],
            "content": stored["row_sha256"][:, :8].copy().view("<u8")[:, 0],
            "energy_shift": stored["energy_shift"],
            "energy_calibration": stored["energy_calibration"],
        }
        select = [quoted(key) for key in arrays]
        select[-2:] = [_number("energy_shift"), "list_extract(?, energy_calibration + 1)"]
        place: dict[str, int] = {}
        for index, column in enumerate(columns):
            data = stored[column.output]
            if data.ndim == 2:
                place[column.output] = place.get(column.output, -1) + 1
                data = np.ascontiguousarray(data[:, place[column.output]])
            arrays[f"v{index}"] = data
            select.append(f"nullif(v{index}, -1)" if column.integer else _number(f"v{index}"))
        titles = ["entry", "spectrum_id", "revision", "calculation", "content", "energy_shift", "energy_calibration"]
        titles += [column.title for column in columns]
        connection.register("block", arrays)
        connection.execute(
            f"INSERT INTO {_table(name)} ({', '.join(map(quoted, titles))}) SELECT {', '.join(select)} FROM block",
            [words],
        )
        connection.unregister("block")


def _number(column: str) -> str:
    return f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END"


def _fill(connection: Any, name: str, columns: Sequence[Column], start: int, whole: bool, *, aligned: bool) -> None:
    """Write values and states of the spectra that are touched or have new entries, or of all."""
    same = " AND ".join(
        ["e.revision = s.revision", "e.content = s.content"]
        + [f"e.{key} IS NOT DISTINCT FROM s.{key}" for key in ("energy_shift", "energy_calibration")]
    )
    calibrated = "TRUE" if aligned else f"coalesce(s.energy_calibration IN {CALIBRATED}, FALSE)"
    affected = ""
    if not whole:
        ids = f"SELECT spectrum_id FROM touched UNION SELECT spectrum_id FROM {_table(name)} WHERE entry >= {start:d}"
        affected = f"WHERE s.spectrum_id IN ({ids})"
    values = ", ".join(f"e.{quoted(column.title)} AS v{i}" for i, column in enumerate(columns))
    newest = f"""SELECT s.grp, s.row, ({same} AND c.reason = '') AS fresh, {calibrated} AS calibrated, {values}
        FROM spectra s JOIN {_table(name)} e ON e.spectrum_id = s.spectrum_id AND e.revision <= s.revision
        LEFT JOIN calculation_states c ON c.name = ? AND c.number = e.calculation {affected}
        QUALIFY row_number() OVER (PARTITION BY s.grp, s.row ORDER BY e.revision DESC, e.entry DESC) = 1"""
    sets = [f"{quoted(f'{name}:state')} = CASE WHEN fresh THEN {FRESH} ELSE {STALE} END"]
    for i, column in enumerate(columns):
        served = "fresh AND calibrated" if column.absolute else "fresh"
        sets.append(f"{quoted(f'{name}:{column.title}')} = CASE WHEN {served} THEN v{i} END")
        sets.append(f"{quoted(f'{name}:{column.title}:other')} = CASE WHEN NOT coalesce({served}, FALSE) THEN v{i} END")
    connection.execute(
        f"UPDATE spectra SET {', '.join(sets)} FROM ({newest}) AS j WHERE spectra.grp = j.grp AND spectra.row = j.row",
        [name],
    )


# Columns from which known.py makes fields. Every computed field of an index needs the first six.
FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("name", "unit", "sigma_column", "meaning", "sql", "technique"), "VARCHAR"),
    **dict.fromkeys(("derivation", "output", "operator", "chain", "refs", "other", "state", "reasons"), "VARCHAR"),
    "absolute": "BOOLEAN",
    "main": "BOOLEAN",
    "preferred": "BOOLEAN",
}


def _field(name: str, column: Column, columns: Sequence[Column], about: Mapping[str, Any]) -> dict[str, Any]:
    label = column.title.removeprefix(column.output)
    sigma = f"{column.output}_sigma{label}"
    return {
        "name": column.title,
        "unit": column.unit,
        "sigma_column": sigma if any(other.title == sigma for other in columns) else "",
        "meaning": column.meaning,
        "sql": quoted(f"{name}:{column.title}"),
        "technique": about.get("technique", ""),
        "derivation": name,
        "output": column.title,
        "operator": about["operator"],
        "chain": about["chain"],
        "refs": about["refs"],
        "other": quoted(f"{name}:{column.title}:other"),
        "state": quoted(f"{name}:state"),
        "reasons": json.dumps(about.get("reasons", []), ensure_ascii=False)
        if column.output.endswith("_quality")
        else "",
        "absolute": column.absolute and not about.get("aligned"),
        "main": column is columns[0],
        "preferred": bool(about["preferred"]),
    }


def _write_fields(connection: Any, fields: Sequence[dict[str, Any]]) -> None:
    from barospec.catalogs.query.resolve.derived_names import address

    connection.execute("DELETE FROM derived_fields")
    reserved = {term.name for term in SPECTRUM_TERMS}
    rows = address(fields, reserved)
    if rows:
        marks = ", ".join("?" * len(FIELDS))
        connection.executemany(
            f"INSERT INTO derived_fields VALUES ({marks})", [[row[name] for name in FIELDS] for row in rows]
        )


def _measure(connection: Any) -> None:
    """Measure as `tables.measure` does: the largest uncertainties, and the fields that every row has."""
    rows = connection.execute("SELECT name, sql, sigma_column FROM derived_fields").fetchall()
    columns = {name: sql for name, sql, _ in rows}
    connection.execute("DELETE FROM meta WHERE key = 'complete_derived'")
    if columns:
        counts = ", ".join(f"count({sql})" for sql in columns.values())
        *found, every = connection.execute(f"SELECT {counts}, count(*) FROM spectra").fetchall()[0]
        whole = [name for name, count in zip(columns, found, strict=True) if count == every]
        connection.execute("INSERT INTO meta VALUES ('complete_derived', ?)", [json.dumps(whole)])
    with_sigma = [(name, columns[sigma]) for name, _, sigma in rows if sigma in columns]
    if columns:
        connection.execute("DELETE FROM meta WHERE key IN (SELECT 'reach:' || name FROM derived_fields)")
    if with_sigma:
        found = connection.execute(
            f"SELECT {', '.join(f'max({sql})' for _, sql in with_sigma)} FROM spectra"
        ).fetchall()[0]
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [
                [f"reach:{name}", f"{reach or 0.0!r} {reach or 0.0!r}"]
                for (name, _), reach in zip(with_sigma, found, strict=True)
            ],
        )
