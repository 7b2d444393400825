"""Where arrays lie in the store, and how rows get in and out.

::

    /spectra/<technique>/<edge-or-line>/     one group per kind of spectrum
        mu | intensity, channels  (spectrum, point)   NaN-padded
        grid                      (spectrum)          row of grid_energy
        grid_energy               (grid, point)       each distinct energy axis once
        one array per term        (spectrum)
    /tables/<name>/                          small labelled groups, one array per column
    /derived/<set>/                          values that operators gave, one entry per spectrum and revision
    /words/<term>                            the vocabulary that integer codes point into

Rows are only ever appended; a column that no row needs does not exist (absent means missing).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.sync import sync

from barospec.archive.columns import SPECTRUM_KINDS, STORED, TABLES
from barospec.archive.store import Changes
from barospec.schemas.errors import StoreError
from barospec.schemas.vocabulary import CHANNELS, DATA_NAME, SPECTRUM_TERMS, Kind

ROWS, POINTS = 64, 1024  # chunk of an array of curves; never taken from the first file
COLUMN_ROWS = 16_384  # chunk of a 1-D array; measured, see README.md
HEADER_ROWS = 256
HASH_COLUMNS = ("row_sha256", "conditions_sha256")

Values = Sequence[Any] | NDArray[Any]


@dataclass(slots=True)
class Batch:
    """Spectra of one group on their way in: parallel lists, one entry per spectrum.

    ``signals[i]`` maps the data name (``mu`` or ``intensity``) and channel names to arrays of the length of
    ``energies[i]``; ``columns`` maps terms to values, None where unknown.
    """

    energies: list[NDArray[np.float64]] = field(default_factory=list)
    signals: list[Mapping[str, NDArray[np.float64]]] = field(default_factory=list)
    columns: list[Mapping[str, Any]] = field(default_factory=list)
    hashes: dict[str, list[bytes]] = field(default_factory=lambda: {name: [] for name in HASH_COLUMNS})

    def __len__(self) -> int:
        return len(self.energies)


def row_sha256(energy: NDArray[np.float64], signals: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Fingerprint of a spectrum's numbers: shape, energy and every signal by name."""
    digest = hashlib.sha256(str(energy.shape).encode())
    digest.update(np.ascontiguousarray(energy, dtype="<f8").tobytes())
    for name in sorted(signals):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(signals[name], dtype="<f8").tobytes())
    return digest.digest()


def create(
    group: zarr.Group,
    name: str,
    dtype: Any,
    fill: Any,
    shape: Sequence[int],
    chunks: Sequence[int],
    dims: Sequence[str],
) -> zarr.Array[Any]:
    """An array as all of ours are: zstd with a checksum in every chunk."""
    return group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype=dtype,
        fill_value=fill,
        compressors=ZstdCodec(level=3, checksum=True),
        dimension_names=tuple(dims),
    )


def group_paths(root: zarr.Group) -> list[str]:
    """Keys of the groups of spectra, such as ``xas/Ni-K``."""
    if "spectra" not in root:
        return []
    spectra = group_at(root, "spectra")
    return [f"{technique}/{edge}" for technique, sub in sorted(spectra.groups()) for edge in sorted(sub.group_keys())]


def spectra_group(root: zarr.Group, key: str) -> zarr.Group:
    """The group of spectra with that key."""
    return group_at(root, f"spectra/{key}")


def group_at(root: zarr.Group, path: str) -> zarr.Group:
    """The group at a path; an array in its place is damage."""
    node = root[path]
    if not isinstance(node, zarr.Group):
        raise StoreError(f"/{path} is an array where a group is expected; the store is damaged.")
    return node


def array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a group; a group in its place is damage."""
    node = group[name]
    if not isinstance(node, zarr.Array):
        raise StoreError(
            f"/{f'{group.path}/{name}'.lstrip('/')} is a group where an array is expected; the store is damaged."
        )
    return node


def dims_of(node: zarr.Array[Any]) -> tuple[str, ...]:
    """Names of an array's dimensions."""
    return tuple(str(name) for name in getattr(node.metadata, "dimension_names", None) or ())


def first_dim(node: zarr.Array[Any]) -> str:
    """Name of an array's first dimension, such as ``spectrum``."""
    return next(iter(dims_of(node)), "")


class Writer:
    """Appends rows inside a transaction and keeps account of them in `changes`."""

    def __init__(self, root: zarr.Group, changes: Changes) -> None:
        self.root = root
        self.changes = changes
        self._words: dict[str, dict[str, int]] = {}

    def append_spectra(self, key: str, batch: Batch) -> tuple[int, int]:
        """Append a batch to the group `key`, making the group if it is the first; returns the rows' range."""
        technique = key.split("/")[0]
        group = self.root.require_group(f"spectra/{key}")
        if "point_count" not in group:
            group.attrs.update({"technique": technique, "data": DATA_NAME[technique]})
        start = count_rows(group)
        stop = start + len(batch)
        width = max(len(energy) for energy in batch.energies)
        names = sorted({name for signals in batch.signals for name in signals})
        for name in names:
            rows = [signals.get(name) for signals in batch.signals]
            self._append_curves(group, name, rows, start, stop, width)
        columns = _transpose(batch.columns)
        columns["grid"] = self._append_grids(group, batch.energies)
        written: dict[str, NDArray[Any]] = {}
        for name, values in columns.items():
            stored = self.append_column(group, name, SPECTRUM_KINDS[name], values, start, "spectrum", COLUMN_ROWS)
            if stored is not None:
                written[name] = stored
        for name, digests in batch.hashes.items():
            written[name] = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
            if name not in group:
                create(group, name, "uint8", 0, (0, 32), (COLUMN_ROWS, 32), ("spectrum", "byte"))
            _write(array(group, name), start, written[name])
        # Every other array follows to the common length; nothing is written for the fill.
        for _, node in group.arrays():
            if first_dim(node) == "spectrum" and node.shape[0] < stop:
                node.resize((stop, *node.shape[1:]))
        self.changes.append(f"spectra/{key}", start, stop, written if len(batch) <= COLUMN_ROWS else None)
        return start, stop

    def edit_spectra(self, key: str, rows: Sequence[int], values: Mapping[str, Any]) -> None:
        """Overwrite columns of some rows with one value each, such as their status."""
        group = spectra_group(self.root, key)
        for name, value in values.items():
            stored = self._encode(name, SPECTRUM_KINDS[name], [value])
            self._require_column(group, name, SPECTRUM_KINDS[name], "spectrum", COLUMN_ROWS, count_rows(group))
            array(group, name).set_orthogonal_selection((np.asarray(rows),), stored[0])
        self.changes.edit(f"spectra/{key}", rows)

    def edit_each(self, key: str, name: str, rows: Sequence[int], values: Sequence[Any]) -> None:
        """Overwrite a column of some rows, each with a value of its own."""
        group = spectra_group(self.root, key)
        stored = self._encode(name, SPECTRUM_KINDS[name], values)
        self._require_column(group, name, SPECTRUM_KINDS[name], "spectrum", COLUMN_ROWS, count_rows(group))
        array(group, name).set_orthogonal_selection((np.asarray(rows),), stored)
        self.changes.edit(f"spectra/{key}", rows)

    def append_table(self, name: str, records: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Append records to the table `name`; returns the rows' range."""
        group = self.root.require_group(f"tables/{name}")
        start = table_length(group)
        rows = HEADER_ROWS if name in ("headers", "sheets") else COLUMN_ROWS
        for column, kind in TABLES[name].items():
            self.append_column(group, column, kind, [record.get(column) for record in records], start, "entry", rows)
        self.changes.tables.add(name)
        return start, start + len(records)

    def edit_table(self, name: str, rows: Sequence[int], values: Mapping[str, Any]) -> None:
        """Overwrite columns of some records with one value each."""
        group = group_at(self.root, f"tables/{name}")
        for column, value in values.items():
            self._require_column(group, column, TABLES[name][column], "entry", COLUMN_ROWS, table_length(group))
            stored = self._encode(column, TABLES[name][column], [value])
            array(group, column).set_orthogonal_selection((np.asarray(rows),), stored[0])
        self.changes.tables.add(name)

    def _append_curves(
        self,
        group: zarr.Group,
        name: str,
        rows: Sequence[NDArray[np.float64] | None],
        start: int,
        stop: int,
        width: int,
    ) -> None:
        if name not in group:
            made = create(group, name, "float64", np.nan, (start, width), (ROWS, POINTS), ("spectrum", "point"))
            made.attrs["meaning"] = CHANNELS.get(name, "the curve")
        target = array(group, name)
        target.resize((stop, max(target.shape[1], width)))
        # Chunk rows at a time: the padded block, not the whole batch, is what memory holds.
        for first in range(start, stop, 16 * ROWS):
            part = rows[first - start : min(stop, first + 16 * ROWS) - start]
            if any(row is not None for row in part):
                target[first : first + len(part), :width] = _pad(part, width)

    def _append_grids(self, group: zarr.Group, energies: Sequence[NDArray[np.float64]]) -> list[int]:
        width = max(len(energy) for energy in energies)
        if "grid_energy" not in group:
            create(group, "grid_energy", "float64", np.nan, (0, width), (ROWS, POINTS), ("grid", "point")).attrs[
                "units"
            ] = "eV"
            create(group, "grid_sha256", "uint8", 0, (0, 32), (COLUMN_ROWS, 32), ("grid", "byte"))
        hashes = array(group, "grid_sha256")
        known = {bytes(row): index for index, row in enumerate(np.asarray(hashes[:], dtype=np.uint8))}
        start = len(known)
        fresh: list[NDArray[np.float64]] = []
        index: list[int] = []
        for energy in energies:
            digest = row_sha256(energy, {})
            if digest not in known:
                known[digest] = start + len(fresh)
                fresh.append(energy)
            index.append(known[digest])
        if fresh:
            self._append_curves(group, "grid_energy", fresh, start, start + len(fresh), width)
            digests = np.frombuffer(b"".join(list(known)[start:]), dtype=np.uint8).reshape(-1, 32)
            _write(hashes, start, digests)
        return index

    def append_column(
        self, group: zarr.Group, name: str, kind: Kind, values: Sequence[Any], start: int, dim: str, rows: int
    ) -> NDArray[Any] | None:
        """Write `values` (None where unknown) as the 1-D array `name` of a group from row `start` on, made if it is new.

        Returns what was written; None where no array is needed yet.
        """
        if dim == "spectrum" and name not in group and all(value is None for value in values):
            return None
        self._require_column(group, name, kind, dim, rows, start)
        encoded = self._encode(name, kind, values)
        _write(array(group, name), start, encoded)
        return encoded

    def _require_column(self, group: zarr.Group, name: str, kind: Kind, dim: str, rows: int, length: int) -> None:
        if name in group:
            return
        dtype, fill = STORED[kind]
        made = create(group, name, dtype, fill, (length,), (rows,), (dim,))
        if kind == "word":
            made.attrs["words"] = f"/words/{name}"
        elif kind == "time":
            made.attrs["units"] = "microseconds since 1970-01-01T00:00:00Z"
        elif name in SPECTRUM_KINDS and (unit := _UNITS.get(name)):
            made.attrs["units"] = unit

    def _encode(self, name: str, kind: Kind, values: Sequence[Any]) -> NDArray[Any]:
        dtype, fill = STORED[kind]
        if kind == "word":
            codes = self._codes(name, {str(value) for value in values if value is not None})
            return np.array([-1 if value is None else codes[str(value)] for value in values], dtype=np.int32)
        if kind == "text":
            return np.array(["" if value is None else str(value) for value in values], dtype=np.dtypes.StringDType())
        return np.array([fill if value is None else value for value in values], dtype=dtype)

    def _codes(self, name: str, values: set[str]) -> dict[str, int]:
        words = self.root.require_group("words")
        codes = self._words.get(name)
        if codes is None:
            present = read_words(self.root, name) if name in words else []
            codes = self._words[name] = {value: code for code, value in enumerate(present)}
        fresh = sorted(values - codes.keys())
        if fresh:
            if name not in words:
                create(words, name, str, "", (0,), (COLUMN_ROWS,), ("code",))
            _write(array(words, name), len(codes), np.array(fresh, dtype=np.dtypes.StringDType()))
            codes.update({value: len(codes) + offset for offset, value in enumerate(fresh)})
        return codes


_UNITS = {term.name: term.unit for term in SPECTRUM_TERMS if term.unit}


def _write(target: zarr.Array[Any], start: int, values: NDArray[Any]) -> None:
    target.resize((start + len(values), *target.shape[1:]))
    target[start:] = values


def _pad(rows: Sequence[NDArray[np.float64] | None], width: int) -> NDArray[np.float64]:
    block = np.full((len(rows), width), np.nan)
    for line, row in zip(block, rows, strict=True):
        if row is not None:
            line[: len(row)] = row
    return block


def _transpose(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = sorted({name for record in records for name in record})
    return {name: [record.get(name) for record in records] for name in names}


def count_rows(group: zarr.Group) -> int:
    """Number of spectra in a group, superseded ones included."""
    return int(array(group, "point_count").shape[0]) if "point_count" in group else 0


def table_length(group: zarr.Group) -> int:
    """Number of records in a table."""
    first = next(iter(group.arrays()), None)
    return int(first[1].shape[0]) if first else 0


def count_records(root: zarr.Group, name: str) -> int:
    """Number of records in the table `name`; 0 when nothing has been put in yet."""
    return table_length(group_at(root, f"tables/{name}")) if f"tables/{name}" in root else 0


def read_words(root: zarr.Group, name: str) -> list[str]:
    """The vocabulary of a word column: the code is the position."""
    try:
        stored = array(root, f"words/{name}")
    except KeyError:  # no row has had such a word yet
        return []
    words: list[str] = np.asarray(stored[:]).tolist()
    return words


def read_columns(group: zarr.Group, start: int, stop: int) -> dict[str, NDArray[Any]]:
    """All 1-D arrays on ``spectrum`` of some rows, as stored (words as codes), and the hash columns."""
    nodes = {
        name: node
        for name, node in group.arrays()
        if first_dim(node) == "spectrum" and (node.ndim == 1 or name in HASH_COLUMNS)
    }

    async def read() -> list[Any]:
        return await asyncio.gather(*(node.async_array.getitem(slice(start, stop)) for node in nodes.values()))

    # All columns in one trip to zarr's event loop: a trip for each takes as long again as reading a thousand rows.
    return dict(zip(nodes, map(np.asarray, sync(read())), strict=True))


def read_rows(source: zarr.Array[Any], rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Rows of a padded array, cropped to `width` points; `rows` in any order, repeats allowed.

    Rows that lie close together are read as one range: a chunk holds 64 of them anyway.
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


def read_table(root: zarr.Group, name: str, columns: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Columns of a table as stored; empty when nothing has been put in yet."""
    path = f"tables/{name}"
    wanted = list(TABLES[name] if columns is None else columns)
    if path not in root:
        return {column: np.array([], dtype=STORED[TABLES[name][column]][0]) for column in wanted}
    group = group_at(root, path)
    length = table_length(group)
    return {
        column: np.asarray(array(group, column)[:]) if column in group else _unknown(TABLES[name][column], length)
        for column in wanted
    }


def _unknown(kind: Kind, length: int) -> NDArray[Any]:
    """A column that the table does not have yet."""
    dtype, fill = STORED[kind]
    return np.full(length, fill, dtype=np.dtypes.StringDType() if dtype is str else dtype)


def highest_revisions(names: Iterable[Any], revisions: Iterable[Any]) -> dict[str, int]:
    """The highest revision of each name, whatever became of it: none is ever used again."""
    highest: dict[str, int] = {}
    for name, revision in zip(names, revisions, strict=True):
        highest[str(name)] = max(highest.get(str(name), 0), int(revision))
    return highest
