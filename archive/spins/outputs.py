"""Outputs of all spin functions: plain arrays with dims, unit and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

BOLTZMANN = 8.617333262145179e-5
"""Boltzmann constant in eV/K (exact in the SI of 2019, from k and e)."""

BATCH = "..."
"""Placeholder in `Labelled.dims` for the axes of the caller's grid (pressure, temperature, ratio)."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled numpy array; the caller replaces ``"..."`` by the names of its own axes.

    Parameters
    ----------
    name : str
        The field's term for it.
    values : ndarray
        Numbers; NaN where unknown.
    dims : tuple of str
        Names of the axes, the first being ``"..."`` for the grid of parameters and temperatures.
    unit : str
        ``eV``, ``K``, ``1``, ... as in the vocabulary.
    meaning : str
        One sentence.
    labels : mapping of str to tuple of str
        Coordinate labels of the named axes.

    Examples
    --------
    >>> Labelled("gap", np.array([0.07]), ("...",), "eV", "Distance to the next level.").axes(["pressure"])
    ('pressure',)
    """

    name: str
    values: NDArray[np.generic]
    dims: tuple[str, ...]
    unit: str
    meaning: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def axes(self, grid: list[str] | tuple[str, ...]) -> tuple[str, ...]:
        """Return all axis names, with those of the caller's grid in place of ``"..."``."""
        return tuple(name for dim in self.dims for name in (tuple(grid) if dim == BATCH else (dim,)))


Outputs = dict[str, Labelled]


def collect(*outputs: Labelled) -> Outputs:
    """Return outputs keyed by their names, in order.

    >>> list(collect(Labelled("gap", np.array([0.07]), ("...",), "eV", "Distance to the next level.")))
    ['gap']
    """
    return {output.name: output for output in outputs}


def as_array(values: ArrayLike) -> Array:
    """Return the values as an array of floats.

    >>> as_array([1, 2])
    array([1., 2.])
    """
    return np.asarray(values, dtype=np.float64)
