"""Complete bases of T-even, SU(2)-invariant operators of a few spins, and the decomposition of a Hamiltonian.

A Hermitian T-even invariant is, for each total spin, a real symmetric matrix among the
highest-weight states. So there are sum_S n_S (n_S + 1) / 2 of them (11 for three spin-1, 10 for four spin-1/2, 76
for six), and a set of as many independent ones is complete. Each has the name of a multigraph whose vertices
are the sites and whose edges are scalar products; a site of spin s has at most 2s edges.

Three bases use these names, and the coefficient of S_i.S_j differs between them:

- ``tensor`` uses from each product the part that is of the highest possible rank on every site, so that coefficients
  of different ranks do not mix: (S_i.S_j)^2 becomes Q_i:Q_j = (S_i.S_j)^2 + S_i.S_j / 2 - const.
- ``polynomial`` uses the products themselves, such as (S_i.S_j)^2. If the order of the factors matters, as around
  a closed loop of three sites, no product is preferred, and the tensor part, which has no order, is used.
- ``product`` uses the mean of all orders everywhere, as `models.Interaction` does.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Literal

import numpy as np

from barospec.archive.spins.algebra import Multiplets, Pair, multiplets, product
from barospec.archive.spins.outputs import Array
from barospec.schemas.errors import CallError

Basis = Literal["tensor", "polynomial", "product"]
BASES: tuple[Basis, ...] = ("tensor", "polynomial", "product")
Graph = tuple[Pair, ...]


@dataclass(frozen=True, slots=True, eq=False)
class InvariantBasis:
    """A complete set of invariants of a set of spins.

    ``graphs`` are the edges of each invariant, ``ranks`` its tensor rank on each site, ``matrices`` the
    operators for each total spin (k, n_S, n_S), ``inverse`` the matrix (k, sum n_S^2) that gives coefficients from
    the joined, weighted entries of an operator.
    """

    kind: Basis
    graphs: tuple[Graph, ...]
    ranks: tuple[tuple[int, ...], ...]
    matrices: tuple[Array, ...]
    inverse: Array
    spins: tuple[float, ...]

    def names(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return names such as ``Xu.t`` or ``(Su.Sm)^2`` with the given site labels; ``1`` is the identity."""
        return tuple(graph_name(graph, labels) for graph in self.graphs)

    def index(self, graph: Graph) -> int:
        """Return the position of the invariant with those edges."""
        return self.graphs.index(tuple(sorted(tuple(sorted(edge)) for edge in graph)))


def graph_name(graph: Graph, labels: tuple[str, ...]) -> str:
    """Return a product as text: factors in order, powers collected.

    >>> graph_name(((0, 1), (0, 1)), ("Su", "Sm"))
    '(Su.Sm)^2'
    """
    if not graph:
        return "1"
    factors = Counter(graph)
    if len(graph) == 1:
        return f"{labels[graph[0][0]]}.{labels[graph[0][1]]}"
    return "".join(f"({labels[i]}.{labels[j]})" + (f"^{n}" if n > 1 else "") for (i, j), n in factors.items())


def multigraphs(spins: tuple[float, ...]) -> Iterator[Graph]:
    """Yield all multigraphs with at most 2s edges at a site of spin s, by number of edges.

    >>> len(list(multigraphs((1.0, 1.0, 1.0)))), len(list(multigraphs((0.5,) * 6)))
    (11, 76)
    """
    edges = list(itertools.combinations(range(len(spins)), 2))
    limits = [round(2 * spin) for spin in spins]
    found: list[Graph] = [()]
    while found:
        yield from found
        # Edges are added in order, so there are no repeats.
        grown = [(*graph, edge) for graph in found for edge in edges if not graph or edge >= graph[-1]]
        found = [graph for graph in grown if all(n <= limits[i] for i, n in Counter(itertools.chain(*graph)).items())]


@lru_cache(maxsize=32)
def invariant_basis(spins: tuple[float, ...], kind: Basis = "tensor") -> InvariantBasis:
    """Return the complete basis of T-even invariants of the given spins.

    Parameters
    ----------
    spins : tuple of float
        Spin of each site.
    kind : {"tensor", "polynomial", "product"}
        See the module's docstring.

    Raises
    ------
    CallError
        For an unknown kind.

    Examples
    --------
    >>> invariant_basis((0.5,) * 4).names(("t", "Xu", "Xm", "Xl"))[-1]
    '(t.Xl)(Xu.Xm)'
    """
    if kind not in BASES:
        raise CallError(f'operator basis "{kind}" is not one of {", ".join(BASES)}.')
    groups = multiplets(spins)
    weights = np.concatenate([np.full(len(g.parities) ** 2, np.sqrt(2 * g.spin + 1)) for g in groups])
    complete = sum(len(g.parities) * (len(g.parities) + 1) // 2 for g in groups)
    graphs: list[Graph] = []
    ranks: list[tuple[int, ...]] = []
    flat = np.zeros((len(weights), 0))
    for graph in multigraphs(spins):
        vector = np.concatenate([product(group, graph, spins).ravel() for group in groups]) * weights
        degree = Counter(itertools.chain(*graph))
        rank = tuple(degree[i] for i in range(len(spins)))
        if kind == "tensor" or (kind == "polynomial" and _order_matters(groups, graph)):
            lower = [k for k, other in enumerate(ranks) if other != rank and _below(other, rank)]
            vector = _without(vector, flat[:, lower])
        longer = np.column_stack([flat, vector])
        if np.linalg.matrix_rank(longer / np.linalg.norm(longer, axis=0), tol=1e-8) > flat.shape[1]:
            graphs, ranks, flat = [*graphs, graph], [*ranks, rank], longer
    if flat.shape[1] != complete:
        raise CallError(
            f"{flat.shape[1]} of {complete} invariants found for the spins {spins}: the basis is incomplete."
        )
    inverse = np.linalg.pinv(flat) * weights
    splits = np.cumsum([len(g.parities) ** 2 for g in groups])[:-1]
    parts = np.split(flat / weights[:, None], splits)
    matrices = tuple(
        part.T.reshape(-1, len(g.parities), len(g.parities)) for part, g in zip(parts, groups, strict=True)
    )
    return InvariantBasis(kind, tuple(graphs), tuple(ranks), matrices, inverse, spins)


def _order_matters(groups: tuple[Multiplets, ...], graph: Graph) -> bool:
    """Return True if the Hermitian part of a product depends on the order of its factors."""
    for group in groups:
        first: Array | None = None
        for order in sorted(set(itertools.permutations(graph))):
            matrix = reduce(np.matmul, (group.pairs[pair] for pair in order), np.eye(len(group.parities)))
            matrix = matrix + matrix.T
            first = matrix if first is None else first
            if np.abs(matrix - first).max(initial=0.0) > 1e-9:
                return True
    return False


def _below(lower: tuple[int, ...], upper: tuple[int, ...]) -> bool:
    return all(a <= b for a, b in zip(lower, upper, strict=True))


def _without(vector: Array, others: Array) -> Array:
    if not others.shape[1]:
        return vector
    coefficients = np.linalg.lstsq(others, vector, rcond=None)[0]
    return np.asarray(vector - others @ coefficients, dtype=np.float64)


def decompose(basis: InvariantBasis, matrices: tuple[Array, ...]) -> tuple[Array, Array]:
    """Return the coefficients of an invariant operator and the residual.

    Parameters
    ----------
    basis : InvariantBasis
        A complete basis.
    matrices : tuple of ndarray, each shape (..., n_S, n_S)
        The operator among the highest-weight states of each total spin, in the order of `algebra.multiplets`.

    Returns
    -------
    coefficients : ndarray, shape (..., k)
        In the operator's unit.
    residual : ndarray, shape (...)
        Root mean square of the rest over all states, same unit; rounding if the operator is T-even.

    Examples
    --------
    >>> basis = invariant_basis((0.5, 0.5))
    >>> decompose(basis, (np.array([[-0.75]]), np.array([[0.25]])))[0].round(12) + 0.0
    array([0., 1.])
    """
    joined = np.concatenate([m.reshape(*m.shape[:-2], -1) for m in matrices], axis=-1)
    coefficients = joined @ basis.inverse.T
    rebuilt = np.concatenate([m.reshape(len(m), -1) for m in basis.matrices], axis=-1)
    spins = [group.spin for group in multiplets(basis.spins)]
    weights = np.concatenate([np.full(m.shape[-1] ** 2, 2 * s + 1) for m, s in zip(matrices, spins, strict=True)])
    states = np.prod([2 * spin + 1 for spin in basis.spins])
    rest = np.sum(weights * (joined - coefficients @ rebuilt) ** 2, axis=-1)
    return coefficients, np.sqrt(rest / states)
