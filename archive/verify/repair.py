"""Repair of a damaged archive: back to the last whole snapshot.

Metadata files are read as bytes, because icechunk opens nothing whose reference is damaged. Files that are given up are
copied to ``damaged/<time>/`` first; then the reference is moved, in one step; then the copied files are removed from the
store. Each step may be killed and is repeated by the next call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from barospec.archive.store.checksums import FOLDER as SEALS
from barospec.archive.store.checksums import STORE, check_seals, read_seals, write_seal
from barospec.archive.store.commits import microseconds
from barospec.archive.store.events import event
from barospec.archive.store.repository import Store, Transaction, locked
from barospec.archive.store.snapshot_files import Snapshot, read_snapshot
from barospec.archive.store.storage.disk_sync import to_disk
from barospec.archive.store.storage.files import Files, each, files_of
from barospec.archive.store.storage.location import Location
from barospec.archive.store.write import Writer
from barospec.schemas.errors import BarospecError, StoreError, exhausted
from barospec.schemas.values import counted

REFERENCE = f"{STORE}/refs/branch.main/ref.json"
DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Lost:
    """A commit that is given up; time and message are from its snapshot file, None if unreadable."""

    snapshot: str
    time: datetime | None = None
    message: str | None = None


@dataclass(slots=True)
class Repaired:
    """Result of a repair, done or dry run.

    Attributes
    ----------
    damaged : dict
        Metadata file -> fault; "" is not among them.
    head : str or None
        The snapshot that the reference names; None when the reference is damaged.
    target : str
        The snapshot that is the newest one afterwards.
    lost : list of Lost
        Commits given up, newest first.
    kept : str
        The folder below the archive with the files that were given up; "" if there are none.
    before, after : int or None
        Spectra (rows) of the head and of the target; None if they cannot be counted.
    """

    damaged: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    target: str = ""
    lost: list[Lost] = field(default_factory=list)
    kept: str = ""
    before: int | None = None
    after: int | None = None
    dry_run: bool = True

    @property
    def needed(self) -> bool:
        """True if there is anything to repair."""
        return bool(self.lost) or self.head != self.target


class _Found:
    """The metadata files of an archive, and its whole snapshots."""

    def __init__(self, location: Location) -> None:
        self.files: Files = files_of(location)
        self.seals = read_seals(self.files)
        self.damaged = dict(check_seals(self.files, self.seals, lambda *_: None))
        names = self.files.names(f"{STORE}/snapshots")
        self.raw = dict(each(self.files, names, self._read))
        self.snapshots: dict[str, Snapshot] = {}
        for name, raw in self.raw.items():
            try:
                found = read_snapshot(raw)
                if found.id != _id(name):
                    raise ValueError(f"it is that of {found.id}")
                self.snapshots[found.id] = found
            except ValueError as error:
                self.damaged.setdefault(name, str(error))
        self.there = {*names, *self.files.names(f"{STORE}/manifests"), *self.files.names(f"{STORE}/transactions")}
        self.named = {*map(_id, names), *self.seals.snapshots}
        self.head: str | None = None
        try:
            self.head = location.head()
        except BarospecError:
            self.damaged[REFERENCE] = "it names no snapshot"
        if self.head is not None and self.head not in self.named:
            self.damaged[REFERENCE] = f"it names {self.head}, which was never in this archive"
            self.head = None

    def _read(self, name: str) -> bytes:
        try:
            return self.files.read(name)
        except (OSError, StoreError) as error:
            if sentence := exhausted(error):
                raise StoreError(sentence) from error
            return b""

    def line(self, snapshot: str | None) -> Iterator[str]:
        """Yield a snapshot and its ancestors, as far as their files are readable."""
        seen: set[str] = set()
        while snapshot is not None and snapshot not in seen:
            yield snapshot
            seen.add(snapshot)
            snapshot = self.snapshots[snapshot].parent if snapshot in self.snapshots else None

    def whole(self, snapshot: str) -> bool:
        """Return True if the files of a snapshot exist as written; False for icechunk's own empty one."""
        found = self.snapshots.get(snapshot)
        if found is None or found.parent is None:
            return False
        names = [f"{STORE}/manifests/{name}" for name in found.manifests]
        if any(name not in self.there for name in names):
            return False
        names += [f"{STORE}/snapshots/{snapshot}", f"{STORE}/transactions/{snapshot}"]
        return not any(name in self.damaged for name in names)

    def last_whole(self, tags: Iterable[str]) -> str:
        """Return the newest whole snapshot of the head's line, or of all commits if that line cannot be followed."""
        for snapshot in self.line(self.head):
            if self.whole(snapshot):
                return snapshot
        # The commit of a snapshot without checksums may be unfinished.
        committed = self.seals.snapshots or set(self.snapshots)
        found = [self.snapshots[each] for each in {*committed, *tags} if self.whole(each)]
        if not found:
            raise StoreError(
                "no snapshot is whole, so there is none to go back to. Restore the files that `barospec verify` names from a backup."
            )
        return max(found, key=lambda each: each.time).id

    def describe(self, snapshot: str) -> Lost:
        """Return the known facts of a commit."""
        found = self.snapshots.get(snapshot)
        return Lost(snapshot, found.time, found.message) if found else Lost(snapshot)


def repair(location: Location, *, dry_run: bool = True) -> Repaired:
    """Go back to the last whole snapshot if the newest is damaged.

    Parameters
    ----------
    location : Location
    dry_run : bool
        Only report what would be done.

    Raises
    ------
    StoreError
        No snapshot is whole.
    """
    if dry_run:
        return _plan(location)[0]
    with locked(location, "doctor"):
        report, found = _plan(location)
        report.dry_run = False
        if not report.needed:
            return report
        _go_back(location, report, found)
    store = Store(location)
    if found.seals.snapshots:
        store.seal()
    _record(store, report)
    return report


def _plan(location: Location) -> tuple[Repaired, _Found]:
    found = _Found(location)
    try:
        tags = set(location.tags().values())
    except BarospecError:  # a damaged tag is no reason to give up others
        tags = set()
    for what in found.damaged.values():
        if sentence := exhausted(what):  # a file that could not be opened is not damaged
            raise StoreError(sentence)
    report = Repaired(found.damaged, found.head, found.last_whole(tags))
    kept = {each for start in (report.target, *tags) for each in found.line(start)}
    newest = found.snapshots[report.target].time
    given_up = [name for name in found.line(found.head) if name not in kept and name in found.named]
    # If a file does not name its parent, the snapshots later than the target.
    for name in sorted(found.seals.snapshots - kept - set(given_up)):
        if name not in found.snapshots or found.snapshots[name].time > newest:
            given_up.append(name)
    report.lost = [found.describe(name) for name in given_up]
    report.lost.sort(key=lambda lost: lost.time or datetime.max.replace(tzinfo=UTC), reverse=True)
    return report, found


def _go_back(location: Location, report: Repaired, found: _Found) -> None:
    files = found.files
    lost = [each.snapshot for each in report.lost]
    kept = {name for each in found.line(report.target) for name in found.snapshots[each].manifests}
    gone = [f"{STORE}/{folder}/{each}" for each in lost for folder in ("snapshots", "transactions")]
    gone += [name for name in found.damaged if name.startswith(f"{STORE}/manifests/") and _id(name) not in kept]
    seals = [f"{SEALS}/{each}.json" for each in lost if each != report.target]
    report.kept = f"{DAMAGED}/{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    copies = [*gone, *seals, *([REFERENCE] if report.head != report.target else [])]
    for name in copies:
        try:
            files.write(f"{report.kept}/{name}", files.read(name))
        except FileNotFoundError:
            continue
    content = {"newest": report.target, "damaged": report.damaged, "lost": [_written(each) for each in report.lost]}
    files.write(f"{report.kept}/report.json", json.dumps(content, indent=1) + "\n")
    to_disk(location)
    if report.head != report.target:
        files.write(REFERENCE, json.dumps({"snapshot": report.target}))
    if found.seals.snapshots:
        gone_names = {name.removeprefix(f"{STORE}/") for name in gone}
        sums = {name: digest for name, digest in found.seals.files.items() if name not in gone_names}
        replaced = [_id(name) for name in seals if _id(name) != f"{report.target}.json"]
        write_seal(files, f"{SEALS}/{report.target}.json", sums, found.seals.snapshots - set(lost), replaced)
    for name in [*gone, *seals]:
        files.remove(name)


def _record(store: Store, report: Repaired) -> None:
    """Record the repair as a separate commit of the history."""
    details = {
        "newest": report.target,
        "lost": [_written(each) for each in report.lost],
        "kept": report.kept,
    }

    def write(work: Transaction) -> None:
        record = event("repair", report.target, microseconds(), details=details)
        Writer(work.root, work.changes).append_table("events", [record])
        what = f"{counted(len(report.lost), 'damaged commits')} given up" if report.lost else "the reference"
        work.message = f"repaired: {what}"

    store.write("doctor", write)


def _written(lost: Lost) -> Mapping[str, str | None]:
    return {
        "snapshot": lost.snapshot,
        "time": lost.time.isoformat() if lost.time else None,
        "message": lost.message,
    }


def _id(name: str) -> str:
    return name.rpartition("/")[2]
