"""Chains of operators: references taken through them, and the run, in one pass.

Numpy only. ``archive/compute/spectra.py`` wraps this in xarray and dask: it asks `prepare` for a `Plan`, gives each
block of spectra to `run`, and finds units and kinds of the results in ``Plan.outputs``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.operators.chain.parse import Step, parse_chain
from barospec.archive.operators.chain.plan import Plan, output_dtype, plan, prepare, route
from barospec.archive.operators.chain.references import Reference, arrays_for
from barospec.archive.operators.operator import Operator, Output
from barospec.archive.operators.registry import OPERATORS
from barospec.schemas.errors import CallError, NotFound, did_you_mean

POINTS_PER_BLOCK = 1 << 18
"""Points that `run` hands to the operators at once: 1 MiB per array; measured, see README.md."""


def bind(ready: Plan, found: Mapping[str, Sequence[Reference]]) -> Plan:
    """Take the references of each operator through the steps before it, and keep what it needs of them.

    Parameters
    ----------
    ready : Plan
    found : mapping of str to sequence of Reference
        Operator -> its references, in the order in which they were named.

    Returns
    -------
    Plan
        Ready to run; references of earlier operators are used for those of later ones.

    Raises
    ------
    CallError
        For an operator that needs references and has none.
    NotFound
        For a reference that lacks an array.
    InvalidData
        For a reference from which the steps before give nothing.
    """
    bound: dict[str, dict[str, NDArray[np.float64]]] = {}
    for position, operator in enumerate(ready.operators):
        wanted = operator.references
        if wanted is None:
            continue
        given = found.get(operator.name, ())
        if len(given) < wanted.fewest:
            raise CallError(
                f"{operator.name} needs {wanted.name}: {wanted.meaning}. "
                f'Give a query, such as --with {wanted.name}="...".'
            )
        if not given:
            continue
        before = replace(ready, operators=ready.operators[:position], references=bound)
        made = [_before(before, reference, operator) for reference in given]
        bound[operator.name] = arrays_for(operator, given, made)
    return replace(ready, references=bound)


def _before(ready: Plan, reference: Reference, operator: Operator) -> dict[str, Any]:
    values: dict[str, Any] = dict(reference.arrays)
    for step in ready.operators:
        lacking = [name for name in step.inputs if name not in values]
        if lacking:
            raise NotFound(f"a reference of {operator.name} has no {', '.join(lacking)}, which {step.name} needs.")
        run_step(ready, step, values)
    assert operator.references is not None
    for name in operator.references.needed:
        if name not in values:
            raise NotFound(f"a reference of {operator.name} has no {name}; it has {', '.join(sorted(values))}.")
    return values


def run_step(
    ready: Plan, operator: Operator, values: dict[str, Any], out: Mapping[str, NDArray[np.float64]] | None = None
) -> None:
    """Run one operator on `values` and put its outputs there; what it replaces means the new from then on.

    An operator that `fills` writes its per-point outputs into `out`, where that is given, and no others.
    """
    hidden = None if operator.references is None else operator.references.name
    parameters = {name: value for name, value in ready.parameters[operator.name].items() if name != hidden}
    parameters.update(ready.references.get(operator.name, {}))
    for keyword, names in operator.optional.items():
        if all(name in values for name in names):
            parameters[keyword] = np.stack([np.asarray(values[name], dtype=np.float64) for name in names], axis=-1)
    if operator.fills and out is not None:
        parameters["out"] = out
    values.update(operator.func(*(values[name] for name in operator.inputs), **parameters))
    for name, output in operator.replaces.items():
        values[name] = values[output]


def run(ready: Plan, arrays: Mapping[str, ArrayLike], wanted: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Run a prepared chain over a batch of spectra, block after block, each block through the whole chain.

    Parameters
    ----------
    ready : Plan
    arrays : mapping of str to array_like
        ``Plan.inputs`` at least: per point (..., n), per spectrum (...). Leading axes broadcast; not
        modified.
    wanted : collection of str, optional
        Outputs to keep; all by default.

    Returns
    -------
    dict of str to ndarray
        Per point (..., n), per spectrum (...), in the order of ``Plan.outputs``.

    Raises
    ------
    CallError
        For missing arrays or shapes that do not fit.
    NotFound
        For a name in `wanted` that the chain does not make.
    """
    keep = _kept(ready, wanted)
    missing = [name for name in ready.inputs if name not in arrays]
    if missing:
        raise CallError(f"the chain needs {', '.join(missing)}. Arrays given: {', '.join(arrays) or 'none'}.")
    inputs, leading, points = _flat_inputs(ready, arrays)
    rows = int(np.prod(leading))
    results = {
        name: np.empty((rows, *_tail(ready, name, points)), dtype=output_dtype(name, output))
        for name, output in keep.items()
    }
    block = max(1, POINTS_PER_BLOCK // max(points, 1))
    scratch = _scratch(ready, keep, (min(block, rows), points))
    for start in range(0, rows, block):
        part = slice(start, start + block)
        values: dict[str, Any] = {name: array[part] for name, array in inputs.items()}
        size = min(block, rows - start)
        filled = {
            operator.name: {
                name: results[name][part] if name in results else scratch[name][:size]
                for name in operator.outputs
                if name in scratch or (name in results and ready.outputs[name].per_point)
            }
            for operator in ready.operators
            if operator.fills
        }
        for operator in ready.operators:
            run_step(ready, operator, values, filled.get(operator.name))
        done = {name for arrays in filled.values() for name in arrays}
        for name, result in results.items():
            if name not in done:
                result[part] = values[name]
    return {name: result.reshape((*leading, *result.shape[1:])) for name, result in results.items()}


def _scratch(ready: Plan, keep: Collection[str], shape: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    """Allocate arrays for what later operators read and nobody keeps: once for all blocks, as fresh memory is slow."""
    read = {name for operator in ready.operators for name in operator.inputs}
    return {
        name: np.empty(shape)
        for operator in ready.operators
        if operator.fills
        for name, output in operator.outputs.items()
        if output.per_point and name in read and name not in keep
    }


def _tail(ready: Plan, name: str, points: int) -> tuple[int, ...]:
    output = ready.outputs[name]
    if output.per_reference:
        return (ready.length(name),)
    return (points,) if output.per_point else ()


def _kept(ready: Plan, wanted: Collection[str] | None) -> dict[str, Output]:
    if wanted is None:
        return ready.outputs
    for name in wanted:
        if name not in ready.outputs:
            hint = did_you_mean(name, list(ready.outputs)) or f" There are {', '.join(ready.outputs)}."
            raise NotFound(f'the chain does not make "{name}".{hint}')
    return {name: output for name, output in ready.outputs.items() if name in wanted}


def _flat_inputs(
    ready: Plan, arrays: Mapping[str, ArrayLike]
) -> tuple[dict[str, NDArray[np.float64]], tuple[int, ...], int]:
    """Return the inputs as (rows, points) or (rows,), the leading axes they share, and the number of points."""
    per_point = {
        name: next((o.outputs[name].per_point for o in OPERATORS.values() if name in o.outputs), True)
        for name in ready.inputs
    }
    given = {name: np.asarray(arrays[name], dtype=np.float64) for name in ready.inputs}
    points = {array.shape[-1] if array.ndim else 0 for name, array in given.items() if per_point[name]}
    heads = [array.shape[:-1] if per_point[name] else array.shape for name, array in given.items()]
    shapes = ", ".join(f"{name} {array.shape}" for name, array in given.items())
    if len(points) != 1:
        raise CallError(f"the points of a spectrum must be the last axis, of one length; given: {shapes}.")
    try:
        leading = np.broadcast_shapes(*heads)
    except ValueError:
        raise CallError(f"the leading axes do not fit together; given: {shapes}.") from None
    number = points.pop()
    rows = int(np.prod(leading))
    flat = {
        name: np.broadcast_to(array, (*leading, number) if per_point[name] else leading).reshape(
            (rows, number) if per_point[name] else (rows,)
        )
        for name, array in given.items()
    }
    return flat, leading, number


def run_chain(
    steps: str | Sequence[Step],
    arrays: Mapping[str, ArrayLike],
    parameters: Mapping[str, Any] | None = None,
    wanted: Collection[str] | None = None,
    references: Mapping[str, Sequence[Reference]] | None = None,
) -> dict[str, NDArray[Any]]:
    """Prepare a chain for these arrays and run it in one pass.

    Parameters
    ----------
    steps : str or sequence of (name, parameters)
    arrays : mapping of str to array_like
        Such as ``{"energy": ..., "mu": ...}``, shapes (..., n); per-spectrum arrays (...).
    parameters : mapping, optional
        For whichever operator of the chain has them.
    wanted : collection of str, optional
        Outputs to keep; all by default.
    references : mapping of str to sequence of Reference, optional
        Operator -> its references; see `bind`.

    Returns
    -------
    dict of str to ndarray

    Examples
    --------
    >>> energy = np.arange(8230.0, 8731.0)
    >>> mu = 0.3 + 2 * (np.arctan((energy - 8345) / 2) / np.pi + 0.5)
    >>> out = run_chain("edge_energy(fraction=0.5)", {"energy": energy, "mu": mu}, {"nnorm": 1})
    >>> round(float(out["edge_energy"]), 2), int(out["nnorm"]), int(out["edge_energy_quality"])
    (8345.01, 1, 0)
    """
    ready = prepare(steps, list(arrays), parameters)
    return run(bind(ready, references or {}), arrays, wanted)


__all__ = [
    "Plan",
    "Reference",
    "Step",
    "bind",
    "output_dtype",
    "parse_chain",
    "plan",
    "prepare",
    "route",
    "run",
    "run_chain",
]
