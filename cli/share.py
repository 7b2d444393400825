"""``barospec share``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, progress, table, write_object
from barospec.schemas.values import counted

NAME = "share"


def command(
    text: Annotated[str, typer.Argument(help='Query of the spectra, such as "La3Ni2O7 Ni K above 14 GPa".')],
    folder: Annotated[Path, typer.Argument(help="Bundle to write: a new folder, or a file ending in .zip.")],
    derived: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            "-w",
            help="Operators whose values are included: --with edge_energy, or "
            "--with \"edge_energy, valence(references='2: NiO at 1 bar; 3: LaNiO3 at 1 bar')\". Can be repeated.",
        ),
    ] = None,
    tag: Annotated[
        str,
        typer.Option("--tag", help="Create a permanent tag of the shared snapshot in the archive.", show_default=False),
    ] = "",
    zipped: Annotated[bool, typer.Option("--zip", help="Write a zip archive.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Include recorded channels, and file headers if the settings allow it.")
    ] = False,
    paper: Annotated[
        Path | None,
        typer.Option(
            "--paper",
            help="File paper.yaml with figures and numbers of a paper to fill in and check.",
            show_default=False,
        ),
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option(
            "--mixed", help="Allow references of another origin, such as a calculated reference for measured spectra."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the spectra of a query to a sealed bundle.

    A bundle opens with xarray, zarr or intake alone, is verified with sha256sum and bagit, and can recompute its own numbers.
    Private fields (proposal, persons, folders) are excluded. docs/bundles.md explains the layout. The archive does not change, except
    for the tag of --tag.
    """
    with progress("sharing") as advance:
        made = open_archive(archive, at).share(
            text,
            folder,
            derived=derived or (),
            tag=tag,
            raw=raw,
            paper=paper,
            zipped=zipped,
            overwrite=overwrite,
            mixed=mixed,
            progress=advance,
        )
    verdicts = made.verdicts
    if as_json:
        head = {
            "snapshot": made.snapshot,
            "query": made.query,
            "count": made.count,
            "missing": {},
            "units": {},
            "path": str(made.path),
            "bundle": made.identifier,
            "inputs": made.inputs,
            "left_out": made.left_out,
            "notes": made.notes,
        }
        columns = list(verdicts[0]) if verdicts else ["id"]
        write_object(head, columns, [list(row.values()) for row in verdicts])
        return
    print(
        f"{counted(made.count, 'spectra')} shared in {made.path} (bundle {made.identifier}, snapshot {made.snapshot})."
    )
    if made.inputs:
        print(
            f"{counted(made.inputs, 'spectra')} more in inputs/: derived values depend on {'it' if made.inputs == 1 else 'them'}."
        )
    if verdicts:
        table(list(verdicts[0]), [list(row.values()) for row in verdicts])
    for name, count in made.left_out.items():
        note(f"excluded: {name} ({count})")
    for shown in made.notes:
        note(shown)
    note(f"to check the bundle: barospec verify {made.path} --recompute")
