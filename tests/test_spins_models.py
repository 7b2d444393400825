"""Spin models: published reference values, closed forms, sum rules, and an independent library."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.spins import algebra, lanczos, models
from barospec.archive.spins.observables import local_moment, spin_correlations, spin_spectrum, thermodynamics
from barospec.archive.spins.outputs import BOLTZMANN
from barospec.archive.spins.solve import solve
from barospec.schemas.errors import CallError

EXACT = 1e-9
LOW = {"J_H": 0.63, "J_ZZ": 0.36}
ENERGY = st.floats(0.05, 2.0)
KELVIN = st.floats(50.0, 5000.0)
FEW = settings(max_examples=40, deadline=None)


def numbers(found: dict, name: str) -> np.ndarray:
    return np.asarray(found[name].values, dtype=float)


# Reference values and closed forms


def test_trilayer_at_zero_temperature_and_300_kelvin() -> None:
    levels = spin_spectrum(models.trilayer(), LOW)
    assert numbers(levels, "ground_energy") == pytest.approx(-0.7727362640, abs=EXACT)
    assert numbers(levels, "gap") == pytest.approx(0.0724346654, abs=EXACT)
    assert numbers(levels, "total_spin")[0] == 1
    found = spin_correlations(models.trilayer(), LOW, [0.0, 300.0])
    pairs = numbers(found, "spin_correlation")
    order = found["spin_correlation"].labels["site_i"]

    def of(a: str, b: str) -> np.ndarray:
        return pairs[:, order.index(a), order.index(b)]

    assert of("Xu", "Xl") == pytest.approx([0.2497771984, 0.2336457829], abs=EXACT)
    assert of("Xu", "Xm") == pytest.approx([-0.3709721653, -0.3545330987], abs=EXACT)
    assert of("Zu", "Zm") == pytest.approx([-0.4459742685, -0.4424596823], abs=EXACT)
    assert of("Xu", "Zu") == pytest.approx([0.2376780143, 0.2370842897], abs=EXACT)
    assert numbers(found, "local_moment")[:, 0] == pytest.approx([1.9753560286, 1.9741685795], abs=EXACT)


def test_local_moment_hardly_falls_under_pressure() -> None:
    found = numbers(local_moment(models.trilayer(), {"J_H": [0.63, 0.57], "J_ZZ": [0.36, 0.66]}), "local_moment")
    assert found[:, 0] == pytest.approx([1.975, 1.944], abs=5e-4)
    assert found[:, 1] == pytest.approx([1.983, 1.961], abs=5e-4)


def test_bilayer_reference() -> None:
    levels = spin_spectrum(models.bilayer(), LOW)
    assert numbers(levels, "ground_energy") == pytest.approx(-0.5116817495, abs=EXACT)
    assert numbers(levels, "gap") == pytest.approx(0.0588801508, abs=EXACT)
    pairs = numbers(spin_correlations(models.bilayer(), LOW), "spin_correlation")
    assert pairs[0, 2] == pytest.approx(-0.5859659720, abs=EXACT)
    assert pairs[0, 1] == pytest.approx(0.2386777774, abs=EXACT)


@FEW
@given(j=ENERGY, z=ENERGY)
def test_bilayer_closed_forms(j: float, z: float) -> None:
    r, q = np.sqrt(z**2 + 2 * z * j + 4 * j**2), np.sqrt(z**2 + j**2)
    expected = {
        0.0: [(2 * j - z) / 4 - r / 2, (2 * j - z) / 4 + r / 2],
        1.0: [-z / 4 - q / 2, -z / 4 + q / 2, (z + 2 * j) / 4],
        2.0: [(z - 2 * j) / 4],
    }
    levels = spin_spectrum(models.bilayer(), {"J_H": j, "J_ZZ": z})
    for spin, energies in expected.items():
        chosen = numbers(levels, "energy")[numbers(levels, "total_spin") == spin]
        assert chosen == pytest.approx(sorted(energies), abs=EXACT)
    pairs = numbers(spin_correlations(models.bilayer(), {"J_H": j, "J_ZZ": z}), "spin_correlation")
    between = -0.25 - (z + j) / (2 * r)
    assert [pairs[0, 2], pairs[1, 3]] == pytest.approx([between, between], abs=EXACT)
    assert pairs[0, 1] == pytest.approx(-0.25 + (z + 4 * j) / (4 * r), abs=EXACT)


@FEW
@given(j=ENERGY, z=ENERGY)
def test_trilayer_ground_state_is_a_triplet(j: float, z: float) -> None:
    levels = spin_spectrum(models.trilayer(), {"J_H": j, "J_ZZ": z})
    assert numbers(levels, "total_spin")[0] == 1
    assert numbers(levels, "gap") > 0


@pytest.mark.parametrize("spin", [0.5, 1.0, 1.5])
def test_two_spins_of_any_size(spin: float) -> None:
    dimer = models.SpinModel(
        (models.Site("a", spin), models.Site("b", spin)),
        (
            models.Interaction("J", ((1.0, ((0, 1),)),)),
            models.Interaction("K", ((1.0, ((0, 1), (0, 1))),)),
        ),
        (1, 0),
    )
    levels = spin_spectrum(dimer, {"J": 0.1, "K": -0.03})
    total = np.arange(2 * spin + 1)
    dot = total * (total + 1) / 2 - spin * (spin + 1)
    order = np.argsort(0.1 * dot - 0.03 * dot**2)
    assert numbers(levels, "energy") == pytest.approx(np.sort(0.1 * dot - 0.03 * dot**2), abs=1e-13)
    assert list(numbers(levels, "total_spin")) == list(total[order])
    assert list(numbers(levels, "parity")) == [(-1.0) ** (2 * spin - s) for s in total[order]]


# Against the full product space


def brute_force(model: models.SpinModel, values: dict[str, float]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """All energies and states of the product space, and S_i.S_j of all pairs, without any symmetry."""
    spins = model.spins
    pairs = {p: algebra.pair_operator(*p, spins).toarray() for p in itertools.combinations(range(len(spins)), 2)}
    size = len(algebra.magnetization(spins))
    matrix = np.zeros((size, size))
    for interaction in model.interactions:
        for factor, factors in interaction.terms:
            orders = set(itertools.permutations(factors))
            for order in orders:
                operator = np.eye(size) * values[interaction.name] * factor / len(orders)
                for pair in order:
                    operator = operator @ pairs[pair]
                matrix += operator
    energies, vectors = np.linalg.eigh(matrix)
    return energies, vectors, list(pairs.values())


MIXED = models.SpinModel(
    (models.Site("a", 0.5), models.Site("b", 1.0), models.Site("c", 1.5), models.Site("d", 0.5)),
    (
        models.Interaction("J", ((1.0, ((0, 1),)), (0.7, ((1, 2),)), (-0.4, ((0, 3),)))),
        models.Interaction("K", ((1.0, ((1, 2), (1, 2))), (0.3, ((0, 1), (2, 3))), (0.2, ((0, 1), (1, 2), (2, 3))))),
    ),
)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (models.trilayer(), {"J_H(l)": 0.61, "J_H(m)": 0.53, "J_ZZ": 0.66}),
        (models.vacancy(), {"J_H(l)": 0.61, "J_H(m)": 0.53, "J_ZZ": 0.66}),
        (models.monolayer_bilayer(), {"J_H(s)": 0.61, "J_H(u)": 0.53, "J_ZZ": 0.66}),
        (MIXED, {"J": 0.31, "K": -0.17}),
    ],
)
@pytest.mark.parametrize("kelvin", [0.0, 40.0, 900.0])
def test_multiplets_equal_the_product_space(model: models.SpinModel, values: dict[str, float], kelvin: float) -> None:
    energies, vectors, pairs = brute_force(model, values)
    levels = spin_spectrum(model, values)
    repeated = np.repeat(numbers(levels, "energy"), numbers(levels, "degeneracy").astype(int))
    assert np.sort(repeated) == pytest.approx(energies, abs=1e-12)
    excitation = energies - energies[0]
    weights = np.exp(-excitation / (BOLTZMANN * kelvin)) if kelvin else (excitation < 1e-9).astype(float)
    weights /= weights.sum()
    expected = [float(weights @ np.sum(vectors * (pair @ vectors), axis=0)) for pair in pairs]
    found = numbers(spin_correlations(model, values, kelvin), "spin_correlation")
    assert found[np.triu_indices(len(model.sites), 1)] == pytest.approx(expected, abs=1e-12)
    assert np.diag(found) == pytest.approx([s * (s + 1) for s in model.spins])


def test_agrees_with_quimb() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports warn on some versions
        quimb = pytest.importorskip("quimb", reason="quimb is in the test extra only")
        spin = [quimb.spin_operator(axis, S=0.5, dtype=complex) for axis in "xyz"]

        def dot(i: int, j: int) -> np.ndarray:
            return np.asarray(sum(quimb.ikron([s, s], [2] * 6, [i, j]) for s in spin))

        matrix = -0.63 * (dot(0, 1) + dot(2, 3) + dot(4, 5)) + 0.36 * (dot(1, 3) + dot(3, 5))
        thermal = np.asarray(quimb.expm(-matrix / (BOLTZMANN * 300), herm=True))
        energies = np.asarray(quimb.eigvalsh(matrix))
    thermal /= np.trace(thermal)
    levels = spin_spectrum(models.trilayer(), LOW)
    repeated = np.repeat(numbers(levels, "energy"), numbers(levels, "degeneracy").astype(int))
    assert np.sort(repeated) == pytest.approx(np.sort(energies), abs=1e-12)
    found = numbers(spin_correlations(models.trilayer(), LOW, 300.0), "spin_correlation")
    for i, j in itertools.combinations(range(6), 2):
        assert found[i, j] == pytest.approx(float(np.real(np.trace(thermal @ dot(i, j)))), abs=1e-11)


# Sum rules and derivatives


@FEW
@given(outer=ENERGY, middle=ENERGY, z=ENERGY, kelvin=KELVIN)
def test_feynman_hellmann(outer: float, middle: float, z: float, kelvin: float) -> None:
    model, step = models.trilayer(), 1e-4
    base = {"J_H(l)": outer, "J_H(m)": middle, "J_ZZ": z}

    def free_energy(values: dict[str, float]) -> float:
        found = thermodynamics(model, values, kelvin)
        return float(numbers(found, "energy") - BOLTZMANN * kelvin * numbers(found, "entropy"))

    pairs = numbers(spin_correlations(model, base, kelvin), "spin_correlation")
    expected = {
        "J_H(l)": -pairs[0, 1] - pairs[4, 5],
        "J_H(m)": -pairs[2, 3],
        "J_ZZ": pairs[1, 3] + pairs[3, 5],
    }
    for name, value in expected.items():
        up, down = (free_energy({**base, name: base[name] + sign * step}) for sign in (1, -1))
        assert (up - down) / (2 * step) == pytest.approx(value, abs=3e-5)


def test_feynman_hellmann_of_the_ground_state_to_ten_digits() -> None:
    step = 1e-5
    z = 0.36 + step * np.array([-2, -1, 1, 2])
    energy = numbers(spin_spectrum(models.trilayer(), {"J_H": 0.63, "J_ZZ": z}), "ground_energy")
    slope = (energy @ np.array([1, -8, 8, -1])) / (12 * step)
    pairs = numbers(spin_correlations(models.trilayer(), LOW), "spin_correlation")
    assert slope == pytest.approx(pairs[1, 3] + pairs[3, 5], abs=2e-10)


@FEW
@given(outer=ENERGY, middle=ENERGY, z=ENERGY, kelvin=st.one_of(st.just(0.0), st.floats(1e-3, 1e6)))
def test_sum_rules(outer: float, middle: float, z: float, kelvin: float) -> None:
    model, values = models.trilayer(), {"J_H(l)": outer, "J_H(m)": middle, "J_ZZ": z}
    found = spin_correlations(model, values, kelvin)
    pairs = numbers(found, "spin_correlation")
    heat = thermodynamics(model, values, kelvin)
    energy = -outer * (pairs[0, 1] + pairs[4, 5]) - middle * pairs[2, 3] + z * (pairs[1, 3] + pairs[3, 5])
    assert numbers(heat, "energy") == pytest.approx(energy, abs=1e-11)
    assert numbers(heat, "total_moment") == pytest.approx(pairs.sum(), abs=1e-11)
    assert numbers(found, "layer_correlation").sum() == pytest.approx(pairs.sum(), abs=1e-11)
    off = pairs[~np.eye(6, dtype=bool)]
    assert np.all((off >= -0.75 - 1e-12) & (off <= 0.25 + 1e-12))
    mirrored = pairs[np.ix_(model.mirror or (), model.mirror or ())]
    assert mirrored == pytest.approx(pairs, abs=1e-11)
    assert np.linalg.eigvalsh(pairs).min() > -1e-11


@FEW
@given(j=ENERGY, z=ENERGY, kelvin=KELVIN)
def test_specific_heat_is_the_slope_of_the_energy(j: float, z: float, kelvin: float) -> None:
    step = kelvin * 1e-3
    around = thermodynamics(models.bilayer(), {"J_H": j, "J_ZZ": z}, [kelvin - step, kelvin, kelvin + step])
    energy, heat = numbers(around, "energy"), numbers(around, "specific_heat")
    assert (energy[2] - energy[0]) / (2 * step * BOLTZMANN) == pytest.approx(heat[1], rel=1e-3, abs=1e-6)
    entropy = numbers(around, "entropy")
    assert (entropy[2] - entropy[0]) / (2 * step) * kelvin == pytest.approx(heat[1], rel=1e-3, abs=1e-6)


def test_curie_law_in_cgs() -> None:
    # Free spins 1/2: chi T = 0.375 cm3 K/mol each, a number every magnetochemist knows.
    free = {"J_H": 0.0, "J_ZZ": 0.0}
    molar = numbers(thermodynamics(models.bilayer(), free, 100.0), "molar_susceptibility")
    assert molar * 100 == pytest.approx(4 * 0.375, rel=2e-3)
    per_cluster = numbers(thermodynamics(models.bilayer(), free, 100.0), "susceptibility")
    assert per_cluster == pytest.approx(4 * 5.7883817982e-5 / (BOLTZMANN * 100), rel=1e-12)


def test_susceptibility_at_zero_temperature() -> None:
    assert numbers(thermodynamics(models.bilayer(), LOW, 0.0), "susceptibility") == 0
    assert numbers(thermodynamics(models.trilayer(), LOW, 0.0), "susceptibility") == np.inf
    assert numbers(thermodynamics(models.trilayer(), LOW, 0.0), "entropy") == pytest.approx(np.log(3))


# Temperatures, grids and what is not known


def test_no_overflow_from_a_millikelvin_to_a_million_kelvin() -> None:
    kelvin = np.array([0.0, 5e-324, 1e-320, 1e-3, 1e6, 1e300])
    pairs = numbers(spin_correlations(models.trilayer(), LOW, kelvin), "spin_correlation")
    assert np.all(np.isfinite(pairs))
    assert pairs[:4] == pytest.approx(np.broadcast_to(pairs[0], pairs[:4].shape), abs=1e-12)
    assert pairs[5] == pytest.approx(0.75 * np.eye(6), abs=1e-12)
    heat = thermodynamics(models.trilayer(), LOW, kelvin)
    assert all(np.all(np.isfinite(numbers(heat, name))) for name in ("energy", "entropy", "specific_heat"))
    assert numbers(heat, "entropy")[5] == pytest.approx(np.log(64))


def test_degeneracy_tolerance_decides_the_ground_multiplet() -> None:
    nearly = {"J_H": 1.0, "J_ZZ": 1e-7}
    sharp = numbers(spin_correlations(models.bilayer(), nearly, tolerance=1e-9), "spin_correlation")
    mixed = numbers(spin_correlations(models.bilayer(), nearly, tolerance=1e-5), "spin_correlation")
    assert sharp[0, 2] < -0.4
    assert mixed[0, 2] == pytest.approx(0.0, abs=1e-6)


def test_grid_equals_single_points_and_keeps_unknown_apart() -> None:
    ratio = np.array([0.3, np.nan, 1.4])[:, None]
    kelvin = np.array([0.0, 77.0, np.nan])[None, :]
    found = numbers(spin_correlations(models.trilayer(), {"J_H": 0.6, "J_ZZ": 0.6 * ratio}, kelvin), "spin_correlation")
    assert found.shape == (3, 3, 6, 6)
    assert np.all(np.isnan(found[1]))
    assert np.all(np.isnan(found[:, 2]))
    for i, j in itertools.product((0, 2), (0, 1)):
        single = spin_correlations(models.trilayer(), {"J_H": 0.6, "J_ZZ": 0.6 * ratio[i, 0]}, kelvin[0, j])
        assert found[i, j] == pytest.approx(numbers(single, "spin_correlation"), abs=1e-14)
    assert np.isnan(numbers(spin_spectrum(models.trilayer(), {"J_H": 0.6, "J_ZZ": np.nan}), "gap"))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: solve(models.trilayer(), {"J_H": 0.6}), "J_ZZ is not given"),
        (lambda: solve(models.trilayer(), {"J_H": 0.6, "J_Z": 0.6}), "Did you mean J_ZZ"),
        (lambda: solve(models.trilayer(), {"J_H": [1, 2], "J_ZZ": [1, 2, 3]}), "do not broadcast"),
        (lambda: spin_correlations(models.trilayer(), LOW, -1.0), "below absolute zero"),
        (lambda: spin_correlations(models.trilayer(), {"J_H": 0.6, "J_ZZ": [0.1, 0.2]}, [1, 2, 3]), "length-1 axis"),
        (lambda: models.SpinModel((models.Site("a", 0.7),), ()), "Choose 0.5, 1 or 1.5"),
        (lambda: models.SpinModel((models.Site("a", 0.5),) * 2, ()), "appears twice"),
        (lambda: models.SpinModel((models.Site("a", 0.5), models.Site("b", 1.0)), (), (1, 0)), "different spin"),
        (lambda: solve(models.multilayer(8), {"J_H": 0.6, "J_ZZ": 0.1}), "lanczos"),
        (lambda: models.multilayer(0), "1 or more"),
    ],
)
def test_wrong_calls_say_what_to_do(call, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CallError, match=says):
        call()


def test_an_interaction_that_breaks_the_mirror_is_refused() -> None:
    stack = models.vacancy()
    crooked = models.SpinModel(stack.sites, stack.interactions, models.trilayer().mirror)
    with pytest.raises(CallError, match="not symmetric under the mirror"):
        solve(crooked, {"J_H": 0.6, "J_ZZ": 0.4})


# Larger stacks


def test_lanczos_equals_dense() -> None:
    model, values = models.multilayer(5), {"J_H": 0.6, "J_ZZ(1)": 0.5, "J_ZZ(2)": 0.3}
    dense, lowest = spin_spectrum(model, values), lanczos.lowest_levels(model, values, 12)
    for name in ("energy", "total_spin", "parity"):
        assert numbers(lowest, name) == pytest.approx(numbers(dense, name)[:12], abs=1e-10)
    expected = numbers(spin_correlations(model, values), "spin_correlation")
    assert numbers(lowest, "spin_correlation") == pytest.approx(expected, abs=1e-10)


def test_lanczos_finds_every_copy_of_a_degenerate_level() -> None:
    # Five equal, separate dimers: the first excited level is five-fold, its spin 2 partners ten-fold.
    sites = tuple(models.Site(f"{k}", 0.5) for k in range(10))
    bonds = tuple((1.0, ((2 * k, 2 * k + 1),)) for k in range(5))
    model = models.SpinModel(sites, (models.Interaction("J", bonds),))
    found = lanczos.lowest_levels(model, {"J": 1.0}, 6)
    assert numbers(found, "energy") == pytest.approx([-3.75] + [-2.75] * 5, abs=1e-9)
    assert list(numbers(found, "total_spin")) == [0, 1, 1, 1, 1, 1]


def test_lanczos_of_fourteen_spins_against_a_closed_form() -> None:
    # Seven layers that nothing binds are seven spins 1.
    model = models.multilayer(7)
    values = {"J_H": 0.6, "J_ZZ": 0.0}
    assert numbers(lanczos.lowest_levels(model, values, 1), "energy")[0] == pytest.approx(-7 * 0.15, abs=1e-10)
    bound = lanczos.lowest_levels(model, {"J_H": 0.6, "J_ZZ": 0.5}, 2)
    assert numbers(bound, "total_spin")[0] == 1
    assert numbers(bound, "spin_correlation").shape == (14, 14)


def test_lanczos_at_finite_temperature_knows_what_it_misses() -> None:
    model = models.multilayer(5)
    values = {"J_H": 0.6, "J_ZZ": 0.5}
    found = lanczos.thermal_correlations(model, values, [20.0, 150.0, 5000.0], 30)
    exact = numbers(spin_correlations(model, values, [20.0, 150.0, 5000.0]), "spin_correlation")
    pairs = numbers(found, "spin_correlation")
    assert pairs[0] == pytest.approx(exact[0], abs=1e-6)
    assert np.all(np.isnan(pairs[2]))
    assert numbers(found, "missing_weight")[2] > 0.1
