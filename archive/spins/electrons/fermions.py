"""Second quantization of a few orbitals: the operators of a Hamiltonian within fixed numbers of up and down.

A state is |up, down> with all up creators to the left, orbitals ascending. Every term of the Hamiltonians here is made
of E_ab = c+_a c_b of one spin direction, which keeps both numbers.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from barospec.archive.spins.outputs import Array

Sparse = sparse.csr_array


@lru_cache(maxsize=64)
def occupations(orbitals: int, count: int) -> tuple[tuple[int, ...], ...]:
    """Return all occupations of the orbitals by `count` particles of one spin direction.

    >>> occupations(3, 2)
    ((0, 1), (0, 2), (1, 2))
    """
    return tuple(itertools.combinations(range(orbitals), count))


@lru_cache(maxsize=256)
def annihilator(orbitals: int, count: int, orbital: int) -> Sparse:
    """Return c_a from `count` particles to one less, shape (states with one less, states).

    >>> annihilator(2, 2, 1).toarray()
    array([[-1.],
           [ 0.]])
    """
    before, after = occupations(orbitals, count), occupations(orbitals, count - 1)
    place = {state: k for k, state in enumerate(after)}
    rows, columns, signs = [], [], []
    for column, state in enumerate(before):
        if orbital in state:
            at = state.index(orbital)
            rows.append(place[state[:at] + state[at + 1 :]])
            columns.append(column)
            signs.append((-1.0) ** at)
    return Sparse((signs, (rows, columns)), shape=(len(after), len(before)))


def mover(orbitals: int, count: int, a: int, b: int) -> Sparse:
    """Return E_ab = c+_a c_b among `count` particles of one spin direction, shape (states, states).

    >>> mover(2, 1, 0, 1).toarray()
    array([[0., 1.],
           [0., 0.]])
    """
    states = len(occupations(orbitals, count))
    if count == 0:
        return Sparse((states, states))
    return Sparse(annihilator(orbitals, count, a).T @ annihilator(orbitals, count, b))


class FockSector:
    """Operators among all states with `up` and `down` particles in the orbitals; shape (d, d), sparse.

    Parameters
    ----------
    orbitals : int
        Number of orbitals.
    up, down : int
        Particles of each spin direction.

    Examples
    --------
    >>> sector = FockSector(2, 1, 1)
    >>> sector.size, sector.double(0).diagonal()
    (4, array([1., 0., 0., 0.]))
    """

    def __init__(self, orbitals: int, up: int, down: int) -> None:
        self.orbitals, self.up, self.down = orbitals, up, down
        self._ups, self._downs = occupations(orbitals, up), occupations(orbitals, down)
        self.size = len(self._ups) * len(self._downs)

    def move_up(self, a: int, b: int) -> Sparse:
        """Return E_ab of the up particles."""
        return Sparse(sparse.kron(mover(self.orbitals, self.up, a, b), sparse.eye_array(len(self._downs)), "csr"))

    def move_down(self, a: int, b: int) -> Sparse:
        """Return E_ab of the down particles."""
        return Sparse(sparse.kron(sparse.eye_array(len(self._ups)), mover(self.orbitals, self.down, a, b), "csr"))

    def number(self, a: int) -> Sparse:
        """Return the number operator of an orbital."""
        return Sparse(self.move_up(a, a) + self.move_down(a, a))

    def hop(self, a: int, b: int) -> Sparse:
        """Return sum (E_ab + E_ba): both directions, both spins."""
        one = self.move_up(a, b) + self.move_down(a, b)
        return Sparse(one + one.T)

    def double(self, a: int) -> Sparse:
        """Return 1 for states with two particles in an orbital."""
        return Sparse(self.move_up(a, a) @ self.move_down(a, a))

    def exchange(self, a: int, b: int) -> Sparse:
        """Return S_a.S_b of two different orbitals."""
        flip = self.move_up(a, b) @ self.move_down(b, a)  # S+_a S-_b = -E_ab(up) E_ba(down)
        z = [self.move_up(orbital, orbital) - self.move_down(orbital, orbital) for orbital in (a, b)]
        return Sparse(-0.5 * (flip + flip.T) + 0.25 * (z[0] @ z[1]))

    def pair_hop(self, a: int, b: int) -> Sparse:
        """Return E_ab(up) E_ab(down) + the reverse: two particles of one orbital to the other and back."""
        one = self.move_up(a, b) @ self.move_down(a, b)
        return Sparse(one + one.T)

    def raising(self) -> Sparse:
        """Return total S_+ to the sector with one more up, shape (d', d), up to a common sign."""
        if self.down == 0 or self.up == self.orbitals:
            return Sparse((0, self.size))
        parts = [
            sparse.kron(annihilator(self.orbitals, self.up + 1, a).T, annihilator(self.orbitals, self.down, a), "csr")
            for a in range(self.orbitals)
        ]
        return Sparse(sum(parts[1:], parts[0]))

    def permuted(self, mirror: tuple[int, ...]) -> Sparse:
        """Return the unitary that maps c+_a to c+_mirror[a], with the sign of the reordering; shape (d, d)."""
        return Sparse(sparse.kron(_permuted(self._ups, mirror), _permuted(self._downs, mirror), "csr"))

    def odd(self, orbital: int) -> NDArray[np.bool_]:
        """Return True for states with an odd number of particles in an orbital, shape (d,)."""
        up = np.array([orbital in state for state in self._ups])
        down = np.array([orbital in state for state in self._downs])
        return np.asarray(up[:, None] != down[None, :]).ravel()

    def from_spins(self, orbitals: tuple[int, ...], ups: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Array]:
        """Return the states with one particle per listed orbital and given directions: numbers and signs, shape (n,).

        The state is c+_1 c+_2 ... |0> in the order of `orbitals`, which must ascend; `ups` (n, orbitals) has the
        directions, true for up.
        """
        up_place = {state: k for k, state in enumerate(self._ups)}
        down_place = {state: k for k, state in enumerate(self._downs)}
        places = np.empty(len(ups), dtype=np.intp)
        signs = np.empty(len(ups))
        for k, row in enumerate(ups):
            up = tuple(a for a, is_up in zip(orbitals, row, strict=True) if is_up)
            down = tuple(a for a, is_up in zip(orbitals, row, strict=True) if not is_up)
            places[k] = up_place[up] * len(self._downs) + down_place[down]
            # Every up creator passes the down creators on its left.
            signs[k] = (-1.0) ** int(np.sum(np.cumsum(~row) * row))
        return places, signs


def _permuted(states: tuple[tuple[int, ...], ...], mirror: tuple[int, ...]) -> Sparse:
    place = {state: k for k, state in enumerate(states)}
    rows, signs = [], []
    for state in states:
        moved = [mirror[a] for a in state]
        swaps = sum(x > y for x, y in itertools.combinations(moved, 2))
        rows.append(place[tuple(sorted(moved))])
        signs.append((-1.0) ** swaps)
    return Sparse((signs, (rows, range(len(states)))), shape=(len(states),) * 2)
