"""Effective Hamiltonians: exact canonical transformation of a model to the spins of a low-energy model space.

The transformation is done in each block of total spin and parity, so SU(2) and the mirror hold exactly; the result is
decomposed in a complete basis of invariants, so the residual is rounding only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.spins.algebra import multiplets
from barospec.archive.spins.canonical import Exact, Selection, transform
from barospec.archive.spins.composites import Embedding, Picture, embedding
from barospec.archive.spins.invariants import Basis, decompose, invariant_basis
from barospec.archive.spins.models import Interaction, Site, SpinModel
from barospec.archive.spins.outputs import BATCH, Array, Labelled, Outputs, collect
from barospec.archive.spins.solve import Block, Solution, solve
from barospec.schemas.errors import CallError

SMALL_WEIGHT = 0.5
"""Least model-space weight of a chosen state; states below are flagged."""
_SYMMETRY_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Reduced:
    """H_eff among the highest-weight states of the effective spins, without labels.

    ``matrices`` and ``first_order`` are (..., k_S, k_S) in eV for each total spin of `spins`; ``smallest_weight``
    and ``smallest_singular`` (...); ``rules_differ`` (...); ``top`` (...), energy in eV of the highest chosen state.
    """

    labels: tuple[str, ...]
    spins: tuple[float, ...]
    matrices: tuple[Array, ...]
    first_order: tuple[Array, ...]
    smallest_weight: Array
    smallest_singular: Array
    rules_differ: NDArray[np.bool_]
    top: Array


def reduce_blocks(
    blocks: Sequence[Block],
    parities: Mapping[float, NDArray[np.int64]],
    target: Embedding,
    valid: NDArray[np.bool_],
    selection: Selection,
) -> Reduced:
    """Transform every symmetry block and join them by total spin.

    Parameters
    ----------
    blocks : sequence of Block
        Exact levels, rows as in `target`.
    parities : mapping of float to ndarray
        Parity of each row, by total spin (0 without mirror).
    target : Embedding
        Model space.
    valid : ndarray of bool, shape (...)
        True where the levels are defined.
    selection : {"lowest", "overlap"}
        See `canonical.transform`.

    Raises
    ------
    CallError
        If the low-energy model space breaks the mirror of the model.
    """
    shape = valid.shape
    groups = multiplets(target.spins)
    rotations = {g.spin: _parity_rotation(target.columns[g.spin], parities[g.spin]) for g in groups}
    size = {g.spin: len(g.parities) for g in groups}
    matrices = {spin: np.zeros((*shape, k, k)) for spin, k in size.items()}
    first = {spin: np.zeros((*shape, k, k)) for spin, k in size.items()}
    weight, singular, top = np.ones(shape), np.ones(shape), np.full(shape, -np.inf)
    differ = np.zeros(shape, dtype=bool)
    for block in blocks:
        rotation = rotations.get(block.spin, {}).get(block.parity)
        if rotation is None or not rotation.shape[1]:
            continue
        columns = target.columns[block.spin][block.rows] @ rotation
        result = transform(Exact(block.energies, block.vectors, columns), selection)
        matrices[block.spin] += rotation @ result.matrix @ rotation.T
        first[block.spin] += rotation @ result.first_order @ rotation.T
        weight = np.minimum(weight, result.weights.min(axis=-1))
        singular = np.minimum(singular, result.singular)
        differ |= result.rules_differ
        top = np.maximum(top, result.energies[..., -1])
    lost = ~valid
    return Reduced(
        labels=target.labels,
        spins=target.spins,
        matrices=tuple(np.where(lost[..., None, None], np.nan, matrices[g.spin]) for g in groups),
        first_order=tuple(np.where(lost[..., None, None], np.nan, first[g.spin]) for g in groups),
        smallest_weight=np.where(lost, np.nan, weight),
        smallest_singular=np.where(lost, np.nan, singular),
        rules_differ=differ & valid,
        top=np.where(lost, np.nan, top),
    )


def _parity_rotation(columns: Array, parities: NDArray[np.int64]) -> dict[int, Array]:
    """Return the combinations of the model space's columns of each parity."""
    if not len(parities) or parities[0] == 0:
        return {0: np.eye(columns.shape[1])}
    signs, rotation = np.linalg.eigh(columns.T @ (parities[:, None] * columns))
    if np.any(np.abs(np.abs(signs) - 1) > _SYMMETRY_TOLERANCE):
        raise CallError(
            "the composites are not symmetric under the model's mirror. Use a model with mirror=None, or "
            "composites that map onto each other."
        )
    return {1: rotation[:, signs > 0], -1: rotation[:, signs < 0]}


def reduce_model(solution: Solution, picture: Picture, selection: Selection = "lowest") -> Reduced:
    """Compute H_eff of a solved spin model in a low-energy model space; `effective_hamiltonian` labels it."""
    target = embedding(solution.model, picture)
    parities = {group.spin: group.parities for group in solution.model.multiplets()}
    return reduce_blocks(solution.blocks, parities, target, solution.valid, selection)


def effective_hamiltonian(
    model: SpinModel,
    parameters: Mapping[str, ArrayLike],
    picture: Picture,
    *,
    selection: Selection = "lowest",
    basis: Basis = "tensor",
) -> Outputs:
    """Compute couplings between the spins of a low-energy model space, exact and to first order.

    Parameters
    ----------
    model : SpinModel
        Sites and interactions.
    parameters : mapping of str to array
        In eV, on the grid ``(...)``.
    picture : Picture
        Such as ``PICTURES["trilayer"]["trimer"]``.
    selection : {"lowest", "overlap"}
        Exact states of the effective model, in each block of total spin and parity.
    basis : {"tensor", "polynomial", "product"}
        Operator basis of the coefficients, see `invariants`.

    Returns
    -------
    dict of Labelled
        ``coupling`` and ``first_order`` (..., invariant) in eV, the second from P H P; ``residual`` (...) in eV, root
        mean square of the residual of the invariants; ``smallest_weight`` (...), the least weight in the model
        space of a chosen state; ``smallest_singular`` (...), of any combination of them; ``weight_below_half``
        (...), 1 where the smallest weight is below 0.5; ``rules_differ`` (...), 1 where the other rule selects
        other states. Couplings are NaN where a parameter is, or where a model state has no counterpart.

    Raises
    ------
    CallError
        For unknown names, or a low-energy model space that does not fit the model.

    Examples
    --------
    >>> from barospec.archive.spins.composites import PICTURES
    >>> from barospec.archive.spins.models import bilayer
    >>> found = effective_hamiltonian(bilayer(), {"J_H": 0.63, "J_ZZ": 0.36}, PICTURES["bilayer"]["dimer"])
    >>> found["coupling"].labels["invariant"], found["coupling"].values.round(6)
    (('1', 'Xu.Xl'), array([-0.467522,  0.05888 ]))
    """
    return label_effective(reduce_model(solve(model, parameters), picture, selection), basis)


def label_effective(reduced: Reduced, basis: Basis) -> Outputs:
    """Return the outputs of `effective_hamiltonian` for a transformed operator."""
    complete = invariant_basis(reduced.spins, basis)
    coupling, residual = decompose(complete, reduced.matrices)
    first, _ = decompose(complete, reduced.first_order)
    labels = {"invariant": complete.names(reduced.labels)}
    dims = (BATCH, "invariant")
    lost = np.isnan(reduced.smallest_weight)
    below = np.where(lost, np.nan, reduced.smallest_weight < SMALL_WEIGHT)
    differ = np.where(lost, np.nan, reduced.rules_differ)
    return collect(
        Labelled("coupling", coupling, dims, "eV", f"Coefficient of each invariant ({basis} basis).", labels),
        Labelled("first_order", first, dims, "eV", f"Coefficient to first order, from P H P ({basis} basis).", labels),
        Labelled("residual", residual, (BATCH,), "eV", "Root mean square of the residual of the invariants."),
        Labelled(
            "smallest_weight", reduced.smallest_weight, (BATCH,), "1", "Least model-space weight of a chosen state."
        ),
        Labelled(
            "smallest_singular", reduced.smallest_singular, (BATCH,), "1", "Least weight of any combination of them."
        ),
        Labelled("weight_below_half", below, (BATCH,), "1", "1 where the smallest weight is below one half."),
        Labelled("rules_differ", differ, (BATCH,), "1", "1 where lowest and maximum-overlap states differ."),
    )


def coupling(outputs: Outputs, invariant: str, which: str = "coupling") -> Array:
    """Return one coefficient by name, shape (...), in eV; factors may be written in either order.

    Raises
    ------
    CallError
        For an unknown name; the message lists the names.

    Examples
    --------
    >>> from barospec.archive.spins.composites import PICTURES
    >>> from barospec.archive.spins.models import trilayer
    >>> picture = PICTURES["trilayer"]["spin_1"]
    >>> found = effective_hamiltonian(trilayer(), {"J_H": 0.63, "J_ZZ": 0.36}, picture, basis="polynomial")
    >>> round(float(coupling(found, "Sm.Su")), 4)
    0.1131
    """
    names = outputs[which].labels["invariant"]
    for name in (invariant, ".".join(reversed(invariant.split(".")))):
        if name in names:
            return np.asarray(outputs[which].values[..., names.index(name)], dtype=np.float64)
    raise CallError(f'there is no invariant "{invariant}"; there are {", ".join(names)}.')


def effective_model(reduced: Reduced, mirror: tuple[int, ...] | None = None) -> tuple[SpinModel, dict[str, Array]]:
    """Return the effective Hamiltonian as a separate spin model, with its parameters (``product`` basis).

    Every function for spin models then applies to it: levels, correlations of the effective spins, thermodynamics, and
    the next canonical transformation.

    Parameters
    ----------
    reduced : Reduced
        From `reduce_model` or `electrons.reduce_cluster`.
    mirror : tuple of int, optional
        Image of each effective spin; mirrored invariants then share a parameter, named by the first.

    Raises
    ------
    CallError
        If the couplings do not have that mirror.

    Examples
    --------
    >>> from barospec.archive.spins.composites import PICTURES
    >>> from barospec.archive.spins.models import trilayer
    >>> solution = solve(trilayer(), {"J_H": 0.57, "J_ZZ": 0.66})
    >>> model, parameters = effective_model(reduce_model(solution, PICTURES["trilayer"]["trimer"]))
    >>> bool(abs(solve(model, parameters).energies.min() - solution.energies.min()) < 1e-12)
    True
    """
    complete = invariant_basis(reduced.spins, "product")
    names = complete.names(reduced.labels)
    values, _ = decompose(complete, reduced.matrices)
    seat = tuple(range(len(reduced.spins))) if mirror is None else mirror
    orbits: dict[int, list[int]] = {}
    for k, graph in enumerate(complete.graphs):
        partner = complete.index(tuple((seat[i], seat[j]) for i, j in graph))
        orbits.setdefault(min(k, partner), []).append(k)
        if np.any(np.abs(values[..., k] - values[..., partner]) > _SYMMETRY_TOLERANCE):
            raise CallError(f"{names[k]} and {names[partner]} differ: the couplings do not have the mirror {mirror}.")
    sites = tuple(Site(label, spin) for label, spin in zip(reduced.labels, reduced.spins, strict=True))
    interactions = tuple(
        Interaction(names[first], tuple((1.0, complete.graphs[k]) for k in members))
        for first, members in orbits.items()
    )
    return SpinModel(sites, interactions, mirror), {names[first]: values[..., first] for first in orbits}
