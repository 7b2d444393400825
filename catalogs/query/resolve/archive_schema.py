"""Schema of an archive for queries: its fields, their values, its saved queries.

The vocabulary defines the meanings of fields; the index has the columns and values. Values are
looked up when a query needs them, never loaded as a whole: an archive may have ten thousand runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as _default
from threading import Lock
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from barospec.catalogs.query.resolve.derived_names import ADDRESS, matches
from barospec.catalogs.query.resolve.derived_rows import COMPLETE, fields_of, listed_values, quantities, source
from barospec.catalogs.query.resolve.fields import VALUES, Connection, Field, Stored, quoted
from barospec.catalogs.query.resolve.known_values import IndexValues
from barospec.catalogs.query.resolve.missing_pressure import TABLE
from barospec.schemas.errors import NotFound, did_you_mean
from barospec.schemas.vocabulary import BY_NAME, SPECTRUM_LEVELS, Term

# Table of each noun. A noun whose table is not in the index finds nothing yet.
TABLES = {
    "runs": "spectra",
    "spectra": "spectra",
    "scans": "spectra",
    "samples": "spectra",
    "derived values": VALUES,
    "structures": "structures",
    "bonds": "bonds",
    "literature": "literature",
    "models": "models",
}

# Words that fit several fields equally: the query must name one.
AMBIGUOUS: Mapping[str, tuple[str, ...]] = {
    "spin": ("local_moment", "effective_spin", "formal_spin"),
    "energy": ("edge_energy", "white_line_energy", "energy_min", "energy_max", "excitation_energy"),
}


class Values(Protocol):
    """Lookup of the values of word fields."""

    def of(self, field: Field, like: str = "") -> list[str]:
        """Return values of the field, those most like `like` first, at most `MOST_VALUES`."""

    def find(self, field: Field, word: str) -> list[str]:
        """Return values of the field that equal `word`, ignoring case."""

    def close(self, fields: Sequence[Field], word: str) -> list[str]:
        """Return values of any of the fields that look most like `word`."""

    def readings(self, fields: Sequence[Field], word: str) -> list[tuple[str, str]]:
        """Return (field name, value) of every word field in which `word` occurs, ignoring case."""

    def containing(self, fields: Sequence[Field], word: str) -> list[str]:
        """Return names of fields in whose values `word` occurs as a part, ignoring case; a few at most."""

    def covers(self, wide: tuple[Field, str], narrow: Iterable[tuple[Field, str]]) -> bool:
        """Return True if all rows of the narrow readings are among the rows of the wide one."""


@dataclass(frozen=True, slots=True)
class ArchiveSchema:
    """Everything that `resolve` knows about an archive; see `known_from`.

    ``reach`` is the largest extent of the uncertainty of any row below and above the value of a field,
    ``complete`` names the fields that every spectrum has, ``empty`` those that none has, ``all_active`` states that none was withdrawn or superseded, ``apart``
    that the spectra without a pressure have a table of their own, ``in_order`` that rows are in the store's order. Without these
    statements answers are the same and take longer.
    ``sources`` has the statements of tables that an index does not store, but computes.
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
    sources: Mapping[str, str] = _default(default_factory=dict)
    apart: bool = False
    in_order: bool = False

    def source(self, table: str) -> str:
        """Return the SQL source of a table's rows: its name, or the statement that computes them."""
        return self.sources.get(table) or quoted(table)

    def including(self, include: Collection[str]) -> ArchiveSchema:
        """Return the same with derived fields that also give stale values or energies of uncalibrated axes."""
        if not set(include) & {"stale", "uncalibrated"}:
            return self
        spectra = {
            name: replace(field, sql=field.stored.sql(field.sql, include)) if field.stored else field
            for name, field in self.fields["spectra"].items()
        }
        # The reach of uncertainties was measured among the served values.
        reach = {name: ends for name, ends in self.reach.items() if not spectra[name].derived}
        fields = {**self.fields, "spectra": spectra}
        if VALUES in fields:
            fields[VALUES] = fields_of(spectra)
        return replace(self, fields=fields, reach=reach)

    def addressed(self, table: str, name: str) -> list[Field]:
        """Return the possible fields of ``output[...]``: those of the sets that the brackets name."""
        match = ADDRESS.fullmatch(name)
        if match is None:
            return []
        output, inside = match[1].casefold(), match[2]
        fields = [field for field in self.fields.get(table, {}).values() if field.stored]
        exact = [field for field in fields if field.name.casefold() == name.strip().casefold()]
        return exact or [
            field
            for field in fields
            if field.stored
            and (output == field.stored.output.casefold() or output in field.aliases)
            and matches(inside, derivation=field.stored.derivation, chain=field.stored.chain)
        ]

    def find(self, table: str, name: str) -> Field | None:
        """Return the field of that name or alias, ignoring case; spaces and hyphens count as underscores."""
        if "[" in name:
            found = self.addressed(table, name)
            return found[0] if len(found) == 1 else None
        fields = self.fields.get(table, {})
        key = name if name in fields else name.strip().casefold().replace(" ", "_").replace("-", "_")
        if key in fields:
            return fields[key]
        return next((f for f in fields.values() if key == f.name.casefold() or key in f.aliases), None)

    def of_dimension(self, table: str, dimension: str) -> list[Field]:
        """Return the fields with units of that dimension."""
        return [f for f in self.fields.get(table, {}).values() if f.dimension == dimension]


def known_from(connection: Connection, saved: Mapping[str, Any] | None = None) -> ArchiveSchema:
    """Read the searchable fields and values from an index.

    Parameters
    ----------
    connection : duckdb connection
        To an index with the tables ``spectra``, ``field_values`` and ``meta``, and optionally ``structures``,
        ``bonds``, ``literature``, ``models``, ``derived_fields``. Missing numbers are NULL, never NaN.
    saved : mapping of str to (str or dict), optional
        Saved queries, instead of those in the index: text, or the structured form of `ast_json.to_dict`.

    Returns
    -------
    ArchiveSchema
    """
    key = _FILES.get(connection)
    held = _KNOWN.get(key) if key is not None else None
    if held is None:
        meta = _meta(connection)
        key = _key(meta)
        if None in key:
            return _read(connection, meta, saved)
        held = _KNOWN.get(key) or (_read(connection, meta, None), {})
        with _KEEPING:
            _FILES[connection] = key
            while len(_KNOWN) >= MOST_KNOWN and key not in _KNOWN:
                del _KNOWN[next(iter(_KNOWN))]
            held = _KNOWN.setdefault(key, held)
    found, looked_up = held
    assert isinstance(found.values, IndexValues)  # set by `_read`
    values = found.values.again(connection, looked_up)
    return replace(found, values=values, saved=found.saved if saved is None else saved)


def same_file(connection: Connection, other: Connection) -> None:
    """Declare that `connection` is to the same index file as `other`, which saves a query."""
    key = _FILES.get(other) or _key(_meta(other))
    if None not in key:
        with _KEEPING:
            _FILES[other] = _FILES[connection] = key


def known_now(connection: Connection) -> ArchiveSchema:
    """Read the schema of an unfinished index: nothing is cached."""
    return _read(connection, {}, None)


def _key(meta: Mapping[str, str]) -> tuple[Any, ...]:
    """Return the key that identifies an index file."""
    return (meta.get("uuid"), meta.get("snapshot"), meta.get("made"))


def _meta(connection: Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


# An index never changes: what was read or looked up in it is valid for every connection to it.
_KNOWN: dict[tuple[Any, ...], tuple[ArchiveSchema, dict[Any, Any]]] = {}
# Index file of each connection; the query for it takes as long as planning any other statement.
_FILES: WeakKeyDictionary[Connection, tuple[Any, ...]] = WeakKeyDictionary()
MOST_KNOWN = 8
_KEEPING = Lock()


def _read(connection: Connection, meta: Mapping[str, str], saved: Mapping[str, Any] | None) -> ArchiveSchema:
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
    sources, listed = {}, {}
    runs = {name for (name,) in connection.execute("SELECT name FROM series").fetchall()} if "series" in columns else ()
    if listed_fields := quantities(fields.get("spectra", {}), runs):
        fields[VALUES], listed = fields_of(fields["spectra"]), listed_values(listed_fields)
        sources[VALUES] = source(fields["spectra"], listed_fields)
    reach = {}
    for key, value in meta.items():
        if key.startswith("reach:"):
            below, above = map(float, value.split())
            reach[key.removeprefix("reach:")] = (below, above)
    return ArchiveSchema(
        fields=fields,
        values=IndexValues(connection, {}, listed),
        snapshot=meta.get("snapshot", ""),
        saved=_saved(connection, columns) if saved is None else saved,
        hides_parents="merged_into" in columns.get("spectra", {}),
        reach=reach,
        complete=frozenset(
            [*meta.get("complete", "").split(), *COMPLETE, *json.loads(meta.get("complete_derived", "[]"))]
        ),
        empty=frozenset(meta.get("empty", "").split()),
        all_active=meta.get("all_active") == "yes",
        # An index without that statement, such as an unfinished one, must be searched.
        flagged="flag" in columns.get("spectra", {}) and meta.get("flagged", "yes") == "yes",
        sources=sources,
        in_order=meta.get("in_order") == "yes",
        apart=TABLE in columns and bool(meta),  # an unfinished index states nothing
    )


def _saved(connection: Connection, columns: Mapping[str, Any]) -> dict[str, str]:
    """Return the saved queries of the archive by name: the newest revision of each, unless that removed it."""
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
    """Return derived values as fields of spectra, with the operator's unit and uncertainty."""
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
            # "kbeta_prime" means the first output of the operator of that name.
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


def stored_field(known: ArchiveSchema, name: str) -> Field:
    """Return the derived field of that name. Raise NotFound with the existing names."""
    found = known.find("spectra", name)
    if found is None or found.stored is None:
        there = [field.name for field in known.fields["spectra"].values() if field.stored]
        hint = did_you_mean(name, there) or (f" Stored: {', '.join(there)}." if there else " No values are stored yet.")
        raise NotFound(f'no values are stored as "{name}".{hint} `barospec derive` lists them.')
    return found
