"""Kernels compiled with numba: normalization with e0 given, by the same rules as the numpy code.

Every kernel takes plain rows (`Rows.plain`), one after the other; what is out of the ordinary is left to numpy. Those that
call each other stand in one file: numba's cache does not see that a kernel of another file has changed.

Helpers get whole arrays and the number of a row: numba counts who holds an array, and a row taken out as one of its own, or
arrays handed through one helper more, cost more than the sums do. That is why `normalize_rows` is long. Loops run over unsigned
numbers, which cannot mean places counted from the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from barospec.archive.operators._grid import TIE, Floats, Ints
from barospec.archive.operators._jit import compiled
from barospec.archive.operators._windows import CONSTANT_PRE_EDGE, NO_POST_EDGE, NO_STEP, SHORT_POST_EDGE

PLAIN = 1e-3
"""How much of a sum of powers must be left after what lower degrees have of it, for polynomials to be made of sums."""

# Windows


@compiled()
def _last_at_or_below(grids: Floats, g: int, count: int, value: float) -> int:
    # Without branches: which way each step goes cannot be foretold.
    low, left = 0, count
    while left > 1:
        half = left >> 1
        low += half * (grids[g, low + half] <= value + TIE)
        left -= half
    return low


@compiled()
def _nearest(grids: Floats, g: int, count: int, value: float, low: int) -> int:
    """The point nearest to a value, of which `low` is the last at or below it."""
    high = min(low + 1, count - 1)
    return high if grids[g, high] - value < value - grids[g, low] - TIE else low


@compiled()
def _round_to(value: float, unit: float) -> float:
    rounded: float = unit * float(np.rint(np.rint(value / unit * 1e9) / 1e9))
    return rounded


@compiled()
def _choose_windows(
    grids: Floats, g: int, count: int, e0: float, near: int, asked: Floats, nnorm: int, out: Floats
) -> int:
    """As `_windows.choose_windows`: the four ends go to `out`, the degree is returned."""
    below, above = grids[g, 0] - e0, grids[g, count - 1] - e0
    pre1, pre2, norm1, norm2 = asked[0], asked[1], asked[2], asked[3]
    if np.isnan(pre1):
        pre1 = _round_to(grids[g, 1] - e0, 5.0 if near > 20 else 2.0)
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


@compiled()
def _slices(
    grids: Floats, g: int, count: int, e0: float, ends: Floats, degree: int
) -> tuple[int, int, bool, int, int, int]:
    """As `_windows.slice_windows`."""
    pre_start = _last_at_or_below(grids, g, count, e0 + ends[0])
    low = _last_at_or_below(grids, g, count, e0 + ends[1])
    constant = low - pre_start < 3
    pre_stop = max(_nearest(grids, g, count, e0 + ends[1], low), pre_start + 1)
    post_start = min(_last_at_or_below(grids, g, count, e0 + ends[2]), count - 3)
    low = _last_at_or_below(grids, g, count, e0 + ends[3])
    post_stop = _nearest(grids, g, count, e0 + ends[3], low)
    length = post_stop - post_start
    if length < 2:
        return pre_start, pre_stop, constant, post_start - 2, post_stop, 0
    return pre_start, pre_stop, constant, post_start, post_stop, min(1, degree) if length < 5 else degree


# Fits

# A fit is a projection onto polynomials that are orthogonal on the window. They follow from the grid and e0 alone, and are
# made once for all spectra that share both. Those up to the second degree follow from sums of powers, in one pass and
# without being written down; the others, and all where the points lie in few heaps, from a recurrence as in `_fit`.


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
def _grid_sums(grids: Floats, g: int, begin: int, end: int, center: float) -> tuple[float, float, float, float]:
    s1 = s2 = s3 = s4 = 0.0
    for i in range(np.uint64(begin), np.uint64(end)):
        d = grids[g, i] - center
        square = d * d
        s1 += d
        s2 += square
        s3 += square * d
        s4 += square * square
    return s1, s2, s3, s4


@compiled()
def _sums(
    grids: Floats, g: int, mu: Floats, row: int, begin: int, end: int, center: float
) -> tuple[float, float, float]:
    y0 = y1 = y2 = 0.0
    for i in range(np.uint64(begin), np.uint64(end)):
        d = grids[g, i] - center
        y = mu[row, i]
        y0 += y
        y1 += y * d
        y2 += y * d * d
    return y0, y1, y2


@compiled()
def _plain(
    grids: Floats, g: int, begin: int, end: int, degree: int, norms: Floats, powers: Floats, about: Floats
) -> bool:
    """Orthogonal polynomials of x - center up to the second degree out of sums of powers, if these tell them well."""
    size = end - begin
    if degree > 2 or size <= degree:
        return False
    center = 0.5 * (grids[g, begin] + grids[g, end - 1])
    s1, s2, s3, s4 = _grid_sums(grids, g, begin, end, center)
    mean = s1 / size
    first = s2 - s1 * mean
    # x^2 less what of it lies along the first two.
    along = (s3 - mean * s2) / first if first > 0 else 0.0
    level = along * mean - s2 / size
    second = s4 - along * s3 + level * s2
    about[0], about[1], about[2] = center, 1.0, mean
    norms[0], norms[1] = float(size), first
    powers[0, 0] = 1.0
    powers[1, 0], powers[1, 1] = -mean, 1.0
    if degree == 2:
        norms[2] = second
        powers[2, 0], powers[2, 1], powers[2, 2] = level, -along, 1.0
    return (degree < 1 or first > PLAIN * s2) and (degree < 2 or second > PLAIN * s4)


@compiled()
def _onto_plain(
    grids: Floats, g: int, mu: Floats, row: int, begin: int, end: int,
    degree: int, about: Floats, norms: Floats, powers: Floats, out: Floats,
) -> None:  # fmt: skip
    """Powers of x - center of the polynomial nearest to y; see `_plain`."""
    y0, y1, y2 = _sums(grids, g, mu, row, begin, end, about[0])
    out[0] = y0 / norms[0]
    if degree > 0:
        onto = (y1 + powers[1, 0] * y0) / norms[1]
        out[0] += onto * powers[1, 0]
        out[1] = onto
    if degree > 1:
        onto = (y2 + powers[2, 1] * y1 + powers[2, 0] * y0) / norms[2]
        out[0] += onto * powers[2, 0]
        out[1] += onto * powers[2, 1]
        out[2] = onto


@compiled()
def _value(powers: Floats, degree: int, t: float) -> float:
    out: float = powers[degree]
    for k in range(degree - 1, -1, -1):
        out = out * t + powers[k]
    return out


# Curves. These loops do what they say and in that order: a curve has the same bits whichever others are asked for.


@compiled(exact=True)
def _above_line(
    grids: Floats, g: int, mu: Floats, row: int, points: int, line: Floats, factor: float, out: Floats, at: int
) -> None:
    """The distance of y to a line, times a factor."""
    level, slope, center = line[0] * factor, line[1] * factor, line[2]
    for i in range(np.uint64(points)):
        out[at, i] = mu[row, i] * factor - (level + slope * (grids[g, i] - center))


@compiled(exact=True)
def _above_both(
    grids: Floats, g: int, mu: Floats, row: int, begin: int, end: int, line: Floats, factor: float,
    about: Floats, powers: Floats, out: Floats, at: int, flat: Floats,
) -> None:  # fmt: skip
    """`_above_line` from a point on, and flattened by a polynomial of at most second degree, in one pass."""
    level, slope, center = line[0] * factor, line[1] * factor, line[2]
    q0, q1, q2 = _parabola(about, powers, -factor, 1.0)
    for i in range(np.uint64(begin), np.uint64(end)):
        value = mu[row, i] * factor - (level + slope * (grids[g, i] - center))
        d = grids[g, i] - about[0]
        out[at, i] = value
        flat[row, i] = value + (q0 + d * (q1 + d * q2))


@compiled(exact=True)
def _on_line(grids: Floats, g: int, points: int, line: Floats, out: Floats, at: int) -> None:
    level, slope, center = line[0], line[1], line[2]
    for i in range(np.uint64(points)):
        out[at, i] = level + slope * (grids[g, i] - center)


@compiled(exact=True)
def _parabola(about: Floats, powers: Floats, factor: float, more: float) -> tuple[float, float, float]:
    """``more + factor * polynomial`` in powers of x - center."""
    inverse = factor / about[1]
    return more + factor * powers[0], inverse * powers[1], inverse / about[1] * powers[2]


@compiled(exact=True)
def _with_polynomial(
    grids: Floats, g: int, begin: int, end: int, y: Floats, there: int, about: Floats, powers: Floats, degree: int,
    factor: float, more: float, out: Floats, at: int,
) -> None:  # fmt: skip
    """``y + more + factor * polynomial``."""
    center, inverse = about[0], 1.0 / about[1]
    if degree <= 2:
        q0, q1, q2 = _parabola(about, powers, factor, more)
        for i in range(np.uint64(begin), np.uint64(end)):
            d = grids[g, i] - center
            out[at, i] = y[there, i] + (q0 + d * (q1 + d * q2))
    else:
        for i in range(np.uint64(begin), np.uint64(end)):
            out[at, i] = y[there, i] + (more + factor * _value(powers, degree, (grids[g, i] - center) * inverse))


@compiled(exact=True)
def _copy(y: Floats, there: int, points: int, out: Floats, at: int) -> None:
    for i in range(np.uint64(points)):
        out[at, i] = y[there, i]


@compiled()
def _blank(out: Floats, row: int, begin: int) -> None:
    """NaN from a point on, in an output that is wanted."""
    if len(out):
        for i in range(begin, out.shape[1]):
            out[row, i] = np.nan


@compiled()
def _judge(start: int, step: float, constant: bool, short: bool) -> int:
    if start < 0:
        return NO_POST_EDGE
    if not step > 1e-12:
        return NO_STEP
    return CONSTANT_PRE_EDGE if constant else SHORT_POST_EDGE if short else 0


@compiled()
def normalize_rows(
    grids: Floats, grid: Ints, mu: Floats, count: Ints, order: Ints, e0: Floats, asked: Floats, nnorm: int,
    out: Any, numbers: Any, degrees: Any, quality: Any,
) -> None:  # fmt: skip
    """Fill the outputs of the rows in `order`; those that fail get their reason and NaN.

    `out` holds norm, flat, pre-edge and post-edge, an output without rows where it is not wanted; `numbers`
    edge_step, pre1, pre2, norm1, norm2. Rows of one grid and e0 that follow each other share what depends on these alone.
    """
    norm, flat, pre_edge, post_edge = out
    edge_step, pre1, pre2, norm1, norm2 = numbers
    width = grids.shape[1]
    spare, ends, line = np.empty((1, width)), np.empty(4), np.zeros(3)
    pre_basis, post_basis = np.empty((2, width)), np.empty((6, width))
    pre_norms, post_norms, pre_about, post_about = np.empty(2), np.empty(6), np.zeros(3), np.zeros(3)
    pre_powers, post_powers, pre, post = np.zeros((2, 2)), np.zeros((6, 6)), np.zeros(2), np.zeros(6)
    above = norm if len(norm) else spare
    below = pre_edge if len(pre_edge) else spare
    last = -1
    near = degree = begin = end = start = stop = used = pre_degree = post_degree = first = 0
    constant = pre_plain = post_plain = False
    for k in range(len(order)):
        row = order[k]
        points = count[row]
        g = grid[row]
        code = quality[row]
        if code == 0:
            if last < 0 or g != grid[last] or e0[row] != e0[last] or points != count[last]:
                near = _nearest(grids, g, points, e0[row], _last_at_or_below(grids, g, points, e0[row]))
                degree = _choose_windows(grids, g, points, e0[row], near, asked, nnorm, ends)
                begin, end, constant, start, stop, used = _slices(grids, g, points, e0[row], ends, degree)
                first = max(start, 0)
                stop = max(stop, first + 1)
                pre_degree, post_degree = 0 if constant else 1, used
                pre_plain = _plain(grids, g, begin, end, pre_degree, pre_norms, pre_powers, pre_about)
                if not pre_plain:
                    pre_degree = _basis(grids[g, begin:end], pre_degree, pre_basis, pre_norms, pre_powers, pre_about)
                post_plain = _plain(grids, g, first, stop, used, post_norms, post_powers, post_about)
                if not post_plain:
                    post_degree = _basis(grids[g, first:stop], used, post_basis, post_norms, post_powers, post_about)
                last = row
            pre[:] = 0.0
            if pre_plain:
                _onto_plain(grids, g, mu, row, begin, end, pre_degree, pre_about, pre_norms, pre_powers, pre)
            else:
                _project(mu[row, begin:end], pre_degree, pre_basis, pre_norms, pre_powers, pre)
            line[0], line[1], line[2] = pre[0], pre[1] / pre_about[1], pre_about[0]
            post[:] = 0.0
            if post_plain:
                _onto_plain(grids, g, mu, row, first, stop, post_degree, post_about, post_norms, post_powers, post)
            else:
                _project(mu[row, first:stop], post_degree, post_basis, post_norms, post_powers, post)
            # What is fitted lies above the line, which is a polynomial itself.
            level, slope = line[0] + (post_about[0] - line[2]) * line[1], line[1] * post_about[1]
            if post_degree:
                post[0] -= level
                post[1] -= slope
            else:
                post[0] -= level + slope * post_about[2]
            step = _value(post, used, (grids[g, near] - post_about[0]) / post_about[1])
            code = quality[row] = _judge(start, step, constant, used < degree)
        if 0 < code < CONSTANT_PRE_EDGE:
            _blank(norm, row, 0)
            _blank(flat, row, 0)
            _blank(pre_edge, row, 0)
            _blank(post_edge, row, 0)
            e0[row] = edge_step[row] = pre1[row] = pre2[row] = norm1[row] = norm2[row] = np.nan
            degrees[row] = -1
            last = -1
            continue
        at = row if len(norm) else 0
        # Before e0 the flattened curve is the other one: the rise over the pre-edge is the step itself at e0.
        if len(flat) and used <= 2:
            _above_line(grids, g, mu, row, near, line, 1.0 / step, above, at)
            _above_both(grids, g, mu, row, near, points, line, 1.0 / step, post_about, post, above, at, flat)
        else:
            _above_line(grids, g, mu, row, points, line, 1.0 / step, above, at)
            if len(flat):
                _with_polynomial(grids, g, near, points, above, at, post_about, post, used, -1.0 / step, 1.0, flat, row)
        if len(flat):
            _copy(above, at, near, flat, row)
        if len(pre_edge) or len(post_edge):
            at = row if len(pre_edge) else 0
            _on_line(grids, g, points, line, below, at)
            if len(post_edge):
                _with_polynomial(grids, g, 0, points, below, at, post_about, post, used, 1.0, 0.0, post_edge, row)
        _blank(norm, row, points)
        _blank(flat, row, points)
        _blank(pre_edge, row, points)
        _blank(post_edge, row, points)
        edge_step[row] = step
        pre1[row], pre2[row], norm1[row], norm2[row] = ends[0], ends[1], ends[2], ends[3]
        degrees[row] = used
