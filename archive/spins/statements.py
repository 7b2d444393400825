"""Statements about the outputs of a model operator: ``abs(J_lt) > abs(J_mt)``, ``J_ZZ[um] > 500 meV``.

A side is an output, with labels in brackets if it has its own axes, or a number with its unit; either may be multiplied by a
number, and ``abs(...)`` or bars mean the absolute value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from barospec.archive.spins.outputs import BATCH, Array, Labelled, Outputs, as_array
from barospec.schemas.errors import CallError, InvalidData, did_you_mean
from barospec.schemas.units import parse_quantity

_COMPARE = re.compile(r"\s*(>=|<=|>|<)\s*")
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_SIDE = re.compile(rf"(?:({_NUMBER})\s*\*\s*)?(-)?\s*([A-Za-z_]\w*)\s*(?:\[([^\]]*)\]|\(([\w]+)\))?")
_HOW = 'Write it like "abs(J_lt) > abs(J_mt)", "J_ZZ[um] > 500 meV" or "J_ZZ > 0.9 * J_H_outer".'


@dataclass(frozen=True, slots=True)
class _Side:
    """One side: a factor times an output at a position of its axes, or a number (``name`` is "")."""

    factor: float
    name: str = ""
    place: tuple[int, ...] = ()
    absolute: bool = False

    def values(self, outputs: Mapping[str, Array]) -> Array:
        if not self.name:
            return np.asarray(self.factor, dtype=np.float64)
        place: tuple[Any, ...] = (..., *self.place)
        found: Array = np.asarray(as_array(outputs[self.name])[place], dtype=np.float64)
        return self.factor * (np.abs(found) if self.absolute else found)


@dataclass(frozen=True, slots=True)
class Statement:
    """A comparison of two sides; called with the outputs' values by name, it gives 1, 0, or NaN if a number is unknown."""

    text: str
    left: _Side
    right: _Side
    greater: bool
    strict: bool
    unit: str

    def margin(self, outputs: Mapping[str, Array]) -> Array:
        """Return the margin in `unit`: positive where it holds, negative where not."""
        difference = self.left.values(outputs) - self.right.values(outputs)
        return difference if self.greater else -difference

    def __call__(self, outputs: Mapping[str, Array]) -> Array:
        margin = self.margin(outputs)
        truth = margin > 0 if self.strict else margin >= 0
        return np.where(np.isnan(margin), np.nan, truth)


def parse_statement(text: str, outputs: Outputs) -> Statement:
    """Parse a statement about the outputs of an operator.

    Parameters
    ----------
    text : str
        See the docstring of this module.
    outputs : dict of Labelled
        Outputs of the operator, for names, labels and units; the values are not used.

    Returns
    -------
    Statement

    Raises
    ------
    CallError
        For invalid text, an unknown output or label, or sides of different units; the message lists valid ones.

    Examples
    --------
    >>> gap = Labelled("gap", np.zeros(1), (BATCH,), "eV", "Distance to the next level.")
    >>> holds = parse_statement("gap > 60 meV", {"gap": gap})
    >>> holds({"gap": np.array([0.05, 0.07, np.nan])}), holds.margin({"gap": np.array([0.07])}).round(3)
    (array([ 0.,  1., nan]), array([0.01]))
    """
    parts = _COMPARE.split(text.strip())
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise CallError(f'"{text}" does not compare two sides. {_HOW}')
    sides = [_side(part, text, outputs) for part in (parts[0], parts[2])]
    units = [outputs[side.name].unit for side in sides if isinstance(side, _Side)]
    if not units:
        raise CallError(f'"{text}" names no output. There are {", ".join(outputs)}.')
    if len(set(units)) > 1:
        raise CallError(f'"{text}" compares {units[0]} with {units[1]}, which are different units.')
    left, right = (side if isinstance(side, _Side) else _number(side, units[0], text) for side in sides)
    return Statement(text.strip(), left, right, parts[1] in (">", ">="), parts[1] in (">", "<"), units[0])


def parse_statements(text: str, outputs: Outputs) -> dict[str, Statement]:
    """Parse statements divided by semicolons; return them by their texts."""
    found = [parse_statement(part, outputs) for part in text.split(";") if part.strip()]
    if not found:
        raise CallError(f"no statement is given. {_HOW}")
    return {statement.text: statement for statement in found}


def _side(text: str, whole: str, outputs: Outputs) -> _Side | str:
    """Parse a side: an output, or the text of a number."""
    plain = text.strip()
    absolute = False
    factor = 1.0
    around = re.fullmatch(rf"(?:({_NUMBER})\s*\*\s*)?(?:abs\((.*)\)|\|(.*)\|)", plain)
    if around:
        absolute, factor = True, float(around[1] or 1.0)
        plain = (around[2] if around[2] is not None else around[3]).strip()
    match = _SIDE.fullmatch(plain)
    if match is None:
        if absolute or not re.match(_NUMBER, plain):
            raise CallError(f'"{text.strip()}" in "{whole}" is neither an output nor a number. {_HOW}')
        return plain
    number, minus, name, labels, short = match.groups()
    factor *= float(number or 1.0) * (-1.0 if minus and not absolute else 1.0)
    if short:  # J(lt) is the field J_lt
        name = f"{name}_{short}"
    if name not in outputs:
        known = list(outputs)
        raise CallError(f'there is no output "{name}".{did_you_mean(name, known)} There are {", ".join(known)}.')
    return _Side(factor, name, _place(outputs[name], labels, whole), absolute)


def _place(output: Labelled, labels: str | None, whole: str) -> tuple[int, ...]:
    dims = [dim for dim in output.dims if dim != BATCH]
    given = [part.strip() for part in re.split(r",(?!\s*$)", labels)] if labels else []
    sizes = np.shape(output.values)[np.ndim(output.values) - len(dims) :] if dims else ()
    if not given and all(size == 1 for size in sizes):
        return (0,) * len(dims)
    example = ", ".join(_names(output, dim, size)[0] for dim, size in zip(dims, sizes, strict=True))
    if len(given) != len(dims):
        which = f"of {', '.join(dims)}: {output.name}[{example}]" if dims else "in no brackets: it is one number"
        raise CallError(f'"{whole}": write which {output.name}, {which}.')
    place = []
    for dim, size, label in zip(dims, sizes, given, strict=True):
        names = _names(output, dim, size)
        if label not in names:
            shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
            raise CallError(
                f'"{whole}": {output.name} has no {dim} "{label}".{did_you_mean(label, names)} There are {shown}.'
            )
        place.append(names.index(label))
    return tuple(place)


def _names(output: Labelled, dim: str, size: int) -> Sequence[str]:
    return list(output.labels.get(dim, ())) or [str(k) for k in range(size)]


def _number(text: str, unit: str, whole: str) -> _Side:
    try:
        return _Side(parse_quantity(text, unit).value)
    except InvalidData as error:
        raise CallError(f'"{whole}": {error}') from None
