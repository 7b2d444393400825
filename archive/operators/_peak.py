"""The top of a peak by a polynomial through the points around it, with uncertainties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._grid import Bools, Floats, Ints
from barospec.archive.operators._least_squares import linear
from barospec.archive.operators._sums import inside


@dataclass(slots=True)
class Top:
    """Position (eV) and height of a maximum with their standard uncertainties, (rows,); whether there is one."""

    position: Floats
    position_sigma: Floats
    height: Floats
    height_sigma: Floats
    found: Bools


def highest(energy: Floats, y: Floats, among: Bools) -> tuple[Floats, Bools]:
    """Energy of the highest of the points `among`, the first of equals; and whether it is not their first or last."""
    level = np.where(among, y, -np.inf)
    index = level.argmax(axis=1)
    rows = np.arange(len(energy))
    first = among.argmax(axis=1)
    last = among.shape[1] - 1 - among[:, ::-1].argmax(axis=1)
    within = among.any(axis=1) & (index > first) & (index < last) & np.isfinite(level[rows, index])
    return np.where(within, energy[rows, index], np.nan), within


def fit_top(energy: Floats, y: Floats, count: Ints, center: Floats, half: float, degree: int, variance: Floats) -> Top:
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
    position, moved = start, np.zeros(len(start))
    for _ in range(3):
        # The window ends go down smoothly to no weight, so that a point never jumps in or out.
        t = (energy - position[:, None]) / width[:, None]
        t = np.where(np.abs(t) < 1.5, t, 2.0)
        taper = np.clip((1.25 - np.abs(t)) / 0.5, 0.0, 1.0)
        weight = np.where(scaled > 0, taper / np.where(scaled > 0, scaled, 1.0), 0.0)
        fit = linear([t**k for k in range(degree + 1)], y, weight, count, scaled)
        top = _maximum(fit.coefficients)
        moved = np.where(fit.solved & np.isfinite(top), top, np.nan)
        center_now = position
        position = np.where(np.isfinite(moved), position + moved * width, position)
    slope_terms = np.stack([k * moved ** max(k - 1, 0) if k else 0 * moved for k in range(degree + 1)], axis=1)
    curvature = sum(k * (k - 1) * moved ** (k - 2) * fit.coefficients[:, k] for k in range(2, degree + 1))
    value_terms = np.stack([moved**k for k in range(degree + 1)], axis=1)
    taken = inside(energy, count, center_now - width, center_now + width)
    free = np.maximum(np.count_nonzero(taken, axis=1) - degree - 1, 1)
    # Without a known variance the points were weighted alike and their scatter says what it is.
    factor = np.where(usable.any(axis=1), 1.0, fit.chi2 / free)
    height = (value_terms * fit.coefficients).sum(axis=1)
    return Top(
        position=np.where(np.isfinite(moved), center_now + moved * width, np.nan),
        position_sigma=np.sqrt(factor * fit.combine(slope_terms)) * width / np.abs(curvature),
        height=height,
        height_sigma=np.sqrt(factor * fit.combine(value_terms)),
        found=np.isfinite(center) & np.isfinite(moved) & (curvature < 0),
    )


def _wide_enough(energy: Floats, count: Ints, center: Floats, half: float, fewest: int) -> Floats:
    distance = np.abs(np.where(np.arange(energy.shape[1]) < count[:, None], energy - center[:, None], np.inf))
    rank = np.minimum(fewest, energy.shape[1]) - 1
    reach = np.partition(distance, rank, axis=1)[:, rank]
    return np.maximum(half, np.where(np.isfinite(reach), reach, half))


def _maximum(coefficients: Floats) -> Floats:
    """Where the polynomial, in t from -1 to 1, is highest and level; NaN where nowhere. Newton from the best of 33."""
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
