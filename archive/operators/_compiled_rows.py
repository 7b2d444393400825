"""Kernels compiled with numba: normalization with e0 given, by the same rules as the numpy code.

Every kernel takes plain rows (`Rows.plain`), one after the other; what is out of the ordinary is left to numpy. Those that
call each other stand in one file: numba's cache does not see that a kernel of another file has changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from barospec.archive.operators._grid import TIE, Floats, Ints
from barospec.archive.operators._jit import compiled
from barospec.archive.operators._windows import CONSTANT_PRE_EDGE, NO_POST_EDGE, NO_STEP, SHORT_POST_EDGE

# Fits


@compiled()
def _last_at_or_below(x: Floats, count: int, value: float) -> int:
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) >> 1
        if x[middle] <= value + TIE:
            low = middle
        else:
            high = middle
    return low


@compiled()
def _nearest(x: Floats, count: int, value: float) -> int:
    low = _last_at_or_below(x, count, value)
    high = min(low + 1, count - 1)
    return high if x[high] - value < value - x[low] - TIE else low


@compiled()
def _round_to(value: float, unit: float) -> float:
    rounded: float = unit * float(np.rint(np.rint(value / unit * 1e9) / 1e9))
    return rounded


@compiled()
def _choose_windows(x: Floats, count: int, e0: float, near: int, asked: Floats, nnorm: int, out: Floats) -> int:
    """As `_windows.choose_windows`: the four ends go to `out`, the degree is returned."""
    below, above = x[0] - e0, x[count - 1] - e0
    pre1, pre2, norm1, norm2 = asked[0], asked[1], asked[2], asked[3]
    if np.isnan(pre1):
        pre1 = _round_to(x[1] - e0, 5.0 if near > 20 else 2.0)
    pre1 = max(pre1, below)
    if np.isnan(pre2):
        pre2 = 0.5 * pre1
    if np.isnan(norm2):
        norm2 = _round_to(above, 5.0)
    norm2 = min(norm2, above)
    if np.isnan(norm1):
        norm1 = min(25.0, _round_to(norm2 / 3.0, 5.0))
    out[0], out[1] = min(pre1, pre2), max(pre1, pre2)
    low, high = min(norm1, norm2), max(norm1, norm2)
    out[2], out[3] = min(low, high - 2.0), high
    if nnorm >= 0:
        return nnorm
    span = out[3] - out[2]
    return 0 if span < 30.0 - TIE else 1 if span < 300.0 - TIE else 2


# A fit is a projection onto polynomials that are orthogonal on the window. They follow from the grid and e0 alone, and are
# made once for all spectra that share both.


@compiled()
def _basis(x: Floats, degree: int, basis: Floats, norms: Floats, powers: Floats, about: Floats) -> int:
    """Orthogonal polynomials of t = (x - center)/scale, as in `_fit.fit_polynomials`.

    `basis` gets the values of those from the first degree on, `norms` their sums of squares, `powers` what each is in
    powers of t, `about` center, scale and the mean of t. The highest degree that the points determine is returned.
    """
    size = len(x)
    center = 0.5 * (x[0] + x[size - 1])
    scale = 0.5 * (x[size - 1] - x[0]) if x[size - 1] > x[0] else 1.0
    t = basis[0, :size]
    first = _scaled(x, center, 1.0 / scale, t)
    about[0], about[1], about[2] = center, scale, first / size
    powers[:] = 0.0
    powers[0, 0] = 1.0
    alpha, beta, norms[0] = first / size, 0.0, float(size)
    for order in range(1, degree + 1):
        value = basis[order, :size]
        if order == 1:
            now, third = _basis_first(t, alpha, value)
        elif order == 2:
            now, third = _basis_second(t, alpha, beta, basis[1, :size], value)
        else:
            now, third = _basis_next(t, alpha, beta, basis[order - 1, :size], basis[order - 2, :size], value)
        if not (size > order and now > 1e-24 * norms[order - 1]):
            return order - 1
        for k in range(order + 1):
            raised = powers[order - 1, k - 1] if k else 0.0
            before = beta * powers[order - 2, k] if order > 1 else 0.0
            powers[order, k] = raised - alpha * powers[order - 1, k] - before
        norms[order] = now
        alpha, beta = third / now, now / norms[order - 1]
    return degree


@compiled()
def _scaled(x: Floats, center: float, inverse: float, out: Floats) -> float:
    total = 0.0
    for i in range(len(x)):
        t = (x[i] - center) * inverse
        out[i] = t
        total += t
    return total


@compiled()
def _basis_first(t: Floats, alpha: float, out: Floats) -> tuple[float, float]:
    now = third = 0.0
    for i in range(len(t)):
        value = t[i] - alpha
        out[i] = value
        now += value * value
        third += t[i] * (value * value)
    return now, third


@compiled()
def _basis_second(t: Floats, alpha: float, beta: float, before: Floats, out: Floats) -> tuple[float, float]:
    now = third = 0.0
    for i in range(len(t)):
        value = (t[i] - alpha) * before[i] - beta
        out[i] = value
        now += value * value
        third += t[i] * (value * value)
    return now, third


@compiled()
def _basis_next(
    t: Floats, alpha: float, beta: float, before: Floats, earlier: Floats, out: Floats
) -> tuple[float, float]:
    now = third = 0.0
    for i in range(len(t)):
        value = (t[i] - alpha) * before[i] - beta * earlier[i]
        out[i] = value
        now += value * value
        third += t[i] * (value * value)
    return now, third


@compiled()
def _project(y: Floats, degree: int, basis: Floats, norms: Floats, powers: Floats, out: Floats) -> None:
    """Powers of t of the polynomial nearest to y."""
    out[:] = 0.0
    total = _total(y)
    out[0] = total / norms[0]
    for order in range(1, degree + 1):
        onto = _onto(y, basis[order]) / norms[order]
        for k in range(order + 1):
            out[k] += onto * powers[order, k]


@compiled()
def _total(y: Floats) -> float:
    total = 0.0
    for i in range(len(y)):
        total += y[i]
    return total


@compiled()
def _onto(y: Floats, basis: Floats) -> float:
    total = 0.0
    for i in range(len(y)):
        total += y[i] * basis[i]
    return total


@compiled()
def _value(powers: Floats, degree: int, t: float) -> float:
    out: float = powers[degree]
    for k in range(degree - 1, -1, -1):
        out = out * t + powers[k]
    return out


@compiled()
def _slices(x: Floats, count: int, e0: float, ends: Floats, degree: int) -> tuple[int, int, bool, int, int, int]:
    """As `_windows.slice_windows`."""
    pre_start = _last_at_or_below(x, count, e0 + ends[0])
    constant = _last_at_or_below(x, count, e0 + ends[1]) - pre_start < 3
    pre_stop = max(_nearest(x, count, e0 + ends[1]), pre_start + 1)
    post_start = min(_last_at_or_below(x, count, e0 + ends[2]), count - 3)
    post_stop = _nearest(x, count, e0 + ends[3])
    length = post_stop - post_start
    if length < 2:
        return pre_start, pre_stop, constant, post_start - 2, post_stop, 0
    return pre_start, pre_stop, constant, post_start, post_stop, min(1, degree) if length < 5 else degree


# A loop with one output, in a function of its own, is done in lanes; with two it is not.


@compiled()
def _above_line(x: Floats, y: Floats, line: Floats, factor: float, out: Floats) -> None:
    """The distance of y to a line, times a factor."""
    level, slope, center = line[0] * factor, line[1] * factor, line[2]
    for i in range(len(x)):
        out[i] = y[i] * factor - (level + slope * (x[i] - center))


@compiled()
def _on_line(x: Floats, line: Floats, out: Floats) -> None:
    level, slope, center = line[0], line[1], line[2]
    for i in range(len(x)):
        out[i] = level + slope * (x[i] - center)


@compiled()
def _with_polynomial(
    x: Floats,
    y: Floats,
    center: float,
    inverse: float,
    powers: Floats,
    degree: int,
    factor: float,
    more: float,
    out: Floats,
) -> None:
    """``y + more + factor * polynomial``."""
    if degree <= 2:
        q0 = more + factor * powers[0]
        q1, q2 = factor * powers[1] * inverse, factor * powers[2] * inverse * inverse
        for i in range(len(x)):
            d = x[i] - center
            out[i] = y[i] + (q0 + d * (q1 + d * q2))
    else:
        for i in range(len(x)):
            out[i] = y[i] + (more + factor * _value(powers, degree, (x[i] - center) * inverse))


@compiled()
def _fill(
    out: Any, row: int, x: Floats, y: Floats, near: int, line: Floats, about: Floats, powers: Floats, degree: int,
    step: float, spare: Floats,
) -> None:  # fmt: skip
    """Write the curves of a row that are wanted."""
    norm, flat, pre_edge, post_edge = out
    center, inverse, factor, points = about[0], 1.0 / about[1], 1.0 / step, len(x)
    here = norm[row] if len(norm) else spare
    _above_line(x, y, line, factor, here)
    if len(flat):
        # The rise over the pre-edge is the step itself at e0.
        flat[row, :near] = here[:near]
        _with_polynomial(x[near:], here[near:], center, inverse, powers, degree, -factor, 1.0, flat[row, near:])
    if len(pre_edge) or len(post_edge):
        here = pre_edge[row] if len(pre_edge) else spare
        _on_line(x, line, here)
        if len(post_edge):
            _with_polynomial(x, here, center, inverse, powers, degree, 1.0, 0.0, post_edge[row])
    for one in out:
        if len(one):
            one[row, points:] = np.nan


@compiled()
def normalize_rows(
    grids: Floats, grid: Ints, mu: Floats, count: Ints, order: Ints, e0: Floats, asked: Floats, nnorm: int,
    out: Any, numbers: Any, degrees: Any, quality: Any,
) -> None:  # fmt: skip
    """Fill the outputs of the rows in `order`; those that fail get their reason and NaN.

    `out` holds norm, flat, pre-edge and post-edge, an output without rows where it is not wanted; `numbers`
    edge_step, pre1, pre2, norm1, norm2. Rows of one grid and e0 that follow each other share what depends on these alone.
    """
    width = grids.shape[1]
    spare, ends, line = np.empty(width), np.empty(4), np.zeros(3)
    pre_basis, post_basis = np.empty((2, width)), np.empty((6, width))
    pre_norms, post_norms, pre_about, post_about = np.empty(2), np.empty(6), np.zeros(3), np.zeros(3)
    pre_powers, post_powers, pre, post = np.zeros((2, 2)), np.zeros((6, 6)), np.zeros(2), np.zeros(6)
    last = -1
    near = degree = begin = end = start = stop = used = pre_degree = post_degree = 0
    constant = False
    for row in order:
        points = count[row]
        x, y = grids[grid[row], :points], mu[row, :points]
        code = quality[row]
        if code == 0:
            if last < 0 or grid[row] != grid[last] or e0[row] != e0[last] or points != count[last]:
                near = _nearest(x, points, e0[row])
                degree = _choose_windows(x, points, e0[row], near, asked, nnorm, ends)
                begin, end, constant, start, stop, used = _slices(x, points, e0[row], ends, degree)
                pre_degree = _basis(x[begin:end], 0 if constant else 1, pre_basis, pre_norms, pre_powers, pre_about)
                first = max(start, 0)
                post_degree = _basis(
                    x[first : max(stop, first + 1)], used, post_basis, post_norms, post_powers, post_about
                )
                last = row
            _project(y[begin:end], pre_degree, pre_basis, pre_norms, pre_powers, pre)
            line[0], line[1], line[2] = pre[0], pre[1] / pre_about[1], pre_about[0]
            first = max(start, 0)
            _project(y[first : max(stop, first + 1)], post_degree, post_basis, post_norms, post_powers, post)
            # What is fitted lies above the line, which is a polynomial itself.
            level, slope = line[0] + (post_about[0] - line[2]) * line[1], line[1] * post_about[1]
            if post_degree:
                post[0] -= level
                post[1] -= slope
            else:
                post[0] -= level + slope * post_about[2]
            step = _value(post, used, (x[near] - post_about[0]) / post_about[1])
            if start < 0:
                code = NO_POST_EDGE
            elif not step > 1e-12:
                code = NO_STEP
            elif constant:
                code = CONSTANT_PRE_EDGE
            elif used < degree:
                code = SHORT_POST_EDGE
            quality[row] = code
        if 0 < code < CONSTANT_PRE_EDGE:
            e0[row] = np.nan
            for one in out:
                if len(one):
                    one[row] = np.nan
            for number in numbers:
                number[row] = np.nan
            degrees[row] = -1
            last = -1
            continue
        _fill(out, row, x, y, near, line, post_about, post, used, step, spare)
        numbers[0][row] = step
        for k in range(4):
            numbers[k + 1][row] = ends[k]
        degrees[row] = used
