"""Digests of the store's own files: snapshots, manifests, transaction logs, configuration.

Icechunk's metadata carry no checksum, and a flipped bit there can become a missing value. So each commit writes a seal, a
small file ``seals/<snapshot>.json`` beside the store with the sha256 of every metadata file that the commit made. Chunks
need none: each has a checksum of its own (zstd), and each spectrum its ``row_sha256``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = "seals"
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


def seal(root: Path, store: Path, snapshots: Iterable[tuple[str, str | None]], manifests: Manifests) -> int:
    """Record the files of commits that have no seal yet, newest first; returns how many were sealed.

    Parameters
    ----------
    root, store : Path
        The archive and its Icechunk repository.
    snapshots : iterable of (snapshot, parent)
        The history from the newest backwards; it is read until a commit that is sealed.
    manifests : callable
        Names of the manifests that a snapshot refers to.
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    count = 0
    for snapshot, parent in snapshots:
        target = folder / f"{snapshot}.json"
        if target.exists():
            break
        known = set(manifests(parent)) if parent is not None else set()
        names = [f"manifests/{name}" for name in sorted(set(manifests(snapshot)) - known)]
        names += [f"snapshots/{snapshot}", f"transactions/{snapshot}", CONFIG]
        write_seal(target, {name: digest(store / name) for name in names if (store / name).is_file()}, [snapshot])
        count += 1
    return count


def write_seal(target: Path, files: Mapping[str, str], snapshots: Iterable[str], replaces: Iterable[str] = ()) -> None:
    """Write a seal; it appears under its name when it is complete."""
    content: dict[str, Any] = {"snapshots": sorted(snapshots), "files": dict(sorted(files.items()))}
    if replaced := sorted(replaces):
        content["replaces"] = replaced
    part = target.with_name(f".{target.name}.part")
    part.write_text(json.dumps({**content, "sha256": _own_digest(content)}, indent=0) + "\n")
    part.replace(target)


def read_seals(root: Path) -> Seals:
    """All seals of an archive; of a file that several name, the newest digest counts."""
    found = Seals()
    read: dict[str, dict[str, Any]] = {}
    replaced: set[str] = set()
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            content = json.loads(path.read_text())
            own = content.pop("sha256")
            if own != _own_digest(content):
                raise ValueError("it was changed after it was written")
            read[path.name] = content
            replaced |= set(content.get("replaces", ()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            found.damaged[f"{FOLDER}/{path.name}"] = str(error) if isinstance(error, ValueError) else "it is no seal"
    standing = {name: content for name, content in read.items() if name not in replaced}
    # Those that replace others are the older ones: what came after them was sealed commit by commit.
    for content in sorted(standing.values(), key=lambda content: "replaces" not in content):
        found.files.update(content["files"])
        found.snapshots.update(content["snapshots"])
    return found


def check_seals(root: Path, store: Path, progress: Callable[[str, int, int], None]) -> Iterator[tuple[str, str]]:
    """Files that are not what was sealed, each with what is wrong."""
    seals = read_seals(root)
    yield from seals.damaged.items()
    for done, (name, expected) in enumerate(seals.files.items()):
        if done % 64 == 0:
            progress("sealed files", done, len(seals.files))
        path = store / name
        try:
            if digest(path) != expected:
                yield f"{store.name}/{name}", "its bytes are not those that were written"
        except FileNotFoundError:
            yield f"{store.name}/{name}", "it is missing"
        except OSError as error:
            yield f"{store.name}/{name}", f"it cannot be read: {error.strerror}"


def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
