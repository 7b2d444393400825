"""Buffer of curves between files and store: in memory up to a limit, in one temporary file beyond."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LIMIT = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Curves:
    """Location of the energy axis and the signals of one spectrum in the buffer."""

    spool: Spool
    offset: int
    points: int
    names: tuple[str, ...]

    def load(self) -> tuple[Array, dict[str, Array]]:
        """Read energies, shape (n,), and signals by name, each of shape (n,)."""
        rows = self.spool.read(self.offset, (1 + len(self.names)) * self.points).reshape(-1, self.points)
        return rows[0], dict(zip(self.names, rows[1:], strict=True))


class Spool:
    """A buffer for curves with bounded memory.

    >>> curves = Spool().put(np.array([1.0, 2.0]), {"mu": np.array([3.0, 4.0])})
    >>> curves.load()
    (array([1., 2.]), {'mu': array([3., 4.])})
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=limit)  # noqa: SIM115  closed with the last reference
        weakref.finalize(self, self._file.close)
        self._end = 0

    def put(self, energy: Array, signals: Mapping[str, Array]) -> Curves:
        """Write the curves of one spectrum, all of the same length."""
        made = Curves(self, self._end, len(energy), tuple(signals))
        self._file.seek(self._end)
        for values in (energy, *signals.values()):
            self._file.write(np.ascontiguousarray(values, dtype=np.float64).tobytes())
        self._end += 8 * made.points * (1 + len(made.names))
        return made

    def read(self, offset: int, count: int) -> Array:
        """Read numbers from an offset in bytes."""
        self._file.seek(offset)
        return np.frombuffer(self._file.read(8 * count), dtype=np.float64)
