"""Competing inflection points of an edge: another maximum of the derivative, farther away and nearly as high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.crop import crop
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints

EQUAL = 0.8
"""Share of the slope at e0 from which another maximum counts as nearly as high."""
APART = 5.0
"""eV from e0 where another maximum begins to be another one."""
REACH = 30.0
"""eV on either side of e0 that are looked at."""
HALF = 1.0
"""eV on either side over which a slope is taken; two points at least."""
DIP = 0.9
"""The derivative falls between two maxima to this share of the lower one, or they are one."""
SIGMAS, CERTAIN = 2.0, 5.0
"""Two slopes are equal if they differ by less than SIGMAS of their uncertainty, and each is above CERTAIN of its own."""


@dataclass(slots=True)
class CompetingMaximum:
    """The highest other maximum of each row, (rows,): its energy in eV (a grid point, NaN without one), its slope over that
    at e0, and whether that is nearly as high, by its share or within noise.
    """

    energy: Floats
    ratio: Floats
    near: Bools


def rival(energy: Floats, y: Floats, count: Ints, e0: Floats, noise: Floats, equal: float = EQUAL) -> CompetingMaximum:
    """Look for another maximum of the derivative within `REACH` of e0.

    Parameters
    ----------
    energy, y : ndarray, shape (rows, points)
        As in `ragged.Rows`; absorption of any scale.
    count : ndarray of int, shape (rows,)
    e0 : ndarray, shape (rows,)
        In eV, finite.
    noise : ndarray, shape (rows,)
        Standard deviation of a point of y; NaN where not known.
    equal : float
        See `EQUAL`.
    """
    cut = crop(energy, count, e0 - REACH - HALF, e0 + REACH + HALF)
    x, size = cut.take(energy, np.inf), cut.count
    slope, sigma = _slopes(x, cut.take(y), size, e0, noise)
    column = np.arange(x.shape[1])
    distance = np.where(column < size[:, None], x - e0[:, None], np.inf)
    here = np.where(np.abs(distance) <= HALF, slope, -np.inf)
    center = np.where(np.isfinite(here.max(axis=1)), here.argmax(axis=1), np.abs(distance).argmin(axis=1))
    height = ragged.at(slope, center)
    # The lowest slope on the way from e0 to each point, to the right and to the left.
    right = np.minimum.accumulate(np.where(column >= center[:, None], slope, np.inf), axis=1)
    left = np.minimum.accumulate(np.where(column <= center[:, None], slope, np.inf)[:, ::-1], axis=1)[:, ::-1]
    dip = np.where(column >= center[:, None], right, left)
    top = np.zeros(x.shape, dtype=bool)
    top[:, 1:-1] = (slope[:, 1:-1] >= slope[:, :-2]) & (slope[:, 1:-1] > slope[:, 2:])
    top &= (np.abs(distance) > APART) & (np.abs(distance) <= REACH) & (column < size[:, None] - 1) & (column > 0)
    top &= dip <= DIP * np.minimum(slope, height[:, None])
    other = np.where(top, slope, -np.inf).argmax(axis=1)
    found = top.any(axis=1)
    there = ragged.at(slope, other)
    spread = np.hypot(ragged.at(sigma, center), ragged.at(sigma, other))
    alike = (height - there <= SIGMAS * spread) & (there > CERTAIN * ragged.at(sigma, other))
    near = found & ((there >= equal * height) | alike)
    return CompetingMaximum(np.where(found, ragged.at(x, other), np.nan), np.where(found, there / height, np.nan), near)


def _slopes(x: Floats, y: Floats, count: Ints, e0: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Fit a line through the points within `HALF` of each; slope and sigma, -inf and NaN in the padding."""
    column = np.arange(x.shape[1])
    real = column < count[:, None]
    t = np.where(real, x - e0[:, None], 0.0)
    last = np.maximum(count - 1, 0)[:, None]
    place = np.where(real, x, np.inf)
    begin = np.minimum(ragged.last_at_or_below(place, e0[:, None] + t - HALF) + 1, column - 2)
    end = np.maximum(ragged.last_at_or_below(place, e0[:, None] + t + HALF), column + 2)
    begin, end = np.clip(begin, 0, last), np.clip(end, 0, last)

    def between(values: Floats) -> Floats:
        total = np.zeros((len(values), values.shape[1] + 1))
        np.cumsum(np.where(real, values, 0.0), axis=1, out=total[:, 1:])
        inner: Floats = np.take_along_axis(total, end + 1, axis=1) - np.take_along_axis(total, begin, axis=1)
        return inner

    level = np.where(real, y - y[:, :1], 0.0)
    points = (end - begin + 1).astype(np.float64)
    first, height = between(t), between(level)
    width = between(t * t) - first * first / points
    slope = (between(t * level) - first * height / points) / np.where(width > 0, width, np.nan)
    sigma = noise[:, None] / np.sqrt(np.where(width > 0, width, np.nan))
    return np.where(real & np.isfinite(slope), slope, -np.inf), np.nan_to_num(sigma)
