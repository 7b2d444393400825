"""From the noise of measured points to that of a result, through the normalization and the interpolation between.

A result that depends on norm linearly (or has been linearized) is ``q = sum_i k_i norm_i``: its *kernel* is k. The
points of norm share the noise of one pre-edge line and one edge step, so that the sum of ``k_i^2`` alone is too
small, by up to a factor of 7 for an area. `on_mu` turns the kernel on norm into the one on the measured points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.integrals import row_sum
from barospec.archive.operators._kernels.least_squares import inverted
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints, at
from barospec.archive.operators._kernels.windows import Windows, slice_windows
from barospec.schemas.errors import CallError

NORMALIZATION = ("e0", "pre1", "pre2", "norm1", "norm2", "nnorm", "nvict")
"""What `normalize` did to a spectrum, in the order of the last axis of ``normalization``."""
NORM_REFERENCE: dict[str, str | tuple[str, ...]] = {
    "reference_energy": "energy",
    "reference_norm": "norm",
    "reference_normalization": NORMALIZATION,
}
"""Arrays of reference spectra that norm is compared with; see `record.References`."""


def unpacked(normalization: ArrayLike | None, prefix: str = "normalization_") -> dict[str, NDArray[np.float64]]:
    """Unpack the last axis of ``normalization`` into one array each; NaN where nothing is known.

    Raises
    ------
    CallError
        For another number of values than `NORMALIZATION` has.
    """
    if normalization is None:
        return {prefix + name: np.array(np.nan) for name in NORMALIZATION}
    array = np.asarray(normalization, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != len(NORMALIZATION):
        raise CallError(
            f"normalization has shape {array.shape}; its last axis must hold {', '.join(NORMALIZATION)} of a spectrum."
        )
    return {prefix + name: array[..., k] for k, name in enumerate(NORMALIZATION)}


def on_mu(
    kernel: Floats, x: Floats, y: Floats, count: Ints, numbers: Mapping[str, Any], prefix: str = "normalization_"
) -> Floats:
    """Return the kernel on the points of mu (in units of the edge step) of a result with this kernel on norm.

    Parameters
    ----------
    kernel : ndarray, shape (rows, points)
    x, y : ndarray, shape (rows, points)
        Energies and norm, as in `ragged.Rows`.
    count : ndarray of int, shape (rows,)
    numbers : mapping
        As `unpacked` returns them, (rows,) each. Where one is not known the kernel is returned as it is: norm then
        counts as without errors in common.

    Notes
    -----
    With noise e the normalized curve changes by ``e_i - l_i(e) - norm_i [p(e) - l*(e)]``, l the fitted line at point i,
    p the polynomial at e0, l* the line at e0 (at the mean energy of the window for degree 0). The power nvict is taken
    as 0: over a window of 100 eV it changes the line's noise by a percent.
    """
    return NoisePropagator(x, y, count, numbers, prefix).on_mu(kernel)


class NoisePropagator:
    """Noise propagation through the normalization of rows, for several results of the same rows; see `on_mu`."""

    def __init__(
        self, x: Floats, y: Floats, count: Ints, numbers: Mapping[str, Any], prefix: str = "normalization_"
    ) -> None:
        values = {name: np.asarray(numbers[prefix + name], dtype=np.float64) for name in NORMALIZATION}
        every = np.stack([values[name] for name in NORMALIZATION])
        known: Bools = np.isfinite(every).all(axis=0) & (values["nnorm"] >= 0)
        self.known = known
        self.count = count
        if not known.any():
            return
        e0 = np.where(known, values["e0"], x[:, 0])
        fills = (-1, 0, 0, 1)
        ends = [np.where(known, values[name], fill) for name, fill in zip(NORMALIZATION[1:5], fills, strict=True)]
        degree = np.where(known, values["nnorm"], 0).round().astype(np.intp)
        cut = slice_windows(x, count, e0, Windows(ends[0], ends[1], ends[2], ends[3], degree))
        column = np.arange(x.shape[1])
        real = column < count[:, None]
        self.y = np.where(real, y, 0.0)
        self.t = t = np.where(real, x - e0[:, None], 0.0)
        self.pre = pre = (column >= cut.pre_start[:, None]) & (column < cut.pre_stop[:, None]) & real
        post = (column >= np.maximum(cut.post_start, 0)[:, None]) & (column < cut.post_stop[:, None]) & real
        self.points = np.maximum(row_sum(pre.astype(np.float64), count), 1.0)
        self.mean = row_sum(np.where(pre, t, 0.0), count) / self.points
        self.distance = np.where(pre, t - self.mean[:, None], 0.0)
        self.spread = row_sum(self.distance**2, count)
        self.constant = cut.constant
        many = np.maximum(row_sum(post.astype(np.float64), count), 1.0)
        middle = row_sum(np.where(post, t, 0.0), count) / many
        place = at(x, ragged.nearest(x, e0)) - e0
        self.step_at = np.where(cut.nnorm > 0, place, middle)
        self.polynomial = _polynomial_at(t, post, middle, cut.nnorm, place, count)

    def on_mu(self, kernel: Floats) -> Floats:
        """Return the kernel on the points of mu of a result with this kernel on norm, both (rows, points)."""
        if not self.known.any():
            return kernel
        count = self.count
        whole, first = row_sum(kernel, count), row_sum(kernel * self.t, count)
        level = row_sum(kernel * self.y, count)
        tilt = np.where(
            ~self.constant & (self.spread > 0),
            (first - whole * self.mean - level * (self.step_at - self.mean)) / np.maximum(self.spread, 1e-300),
            0.0,
        )
        line = np.where(self.pre, ((whole - level) / self.points)[:, None] + tilt[:, None] * self.distance, 0.0)
        carried = kernel - line - level[:, None] * self.polynomial
        good = self.known[:, None] & np.isfinite(carried).all(axis=1, keepdims=True)
        return np.where(good, carried, kernel)


def _polynomial_at(t: Floats, taken: Bools, middle: Floats, degree: Ints, place: Floats, count: Ints) -> Floats:
    """Return the kernel of the value at `place` of a polynomial fitted to the points `taken`."""
    half = np.max(np.where(taken, np.abs(t - middle[:, None]), 0.0), axis=1, initial=0.0)
    half = np.where(half > 0, half, 1.0)
    scaled = np.where(taken, (t - middle[:, None]) / half[:, None], 0.0)
    there = (place - middle) / half
    size = int(degree.max(initial=0)) + 1
    active = [degree >= k for k in range(size)]
    powers = [taken.astype(np.float64)]
    for _ in range(1, size):
        powers.append(powers[-1] * scaled)
    matrix = np.zeros((len(t), size, size))
    for i in range(size):
        for j in range(i + 1):
            term = np.where(active[i] & active[j], row_sum(powers[i] * powers[j], count), float(i == j))
            matrix[:, i, j] = matrix[:, j, i] = term
    inverse, solved = inverted(matrix)
    out = np.zeros_like(t)
    for j in range(size):
        weight = np.zeros(len(t))
        for i in range(size):
            weight += np.where(active[i] & active[j], there**i * inverse[:, i, j], 0.0)
        out += weight[:, None] * powers[j]
    return np.where(solved[:, None], out, np.nan)


def interpolating(kernel: Floats, x: Floats, axis: Floats) -> Floats:
    """Return the kernel on the points of a reference that is interpolated linearly to the energies x.

    Parameters
    ----------
    kernel, x : ndarray, shape (rows, points)
        x ascending; points without weight may lie anywhere.
    axis : ndarray, shape (m,)
        The reference's energies, ascending.

    Returns
    -------
    ndarray, shape (rows, m)
        Two points of a spectrum between the same two of the reference share their noise: it does not average out.
    """
    rows, size = len(kernel), axis.size
    target = np.where((kernel != 0) & np.isfinite(x), x, axis[0])
    left = np.clip(np.searchsorted(axis, target, side="right") - 1, 0, size - 2)
    u = np.clip((target - axis[left]) / (axis[left + 1] - axis[left]), 0.0, 1.0)
    flat = (np.arange(rows) * size)[:, None] + left
    weight = np.where(np.isfinite(kernel), kernel, 0.0)
    # One bin after the other, in the order of the points: the same bits whatever the batch.
    out: Floats = np.bincount(flat.ravel(), ((1.0 - u) * weight).ravel(), rows * size).astype(np.float64, copy=False)
    out += np.bincount(flat.ravel() + 1, (u * weight).ravel(), rows * size)
    return out.reshape(rows, size)


def length(kernel: Floats, count: Ints) -> Floats:
    """Return the root of the sum of squares: the result's sigma for points of unit noise."""
    root: Floats = np.sqrt(row_sum(np.where(np.isfinite(kernel), kernel, 0.0) ** 2, count))
    return root
