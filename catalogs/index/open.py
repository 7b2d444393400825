"""The snapshot of a question, and a connection to its index, which is made if missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from barospec.archive.store.storage.location import Location
from barospec.catalogs.index import build, database
from barospec.schemas.errors import NotFound, StoreError

RETRIES = 5


def snapshot_of(location: Location, at: str | None) -> str:
    """Return the snapshot of a tag, an id, a date, or None (the head)."""
    found = location.snapshot(at)
    if found is None:
        from barospec.archive.store.repository import Store

        found = Store(location).resolve(at)
    return found


@contextmanager
def opened(location: Location, at: str | None) -> Iterator[tuple[str, Any]]:
    """Yield a snapshot and a read-only connection to its index, which is made if there is no usable one.

    A writer may remove the index of an older snapshot before we open it; then we retry.
    """
    for _ in range(RETRIES):
        snapshot = snapshot_of(location, at)
        found = database.reader(location, snapshot)
        if found is None:
            from barospec.archive.store.repository import Store

            try:
                build.publish(Store(location), snapshot)
            except (NotFound, StoreError):
                # A commit may have followed, and `gc` removed the snapshot since.
                if at is not None or location.head() == snapshot:
                    raise
                continue
            found = database.reader(location, snapshot)
        if found is not None:
            path, connection = found
            with database.blamed(path), connection:
                yield snapshot, connection
            return
    raise StoreError(
        f"the index of {location.place} was removed repeatedly while being opened; check for another process that removes files there."
    )
