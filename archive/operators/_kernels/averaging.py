"""Repeats brought together: curves onto one axis and averaged, numbers averaged with their uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.integrals import interpolated
from barospec.schemas.errors import CallError


def merge(energy: ArrayLike, curves: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Any]:
    """Average repeated curves on the energies of the first, point by point.

    Parameters
    ----------
    energy, curves : array_like, shape (repeats, n)
        In eV; each repeat may have an axis of its own, NaN padding allowed.
    weights : array_like, shape (repeats,), optional
        Such as inverse variances; alike by default.

    Returns
    -------
    dict
        ``energy`` and ``mean``, shape (n,); ``error``, the standard error of the mean from the scatter of the
        repeats (NaN for one); ``repeats``, how many have a value at the point.

    Raises
    ------
    CallError
        For shapes that do not fit or weights that are not positive.

    Notes
    -----
    The others are interpolated linearly to the first's energies, which smooths them a little: scans of one grid
    are not touched. A point where a repeat was not measured is the mean of the others.

    References
    ----------
    Weighted mean and its standard error, ISO/IEC Guide 98-3 (GUM), section 4.2.

    Examples
    --------
    >>> out = merge([[1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0], [3.0, 2.0]])
    >>> out["mean"].tolist(), out["error"].tolist()
    ([2.0, 2.0], [1.0, 0.0])
    """
    axes, values = (np.atleast_2d(np.asarray(array, dtype=np.float64)) for array in (energy, curves))
    if axes.shape != values.shape or not len(values):
        raise CallError(f"energies of shape {axes.shape} and curves of shape {values.shape} do not fit together.")
    share = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != (len(values),) or not (share > 0).all():
        raise CallError("merge takes one weight above 0 for each repeat.")
    first = axes[0]
    moved = [values[0]]
    for axis, curve in zip(axes[1:], values[1:], strict=True):
        moved.append(curve if np.array_equal(axis, first, equal_nan=True) else interpolated(first, axis, curve))
    stack = np.stack(moved)
    good = np.isfinite(stack) & np.isfinite(first)
    w = np.where(good, share[:, None], 0.0)
    with np.errstate(all="ignore"):
        total = w.sum(axis=0)
        mean = np.where(total > 0, (w * np.where(good, stack, 0.0)).sum(axis=0) / total, np.nan)
        repeats = good.sum(axis=0)
        scatter = (w * np.where(good, stack - mean, 0.0) ** 2).sum(axis=0) / total
        error = np.where(repeats > 1, np.sqrt(scatter / (repeats - 1)), np.nan)
    return {"energy": first, "mean": mean, "error": error, "repeats": repeats}


def merge_numbers(value: ArrayLike, sigma: ArrayLike) -> tuple[float, float]:
    """Average repeated numbers; sigma from theirs, or from their scatter where that is larger.

    Parameters
    ----------
    value, sigma : array_like, shape (repeats,)
        Values without a number do not count; where a sigma is not known, the scatter alone counts.

    Returns
    -------
    tuple of float
        NaN for what is not known.

    Raises
    ------
    CallError
        For shapes that do not fit.

    Examples
    --------
    >>> merge_numbers([1.0, 3.0], [0.1, 0.1])
    (2.0, 1.0)
    """
    values, sigmas = np.ravel(np.asarray(value, float)), np.ravel(np.asarray(sigma, float))
    if values.shape != sigmas.shape:
        raise CallError(f"{values.size} values and {sigmas.size} sigmas do not fit together.")
    good = np.isfinite(values)
    count = int(good.sum())
    if not count:
        return float("nan"), float("nan")
    mean = float(values[good].mean())
    stated = float(np.sqrt(np.sum(sigmas[good] ** 2)) / count)
    if count == 1:
        return mean, stated
    scatter = float(values[good].std(ddof=1) / np.sqrt(count))
    return mean, float(np.nanmax([stated, scatter]))
