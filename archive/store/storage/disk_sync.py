"""Durable writes: written files survive a power cut.

Icechunk writes files and moves the reference without any fsync. One `syncfs` of the archive's file system is one commit of its
journal, and cheaper than an fsync for each of the 120 files of a small ingest.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

from barospec.archive.store.storage.location import Local, Location


def to_disk(location: Location) -> None:
    """Wait until all writes to an archive's file system are on the disk; a bucket's service does that itself.

    Raises
    ------
    OSError
        The disk reports that it could not write.
    """
    if not isinstance(location, Local):
        return
    sync = _syncfs()
    if sync is None:  # not Linux: all file systems
        os.sync()
        return
    folder = os.open(location.root, os.O_RDONLY)
    try:
        if sync(folder):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(location.root))
    finally:
        os.close(folder)


@cache
def _syncfs() -> Any:
    """Return the system's ``syncfs``, or None."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
