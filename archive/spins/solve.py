"""Exact diagonalization over grids of parameters, and averages over the levels at any temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.spins.algebra import Multiplets
from barospec.archive.spins.models import SpinModel, complete_parameters, interaction_operators
from barospec.archive.spins.outputs import BOLTZMANN, Array, as_array
from barospec.schemas.errors import CallError

DEGENERACY_TOLERANCE = 1e-9
"""Levels within this distance (eV) of the lowest one form the ground multiplet."""
_CHUNK = 4096  # grid points whose density matrices are in memory at a time


@dataclass(frozen=True, slots=True)
class Block:
    """Levels of one total spin and parity.

    ``energies`` (..., n) in eV, ascending; ``vectors`` (..., n, n), one level per column, in the rows `rows` of
    the multiplets of that spin.
    """

    spin: float
    parity: int
    rows: slice
    energies: Array
    vectors: Array


@dataclass(frozen=True)
class Solution:
    """All levels of a model on a grid of parameters.

    Parameters
    ----------
    model : SpinModel
        The solved model.
    shape : tuple of int
        Of the grid.
    blocks : tuple of Block
        By total spin and parity.
    valid : ndarray of bool, shape `shape`
        False where a parameter is not finite: all results there are NaN.
    """

    model: SpinModel
    shape: tuple[int, ...]
    blocks: tuple[Block, ...]
    valid: NDArray[np.bool_]

    @cached_property
    def energies(self) -> Array:
        """Energies of all levels in eV, shape (..., levels), in the order of the blocks; NaN where not valid."""
        joined = np.concatenate([block.energies for block in self.blocks], axis=-1)
        return np.where(self.valid[..., None], joined, np.nan)

    @cached_property
    def spins(self) -> Array:
        """Total spin of each level, shape (levels,)."""
        return np.concatenate([np.full(block.energies.shape[-1], block.spin) for block in self.blocks])

    @cached_property
    def parities(self) -> NDArray[np.int64]:
        """Parity of each level, shape (levels,); 0 when the model has no mirror."""
        return np.concatenate([np.full(block.energies.shape[-1], block.parity) for block in self.blocks])

    @cached_property
    def degeneracies(self) -> Array:
        """2S+1 of each level, shape (levels,)."""
        return 2 * self.spins + 1

    def per_level(self, operators: Callable[[Multiplets], Array]) -> Array:
        """Compute expectation values in each level.

        Parameters
        ----------
        operators : callable
            Gives, for the multiplets of one total spin, k operators as an array (k, n, n).

        Returns
        -------
        ndarray, shape (..., levels, k)
        """
        groups = {group.spin: operators(group) for group in self.model.multiplets()}
        parts = []
        for block in self.blocks:
            inner = groups[block.spin][:, block.rows, block.rows]
            n = inner.shape[-1]
            vectors = np.swapaxes(block.vectors, -1, -2).reshape(-1, n, n)
            flat = inner.reshape(len(inner), n * n).T
            values = np.empty((*vectors.shape[:2], len(inner)))
            for k in range(0, len(vectors), _CHUNK):
                some = vectors[k : k + _CHUNK]
                values[k : k + _CHUNK] = (some[..., :, None] * some[..., None, :]).reshape(
                    *some.shape[:2], n * n
                ) @ flat
            parts.append(values.reshape(*self.shape, n, len(inner)))
        return np.concatenate(parts, axis=-2)


def solve(model: SpinModel, parameters: Mapping[str, ArrayLike]) -> Solution:
    """Compute all levels of a spin model over a grid of parameters.

    Parameters
    ----------
    model : SpinModel
        Sites and interactions.
    parameters : mapping of str to array
        Values in eV; the arrays broadcast, and their common shape is the grid ``(...)``.

    Returns
    -------
    Solution
        Levels by total spin and parity.

    Raises
    ------
    CallError
        For missing or unknown parameters, shapes that do not broadcast, or too many spins.

    Examples
    --------
    >>> from barospec.archive.spins.models import bilayer
    >>> solution = solve(bilayer(), {"J_H": 0.63, "J_ZZ": [0.36, 0.66]})
    >>> solution.energies.shape
    (2, 6)
    """
    values, shape = complete_parameters(model.parameters, parameters)
    grid = np.stack([np.broadcast_to(value, shape) for value in values], axis=-1) if values else np.zeros((*shape, 0))
    valid = np.all(np.isfinite(grid), axis=-1)
    grid = np.where(valid[..., None], grid, 0.0)
    blocks = []
    for group, operators in zip(model.multiplets(), interaction_operators(model), strict=True):
        for parity, rows in group.blocks:
            inner = operators[:, rows, rows]
            n = inner.shape[-1]
            matrix = (grid @ inner.reshape(len(inner), n * n)).reshape(*shape, n, n)
            energies, vectors = np.linalg.eigh(matrix)
            blocks.append(Block(group.spin, parity, rows, energies, vectors))
    return Solution(model, shape, tuple(blocks), valid)


def check_temperature(temperature: ArrayLike) -> Array:
    """Return temperatures in K as an array; refuse negative ones; NaN stays NaN.

    >>> check_temperature([0, 300])
    array([  0., 300.])
    """
    kelvin = as_array(temperature)
    if np.any(kelvin < 0):
        raise CallError(f"temperature {kelvin[kelvin < 0].min():g} K is below absolute zero.")
    return kelvin


def boltzmann_weights(
    energies: Array, degeneracies: ArrayLike, temperature: ArrayLike, tolerance: float = DEGENERACY_TOLERANCE
) -> Array:
    """Return the probability of each level, its degeneracy included.

    Parameters
    ----------
    energies : ndarray, shape (..., levels)
        In eV.
    degeneracies : array, shape (levels,)
        Number of states of each level.
    temperature : array
        In K; broadcasts against the grid. 0 is the equal mixture of all states within `tolerance` of the lowest.
    tolerance : float
        Degeneracy tolerance in eV.

    Returns
    -------
    ndarray, shape (..., levels)
        Sums to 1; NaN where an energy or the temperature is.

    Notes
    -----
    Only differences to the lowest level enter an exponential, so nothing overflows: 1 mK and 10^6 K are alike.

    Examples
    --------
    >>> boltzmann_weights(np.array([0.0, 0.0, 1.0]), [1, 3, 1], 0.0)
    array([0.25, 0.75, 0.  ])
    """
    kelvin = check_temperature(temperature)
    energies = as_array(energies)
    try:
        np.broadcast_shapes(energies.shape[:-1], kelvin.shape)
    except ValueError:
        raise CallError(
            f"temperatures of shape {kelvin.shape} do not broadcast against the grid {energies.shape[:-1]}. "
            "Give either a length-1 axis for the other, such as J_ZZ[:, None] and temperature[None, :]."
        ) from None
    excitation = energies - np.min(energies, axis=-1, keepdims=True)
    thermal = BOLTZMANN * kelvin[..., None]
    cold = thermal == 0  # at the very bottom of the floating range k_B T itself vanishes
    with np.errstate(over="ignore", under="ignore"):
        warm = np.exp(-excitation / np.where(cold, 1.0, thermal))
    ground = np.where(np.isnan(excitation), np.nan, excitation <= tolerance)
    weights = as_array(degeneracies) * np.where(cold, ground, warm)
    normalized: Array = weights / np.sum(weights, axis=-1, keepdims=True)
    return normalized


def average(weights: Array, values: Array) -> Array:
    """Return the weighted mean over levels: weights (..., levels) and values (..., levels, k) give (..., k).

    >>> average(np.array([0.25, 0.75]), np.array([[1.0], [2.0]]))
    array([1.75])
    """
    return np.asarray((weights[..., None, :] @ values)[..., 0, :], dtype=np.float64)


def thermal_average(
    solution: Solution,
    operators: Callable[[Multiplets], Array],
    temperature: ArrayLike,
    tolerance: float = DEGENERACY_TOLERANCE,
) -> Array:
    """Compute thermal expectation values of k operators, shape (..., k).

    The grid of the solution and the temperatures broadcast; the diagonalization is not repeated along temperature.
    """
    weights = boltzmann_weights(solution.energies, solution.degeneracies, temperature, tolerance)
    return average(weights, solution.per_level(operators))


def pair_stack(pairs: Sequence[tuple[int, int]]) -> Callable[[Multiplets], Array]:
    """Return the operators S_i.S_j of the given pairs (i < j), for `thermal_average`."""

    def stack(group: Multiplets) -> Array:
        n = len(group.parities)
        return np.stack([group.pairs[pair] for pair in pairs]) if pairs else np.zeros((0, n, n))

    return stack
