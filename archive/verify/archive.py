"""Verification of an archive: every file, chunk, spectrum and record.

Faults are reported with their location; nothing is repaired. Memory is bounded by a block of rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs.zstd import Zstd

from barospec.archive.store.checksums import UNFINISHED, Seals, check_seals, read_seals
from barospec.archive.store.garbage_collection import unfinished
from barospec.archive.store.read import ROWS, group_paths, spectra_group
from barospec.archive.store.repository import Store
from barospec.archive.store.storage.files import Files, each, files_of
from barospec.archive.store.storage.location import Location
from barospec.archive.store.storage.marker import MARKER
from barospec.archive.verify.derived import check_derived
from barospec.archive.verify.report import Verified
from barospec.archive.verify.spectra import BLOCK, check_rows
from barospec.archive.verify.tables import check_records
from barospec.schemas.errors import BarospecError

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

Progress = Callable[[str, int, int], None]


def verify_files(location: Location, report: Verified, progress: Progress) -> Seals:
    """Check every file of the store, even if it cannot be opened: metadata and chunks against their checksums."""
    files = files_of(location)
    seals = read_seals(files)
    for where, what in check_seals(files, seals, progress):
        report.blame(where, what)
    report.count("sealed files", len(seals.files))
    if due := unfinished(files):
        again = f"Run `barospec {due['verb']}` again to complete it."
        report.blame(UNFINISHED, f"{due['verb']} of {due['since']} was interrupted", again)
    _check_chunks(files, report, progress)
    return seals


def verify_refs(store: Store, seals: Seals, report: Verified) -> None:
    """Check the references of history, branch, tags and the archive's description."""
    location = store.location
    _check_refs(store, seals, report)
    try:
        described = json.loads(files_of(location).read(MARKER))
        uuid = str(store.read(location.head()).attrs.get("uuid"))
        if str(described["uuid"]) != uuid:
            report.blame(MARKER, f"it names archive {described['uuid']}, the store is of {uuid}")
        if described["barospec_format"] != store.read(location.head()).attrs.get("barospec_format"):
            report.blame(MARKER, f"it has format {described['barospec_format']}, the store another")
    except (OSError, ValueError, KeyError, BarospecError) as error:
        report.blame(MARKER, f"it does not fit the store: {_said(error)}")


def _check_chunks(files: Files, report: Verified, progress: Progress) -> None:
    def look(name: str) -> tuple[int, str]:
        try:
            content = files.read(name)
            Zstd().decode(content)
            return len(content), ""
        except (OSError, RuntimeError, ValueError, MemoryError, BarospecError) as error:
            return 0, f"its checksum fails: {_said(error)}"

    chunks = files.names("store/chunks")
    for done, (name, (size, wrong)) in enumerate(each(files, chunks, look)):
        if done % 256 == 0:
            progress("chunks", done, len(chunks))
        report.count("bytes of chunks", size)
        if wrong:
            report.blame(name, wrong)
    report.count("chunks", len(chunks))


def _check_refs(store: Store, seals: Seals, report: Verified) -> None:
    """Check that every commit of the history and every tag can be opened."""
    unsealed = 0
    try:
        commits = list(store.history())
    except BarospecError as error:
        report.blame("history", _said(error))
        return
    for commit in commits:
        unsealed += commit.snapshot not in seals.snapshots
        try:
            store.manifests(commit.snapshot)
        except BarospecError as error:
            report.blame(f"snapshot {commit.snapshot}", _said(error))
    report.count("snapshots", len(commits))
    if unsealed:
        report.notes.append(
            f"{unsealed} snapshots have no record of their files' digests yet (they are in a bucket, or were written by an "
            "earlier version or right before a kill); `barospec verify --seal` records them as they are now."
        )
    try:
        tags = store.location.tags()
    except BarospecError as error:
        report.blame("tags", _said(error))
        return
    for name, snapshot in tags.items():
        try:
            store.read(snapshot)
        except BarospecError as error:
            report.blame(f"tag {name}", f"its snapshot {snapshot} cannot be opened: {_said(error)}")
    report.count("tags", len(tags))


def verify_state(store: Store, snapshot: str, report: Verified, progress: Progress) -> None:
    """Check all data of a snapshot: rows with their numbers, tables, and the rules for them."""
    try:
        root = store.read(snapshot)
        known = check_rows(root, group_paths(root), report, progress)
        check_records(root, known, report, progress)
        check_derived(root, report, progress)
        _read_others(root, report, progress)
    except Exception as error:
        report.blame(f"snapshot {snapshot}", f"it cannot be read: {_said(error)}")


def verify_earlier(store: Store, snapshot: str, name: str, report: Verified, progress: Progress) -> None:
    """Check the data that only an earlier snapshot has: columns and tables whole, chunks of curves that later appends rewrote.

    Full chunks of curves are never rewritten, so that the newest state has the same; reading it has checked them.
    """
    try:
        root = store.read(snapshot)
        for key in group_paths(root):
            group = spectra_group(root, key)
            for column, node in group.arrays():
                tail = node.ndim == 2 and node.chunks[0] == ROWS
                start = max(0, (node.shape[0] - 1) // ROWS * ROWS) if tail else 0
                progress(f"{name} {key} {column}", 0, 1)
                _read(node, f"{key}/{column} at {name}", report, start)
    except Exception as error:
        report.blame(name, f"its snapshot {snapshot} cannot be read: {_said(error)}")
        return
    _read_others(root, report, progress, f" at {name}")


def _read_others(root: Group, report: Verified, progress: Progress, at: str = "") -> None:
    """Read every array outside the groups of spectra: tables, words, stored outputs, derived values."""
    try:
        nodes = [(path, node) for path, node in root.members(max_depth=None) if not path.startswith("spectra/")]
    except Exception as error:
        report.blame(f"/{at}", f"its members cannot be listed: {_said(error)}")
        return
    for done, (path, node) in enumerate(nodes):
        if hasattr(node, "shape"):
            progress(path, done, len(nodes))
            _read(node, f"{path}{at}", report)


def _read(node: Any, where: str, report: Verified, start: int = 0) -> None:
    """Read all of an array, a block at a time."""
    if not node.ndim:
        starts: list[int | None] = [None]
    else:
        step = max(node.chunks[0], BLOCK // max(1, int(np.prod(node.shape[1:]))) // node.chunks[0] * node.chunks[0])
        starts = list(range(start, node.shape[0], step))
    for first in starts:
        try:
            np.asarray(node[...] if first is None else node[first : first + step])
        except Exception as error:
            report.blame(
                where if first is None else f"{where}[{first}:{first + step}]", f"it cannot be read: {_said(error)}"
            )
    report.count("arrays")


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (text[:200] + "…" if len(text) > 200 else text) or type(error).__name__
