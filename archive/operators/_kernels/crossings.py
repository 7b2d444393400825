"""Crossings of a line with a level, and its slope there."""

from __future__ import annotations

from typing import Any

import numpy as np

from barospec.archive.operators._kernels.integrals import value_at


def crossings(x: Any, y: Any, count: Any, center: Any, level: Any) -> tuple[Any, Any, Any]:
    """Find the nearest energies on either side of `center` where y falls below `level` (per row); whether both exist."""
    inside = np.arange(x.shape[1]) < count[:, None]
    under = (y < level[:, None]) & inside
    column = np.arange(x.shape[1])
    left = np.where(under & (x < center[:, None]), column, -1).max(axis=1)
    right = np.where(under & (x > center[:, None]), column, x.shape[1]).min(axis=1)
    found = (left >= 0) & (right < count) & np.isfinite(level)
    rows = np.arange(len(x))

    def between(outer: Any, inner: Any) -> Any:
        y0, y1 = y[rows, outer], y[rows, inner]
        return x[rows, outer] + (level - y0) / (y1 - y0) * (x[rows, inner] - x[rows, outer])

    left, right = np.where(found, left, 0), np.where(found, right, 1)
    return between(left, left + 1), between(right, right - 1), found


def mean_slope(x: Any, y: Any, count: Any, where: Any) -> Any:
    """Return the mean slope of y within 1 eV of `where`."""
    low, high = value_at(x, y, count, where - 1.0), value_at(x, y, count, where + 1.0)
    return np.abs(high - low) / 2.0
