"""Sensitivity of model outputs to unknown parameters: shares of a parameter box, over stored models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.compute.models import (
    check_models,
    find_settings,
    model_attributes,
    model_labels,
    model_parameter,
    parameter_names,
)
from barospec.archive.spins.outputs import Array, Outputs
from barospec.archive.spins.registry import ModelOperator, find_model_operator
from barospec.archive.spins.sensitivity import Range, sensitivity
from barospec.archive.spins.sheets.model_record import ModelRecord
from barospec.archive.spins.statements import Statement, parse_statements
from barospec.schemas.errors import CallError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr

SOURCE = "shares of a box of parameters filled by a Sobol sequence; see archive/spins/sensitivity.py"
Progress = Callable[[str, int, int], None]


def apply_sensitivity(
    records: Sequence[ModelRecord],
    name: str,
    box: Mapping[str, float | Range],
    holds: str,
    *,
    temperature: float = 0.0,
    points: int = 256,
    seed: int = 0,
    attributes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> xr.Dataset:
    """Compute an operator's outputs over a box of parameters around each model, and where statements hold.

    Parameters
    ----------
    records : sequence of ModelRecord
        Of one stack, at the operator's energy scale.
    name : str
        The operator; see ``barospec operators``.
    box : mapping of str to float or (low, high)
        In eV, in place of the models' own values. A parameter with a range and no value in the model has that range.
    holds : str
        Statements divided by semicolons; see `spins.statements`.
    temperature : float
        In K.
    points, seed : int
        As in `spins.sensitivity.sample_box`.
    attributes : mapping
        For the Dataset, such as query and snapshot.
    progress : callable, optional
        Called as ``progress(name, done, total)``.
    **options
        Of the operator.

    Returns
    -------
    Dataset
        Dims (model, statement, point, ...): ``share``, ``share_sigma``, ``unknown`` (model, statement); ``margin`` (model, statement,
        point), by how much a statement holds; ``box_<parameter>`` (model, point) in eV; of each output ``<name>_low``,
        ``_median``, ``_high``: 5, 50 and 95 % of the box.

    Raises
    ------
    CallError
        For unknown operators, parameters, outputs or units, and a parameter that neither the model nor the box gives.
    """
    operator = find_model_operator(name)
    stack = check_models(operator, records)
    settings = find_settings(operator, options, records)
    names = parameter_names(operator, stack)
    _check_box(box, names, stack)
    probe = operator.func(stack, dict.fromkeys(names, np.ones(1)), temperature, **settings)
    statements = parse_statements(holds, probe)
    parts = []
    for done, record in enumerate(records):
        if progress:
            progress(record.model_id, done, len(records))
        own = _box_of(record, names, box)
        parts.append(_over_box(operator, stack, own, statements, temperature, settings, points, seed))
    step = {"operator": "sensitivity", "version": 1, "of": name, "of_version": operator.version, "source": SOURCE}
    step["options"] = {
        **settings,
        "holds": list(statements),
        "points": points,
        "seed": seed,
        "temperature": temperature,
    }
    step["box"] = {
        r.model_id: {k: list(v) if isinstance(v, tuple) else v for k, v in own.edges.items()}
        for r, (own, _) in zip(records, parts, strict=True)
    }
    return _labelled(records, parts, statements, step, attributes or {})


def _check_box(box: Mapping[str, Any], names: Sequence[str], stack: str) -> None:
    families = {full.split("(")[0] for full in names}
    for key in box:
        if key not in names and key not in families:
            known = [*names, *sorted(families)]
            raise CallError(
                f'the {stack} has no parameter "{key}" for a box; it has {", ".join(names)}.{did_you_mean(key, known)}'
            )


@dataclass(frozen=True, slots=True)
class _Box:
    """The box of one model and the edge that each parameter moves along: J_H of all layers is one edge by default."""

    edges: dict[str, float | Range]
    along: dict[str, str]


def _box_of(record: ModelRecord, names: Sequence[str], box: Mapping[str, float | Range]) -> _Box:
    """Return the requested box; else the model's value; else the range that it states."""
    found: dict[str, float | Range] = {}
    along: dict[str, str] = {}
    lacking = []
    for full in names:
        family = full.split("(")[0]
        asked = next((key for key in (full, family) if key in box), None)
        value = model_parameter(record, full, family)
        stated = [p for p in record.parameters if p.name in (full, family) and p.low < p.high]
        if asked is not None:
            found[asked], along[full] = box[asked], asked
        elif not math.isnan(value):
            found[full], along[full] = value, full
        elif len(stated) == 1:
            edge = stated[0].name
            found[edge], along[full] = (stated[0].low, stated[0].high), edge
        else:
            lacking.append(full)
    if lacking:
        example = f"box.{lacking[0].split('(')[0]}=LOW:HIGH"
        raise CallError(f"model {record.model_id} gives no {', '.join(lacking)}. Give it with --with {example}, in eV.")
    return _Box(found, along)


_Part = tuple[_Box, dict[str, tuple[tuple[str, ...], Array, str, str, Mapping[str, tuple[str, ...]]]]]


def _over_box(
    operator: ModelOperator, stack: str, box: _Box, statements: Mapping[str, Statement],
    temperature: float, settings: Mapping[str, Any], points: int, seed: int,
) -> _Part:  # fmt: skip
    kept: Outputs = {}

    def result(parameters: dict[str, Array]) -> Outputs:
        moved = {full: parameters[edge] for full, edge in box.along.items()}
        kept.update(operator.func(stack, moved, temperature, **settings))
        return kept

    found = sensitivity(result, box.edges, statements, points, seed)
    values = {name: np.asarray(output.values, dtype=float) for name, output in kept.items()}
    margins = np.stack([np.broadcast_to(s.margin(values), (points,)) for s in statements.values()])
    made = {}
    for name, output in found.items():
        title = f"box_{name}" if name in box.edges else name
        unit = "eV" if name in box.edges else output.unit
        made[title] = (output.dims, np.asarray(output.values, dtype=float), unit, output.meaning, output.labels)
    units = {statement.unit for statement in statements.values()}
    unit = units.pop() if len(units) == 1 else ", ".join(f"{text}: {s.unit}" for text, s in statements.items())
    made["margin"] = (("statement", "point"), margins, unit, "By how much a statement holds; negative where not.", {})
    return box, made


def _labelled(
    records: Sequence[ModelRecord], parts: Sequence[_Part], statements: Mapping[str, Statement],
    step: Mapping[str, Any], attributes: Mapping[str, Any],
) -> xr.Dataset:  # fmt: skip
    import xarray as xr

    coords = {**model_labels(records), "statement": list(statements)}
    variables: dict[str, Any] = {}
    for name, (dims, _, unit, meaning, labels) in parts[0][1].items():
        stacked = np.stack([part[1][name][1] for part in parts])
        variables[name] = (("model", *dims), stacked, {"units": unit, "long_name": meaning, "operator": "sensitivity"})
        coords |= {dim: list(labels[dim]) for dim in dims if dim in labels}
    return xr.Dataset(variables, coords=coords, attrs=model_attributes(records, step, attributes))
