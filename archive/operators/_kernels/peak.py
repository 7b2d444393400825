"""The top of a peak by a polynomial through the points around it, with uncertainties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._kernels.crop import crop
from barospec.archive.operators._kernels.integrals import inside
from barospec.archive.operators._kernels.least_squares import Fit, linear
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints, nearest

PASSES = 3
"""Fits, each in a window around the top that the last one found."""


@dataclass(slots=True)
class PeakFit:
    """Position (eV) and height of a maximum with their standard uncertainties for the variance given, (rows,);
    whether there is one; and the weight of each point in a small change of either, (rows, points).
    """

    position: Floats
    position_sigma: Floats
    height: Floats
    height_sigma: Floats
    found: Bools
    position_kernel: Floats
    height_kernel: Floats


def highest(energy: Floats, y: Floats, among: Bools) -> tuple[Floats, Bools]:
    """Return the energy of the highest point `among` (the first of equals), and whether it is not their first or last."""
    level = np.where(among, y, -np.inf)
    index = level.argmax(axis=1)
    rows = np.arange(len(energy))
    first = among.argmax(axis=1)
    last = among.shape[1] - 1 - among[:, ::-1].argmax(axis=1)
    within = among.any(axis=1) & (index > first) & (index < last) & np.isfinite(level[rows, index])
    return np.where(within, energy[rows, index], np.nan), within


def fit_top(
    energy: Floats, y: Floats, count: Ints, center: Floats, half: float, degree: int, variance: Floats
) -> PeakFit:
    """Fit a polynomial within `half` of `center`, move to its maximum, and fit once more.

    Parameters
    ----------
    energy, y : ndarray, shape (rows, points)
    center : ndarray, shape (rows,)
        First guess in eV; NaN where there is none.
    half : float
        Half width of the fitted window in eV; wider where fewer than degree + 3 points lie in it.
    degree : int
        Of the polynomial, 2 or more.
    variance : ndarray, shape (rows,) or (rows, points)
        Of a point; where not known, the scatter about the fit stands in its place.
    """
    known = variance if variance.ndim == 2 else np.broadcast_to(variance[:, None], y.shape)
    usable = np.isfinite(known) & (known > 0)
    scaled = np.where(usable.any(axis=1, keepdims=True), known, 1.0)
    start = np.where(np.isfinite(center), center, 0.0)
    width = _wide_enough(energy, count, start, half, degree + 3)
    # A pass moves the window by its half width at most, and the taper ends at 1.25 of it.
    cut = crop(energy, count, start - (PASSES + 1.5) * width, start + (PASSES + 1.5) * width)
    energy, y, scaled, count = cut.take(energy, np.inf), cut.take(y), cut.take(scaled, 1.0), cut.count
    position = start
    for _ in range(PASSES):
        center_now = position
        fit, basis, weight, moved = _polynomial(energy, y, count, center_now, width, degree, scaled)
        position = np.where(np.isfinite(moved), position + moved * width, position)
    slope_terms = np.stack([k * moved ** max(k - 1, 0) if k else 0 * moved for k in range(degree + 1)], axis=1)
    curvature = sum(k * (k - 1) * moved ** (k - 2) * fit.coefficients[:, k] for k in range(2, degree + 1))
    value_terms = np.stack([moved**k for k in range(degree + 1)], axis=1)
    taken = inside(energy, count, center_now - width, center_now + width)
    free = np.maximum(np.count_nonzero(taken, axis=1) - degree - 1, 1)
    # Without a known variance the points were weighted alike and their scatter says what it is.
    factor = np.where(usable.any(axis=1), 1.0, fit.chi2 / free)
    drawn = _drawn_along(energy, y, count, (position, width), degree, scaled)
    lever = drawn * width / -curvature
    return PeakFit(
        position=np.where(np.isfinite(moved), center_now + moved * width, np.nan),
        position_sigma=np.sqrt(factor * fit.combine(slope_terms)) * np.abs(lever),
        height=(value_terms * fit.coefficients).sum(axis=1),
        height_sigma=np.sqrt(factor * fit.combine(value_terms)),
        found=np.isfinite(center) & np.isfinite(moved) & (curvature < 0),
        position_kernel=cut.put(lever[:, None] * fit.kernel(basis, weight, slope_terms)),
        height_kernel=cut.put(fit.kernel(basis, weight, value_terms)),
    )


def _polynomial(
    energy: Floats, y: Floats, count: Ints, center: Floats, width: Floats, degree: int, variance: Floats
) -> tuple[Fit, list[Floats], Floats, Floats]:
    """Fit a polynomial around `center`; return fit, basis, weights, and the place of its maximum in units of `width`."""
    # The window ends go down smoothly to no weight, so that a point never jumps in or out.
    t = (energy - center[:, None]) / width[:, None]
    t = np.where(np.abs(t) < 1.5, t, 2.0)
    taper = np.clip((1.25 - np.abs(t)) / 0.5, 0.0, 1.0)
    weight = np.where(variance > 0, taper / np.where(variance > 0, variance, 1.0), 0.0)
    basis = [t**k for k in range(degree + 1)]
    fit = linear(basis, y, weight, count, variance)
    top = _maximum(fit.coefficients)
    return fit, basis, weight, np.where(fit.solved & np.isfinite(top), top, np.nan)


def _drawn_along(
    energy: Floats, y: Floats, count: Ints, window: tuple[Floats, Floats], degree: int, variance: Floats
) -> Floats:
    """Return how much farther the top moves than the window's polynomial says, since the window moves along with it.

    A top found in a window around itself is a fixed point: where the top found depends on the window's middle with
    slope k (the peak is no polynomial), `PASSES` fits move it by ``1 + k + k^2`` times as much as one.
    """
    center, width = window
    tops = []
    for side in (-0.1, 0.1):
        middle = center + side * width
        moved = _polynomial(energy, y, count, middle, width, degree, variance)[3]
        tops.append(middle + moved * width)
    k = np.clip((tops[1] - tops[0]) / (0.2 * width), -0.6, 0.6)
    factor: Floats = np.where(np.isfinite(k), sum(k**n for n in range(PASSES)), 1.0)
    return factor


def _wide_enough(energy: Floats, count: Ints, center: Floats, half: float, fewest: int) -> Floats:
    # The nearest ones all lie within as many places of the nearest of all.
    place = nearest(energy, center)[:, None] + np.arange(-fewest, fewest + 1)
    real = (place >= 0) & (place < count[:, None])
    near = np.take_along_axis(energy, np.clip(place, 0, energy.shape[1] - 1), axis=1)
    distance = np.abs(np.where(real, near - center[:, None], np.inf))
    rank = min(fewest, energy.shape[1]) - 1
    reach = np.partition(distance, rank, axis=1)[:, rank]
    return np.maximum(half, np.where(np.isfinite(reach), reach, half))


def _maximum(coefficients: Floats) -> Floats:
    """Find where the polynomial, in t from -1 to 1, has its maximum; NaN where nowhere. Newton from the best of 33."""
    t = np.linspace(-1.0, 1.0, 33)
    degree = coefficients.shape[1] - 1
    values = np.zeros((len(coefficients), t.size))
    for k in range(degree, -1, -1):
        values = values * t + coefficients[:, k, None]
    best = t[values[:, 1:-1].argmax(axis=1) + 1]
    start = best
    for _ in range(12):
        first = sum(k * coefficients[:, k] * best ** (k - 1) for k in range(1, degree + 1))
        second = sum(k * (k - 1) * coefficients[:, k] * best ** (k - 2) for k in range(2, degree + 1))
        step = np.where(second < 0, first / np.where(second < 0, second, 1.0), np.nan)
        best = best - np.clip(step, -0.2, 0.2)
    return np.where((np.abs(best) <= 1.0) & (np.abs(best - start) < 0.5), best, np.nan)
