"""What can be asked in one archive: its fields, the values they have, its saved queries.

The vocabulary says what a field means; the index says which columns and values there are. Values are
looked up when a query needs them, never loaded as a whole: an archive may have ten thousand runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as _default
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from barospec.catalogs.derived_names import ADDRESS, matches
from barospec.schemas.units import find_unit
from barospec.schemas.vocabulary import BY_NAME, SPECTRUM_LEVELS, Term

# Which table answers for which noun. A noun whose table is not in the index has nothing to offer yet.
TABLES = {
    "runs": "spectra",
    "spectra": "spectra",
    "scans": "spectra",
    "samples": "spectra",
    "structures": "structures",
    "bonds": "bonds",
    "literature": "literature",
    "models": "models",
}

# Words for which several fields are meant in equal measure: asking back is the only honest answer.
AMBIGUOUS: Mapping[str, tuple[str, ...]] = {
    "spin": ("local_moment", "effective_spin", "formal_spin"),
    "energy": ("edge_energy", "white_line_energy", "energy_min", "energy_max", "excitation_energy"),
}

MOST_VALUES = 200


class Connection(Protocol):
    """The part of a DuckDB connection that the query language uses."""

    def execute(self, query: str, parameters: Any = None) -> Any:
        """Run a statement."""

    def cursor(self) -> Any:
        """A second connection to the same database."""


INCLUDABLE = ("stale", "uncalibrated", "bad")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a field that holds derived values has beside a column; see `catalogs.derived_index`.

    Parameters
    ----------
    derivation, output, operator, chain : str
        The set and what it computes.
    state, other : str
        SQL: 0 fresh, 1 stale, NULL never computed; and the value where it is not served.
    absolute : bool
        Whether it is an energy that needs a calibrated axis.
    reasons : tuple of str
        Of a reason code, what the numbers mean.
    """

    derivation: str
    output: str
    operator: str
    chain: str
    state: str
    other: str
    absolute: bool = False
    reasons: tuple[str, ...] = ()

    def sql(self, served: str, include: Collection[str]) -> str:
        """The value, with what is left out otherwise where that is asked for."""
        if "stale" in include and ("uncalibrated" in include or not self.absolute):
            return f"coalesce({served}, {self.other})"
        if "stale" in include:
            calibrated = f"coalesce({quoted('energy_calibration')} IN ('foil', 'reference'), FALSE)"
            return f"coalesce({served}, CASE WHEN {self.state} = 1 AND {calibrated} THEN {self.other} END)"
        if "uncalibrated" in include and self.absolute:
            return f"coalesce({served}, CASE WHEN {self.state} = 0 THEN {self.other} END)"
        return served


@dataclass(frozen=True, slots=True)
class Field:
    """Something that can be searched.

    Parameters
    ----------
    name : str
        As in answers.
    kind : str
        ``number``, ``integer``, ``word``, ``text`` or ``time``.
    sql : str
        The column, quoted, or an expression that the index itself supplies. Never made from query text.
    unit, meaning : str
    sigma : str
        Name of the field that holds the standard uncertainty; empty when there is none.
    applies : mapping
        Other fields and the values they must have for this one to be applicable.
    table : str
        Table of the index.
    allowed : tuple of str
        All values the vocabulary knows for a word.
    aliases : tuple of str
    """

    name: str
    kind: str
    sql: str
    unit: str = ""
    meaning: str = ""
    sigma: str = ""
    applies: Mapping[str, tuple[str, ...]] = _default(default_factory=dict)
    table: str = "spectra"
    allowed: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    derived: bool = False
    stored: Stored | None = None

    @property
    def dimension(self) -> str:
        """What the unit measures; empty for plain numbers and strings."""
        unit = find_unit(self.unit) if self.unit else None
        return unit.dimension if unit and unit.dimension != "number" else ""


class Values(Protocol):
    """Where the values of word fields are looked up."""

    def of(self, field: Field, like: str = "") -> list[str]:
        """Values of the field, those most like `like` first, at most `MOST_VALUES`."""

    def find(self, field: Field, word: str) -> list[str]:
        """Values of the field that equal `word`, whatever the case."""

    def close(self, fields: Sequence[Field], word: str) -> list[str]:
        """Values of any of the fields that look most like `word`."""

    def readings(self, fields: Sequence[Field], word: str) -> list[tuple[str, str]]:
        """(field name, value) of every word field in which `word` occurs, whatever the case."""

    def containing(self, fields: Sequence[Field], word: str) -> list[str]:
        """Names of fields in whose values `word` occurs as a part, whatever the case; a few at most."""

    def covers(self, wide: tuple[Field, str], narrow: Iterable[tuple[Field, str]]) -> bool:
        """Whether all rows of the narrow readings are among the rows of the wide one."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that `resolve` knows about an archive; see `known_from`.

    ``reach`` tells how far at most the uncertainty of any row reaches below and above the value of a field,
    ``complete`` which fields no spectrum lacks, ``empty`` which none has, ``all_active`` that none was withdrawn or superseded. Where
    nothing is told, answers are the same and take longer.
    """

    fields: Mapping[str, Mapping[str, Field]]
    values: Values
    snapshot: str = ""
    saved: Mapping[str, Any] = _default(default_factory=dict)
    hides_parents: bool = False
    reach: Mapping[str, tuple[float, float]] = _default(default_factory=dict)
    complete: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    all_active: bool = False
    flagged: bool = False

    def including(self, include: Collection[str]) -> Known:
        """The same with derived fields that also give stale values or energies of uncalibrated axes."""
        if not set(include) & {"stale", "uncalibrated"}:
            return self
        spectra = {
            name: replace(field, sql=field.stored.sql(field.sql, include)) if field.stored else field
            for name, field in self.fields["spectra"].items()
        }
        # How far uncertainties reach was measured among the values that are served.
        reach = {name: ends for name, ends in self.reach.items() if not spectra[name].derived}
        return replace(self, fields={**self.fields, "spectra": spectra}, reach=reach)

    def addressed(self, table: str, name: str) -> list[Field]:
        """The fields that ``output[...]`` can mean: those of the sets that the brackets name."""
        match = ADDRESS.fullmatch(name)
        if match is None:
            return []
        said, inside = match[1].casefold(), match[2]
        fields = [field for field in self.fields.get(table, {}).values() if field.stored]
        exact = [field for field in fields if field.name.casefold() == name.strip().casefold()]
        return exact or [
            field
            for field in fields
            if field.stored
            and (said == field.stored.output.casefold() or said in field.aliases)
            and matches(inside, derivation=field.stored.derivation, chain=field.stored.chain)
        ]

    def find(self, table: str, name: str) -> Field | None:
        """The field of that name or alias, however capitalized; spaces and hyphens count as underscores."""
        if "[" in name:
            found = self.addressed(table, name)
            return found[0] if len(found) == 1 else None
        key = name.strip().casefold().replace(" ", "_").replace("-", "_")
        fields = self.fields.get(table, {})
        if key in fields:
            return fields[key]
        return next((f for f in fields.values() if key == f.name.casefold() or key in f.aliases), None)

    def of_dimension(self, table: str, dimension: str) -> list[Field]:
        """The fields that are measured in units of that dimension."""
        return [f for f in self.fields.get(table, {}).values() if f.dimension == dimension]


def quoted(name: str) -> str:
    """A column name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def known_from(connection: Connection, saved: Mapping[str, Any] | None = None) -> Known:
    """Read from an index what can be asked of it.

    Parameters
    ----------
    connection : duckdb connection
        To an index with the tables ``spectra``, ``field_values`` and ``meta``, and optionally ``structures``,
        ``bonds``, ``literature``, ``models``, ``derived_fields``. Missing numbers are NULL, never NaN.
    saved : mapping of str to (str or dict), optional
        Saved queries, instead of those in the index: text, or the structured form of `structured.to_dict`.

    Returns
    -------
    Known
    """
    key = _FILES.get(connection)
    if key not in _KNOWN:
        meta = _meta(connection)
        key = _key(meta)
        if None in key:
            return _read(connection, meta, saved)
        _FILES[connection] = key
        if key not in _KNOWN:
            while len(_KNOWN) >= MOST_KNOWN:
                _KNOWN.pop(next(iter(_KNOWN)), None)
            _KNOWN[key] = (_read(connection, meta, None), {})
    found, looked_up = _KNOWN[key]
    return replace(found, values=IndexValues(connection, looked_up), saved=found.saved if saved is None else saved)


def same_file(connection: Connection, other: Connection) -> None:
    """Tell that `connection` is to the same index file as `other`, so that it need not be asked which."""
    if other not in _FILES:
        key = _key(_meta(other))
        if None in key:
            return
        _FILES[other] = key
    _FILES[connection] = _FILES[other]


def known_now(connection: Connection) -> Known:
    """What can be asked of an index that is still being made: nothing of it is remembered."""
    return _read(connection, {}, None)


def _key(meta: Mapping[str, str]) -> tuple[Any, ...]:
    """What tells an index file from all others."""
    return (meta.get("uuid"), meta.get("snapshot"), meta.get("made"))


def _meta(connection: Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


# An index never changes: what was read of it, and looked up in it, holds for every connection to it.
_KNOWN: dict[tuple[Any, ...], tuple[Known, dict[Any, Any]]] = {}
# Which file a connection is to; asking it takes as long as planning any other statement.
_FILES: WeakKeyDictionary[Connection, tuple[Any, ...]] = WeakKeyDictionary()
MOST_KNOWN = 8
MOST_LOOKED_UP = 10_000


def _read(connection: Connection, meta: Mapping[str, str], saved: Mapping[str, Any] | None) -> Known:
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE NOT internal AND database_name = current_database() ORDER BY column_index"
    ).fetchall():
        columns.setdefault(table, {})[column] = kind
    fields = {
        table: {name: made for name, kind in columns[table].items() if (made := _field(table, name, kind, columns))}
        for table in dict.fromkeys(TABLES.values())
        if table in columns
    }
    if "model_fields" in columns and "models" in fields:
        for name, unit in connection.execute("SELECT name, unit FROM model_fields").fetchall():
            fields["models"][name] = Field(name, "number", quoted(name), "" if unit == "1" else unit, table="models")
    if "derived_fields" in columns:
        fields["spectra"].update(_derived(connection, columns))
    reach = {}
    for key, value in meta.items():
        if key.startswith("reach:"):
            below, above = map(float, value.split())
            reach[key.removeprefix("reach:")] = (below, above)
    return Known(
        fields=fields,
        values=IndexValues(connection, {}),
        snapshot=meta.get("snapshot", ""),
        saved=_saved(connection, columns) if saved is None else saved,
        hides_parents="merged_into" in columns.get("spectra", {}),
        reach=reach,
        complete=frozenset([*meta.get("complete", "").split(), *json.loads(meta.get("complete_derived", "[]"))]),
        empty=frozenset(meta.get("empty", "").split()),
        all_active=meta.get("all_active") == "yes",
        # An index that does not say, as one that is being made, has to be looked at.
        flagged="flag" in columns.get("spectra", {}) and meta.get("flagged", "yes") == "yes",
    )


def _saved(connection: Connection, columns: Mapping[str, Any]) -> dict[str, str]:
    """The queries saved in the archive, by name: of each the newest revision, unless that removed it."""
    if "saved" not in columns:
        return {}
    newest = "SELECT name, arg_max(query, revision) FROM saved GROUP BY name HAVING arg_max(status, revision) = ?"
    return dict(connection.execute(newest, ["active"]).fetchall())


def _field(table: str, name: str, kind: str, columns: dict[str, dict[str, str]]) -> Field | None:
    term: Term | None = BY_NAME.get(name)
    if table == "spectra" and (term is None or term.level not in SPECTRUM_LEVELS):
        return None
    if term is None:
        return Field(name, _kind(kind), quoted(name), table=table)
    return Field(
        name=name,
        kind=term.kind,
        sql=quoted(name),
        unit=term.unit,
        meaning=term.meaning,
        sigma=term.sigma if term.sigma in columns[table] else "",
        applies=term.applies if table == "spectra" else {},
        table=table,
        allowed=term.allowed,
        aliases=tuple(alias.casefold() for alias in term.aliases),
    )


def _kind(duckdb_type: str) -> str:
    if duckdb_type in ("DOUBLE", "FLOAT"):
        return "number"
    if duckdb_type.startswith("TIMESTAMP"):
        return "time"
    return "integer" if "INT" in duckdb_type else "word"


def _derived(connection: Connection, columns: dict[str, dict[str, str]]) -> dict[str, Field]:
    """Derived values: fields of spectra like any other, with the operator's unit and uncertainty."""
    there = columns["derived_fields"]
    wanted = ("name", "unit", "sigma_column", "meaning", "sql", "technique", *STORED)
    select = ", ".join(quoted(name) if name in there else f"NULL AS {name}" for name in wanted)
    found: dict[str, Field] = {}
    for values in connection.execute(f"SELECT {select} FROM derived_fields").fetchall():
        row = dict(zip(wanted, values, strict=True))
        name, stored = row["name"], _stored(row)
        found[name] = Field(
            name=name,
            kind=_kind(columns["spectra"].get(_column(stored) if stored else name, "DOUBLE")),
            sql=row["sql"] or quoted(name),
            unit="" if row["unit"] in (None, "1") else row["unit"],
            meaning=row["meaning"] or "",
            sigma=row["sigma_column"] or "",
            applies={"technique": (row["technique"],)} if row["technique"] else {},
            # "kbeta_prime" means what the operator of that name gives first.
            aliases=(row["operator"],) if row["main"] and row["preferred"] and row["operator"] != name else (),
            derived=True,
            stored=stored,
        )
    for made in list(found.values()):
        if made.sigma and made.sigma not in found:
            found[made.sigma] = Field(
                made.sigma,
                "number",
                quoted(made.sigma),
                made.unit,
                f"Uncertainty of {made.name}.",
                derived=True,
            )
    return found


STORED = ("derivation", "output", "operator", "chain", "state", "other", "absolute", "reasons", "main", "preferred")


def _column(stored: Stored) -> str:
    return f"{stored.derivation}:{stored.output}"


def _stored(row: Mapping[str, Any]) -> Stored | None:
    if not row["derivation"]:
        return None
    reasons = tuple(json.loads(row["reasons"])) if row["reasons"] else ()
    named = {name: row[name] for name in ("derivation", "output", "operator", "chain", "state", "other")}
    return Stored(**named, absolute=bool(row["absolute"]), reasons=reasons)


class IndexValues:
    """Values of word fields, from ``field_values`` for spectra and from the table itself otherwise."""

    def __init__(self, connection: Connection, looked_up: dict[Any, Any]) -> None:
        self._connection = connection
        self._looked_up = looked_up

    def _fetch(self, sql: str, *parameters: Any) -> list[Any]:
        key = (sql, *parameters)
        found: list[Any] | None = self._looked_up.get(key)
        if found is None:
            found = list(self._connection.execute(sql, list(parameters)).fetchall())
            if len(self._looked_up) < MOST_LOOKED_UP:
                self._looked_up[key] = found
        return found

    @staticmethod
    def _source(field: Field) -> tuple[str, list[str]]:
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
            outside = f"{field.sql} = ? AND {wide[0].sql} IS DISTINCT FROM ?"
            if field.table == "spectra":
                outside += " AND status = 'active'"
            if self._fetch(f"SELECT 1 FROM {quoted(field.table)} WHERE {outside} LIMIT 1", value, wide[1]):
                return False
        return True
