"""Spin Hamiltonian from hopping: exact Ni-O-Ni(-O-Ni) cluster and its canonical transformation.

Hole representation: two holes per Ni in the orbitals X (x2-y2) and Z (3z2-r2), apical O p orbitals between the layers, Z hops
to p, X to nothing. Kanamori interaction on Ni with U' = U_d - 2 J:

H = eps_p n_p + U_p p_up p_dn + t_perp_pZ sum (Z+ p + h.c.)
    + sum_Ni [ U_d (X_up X_dn + Z_up Z_dn) + (U' - J/2) n_X n_Z - 2 J S_X.S_Z + J (pair hopping X <-> Z) ]

Two conventions decide the numbers, so neither has a default: the meaning of J (``kanamori``: as above; ``spin``: the coefficient
of -J S_X.S_Z, twice the Kanamori J), and the reference of E_CT (``high-spin d8``: d8 triplet -> d9 and a hole on p, so
eps_p = E_CT + U_d - 3 J; ``level``: eps_p itself, relative to the Ni levels).

The pair hopping moves two holes at a time, so each layer's number of X holes stays even or odd. The spin model has
all numbers odd: 320 of 3136 states at Sz = 0 for the trilayer. Parts that no O connects keep their holes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import null_space

from barospec.archive.spins.algebra import multiplets
from barospec.archive.spins.canonical import Selection
from barospec.archive.spins.composites import Embedding
from barospec.archive.spins.effective import Reduced, coupling, label_effective, reduce_blocks
from barospec.archive.spins.electrons.fermions import FockSector, Sparse
from barospec.archive.spins.models import complete_parameters
from barospec.archive.spins.outputs import BATCH, Array, Labelled, Outputs, collect
from barospec.archive.spins.solve import Block
from barospec.schemas.errors import CallError, did_you_mean

Convention = Literal["kanamori", "spin"]
Reference = Literal["high-spin d8", "level"]
PARAMETERS = ("t_perp_pZ", "E_CT", "U_d", "U_p", "J")
# A fourth layer makes sectors of 1057, 1988, 1246, 350 and 35 states (S = 0 to 4) and 1430 invariants of eight spins.
LARGEST = 3
_CHUNK = 128


@dataclass(frozen=True, slots=True)
class Cluster:
    """Layers from top to bottom, pairs of neighbors with an apical O between them, and true for a mirror."""

    layers: tuple[str, ...]
    bonds: tuple[tuple[str, str], ...]
    mirror: bool

    @property
    def orbitals(self) -> int:
        """Number of orbitals: X and Z of each layer, in turn, then p of each bond."""
        return 2 * len(self.layers) + len(self.bonds)


CLUSTERS = {
    "bilayer": Cluster(("u", "l"), (("u", "l"),), True),
    "trilayer": Cluster(("u", "m", "l"), (("u", "m"), ("m", "l")), True),
    "vacancy": Cluster(("u", "m", "l"), (("m", "l"),), False),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Sector:
    """States of highest weight of one total spin: parameter operators (5, n, n), parities (n,), model space (n, k)."""

    spin: float
    operators: Array
    parities: NDArray[np.int64]
    columns: Array


def find_cluster(name: str) -> Cluster:
    """Return the cluster of that name.

    >>> find_cluster("bilayer").orbitals
    5
    """
    if name not in CLUSTERS:
        raise CallError(
            f'there is no cluster "{name}"; there are {", ".join(CLUSTERS)}.{did_you_mean(name, list(CLUSTERS))} '
            f"Clusters end at {LARGEST} layers: a fourth has sectors of up to 1,988 states, all of which the transformation needs."
        )
    return CLUSTERS[name]


def parameter_operators(cluster: Cluster, sector: FockSector) -> tuple[Sparse, ...]:
    """Return the operators of t_perp_pZ, eps_p, U_d, U_p and the Kanamori J, each (d, d)."""
    n = len(cluster.layers)
    nickel = [(2 * k, 2 * k + 1) for k in range(n)]
    oxygen = range(2 * n, cluster.orbitals)
    ends = [(2 * cluster.layers.index(a) + 1, 2 * cluster.layers.index(b) + 1) for a, b in cluster.bonds]
    zero = Sparse((sector.size, sector.size))
    both = [sector.number(x) @ sector.number(z) for x, z in nickel]
    hopping = sum((sector.hop(z, p) for p, pair in zip(oxygen, ends, strict=True) for z in pair), zero)
    level = sum((sector.number(p) for p in oxygen), zero)
    repulsion = sum((sector.double(x) + sector.double(z) for x, z in nickel), zero) + sum(both, zero)
    on_oxygen = sum((sector.double(p) for p in oxygen), zero)
    hund = sum((sector.pair_hop(x, z) - 2 * sector.exchange(x, z) for x, z in nickel), zero) - 2.5 * sum(both, zero)
    return tuple(Sparse(part) for part in (hopping, level, repulsion, on_oxygen, hund))


@lru_cache(maxsize=8)
def _sectors(cluster: Cluster) -> tuple[_Sector, ...]:
    n = len(cluster.layers)
    if n > LARGEST:
        raise CallError(f"a cluster of {n} layers is too large for all its levels; {LARGEST} is the most.")
    found = []
    for group in multiplets((0.5,) * (2 * n)):
        up = n + round(group.spin)
        sector = FockSector(cluster.orbitals, up, 2 * n - up)
        kept = np.flatnonzero(_all_odd(cluster, sector) & _charges(cluster, sector))
        basis = np.eye(len(kept))
        if up < min(2 * n, cluster.orbitals):
            above = FockSector(cluster.orbitals, up + 1, 2 * n - up - 1)
            raising = sector.raising()[np.flatnonzero(_all_odd(cluster, above) & _charges(cluster, above))][:, kept]
            basis = null_space(raising.toarray())
        basis, parities = _by_parity(cluster, sector, kept, basis)
        full = parameter_operators(cluster, sector)
        operators = np.stack([basis.T @ (part[kept][:, kept] @ basis) for part in full])
        bits = (group.states[:, None] >> np.arange(2 * n - 1, -1, -1)) & 1
        places, signs = sector.from_spins(tuple(range(2 * n)), bits == 0)
        rows = np.searchsorted(kept, places)
        columns = basis[rows].T @ (signs[:, None] * group.basis)
        symmetric = 0.5 * (operators + operators.transpose(0, 2, 1))
        found.append(_Sector(group.spin, symmetric, parities, columns))
    return tuple(found)


def _all_odd(cluster: Cluster, sector: FockSector) -> NDArray[np.bool_]:
    return np.asarray(np.all([sector.odd(2 * k) for k in range(len(cluster.layers))], axis=0), dtype=np.bool_)


def _charges(cluster: Cluster, sector: FockSector) -> NDArray[np.bool_]:
    """Return True for states in which each unconnected part of the cluster has two holes per Ni."""
    part = {layer: k for k, layer in enumerate(cluster.layers)}
    for a, b in cluster.bonds:
        old, new = part[b], part[a]
        part = {layer: new if k == old else k for layer, k in part.items()}
    right = np.ones(sector.size, dtype=np.bool_)
    for number in set(part.values()):
        layers = [k for k, layer in enumerate(cluster.layers) if part[layer] == number]
        bonds = [2 * len(cluster.layers) + b for b, (a, _) in enumerate(cluster.bonds) if part[a] == number]
        orbitals = [*(orbital for k in layers for orbital in (2 * k, 2 * k + 1)), *bonds]
        holes = np.sum([sector.number(orbital).diagonal() for orbital in orbitals], axis=0)
        right &= np.isclose(holes, 2 * len(layers))
    return right


def _mirror(cluster: Cluster) -> tuple[int, ...]:
    n, bonds = len(cluster.layers), len(cluster.bonds)
    return (*(2 * (n - 1 - k // 2) + k % 2 for k in range(2 * n)), *(2 * n + bonds - 1 - b for b in range(bonds)))


def _by_parity(
    cluster: Cluster, sector: FockSector, kept: NDArray[np.intp], basis: Array
) -> tuple[Array, NDArray[np.int64]]:
    if not cluster.mirror:
        return basis, np.zeros(basis.shape[1], dtype=np.int64)
    exchange = sector.permuted(_mirror(cluster))[kept][:, kept]
    signs, rotation = np.linalg.eigh(basis.T @ (exchange @ basis))
    order = np.argsort(-signs, kind="stable")
    return basis @ rotation[:, order], np.rint(signs[order]).astype(np.int64)


def _grid(
    parameters: Mapping[str, ArrayLike], convention: str, e_ct_reference: str
) -> tuple[Array, tuple[int, ...], NDArray[np.bool_]]:
    """Return factors of the five operators (points, 5), shape of the caller's grid, and where it is finite."""
    if convention not in ("kanamori", "spin"):
        raise CallError(f'Hund convention "{convention}" is not one of kanamori, spin. See the text of `electrons`.')
    if e_ct_reference not in ("high-spin d8", "level"):
        raise CallError(f'E_CT reference "{e_ct_reference}" is not one of "high-spin d8", "level".')
    values, shape = complete_parameters(PARAMETERS, parameters)
    hopping, transfer, u_d, u_p, hund = (np.broadcast_to(value, shape).ravel() for value in values)
    hund = hund if convention == "kanamori" else 0.5 * hund
    level = transfer + u_d - 3 * hund if e_ct_reference == "high-spin d8" else transfer
    grid = np.stack([hopping, level, u_d, u_p, hund], axis=-1)
    valid = np.all(np.isfinite(grid), axis=-1)
    return np.where(valid[:, None], grid, 0.0), shape, valid


def _reduce(cluster: Cluster, grid: Array, valid: NDArray[np.bool_], selection: Selection) -> tuple[Reduced, Array]:
    """Compute H_eff of some points, and the number of unchosen states below the highest chosen one."""
    sectors = _sectors(cluster)
    blocks = []
    for sector in sectors:
        for parity in (1, -1) if cluster.mirror else (0,):
            found = np.flatnonzero(sector.parities == parity)
            if len(found):
                rows = slice(int(found[0]), int(found[-1]) + 1)
                inner = sector.operators[:, rows, rows]
                size = len(found)
                matrix = (grid @ inner.reshape(len(inner), -1)).reshape(-1, size, size)
                energies, vectors = np.linalg.eigh(matrix)
                blocks.append(Block(sector.spin, parity, rows, energies, vectors))
    labels = tuple(f"{orbital}{layer}" for layer in cluster.layers for orbital in "XZ")
    target = Embedding(labels, (0.5,) * len(labels), {s.spin: s.columns for s in sectors})
    reduced = reduce_blocks(blocks, {s.spin: s.parities for s in sectors}, target, valid, selection)
    top = reduced.top[:, None] + 1e-9
    below = np.asarray(sum(np.sum(block.energies <= top, axis=-1) for block in blocks), dtype=float)
    chosen = sum(sector.columns.shape[1] for sector in sectors)
    return reduced, np.where(valid, below - chosen, np.nan)


def reduce_cluster(
    name: str,
    parameters: Mapping[str, ArrayLike],
    *,
    convention: Convention,
    e_ct_reference: Reference,
    selection: Selection = "lowest",
) -> tuple[Reduced, Array]:
    """Compute H_eff of a cluster among the spins X and Z, and the number of intruders; `electron_cluster` labels it.

    Points are computed in blocks, so that memory does not grow with the grid.
    """
    cluster = find_cluster(name)
    grid, shape, valid = _grid(parameters, convention, e_ct_reference)
    pieces = [
        _reduce(cluster, grid[k : k + _CHUNK], valid[k : k + _CHUNK], selection)
        for k in range(0, max(len(grid), 1), _CHUNK)
    ]

    def joined(parts: Sequence[NDArray[np.generic]]) -> Array:
        whole = np.concatenate(parts)
        return np.asarray(whole.reshape((*shape, *whole.shape[1:])))

    first = pieces[0][0]
    reduced = Reduced(
        labels=first.labels,
        spins=first.spins,
        matrices=tuple(joined([p.matrices[k] for p, _ in pieces]) for k in range(len(first.matrices))),
        first_order=tuple(joined([p.first_order[k] for p, _ in pieces]) for k in range(len(first.first_order))),
        smallest_weight=joined([p.smallest_weight for p, _ in pieces]),
        smallest_singular=joined([p.smallest_singular for p, _ in pieces]),
        rules_differ=joined([p.rules_differ for p, _ in pieces]).astype(bool),
        top=joined([p.top for p, _ in pieces]),
    )
    return reduced, joined([count for _, count in pieces])


def electron_cluster(
    name: str,
    parameters: Mapping[str, ArrayLike],
    *,
    convention: Convention,
    e_ct_reference: Reference,
    selection: Selection = "lowest",
) -> Outputs:
    """Compute Hund and superexchange couplings of a Ni-O-Ni cluster, by exact canonical transformation.

    Parameters
    ----------
    name : {"bilayer", "trilayer", "vacancy"}
        The cluster; the vacancy is the trilayer without the O between u and m.
    parameters : mapping of str to array
        ``t_perp_pZ``, ``E_CT``, ``U_d``, ``U_p``, ``J`` in eV, on the grid ``(...)``.
    convention : {"kanamori", "spin"}
        Meaning of J; no default, because 0.8 eV in one convention is 0.4 in the other.
    e_ct_reference : {"high-spin d8", "level"}
        Reference of E_CT.
    selection : {"lowest", "overlap"}
        Exact states of the spin model, in each block of total spin and parity.

    Returns
    -------
    dict of Labelled
        ``J_H`` (..., layer) and ``J_ZZ`` (..., bond) in eV, with H = - J_H X.Z + J_ZZ Z.Z; ``coupling`` and the other
        outputs of `effective.effective_hamiltonian` for all invariants (76 for six spins); ``other_couplings`` (...)
        in eV, the largest coefficient beside the identity, J_H and J_ZZ; ``intruders`` (...), number of exact
        unchosen multiplets below the highest chosen one.

    Raises
    ------
    CallError
        For unknown names, conventions or parameters.

    Examples
    --------
    >>> values = {"t_perp_pZ": 1.38, "E_CT": 2.54, "U_d": 6, "U_p": 4, "J": 0.4}
    >>> found = electron_cluster("trilayer", values, convention="kanamori", e_ct_reference="high-spin d8")
    >>> found["J_H"].values.round(3), found["J_ZZ"].values.round(3)
    (array([0.638, 0.574, 0.638]), array([0.361, 0.361]))
    """
    cluster = find_cluster(name)
    reduced, intruders = reduce_cluster(
        name, parameters, convention=convention, e_ct_reference=e_ct_reference, selection=selection
    )
    outputs = label_effective(reduced, "polynomial")
    hund = {layer: f"X{layer}.Z{layer}" for layer in cluster.layers}
    superexchange = {f"{a}{b}": f"Z{a}.Z{b}" for a, b in cluster.bonds}
    j_h = np.stack([-coupling(outputs, invariant) for invariant in hund.values()], axis=-1)
    j_zz = np.stack([coupling(outputs, invariant) for invariant in superexchange.values()], axis=-1)
    named = {"1", *hund.values(), *superexchange.values()}
    rest = [k for k, invariant in enumerate(outputs["coupling"].labels["invariant"]) if invariant not in named]
    others = np.max(np.abs(np.asarray(outputs["coupling"].values)[..., rest]), axis=-1, initial=0.0)
    return collect(
        Labelled("J_H", j_h, (BATCH, "layer"), "eV", "Hund coupling in -J_H X.Z.", {"layer": cluster.layers}),
        Labelled("J_ZZ", j_zz, (BATCH, "bond"), "eV", "Superexchange in J_ZZ Z.Z.", {"bond": tuple(superexchange)}),
        *outputs.values(),
        Labelled("other_couplings", others, (BATCH,), "eV", "Largest coefficient beside 1, J_H and J_ZZ."),
        Labelled("intruders", intruders, (BATCH,), "1", "Unchosen multiplets below the highest chosen one."),
    )
