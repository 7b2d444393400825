"""Least squares for every row at once: linear with covariance, and Levenberg-Marquardt for curved models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._kernels.crop import crop_to
from barospec.archive.operators._kernels.integrals import row_sum
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints

PIVOT = 1e-13
"""Smallest pivot of a matrix scaled to a diagonal of 1 that counts as one."""
ROUNDING = 1e-13
"""Relative change of parameters below which a fit is at its end."""


@dataclass(slots=True)
class Fit:
    """Coefficients, shape (rows, k); covariance for the weights given, (rows, k, k); weighted sum of squared
    residuals and number of points with weight, (rows,); whether the equations could be solved; inverse of the
    matrix of the normal equations, (rows, k, k).
    """

    coefficients: Floats
    covariance: Floats
    chi2: Floats
    points: Floats
    solved: Bools
    inverse: Floats

    def combine(self, terms: Floats) -> Floats:
        """Return the variance of ``terms @ coefficients``, terms of shape (rows, k)."""
        # Few and fixed terms: written out, so that the order of addition never changes.
        out = np.zeros(len(terms))
        for i in range(terms.shape[1]):
            for j in range(terms.shape[1]):
                out += terms[:, i] * terms[:, j] * self.covariance[:, i, j]
        return out

    def kernel(self, basis: list[Floats], weight: Floats, terms: Floats) -> Floats:
        """Return weights of the points in ``terms @ coefficients``, (rows, points); basis and weight those of the fit."""
        out = np.zeros_like(weight)
        for j, term in enumerate(basis):
            factor = np.zeros(len(weight))
            for i in range(terms.shape[1]):
                factor += terms[:, i] * self.inverse[:, i, j]
            out += factor[:, None] * np.where(weight > 0, term, 0.0)
        return out * weight


def linear(basis: list[Floats], y: Floats, weight: Floats, count: Ints, variance: Floats | None = None) -> Fit:
    """Fit ``sum_k c_k basis_k`` to y.

    Parameters
    ----------
    basis : list of ndarray, each shape (rows, points)
    y, weight : ndarray, shape (rows, points)
        Weights are inverse variances, 0 for points that do not take part.
    count : ndarray of int, shape (rows,)
    variance : ndarray, shape (rows, points), optional
        Of the points, where the weights are something else: the covariance is then propagated from it.
    """
    # Points without weight may hold anything, NaN included.
    used = (weight > 0) & (np.arange(y.shape[1]) < count[:, None])
    w = np.where(used, weight, 0.0)
    terms = [np.where(used, term, 0.0) for term in basis]
    y = np.where(used, y, 0.0)
    size = len(terms)
    matrix = np.empty((len(y), size, size))
    spread = np.empty_like(matrix)
    right = np.empty((len(y), size))
    for i in range(size):
        weighted = terms[i] * w
        right[:, i] = row_sum(weighted * y, count)
        for j in range(i + 1):
            matrix[:, i, j] = matrix[:, j, i] = row_sum(weighted * terms[j], count)
            if variance is not None:
                share = np.where(used, w * variance, 0.0)
                spread[:, i, j] = spread[:, j, i] = row_sum(weighted * share * terms[j], count)
    inverse, solved = inverted(matrix)
    coefficients = _times(inverse, right)
    covariance = inverse if variance is None else _product(_product(inverse, spread), inverse)
    rest = y.copy()
    for i in range(size):
        rest -= coefficients[:, i, None] * terms[i]
    points = row_sum(used.astype(np.float64), count)
    return Fit(coefficients, covariance, row_sum(w * rest**2, count), points, solved & (points >= size), inverse)


def inverted(matrix: Floats) -> tuple[Floats, Bools]:
    """Invert symmetric positive matrices, shape (rows, k, k); False where one is singular to 1e-12."""
    size = matrix.shape[-1]
    diagonal = np.einsum("rii->ri", matrix)
    good = np.isfinite(matrix).all(axis=(1, 2)) & (diagonal > 0).all(axis=1)
    scale = np.where(good[:, None], 1.0 / np.sqrt(np.where(good[:, None], diagonal, 1.0)), 1.0)
    scaled = np.where(good[:, None, None], matrix * scale[:, :, None] * scale[:, None, :], np.eye(size))
    if len(scaled):
        good &= np.linalg.eigvalsh(scaled)[:, 0] > 1e-12
    scaled = np.where(good[:, None, None], scaled, np.eye(size))
    inverse = np.linalg.inv(scaled) if len(scaled) else scaled
    return inverse * scale[:, :, None] * scale[:, None, :], good


def _times(matrix: Floats, vector: Floats) -> Floats:
    out = np.zeros_like(vector)
    for j in range(vector.shape[1]):
        out += matrix[:, :, j] * vector[:, j, None]
    return out


def _product(left: Floats, right: Floats) -> Floats:
    out = np.zeros_like(left)
    for k in range(left.shape[-1]):
        out += left[:, :, k, None] * right[:, None, k, :]
    return out


Model = Callable[[Floats, Floats], tuple[Floats, list[Floats]]]
"""``model(x, parameters (rows, k)) -> values (rows, points), derivatives [k] of (rows, points)``."""


def curved(
    model: Model,
    x: Floats,
    y: Floats,
    weight: Floats,
    count: Ints,
    start: Floats,
    iterations: int = 40,
    tolerance: float = 1e-6,
    hold: Floats | None = None,
) -> Fit:
    """Fit a model that is not linear in its parameters, by Levenberg-Marquardt, each row with its own damping.

    `hold`, (rows, k), adds ``hold (parameter - start)^2`` to the sum of squares: what the data leave open then stays
    where it was begun. The covariance is that of the estimate (for unit noise), the inverse that of the sum.

    Every row goes on until its own step is lost in rounding, or for `iterations`, so that the others never show;
    `solved` is whether the last step changed the sum of squares by less than `tolerance` of itself, or 1e-12 of that
    of the data.
    """
    used = (weight > 0) & (np.arange(y.shape[1]) < count[:, None])
    cut = crop_to(used)
    used, count = cut.mask(used), cut.count
    x, y, w = (np.where(used, cut.take(array), 0.0) for array in (x, y, weight))
    held = np.zeros_like(start) if hold is None else hold
    parameters, change = _marquardt(model, (x, y, w, used, count), start, held, iterations)
    values, slopes = model(x, parameters)
    matrix = _normal_equations(values, slopes, y, w, used, count)[0]
    inverse, solvable = inverted(matrix + held[:, :, None] * np.eye(start.shape[1]))
    covariance = _product(_product(inverse, matrix), inverse)
    points = row_sum(used.astype(np.float64), count)
    size = row_sum(w * y**2, count)
    squares_of_data = row_sum(w * np.where(used, y - values, 0.0) ** 2, count)
    best = squares_of_data + _away(parameters, start, held)
    converged = solvable & (change <= tolerance * best + 1e-12 * size) & (points >= start.shape[1])
    return Fit(parameters, covariance, squares_of_data, points, converged, inverse)


Points = tuple[Floats, Floats, Floats, Bools, Ints]


def _marquardt(model: Model, points: Points, start: Floats, held: Floats, iterations: int) -> tuple[Floats, Floats]:
    """Minimize the sum of squares; return the parameters and by how much the last step reduced the sum.

    A row whose step is lost in rounding is done, whatever the others need.
    """
    parameters, change = start.copy(), np.full(len(start), np.inf)
    identity = np.eye(start.shape[1])
    row = np.arange(len(start))
    damping = np.full(len(row), 1e-3)
    now, begun, hold = parameters, start, held
    best = _squares(model, points, now)
    for _ in range(iterations):
        x, y, w, used, count = points
        values, slopes = model(x, now)
        matrix, right = _normal_equations(values, slopes, y, w, used, count)
        matrix = matrix + hold[:, :, None] * identity
        right = right + hold * (begun - now)
        scale = np.einsum("rii->ri", matrix)
        step, solvable = solved(matrix + (damping[:, None] * scale)[:, :, None] * identity, right)
        trial = np.where(solvable[:, None], now + step, now)
        found = _squares(model, points, trial) + _away(trial, begun, hold)
        better = found <= best
        change[row] = np.where(better, best - found, change[row])
        size = np.abs(now)
        done = better & (
            np.abs(trial - now) <= ROUNDING * np.maximum(size, 1e-3 * size.max(axis=1, keepdims=True))
        ).all(axis=1)
        now = np.where(better[:, None], trial, now)
        best = np.where(better, found, best)
        damping = np.where(better, np.maximum(damping * 0.2, 1e-12), np.minimum(damping * 5.0, 1e12))
        parameters[row] = now
        if done.any():
            keep = ~done
            points = (x[keep], y[keep], w[keep], used[keep], count[keep])
            row, now, best, damping, begun, hold = (array[keep] for array in (row, now, best, damping, begun, hold))
            if not row.size:
                break
    return parameters, change


def _away(parameters: Floats, start: Floats, held: Floats) -> Floats:
    out = np.zeros(len(start))
    for k in range(start.shape[1]):
        out = out + held[:, k] * (parameters[:, k] - start[:, k]) ** 2
    return out


def _squares(model: Model, points: Points, parameters: Floats) -> Floats:
    x, y, w, used, count = points
    rest = np.where(used, y - model(x, parameters)[0], 0.0)
    return row_sum(w * rest**2, count)


def solved(matrix: Floats, right: Floats) -> tuple[Floats, Bools]:
    """Solve symmetric positive equations, matrix (rows, k, k) and right (rows, k); False where a pivot, of the
    matrix scaled to a diagonal of 1, is lost in rounding.

    Cholesky's decomposition, written out for small k: many small matrices at once.
    """
    size = matrix.shape[-1]
    diagonal = np.einsum("rii->ri", matrix)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, np.nan))
    good: Bools = np.isfinite(scale).all(axis=1) & (diagonal[:, 0] > 0)
    root: list[list[Floats]] = []
    half: list[Floats] = []
    for i in range(size):
        line: list[Floats] = []
        for j in range(i + 1):
            rest = matrix[:, i, j] * scale[:, i] * scale[:, j]
            for m in range(j):
                rest = rest - line[m] * (root[j][m] if j < i else line[m])
            if j < i:
                line.append(rest / root[j][j])
            else:
                good &= rest > PIVOT
                line.append(np.sqrt(np.where(rest > PIVOT, rest, 1.0)))
        root.append(line)
        rest = right[:, i] * scale[:, i]
        for m in range(i):
            rest = rest - line[m] * half[m]
        half.append(rest / line[i])
    out = np.empty_like(right)
    for i in range(size - 1, -1, -1):
        rest = half[i]
        for m in range(i + 1, size):
            rest = rest - root[m][i] * out[:, m]
        out[:, i] = rest / root[i][i]
    out *= scale
    good &= np.isfinite(out).all(axis=1)
    return np.where(good[:, None], out, 0.0), good


def _normal_equations(
    values: Floats, slopes: list[Floats], y: Floats, w: Floats, used: Bools, count: Ints
) -> tuple[Floats, Floats]:
    size = len(slopes)
    rest = np.where(used, y - values, 0.0)
    slopes = [np.where(used, slope, 0.0) for slope in slopes]
    matrix = np.empty((len(y), size, size))
    right = np.empty((len(y), size))
    for i in range(size):
        weighted = w * slopes[i]
        right[:, i] = row_sum(weighted * rest, count)
        for j in range(i + 1):
            matrix[:, i, j] = matrix[:, j, i] = row_sum(weighted * slopes[j], count)
    return matrix, right
