"""Operators over labelled, lazy spectra: the wrapper that brings xarray, dask, units and provenance.

The numbers come from `operators.chain.run`; here its blocks become one dask task per block of spectra, for the whole chain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.operators.chain import Plan, output_dtype, parse_chain, prepare, run
from barospec.archive.operators.registry import find_operator
from barospec.schemas.errors import InvalidData
from barospec.schemas.vocabulary import CHANNELS

if TYPE_CHECKING:
    import xarray as xr

CORE = "point"


def needed_channels(operators: str) -> list[str]:
    """Recorded channels that a chain reads beside the curve and its energies."""
    named = [find_operator(name) for name, _ in parse_chain(operators)]
    return sorted({name for operator in named for name in operator.inputs if name in CHANNELS})


def apply(dataset: xr.Dataset, operators: str, **parameters: Any) -> xr.Dataset:
    """Run an operator or a chain over a Dataset of spectra.

    Parameters
    ----------
    dataset : Dataset
        ``energy`` and ``mu`` or ``intensity`` (and channels, where needed) with dims (..., point), lazy or not.
    operators : str
        Such as ``"edge_energy"`` or ``"normalize(pre1=-150) | edge_energy(fraction=0.5)"``; what an operator needs
        from another one is run before it.
    **parameters
        Parameters by name, for whichever operator of the chain has them.

    Returns
    -------
    Dataset
        All outputs of the chain, those of the last operator first, with the coordinates of `dataset`; as lazy as it is. Each
        has ``units``; ``provenance`` in the attributes tells operators, versions, parameters, query and snapshot (JSON).

    Raises
    ------
    NotFound, CallError, Conflict, QueryError
        For operators, parameters or inputs that do not exist or do not fit.
    InvalidData
        An operator for absorption was asked of emission spectra, or the reverse.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> energy = np.arange(8250.0, 8500.0)[None]
    >>> mu = np.arctan(energy - 8340.0) / np.pi + 0.5
    >>> spectra = xr.Dataset({"energy": (("spectrum", "point"), energy), "mu": (("spectrum", "point"), mu)})
    >>> round(float(apply(spectra, "edge_energy", fraction=0.5).edge_energy[0]), 1)
    8340.0
    """
    available = [str(name) for name, variable in dataset.data_vars.items() if CORE in variable.dims]
    _check_technique(operators, available)
    plan = prepare(operators, available, parameters)
    return _wrapped(dataset, plan)


def _check_technique(operators: str, available: list[str]) -> None:
    here = "xes" if "intensity" in available else "xas"
    for name, _ in parse_chain(operators):
        operator = find_operator(name)
        if operator.technique and operator.technique != here:
            raise InvalidData(
                f"{name} is defined for {operator.technique} spectra, but these are {here}. Add {operator.technique} to the query."
            )


def _wrapped(dataset: xr.Dataset, plan: Plan) -> xr.Dataset:
    import xarray as xr

    names = list(plan.outputs)

    def block(*arrays: Any) -> tuple[Any, ...]:
        found = run(plan, dict(zip(plan.inputs, arrays, strict=True)))
        return tuple(found[name] for name in names)

    results = xr.apply_ufunc(
        block,
        *(dataset[name] for name in plan.inputs),
        input_core_dims=[[CORE]] * len(plan.inputs),
        output_core_dims=[[CORE] if plan.outputs[name].per_point else [] for name in names],
        dask="parallelized",
        output_dtypes=[output_dtype(name, plan.outputs[name]) for name in names],
    )
    variables = results if isinstance(results, tuple) else (results,)
    keep = {"energy": dataset["energy"]} if any(output.per_point for output in plan.outputs.values()) else {}
    out = xr.Dataset({**dict(zip(names, variables, strict=True)), **keep}, attrs=dict(dataset.attrs))
    for operator in plan.operators:
        for name, output in operator.outputs.items():
            out[name].attrs = {
                "long_name": output.meaning,
                "operator": operator.name,
                "operator_version": operator.version,
            }
            if output.integer and name == operator.quality:
                out[name].attrs |= {
                    "flag_values": list(range(len(operator.reasons))),
                    "flag_meanings": "; ".join(operator.reasons),
                }
            else:
                out[name].attrs["units"] = output.unit
    out.attrs["provenance"] = json.dumps(provenance(plan, dataset.attrs), sort_keys=True, ensure_ascii=False)
    return out


def provenance(plan: Plan, attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """What makes a result repeatable: operators, versions, all parameters, query, snapshot, software version."""
    from importlib.metadata import version

    steps = [
        {
            "operator": op.name,
            "version": op.version,
            "parameters": _jsonable(plan.parameters[op.name]),
            "source": op.source,
        }
        for op in plan.operators
    ]
    asked = {key: attributes[key] for key in ("query", "snapshot") if key in attributes}
    return {"steps": steps, "barospec": version("barospec"), **asked}


def _jsonable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: np.asarray(value).tolist() if isinstance(value, np.ndarray) else value
        for name, value in parameters.items()
    }
