"""``barospec sheet``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._output import note, progress

NAME = "sheet"


def command(
    folder: Annotated[Path, typer.Argument(help="The folder with the raw files.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Another folder for the sheet, where the raw data cannot be written.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draft a run sheet from what the files of a folder say.

    Writes run-sheet.yaml and its scan table beside the files: the scans with their energies, times and motors that moved, what
    the edge may be, and a ruby log if there is one. What a person must add is left blank and marked.
    """
    from barospec.archive.ingest.draft_sheet import draft
    from barospec.schemas.errors import Conflict

    with progress("reading") as tell:
        made = draft(folder, output, tell)
    target = output or folder
    there = [name for name in made.files if (target / name).exists()]
    if there:
        raise Conflict(
            f"{target / there[0]} exists; nothing was written. Move it away, or name another folder with --output."
        )
    target.mkdir(parents=True, exist_ok=True)
    for name, text in made.files.items():
        (target / name).write_text(text, encoding="utf-8")
    for names, reason in made.reasons():
        note(f"not read: {names}: {reason}")
    first = next(iter(made.files))
    print(f"{made.scans} scans drafted in {target / first}. Blanks to fill in:")
    for blank in made.blanks:
        print(f"  {blank}")
    print(f"Then: barospec check {target / first}")
