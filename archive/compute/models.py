"""Operators over stored models: labelled, lazy over models x parameters x temperature.

A model's parameters become arrays with the dimension ``model``; a swept parameter and temperatures add dimensions. One
dask task computes a block of models for a block of each sweep.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.spins.electrons.electrons import PARAMETERS
from barospec.archive.spins.models import STACKS
from barospec.archive.spins.outputs import BATCH, Outputs
from barospec.archive.spins.registry import ModelOperator, find_model_operator
from barospec.archive.spins.sheets.model_record import ModelRecord, Parameter
from barospec.archive.spins.sheets.records import NOT_STATED
from barospec.schemas.errors import CallError, InvalidData, did_you_mean

if TYPE_CHECKING:
    import xarray as xr

MODELS_PER_BLOCK = 256
SWEEP_PER_BLOCK = 512


def parameter_names(operator: ModelOperator, stack: str) -> tuple[str, ...]:
    """Return the parameters that an operator needs for a stack; ``J_H`` means every ``J_H(...)``."""
    return PARAMETERS if operator.scale == "Hartree" else STACKS[stack]().parameters


def interpolate_models(records: Sequence[ModelRecord], pressures: Sequence[float]) -> list[ModelRecord]:
    """Interpolate models between published pressures, each parameter linear in pressure; labelled ``interpolated``.

    Parameters
    ----------
    records : sequence of ModelRecord
        Of one compound, stack and scale, at two pressures or more.
    pressures : sequence of float
        In GPa, within the range of the records.

    Raises
    ------
    InvalidData
        For models of several kinds, or a pressure outside: nothing is extrapolated.
    """
    kinds = {(r.compound, r.stack, r.scale) for r in records}
    if len(kinds) != 1:
        raise InvalidData(f"interpolation needs models of one compound, stack and scale; these are {sorted(kinds)}.")
    known = sorted((r for r in records if not math.isnan(r.pressure)), key=lambda r: r.pressure)
    places = [r.pressure for r in known]
    if len(set(places)) < 2 or len(set(places)) < len(places):
        raise InvalidData(f"interpolation needs one model at each of two pressures or more; these are at {places} GPa.")
    made = []
    for pressure in pressures:
        if not places[0] <= pressure <= places[-1]:
            raise InvalidData(
                f"{pressure:g} GPa is outside the models' {places[0]:g} to {places[-1]:g} GPa; nothing is extrapolated."
            )
        if pressure in places:
            made.append(known[places.index(pressure)])
            continue
        names = {(p.name, p.layer, p.bond, p.unit) for p in known[0].parameters}
        parameters = tuple(
            Parameter(
                name,
                unit,
                float(np.interp(pressure, places, [_value(r, name, layer, bond) for r in known])),
                layer=layer,
                bond=bond,
            )
            for name, layer, bond, unit in sorted(names)
        )
        name = f"{known[0].compound}-{known[0].scale}-{pressure:g}GPa"
        made.append(
            replace(
                known[0],
                model_id=name,
                status="interpolated",
                pressure=float(pressure),
                structure="interpolated",
                parameters=parameters,
            )
        )
    return made


def _value(record: ModelRecord, name: str, layer: str, bond: str) -> float:
    return next((p.value for p in record.parameters if (p.name, p.layer, p.bond) == (name, layer, bond)), math.nan)


def apply_models(
    records: Sequence[ModelRecord],
    name: str,
    *,
    temperature: ArrayLike = 0.0,
    sweep: Mapping[str, ArrayLike] | None = None,
    attributes: Mapping[str, Any] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Run a model operator over models of one stack.

    Parameters
    ----------
    records : sequence of ModelRecord
        All of one stack, at the operator's energy scale.
    name : str
        See ``barospec operators``.
    temperature : array
        In K; several make a dimension ``temperature``.
    sweep : mapping of str to array
        Parameter -> values in eV that replace the models' own; each makes a dimension of its name.
    attributes : mapping
        For the Dataset, such as query and snapshot.
    **options
        Of the operator.

    Returns
    -------
    Dataset
        Lazy; dims (model, swept parameters, temperature, and those of the output: level, site_i, ...), coordinates model, pressure,
        material, structure, standing. NaN where a model lacks a parameter.

    Raises
    ------
    NotFound, CallError, InvalidData
        For unknown names, an energy scale or stack that does not fit, unstated conventions.
    """
    import xarray as xr

    operator = find_model_operator(name)
    stack = check_models(operator, records)
    settings = find_settings(operator, options, records)
    inputs = _inputs(operator, stack, records, sweep or {})
    kelvin = np.atleast_1d(np.asarray(temperature, dtype=np.float64))
    if operator.thermal:
        inputs["temperature"] = xr.DataArray(kelvin, dims="temperature")
    keys = list(inputs)

    def block(*arrays: Any) -> tuple[Any, ...]:
        given = dict(zip(keys, arrays, strict=True))
        found = operator.func(stack, given, given.pop("temperature", 0.0), **settings)
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        return tuple(_shaped(found[key].values, shape, found[key].dims) for key in found)

    probe = operator.func(stack, dict.fromkeys((key for key in keys if key != "temperature"), 1.0), 1.0, **settings)
    sizes = {
        dim: size for item in probe.values() for dim, size in zip(item.dims[1:], np.shape(item.values), strict=True)
    }
    results = xr.apply_ufunc(
        block,
        *inputs.values(),
        output_core_dims=[list(item.dims[1:]) for item in probe.values()],
        dask="parallelized",
        output_dtypes=[np.float64] * len(probe),
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    out = xr.Dataset(dict(zip(probe, results if isinstance(results, tuple) else (results,), strict=True)))
    return _labelled(out, probe, operator, records, settings, sweep or {}, kelvin, attributes or {})


def _shaped(values: Any, shape: tuple[int, ...], dims: tuple[str, ...]) -> Any:
    """Broadcast outputs that do not depend on every input, such as levels on temperature, to the whole grid."""
    own = np.asarray(values, dtype=np.float64)
    core = own.shape[own.ndim - (len(dims) - 1) :] if len(dims) > 1 else ()
    return np.broadcast_to(own, (*shape, *core))


def check_models(operator: ModelOperator, records: Sequence[ModelRecord]) -> str:
    """Return the one stack of the models; raise InvalidData if they do not fit the operator."""
    if not records:
        raise InvalidData("there are no models to compute with.")
    stacks = {record.stack for record in records}
    if len(stacks) > 1:
        raise InvalidData(
            f"models of several stacks ({', '.join(sorted(stacks))}) have different sites; take one at a time."
        )
    stack = stacks.pop()
    if stack not in operator.stacks:
        raise InvalidData(f"{operator.name} is defined for {', '.join(operator.stacks)}, not for {stack}.")
    wrong = [record.model_id for record in records if record.scale != operator.scale]
    if wrong:
        raise InvalidData(
            f"{operator.name} takes models at the {operator.scale} scale; {', '.join(wrong)} are not. Add scale = {operator.scale}."
        )
    return stack


def find_settings(operator: ModelOperator, given: Mapping[str, Any], records: Sequence[ModelRecord]) -> dict[str, Any]:
    """Return the operator's options as given, or as the models state them; raise CallError for an unstated one."""
    for key in given:
        if key not in operator.options:
            known = list(operator.options)
            raise CallError(
                f"{operator.name} has no option {key}; it has {', '.join(known) or 'none'}.{did_you_mean(key, known)}"
            )
    settings = {}
    for key, (default, meaning) in operator.options.items():
        value = given.get(key, default)
        if value is None:
            metadata = {"convention": "hund_convention"}.get(key, key)
            stated = {record.metadata.get(metadata, NOT_STATED) for record in records}
            if len(stated) != 1 or NOT_STATED in stated:
                raise CallError(
                    f"{operator.name} needs {key}: {meaning}. The models state {', '.join(sorted(stated))}; give it with --with {key}=..."
                )
            value = stated.pop()
        settings[key] = value
    return settings


def _inputs(
    operator: ModelOperator, stack: str, records: Sequence[ModelRecord], sweep: Mapping[str, ArrayLike]
) -> dict[str, Any]:
    import xarray as xr

    names = parameter_names(operator, stack)
    families = {full.split("(")[0] for full in names}
    for key in sweep:
        if key not in names and key not in families:
            choices = [*names, *sorted(families)]
            raise CallError(
                f'the {stack} has no parameter "{key}" to sweep; it has {", ".join(names)}.{did_you_mean(key, choices)}'
            )
    inputs: dict[str, Any] = {}
    for full in names:
        family = full.split("(")[0]
        swept = next((key for key in (full, family) if key in sweep), None)
        if swept is not None:
            values = np.atleast_1d(np.asarray(sweep[swept], dtype=np.float64))
            dim = _dimension(swept)
            inputs[full] = xr.DataArray(values, dims=dim).chunk({dim: SWEEP_PER_BLOCK})
        else:
            column = [model_parameter(record, full, family) for record in records]
            inputs[full] = xr.DataArray(np.array(column), dims="model").chunk({"model": MODELS_PER_BLOCK})
    if not any("model" in item.dims for item in inputs.values()):
        first = next(iter(inputs))
        inputs[first] = inputs[first].expand_dims(model=len(records))
    return inputs


def _dimension(parameter: str) -> str:
    return parameter.replace("(", "_").replace(")", "")


def model_parameter(record: ModelRecord, full: str, family: str) -> float:
    """Return a model's value of ``J_H(m)``: from ``J_H(m)``, J_H of layer m, or the J_H of all layers."""
    layer = full[len(family) + 1 : -1]
    for name, where in ((full, ""), (family, layer), (family, "")):
        found = [p.value for p in record.parameters if p.name == name and p.layer == where]
        if found:
            return found[0]
    return math.nan


def model_labels(records: Sequence[ModelRecord]) -> dict[str, Any]:
    """Return the coordinates along ``model`` that identify the models."""
    return {
        "model": [record.model_id for record in records],
        "pressure": ("model", np.array([record.pressure for record in records]), {"units": "GPa"}),
        "material": ("model", [record.compound for record in records]),
        "structure": ("model", [record.structure for record in records]),
        "standing": (
            "model",
            [record.status for record in records],
            {"long_name": "published, assumed, interpolated or calculated"},
        ),
    }


def model_attributes(
    records: Sequence[ModelRecord], step: Mapping[str, Any], attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the attributes of results computed from models: the request and the provenance (JSON)."""
    from importlib.metadata import version

    models = [{"model_id": r.model_id, "standing": r.status, "source": r.source} for r in records]
    provenance = {"steps": [step], "models": models, "barospec": version("barospec"), **attributes}
    text = json.dumps(provenance, sort_keys=True, ensure_ascii=False)
    return {**attributes, "origin": "calculated", "provenance": text}


def _labelled(
    out: xr.Dataset, probe: Outputs, operator: ModelOperator, records: Sequence[ModelRecord], settings: Mapping[str, Any],
    sweep: Mapping[str, ArrayLike], kelvin: Any, attributes: Mapping[str, Any],
) -> xr.Dataset:  # fmt: skip
    coords = model_labels(records)
    if operator.thermal:
        coords["temperature"] = ("temperature", kelvin, {"units": "K"})
    for key, values in sweep.items():
        coords[_dimension(key)] = (
            _dimension(key),
            np.atleast_1d(np.asarray(values, dtype=np.float64)),
            {"units": "eV"},
        )
    for name, item in probe.items():
        out[name].attrs = {"units": item.unit, "long_name": item.meaning, "operator": operator.name}
        for dim in item.dims:
            if dim != BATCH and dim in item.labels:
                coords[dim] = list(item.labels[dim])
    step = {
        "operator": operator.name,
        "version": operator.version,
        "options": dict(settings),
        "source": operator.source,
    }
    return out.assign_coords(coords).assign_attrs(model_attributes(records, step, attributes))
