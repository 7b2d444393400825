"""Many normalizations of each row at once, from running sums: what other windows would have given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints
from barospec.archive.operators._kernels.windows import Windows

ENSEMBLE = 32
"""Windows in the ensemble unless a person asks for another number."""

REACH = 8.0
"""eV on either side of the crossing in which the ensemble's crossings are looked for."""

_MOST_POINTS = 200
_AT_ONCE = 8


def ensemble_windows(windows: Windows, number: int) -> Windows:
    """Return `number` windows around those used, ends of shape (rows, number); ranges as in `edge_energy`."""
    u = np.stack([_halton(number, base) for base in (2, 3, 5, 7)])
    pre1, pre2, norm1, norm2 = (end[:, None] for end in (windows.pre1, windows.pre2, windows.norm1, windows.norm2))
    span = norm2 - norm1
    lower = np.where((np.arange(number) % 2 == 1) & (windows.nnorm > 1)[:, None], 1, 0)
    return Windows(
        pre1 * (1.0 - 0.25 * u[0]),
        np.minimum(pre2 * (0.6 + 0.6 * u[1]), np.maximum(pre2, -15.0)),
        norm1 + 0.2 * span * u[2],
        norm2 - 0.3 * span * u[3],
        windows.nnorm[:, None] - lower,
    )


def _halton(number: int, base: int) -> Floats:
    """Return the first points of the Halton sequence of that base, in (0, 1)."""
    index = np.arange(1, number + 1)
    out, weight = np.zeros(number), 1.0
    while index.any():
        weight /= base
        out += weight * (index % base)
        index //= base
    return out


@dataclass(slots=True)
class Lines:
    """Pre-edges (offset + slope*t) / weight of each member, t the row's scaled energy; (rows, members)."""

    offset: Floats
    slope: Floats


class Baselines:
    """Fits over any window of a row from running sums of t**k and y t**k, t the energy scaled to [-1, 1].

    Running sums lose digits that a fit on the points keeps (1e-10 instead of 1e-14): good for uncertainties,
    not for the results themselves.

    Parameters
    ----------
    energy, norm : ndarray, shape (rows, points)
        As in `ragged.Rows`, repeats nudged.
    count : ndarray of int, shape (rows,)
    nvict : ndarray, shape (rows,)
        Power of the energy in the pre-edge fit.
    """

    def __init__(self, energy: Floats, norm: Floats, count: Ints, nvict: Floats) -> None:
        rows = np.arange(len(energy))
        first, last = energy[:, 0], energy[rows, count - 1]
        self.energy, self.norm, self.count = energy, norm, count
        self.center, self.half = 0.5 * (first + last), 0.5 * (last - first)
        self.t = np.where(np.isfinite(energy), self.scaled(energy), 0.0)
        self.weight = None
        if (nvict > 0).any() or (nvict < -1).any():
            # Relative to the middle of the scan, so that the powers stay near 1.
            ratio = np.where(np.isfinite(energy), energy, self.center[:, None]) / self.center[:, None]
            self.weight = ratio ** nvict[:, None]

    def scaled(self, energy: Floats) -> Floats:
        """Scale energies of shape (rows,) or (rows, k) to t."""
        shape = (-1,) + (1,) * (energy.ndim - 1)
        scaled: Floats = (energy - self.center.reshape(shape)) / self.half.reshape(shape)
        return scaled

    def moments(self, start: Ints, stop: Ints, top: int, y: Floats | None = None) -> list[Floats]:
        """Sum y t**k (y = 1 by default) over start <= i < stop, for k = 0..top; indices (rows, ...)."""
        rows = np.arange(len(self.energy)).reshape((-1,) + (1,) * (start.ndim - 1))
        term = np.ones_like(self.t) if y is None else y
        out = []
        running = np.zeros((self.t.shape[0], self.t.shape[1] + 1))
        for power in range(top + 1):
            if power:
                term = term * self.t
            np.cumsum(term, axis=1, out=running[:, 1:])
            out.append(running[rows, stop] - running[rows, start])
        return out

    def leverage(self, start: Ints, stop: Ints, degree: Ints, energy: Floats) -> tuple[Floats, Floats]:
        """Return the variance for unit noise of a fitted polynomial at an energy; the window's mean energy; (rows,)."""
        top = int(degree.max())
        sums = self.moments(start, stop, 2 * top)
        t = self.scaled(energy)
        powers = [t**k for k in range(top + 1)]
        (weights,) = _solve(sums, [powers], degree, top)
        variance = np.zeros(len(t))
        for k in range(top + 1):
            variance += np.where(k <= degree, powers[k] * weights[k], 0.0)
        mean = sums[1] / sums[0] if top else self.moments(start, stop, 1)[1] / sums[0]
        return variance, self.center + self.half * mean

    def line_leverage(
        self, start: Ints, stop: Ints, straight: Bools, crossing: Floats, reference: Floats, fraction: float
    ) -> Floats:
        """Return the variance for unit noise of the line at `crossing` less `fraction` times that at `reference`."""
        points, first, second = self.moments(start, stop, 2)
        mean = first / points
        spread = second - first * mean
        arm = (self.scaled(crossing) - mean) - fraction * (self.scaled(reference) - mean)
        tilt = np.where(straight & (spread > 0), arm**2 / spread, 0.0)
        out: Floats = (1 - fraction) ** 2 / points + tilt
        return out

    def edges(self, e0: Floats, windows: Windows) -> tuple[Lines, Floats]:
        """Return pre-edge and edge step of every member, NaN where a window is too short; (rows, members)."""
        pre_start, pre_stop, post_start, post_stop = (
            ragged.last_at_or_below(self.energy, e0[:, None] + end)
            for end in (windows.pre1, windows.pre2, windows.norm1, windows.norm2)
        )
        weighted = self.norm if self.weight is None else self.norm * self.weight
        count, first, second = self.moments(pre_start, pre_stop, 2)
        total, tilted = self.moments(pre_start, pre_stop, 1, weighted)
        spread = second - first * first / count
        slope = (tilted - first * total / count) / spread
        offset = (total - slope * first) / count

        degree, top = windows.nnorm, int(windows.nnorm.max())
        sums = self.moments(post_start, post_stop, 2 * top)
        t0 = np.broadcast_to(self.scaled(e0)[:, None], degree.shape)
        sides = [self.moments(post_start, post_stop, top, self.norm)]
        if self.weight is None:
            # A polynomial reproduces the line under it; a constant has it at the mean.
            mean = sums[1] / sums[0] if top else self.moments(post_start, post_stop, 1)[1] / sums[0]
            under = offset + slope * np.where(degree > 0, t0, mean)
        else:
            sides.append(self.moments(post_start, post_stop, top, 1.0 / self.weight))
            sides.append(self.moments(post_start, post_stop, top, self.t / self.weight))
        fits = [_evaluate(solution, t0) for solution in _solve(sums, sides, degree, top)]
        if self.weight is not None:
            under = offset * fits[1] + slope * fits[2]
        step = fits[0] - under
        good = (pre_stop - pre_start >= 4) & (post_stop - post_start >= degree + 3) & (spread > 0) & (step > 0)
        return Lines(offset, slope), np.where(good, step, np.nan)

    def crossings(self, lines: Lines, steps: Floats, left: Ints, fraction: float) -> Floats:
        """Return energy where each member's norm rises through `fraction`, nearest to `left`; (rows, members)."""
        rows = np.arange(len(left))
        here = self.energy[rows, left]
        begin = ragged.last_at_or_below(self.energy, here - REACH)
        reach = np.minimum(ragged.last_at_or_below(self.energy, here + REACH) + 2, self.count)
        # A very fine grid is cut symmetrically about the crossing.
        begin = np.maximum(begin, left - _MOST_POINTS // 2)
        reach = np.minimum(reach, left + _MOST_POINTS // 2)
        column = np.arange(max(2, int((reach - begin).max())))
        source = np.minimum(begin[:, None] + column, self.energy.shape[1] - 1)
        usable = column[1:] + begin[:, None] < reach[:, None]
        energy, norm, t = (array[rows[:, None], source] for array in (self.energy, self.norm, self.t))
        weight = None if self.weight is None else self.weight[rows[:, None], source][:, None, :]
        distance = np.abs(column[:-1] - (left - begin)[:, None])[:, None, :]
        out = np.full(steps.shape, np.nan)
        for start in range(0, steps.shape[1], _AT_ONCE):
            members = slice(start, start + _AT_ONCE)
            base = lines.slope[:, members, None] * t[:, None, :] + lines.offset[:, members, None]
            if weight is not None:
                base /= weight
            excess = norm[:, None, :] - base - fraction * steps[:, members, None]
            above = excess >= 0
            up = above[..., 1:] & ~above[..., :-1] & usable[:, None, :] & np.isfinite(steps[:, members, None])
            index = np.where(up, distance, len(column)).argmin(axis=2)
            low = np.take_along_axis(excess, index[..., None], axis=2)[..., 0]
            high = np.take_along_axis(excess, index[..., None] + 1, axis=2)[..., 0]
            left_energy, right_energy = (np.take_along_axis(energy, index + add, axis=1) for add in (0, 1))
            crossing = left_energy - low / (high - low) * (right_energy - left_energy)
            out[:, members] = np.where(up.any(axis=2), crossing, np.nan)
        return out


def _solve(sums: list[Floats], sides: list[list[Floats]], degree: Ints, top: int) -> list[list[Floats]]:
    """Solve the normal equations sums[i + j] c[j] = side[i] for i, j <= degree; c = 0 above it.

    Elimination without pivoting (the matrix is positive definite), for all rows and members at once.
    """
    size = range(top + 1)
    active = [k <= degree for k in size]
    matrix = [[np.where(active[i] & active[j], sums[i + j], float(i == j)) for j in size] for i in size]
    right = [[np.where(active[i], side[i], 0.0) for i in size] for side in sides]
    for pivot in size:
        for row in range(pivot + 1, top + 1):
            factor = matrix[row][pivot] / matrix[pivot][pivot]
            for column in range(pivot, top + 1):
                matrix[row][column] = matrix[row][column] - factor * matrix[pivot][column]
            for side in right:
                side[row] = side[row] - factor * side[pivot]
    for side in right:
        for row in reversed(size):
            for column in range(row + 1, top + 1):
                side[row] = side[row] - matrix[row][column] * side[column]
            side[row] = side[row] / matrix[row][row]
    return right


def _evaluate(powers: list[Floats], t: Floats) -> Floats:
    out = powers[-1]
    for power in powers[-2::-1]:
        out = out * t + power
    return out
