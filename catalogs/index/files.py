"""Index files: their names, locations and creation, and removal of leftovers of killed processes."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from barospec.archive.store.storage.location import Location
from barospec.catalogs.index.derived import FIELDS
from barospec.catalogs.index.tables import PLACE, RECORDS, VERSION
from barospec.catalogs.query.resolve.missing_pressure import COLUMNS
from barospec.catalogs.query.resolve.operator_table import VERSIONS
from barospec.schemas.vocabulary import TERMS


def fingerprint() -> str:
    """Return a hash that changes with the index's columns, so that an index of other columns is never opened."""
    columns = [VERSION, RECORDS, *((term.name, term.kind) for term in TERMS), *PLACE.items(), COLUMNS]
    # The freshness of derived values depends on the installed operators.
    columns += [*FIELDS.items(), *VERSIONS.items()]
    return hashlib.sha256(repr(columns).encode()).hexdigest()[:8]


def index_name(snapshot: str) -> str:
    """Return the name of a snapshot's index file."""
    return f"index-{snapshot}.duckdb"


def folder(location: Location) -> Path:
    """Return the folder for new index files: beside the store, or in the user's cache if that is read-only or remote."""
    if location.index is not None:
        beside = location.index / fingerprint()
        if os.access(beside if beside.exists() else location.index.parent, os.W_OK):
            return beside
    return _cached(location)


def _cached(location: Location) -> Path:
    from platformdirs import user_cache_path

    cached: Path = user_cache_path("barospec") / location.uuid / fingerprint()
    return cached


def index_paths(location: Location, snapshot: str) -> Iterator[Path]:
    """Yield the possible paths of a snapshot's index file: beside the store, then in the user's cache."""
    name = index_name(snapshot)
    if location.index is not None:
        yield location.index / fingerprint() / name
    yield _cached(location) / name


def index_path(location: Location, snapshot: str) -> Path:
    """Return the index file of a snapshot; if it does not exist, `index.publish` makes it."""
    for path in index_paths(location, snapshot):
        if path.exists():
            return path
    return folder(location) / index_name(snapshot)


def put_first(part: Path, target: Path) -> None:
    """Give a complete file its name, unless another has it already: two publishers make the same content, and the first stays.

    A file that others may have opened is never replaced.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        pass
    except OSError:  # a file system without links, or the part is gone
        if not target.exists():
            part.replace(target)


# Unfinished files of this process. The names of the others include their process.
_MAKING: set[str] = set()
_PART = re.compile(r"\.index-.*\.duckdb\.(?:(?P<host>[^.]+)\.)?(?P<pid>\d+)\.[0-9a-z]+\.part(?:\.wal)?")
DAY = 86_400.0


def part_name(name: str) -> str:
    """Return the name of an unfinished index file of this process; `remove_part` ends its use."""
    made = f".{name}.{_host()}.{os.getpid()}.{uuid4().hex}.part"
    _MAKING.add(made)
    return made


def remove_part(part: Path) -> None:
    """Remove an unfinished index file of this process, if there is one, with DuckDB's log of it."""
    for left in (part, part.with_name(part.name + ".wal")):
        left.unlink(missing_ok=True)
    _MAKING.discard(part.name)


def clear_parts(folder: Path) -> None:
    """Remove unfinished index files whose processes have ended; those of another host once they are a day old."""
    for path in folder.glob(".index-*.part*"):
        if path.name.removesuffix(".wal") not in _MAKING and _abandoned(path):
            with suppress(OSError):  # another process removes it, or has the permission
                path.unlink()


def _abandoned(path: Path) -> bool:
    parts = _PART.fullmatch(path.name)
    if parts is None or parts["host"] not in (None, _host()):
        with suppress(OSError):
            return time.time() - path.stat().st_mtime > DAY
        return False
    if int(parts["pid"]) == os.getpid():  # left by an earlier process with this id
        return True
    try:
        os.kill(int(parts["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it runs as another user
        return False
    return False


def _host() -> str:
    return re.sub(r"[^0-9A-Za-z-]", "-", socket.gethostname()) or "-"
