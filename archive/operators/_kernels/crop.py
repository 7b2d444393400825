"""The part of each row that a window needs, as a narrower block: what is fitted locally need not touch the whole scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints, last_at_or_below


@dataclass(slots=True)
class Crop:
    """A run of points of every row.

    Parameters
    ----------
    start, count : ndarray of int, shape (rows,)
        First selected point, and the number of points; at least one, so that every row has a segment to sum over.
    index : ndarray of int, shape (rows, width)
        Position of each point in the whole row; any valid position beyond `count`.
    points : int
        Points of a whole row.
    """

    start: Ints
    count: Ints
    index: Ints
    points: int

    @property
    def beyond(self) -> Bools:
        """Places behind the last point taken."""
        found: Bools = np.arange(self.index.shape[1]) >= self.count[:, None]
        return found

    def take(self, array: Floats, fill: float = 0.0) -> Floats:
        """Return the points of an array (rows, points), then `fill`; +inf for energies."""
        taken: Floats = array[np.arange(len(array))[:, None], self.index]
        taken[self.beyond] = fill
        return taken

    def mask(self, array: Bools) -> Bools:
        """Return the points of a mask (rows, points), then False."""
        found: Bools = array[np.arange(len(array))[:, None], self.index] & ~self.beyond
        return found

    def put(self, values: Floats) -> Floats:
        """Return values of the selected points in rows of full length, 0 elsewhere."""
        out = np.zeros((len(values), self.points))
        place = ~self.beyond
        row = np.nonzero(place)[0]
        out[row, self.index[place]] = values[place]
        return out


def crop(energy: Floats, count: Ints, low: Floats | float, high: Floats | float) -> Crop:
    """Crop to the points from `low` to `high` (eV, one number or one per row), and one more on either side.

    Parameters
    ----------
    energy : ndarray, shape (rows, points)
        As in `ragged.Rows`.
    count : ndarray of int, shape (rows,)
    low, high : float or ndarray of shape (rows,)
        Where not finite, the row begins at its first point.
    """
    rows, points = energy.shape
    ends = [np.nan_to_num(np.broadcast_to(np.asarray(end, dtype=np.float64), (rows,))) for end in (low, high)]
    last = np.maximum(count - 1, 0)
    start = np.clip(last_at_or_below(energy, ends[0]) - 1, 0, last)
    stop = np.clip(last_at_or_below(energy, ends[1]) + 2, start + 1, np.maximum(count, 1))
    taken = stop - start
    width = int(taken.max(initial=1))
    index = np.minimum(start[:, None] + np.arange(width), points - 1)
    return Crop(start, taken, index, points)


def crop_to(used: Bools) -> Crop:
    """Crop from the first to the last of the points used, (rows, points)."""
    width = used.shape[1]
    start = used.argmax(axis=1)
    taken = np.where(used.any(axis=1), width - used[:, ::-1].argmax(axis=1) - start, 1)
    index = np.minimum(start[:, None] + np.arange(int(taken.max(initial=1))), width - 1)
    return Crop(start, taken, index, width)
