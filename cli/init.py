"""``barospec init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._options import archive_path
from barospec.cli._output import note

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
    from barospec import Archive
    from barospec.archive.store.storage.location import is_remote

    made = Archive.create(archive_path(place), title=title).location.place
    warning = "" if is_remote(made) else network_warning(Path(made))
    if warning:
        note(warning)
    print(f"An empty archive is at {made}. Next: barospec ingest RUN-SHEET.yaml --archive {made}")


def network_warning(path: Path) -> str:
    """A warning if the folder is on a network file system, whose locks cannot be relied on."""
    from barospec.archive.verify.doctor import file_system, is_network

    kind = file_system(path)
    if not is_network(kind):
        return ""
    return (
        f"{path} is on a network file system ({kind}). Locks there may not hold between hosts: "
        "let one host write to this archive; reading is safe everywhere."
    )
