"""`normalize` against Larch: committed reference numbers, and the places where we differ on purpose."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators.chain import execute
from barospec.archive.operators.normalize import NO_EDGE, NO_STEP, OPERATOR, REASONS, normalize
from barospec.schemas.errors import CallError
from tests.realdata import REALDATA, needs_realdata
from tests.reference.curves import SYNTHETIC, real_curves, synthetic_curves
from tests.test_operators import same, spectra

# Made by tests/reference/make_larch_reference.py, which states the version in the file.
with np.load(Path(__file__).parent / "reference" / "larch_reference.npz") as _file:
    REFERENCE = dict(_file)
NUMBERS = ("e0", "edge_step", "pre1", "pre2", "norm1", "norm2", "nnorm", "nvict")
SETTINGS = {
    "default": {},
    "explicit": {"pre1": -90.0, "pre2": -25.0, "norm1": 40.0, "norm2": 240.0, "nnorm": 1},
    "victoreen": {"nvict": 2},
    "cubic": {"nnorm": 3},
    "end": {"norm1": 5000.0},
}
# Larch converts its fit to powers of the absolute energy, which costs a cubic four digits.
TOLERANCE = {"cubic": 3e-9}
EVERY = 7

Curves = list[tuple[np.ndarray, np.ndarray]]


def batch(curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    width = max(len(energy) for energy, _ in curves)
    out = np.full((2, len(curves), width), np.nan)
    for row, curve in enumerate(curves):
        out[:, row, : len(curve[0])] = curve
    return out[0], out[1]


def ascending(energy: np.ndarray, mu: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values on the points that Larch keeps, in its order."""
    good = np.isfinite(energy) & np.isfinite(mu)
    kept: np.ndarray = values[good][np.argsort(energy[good], kind="stable")]
    return kept


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def test_reference_is_of_the_version_we_name() -> None:
    assert str(REFERENCE["version"]) == "2026.3.1"
    assert "2026.3.1" in OPERATOR.source


@needs_realdata
@pytest.mark.parametrize("label", list(SETTINGS))
def test_equal_to_larch_on_real_files(label: str) -> None:
    curves = real_curves(REALDATA)
    assert list(curves) == list(REFERENCE["real_names"])
    energy, mu = batch(list(curves.values()))
    out = normalize(energy, mu, **SETTINGS[label])
    tolerance = TOLERANCE.get(label, 1e-10)
    position = 0
    for row, name in enumerate(curves):
        theirs = REFERENCE[f"real_{label}_numbers"][row]
        size = len(curves[name][0][::EVERY])
        part = slice(position, position + size)
        position += size
        if out["normalize_quality"][row] == NO_STEP:
            # 12 eV of pre-edge, or a line through two points at the end: Larch takes the absolute value.
            assert name == "feff/xmu.dat" or label == "end", name
            continue
        np.testing.assert_allclose([out[key][row] for key in NUMBERS], theirs, rtol=tolerance, err_msg=name)
        for key in ("norm", "flat"):
            ours = ascending(energy[row], mu[row], out[key][row])[::EVERY]
            assert distance(ours, REFERENCE[f"real_{label}_{key}"][part]) < tolerance, (name, key)


def at_tie(energy: np.ndarray, numbers: np.ndarray) -> bool:
    """Whether a window end lies within the tolerance of where Larch's choice of a point changes."""
    grid = np.sort(energy[np.isfinite(energy)])
    middle = 0.5 * (grid[1:] + grid[:-1])
    e0, ends = numbers[0], numbers[2:6]
    lower = min(np.min(np.abs(grid - (e0 + end))) for end in ends)
    upper = min(np.min(np.abs(middle - (e0 + end))) for end in ends[1::2])
    return bool(min(lower, upper) < 2 * ragged.TIE)


def test_equal_to_larch_on_synthetic_spectra_of_different_grids() -> None:
    curves = synthetic_curves()
    ties = no_edge = 0
    for start in range(0, SYNTHETIC, 250):
        part = curves[start : start + 250]
        energy, mu = batch(part)
        out = normalize(energy, mu)
        for row, (x, y) in enumerate(part):
            theirs = REFERENCE["synthetic_numbers"][start + row]
            if out["normalize_quality"][row] == NO_EDGE:
                no_edge += 1
                continue
            ours = {key: ascending(x, y, out[key][row, : len(x)]) for key in ("norm", "flat")}
            last = len(ours["norm"]) - 1
            pick = [0, (last + 1) // 3, 2 * (last + 1) // 3, last]
            worst = max(distance(ours[key][pick], REFERENCE[f"synthetic_{key}"][start + row]) for key in ours)
            numbers = np.array([out[key][row] for key in NUMBERS], dtype=float)
            worst = max(worst, float(np.max(np.abs(numbers - theirs) / np.maximum(np.abs(theirs), 1.0))))
            if worst > 1e-10:
                assert at_tie(x[np.isfinite(y)], theirs), (start + row, worst)
                _check_tie(x, y, theirs, float(out["edge_step"][row]))
                ties += 1
    # Even grids whose middle is asked for, and one edge lost in noise: rare, or something is wrong.
    assert ties <= 60
    assert no_edge <= 1


def _check_tie(energy: np.ndarray, mu: np.ndarray, theirs: np.ndarray, ours: float) -> None:
    """At a tie Larch's float noise took one of two windows: each is ours with the end moved a hair."""
    steps = []
    for hair in (-1e-6, 1e-6):
        ends = dict(zip(NUMBERS[2:6], theirs[2:6], strict=True))
        ends["pre2"] += hair
        steps.append(float(normalize(energy, mu, e0=theirs[0], **ends, nnorm=int(theirs[6]))["edge_step"]))
    assert np.min(np.abs(np.array(steps) / theirs[1] - 1)) < 1e-10
    assert np.min(np.abs(np.array(steps) / ours - 1)) < 1e-10


def step_curve(energy: np.ndarray, edge: float = 8345.0) -> np.ndarray:
    x = energy - edge
    curve: np.ndarray = 0.2 - 1e-4 * x + 0.5 + np.arctan(x / 1.5) / np.pi + 0.3 / (1 + ((x - 3) / 3) ** 2)
    return curve


@pytest.mark.parametrize("noise", [0.0, 1e-12, -1e-12, 4e-10, -4e-10])
def test_float_noise_never_moves_a_window(noise: float) -> None:
    energy = np.arange(8200.0, 8700.5, 0.5)
    mu = step_curve(energy)
    plain = normalize(energy, mu, e0=8345.0, pre1=-100.0, pre2=-30.25, norm1=50.0, norm2=150.25)
    shifted = normalize(
        energy,
        mu,
        e0=8345.0,
        pre1=-100.0 + noise,
        pre2=-30.25 + noise,
        norm1=50.0 + noise,
        norm2=150.25 + noise,
    )
    np.testing.assert_array_equal(shifted["norm"], plain["norm"])


def test_a_window_moves_beyond_the_tolerance() -> None:
    energy = np.arange(8200.0, 8700.5, 0.5)
    mu = step_curve(energy) + 1e-3 * np.sin(energy * 7)
    steps = [float(normalize(energy, mu, e0=8345.0, pre2=-30.25 + hair)["edge_step"]) for hair in (0.0, 1e-7)]
    assert steps[0] != steps[1]


def test_energies_of_an_index_search_follow_their_rules() -> None:
    grid = np.array([[1.0, 2.0, 3.0, 5.0, np.inf]])
    wanted = np.array([[0.5, 1.0, 2.0 - 5e-10, 2.0 - 1e-8, 2.5, 2.5 + 1e-8, 9.0]])
    np.testing.assert_array_equal(ragged.last_at_or_below(grid, wanted), [[0, 0, 1, 0, 1, 1, 3]])
    np.testing.assert_array_equal(ragged.nearest(grid, wanted), [[0, 0, 1, 1, 1, 2, 3]])


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(-10, 110))
def test_index_search_equals_the_definition(energies: list[float], value: float) -> None:
    grid = np.sort(np.array(energies))
    below = np.nonzero(grid <= value + ragged.TIE)[0]
    found = ragged.last_at_or_below(grid[None, :], np.array([value]))[0]
    assert found == (below[-1] if below.size else 0)


def test_equal_energies_keep_their_order() -> None:
    random = np.random.default_rng(2)
    energy = np.repeat(np.arange(8200.0, 8240.0), 5)[random.permutation(200)]
    mu = np.arange(200.0)
    rows = ragged.make_rows(energy, mu)
    expected = [order for value in np.unique(energy) for order in np.nonzero(energy == value)[0]]
    np.testing.assert_array_equal(rows.signals[0][0], expected)


def test_repeated_energies_are_moved_up_and_long_runs_refused() -> None:
    energy = np.array([[1.0, 2.0, 2.0, 2.0, 3.0]])
    moved, hopeless = ragged.nudge(energy)
    np.testing.assert_allclose(moved, [[1.0, 2.0, 2.0005, 2.001, 3.0]], rtol=1e-15)
    assert not hopeless.any()
    _, hopeless = ragged.nudge(np.array([[1.0, 1.0, 1.0, 1.0, 1.0006]]))
    assert hopeless.all(), "the last energy lies below the nudged ones"
    fine = np.arange(8300.0, 8310.0, 1e-4)
    out = normalize(fine, step_curve(fine, 8305.0))
    assert "rebin" in REASONS[int(out["normalize_quality"])]
    assert np.isnan(out["edge_step"])


def test_different_from_larch_on_purpose() -> None:
    energy = np.arange(8200.0, 8700.0, 0.5)
    mu = step_curve(energy)
    outside = normalize(energy, mu, e0=9000.0)
    assert REASONS[int(outside["normalize_quality"])] == "the given e0 lies outside the scan"
    assert np.isnan(outside["e0"])
    fallen = normalize(energy, -mu, e0=8345.0)
    assert REASONS[int(fallen["normalize_quality"])] == "edge step not positive"
    flat = normalize(energy, np.ones_like(energy))
    assert REASONS[int(flat["normalize_quality"])].startswith("no edge found")
    for out in (outside, fallen, flat):
        assert np.isnan(out["norm"]).all()
        assert out["nnorm"] == -1


def test_short_windows_are_flagged_but_taken() -> None:
    energy = np.r_[8338.0, 8342.0, np.arange(8344.0, 8400.0, 0.5)]
    out = normalize(energy, step_curve(energy))
    assert "a constant was subtracted" in REASONS[int(out["normalize_quality"])]
    assert np.isfinite(out["norm"]).all()
    assert out["pre_edge"].std() == 0.0


def test_e0_may_differ_from_spectrum_to_spectrum() -> None:
    energy = np.arange(8200.0, 8700.0, 0.5)
    mu = np.stack([step_curve(energy), step_curve(energy, 8350.0)])
    both = normalize(energy, mu, e0=[8345.0, 8350.5])
    np.testing.assert_array_equal(both["e0"], [8345.0, 8350.5])
    np.testing.assert_array_equal(both["norm"][1], normalize(energy, mu[1], e0=8350.5)["norm"])
    with pytest.raises(CallError, match=r"e0 has shape \(3,\)"):
        normalize(energy, mu, e0=[1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "wrong", [{"norm2": -5.0}, {"pre1": np.nan}, {"nnorm": 6}, {"nnorm": 1.5}, {"nvict": 0.5}, {"nvict": 99}]
)
def test_parameters_that_no_data_could_make_right(wrong: dict[str, float]) -> None:
    energy = np.arange(8200.0, 8700.0, 0.5)
    with pytest.raises(CallError, match=next(iter(wrong))):
        normalize(energy, step_curve(energy), **wrong)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(1e-3, 1e5),
    offset=st.floats(-10, 10),
    tilt=st.floats(-1e-3, 1e-3),
    seed=st.integers(0, 1000),
)
def test_norm_does_not_know_scale_offset_and_slope(scale: float, offset: float, tilt: float, seed: int) -> None:
    energy = np.arange(8200.0, 8700.0, 0.5)
    mu = step_curve(energy) + np.random.default_rng(seed).normal(0, 1e-3, energy.size)
    plain = normalize(energy, mu, e0=8345.0)
    other = normalize(energy, scale * (mu + offset + tilt * (energy - 8345.0)), e0=8345.0)
    np.testing.assert_allclose(other["norm"], plain["norm"], atol=1e-9)
    np.testing.assert_allclose(other["flat"], plain["flat"], atol=1e-9)
    np.testing.assert_allclose(other["edge_step"], scale * plain["edge_step"], rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(step=st.floats(0.1, 5.0), slope=st.floats(-1e-3, 1e-3), curve=st.floats(-1e-6, 1e-6))
def test_an_exact_step_comes_back(step: float, slope: float, curve: float) -> None:
    energy = np.arange(8150.0, 9000.0, 1.0)
    x = energy - 8345.0
    mu = 0.3 + slope * x + (x >= 0) * (step + curve * x**2)
    out = normalize(energy, mu, e0=8345.0)
    np.testing.assert_allclose(out["edge_step"], step, rtol=1e-9)
    np.testing.assert_allclose(out["norm"][x < 0], 0.0, atol=1e-9)
    np.testing.assert_allclose(out["flat"][x >= 0], 1.0, atol=1e-8)


@pytest.mark.parametrize("parameters", [{}, {"e0": 8345.0}, {"nnorm": 3, "pre2": -20.0}])
@pytest.mark.parametrize("holes", ["none", "at the end of all", "at the end of one", "inside"])
def test_one_axis_for_all_gives_the_bits_of_axes_of_their_own(parameters: dict[str, Any], holes: str) -> None:
    random = np.random.default_rng(5)
    energy = np.cumsum(random.uniform(0.2, 1.0, 700)) + 8100.0
    mu = step_curve(energy + random.uniform(-1, 1, (40, 1))) + random.normal(0, 1e-3, (40, 700))
    if holes == "at the end of all":
        mu[:, -30:] = np.nan
    elif holes == "at the end of one":
        mu[7, -30:] = np.nan
    elif holes == "inside":
        mu[7, 300] = np.nan
    own = normalize(np.repeat(energy[None], 40, axis=0), mu, **parameters)
    assert np.unique(own["e0"]).size > 1 or parameters.get("e0")
    for shared in (energy, energy[None], np.broadcast_to(energy, mu.shape)):
        assert same(normalize(shared, mu, **parameters), own)
    mixed = random.permutation(40)[:23]
    assert same(normalize(energy, mu[mixed], **parameters), {name: values[mixed] for name, values in own.items()})


@pytest.mark.parametrize("nnorm", [2, 3])
def test_a_curve_has_the_same_bits_whichever_others_are_wanted(nnorm: int) -> None:
    arrays = {name: spectra(9, 301)[name] for name in ("energy", "mu")}
    curves = ("norm", "flat", "pre_edge", "post_edge")
    whole = execute.run_chain([("normalize", {"nnorm": nnorm})], arrays, wanted=curves)
    for wanted in itertools.chain.from_iterable(itertools.combinations(curves, n) for n in (1, 2)):
        found = execute.run_chain([("normalize", {"nnorm": nnorm})], arrays, wanted=wanted)
        assert same({name: found[name] for name in wanted}, {name: whole[name] for name in wanted})


@pytest.mark.parametrize("width", [10.0, 1.0, 0.3])
def test_windows_whose_points_are_clustered(width: float) -> None:
    post = np.r_[8380.0 + width * np.linspace(0, 1, 200), 8790.0, 8800.0]
    energy = np.r_[np.linspace(8150.0, 8379.0, 300), post]
    mu = 1e-3 * (energy - 8345.0) + np.where(energy > 8345.0, 2.0 - 1e-6 * (energy - 8345.0) ** 2, 1.0)
    out = normalize(energy, mu, e0=8345.0, norm1=35.0, nnorm=2)
    np.testing.assert_allclose(out["post_edge"][300:-1], mu[300:-1], rtol=1e-11)


def test_threads_get_the_bits_of_one() -> None:
    arrays = {name: spectra(60, 300)[name] for name in ("energy", "mu")}
    alone = execute.run_chain("edge_energy", arrays)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: execute.run_chain("edge_energy", arrays), range(12)):
            assert same(found, alone)
