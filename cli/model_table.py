"""``barospec models``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli.common import ArchiveOption, AtOption, CsvOption, JsonOption, open_archive
from barospec.cli.output import table, write_csv, write_object

NAME = "models"
COLUMNS = "model_id material stack scale pressure standing parameter layer bond value sigma low high unit source quote".split()
SHOWN = "model_id pressure standing parameter layer bond value sigma low high unit".split()


def command(
    text: Annotated[
        str, typer.Argument(help='Which models, such as "La4Ni3O10 above 40 GPa" or "with J_ZZ > 0.5 eV".')
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write them as a model sheet: .yaml, .json or .csv.", show_default=False),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show the parameters of models, one line per number, or write them as a sheet that ingest takes.

    Each has its unit, its standing (published, assumed, interpolated, calculated) and its source.
    """
    selection = open_archive(archive, at).models(text)
    if output is not None:
        from barospec.archive.spins.sheets import write_models

        write_models(selection.records, output)
        print(f"{len(selection)} models written to {output}.")
        return
    rows = [
        [None if isinstance(value, float) and value != value else value for value in row]
        for row in selection.table().reindex(columns=COLUMNS).itertuples(index=False, name=None)
    ]
    if as_json:
        head = {
            "snapshot": selection.snapshot,
            "query": selection.query,
            "count": len(rows),
            "missing": {
                name: count for name in ("value",) if (count := sum(row[COLUMNS.index(name)] is None for row in rows))
            },
            "units": {"pressure": "GPa"},
        }
        write_object(head, COLUMNS, rows)
    elif as_csv:
        write_csv(COLUMNS, {"pressure": "GPa"}, rows)
    else:
        kept = [COLUMNS.index(name) for name in SHOWN]
        table(
            SHOWN,
            [[row[i] or None if isinstance(row[i], str) else row[i] for i in kept] for row in rows],
            units={"pressure": "GPa"},
        )
