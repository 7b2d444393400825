"""Ingest during a measurement: files that are ready, and results of reading them.

All state is in the archive: a killed watch starts again, reads the files and recognizes them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from barospec.archive.ingest.prepare import WatchState, prepare
from barospec.archive.ingest.prepared import Prepared
from barospec.archive.sheets.records import is_sheet
from barospec.archive.store.storage.marker import MARKER
from barospec.schemas.errors import BarospecError, CallError
from barospec.schemas.records import Problem

if TYPE_CHECKING:
    from barospec.archive.ingest.report import IngestReport

GROWING = (".h5", ".hdf5", ".nx", ".nxs")  # one file for many scans; each scan states whether it has ended
PASSING = (".tmp", ".part", ".swp", "~")  # temporary files of copying and editing
POLL = 1.0
# Reading a growing file may take this share of the time; entries that had ended before are not read again.
SHARE = 0.2
# Read failures that may be temporary are reported after this many seconds: a share returns, a lock is released.
PATIENCE = 60.0

AWAY = "waiting for it to return"

Signature = tuple[int, int]


class IngestCallback(Protocol):
    """Writer of prepared entries, in one commit."""

    def __call__(self, prepared: Prepared, *, replace: bool = False) -> IngestReport:
        """Write prepared entries; return the report."""


@dataclass(slots=True)
class _Seen:
    """A file's size and time of change, the time since when they are unchanged, and the state of reading."""

    signature: Signature
    since: float
    taken: Signature | None = None
    tried: Signature | None = None
    failing: float | None = None
    retry: float = 0.0


@dataclass(slots=True)
class Folder:
    """The files of a folder, and those ready to be read.

    Parameters
    ----------
    path : Path
        Absent or unreachable for a while is no error.
    settle : float
        Seconds that size and time of change must be unchanged, by our clock: a file server's may differ.
    clock : callable
        Seconds; monotonic.
    """

    path: Path
    settle: float
    clock: Callable[[], float] = time.monotonic
    seen: dict[Path, _Seen] = field(default_factory=dict)
    trouble: str = ""
    growing_again: float = 0.0

    def look(self) -> dict[Path, bool]:
        """Return the files that can be read now, True for one that is still growing."""
        now = self.clock()
        try:
            found = self._list()
        except OSError as error:
            self.trouble = f"{self.path}: cannot be listed ({error.strerror or error}); {AWAY}"
            return {}
        self.trouble = ""
        ready: dict[Path, bool] = {}
        for path, signature in found.items():
            known = self.seen.setdefault(path, _Seen(signature, now))
            if known.signature != signature:
                known.signature, known.since = signature, now
            if known.taken == signature or now < known.retry or signature[0] == 0:
                continue
            if now - known.since >= self.settle:
                ready[path] = False
            elif path.suffix.lower() in GROWING and known.tried != signature and now >= self.growing_again:
                ready[path] = True
        return ready

    def _list(self) -> dict[Path, Signature]:
        found: dict[Path, Signature] = {}
        pending = [self.path.resolve()]
        while pending:
            with os.scandir(pending.pop()) as listed:
                entries = list(listed)
                if any(entry.name == MARKER for entry in entries):
                    continue  # an archive, perhaps the one that is written to
                for entry in entries:
                    if entry.name.startswith(".") or entry.name.endswith(PASSING):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    elif not is_sheet(Path(entry.name)):
                        try:
                            stat = os.stat(entry.path)
                        except FileNotFoundError:  # removed meanwhile
                            continue
                        found[Path(entry.path).resolve()] = (stat.st_size, stat.st_mtime_ns)
        return found

    def done(self, ready: Mapping[Path, bool], failed: Mapping[Path, str], spent: float) -> dict[Path, str]:
        """Record the files that were read; return the failures to report."""
        now = self.clock()
        due: dict[Path, str] = {}
        for path, growing in ready.items():
            known = self.seen[path]
            known.tried = known.signature
            if path not in failed:
                known.failing = None
                known.taken = None if growing else known.signature
                continue
            first = known.failing is None
            known.failing = now if known.failing is None else known.failing
            waited = now - known.failing
            # After a long time of failures, only a change causes another read.
            if not growing and not first and waited >= PATIENCE:
                known.taken = known.signature
                due[path] = failed[path]
            known.retry = now + max(self.settle, min(waited, PATIENCE))
        if any(ready.values()):
            self.growing_again = now + max(self.settle, spent / SHARE)
        return due

    def again(self) -> None:
        """Read all files again, because their stated conditions have changed."""
        for known in self.seen.values():
            known.taken = known.tried = None
            known.retry = 0.0


@dataclass(slots=True)
class _Ended:
    """Ended entries of a file of many scans, and the identity of the file."""

    inode: int
    size: int = 0
    names: set[str] = field(default_factory=set)


class Watch:
    """One folder, watched.

    Parameters
    ----------
    folder : Path
    take : IngestCallback
        Writes the prepared entries.
    sheet : Path, optional
        Read at every look that finds something; if it has changed, all files are read again.
    settings : mapping of str to str
        Fields, without a sheet.
    replace : bool
        Write entries that contradict the archive as new revisions. Otherwise only for files that this watch has read before, and
        after the sheet was edited.
    settle, every, poll : float
        Seconds that a file must rest; between two commits at least; between two looks.
    clock, sleep : callable
        Seconds; waiting.
    """

    def __init__(
        self,
        folder: Path,
        ingest: IngestCallback,
        *,
        sheet: Path | None = None,
        settings: Mapping[str, str] | None = None,
        replace: bool = False,
        settle: float = 10.0,
        every: float = 10.0,
        poll: float = POLL,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if sheet is not None and not is_sheet(sheet):
            raise CallError(f"{sheet} is not a run sheet: its name should end in .yaml.")
        self.folder = Folder(folder, settle, clock)
        self.ingest, self.sheet, self.settings, self.replace = ingest, sheet, dict(settings or {}), replace
        self.every, self.poll, self.clock, self.sleep = every, poll, clock, sleep
        self._read: set[Path] = set()
        self._ended: dict[Path, _Ended] = {}
        self._told: set[str] = set()
        self._sheet_state: Signature | None = None
        self._edited = False
        self._last = float("-inf")

    def reports(self) -> Iterator[IngestReport]:
        """Yield a report after each look; wait between them."""
        while True:
            yield self.look()
            self.sleep(self.poll)

    def look(self) -> IngestReport:
        """Look once, and ingest the files that are ready, if the last commit was long enough ago."""
        from barospec.archive.ingest.report import IngestReport

        report = IngestReport()
        self._notice_edits()
        ready = self.folder.look()
        if self.folder.trouble:
            report.problems = self._new([Problem("warning", self.folder.trouble)])
            return report
        self._told = {text for text in self._told if not text.endswith(AWAY)}
        if not ready or self.clock() - self._last < self.every:
            return report
        # Files that were read before are written separately: a change in them is a revision, in others a conflict.
        ready = {path: growing for path, growing in ready.items() if path in self._read} or ready
        revise = self.replace or self._edited or bool(self._read & ready.keys())
        start = self.clock()
        live = WatchState(ready, {path: self._ended_in(path) for path in ready})
        prepared = prepare(sorted(ready) if self.sheet is None else [self.sheet], self.settings, live=live)
        if self.sheet is not None and not prepared.sheets:
            report.problems = self._new(prepared.problems)
            return report  # half-edited; the files wait
        passing = dict(prepared.failed)
        prepared.problems = [p for p in prepared.problems if not any(text in str(p) for text in passing.values())]
        prepared.refused -= len(passing)
        try:
            report = self.ingest(prepared, replace=revise)
        except (BarospecError, OSError) as error:
            # The archive is locked, full or unreachable; nothing was written, and the files are still there.
            report.problems = self._new([Problem("error", f"not written, will be tried again: {error}")])
            self._last = self.clock()
            return report
        self._read |= {path for path in ready if path not in passing and path.suffix.lower() not in GROWING}
        for path, names in prepared.ended.items():
            if path in self._ended:
                self._ended[path].names |= set(names)
        self._edited = False
        lost = self.folder.done(ready, passing, self.clock() - start)
        report.problems = self._new([*report.problems, *(Problem("error", text) for text in lost.values())])
        report.refused += len(lost)
        if report.snapshot:
            self._last = self.clock()
        return report

    def _ended_in(self, path: Path) -> frozenset[str]:
        """Return the entries of a file that were ingested after their end; none if the file was replaced or shrank."""
        try:
            stat = path.stat()
        except OSError:
            return frozenset()
        known = self._ended.get(path)
        if known is None or known.inode != stat.st_ino or stat.st_size < known.size:
            known = self._ended[path] = _Ended(stat.st_ino)
        known.size = stat.st_size
        return frozenset(known.names)

    def _notice_edits(self) -> None:
        if self.sheet is None:
            return
        try:
            # A table beside the sheet belongs to it.
            parts = [path for path in self.sheet.parent.iterdir() if path.suffix.lower() in (".csv", ".xlsx")]
            stats = [path.stat() for path in (self.sheet, *sorted(parts))]
        except OSError:
            return
        state = (sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats))
        if self._sheet_state is not None and state != self._sheet_state:
            self._edited = True
            self._told.clear()
            self._ended.clear()
            self.folder.again()
        self._sheet_state = state

    def _new(self, problems: list[Problem]) -> list[Problem]:
        """Return the problems that are new; a look every second would repeat the others."""
        fresh = [problem for problem in problems if str(problem) not in self._told]
        self._told |= {str(problem) for problem in fresh}
        return fresh
