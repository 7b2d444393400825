"""XES operators against the generator's truth with counting noise: unbiased, covered, limited where noise rules."""

from __future__ import annotations

import numpy as np
import pytest

from barospec.archive.operators._kernels.noise_bias import unfolded
from barospec.archive.operators.chain import execute
from barospec.archive.operators.iad import UNDER_FLOOR, iad
from barospec.archive.operators.spin_state import upper_limit
from barospec.sample_data.spectra import emission
from barospec.sample_data.truth import grid, load_truth, ni_kb_emission

TRUTH = load_truth()
ENERGY = grid(TRUTH, "ni_kb")
COUNTS = 4e4
ROWS = 400


def clean(material: str, pressure: float = 0.0) -> np.ndarray:
    return emission(ENERGY, ni_kb_emission(TRUTH, material, pressure))


def counted(curve: np.ndarray, rows: int = ROWS, counts: float = COUNTS, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).poisson(curve * counts, (rows, curve.size)).astype(np.float64)


def reference(curve: np.ndarray, label: str = "", repeats: int = 1, counts: float = COUNTS) -> execute.Reference:
    return execute.Reference(
        {"energy": np.tile(ENERGY, (repeats, 1)), "intensity": counted(curve, repeats, counts, seed=11)}, label
    )


def run(steps: str, intensity: np.ndarray, **references: list[execute.Reference]) -> dict[str, np.ndarray]:
    return execute.run_chain(steps, {"energy": ENERGY, "intensity": intensity}, references=references)


def share_covered(value: np.ndarray, truth: float, sigma: np.ndarray) -> float:
    return float(np.mean(np.abs(value - truth) < sigma))


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ("kbeta_prime", ("kbeta_prime_area", "kbeta_prime_height")),
        ("kbeta13_position", ("kbeta13_position",)),
        ("first_moment", ("first_moment",)),
        ("valence_to_core(low=8318, high=8338)", ("vtc_position", "vtc_area", "vtc_height")),
    ],
)
def test_counting_noise_is_covered(steps: str, names: tuple[str, ...]) -> None:
    curve = clean("NiO")
    truth = run(steps, curve[None] * COUNTS)
    out = run(steps, counted(curve))
    for name in names:
        value, sigma = out[name], out[f"{name}_sigma"]
        assert np.isfinite(value).all(), name
        assert abs(np.mean((value - truth[name]) / sigma)) < 0.35, name
        # Four binomial deviations, and a tenth for the noise that was found from the curve itself.
        assert abs(share_covered(value, float(truth[name][0]), sigma) - 0.683) < 0.093 + 0.05, name


def test_noise_of_points_is_that_of_counting() -> None:
    curve = clean("NiO")
    out = run("normalize_emission", counted(curve))
    sigma = np.sqrt(np.mean(out["emission_sigma"] ** 2, axis=0))
    assert np.allclose(sigma[curve > 0.02], np.sqrt(curve / COUNTS)[curve > 0.02], rtol=0.12)


def test_the_published_shifts_and_the_weaker_satellite_are_found_again() -> None:
    nio = {"valence_to_core": [reference(clean("NiO"), repeats=8)]}
    out = run("valence_to_core(low=8318, high=8338)", counted(clean("La3Ni2O7")), **nio)
    assert out["vtc_shift"].mean() == pytest.approx(1.50, abs=0.1)
    assert 1 / out["vtc_ratio"].mean() == pytest.approx(0.75, abs=0.03)
    lanio3 = {"valence_to_core": [reference(clean("LaNiO3"), repeats=8)]}
    out = run("valence_to_core(low=8318, high=8338)", counted(clean("La3Ni2O7")), **lanio3)
    assert out["vtc_shift"].mean() == pytest.approx(-0.35, abs=0.1)


def test_background_is_found_and_subtracted() -> None:
    out = run("background(below=8) | kbeta_prime", counted(clean("NiO") + 0.01))
    bare = run("background(below=8) | kbeta_prime", counted(clean("NiO")))
    assert out["kbeta_prime_area"].mean() == pytest.approx(bare["kbeta_prime_area"].mean(), abs=2e-4)
    difference = out["background_level"].mean() - bare["background_level"].mean()
    assert difference == pytest.approx(0.01 * COUNTS, rel=0.02)


def exact_iad(first: str, second: str) -> float:
    noise = np.full(ENERGY.size, 1e-7)
    out = iad(
        ENERGY,
        clean(first),
        noise,
        reference_energy=ENERGY,
        reference_emission=clean(second),
        reference_emission_sigma=noise,
    )
    return float(out["iad_raw"])


@pytest.mark.parametrize("counts", [1e4, 4e4])
def test_iad_is_unbiased_where_it_stands_above_the_noise(counts: float) -> None:
    truth = exact_iad("NiO", "LaNiO3")
    named = {"iad": [reference(clean("LaNiO3"), repeats=25, counts=counts)]}
    out = run("iad", counted(clean("NiO"), counts=counts), **named)
    assert out["iad_raw"].mean() > truth
    assert abs(out["iad"].mean() - truth) < 0.5 * out["iad_sigma"].mean()
    assert abs(share_covered(out["iad"], truth, out["iad_sigma"]) - 0.683) < 0.15
    assert np.mean(out["iad_limit"] > truth) > 0.9


def test_iad_of_like_spectra_is_a_limit() -> None:
    named = {"iad": [reference(clean("LaNiO3"))]}
    out = run("iad", counted(clean("LaNiO3")), **named)
    assert np.mean(out["iad_quality"] == UNDER_FLOOR) > 0.95
    assert out["iad_raw"].mean() == pytest.approx(out["iad_floor"].mean(), rel=0.2)
    assert out["iad"].mean() < 0.4 * out["iad_raw"].mean()
    assert np.mean(out["iad_limit"] > 0) == 1.0


def test_differences_are_unfolded() -> None:
    random = np.random.default_rng(0)
    for delta in (0.0, 0.5, 1.0, 2.0, 4.0):
        seen = delta + random.normal(size=100_000)
        assert abs(unfolded(seen, np.ones_like(seen)).mean() - delta) < 0.3
        # Plain subtraction of the noise of a zero difference is off by up to 0.8.
    assert abs((np.abs(4.0 + random.normal(size=100_000)) - np.sqrt(2 / np.pi)).mean() - 4.0) > 0.7


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_spin_states_are_told_apart(share: float) -> None:
    named = {"spin_state": [reference(clean("LaNiO3"), "LS", 25), reference(clean("NiO"), "HS", 25)]}
    low, high = clean("LaNiO3"), clean("NiO")
    area = (
        np.trapezoid(low[ENERGY < 8280], ENERGY[ENERGY < 8280]),
        np.trapezoid(high[ENERGY < 8280], ENERGY[ENERGY < 8280]),
    )
    out = run("spin_state", counted((1 - share) * low + share * high * area[0] / area[1]), **named)
    assert out["high_spin_free"].mean() == pytest.approx(share, abs=0.015)
    assert np.mean(out["high_spin_limit"] >= share) > 0.9
    assert (out["high_spin"] >= 0).all()
    if share == 0.0:
        assert (out["high_spin_limit"] < 0.06).all()


def test_limits_stay_inside_and_follow_the_value() -> None:
    value = np.array([-1.0, -0.1, 0.0, 0.3, 0.99, 1.5])
    limit = upper_limit(value, np.full(6, 0.05), 0.95)
    assert (np.diff(limit) >= 0).all()
    assert ((limit >= 0) & (limit <= 1)).all()
    assert limit[3] == pytest.approx(0.3 + 1.645 * 0.05, abs=1e-3)
