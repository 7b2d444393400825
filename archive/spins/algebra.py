"""Angular momentum algebra of a few spins, reduced to multiplets.

Every operator of a spin model is a polynomial of scalar products S_i.S_j. Such an operator never leaves the
states of highest weight (M = S) of one total spin S, and has the same expectation value for all 2S+1 members of
a multiplet. So all numbers follow from the small space of highest-weight states: for six spin-1/2, matrices of
5, 9, 5 and 1 rows replace the 64 by 64 one, with SU(2) exact by construction.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import null_space

from barospec.archive.spins.outputs import Array
from barospec.schemas.errors import CallError

Pair = tuple[int, int]
DENSE_LIMIT = 1000
"""Largest number of product states of one M for which multiplets are built; beyond it, `lanczos`."""


@dataclass(frozen=True, slots=True, eq=False)
class Multiplets:
    """All multiplets of one total spin.

    Parameters
    ----------
    spin : float
        Total spin S; each multiplet has 2S+1 members.
    states : ndarray of int, shape (d,)
        Numbers of the product states with M = S.
    basis : ndarray, shape (d, n)
        Orthonormal highest-weight states; mirror-even ones first.
    pairs : dict of (i, j) to ndarray, shape (n, n)
        S_i.S_j for i < j.
    parities : ndarray of int, shape (n,)
        +1 or -1 under the mirror; 0 everywhere when there is none.
    """

    spin: float
    states: NDArray[np.intp]
    basis: Array
    pairs: dict[Pair, Array]
    parities: NDArray[np.int64]

    @property
    def blocks(self) -> list[tuple[int, slice]]:
        """Parity and position of each invariant block of a mirror-symmetric operator."""
        even, n = int(np.sum(self.parities > 0)), len(self.parities)
        if n and self.parities[0] == 0:
            return [(0, slice(0, n))]
        return [(p, s) for p, s in ((1, slice(0, even)), (-1, slice(even, n))) if s.stop > s.start]


def check_spins(spins: tuple[float, ...]) -> None:
    """Raise CallError unless all spins are 1/2, 1 or 3/2 (0 for a composite without spin).

    >>> check_spins((0.5, 1.0))
    """
    for spin in spins:
        if spin not in (0.0, 0.5, 1.0, 1.5):
            raise CallError(f"spin {spin} of a site is not supported. Choose 0.5, 1 or 1.5.")
    if not spins:
        raise CallError("a spin model needs at least one site.")


def site_operators(spin: float) -> tuple[Array, Array]:
    """Return S_z and S_+ of one spin, basis m = S, S-1, ..., -S, in units of hbar; each shape (2S+1, 2S+1).

    >>> site_operators(0.5)[1]
    array([[0., 1.],
           [0., 0.]])
    """
    m = np.arange(spin, -spin - 0.5, -1.0)
    raising = np.diag(np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), 1)
    return np.diag(m), raising


@lru_cache(maxsize=32)
def magnetization(spins: tuple[float, ...]) -> Array:
    """Return total M of each product state, shape (d,); the last site runs fastest.

    >>> magnetization((0.5, 0.5))
    array([ 1.,  0.,  0., -1.])
    """
    total = np.zeros(1)
    for spin in spins:
        total = np.add.outer(total, np.arange(spin, -spin - 0.5, -1.0)).ravel()
    return total


def embed(operator: Array, site: int, spins: tuple[float, ...]) -> sparse.csr_array:
    """Embed a one-site operator in the product space, shape (d, d).

    >>> embed(np.diag([0.5, -0.5]), 1, (0.5, 0.5)).diagonal()
    array([ 0.5, -0.5,  0.5, -0.5])
    """
    sizes = [round(2 * spin) + 1 for spin in spins]
    left, right = int(np.prod(sizes[:site])), int(np.prod(sizes[site + 1 :]))
    inner = sparse.kron(sparse.csr_array(operator), sparse.eye_array(right), format="csr")
    return sparse.csr_array(sparse.kron(sparse.eye_array(left), inner, format="csr"))


def pair_operator(i: int, j: int, spins: tuple[float, ...]) -> sparse.csr_array:
    """Return S_i.S_j in the product space, shape (d, d).

    >>> np.sort(np.linalg.eigvalsh(pair_operator(0, 1, (0.5, 0.5)).toarray())).round(12)
    array([-0.75,  0.25,  0.25,  0.25])
    """
    (z_i, up_i), (z_j, up_j) = (site_operators(spins[site]) for site in (i, j))
    flip = embed(up_i, i, spins) @ embed(up_j.T.copy(), j, spins)
    return sparse.csr_array(0.5 * (flip + flip.T) + embed(z_i, i, spins) @ embed(z_j, j, spins))


def raising_operator(spins: tuple[float, ...]) -> sparse.csr_array:
    """Return total S_+ in the product space, shape (d, d).

    >>> raising_operator((0.5,)).toarray()
    array([[0., 1.],
           [0., 0.]])
    """
    total = embed(site_operators(spins[0])[1], 0, spins)
    for site in range(1, len(spins)):
        total = total + embed(site_operators(spins[site])[1], site, spins)
    return sparse.csr_array(total)


def permuted_states(spins: tuple[float, ...], mirror: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the number of the mirror image of each product state, shape (d,).

    >>> permuted_states((0.5, 0.5), (1, 0))
    array([0, 2, 1, 3])
    """
    check_mirror(spins, mirror)
    sizes = [round(2 * spin) + 1 for spin in spins]
    numbers = np.arange(int(np.prod(sizes))).reshape(sizes)
    return np.asarray(numbers.transpose(mirror).ravel(), dtype=np.intp)


def check_mirror(spins: tuple[float, ...], mirror: tuple[int, ...]) -> None:
    """Raise CallError unless the mirror is an exchange of equal sites.

    >>> check_mirror((0.5, 1.0, 0.5), (2, 1, 0))
    """
    sites = range(len(spins))
    if sorted(mirror) != list(sites) or any(mirror[mirror[i]] != i for i in sites):
        raise CallError(f"mirror {mirror} must list each of the {len(spins)} sites once, and be its own inverse.")
    wrong = [i for i in sites if spins[mirror[i]] != spins[i]]
    if wrong:
        raise CallError(f"mirror {mirror} exchanges sites of different spin: {wrong}.")


@lru_cache(maxsize=32)
def multiplets(spins: tuple[float, ...], mirror: tuple[int, ...] | None = None) -> tuple[Multiplets, ...]:
    """Return highest-weight states and scalar products of a set of spins, by total spin.

    Parameters
    ----------
    spins : tuple of float
        Spin of each site.
    mirror : tuple of int, optional
        Image of each site under the mirror.

    Returns
    -------
    tuple of Multiplets
        One for each total spin, lowest first; cached.

    Raises
    ------
    CallError
        If a spin, the mirror, or the number of states is out of range.

    Notes
    -----
    The highest-weight states of spin S are the null space of S_+ among the product states with M = S. Its
    nonzero singular values are sqrt(S'(S'+1) - S(S+1)) >= sqrt(2), so the rank is never in doubt.

    Examples
    --------
    >>> [(group.spin, group.basis.shape[1]) for group in multiplets((0.5,) * 6)]
    [(0.0, 5), (1.0, 9), (2.0, 5), (3.0, 1)]
    """
    check_spins(spins)
    total = magnetization(spins)
    smallest = 0.0 if float(sum(spins)).is_integer() else 0.5
    largest = int(np.sum(np.isclose(total, smallest)))
    if largest > DENSE_LIMIT:
        raise CallError(
            f"{len(spins)} sites have {largest} states of one M, above {DENSE_LIMIT}: too many for all levels. "
            "Use lanczos.lowest_levels for the lowest ones."
        )
    raising = raising_operator(spins)
    pairs = {(i, j): pair_operator(i, j, spins) for i, j in itertools.combinations(range(len(spins)), 2)}
    exchange = None if mirror is None else permuted_states(spins, mirror)
    groups = []
    for spin in np.arange(smallest, sum(spins) + 0.25, 1.0):
        states = np.flatnonzero(np.isclose(total, spin))
        above = np.flatnonzero(np.isclose(total, spin + 1))
        basis = _kernel(raising, states, above)
        if basis.shape[1] == 0:
            continue
        basis, parities = _split(basis, states, exchange)
        reduced = {pair: basis.T @ (full[states][:, states] @ basis) for pair, full in pairs.items()}
        symmetric = {pair: 0.5 * (small + small.T) for pair, small in reduced.items()}
        groups.append(Multiplets(float(spin), states, basis, symmetric, parities))
    return tuple(groups)


def _kernel(raising: sparse.csr_array, states: NDArray[np.intp], above: NDArray[np.intp]) -> Array:
    if not len(above):
        return np.eye(len(states))
    return np.asarray(null_space(raising[above][:, states].toarray()), dtype=np.float64)


def _split(
    basis: Array, states: NDArray[np.intp], exchange: NDArray[np.intp] | None
) -> tuple[Array, NDArray[np.int64]]:
    """Return the basis with mirror-even states first, and the parities."""
    if exchange is None:
        return basis, np.zeros(basis.shape[1], dtype=np.int64)
    place = np.searchsorted(states, exchange[states])
    signs, rotation = np.linalg.eigh(basis.T @ basis[place])
    order = np.argsort(-signs, kind="stable")
    return basis @ rotation[:, order], np.rint(signs[order]).astype(np.int64)


def product(group: Multiplets, factors: tuple[Pair, ...], spins: tuple[float, ...]) -> Array:
    """Return the mean of the products (S_i.S_j)(S_k.S_l)... in all orders, among the highest-weight states, shape (n, n).

    All orders, because one order alone would prefer some sites to others. No factor gives the identity, equal
    indices give S_i.S_i = s(s+1).

    >>> group = multiplets((0.5, 0.5))[0]
    >>> product(group, ((0, 1), (0, 1)), (0.5, 0.5))
    array([[0.5625]])
    """
    scale, pairs = 1.0, []
    for i, j in factors:
        if i == j:
            scale *= spins[i] * (spins[i] + 1)
        else:
            pairs.append((min(i, j), max(i, j)))
    orders = set(itertools.permutations(pairs))
    total = np.zeros((len(group.parities),) * 2)
    for order in orders:
        matrix = np.eye(len(group.parities))
        for pair in order:
            matrix = matrix @ group.pairs[pair]
        total += matrix
    return scale * 0.5 * (total + total.T) / len(orders)
