"""The manifests that a snapshot refers to, read from Icechunk's own file.

Each version of the library has another call for this (or none), and on a damaged file one of them never returns. The file
is simple and its format frozen: 39 bytes of header, then a FlatBuffers table compressed with zstd. Source: the Icechunk
specification, versions 1 and 2, and the schema ``snapshot.fbs`` (https://icechunk.io/en/latest/spec/).
"""

from __future__ import annotations

import struct

from numcodecs.zstd import Zstd

from barospec.schemas.errors import StoreError

MAGIC = b"ICE\xf0\x9f\xa7\x8aCHUNK"
HEADER = 39
SNAPSHOT, ZSTD = 1, 1
# Places of the fields in the table ``Snapshot``.
ID, MANIFEST_FILES, MANIFEST_FILES_V2 = 0, 6, 7
ENTRY = 32  # of the vector ``manifest_files``: 12 bytes of id, padding, size, number of references, padding
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32


def manifests_in(content: bytes, snapshot: str) -> list[str]:
    """Return the names of the manifest files that a snapshot refers to, as the file lists them.

    Parameters
    ----------
    content : bytes
        The snapshot's file.
    snapshot : str
        Its identifier, which the file must repeat.

    Raises
    ------
    StoreError
        The file is no snapshot, is damaged, or is another snapshot's.

    Examples
    --------
    >>> manifests_in(b"text", "1CECHNKREP0F1RSTCMT0")
    Traceback (most recent call last):
    ...
    barospec.schemas.errors.StoreError: snapshot 1CECHNKREP0F1RSTCMT0: its file is damaged (no header of Icechunk).
    """
    try:
        if len(content) < HEADER or content[:12] != MAGIC:
            raise ValueError("no header of Icechunk")
        if content[37] != SNAPSHOT:
            raise ValueError(f"file type {content[37]} instead of {SNAPSHOT}")
        body = content[HEADER:]
        return _manifests(bytes(Zstd().decode(body)) if content[38] == ZSTD else body, snapshot)
    except (ValueError, RuntimeError, MemoryError, struct.error) as error:
        why = "it ends too early" if isinstance(error, struct.error) else str(error)
        raise StoreError(f"snapshot {snapshot}: its file is damaged ({why}).") from None


def _manifests(body: bytes, snapshot: str) -> list[str]:
    (table,) = struct.unpack_from("<I", body)
    found = _name(body, _field(body, table, ID, required=True))
    if found != snapshot:
        raise ValueError(f"it is snapshot {found}")
    names: list[str] = []
    if later := _field(body, table, MANIFEST_FILES_V2):
        start, count = _vector(body, later)
        for place in range(start, start + 4 * count, 4):
            entry = place + struct.unpack_from("<I", body, place)[0]
            names.append(_name(body, _field(body, entry, 0, required=True)))
    start, count = _vector(body, _field(body, table, MANIFEST_FILES, required=True))
    return names + [_name(body, start + ENTRY * index) for index in range(count)]


def _field(body: bytes, table: int, place: int, *, required: bool = False) -> int:
    """Return where a field of a table begins; 0 for one that is absent."""
    rules = table - struct.unpack_from("<i", body, table)[0]
    if rules < 0:
        raise ValueError("a table without a description")
    (size,) = struct.unpack_from("<H", body, rules)
    offset = struct.unpack_from("<H", body, rules + 4 + 2 * place)[0] if size >= 6 + 2 * place else 0
    if required and not offset:
        raise ValueError(f"field {place} is missing")
    return table + offset if offset else 0


def _vector(body: bytes, place: int) -> tuple[int, int]:
    """Return where the items of a vector begin, and their number."""
    start = place + struct.unpack_from("<I", body, place)[0]
    (count,) = struct.unpack_from("<I", body, start)
    if count > len(body) // 4:
        raise ValueError(f"a list of {count} items in {len(body)} bytes")
    return start + 4, count


def _name(body: bytes, place: int) -> str:
    """Return the name of an object: the 12 bytes of its identifier in base 32."""
    raw = body[place : place + 12]
    if len(raw) < 12:
        raise ValueError("it ends too early")
    bits = int.from_bytes(raw, "big") << 4  # 96 bits in 20 digits of 5
    return "".join(ALPHABET[bits >> shift & 31] for shift in range(95, -1, -5))
