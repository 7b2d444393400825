"""Lowest levels of models that are too large for all levels: up to about fourteen spins 1/2.

The Hamiltonian is a sparse matrix among the product states with the smallest M, where each multiplet appears once, split by
the mirror. ARPACK may miss copies of a degenerate level; after convergence, the found states are shifted up in
energy and the search is repeated until no new level is below.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from barospec.archive.spins.algebra import Pair, magnetization, pair_operator, permuted_states
from barospec.archive.spins.models import SpinModel, complete_parameters
from barospec.archive.spins.observables import label_correlations
from barospec.archive.spins.outputs import BATCH, Array, Labelled, Outputs, as_array, collect
from barospec.archive.spins.solve import DEGENERACY_TOLERANCE, average, boltzmann_weights, check_temperature
from barospec.schemas.errors import CallError

LARGEST = 20_000
"""Largest number of product states of one M (14 spins 1/2 have 3432)."""
_ROUNDS = 20
_EXTRA = 6  # levels beyond the requested ones, so that a degenerate group is seldom cut


def lowest_levels(model: SpinModel, parameters: Mapping[str, float], count: int = 10) -> Outputs:
    """Compute the lowest levels with total spin and parity, and the ground multiplet's correlations.

    Parameters
    ----------
    model : SpinModel
        Sites and interactions, without limit on the kind.
    parameters : mapping of str to float
        One set, in eV.
    count : int
        Number of multiplets.

    Returns
    -------
    dict of Labelled
        ``energy`` (level,) in eV, ``total_spin`` (NaN where the count cuts through a degenerate group),
        ``parity`` (0 without mirror), all ascending in energy; then
        ``spin_correlation``, ``layer_correlation`` and ``local_moment`` at T = 0, as in `spin_correlations`.

    Raises
    ------
    CallError
        For parameters that are not single finite numbers, too many states, `count` below 1, or an iteration that
        does not converge.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> found = lowest_levels(trilayer(), {"J_H": 0.63, "J_ZZ": 0.36}, 2)
    >>> found["energy"].values.round(10), found["total_spin"].values
    (array([-0.77273626, -0.7003016 ]), array([1., 0.]))
    """
    energies, spins, parities, pairs = _levels(model, parameters, count)
    ground = energies <= energies[0] + DEGENERACY_TOLERANCE
    weights = np.where(ground, 2 * spins + 1, 0.0)  # NaN if the ground group is cut
    matrix = _matrix(model, average(weights / weights.sum(), pairs))
    return collect(
        Labelled("energy", energies, ("level",), "eV", "Energy of each multiplet, lowest first."),
        Labelled("total_spin", spins, ("level",), "1", "Total spin S of the multiplet."),
        Labelled("parity", parities, ("level",), "1", "Parity under the mirror."),
        *label_correlations(model, matrix).values(),
    )


def thermal_correlations(
    model: SpinModel,
    parameters: Mapping[str, float],
    temperature: ArrayLike,
    count: int = 30,
    *,
    accuracy: float = 1e-6,
) -> Outputs:
    """Compute correlations at low temperatures from the lowest levels; NaN where missing levels could matter.

    Parameters
    ----------
    model, parameters, count
        As in `lowest_levels`.
    temperature : array, shape (...)
        In K.
    accuracy : float
        Maximum total weight of all missing states.

    Returns
    -------
    dict of Labelled
        ``spin_correlation``, ``layer_correlation``, ``local_moment`` as in `spin_correlations`, and
        ``missing_weight`` (...), an upper limit of the missing states' weight; above `accuracy` the rest is NaN.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> found = thermal_correlations(trilayer(), {"J_H": 0.63, "J_ZZ": 0.36}, [10.0, 5000.0], 4)
    >>> found["missing_weight"].values > 1e-6
    array([False,  True])
    """
    energies, spins, _, pairs = _levels(model, parameters, count)
    kelvin = check_temperature(temperature)
    if np.any(np.isnan(spins)):
        raise CallError(f"{count} levels cut through a large degenerate group. Ask for a few more.")
    degeneracies = 2 * spins + 1
    states = float(np.prod([2 * spin + 1 for spin in model.spins]))
    missing = states - float(degeneracies.sum())
    # Every missing state is at or above the highest level found.
    spectrum = np.append(energies, energies[-1])
    bound = boltzmann_weights(spectrum, np.append(degeneracies, max(missing, 0.0)), kelvin)[..., -1]
    bound = np.where(missing > 0.5, bound, 0.0 * bound)
    weights = boltzmann_weights(energies, degeneracies, kelvin)
    values = average(weights, pairs)
    matrix = _matrix(model, np.where((bound <= accuracy)[..., None], values, np.nan))
    return collect(
        *label_correlations(model, matrix).values(),
        Labelled("missing_weight", bound, (BATCH,), "1", "Upper limit of the weight of all levels not computed."),
    )


def _matrix(model: SpinModel, values: Array) -> Array:
    n = len(model.sites)
    matrix = np.empty((*values.shape[:-1], n, n))
    for k, (i, j) in enumerate(itertools.combinations(range(n), 2)):
        matrix[..., i, j] = matrix[..., j, i] = values[..., k]
    known = ~np.isnan(values).any(axis=-1)
    for i, spin in enumerate(model.spins):
        matrix[..., i, i] = np.where(known, spin * (spin + 1), np.nan)
    return matrix


def _levels(
    model: SpinModel, parameters: Mapping[str, float], count: int
) -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Compute energies, spins, parities and <S_i.S_j> (levels, pairs) of the lowest `count` multiplets."""
    values, shape = complete_parameters(model.parameters, parameters)
    if shape != () or not all(np.isfinite(value) for value in values):
        raise CallError("lanczos takes one finite number for each parameter; call it once for each point of a grid.")
    if count < 1:
        raise CallError(f"{count} levels cannot be computed; ask for 1 or more.")
    spins = model.spins
    total = magnetization(spins)
    states = np.flatnonzero(np.isclose(total, np.min(np.abs(total))))
    if len(states) > LARGEST:
        raise CallError(f"{len(spins)} sites have {len(states)} states of one M; {LARGEST} is the most.")
    all_pairs = list(itertools.combinations(range(len(spins)), 2))
    pairs = {pair: sparse.csr_array(pair_operator(*pair, spins)[states][:, states]) for pair in all_pairs}
    hamiltonian = _hamiltonian(model, values, pairs, len(states))
    scalar = sum(s * (s + 1) for s in spins) * sparse.eye_array(len(states), format="csr")
    square = sparse.csr_array(sum((2 * pair for pair in pairs.values()), scalar))
    found: list[tuple[float, float, int, Array]] = []
    for parity, basis in _parity_bases(model, states):
        energies, vectors = _lowest(sparse.csr_array(basis.T @ hamiltonian @ basis), count + _EXTRA)
        vectors = _sharp_spin(energies, basis @ vectors, square)
        moment = np.sum(vectors * np.asarray(square @ vectors), axis=0)
        twice = np.sqrt(1 + 4 * moment) - 1
        # A degenerate group cut by the count has no sharp spin.
        total_spin = np.where(np.abs(twice - np.rint(twice)) < 1e-5, np.abs(np.rint(twice)) / 2, np.nan)
        for k, energy in enumerate(energies):
            found.append((float(energy), float(total_spin[k]), parity, vectors[:, k]))
    found = sorted(found, key=lambda level: level[0])[:count]
    correlations = [[float(v @ (pair @ v)) for pair in pairs.values()] for *_, v in found]
    energy, spin, parities, _ = zip(*found, strict=True)
    return as_array(energy), as_array(spin), np.array(parities, dtype=np.int64), as_array(correlations)


def _hamiltonian(
    model: SpinModel, values: list[Array], pairs: Mapping[Pair, sparse.csr_array], size: int
) -> sparse.csr_array:
    total = sparse.csr_array((size, size))
    for interaction, value in zip(model.interactions, values, strict=True):
        for factor, factors in interaction.terms:
            orders = set(itertools.permutations(factors))
            for order in orders:
                operator = sparse.eye_array(size, format="csr") * (float(value) * factor / len(orders))
                for i, j in order:
                    spin = model.spins[i]
                    operator = operator * (spin * (spin + 1)) if i == j else operator @ pairs[min(i, j), max(i, j)]
                total = total + operator
    return sparse.csr_array(0.5 * (total + total.T))


def _parity_bases(model: SpinModel, states: NDArray[np.intp]) -> list[tuple[int, sparse.csr_array]]:
    size = len(states)
    if model.mirror is None:
        return [(0, sparse.eye_array(size, format="csr"))]
    partner = np.searchsorted(states, permuted_states(model.spins, model.mirror)[states])
    bases = []
    for parity in (1, -1):
        kept = np.flatnonzero(partner >= np.arange(size) if parity > 0 else partner > np.arange(size))
        rows = np.concatenate([kept, partner[kept]])
        columns = np.tile(np.arange(len(kept)), 2)
        entries = np.concatenate([np.ones(len(kept)), np.full(len(kept), float(parity))])
        basis = sparse.csr_array((entries, (rows, columns)), shape=(size, len(kept)))
        norm = np.sqrt(np.asarray(basis.multiply(basis).sum(axis=0)).ravel())
        if len(kept):
            bases.append((parity, sparse.csr_array(basis @ sparse.diags_array(1 / norm))))
    return bases


def _lowest(matrix: sparse.csr_array, count: int) -> tuple[Array, Array]:
    """Compute the lowest `count` eigenpairs with every copy of a degenerate one."""
    size = matrix.shape[0]
    if size <= max(200, 3 * count):
        energies, vectors = np.linalg.eigh(matrix.toarray())
        return energies[:count], vectors[:, :count]
    # Gershgorin's bound: shifted states are above all others.
    lift = 2 * float(np.max(np.asarray(abs(matrix).sum(axis=1))))
    start = np.random.default_rng(0).standard_normal(size)
    energies, vectors = np.zeros(0), np.zeros((size, 0))
    for _ in range(_ROUNDS):
        known = vectors

        def apply(x: Array, known: Array = known) -> Array:
            return np.asarray(matrix @ x + lift * (known @ (known.T @ x)))

        operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
        try:
            new, more = eigsh(operator, k=count, which="SA", v0=start, ncv=min(size, 2 * count + 30), maxiter=5000)
        except ArpackError as error:
            raise CallError(f"the lowest levels did not converge ({error}). Ask for fewer levels.") from error
        if len(energies) >= count and new.min() > np.sort(energies)[count - 1] - DEGENERACY_TOLERANCE:
            break
        joined, _ = np.linalg.qr(np.hstack([vectors, more]))
        energies, rotation = np.linalg.eigh(joined.T @ (matrix @ joined))
        vectors = joined @ rotation
    else:
        raise CallError(
            f"levels kept appearing below the {count} lowest after {_ROUNDS} searches. Ask for more levels."
        )
    return energies[:count], vectors[:, :count]


def _sharp_spin(energies: Array, vectors: Array, square: sparse.csr_array) -> Array:
    """Return combinations of degenerate states that have one total spin each."""
    result = vectors.copy()
    edges = np.flatnonzero(np.diff(energies) > DEGENERACY_TOLERANCE) + 1
    for group in np.split(np.arange(len(energies)), edges):
        if len(group) > 1:
            part = vectors[:, group]
            _, rotation = np.linalg.eigh(part.T @ (square @ part))
            result[:, group] = part @ rotation
    return result
