"""Icechunk's snapshot files (on-disk format 1), read without icechunk, for damaged stores.

A file is a header of 39 bytes and a zstd frame with a flatbuffer. Its table has the id (field 0), the parent's id (1), the
time in microseconds (3), the message (4) and the manifests (6); ids are 12 bytes, written in Crockford's base 32. Source: the
Icechunk specification, version 1, and its schema ``snapshot.fbs`` (https://icechunk.io/en/latest/spec/).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from numcodecs.zstd import Zstd

from barospec.schemas.errors import StoreError

HEADER, MAGIC = 39, "ICE🧊CHUNK".encode()
ZSTD = 1  # the header's last byte
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID, PARENT, TIME, MESSAGE, MANIFESTS = 0, 1, 3, 4, 6
MANIFEST_BYTES = 32
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Commit metadata of a snapshot file."""

    id: str
    parent: str | None
    time: datetime
    message: str
    manifests: tuple[str, ...]


def read_snapshot(raw: bytes) -> Snapshot:
    """Read a snapshot file. Raise ValueError if it is damaged."""
    try:
        body = _body(raw)
        at = {field: _place(body, field) for field in (ID, PARENT, TIME, MESSAGE, MANIFESTS)}
        (time,) = struct.unpack_from("<Q", body, at[TIME])
        start, length = _vector(body, at[MESSAGE])
        first, count = _vector(body, at[MANIFESTS])
        places = range(first, first + count * MANIFEST_BYTES, MANIFEST_BYTES)
        return Snapshot(
            _id(body, at[ID]),
            _id(body, at[PARENT]) if at[PARENT] else None,
            EPOCH + timedelta(microseconds=time),
            bytes(body[start : start + length]).decode(),
            tuple(_id(body, place) for place in places),
        )
    except (struct.error, RuntimeError, OverflowError, MemoryError, ValueError) as error:
        raise ValueError(f"it is not a snapshot: {error}") from error


def manifests_in(raw: bytes, snapshot: str) -> list[str]:
    """Return the names of the manifest files that a snapshot refers to.

    Icechunk's own call has another result in each version, and never returns on some damaged files.

    Parameters
    ----------
    raw : bytes
        The snapshot's file.
    snapshot : str
        Its identifier, which the file must repeat.

    Raises
    ------
    StoreError
        The file is damaged, or another snapshot's.

    Examples
    --------
    >>> manifests_in(b"text", "1CECHNKREP0F1RSTCMT0")
    Traceback (most recent call last):
    ...
    barospec.schemas.errors.StoreError: snapshot 1CECHNKREP0F1RSTCMT0: its file is damaged (it is not a snapshot: its first bytes ...
    """
    try:
        found = read_snapshot(raw)
    except ValueError as error:
        raise StoreError(f"snapshot {snapshot}: its file is damaged ({error}).") from None
    if found.id != snapshot:
        raise StoreError(f"snapshot {snapshot}: its file is damaged (it is snapshot {found.id}).")
    return list(found.manifests)


def copied(raw: bytes, new: str, parent: str | None, time: datetime) -> bytes:
    """Return a snapshot file with another id, parent and time."""
    microseconds = (time - EPOCH) // timedelta(microseconds=1)
    return _changed(raw, {ID: _bytes(new), PARENT: _bytes(parent or ""), TIME: struct.pack("<Q", microseconds)})


def copied_log(raw: bytes, new: str) -> bytes:
    """Return a transaction log of a snapshot with another id."""
    return _changed(raw, {ID: _bytes(new)})


def new_id() -> str:
    """Return a new unique snapshot id."""
    return _text(os.urandom(12))


def _body(raw: bytes) -> bytes:
    if not raw.startswith(MAGIC) or len(raw) <= HEADER or raw[HEADER - 1] != ZSTD:
        raise ValueError("its first bytes are not those of a snapshot")
    return bytes(Zstd().decode(raw[HEADER:]))


def _changed(raw: bytes, fields: Mapping[int, bytes]) -> bytes:
    body = bytearray(_body(raw))
    for field, value in fields.items():
        place = _place(body, field)
        if place and value:
            body[place : place + len(value)] = value
    return raw[:HEADER] + bytes(Zstd(level=3).encode(bytes(body)))


def _place(body: bytes | bytearray, field: int) -> int:
    """Return the position of a field of the flatbuffer's root table; 0 for an absent one."""
    (root,) = struct.unpack_from("<I", body, 0)
    (back,) = struct.unpack_from("<i", body, root)
    (size,) = struct.unpack_from("<H", body, root - back)
    if 4 + 2 * field >= size:
        return 0
    (offset,) = struct.unpack_from("<H", body, root - back + 4 + 2 * field)
    return root + offset if offset else 0


def _vector(body: bytes, place: int) -> tuple[int, int]:
    """Return the position and number of the elements of a vector or text."""
    if not place:
        return 0, 0
    (offset,) = struct.unpack_from("<I", body, place)
    (count,) = struct.unpack_from("<I", body, place + offset)
    if count > len(body):
        raise ValueError("a length is longer than the file")
    return place + offset + 4, count


def _id(body: bytes, place: int) -> str:
    found = body[place : place + 12]
    if len(found) < 12:
        raise ValueError("an id is cut off")
    return _text(found)


def _text(raw: bytes) -> str:
    number = int.from_bytes(raw, "big") << 4
    return "".join(DIGITS[(number >> shift) & 31] for shift in range(95, -1, -5))


def _bytes(text: str) -> bytes:
    number = 0
    for digit in text:
        number = number * 32 + DIGITS.index(digit)
    return (number >> 4).to_bytes(12, "big") if text else b""
