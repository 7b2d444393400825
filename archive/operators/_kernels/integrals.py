"""Sums and integrals over the points of each row, and what they need: weights, interpolation, noise.

A row's result depends on its own points alone, to the last bit: every sum runs over an index segment.
"""

from __future__ import annotations

import numpy as np

from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints, reduce_segments, segments

MEDIAN_OF_CHI2 = 0.45493642311957305
"""Median of the square of a standard normal variable."""

NOISE_POINTS = 12
"""Points below which no noise is estimated."""


def row_sum(values: Floats, count: Ints) -> Floats:
    """Sum the first `count` values of each row; rows have one or more."""
    if not len(values):
        return np.empty(0)
    return reduce_segments(np.add, values, segments(np.zeros_like(count), count, values.shape[1]))


def row_max(values: Floats, count: Ints) -> Floats:
    """Return the largest of the first `count` values of each row."""
    if not len(values):
        return np.empty(0)
    return reduce_segments(np.maximum, values, segments(np.zeros_like(count), count, values.shape[1]))


def inside(energy: Floats, count: Ints, low: Floats | float, high: Floats | float) -> Bools:
    """Select the points between `low` and `high`, ends included (to 1e-9 eV); one number, or one per row."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    shape = (-1, 1)
    lower = low.reshape(shape) if low.ndim else low
    upper = high.reshape(shape) if high.ndim else high
    found: Bools = (energy >= lower - 1e-9) & (energy <= upper + 1e-9)
    found &= np.arange(energy.shape[1]) < count[:, None]
    return found


def covered(energy: Floats, count: Ints, low: Floats | float, high: Floats | float) -> Bools:
    """Select the rows measured from `low` to `high`."""
    last = energy[np.arange(len(energy)), np.maximum(count - 1, 0)]
    found: Bools = (energy[:, 0] <= np.asarray(low) + 1e-9) & (last >= np.asarray(high) - 1e-9)
    return found


def weights_between(energy: Floats, count: Ints, low: Floats | float, high: Floats | float) -> Floats:
    """Return weights w with sum(w y) the integral of the straight lines between the points from `low` to `high`.

    The trapezoidal rule with the two cut intervals at the ends done exactly; 0 outside, and where a row has no
    points.

    Parameters
    ----------
    energy : ndarray, shape (rows, points)
        In eV, as in `ragged.Rows`.
    count : ndarray of int, shape (rows,)
    low, high : float or ndarray of shape (rows,)
        In eV.

    Returns
    -------
    ndarray, shape (rows, points)
        In eV.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    lower = low.reshape(-1, 1) if low.ndim else low
    upper = high.reshape(-1, 1) if high.ndim else high
    points = energy.shape[1]
    real = np.arange(1, points) < count[:, None]
    left = np.where(real, energy[:, :-1], 0.0)
    right = np.where(real, energy[:, 1:], 1.0)
    begin, end = np.clip(left, lower, upper), np.clip(right, lower, upper)
    width = np.where(real, end - begin, 0.0)
    share = (0.5 * (begin + end) - left) / (right - left)
    weights = np.zeros_like(energy)
    weights[:, :-1] += width * (1.0 - share)
    weights[:, 1:] += width * share
    return weights


def value_at(energy: Floats, y: Floats, count: Ints, where: Floats) -> Floats:
    """Interpolate y linearly to `where` (one per row); NaN outside the scan."""
    rows = np.arange(len(energy))
    below = (energy <= where[:, None]) & (np.arange(energy.shape[1]) < count[:, None])
    left = np.clip(np.count_nonzero(below, axis=1) - 1, 0, np.maximum(count - 2, 0))
    right = np.minimum(left + 1, energy.shape[1] - 1)
    x0, x1 = energy[rows, left], energy[rows, right]
    u = (where - x0) / (x1 - x0)
    out: Floats = np.where((u >= 0) & (u <= 1), y[rows, left] + u * (y[rows, right] - y[rows, left]), np.nan)
    return out


def interpolated(x: Floats, reference_energy: Floats, reference: Floats) -> Floats:
    """Interpolate a reference curve linearly to the energies x; NaN where it was not measured."""
    good = np.isfinite(reference_energy) & np.isfinite(reference)
    xr, yr = reference_energy[good], reference[good]
    order = np.argsort(xr, kind="stable")
    if xr.size < 2:
        return np.full(x.shape, np.nan)
    out: Floats = np.interp(x, xr[order], yr[order], left=np.nan, right=np.nan)
    return out


def _residuals(energy: Floats, y: Floats, count: Ints) -> tuple[Floats, list[Floats]]:
    """Return distances of points to the cubic through two neighbors on each side, and the four weights of that cubic.

    NaN in the padding; shape (rows, points - 4).
    """
    x = np.where(np.arange(energy.shape[1]) < count[:, None], energy, np.nan)
    parts = [slice(0, -4), slice(1, -3), slice(3, -1), slice(4, None)]
    here = x[:, 2:-2]
    around = [x[:, part] for part in parts]
    weights = []
    for j in range(4):
        weight = np.ones_like(here)
        for m in range(4):
            if m != j:
                weight = weight * (here - around[m]) / (around[j] - around[m])
        weights.append(weight)
    distance = y[:, 2:-2].copy()
    for weight, part in zip(weights, parts, strict=True):
        distance -= weight * y[:, part]
    return distance, weights


def white_noise(energy: Floats, y: Floats, count: Ints) -> Floats:
    """Estimate the standard deviation of a point, the same for all points of a row; NaN below `NOISE_POINTS` points.

    From the median squared distance to the cubic through four neighbors: smooth structure drops out to third
    order, and the few points that are not smooth (a steep edge, a glitch) hardly move a median. Correlated
    points (rebinned, interpolated, smoothed data) make it too small.
    """
    out = np.full(len(energy), np.nan)
    if energy.shape[1] < NOISE_POINTS:
        return out
    distance, weights = _residuals(energy, y, count)
    squares: Floats = np.asarray(distance**2 / (1.0 + sum(weight**2 for weight in weights)))
    squares[~np.isfinite(squares)] = np.inf
    able = count >= NOISE_POINTS
    inner = np.where(able, count - 4, 1)
    ordered = np.sort(squares, axis=1)
    rows = np.arange(len(energy))
    middle = 0.5 * (ordered[rows, (inner - 1) // 2] + ordered[rows, inner // 2])
    return np.where(able & np.isfinite(middle), np.sqrt(middle / MEDIAN_OF_CHI2), np.nan)


def counting_variance(energy: Floats, y: Floats, count: Ints) -> Floats:
    """Estimate the variance of every point as ``a + g y``, constant noise plus counting noise, from the curve itself.

    The squared distances to the cubic through four neighbors are fitted by a and g (neither negative), weighted
    by their own expected scatter. Structure narrower than a few points is counted as noise. NaN below
    `NOISE_POINTS` points.
    """
    if energy.shape[1] < NOISE_POINTS:
        return np.full(energy.shape, np.nan)
    distance, weights = _residuals(energy, y, count)
    # A point without counts has no less noise than one with a thousandth of the most.
    level = np.maximum(y, 1e-3 * row_max(y, count)[:, None])
    parts = [slice(0, -4), slice(1, -3), slice(3, -1), slice(4, None)]
    constant: Floats = np.ones_like(distance)
    for weight in weights:
        constant = constant + weight**2
    counting = level[:, 2:-2] + sum(w**2 * level[:, p] for w, p in zip(weights, parts, strict=True))
    squares = distance**2
    empty = ~np.isfinite(squares)
    for array in (constant, counting, squares):
        array[empty] = 0.0
    inner = np.maximum(count - 4, 1)
    tiny = 1e-30 * np.maximum(row_max(level, count), 1e-300) ** 2
    a = row_sum(squares, inner) / row_sum(constant + empty, inner)
    g = np.zeros_like(a)
    for _ in range(6):
        expected = a[:, None] * constant + g[:, None] * counting + tiny[:, None]
        weight = np.where(empty, 0.0, 1.0 / expected**2)
        cc, cg, gg = (
            row_sum(weight * left * right, inner)
            for left, right in ((constant, constant), (constant, counting), (counting, counting))
        )
        cs, gs = row_sum(weight * constant * squares, inner), row_sum(weight * counting * squares, inner)
        determinant = cc * gg - cg * cg
        regular = determinant > 1e-10 * cc * gg
        both_a = np.where(regular, (gg * cs - cg * gs) / np.where(regular, determinant, 1.0), -1.0)
        both_g = np.where(regular, (cc * gs - cg * cs) / np.where(regular, determinant, 1.0), -1.0)
        only_a, only_g = cs / cc, gs / gg
        good = (both_a >= 0) & (both_g >= 0)
        prefer_g = np.where(np.isfinite(only_g), both_a < 0, False)
        a = np.where(good, both_a, np.where(prefer_g, 0.0, only_a))
        g = np.where(good, both_g, np.where(prefer_g, only_g, 0.0))
    variance = a[:, None] + g[:, None] * level
    return np.where((count >= NOISE_POINTS)[:, None], variance, np.nan)
