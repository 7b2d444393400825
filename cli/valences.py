"""``barospec valences``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, CsvOption, JsonOption, open_archive
from barospec.cli._output import note, table, write_csv, write_object
from barospec.cli.apply import parse_parameters

NAME = "valences"


def command(
    text: Annotated[
        str, typer.Argument(help='Query of absorption and emission spectra of one point: "La3Ni2O7 run = ambient".')
    ],
    references: Annotated[
        str,
        typer.Option(
            "--references",
            help='Reference spectra with their valence: "2: NiO run = ambient; 3: LaNiO3 run = ambient".',
        ),
    ],
    low: Annotated[float, typer.Option("--low", help="Lower end of the window of Kβ2,5 in eV.")],
    high: Annotated[float, typer.Option("--high", help="Upper end of the window of Kβ2,5 in eV.")],
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Measure positions of Kβ2,5 relative to the main line of each spectrum.")
    ] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--with", "-w", help="Parameter of the edge energy, such as --with fraction=0.5. Can be repeated."
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Compare the valence from the edge and from Kβ2,5.

    Prints both valences, their difference and its significance. Both are linear scales between the same two reference compounds;
    neither corrects the other. Nothing in the archive changes.
    """
    from barospec.catalogs.series.valences import two_estimates

    selection = open_archive(archive, at).query(text)
    found = two_estimates(
        selection, references, low=low, high=high, aligned=aligned, **parse_parameters(parameter or [])
    )
    rows = found.rows()
    columns = list(rows[0])
    lines: list[list[Any]] = [[row[name] for name in columns] for row in rows]
    compared = found.comparison
    if as_json:
        write_object(
            {
                "snapshot": selection.snapshot,
                "query": selection.query,
                "count": len(rows),
                "missing": {row["operator"]: row["left_out"] for row in rows if row["left_out"]},
                "units": {},
                "difference": compared.difference,
                "difference_sigma": compared.sigma,
                "p_value": compared.p_value,
                "notes": found.notes,
                "provenance": found.provenance,
            },
            columns,
            lines,
        )
        return
    if as_csv:
        write_csv(columns, {}, lines)
    else:
        table(columns, lines)
        print(
            f"\nedge minus Kβ2,5: {compared.difference:.3f} +- {compared.sigma:.3f} "
            f"(windows of normalization included), p = {compared.p_value:.2g}"
        )
    for shown in found.notes:
        note(shown)
