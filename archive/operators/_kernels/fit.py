"""Least-squares polynomials over a window of every row at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._kernels.ragged import Floats, Ints, reduce_segments, segments


@dataclass(slots=True)
class Polynomials:
    """One polynomial per row, in t = (x - center)/scale, lowest power first.

    Parameters
    ----------
    center, scale : ndarray, shape (rows,)
        Middle and half width of the fitted window.
    coefficients : ndarray, shape (degree + 1, rows)
        Powers of t.
    """

    center: Floats
    scale: Floats
    coefficients: Floats

    def __call__(self, x: Floats) -> Floats:
        """Evaluate at x, shape (rows,) or (rows, points)."""
        shape = (-1,) + (1,) * (x.ndim - 1)
        powers = [power.reshape(shape) for power in self.coefficients]
        t = (x - self.center.reshape(shape)) / self.scale.reshape(shape)
        if len(powers) == 1:
            return np.broadcast_to(powers[0], x.shape).copy()
        out: Floats = t * powers[-1]
        for power in powers[-2:0:-1]:
            out += power
            out *= t
        out += powers[0]
        return out


def fit_polynomials(x: Floats, y: Floats, start: Ints, stop: Ints, degree: Ints) -> Polynomials:
    """Fit y(x) on the points start <= i < stop of each row by a polynomial of the row's own degree.

    Discrete orthogonal polynomials (Forsythe's recurrence) on the window scaled to [-1, 1]: as accurate as
    a QR solution, a lower degree is the same sum cut short, and nothing depends on the other rows.

    Parameters
    ----------
    x, y : ndarray, shape (rows, points)
        Abscissa (ascending in the window) and ordinate.
    start, stop, degree : ndarray of int, shape (rows,)
        At least one point each. A degree that the points cannot carry is lowered to what they can.

    Returns
    -------
    Polynomials
    """
    left, right = int(start.min()), int(stop.max())
    inside = segments(start - left, stop - left, right - left)
    rows = np.arange(len(x))
    low, high = x[rows, start], x[rows, stop - 1]
    center = 0.5 * (low + high)
    scale = np.where(high > low, 0.5 * (high - low), 1.0)
    t = (x[:, left:right] - center[:, None]) / scale[:, None]
    y = np.ascontiguousarray(y[:, left:right])
    points = (stop - start).astype(np.float64)

    top = int(degree.max())
    # The basis polynomials in powers of t, per row, beside their values on the points.
    previous = np.zeros((top + 1, len(x)))
    current = np.zeros((top + 1, len(x)))
    current[0] = 1.0
    coefficients = current * (reduce_segments(np.add, y, inside) / points)
    alpha = reduce_segments(np.add, t, inside) / points
    beta = np.zeros(len(x))
    norm = points
    value_previous = value = np.ones(())
    for order in range(1, top + 1):
        raised = np.zeros_like(current)
        raised[1:] = current[:-1]
        previous, current = current, raised - alpha * current - beta * previous
        shifted = t - alpha[:, None]
        if order > 1:
            shifted *= value
            shifted -= beta[:, None] * value_previous
        value_previous, value = value, shifted
        squared = value * value
        norm_now = reduce_segments(np.add, squared, inside)
        # With as many points as coefficients the next polynomial vanishes on all of them, up to rounding.
        carried = (order <= degree) & (points > order) & (norm_now > 1e-24 * norm)
        safe = np.where(norm_now > 0, norm_now, 1.0)
        coefficients = coefficients + current * np.where(
            carried, reduce_segments(np.add, y * value, inside) / safe, 0.0
        )
        if order < top:
            alpha = reduce_segments(np.add, t * squared, inside) / safe
            beta = norm_now / np.where(norm > 0, norm, 1.0)
            norm = norm_now
    return Polynomials(center, scale, coefficients)
