"""Where an archive is and what its newest snapshot is, with the standard library only.

The query path runs through here: reading the branch file takes well under a millisecond, importing
icechunk a quarter of a second. Icechunk's on-disk format 1 keeps refs as ``refs/branch.main/ref.json``.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from barospec.schemas.errors import NotFound, StoreError, Unsupported, did_you_mean

FORMAT = 1
DEFAULT_ARCHIVE = "barospec-archive"
MARKER = "barospec.json"


@dataclass(frozen=True, slots=True)
class Location:
    """A local archive: a folder with the marker, the Icechunk store and the indexes.

    ``root/barospec.json`` says which format and which archive (UUID) this is; ``root/store`` is the
    Icechunk repository; ``root/index`` the immutable DuckDB files; ``root/writer.lock`` admits one writer.
    """

    root: Path
    uuid: str

    @property
    def store(self) -> Path:
        """The Icechunk repository."""
        return self.root / "store"

    @property
    def index(self) -> Path:
        """The folder of index files, where it can be written."""
        return self.root / "index"

    def head(self) -> str:
        """Identifier of the newest snapshot."""
        return _ref(self.store / "refs" / "branch.main" / "ref.json", self.root)

    def tags(self) -> dict[str, str]:
        """Tag name -> snapshot id."""
        folder = self.store / "refs"
        names = sorted(p.name[4:] for p in folder.glob("tag.*") if (p / "ref.json").exists()) if folder.is_dir() else []
        return {
            name: _ref(folder / f"tag.{name}" / "ref.json", self.root)
            for name in names
            if not (folder / f"tag.{name}" / "ref.json.deleted").exists()
        }

    def snapshot(self, at: str | None) -> str | None:
        """The snapshot meant by `at`, if refs alone can tell: the head, a tag, or a whole snapshot id.

        None when it may be a date or the beginning of an id: then the history has to be read.
        """
        if at is None:
            return self.head()
        tags = self.tags()
        if at in tags:
            return tags[at]
        return at if (self.store / "snapshots" / at).is_file() and len(at) == 20 else None


def _ref(path: Path, root: Path) -> str:
    try:
        return str(json.loads(path.read_text())["snapshot"])
    except FileNotFoundError:
        raise NotFound(
            f"{root} holds no finished archive: {path.name} is missing. Create one with `barospec init`."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            f"{path} is damaged. Restore it from a backup; nothing else refers to the newest snapshot."
        ) from None


def locate(path: str | os.PathLike[str]) -> Location:
    """Find the archive at `path`; read and check its marker.

    Raises
    ------
    NotFound
        There is no archive; the message names the next command, and archives nearby.
    Unsupported
        The archive was written by a newer version.
    """
    root = Path(path).expanduser()
    marker = root / MARKER
    try:
        described = json.loads(marker.read_text())
        uuid, written = str(described["uuid"]), int(described["barospec_format"])
    except FileNotFoundError:
        near = sorted(p.parent.name for p in root.parent.glob(f"*/{MARKER}")) if root.parent.is_dir() else []
        hint = did_you_mean(root.name, near) or (f" Beside it: {', '.join(near[:5])}." if near else "")
        raise NotFound(
            f"there is no archive at {root}.{hint} Name one with --archive or BAROSPEC_ARCHIVE, "
            f"or create it: barospec init {root}"
        ) from None
    except NotADirectoryError:
        raise NotFound(f"{root} is a file, not an archive. Name the archive's folder.") from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{marker} is damaged: it should hold the archive's format and uuid as JSON.") from None
    if written > FORMAT:
        raise Unsupported(f"{root} has format {written}; this version reads up to {FORMAT}. Upgrade barospec.")
    return Location(root, uuid)
