"""The versioned store: one Icechunk repository, one writer at a time, atomic commits.

On a file system a lock admits one writer. A bucket has no lock: the commit is a conditional write, and a writer that loses
the race runs the transaction again on the new state. There every call has a time limit. Only this module and `time_limits`
import icechunk, and only this one and `read` import zarr.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid as uuids
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from logging import getLogger
from pathlib import Path
from typing import Any, Literal, TypeVar

import icechunk
import zarr

from barospec.archive.store.checksums import check_snapshot, commit_fits, seal
from barospec.archive.store.clock_ahead import Aside, aside
from barospec.archive.store.commits import (
    Changes,
    Commit,
    InsertedRows,
    check_name,
    current_user,
    in_order,
    microseconds,
    now_text,
    parse_date,
)
from barospec.archive.store.snapshot_files import manifests_in
from barospec.archive.store.storage import time_limits
from barospec.archive.store.storage.bucket import Remote, claim, mark
from barospec.archive.store.storage.bucket_access import Access, access, explain
from barospec.archive.store.storage.disk_sync import to_disk
from barospec.archive.store.storage.files import files_of
from barospec.archive.store.storage.location import Local, Location, is_remote, locate
from barospec.archive.store.storage.lock import LOCK_SECONDS, writer_lock
from barospec.archive.store.storage.marker import FORMAT, MARKER
from barospec.archive.store.storage.time_limits import Patient, Unanswered, each_within, within
from barospec.schemas.errors import BarospecError, Conflict, LostRace, NotFound, StoreError, exhausted

__all__ = [
    "Changes",
    "Commit",
    "Store",
    "Transaction",
    "cached_reader",
    "check_name",
    "current_user",
    "microseconds",
    "reading",
]

# Icechunk prints warnings on stdout at every open, and stdout belongs to results: that local commits may conflict (our lock
# prevents it), and that a commit whose answer is lost may look like a conflict (`Store._arrived` checks the history). Version 1
# logs the first one under another name than 2. Warnings of a session are raised as well. Every other warning stays.
icechunk.set_logs_filter(
    "warn,icechunk::storage::object_store=error,icechunk_arrow_object_store=error,icechunk_storage::readback=error,"
    "icechunk::session=off"
)

MANIFEST_REFS = 1000
# In a bucket: number of attempts after lost races, and seconds that a connection may be silent.
ATTEMPTS = 30
SILENCE_SECONDS = 30
# Clocks of several machines differ by seconds; a commit waits that long for its turn.
CLOCK_SECONDS = 30
BRANCH = "main"
ROOT_MESSAGE = "archive created"

T = TypeVar("T")


@dataclass(slots=True)
class Transaction:
    """An open write: a zarr root, the changes, and the snapshot it started from."""

    root: zarr.Group
    parent: str
    changes: Changes
    message: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    snapshot: str | None = None


def _storage(location: Location) -> icechunk.Storage:
    if isinstance(location, Remote):
        return icechunk.s3_storage(
            bucket=location.bucket,
            prefix=location.key("store"),
            network_stream_timeout_seconds=SILENCE_SECONDS,
            **location.access.for_icechunk(),
        )
    assert isinstance(location, Local)
    return icechunk.local_filesystem_storage(str(location.store))


def _config() -> icechunk.RepositoryConfig:
    split = icechunk.ManifestSplittingConfig.from_dict(
        {icechunk.ManifestSplitCondition.AnyArray(): {icechunk.ManifestSplitDimCondition.Any(): MANIFEST_REFS}}
    )
    return icechunk.RepositoryConfig(
        # Nothing inline: chunks have our checksums, manifests do not.
        inline_chunk_threshold_bytes=0,
        manifest=icechunk.ManifestConfig(splitting=split),
    )


class _Late(StoreError):
    """The newest commit is dated in the future."""


class Store:
    """An archive's versioned arrays.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "a"
    >>> store = Store.create(folder)
    >>> [commit.message for commit in store.history()]
    ['archive created']
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._written: tuple[str, dict[str, InsertedRows]] = ("", {})
        self._checked: dict[str, dict[str, str]] = {}
        self.unsealed = ""
        try:
            self._repo = self.ask(lambda: icechunk.Repository.open(_storage(location)))
        except icechunk.IcechunkError as error:
            raise failure(location, f"{location.place} cannot be opened", error) from error

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, title: str = "") -> Store:
        """Create an empty archive at `path`: a folder that is absent or empty, or ``s3://bucket/prefix``."""
        if is_remote(path):
            new = claim(os.fspath(path))
            try:
                within(time_limits.COMMIT_SECONDS, new.place, lambda: _found(new, title))
            except (icechunk.IcechunkError, icechunk.ConflictError) as error:
                raise Conflict(f"{new.place} is being created by another process, or cannot be written.") from error
            mark(new)
            return cls.open(path)
        root = Path(os.path.abspath(Path(path).expanduser()))
        if (root / MARKER).exists():
            raise Conflict(f"{root} is an archive already; nothing was changed.")
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise Conflict(f"{root} exists and is not empty. Name a new folder.")
        root.mkdir(parents=True, exist_ok=True)
        uuid = str(uuids.uuid4())
        _found(Local(root, uuid), title)
        # The marker is written last: a folder without it is not an archive.
        marker = root / f"{MARKER}.part"
        marker.write_text(json.dumps({"barospec_format": FORMAT, "uuid": uuid}) + "\n")
        marker.replace(root / MARKER)
        to_disk(Local(root, uuid))
        return cls.open(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Open the archive at `path`."""
        return cls(locate(path))

    @property
    def uuid(self) -> str:
        """The archive's identity, the same in every copy."""
        return self.location.uuid

    def ask(self, call: Callable[[], T], seconds: float | None = None) -> T:
        """Return the result of an icechunk call; in a bucket, raise Unanswered after a time limit."""
        if not isinstance(self.location, Remote):
            return call()
        return within(seconds or time_limits.ANSWER_SECONDS, self.location.place, call)

    def _arrays(self, session: icechunk.Session, mode: Literal["r", "r+"]) -> zarr.Group:
        """Return the arrays of a session; those of a bucket with a time limit for each answer."""
        if isinstance(self.location, Remote):
            store = Patient.of(session, self.location.place)
            return self.ask(lambda: zarr.open_group(store, mode=mode))
        return zarr.open_group(session.store, mode=mode)

    def history(self, at: str | None = None, *, limit: int | None = None) -> Iterator[Commit]:
        """Yield commits from `at` (default: the head) backwards, without Icechunk's empty first snapshot."""
        snapshot = at or self.location.head()
        try:
            found: Iterator[icechunk.SnapshotInfo] = self.ask(lambda: self._repo.ancestry(snapshot_id=snapshot))
            if isinstance(self.location, Remote):
                found = each_within(time_limits.ANSWER_SECONDS, self.location.place, found)
            for count, info in enumerate(found):
                if limit is not None and count >= limit:
                    return
                metadata = dict(info.metadata)
                if info.parent_id is None and "barospec" not in metadata:
                    return
                yield Commit(
                    info.id, info.parent_id, info.message, info.written_at, in_order(metadata.get("barospec", {}))
                )
        except icechunk.IcechunkError as error:
            raise failure(self.location, f"the history of {self.location.place} cannot be read", error) from error

    def resolve(self, at: str | None) -> str:
        """Return the snapshot id of `at`: None (the head), a tag, an id or a unique beginning of one, or a date.

        A date means the newest snapshot written until then; a day without time, until its end (UTC).
        """
        found = self.location.snapshot(at)
        if found is not None:
            return found
        assert at is not None  # the head is always found
        commits = list(self.history())
        starts = [commit.snapshot for commit in commits if len(at) >= 4 and commit.snapshot.startswith(at.upper())]
        if len(starts) == 1:
            return starts[0]
        if len(starts) > 1:
            raise NotFound(f"{at} is the beginning of {len(starts)} snapshots; write more characters.")
        until = parse_date(at)
        if until is not None:
            for commit in commits:
                if commit.time <= until:
                    return commit.snapshot
            raise NotFound(f"the archive did not exist at {at}; it begins at {commits[-1].time:%Y-%m-%d %H:%M} UTC.")
        tags = ", ".join(self.location.tags()) or "none"
        raise NotFound(
            f'"{at}" is no tag, snapshot or date. Tags: {tags}. `barospec log` lists snapshots; `barospec gc` may have removed '
            "one that no tag keeps."
        )

    def read(self, snapshot: str) -> zarr.Group:
        """Open the arrays at `snapshot`, read-only, after comparing its metadata files with their checksums."""
        self.check(snapshot)
        try:
            return self._arrays(self.ask(lambda: self._repo.readonly_session(snapshot_id=snapshot)), "r")
        except (icechunk.IcechunkError, FileNotFoundError) as error:
            if isinstance(self.location, Remote) and self.location.exists(f"store/snapshots/{snapshot}"):
                raise failure(self.location, f"snapshot {snapshot} cannot be read", error) from error
            if snapshot == self.location.head():
                raise failure(self.location, f"the newest snapshot, {snapshot}, cannot be read", error) from error
            raise NotFound(
                f"snapshot {snapshot} is not in this archive, or is damaged ({_first_line(error)}). `barospec gc` may have removed "
                "it: `barospec log` lists those that exist, and a query without --at uses the newest. `barospec verify` finds damage."
            ) from error

    def check(self, snapshot: str) -> None:
        """Raise StoreError unless the metadata files of a snapshot are as written; read them once.

        In a bucket it would take a request for each of some hundred files: there the service keeps objects whole, and
        `verify` compares them.
        """
        if isinstance(self.location, Local) and snapshot not in self._checked:
            try:
                self._checked = {snapshot: check_snapshot(files_of(self.location), snapshot, manifests_in)}
            except OSError as error:
                why = exhausted(error) or f"{error.filename} cannot be read ({error.strerror or error})."
                raise StoreError(why) from error

    def fits(self, snapshot: str) -> bool:
        """Return True if the metadata of a commit is as written; in a bucket it is not compared, see `check`."""
        return not isinstance(self.location, Local) or commit_fits(files_of(self.location), snapshot)

    def pop_inserted(self, snapshot: str) -> dict[str, InsertedRows]:
        """Return the new rows of a commit by group once, if it was this object's last and they are few; then drop them."""
        (of, written), self._written = self._written, ("", {})
        return written if of == snapshot else {}

    def tag(self, name: str, snapshot: str) -> None:
        """Give `snapshot` a permanent name."""
        try:
            self.ask(lambda: self._repo.create_tag(name, snapshot_id=snapshot))
        except icechunk.IcechunkError as error:
            why = _first_line(error)
            if name not in self.location.tags() and "already" in why:
                why = "it was used and deleted, and a name never gets another meaning; use another name"
            raise Conflict(f'tag "{name}" cannot be made: {why}.') from error

    def untag(self, name: str) -> None:
        """Remove a name. Icechunk never gives it to another snapshot."""
        try:
            self.ask(lambda: self._repo.delete_tag(name))
        except icechunk.IcechunkError as error:
            raise NotFound(f'tag "{name}" cannot be deleted: {_first_line(error)}') from error

    def write(self, verb: str, body: Callable[[Transaction], T], *, wait: float = LOCK_SECONDS) -> tuple[T, str | None]:
        """Run `body` in one atomic write, safe against writers on other machines; repeat it if needed.

        Parameters
        ----------
        verb : str
            For the history.
        body : callable
            Reads and writes through its `Transaction`. Without a lock it may be called more than once, each time on the
            newest state, so it must not change anything outside.
        wait : float
            Seconds to wait for the lock.

        Returns
        -------
        object, str or None
            The result of `body`, and the new snapshot, None if nothing was written.

        Raises
        ------
        LostRace
            Other writers were quicker at every attempt; nothing was written.
        """
        late = False
        for attempt in range(ATTEMPTS):
            try:
                with self.transaction(verb, wait=wait, late=late) as work:
                    result = body(work)
                return result, work.snapshot
            except _Late as found:
                if late:
                    raise
                late = True
                getLogger("barospec").warning("%s", found)
            except LostRace:
                if attempt + 1 == ATTEMPTS:
                    raise
                # The first retry is immediate: the winner publishes an index before its next commit, and a waiting writer
                # would always lose to it. Later retries are spread, in case there are many.
                time.sleep(random.uniform(0, min(2.0, 0.01 * 2**attempt)))
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def transaction(self, verb: str, *, wait: float = LOCK_SECONDS, late: bool = False) -> Iterator[Transaction]:
        """Open one atomic write: on leaving, all of it is committed; on an error or a kill, none of it is.

        A block that leaves ``message`` empty commits nothing. The exclusive lock is held throughout, so
        that data read inside are still current at the commit. In a bucket, where there is no lock, `LostRace` is raised
        when another writer committed meanwhile; `write` then begins again. `late` allows for a newest commit that is dated in
        the future.
        """
        with self._lock(verb, wait), aside(self.location) if late else nullcontext() as beside:
            try:
                session = self.ask(lambda: self._repo.writable_session(beside.branch if beside else BRANCH))
                root = self._arrays(session, "r+")
            except icechunk.IcechunkError as error:
                raise failure(self.location, f"{self.location.place} cannot be written", error) from error
            if (found := root.attrs.get("uuid")) != self.uuid:
                raise StoreError(
                    f"{self.location.place} is another archive now (UUID {found}; {self.uuid} was opened). Nothing was written. "
                    "Open it again."
                )
            parent = beside.parent if beside else str(session.snapshot_id)
            self.check(parent)
            work = Transaction(root, parent, Changes())
            try:
                yield work
            except icechunk.IcechunkError as error:
                raise failure(self.location, "nothing was written", error) from error
            if work.message:
                # Before the reference is moved: its new target survives a power cut.
                self._flush("nothing was written")
                self._commit(session, verb, work, beside)
                self._written = work.snapshot or "", work.changes.written
                if isinstance(self.location, Local):  # in a bucket it would cost a request for each file
                    self.seal_commit()
                # A reported commit is on the disk.
                self._flush(f"snapshot {work.snapshot} was committed; run `barospec verify` after the disk was checked")

    def _flush(self, state: str) -> None:
        try:
            to_disk(self.location)
        except OSError as error:
            raise StoreError(
                f"{self.location.place}: the disk reports an error ({error.strerror}); {state}."
            ) from error

    def _commit(self, session: icechunk.Session, verb: str, work: Transaction, beside: Aside | None) -> None:
        record = {
            "verb": verb,
            "actor": current_user(),
            "parent": work.parent,
            **work.metadata,
            **work.changes.to_dict(),
        }
        remote = isinstance(self.location, Remote)
        if remote:
            # If the answer to the commit's last request is lost, the history shows whether it arrived.
            record["commit"] = str(uuids.uuid4())

        def commit() -> str:
            return self.ask(
                lambda: session.commit(work.message, metadata={"barospec": record}), time_limits.COMMIT_SECONDS
            )

        try:
            try:
                work.snapshot = commit()
            except icechunk.IcechunkError as error:
                if "timestamp ordering" not in str(error):
                    raise
                self._await_clock(work.parent)
                work.snapshot = commit()
            if beside:
                work.snapshot = beside.adopt(work.snapshot)
        except (icechunk.IcechunkError, icechunk.ConflictError, Conflict, Unanswered) as error:
            if remote:
                work.snapshot = self._arrived(record["commit"], work.parent)
                if work.snapshot is not None:
                    return
            if isinstance(error, Unanswered):
                raise StoreError(
                    f"{error} Whether the commit arrives is not known: look at `barospec log` first."
                ) from error
            if isinstance(error, icechunk.ConflictError | Conflict):
                raise LostRace(
                    f"another writer was quicker in {self.location.place}; nothing was written. Try again."
                ) from error
            raise failure(self.location, "the commit failed, nothing was written", error) from error

    def _await_clock(self, parent: str) -> None:
        """Wait for the time of the previous commit, if that is soon: icechunk refuses a commit that is not later."""
        dated = next(self.history(parent, limit=1)).time
        ahead = (dated - datetime.now(UTC)).total_seconds()
        if ahead > CLOCK_SECONDS:
            raise _Late(
                f"{self.location.place}: the newest commit is dated {dated:%Y-%m-%d %H:%M} UTC, but this computer's clock shows "
                f"{datetime.now(UTC):%Y-%m-%d %H:%M}. The new commit has this computer's date; set the clock that is wrong."
            )
        time.sleep(max(0.0, ahead) + 0.001)

    def _arrived(self, commit: str, parent: str) -> str | None:
        """Return the snapshot of a commit without a valid answer, if it is in the history."""
        for found in self.history():
            if found.metadata.get("commit") == commit:
                return found.snapshot
            if found.snapshot == parent:
                break
        return None

    def seal_commit(self) -> None:
        """Write missing checksums; keep an error in ``unsealed``, because the commit is done. The next write catches up."""
        try:
            self.seal()
            self.unsealed = ""
        except Exception as error:
            self.unsealed = _first_line(error)

    def seal(self) -> int:
        """Record missing checksums of the metadata files of commits, see `checksums`; return the number of commits."""
        history = ((commit.snapshot, commit.parent) for commit in self.history())
        known = next(iter(self._checked.values()), {})
        count, newest = seal(files_of(self.location), history, self.manifests, known)
        self._checked = newest or self._checked
        return count

    def manifests(self, snapshot: str) -> list[str]:
        """Return the names of the manifests that a snapshot refers to."""
        try:
            content = files_of(self.location).read(f"store/snapshots/{snapshot}")
        except FileNotFoundError:
            raise StoreError(f"snapshot {snapshot}: its file is missing.") from None
        except OSError as error:
            raise StoreError(f"snapshot {snapshot}: its file cannot be read ({error.strerror or error}).") from error
        return manifests_in(content, snapshot)

    @contextmanager
    def clearing(self, verb: str) -> Iterator[icechunk.Repository]:
        """Open the repository itself, for `garbage_collection` only, under the writer's lock if there is one."""
        with self._lock(verb, LOCK_SECONDS):
            try:
                yield self._repo
            except icechunk.IcechunkError as error:
                raise failure(self.location, f"{verb} was interrupted; run it again", error) from error

    def _lock(self, verb: str, wait: float) -> AbstractContextManager[None]:
        return locked(self.location, verb, wait)


def locked(location: Location, verb: str, wait: float = LOCK_SECONDS) -> AbstractContextManager[None]:
    """Hold the writer's lock of an archive; in a bucket there is none."""
    return writer_lock(location.root, verb, wait) if isinstance(location, Local) else nullcontext()


def _found(location: Local | Remote, title: str) -> None:
    """Create the repository of a new archive and its first commit."""
    options: dict[str, Any] = {} if int(icechunk.__version__.split(".")[0]) < 2 else {"spec_version": 1}
    repo = icechunk.Repository.create(_storage(location), config=_config(), **options)
    repo.save_config()
    session = repo.writable_session(BRANCH)
    zarr.create_group(
        session.store,
        zarr_format=3,
        attributes={"barospec_format": FORMAT, "uuid": location.uuid, "title": title, "created": now_text()},
    )
    session.commit(
        ROOT_MESSAGE, metadata={"barospec": {"verb": "init", "actor": current_user(), **Changes().to_dict()}}
    )


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Convert errors of lazy reads, long after arrays were opened, to our errors."""
    try:
        yield
    except icechunk.IcechunkError as error:
        raise failure(locate(place), f"{place} cannot be read", error) from error


def failure(location: Location, what: str, error: Exception) -> BarospecError:
    """Convert an error of icechunk to one of our errors."""
    if "timestamp is invalid" in str(error):
        return StoreError(
            f"{what}: this machine's clock and that of the disk or service of {location.place} differ by more than ten "
            "minutes. Set the clock, and run the command again."
        )
    if not isinstance(location, Remote):
        return StoreError(f"{what}: {_first_line(error)}")
    try:
        location.head()  # icechunk asks with HEAD, whose answers have no text: ask again with GET
    except BarospecError as plain:
        return plain
    text = str(error)  # of icechunk 1, and of 2
    if "snapshot not found" in text or ("object not found" in text and "fetch_snapshot" in text):
        return NotFound(
            f"{what}: a snapshot is missing. `barospec gc` may have removed it; `barospec log` lists those that exist."
        )
    return explain(error, location.place, location.access)


def cached_reader(root: str, snapshot: str) -> zarr.Group:
    """Open the read-only arrays of a snapshot, once per process, for lazy tasks."""
    return _reader(root, snapshot, access(root) if is_remote(root) else None)


@lru_cache(maxsize=8)
def _reader(root: str, snapshot: str, _: Access | None) -> zarr.Group:
    # With new keys, after the old ones have expired, it is opened again.
    return Store.open(root).read(snapshot)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
