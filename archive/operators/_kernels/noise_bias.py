"""Noise bias of absolute differences, and its removal."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import erf

from barospec.archive.operators._kernels.integrals import row_sum
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints, reduce_segments, segments

WIDTHS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Widths of the normal distributions, in units of the noise, that the true differences are a mixture of."""
STEPS = 40
"""Steps of the expectation-maximization that finds the mixture."""
ROUNDS = 2
FARTHEST = 9.0
"""Differences beyond this many sigmas keep their sign whatever the noise."""


def folded(delta: Floats, sigma: Floats) -> Floats:
    """Return the expectation of the absolute value of a normal variable of mean `delta` and standard deviation `sigma`.

    >>> folded(np.array([0.0, 3.0]), np.array([1.0, 0.0])).round(4).tolist()
    [0.7979, 3.0]
    """
    with np.errstate(all="ignore"):
        z = np.where(sigma > 0, delta / np.where(sigma > 0, sigma, 1.0), 0.0)
        value = sigma * np.sqrt(2 / np.pi) * np.exp(-0.5 * z * z) + delta * erf(z / np.sqrt(2.0))
    out: Floats = np.where(sigma > 0, value, np.abs(delta))
    return out


@cache
def _tables() -> tuple[Floats, Floats, Floats, Floats]:
    """Tabulate, in units of the noise, against an observed difference z: the estimate corrected by its own bias and
    its variance at a true difference z; for each of `WIDTHS`, what noise adds on average where z is observed.
    """
    seen = np.linspace(0.0, FARTHEST, 361)
    node, weight = np.polynomial.hermite_e.hermegauss(61)
    weight = weight / weight.sum()
    guess = np.sqrt(np.maximum(seen**2 - 1.0, 0.0))
    estimate = seen.copy()
    around = np.abs(seen[:, None] + node)
    for _ in range(ROUNDS):
        # Beyond the table noise no longer folds anything.
        value = np.where(around > seen[-1], around, np.interp(around, seen, estimate))
        estimate = estimate - np.interp(guess, seen, value @ weight - seen)
    value = np.where(around > seen[-1], around, np.interp(around, seen, estimate))
    variance = value**2 @ weight - (value @ weight) ** 2
    added = []
    for width in WIDTHS:
        shrink = width**2 / (1.0 + width**2)
        true = np.abs(shrink * seen[:, None] + np.sqrt(shrink) * node)
        added.append((folded(true, np.ones_like(true)) - true) @ weight)
    return seen, estimate, variance, np.stack(added)


def unfolded(delta: Floats, sigma: Floats) -> Floats:
    """Estimate the absolute value of one true difference from an observed one with noise `sigma`.

    >>> unfolded(np.array([5.0, 0.5]), np.array([1e-9, 0.0])).tolist()
    [5.0, 0.5]
    """
    seen, estimate, *_ = _tables()
    size, z = np.abs(delta), in_noise(delta, sigma)
    out: Floats = np.where(z >= seen[-1], size, sigma * np.interp(z, seen, estimate))
    return out


def scatter(delta: Floats, sigma: Floats) -> Floats:
    """Return the variance of `unfolded` at a true difference, in units of ``sigma^2``; 1 far from 0."""
    seen, _, variance, _ = _tables()
    found: Floats = np.interp(in_noise(delta, sigma), seen, variance)
    return found


def in_noise(delta: Floats, sigma: Floats) -> Floats:
    """Return |delta| in units of the noise; infinite without noise."""
    with np.errstate(all="ignore"):
        found: Floats = np.where(sigma > 0, np.abs(delta) / np.where(sigma > 0, sigma, 1.0), np.inf)
    return found


def without_noise(delta: Floats, sigma: Floats, used: Bools, count: Ints) -> Floats:
    """Return |delta| of every point less what noise adds to it on average, (rows, points).

    How much that is depends on the true difference: sigma sqrt(2/pi) where there is none, nothing where it is large.
    What true differences a row has is found from the row: a mixture of normal distributions of `WIDTHS`, of greatest
    likelihood. Where a row's differences are all noise, all of it is taken away, and the sum has no bias.
    """
    seen, _, _, added = _tables()
    z = np.where(used, np.minimum(in_noise(delta, sigma), 1e6), 0.0)
    likelihood = []
    for width in WIDTHS:
        spread = 1.0 + width**2
        likelihood.append(np.maximum(np.exp(-0.5 * z * z / spread) / np.sqrt(spread), 1e-300))
    points = np.maximum(row_sum(used.astype(np.float64), count), 1.0)
    share = [np.full(len(z), 1.0 / len(WIDTHS)) for _ in WIDTHS]
    counted = used.astype(np.float64)
    ends = segments(np.zeros_like(count), count, z.shape[1])
    total, product = np.empty_like(z), np.empty_like(z)
    for _ in range(STEPS):
        total[:] = 0.0
        for one, part in zip(likelihood, share, strict=True):
            total += np.multiply(one, part[:, None], out=product)
        inverse = np.divide(counted, total, out=total)
        share = [
            part * reduce_segments(np.add, np.multiply(one, inverse, out=product), ends) / points
            for one, part in zip(likelihood, share, strict=True)
        ]
    more = np.zeros_like(z)
    for k, (one, part) in enumerate(zip(likelihood, share, strict=True)):
        more += one * part[:, None] * inverse * np.interp(z, seen, added[k])
    out: Floats = np.where(used, np.abs(delta) - np.where(sigma > 0, sigma * more, 0.0), 0.0)
    return out
