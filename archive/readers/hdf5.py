"""What the HDF5 readers share: opening a file, and looking into one that may be damaged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.schemas.errors import UnreadableFile

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# In every file of that application definition, in none of BLISS's own.
NXXAS = b"NXxas"


# Names and attributes of BLISS and NeXus files lie before the data of the first scans.
_SEARCHED = 32 * 2**20


def mentions(path: Path, pattern: bytes) -> bool:
    """Whether a pattern, in any capitalization, occurs in the first 32 MB of a file.

    Parameters
    ----------
    path : Path
        The file.
    pattern : bytes
        A regular expression of at most some 30 characters.

    Returns
    -------
    bool
        False when the file cannot be read.
    """
    expression = re.compile(pattern, re.IGNORECASE)
    tail = b""
    try:
        with path.open("rb") as file:
            for _ in range(_SEARCHED // 2**20):
                block = file.read(2**20)
                if expression.search(tail + block):
                    return True
                if not block:
                    return False
                tail = block[-64:]
    except OSError:
        return False
    return False


def open_file(path: Path) -> h5py.File:
    """An HDF5 file for reading.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    h5py.File

    Raises
    ------
    UnreadableFile
        Saying whether it is locked by its writer, truncated, or damaged.
    """
    import h5py
    import hdf5plugin  # noqa: F401  registers the compressions that detectors use

    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        text = str(error)
        if "truncated" in text:
            why = "is truncated: still being written or copied? Try again when that has ended."
        elif "unable to lock" in text or isinstance(error, BlockingIOError):
            why = "is locked by the program that writes it. Try again when it has ended, or read a copy."
        else:
            why = f"is no readable HDF5 file ({text.splitlines()[0]}): damaged, or still being written?"
        raise UnreadableFile(f"{path}: {why}") from None


def by_number(key: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 9.1 before 10.1."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", key) if part]


def get(group: Any, key: str) -> Any:
    """A member, or None when it is missing, a broken link, or unreadable."""
    try:
        return group[key]
    except (KeyError, OSError, RuntimeError, ValueError):
        return None


def attribute(item: Any, key: str) -> str:
    """An attribute as text (the first, of several); "" when there is none."""
    if item is None:
        return ""
    try:
        return _decode(item.attrs.get(key))
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return ""


def text_of(item: Any) -> str:
    """A dataset as text; "" when it is none or cannot be read."""
    if item is None or not hasattr(item, "dtype"):
        return ""
    try:
        return _decode(item[()])
    except (OSError, RuntimeError, ValueError, TypeError):
        return ""


def _decode(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def scalar(item: Any) -> float | None:
    """A scalar dataset as a number; None for b'ERR' and the like."""
    try:
        return float(item[()])
    except (OSError, RuntimeError, ValueError, TypeError):
        return None
