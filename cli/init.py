"""``barospec init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli.common import archive_path
from barospec.cli.output import note

NAME = "init"


def command(
    place: Annotated[
        str | None,
        typer.Argument(
            help="Folder of the new archive, or s3://bucket/prefix. Default: as --archive elsewhere.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="What the archive is about.")] = "",
) -> None:
    """Make an empty archive."""
    from barospec.api import Archive
    from barospec.archive.head import is_remote

    made = Archive.create(archive_path(place), title=title).location.place
    warning = "" if is_remote(made) else network_warning(Path(made))
    if warning:
        note(warning)
    print(f"An empty archive is at {made}. Next: barospec ingest RUN-SHEET.yaml --archive {made}")


def network_warning(path: Path) -> str:
    """A warning if the folder is on a network file system, whose locks cannot be relied on."""
    kind = _file_system(path.resolve())
    if not kind.startswith(("nfs", "cifs", "smb", "9p", "fuse.sshfs", "lustre", "gpfs", "beegfs")):
        return ""
    return (
        f"{path} is on a network file system ({kind}). Locks there may not hold between hosts: "
        "let one host write to this archive; reading is safe everywhere."
    )


def _file_system(path: Path) -> str:
    """Type of the file system that holds `path`, from /proc/mounts; empty where that is not known."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except (OSError, IndexError):
        return ""
    holding = [(len(place), kind) for place, kind in mounts if path == Path(place) or Path(place) in path.parents]
    return max(holding)[1] if holding else ""
