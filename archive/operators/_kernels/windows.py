"""Fit windows relative to e0, and the index ranges they mean, after the rules of Larch's ``preedge``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.ragged import TIE, Bools, Floats, Ints, at

FEW_POINTS, TOO_CLOSE, NO_EDGE, E0_OUTSIDE, NO_STEP, NO_POST_EDGE, CONSTANT_PRE_EDGE, SHORT_POST_EDGE = range(1, 9)
"""Reason codes of `normalize`; the last two belong to values that stand."""


@dataclass(slots=True)
class Windows:
    """Window ends in eV relative to e0, and the degree of the post-edge polynomial; per row."""

    pre1: Floats
    pre2: Floats
    norm1: Floats
    norm2: Floats
    nnorm: Ints


@dataclass(slots=True)
class Slices:
    """Index ranges of both fits and the degrees that their points carry; per row."""

    pre_start: Ints
    pre_stop: Ints
    constant: Bools
    post_start: Ints
    post_stop: Ints
    nnorm: Ints


def choose_windows(
    energy: Floats, count: Ints, e0: Floats, near_e0: Ints, asked: tuple[float | None, ...], nnorm: int | None
) -> Windows:
    """Choose the windows of each row: what was asked for, else the defaults, clipped to the scan."""
    pre1, pre2, norm1, norm2 = (None if end is None else np.full(len(e0), float(end)) for end in asked)
    below, above = energy[:, 0] - e0, at(energy, count - 1) - e0
    if pre1 is None:
        second = energy[:, 1] - e0
        pre1 = np.where(near_e0 > 20, ragged.round_to(second, 5.0), ragged.round_to(second, 2.0))
    pre1 = np.maximum(pre1, below)
    if pre2 is None:
        pre2 = 0.5 * pre1
    pre1, pre2 = np.minimum(pre1, pre2), np.maximum(pre1, pre2)
    if norm2 is None:
        norm2 = ragged.round_to(above, 5.0)
    norm2 = np.minimum(norm2, above)
    if norm1 is None:
        norm1 = np.minimum(25.0, ragged.round_to(norm2 / 3.0, 5.0))
    norm1, norm2 = np.minimum(norm1, norm2), np.maximum(norm1, norm2)
    norm1 = np.minimum(norm1, norm2 - 2.0)
    if nnorm is None:
        span = norm2 - norm1
        degree = np.where(span < 300.0 - TIE, np.where(span < 30.0 - TIE, 0, 1), 2)
    else:
        degree = np.full(len(e0), int(nnorm))
    return Windows(pre1, pre2, norm1, norm2, degree.astype(np.intp))


def slice_windows(energy: Floats, count: Ints, e0: Floats, windows: Windows) -> Slices:
    """Return the index ranges of the windows. A post_start below 0 means that there is nothing to fit."""
    ends = (e0 + np.stack([windows.pre1, windows.pre2, windows.norm1, windows.norm2])).T
    low = ragged.last_at_or_below(energy, ends)
    upper = ragged.nearest(energy, ends[:, 1::2], low[:, 1::2])
    pre_start, constant = low[:, 0], low[:, 1] - low[:, 0] < 3
    post_start, post_stop = np.minimum(low[:, 2], count - 3), upper[:, 1]
    length = post_stop - post_start
    return Slices(
        pre_start=pre_start,
        pre_stop=np.maximum(upper[:, 0], pre_start + 1),
        constant=constant,
        post_start=np.where(length < 2, post_start - 2, post_start),
        post_stop=post_stop,
        nnorm=np.where(length < 2, 0, np.where(length < 5, np.minimum(1, windows.nnorm), windows.nnorm)),
    )
