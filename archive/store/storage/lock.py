"""The exclusive lock of a local archive: one writer at a time, with its name."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from barospec.archive.store.commits import now_text
from barospec.schemas.errors import StoreError

LOCK, HOLDER = "writer.lock", "writer.json"
LOCK_SECONDS = 600.0
"""How long a writer waits for the lock, by default."""


@contextmanager
def writer_lock(root: Path, verb: str, wait: float) -> Iterator[None]:
    """Hold the lock; a killed holder's lock is free. Raise StoreError with the holder after `wait` seconds."""
    lock, holder = FileLock(root / LOCK), root / HOLDER
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise StoreError(
            f"another writer has held the archive for {wait:g} s: {held_by(root)}. Try again later."
        ) from None
    except OSError as error:
        raise StoreError(f"{root} cannot be written: {error.strerror or error}.") from error
    try:
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "verb": verb, "since": now_text()}
        with suppress(OSError):  # on a full disk no holder is named; the lock itself takes no space
            holder.write_text(json.dumps(mine))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def held_by(root: Path) -> str:
    """Return the holder of the lock."""
    try:
        held = json.loads((root / HOLDER).read_text())
        return f"{held['verb']} on {held['host']}, pid {held['pid']}, since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
