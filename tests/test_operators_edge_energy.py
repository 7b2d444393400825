"""`edge_energy`: the values of facts.json, hand-made crossings, and uncertainties that mean what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.operators.chain.execute import run_chain
from barospec.archive.operators.edge_energy import FAR, FAR_NO_SIGMA, REASONS, STUDENT, edge_energy
from barospec.archive.operators.normalize import normalize
from barospec.schemas.errors import CallError
from tests.realdata import REALDATA, needs_realdata
from tests.reference.curves import real_curves

WINDOWS = ("pre1", "pre2", "norm1", "norm2", "nnorm", "nvict")


def known_values() -> dict[str, dict[str, float]]:
    """Of facts.json, the spectra with an edge energy."""
    facts = json.loads((REALDATA / "facts.json").read_text())
    known = {name: fact for name, fact in facts.items() if "e_08" in fact}
    for name in ("athena/LaCoO3.prj", "athena/NiO.prj", "athena/json_unzipped.prj"):
        known.update({f"{name}#{label}": fact for label, fact in facts[name]["groups"].items()})
    known["bliss/id24_laser_heated_Fe.h5"] = facts["bliss/id24_laser_heated_Fe.h5"]["spectra"]["39.1"]
    return known


@needs_realdata
def test_edge_energies_of_real_files() -> None:
    curves = real_curves(REALDATA)
    known = known_values()
    assert len(known) >= 36
    for name, fact in known.items():
        energy, mu = curves[name]
        for fraction, key in ((0.5, "e_half"), (0.8, "e_08")):
            out = run_chain("edge_energy", {"energy": energy, "mu": mu}, {"fraction": fraction})
            assert float(out["edge_energy"]) == pytest.approx(fact[key], abs=1e-6), (name, key)
            assert float(out["e0"]) == pytest.approx(fact["e0"], abs=1e-4), name
            assert float(out["edge_step"]) == pytest.approx(fact["edge_step"], abs=1e-6), name
            assert 0 < out["edge_energy_sigma_norm"] < 2, name
            assert out["edge_energy_windows"] >= 30


@needs_realdata
def test_the_metal_is_flagged_and_the_oxide_is_not() -> None:
    curves = real_curves(REALDATA)
    for name, far in (("xdi/Ni_metal_rt_01.xdi", True), ("xdi/Ni2O3_rt_01.xdi", False)):
        energy, mu = curves[name]
        out = run_chain("edge_energy", {"energy": energy, "mu": mu})
        assert (out["edge_energy_quality"] in (FAR, FAR_NO_SIGMA)) == far
        assert np.isfinite(out["edge_energy"])


@needs_realdata
def test_windows_move_the_edge_as_much_as_was_found_by_hand() -> None:
    # Ninety windows chosen by hand moved E(0.8) by 0.17 and 0.22 eV (standard deviation).
    curves = real_curves(REALDATA)
    for name, found in (("xdi/Ni2O3_rt_01.xdi", 0.17), ("xdi/NiOH2_rt_01.xdi", 0.22)):
        energy, mu = curves[name]
        out = run_chain("edge_energy", {"energy": energy, "mu": mu})
        assert found / 1.6 < out["edge_energy_sigma_norm"] < 1.6 * found


RAMP = np.arange(8300.0, 8400.0, 0.5)


def ramp(begin: float = 8340.0, width: float = 10.0) -> np.ndarray:
    curve: np.ndarray = np.clip((RAMP - begin) / width, 0.0, 1.0)
    return curve


@given(fraction=st.floats(0.02, 0.98), begin=st.floats(8330.0, 8350.0), width=st.floats(2.0, 8.0))
def test_a_straight_rise_is_crossed_where_it_is_crossed(fraction: float, begin: float, width: float) -> None:
    out = edge_energy(RAMP, ramp(begin, width), begin + 0.5 * width, fraction=fraction, ensemble=0)
    # Exact inside the ramp; the corners are cut by half a step at most.
    assert float(out["edge_energy"]) == pytest.approx(begin + fraction * width, abs=0.51)
    inside = np.floor((begin + fraction * width - 8300) * 2) / 2 + 8300
    if inside > begin and inside + 0.5 < begin + width:
        assert float(out["edge_energy"]) == pytest.approx(begin + fraction * width, abs=1e-7)


def test_the_rise_next_to_e0_is_taken_and_others_are_told() -> None:
    norm = ramp()
    norm[20] = 0.95
    for e0 in (8342.0, 8349.0):
        out = edge_energy(RAMP, norm, e0)
        assert float(out["edge_energy"]) == pytest.approx(8348.0)
        assert "more than once" in REASONS[int(out["edge_energy_quality"])]


def test_reasons() -> None:
    nothing = edge_energy(RAMP, np.full(RAMP.size, np.nan), np.nan)
    assert "not normalized" in REASONS[int(nothing["edge_energy_quality"])]
    low = edge_energy(RAMP, 0.5 * ramp(), 8345.0)
    assert REASONS[int(low["edge_energy_quality"])].startswith("no crossing")
    far = edge_energy(RAMP, ramp(), 8330.0)
    assert "more than `far` from e0" in REASONS[int(far["edge_energy_quality"])]
    assert float(far["edge_energy"]) == pytest.approx(8348.0)
    assert np.isnan(far["edge_energy_sigma"])
    for out in (nothing, low):
        assert np.isnan([out[key] for key in ("edge_energy", "edge_energy_sigma", "edge_energy_sigma_norm")]).all()


@pytest.mark.parametrize("wrong", [{"fraction": 0.0}, {"fraction": 1.2}, {"far": 0.0}, {"ensemble": 2}])
def test_parameters_that_no_data_could_make_right(wrong: dict[str, float]) -> None:
    with pytest.raises(CallError, match=next(iter(wrong))):
        edge_energy(RAMP, ramp(), 8345.0, **wrong)


def noisy(rows: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    energy = np.r_[np.arange(8150.0, 8325.0, 2.5), np.arange(8325.0, 8385.0, 0.4), 8385 + np.arange(0, 26, 0.13) ** 2]
    x = energy - 8345.0
    mu = 0.2 - 2e-4 * x + 1.3 * (np.arctan(x / 1.6) / np.pi + 0.5 + 0.5 / (1 + ((x - 2) / 2.5) ** 2))
    return energy, mu, mu + np.random.default_rng(11).normal(0.0, noise, (rows, energy.size))


@pytest.mark.parametrize("fraction", [0.5, 0.8])
@pytest.mark.parametrize("noise", [1e-4, 3e-3])
def test_sigma_covers_the_truth_as_often_as_it_says(fraction: float, noise: float) -> None:
    rows = 2000
    energy, clean, mu = noisy(rows, noise)
    settings_ = {"normalize.e0": 8345.0, "fraction": fraction, "ensemble": 0}
    truth = run_chain("edge_energy", {"energy": energy, "mu": clean}, settings_)["edge_energy"]
    out = run_chain("edge_energy", {"energy": energy, "mu": mu}, settings_)
    pull = (out["edge_energy"] - truth) / out["edge_energy_sigma"]
    assert (out["edge_energy_quality"] == 0).all()
    assert abs(pull.mean()) < 4 / np.sqrt(rows)
    # 0.683 within four binomial standard deviations.
    assert abs(np.mean(np.abs(pull) < 1) - 0.683) < 4 * np.sqrt(0.683 * 0.317 / rows)


def test_the_ensemble_is_what_normalizing_with_its_windows_gives() -> None:
    """The running sums of the ensemble against `normalize` itself, window by window, also with nvict."""
    from barospec.archive.operators._kernels.ensemble import ensemble_windows
    from barospec.archive.operators._kernels.windows import Windows

    energy, _, mu = noisy(1, 1e-3)
    for nvict in (0, 2):
        used = normalize(energy, mu[0], e0=8345.0, nvict=nvict)
        out = edge_energy(energy, used["norm"], used["e0"], *(used[name] for name in WINDOWS), ensemble=8)
        ends = [np.atleast_1d(used[name]) for name in WINDOWS[:4]]
        members = ensemble_windows(Windows(*ends, np.atleast_1d(used["nnorm"]).astype(np.intp)), 8)
        values = []
        for member in range(8):
            pre1, pre2, norm1, norm2 = (
                getattr(members, name)[0, member] for name in ("pre1", "pre2", "norm1", "norm2")
            )
            degree = int(members.nnorm[0, member])
            again = normalize(
                energy,
                mu[0],
                e0=8345.0,
                pre1=pre1,
                pre2=pre2,
                norm1=norm1,
                norm2=norm2,
                nnorm=degree,
                nvict=nvict,
            )
            values.append(float(edge_energy(energy, again["norm"], 8345.0, ensemble=0)["edge_energy"]))
        # The ends differ by a point: there the ensemble takes the last point below, the operator the nearest.
        assert float(out["edge_energy_sigma_norm"]) == pytest.approx(np.std(values, ddof=1), rel=0.1)
        assert out["edge_energy_windows"] == 8


def test_without_windows_there_is_no_uncertainty_but_a_value() -> None:
    out = edge_energy(RAMP, ramp(), 8345.0)
    assert float(out["edge_energy"]) == pytest.approx(8348.0)
    assert np.isnan(out["edge_energy_sigma"])
    assert np.isnan(out["edge_energy_sigma_norm"])
    assert out["edge_energy_windows"] == 0


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-20.0, 20.0), noise=st.floats(1e-5, 3e-3))
def test_an_edge_that_moves_takes_its_energy_along(shift: float, noise: float) -> None:
    energy, _, mu = noisy(1, noise)
    here = run_chain("edge_energy", {"energy": energy, "mu": mu}, {"normalize.e0": 8345.0})
    there = run_chain("edge_energy", {"energy": energy + shift, "mu": mu}, {"normalize.e0": 8345.0 + shift})
    # The default pre1 is a multiple of 5 eV counted from e0, so the windows move along as well.
    for name, tolerance in (
        ("edge_energy", 1e-6),
        ("edge_energy_sigma", 1e-6),
        ("edge_energy_sigma_norm", 1e-3),
    ):
        moved = shift if name == "edge_energy" else 0.0
        assert float(there[name][0]) - moved == pytest.approx(float(here[name][0]), abs=tolerance)


@pytest.mark.parametrize("nnorm", [0, 1, 2])
def test_sigma_is_the_propagated_point_noise(nnorm: int) -> None:
    """Against the derivative of the edge energy by every single point, taken by differences."""
    energy = np.arange(8300.0, 8400.0, 2.0)
    edge = np.clip((energy - 8339.0) / 16.0, 0.0, 1.0)
    mu = 0.3 + 1.7 * edge + np.random.default_rng(3).normal(0.0, 1e-6, energy.size)
    asked = {
        "normalize.e0": 8348.0,
        "nnorm": nnorm,
        "norm1": 10.0,
        "norm2": 40.0,
        "pre1": -46.0,
        "pre2": -12.0,
    }
    out = run_chain("edge_energy", {"energy": energy, "mu": mu}, {**asked, "ensemble": 0})

    pre = mu[(energy >= 8302.0) & (energy < 8336.0)]
    distance = pre[1:-1] - 0.5 * (pre[2:] + pre[:-2])
    noise = np.sqrt(np.mean(distance**2) / 1.5) * (1 + STUDENT / distance.size)
    hair = 1e-5 * np.eye(energy.size)
    moved = run_chain("edge_energy", {"energy": energy, "mu": mu + np.stack([hair, -hair])}, {**asked, "ensemble": 0})
    derivative = (moved["edge_energy"][0] - moved["edge_energy"][1]) / 2e-5
    assert float(out["edge_energy_sigma"]) == pytest.approx(noise * np.sqrt(np.sum(derivative**2)), rel=1e-3)
