"""Lazy arrays over selected rows: one task per block of rows, never one per spectrum.

xarray's own ``open_zarr().isel(rows)`` makes a task per touched chunk and variable; here a task reads a
thousand rows of one variable, wherever they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dask.array import Array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from barospec.archive.history.changed_rows import read_fields
from barospec.archive.store.fingerprints import differing
from barospec.archive.store.read import POINTS, array, read_rows, spectra_group
from barospec.archive.store.repository import cached_reader, reading
from barospec.archive.store.storage.location import locate
from barospec.schemas.errors import NotFound, StoreError
from barospec.schemas.vocabulary import DATA_NAME

BLOCK_ROWS = 1024


def load_energy(root: str, snapshot: str, key: str, rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Read energies of some rows, shape (rows, width), eV; each distinct grid is read once."""
    group = spectra_group(cached_reader(root, snapshot), key)
    grid = array(group, "grid")
    low, high = int(rows.min()), int(rows.max()) + 1
    # A sparse selection over a long archive should not read the whole column of grid numbers.
    numbers = np.asarray(grid[low:high])[rows - low] if high - low < 64 * len(rows) else np.asarray(grid.oindex[rows])
    distinct, inverse = np.unique(numbers, return_inverse=True)
    return read_rows(array(group, "grid_energy"), distinct.astype(np.int64), width)[inverse]


def load_curves(
    root: str, snapshot: str, key: str, name: str, rows: NDArray[np.int64], width: int
) -> NDArray[np.float64]:
    """Read curves of some rows, shape (rows, width); NaN where a row has no such channel.

    Raises StoreError where a spectrum has points but no numbers although some were written: a damaged file of the store can
    make values appear to be missing.
    """
    group = spectra_group(cached_reader(root, snapshot), key)
    curves = read_rows(array(group, name), rows, width)
    if name == DATA_NAME[key.split("/")[0]]:
        _refuse_lost(root, group, key, rows, curves)
    return curves


def _refuse_lost(root: str, group: Any, key: str, rows: NDArray[np.int64], curves: NDArray[np.float64]) -> None:
    """Raise StoreError for lost chunks. These are as wide as POINTS: check the rows of which such a part is empty."""
    suspect = np.zeros(len(rows), dtype=bool)
    for start in range(0, curves.shape[1], POINTS):
        empty = ~np.isfinite(curves[:, start])  # most rows are complete
        empty[empty] = ~np.isfinite(curves[empty, start : start + POINTS]).any(axis=1)
        if start and empty.any():
            counts = np.asarray(array(group, "point_count").get_orthogonal_selection((rows[empty],)))
            empty[empty] = counts > start
        suspect |= empty
    if suspect.any() and (lost := differing(group, np.unique(rows[suspect]))):
        raise StoreError(
            f"{root}, {key}: {len(lost)} spectra have no numbers where some were written (the first is row {lost[0]}): a file "
            "of the store is damaged. Run `barospec verify`, and restore the file from a copy."
        )


def load(
    root: str, snapshot: str, key: str, name: str, rows: NDArray[np.int64], width: int, uuid: str
) -> NDArray[np.float64]:
    """Run one task: read ``energy``, the curve, or a channel, of one block of rows.

    `gc` may have removed the snapshot since the selection was made. Rows never move and their numbers never change, except that
    `purge` empties them, so the newest snapshot has the same, if it is still the same archive (`uuid`).
    """
    try:
        return _load(root, snapshot, key, name, rows, width)
    except (NotFound, StoreError):
        location = locate(root)
        newest = location.head()
        if newest == snapshot or location.uuid != uuid:
            raise
        if "purged" in _load_status(root, newest, key, rows):
            raise StoreError(
                f"{root}: some of these spectra were purged after they were selected. Query again."
            ) from None
        return _load(root, newest, key, name, rows, width)


def _load(root: str, snapshot: str, key: str, name: str, rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    with reading(root):
        if name == "energy":
            return load_energy(root, snapshot, key, rows, width)
        return load_curves(root, snapshot, key, name, rows, width)


def _load_status(root: str, snapshot: str, key: str, rows: NDArray[np.int64]) -> set[str]:
    with reading(root):
        return set(read_fields(cached_reader(root, snapshot), key, rows, ["status"])["status"])


def load_on_grid(
    root: str,
    snapshot: str,
    key: str,
    name: str,
    rows: NDArray[np.int64],
    width: int,
    uuid: str,
    target: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Read curves of some rows, linearly interpolated to `target` (eV); NaN outside the measured range."""
    energies = load(root, snapshot, key, "energy", rows, width, uuid)
    curves = load(root, snapshot, key, name, rows, width, uuid)
    return interpolate(energies, curves, target)


def interpolate(
    energies: NDArray[np.float64], curves: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate each row of `curves` linearly to the energies `target`, NaN outside; rows may be padded and unsorted.

    >>> interpolate(np.array([[1.0, 2.0, np.nan]]), np.array([[0.0, 10.0, np.nan]]), np.array([1.5, 3.0]))
    array([[ 5., nan]])
    """
    out = np.full((len(curves), len(target)), np.nan)
    for line, energy, curve in zip(out, energies, curves, strict=True):
        good = np.isfinite(energy) & np.isfinite(curve)
        x, y = energy[good], curve[good]
        if x.size > 1:
            if np.any(np.diff(x) < 0):
                order = np.argsort(x, kind="stable")
                x, y = x[order], y[order]
            line[:] = np.interp(target, x, y, left=np.nan, right=np.nan)
    return out


def blocks(count: int) -> tuple[int, ...]:
    """Return lengths of the blocks of `count` rows."""
    full, rest = divmod(count, BLOCK_ROWS)
    return (BLOCK_ROWS,) * full + ((rest,) if rest else ())


def lazy(
    root: str,
    snapshot: str,
    key: str,
    name: str,
    rows: NDArray[np.int64],
    width: int,
    uuid: str,
    target: NDArray[np.float64] | None = None,
) -> Array:
    """Return a dask array of one variable over the selected rows; nothing is read until it is computed."""
    lengths = blocks(len(rows))
    columns = width if target is None else len(target)
    label = f"{name}-{tokenize(root, snapshot, key, name, rows, width, target)}"
    tasks: dict[Any, Any] = {}
    start = 0
    for number, length in enumerate(lengths):
        part = rows[start : start + length]
        start += length
        if target is None:
            tasks[label, number, 0] = (load, root, snapshot, key, name, part, width, uuid)
        else:
            tasks[label, number, 0] = (load_on_grid, root, snapshot, key, name, part, width, uuid, target)
    graph = HighLevelGraph.from_collections(label, tasks, dependencies=[])
    return Array(graph, label, (lengths, (columns,)), dtype=np.float64)  # type: ignore[no-untyped-call]
