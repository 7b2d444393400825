"""Shift of a curve against a reference curve, by least squares over a window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import Batch, make_batch
from barospec.archive.operators._kernels.crop import Crop, crop
from barospec.archive.operators._kernels.integrals import NOISE_POINTS, covered, inside, row_sum, white_noise
from barospec.archive.operators._kernels.least_squares import Fit, linear, solved
from barospec.archive.operators._kernels.propagation import interpolating, length, on_mu, unpacked
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints
from barospec.schemas.errors import CallError

STEPS = 41
REASONS = ("the scan, shifted, does not cover the window", "no shift within `most` fits best")
"""What `best_shift` may say of a row, from code `NOT_COVERED` on."""
NOT_COVERED, NO_SHIFT = 3, 4
PASSES, LARGEST_STEP = 12, 0.5
"""Gauss-Newton's steps at most, and how far one goes at most, in eV."""
FARTHEST = PASSES * LARGEST_STEP
MOST_BINS = 1 << 16


@dataclass(slots=True)
class Reference:
    """One reference curve: ascending energies, values, the noise of a point (NaN where not known), and what
    normalized it (see `propagation.unpacked`).
    """

    energy: Floats
    curve: Floats
    noise: float
    numbers: dict[str, Floats]

    def variance(self, kernel: Floats, x: Floats) -> Floats:
        """Return what the reference's noise adds to the variance of results that have it at the energies x with this
        kernel, both (rows, points); 0 where its noise is not known.
        """
        own = interpolating(kernel, x, self.energy)
        count = np.full(len(own), self.energy.size)
        axis, curve = (np.broadcast_to(array, own.shape) for array in (self.energy, self.curve))
        numbers = {name: np.broadcast_to(value, len(own)) for name, value in self.numbers.items()}
        found: Floats = np.nan_to_num(self.noise) ** 2 * length(on_mu(own, axis, curve, count, numbers), count) ** 2
        return found

    def left(self, x: Floats) -> Floats:
        """Return the variance that interpolation to the energies x leaves of unit noise, (rows, points)."""
        axis = self.energy
        i = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, axis.size - 2)
        u = np.clip((np.where(np.isfinite(x), x, axis[0]) - axis[i]) / (axis[i + 1] - axis[i]), 0.0, 1.0)
        found: Floats = (1 - u) ** 2 + u**2
        return found


@dataclass(slots=True)
class Shift:
    """Shift that brings a row onto the reference (added to its energies), with its standard uncertainty; the factor and
    the relative residual. All (rows,).
    """

    shift: Floats
    sigma: Floats
    scale: Floats
    residual: Floats


def window_of(operator: str, low: float | None, high: float | None, most: float) -> tuple[float, float]:
    """Check a window in eV and return it.

    Raises
    ------
    CallError
        For a window or a largest shift that is none.
    """
    if low is None or high is None or not low < high or not most > 0:
        raise CallError(f"{operator} needs low < high, the window in eV, and most above 0 eV.")
    return float(low), float(high)


def reference_curve(
    operator: str, energy: ArrayLike | None, curve: ArrayLike | None, normalization: ArrayLike | None = None
) -> Reference:
    """Check a reference and bring it into order.

    Raises
    ------
    CallError
        When there is none, or it has fewer than two points.
    """
    if energy is None or curve is None:
        raise CallError(
            f'{operator} needs a reference: a query that finds the spectrum, such as --with reference="NiO at 1 bar".'
        )
    numbers = unpacked(normalization if normalization is None else np.reshape(normalization, (-1, 7)))
    batch = make_batch(np.atleast_2d(energy), np.atleast_2d(curve), fewest=2, numbers=numbers)
    if not len(batch.count) or len(batch.count) > 1:
        raise CallError(f"{operator}: the reference has no two points with a value, or is more than one curve.")
    with np.errstate(all="ignore"):
        noise = white_noise(batch.energy, batch.signals[0], batch.count)[0]
    count = int(batch.count[0])
    return Reference(batch.energy[0, :count], batch.signals[0][0, :count], float(noise), batch.numbers)


class Curve:
    """The cubic Hermite curve through the points of a reference, ready to be looked up."""

    def __init__(self, reference: Reference) -> None:
        e, y = reference.energy, reference.curve
        m = np.gradient(y, e) if e.size > 2 else np.full(e.size, (y[1] - y[0]) / (e[1] - e[0]))
        h = np.diff(e)
        rise, m0, m1 = np.diff(y), m[:-1] * h, m[1:] * h
        self.energy, self.width = e, h
        self.terms = (y[:-1], m0, 3 * rise - 2 * m0 - m1, -2 * rise + m0 + m1)
        # Equal bins, none wider than an interval: the interval of an energy is that of its bin or the next.
        bins = int(np.ceil((e[-1] - e[0]) / h.min())) + 1
        self._bin = (e[-1] - e[0]) / bins
        places = e[0] + self._bin * np.arange(bins + 1) if bins <= MOST_BINS else None
        self._table = None if places is None else np.searchsorted(e, places, side="right") - 1

    def interval(self, x: Floats) -> Ints:
        """Return the index of the interval of each energy; the first or last one outside."""
        e, last = self.energy, self.energy.size - 2
        if self._table is None:
            return np.clip(np.searchsorted(e, x, side="right") - 1, 0, last)
        place = np.clip((x - e[0]) / self._bin, 0, self._table.size - 1).astype(np.intp)
        i: Ints = np.minimum(self._table[place], last)
        i -= (x < e[i]) & (i > 0)
        i += (x >= e[i + 1]) & (i < last)
        return i

    def value(self, x: Floats) -> Floats:
        """Interpolate the curve to x; NaN outside."""
        i = self.interval(x)
        t = (x - self.energy[i]) / self.width[i]
        y0, m0, c2, c3 = (term[i] for term in self.terms)
        return self._within(x, y0 + t * (m0 + t * (c2 + t * c3)))

    def value_and_slope(self, x: Floats) -> tuple[Floats, Floats]:
        """Interpolate the curve and its derivative to x; NaN outside."""
        i = self.interval(x)
        h = self.width[i]
        t = (x - self.energy[i]) / h
        y0, m0, c2, c3 = (term[i] for term in self.terms)
        slope = (m0 + t * (2 * c2 + 3 * t * c3)) / h
        return self._within(x, y0 + t * (m0 + t * (c2 + t * c3))), self._within(x, slope)

    def _within(self, x: Floats, values: Floats) -> Floats:
        values[~((x >= self.energy[0] - 1e-9) & (x <= self.energy[-1] + 1e-9))] = np.nan
        return values


@dataclass(slots=True)
class _Search:
    """Rows, a curve to shift them onto, and the model: ``y(E) = [a] ref(E + shift) [+ b + c E]``."""

    x: Floats
    y: Floats
    count: Ints
    curve: Curve
    low: float
    high: float
    line: bool
    scale: bool

    def cropped(self, low: Floats | float, high: Floats | float) -> tuple[_Search, Crop]:
        """Return the same on the points from `low` to `high`."""
        cut = crop(self.x, self.count, low, high)
        return replace(self, x=cut.take(self.x, np.inf), y=cut.take(self.y), count=cut.count), cut

    def chosen(self, rows: Bools) -> _Search:
        """Return the same for some of the rows."""
        return replace(self, x=self.x[rows], y=self.y[rows], count=self.count[rows])

    def taken(self, shift: Floats, sloped: bool) -> tuple[Bools, Floats, Floats, list[Floats]]:
        """Return points in the window after a shift; there the reference, its slope, and the terms of the background."""
        moved = self.x + shift[:, None]
        where = np.where(np.isfinite(moved), moved, np.inf)
        value, slope = self.curve.value_and_slope(where) if sloped else (self.curve.value(where), where)
        used = inside(moved, self.count, self.low, self.high) & np.isfinite(value)
        value = np.where(used, value, 0.0)
        slope = np.where(used, slope, 0.0) if sloped else slope
        if not self.line:
            return used, value, slope, []
        middle, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        return used, value, slope, [used.astype(np.float64), np.where(used, (moved - middle) / half, 0.0)]

    def misfit(self, shift: Floats) -> Floats:
        """Return the mean squared residual at a shift; infinite where there is none."""
        used, value, _, background = self.taken(shift, sloped=False)
        points = row_sum(used.astype(np.float64), self.count)
        y = np.where(used, self.y, 0.0)
        if self.scale or background:
            terms = [*([value] if self.scale else []), *background]
            target = y if self.scale else y - value
            coefficients, good = solved(*_equations(terms, target, self.count))
            good &= points >= len(terms)
            rest = target.copy()
            for k, term in enumerate(terms):
                rest -= coefficients[:, k, None] * term
        else:
            rest, good = y - value, points > 3
        # Per point: the number of points in the window changes with the shift.
        return np.where(good, row_sum(rest**2, self.count) / points, np.inf)

    def step(self, shift: Floats) -> Floats:
        """Return the change of shift that Gauss-Newton asks for; 0 where there is none."""
        used, value, slope, background = self.taken(shift, sloped=True)
        y = np.where(used, self.y, 0.0)
        points = row_sum(used.astype(np.float64), self.count)
        terms = [*([value] if self.scale else []), *background, slope]
        matrix, right = _equations(terms, y if self.scale else y - value, self.count)
        coefficients, good = solved(matrix, right)
        step = coefficients[:, -1]
        if self.scale:
            # A fit without the slope says how large the curve is.
            size, sized = solved(matrix[:, :-1, :-1], right[:, :-1])
            step, good = step / size[:, 0], good & sized
        return np.where(good & (points >= len(terms)) & np.isfinite(step), step, 0.0)

    def fit(self, shift: Floats) -> tuple[Fit, list[Floats], Floats]:
        """Fit with the slope as last term; return fit, basis, weights. The slope's coefficient is a change of shift."""
        used, value, slope, background = self.taken(shift, sloped=True)
        weight = used.astype(np.float64)
        terms = [*([value] if self.scale else []), *background]
        if self.scale:
            first = linear(terms, self.y, weight, self.count)
            slope = first.coefficients[:, :1] * slope
        terms.append(slope)
        return linear(terms, self.y if self.scale else self.y - value, weight, self.count), terms, weight


def _equations(terms: list[Floats], target: Floats, count: Ints) -> tuple[Floats, Floats]:
    """Return the normal equations of terms that are 0 where a point is not used."""
    size = len(terms)
    matrix, right = np.empty((len(target), size, size)), np.empty((len(target), size))
    for i in range(size):
        right[:, i] = row_sum(terms[i] * target, count)
        for j in range(i + 1):
            matrix[:, i, j] = matrix[:, j, i] = row_sum(terms[i] * terms[j], count)
    return matrix, right


def best_shift(
    batch: Batch,
    reference: Reference,
    window: tuple[float, float],
    most: float,
    *,
    linear_background: bool = False,
    scale: bool = False,
) -> Shift:
    """Fit ``y(E) = a ref(E + shift) [+ b + c E]`` by least squares over the points with E + shift in the window.

    The points that take part are those in the window after the shift that was found; the shift is looked for on a
    grid first and then by Gauss-Newton, until a row's step is lost in rounding. Rows where it fails get a code of
    `REASONS` in the batch.
    """
    x, y, count = batch.energy, batch.signals[0], batch.count
    low, high = window
    noise = white_noise(x, y, count)
    whole = _Search(x, y, count, Curve(reference), low, high, linear_background, scale)
    trials = np.linspace(-most, most, STEPS)
    near, _ = whole.cropped(low - most, high + most)
    sums = np.stack([near.misfit(np.full(len(count), trial)) for trial in trials], axis=1)
    index = sums.argmin(axis=1)
    start = trials[index]
    local, cut = whole.cropped(low - start - FARTHEST, high - start + FARTHEST)
    shift = _refined(local, start)
    fit, basis, weight = local.fit(shift)
    k = fit.coefficients.shape[1] - 1
    factor = fit.coefficients[:, 0] if scale else np.ones(len(count))
    kernel = cut.put(fit.kernel(basis, weight, np.broadcast_to(np.eye(k + 1)[k], (len(count), k + 1))))
    own = on_mu(kernel, x, y, count, batch.numbers) if batch.numbers else kernel
    moved = x + shift[:, None]
    variance = (noise * length(own, count)) ** 2 + reference.variance(kernel * factor[:, None], moved)
    # Where the noise is not known, the scatter about the fit says what it is.
    scatter = fit.chi2 / np.maximum(fit.points - k - 1, 1)
    variance = np.where(count >= NOISE_POINTS, variance, fit.covariance[:, k, k] * scatter)
    taken = inside(moved, count, low, high)
    signal = row_sum(np.where(taken, y, 0.0) ** 2, count)
    reach = 2.0 * (trials[1] - trials[0])
    batch.fail(~covered(moved, count, low, high), NOT_COVERED)
    settled = fit.solved & (np.abs(shift - start) <= reach) & (np.abs(shift) <= most)
    batch.fail(~(settled & (index > 0) & (index < STEPS - 1)), NO_SHIFT)
    return Shift(
        shift=shift,
        sigma=np.sqrt(variance),
        scale=factor,
        residual=np.sqrt(fit.chi2 / np.where(signal > 0, signal, np.nan)),
    )


def _refined(search: _Search, start: Floats) -> Floats:
    """Refine the shift of each row by Gauss-Newton steps, `PASSES` at most; a converged row is not changed."""
    shift = start.copy()
    going = np.arange(len(shift))
    for _ in range(PASSES):
        step = np.clip(search.step(shift[going]), -LARGEST_STEP, LARGEST_STEP)
        shift[going] += step
        moving = np.abs(step) > 1e-13
        if not moving.all():
            going, search = going[moving], search.chosen(moving)
            if not going.size:
                break
    return shift
