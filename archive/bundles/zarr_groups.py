"""Plain zarr groups of bundles: written for stock tools, read only after every byte count was checked.

A group is one Zarr v3 folder with consolidated metadata. A short list says what an untrusted one may contain;
everything else is refused before zarr reads it and before memory is allocated for it.
"""

from __future__ import annotations

import json
import math
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from barospec.archive.bundles.bagit import files_in
from barospec.schemas.errors import InvalidData

ROWS = 256  # a chunk of 256 spectra of 500 points is a megabyte: few requests over HTTP, little waste for one spectrum
POINTS = 4096
LONGEST_CHUNK = 64 << 20
LONGEST_TEXT = 32 << 20  # of one JSON file
MOST_ROWS, MOST_POINTS = 10_000_000, 200_000
BLOCK_VALUES = 1 << 22  # values held at a time while a group is read: 32 MB per array
DIMENSIONS = ("spectrum", "point")
REFERENCE = "reference_"  # and an operator's name: a value for each of its references
TYPES: Mapping[str, int] = {"float64": 8, "int64": 8, "int16": 2, "uint8": 1, "string": 0}
_ZSTD = 0xFD2FB528
_ZSTD_BLOCK = 128 << 10  # maximum size of a compressed block


class GroupWriter:
    """Writer of one group, by array or by block of rows.

    Parameters
    ----------
    path : Path
        The folder to make.
    attributes : mapping
        Of the group. ``coordinates`` is filled in by `close`.
    """

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._path = path
        self._group = zarr.create_group(str(path), zarr_format=3)
        self._attributes = dict(attributes)
        self._coordinates: list[str] = []
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def create(
        self,
        name: str,
        dtype: str,
        shape: Sequence[int],
        dims: Sequence[str],
        attributes: Mapping[str, Any],
        *,
        coordinate: bool = False,
    ) -> None:
        """Declare an array; `dtype` is one of `TYPES`."""
        fill: Any = {"float64": math.nan, "string": ""}.get(dtype, 0)
        chunks = [min(size, ROWS if dim == "spectrum" else POINTS) or 1 for size, dim in zip(shape, dims, strict=True)]
        self._arrays[name] = self._group.create_array(
            name,
            shape=tuple(shape),
            chunks=tuple(chunks),
            dtype=str if dtype == "string" else dtype,
            fill_value=fill,
            compressors=ZstdCodec(level=3, checksum=True),
            dimension_names=tuple(dims),
            # A missing chunk would read as unknown values, so every chunk is written.
            config={"write_empty_chunks": True},
            attributes=dict(attributes),
        )
        if coordinate:
            self._coordinates.append(name)

    def write(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Write rows into an array from `start` on."""
        self._arrays[name][start : start + len(values)] = values

    def close(self) -> None:
        """Write the group's attributes and the consolidated metadata."""
        self._group.attrs.update({**self._attributes, "coordinates": " ".join(self._coordinates)})
        with warnings.catch_warnings():
            # True, and what every reader of zarr v3 does in the meantime.
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(str(self._path))


class GroupReader:
    """A group of a bundle that passed `check_group`.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.described = check_group(path)
        self._group = zarr.open_group(str(path), mode="r", use_consolidated=False)
        self.attributes: dict[str, Any] = dict(self._group.attrs)

    @property
    def names(self) -> list[str]:
        """Arrays of the group."""
        return list(self.described)

    def __len__(self) -> int:
        return int(self.described["spectrum_id"]["shape"][0])

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the names of an array's dimensions."""
        return tuple(self.described[name]["dimension_names"])

    def attrs(self, name: str) -> dict[str, Any]:
        """Return the attributes of an array."""
        return dict(self.described[name].get("attributes", {}))

    def kind(self, name: str) -> str:
        """Return the type of an array, a key of `TYPES`."""
        return str(self.described[name]["data_type"])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read rows of an array; text as objects."""
        source = self._group[name]
        assert isinstance(source, zarr.Array)
        values = np.asarray(source[start : len(self) if stop is None else stop])
        return values.astype(object) if self.kind(name) == "string" else values

    @cached_property
    def width(self) -> int:
        """Points of the longest curve."""
        return max((self.described[name]["shape"][1] for name in self.names if "point" in self.dims(name)), default=1)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of rows that fit into memory together."""
        rows = max(1, min(4096, BLOCK_VALUES // max(1, self.width)))
        for start in range(0, len(self), rows):
            yield start, min(len(self), start + rows)


def load_json(path: Path, most: int = LONGEST_TEXT) -> Any:
    """Read JSON from an untrusted file. Raise InvalidData if it is too long, invalid or nested too deeply."""
    try:
        if path.stat().st_size > most:
            raise InvalidData(f"{path.name} is larger than {most >> 20} MB; refused.")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidData(f"{path.parent.name}/{path.name} is missing.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidData):
            raise
        raise InvalidData(f"{path.parent.name}/{path.name} is not valid JSON: {str(error)[:80]}.") from None


def check_group(path: Path) -> dict[str, dict[str, Any]]:
    """Check a group's metadata against its files; return the metadata of its arrays by name.

    Raises
    ------
    InvalidData
        For content that no bundle has: other types, codecs or dimensions, shapes that the chunks do not fill, chunks that
        unpack to another size than declared, metadata that differ between array and group, unknown files.
    """
    root = load_json(path / "zarr.json")
    where = path.name
    if not isinstance(root, dict) or (root.get("zarr_format"), root.get("node_type")) != (3, "group"):
        raise InvalidData(f"{where}: zarr.json describes no Zarr v3 group.")
    listed = root.get("consolidated_metadata")
    arrays = listed.get("metadata") if isinstance(listed, dict) else None
    if not isinstance(arrays, dict) or "spectrum_id" not in arrays:
        raise InvalidData(f"{where}: its consolidated metadata list no spectra.")
    expected = {"zarr.json"}
    for name, described in arrays.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidData(f'{where}: "{str(name)[:60]}" is no name of an array.')
        if load_json(path / name / "zarr.json") != described:
            raise InvalidData(f"{where}/{name}: its own metadata differ from those of the group.")
        expected.add(f"{name}/zarr.json")
        expected |= {f"{name}/{key}" for key in _check_array(path / name, f"{where}/{name}", described)}
    rows = arrays["spectrum_id"]["shape"][0]
    for name, described in arrays.items():
        lengths = dict(zip(described["dimension_names"], described["shape"], strict=True))
        if lengths.get("spectrum", rows) != rows:
            raise InvalidData(f"{where}/{name}: {lengths['spectrum']} rows, but there are {rows} spectra.")
    stray = {name for name, _ in files_in(path)} - expected
    if stray:
        raise InvalidData(f"{where}: {min(stray)} belongs to no array.")
    return arrays


def _check_array(path: Path, where: str, described: Any) -> list[str]:
    """Check an array's chunk files; return their names."""
    if not isinstance(described, dict) or described.get("node_type") != "array" or described.get("zarr_format") != 3:
        raise InvalidData(f"{where}: no Zarr v3 array.")
    kind, shape, chunks, _ = _layout(where, described)
    _check_codecs(where, kind, described)
    names = []
    counts = [-(-length // chunk) for length, chunk in zip(shape, chunks, strict=True)]
    present = sum(1 for _ in (path / "c").rglob("*")) if (path / "c").is_dir() else 0
    if math.prod(counts) > present:
        raise InvalidData(f"{where}: {math.prod(counts)} chunks are declared, but fewer are there. Refused.")
    for index in np.ndindex(*counts):
        name = "/".join(["c", *map(str, index)])
        _check_chunk(path / name, f"{where}/{name}", kind, math.prod(chunks))
        names.append(name)
    return names


def _layout(where: str, described: Mapping[str, Any]) -> tuple[str, list[int], list[int], list[str]]:
    """Return type, shape, chunks and dimensions of an array; raise InvalidData unless a bundle may have them."""
    kind, shape, dims = (described.get(key) for key in ("data_type", "shape", "dimension_names"))
    if not isinstance(kind, str) or kind not in TYPES:
        raise InvalidData(
            f"{where}: the type {str(kind)[:60]} is none that a bundle has ({', '.join(TYPES)}). Refused."
        )
    grid = described.get("chunk_grid") or {}
    regular = isinstance(grid, dict) and grid.get("name") == "regular"
    chunks = (grid.get("configuration") or {}).get("chunk_shape") if regular else None
    if not (isinstance(shape, list) and isinstance(chunks, list) and isinstance(dims, list)):
        raise InvalidData(f"{where}: shape, chunks or dimensions are not stated. Refused.")
    if not (_counts(shape) and _counts(chunks) and len(shape) == len(chunks) == len(dims)):
        raise InvalidData(f"{where}: shape, chunks and dimensions do not fit together. Refused.")
    if len(shape) not in (1, 2) or any(not _is_dimension(dim) for dim in dims) or min(chunks) < 1:
        raise InvalidData(f"{where}: dimensions {dims} are none that a bundle has. Refused.")
    size = math.prod(chunks) * (TYPES[kind] or 1)
    if max(shape) > MOST_ROWS or max(shape[1:], default=0) > MOST_POINTS or size > LONGEST_CHUNK:
        raise InvalidData(f"{where}: a shape of {shape} in chunks of {chunks} is larger than any bundle's. Refused.")
    return kind, shape, chunks, dims


def _is_dimension(name: Any) -> bool:
    return isinstance(name, str) and (name in DIMENSIONS or (name.startswith(REFERENCE) and name.isidentifier()))


def _counts(value: list[Any]) -> bool:
    return all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value)


def _check_codecs(where: str, kind: str, described: Mapping[str, Any]) -> None:
    codecs = described.get("codecs")
    names = [codec.get("name") for codec in codecs if isinstance(codec, dict)] if isinstance(codecs, list) else []
    wanted = ["vlen-utf8" if kind == "string" else "bytes", "zstd"]
    if names != wanted:
        raise InvalidData(f"{where}: codecs {names} where a bundle has {wanted}. Refused.")
    assert isinstance(codecs, list)
    endian = (codecs[0].get("configuration") or {}).get("endian", "little")
    key = described.get("chunk_key_encoding")
    plain = key == {"name": "default", "configuration": {"separator": "/"}} or key == {"name": "default"}
    fill = described.get("fill_value")
    if endian != "little" or not plain or described.get("storage_transformers"):
        raise InvalidData(f"{where}: byte order, chunk names or transformers are none that a bundle has. Refused.")
    if not isinstance(fill, int | float | str) or (isinstance(fill, str) and fill not in ("", "NaN")):
        raise InvalidData(f"{where}: the fill value {str(fill)[:40]} is none that a bundle has. Refused.")


def _check_chunk(path: Path, where: str, kind: str, items: int) -> None:
    """Compare the declared unpacked size of a chunk with its array's, before unpacking."""
    try:
        if path.stat().st_size > LONGEST_CHUNK:
            raise InvalidData(f"{where} is larger than {LONGEST_CHUNK >> 20} MB. Refused.")
        size = unpacked_size(path.read_bytes())
    except FileNotFoundError:
        raise InvalidData(f"{where} is missing.") from None
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None
    if size != items * TYPES[kind] if kind != "string" else size > LONGEST_CHUNK:
        expected = f"{items * TYPES[kind]} bytes" if kind != "string" else f"at most {LONGEST_CHUNK >> 20} MB"
        raise InvalidData(f"{where} would unpack to {size} bytes where {expected} are declared. Refused.")
    if kind == "string":
        from numcodecs.zstd import decompress

        try:
            text = decompress(path.read_bytes())
        except RuntimeError as error:
            raise InvalidData(f"{where} cannot be unpacked: {error}.") from None
        if len(text) < 4 or struct.unpack("<I", bytes(text[:4]))[0] != items:
            raise InvalidData(f"{where} does not hold the {items} texts that are declared. Refused.")


def unpacked_size(packed: bytes) -> int:
    """Return the declared unpacked size of a chunk in bytes: one whole zstd frame, nothing after it (RFC 8878, 3.1.1).

    A decoder reads all frames and concatenates them; zarr writes one. The frame's header, each of its
    blocks and its checksum are counted, so that trailing bytes are found without unpacking. The maximum size of the blocks is
    counted as well: a decoder that ignores the header unpacks no more.

    Raises
    ------
    InvalidData
        It is not a frame, has no size, is cut off, or bytes follow it.

    Examples
    --------
    >>> unpacked_size(bytes.fromhex("28b52ffd2404210000") + b"abcd" + bytes(4))
    4
    """
    if len(packed) < 6 or int.from_bytes(packed[:4], "little") != _ZSTD:
        raise InvalidData("it does not begin with a zstd frame. Refused.")
    flags = packed[4]
    single = bool(flags & 0x20)
    place = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    width = (1 if single else 0, 2, 4, 8)[flags >> 6]
    if not width:
        raise InvalidData("its zstd frame does not state its unpacked size. Refused.")
    size = int.from_bytes(packed[place : place + width], "little") + (256 if width == 2 else 0)
    place += width
    most, last = 0, False
    while not last:
        head = int.from_bytes(packed[place : place + 3], "little")
        last, kind, length = bool(head & 1), head >> 1 & 3, head >> 3
        if kind == 3 or place + 3 > len(packed):
            raise InvalidData("its zstd frame is cut off or damaged. Refused.")
        most += length if kind < 2 else _ZSTD_BLOCK
        place += 3 + (1 if kind == 1 else length)  # a run of one byte holds that byte
    place += 4 if flags & 4 else 0
    if place != len(packed):
        what = (
            "its zstd frame is cut off" if place > len(packed) else f"{len(packed) - place} bytes follow its zstd frame"
        )
        raise InvalidData(f"{what}; a chunk of a bundle is one frame, whole. Refused.")
    if most < size:
        raise InvalidData(f"its zstd frame states {size} bytes, but its blocks hold {most} at most. Refused.")
    return size
