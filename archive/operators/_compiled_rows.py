"""Kernels compiled with numba: rows, and normalization with e0 given, by the same rules as the numpy code.

Every kernel takes plain rows (`Rows.plain`), one after the other; what is out of the ordinary is left to numpy. Those that
call each other stand in one file: numba's cache does not see that a kernel of another file has changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from barospec.archive.operators._grid import NUDGE, TIE, Floats, Ints
from barospec.archive.operators._jit import compiled
from barospec.archive.operators._windows import CONSTANT_PRE_EDGE, NO_POST_EDGE, NO_STEP, SHORT_POST_EDGE

HUGE = 1e100
"""Numbers from here on are left to numpy: their squares and slopes may overflow."""


# Rows


@compiled()
def finite_lead(array: Floats, lead: Ints) -> None:
    """Number of finite values at the beginning of each row; -1 where more follow a hole, -2 where one is huge."""
    rows, width = array.shape
    for row in range(rows):
        line = array[row]
        tame = 0
        for i in range(width):
            tame += abs(line[i]) < HUGE
        lead[row] = tame
        if tame == width:
            continue
        count = 0
        while count < width and abs(line[count]) < HUGE:
            count += 1
        lead[row] = count
        for i in range(count, width):
            if np.isfinite(line[i]):
                lead[row] = -2 if i == count else -1
                break


@compiled()
def rising(energy: Floats, count: Ints, plain: Any) -> None:
    """Whether the first `count` energies of each row rise by `NUDGE` or more from point to point."""
    for row in range(len(count)):
        line = energy[row]
        good = True
        for i in range(1, count[row]):
            good &= line[i] - line[i - 1] >= NUDGE
        plain[row] = good


@compiled()
def filled(array: Floats, count: Ints, fill: float) -> Floats:
    """A copy with `fill` behind the first `count` values of each row."""
    out = np.empty_like(array)
    for row in range(len(count)):
        out[row, : count[row]] = array[row, : count[row]]
        out[row, count[row] :] = fill
    return out


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


@compiled()
def _fit(x: Floats, y: Floats, start: int, stop: int, degree: int, work: Floats, out: Floats) -> tuple[float, float]:
    """As `_fit.fit_polynomials`: powers of t = (x - center)/scale go to `out`, center and scale are returned."""
    size = stop - start
    x, y, t, value, before = x[start:stop], y[start:stop], work[0, :size], work[1, :size], work[2, :size]
    center = 0.5 * (x[0] + x[size - 1])
    scale = 0.5 * (x[size - 1] - x[0]) if x[size - 1] > x[0] else 1.0
    inverse = 1.0 / scale
    first = total = 0.0
    for i in range(size):
        t[i] = (x[i] - center) * inverse
        first += t[i]
        total += y[i]
    out[:] = 0.0
    out[0] = total / size
    if degree == 0:
        return center, scale
    current, previous = work[3, :7], work[4, :7]
    current[:], previous[:] = 0.0, 0.0
    current[0] = 1.0
    alpha, beta, norm = first / size, 0.0, float(size)
    for order in range(1, degree + 1):
        now, third, onto = _next_basis(t, value, before, y, order, alpha, beta)
        value, before = before, value
        for k in range(order, -1, -1):
            raised = current[k - 1] if k else 0.0
            fresh = raised - alpha * current[k] - beta * previous[k]
            previous[k] = current[k]
            current[k] = fresh
        if not (size > order and now > 1e-24 * norm):
            break
        for k in range(order + 1):
            out[k] += current[k] * (onto / now)
        alpha, beta, norm = third / now, now / norm, now
    return center, scale


@compiled()
def _next_basis(
    t: Floats, value: Floats, before: Floats, y: Floats, order: int, alpha: float, beta: float
) -> tuple[float, float, float]:
    """The next orthogonal polynomial in place of `before`; its sums with itself, with t and itself, and with y."""
    now = third = onto = 0.0
    if order == 1:
        for i in range(len(t)):
            fresh = t[i] - alpha
            before[i] = fresh
            now += fresh * fresh
            third += t[i] * (fresh * fresh)
            onto += y[i] * fresh
    elif order == 2:
        for i in range(len(t)):
            fresh = (t[i] - alpha) * value[i] - beta
            before[i] = fresh
            now += fresh * fresh
            third += t[i] * (fresh * fresh)
            onto += y[i] * fresh
    else:
        for i in range(len(t)):
            fresh = (t[i] - alpha) * value[i] - beta * before[i]
            before[i] = fresh
            now += fresh * fresh
            third += t[i] * (fresh * fresh)
            onto += y[i] * fresh
    return now, third, onto


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
def _above_line(x: Floats, y: Floats, center: float, scale: float, line: Floats, factor: float, out: Floats) -> None:
    """The distance of y to a line, times a factor."""
    p0, p1 = line[0], line[1]
    for i in range(len(x)):
        out[i] = (y[i] - (p0 + p1 * ((x[i] - center) * scale))) * factor


@compiled()
def _line(x: Floats, center: float, scale: float, line: Floats, out: Floats) -> None:
    p0, p1 = line[0], line[1]
    for i in range(len(x)):
        out[i] = p0 + p1 * ((x[i] - center) * scale)


@compiled()
def _with_polynomial(
    x: Floats,
    y: Floats,
    center: float,
    scale: float,
    powers: Floats,
    degree: int,
    factor: float,
    more: float,
    out: Floats,
) -> None:
    """``y + more + factor * polynomial``."""
    if degree <= 2:
        q0, q1, q2 = powers[0], powers[1], powers[2]
        for i in range(len(x)):
            t = (x[i] - center) * scale
            out[i] = y[i] + (more + factor * (q0 + t * (q1 + t * q2)))
    else:
        for i in range(len(x)):
            out[i] = y[i] + (more + factor * _value(powers, degree, (x[i] - center) * scale))


@compiled()
def normalize_rows(
    energy: Floats, mu: Floats, count: Ints, todo: Any, e0: Floats, asked: Floats, nnorm: int,
    out: Any, numbers: Any, degrees: Any, quality: Any,
) -> None:  # fmt: skip
    """Fill the outputs of each row with `todo`; rows that fail get their reason and NaN.

    `out` holds norm, flat, pre-edge and post-edge, an output without rows where it is not wanted; `numbers`
    edge_step, pre1, pre2, norm1, norm2.
    """
    norm, flat, pre_edge, post_edge = out
    rows, width = energy.shape
    work, rest, ends = np.empty((5, max(width, 7))), np.empty(width), np.empty(4)
    spare = np.empty(width)
    pre, post = np.zeros(6), np.zeros(6)
    for row in range(rows):
        if not todo[row]:
            continue
        points = count[row]
        x, y = energy[row, :points], mu[row, :points]
        code = quality[row]
        if code == 0:
            near = _nearest(x, points, e0[row])
            degree = _choose_windows(x, points, e0[row], near, asked, nnorm, ends)
            begin, end, constant, start, stop, used = _slices(x, points, e0[row], ends, degree)
            center, scale = _fit(x, y, begin, end, 0 if constant else 1, work, pre)
            first = max(start, 0)
            last = max(stop, first + 1)
            inverse = 1.0 / scale
            _above_line(x[first:last], y[first:last], center, inverse, pre, 1.0, rest[first:])
            post_center, post_scale = _fit(x, rest, first, last, used, work, post)
            step = _value(post, used, (x[near] - post_center) / post_scale)
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
            continue
        post_inverse, factor = 1.0 / post_scale, 1.0 / step
        here = norm[row] if len(norm) else spare
        _above_line(x, y, center, inverse, pre, factor, here)
        if len(flat):
            # The rise over the pre-edge is the step itself at e0.
            flat[row, :near] = here[:near]
            _with_polynomial(
                x[near:], here[near:], post_center, post_inverse, post, used, -factor, 1.0, flat[row, near:]
            )
        if len(pre_edge) or len(post_edge):
            here = pre_edge[row] if len(pre_edge) else spare
            _line(x, center, inverse, pre, here)
            if len(post_edge):
                _with_polynomial(x, here, post_center, post_inverse, post, used, 1.0, 0.0, post_edge[row])
        for one in out:
            if len(one):
                one[row, points:] = np.nan
        numbers[0][row] = step
        for k in range(4):
            numbers[k + 1][row] = ends[k]
        degrees[row] = used
