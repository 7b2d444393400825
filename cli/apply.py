"""``barospec apply``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, CsvOption, JsonOption, datasets_of, open_archive
from barospec.cli._output import note, progress, table, write_csv, write_object
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted
from barospec.schemas.vocabulary import BY_NAME

if TYPE_CHECKING:
    from barospec.archive.operators.operator import Operator
    from barospec.catalogs.selection.selection import Selection

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
    "cluster_atoms",
)
SHOWN = ("spectrum_id", "run", "step", "sample", "origin", "pressure", "temperature")
BLOCK = 4096


def command(
    operators: Annotated[
        str, typer.Argument(help='Operator or chain of operators: edge_energy, "normalize(pre1=-100) | edge_energy".')
    ],
    text: Annotated[str, typer.Argument(help='Query of the spectra, such as "Ni K above 14 GPa". Default: all.')] = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            "-w",
            help='Parameter, such as --with fraction=0.5 or --with reference="NiO at 1 bar". Can be repeated.',
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write all outputs, curves included, to a new zarr folder; for sensitivity, write a picture.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        bool,
        typer.Option(
            "--store", help="Store the values in the archive with their provenance, so that queries can use them."
        ),
    ] = False,
    name: Annotated[
        str,
        typer.Option(
            "--as", help="With --store: name of the stored set. Default: the operator's name.", show_default=False
        ),
    ] = "",
    follow: Annotated[
        bool,
        typer.Option("--follow", help="With --store: also compute spectra that are added later and match the query."),
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", help="With --store: reason, recorded in the history.", show_default=False)
    ] = "",
) -> None:
    """Compute an operator for spectra or models.

    The result is a table with one row per spectrum. --store also saves the values in the archive; then "Ni K with edge_energy >
    8346 eV" is a valid query (docs/derived.md). --output writes curves such as norm to a zarr folder; Python reads them too.
    Without --store nothing in the archive changes.

    Operators over models take a query of models. Temperature, pressure and swept parameters can be lists:
    barospec apply spin_correlations "models of La4Ni3O10" --with temperature="0;300" --with sweep.J_ZZ=0.2:0.8:0.1

    `sensitivity` gives the share of a box of unknown parameters in which statements hold:
    barospec apply sensitivity "models of La4Ni3O10" --with of=hopping_to_spins --with box.U_d=4:8 --with box.J=0.4
    --with convention=kanamori --with e_ct_reference="high-spin d8" --with holds="abs(J_lt) > abs(J_mt); J_ZZ > 300 meV" -o shares.png
    """
    from barospec.archive.operators.chain.execute import parse_chain
    from barospec.archive.operators.registry import find_operator
    from barospec.cli import apply_models

    if apply_models.handles(operators):
        given = apply_models.parameters(parameter or [])
        opened = open_archive(archive, at)
        apply_models.run(
            opened, operators.strip(), text, given, as_json=as_json, as_csv=as_csv, store=store, picture=output
        )
        return
    if store:
        if as_csv or output is not None:
            raise CallError(
                "--store writes into the archive and does not go with --csv or --output. Store first; then read the values with barospec query."
            )
        _store(archive, at, operators, text, parameter or [], name, follow, reason, as_json)
        return
    if name or follow or reason:
        raise CallError("--as, --follow and --reason go with --store.")
    last = find_operator(parse_chain(operators)[-1][0])
    selection = open_archive(archive, at).query(text)
    selection = _of_technique(selection, last.technique)
    parameters = parse_parameters(parameter or [])
    if output is not None:
        _write(selection, operators, parameters, output)
        return
    shown = _shown(last, parameters)
    scalars = list(shown)
    units = {title: last.outputs[name].unit for title, (name, _) in shown.items() if not last.outputs[name].integer}
    units |= {name: BY_NAME[name].unit for name in LABELS if BY_NAME[name].unit}
    missing: dict[str, int] = {}
    notes: dict[str, None] = {}
    rows = _rows(selection, operators, parameters, shown, missing, notes)
    columns = [*LABELS, *scalars]
    if as_json:
        found = list(rows)  # the counts precede the rows
        head = {
            "snapshot": selection.snapshot,
            "query": selection.query,
            "count": len(found),
            "missing": missing,
            "units": units,
            "quality": dict(enumerate(last.reasons)),
            "notes": list(notes),
            "provenance": _provenance(selection, operators, parameters),
        }
        write_object(head, columns, found)
    elif as_csv:
        write_csv(columns, units, rows)
    else:
        _draw(list(rows), scalars, last, units)
        curves = [name for name, out in last.outputs.items() if out.per_point]
        if curves:
            note(f"{', '.join(curves)} have one value per point: write them with --output FOLDER, or use Python.")
    for name, count in missing.items():
        note(f"{name}: no value for {count} of {counted(len(selection), 'spectra')}; {last.quality} gives the reasons.")
    for line in notes:
        note(line)


def _draw(rows: list[list[Any]], scalars: list[str], last: Operator, units: dict[str, str]) -> None:
    """Print the table with reasons in place of codes; include cluster sizes where calculations have them."""
    quality = scalars.index(last.quality) if last.quality in scalars else None
    cluster = LABELS.index("cluster_atoms")
    labels = [*SHOWN, *(["cluster_atoms"] if any(_there(row[cluster]) for row in rows) else [])]
    drawn = []
    for row in rows:
        values = list(row[len(LABELS) :])
        if quality is not None:
            values[quality] = last.reasons[int(values[quality])]
        drawn.append([row[LABELS.index(name)] for name in labels] + values)
    table([*labels, *scalars], drawn, units=units)


def _there(value: Any) -> bool:
    """Return True if a label has a value: neither None nor NaN."""
    return value is not None and value == value


def _store(
    archive: str | None,
    at: str | None,
    operators: str,
    text: str,
    pairs: list[str],
    name: str,
    follow: bool,
    reason: str,
    as_json: bool,
) -> None:
    from barospec.cli.derive import print_stored

    opened = open_archive(archive, at)
    with progress("deriving") as reported:
        report = opened.derive(
            operators,
            text,
            name=name,
            follow=follow or None,
            reason=reason,
            progress=reported,
            **parse_parameters(pairs),
        )
    print_stored(opened, [report], as_json=as_json)


def _shown(operator: Operator, parameters: dict[str, Any]) -> dict[str, tuple[str, int | None]]:
    """Return the columns of the table: title -> output and, for outputs with one value per reference, the reference."""
    from barospec.archive.operators.chain.references import split_references

    labels: list[str] = []
    if operator.references is not None:
        name = operator.references.name
        asked = parameters.get(f"{operator.name}.{name}", parameters.get(name))
        if asked is not None:
            named = enumerate(split_references(operator, asked), 1)
            labels = [label or str(number) for number, (label, _) in named]
    columns: dict[str, tuple[str, int | None]] = {}
    for name, output in operator.outputs.items():
        if output.per_reference:
            columns |= {f"{name}[{label}]": (name, index) for index, label in enumerate(labels)}
        elif not output.per_point:
            columns[name] = (name, None)
    return columns


def _of_technique(selection: Selection, technique: str) -> Selection:
    """Select the spectra of an operator's technique if the query names none; report the excluded ones."""
    others = {key: count for key, count in selection.counts().items() if technique and not key.startswith(technique)}
    if others and len(others) < len(selection.counts()):
        note(
            f"excluded, because the operator is for {technique}: "
            + ", ".join(f"{n} of {key}" for key, n in others.items())
        )
        return selection.sel(technique=technique)
    return selection


def parse_parameters(pairs: list[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` texts as parameters; the text after ``reference=`` is a query and is kept unchanged."""
    from barospec.archive.operators.chain.execute import parse_chain

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


def _rows(
    selection: Selection,
    operators: str,
    parameters: dict[str, Any],
    shown: dict[str, tuple[str, int | None]],
    missing: dict[str, int],
    notes: dict[str, None],
) -> Iterator[list[Any]]:
    """Yield rows in the order of the selection, computed a few blocks at a time."""
    from dataclasses import replace

    import numpy as np

    from barospec.archive.operators.chain.execute import parse_chain
    from barospec.archive.operators.registry import find_operator

    last = find_operator(parse_chain(operators)[-1][0])
    rare = {name for name, output in last.outputs.items() if output.rare}
    repeats = str(parameters.get("uncertainty")).endswith("repeats")
    with progress("computing") as advance:
        # Repeats may be anywhere in the selection.
        length = max(len(selection), 1) if repeats else BLOCK
        for start in range(0, len(selection), length):
            advance("", start, len(selection))
            stop = start + length
            part = replace(selection, groups=selection.groups[start:stop], rows=selection.rows[start:stop])
            labels = part.columns(LABELS)
            values = {title: np.full(len(part), np.nan) for title in shown}
            for key in part.counts():
                mine = part.groups == key
                computed = datasets_of(
                    replace(part, groups=part.groups[mine], rows=part.rows[mine]).apply(operators, **parameters)
                )[0]
                notes.update(dict.fromkeys(filter(None, str(computed.attrs.get("notes", "")).split("\n"))))
                loaded = computed[list({name for name, _ in shown.values()})].compute()
                for title, (name, index) in shown.items():
                    found = loaded[name].values
                    values[title][mine] = found if index is None else found[:, index]
            for title in shown:
                lost = int(np.count_nonzero(np.isnan(values[title])))
                # Rare outputs do not count as missing; sigmas from repeats have their own note.
                expected = shown[title][0] not in rare and not (repeats and title.endswith("_sigma"))
                if lost and expected:
                    missing[title] = missing.get(title, 0) + lost
            for row in zip(*(labels[name] for name in LABELS), *(values[title] for title in shown), strict=True):
                yield list(row)


def _provenance(selection: Selection, operators: str, parameters: dict[str, Any]) -> Any:
    if not len(selection):
        return {}
    first = datasets_of(selection.apply(operators, **parameters))[0]
    return json.loads(first.attrs["provenance"])


def _write(selection: Selection, operators: str, parameters: dict[str, Any], output: Path) -> None:
    if output.exists():
        raise CallError(f"{output} exists. Name a new folder.")
    if not len(selection):
        raise CallError("the query finds no spectra; nothing was written.")
    result = selection.apply(operators, **parameters)
    part = output.with_name(f".{output.name}.part")
    result.to_zarr(part, mode="w", consolidated=True)
    part.replace(output)
    print(f"{counted(len(selection), 'spectra')} written to {output}. Open with xarray.open_zarr.")
