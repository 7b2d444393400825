"""Searchable fields of an archive: ``barospec fields``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.query.resolve.fields import VALUES, Connection, Field
from barospec.schemas.vocabulary import BY_NAME

MOST_VALUES = 8
RANGED = ("number", "integer", "time")


def describe_fields(connection: Connection) -> list[dict[str, Any]]:
    """Describe every searchable field: unit, meaning, number of rows with a value, range or commonest values.

    Parameters
    ----------
    connection : duckdb connection
        To an index, see `archive_schema.known_from`.

    Returns
    -------
    list of dict
        Fields of spectra first, including stored derived values (``level`` is then ``derived``, and only served values
        count); then those of structures, bonds, literature values and models, if the archive has any.
        ``count`` of ``total`` active rows of the ``table`` have a value; ``min`` and ``max`` are text, None for words.

    Examples
    --------
    >>> import duckdb
    >>> index = duckdb.connect()
    >>> _ = index.execute("CREATE TABLE spectra (status TEXT, run TEXT, pressure DOUBLE)")
    >>> _ = index.execute("INSERT INTO spectra VALUES ('active', 'run-2', 15.6), ('active', 'run-2', NULL)")
    >>> _ = index.execute("CREATE TABLE field_values AS SELECT 'run' field, 'run-2' AS value, 2 AS count")
    >>> _ = index.execute("CREATE TABLE meta AS SELECT 'snapshot' AS key, 'S0' AS value")
    >>> [(row["field"], row["count"], row["max"], row["values"]) for row in describe_fields(index)][1:]
    [('run', 2, None, ['run-2 (2)']), ('pressure', 1, '15.6', [])]
    """
    found: list[dict[str, Any]] = []
    known = known_from(connection)
    for table, fields in known.fields.items():
        # Every spectrum field works for a derived value too.
        own = {name: field for name, field in fields.items() if field.table == table or table != VALUES}
        rows = _of_table(connection, table, own, known.source(table))
        if table == "spectra" or any(row["total"] for row in rows):
            found += rows
    return found


def _of_table(connection: Connection, table: str, fields: Mapping[str, Field], source: str) -> list[dict[str, Any]]:
    source += " WHERE status = 'active'" if "status" in fields or table == VALUES else ""
    select = ["count(*)"]
    for field in fields.values():
        ends = field.kind in RANGED
        select.append(f"count({field.sql})")
        select += [f"{end}({field.sql})::VARCHAR" if ends else "NULL" for end in ("min", "max")]
    total, *numbers = connection.execute(f"SELECT {', '.join(select)} FROM {source}").fetchall()[0]
    commonest = _values_of_spectra(connection) if table == "spectra" else {}
    rows = []
    for i, field in enumerate(fields.values()):
        count, least, most = numbers[3 * i : 3 * i + 3]
        if field.kind == "word" and count and (table != "spectra" or field.derived):
            commonest[field.name] = _values_of(connection, source, field)
        term = BY_NAME.get(field.name)
        rows.append({
            "field": field.name,
            "table": table,
            "unit": field.unit,
            "kind": field.kind,
            "level": "derived" if field.derived else term.level if term else "",
            "meaning": field.meaning,
            "count": count,
            "total": total,
            "min": least,
            "max": most,
            "values": commonest.get(field.name, []),
            "allowed": list(field.allowed),
            "aliases": list(field.aliases),
        })  # fmt: skip
    return rows


def _values_of_spectra(connection: Connection) -> dict[str, list[str]]:
    """Return the commonest words of each field, from the counts of the index."""
    rows = connection.execute("SELECT field, value, count FROM field_values WHERE count > 0").fetchall()
    by_field: dict[str, list[tuple[str, int]]] = {}
    for name, value, count in rows:
        by_field.setdefault(name, []).append((value, count))
    return {name: _shown(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))) for name, pairs in by_field.items()}


def _values_of(connection: Connection, source: str, field: Field) -> list[str]:
    sql = f"SELECT {field.sql}, count(*) FROM {source} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES + 1}"
    return _shown((value, count) for value, count in connection.execute(sql).fetchall() if value is not None)


def _shown(pairs: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{value} ({count})" for value, count in pairs][:MOST_VALUES]
