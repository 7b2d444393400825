"""``barospec index``."""

from __future__ import annotations

import typer

from barospec.cli._options import ArchiveOption, AtOption, open_archive

app = typer.Typer(
    no_args_is_help=True,
    help="Rebuild the metadata index. The index is computed from the store and can be rebuilt at any time.",
)


@app.command("rebuild")
def rebuild(archive: ArchiveOption = None, at: AtOption = None) -> None:
    """Rebuild the index of a snapshot from the arrays."""
    print(f"The index is {open_archive(archive, at).rebuild_index()}")
