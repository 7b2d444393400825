"""Checksums of the store's metadata files: snapshots, manifests, transaction logs, configuration.

Icechunk's metadata carry no checksum, and a flipped bit there can become a missing value. So each commit writes a checksum
file ``seals/<snapshot>.json`` beside the store with the sha256 of every metadata file that the commit made, and one
digest of all metadata files of the snapshot (``state``), which is compared whenever the snapshot is opened. Chunks need none:
each has its own checksum (zstd), and each spectrum its ``row_sha256``.

In a bucket, checksums at each commit would cost a request for every file, so `verify --seal` writes them on demand;
in between, the service's own checksums detect damage to objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from barospec.archive.store.storage.files import Files, each
from barospec.schemas.errors import StoreError

FOLDER, STORE = "seals", "store"
CONFIG = "config.yaml"
UNFINISHED = "unfinished.json"  # there while `gc` or `purge` is at work, or was killed
Manifests = Callable[[str], Iterable[str]]


@dataclass(slots=True)
class Seals:
    """All checksums of an archive.

    Attributes
    ----------
    files : dict
        Path inside the store -> sha256.
    snapshots : set of str
        Snapshots whose files are recorded.
    damaged : dict
        Name of an untrusted checksum file -> reason.
    """

    files: dict[str, str] = field(default_factory=dict)
    snapshots: set[str] = field(default_factory=set)
    damaged: dict[str, str] = field(default_factory=dict)


def seal(
    files: Files,
    snapshots: Iterable[tuple[str, str | None]],
    manifests: Manifests,
    known: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, dict[str, str]]]:
    """Record the files of commits that have no checksums yet.

    Parameters
    ----------
    files : Files
        Of the archive.
    snapshots : iterable of (snapshot, parent)
        The history from the newest backwards; it is read up to a commit with checksums.
    manifests : callable
        Names of the manifests that a snapshot refers to.
    known : mapping, optional
        Digests of files that were just checked and need not be read again.

    Returns
    -------
    int
        Number of commits recorded.
    dict
        The newest snapshot -> digests of all its metadata files, if recorded now; empty otherwise.
    """
    there = set(files.names(FOLDER))
    count, newest = 0, dict[str, dict[str, str]]()
    due = list(takewhile(lambda commit: f"{FOLDER}/{commit[0]}.json" not in there, snapshots))
    # The oldest first: if interrupted, the next call records the rest.
    for snapshot, parent in reversed(due):
        target = f"{FOLDER}/{snapshot}.json"
        before = set(manifests(parent)) if parent is not None else set()
        held = manifests(snapshot)
        names = [f"manifests/{name}" for name in sorted(set(held) - before)]
        names += [f"snapshots/{snapshot}", f"transactions/{snapshot}", CONFIG]
        sums = digests(files, names)
        older = {f"manifests/{name}" for name in held} - sums.keys()
        found = {name: digest for name, digest in (known or {}).items() if name in older}
        found |= digests(files, sorted(older - found.keys()))
        found |= {name: sums[name] for name in sums if name.startswith(("manifests/", "snapshots/"))}
        write_seal(files, target, sums, [snapshot], state=state_of(found))
        if not count:
            newest[snapshot] = found
        count += 1
    return count, newest


def state_of(sums: Mapping[str, str]) -> str:
    """Return one digest of the metadata files of a snapshot: its own file and all its manifests."""
    return hashlib.sha256("".join(f"{name} {sums[name]}\n" for name in sorted(sums)).encode()).hexdigest()


def check_snapshot(files: Files, snapshot: str, manifests: Callable[[bytes, str], Iterable[str]]) -> dict[str, str]:
    """Compare the metadata files of a snapshot with their checksums.

    Parameters
    ----------
    files : Files
        Of the archive.
    snapshot : str
    manifests : callable
        Names of the manifests that a snapshot refers to, from the content of its file; see `snapshot_files`.

    Returns
    -------
    dict
        File inside the store -> sha256; empty if nothing was recorded.

    Raises
    ------
    StoreError
        A file is missing, or its bytes are not those that were written.
    """
    wrong: list[str] = []
    for _ in range(2):  # `gc` may have ended between the reads of checksums and file
        clearing = _is_there(files, UNFINISHED)
        found, wrong = _compared(files, snapshot, manifests)
        if clearing:  # the history before the oldest snapshot was removed, and its checksums are written last
            wrong = [name for name in wrong if not name.startswith("snapshots/")]
        if not wrong:
            return found
    what = "it is missing" if wrong[0] not in found else "its bytes are not those that were written"
    raise StoreError(
        f"{STORE}/{wrong[0]} is damaged: {what}. Nothing was read. Restore it from a copy; `barospec verify` lists all "
        "damage, and `barospec doctor --repair` goes back to the last whole snapshot."
    )


def _compared(
    files: Files, snapshot: str, manifests: Callable[[bytes, str], Iterable[str]]
) -> tuple[dict[str, str], list[str]]:
    """Return the digests of a snapshot's metadata files, and the files that differ from the record."""
    try:
        own = _read_seal(files, f"{FOLDER}/{snapshot}.json")
    except (FileNotFoundError, ValueError):
        own = {}
    seals = None if "state" in own else read_seals(files)
    if seals is not None and snapshot not in seals.snapshots:
        return {}, []
    try:
        content = files.read(f"{STORE}/snapshots/{snapshot}")
    except FileNotFoundError:
        return {}, []  # the store's own message has more: `gc` may have removed it
    name = f"snapshots/{snapshot}"
    found = {name: hashlib.sha256(content).hexdigest()}
    recorded = own["files"] if seals is None else seals.files
    wrong = [name] if found[name] != recorded.get(name, found[name]) else []
    try:
        names = [f"manifests/{one}" for one in manifests(content, snapshot)]
    except StoreError:
        if wrong:
            return found, wrong
        raise
    found |= digests(files, names)
    if seals is None and not wrong and state_of(found) == own["state"]:
        return found, []
    recorded = (seals or read_seals(files)).files
    wrong += [one for one in names if found.get(one) != recorded.get(one, found.get(one))]
    if seals is None and not wrong:  # a file whose checksum file is damaged too
        wrong = ["manifests"]
    return found, wrong


def _is_there(files: Files, name: str) -> bool:
    try:
        files.read(name)
    except FileNotFoundError:
        return False
    return True


def digests(files: Files, names: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of files of the store, without missing ones."""
    found = each(files, [f"{STORE}/{name}" for name in names], lambda name: _digest(files, name))
    return {name.removeprefix(f"{STORE}/"): digest for name, digest in found if digest}


def _digest(files: Files, name: str) -> str:
    try:
        return hashlib.sha256(files.read(name)).hexdigest()
    except FileNotFoundError:
        return ""


def write_seal(
    files: Files,
    target: str,
    sums: Mapping[str, str],
    snapshots: Iterable[str],
    replaces: Iterable[str] = (),
    state: str | None = None,
) -> None:
    """Write a checksum file: files of the store with their sha256, their snapshots, the checksum files that it replaces, and
    the digest of the whole snapshot that it is named after.
    """
    content: dict[str, Any] = {"snapshots": sorted(snapshots), "files": dict(sorted(sums.items()))}
    if state is not None:
        content["state"] = state
    if replaced := sorted(replaces):
        content["replaces"] = replaced
    files.write(target, json.dumps({**content, "sha256": _own_digest(content)}, indent=0) + "\n")


def commit_fits(files: Files, snapshot: str) -> bool:
    """Return True if the file of a commit, with its metadata, is as written; also if no checksum is recorded."""
    name = f"snapshots/{snapshot}"
    try:
        wanted = _read_seal(files, f"{FOLDER}/{snapshot}.json")["files"].get(name)
        return wanted is None or hashlib.sha256(files.read(f"{STORE}/{name}")).hexdigest() == wanted
    except (FileNotFoundError, ValueError, KeyError):
        return True


def _read_seal(files: Files, name: str) -> dict[str, Any]:
    """Return the content of a checksum file; raise FileNotFoundError, or ValueError with the fault."""
    return _content(files.read(name))


def _content(text: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(text)
        own = content.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("it is not a checksum file") from None
    if own != _own_digest(content):
        raise ValueError("it was changed after it was written")
    return content


def read_seals(files: Files) -> Seals:
    """Read all checksums of an archive; the newest digest of a file counts."""
    found = Seals()
    read: dict[str, dict[str, Any]] = {}
    replaced: set[str] = set()
    for name, text in each(files, [n for n in files.names(FOLDER) if n.endswith(".json")], files.read):
        try:
            content = _content(text)
            read[name.rpartition("/")[2]] = content
            replaced |= set(content.get("replaces", ()))
        except (ValueError, TypeError) as error:
            found.damaged[name] = str(error) if isinstance(error, ValueError) else "it is not a checksum file"
    standing = {name: content for name, content in read.items() if name not in replaced}
    # Those that replace others are the older ones: later commits were recorded one by one.
    for content in sorted(standing.values(), key=lambda content: "replaces" not in content):
        found.files.update(content["files"])
        found.snapshots.update(content["snapshots"])
    return found


def check_seals(files: Files, seals: Seals, progress: Callable[[str, int, int], None]) -> Iterator[tuple[str, str]]:
    """Yield files that differ from their checksums, each with the fault."""
    yield from seals.damaged.items()

    def wrong(name: str) -> str:
        try:
            found = hashlib.sha256(files.read(name)).hexdigest()
        except FileNotFoundError:
            return "it is missing"
        except (OSError, StoreError) as error:
            return f"it cannot be read: {error}"
        return (
            "" if found == seals.files[name.removeprefix(f"{STORE}/")] else "its bytes are not those that were written"
        )

    for done, (name, what) in enumerate(each(files, [f"{STORE}/{name}" for name in seals.files], wrong)):
        if done % 64 == 0:
            progress("sealed files", done, len(seals.files))
        if what:
            yield name, what


def _own_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
