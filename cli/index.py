"""``barospec index``."""

from __future__ import annotations

import typer

from barospec.cli._options import ArchiveOption, AtOption, open_archive

app = typer.Typer(
    no_args_is_help=True, help="Care of the metadata index, which follows from the store and can always be made again."
)


@app.command("rebuild")
def rebuild(archive: ArchiveOption = None, at: AtOption = None) -> None:
    """Make the index of a snapshot anew from the arrays."""
    print(f"The index is {open_archive(archive, at).rebuild_index()}")
