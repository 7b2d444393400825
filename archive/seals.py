"""Digests of the store's own files: snapshots, manifests, transaction logs, configuration.

Icechunk's metadata carry no checksum, and a flipped bit there can become a missing value. So each commit writes a seal, a
small file ``seals/<snapshot>.json`` beside the store with the sha256 of every metadata file that the commit made. Chunks
need none: each has a checksum of its own (zstd), and each spectrum its ``row_sha256``.

In a bucket a seal at each commit would cost a request for every file of it, so that there they are written when asked for,
with `verify --seal`; what happens to objects in between, the service's own checksums tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from barospec.archive.files import Files, each
from barospec.schemas.errors import StoreError

FOLDER, STORE = "seals", "store"
CONFIG = "config.yaml"
Manifests = Callable[[str], Iterable[str]]


@dataclass(slots=True)
class Seals:
    """All seals of an archive together.

    Attributes
    ----------
    files : dict
        Path inside the store -> sha256.
    snapshots : set of str
        Those whose files are recorded.
    damaged : dict
        Name of a seal that cannot be trusted -> why.
    """

    files: dict[str, str] = field(default_factory=dict)
    snapshots: set[str] = field(default_factory=set)
    damaged: dict[str, str] = field(default_factory=dict)


def seal(files: Files, snapshots: Iterable[tuple[str, str | None]], manifests: Manifests) -> int:
    """Record the files of commits that have no seal yet, newest first; returns how many were sealed.

    Parameters
    ----------
    files : Files
        Of the archive.
    snapshots : iterable of (snapshot, parent)
        The history from the newest backwards; it is read until a commit that is sealed.
    manifests : callable
        Names of the manifests that a snapshot refers to.
    """
    there = set(files.names(FOLDER))
    count = 0
    for snapshot, parent in snapshots:
        target = f"{FOLDER}/{snapshot}.json"
        if target in there:
            break
        known = set(manifests(parent)) if parent is not None else set()
        names = [f"manifests/{name}" for name in sorted(set(manifests(snapshot)) - known)]
        names += [f"snapshots/{snapshot}", f"transactions/{snapshot}", CONFIG]
        write_seal(files, target, digests(files, names), [snapshot])
        count += 1
    return count


def digests(files: Files, names: Iterable[str]) -> dict[str, str]:
    """sha256 of files of the store, of those that are there."""
    found = each(files, [f"{STORE}/{name}" for name in names], lambda name: _digest(files, name))
    return {name.removeprefix(f"{STORE}/"): told for name, told in found if told}


def _digest(files: Files, name: str) -> str:
    try:
        return hashlib.sha256(files.read(name)).hexdigest()
    except FileNotFoundError:
        return ""


def write_seal(
    files: Files, target: str, sums: Mapping[str, str], snapshots: Iterable[str], replaces: Iterable[str] = ()
) -> None:
    """Write a seal: files of the store with their sha256, the snapshots they belong to, and the seals it stands for."""
    content: dict[str, Any] = {"snapshots": sorted(snapshots), "files": dict(sorted(sums.items()))}
    if replaced := sorted(replaces):
        content["replaces"] = replaced
    files.write(target, json.dumps({**content, "sha256": _own_digest(content)}, indent=0) + "\n")


def read_seals(files: Files) -> Seals:
    """All seals of an archive; of a file that several name, the newest digest counts."""
    found = Seals()
    read: dict[str, dict[str, Any]] = {}
    replaced: set[str] = set()
    for name, text in each(files, [n for n in files.names(FOLDER) if n.endswith(".json")], files.read):
        try:
            content = json.loads(text)
            own = content.pop("sha256")
            if own != _own_digest(content):
                raise ValueError("it was changed after it was written")
            read[name.rpartition("/")[2]] = content
            replaced |= set(content.get("replaces", ()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            found.damaged[name] = str(error) if isinstance(error, ValueError) else "it is no seal"
    standing = {name: content for name, content in read.items() if name not in replaced}
    # Those that replace others are the older ones: what came after them was sealed commit by commit.
    for content in sorted(standing.values(), key=lambda content: "replaces" not in content):
        found.files.update(content["files"])
        found.snapshots.update(content["snapshots"])
    return found


def check_seals(files: Files, seals: Seals, progress: Callable[[str, int, int], None]) -> Iterator[tuple[str, str]]:
    """Files that are not what was sealed, each with what is wrong."""
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
