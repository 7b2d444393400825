"""Checks of an archive's environment: versions, file system, lock, space, format, leftovers; each with advice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout

from barospec.archive.store.checksums import read_seals
from barospec.archive.store.garbage_collection import unfinished
from barospec.archive.store.repository import CLOCK_SECONDS, Store
from barospec.archive.store.storage.bucket import Remote, probe
from barospec.archive.store.storage.files import files_of
from barospec.archive.store.storage.location import Local, Location
from barospec.archive.store.storage.lock import HOLDER, LOCK, held_by
from barospec.archive.store.storage.marker import FORMAT
from barospec.schemas.errors import BarospecError
from barospec.schemas.values import counted

PACKAGES = ("icechunk", "zarr", "duckdb", "numpy", "xarray", "dask", "intake", "obstore")
# File systems whose servers may not honor locks and renames.
NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "fuse.sshfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "afs",
    "9p",
    "fuse.gvfsd-fuse",
    "davfs",
)
LOW = 1e9
PROBE = """
import sys
from filelock import FileLock, Timeout
from barospec.schemas.values import counted
try:
    with FileLock(sys.argv[1], timeout=0.2):
        print("free")
except Timeout:
    print("held")
"""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Result of one check: ``ok``, a ``note``, or ``wrong``, with advice."""

    name: str
    state: str
    what: str
    todo: str = ""


def examine(location: Location) -> Iterator[Diagnosis]:
    """Check an archive and its environment; change nothing except probe files, which are removed again.

    Parameters
    ----------
    location : Location

    Yields
    ------
    Diagnosis
    """
    found = {name: _version(name) for name in PACKAGES}
    versions = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    yield Diagnosis("versions", "ok", f"barospec {_version('barospec')}, Python {sys.version.split()[0]}, {versions}")
    yield Diagnosis("archive", "ok", f"{location.place}, format {FORMAT}, {location.uuid}")
    if isinstance(location, Local):
        yield _file_system(location.root)
        yield from _lock(location.root)
        yield _space(location.root)
        yield from _leftovers(location)
    elif isinstance(location, Remote):
        yield _conditions(location)
    yield from _history(location)
    if due := unfinished(files_of(location)):
        again = f"barospec purge {due['ids'][0]} --reason TEXT --yes" if due.get("ids") else "barospec gc --yes"
        yield Diagnosis(
            "unfinished", "wrong", f"{due['verb']} of {due['since']} was interrupted", f"Run {again} to complete it."
        )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def file_system(path: Path, mounts: str = "/proc/mounts") -> str:
    """Return the type of a folder's file system, such as ``ext4``; "" if unknown.

    >>> file_system(Path("/"), mounts="/no/such/file")
    ''
    """
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return ""
    best, found = "", ""
    place = path.resolve()
    for line in lines:
        words = line.split()
        if len(words) >= 3:
            point = words[1].replace("\\040", " ")
            if place.is_relative_to(point) and len(point) >= len(best):
                best, found = point, words[2]
    return found


def is_network(kind: str) -> bool:
    """Return True if a type of file system is a network share.

    >>> is_network("nfs4"), is_network("ext4")
    (True, False)
    """
    return kind.startswith(NETWORK)


def _file_system(root: Path) -> Diagnosis:
    kind = file_system(root)
    if is_network(kind):
        return Diagnosis(
            "file system",
            "note",
            f"{kind}, a network share",
            "Let one machine write; several machines write to an archive in a bucket (docs/remote.md).",
        )
    return Diagnosis("file system", "ok", kind or "of unknown type")


def _lock(root: Path) -> Iterator[Diagnosis]:
    """Check that a lock held here excludes another process, and whether the archive's lock is held."""
    probe_file = root / f".probe-{os.getpid()}.lock"
    try:
        with FileLock(probe_file):
            words = [sys.executable, "-c", PROBE, str(probe_file)]
            result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Diagnosis(
            "lock", "wrong", f"it cannot be tried: {error}", "Is the folder writable? Reading works without it."
        )
        return
    finally:
        probe_file.unlink(missing_ok=True)
    if result.stdout.strip() == "held":
        yield Diagnosis("lock", "ok", "it excludes a second process")
    else:
        what = (
            "it does not exclude a second process"
            if result.stdout
            else f"it cannot be tried: {result.stderr.strip()[-200:]}"
        )
        todo = "Two writers at a time would lose commits: move the archive to a local disk or a bucket."
        yield Diagnosis("lock", "wrong", what, todo)
    try:
        FileLock(root / LOCK).acquire(timeout=0).__enter__().release()
    except Timeout:
        yield Diagnosis("writer", "note", f"at work: {held_by(root)}")
    except OSError as error:
        yield Diagnosis("writer", "note", f"{root} cannot be written: {error.strerror}")
    else:
        if (root / HOLDER).exists():
            what = f"was killed: {held_by(root)}"
            yield Diagnosis("writer", "note", what, "Nothing to do: the lock is free, and nothing was half written.")


def _space(root: Path) -> Diagnosis:
    usage = shutil.disk_usage(root)
    what = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f}"
    if usage.free < LOW:
        return Diagnosis(
            "space", "wrong", what, "Free some space; `barospec gc` shows what could be removed from the archive."
        )
    return Diagnosis("space", "ok", what)


def _leftovers(location: Local) -> Iterator[Diagnosis]:
    parts = [path for path in location.root.rglob("*.part*") if path.is_file()]
    if parts:
        size = sum(path.stat().st_size for path in parts) / 1e6
        names = ", ".join(str(path.relative_to(location.root)) for path in parts[:3])
        todo = "They are from writers that are at work or were interrupted. When none is at work, delete them."
        yield Diagnosis("leftovers", "note", f"{len(parts)} unfinished files ({size:.1f} MB): {names}", todo)


def _conditions(place: Remote) -> Diagnosis:
    try:
        probe(place)
    except BarospecError as error:
        return Diagnosis("conditional writes", "wrong", str(error), "Reading may still work.")
    return Diagnosis("conditional writes", "ok", "the service honors If-Match and If-None-Match")


def _history(location: Location) -> Iterator[Diagnosis]:
    try:
        commits = list(Store(location).history())
        sealed = read_seals(files_of(location)).snapshots
    except BarospecError as error:
        todo = (
            "Restore the files that `barospec verify` names from a backup; without one, see `barospec doctor --repair`."
        )
        yield Diagnosis("store", "wrong", str(error), todo)
        return
    yield Diagnosis(
        "store", "ok", f"{counted(len(commits), 'entries')} in the history, {counted(len(location.tags()), 'tags')}"
    )
    ahead = commits[0].time - datetime.now(UTC) if commits else timedelta(0)
    if ahead > timedelta(seconds=CLOCK_SECONDS):
        what = f"the newest commit is dated {commits[0].time:%Y-%m-%d %H:%M} UTC, which is in the future"
        todo = "One of two clocks is wrong: that of the writer, or this one. The next commit has this computer's date."
        yield Diagnosis("clock", "note", what, todo)
    if without := sum(commit.snapshot not in sealed for commit in commits):
        todo = "Run `barospec verify --seal`; then `verify` detects damage to them."
        yield Diagnosis("seals", "note", f"{without} entries have no record of their files' digests", todo)
