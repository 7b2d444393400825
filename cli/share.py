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
    text: Annotated[str, typer.Argument(help='Which spectra, such as "La3Ni2O7 Ni K above 14 GPa".')],
    folder: Annotated[Path, typer.Argument(help="The bundle to write: a new folder, or a file ending in .zip.")],
    derived: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            "-w",
            help="Operators whose values go along: --with edge_energy, or "
            "--with \"edge_energy, valence(references='2: NiO at 1 bar; 3: LaNiO3 at 1 bar')\". May be repeated.",
        ),
    ] = None,
    tag: Annotated[
        str, typer.Option("--tag", help="Name the snapshot in the archive, for ever.", show_default=False)
    ] = "",
    zipped: Annotated[bool, typer.Option("--zip", help="Write a zip archive.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Recorded channels too, and headers where the settings allow it.")
    ] = False,
    paper: Annotated[
        Path | None,
        typer.Option("--paper", help="A paper.yaml: figures and numbers to fill and check.", show_default=False),
    ] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Allow references of another origin.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a sealed data set with exactly the spectra that a query finds.

    It opens with xarray, zarr or intake alone, verifies with sha256sum and bagit, and recomputes its own numbers.
    Private fields (proposal, persons, folders) stay out. The layout is explained in docs/bundles.md.
    """
    with progress("sharing") as tell:
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
            progress=tell,
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
        print(f"{made.inputs} more under inputs/: derived values depend on them.")
    if verdicts:
        table(list(verdicts[0]), [list(row.values()) for row in verdicts])
    for name, count in made.left_out.items():
        note(f"left out: {name} ({count})")
    for said in made.notes:
        note(said)
    note(f"check it: barospec verify {made.path} --recompute")
