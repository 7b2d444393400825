"""Garbage collection of `gc` and `purge`: expired history and unreferenced files.

Tagged snapshots stay; so does the newest state. Each step may be killed and is repeated by the
next call: ``unfinished.json`` marks it as due, because the digests of rewritten snapshots are recorded last.

On a full disk that file is empty, which takes no space, and unused files go first, so that there is space for the rest.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from barospec.archive.store.checksums import (
    CONFIG,
    FOLDER,
    STORE,
    UNFINISHED,
    check_seals,
    digests,
    read_seals,
    write_seal,
)
from barospec.archive.store.commits import Commit, now_text
from barospec.archive.store.repository import Store
from barospec.archive.store.storage.disk_sync import to_disk
from barospec.archive.store.storage.files import Files, files_of
from barospec.archive.store.storage.location import Local
from barospec.archive.store.storage.time_limits import CLEARING_SECONDS
from barospec.schemas.errors import StoreError, exhausted

# In a bucket another writer may be at work: its uncommitted files look unreferenced.
PATIENCE = timedelta(days=1)
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Cleared:
    """Result of a garbage collection, done or dry run.

    Attributes
    ----------
    expired : list of Commit
        Entries that leave the history, newest first, without the tagged ones.
    kept : int
        Entries that stay.
    tags : list of str
        Tags, all of which stay.
    removed : dict
        Kind of file -> number. For a dry run only the files that are already unreferenced.
    bytes : int
        Their size.
    left_until : datetime, optional
        In a bucket: time from which `gc` may remove more. Younger files may belong to another writer.
    """

    expired: list[Commit] = field(default_factory=list)
    kept: int = 0
    tags: list[str] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    left_until: datetime | None = None
    dry_run: bool = False


def collect(store: Store, *, keep_days: float | None, dry_run: bool, progress: Progress) -> Cleared:
    """Shorten the history and remove unreferenced files.

    Parameters
    ----------
    store : Store
    keep_days : float or None
        Days of history that stay beside the tags; None for all of it.
    dry_run : bool
        Only report what would be done.
    progress : callable

    Raises
    ------
    StoreError
        The store is damaged; nothing is removed.
    """
    now = datetime.now(UTC)
    return clear(store, None if keep_days is None else now - timedelta(days=keep_days), "gc", dry_run, progress)


def clear(store: Store, until: datetime | None, verb: str, dry_run: bool, progress: Progress) -> Cleared:
    """Collect garbage as `collect` does, with the time before which the history is removed."""
    files = files_of(store.location)
    with store.clearing(verb) as repo:
        ask = partial(store.ask, seconds=CLEARING_SECONDS)
        commits = list(store.history())
        until = min(until, commits[0].time) if until is not None else None
        tags = store.location.tags()
        report = Cleared(tags=sorted(tags), dry_run=dry_run)
        late = [c for c in commits[1:] if until is not None and c.time < until]
        report.expired = [c for c in late if c.snapshot not in tags.values()]
        report.kept = len(commits) - len(report.expired)
        before = datetime.now(UTC) - (timedelta(0) if isinstance(store.location, Local) else PATIENCE)
        if dry_run:
            return _count(report, ask(lambda: repo.garbage_collect(before, dry_run=True)))
        due = unfinished(files)
        if due and due.get("ids") and verb != "purge":
            raise StoreError(
                f"a purge was interrupted ({due['since']}). End it first: barospec purge {due['ids'][0]} --reason TEXT --yes"
            )
        if due is None or "sealed" not in due:
            _refuse_damage(files, progress)
            due = _begin(files, due, {"verb": verb, "since": now_text(), "sealed": bool(read_seals(files).snapshots)})
        if until is None or isinstance(store.location, Local):
            progress("files", 0, 3)
            _count(report, ask(lambda: repo.garbage_collect(before)))
        if until is not None:
            progress("history", 1, 3)
            ask(lambda: repo.expire_snapshots(until))
            to_disk(store.location)  # the rewritten files, before the replaced ones are removed
            progress("files", 2, 3)
            _count(report, ask(lambda: repo.garbage_collect(before)))
        if not isinstance(store.location, Local) and _kinds(
            ask(lambda: repo.garbage_collect(datetime.now(UTC), dry_run=True))
        ):
            report.left_until = datetime.now(UTC) + PATIENCE
        if due["sealed"]:
            _seal_again(store, files)
            to_disk(store.location)
        files.remove(UNFINISHED)
    return report


def _begin(files: Files, due: Mapping[str, Any] | None, record: dict[str, Any]) -> dict[str, Any]:
    """Record that clearing begins; on a full disk with an empty file, which `unfinished` reads as a `gc`."""
    begun = {**(due or {}), **record}
    try:
        files.write(UNFINISHED, json.dumps(begun))
    except OSError as error:
        # The ids of a purge must not be lost; a purge had space for its commit.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or due is not None or record["verb"] != "gc":
            raise
        files.write(UNFINISHED, "")
    return begun


def unfinished(files: Files) -> dict[str, Any] | None:
    """Read the unfinished clearing, if any: verb, time, and whether files have checksums."""
    try:
        found = json.loads(files.read(UNFINISHED))
    except FileNotFoundError:
        return None
    except ValueError:  # empty: begun on a full disk
        found = None
    return {"verb": "gc", "since": "unknown", **(found if isinstance(found, dict) else {"sealed": True})}


def _refuse_damage(files: Files, progress: Progress) -> None:
    """Raise if a file is damaged, so that no checksum of damage is recorded."""
    for where, what in check_seals(files, read_seals(files), progress):
        if sentence := exhausted(what):
            raise StoreError(sentence)
        raise StoreError(
            f"{where}: {what}. Nothing was removed. Run `barospec verify`, and restore the file from a copy first."
        )


def _kinds(summary: Any) -> dict[str, int]:
    """Return the number of files of each kind."""
    kinds = ("chunks", "manifests", "snapshots", "attributes", "transaction_logs")
    return {kind: count for kind in kinds if (count := int(getattr(summary, f"{kind}_deleted", 0) or 0))}


def _count(report: Cleared, summary: Any) -> Cleared:
    for kind, count in _kinds(summary).items():
        report.removed[kind] = report.removed.get(kind, 0) + count
    report.bytes += int(getattr(summary, "bytes_deleted", 0) or 0)
    return report


def _seal_again(store: Store, files: Files) -> None:
    """Write one checksum file for all current files: expiring rewrites the parent of the oldest snapshot."""
    head = store.location.head()
    names = [
        name.removeprefix(f"{STORE}/")
        for folder in ("snapshots", "manifests", "transactions")
        for name in files.names(f"{STORE}/{folder}")
    ]
    snapshots = {
        commit.snapshot for start in (head, *store.location.tags().values()) for commit in store.history(start)
    }
    old = [name for name in files.names(FOLDER) if name != f"{FOLDER}/{head}.json"]
    sums: Mapping[str, str] = digests(files, [*names, CONFIG])
    write_seal(files, f"{FOLDER}/{head}.json", sums, snapshots, [name.rpartition("/")[2] for name in old])
    for name in old:
        files.remove(name)
