"""What local fits stand on: cut rows, small equations, a reference curve looked up, and the same bits in any company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barospec.archive.operators._kernels.competing_edges import rival
from barospec.archive.operators._kernels.crop import crop, crop_to
from barospec.archive.operators._kernels.least_squares import curved, solved
from barospec.archive.operators._kernels.shift_fit import MOST_BINS, Curve, Reference

ROWS = 7


def axes(seed: int, points: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Rising energies with padding of inf, and how many points each row has."""
    random = np.random.default_rng(seed)
    energy = 8300 + np.cumsum(random.uniform(0.1, 3.0, (ROWS, points)), axis=1)
    count = random.integers(1, points + 1, ROWS)
    energy[np.arange(points) >= count[:, None]] = np.inf
    return energy, count


@given(st.integers(0, 200), st.floats(8290, 8420), st.floats(-5, 60))
def test_a_cut_row_holds_its_window_and_goes_back_to_its_place(seed: int, low: float, width: float) -> None:
    energy, count = axes(seed)
    cut = crop(energy, count, low, low + width)
    assert (cut.count >= 1).all()
    taken = cut.take(energy, np.inf)
    for row in range(ROWS):
        real = energy[row, : count[row]]
        wanted = real[(real >= low) & (real <= low + width)]
        assert np.isin(wanted, taken[row]).all()
        # One more on either side, and no others.
        assert np.isfinite(taken[row]).sum() <= wanted.size + 3
    values = np.where(np.isfinite(taken), taken, 0.0)
    back = cut.put(values)
    np.testing.assert_array_equal(cut.take(back), values)
    assert np.count_nonzero(back) == np.count_nonzero(values)


def test_a_cut_to_a_mask_holds_all_of_it() -> None:
    used = np.random.default_rng(2).random((ROWS, 30)) < 0.2
    used[3] = False
    cut = crop_to(used)
    np.testing.assert_array_equal(cut.mask(used).sum(axis=1), used.sum(axis=1))
    assert cut.count[3] == 1


@given(st.integers(1, 5), st.integers(0, 100))
def test_small_equations_are_solved_and_singular_ones_told(size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(6, size, size + 2))
    matrix, right = root @ root.transpose(0, 2, 1), random.normal(size=(6, size))
    matrix[1], matrix[2, 0, 0] = np.nan, -1.0
    if size > 1:
        matrix[3] = np.ones((size, size))
    found, good = solved(matrix, right)
    assert not good[1]
    assert not good[2]
    assert bool(good[3]) == (size == 1)
    for row in (0, 4, 5):
        assert good[row]
        np.testing.assert_allclose(matrix[row] @ found[row], right[row], rtol=1e-6, atol=1e-8)
    alone, _ = solved(matrix[4:5], right[4:5])
    np.testing.assert_array_equal(alone[0], found[4])


@pytest.mark.parametrize("closest", [0.1, 1e-5])
def test_a_reference_is_looked_up_as_by_searching(closest: float) -> None:
    random = np.random.default_rng(6)
    energy = np.cumsum(np.r_[8300.0, closest, random.uniform(0.1, 4.0, 60)])
    curve = Curve(Reference(energy, np.sin(energy / 7), np.nan, {}))
    # Points too close for equal bins are searched for instead.
    assert (np.ptp(energy) / closest > MOST_BINS) == (closest < 1e-4)
    x = np.r_[random.uniform(8290, energy[-1] + 10, 4000), energy, np.nextafter(energy, 0), np.inf]
    expected = np.clip(np.searchsorted(energy, x, side="right") - 1, 0, energy.size - 2)
    np.testing.assert_array_equal(curve.interval(x), expected)
    value, _ = curve.value_and_slope(x)
    np.testing.assert_array_equal(value, curve.value(x))
    outside = (x < energy[0] - 1e-9) | (x > energy[-1] + 1e-9)
    np.testing.assert_array_equal(np.isnan(value), outside)
    np.testing.assert_allclose(curve.value(energy), np.sin(energy / 7), rtol=1e-12)
    inner = energy[2] + 0.03
    numeric = (curve.value(np.array([inner + 1e-5])) - curve.value(np.array([inner - 1e-5]))) / 2e-5
    np.testing.assert_allclose(curve.value_and_slope(np.array([inner]))[1], numeric, rtol=1e-6)


def test_rows_of_a_curved_fit_end_when_they_are_done_and_never_show() -> None:
    random = np.random.default_rng(3)
    x = np.broadcast_to(np.linspace(-3, 3, 50), (5, 50)).copy()
    truth = np.array([[1.0, 0.2, 1.0], [2.0, -0.5, 0.7], [0.5, 0.0, 1.5], [1.0, 1.0, 0.4], [3.0, 0.3, 0.9]])

    def peak(at: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        a, b, c = (p[:, k, None] for k in range(3))
        u = (at - b) / c
        shape = np.exp(-0.5 * u * u)
        return a * shape, [shape, a * shape * u / c, a * shape * u * u / c]

    y = peak(x, truth)[0] + random.normal(0, 1e-3, x.shape)
    weight, count, start = np.ones_like(x), np.full(5, 50), np.tile([1.0, 0.1, 1.0], (5, 1))
    together = curved(peak, x, y, weight, count, start)
    np.testing.assert_allclose(together.coefficients, truth, atol=5e-3)
    assert together.solved.all()
    for row in range(5):
        pick = slice(row, row + 1)
        alone = curved(peak, x[pick], y[pick], weight[pick], count[pick], start[pick])
        np.testing.assert_array_equal(alone.coefficients[0], together.coefficients[row])
    longer = curved(peak, x, y, weight, count, start, iterations=200)
    np.testing.assert_allclose(longer.coefficients, together.coefficients, rtol=1e-12)


def test_one_broad_edge_is_no_two() -> None:
    x = np.arange(8300.0, 8400.0, 0.5)[None]
    count = np.array([x.shape[1]])
    for width in (1.0, 4.0, 12.0):
        found = rival(x, np.arctan((x - 8340) / width), count, np.array([8340.0]), np.array([1e-6]))
        assert not found.near[0]
    both = np.arctan(x - 8335) + 0.7 * np.arctan(x - 8350)
    assert rival(x, both, count, np.array([8335.0]), np.array([1e-6]), equal=0.6).near[0]
    assert not rival(x, both, count, np.array([8335.0]), np.array([1e-6])).near[0]
    # Within noise both are as high.
    assert rival(x, both, count, np.array([8335.0]), np.array([0.15])).near[0]
