"""``barospec apply``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli.common import ArchiveOption, AtOption, CsvOption, JsonOption, open_archive
from barospec.cli.output import note, progress, table, write_csv, write_object
from barospec.schemas.errors import CallError
from barospec.schemas.vocabulary import BY_NAME

if TYPE_CHECKING:
    import xarray as xr

    from barospec.catalogs.selection import Selection

NAME = "apply"
LABELS = (
    "spectrum_id",
    "source_file",
    "source_scan",
    "run",
    "step",
    "sample",
    "edge",
    "line",
    "origin",
    "energy_calibration",
    "pressure",
    "temperature",
)
SHOWN = ("spectrum_id", "run", "step", "sample", "origin", "pressure", "temperature")
BLOCK = 4096


def command(
    operators: Annotated[
        str, typer.Argument(help='An operator or a chain: edge_energy, "normalize(pre1=-100) | edge_energy".')
    ],
    text: Annotated[str, typer.Argument(help='Which spectra, such as "Ni K above 14 GPa". Default: all.')] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("--with", "-w", help="A parameter, such as --with fraction=0.5.")
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write all outputs, curves too, to a zarr folder.", show_default=False),
    ] = None,
    store: Annotated[bool, typer.Option("--store", help="Keep the outputs in the archive (operators over models).")] = False,
) -> None:
    """Compute an operator over what a query finds, lazily, block by block.

    The table shows one value per spectrum; curves such as norm go to a zarr folder with --output, or are used in Python.

    Operators over models take a query of models, and temperatures, pressures or swept parameters as lists:
    barospec apply spin_correlations "models of La4Ni3O10" --with temperature="0;300" --with sweep.J_ZZ=0.2:0.8:0.1
    """
    from barospec.archive.operators.chain import parse_chain
    from barospec.archive.operators.registry import find_operator
    from barospec.cli import models

    if models.handles(operators):
        given = models.parameters(parameter or [])
        opened = open_archive(archive, at)
        models.run(opened, operators.strip(), text, given, as_json=as_json, as_csv=as_csv, store=store)
        return
    if store:
        raise CallError("--store keeps the outputs of models; this version does not store values of spectra.")
    last = find_operator(parse_chain(operators)[-1][0])
    selection = open_archive(archive, at).query(text)
    selection = _of_technique(selection, last.technique)
    parameters = _parameters(parameter or [])
    if output is not None:
        _write(selection, operators, parameters, output)
        return
    scalars = [name for name, out in last.outputs.items() if not out.per_point]
    units = {name: last.outputs[name].unit for name in scalars if not last.outputs[name].integer}
    units |= {name: BY_NAME[name].unit for name in LABELS if BY_NAME[name].unit}
    missing: dict[str, int] = {}
    rows = _rows(selection, operators, parameters, scalars, missing)
    columns = [*LABELS, *scalars]
    if as_json:
        found = list(rows)  # the counts come before the rows
        head = {
            "snapshot": selection.snapshot,
            "query": selection.query,
            "count": len(found),
            "missing": missing,
            "units": units,
            "quality": dict(enumerate(last.reasons)),
            "provenance": _provenance(selection, operators, parameters),
        }
        write_object(head, columns, found)
    elif as_csv:
        write_csv(columns, units, rows)
    else:
        quality = scalars.index(last.quality) if last.quality in scalars else None
        drawn = []
        for row in rows:
            values = list(row[len(LABELS) :])
            if quality is not None:
                values[quality] = last.reasons[int(values[quality])]
            drawn.append([row[LABELS.index(name)] for name in SHOWN] + values)
        table([*SHOWN, *scalars], drawn, units=units)
        curves = [name for name, out in last.outputs.items() if out.per_point]
        if curves:
            note(f"{', '.join(curves)} have a value per point: use --output FOLDER, or Python.")
    for name, count in missing.items():
        note(f"{name}: no value for {count} of {len(selection)} spectra; {last.quality} says why.")


def _of_technique(selection: Selection, technique: str) -> Selection:
    """Without a word about technique, an operator for absorption means the absorption spectra, and says so."""
    others = {key: count for key, count in selection.counts().items() if technique and not key.startswith(technique)}
    if others and len(others) < len(selection.counts()):
        note(
            f"left out, since the operator is for {technique}: "
            + ", ".join(f"{n} of {key}" for key, n in others.items())
        )
        return selection.sel(technique=technique)
    return selection


def parse_parameters(pairs: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as parameters; what follows ``reference=`` is a query, taken as it stands."""
    from barospec.archive.operators.chain import parse_chain

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CallError(f'--with "{pair}": write NAME=VALUE, such as --with fraction=0.5.')
        prefix, _, last = name.strip().rpartition(".")
        if last in ("reference", "references"):
            found[name.strip()] = value.strip()
            continue
        found[name.strip()] = parse_chain(f"{prefix or 'x'}({last}={value})")[0][1][last]
    return found


_parameters = parse_parameters


def _rows(
    selection: Selection, operators: str, parameters: dict[str, Any], scalars: list[str], missing: dict[str, int]
) -> Iterator[list[Any]]:
    """Rows in the selection's order, computed a few blocks at a time."""
    from dataclasses import replace

    import numpy as np

    with progress("computing") as tell:
        for start in range(0, len(selection), BLOCK):
            tell("", start, len(selection))
            stop = start + BLOCK
            part = replace(selection, groups=selection.groups[start:stop], rows=selection.rows[start:stop])
            labels = part.columns(LABELS)
            values = {name: np.full(len(part), np.nan) for name in scalars}
            for key in part.counts():
                mine = part.groups == key
                computed = _datasets(
                    replace(part, groups=part.groups[mine], rows=part.rows[mine]).apply(operators, **parameters)
                )[0]
                for name, found in computed[scalars].compute().items():
                    values[str(name)][mine] = found.values
            for name in scalars:
                lost = int(np.count_nonzero(np.isnan(values[name])))
                if lost:
                    missing[name] = missing.get(name, 0) + lost
            for row in zip(*(labels[name] for name in LABELS), *(values[name] for name in scalars), strict=True):
                yield list(row)


def _datasets(result: xr.Dataset | xr.DataTree) -> list[xr.Dataset]:
    import xarray as xr

    if isinstance(result, xr.Dataset):
        return [result]
    return [node.to_dataset() for node in result.leaves]


def _provenance(selection: Selection, operators: str, parameters: dict[str, Any]) -> Any:
    if not len(selection):
        return {}
    first = _datasets(selection.apply(operators, **parameters))[0]
    return json.loads(first.attrs["provenance"])


def _write(selection: Selection, operators: str, parameters: dict[str, Any], output: Path) -> None:
    if output.exists():
        raise CallError(f"{output} exists; name a new folder.")
    if not len(selection):
        raise CallError("the query finds no spectra; nothing was written.")
    result = selection.apply(operators, **parameters)
    part = output.with_name(f".{output.name}.part")
    result.to_zarr(part, mode="w", consolidated=True)
    part.replace(output)
    print(f"{len(selection)} spectra written to {output}. Open with xarray.open_zarr.")
