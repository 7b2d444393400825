"""``barospec sheet``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._output import note, progress
from barospec.schemas.values import counted

NAME = "sheet"


def command(
    folder: Annotated[Path, typer.Argument(help="Folder with the raw files.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the run sheet. Default: the folder with the raw files.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draft a run sheet from the files of a folder.

    Writes run-sheet.yaml and its scan table: the scans with their energies, times and moved motors, the probable edge, and a ruby log
    if there is one. Values that you must add are blank and marked. Existing files are never replaced.
    """
    from barospec.archive.ingest.draft_sheet import draft
    from barospec.schemas.errors import Conflict

    with progress("reading") as advance:
        made = draft(folder, output, advance)
    target = output or folder
    there = [name for name in made.files if (target / name).exists()]
    if there:
        raise Conflict(
            f"{target / there[0]} exists, so nothing was written. Move it, or name another folder with --output."
        )
    target.mkdir(parents=True, exist_ok=True)
    for name, text in made.files.items():
        (target / name).write_text(text, encoding="utf-8")
    for names, reason in made.reasons():
        note(f"not read: {names}: {reason}")
    first = next(iter(made.files))
    print(f"{counted(made.scans, 'scans')} drafted in {target / first}. Blanks to fill in:")
    for blank in made.blanks:
        print(f"  {blank}")
    print(f"Then: barospec check {target / first}")
