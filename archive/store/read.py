"""Layout of arrays in the store, and reading of rows; `write` writes them.

::

    /spectra/<technique>/<edge-or-line>/     one group per kind of spectrum
        mu | intensity, channels  (spectrum, point)   NaN-padded
        grid                      (spectrum)          row of grid_energy
        grid_energy               (grid, point)       each distinct energy axis once
        one array per term        (spectrum)
    /tables/<name>/                          small labelled groups, one array per column
    /derived/<set>/                          operator outputs, one entry per spectrum and revision
    /words/<term>                            the vocabulary that integer codes point into

Rows are only ever appended; a column that no row needs does not exist (absent means missing).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from zarr import Array, AsyncArray, Group
from zarr.api.asynchronous import create_array
from zarr.codecs import ZstdCodec
from zarr.core.sync import sync

from barospec.archive.store.table_schema import STORED, TABLES
from barospec.schemas.errors import StoreError
from barospec.schemas.vocabulary import Kind

__all__ = ["Array", "Group"]  # and all that is defined here

ROWS, POINTS = 64, 1024  # chunk of an array of curves; never taken from the first file
COLUMN_ROWS = 16_384  # chunk of a 1-D array; measured, see README.md
HEADER_ROWS = 256
HASH_COLUMNS = ("row_sha256", "conditions_sha256")


def row_sha256(energy: NDArray[np.float64], signals: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Return the fingerprint of a spectrum's numbers: shape, energy and every signal by name."""
    digest = hashlib.sha256(str(energy.shape).encode())
    digest.update(np.ascontiguousarray(energy, dtype="<f8").tobytes())
    for name in sorted(signals):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(signals[name], dtype="<f8").tobytes())
    return digest.digest()


T = TypeVar("T")
Node = AsyncArray[Any]


def together(*works: Coroutine[Any, Any, T]) -> list[T]:
    """Run coroutines in one trip to zarr's event loop, as the trip is a large part of the time; return their results."""

    async def all_of_them() -> list[T]:
        return await asyncio.gather(*works)

    return sync(all_of_them())


def nodes_of(group: Group) -> dict[str, Node]:
    """Return the arrays of a group, for `together`."""
    return {name: node.async_array for name, node in group.arrays()}


async def creating(
    group: Group,
    name: str,
    dtype: Any,
    fill: Any,
    shape: Sequence[int],
    chunks: Sequence[int],
    dims: Sequence[str],
    about: Mapping[str, Any] | None = None,
) -> Node:
    """Create an array in the store format: zstd with a checksum in every chunk."""
    made: Node = await create_array(
        store=group.store_path,
        name=name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype=dtype,
        fill_value=fill,
        compressors=ZstdCodec(level=3, checksum=True),
        dimension_names=tuple(dims),
        attributes=dict(about or {}),
    )
    return made


def group_paths(root: Group) -> list[str]:
    """Return the keys of the groups of spectra, such as ``xas/Ni-K``."""
    if "spectra" not in root:
        return []
    spectra = group_at(root, "spectra")
    return [f"{technique}/{edge}" for technique, sub in sorted(spectra.groups()) for edge in sorted(sub.group_keys())]


def spectra_group(root: Group, key: str) -> Group:
    """Return the group of spectra with that key."""
    return group_at(root, f"spectra/{key}")


def group_at(root: Group, path: str) -> Group:
    """Return the group at a path; raise StoreError for an array."""
    node = root[path]
    if not isinstance(node, Group):
        raise StoreError(f"/{path} is an array where a group is expected; the store is damaged.")
    return node


def array(group: Group, name: str) -> Array[Any]:
    """Return an array of a group; raise StoreError for a group."""
    node = group[name]
    if not isinstance(node, Array):
        raise StoreError(
            f"/{f'{group.path}/{name}'.lstrip('/')} is a group where an array is expected; the store is damaged."
        )
    return node


def dims_of(node: Array[Any] | Node) -> tuple[str, ...]:
    """Return the names of an array's dimensions."""
    return tuple(str(name) for name in getattr(node.metadata, "dimension_names", None) or ())


def first_dim(node: Array[Any] | Node) -> str:
    """Return the name of an array's first dimension, such as ``spectrum``."""
    return next(iter(dims_of(node)), "")


def count_rows(group: Group) -> int:
    """Return the number of spectra in a group, superseded ones included."""
    return int(array(group, "point_count").shape[0]) if "point_count" in group else 0


def table_length(group: Group) -> int:
    """Return the number of records in a table."""
    first = next(iter(group.arrays()), None)
    return int(first[1].shape[0]) if first else 0


def count_records(root: Group, name: str) -> int:
    """Return the number of records in the table `name`; 0 if it does not exist yet."""
    return table_length(group_at(root, f"tables/{name}")) if f"tables/{name}" in root else 0


def read_words(root: Group, name: str) -> list[str]:
    """Read the vocabulary of a word column: the code is the position."""
    try:
        stored = array(root, f"words/{name}")
    except KeyError:  # no row has such a word yet
        return []
    words: list[str] = np.asarray(stored[:]).tolist()
    return words


def read_columns(group: Group, start: int, stop: int) -> dict[str, NDArray[Any]]:
    """Read all 1-D arrays on ``spectrum`` of some rows, as stored (words as codes), and the hash columns."""
    nodes = {
        name: node
        for name, node in nodes_of(group).items()
        if first_dim(node) == "spectrum" and (node.ndim == 1 or name in HASH_COLUMNS)
    }
    return dict(zip(nodes, read_together(nodes.values(), slice(start, stop)), strict=True))


def read_together(nodes: Iterable[Node], where: slice = slice(None)) -> list[NDArray[Any]]:
    """Read the same rows of several arrays."""
    return [np.asarray(values) for values in together(*(node.getitem(where) for node in nodes))]


def read_rows(source: Array[Any], rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Read rows of a padded array, cropped to `width` points; `rows` in any order, repeats allowed.

    Rows that are close together are read as one range: a chunk has 64 rows anyway.
    """
    out = np.full((len(rows), width), np.nan)
    width = min(width, source.shape[1])
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    breaks = np.flatnonzero(np.diff(sorted_rows) > ROWS) + 1
    for part in np.split(np.arange(len(rows)), breaks):
        if part.size:
            first, last = int(sorted_rows[part[0]]), int(sorted_rows[part[-1]])
            block = np.asarray(source[first : last + 1, :width])
            out[order[part], :width] = block[sorted_rows[part] - first]
    return out


def read_table(root: Group, name: str, columns: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read columns of a table as stored; empty if the table does not exist yet."""
    path = f"tables/{name}"
    wanted = list(TABLES[name] if columns is None else columns)
    if path not in root:
        return {column: np.array([], dtype=STORED[TABLES[name][column]][0]) for column in wanted}
    group = group_at(root, path)
    nodes = nodes_of(group)
    length = next(iter(nodes.values())).shape[0] if nodes else 0
    held = [column for column in wanted if column in nodes]
    stored = dict(zip(held, read_together(nodes[column] for column in held), strict=True))
    return {column: stored[column] if column in stored else _unknown(TABLES[name][column], length) for column in wanted}


def _unknown(kind: Kind, length: int) -> NDArray[Any]:
    """Return the fill values of a column that the table does not have yet."""
    dtype, fill = STORED[kind]
    return np.full(length, fill, dtype=np.dtypes.StringDType() if dtype is str else dtype)


def highest_revisions(names: Iterable[Any], revisions: Iterable[Any]) -> dict[str, int]:
    """Return the highest revision of each name, removed ones included: no revision is used again."""
    highest: dict[str, int] = {}
    for name, revision in zip(names, revisions, strict=True):
        highest[str(name)] = max(highest.get(str(name), 0), int(revision))
    return highest
