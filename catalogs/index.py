"""The metadata index: one immutable DuckDB file per snapshot, replayed from an older one or rebuilt.

Only this module imports duckdb. Opening an index that is there imports neither zarr nor icechunk; those are
needed, and imported, only when one has to be made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import duckdb

from barospec.archive.head import Location
from barospec.schemas.errors import StoreError
from barospec.schemas.vocabulary import BY_NAME, SETTABLE, SPECTRUM_TERMS, TERMS, Kind

if TYPE_CHECKING:
    from barospec.archive.ingest import Known
    from barospec.archive.store import Store

VERSION = 2
KEEP = 3
BLOCK = 200_000
SQL_TYPE: Mapping[Kind, str] = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "word": "VARCHAR",
    "text": "VARCHAR",
    "time": "TIMESTAMP",
}
# What a row carries beside the terms: its place, its header, and the check numbers that ingest compares.
PLACE: Mapping[str, str] = {
    "grp": "VARCHAR",
    "row": "BIGINT",
    "header": "BIGINT",
    "content": "UBIGINT",
    "conditions": "UBIGINT",
}
# DuckDB draws a progress bar on stdout when a statement takes two seconds; stdout belongs to results.
QUIET = "SET enable_progress_bar = false"
RECORDS = ("structures", "sites", "literature", "runs", "events", "saved", "models", "model_parameters")


def fingerprint() -> str:
    """Changes whenever the index's columns do, so that an index of other columns is never opened."""
    columns = [VERSION, *((term.name, term.kind) for term in TERMS), *PLACE.items()]
    return hashlib.sha256(repr(columns).encode()).hexdigest()[:8]


def folder(location: Location) -> Path:
    """Where index files of this archive are: beside the store, or in the user's cache where that is read-only."""
    beside = location.index / fingerprint()
    if os.access(beside if beside.exists() else location.root, os.W_OK):
        return beside
    from platformdirs import user_cache_path

    cached: Path = user_cache_path("barospec") / location.uuid / fingerprint()
    return cached


def index_path(location: Location, snapshot: str) -> Path:
    """The index file of a snapshot; it exists or has to be made by `publish`."""
    name = f"index-{snapshot}.duckdb"
    beside = location.index / fingerprint() / name
    return beside if beside.exists() else folder(location) / name


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to an index file; closes itself at the end of a ``with``.

    Raises FileNotFoundError when it is not there (any more), StoreError when it is damaged.
    """
    try:
        connection = duckdb.connect(str(path), read_only=True)
        connection.execute(QUIET)
        return connection
    except duckdb.Error as error:
        if not path.exists():
            raise FileNotFoundError(path) from None
        raise StoreError(
            f"{path} cannot be opened ({str(error).splitlines()[0]}). Run `barospec index rebuild`."
        ) from None


# Opening a file of a million rows takes 15 ms, a further connection to it nothing.
_OPEN: dict[Path, tuple[int, int, duckdb.DuckDBPyConnection]] = {}
_OPENING = Lock()
MOST_OPEN = 4


def shared(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection as from `connect`, of a database that stays open in this process for the next call."""
    inode = path.stat().st_ino
    with _OPENING:
        process, was, base = _OPEN.pop(path, (0, 0, None))
        if base is not None and process == os.getpid() and was != inode:  # made anew by `index rebuild`
            base.close()
        if base is None or (process, was) != (os.getpid(), inode):
            base = connect(path)
        _OPEN[path] = os.getpid(), inode, base
        while len(_OPEN) > MOST_OPEN:
            process, _, old = _OPEN.pop(next(iter(_OPEN)))
            if process == os.getpid():  # after a fork they belong to the parent
                old.close()
        return base.cursor()


def publish(store: Store, snapshot: str, *, rebuild: bool = False) -> Path:
    """Make the index of a snapshot if it is not there; returns its path.

    Replays what changed since the nearest ancestor that has an index; builds from the arrays where there is none.
    The file appears under its name only when it is complete.
    """
    target = index_path(store.location, snapshot)
    if target.exists() and not rebuild:
        return target
    where = folder(store.location)
    where.mkdir(parents=True, exist_ok=True)
    target = where / target.name
    part = where / f".{target.name}.{os.getpid()}.part"
    try:
        if rebuild or not _replay(store, snapshot, part):
            part.unlink(missing_ok=True)
            _build(store, snapshot, part)
        part.replace(target)
    finally:
        for left in (part, part.with_name(part.name + ".wal")):
            left.unlink(missing_ok=True)
    _prune(store, where, snapshot)
    return target


def _build(store: Store, snapshot: str, path: Path) -> None:
    from barospec.archive.layout import count_rows, group_paths, spectra_group

    root = store.read(snapshot)
    with _writing(path) as connection:
        _create_tables(connection)
        for key in group_paths(root):
            _insert_rows(connection, root, key, 0, count_rows(spectra_group(root, key)))
        _load_records(connection, root)
        _count_values(connection)
        _measure(connection)
        _stamp(connection, store, snapshot)


def _replay(store: Store, snapshot: str, path: Path) -> bool:
    """Copy the nearest ancestor's index and apply the commits since; False when that cannot be done."""
    commits = []
    for commit in store.history(snapshot):
        if "appended" not in commit.metadata:
            return False
        commits.append(commit)
        base = index_path(store.location, commit.parent) if commit.parent else None
        if base is not None and base.exists():
            break
    else:
        return False
    appended: dict[str, list[tuple[int, int]]] = {}
    edited: dict[str, set[int]] = {}
    for commit in reversed(commits):
        for group, (start, stop) in commit.metadata["appended"].items():
            appended.setdefault(group.removeprefix("spectra/"), []).append((int(start), int(stop)))
        for group, rows in commit.metadata["edited"].items():
            edited.setdefault(group.removeprefix("spectra/"), set()).update(map(int, rows))
    root = store.read(snapshot)
    shutil.copyfile(base, path)
    with _writing(path) as connection:
        for group, spans in appended.items():
            first, last = spans[0][0], spans[-1][1]
            _insert_rows(connection, root, group, first, last)
            edited[group] = {row for row in edited.get(group, ()) if row < first}
            _add_values(connection, group, first, last)
            _measure(connection, group, range(first, last))
        for group, changed in edited.items():
            for row_start, row_stop in _spans(sorted(changed)):
                connection.execute(
                    "DELETE FROM spectra WHERE grp = ? AND row >= ? AND row < ?", [group, row_start, row_stop]
                )
                _insert_rows(connection, root, group, row_start, row_stop)
            _measure(connection, group, sorted(changed))
        if any(commit.metadata.get("tables") for commit in commits):
            _load_records(connection, root)
        if any(edited.values()):
            _count_values(connection)
        _stamp(connection, store, snapshot)
    return True


def _spans(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive rows."""
    start = previous = None
    for row in rows:
        if start is None:
            start = row
        elif row != previous + 1:  # type: ignore[operator]
            yield start, previous + 1  # type: ignore[operator]
            start = row
        previous = row
    if start is not None and previous is not None:
        yield start, previous + 1


@contextmanager
def _writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(str(path))
    try:
        connection.execute(QUIET)
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
    finally:
        connection.close()


def _create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    columns = [*PLACE.items(), *((term.name, SQL_TYPE[term.kind]) for term in SPECTRUM_TERMS)]
    connection.execute(f"CREATE TABLE spectra ({', '.join(f'{_quoted(name)} {sql}' for name, sql in columns)})")
    connection.execute("CREATE TABLE field_values (field VARCHAR, value VARCHAR, count BIGINT)")
    connection.execute("CREATE TABLE words (field VARCHAR, words VARCHAR[])")
    connection.execute("CREATE TABLE meta (key VARCHAR, value VARCHAR)")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _insert_rows(connection: duckdb.DuckDBPyConnection, root: Any, key: str, start: int, stop: int) -> None:
    """Rows of a group into ``spectra``, a block at a time; codes become words inside DuckDB."""
    from barospec.archive.layout import SPECTRUM_KINDS, read_columns, spectra_group

    if start == stop:
        return
    group = spectra_group(root, key)
    words = _vocabularies(connection, root)
    for first in range(start, stop, BLOCK):
        last = min(stop, first + BLOCK)
        stored = read_columns(group, first, last)
        arrays: dict[str, Any] = {}
        select, bound = ["?", f"{first} + range"], [key]
        names = ["grp", "row"]
        for name, column in (("content", "row_sha256"), ("conditions", "conditions_sha256")):
            arrays[name] = stored[column][:, :8].copy().view("<u8")[:, 0]
            names.append(name)
            select.append(name)
        for name, kind in SPECTRUM_KINDS.items():
            if name not in stored or name == "grid":
                continue
            names.append(name)
            arrays[name] = stored[name].astype(object) if kind == "text" else stored[name]
            select.append(_decoded(name, kind))
            if kind == "word":
                bound.append(words.get(name, []))  # type: ignore[arg-type]
        arrays["range"] = _arange(last - first)
        connection.register("block", arrays)
        connection.execute(
            f"INSERT INTO spectra ({', '.join(map(_quoted, names))}) SELECT {', '.join(select)} FROM block", bound
        )
        connection.unregister("block")


def _vocabularies(connection: duckdb.DuckDBPyConnection, root: Any) -> dict[str, list[str]]:
    """The words that the codes of each column stand for. They only grow: those that did not come from the index."""
    held = dict(connection.execute("SELECT field, words FROM words").fetchall())
    for name, node in root["words"].arrays() if "words" in root else ():
        if len(held.get(name, ())) != node.shape[0]:
            held[name] = [str(word) for word in node[:]]
            connection.execute("DELETE FROM words WHERE field = ?", [name])
            connection.execute("INSERT INTO words VALUES (?, ?)", [name, held[name]])
    return held


def _arange(count: int) -> Any:
    import numpy as np

    return np.arange(count)


def _decoded(name: str, kind: Kind) -> str:
    """SQL that turns a stored value into an index value, missing into NULL."""
    column = _quoted(name)
    if kind == "number":
        return f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END"
    if kind == "word":
        return f"list_extract(?, {column} + 1)"
    if kind == "text":
        return f"nullif({column}, '')"
    missing = f"CASE WHEN {column} = {-(2**63) + 1} - 1 THEN NULL ELSE {column} END"
    return f"make_timestamp({missing})" if kind == "time" else missing


def _load_records(connection: duckdb.DuckDBPyConnection, root: Any) -> None:
    """The small tables, whole: structures, their sites and bonds, literature values, runs, events, saved queries."""
    from barospec.archive.layout import TABLES, read_table

    for table in (*RECORDS, "bonds"):
        kinds = TABLES[table]
        stored = read_table(root, table)
        arrays = {name: stored[name].astype(object) if kind == "text" else stored[name] for name, kind in kinds.items()}
        select = ", ".join(
            f"({_decoded(name, kind)})::{SQL_TYPE[kind]} AS {_quoted(name)}" for name, kind in kinds.items()
        )
        connection.register("block", arrays)
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {select} FROM block")
        connection.unregister("block")
    _widen_models(connection)
    # A bond is searched by the conditions of its structure.
    connection.execute(
        """CREATE OR REPLACE TABLE bonds AS
        SELECT b.*, s.material, s.space_group, s.pressure, s.pressure_sigma, s.temperature, s.source, s.status
        FROM bonds b JOIN structures s USING (structure_id, revision)"""
    )


def _widen_models(connection: duckdb.DuckDBPyConnection) -> None:
    """One column for each parameter that any model has, beside what describes the model."""
    from barospec.archive.modelstore import symbol

    rows = connection.execute("SELECT DISTINCT name, layer, unit FROM model_parameters ORDER BY ALL").fetchall()
    connection.execute("CREATE OR REPLACE TABLE model_fields (name VARCHAR, unit VARCHAR)")
    taken = {row[0] for row in connection.execute("DESCRIBE models").fetchall()}
    units: dict[str, str] = {}
    for name, layer, unit in rows:
        column = symbol(name, layer or "")
        if column in taken or units.setdefault(column, unit) != unit:
            continue  # a name that means something else already, or comes in two units: model_parameters still has it
        layers = "layer IS NULL" if layer is None else "layer = $layer"
        bound = {"name": name, "unit": unit, **({} if layer is None else {"layer": layer})}
        connection.execute(f"ALTER TABLE models ADD COLUMN IF NOT EXISTS {_quoted(column)} DOUBLE")
        connection.execute(
            f"""UPDATE models SET {_quoted(column)} = p.value FROM model_parameters p
            WHERE p.model_id = models.model_id AND p.revision = models.revision
            AND p.name = $name AND p.unit = $unit AND {layers}""",
            bound,
        )
    if units:
        connection.executemany("INSERT INTO model_fields VALUES (?, ?)", [list(item) for item in units.items()])


_WORDS = tuple(term.name for term in SPECTRUM_TERMS if term.kind == "word" and term.name != "status")


def _values_of(where: str) -> str:
    parts = [
        f"SELECT '{name}' AS field, {_quoted(name)} AS value, count(*) AS count FROM spectra "
        f"WHERE status = 'active' AND {_quoted(name)} IS NOT NULL{where} GROUP BY 2"
        for name in _WORDS
    ]
    return " UNION ALL ".join(parts)


def _count_values(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DELETE FROM field_values")
    connection.execute(f"INSERT INTO field_values {_values_of('')}")


def _add_values(connection: duckdb.DuckDBPyConnection, group: str, start: int, stop: int) -> None:
    """Count the words of appended rows in, without looking at the others."""
    where = f" AND row >= {start:d} AND row < {stop:d} AND grp = '{group}'"
    connection.execute(
        f"""CREATE OR REPLACE TABLE field_values AS SELECT field, value, sum(count)::BIGINT AS count
        FROM (SELECT * FROM field_values UNION ALL {_values_of(where)}) GROUP BY field, value"""
    )


_UNCERTAIN = tuple(
    (term.name, term.sigma, [name for end in ("before", "after") if (name := f"{term.name}_{end}") in BY_NAME])
    for term in SPECTRUM_TERMS
    if term.sigma
)


def _measure(connection: duckdb.DuckDBPyConnection, group: str = "", rows: Sequence[int] | None = None) -> None:
    """What lets queries skip work, among all rows or, besides what is known, among some rows of a group.

    How far uncertainties reach at most (see `known.Known`), which fields no row lacks, whether all rows are active. Of
    rows that were edited the old values stay accounted for: the bounds are right, if wider than need be.
    """
    if rows is not None and not rows:
        return
    select = []
    for name, sigma, readings in _UNCERTAIN:
        value, spread = _quoted(name), f"coalesce({_quoted(sigma)}, 0)"
        others = "".join(f", {_quoted(reading)}" for reading in readings)
        select += [
            f"max({value} - least({value} - {spread}{others}))",
            f"max(greatest({value} + {spread}{others}) - {value})",
        ]
    names = [term.name for term in SPECTRUM_TERMS]
    select += [f"count({_quoted(name)})" for name in names]
    select += ["count(*)", "count(*) FILTER (WHERE status = 'active')"]
    where = f"WHERE grp = '{group}' AND row >= {rows[0]:d} AND row <= {rows[-1]:d}" if rows else ""
    found = connection.execute(f"SELECT {', '.join(select)} FROM spectra {where}").fetchall()[0]
    before = dict(connection.execute("SELECT key, value FROM meta").fetchall()) if rows is not None else {}
    told: dict[str, str] = {}
    for number, (name, _, _) in enumerate(_UNCERTAIN):
        ends = [float(end or 0.0) for end in found[2 * number : 2 * number + 2]]
        known = map(float, before.get(f"reach:{name}", "0 0").split())
        told[f"reach:{name}"] = " ".join(repr(max(pair)) for pair in zip(ends, known, strict=True))
    *counts, every, active = found[2 * len(_UNCERTAIN) :]
    complete = {name for name, count in zip(names, counts, strict=True) if count == every}
    empty = {name for name, count in zip(names, counts, strict=True) if count == 0}
    if before:
        complete &= set(before["complete"].split())
        empty &= set(before["empty"].split())
    told["complete"], told["empty"] = " ".join(sorted(complete)), " ".join(sorted(empty))
    told["all_active"] = "yes" if active == every and before.get("all_active", "yes") == "yes" else "no"
    connection.execute("DELETE FROM meta")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [list(item) for item in told.items()])


def _stamp(connection: duckdb.DuckDBPyConnection, store: Store, snapshot: str) -> None:
    # `made` differs for every file, so that nothing read from one file is taken for another's.
    rows = {"snapshot": snapshot, "uuid": store.uuid, "index_version": str(VERSION), "made": uuid4().hex}
    connection.execute("DELETE FROM meta WHERE key IN (SELECT unnest(?))", [list(rows)])
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [list(item) for item in rows.items()])


def _prune(store: Store, where: Path, made: str) -> None:
    """Keep the indexes of the head, the tags, the last three snapshots and the one just made; others come back on demand."""
    keep = {made, *(commit.snapshot for commit in store.history(limit=KEEP)), *store.location.tags().values()}
    for path in where.glob("index-*.duckdb"):
        if path.name.removeprefix("index-").removesuffix(".duckdb") not in keep:
            path.unlink(missing_ok=True)


def lookup(path: Path, ids: Sequence[str], sources: Sequence[tuple[str, ...]]) -> list[Known]:
    """Newest rows that have one of the ids, and active rows that have one of the source keys."""
    from barospec.archive.ingest import Known
    from barospec.archive.prepare import SOURCE

    names = [term.name for term in SETTABLE]
    settable = ", ".join(f"epoch_us({_quoted(t.name)})" if t.kind == "time" else _quoted(t.name) for t in SETTABLE)
    key = ", ".join(f"coalesce({name}, '')" for name in SOURCE)
    wanted = ", ".join(f"unnest(?::VARCHAR[]) AS k{number}" for number in range(len(SOURCE)))
    columns = f"spectrum_id, grp, row, revision, status, content, conditions, {key}, {settable}"
    newest = "QUALIFY row_number() OVER (PARTITION BY spectrum_id ORDER BY revision DESC) = 1"
    by_source = list(zip(*sources, strict=True)) or [()] * len(SOURCE)
    with connect(path) as connection:
        found = connection.execute(
            f"""SELECT {columns} FROM spectra WHERE spectrum_id IN (SELECT unnest(?::VARCHAR[])) {newest}
            UNION
            SELECT {columns} FROM spectra WHERE status = 'active' AND ({key}) IN (SELECT ({", ".join(f"k{n}" for n in range(len(SOURCE)))})
                FROM (SELECT {wanted}))""",
            [list(ids), *map(list, by_source)],
        ).fetchall()
    cut = 7 + len(SOURCE)
    return [
        Known(*row[:7], source=tuple(row[7:cut]), columns=dict(zip(names, row[cut:], strict=True)))  # type: ignore[misc]
        for row in found
    ]


def values(connection: duckdb.DuckDBPyConnection, sql: str, bound: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return connection.execute(sql, list(bound)).fetchall()


def columns(connection: duckdb.DuckDBPyConnection, names: Sequence[str], groups: Any, rows: Any) -> dict[str, Any]:
    """Metadata of some rows, in their order: float with NaN, or object with None, where not known.

    Parameters
    ----------
    connection : duckdb connection
        To the index.
    names : sequence of str
        Names of terms.
    groups, rows : ndarray, shape (n,)
        Where each spectrum lies.
    """
    import numpy as np

    terms = {term.name: term for term in SPECTRUM_TERMS}
    connection.register("wanted", {"grp": np.asarray(groups, dtype=object), "row": rows, "place": np.arange(len(rows))})
    selected = ", ".join(_fetched(name, terms[name].kind) for name in names)
    found = connection.execute(
        f"SELECT {selected} FROM wanted JOIN spectra USING (grp, row) ORDER BY place"
    ).fetchnumpy()
    return {name: _filled(found[name], terms[name].kind) for name in names}


def _fetched(name: str, kind: Kind) -> str:
    return f"{_quoted(name)}::DOUBLE AS {_quoted(name)}" if kind in ("number", "integer") else _quoted(name)


def _filled(values: Any, kind: Kind) -> Any:
    import numpy as np

    if kind in ("number", "integer"):
        return np.ma.filled(values.astype(np.float64), np.nan)
    if kind == "time":
        return np.ma.filled(values.astype("datetime64[us]"), np.datetime64("NaT"))
    return (
        np.ma.filled(np.ma.asarray(values, dtype=object), None)
        if np.ma.is_masked(values)
        else np.asarray(values, dtype=object)
    )


def dicts(connection: duckdb.DuckDBPyConnection, sql: str, bound: Iterable[Any] = ()) -> list[dict[str, Any]]:
    """All rows of a query, each by column name."""
    result = connection.execute(sql, list(bound))
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def describe_fields(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Every field of spectra: unit, meaning, how many have it, its range or its commonest values here."""
    parts, total = [], int(connection.execute("SELECT count(*) FROM spectra WHERE status = 'active'").fetchall()[0][0])
    for term in SPECTRUM_TERMS:
        name = _quoted(term.name)
        ends = (
            f"min({name})::VARCHAR, max({name})::VARCHAR"
            if term.kind in ("number", "integer", "time")
            else "NULL, NULL"
        )
        parts.append(f"SELECT '{term.name}', count({name}), {ends} FROM spectra WHERE status = 'active'")
    found = {row[0]: row[1:] for row in connection.execute(" UNION ALL ".join(parts)).fetchall()}
    top: dict[str, list[str]] = {}
    for field_name, value, count in connection.execute(
        "SELECT * FROM field_values ORDER BY field, count DESC, value"
    ).fetchall():
        top.setdefault(field_name, []).append(f"{value} ({count})")
    return [
        {
            "field": term.name,
            "unit": term.unit,
            "kind": term.kind,
            "level": term.level,
            "meaning": term.meaning,
            "count": found[term.name][0],
            "total": total,
            "min": found[term.name][1],
            "max": found[term.name][2],
            "values": top.get(term.name, [])[:8],
            "allowed": list(term.allowed),
            "aliases": list(term.aliases),
        }
        for term in SPECTRUM_TERMS
    ]


def write_parquet(connection: Any, sql: str, bound: Any, path: Path) -> None:
    """The rows of a query as a Parquet file, streamed by DuckDB; the file appears when it is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        # What must be sorted and is larger than this goes to disk, and not beside an index that others read.
        connection.execute("SET memory_limit = '1GB'")
        connection.execute("SET temp_directory = ?", [tempfile.gettempdir()])
        target = str(part).replace("'", "''")
        connection.execute(f"COPY ({sql}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)", bound)
        part.replace(path)
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be written: {str(error).splitlines()[0]}") from None
    finally:
        part.unlink(missing_ok=True)
