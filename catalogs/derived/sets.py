"""Sets of derived values of an archive, and the state of each."""

from __future__ import annotations

import json
from typing import Any

from barospec.archive.store.storage.location import Location
from barospec.catalogs.derived.provenance import stale_because
from barospec.catalogs.index import database
from barospec.catalogs.index.open import opened
from barospec.catalogs.query.answer.answer import rows_sql
from barospec.catalogs.query.answer.sql import Translator
from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.query.resolve.fields import quoted
from barospec.catalogs.query.resolve.keywords import query_of
from barospec.catalogs.query.resolve.resolve import resolve
from barospec.schemas.errors import QueryError


def describe(location: Location, snapshot: str) -> list[dict[str, Any]]:
    """Describe the sets; see `barospec._derived.DerivedMethods.derivations`."""
    newest = "QUALIFY row_number() OVER (PARTITION BY name ORDER BY revision DESC) = 1"
    with opened(location, snapshot) as (_, connection):
        known = known_from(connection)
        sets = database.dicts(connection, f"SELECT * FROM derivations {newest} ORDER BY operator, name")
        rows = []
        for row in sets:
            if row["status"] != "active":
                continue
            main = next(
                (
                    field
                    for field in known.fields["spectra"].values()
                    if field.stored and field.stored.derivation == row["name"]
                ),
                None,
            )
            queries = json.loads(row["queries"])
            rows.append({
                "name": row["name"],
                "of": "spectra",
                "field": main.name if main else None,
                **_counts(connection, row["name"], main),
                "missing": _missing(connection, row["name"], row["operator"], queries, begun=main is not None),
                "preferred": main is not None and "[" not in main.name.removeprefix(main.stored.output),  # type: ignore[union-attr]
                "follow": bool(row["follow"]),
                "chain": row["chain"],
                "references": json.loads(row["refs"] or "{}"),
                "queries": queries,
                "author": row["author"],
                "time": row["time"],
            })  # fmt: skip
        if database.values(connection, "SELECT 1 FROM series LIMIT 1"):
            from barospec.catalogs.derived import run_sets

            rows += run_sets.describe(connection)
    return rows


def _counts(connection: Any, name: str, main: Any) -> dict[str, Any]:
    if main is None:
        return {"fresh": 0, "failed": 0, "stale": 0, "because": []}
    state, value = quoted(f"{name}:state"), quoted(f"{name}:{main.stored.output}")
    held = f"({value} IS NOT NULL OR {main.stored.other} IS NOT NULL)"
    fresh, failed, stale = connection.execute(
        f"""SELECT count(*) FILTER (WHERE {state} = 0 AND {held}), count(*) FILTER (WHERE {state} = 0 AND NOT {held}),
            count(*) FILTER (WHERE {state} = 1) FROM spectra WHERE status = 'active'"""
    ).fetchall()[0]
    because = [
        {"reason": reason, "count": count} for reason, count in (stale_because(connection, name) if stale else ())
    ]
    return {"fresh": fresh, "failed": failed, "stale": stale, "because": because}


def _missing(connection: Any, name: str, operator: str, queries: list[str], *, begun: bool) -> int:
    """Count spectra that meet one of the queries, have the operator's technique, and were never computed."""
    known = known_from(connection)
    technique = _technique(operator)
    state = quoted(f"{name}:state") if begun else "NULL"
    parts: list[str] = []
    bound: dict[str, Any] = {}
    for number, query in enumerate(queries):
        try:
            resolved = resolve(query_of(query), known)
        except QueryError:  # a value that the archive no longer has: no spectrum matches
            continue
        translator = Translator(resolved, known.including(resolved.query.include))
        statement = rows_sql(translator, f'"grp", "row", {state} AS state, "technique"')
        sql = statement.sql
        for key in sorted(statement.parameters, key=len, reverse=True):
            sql = sql.replace(f"${key}", f"$q{number}_{key}")
            bound[f"q{number}_{key}"] = statement.parameters[key]
        parts.append(f"SELECT * FROM ({sql})")
    if not parts:
        return 0
    where = "state IS NULL" + (f" AND technique = '{technique}'" if technique else "")
    sql = f"SELECT count(*) FROM ({' UNION '.join(parts)}) WHERE {where}"
    return int(connection.execute(sql, bound).fetchall()[0][0])


def _technique(operator: str) -> str:
    from barospec.catalogs.query.resolve.operator_table import TECHNIQUES

    return TECHNIQUES.get(operator, "")
