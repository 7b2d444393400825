"""``barospec migrate``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, open_archive

NAME = "migrate"


def command(
    archive: ArchiveOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the steps without applying them.")] = False,
) -> None:
    """Upgrade an archive to the format of this version.

    Each step is one commit. An archive of the newest format does not change.
    """
    from barospec.archive.store.storage.marker import FORMAT

    opened = open_archive(archive)
    done = opened.migrate(dry_run=dry_run)
    if done:
        print(f"The archive {'would be' if dry_run else 'was'} upgraded to format {' and then '.join(map(str, done))}.")
    else:
        print(f"The archive has format {FORMAT}, the newest. Nothing to do.")
