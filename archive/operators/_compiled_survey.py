"""Kernels compiled with numba: whether rows are plain, before others run over them."""

from __future__ import annotations

from typing import Any

import numpy as np

from barospec.archive.operators._grid import NUDGE, Floats, Ints
from barospec.archive.operators._jit import compiled

HUGE = 1e100
"""Numbers from here on are left to numpy: their squares and slopes may overflow."""


@compiled()
def _finite_lead(line: Floats) -> int:
    """Number of finite values at the beginning; -1 where more follow a hole, -2 where one is huge."""
    width = len(line)
    tame = 0
    for i in range(width):
        tame += abs(line[i]) < HUGE
    if tame == width:
        return tame
    count = 0
    while count < width and abs(line[count]) < HUGE:
        count += 1
    for i in range(count, width):
        if np.isfinite(line[i]):
            return -2 if i == count else -1
    return count


@compiled()
def finite_lead(array: Floats, lead: Ints) -> None:
    """`_finite_lead` of each row."""
    for row in range(len(array)):
        lead[row] = _finite_lead(array[row])


@compiled()
def _rises(line: Floats, count: int) -> bool:
    good = True
    for i in range(1, count):
        good &= line[i] - line[i - 1] >= NUDGE
    return good


@compiled()
def rising(energy: Floats, count: Ints, plain: Any) -> None:
    """Whether the first `count` energies of each row rise by `NUDGE` or more from point to point."""
    for row in range(len(count)):
        plain[row] = _rises(energy[row], count[row])


@compiled()
def rising_lead(grids: Floats, lead: Ints) -> None:
    """`_finite_lead` of each axis; -3 where its energies do not rise by `NUDGE` or more from point to point."""
    for row in range(len(grids)):
        lead[row] = _finite_lead(grids[row])
        if lead[row] >= 0 and not _rises(grids[row], lead[row]):
            lead[row] = -3


@compiled()
def filled(array: Floats, count: Ints, fill: float) -> Floats:
    """A copy with `fill` behind the first `count` values of each row."""
    out = np.empty_like(array)
    for row in range(len(count)):
        out[row, : count[row]] = array[row, : count[row]]
        out[row, count[row] :] = fill
    return out
