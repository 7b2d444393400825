"""Commit after a commit dated in the future (clock ran ahead).

Icechunk refuses a commit that is not later than the one before, and a snapshot cannot get another date without another id,
which people may have cited. So the new commit is made beside the history, upon a copy of the newest snapshot that is dated now,
and then becomes a child of that snapshot itself in the history. Nothing that was committed changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from barospec.archive.store.snapshot_files import copied, copied_log, new_id, read_snapshot
from barospec.archive.store.storage.bucket import Remote
from barospec.archive.store.storage.files import files_of
from barospec.archive.store.storage.location import Local, Location
from barospec.archive.store.storage.marker import snapshot_in
from barospec.schemas.errors import StoreError

SNAPSHOTS, LOGS, REFS = "store/snapshots", "store/transactions", "store/refs"
MAIN, PREFIX = f"{REFS}/branch.main/ref.json", "aside-"


@dataclass(frozen=True, slots=True)
class Aside:
    """A branch beside the history: a copy of its newest snapshot, `parent`, dated now."""

    location: Location
    branch: str
    parent: str
    version: str | None  # of the reference, in a bucket

    def adopt(self, snapshot: str) -> str:
        """Put a commit of the branch into the history, as a child of `parent`; return its id there.

        Raises
        ------
        Conflict
            Another writer committed meanwhile; the history is as that one left it.
        """
        files, new = files_of(self.location), new_id()
        raw = files.read(f"{SNAPSHOTS}/{snapshot}")
        files.write(f"{SNAPSHOTS}/{new}", copied(raw, new, self.parent, read_snapshot(raw).time))
        files.write(f"{LOGS}/{new}", copied_log(files.read(f"{LOGS}/{snapshot}"), new))
        reference = f'{{"snapshot":"{new}"}}'
        if isinstance(self.location, Remote):
            self.location.put(MAIN, reference, if_etag=self.version)
        else:
            files.write(MAIN, reference)
        return new


@contextmanager
def aside(location: Location) -> Iterator[Aside]:
    """Open a branch beside the history for one commit, and remove it at the end; on a file system, hold the lock."""
    files = files_of(location)
    if isinstance(location, Local):  # of a killed process
        for name in files.names(REFS):
            if name.startswith(f"{REFS}/branch.{PREFIX}"):
                files.remove(name)
    version = location.version(MAIN) if isinstance(location, Remote) else None
    parent, copy = location.head(), new_id()
    found = Aside(location, f"{PREFIX}{copy.lower()}", parent, version)
    time = datetime.now(UTC) - timedelta(seconds=1)
    files.write(f"{SNAPSHOTS}/{copy}", copied(files.read(f"{SNAPSHOTS}/{parent}"), copy, parent, time))
    name = f"{REFS}/branch.{found.branch}/ref.json"
    files.write(name, f'{{"snapshot":"{copy}"}}')
    try:
        yield found
    finally:
        with suppress(StoreError):  # writing in a bucket needs no right to delete
            tip = snapshot_in(files.read(name).decode(), name)
            for each in (name, *(f"{SNAPSHOTS}/{one}" for one in {copy, tip}), f"{LOGS}/{tip}"):
                files.remove(each)
