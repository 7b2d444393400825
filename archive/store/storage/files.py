"""Files of an archive as bytes, for a folder or a bucket; used by checksums and `verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from barospec.archive.store.storage.bucket import Remote
from barospec.archive.store.storage.location import Local, Location

T = TypeVar("T")
# Concurrent requests to a bucket; a disk is read one file after the other.
AT_ONCE = 16


class Files(Protocol):
    """Files by their names below the archive's location, such as ``store/config.yaml``."""

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted."""

    def read(self, name: str) -> bytes:
        """Read a file. Raise FileNotFoundError, or another OSError or StoreError."""

    def write(self, name: str, content: str | bytes) -> None:
        """Write a small file, whole or not at all."""

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""

    @property
    def at_once(self) -> int:
        """Number of files to read at the same time."""


class LocalFiles:
    """Files of a folder."""

    at_once = 1

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted, without hidden ones, which are unfinished parts."""
        found = (path for path in (self.root / folder).rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def read(self, name: str) -> bytes:
        """Read a file."""
        return (self.root / name).read_bytes()

    def write(self, name: str, content: str | bytes) -> None:
        """Write a small file; it gets its name when it is complete."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        try:
            part.write_bytes(content if isinstance(content, bytes) else content.encode())
            part.replace(target)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""
        (self.root / name).unlink(missing_ok=True)


class RemoteFiles:
    """Objects below a prefix of a bucket."""

    at_once = AT_ONCE

    def __init__(self, place: Remote) -> None:
        self.place = place

    def names(self, folder: str) -> list[str]:
        """Return the names of all objects below a folder, sorted."""
        cut = len(self.place.key(""))
        return sorted(key[cut:] for key in self.place.names(f"{folder}/"))

    def read(self, name: str) -> bytes:
        """Read an object."""
        return self.place.read(name)

    def write(self, name: str, content: str | bytes) -> None:
        """Write a small object; replace an existing one."""
        self.place.overwrite(name, content)

    def remove(self, name: str) -> None:
        """Remove an object; it need not be there."""
        self.place.delete(name)


def files_of(location: Location) -> Files:
    """Return the files of an archive."""
    if isinstance(location, Remote):
        return RemoteFiles(location)
    assert isinstance(location, Local)
    return LocalFiles(location.root)


def each(files: Files, names: Iterable[str], look: Callable[[str], T]) -> Iterator[tuple[str, T]]:
    """Yield the name and the result of `look` for each file, in order; of a bucket several concurrently."""
    waiting = iter(names)
    if files.at_once == 1:
        for name in waiting:
            yield name, look(name)
        return
    with ThreadPoolExecutor(files.at_once) as pool:
        while block := list(islice(waiting, 4 * files.at_once)):
            yield from zip(block, pool.map(look, block), strict=True)
