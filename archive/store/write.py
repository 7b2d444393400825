"""Writing of rows to the store: a batch in a few trips to zarr's event loop.

A trip takes as long as most of the work in it, and a batch has forty columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from barospec.archive.store.commits import Changes
from barospec.archive.store.fingerprints import column_of
from barospec.archive.store.read import (
    COLUMN_ROWS,
    HASH_COLUMNS,
    HEADER_ROWS,
    POINTS,
    ROWS,
    Node,
    array,
    count_rows,
    creating,
    first_dim,
    group_at,
    nodes_of,
    read_together,
    row_sha256,
    spectra_group,
    table_length,
    together,
)
from barospec.archive.store.table_schema import SPECTRUM_KINDS, STORED, TABLES
from barospec.schemas.vocabulary import CHANNELS, DATA_NAME, SPECTRUM_TERMS, Kind

Columns = Mapping[str, tuple[Kind, Sequence[Any]]]


@dataclass(slots=True)
class Batch:
    """Spectra of one group to write: parallel lists, one entry per spectrum.

    ``signals[i]`` maps the data name (``mu`` or ``intensity``) and channel names to arrays of the length of
    ``energies[i]``; ``columns`` maps terms to values, None where unknown.
    """

    energies: list[NDArray[np.float64]] = field(default_factory=list)
    signals: list[Mapping[str, NDArray[np.float64]]] = field(default_factory=list)
    columns: list[Mapping[str, Any]] = field(default_factory=list)
    hashes: dict[str, list[bytes]] = field(default_factory=lambda: {name: [] for name in HASH_COLUMNS})

    def __len__(self) -> int:
        return len(self.energies)


class Writer:
    """Writer of rows inside a transaction; records them in `changes`."""

    def __init__(self, root: zarr.Group, changes: Changes) -> None:
        self.root = root
        self.changes = changes
        self._codes: dict[str, dict[str, int]] = {}

    def append_spectra(self, key: str, batch: Batch) -> tuple[int, int]:
        """Append a batch to the group `key`, creating the group if needed; return the range of rows."""
        technique = key.split("/")[0]
        group = self.root.require_group(f"spectra/{key}")
        nodes = nodes_of(group)
        if "point_count" not in nodes:
            group.attrs.update({"technique": technique, "data": DATA_NAME[technique]})
        start = nodes["point_count"].shape[0] if "point_count" in nodes else 0
        stop = start + len(batch)
        width = max(len(energy) for energy in batch.energies)
        for name in sorted({name for signals in batch.signals for name in signals}):
            rows = [signals.get(name) for signals in batch.signals]
            about = {"meaning": CHANNELS.get(name, "the curve")}
            _append_curves(group, nodes, name, rows, start, width, "spectrum", about)
        values = _transpose(batch.columns)
        values["grid"] = _append_grids(group, nodes, batch.energies)
        kinds = {
            name: SPECTRUM_KINDS[name]
            for name, column in values.items()
            if name in nodes or any(value is not None for value in column)
        }
        written = self._encode({name: (kind, values[name]) for name, kind in kinds.items()})
        for name, digests in batch.hashes.items():
            written[name] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
        fingerprints = _fingerprints(batch)
        # Every other array gets the common length; nothing is written for the fill.
        behind = [
            node
            for name, node in nodes.items()
            if first_dim(node) == "spectrum"
            and node.shape[0] < stop
            and name not in written
            and name not in fingerprints
        ]
        together(
            *(
                _extend(group, nodes, name, column, start, "spectrum", kinds.get(name), COLUMN_ROWS)
                for name, column in (written | fingerprints).items()
            ),
            *(_lengthen(node, stop) for node in behind),
        )
        self.changes.append(f"spectra/{key}", start, stop, written if len(batch) <= COLUMN_ROWS else None)
        return start, stop

    def edit_spectra(self, key: str, rows: Sequence[int], values: Mapping[str, Any]) -> None:
        """Overwrite columns of some rows with one value each, such as their status."""
        group = spectra_group(self.root, key)
        for name, value in values.items():
            kind = SPECTRUM_KINDS[name]
            stored = self._encode({name: (kind, [value])})[name]
            column = _require_column(group, name, kind, "spectrum", count_rows(group))
            column.set_orthogonal_selection((np.asarray(rows),), stored[0])
        self.changes.edit(f"spectra/{key}", rows)

    def edit_each(self, key: str, name: str, rows: Sequence[int], values: Sequence[Any]) -> None:
        """Overwrite a column of some rows, each with its own value."""
        group = spectra_group(self.root, key)
        kind = SPECTRUM_KINDS[name]
        stored = self._encode({name: (kind, values)})[name]
        column = _require_column(group, name, kind, "spectrum", count_rows(group))
        column.set_orthogonal_selection((np.asarray(rows),), stored)
        self.changes.edit(f"spectra/{key}", rows)

    def append_table(self, name: str, records: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Append records to the table `name`; return the range of rows."""
        group = self.root.require_group(f"tables/{name}")
        nodes = nodes_of(group)
        start = next(iter(nodes.values())).shape[0] if nodes else 0
        columns = {column: (kind, [record.get(column) for record in records]) for column, kind in TABLES[name].items()}
        self._append(group, nodes, columns, start, HEADER_ROWS if name in ("headers", "sheets") else COLUMN_ROWS)
        self.changes.tables.add(name)
        return start, start + len(records)

    def append_columns(self, group: zarr.Group, columns: Columns, start: int) -> None:
        """Write values (None where unknown) of columns on ``entry`` from row `start` on; create new columns."""
        self._append(group, nodes_of(group), columns, start, COLUMN_ROWS)

    def _append(self, group: zarr.Group, nodes: Mapping[str, Node], columns: Columns, start: int, rows: int) -> None:
        written = self._encode(columns)
        together(
            *(_extend(group, nodes, name, written[name], start, "entry", columns[name][0], rows) for name in columns)
        )

    def edit_table(self, name: str, rows: Sequence[int], values: Mapping[str, Any]) -> None:
        """Overwrite columns of some records with one value each."""
        group = group_at(self.root, f"tables/{name}")
        for column, value in values.items():
            kind = TABLES[name][column]
            stored = self._encode({column: (kind, [value])})[column]
            held = _require_column(group, column, kind, "entry", table_length(group))
            held.set_orthogonal_selection((np.asarray(rows),), stored[0])
        self.changes.tables.add(name)

    def _encode(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Return values as stored: words as codes, unknown values as the fill."""
        needed = {
            name: {str(value) for value in values if value is not None}
            for name, (kind, values) in columns.items()
            if kind == "word"
        }
        if any(words - self._codes.get(name, {}).keys() for name, words in needed.items()):
            self._learn(needed)
        return {name: self._stored(name, kind, values) for name, (kind, values) in columns.items()}

    def _stored(self, name: str, kind: Kind, values: Sequence[Any]) -> NDArray[Any]:
        dtype, fill = STORED[kind]
        if kind == "word":
            codes = self._codes.get(name, {})
            return np.array([-1 if value is None else codes[str(value)] for value in values], dtype=np.int32)
        if kind == "text":
            return np.array(["" if value is None else str(value) for value in values], dtype=np.dtypes.StringDType())
        return np.array([fill if value is None else value for value in values], dtype=dtype)

    def _learn(self, needed: Mapping[str, set[str]]) -> None:
        """Read the vocabularies that are not known here yet, and add the missing words to all of them."""
        group = self.root.require_group("words")
        nodes = nodes_of(group)
        unread = [name for name in needed if name not in self._codes]
        held = [name for name in unread if name in nodes]
        present = dict(zip(held, read_together(nodes[name] for name in held), strict=True))
        for name in unread:
            self._codes[name] = {str(word): code for code, word in enumerate(present.get(name, ()))}
        works = []
        for name, words in needed.items():
            codes = self._codes[name]
            if fresh := sorted(words - codes.keys()):
                stored = np.array(fresh, dtype=np.dtypes.StringDType())
                works.append(_extend(group, nodes, name, stored, len(codes), "code", "text", COLUMN_ROWS))
                codes.update({word: len(codes) + offset for offset, word in enumerate(fresh)})
        together(*works)


_UNITS = {term.name: term.unit for term in SPECTRUM_TERMS if term.unit}


def _about(name: str, kind: Kind) -> dict[str, str]:
    """Return the attributes of a column."""
    if kind == "word":
        return {"words": f"/words/{name}"}
    if kind == "time":
        return {"units": "microseconds since 1970-01-01T00:00:00Z"}
    unit = _UNITS.get(name) if name in SPECTRUM_KINDS else None
    return {"units": unit} if unit else {}


async def _extend(
    group: zarr.Group,
    nodes: Mapping[str, Node],
    name: str,
    values: NDArray[Any],
    start: int,
    dim: str,
    kind: Kind | None,
    rows: int,
) -> None:
    """Write a column from row `start` on, at its end or beyond; create a new one. Fingerprints have no kind."""
    stop, tail = start + len(values), values.shape[1:]
    if name in nodes:
        node = nodes[name]
        await _lengthen(node, stop)
    else:
        dtype, fill = STORED[kind] if kind else ("uint8", 0)
        dims = (dim,) if kind else (dim, "byte")
        about = _about(name, kind) if kind and dim != "code" else {}
        node = await creating(group, name, dtype, fill, (stop, *tail), (rows, *tail), dims, about)
    await node.setitem(slice(start, stop), values)


async def _lengthen(node: Node, stop: int, width: int = 0) -> None:
    tail = (max(node.shape[1], width), *node.shape[2:]) if node.ndim > 1 else ()
    # No chunk is outside: a search would take longer the more there are.
    await node.resize((stop, *tail), delete_outside_chunks=False)


def _require_column(group: zarr.Group, name: str, kind: Kind, dim: str, length: int) -> zarr.Array[Any]:
    """Return a column; create a new one."""
    if name not in group:
        dtype, fill = STORED[kind]
        together(creating(group, name, dtype, fill, (length,), (COLUMN_ROWS,), (dim,), _about(name, kind)))
    return array(group, name)


def _append_curves(
    group: zarr.Group,
    nodes: Mapping[str, Node],
    name: str,
    rows: Sequence[NDArray[np.float64] | None],
    start: int,
    width: int,
    dim: str,
    about: Mapping[str, str],
) -> None:
    """Write curves as rows from `start` on, padded to `width`."""
    stop = start + len(rows)
    if name in nodes:
        node = nodes[name]
        together(_lengthen(node, stop, width))
    else:
        (node,) = together(
            creating(group, name, "float64", np.nan, (stop, width), (ROWS, POINTS), (dim, "point"), about)
        )
    # Chunk rows at a time: only the padded block is in memory, not the whole batch.
    for first in range(start, stop, 16 * ROWS):
        part = rows[first - start : min(stop, first + 16 * ROWS) - start]
        if any(row is not None for row in part):
            together(node.setitem((slice(first, first + len(part)), slice(0, width)), _pad(part, width)))


def _append_grids(group: zarr.Group, nodes: Mapping[str, Node], energies: Sequence[NDArray[np.float64]]) -> list[int]:
    """Return the rows of ``grid_energy`` that have these energies; write each new one once."""
    hashes = read_together([nodes["grid_sha256"]])[0] if "grid_sha256" in nodes else ()
    known = {bytes(row): index for index, row in enumerate(hashes)}
    start, width = len(known), max(len(energy) for energy in energies)
    fresh: list[NDArray[np.float64]] = []
    index: list[int] = []
    for energy in energies:
        digest = row_sha256(energy, {})
        if digest not in known:
            known[digest] = start + len(fresh)
            fresh.append(energy)
        index.append(known[digest])
    if fresh:
        _append_curves(group, nodes, "grid_energy", fresh, start, width, "grid", {"units": "eV"})
        digests = np.frombuffer(b"".join(list(known)[start:]), dtype=np.uint8).reshape(-1, 32)
        together(_extend(group, nodes, "grid_sha256", digests, start, "grid", None, COLUMN_ROWS))
    return index


def _fingerprints(batch: Batch) -> dict[str, NDArray[np.uint8]]:
    """Return the fingerprint of each signal, see `fingerprints`; zeros if a spectrum does not have it."""
    found: dict[str, NDArray[np.uint8]] = {}
    for place, (energy, signals) in enumerate(zip(batch.energies, batch.signals, strict=True)):
        for name, values in signals.items():
            column = found.setdefault(column_of(name), np.zeros((len(batch), 32), dtype=np.uint8))
            column[place] = np.frombuffer(row_sha256(energy, {name: values}), dtype=np.uint8)
    return found


def _pad(rows: Sequence[NDArray[np.float64] | None], width: int) -> NDArray[np.float64]:
    block = np.full((len(rows), width), np.nan)
    for line, row in zip(block, rows, strict=True):
        if row is not None:
            line[: len(row)] = row
    return block


def _transpose(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = sorted({name for record in records for name in record})
    return {name: [record.get(name) for record in records] for name in names}
