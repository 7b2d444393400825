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
from functools import cache
from itertools import count
from pathlib import Path
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

import duckdb

from barospec.archive.head import Location
from barospec.catalogs.annotations import annotate, note_flags
from barospec.catalogs.derived_index import FIELDS, load_derived
from barospec.catalogs.fields import quoted
from barospec.catalogs.index_tables import (
    PLACE,
    RECORDS,
    VERSION,
    add_values,
    count_values,
    create_tables,
    insert_rows,
    load_records,
    measure,
    stamp,
)
from barospec.catalogs.known import same_file
from barospec.catalogs.operator_table import VERSIONS
from barospec.catalogs.without_pressure import COLUMNS, LACKING, set_apart, set_apart_again
from barospec.schemas.errors import StoreError
from barospec.schemas.vocabulary import TERMS

if TYPE_CHECKING:
    from barospec.archive.store import Store

KEEP = 3
# DuckDB draws a progress bar on stdout when a statement takes two seconds; stdout belongs to results.
QUIET = "SET enable_progress_bar = false"


def fingerprint() -> str:
    """Changes whenever the index's columns do, so that an index of other columns is never opened."""
    columns = [VERSION, RECORDS, *((term.name, term.kind) for term in TERMS), *PLACE.items(), COLUMNS]
    # Which derived values are fresh depends on the operators that are there.
    columns += [*FIELDS.items(), *VERSIONS.items()]
    return hashlib.sha256(repr(columns).encode()).hexdigest()[:8]


def folder(location: Location) -> Path:
    """Where index files of this archive are: beside the store, or in the user's cache where that is read-only or remote."""
    if location.index is not None:
        beside = location.index / fingerprint()
        if os.access(beside if beside.exists() else location.index.parent, os.W_OK):
            return beside
    from platformdirs import user_cache_path

    cached: Path = user_cache_path("barospec") / location.uuid / fingerprint()
    return cached


def index_path(location: Location, snapshot: str) -> Path:
    """The index file of a snapshot; it exists or has to be made by `publish`."""
    name = f"index-{snapshot}.duckdb"
    if location.index is not None and (beside := location.index / fingerprint() / name).exists():
        return beside
    return folder(location) / name


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


DamagedIndex = duckdb.Error
# What DuckDB raises about statements of ours that are wrong, in distinction from files that are.
WRONG = (duckdb.ProgrammingError, duckdb.DataError, duckdb.IntegrityError, duckdb.NotSupportedError)


@contextmanager
def attached(fresh: Path, held: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Two index files in one read-only connection, under the names ``fresh`` and ``held``."""
    with duckdb.connect() as connection:
        connection.execute(QUIET)
        connection.execute("SET memory_limit = '1GB'")
        connection.execute("SET temp_directory = ?", [tempfile.gettempdir()])
        for name, path in (("fresh", fresh), ("held", held)):
            target = str(path).replace("'", "''")
            connection.execute(f"ATTACH '{target}' AS {name} (READ_ONLY)")
        yield connection


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
        cursor = base.cursor()
        same_file(cursor, base)
        return cursor


def publish(store: Store, snapshot: str, *, rebuild: bool = False) -> Path:
    """Make the index of a snapshot if it is not there; returns its path.

    Replays what changed since the nearest ancestor that has an index; builds from the arrays where there is none.
    The file appears under its name only when it is complete.
    """
    target = index_path(store.location, snapshot)
    if target.exists() and not rebuild:
        return target
    where = folder(store.location)
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{where} cannot be made for index files: {error.strerror or error}. Set XDG_CACHE_HOME to a folder of yours."
        ) from None
    target = where / target.name
    part = where / f".{target.name}.{os.getpid()}.{get_ident()}.part"
    try:
        if rebuild or not _replayed(store, snapshot, part):
            part.unlink(missing_ok=True)
            build(store, snapshot, part)
        part.replace(target)
    except WRONG:
        raise
    except (duckdb.Error, OSError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0].rpartition("Original error: ")[2]
        raise StoreError(
            f"the index {target} cannot be written: {why}. What the archive holds is not touched by this. When the cause is "
            "mended, run `barospec index rebuild`."
        ) from error
    finally:
        for left in (part, part.with_name(part.name + ".wal")):
            left.unlink(missing_ok=True)
    _prune(store, where, snapshot)
    return target


def _replayed(store: Store, snapshot: str, path: Path) -> bool:
    try:
        return _replay(store, snapshot, path)
    except WRONG:
        raise
    except (duckdb.Error, FileNotFoundError):
        # The ancestor's file is damaged, or another process has just pruned it: the store has all that an index needs.
        return False


def build(store: Store, snapshot: str, path: Path) -> None:
    """Make an index file from the arrays, at a path that does not exist."""
    from barospec.archive.layout import count_rows, group_paths, spectra_group

    root = store.read(snapshot)
    with _writing(path) as connection:
        create_tables(connection)
        for key in sorted(group_paths(root)):
            insert_rows(connection, root, key, 0, count_rows(spectra_group(root, key)))
        set_apart(connection)
        load_records(connection, root)
        annotate(connection)
        count_values(connection)
        measure(connection)
        note_flags(connection)
        load_derived(connection, root)
        stamp(connection, store, snapshot, in_order=True)


def _replay(store: Store, snapshot: str, path: Path) -> bool:
    """Copy the nearest ancestor's index and apply the commits since; False when that cannot be done."""
    commits = []
    for commit in store.history(snapshot):
        # After `gc` a commit may follow another one than it was made upon; what it says is not all, then.
        if "appended" not in commit.metadata or commit.metadata.get("parent", commit.parent) != commit.parent:
            return False
        if commit.metadata.get("rebuild"):  # `purge` rewrites what no other verb does
            return False
        commits.append(commit)
        base = index_path(store.location, commit.parent) if commit.parent else None
        if base is not None and base.exists():
            break
    else:
        return False
    appended: dict[str, list[tuple[int, int]]] = {}
    entries: dict[str, tuple[int, int]] = {}
    edited: dict[str, set[int]] = {}
    for commit in reversed(commits):
        for group, (start, stop) in commit.metadata["appended"].items():
            if group.startswith("derived/"):
                name = group.removeprefix("derived/")
                entries[name] = (entries.get(name, (int(start), 0))[0], int(stop))
            else:
                appended.setdefault(group.removeprefix("spectra/"), []).append((int(start), int(stop)))
        for group, rows in commit.metadata["edited"].items():
            edited.setdefault(group.removeprefix("spectra/"), set()).update(map(int, rows))
    written = store.take_written(snapshot) if len(commits) == 1 else {}
    root = store.read(snapshot)
    shutil.copyfile(base, path)
    with _writing(path) as connection:
        was, behind = connection.execute(
            "SELECT (SELECT value FROM meta WHERE key = 'in_order'), (SELECT max(grp) FROM spectra)"
        ).fetchall()[0]
        in_order = was == "yes"
        for group, spans in sorted(appended.items()):
            in_order, behind = in_order and group >= (behind or ""), group
            first, last = spans[0][0], spans[-1][1]
            insert_rows(connection, root, group, first, last, written.get(f"spectra/{group}"))
            edited[group] = {row for row in edited.get(group, ()) if row < first}
            complete, empty = measure(connection, group, range(first, last))
            add_values(connection, group, first, last, empty)
            if LACKING not in complete:
                set_apart_again(connection, group, first, last, new=True)
        for group, changed in edited.items():
            for row_start, row_stop in _spans(sorted(changed)):
                connection.execute(
                    "DELETE FROM spectra WHERE grp = ? AND row >= ? AND row < ?", [group, row_start, row_stop]
                )
                insert_rows(connection, root, group, row_start, row_stop)
                set_apart_again(connection, group, row_start, row_stop)
            measure(connection, group, sorted(changed))
        tables = {table for commit in commits for table in commit.metadata.get("tables", ())}
        if tables:
            load_records(connection, root, tables)
        if annotate(connection) or any(edited.values()):
            count_values(connection)
        touched = [(group, spans[0][0], spans[-1][1]) for group, spans in appended.items()]
        touched += [(group, *span) for group, rows in edited.items() for span in _spans(sorted(rows))]
        note_flags(connection)
        load_derived(connection, root, entries, touched)
        stamp(connection, store, snapshot, in_order=in_order and not any(edited.values()))
    return True


def _spans(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive rows."""
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or rows[stop] != rows[stop - 1] + 1:
            yield rows[start], rows[stop - 1] + 1
            start = stop


_ATTACHED = count()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """The database of this process that index files are attached to while they are made.

    To start one takes 20 ms, to attach a file 2 ms.
    """
    base = duckdb.connect()
    base.execute(QUIET)
    # By two threads a file of 10^6 rows is written with a fourth to two fifths of spare blocks, and no sooner.
    base.execute("SET threads = 1")
    base.execute("SET temp_directory = ?", [tempfile.gettempdir()])
    return base


@contextmanager
def _writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that writes to an index file, all or nothing."""
    name, target = f"index{next(_ATTACHED)}", str(path).replace("'", "''")
    base = _database()
    with base.cursor() as connection:
        try:
            connection.execute(f"ATTACH '{target}' AS {name}")
            connection.execute(f"USE {name}")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")
            connection.execute("USE memory")
            connection.execute(f"DETACH {name}")
        except BaseException:
            # A full disk leaves DuckDB unfit for anything more: the next file is made by another one.
            _database.cache_clear()
            raise


def prune(store: Store) -> None:
    """Remove index files of snapshots that are neither the newest ones nor tagged, as every publication does."""
    for where in {folder(store.location), *([store.location.index / fingerprint()] if store.location.index else [])}:
        _prune(store, where, store.location.head())


def _prune(store: Store, where: Path, made: str) -> None:
    """Keep the indexes of the head, the tags, the last three snapshots and the one just made; others come back on demand."""
    keep = {made, *(commit.snapshot for commit in store.history(limit=KEEP)), *store.location.tags().values()}
    for path in where.glob("index-*.duckdb"):
        if path.name.removeprefix("index-").removesuffix(".duckdb") not in keep:
            path.unlink(missing_ok=True)


def values(
    connection: duckdb.DuckDBPyConnection, sql: str, bound: Iterable[Any] | Mapping[str, Any] = ()
) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return connection.execute(sql, bound if isinstance(bound, dict) else list(bound)).fetchall()


def dicts(connection: duckdb.DuckDBPyConnection, sql: str, bound: Iterable[Any] = ()) -> list[dict[str, Any]]:
    """All rows of a query, each by column name."""
    result = connection.execute(sql, list(bound))
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


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


def arrays_to_parquet(columns: Mapping[str, Any], units: Mapping[str, str], path: Path) -> None:
    """Arrays of one length as a Parquet file, NaN and None as NULL, units in the file's own metadata."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(QUIET)
        connection.execute("SET threads = 1")  # the same rows in the same row groups, always
        connection.register("given", dict(columns))
        selected = ", ".join(
            f"nullif({quoted(name)}, 'nan'::DOUBLE) AS {quoted(name)}" if values.dtype.kind == "f" else quoted(name)
            for name, values in columns.items()
        )
        told = ", ".join(f"{quoted(name)}: '{unit.replace(chr(39), chr(39) * 2)}'" for name, unit in units.items())
        target = str(path).replace("'", "''")
        connection.execute(
            f"COPY (SELECT {selected} FROM given) TO '{target}' (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{told}}})"
        )
