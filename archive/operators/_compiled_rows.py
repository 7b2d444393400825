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
        count = 0
        # Eight at a time without a branch: nearly all rows are whole.
        while count + 8 <= width:
            good = True
            for i in range(count, count + 8):
                good &= abs(line[i]) < HUGE
            if not good:
                break
            count += 8
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
    center = 0.5 * (x[start] + x[stop - 1])
    scale = 0.5 * (x[stop - 1] - x[start]) if x[stop - 1] > x[start] else 1.0
    t, value, before = work[0], work[1], work[2]
    total = first = 0.0
    inverse = 1.0 / scale
    for i in range(size):
        t[i] = (x[start + i] - center) * inverse
        first += t[i]
        total += y[start + i]
    out[:] = 0.0
    out[0] = total / size
    current, previous = np.zeros(7), np.zeros(7)
    current[0] = 1.0
    alpha, beta, norm = first / size, 0.0, float(size)
    for order in range(1, degree + 1):
        now = third = onto = 0.0
        for i in range(size):
            if order == 1:
                fresh = t[i] - alpha
            elif order == 2:
                fresh = (t[i] - alpha) * value[i] - beta
            else:
                fresh = (t[i] - alpha) * value[i] - beta * before[i]
            before[i] = fresh
            now += fresh * fresh
            third += t[i] * fresh * fresh
            onto += y[start + i] * fresh
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


@compiled()
def _curves(
    x: Floats, y: Floats, near: int, pre: Floats, fit: Any, post: Floats, degree: int, step: float, out: Any, row: int
) -> None:
    """Write norm, flat, pre-edge and post-edge of one row; `pre` and `post` hold powers, `fit` their scales."""
    norm, flat, pre_edge, post_edge = out[0][row], out[1][row], out[2][row], out[3][row]
    center, scale, post_center, post_scale = 1.0 * fit[0], 1.0 / fit[1], 1.0 * fit[2], 1.0 / fit[3]
    p0, p1 = pre[0], pre[1]
    inverse = 1.0 / step
    q0, q1, q2 = post[0], post[1], post[2]
    if degree <= 2:
        for i in range(len(x)):
            line = p0 + p1 * ((x[i] - center) * scale)
            t = (x[i] - post_center) * post_scale
            pre_edge[i] = line
            post_edge[i] = line + (q0 + t * (q1 + t * q2))
            norm[i] = (y[i] - line) * inverse
    else:
        for i in range(len(x)):
            line = p0 + p1 * ((x[i] - center) * scale)
            pre_edge[i] = line
            post_edge[i] = line + _value(post, degree, (x[i] - post_center) * post_scale)
            norm[i] = (y[i] - line) * inverse
    # The rise over the pre-edge at e0 is the step itself.
    for i in range(near):
        flat[i] = norm[i]
    for i in range(near, len(x)):
        flat[i] = norm[i] - ((post_edge[i] - pre_edge[i]) * inverse - 1.0)


@compiled()
def normalize_rows(
    energy: Floats, mu: Floats, count: Ints, todo: Any, e0: Floats, asked: Floats, nnorm: int,
    out: Any, numbers: Any, degrees: Any, quality: Any,
) -> None:  # fmt: skip
    """Fill the outputs of each row with `todo`; rows that fail get their reason and NaN.

    `out` holds norm, flat, pre-edge and post-edge; `numbers` edge_step, pre1, pre2, norm1, norm2.
    """
    rows, width = energy.shape
    work, rest, ends = np.empty((3, width)), np.empty(width), np.empty(4)
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
            for i in range(first, last):
                rest[i] = y[i] - (pre[0] + pre[1] * ((x[i] - center) / scale))
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
                one[row] = np.nan
            for number in numbers:
                number[row] = np.nan
            degrees[row] = -1
            continue
        _curves(x, y, near, pre, (center, scale, post_center, post_scale), post, used, step, out, row)
        for one in out:
            one[row, points:] = np.nan
        numbers[0][row] = step
        for k in range(4):
            numbers[k + 1][row] = ends[k]
        degrees[row] = used
