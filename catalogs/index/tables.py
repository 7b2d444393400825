"""Content of an index file: rows of spectra with their words spelled out, small tables, and
statistics that let queries skip work.

Everything here writes through a connection that `index` opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from barospec.catalogs.query.resolve.fields import quoted
from barospec.schemas.vocabulary import ANNOTATIONS, BY_NAME, SPECTRUM_TERMS, Kind

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    from barospec.archive.store.repository import Store

VERSION = 5
BLOCK = 122_880  # rows of a row group of DuckDB
RECORDS = (
    "structures",
    "sites",
    "literature",
    "runs",
    "events",
    "saved",
    "models",
    "model_parameters",
    "derivations",
    "calculations",
    "series",
    "series_values",
)
SQL_TYPE: Mapping[Kind, str] = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "word": "VARCHAR",
    "text": "VARCHAR",
    "time": "TIMESTAMP",
}
# Columns of a row beside the terms: its location, its header, and the check numbers that ingest compares.
PLACE: Mapping[str, str] = {
    "grp": "VARCHAR",
    "row": "BIGINT",
    "header": "BIGINT",
    "content": "UBIGINT",
    "conditions": "UBIGINT",
}


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of an empty index."""
    columns = [*PLACE.items(), *((term.name, SQL_TYPE[term.kind]) for term in SPECTRUM_TERMS)]
    connection.execute(f"CREATE TABLE spectra ({', '.join(f'{quoted(name)} {sql}' for name, sql in columns)})")
    connection.execute("CREATE TABLE field_values (field VARCHAR, value VARCHAR, count BIGINT)")
    connection.execute("CREATE TABLE words (field VARCHAR, words VARCHAR[])")
    connection.execute("CREATE TABLE meta (key VARCHAR, value VARCHAR)")


def insert_rows(
    connection: duckdb.DuckDBPyConnection,
    root: Any,
    key: str,
    start: int,
    stop: int,
    written: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Insert rows of a group into ``spectra``, a block at a time; codes become words inside DuckDB.

    `written` has their columns as stored, if the writer still has them in memory: reading few rows back takes longer than
    all other work here.
    """
    from barospec.archive.store.read import read_columns, spectra_group
    from barospec.archive.store.table_schema import SPECTRUM_KINDS

    if start == stop:
        return
    group = spectra_group(root, key)
    words: dict[str, list[str]] = dict(connection.execute("SELECT field, words FROM words").fetchall())
    for first in range(start, stop, BLOCK):
        last = min(stop, first + BLOCK)
        stored = written or read_columns(group, first, last)
        arrays: dict[str, Any] = {}
        select, bound = ["?", f"{first} + range"], list[Any]([key])
        names = ["grp", "row"]
        for name, column in (("content", "row_sha256"), ("conditions", "conditions_sha256")):
            arrays[name] = stored[column][:, :8].copy().view("<u8")[:, 0]
            names.append(name)
            select.append(name)
        for name, kind in SPECTRUM_KINDS.items():
            if name not in stored or name == "grid":
                continue
            names.append(name)
            select.append(_decoded(name, kind))
            if kind == "word":
                arrays[name], used = compact_codes(stored[name])
                # Vocabularies only grow: one that has all codes is up to date.
                if used and used[-1] >= len(words.get(name, ())):
                    words[name] = _learn(connection, root, name)
                # Few rows use few of the words of a million rows, and binding words takes longer than looking them up.
                bound.append([words[name][code] for code in used])
            else:
                arrays[name] = stored[name].astype(object) if kind == "text" else stored[name]
        arrays["range"] = _arange(last - first)
        connection.register("block", arrays)
        connection.execute(
            f"INSERT INTO spectra ({', '.join(map(quoted, names))}) SELECT {', '.join(select)} FROM block", bound
        )
        connection.unregister("block")


def compact_codes(codes: NDArray[Any]) -> tuple[NDArray[Any], list[int]]:
    """Renumber codes among those that occur, and return these, ascending; negative ones, which mean missing, stay.

    >>> import numpy as np
    >>> compact_codes(np.array([7, -1, 3, 7]))
    (array([ 1, -1,  0,  1]), [3, 7])
    """
    import numpy as np

    used, places = np.unique(codes, return_inverse=True)
    missing = int(np.searchsorted(used, 0))
    return np.maximum(places - missing, -1), used[missing:].tolist()


def _learn(connection: duckdb.DuckDBPyConnection, root: Any, name: str) -> list[str]:
    """Read the words of a column's codes from the store, and keep them for the next time."""
    from barospec.archive.store.read import read_words

    words = read_words(root, name)
    connection.execute("DELETE FROM words WHERE field = ?", [name])
    connection.execute("INSERT INTO words VALUES (?, ?)", [name, words])
    return words


def _arange(count: int) -> Any:
    import numpy as np

    return np.arange(count)


def _decoded(name: str, kind: Kind) -> str:
    """Return SQL that converts a stored value into an index value, missing into NULL."""
    column = quoted(name)
    if kind == "number":
        return f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END"
    if kind == "word":
        return f"list_extract(?, {column} + 1)"
    if kind == "text":
        return f"nullif({column}, '')"
    missing = f"CASE WHEN {column} = {-(2**63) + 1} - 1 THEN NULL ELSE {column} END"
    return f"make_timestamp({missing})" if kind == "time" else missing


# Tables derived from others.
_TOGETHER = ({"structures", "sites", "bonds"}, {"models", "model_parameters"})


def load_records(connection: duckdb.DuckDBPyConnection, root: Any, written: Collection[str] | None = None) -> None:
    """Load the small tables whole: structures, their sites and bonds, literature values, runs, events, saved queries.

    Of tables that are in the index already, load only those `written` since.
    """
    from barospec.archive.store.read import read_table
    from barospec.archive.store.table_schema import TABLES

    wanted = set(written) if written is not None else {*RECORDS, "bonds"}
    wanted |= {table for tables in _TOGETHER if tables & wanted for table in tables}
    for table in (*RECORDS, "bonds"):
        if table not in wanted:
            continue
        kinds = TABLES[table]
        stored = read_table(root, table)
        arrays = {name: stored[name].astype(object) if kind == "text" else stored[name] for name, kind in kinds.items()}
        select = ", ".join(
            f"({_decoded(name, kind)})::{SQL_TYPE[kind]} AS {quoted(name)}" for name, kind in kinds.items()
        )
        connection.register("block", arrays)
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {select} FROM block")
        connection.unregister("block")
    if "models" in wanted:
        _widen_models(connection)
    if "bonds" in wanted:  # searchable by the conditions of their structure
        connection.execute(
            """CREATE OR REPLACE TABLE bonds AS
            SELECT b.*, s.material, s.space_group, s.pressure, s.pressure_sigma, s.temperature, s.source, s.status
            FROM bonds b JOIN structures s USING (structure_id, revision)"""
        )


def _widen_models(connection: duckdb.DuckDBPyConnection) -> None:
    """Add one column for each parameter that any model has."""
    from barospec.archive.ingest.models import fields_of

    asked = "SELECT DISTINCT name, coalesce(layer, ''), coalesce(bond, ''), unit FROM model_parameters ORDER BY ALL"
    rows = connection.execute(asked).fetchall()
    connection.execute("CREATE OR REPLACE TABLE model_fields (name VARCHAR, unit VARCHAR)")
    taken = {row[0] for row in connection.execute("DESCRIBE models").fetchall()}
    fields, units = fields_of((row[0], row[1], row[2]) for row in rows), dict[str, str]()
    for name, layer, bond, unit in rows:
        column = fields[name, layer, bond]
        if column in taken or units.setdefault(column, unit) != unit:
            continue  # a name with another meaning, or with two units: model_parameters still has it
        connection.execute(f"ALTER TABLE models ADD COLUMN IF NOT EXISTS {quoted(column)} DOUBLE")
        connection.execute(
            f"""UPDATE models SET {quoted(column)} = p.value FROM model_parameters p
            WHERE p.model_id = models.model_id AND p.revision = models.revision
            AND p.name = ? AND coalesce(p.layer, '') = ? AND coalesce(p.bond, '') = ? AND p.unit = ?""",
            [name, layer, bond, unit],
        )
    if units:
        connection.executemany("INSERT INTO model_fields VALUES (?, ?)", [list(item) for item in units.items()])


_WORDS = tuple(term.name for term in SPECTRUM_TERMS if term.kind == "word" and term.name != "status")


def _values_of() -> str:
    parts = [
        f"SELECT '{name}' AS field, {quoted(name)} AS value, count(*) FILTER (WHERE status = 'active') AS count FROM spectra "
        f"WHERE status IN ('active', 'withdrawn') AND {quoted(name)} IS NOT NULL GROUP BY 2"
        for name in _WORDS
    ]
    return " UNION ALL ".join(parts)


def count_values(connection: duckdb.DuckDBPyConnection) -> None:
    """Count how often each word occurs among active rows; a word of withdrawn rows only is known, with count 0."""
    connection.execute("DELETE FROM field_values")
    connection.execute(f"INSERT INTO field_values {_values_of()}")


def add_values(
    connection: duckdb.DuckDBPyConnection, group: str, start: int, stop: int, lacking: Collection[str]
) -> None:
    """Add the words of appended rows to the counts, without reading the others, nor fields that none of them has."""
    words = ", ".join(quoted(name) for name in _WORDS if name not in lacking)
    if not words:
        return
    # Few rows: unpivoted and counted once, which is faster than 35 passes over them.
    added = f"""SELECT field, value, count(*) AS count FROM (
        UNPIVOT (SELECT {words} FROM spectra WHERE row >= {start:d} AND row < {stop:d} AND grp = ? AND status = 'active')
        ON COLUMNS(*) INTO NAME field VALUE value) GROUP BY field, value"""
    connection.execute(
        f"""CREATE OR REPLACE TABLE field_values AS SELECT field, value, sum(count)::BIGINT AS count
        FROM (SELECT * FROM field_values UNION ALL {added}) GROUP BY field, value""",
        [group],
    )


_UNCERTAIN = tuple(
    (term.name, term.sigma, [name for end in ("before", "after") if (name := f"{term.name}_{end}") in BY_NAME])
    for term in SPECTRUM_TERMS
    if term.sigma
)


def measure(
    connection: duckdb.DuckDBPyConnection, group: str = "", rows: Sequence[int] | None = None
) -> tuple[set[str], set[str]]:
    """Measure the statistics that let queries skip work, over all rows or, in addition to stored ones, over some rows of a group.

    They are the largest uncertainties (see `ArchiveSchema`), the fields that every row has, and whether all rows are active.
    Old values of edited rows stay included: the bounds are right, if wider than necessary.

    Returns
    -------
    complete, empty : set of str
        The fields that every one of these rows has, and those that none has.
    """
    if rows is not None and not rows:
        return set(), set()
    select = []
    for name, sigma, readings in _UNCERTAIN:
        value, spread = quoted(name), f"coalesce({quoted(sigma)}, 0)"
        others = "".join(f", {quoted(reading)}" for reading in readings)
        select += [
            f"max({value} - least({value} - {spread}{others}))",
            f"max(greatest({value} + {spread}{others}) - {value})",
        ]
    # Annotations change without any row being written.
    names = [term.name for term in SPECTRUM_TERMS if term.name not in ANNOTATIONS]
    select += [f"count({quoted(name)})" for name in names]
    select += ["count(*)", "count(*) FILTER (WHERE status = 'active')"]
    where = f"WHERE grp = '{group}' AND row >= {rows[0]:d} AND row <= {rows[-1]:d}" if rows else ""
    found = connection.execute(f"SELECT {', '.join(select)} FROM spectra {where}").fetchall()[0]
    before = dict(connection.execute("SELECT key, value FROM meta").fetchall()) if rows is not None else {}
    meta: dict[str, str] = {}
    for number, (name, _, _) in enumerate(_UNCERTAIN):
        ends = [float(end or 0.0) for end in found[2 * number : 2 * number + 2]]
        known = map(float, before.get(f"reach:{name}", "0 0").split())
        meta[f"reach:{name}"] = " ".join(repr(max(pair)) for pair in zip(ends, known, strict=True))
    *counts, every, active = found[2 * len(_UNCERTAIN) :]
    complete = {name for name, count in zip(names, counts, strict=True) if count == every}
    empty = {name for name, count in zip(names, counts, strict=True) if count == 0}
    for what, names_here in (("complete", complete), ("empty", empty)):
        meta[what] = " ".join(sorted(names_here & set(before[what].split()) if before else names_here))
    meta["all_active"] = "yes" if active == every and before.get("all_active", "yes") == "yes" else "no"
    connection.execute("DELETE FROM meta")
    _write_meta(connection, meta)
    return complete, empty


def _write_meta(connection: duckdb.DuckDBPyConnection, meta: Mapping[str, str]) -> None:
    connection.execute("INSERT INTO meta SELECT unnest(?), unnest(?)", [list(meta), list(meta.values())])


def stamp(connection: duckdb.DuckDBPyConnection, store: Store, snapshot: str, *, in_order: bool) -> None:
    """Record archive, snapshot, and whether the rows are in the store's order; done last.

    The digest covers everything that the index states about itself, see `contradiction`.
    """
    # `made` differs for every file, so that no cached content of one file is used for another.
    rows = {"snapshot": snapshot, "uuid": store.uuid, "index_version": str(VERSION), "made": uuid4().hex}
    rows["in_order"] = "yes" if in_order else "no"
    connection.execute("DELETE FROM meta WHERE key IN (SELECT unnest(?))", [[*rows, "digest"]])
    _write_meta(connection, rows)
    _write_meta(connection, {"digest": _digest(_meta(connection))})


def contradiction(connection: duckdb.DuckDBPyConnection, uuid: str, snapshot: str) -> str:
    """Return why an index is not of this archive and snapshot; "" if it is."""
    meta = _meta(connection)
    if meta.get("uuid") != uuid:
        return f"is of another archive ({meta.get('uuid')}, not {uuid})"
    if meta.get("snapshot") != snapshot:
        return f"is of another snapshot ({meta.get('snapshot')}, not {snapshot})"
    return "" if meta.pop("digest", "") == _digest(meta) else "was changed after it was made"


def _meta(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def _digest(meta: Mapping[str, str]) -> str:
    return sha256(repr(sorted(meta.items())).encode()).hexdigest()
