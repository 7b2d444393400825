"""Check of an index file against the store: a fresh index is built and every row compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barospec.catalogs.index import build, database
from barospec.catalogs.index.files import index_path
from barospec.catalogs.query.resolve.fields import quoted
from barospec.schemas.errors import StoreError

if TYPE_CHECKING:
    from barospec.archive.store.repository import Store

REBUILD = "Run `barospec index rebuild`: the index follows from the store."


def check_index(store: Store, snapshot: str) -> Iterator[tuple[str, str]]:
    """Yield differences between the index of a snapshot and the store; nothing if there is no index file.

    Yields
    ------
    where, what : str
    """
    path = index_path(store.location, snapshot)
    if not path.exists():
        return
    with tempfile.TemporaryDirectory(prefix="barospec-") as folder:
        fresh = Path(folder) / "fresh.duckdb"
        build.build(store, snapshot, fresh)
        try:
            yield from _compare(path, fresh)
        except (database.DamagedIndex, StoreError) as error:
            yield path.name, f"it cannot be read: {str(error).splitlines()[0]}"


def _compare(path: Path, fresh: Path) -> Iterator[tuple[str, str]]:
    with database.attached({"fresh": fresh, "held": path}) as connection:
        tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1"
        wanted, held = ([row[0] for row in database.values(connection, tables, [name])] for name in ("fresh", "held"))
        for table in wanted:
            if table not in held:
                yield f"{path.name}, table {table}", "it is missing"
            elif table == "words":
                yield from _compare_words(connection, path.name)
            elif table != "meta":
                yield from _compare_table(connection, path.name, table)
        yield from _compare_meta(connection, path.name)
        yield from _compare_order(connection, path.name)


def _compare_table(connection: Any, name: str, table: str) -> Iterator[tuple[str, str]]:
    described = (
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ? AND table_name = ? ORDER BY 1"
    )
    columns, held = (database.values(connection, described, [which, table]) for which in ("fresh", "held"))
    if columns != held:
        yield f"{name}, table {table}", "its columns differ from this version's"
        return
    listed = ", ".join(quoted(column) for column, _ in columns)
    parts = (f"SELECT {listed} FROM {which}.{quoted(table)}" for which in ("fresh", "held"))
    first, second = parts
    for left, right, what in (
        (first, second, "rows of the store are not in it"),
        (second, first, "rows are not in the store"),
    ):
        count = database.values(connection, f"SELECT count(*) FROM ({left} EXCEPT ALL {right})")[0][0]
        if count:
            yield f"{name}, table {table}", f"{count} {what}, or differ"


def _compare_words(connection: Any, name: str) -> Iterator[tuple[str, str]]:
    """Compare vocabularies. They only grow, and an index adds a word with its first row: their common length must agree."""
    both = "SELECT least(len(f.words), len(h.words)) AS size, f.words AS f, h.words AS h FROM fresh.words f JOIN held.words h"
    count = database.values(connection, f"SELECT count(*) FROM ({both} USING (field)) WHERE f[:size] <> h[:size]")[0][0]
    if count:
        yield f"{name}, table words", f"{count} vocabularies differ from the store"


def _compare_order(connection: Any, name: str) -> Iterator[tuple[str, str]]:
    if database.values(connection, "SELECT 1 FROM held.meta WHERE key = 'in_order' AND value = 'yes'"):
        steps = "SELECT (grp, row) < lag((grp, row)) OVER (ORDER BY rowid) AS back FROM held.spectra"
        count = database.values(connection, f"SELECT count(*) FROM ({steps}) WHERE back")[0][0]
        if count:
            yield f"{name}, table spectra", f"{count} rows are out of order, although the index states that none is"


def _compare_meta(connection: Any, name: str) -> Iterator[tuple[str, str]]:
    """Compare the statements that let queries skip work: they must be true, but may be weaker than possible after edits."""
    fresh, held = (
        dict(database.values(connection, f"SELECT key, value FROM {which}.meta")) for which in ("fresh", "held")
    )
    for key, value in fresh.items():
        was = held.get(key)
        if was is None:
            fits = False
        elif key.startswith("reach:"):
            fits = all(float(a) >= float(b) for a, b in zip(was.split(), value.split(), strict=True))
        elif key in ("complete", "empty"):
            fits = set(was.split()) <= set(value.split())
        elif key in ("all_active", "in_order"):
            fits = was == "no" or value == "yes"
        else:
            fits = key in ("made", "digest") or was == value
        if not fits:
            yield f"{name}, table meta", f"{key} is {was}, and should be {value}"
