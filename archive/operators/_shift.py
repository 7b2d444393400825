"""How far a curve lies beside a reference curve, by least squares over a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._batch import Batch, make_batch
from barospec.archive.operators._grid import Bools, Floats
from barospec.archive.operators._least_squares import Fit, linear
from barospec.archive.operators._propagation import interpolating, length, on_mu, unpacked
from barospec.archive.operators._sums import NOISE_POINTS, covered, inside, row_sum, white_noise
from barospec.schemas.errors import CallError

STEPS = 41


@dataclass(slots=True)
class Reference:
    """One reference curve: ascending energies, values, the noise of a point (NaN where not known), and what
    normalized it (see `_propagation.unpacked`).
    """

    energy: Floats
    curve: Floats
    noise: float
    numbers: dict[str, Floats]

    def variance(self, kernel: Floats, x: Floats) -> Floats:
        """What the reference's noise adds to the variance of results that have it at the energies x with this
        kernel, both (rows, points); 0 where its noise is not known.
        """
        own = interpolating(kernel, x, self.energy)
        count = np.full(len(own), self.energy.size)
        axis, curve = (np.broadcast_to(array, own.shape) for array in (self.energy, self.curve))
        numbers = {name: np.broadcast_to(value, len(own)) for name, value in self.numbers.items()}
        found: Floats = np.nan_to_num(self.noise) ** 2 * length(on_mu(own, axis, curve, count, numbers), count) ** 2
        return found

    def left(self, x: Floats) -> Floats:
        """Variance that interpolation to the energies x leaves of unit noise, (rows, points)."""
        axis = self.energy
        i = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, axis.size - 2)
        u = np.clip((np.where(np.isfinite(x), x, axis[0]) - axis[i]) / (axis[i + 1] - axis[i]), 0.0, 1.0)
        found: Floats = (1 - u) ** 2 + u**2
        return found


@dataclass(slots=True)
class Shift:
    """Shift that lays a row on the reference (added to its energies), with its standard uncertainty; the factor and
    the relative residual; what could be done. All (rows,).
    """

    shift: Floats
    sigma: Floats
    scale: Floats
    residual: Floats
    covered: Bools
    found: Bools


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


def value_and_slope(reference: Reference, x: Floats) -> tuple[Floats, Floats]:
    """The reference and its derivative at x, from the cubic Hermite curve through its points; NaN outside."""
    e, y = reference.energy, reference.curve
    m = np.gradient(y, e) if e.size > 2 else np.full(e.size, (y[1] - y[0]) / (e[1] - e[0]))
    i = np.clip(np.searchsorted(e, x, side="right") - 1, 0, e.size - 2)
    h = e[i + 1] - e[i]
    t = (x - e[i]) / h
    y0, y1, m0, m1 = y[i], y[i + 1], m[i] * h, m[i + 1] * h
    c2, c3 = 3 * (y1 - y0) - 2 * m0 - m1, 2 * (y0 - y1) + m0 + m1
    value = y0 + t * (m0 + t * (c2 + t * c3))
    slope = (m0 + t * (2 * c2 + 3 * t * c3)) / h
    outside = ~((x >= e[0] - 1e-9) & (x <= e[-1] + 1e-9))
    return np.where(outside, np.nan, value), np.where(outside, np.nan, slope)


def best_shift(
    batch: Batch,
    reference: Reference,
    window: tuple[float, float],
    most: float,
    *,
    linear_background: bool = False,
    scale: bool = False,
) -> Shift:
    """Least squares of ``y(E) = a ref(E + shift) [+ b + c E]`` over the points with E + shift in the window.

    The points that take part are those in the window after the shift that was found; the shift is looked for on a
    grid first and then by Gauss-Newton, the same number of steps for every row.
    """
    x, y, count = batch.energy, batch.signals[0], batch.count
    low, high = window
    noise = white_noise(x, y, count)
    rows = len(count)
    trials = np.linspace(-most, most, STEPS)
    sums = np.full((rows, STEPS), np.inf)
    for k, trial in enumerate(trials):
        fit, *_ = _fit(batch, reference, np.full(rows, trial), window, linear_background, scale, slope=False)
        # Per point: the number of points in the window changes with the shift.
        sums[:, k] = np.where(fit.solved, fit.chi2 / fit.points, np.inf)
    index = sums.argmin(axis=1)
    shift = trials[index]
    reach = 2.0 * (trials[1] - trials[0])
    start = shift
    for _ in range(12):
        fit, names, _, _ = _fit(batch, reference, shift, window, linear_background, scale, slope=True)
        step = fit.coefficients[:, names.index("slope")]
        shift = shift + np.clip(np.where(fit.solved & np.isfinite(step), step, 0.0), -0.5, 0.5)
    fit, names, basis, weight = _fit(batch, reference, shift, window, linear_background, scale, slope=True)
    k = names.index("slope")
    factor = fit.coefficients[:, names.index("curve")] if scale else np.ones(rows)
    kernel = fit.kernel(basis, weight, np.broadcast_to(np.eye(len(names))[k], (rows, len(names))))
    own = on_mu(kernel, x, y, count, batch.numbers) if batch.numbers else kernel
    moved = x + shift[:, None]
    variance = (noise * length(own, count)) ** 2 + reference.variance(kernel * factor[:, None], moved)
    # Where the noise is not known, the scatter about the fit says what it is.
    scatter = fit.chi2 / np.maximum(fit.points - len(names), 1)
    variance = np.where(count >= NOISE_POINTS, variance, fit.covariance[:, k, k] * scatter)
    taken = inside(x + shift[:, None], count, low, high)
    signal = row_sum(np.where(taken, y, 0.0) ** 2, count)
    return Shift(
        shift=shift,
        sigma=np.sqrt(variance),
        scale=factor,
        residual=np.sqrt(fit.chi2 / np.where(signal > 0, signal, np.nan)),
        covered=covered(x + shift[:, None], count, low, high),
        found=fit.solved
        & (np.abs(shift - start) <= reach)
        & (np.abs(shift) <= most)
        & (index > 0)
        & (index < STEPS - 1),
    )


def _fit(
    batch: Batch,
    reference: Reference,
    shift: Floats,
    window: tuple[float, float],
    linear_background: bool,
    scale: bool,
    slope: bool,
) -> tuple[Fit, list[str], list[Any], Floats]:
    x, y, count = batch.energy, batch.signals[0], batch.count
    moved = x + shift[:, None]
    value, gradient = value_and_slope(reference, np.where(np.isfinite(moved), moved, np.inf))
    taken = inside(moved, count, *window) & np.isfinite(value)
    value, gradient = np.where(taken, value, 0.0), np.where(taken, gradient, 0.0)
    basis: list[Any] = []
    names: list[str] = []
    target = y
    if scale:
        basis.append(value)
        names.append("curve")
    else:
        target = y - value
    if linear_background:
        middle, half = 0.5 * (window[0] + window[1]), 0.5 * (window[1] - window[0])
        basis += [np.ones_like(value), np.where(taken, (moved - middle) / half, 0.0)]
        names += ["constant", "line"]
    weight = taken.astype(np.float64)
    if slope:
        grown = gradient
        if scale:
            # A first fit without the slope says how large the curve is.
            first = linear(basis, target, weight, count)
            grown = first.coefficients[:, :1] * gradient
        basis.append(grown)
        names.append("slope")
    elif not basis:
        squares = row_sum(np.where(taken, target, 0.0) ** 2, count)
        points = row_sum(weight, count)
        nothing = np.empty((len(count), 0))
        empty = np.empty((len(count), 0, 0))
        return Fit(nothing, empty, squares, points, points > 3, empty), names, basis, weight
    return linear(basis, target, weight, count), names, basis, weight
