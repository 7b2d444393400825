"""Names and places of index files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from barospec.archive.head import Location
from barospec.catalogs.derived_index import FIELDS
from barospec.catalogs.index_tables import PLACE, RECORDS, VERSION
from barospec.catalogs.operator_table import VERSIONS
from barospec.catalogs.without_pressure import COLUMNS
from barospec.schemas.vocabulary import TERMS


def fingerprint() -> str:
    """Return what changes whenever the index's columns do, so that an index of other columns is never opened."""
    columns = [VERSION, RECORDS, *((term.name, term.kind) for term in TERMS), *PLACE.items(), COLUMNS]
    # Which derived values are fresh depends on the operators that are there.
    columns += [*FIELDS.items(), *VERSIONS.items()]
    return hashlib.sha256(repr(columns).encode()).hexdigest()[:8]


def index_name(snapshot: str) -> str:
    """Return the name of a snapshot's index file."""
    return f"index-{snapshot}.duckdb"


def folder(location: Location) -> Path:
    """Return where index files are written: beside the store, or in the user's cache where that is read-only or remote."""
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
    """Yield where the index file of a snapshot may be: beside the store, then in the user's cache."""
    name = index_name(snapshot)
    if location.index is not None:
        yield location.index / fingerprint() / name
    yield _cached(location) / name


def index_path(location: Location, snapshot: str) -> Path:
    """Return the index file of a snapshot; it exists or has to be made by `index.publish`."""
    for path in index_paths(location, snapshot):
        if path.exists():
            return path
    return folder(location) / index_name(snapshot)
