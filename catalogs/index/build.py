"""Metadata index: one immutable DuckDB file per snapshot, replayed from an older one or rebuilt."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from barospec.catalogs.index.annotations import annotate, note_flags
from barospec.catalogs.index.database import QUIET, STORAGE, WRONG, UnusableIndex, must_be, reader
from barospec.catalogs.index.derived import load_derived
from barospec.catalogs.index.files import (
    clear_parts,
    fingerprint,
    folder,
    index_name,
    index_path,
    part_name,
    put_first,
    remove_part,
)
from barospec.catalogs.index.tables import (
    add_values,
    count_values,
    create_tables,
    insert_rows,
    load_records,
    measure,
    stamp,
)
from barospec.catalogs.query.resolve.missing_pressure import LACKING, set_apart, set_apart_again
from barospec.schemas.errors import StoreError

if TYPE_CHECKING:
    from barospec.archive.store.repository import Store

KEEP = 3


def publish(store: Store, snapshot: str, *, rebuild: bool = False) -> Path:
    """Make the index of a snapshot unless there is a usable one; return its path.

    Replay the changes since the nearest ancestor that has an index; build from the arrays if there is none.
    The file appears under its name only when complete. A file that is damaged, or of another archive or snapshot, is
    reported and replaced, or left unchanged if only the user's cache is writable.
    """
    refused: list[UnusableIndex] = []
    if not rebuild and (found := reader(store.location, snapshot, refused)):
        path, connection = found
        connection.close()
        return path
    where = folder(store.location)
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{where} cannot be made for index files: {error.strerror or error}. Set XDG_CACHE_HOME to a writable folder."
        ) from None
    target = where / index_name(snapshot)
    clear_parts(where)
    part = where / part_name(target.name)
    try:
        if rebuild or not _replayed(store, snapshot, part):
            part.unlink(missing_ok=True)
            build(store, snapshot, part)
        if rebuild or target in (each.path for each in refused):
            part.replace(target)
        else:
            put_first(part, target)
    except WRONG:
        raise
    except (duckdb.Error, OSError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0].rpartition("Original error: ")[2]
        raise StoreError(
            f"the index {target} cannot be written: {why}. The data of the archive are unchanged. Fix the cause, "
            "then run `barospec index rebuild`."
        ) from error
    finally:
        remove_part(part)
    for each in refused:
        getLogger("barospec").warning(
            "%s %s. It is not used: the index was rebuilt from the store.", each.path, each.why
        )
    _prune(store, where, snapshot)
    return target


def _replayed(store: Store, snapshot: str, path: Path) -> bool:
    try:
        return _replay(store, snapshot, path)
    except WRONG:
        raise
    except (duckdb.Error, UnusableIndex, FileNotFoundError):
        # The ancestor's file is damaged, of another archive, or just pruned by another process: the store has everything for an index.
        return False


def build(store: Store, snapshot: str, path: Path) -> None:
    """Make an index file from the arrays, at a path that does not exist."""
    from barospec.archive.store.read import count_rows, group_paths, spectra_group

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
    """Copy the nearest ancestor's index and apply the commits since; return False if that is impossible."""
    commits = []
    for commit in store.history(snapshot):
        # After `gc` a commit may follow another one than its original parent; then its metadata are incomplete.
        if "appended" not in commit.metadata or commit.metadata.get("parent", commit.parent) != commit.parent:
            return False
        if not store.fits(commit.snapshot):  # the arrays decide which rows exist, not the commit
            return False
        if commit.metadata.get("rebuild"):  # `purge` rewrites rows as no other command does
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
    written = store.pop_inserted(snapshot) if len(commits) == 1 else {}
    root = store.read(snapshot)
    shutil.copyfile(base, path)
    with _writing(path) as connection:
        must_be(connection, base, store.uuid, commits[-1].parent or "")
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
    """Yield ranges of consecutive rows."""
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or rows[stop] != rows[stop - 1] + 1:
            yield rows[start], rows[stop - 1] + 1
            start = stop


_ATTACHED = count()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the database of this process to which index files are attached while they are made.

    Starting one takes 20 ms, attaching a file 2 ms.
    """
    base = duckdb.connect()
    base.execute(QUIET)
    # With two threads a file of 10^6 rows has 25 to 40 % of spare blocks, and takes no less time.
    base.execute("SET threads = 1")
    base.execute("SET temp_directory = ?", [tempfile.gettempdir()])
    return base


@contextmanager
def _writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that writes to an index file, all or nothing."""
    name = f"index{next(_ATTACHED)}"
    base = _database()
    with base.cursor() as connection:
        try:
            _attach(connection, path, name)
            connection.execute(f"USE {name}")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")
            connection.execute("USE memory")
            connection.execute(f"DETACH {name}")
        except BaseException:
            # A full disk leaves DuckDB unusable: the next file is made by a new database.
            _database.cache_clear()
            raise


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    target = str(path).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{target}' AS {name} (STORAGE_VERSION '{STORAGE}')")
    except duckdb.InvalidInputException as error:  # a copied ancestor's file of a newer storage version
        raise UnusableIndex(path, f"cannot be opened ({str(error).splitlines()[0]})") from None


def prune(store: Store) -> None:
    """Remove index files of snapshots that are neither recent nor tagged, as every publication does."""
    for where in {folder(store.location), *([store.location.index / fingerprint()] if store.location.index else [])}:
        _prune(store, where, store.location.head())


def _prune(store: Store, where: Path, made: str) -> None:
    """Keep the indexes of the head, the tags, the last three snapshots and the new one; others are remade on demand."""
    keep = {made, *(commit.snapshot for commit in store.history(limit=KEEP)), *store.location.tags().values()}
    for path in where.glob("index-*.duckdb"):
        if path.name.removeprefix("index-").removesuffix(".duckdb") not in keep:
            path.unlink(missing_ok=True)
