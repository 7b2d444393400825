"""A quantity along a condition: lines and breaks. Plain numbers in, records out; statements: `series_compare`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from barospec.archive.operators._kernels.ragged import Floats
from barospec.schemas.errors import CallError, InvalidData

REPLICAS = 999
"""Simulated series behind the significance of a break."""


@dataclass(frozen=True, slots=True)
class Line:
    """A weighted straight line through a series.

    Parameters
    ----------
    slope, slope_sigma, intercept, intercept_sigma : float
        Of ``y = intercept + slope x``.
    center, center_sigma : float
        Value at the weighted middle ``x_middle``, where it is independent of the slope.
    x_middle : float
    chi2, dof : float
        Weighted sum of squared residuals and degrees of freedom; NaN where no sigmas were given.
    p_value : float
        Probability of so large a chi2 if the line were true; NaN where no sigmas were given.
    scaled : float
        Factor that the uncertainties were multiplied by because the points scatter more than their sigmas say.
    x_low, x_high : float
        Range of the points.
    count : int
    """

    slope: float
    slope_sigma: float
    intercept: float
    intercept_sigma: float
    center: float
    center_sigma: float
    x_middle: float
    chi2: float
    dof: int
    p_value: float
    scaled: float
    x_low: float
    x_high: float
    count: int

    def at(self, x: ArrayLike) -> Floats:
        """Evaluate the line at x."""
        value: Floats = self.center + self.slope * (np.asarray(x, dtype=np.float64) - self.x_middle)
        return value

    def band(self, x: ArrayLike, confidence: float = 0.95) -> Floats:
        """Return the half width of the confidence band of the line (of its mean, not of single points) at x."""
        distance = np.asarray(x, dtype=np.float64) - self.x_middle
        sigma = np.hypot(self.center_sigma, self.slope_sigma * distance)
        half: Floats = stats.t.ppf(0.5 + 0.5 * confidence, max(self.dof, 1)) * sigma
        return half


def usable(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None, fewest: int) -> tuple[Floats, Floats, Floats]:
    """Return the points with a number in x and y, by rising x; sigma is NaN everywhere when any of them has none.

    Raises
    ------
    CallError
        For arrays that do not fit together.
    InvalidData
        For fewer than `fewest` points or only one value of x.
    """
    xs, ys = np.ravel(np.asarray(x, dtype=np.float64)), np.ravel(np.asarray(y, dtype=np.float64))
    s = np.full(xs.shape, np.nan) if sigma is None else np.ravel(np.asarray(sigma, float))
    if not xs.shape == ys.shape == s.shape:
        raise CallError(f"x, y and sigma have {xs.size}, {ys.size} and {s.size} values; they must have as many.")
    good = np.isfinite(xs) & np.isfinite(ys)
    if good.sum() < fewest or np.unique(xs[good]).size < 2:
        raise InvalidData(
            f"{int(good.sum())} points with {np.unique(xs[good]).size} different conditions; "
            f"{fewest} points and 2 conditions or more are needed."
        )
    order = np.argsort(xs[good], kind="stable")
    xs, ys, s = xs[good][order], ys[good][order], s[good][order]
    if not (np.isfinite(s) & (s > 0)).all():
        s = np.full(xs.shape, np.nan)
    return xs, ys, s


def fit_line(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None) -> Line:
    """Fit a line by weighted least squares.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Condition and quantity; points without a number are excluded.
    sigma : array_like, shape (n,), optional
        Standard uncertainties of y. Where one is not known none is used: points then count alike and their scatter
        gives the uncertainties.

    Returns
    -------
    Line
        Uncertainties are scaled up by the root of chi2/dof where that is above 1.

    Raises
    ------
    InvalidData
        For fewer than 3 points or a single condition.

    References
    ----------
    P. R. Bevington, D. K. Robinson, "Data Reduction and Error Analysis for the Physical Sciences", chapter 6.

    Examples
    --------
    >>> line = fit_line([0, 1, 2, 3], [1.0, 3.1, 4.9, 7.0], [0.1, 0.1, 0.1, 0.1])
    >>> round(line.slope, 2), round(line.slope_sigma, 3)
    (1.98, 0.045)
    """
    x, y, s = usable(x, y, sigma, 3)
    known = bool(np.isfinite(s).all())
    w = 1.0 / s**2 if known else np.ones(x.size)
    middle = float(np.sum(w * x) / np.sum(w))
    d = x - middle
    spread = float(np.sum(w * d * d))
    slope, center = float(np.sum(w * d * y) / spread), float(np.sum(w * y) / np.sum(w))
    rest = y - center - slope * d
    dof = x.size - 2
    chi2 = float(np.sum(w * rest**2))
    # Without sigmas the scatter is the only measure; with them it can only make the uncertainty larger.
    factor = np.sqrt(chi2 / dof) if not known else np.sqrt(max(1.0, chi2 / dof))
    center_sigma, slope_sigma = float(factor / np.sqrt(np.sum(w))), float(factor / np.sqrt(spread))
    return Line(
        slope=slope,
        slope_sigma=slope_sigma,
        intercept=center - slope * middle,
        intercept_sigma=float(np.hypot(center_sigma, slope_sigma * middle)),
        center=center,
        center_sigma=center_sigma,
        x_middle=middle,
        chi2=chi2 if known else float("nan"),
        dof=dof,
        p_value=float(stats.chi2.sf(chi2, dof)) if known else float("nan"),
        scaled=float(factor) if known else 1.0,
        x_low=float(x[0]),
        x_high=float(x[-1]),
        count=x.size,
    )


@dataclass(frozen=True, slots=True)
class Break:
    """Two straight lines that meet at ``position``, against one line.

    ``low``, ``high`` bound the position at the confidence asked for; ``value`` is where the lines meet; slopes are before
    and behind it;
    ``p_value`` is how often a series that follows one line shows so large an improvement.
    """

    position: float
    low: float
    high: float
    slope_before: float
    slope_before_sigma: float
    slope_behind: float
    slope_behind_sigma: float
    improvement: float
    p_value: float
    line: Line
    value: float

    def at(self, x: ArrayLike) -> Floats:
        """Evaluate the broken line at x."""
        away = np.asarray(x, dtype=np.float64) - self.position
        found: Floats = self.value + np.where(away < 0, self.slope_before, self.slope_behind) * away
        return found


def _broken(x: Floats, y: Floats, w: Floats, places: Floats) -> Floats:
    """Return the weighted sum of squares of the best broken line for each place of the break; y of shape (n, series)."""
    root = np.sqrt(w)[:, None]
    out = np.empty((len(places), y.shape[1]))
    for k, place in enumerate(places):
        terms = np.stack([np.ones_like(x), x - place, np.maximum(x - place, 0.0)], axis=1) * root
        q, _ = np.linalg.qr(terms)
        target = y * root
        rest = target - q @ (q.T @ target)
        out[k] = np.sum(rest**2, axis=0)
    return out


def fit_breakpoint(
    x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None, *, confidence: float = 0.95, seed: int = 0
) -> Break:
    """Find the best place of a change of slope, and how significant it is.

    Parameters
    ----------
    x, y, sigma : array_like, shape (n,)
        As `fit_line`.
    confidence : float
        Of the interval of the position.
    seed : int
        Of the simulated series.

    Returns
    -------
    Break

    Raises
    ------
    InvalidData
        For fewer than 6 points or 5 conditions: each line needs two of its own.

    Notes
    -----
    ``improvement`` is (S1 - S2)/(S2/(n - 4)), S1 and S2 the weighted squares of one line and of two that meet. As the
    place is looked for, its distribution is not the textbook's; ``p_value`` is the share of simulated series, on
    the fitted line with the sigmas as noise (the scatter where they are larger or none are known), with an
    improvement as large. The interval holds the places whose squares are not significantly larger than the best.

    References
    ----------
    V. M. R. Muggeo, Statist. Med. 22, 3055 (2003), doi:10.1002/sim.1545; R. B. Davies, Biometrika 74, 33 (1987),
    doi:10.1093/biomet/74.1.33.

    Examples
    --------
    >>> x = np.arange(20.0)
    >>> found = fit_breakpoint(x, 0.02 * x + 0.05 * np.maximum(x - 12, 0), np.full(20, 0.01))
    >>> round(found.position, 1), found.p_value < 0.01
    (12.0, True)
    """
    x, y, s = usable(x, y, sigma, 6)
    distinct = np.unique(x)
    if distinct.size < 5:
        raise InvalidData(f"{distinct.size} different conditions; a break needs 5 or more.")
    line = fit_line(x, y, s)
    known = bool(np.isfinite(s).all())
    w = 1.0 / s**2 if known else np.ones(x.size)
    places = np.linspace(distinct[1], distinct[-2], 201)
    sums = _broken(x, y[:, None], w, places)[:, 0]
    best = int(sums.argmin())
    one = float(np.sum(w * (y - line.at(x)) ** 2))
    dof = x.size - 4

    def gain(single: Floats | float, double: Floats | float) -> Floats:
        return np.asarray((np.asarray(single) - double) / np.maximum(np.asarray(double) / dof, 1e-300))

    improvement = float(gain(one, float(sums[best])))
    scatter = (s if known else np.full(x.size, np.sqrt(one / (x.size - 2)))) * line.scaled
    noise = np.random.default_rng(seed).normal(size=(x.size, REPLICAS)) * scatter[:, None]
    flat = np.stack([np.ones_like(x), x - line.x_middle], axis=1) * np.sqrt(w)[:, None]
    q, _ = np.linalg.qr(flat)
    target = noise * np.sqrt(w)[:, None]
    singles = np.sum((target - q @ (q.T @ target)) ** 2, axis=0)
    doubles = _broken(x, noise, w, places[::4]).min(axis=0)
    p_value = (1 + int(np.count_nonzero(gain(singles, doubles) >= improvement))) / (REPLICAS + 1)
    unit = max(1.0, sums[best] / dof) if known else sums[best] / dof
    inside = sums <= sums[best] + unit * stats.chi2.ppf(confidence, 1)
    place = float(places[best])
    value, slopes = _slopes(x, y, w, place, unit)
    low, high = float(places[inside].min()), float(places[inside].max())
    return Break(place, low, high, *slopes, improvement, p_value, line, value)


def _slopes(
    x: Floats, y: Floats, w: Floats, place: float, unit: float
) -> tuple[float, tuple[float, float, float, float]]:
    """Return the value where two lines meet, and the slope before it and behind it, each with its sigma."""
    below, above = np.minimum(x - place, 0.0), np.maximum(x - place, 0.0)
    terms = np.stack([np.ones_like(x), below, above], axis=1)
    inverse = np.linalg.inv(terms.T @ (terms * w[:, None]))
    found = inverse @ (terms.T @ (w * y))
    sigma = np.sqrt(np.diag(inverse) * unit)
    return float(found[0]), (float(found[1]), float(sigma[1]), float(found[2]), float(sigma[2]))
