"""The electron cluster, the chain from hopping to spins, criteria, sensitivity, and the table against the paper."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.spins import models
from barospec.archive.spins.chain import hopping_to_spins
from barospec.archive.spins.comparison import paper_against_exact
from barospec.archive.spins.effective import coupling
from barospec.archive.spins.electrons.electrons import (
    CLUSTERS,
    electron_cluster,
    parameter_operators,
    reduce_cluster,
)
from barospec.archive.spins.electrons.fermions import FockSector
from barospec.archive.spins.observables import spin_correlations
from barospec.archive.spins.sensitivity import decided, sample_box, sensitivity, share
from barospec.archive.spins.sheets.records import read_models
from barospec.archive.spins.trans_proximate import CRITERIA, mean_force_couplings, trans_proximate
from barospec.sample_data import RAW
from barospec.schemas.errors import CallError, InvalidData
from tests.test_spins_effective import full_matrix

BOTH = {"t_perp_pZ": [1.38, 1.94], "E_CT": [2.54, 3.21], "U_d": 6.0, "U_p": 4.0, "J": 0.4}
BARE = {"convention": "kanamori", "e_ct_reference": "high-spin d8"}


def numbers(found: dict, name: str) -> np.ndarray:
    return np.asarray(found[name].values, dtype=float)


# The cluster


def test_reference_couplings_of_the_trilayer() -> None:
    found = electron_cluster("trilayer", BOTH, **BARE)  # type: ignore[arg-type]
    assert numbers(found, "J_H")[:, 0] == pytest.approx([0.638, 0.609], abs=6e-4)
    assert numbers(found, "J_H")[:, 2] == pytest.approx(numbers(found, "J_H")[:, 0], abs=1e-11)
    assert numbers(found, "J_H")[:, 1] == pytest.approx([0.574, 0.534], abs=6e-4)
    assert numbers(found, "J_ZZ")[:, 0] == pytest.approx([0.361, 0.660], abs=6e-4)
    assert numbers(found, "residual").max() < 1e-12
    assert len(found["coupling"].labels["invariant"]) == 76


def test_sizes_of_the_spaces() -> None:
    cluster = CLUSTERS["trilayer"]
    sector = FockSector(cluster.orbitals, 3, 3)
    assert sector.size == 3136
    odd = np.logical_and.reduce([sector.odd(2 * k) for k in range(3)])
    assert odd.sum() == 320


def test_spin_convention_is_twice_the_kanamori_one() -> None:
    kanamori = electron_cluster("bilayer", BOTH, **BARE)  # type: ignore[arg-type]
    spin = electron_cluster("bilayer", {**BOTH, "J": 0.8}, convention="spin", e_ct_reference="high-spin d8")
    level = electron_cluster(
        "bilayer",
        {**BOTH, "E_CT": np.array([2.54, 3.21]) + 6.0 - 1.2},
        convention="kanamori",
        e_ct_reference="level",
    )
    for other in (spin, level):
        assert numbers(other, "coupling") == pytest.approx(numbers(kanamori, "coupling"), abs=1e-11)


def test_without_hopping_the_bare_hund_coupling_comes_out() -> None:
    found = electron_cluster("bilayer", {**BOTH, "t_perp_pZ": 0.0}, **BARE)  # type: ignore[arg-type]
    assert numbers(found, "J_H") == pytest.approx(0.8, abs=1e-12)
    assert numbers(found, "J_ZZ") == pytest.approx(0.0, abs=1e-12)
    assert numbers(found, "smallest_weight") == pytest.approx(1.0)


@pytest.mark.parametrize("t", [0.02, 0.05])
def test_fourth_order_perturbation_for_weak_hopping(t: float) -> None:
    # Z-p-Z with two holes and no Hund coupling: J = 4 t^4 / D^2 (1/U_d + 2 / (2 D + U_p)), D = E_CT.
    values = {"t_perp_pZ": t, "E_CT": 3.0, "U_d": 6.0, "U_p": 4.0, "J": 0.0}
    found = float(numbers(electron_cluster("bilayer", values, **BARE), "J_ZZ")[0])  # type: ignore[arg-type]
    # The d8 reference holds a second hole on each Ni: d9 + p costs E_CT, d10 + d7 (three holes on one Ni) U_d.
    expected = 4 * t**4 / 3.0**2 * (1 / 6.0 + 2 / (2 * 3.0 + 4.0))
    assert found == pytest.approx(expected, rel=60 * t**2)


def test_levels_equal_the_whole_fock_space() -> None:
    # The bilayer at Sz = 0 without any symmetry: its lowest states are those that the spins stand for.
    cluster = CLUSTERS["bilayer"]
    sector = FockSector(cluster.orbitals, 2, 2)
    values = np.array([1.0, 3.0 + 6.0 - 1.2, 6.0, 4.0, 0.4])
    whole = sum(v * part for v, part in zip(values, parameter_operators(cluster, sector), strict=True))
    exact = np.linalg.eigvalsh(whole.toarray())
    reduced, intruders = reduce_cluster(
        "bilayer",
        {"t_perp_pZ": 1.0, "E_CT": 3.0, "U_d": 6.0, "U_p": 4.0, "J": 0.4},
        **BARE,  # type: ignore[arg-type]
    )
    found = np.linalg.eigvalsh(full_matrix(reduced))
    assert intruders == 0
    assert np.min(np.abs(found[:, None] - exact), axis=1).max() < 1e-11
    assert found[0] == pytest.approx(exact[0], abs=1e-11)


def test_electron_spin_and_mirror_symmetry() -> None:
    # Total S^2 written with the one-orbital operators commutes with every term.
    cluster = CLUSTERS["bilayer"]
    sector = FockSector(cluster.orbitals, 2, 2)
    square = sum(2 * sector.exchange(a, b) for a, b in itertools.combinations(range(5), 2))
    square = square + sum(0.75 * (sector.number(a) - 2 * sector.double(a)) for a in range(5))
    assert np.unique(np.linalg.eigvalsh(square.toarray()).round(9)).tolist() == [0, 2, 6]
    mirror = sector.permuted((2, 3, 0, 1, 4))
    for part in parameter_operators(cluster, sector):
        assert abs(part @ square - square @ part).max() < 1e-12
        assert abs(part @ mirror - mirror @ part).max() < 1e-12


def test_vacancy_is_a_bilayer_and_a_free_ion() -> None:
    cut = electron_cluster("vacancy", BOTH, **BARE)  # type: ignore[arg-type]
    whole = electron_cluster("bilayer", BOTH, **BARE)  # type: ignore[arg-type]
    assert numbers(cut, "J_H")[:, 0] == pytest.approx(0.8, abs=1e-10)
    assert numbers(cut, "J_H")[:, 1:] == pytest.approx(numbers(whole, "J_H"), abs=1e-10)
    assert numbers(cut, "J_ZZ") == pytest.approx(numbers(whole, "J_ZZ"), abs=1e-10)


def test_intruders_are_seen() -> None:
    # A small E_CT pulls charge-transfer states below the spins' highest ones.
    values = {**BOTH, "t_perp_pZ": 1.94, "E_CT": [0.3, 3.21]}
    found = electron_cluster("trilayer", values, **BARE)  # type: ignore[arg-type]
    assert numbers(found, "intruders")[0] > 0
    assert numbers(found, "intruders")[1] == 0
    assert numbers(found, "weight_below_half").tolist() == [1, 1]


def test_points_of_a_grid_are_independent_and_unknown_stays_unknown() -> None:
    many = np.linspace(1.2, 2.0, 300)
    values = {**BOTH, "t_perp_pZ": many, "E_CT": 3.0}
    found = electron_cluster("bilayer", {**values, "U_d": np.where(many > 1.99, np.nan, 6.0)}, **BARE)  # type: ignore[arg-type]
    single = electron_cluster("bilayer", {**values, "t_perp_pZ": many[200]}, **BARE)  # type: ignore[arg-type]
    assert numbers(found, "J_ZZ")[200] == pytest.approx(numbers(single, "J_ZZ"), abs=1e-12)
    assert np.isnan(numbers(found, "J_ZZ")[-1]).all()
    assert np.isnan(numbers(found, "intruders")[-1])
    assert np.isfinite(numbers(found, "J_ZZ")[:290]).all()


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("quadlayer", {}, "bilayer"),
        ("bilayer", {"convention": "hund"}, "kanamori, spin"),
        ("bilayer", {"e_ct_reference": "d9"}, "high-spin d8"),
    ],
)
def test_wrong_cluster_calls(name: str, changes: dict[str, str], says: str) -> None:
    with pytest.raises(CallError, match=says):
        electron_cluster(name, BOTH, **{**BARE, **changes})  # type: ignore[arg-type]


# The chain, criteria, sensitivity


def test_chain_at_high_pressure() -> None:
    found = hopping_to_spins(BOTH, **BARE)  # type: ignore[arg-type]
    assert numbers(found, "J_lt")[1] == pytest.approx(-0.279, abs=5e-4)
    assert numbers(found, "ratio") == pytest.approx([0.585, 1.129], abs=2e-3)
    assert numbers(found, "weight_spin_1")[0] > numbers(found, "weight_trimer")[0]
    assert numbers(found, "weight_trimer")[1] > numbers(found, "weight_spin_1")[1]
    every = hopping_to_spins(BOTH, keep="all", **BARE)  # type: ignore[arg-type]
    # What the six-spin model with two parameters leaves out is not small.
    assert 0.02 < abs(numbers(every, "J_lt")[1] - numbers(found, "J_lt")[1]) < 0.04


def test_criteria_are_not_mixed() -> None:
    values = {"J_H": np.array([0.63, 0.57])[:, None], "J_ZZ": np.array([0.36, 0.66])[:, None]}
    found = trans_proximate(values, [0.0, 300.0])
    assert found["holds"].labels["criterion"] == tuple(CRITERIA)
    holds = {name: numbers(found, "holds")[..., k] for k, name in enumerate(CRITERIA)}
    for name in ("coupling", "mean_force"):
        assert np.all(holds[name] == 1)
    for name in ("correlation_x", "correlation_z", "correlation_ni", "correlation_effective"):
        assert np.all(holds[name] == 0)
    trust = numbers(found, "trustworthy")
    assert np.all(trust[0, :, list(CRITERIA).index("coupling")] == 0)
    assert np.all(trust[1] == 1)


def test_raw_correlations_are_not_trans_proximate_at_any_ratio() -> None:
    ratio = np.geomspace(0.2, 100, 80)[:, None]
    found = spin_correlations(models.trilayer(), {"J_H": 0.57, "J_ZZ": 0.57 * ratio}, [0.0, 100.0, 300.0, 600.0])
    pairs = np.abs(numbers(found, "spin_correlation"))
    assert np.all(pairs[..., 0, 4] < pairs[..., 0, 2])


@settings(max_examples=30, deadline=None)
@given(k=st.tuples(*[st.floats(-1.5, 1.5)] * 3))
def test_mean_force_recovers_the_couplings_of_three_spins(k: tuple[float, float, float]) -> None:
    sites = tuple(models.Site(name, 0.5) for name in "abc")
    pairs = ((0, 1), (0, 2), (1, 2))
    model = models.SpinModel(sites, tuple(models.Interaction(str(p), ((1.0, (p,)),)) for p in pairs))
    kelvin = 1000.0
    thermal = 8.617333262145179e-5 * kelvin
    found = spin_correlations(model, {str(p): thermal * x for p, x in zip(pairs, k, strict=True)}, kelvin)
    matrix = numbers(found, "spin_correlation")
    assert mean_force_couplings([matrix[p] for p in pairs]) == pytest.approx(k, abs=1e-9)


def test_mean_force_of_a_pure_singlet_is_unknown() -> None:
    assert np.isnan(mean_force_couplings([-0.75, 0.0, 0.0])).all()
    assert np.isnan(mean_force_couplings([np.nan, 0.0, 0.0])).all()
    with pytest.raises(CallError, match="three correlations"):
        mean_force_couplings([0.1, 0.2])


def test_sensitivity_of_the_chain_to_unknown_repulsions() -> None:
    box = {"t_perp_pZ": 1.94, "E_CT": 3.21, "U_d": (4.0, 8.0), "U_p": (3.0, 5.0), "J": 0.4}
    found = sensitivity(
        lambda p: hopping_to_spins(p, **BARE),  # type: ignore[arg-type]
        box,
        {
            "outer beats middle": lambda v: decided(np.abs(v["J_lt"]) > np.abs(v["J_mt"]), v["J_lt"], v["J_mt"]),
            "never": lambda v: decided(v["J_ZZ"] > 5, v["J_ZZ"]),
        },
        points=32,
    )
    assert numbers(found, "share").tolist() == [1.0, 0.0]
    assert np.all(numbers(found, "share_sigma") > 0)
    assert numbers(found, "J_lt_low") < numbers(found, "J_lt_median") < numbers(found, "J_lt_high") < 0
    again = sensitivity(lambda p: hopping_to_spins(p, **BARE), box, {}, points=32)  # type: ignore[arg-type]
    assert numbers(again, "J_lt_median") == numbers(found, "J_lt_median")


def test_shares_count_what_is_unknown() -> None:
    assert share([1, 0, 0, np.nan])[0] == pytest.approx(1 / 3)
    assert share([1, 0, 0, np.nan])[2] == 1
    assert np.isnan(share([np.nan])[0])
    for box, points in (({"a": (1.0, 0.0)}, 8), ({"a": (0.0, np.inf)}, 8), ({"a": (0.0, 1.0)}, 10)):
        with pytest.raises(CallError, match="give"):
            sample_box(box, points)


# The table


def test_paper_against_exact() -> None:
    rows = paper_against_exact(read_models(RAW / "models" / "La4Ni3O10.yaml"))
    by_name = {(row.quantity, row.phase): row for row in rows}
    expected = {
        ("J(ml), tensor basis", "low pressure"): (0.11, 0.1034),
        ("J(ml), polynomial basis", "low pressure"): (0.11, 0.1131),
        ("J(lt), one J_H", "high pressure"): (-0.28, -0.2691),
        ("J(lt), cluster's J_H", "high pressure"): (-0.28, -0.2794),
        ("vacancy J(ml), one J_H", "high pressure"): (0.08, 0.0676),
        ("vacancy J(ml), cluster", "high pressure"): (0.08, 0.0754),
        ("effective spin of Ni", "low pressure"): (1.0, 1.0),
        ("effective spin of Ni", "high pressure"): (0.5, 0.5),
        ("trans-proximate, criterion coupling", "high pressure"): (1.0, 1.0),
        ("trans-proximate, criterion correlation_x", "high pressure"): (1.0, 0.0),
    }
    for key, (paper, exact) in expected.items():
        assert (by_name[key].paper, by_name[key].exact) == pytest.approx((paper, exact), abs=6e-5)
        assert by_name[key].difference == pytest.approx(exact - paper, abs=6e-5)
    assert all(row.why for row in rows)
    assert np.isnan(by_name["J(mt), one J_H", "high pressure"].paper)


def test_the_table_needs_its_models() -> None:
    records = read_models(RAW / "models" / "La4Ni3O10.yaml")
    with pytest.raises(InvalidData, match="0 published models"):
        paper_against_exact(records[:3])


def test_a_coupling_is_read_by_name() -> None:
    found = electron_cluster("bilayer", BOTH, **BARE)  # type: ignore[arg-type]
    assert -coupling(found, "Zu.Xu") == pytest.approx(numbers(found, "J_H")[:, 0])
