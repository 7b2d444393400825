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
            metavar="LOCATION",
            help="Folder of the new archive, or s3://bucket/prefix. Default: as for --archive of other commands.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the archive.")] = "",
) -> None:
    """Create an empty archive."""
    from barospec._archive import Archive
    from barospec.archive.store.storage.location import is_remote

    made = Archive.create(archive_path(place), title=title).location.place
    warning = "" if is_remote(made) else network_warning(Path(made))
    if warning:
        note(warning)
    print(f"Created an empty archive in {made}. Next: barospec ingest RUN-SHEET.yaml --archive {made}")


def network_warning(path: Path) -> str:
    """Return a warning if the folder is on a network file system, where locks are unreliable."""
    from barospec.archive.verify.doctor import file_system, is_network

    kind = file_system(path)
    if not is_network(kind):
        return ""
    return (
        f"{path} is on a network file system ({kind}). Locks there may fail between hosts: "
        "write to this archive from one host only. Reading is safe from every host."
    )
