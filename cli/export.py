"""``barospec export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, progress, write_object
from barospec.schemas.values import counted

NAME = "export"


class Format(StrEnum):
    """File formats of other tools."""

    xdi = "xdi"
    athena = "athena"
    nxxas = "nxxas"
    csv = "csv"


def command(
    text: Annotated[str, typer.Argument(help='Query of the spectra, such as "Ni K above 14 GPa".')],
    folder: Annotated[Path, typer.Argument(help="Folder for the files; created if it does not exist.")],
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            "-f",
            help="xdi (one file per spectrum), athena (one .prj), nxxas (one NeXus file), csv (one file per spectrum, and a table).",
        ),
    ] = Format.xdi,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files of the same name.")] = False,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the spectra of a query to files for other tools.

    Energies are written as recorded; the energy shift is a separate field. Calculated and synthetic spectra are marked in every
    file. Private fields are excluded, as in a bundle.
    """
    with progress("exporting") as advance:
        opened = open_archive(archive, at)
        made = opened.export(text, folder, format=format.value, overwrite=overwrite, progress=advance)
    if as_json:
        head = {
            "snapshot": made.snapshot,
            "query": made.query,
            "count": len(made.files),
            "missing": {},
            "units": {},
            "spectra": made.count,
            "skipped": made.skipped,
            "left_out": made.left_out,
        }
        write_object(head, ["file"], [[str(path)] for path in made.files])
    else:
        print(f"{counted(made.count, 'spectra')} exported to {folder} ({counted(len(made.files), 'files')}).")
        for name, count in made.left_out.items():
            note(f"excluded: {name} ({count})")
        for reason, count in made.skipped.items():
            note(f"not exported: {counted(count, 'spectra')}, {reason}")
    if not made.count:
        raise typer.Exit(1)
