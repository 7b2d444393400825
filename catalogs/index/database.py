"""Connections to DuckDB files: read-only and checked, shared in a process, and queries through them.

Nothing here imports zarr or icechunk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb

from barospec.archive.store.storage.location import Location
from barospec.catalogs.index.files import index_paths
from barospec.catalogs.index.tables import contradiction
from barospec.catalogs.query.resolve.archive_schema import same_file
from barospec.catalogs.query.resolve.fields import quoted
from barospec.schemas.errors import StoreError

Reader = tuple[Path, duckdb.DuckDBPyConnection]
DamagedIndex = duckdb.Error
# Storage format that the oldest allowed DuckDB reads; by default each version writes files that older ones cannot open.
STORAGE = "v1.4.0"
# DuckDB draws a progress bar on stdout after two seconds; stdout belongs to results.
QUIET = "SET enable_progress_bar = false"
# The same for every opening of a file in a process, or DuckDB refuses the second.
CLOSED_OFF: dict[str, str | bool | int | float | list[str]] = {"enable_external_access": "false"}


class UnusableIndex(StoreError):
    """An index file that is damaged, or of another archive or snapshot than its name says."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}. Run `barospec index rebuild`.")
        self.path, self.why = path, why


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Return a read-only connection to an index file; it closes itself at the end of a ``with``.

    Raises FileNotFoundError if the file is missing, UnusableIndex if it is damaged.
    """
    try:
        # No statement can read any other file.
        connection = duckdb.connect(str(path), read_only=True, config=CLOSED_OFF)
        connection.execute(QUIET)
        return connection
    except duckdb.Error as error:
        if not path.exists():
            raise FileNotFoundError(path) from None
        raise UnusableIndex(path, f"cannot be opened ({str(error).splitlines()[0]})") from None


DAMAGE = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
# Errors about our own statements, as opposed to damaged files.
WRONG = (duckdb.ProgrammingError, duckdb.DataError, duckdb.IntegrityError, duckdb.NotSupportedError)


@contextmanager
def attached(files: Mapping[str, Path], writable: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield one read-only connection to index files, each under its name; it reaches other files only in folder `writable`."""
    # Sorts larger than the memory spill to disk: not beside an index that others read, and into a folder
    # of their own, because all of the temporary folder is accessible.
    with tempfile.TemporaryDirectory(prefix="barospec-") as spilled, duckdb.connect() as connection:
        connection.execute(QUIET)
        connection.execute("SET memory_limit = '1GB'")
        connection.execute("SET temp_directory = ?", [spilled])
        for name, path in files.items():
            target = str(path).replace("'", "''")
            connection.execute(f"ATTACH '{target}' AS {name} (READ_ONLY)")
        if writable is not None:
            connection.execute("SET allowed_directories = ?", [[f"{writable.resolve()}{os.sep}"]])
        connection.execute("SET enable_external_access = false")
        yield connection


# Opening a file of a million rows takes 15 ms, a further connection to it nothing.
_OPEN: dict[Path, tuple[object, duckdb.DuckDBPyConnection]] = {}
_OPENING = Lock()
MOST_OPEN = 4


def shared(path: Path, uuid: str, snapshot: str) -> duckdb.DuckDBPyConnection:
    """Return a connection as from `connect`, of a database that stays open in this process for the next call.

    When the file is opened, UnusableIndex is raised unless it states the given archive and snapshot.
    """
    found = path.stat()
    # A database belongs to the process that opened it, not to its forks; a rebuilt file is a new file.
    key = (os.getpid(), uuid, found.st_ino, found.st_mtime_ns, found.st_size)
    with _OPENING:
        was, base = _OPEN.pop(path, (None, None))
        if base is None or was != key:
            base = None
            base = _checked(path, uuid, snapshot)
        _OPEN[path] = key, base
        # Dropped, not closed: other threads may be reading through cursors, which keep the database alive.
        while len(_OPEN) > MOST_OPEN:
            del _OPEN[next(iter(_OPEN))]
        cursor = base.cursor()
        same_file(cursor, base)
        return cursor


def _checked(path: Path, uuid: str, snapshot: str) -> duckdb.DuckDBPyConnection:
    connection = connect(path)
    try:
        must_be(connection, path, uuid, snapshot)
    except UnusableIndex:
        # Closed, not only dropped: while a database is open in a process, its path leads to it, whatever file has that path now.
        connection.close()
        raise
    return connection


def must_be(connection: duckdb.DuckDBPyConnection, path: Path, uuid: str, snapshot: str) -> None:
    try:
        why = contradiction(connection, uuid, snapshot)
    except duckdb.Error as error:
        why = f"cannot be read ({str(error).splitlines()[0]})"
    if why:
        raise UnusableIndex(path, why)


def reader(location: Location, snapshot: str, refused: list[UnusableIndex] | None = None) -> Reader | None:
    """Return the path of a snapshot's index and a `shared` connection to it; None if there is no usable one.

    Unusable files are skipped, and added to `refused`.
    """
    for path in index_paths(location, snapshot):
        try:
            return path, shared(path, location.uuid, snapshot)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnusableIndex as error:
            if refused is not None:
                refused.append(error)
    return None


@contextmanager
def blamed(path: Path) -> Iterator[None]:
    """Convert damage that appears while an index file is read into UnusableIndex; the database is not used again."""
    try:
        yield
    except duckdb.Error as error:
        if not (isinstance(error, DAMAGE) or type(error) is duckdb.Error):  # a wrong checksum has no class of its own
            raise
        with _OPENING:
            _OPEN.pop(path, None)
        raise UnusableIndex(path, f"cannot be read ({str(error).splitlines()[0]})") from error


def values(
    connection: duckdb.DuckDBPyConnection, sql: str, bound: Iterable[Any] | Mapping[str, Any] = ()
) -> list[tuple[Any, ...]]:
    """Return all rows of a query."""
    return connection.execute(sql, bound if isinstance(bound, dict) else list(bound)).fetchall()


def dicts(connection: duckdb.DuckDBPyConnection, sql: str, bound: Iterable[Any] = ()) -> list[dict[str, Any]]:
    """Return all rows of a query as dicts by column name."""
    result = connection.execute(sql, list(bound))
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def write_parquet(connection: Any, sql: str, bound: Any, path: Path) -> None:
    """Write the rows of a query as a Parquet file, streamed by DuckDB; the file appears when it is complete.

    Connections to an index cannot access other files, so a separate connection writes, with access to this folder only.
    """
    folder = path.parent.resolve()
    part = folder / f".{path.name}.part"
    ((held,),) = connection.execute(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchall()
    try:
        with attached({"held": Path(held)}, writable=folder) as writing:
            writing.execute("USE held")
            target = str(part).replace("'", "''")
            writing.execute(f"COPY ({sql}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)", bound)
        part.replace(path)
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be written: {str(error).splitlines()[0]}") from None
    finally:
        part.unlink(missing_ok=True)


def arrays_to_parquet(columns: Mapping[str, Any], units: Mapping[str, str], path: Path) -> None:
    """Write arrays of one length as a Parquet file, NaN and None as NULL, units in the file's own metadata."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(QUIET)
        connection.execute("SET threads = 1")  # reproducible row groups
        connection.register("given", dict(columns))
        selected = ", ".join(
            f"nullif({quoted(name)}, 'nan'::DOUBLE) AS {quoted(name)}" if values.dtype.kind == "f" else quoted(name)
            for name, values in columns.items()
        )
        metadata = ", ".join(f"{quoted(name)}: '{unit.replace(chr(39), chr(39) * 2)}'" for name, unit in units.items())
        target = str(path).replace("'", "''")
        connection.execute(
            f"COPY (SELECT {selected} FROM given) TO '{target}' (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{metadata}}})"
        )
