"""Values of word fields in an index, looked up when a query needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from barospec.catalogs.query.resolve.fields import VALUES, Connection, Field, quoted

MOST_VALUES = 200
MOST_LOOKED_UP = 10_000


class IndexValues:
    """Values of word fields, from ``field_values`` for spectra and from the table itself otherwise."""

    def __init__(
        self, connection: Connection, looked_up: dict[Any, Any], listed: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._connection = connection
        self._looked_up = looked_up
        self._listed = listed or {}

    def again(self, connection: Connection, looked_up: dict[Any, Any]) -> IndexValues:
        """Return the same through another connection to the same file."""
        return IndexValues(connection, looked_up, self._listed)

    def _fetch(self, sql: str, *parameters: Any) -> list[Any]:
        key = (sql, *parameters)
        found: list[Any] | None = self._looked_up.get(key)
        if found is None:
            found = list(self._connection.execute(sql, list(parameters)).fetchall())
            if len(self._looked_up) < MOST_LOOKED_UP:
                self._looked_up[key] = found
        return found

    def _source(self, field: Field) -> tuple[str, list[str]]:
        if field.table == VALUES:  # few, and already known
            return "(SELECT unnest(string_split(nullif(?, ''), chr(31))) AS value, 1 AS count)", [
                "\x1f".join(self._listed[field.name])
            ]
        if field.table == "spectra" and not field.derived:
            return "(SELECT value, count FROM field_values WHERE field = ?)", [field.name]
        inner = f"SELECT {field.sql} AS value, count(*) AS count FROM {quoted(field.table)} GROUP BY 1"
        return f"(SELECT * FROM ({inner}) WHERE value IS NOT NULL)", []

    def of(self, field: Field, like: str = "") -> list[str]:
        """See `Values.of`."""
        source, parameters = self._source(field)
        order = "jaro_winkler_similarity(lower(value), ?) DESC, value" if like else "count DESC, value"
        rows = self._fetch(
            f"SELECT value FROM {source} ORDER BY {order} LIMIT {MOST_VALUES}",
            *parameters,
            *([like.lower()] if like else []),
        )
        return [row[0] for row in rows]

    def find(self, field: Field, word: str) -> list[str]:
        """See `Values.find`."""
        source, parameters = self._source(field)
        return [
            r[0] for r in self._fetch(f"SELECT value FROM {source} WHERE lower(value) = lower(?)", *parameters, word)
        ]

    def close(self, fields: Sequence[Field], word: str) -> list[str]:
        """See `Values.close`."""
        found = [value for f in fields if f.table != "spectra" or f.derived for value in self.of(f, word)]
        if any(f.table == "spectra" for f in fields):
            order = "ORDER BY jaro_winkler_similarity(lower(value), ?) DESC, value LIMIT 20"
            distinct = "SELECT DISTINCT value FROM field_values"
            found += [row[0] for row in self._fetch(f"SELECT value FROM ({distinct}) {order}", word.lower())]
        return found

    def readings(self, fields: Sequence[Field], word: str) -> list[tuple[str, str]]:
        """See `Values.readings`."""
        found = []
        if any(field.table == "spectra" for field in fields):
            names = {field.name for field in fields}
            rows = self._fetch("SELECT field, value FROM field_values WHERE lower(value) = lower(?)", word)
            found += [(name, value) for name, value in rows if name in names]
        for field in fields:
            if field.table != "spectra" or field.derived:
                found += [(field.name, value) for value in self.find(field, word)]
        return found

    def containing(self, fields: Sequence[Field], word: str) -> list[str]:
        """See `Values.containing`."""
        names = {field.name for field in fields if field.table == "spectra" and not field.derived}
        if not names or len(word) < 3:
            return []
        found = self._fetch(
            "SELECT DISTINCT field FROM field_values WHERE contains(lower(value), lower(?)) ORDER BY 1", word
        )
        return [name for (name,) in found if name in names][:3]

    def covers(self, wide: tuple[Field, str], narrow: Iterable[tuple[Field, str]]) -> bool:
        """See `Values.covers`."""
        for field, value in narrow:
            if field.table == VALUES:
                return False
            outside = f"{field.sql} = ? AND {wide[0].sql} IS DISTINCT FROM ?"
            if field.table == "spectra":
                outside += " AND status = 'active'"
            if self._fetch(f"SELECT 1 FROM {quoted(field.table)} WHERE {outside} LIMIT 1", value, wide[1]):
                return False
        return True
