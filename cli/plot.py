"""``barospec plot``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, open_archive
from barospec.cli.apply import parse_parameters
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from barospec.catalogs.selection.models import ModelSelection

NAME = "plot"


class Kind(StrEnum):
    """Kinds of plot."""

    spectra = "spectra"
    conditions = "conditions"
    quantity = "quantity"
    spins = "spins"


class Fit(StrEnum):
    """Curves that can be fitted to the points."""

    none = "none"
    line = "line"
    breakpoint = "breakpoint"


class View(StrEnum):
    """Kinds of plot of models."""

    couplings = "couplings"
    levels = "levels"
    correlations = "correlations"
    weights = "weights"
    chain = "chain"


def command(
    kind: Annotated[
        Kind,
        typer.Argument(help="spectra, conditions (the P-T paths), quantity (an operator's result), or spins (models)."),
    ],
    text: Annotated[str, typer.Argument(help="Query of the spectra or models. Default: all.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg.")] = Path(
        "barospec.png"
    ),
    operator: Annotated[str, typer.Option("--operator", help="For quantity: operator or chain.")] = "edge_energy",
    against: Annotated[
        str, typer.Option("--against", help="For quantity: field on the horizontal axis, or bond_length.")
    ] = "pressure",
    relative: Annotated[
        bool, typer.Option("--relative", help="For quantity: plot the change since the start of each series.")
    ] = False,
    fit: Annotated[
        Fit,
        typer.Option(
            "--fit",
            help="For quantity: fit a line with its 95 % band to each series, or two lines that meet (breakpoint).",
        ),
    ] = Fit.none,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--with", "-w", help="For quantity: parameter, such as --with fraction=0.5. Can be repeated."),
    ] = None,
    view: Annotated[
        View,
        typer.Option(
            "--view",
            help="For spins: couplings per scale as in the paper's tables, levels or chain against pressure, "
            "correlations or weights of the low-energy model spaces against J_ZZ/J_H.",
        ),
    ] = View.couplings,
    archive: ArchiveOption = None,
    at: AtOption = None,
) -> None:
    """Draw the spectra or models of a query.

    Writes one picture; the archive does not change.
    """
    from barospec.catalogs.plots import spectra as pictures

    if kind is Kind.spins:
        models = open_archive(archive, at).models(text)
        pictures.save(_spins(models, view), output)
        print(f"{view.value} of {counted(len(models), 'models')} drawn in {output}")
        return
    selection = open_archive(archive, at).query(text)
    if kind is Kind.quantity:
        figure = pictures.quantity(
            selection,
            operator,
            against=against,
            relative=relative,
            fit="" if fit is Fit.none else fit.value,
            **parse_parameters(parameter or []),
        )
    else:
        figure = {Kind.spectra: pictures.spectra, Kind.conditions: pictures.conditions}[kind](selection)
    pictures.save(figure, output)
    print(f"{counted(len(selection), 'spectra')} drawn in {output}")


def _spins(models: ModelSelection, view: View) -> Figure:
    """Draw models; a view of published numbers takes the one compound that has them."""
    from barospec.catalogs.plots import spins as spin_pictures

    if view is View.correlations:
        return spin_pictures.correlations()
    if view is View.weights:
        return spin_pictures.weights()
    compounds = sorted({record.compound for record in models.records if record.status == "published"})
    if len(compounds) != 1:
        raise CallError(
            f"the query finds published models of {', '.join(compounds) or 'no compound'}. Name one compound with published models."
        )
    draw = {View.couplings: spin_pictures.couplings, View.levels: spin_pictures.levels, View.chain: spin_pictures.chain}
    return draw[view](models.records, compounds[0])
