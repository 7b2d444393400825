"""Kernels compiled with numba: the steepest point, by the same rules as the numpy code.

Every kernel takes plain rows (`Rows.plain`), one after the other; what is out of the ordinary is left to numpy. Those that
call each other stand in one file: numba's cache does not see that a kernel of another file has changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from barospec.archive.operators._grid import Floats, Ints
from barospec.archive.operators._jit import compiled

MOST_PRODUCTS = 100_000
"""Products in a direct convolution beyond which the Fourier transform is quicker."""

FOUND, NONE, TRANSFORM, NUMPY = range(4)
"""States of a row: e0 found; no point stands out; second pass by Fourier transform; all of it by numpy."""


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
def _slopes(energy: Floats, mu: Floats, count: int, out: Floats) -> None:
    """Central differences of mu over those of energy, one-sided at both ends."""
    for i in range(1, count - 1):
        out[i] = (mu[i + 1] - mu[i - 1]) / (energy[i + 1] - energy[i - 1])
    out[0] = (mu[1] - mu[0]) / (energy[1] - energy[0])
    last = count - 1
    out[last] = (mu[last] - mu[last - 1]) / (energy[last] - energy[last - 1])


@compiled()
def _steepest(slope: Floats, count: int, relative: Floats) -> int:
    """As `_e0._steepest`, -1 where no point stands out. `relative` is scratch."""
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
    best, index = 0.0, -1
    first, last = max(margin, 1), min(count - margin, count - 2)
    for i in range(first, last + 1):
        if values[i] > level and values[i - 1] > level and values[i + 1] > level:
            height = (slope[i] - low) / span
            if height > best:
                best = height
    for i in range(first, last + 1):
        if values[i] > level and values[i - 1] > level and values[i + 1] > level:
            height = (slope[i] - low) / span
            if height > 0 and height >= best - 1e-9:
                index = i
                break
    return index


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
def _dot(left: Floats, right: Floats, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += left[i] * right[i]
    return total


@compiled()
def _axis(first: float, last: float, step: float, count: int) -> tuple[float, float, int]:
    """Begin, spacing and size of the uniform grid about the energies, as in `_e0._smooth`."""
    begin = step * np.trunc((first - 5 * step) / step)
    end = step * np.trunc((last + 5 * step) / step)
    size = min(1 + int(abs(end - begin + 0.1 * step) / step), 50 * count)
    return begin, (end - begin) / (size - 1), size


@compiled()
def _resample(x: Floats, y: Floats, count: int, begin: float, spacing: float, size: int, out: Floats) -> None:
    """The data on the uniform grid, from index `size` on; mirrored about the first value and behind the last one."""
    middle = out[size:]
    left = 0
    slope = (y[1] - y[0]) / (x[1] - x[0])
    for i in range(size):
        while left < count - 1 and i >= np.ceil((x[left + 1] - begin) / spacing):
            left += 1
            slope = (y[left + 1] - y[left]) / (x[left + 1] - x[left]) if left < count - 1 else 0.0
        u = min(max(i * spacing, x[0] - begin), x[count - 1] - begin)
        middle[i] = y[left] + slope * (u - (x[left] - begin))
    for i in range(1, size):
        out[size - i] = middle[i]
    out[0] = middle[size - 1]
    for i in range(size):
        middle[size + i] = middle[size - 1 - i]


@compiled()
def _place(energy: float, begin: float, spacing: float, size: int) -> tuple[int, float]:
    """Node of the uniform grid below an energy, and the distance to it in spacings."""
    position = min(max((energy - begin) / spacing, 0.0), size - 1.0)
    low = min(int(position), size - 2)
    return low, position - low


@compiled()
def _smooth(x: Floats, y: Floats, count: int, step: float, lorentzian: Floats, sums: Floats, out: Floats) -> bool:
    """As `_e0._smooth` by direct convolution; False, and nothing done, where that would take too long."""
    begin, spacing, size = _axis(x[0], x[count - 1], step, count)
    if 2 * size * min(size, 2 * count) > MOST_PRODUCTS:
        return False
    mirrored = np.empty(3 * size)
    _resample(x, y, count, begin, spacing, size, mirrored)
    # Two nodes of the uniform grid stand about every energy.
    kernel = lorentzian[len(lorentzian) // 2 - size + 1 :]
    scale = 1.0 / sums[size]
    known, here, there = -2, 0.0, 0.0
    for i in range(count):
        low, share = _place(x[i], begin, spacing, size)
        if low != known:
            here = there if low == known + 1 else _dot(kernel, mirrored[low + 1 :], 2 * size)
            there = _dot(kernel, mirrored[low + 2 :], 2 * size)
            known = low
        out[i] = (here + (there - here) * share) * scale
    return True


@compiled()
def _window(first: int, points: int) -> tuple[int, int]:
    """Where the second pass begins, and how many points it looks at."""
    start = max(3, first - 75)
    return start, min(first + 75, points - 3) - start - 1


@compiled()
def steepest_points(
    energy: Floats, mu: Floats, count: Ints, plain: Any, lorentzian: Floats, sums: Floats,
    e0: Floats, state: Any, firsts: Ints, steps: Floats, sizes: Ints,
) -> None:  # fmt: skip
    """Write e0 and the state of each row; where a Fourier transform is due, what the first pass found."""
    rows, width = energy.shape
    slope, smooth, scratch, smallest = np.empty(width), np.empty(width), np.empty(width), np.empty(64)
    small = 0.0
    last = -1
    for row in range(rows):
        points = count[row]
        state[row] = NUMPY
        if not plain[row] or points < 14:
            continue
        x, y = energy[row], mu[row]
        _slopes(x, y, points - 1, slope)
        first = max(_steepest(slope, points - 1, scratch), 0)
        if first < 0.05 * points:
            continue  # a glitch
        # Spectra on one grid mostly follow each other.
        if last < 0 or count[last] != points or not np.array_equal(x[:points], energy[last, :points]):
            small = _small_step(x, points - 1, smallest)
        last = row
        start, inner = _window(first, points)
        step = 0.5 * (small + min(max(x[first] / 25000.0, 0.01), 1.0))
        _slopes(x[start:], y[start:], inner, slope)
        if not _smooth(x[start:], slope, inner, step, lorentzian, sums, smooth):
            state[row], firsts[row], steps[row] = TRANSFORM, first, step
            sizes[row] = _axis(x[start], x[start + inner - 1], step, inner)[2]
            continue
        best = _steepest(smooth, inner, scratch)
        state[row] = FOUND if best >= 0 else NONE
        e0[row] = x[start + best] if best >= 0 else np.nan


@compiled()
def resampled_rows(
    energy: Floats, mu: Floats, count: Ints, pick: Ints, firsts: Ints, steps: Floats, out: Floats
) -> None:
    """Slopes of the picked rows on their uniform grids, mirrored; zeros beyond."""
    slope = np.empty(energy.shape[1])
    for i in range(len(pick)):
        row = pick[i]
        start, inner = _window(firsts[row], count[row])
        x, y = energy[row, start:], mu[row, start:]
        _slopes(x, y, inner, slope)
        begin, spacing, size = _axis(x[0], x[inner - 1], steps[row], inner)
        _resample(x, slope, inner, begin, spacing, size, out[i])
        out[i, 3 * size :] = 0.0


@compiled()
def chosen_points(
    energy: Floats, count: Ints, pick: Ints, firsts: Ints, steps: Floats, smooth: Floats, e0: Floats, state: Any
) -> None:
    """Write e0 of the picked rows from their smoothed slopes on the uniform grids, which begin at index `size`."""
    width = energy.shape[1]
    slope, scratch = np.empty(width), np.empty(width)
    for i in range(len(pick)):
        row = pick[i]
        start, inner = _window(firsts[row], count[row])
        x = energy[row, start:]
        begin, spacing, size = _axis(x[0], x[inner - 1], steps[row], inner)
        for k in range(inner):
            low, share = _place(x[k], begin, spacing, size)
            here = smooth[i, size + low]
            slope[k] = here + (smooth[i, size + low + 1] - here) * share
        best = _steepest(slope, inner, scratch)
        state[row] = FOUND if best >= 0 else NONE
        e0[row] = x[best] if best >= 0 else np.nan
