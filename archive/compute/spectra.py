"""Operators over labelled, lazy spectra, with units, references and provenance.

The numbers come from `operators.chain.execute`; here its blocks become one dask task per block of spectra, for the
whole chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.compute import replicates
from barospec.archive.compute.replicates import with_scatter
from barospec.archive.operators.chain.execute import Plan, Reference, bind, output_dtype, parse_chain, prepare, run
from barospec.archive.operators.chain.references import split_references
from barospec.archive.operators.operator import Operator
from barospec.archive.operators.registry import OPERATORS, find_operator
from barospec.archive.statistics import resampling
from barospec.schemas.errors import CallError, InvalidData
from barospec.schemas.vocabulary import CHANNELS

if TYPE_CHECKING:
    import xarray as xr

CORE = "point"
UNCALIBRATED = ("none", "unknown", "calculated")
Find = Callable[[str], "xr.Dataset"]
Again = tuple[Plan, Mapping[str, list[Reference]], str, int]


def needed_channels(operators: str, present: Collection[str] = ()) -> list[str]:
    """Return the recorded channels that a chain reads beside the curve and its energies.

    Parameters
    ----------
    operators : str
        A chain.
    present : collection of str
        Recorded channels; a missing one is left to the operator that computes it from others.

    Returns
    -------
    list of str

    Examples
    --------
    >>> needed_channels("align | edge_energy", ["itrans", "irefer"])
    ['irefer', 'itrans']
    """
    makers = {output: operator for operator in OPERATORS.values() for output in operator.outputs}
    waiting = [find_operator(name) for name, _ in parse_chain(operators)]
    found: set[str] = set()
    seen: set[str] = set()
    while waiting:
        operator = waiting.pop()
        if operator.name in seen:
            continue
        seen.add(operator.name)
        for name in operator.inputs:
            if name in CHANNELS and (name in present or name not in makers):
                found.add(name)
            elif name in makers:
                waiting.append(makers[name])
    return sorted(found)


def apply(
    dataset: xr.Dataset,
    operators: str,
    *,
    find: Find | None = None,
    mixed: bool = False,
    uncertainty: str = "propagated",
    replicas: int = resampling.REPLICAS,
    **parameters: Any,
) -> xr.Dataset:
    """Run an operator or a chain over a Dataset of spectra.

    Parameters
    ----------
    dataset : Dataset
        ``energy`` and ``mu`` or ``intensity`` (and channels, where needed) with dims (..., point), lazy or not.
        A stored ``energy_shift`` is added to the energies.
    operators : str
        Such as ``"edge_energy"`` or ``"normalize(pre1=-150) | edge_energy(fraction=0.5)"``; operators whose outputs an
        operator needs run before it.
    find : callable, optional
        From a query to the Dataset of reference spectra. References may also be given as Datasets.
    mixed : bool
        Allow references of another origin (measured, calculated, synthetic) than the spectra.
    uncertainty : {"propagated", "bootstrap", "counting", "repeats", "pooled_repeats"}
        Source of the sigmas: the operators' own formulas; the scatter of `replicas` repetitions of the whole
        chain with other noise (found from each curve, or that of its counts), references included; or from the scatter of
        the values over the spectra of the Dataset measured at one point, three or more, or over all points of a run,
        about their means (see `replicates.scatter`).
    replicas : int
        Repetitions; a sigma is then known to ``1/sqrt(2 replicas)``.
    **parameters
        Parameters by name, for whichever operator of the chain has them; ``reference`` or ``references`` name
        spectra: ``reference="NiO at 1 bar"``, ``references="2: NiO at 1 bar; 3: LaNiO3 at 1 bar"``.

    Returns
    -------
    Dataset
        All outputs of the chain, those of the last operator first, with the coordinates of `dataset`; as lazy as it
        is, while references are read at once. Each has ``units``; in the attributes, ``provenance`` has operators,
        versions, parameters, query, snapshot and references (JSON), ``notes`` remarks on calibration, detection and origin.

    Raises
    ------
    NotFound, CallError, Conflict, QueryError
        For operators, parameters or inputs that do not exist or do not fit.
    InvalidData
        An operator for absorption with emission spectra, or the reverse; references of another edge or
        origin, or without a value.

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
    found = {
        name: _found(find_operator(name), value, dataset, find, mixed)
        for name, value in plan.asked_references().items()
    }
    resampling.check(uncertainty, replicas)
    again = (plan, found, uncertainty, replicas) if uncertainty in resampling.MEANING else None
    results = _wrapped(calibrated(dataset), bind(plan, found), found, again)
    return with_scatter(results, plan, uncertainty) if uncertainty in replicates.MEANING else results


def calibrated(dataset: xr.Dataset) -> xr.Dataset:
    """Return the Dataset with its stored ``energy_shift`` (eV), if any, added to the recorded energies."""
    if "energy_shift" not in dataset.coords:
        return dataset
    shift = dataset["energy_shift"].reset_coords(drop=True).fillna(0.0)
    return dataset.assign(energy=(dataset["energy"] + shift).assign_attrs(dataset["energy"].attrs))


def _check_technique(operators: str, available: list[str]) -> None:
    here = "xes" if "intensity" in available else "xas"
    for name, _ in parse_chain(operators):
        operator = find_operator(name)
        if operator.technique and operator.technique != here:
            raise InvalidData(
                f"{name} is defined for {operator.technique} spectra, but these are {here}. "
                f"Add {operator.technique} to the query."
            )


def _found(operator: Operator, value: Any, dataset: xr.Dataset, find: Find | None, mixed: bool) -> list[Reference]:
    """Return the named reference spectra as arrays, checked against the spectra."""
    out = []
    for label, asked in split_references(operator, value):
        if isinstance(asked, str):
            if find is None:
                raise CallError(f'{operator.name}: a query such as "{asked}" needs an archive; give a Dataset here.')
            spectra = find(asked)
        else:
            spectra = asked.to_xarray() if hasattr(asked, "to_xarray") else asked
        if not spectra.sizes.get("spectrum", 1) or "energy" not in spectra:
            raise InvalidData(
                f'{operator.name}: the reference "{asked}" finds no spectra of the kind that it is compared with. '
                f"Try it with barospec query."
            )
        _check_alike(operator, dataset, spectra, mixed)
        spectra = calibrated(spectra)
        arrays = {
            str(name): np.atleast_2d(np.asarray(variable.values, dtype=np.float64))
            for name, variable in spectra.data_vars.items()
            if CORE in variable.dims
        }
        ids = _words(spectra, "spectrum_id")
        about = {key: spectra.attrs[key] for key in ("query", "snapshot") if key in spectra.attrs}
        out.append(
            Reference(
                arrays,
                label,
                {
                    "label": label,
                    **about,
                    "spectrum_id": ids,
                    "origin": sorted(set(_words(spectra, "origin"))),
                    "energy_calibration": sorted(set(_words(spectra, "energy_calibration", "unknown"))),
                },
            )
        )
    return out


def _words(dataset: xr.Dataset, name: str, missing: str = "") -> list[str]:
    if name not in dataset.coords:
        return [missing] * dataset.sizes.get("spectrum", 1) if missing else []
    values = np.atleast_1d(dataset[name].values)
    return [missing if value is None else str(value) for value in values]


def _check_alike(operator: Operator, dataset: xr.Dataset, reference: xr.Dataset, mixed: bool) -> None:
    for name in ("edge", "line"):
        ours, theirs = ({*_words(one, name)} - {""} for one in (dataset, reference))
        if ours and theirs and ours != theirs:
            raise InvalidData(
                f"{operator.name}: the reference is of {name} {', '.join(sorted(theirs))}, "
                f"the spectra are of {', '.join(sorted(ours))}."
            )
    ours, theirs = ({*_words(one, "origin")} - {""} for one in (dataset, reference))
    if len(ours | theirs) > 1 and ours and theirs and not mixed:
        raise InvalidData(
            f"{operator.name} would mix {' and '.join(sorted(ours | theirs))} spectra. Name references of the same "
            f"origin, add origin to the query, or add --with mixed=true."
        )


def _notes(dataset: xr.Dataset, plan: Plan, found: Mapping[str, list[Reference]]) -> list[str]:
    """Return notes on calibration, detection and origin."""
    names = [operator.name for operator in plan.operators]
    notes = []
    aligned = {"align", "align_to"} & set(names)
    for operator in plan.operators:
        if operator.name not in found or operator.references is None:
            continue
        origins = {*_words(dataset, "origin")} | {o for one in found[operator.name] for o in one.about["origin"]}
        if len(origins) > 1:
            notes.append(f"{operator.name} mixes {' and '.join(sorted(origins))} spectra, as asked for.")
        if not operator.references.absolute:
            continue
        states = _words(dataset, "energy_calibration", "unknown")
        bad = sum(state in UNCALIBRATED for state in states)
        theirs = [state for one in found[operator.name] for state in one.about["energy_calibration"]]
        if not aligned and (bad or any(state in UNCALIBRATED for state in theirs)):
            notes.append(
                f"{operator.name} compares absolute energies, but {bad} of {len(states)} spectra and "
                f"{sum(state in UNCALIBRATED for state in theirs)} of {len(theirs)} references are not calibrated "
                f"(energy_calibration {', '.join(sorted({*states, *theirs}))})."
            )
    modes = {*_words(dataset, "mode")} - {""}
    if "pre_edge_peak" in names and len(modes) > 1:
        notes.append(f"pre-edges of different detection are not comparable: {', '.join(sorted(modes))}.")
    if modes & {"fluorescence", "herfd"}:
        notes.append("self-absorption of fluorescence is not corrected.")
    return notes


@dataclass(frozen=True, slots=True)
class _Block:
    """The task for one block of spectra: the whole chain. Can be pickled for remote workers."""

    plan: Plan
    again: Again | None

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        given = dict(zip(self.plan.inputs, arrays, strict=True))
        made = (
            run(self.plan, given)
            if self.again is None
            else resampling.run_again(*self.again[:2], given, *self.again[2:])
        )
        return tuple(made[name] for name in self.plan.outputs)


def _wrapped(
    dataset: xr.Dataset,
    plan: Plan,
    found: Mapping[str, list[Reference]],
    again: Again | None,
) -> xr.Dataset:
    import xarray as xr

    names = list(plan.outputs)
    per_reference = [name for name in names if plan.outputs[name].per_reference]
    results = xr.apply_ufunc(
        _Block(plan, again),
        *(dataset[name] for name in plan.inputs),
        input_core_dims=[[CORE]] * len(plan.inputs),
        output_core_dims=[_core(plan.outputs[name]) for name in names],
        dask="parallelized",
        output_dtypes=[output_dtype(name, plan.outputs[name]) for name in names],
        dask_gufunc_kwargs={"output_sizes": {"reference": plan.length(per_reference[0])}} if per_reference else None,
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
                    "flag_meanings": " ".join(operator.words),
                    "flag_reasons": "\n".join(operator.reasons),
                }
            else:
                out[name].attrs["units"] = output.unit
            kind = operator.kind_of_sigma(name)
            if kind:
                resampled = again is not None and name.endswith("_sigma") and not output.per_point
                out[name].attrs["uncertainty"] = (
                    resampling.MEANING[again[2]].format(n=again[3]) if again is not None and resampled else kind
                )
        if operator.name in found and any(output.per_reference for output in operator.outputs.values()):
            labels = [
                one.label or str(one.about.get("query", number)) for number, one in enumerate(found[operator.name])
            ]
            out = out.assign_coords(reference=("reference", labels))
    notes = _notes(dataset, plan, found)
    out.attrs["notes"] = "\n".join(notes)
    record = provenance(plan, dataset.attrs)
    if found:
        record["references"] = {name: [dict(one.about) for one in named] for name, named in found.items()}
    if "energy_shift" in dataset.coords:
        record["energy_shift"] = "the stored energy_shift was added to the recorded energies"
    record["notes"] = notes
    record["uncertainty"] = "propagated" if again is None else f"{again[2]}, {again[3]} replicas"
    out.attrs["provenance"] = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return out


def _core(output: Any) -> list[str]:
    return [CORE] if output.per_point else ["reference"] if output.per_reference else []


def provenance(plan: Plan, attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the provenance of a result: operators, versions, all parameters, query, snapshot, software version."""
    from barospec.schemas.version import __version__

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
    return {"steps": steps, "barospec": __version__, **asked}


def _jsonable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, np.ndarray):
            out[name] = value.tolist()
        elif isinstance(value, str | int | float | bool | None):
            out[name] = value
        elif isinstance(value, Mapping):
            out[name] = {str(key): str(item) for key, item in value.items()}
        else:
            out[name] = list(value) if isinstance(value, list | tuple) else str(value)
    return out
