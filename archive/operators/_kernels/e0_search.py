"""E0 of many spectra at once: the inflection point of mu(E) (maximum of the first derivative), as Larch finds it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft as fft
from numpy.typing import NDArray

from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints, nudge, reduce_segments, segments

FEWEST = 14
"""Points below which the second pass has nothing left between its margins."""

HALF_WINDOW = 75
"""Points on either side of the first guess that the second pass looks at."""

_DERIVATIVE_TIE = 1e-9


def find_e0(energy: Floats, mu: Floats, count: Ints) -> tuple[Floats, Bools]:
    """Find the inflection point of each row (maximum of the first derivative), and whether there is one.

    Two passes. The first takes the derivative as it is; the second looks at +-75 points around the result,
    on a derivative convolved with a Lorentzian whose width and step are the mean of the scan's own small
    steps and of E0/25000 (both kept in 0.01..1 eV). A first result within the first 5 % of the points is
    taken for a glitch: the second pass then looks at everything from 20 points before it.

    Parameters
    ----------
    energy, mu : ndarray, shape (rows, points)
        As in `ragged.Rows`, repeats already nudged; every row has `FEWEST` points or more.
    count : ndarray of int, shape (rows,)

    Returns
    -------
    e0 : ndarray, shape (rows,)
        A grid point, in eV; NaN where no point stands out with both its neighbors.
    found : ndarray of bool, shape (rows,)
    """
    nudged, _ = nudge(energy)  # once more: rounding may have left a repeat a hair below the smallest step
    # Larch leaves the last point out of both passes.
    inner = count - 1
    first, _ = _steepest(_derivative(nudged, mu, inner), inner)
    guess = nudged[np.arange(len(nudged)), first]
    glitch = first < 0.05 * count
    if glitch.any():
        ends = segments(np.zeros_like(count), count, energy.shape[1])
        guess = np.where(glitch, reduce_segments(np.add, energy, ends) / count, guess)
    start = np.maximum(3, first - np.where(glitch, 20, HALF_WINDOW))
    stop = np.where(glitch, count - 3, np.minimum(first + HALF_WINDOW, count - 3))
    step = 0.5 * (_small_step(nudged, inner) + np.clip(guess / 25000.0, 0.01, 1.0))

    e0 = np.full(len(energy), np.nan)
    found = np.zeros(len(energy), dtype=bool)
    # Restarted rows look at the whole scan; apart, so that they do not widen the others.
    for group in (np.nonzero(~glitch)[0], np.nonzero(glitch)[0]):
        if group.size:
            e0[group], found[group] = _second_pass(energy, mu, group, start[group], stop[group], step[group])
    return e0, found


def _second_pass(
    energy: Floats, mu: Floats, group: Ints, start: Ints, stop: Ints, step: Floats
) -> tuple[Floats, Bools]:
    size = stop - start
    column = np.arange(int(size.max()))
    source = np.minimum(start[:, None] + column, energy.shape[1] - 1)
    x = energy[group[:, None], source]
    y = mu[group[:, None], source]
    outside = column >= size[:, None]
    x[outside] = np.inf
    x, _ = nudge(x)
    inner = size - 1
    slope = _smooth(x, _derivative(x, y, inner), inner, step)
    best, found = _steepest(slope, inner)
    return np.where(found, x[np.arange(len(x)), best], np.nan), found


def _derivative(energy: Floats, mu: Floats, count: Ints) -> Floats:
    """Return central differences of mu over those of energy, one-sided at both ends; -inf beyond `count`."""
    slope = np.empty_like(mu)
    np.subtract(mu[:, 2:], mu[:, :-2], out=slope[:, 1:-1])
    slope[:, 1:-1] /= energy[:, 2:] - energy[:, :-2]
    slope[:, 0] = (mu[:, 1] - mu[:, 0]) / (energy[:, 1] - energy[:, 0])
    rows, last = np.arange(len(mu)), count - 1
    slope[rows, last] = (mu[rows, last] - mu[rows, last - 1]) / (energy[rows, last] - energy[rows, last - 1])
    width = mu.shape[1]
    # Only an overflow is not finite here, and padding: both are rare or at the end.
    slope[~np.isfinite(slope)] = -1.0
    first = int(count.min())
    slope[:, first:][np.arange(first, width) >= count[:, None]] = -np.inf
    return slope


def _small_step(energy: Floats, count: Ints) -> Floats:
    """Return the mean of ten small energy steps, without the smallest 1 %, clipped to 0.01..1 eV; 1 below 100 points."""
    skip = (count * 0.01).astype(np.intp)
    out = np.ones(len(energy))
    rows = np.nonzero(skip > 0)[0]
    if rows.size:
        count, skip = count[rows], skip[rows]
        steps = np.diff(energy[rows], axis=1)
        column = np.arange(steps.shape[1])
        # The first and last 1 % of the scan do not count either.
        steps[(column < skip[:, None]) | (column >= (count - 2 - skip)[:, None])] = np.inf
        last = min(int(skip.max()) + 10, steps.shape[1])
        smallest = np.sort(np.partition(steps, last - 1, axis=1)[:, :last], axis=1)
        ten = np.take_along_axis(smallest, skip[:, None] + np.arange(10), axis=1)
        out[rows] = np.clip(ten.mean(axis=1), 0.01, 1.0)
    return out


def _steepest(slope: Floats, count: Ints) -> tuple[Ints, Bools]:
    """Return the index of the largest slope that is high together with both its neighbors; 0 and False where none is.

    High is above 0.6 (0.3 for 20 points or fewer) of the range between the margins, halved up to twice while
    fewer than three points are. Of slopes that differ by less than 1e-9 of the range the first is taken:
    float noise must not choose.
    """
    rows, width = slope.shape
    margin = np.maximum(3, (count * 0.02).astype(np.intp))
    between = segments(margin, count - margin, width)
    low = reduce_segments(np.minimum, slope, between)
    span = np.maximum(1e-10, reduce_segments(np.maximum, slope, between) - low)
    level = np.where(count > 20, 0.6, 0.3)
    high = slope > (low + level * span)[:, None]
    few = np.nonzero(np.count_nonzero(high, axis=1) < 3)[0]
    if few.size:
        threshold, relative = level[few], (slope[few] - low[few, None]) / span[few, None]
        for _ in range(2):
            enough = (relative > threshold[:, None]).sum(axis=1) > 3
            threshold = np.where(enough, threshold, 0.5 * threshold)
        threshold[(relative > threshold[:, None]).sum(axis=1) < 3] = -np.inf
        high[few] = relative > threshold[:, None]
    # Few points are high: they are listed, and the rest is done on the list.
    flat = high.reshape(-1)
    place = np.flatnonzero(flat[1:-1] & flat[:-2] & flat[2:]) + 1
    row, column = np.divmod(place, width)
    height = (slope.reshape(-1)[place] - low[row]) / span[row]
    fits = (column >= margin[row]) & (column <= (count - margin)[row]) & (height > 0)
    row, column, height = row[fits], column[fits], height[fits]
    best = np.zeros(rows)
    np.maximum.at(best, row, height)
    equal = height >= best[row] - _DERIVATIVE_TIE
    index = np.full(rows, width, dtype=np.intp)
    np.minimum.at(index, row[equal], column[equal])
    found = index < width
    return np.where(found, index, 0), found


def _smooth(x: Floats, y: Floats, count: Ints, step: Floats) -> Floats:
    """Convolve y(x) with a Lorentzian of half width `step` on a grid of that step; -inf beyond `count`."""
    rows = np.arange(len(x))
    first, last = x[:, 0], x[rows, count - 1]
    begin = step * np.trunc((first - 5 * step) / step)
    end = step * np.trunc((last + 5 * step) / step)
    size = np.minimum(1 + (np.abs(end - begin + 0.1 * step) / step).astype(np.intp), 50 * count)
    spacing = (end - begin) / (size - 1)
    u = x - begin[:, None]
    length = _octaves(size)
    smooth = np.empty_like(y)
    for common in np.unique(length):
        rows = np.nonzero(length == common)[0]
        uniform = _resample(u[rows], y[rows], count[rows], spacing[rows], size[rows])
        folded = _convolve(uniform, size[rows], _transform_length(int(common)))
        position = np.clip(u[rows] / spacing[rows, None], 0, (size[rows] - 1)[:, None])
        low = np.minimum(position.astype(np.intp), (size[rows] - 2)[:, None])
        left = np.take_along_axis(folded, low, axis=1)
        right = np.take_along_axis(folded, low + 1, axis=1)
        smooth[rows] = left + (right - left) * (position - low)
    smooth[np.arange(y.shape[1]) >= count[:, None]] = -np.inf
    return smooth


def _octaves(size: Ints) -> Ints:
    """Round up to eight lengths per octave: rows of similar size are transformed together."""
    octaves: Ints = np.ceil(8 * np.log2(np.maximum(3 * size - 1, 2))).astype(np.intp)
    return octaves


def _transform_length(octaves: int) -> int:
    # One point more than needed: the length of a transform decides the last bits, and stored numbers have these.
    return int(fft.next_fast_len(int(np.ceil(2 ** (octaves / 8))) + 1, real=True))


def _resample(u: Floats, y: Floats, count: Ints, spacing: Floats, size: Ints) -> Floats:
    """Interpolate y(u) linearly at 0, spacing, 2 spacing, ...; constant beyond the ends."""
    rows, points = y.shape
    width = int(size.max())
    slope = np.zeros_like(y)
    slope[:, :-1] = np.diff(y, axis=1) / np.diff(u, axis=1)
    column = np.arange(points)
    slope[column >= (count - 1)[:, None]] = 0.0
    offset = np.where(slope != 0.0, y - slope * u, y)
    # A data interval holds consecutive grid points, so their lines are repeated rather than looked up.
    edge = np.full((rows, points + 1), width, dtype=np.intp)
    edge[:, :-1] = np.clip(np.where(column < count[:, None], np.ceil(u / spacing[:, None]), width), 0, width)
    edge[:, 0] = 0
    repeats = np.diff(edge, axis=1).reshape(-1)
    grid = np.arange(width) * spacing[:, None]
    grid = np.clip(grid, u[:, :1], u[np.arange(rows), count - 1][:, None])
    grid *= np.repeat(slope.reshape(-1), repeats).reshape(rows, width)
    grid += np.repeat(offset.reshape(-1), repeats).reshape(rows, width)
    return grid


@lru_cache(maxsize=1024)
def _kernel(size: int, length: int) -> NDArray[np.complex128]:
    """Return the transform of the Lorentzian over 2*size points, of unit sum, centered on index 0 of a circle."""
    window = 1.0 / (1.0 + (np.arange(2 * size) - size) ** 2.0)
    placed = np.zeros(length)
    placed[np.arange(-size, size) % length] = window / window.sum()
    transformed: NDArray[np.complex128] = fft.rfft(placed)
    transformed.flags.writeable = False
    return transformed


def _convolve(uniform: Floats, size: Ints, length: int) -> Floats:
    """Convolve each row's first `size` values, mirrored at both ends, with a Lorentzian of one grid step."""
    rows, width = uniform.shape
    # Mirrored about the first value, and behind the last one. What lies farther out than `size` never
    # meets the kernel, which is no longer than that.
    mirrored = np.empty((rows, 3 * width - 1))
    mirrored[:, : width - 1] = uniform[:, :0:-1]
    behind = np.arange(2 * width)
    source = np.where(behind < size[:, None], behind, 2 * size[:, None] - 1 - behind)
    mirrored[:, width - 1 :] = np.take_along_axis(uniform, np.maximum(source, 0), axis=1)
    padded = np.zeros((rows, length))
    padded[:, : mirrored.shape[1]] = mirrored
    sizes, which = np.unique(size, return_inverse=True)
    shapes = np.stack([_kernel(int(one), length) for one in sizes])
    spectrum = fft.rfft(padded, axis=1)
    spectrum *= shapes[which] if len(sizes) > 1 else shapes
    folded: Floats = fft.irfft(spectrum, n=length, axis=1)[:, width - 1 : 2 * width - 1]
    return folded
