"""Effective Hamiltonians: published values, symmetries, both selection rules, complete bases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from barospec.archive.spins import algebra, models
from barospec.archive.spins.canonical import Exact, transform
from barospec.archive.spins.composites import PICTURES, Composite, Picture, embedding, picture_weights
from barospec.archive.spins.effective import (
    Reduced,
    coupling,
    effective_hamiltonian,
    effective_model,
    reduce_model,
)
from barospec.archive.spins.invariants import decompose, invariant_basis
from barospec.archive.spins.observables import spin_correlations, spin_spectrum
from barospec.archive.spins.solve import solve
from barospec.schemas.errors import CallError

TRILAYER = PICTURES["trilayer"]
LOW = {"J_H": 0.63, "J_ZZ": 0.36}
HIGH = {"J_H": 0.57, "J_ZZ": 0.66}
ENERGY = st.floats(0.1, 1.5)
FEW = settings(max_examples=25, deadline=None)


def full_matrix(reduced: Reduced) -> np.ndarray:
    """H_eff in the product space of the effective spins, shape (..., d, d) in eV, basis m = s, ..., -s per site."""
    complete = invariant_basis(reduced.spins, "product")
    values, _ = decompose(complete, reduced.matrices)
    pairs = {
        pair: algebra.pair_operator(*pair, reduced.spins).toarray()
        for pair in itertools.combinations(range(len(reduced.spins)), 2)
    }
    size = round(np.prod([2 * spin + 1 for spin in reduced.spins]))
    total = np.zeros((*values.shape[:-1], size, size))
    for k, graph in enumerate(complete.graphs):
        orders = set(itertools.permutations(graph))
        for order in orders:
            operator = np.eye(size)
            for edge in order:
                operator = operator @ pairs[edge]
            total += values[..., k, None, None] * operator / len(orders)
    return total


# Published and reference values


@pytest.mark.parametrize(("basis", "expected"), [("tensor", 0.1034), ("polynomial", 0.1131)])
def test_low_pressure_coupling_in_both_bases(basis: str, expected: float) -> None:
    found = effective_hamiltonian(models.trilayer(), LOW, TRILAYER["spin_1"], basis=basis)  # type: ignore[arg-type]
    for pair in ("Su.Sm", "Sm.Sl", "Sl.Sm"):
        assert coupling(found, pair) == pytest.approx(expected, abs=5e-5)
    assert coupling(found, "Su.Sm", "first_order") == pytest.approx(0.36 / 4, abs=1e-12)
    assert found["smallest_weight"].values == pytest.approx(0.88, abs=0.005)
    assert found["weight_below_half"].values == 0


def test_high_pressure_coupling_with_one_and_two_hund_couplings() -> None:
    found = effective_hamiltonian(models.trilayer(), HIGH, TRILAYER["trimer"])
    assert coupling(found, "t.Xl") == pytest.approx(-0.269, abs=5e-4)
    assert coupling(found, "t.Xu") == pytest.approx(coupling(found, "t.Xl"), abs=1e-12)
    assert abs(coupling(found, "t.Xl")) > abs(coupling(found, "t.Xm"))
    assert coupling(found, "t.Xl", "first_order") == pytest.approx(-2 / 3 * 0.57, abs=1e-12)
    assert coupling(found, "t.Xm", "first_order") == pytest.approx(1 / 3 * 0.57, abs=1e-12)
    layered = {"J_H(l)": 0.6094061, "J_H(m)": 0.5344806, "J_ZZ": 0.6597358}
    assert coupling(effective_hamiltonian(models.trilayer(), layered, TRILAYER["trimer"]), "t.Xl") == pytest.approx(
        -0.279, abs=5e-4
    )


def test_vacancy_is_a_closed_form() -> None:
    j, z = 0.57, 0.66
    r, q = np.sqrt(z**2 + 2 * z * j + 4 * j**2), np.sqrt(z**2 + j**2)
    found = effective_hamiltonian(models.vacancy(), HIGH, PICTURES["vacancy"]["dimer"])
    assert coupling(found, "Xm.Xl") == pytest.approx(-j / 2 + (r - q) / 2, abs=1e-12)
    assert coupling(found, "Xm.Xl") == pytest.approx(0.0676, abs=5e-5)
    assert coupling(found, "Su.Xm") == pytest.approx(0.0, abs=1e-12)
    mixed = effective_hamiltonian(models.monolayer_bilayer(), HIGH, PICTURES["monolayer_bilayer"]["dimer"])
    assert coupling(mixed, "Xu.Xl") == pytest.approx(-j / 2 + (r - q) / 2, abs=1e-12)


def test_the_two_rules_part_below_a_ratio() -> None:
    picture = TRILAYER["trimer"]
    at = {"J_H": 0.57, "J_ZZ": 0.57}
    lowest = effective_hamiltonian(models.trilayer(), at, picture)
    overlap = effective_hamiltonian(models.trilayer(), at, picture, selection="overlap")
    assert coupling(lowest, "t.Xl") == pytest.approx(-0.249, abs=5e-4)
    assert coupling(overlap, "t.Xl") == pytest.approx(-0.474, abs=5e-4)
    assert lowest["rules_differ"].values == 1
    ratio = np.linspace(1.0, 1.05, 501)
    differ = effective_hamiltonian(models.trilayer(), {"J_H": 1.0, "J_ZZ": ratio}, picture)["rules_differ"].values
    assert ratio[np.flatnonzero(differ == 1)[-1]] == pytest.approx(1.025, abs=2e-3)
    weak = effective_hamiltonian(models.trilayer(), LOW, picture)
    assert weak["smallest_weight"].values < 0.5
    assert weak["weight_below_half"].values == 1


def test_weights_cross_at_a_ratio() -> None:
    def difference(ratio: float) -> float:
        found = picture_weights(models.trilayer(), {"J_H": 1.0, "J_ZZ": ratio}, TRILAYER)
        spin_1, trimer = np.asarray(found["picture_weight"].values, dtype=float)
        return float(spin_1 - trimer)

    assert brentq(difference, 0.3, 3.0) == pytest.approx(0.962, abs=5e-4)


def test_weights_by_hand() -> None:
    # The projectors written out in the product space: triplet on each Ni; Zu, Zl parallel and Z total one half.
    model = models.trilayer()
    pairs = {p: algebra.pair_operator(*p, model.spins).toarray() for p in itertools.combinations(range(6), 2)}
    one = np.eye(64)
    spin_1 = one
    for k in (0, 2, 4):
        spin_1 = spin_1 @ (0.75 * one + pairs[k, k + 1])
    total = 2.25 * one + 2 * (pairs[1, 3] + pairs[1, 5] + pairs[3, 5])
    trimer = (0.75 * one + pairs[1, 5]) @ ((3.75 * one - total) / 3)
    matrix = -0.57 * (pairs[0, 1] + pairs[2, 3] + pairs[4, 5]) + 0.66 * (pairs[1, 3] + pairs[3, 5])
    _, vectors = np.linalg.eigh(matrix)
    ground = vectors[:, :3]
    expected = [np.trace(ground.T @ projector @ ground) / 3 for projector in (spin_1, trimer)]
    found = picture_weights(model, HIGH, TRILAYER)
    assert found["picture_weight"].values == pytest.approx(expected, abs=1e-12)


def test_effective_spin_follows_the_larger_weight_and_is_unknown_with_none() -> None:
    found = picture_weights(models.trilayer(), {"J_H": [0.63, 0.57], "J_ZZ": [0.36, 0.66]}, TRILAYER)
    assert np.asarray(found["effective_spin"].values).tolist() == [[1, 1, 1], [0.5, 0.5, 0.5]]
    neither = picture_weights(models.trilayer(), {"J_H": -1.0, "J_ZZ": -1.0}, TRILAYER)
    assert np.all(np.isnan(np.asarray(neither["effective_spin"].values, dtype=float)))


# The transformation


def test_equals_symmetric_orthogonalization_without_symmetries() -> None:
    # For weak J_ZZ the 27 lowest states are those of three spins 1: the whole space gives the same, by another route.
    model, values = models.trilayer(), {"J_H": 0.63, "J_ZZ": 0.08}
    pairs = {p: algebra.pair_operator(*p, model.spins).toarray() for p in itertools.combinations(range(6), 2)}
    matrix = -0.63 * (pairs[0, 1] + pairs[2, 3] + pairs[4, 5]) + 0.08 * (pairs[1, 3] + pairs[3, 5])
    energies, vectors = np.linalg.eigh(matrix)
    triplet = np.array([[1, 0, 0], [0, np.sqrt(0.5), 0], [0, np.sqrt(0.5), 0], [0, 0, 1]])
    space = np.kron(np.kron(triplet, triplet), triplet)
    overlap = space.T @ vectors[:, :27]
    values_, rotation = np.linalg.eigh(overlap @ overlap.T)
    orthogonal = rotation @ np.diag(values_**-0.5) @ rotation.T @ overlap
    expected = orthogonal @ np.diag(energies[:27]) @ orthogonal.T
    found = full_matrix(reduce_model(solve(model, values), TRILAYER["spin_1"]))
    assert found == pytest.approx(expected, abs=1e-10)


@FEW
@given(
    outer=ENERGY,
    middle=ENERGY,
    z=ENERGY,
    name=st.sampled_from(["spin_1", "trimer"]),
    selection=st.sampled_from(["lowest", "overlap"]),
)
def test_symmetries_and_spectrum_of_every_effective_hamiltonian(
    outer: float, middle: float, z: float, name: str, selection: str
) -> None:
    model = models.trilayer()
    solution = solve(model, {"J_H(l)": outer, "J_H(m)": middle, "J_ZZ": z})
    reduced = reduce_model(solution, TRILAYER[name], selection)  # type: ignore[arg-type]
    matrix = full_matrix(reduced)
    if np.isnan(matrix).any():
        assert reduced.smallest_singular < 1e-12
        return
    raising = algebra.raising_operator(reduced.spins).toarray()
    assert np.abs(matrix @ raising - raising @ matrix).max() < 1e-10
    mirror = (2, 1, 0) if name == "spin_1" else (0, 3, 2, 1)
    exchange = algebra.permuted_states(reduced.spins, mirror)
    assert np.abs(matrix[np.ix_(exchange, exchange)] - matrix).max() < 1e-10
    assert np.abs(matrix - matrix.T).max() < 1e-10
    exact = np.repeat(solution.energies, solution.degeneracies.astype(int))
    distance = np.min(np.abs(np.linalg.eigvalsh(matrix)[:, None] - exact), axis=1)
    assert distance.max() < 1e-10


@pytest.mark.parametrize("basis", ["tensor", "polynomial", "product"])
def test_nothing_is_left_over_in_any_basis(basis: str) -> None:
    values = {"J_H": np.array([0.4, 0.6])[:, None], "J_ZZ": np.array([0.3, 0.7, 1.1])}
    for picture in TRILAYER.values():
        found = effective_hamiltonian(models.trilayer(), values, picture, basis=basis)  # type: ignore[arg-type]
        assert found["residual"].values.shape == (2, 3)
        assert np.max(np.asarray(found["residual"].values, dtype=float)) < 1e-12


@pytest.mark.parametrize(("spins", "count"), [((1.0,) * 3, 11), ((0.5,) * 4, 10), ((0.5,) * 6, 76), ((1.5, 1.5), 4)])
def test_number_of_invariants(spins: tuple[float, ...], count: int) -> None:
    for basis in ("tensor", "polynomial", "product"):
        assert len(invariant_basis(spins, basis).graphs) == count  # type: ignore[arg-type]


def test_tensor_basis_is_orthogonal_between_ranks() -> None:
    basis = invariant_basis((1.0, 1.0, 1.0), "tensor")
    groups = algebra.multiplets(basis.spins)
    for a, b in itertools.combinations(range(len(basis.graphs)), 2):
        if basis.ranks[a] != basis.ranks[b]:
            trace = sum((2 * g.spin + 1) * np.sum(m[a] * m[b]) for g, m in zip(groups, basis.matrices, strict=True))
            assert trace == pytest.approx(0.0, abs=1e-10)


def test_decomposition_of_a_known_operator() -> None:
    # (S1.S2)^2 = Q1:Q2 - S1.S2 / 2 + 4/3 for spins 1.
    basis = invariant_basis((1.0, 1.0), "tensor")
    groups = algebra.multiplets((1.0, 1.0))
    squared = tuple(group.pairs[0, 1] @ group.pairs[0, 1] for group in groups)
    found, residual = decompose(basis, squared)
    assert dict(zip(basis.names(("a", "b")), found, strict=True)) == pytest.approx(
        {"1": 4 / 3, "a.b": -0.5, "(a.b)^2": 1.0}, abs=1e-12
    )
    assert residual < 1e-12


def test_effective_model_keeps_levels_and_gives_effective_correlations() -> None:
    solution = solve(models.trilayer(), HIGH)
    model, values = effective_model(reduce_model(solution, TRILAYER["trimer"]), (0, 3, 2, 1))
    small = np.asarray(spin_spectrum(model, values)["energy"].values, dtype=float)
    exact = np.sort(solution.energies)
    assert small[:3] == pytest.approx(exact[:3], abs=1e-12)
    pairs = np.asarray(spin_correlations(model, values)["spin_correlation"].values, dtype=float)
    # Spin 1 in the ground state: the correlations of four spins 1/2 add up to S(S+1).
    assert pairs.sum() == pytest.approx(2.0, abs=1e-12)
    assert pairs[0, 1] == pytest.approx(pairs[0, 3], abs=1e-12)
    with pytest.raises(CallError, match="do not have the mirror"):
        effective_model(reduce_model(solution, TRILAYER["trimer"]), (1, 0, 2, 3))


def test_unknown_parameters_stay_unknown() -> None:
    found = effective_hamiltonian(models.trilayer(), {"J_H": 0.6, "J_ZZ": [0.4, np.nan]}, TRILAYER["spin_1"])
    assert np.isfinite(coupling(found, "Su.Sm")[0])
    assert np.isnan(coupling(found, "Su.Sm")[1])
    assert np.isnan(found["weight_below_half"].values[1])


def test_a_model_state_without_counterpart_gives_nan() -> None:
    energies, vectors = np.linalg.eigh(np.diag([0.0, 1.0, 2.0]))
    result = transform(Exact(energies, vectors, np.eye(3)[:, [2]]), "lowest")
    assert np.isnan(result.matrix).all()
    assert result.rules_differ
    assert transform(Exact(energies, vectors, np.eye(3)[:, [2]]), "overlap").matrix == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: effective_hamiltonian(models.trilayer(), LOW, TRILAYER["spin_1"], selection="best"),
            "lowest, overlap",
        ),  # type: ignore[arg-type]
        (lambda: effective_hamiltonian(models.trilayer(), LOW, TRILAYER["spin_1"], basis="spherical"), "tensor"),  # type: ignore[arg-type]
        (lambda: effective_hamiltonian(models.trilayer(), LOW, PICTURES["vacancy"]["dimer"]), "not symmetric under"),
        (lambda: embedding(models.bilayer(), TRILAYER["spin_1"]), "no site"),
        (
            lambda: embedding(models.bilayer(), Picture("p", (Composite("a", ("Xu",)),), {})),
            "each site of the model once",
        ),
        (
            lambda: embedding(models.bilayer(), Picture("p", (Composite("a", ("Xu", "Zu", "Xl", "Zl")),), {})),
            "not one multiplet",
        ),
    ],
)
def test_wrong_calls_say_what_to_do(call, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CallError, match=says):
        call()


def test_a_coupling_that_is_not_there_is_named() -> None:
    found = effective_hamiltonian(models.bilayer(), LOW, PICTURES["bilayer"]["dimer"])
    with pytest.raises(CallError, match=r"there are 1, Xu\.Xl"):
        coupling(found, "t.Xl")
