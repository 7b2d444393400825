"""``barospec models``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, CsvOption, JsonOption, open_archive
from barospec.cli._output import note, table, write_csv, write_object
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec import Archive

NAME = "models"
COLUMNS = "model_id material stack scale pressure standing parameter layer bond value sigma low high unit source quote".split()
SHOWN = "model_id pressure standing parameter layer bond value sigma low high unit".split()

OUTPUTS = "entry kind material pressure temperature code models source_file source_sha256 reader".split()
OUTPUTS_SHOWN = "entry kind material pressure models source_file".split()


def command(
    text: Annotated[
        str, typer.Argument(help='Query of the models, such as "La4Ni3O10 above 40 GPa" or "with J_ZZ > 0.5 eV".')
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write the models to a model sheet: .yaml, .json or .csv.", show_default=False
        ),
    ] = None,
    outputs: Annotated[
        bool,
        typer.Option(
            "--outputs", help="List stored outputs, hoppings, bands and densities of states instead of parameters."
        ),
    ] = False,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show the parameters of models, one line per number.

    Each line has the unit, the standing (published, assumed, interpolated, calculated) and the source. --output writes a model sheet
    that ingest reads. --outputs lists the outputs stored by `apply --store`, and the hoppings, bands and densities of states of
    ingested files; open them in Python with archive.output(ENTRY).
    """
    opened = open_archive(archive, at)
    if outputs:
        if output is not None:
            raise CallError("--outputs does not go with --output. Use one of the two.")
        _tell_outputs(opened, text, as_json=as_json, as_csv=as_csv)
        return
    selection = opened.models(text)
    if output is not None:
        from barospec.archive.spins.sheets.sheets import write_models

        write_models(selection.records, output)
        print(f"{counted(len(selection), 'models')} written to {output}.")
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


def _tell_outputs(opened: Archive, text: str, *, as_json: bool, as_csv: bool) -> None:
    found = [[row[name] for name in OUTPUTS] for row in opened.outputs(text)]
    units = {"pressure": "GPa", "temperature": "K"}
    if as_json:
        missing = {name: count for name in units if (count := sum(row[OUTPUTS.index(name)] is None for row in found))}
        write_object(
            {"snapshot": opened.snapshot, "count": len(found), "missing": missing, "units": units}, OUTPUTS, found
        )
    elif as_csv:
        write_csv(OUTPUTS, units, found)
    else:
        kept = [OUTPUTS.index(name) for name in OUTPUTS_SHOWN]
        table(OUTPUTS_SHOWN, [[row[i] or None for i in kept] for row in found], units=units)
        if not found and not text:
            note(
                "No outputs are stored. Store outputs with `barospec apply ... --store`, files of theory codes with `barospec ingest`."
            )
