"""Chains of operators: what runs, in which order, with which parameters; and the run, in one pass.

Numpy only. ``archive/apply.py`` wraps this in xarray and dask: it asks `prepare` for a `Plan`, gives each
block of spectra to `run`, and finds units and kinds of the results in ``Plan.outputs``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from barospec.archive.operators._chain_text import Step, parse_chain
from barospec.archive.operators._references import Reference, arrays_for
from barospec.archive.operators.record import Operator, Output
from barospec.archive.operators.registry import OPERATORS, find_operator
from barospec.schemas.errors import CallError, Conflict, NotFound, did_you_mean

POINTS_PER_BLOCK = 1 << 17
"""Points that `run` hands to the operators at once: 1 MiB per array; measured, see README.md."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A chain ready to run. Can be pickled.

    Parameters
    ----------
    operators : tuple of Operator
        In the order in which they run.
    parameters : dict of str to dict
        All parameters of each operator, defaults included: what provenance records.
    inputs : tuple of str
        Arrays that must be supplied.
    outputs : dict of str to Output
        Everything that comes out, with units; those of the last step first.
    references : dict of str to dict
        Arrays of the references of each operator that has some; see `bind`.
    """

    operators: tuple[Operator, ...]
    parameters: dict[str, dict[str, Any]]
    inputs: tuple[str, ...]
    outputs: dict[str, Output]
    references: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    def asked_references(self) -> dict[str, Any]:
        """Operator -> what was written for its references."""
        asked = {
            operator.name: self.parameters[operator.name].get(operator.references.name)
            for operator in self.operators
            if operator.references is not None
        }
        return {name: value for name, value in asked.items() if value is not None}

    def length(self, output: str) -> int:
        """Number of references along an output that has a value for each."""
        owner = next(operator for operator in self.operators if output in operator.outputs)
        arrays = self.references.get(owner.name, {})
        return min((len(array) for array in arrays.values()), default=0)


def output_dtype(name: str, output: Output) -> DTypeLike:
    """Type in which an output is kept: uint8 for reason codes, int16 for other integers, else float64."""
    if not output.integer:
        return np.float64
    return np.uint8 if name.endswith("_quality") else np.int16


def plan(names: Iterable[str], available: Collection[str]) -> list[Operator]:
    """The operators to run, in order: those named, each after the operators that make what it needs.

    Parameters
    ----------
    names : iterable of str
        Operators wanted.
    available : collection of str
        Arrays at hand; what is at hand is not computed again.

    Raises
    ------
    NotFound
        For an unknown operator, or an input that neither is available nor any operator's output.
    Conflict
        When an output would be produced twice, or is at hand already.

    Examples
    --------
    >>> [operator.name for operator in plan(["edge_energy"], ["energy", "mu"])]
    ['normalize', 'edge_energy']
    """
    wanted = [find_operator(name) for name in names]
    if not wanted:
        raise CallError("the chain is empty. Name at least one operator.")
    makers = {output: operator for operator in OPERATORS.values() for output in operator.outputs}
    # An operator that is named makes its outputs even when another one could.
    makers.update({output: operator for operator in wanted for output in operator.outputs})
    ordered: list[Operator] = []

    def place(operator: Operator, waiting: tuple[str, ...]) -> None:
        if operator in ordered:
            return
        if operator.name in waiting:
            raise Conflict(f"{' needs '.join([*waiting, operator.name])}: this chain goes in a circle.")
        for name in operator.inputs:
            if name in available:
                continue
            if name not in makers:
                raise NotFound(
                    f'{operator.name} needs "{name}", which the data do not have and no operator makes. '
                    f"There are {', '.join(sorted(available)) or 'no arrays'}." + did_you_mean(name, list(available))
                )
            place(makers[name], (*waiting, operator.name))
        ordered.append(operator)

    for operator in wanted:
        place(operator, ())
    owner: dict[str, str] = {}
    for operator in ordered:
        for name in operator.outputs:
            if name in available or name in owner:
                other = "the data have it already" if name in available else f"{owner[name]} makes it too"
                raise Conflict(f'{operator.name} would make "{name}", but {other}. Leave one of them out.')
            owner[name] = operator.name
    _check_replacements(ordered)
    return ordered


def _check_replacements(ordered: list[Operator]) -> None:
    """An operator that gives new energies or curves must come before all that read the old ones."""
    for position, operator in enumerate(ordered):
        for name in operator.replaces:
            for earlier in ordered[:position]:
                feeds = set(earlier.outputs) & set(operator.inputs)
                if name in earlier.inputs and name not in earlier.replaces and not feeds:
                    raise Conflict(
                        f"{operator.name} gives a new {name}, but {earlier.name} has read the old one before it. "
                        f"Write {operator.name} first."
                    )


def route(operators: Sequence[Operator], parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give each parameter to the operator that has it; defaults for the rest.

    Parameters
    ----------
    operators : sequence of Operator
    parameters : mapping
        ``fraction=0.5``, or ``edge_energy.fraction=0.5`` where several operators have a parameter of that
        name.

    Raises
    ------
    CallError
        For a parameter that no operator or more than one has.

    Examples
    --------
    >>> routed = route(plan(["edge_energy"], ["energy", "mu"]), {"pre1": -150, "edge_energy.fraction": 0.5})
    >>> routed["normalize"]["pre1"], routed["edge_energy"]["fraction"]
    (-150, 0.5)
    """
    out = {operator.name: _all_parameters(operator) for operator in operators}
    for full, value in parameters.items():
        prefix, _, name = full.rpartition(".")
        owners = [owner for owner in out if name in out[owner] and prefix in ("", owner)]
        if not owners:
            known = [parameter for defaults in out.values() for parameter in defaults]
            if prefix and prefix not in out:
                raise CallError(f'"{prefix}" is not in this chain ({", ".join(out)}).{did_you_mean(prefix, list(out))}')
            hint = did_you_mean(name, known) or f" There are {', '.join(known)}."
            raise CallError(f'no operator of this chain ({", ".join(out)}) has a parameter "{name}".{hint}')
        if len(owners) > 1:
            choices = " or ".join(f"{owner}.{name}" for owner in owners)
            raise CallError(f"{' and '.join(owners)} both have a parameter {name}. Write {choices}.")
        out[owners[0]][name] = value
    return out


def _all_parameters(operator: Operator) -> dict[str, Any]:
    named = {} if operator.references is None else {operator.references.name: None}
    return {**operator.defaults, **named}


def prepare(
    steps: str | Sequence[Step], available: Collection[str], parameters: Mapping[str, Any] | None = None
) -> Plan:
    """Resolve a chain against the arrays at hand and check every name in it.

    Parameters
    ----------
    steps : str or sequence of (name, parameters)
        As `parse_chain` reads or returns it.
    available : collection of str
        Arrays at hand, such as ``energy`` and ``mu``.
    parameters : mapping, optional
        Further parameters, for whichever operator has them; see `route`.

    Raises
    ------
    NotFound, CallError, Conflict
        As `plan` and `route`; a parameter given in a step and in `parameters`; an operator named twice.
    """
    chain = parse_chain(steps) if isinstance(steps, str) else list(steps)
    names = [name for name, _ in chain]
    operators = plan(names, available)
    asked: dict[str, Any] = {}
    for name, own in chain:
        if names.count(name) > 1:
            raise Conflict(f"{name} stands in the chain twice and would make its outputs twice. Leave one out.")
        asked.update({f"{name}.{parameter}": value for parameter, value in own.items()})
    routed = route(operators, asked)
    for full, value in (parameters or {}).items():
        given = route(operators, {full: value})
        name = full.rpartition(".")[2]
        owner = next(one for one in routed if name in routed[one] and full.rpartition(".")[0] in ("", one))
        if f"{owner}.{name}" in asked:
            raise CallError(f"{owner}.{name} is given twice, in the chain and beside it. Leave one out.")
        routed[owner][name] = given[owner][name]
    made = {name for operator in operators for name in operator.outputs}
    inputs = dict.fromkeys(name for operator in operators for name in operator.inputs if name not in made)
    for operator in operators:
        for extra in operator.optional.values():
            if all(name in available or name in made for name in extra):
                inputs.update(dict.fromkeys(name for name in extra if name not in made))
    last = find_operator(names[-1])
    others = [operator for operator in operators if operator is not last]
    outputs = {name: output for operator in (last, *others) for name, output in operator.outputs.items()}
    return Plan(tuple(operators), routed, tuple(inputs), outputs)


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


def run_step(ready: Plan, operator: Operator, values: dict[str, Any]) -> None:
    """Run one operator on `values` and put its outputs there; what it replaces means the new from then on."""
    hidden = None if operator.references is None else operator.references.name
    parameters = {name: value for name, value in ready.parameters[operator.name].items() if name != hidden}
    parameters.update(ready.references.get(operator.name, {}))
    for keyword, names in operator.optional.items():
        if all(name in values for name in names):
            parameters[keyword] = np.stack([np.asarray(values[name], dtype=np.float64) for name in names], axis=-1)
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
    for start in range(0, rows, block):
        part = slice(start, start + block)
        values: dict[str, Any] = {name: array[part] for name, array in inputs.items()}
        for operator in ready.operators:
            run_step(ready, operator, values)
        for name, result in results.items():
            result[part] = values[name]
    return {name: result.reshape((*leading, *result.shape[1:])) for name, result in results.items()}


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
    """The inputs as (rows, points) or (rows,), the leading axes they share, and the number of points."""
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
