"""``barospec plot``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from barospec.cli.apply import _parameters
from barospec.cli.common import ArchiveOption, AtOption, open_archive

NAME = "plot"


class Kind(StrEnum):
    """What to draw."""

    spectra = "spectra"
    conditions = "conditions"
    quantity = "quantity"


def command(
    kind: Annotated[
        Kind, typer.Argument(help="spectra, conditions (the P-T routes), or quantity (an operator's result).")
    ],
    text: Annotated[str, typer.Argument(help="Which spectra. Default: all.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture: .png, .pdf or .svg.")] = Path(
        "barospec.png"
    ),
    operator: Annotated[str, typer.Option("--operator", help="For quantity: the operator or chain.")] = "edge_energy",
    against: Annotated[
        str, typer.Option("--against", help="For quantity: the field on the horizontal axis.")
    ] = "pressure",
    relative: Annotated[
        bool, typer.Option("--relative", help="For quantity: change since the start of each series.")
    ] = False,
    parameter: Annotated[
        list[str] | None, typer.Option("--with", "-w", help="For quantity: a parameter, --with fraction=0.5.")
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
) -> None:
    """Draw what a query finds."""
    from barospec.catalogs import pictures

    selection = open_archive(archive, at).query(text)
    if kind is Kind.quantity:
        figure = pictures.quantity(
            selection, operator, against=against, relative=relative, **_parameters(parameter or [])
        )
    else:
        figure = {Kind.spectra: pictures.spectra, Kind.conditions: pictures.conditions}[kind](selection)
    pictures.save(figure, output)
    print(f"{len(selection)} spectra drawn in {output}")
