"""``barospec migrate``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, open_archive

NAME = "migrate"


def command(
    archive: ArchiveOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Bring an archive that an earlier version wrote to this version's format, one commit for each step."""
    from barospec.archive.store.storage.marker import FORMAT

    opened = open_archive(archive)
    done = opened.migrate(dry_run=dry_run)
    if done:
        print(f"The archive {'would be' if dry_run else 'was'} brought to format {' and then '.join(map(str, done))}.")
    else:
        print(f"The archive has format {FORMAT}, the newest; there is nothing to do.")
