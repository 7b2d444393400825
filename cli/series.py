"""``barospec series``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, CsvOption, JsonOption, open_archive
from barospec.cli._output import note, progress, table, write_csv, write_object
from barospec.cli.apply import parse_parameters
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec import Archive

NAME = "series"


class Method(StrEnum):
    """Analyses of a series."""

    line = "line"
    breakpoint = "breakpoint"
    equivalence = "equivalence"
    slopes = "slopes"
    components = "components"
    structural = "structural"


def command(
    method: Annotated[
        Method,
        typer.Argument(
            help="line: weighted linear fit; breakpoint: change of slope and its significance; equivalence: upper bound of a "
            "change; slopes: comparison of series; components: principal components of the spectra; structural: edge "
            "energies minus the effect of contraction."
        ),
    ],
    operators: Annotated[str, typer.Argument(help="Operator or chain, such as edge_shift; for components, normalize.")],
    text: Annotated[str, typer.Argument(help='Query of the spectra, such as "xas Ni K run = run-2".')] = "",
    against: Annotated[
        str, typer.Option("--against", help="Numeric field along which the series is analyzed, or bond_length.")
    ] = "pressure",
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Fields that separate the series. Can be repeated. Default: sample and run."),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option("--value", help="Output of the operator to analyze. Default: its first.", show_default=False),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", help="For equivalence: smallest change that matters.", show_default=False),
    ] = None,
    confidence: Annotated[
        float, typer.Option("--confidence", help="Confidence level of bounds, bands and intervals.")
    ] = 0.95,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--with", "-w", help='Parameter or reference, such as --with reference="NiO at 1 bar". Can be repeated.'
        ),
    ] = None,
    bond_lengths: Annotated[
        Path | None,
        typer.Option(
            "--bond-lengths",
            help="CSV file with material, pressure (GPa) and bond_length (Å). Default: the structures in the archive.",
            show_default=False,
        ),
    ] = None,
    slope: Annotated[
        float | None, typer.Option("--slope", help="For structural: slope dE/dR in eV/Å.", show_default=False)
    ] = None,
    slope_sigma: Annotated[float, typer.Option("--slope-sigma", help="Standard uncertainty of --slope.")] = 0.0,
    like: Annotated[
        str,
        typer.Option(
            "--like",
            help="For structural: query of a compound with constant valence; the slope is fitted to its spectra.",
            show_default=False,
        ),
    ] = "",
    like_reference: Annotated[
        str,
        typer.Option(
            "--like-reference", help="Reference of the spectra of --like, for edge_shift.", show_default=False
        ),
    ] = "",
    store: Annotated[
        bool,
        typer.Option(
            "--store",
            help="Store the line or breakpoint of each run in the archive, so that queries of runs can use it.",
        ),
    ] = False,
    name: Annotated[str, typer.Option("--as", help="With --store: name of the stored set.", show_default=False)] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="With --store: fit a run again when spectra are added to it.")
    ] = False,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Analyze a quantity along pressure or another condition.

    The quantity is the output of an operator; the condition can be pressure, temperature, bond length or cluster size.

    Example: how much of an edge shift is due to contraction, with the slope of a compound of constant valence:
    barospec series structural edge_shift "La3Ni2O7 xas Ni K run = run-3" --with reference="La3Ni2O7 run = ambient"
    --bond-lengths bonds.csv --like "NiO xas Ni K run = NiO" --like-reference "NiO run = ambient"

    --store saves the result of each run in the archive; then "runs where edge_energy_slope > 0.05 eV/GPa" is a valid query
    (docs/derived.md). Without --store nothing changes.
    """
    from barospec.catalogs.series import along
    from barospec.catalogs.series import structural as series_structural

    opened = open_archive(archive, at)
    parameters = parse_parameters(parameter or [])
    if store:
        if any((as_csv, by is not None, margin is not None, confidence != 0.95, bond_lengths is not None)):
            raise CallError(
                "--store works for line and breakpoint, without --by, --margin, --confidence, --bond-lengths and --csv. "
                "Remove these options."
            )
        _store(opened, method.value, operators, text, against, value, name, follow, parameters, as_json)
        return
    if name or follow:
        raise CallError("--as and --follow need --store.")
    selection = opened.query(text)
    if bond_lengths is not None:
        parameters["bond_lengths"] = series_structural.read_bond_lengths(bond_lengths)
    _check_options(method, margin=margin, slope=slope, like=like)
    head: dict[str, Any] = {"snapshot": selection.snapshot, "query": selection.query, "method": method.value}
    if method is Method.components:
        if operators != "normalize" or not {"low", "high"} <= set(parameters):
            raise CallError(
                "components needs the operator normalize and an energy window: --with low=8330 --with high=8370 (eV)."
            )
        found = along.analyze_components(selection, **parameters)
        rows, notes = found.pop("rows"), found["notes"]
        units = {}
        head |= found
        if not as_json:
            note(f"{counted(found['rank'], 'components are')} above the noise of {found['noise']:.2g}.")
    else:
        fields = ["sample", "run"] if by is None else [name for name in by if name]
        if method is Method.structural:
            rows, gathered = series_structural.structural(
                selection,
                operators,
                slope=slope,
                slope_sigma=slope_sigma,
                like=opened.query(like) if like else None,
                like_reference=like_reference or None,
                value=value,
                by=fields,
                **parameters,
            )
        else:
            gathered = along.gather(selection, operators, against=against, value=value, by=fields, **parameters)
            options = {"confidence": confidence, **({"margin": margin} if method is Method.equivalence else {})}
            rows = along.analyze(method.value, gathered, **options)
        notes = gathered.notes
        units = _units(gathered.unit, gathered.against_unit) | {gathered.name: gathered.unit}
        head |= {
            "quantity": gathered.name,
            "against": gathered.against,
            "units": units,
            "left_out": gathered.left_out,
            "notes": notes,
            "provenance": gathered.provenance,
        }
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[row.get(name) for name in columns] for row in rows]
    if as_json:
        write_object({**head, "count": len(rows)}, columns, lines)
        return
    if as_csv:
        write_csv(columns, units, lines)
    else:
        table(columns, lines, units=units)
    for text_ in notes:
        note(text_)


def _check_options(method: Method, *, margin: float | None, slope: float | None, like: str) -> None:
    """Refuse options that the method does not use."""
    if margin is not None and method is not Method.equivalence:
        raise CallError(f"--margin needs equivalence, not {method.value}.")
    if (slope is not None or like) and method is not Method.structural:
        raise CallError(f"--slope and --like need structural, not {method.value}.")


def _store(
    opened: Archive,
    method: str,
    operators: str,
    text: str,
    against: str,
    output: str | None,
    name: str,
    follow: bool,
    parameters: dict[str, Any],
    as_json: bool,
) -> None:
    from barospec.cli.derive import print_stored

    with progress("fitting") as shown:
        report = opened.derive_runs(
            method,
            operators,
            text,
            against=against,
            output=output,
            name=name,
            follow=follow or None,
            progress=shown,
            **parameters,
        )
    print_stored(opened, [report], as_json=as_json)


def _units(quantity: str, condition: str) -> dict[str, str]:
    over = "" if condition in ("", "1") else f"/{condition}"
    slope = f"{quantity}{over}" if over else quantity
    units = dict.fromkeys(("slope", "slope_sigma", "slope_before", "slope_before_sigma", "slope_other"), slope)
    units |= dict.fromkeys(("slope_behind", "slope_behind_sigma", "difference"), slope)
    units |= dict.fromkeys(
        ("intercept", "intercept_sigma", "change", "margin", "band_at_low", "band_at_high"), quantity
    )
    units |= dict.fromkeys(("structural", "corrected", "corrected_sigma"), quantity)
    units |= dict.fromkeys(("position", "bond_length", "low", "high", "x_low", "x_high"), condition)
    return units
