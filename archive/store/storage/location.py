"""Location and newest snapshot of an archive, with the standard library only.

The query path runs through here: reading the branch file takes well under a millisecond, importing
icechunk a quarter of a second. Icechunk's on-disk format 1 keeps refs as ``refs/branch.main/ref.json``.
An archive is a folder (`Local`) or in a bucket (`bucket.Remote`, imported when one is named).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from barospec.archive.store.storage.marker import MARKER, describe, identity, snapshot_in
from barospec.schemas.errors import CallError, NotFound, StoreError, did_you_mean

DEFAULT_ARCHIVE = "barospec-archive"


class Location(Protocol):
    """Location of an archive, for finding and reading it."""

    @property
    def uuid(self) -> str:
        """The archive's identity, the same in every copy."""

    @property
    def place(self) -> str:
        """The location that `locate` accepts: the folder's path, or the bucket's address."""

    @property
    def index(self) -> Path | None:
        """The folder of index files beside the store; None if they can be in the user's cache only."""

    def head(self) -> str:
        """Return the identifier of the newest snapshot."""

    def tags(self) -> dict[str, str]:
        """Return tag name -> snapshot id."""

    def snapshot(self, at: str | None) -> str | None:
        """Return the snapshot of `at` if refs alone identify it: the head, a tag, or a whole snapshot id.

        None if it may be a date or the beginning of an id: then the history is needed.
        """


@dataclass(frozen=True, slots=True)
class Local:
    """A local archive: a folder with the marker, the Icechunk store and the indexes.

    ``root/barospec.json`` has the format and the archive's UUID; ``root/store`` is the
    Icechunk repository; ``root/index`` the immutable DuckDB files; ``root/writer.lock`` admits one writer.
    """

    root: Path
    uuid: str

    @property
    def place(self) -> str:
        """The folder's path."""
        return str(self.root)

    @property
    def store(self) -> Path:
        """The Icechunk repository."""
        return self.root / "store"

    @property
    def index(self) -> Path:
        """The folder of index files, if writable."""
        return self.root / "index"

    def head(self) -> str:
        """Return the identifier of the newest snapshot. Raise StoreError if the folder is another archive now."""
        marker = self.root / MARKER
        try:
            found = describe(marker.read_text(errors="replace"), str(marker))[0]
        except FileNotFoundError:
            raise NotFound(f"there is no archive at {self.root} any more.") from None
        if found != self.uuid:
            raise StoreError(
                f"{self.root} is another archive now (UUID {found}; {self.uuid} was opened). Nothing was done. Open it again."
            )
        return _ref(self.store / "refs" / "branch.main" / "ref.json", self.root)

    def tags(self) -> dict[str, str]:
        """Return tag name -> snapshot id."""
        folder = self.store / "refs"
        names = sorted(p.name[4:] for p in folder.glob("tag.*") if (p / "ref.json").exists()) if folder.is_dir() else []
        return {
            name: _ref(folder / f"tag.{name}" / "ref.json", self.root)
            for name in names
            if not (folder / f"tag.{name}" / "ref.json.deleted").exists()
        }

    def snapshot(self, at: str | None) -> str | None:
        """Return the snapshot of `at` if refs alone identify it: the head, a tag, or a whole snapshot id.

        None if it may be a date or the beginning of an id: then the history is needed.
        """
        if at is None:
            return self.head()
        tags = self.tags()
        if at in tags:
            return tags[at]
        return at if (self.store / "snapshots" / at).is_file() and len(at) == 20 else None


def _ref(path: Path, root: Path) -> str:
    try:
        return snapshot_in(path.read_text(errors="replace"), str(path))
    except FileNotFoundError:
        raise NotFound(
            f"{root} holds no finished archive: {path.name} is missing. Create one with `barospec init`; if there was one, "
            "`barospec doctor --repair` finds the last whole snapshot."
        ) from None


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return True for the address of a bucket, also as a ``Path``, which has lost a slash.

    >>> is_remote("s3://beamtimes/2026/archive"), is_remote(Path("s3://bucket/a")), is_remote("archives/s3")
    (True, True, False)
    """
    return os.fspath(path).startswith("s3:/")


def locate(path: str | os.PathLike[str]) -> Location:
    """Find the archive at `path`, a folder or ``s3://bucket/prefix``; read and check its marker.

    Raises
    ------
    NotFound
        There is no archive; the message names the next command, and archives nearby.
    Unsupported
        The archive was written by a newer version.
    StoreError
        The archive is damaged, or its bucket cannot be reached or read.
    """
    if is_remote(path):
        from barospec.archive.store.storage.bucket import locate_remote

        return locate_remote(os.fspath(path))
    text = os.fspath(path)
    if "://" in text:
        raise CallError(
            f"{text}: an archive is a folder or s3://bucket/prefix. A bundle behind a web server opens with "
            "xarray or intake directly; see docs/remote.md."
        )
    # Absolute: a program may change its folder, and lazy arrays are read later, by other processes too.
    root = Path(os.path.abspath(Path(path).expanduser()))
    marker = root / MARKER
    try:
        uuid = identity(marker.read_text(), str(marker), str(root))
    except FileNotFoundError:
        near = sorted(p.parent.name for p in root.parent.glob(f"*/{MARKER}")) if root.parent.is_dir() else []
        hint = did_you_mean(root.name, near) or (f" Beside it: {', '.join(near[:5])}." if near else "")
        raise NotFound(
            f"there is no archive at {root}.{hint} Name one with --archive or BAROSPEC_ARCHIVE, "
            f"or create it: barospec init {root}"
        ) from None
    except UnicodeDecodeError:
        raise StoreError(f"{marker} is damaged: it should hold the archive's format and uuid as JSON.") from None
    except NotADirectoryError:
        raise NotFound(f"{root} is a file, not an archive. Name the archive's folder.") from None
    return Local(root, uuid)
