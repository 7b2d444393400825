"""Kernels compiled with numba: the steepest point, by the same rules as the numpy code.

Every kernel takes plain rows (`Rows.plain`), one after the other; what is out of the ordinary is left to numpy. Those that
call each other stand in one file: numba's cache does not see that a kernel of another file has changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from barospec.archive.operators._grid import Floats, Ints
from barospec.archive.operators._jit import compiled

LANES = 8
LARGEST = 28 * LANES
"""Points of the uniform grid up to which a matrix smooths; beyond it the Fourier transform is quicker."""

FOUND, NONE, MATRIX, TRANSFORM, NUMPY = range(5)
"""States of a row: e0 found; no point stands out; second pass by matrix or by Fourier transform; all of it by numpy."""


# e0


@compiled(finite=True)
def _span(values: Floats, start: int, stop: int) -> tuple[float, float]:
    low = high = values[start]
    for i in range(start, stop):
        low = min(low, values[i])
        high = max(high, values[i])
    return low, high


@compiled()
def _count_above(values: Floats, count: int, level: float) -> int:
    above = 0
    for i in range(count):
        above += values[i] > level
    return above


@compiled()
def _widths(energy: Floats, count: int, out: Floats) -> None:
    """What differences of neighbors are multiplied with to be central derivatives, one-sided at both ends."""
    for i in range(1, count - 1):
        out[i] = 1.0 / (energy[i + 1] - energy[i - 1])
    out[0] = 1.0 / (energy[1] - energy[0])
    out[count - 1] = 1.0 / (energy[count - 1] - energy[count - 2])


@compiled()
def _slopes(mu: Floats, widths: Floats, count: int, out: Floats) -> None:
    for i in range(1, count - 1):
        out[i] = (mu[i + 1] - mu[i - 1]) * widths[i]
    out[0] = (mu[1] - mu[0]) * widths[0]
    out[count - 1] = (mu[count - 1] - mu[count - 2]) * widths[count - 1]


@compiled()
def _steepest(slope: Floats, count: int, relative: Floats, places: Ints) -> int:
    """As `_e0._steepest`, -1 where no point stands out. `relative` and `places` are scratch."""
    margin = max(3, int(count * 0.02))
    low, high = _span(slope, margin, count - margin)
    span = max(1e-10, high - low)
    threshold = 0.6 if count > 20 else 0.3
    values, level = slope, low + threshold * span
    if _count_above(slope, count, level) < 3:
        for i in range(count):
            relative[i] = (slope[i] - low) / span
        for _ in range(2):
            if not _count_above(relative, count, threshold) > 3:
                threshold = 0.5 * threshold
        if _count_above(relative, count, threshold) < 3:
            threshold = -np.inf
        values, level = relative, threshold
    # Few points are high: they are listed, and the rest is done on the list.
    found = 0
    end = min(count - margin, count - 2) + 1
    for start in range(max(margin, 1), end, 64):
        stop = min(start + 64, end)
        if _count_above(values[start:stop], stop - start, level):
            for i in range(start, stop):
                places[found] = i
                found += values[i] > level
    best = 0.0
    for k in range(found):
        i = places[k]
        if values[i - 1] > level and values[i + 1] > level:
            best = max(best, (slope[i] - low) / span)
    for k in range(found):
        i = places[k]
        if values[i - 1] > level and values[i + 1] > level:
            height = (slope[i] - low) / span
            if height > 0 and height >= best - 1e-9:
                return int(i)
    return -1


@compiled()
def _small_step(energy: Floats, count: int, smallest: Floats) -> float:
    """As `_e0._small_step`; `smallest` is scratch of 64 numbers or more."""
    skip = int(count * 0.01)
    if skip < 1:
        return 1.0
    size = skip + 10
    first, last = skip, count - 2 - skip
    if size > len(smallest):
        ordered = np.sort(energy[first + 1 : last + 1] - energy[first:last])
    else:
        ordered = smallest
        ordered[:size] = np.inf
        for i in range(first, last):
            step = energy[i + 1] - energy[i]
            if step < ordered[size - 1]:
                k = size - 1
                while k > 0 and ordered[k - 1] > step:
                    ordered[k] = ordered[k - 1]
                    k -= 1
                ordered[k] = step
    total = 0.0
    for k in range(skip, size):
        total += ordered[k]
    return min(max(total / 10.0, 0.01), 1.0)


@compiled()
def _four(matrix: Floats, data: Floats, size: int, out: Floats) -> None:
    """The matrix times the first four rows of the data, two numbers of each at a time: what is fetched is used often.

    Sums run to a whole number of lanes: the matrix is 0 there.
    """
    p, q, r, s = data[0], data[1], data[2], data[3]
    whole = (size + LANES - 1) // LANES * LANES
    for i in range(0, size, 2):
        j = min(i + 1, size - 1)
        line, next_line = matrix[i], matrix[j]
        a = b = c = d = e = f = g = h = 0.0
        for k in range(whole):
            a += line[k] * p[k]
            b += line[k] * q[k]
            c += line[k] * r[k]
            d += line[k] * s[k]
            e += next_line[k] * p[k]
            f += next_line[k] * q[k]
            g += next_line[k] * r[k]
            h += next_line[k] * s[k]
        out[0, i], out[1, i], out[2, i], out[3, i] = a, b, c, d
        out[0, j], out[1, j], out[2, j], out[3, j] = e, f, g, h


@compiled()
def _mirrored_lorentzian(size: int, lorentzian: Floats, matrix: Floats) -> None:
    """Convolution with a Lorentzian of one grid step and unit sum over -size..size-1, of values mirrored at both ends.

    About the first value, which stands once, and behind the last one, which stands twice.
    """
    middle = len(lorentzian) // 2
    total = 0.0
    for d in range(-size, size):
        total += lorentzian[middle + d]
    scale = 1.0 / total
    for i in range(size):
        line, direct, image = matrix[i], lorentzian[middle - i :], lorentzian[middle + i :]
        turn = size - i  # from here on the image at the first value lies too far away
        for k in range(size):
            line[k] = direct[k] * scale
        for k in range(1, turn):
            line[k] += image[k] * scale
        behind = lorentzian[middle + i - 2 * size + 1 :]
        for k in range(turn - 1, size):
            line[k] += behind[k] * scale


@compiled()
def _axis(first: float, last: float, step: float, count: int) -> tuple[float, float, int]:
    """Begin, spacing and size of the uniform grid about the energies, as in `_e0._smooth`."""
    begin = step * np.trunc((first - 5 * step) / step)
    end = step * np.trunc((last + 5 * step) / step)
    size = min(1 + int(abs(end - begin + 0.1 * step) / step), 50 * count)
    return begin, (end - begin) / (size - 1), size


@compiled()
def _resample(x: Floats, y: Floats, count: int, begin: float, spacing: float, size: int, out: Floats) -> None:
    """The data on the uniform grid: straight between them, the end values beyond."""
    slope = (y[1] - y[0]) / (x[1] - x[0])
    left, change = 0, np.ceil((x[1] - begin) / spacing)
    for i in range(size):
        while left < count - 1 and i >= change:
            left += 1
            if left < count - 1:
                slope = (y[left + 1] - y[left]) / (x[left + 1] - x[left])
                change = np.ceil((x[left + 1] - begin) / spacing)
            else:
                slope = 0.0
        u = min(max(i * spacing, x[0] - begin), x[count - 1] - begin)
        out[i] = y[left] + slope * (u - (x[left] - begin))


@compiled()
def _window(first: int, points: int) -> tuple[int, int]:
    """Where the second pass begins, and how many points it looks at."""
    start = max(3, first - 75)
    return start, min(first + 75, points - 3) - start - 1


@compiled()
def first_guesses(
    grids: Floats, grid: Ints, mu: Floats, count: Ints, plain: Any, state: Any, firsts: Ints, steps: Floats, sizes: Ints
) -> None:
    """First pass: the steepest point of each row, the step and size of the uniform grid about it, and its state."""
    width = grids.shape[1]
    slope, scratch, widths, smallest = np.empty(width), np.empty(width), np.empty(width), np.empty(64)
    places = np.empty(width + 1, dtype=np.intp)
    small = 0.0
    last = -1
    for row in range(len(count)):
        points = count[row]
        state[row] = NUMPY
        if not plain[row] or points < 14:
            continue
        x = grids[grid[row], :points]
        # What follows from the grid alone is done once.
        if last < 0 or count[last] != points or grid[last] != grid[row]:
            small = _small_step(x, points - 1, smallest)
            _widths(x, points - 1, widths)
        last = row
        _slopes(mu[row], widths, points - 1, slope)
        first = max(_steepest(slope, points - 1, scratch, places), 0)
        if first < 0.05 * points:
            continue  # a glitch
        start, inner = _window(first, points)
        firsts[row] = first
        steps[row] = 0.5 * (small + min(max(x[first] / 25000.0, 0.01), 1.0))
        sizes[row] = _axis(x[start], x[start + inner - 1], steps[row], inner)[2]
        state[row] = MATRIX if sizes[row] <= LARGEST else TRANSFORM


@compiled()
def smoothed_points(
    grids: Floats, grid: Ints, mu: Floats, count: Ints, pick: Ints, firsts: Ints, steps: Floats, sizes: Ints,
    lorentzian: Floats, e0: Floats, state: Any,
) -> None:  # fmt: skip
    """Second pass of the picked rows, which stand in order of size."""
    width = grids.shape[1]
    slope, scratch, widths, places = (
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width + 1, dtype=np.intp),
    )
    matrix, data, smooth = np.empty((LARGEST, LARGEST)), np.zeros((4, LARGEST)), np.empty((4, LARGEST))
    size = i = 0
    while i < len(pick):
        if sizes[pick[i]] != size:
            size = sizes[pick[i]]
            matrix[:, size:] = 0.0
            _mirrored_lorentzian(size, lorentzian, matrix)
        together = 0
        while together < 4 and i + together < len(pick) and sizes[pick[i + together]] == size:
            row = pick[i + together]
            _resampled_row(grids, grid, mu, count, row, firsts, steps, widths, slope, data[together])
            together += 1
        _four(matrix, data, size, smooth)
        for k in range(together):
            _choose(grids, grid, count, pick[i + k], firsts, steps, smooth[k], slope, scratch, places, e0, state)
        i += together


@compiled()
def _resampled_row(
    grids: Floats,
    grid: Ints,
    mu: Floats,
    count: Ints,
    row: int,
    firsts: Ints,
    steps: Floats,
    widths: Floats,
    slope: Floats,
    out: Floats,
) -> None:
    """Slopes of the window of a row on its uniform grid."""
    start, inner = _window(firsts[row], count[row])
    x = grids[grid[row], start:]
    _widths(x, inner, widths)
    _slopes(mu[row, start:], widths, inner, slope)
    begin, spacing, size = _axis(x[0], x[inner - 1], steps[row], inner)
    _resample(x, slope, inner, begin, spacing, size, out)


@compiled()
def _choose(
    grids: Floats, grid: Ints, count: Ints, row: int, firsts: Ints, steps: Floats, smooth: Floats,
    slope: Floats, scratch: Floats, places: Ints, e0: Floats, state: Any,
) -> None:  # fmt: skip
    """Write e0 of a row from its smoothed slopes on the uniform grid."""
    start, inner = _window(firsts[row], count[row])
    x = grids[grid[row], start:]
    begin, spacing, size = _axis(x[0], x[inner - 1], steps[row], inner)
    for k in range(inner):
        position = min(max((x[k] - begin) / spacing, 0.0), size - 1.0)
        low = min(int(position), size - 2)
        slope[k] = smooth[low] + (smooth[low + 1] - smooth[low]) * (position - low)
    best = _steepest(slope, inner, scratch, places)
    state[row] = FOUND if best >= 0 else NONE
    e0[row] = x[best] if best >= 0 else np.nan


@compiled()
def resampled_rows(
    grids: Floats,
    grid: Ints,
    mu: Floats,
    count: Ints,
    pick: Ints,
    firsts: Ints,
    steps: Floats,
    sizes: Ints,
    out: Floats,
) -> None:
    """Slopes of the picked rows on their uniform grids from index `size` on, mirrored at both ends; zeros beyond."""
    slope, widths = np.empty(grids.shape[1]), np.empty(grids.shape[1])
    for i in range(len(pick)):
        size = sizes[pick[i]]
        line, middle = out[i], out[i, size:]
        _resampled_row(grids, grid, mu, count, pick[i], firsts, steps, widths, slope, middle)
        for k in range(1, size):
            line[size - k] = middle[k]
        for k in range(size):
            middle[size + k] = middle[size - 1 - k]
        line[0] = 0.0
        line[3 * size :] = 0.0


@compiled()
def chosen_points(
    grids: Floats, grid: Ints, count: Ints, pick: Ints, firsts: Ints, steps: Floats, sizes: Ints, smooth: Floats,
    e0: Floats, state: Any,
) -> None:  # fmt: skip
    """Write e0 of the picked rows from their smoothed slopes on the uniform grids, which begin at index `size`."""
    width = grids.shape[1]
    slope, scratch, places = np.empty(width), np.empty(width), np.empty(width + 1, dtype=np.intp)
    for i in range(len(pick)):
        row = pick[i]
        _choose(grids, grid, count, row, firsts, steps, smooth[i, sizes[row] :], slope, scratch, places, e0, state)
