"""The canonical transformation of des Cloizeaux (symmetric Loewdin), batched, one symmetry block at a time.

With model space P, exact states Psi chosen with the model space's count, and O = P^T Psi = u s v^T, the
Hamiltonian H_eff = W E W^T with W = u v^T is Hermitian, has exactly the energies of Psi, and is the least change
of basis that does so (J. des Cloizeaux, Nucl. Phys. 20, 321 (1960)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barospec.archive.spins.outputs import Array
from barospec.schemas.errors import CallError

Selection = Literal["lowest", "overlap"]
SELECTIONS: tuple[Selection, ...] = ("lowest", "overlap")
SINGULAR = 1e-12
"""Below this weight a model-space state has no counterpart among the chosen states: NaN."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Exact states of one symmetry block, and its model space.

    ``energies`` (..., n) in eV, ascending; ``vectors`` (..., n, n), states in columns; ``columns`` (n, k), orthonormal.
    """

    energies: Array
    vectors: Array
    columns: Array


@dataclass(frozen=True, slots=True)
class Transformed:
    """Result of `transform` in one block.

    ``matrix`` (..., k, k) in eV; ``energies`` (..., k) and ``weights`` (..., k) of the chosen states, lowest
    first; ``singular`` (...), smallest weight of any combination of them, min(s)^2; ``first_order`` (..., k, k) in
    eV; ``chosen`` (..., k), numbers of the states; ``rules_differ`` (...), true if the other rule chooses others.
    """

    matrix: Array
    energies: Array
    weights: Array
    singular: Array
    first_order: Array
    chosen: NDArray[np.intp]
    rules_differ: NDArray[np.bool_]


def transform(block: Exact, selection: Selection) -> Transformed:
    """Compute H_eff of one symmetry block.

    Parameters
    ----------
    block : Exact
        Exact states and model space.
    selection : {"lowest", "overlap"}
        The exact states of the effective model: the lowest ones, or those with the largest weight in the model space.

    Raises
    ------
    CallError
        For an unknown rule, or a model space larger than the block.

    Examples
    --------
    >>> energies, vectors = np.linalg.eigh(np.array([[0.0, 0.1], [0.1, 1.0]]))
    >>> result = transform(Exact(energies, vectors, np.eye(2)[:, :1]), "lowest")
    >>> bool(abs(result.matrix[0, 0] - energies[0]) < 1e-15)
    True
    """
    if selection not in SELECTIONS:
        raise CallError(f'state selection "{selection}" is not one of {", ".join(SELECTIONS)}.')
    n, k = block.columns.shape
    if k > n:
        raise CallError(f"the model space has {k} states in a symmetry block of {n}: it cannot be embedded.")
    overlaps = block.columns.T @ block.vectors
    weights = np.sum(overlaps**2, axis=-2)
    # Energy decides ties: the sort is stable and states are sorted by energy.
    best = np.sort(np.argsort(-np.round(weights, 12), axis=-1, kind="stable")[..., :k], axis=-1)
    lowest = np.broadcast_to(np.arange(k), best.shape)
    chosen = lowest if selection == "lowest" else best
    energies = np.take_along_axis(block.energies, chosen, axis=-1)
    u, s, vt = np.linalg.svd(np.take_along_axis(overlaps, chosen[..., None, :], axis=-1))
    rotation = u @ vt
    matrix = (rotation * energies[..., None, :]) @ np.swapaxes(rotation, -1, -2)
    singular = np.min(s, axis=-1, initial=1.0) ** 2
    matrix = np.where((singular > SINGULAR)[..., None, None], 0.5 * (matrix + np.swapaxes(matrix, -1, -2)), np.nan)
    return Transformed(
        matrix=matrix,
        energies=energies,
        weights=np.take_along_axis(weights, chosen, axis=-1),
        singular=singular,
        first_order=(overlaps * block.energies[..., None, :]) @ np.swapaxes(overlaps, -1, -2),
        chosen=chosen,
        rules_differ=np.any(best != lowest, axis=-1),
    )
