"""Model operators on the terminal: ``barospec apply spin_correlations "models of La4Ni3O10"``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.cli._options import datasets_of
from barospec.cli._output import note, progress, table, write_csv, write_object
from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray as xr

    from barospec import Archive
    from barospec.catalogs.selection.models import ModelSelection

ROWS_SHOWN = 200


def handles(operators: str) -> bool:
    """Return True if the text names an operator over models, not over spectra."""
    from barospec.archive.spins.registry import MODEL_OPERATORS

    return operators.strip() in MODEL_OPERATORS or operators.strip() in ("paper_against_exact", "sensitivity")


def run(
    archive: Archive,
    operator: str,
    text: str,
    parameters: dict[str, Any],
    *,
    as_json: bool,
    as_csv: bool,
    store: bool = False,
    picture: Path | None = None,
) -> None:
    """Compute over models and print one line per number.

    The parameters ``temperature``, ``pressure`` and any ``sweep.NAME`` can be lists: "0:300:50" or "0;80;300".
    """
    if operator.strip() == "paper_against_exact":
        _compare(archive, text, as_json=as_json, as_csv=as_csv)
        return
    selection = archive.models(text)
    if operator.strip() == "sensitivity":
        result = _sensitivity(selection, parameters, picture)
        if not (as_json or as_csv):
            _tell_shares(archive, result, store)
            return
        _print(archive, selection, result, {}, as_json=as_json, as_csv=as_csv, store=store)
        return
    if picture is not None:
        raise CallError(
            "--output draws a picture of sensitivity only. For other operators use --store, --csv or `barospec plot spins`."
        )
    if "pressure" in parameters:
        from barospec.archive.spins.registry import find_model_operator

        selection = selection.only(scale=find_model_operator(operator).scale).at_pressures(
            numbers(parameters.pop("pressure"))
        )
    temperature = numbers(parameters.pop("temperature", 0.0))
    sweep = {
        key.removeprefix("sweep."): numbers(parameters.pop(key)) for key in list(parameters) if key.startswith("sweep.")
    }
    result = selection.apply(operator, temperature=temperature, sweep=sweep, **parameters)
    _print(archive, selection, result, sweep, as_json=as_json, as_csv=as_csv, store=store)
    if operator.strip() == "effective_hamiltonian":
        for compound in sorted({record.compound for record in selection.records if record.status == "published"}):
            note(f'to compare with the published numbers: barospec apply paper_against_exact "models of {compound}"')


def _print(
    archive: Archive,
    selection: ModelSelection,
    result: xr.Dataset | xr.DataTree,
    sweep: Mapping[str, Any],
    *,
    as_json: bool,
    as_csv: bool,
    store: bool,
) -> None:
    rows: list[dict[str, Any]] = []
    units = {"pressure": "GPa", "temperature": "K", **dict.fromkeys(sweep, "eV")}
    for part in datasets_of(result):
        rows += list(_lines(part.compute()))
        if store:
            note(f"stored as {archive.store_output(part)}")
    columns = ["model", "pressure", "standing", *sweep, "temperature", "quantity", "of", "value", "unit"]
    records = [[row.get(name) for name in columns] for row in rows]
    if as_json:
        head = {
            "snapshot": selection.snapshot,
            "query": selection.query,
            "count": len(records),
            "missing": {},
            "units": units,
        }
        write_object(head, columns, records)
    elif as_csv:
        write_csv(columns, units, records)
    else:
        kept = [i for i in range(len(columns)) if any(record[i] is not None for record in records)]
        table([columns[i] for i in kept], [[record[i] for i in kept] for record in records[:ROWS_SHOWN]], units=units)
        if len(records) > ROWS_SHOWN:
            note(f"… {len(records) - ROWS_SHOWN} more; --csv prints all.")


def parameters(pairs: list[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` texts; values that look like numbers become numbers."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CallError(f'--with "{pair}": write NAME=VALUE, such as --with temperature=300.')
        try:
            found[name.strip()] = float(value)
        except ValueError:
            found[name.strip()] = value.strip()
    return found


def _lines(dataset: xr.Dataset) -> Any:
    """Yield every number of a Dataset with its labels; each pair of a symmetric matrix once."""
    grid = [
        str(dim)
        for dim in dataset.dims
        if dim == "temperature" or dim == "model" or dataset[dim].attrs.get("units") == "eV"
    ]
    for name, variable in dataset.data_vars.items():
        inner = [str(dim) for dim in variable.dims if dim not in grid]
        if "point" in inner:
            continue  # the points of a box: too many to print; --store and Python give them
        for place in np.ndindex(*(dataset.sizes[dim] for dim in variable.dims)):
            at = dict(zip(map(str, variable.dims), place, strict=True))
            if len(inner) == 2 and inner[0].endswith("_i") and at[inner[0]] > at[inner[1]]:
                continue
            labels = [str(dataset[dim].values[at[dim]]) if dim in dataset.coords else str(at[dim]) for dim in inner]
            value = float(variable.values[place])
            if np.isnan(value) and inner:
                continue
            yield {
                "model": str(dataset["model"].values[at["model"]]),
                "pressure": float(dataset["pressure"].values[at["model"]]),
                "standing": str(dataset["standing"].values[at["model"]]),
                **{dim: float(dataset[dim].values[at[dim]]) for dim in grid if dim != "model"},
                "quantity": str(name),
                "of": " ".join(labels) or None,
                "value": value,
                "unit": variable.attrs.get("units", ""),
            }


def _sensitivity(selection: ModelSelection, given: dict[str, Any], picture: Path | None) -> xr.Dataset | xr.DataTree:
    """Run ``--with of=OPERATOR --with box.U_d=4:8 --with holds="abs(J_lt) > abs(J_mt)"`` and draw a picture."""
    operator, holds = (str(given.pop(name, "")) for name in ("of", "holds"))
    box = {key.removeprefix("box."): _edge(key, given.pop(key)) for key in list(given) if key.startswith("box.")}
    if not (operator and holds):
        raise CallError(
            'sensitivity needs an operator, statements and a box: --with of=hopping_to_spins --with holds="abs(J_lt) > abs(J_mt)" '
            "--with box.U_d=4:8 --with box.E_CT=2.5:4"
        )
    counts = {name: int(given.pop(name)) for name in ("points", "seed") if name in given}
    with progress("computing") as advance:
        result = selection.sensitivity(operator, box, holds, progress=advance, **counts, **given)
    if picture is not None:
        from barospec.catalogs.plots import spectra, spins

        parts = datasets_of(result)
        if len(parts) > 1:
            raise CallError("the query finds models of several stacks, but a picture shows one. Narrow the query.")
        spectra.save(spins.sensitivity(parts[0]), picture)
        note(f"drawn in {picture}")
    return result


def _tell_shares(archive: Archive, result: xr.Dataset | xr.DataTree, store: bool) -> None:
    """Print the shares in one table and the spread of the outputs in another."""
    for part in datasets_of(result):
        shares, spreads = [], []
        for k, model in enumerate(part["model"].values):
            one = part.isel(model=k)
            for statement in part["statement"].values:
                at = one.sel(statement=statement)
                shares.append(
                    [
                        model,
                        float(one["pressure"]),
                        statement,
                        *(float(at[n]) for n in ("share", "share_sigma", "unknown")),
                    ]
                )
            for name in (str(name)[:-4] for name in part.data_vars if str(name).endswith("_low")):
                if one[f"{name}_median"].ndim == 0:
                    values = [float(one[f"{name}_{side}"]) for side in ("low", "median", "high")]
                    spreads.append([model, name, *values, part[f"{name}_low"].attrs["units"]])
        table(["model", "pressure", "statement", "share", "share_sigma", "unknown"], shares, units={"pressure": "GPa"})
        print()
        table(["model", "output", "5 %", "median", "95 %", "unit"], spreads)
        if store:
            note(f"stored as {archive.store_output(part)}")


def _edge(key: str, value: Any) -> float | tuple[float, float]:
    """Parse a number, or "low:high", in eV."""
    try:
        parts = [float(part) for part in str(value).split(":")]
    except ValueError:
        parts = []
    if len(parts) == 2:
        return parts[0], parts[1]
    if len(parts) == 1:
        return parts[0]
    raise CallError(f'--with {key}="{value}": write a range as LOW:HIGH, such as {key}=4:8, or one number, in eV.')


def _compare(archive: Archive, text: str, *, as_json: bool, as_csv: bool) -> None:
    from barospec.archive.spins.comparison import paper_against_exact

    selection = archive.models(text)
    compounds = sorted({record.compound for record in selection.records if record.status == "published"})
    if len(compounds) != 1:
        raise CallError(
            f"the query finds published models of {', '.join(compounds) or 'no compound'}. Name one compound with published models."
        )
    columns = ["quantity", "phase", "unit", "paper", "exact", "difference", "why"]
    rows = [[getattr(row, name) for name in columns] for row in paper_against_exact(selection.records, compounds[0])]
    if as_json:
        write_object(
            {"snapshot": selection.snapshot, "query": selection.query, "count": len(rows), "missing": {}, "units": {}},
            columns,
            rows,
        )
    elif as_csv:
        write_csv(columns, {}, rows)
    else:
        table(columns, rows)


def numbers(value: Any) -> list[float]:
    """Parse a number, "0;80;300", or "0:300:50" (first:last:step, ends included).

    >>> numbers("0:300:100"), numbers(4.2)
    ([0.0, 100.0, 200.0, 300.0], [4.2])
    """
    if isinstance(value, int | float):
        return [float(value)]
    try:
        if ":" in str(value):
            first, last, step = (float(part) for part in str(value).split(":"))
            if step <= 0 or last < first or (last - first) / step > 1e6:
                raise ValueError
            return [float(number) for number in np.arange(first, last + step / 2, step)]
        return [float(part) for part in str(value).replace(",", ";").split(";")]
    except ValueError:
        raise CallError(
            f'"{value}" is not a list of numbers. Write "0;80;300", or "0:300:50" for first, last and step.'
        ) from None
