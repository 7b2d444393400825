"""Plan of a chain: operators, their order, and their parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from barospec.archive.operators.chain.parse import Step, parse_chain
from barospec.archive.operators.operator import Operator, Output
from barospec.archive.operators.registry import OPERATORS, find_operator
from barospec.schemas.errors import CallError, Conflict, NotFound, did_you_mean


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
        Arrays of the references of each operator that has some; see `chain.bind`.
    """

    operators: tuple[Operator, ...]
    parameters: dict[str, dict[str, Any]]
    inputs: tuple[str, ...]
    outputs: dict[str, Output]
    references: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    def asked_references(self) -> dict[str, Any]:
        """Return operator -> what was written for its references."""
        asked = {
            operator.name: self.parameters[operator.name].get(operator.references.name)
            for operator in self.operators
            if operator.references is not None
        }
        return {name: value for name, value in asked.items() if value is not None}

    def length(self, output: str) -> int:
        """Return the number of references along an output that has a value for each."""
        owner = next(operator for operator in self.operators if output in operator.outputs)
        arrays = self.references.get(owner.name, {})
        return min((len(array) for array in arrays.values()), default=0)


def output_dtype(name: str, output: Output) -> DTypeLike:
    """Return the type of an output: uint8 for reason codes, int16 for other integers, else float64."""
    if not output.integer:
        return np.float64
    return np.uint8 if name.endswith("_quality") else np.int16


def plan(names: Iterable[str], available: Collection[str]) -> list[Operator]:
    """List the operators to run, in order: those named, each after the operators that make what it needs.

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
    """Refuse an operator that gives new energies or curves after one that reads the old ones."""
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
