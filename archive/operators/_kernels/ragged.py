"""Rows of padded, unsorted, gappy points made regular, and put back: what every per-point kernel needs.

Everything here works on a block ``(rows, points)`` without a Python loop over rows, and gives a row the same
bits whatever its padding and whichever rows stand beside it. Sums therefore run over index segments
(``ufunc.reduceat``), whose order of addition depends on the segment alone; a plain ``sum`` over a padded
axis would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.schemas.errors import CallError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

TIE = 1e-9
"""eV: a window end this close to a grid point counts as on it, so that float noise never decides."""

NUDGE = 5e-4
"""eV: the smallest tolerated energy step; what repeats is moved up by it, as Larch does."""

_NUDGES = np.cumsum(np.r_[0.0, np.full(20, NUDGE)])


@dataclass(slots=True)
class Rows:
    """Spectra as rows: points that have every value, in rising energy, then padding.

    Parameters
    ----------
    energy : ndarray, shape (rows, points)
        In eV, ascending; +inf in the padding, so that searching and comparing need no mask.
    signals : list of ndarray, each shape (rows, points)
        Same order; 0 in the padding.
    count : ndarray of int, shape (rows,)
        Points that are not padding.
    leading : tuple of int
        Shape of the batch the rows came from.
    width : int
        Points per spectrum in the arrays the rows came from.
    moved, order : ndarray of int
        Rows whose points had to be rearranged, and from where each point came.
    """

    energy: Floats
    signals: list[Floats]
    count: Ints
    leading: tuple[int, ...]
    width: int
    moved: Ints
    order: Ints

    def restore(self, values: Floats, failed: Bools | None = None) -> Floats:
        """Return per-point `values` to the places that the points came from; NaN where there was none.

        `values` may be overwritten: pass a temporary.
        """
        if values.size and self.count.min() < values.shape[1]:
            values[self.count[:, None] <= np.arange(values.shape[1])] = np.nan
        if self.moved.size:
            back = np.empty((self.moved.size, values.shape[1]))
            np.put_along_axis(back, self.order, values[self.moved], axis=1)
            values[self.moved] = back
        if failed is not None and failed.any():
            values[failed] = np.nan
        return values.reshape(*self.leading, self.width)


def per_spectrum(value: ArrayLike, leading: tuple[int, ...], name: str) -> Floats:
    """Broadcast a number or an array over the batch to one number per row."""
    array = np.asarray(value, dtype=np.float64)
    try:
        return np.broadcast_to(array, leading).reshape(-1)
    except ValueError:
        raise CallError(
            f"{name} has shape {array.shape}, but the batch of spectra has {leading}. "
            f"Give one number, or one per spectrum."
        ) from None


def make_rows(energy: ArrayLike, *signals: ArrayLike) -> Rows:
    """Bring spectra into the form of `Rows`. The inputs are not modified; repeats are left as they are.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV; leading axes broadcast against those of the signals (one shared axis may be (n,)).
    *signals : array_like, shape (..., n)
        A point without a finite value in energy and in every signal is dropped from its row.
    """
    arrays = [np.asarray(array, dtype=np.float64) for array in (energy, *signals)]
    if any(array.ndim == 0 or array.shape[-1] != arrays[0].shape[-1] for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise CallError(f"arrays of shapes {shapes} do not share their last axis, the points of a spectrum.")
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise CallError(
            f"leading axes of shapes {shapes} do not fit together: one batch of spectra is expected."
        ) from None
    leading, width = shape[:-1], shape[-1]
    flat = [np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1, width) for array in arrays]
    good = np.isfinite(flat[0])
    for array in flat[1:]:
        good &= np.isfinite(array)
    count = good.sum(axis=1, dtype=np.intp)
    if not good.all():
        flat = [np.where(good, array, fill) for array, fill in zip(flat, [np.inf] + [0.0] * len(flat), strict=False)]
    # +inf in a hole makes the next energy smaller than its neighbor: one test finds holes and disorder.
    moved = np.nonzero((flat[0][:, 1:] < flat[0][:, :-1]).any(axis=1))[0]
    order = np.empty((0, width), dtype=np.intp)
    if moved.size:
        # Equal energies keep their order, which an unstable sort would leave to chance.
        order = np.argsort(flat[0][moved], axis=1, kind="stable")
        rearranged = []
        for array in flat:
            copy = array.copy()
            copy[moved] = np.take_along_axis(array[moved], order, axis=1)
            rearranged.append(copy)
        flat = rearranged
    return Rows(flat[0], flat[1:], count, leading, width, moved, order)


def nudge(energy: Floats) -> tuple[Floats, Bools]:
    """Move energies that follow the previous one by less than `NUDGE` up, by `NUDGE` for each in a run.

    Energies ascend. Returns them (the array itself where nothing is close), and whether a row cannot be
    mended so: a run of more than 20 such steps (the axis would be stretched), or energies that end up out of
    order.
    """
    with np.errstate(invalid="ignore"):
        # In padding the difference is NaN.
        close = energy[:, 1:] - energy[:, :-1] < NUDGE
    rows = np.nonzero(close.any(axis=1))[0]
    hopeless = np.zeros(len(energy), dtype=bool)
    if not rows.size:
        return energy, hopeless
    index = np.arange(energy.shape[1])
    run = np.zeros((rows.size, energy.shape[1]), dtype=np.intp)
    run[:, 1:] = index[1:] - np.maximum.accumulate(np.where(close[rows], 0, index[1:]), axis=1)
    moved = energy[rows] + _NUDGES[np.minimum(run, len(_NUDGES) - 1)]
    hopeless[rows] = (run >= len(_NUDGES)).any(axis=1) | (moved[:, 1:] < moved[:, :-1]).any(axis=1)
    out = energy.copy()
    out[rows] = moved
    return out, hopeless


def last_at_or_below(energy: Floats, value: Floats) -> Ints:
    """Return the index of the last energy <= value (+ `TIE`), 0 where there is none.

    `energy` is (rows, points) ascending, `value` (rows,) or (rows, k); one binary search for all.
    """
    rows, points = energy.shape
    flat = energy.reshape(-1)
    base = (np.arange(rows) * points).reshape((rows,) + (1,) * (value.ndim - 1))
    target = value + TIE
    low = np.zeros(value.shape, dtype=np.intp)
    for bit in reversed(range(points.bit_length())):
        probe = low + (1 << bit)
        inside = np.minimum(probe, points - 1)
        low = np.where((probe < points) & (flat[base + inside] <= target), probe, low)
    return low


def nearest(energy: Floats, value: Floats, low: Ints | None = None) -> Ints:
    """Return the index of the energy nearest to value; the lower one where both are as near (within `TIE`).

    `low` is `last_at_or_below` of the same, where it is known already.
    """
    rows, points = energy.shape
    base = (np.arange(rows) * points).reshape((rows,) + (1,) * (value.ndim - 1))
    flat = energy.reshape(-1)
    if low is None:
        low = last_at_or_below(energy, value)
    high = np.minimum(low + 1, points - 1)
    return np.where(flat[base + high] - value < value - flat[base + low] - TIE, high, low)


def at(array: Floats, index: Ints) -> Floats:
    """Return ``array[row, index[row]]`` for every row."""
    return array[np.arange(len(array)), index]


def segments(start: Ints, stop: Ints, width: int) -> Ints:
    """Return flat indices for `reduce_segments`, for rows of `width` points; every segment has a point or more."""
    base = np.arange(len(start)) * width
    index = np.empty(2 * len(start), dtype=np.intp)
    index[0::2] = base + start
    index[1::2] = base + stop
    # An end may not lie behind the last element; without it the last segment runs to the end anyway.
    return index[:-1] if index.size and index[-1] == len(start) * width else index


def reduce_segments(ufunc: np.ufunc, array: Floats, index: Ints) -> Floats:
    """Reduce `ufunc` over each row's segment."""
    out: Floats = ufunc.reduceat(array.reshape(-1), index)[0::2]
    return out


def round_to(value: Floats, unit: float) -> Floats:
    """Round to a multiple of `unit`, half to even; a half is a half even after float noise of `TIE`."""
    return unit * np.rint(np.round(value / unit, 9))
