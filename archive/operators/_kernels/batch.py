"""Rows on their way through an operator: those that can be done, their reason codes, and the results in shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.ragged import Floats, Ints, Rows
from barospec.archive.operators.operator import Output

FEW_POINTS, TOO_CLOSE = 1, 2


def common_reasons(fewest: int, signal: str = "norm") -> tuple[str, str, str]:
    """Return the codes 0 to 2 of every operator that uses `Batch`."""
    return (
        "ok",
        f"fewer than {fewest} points with energy and {signal} (see the quality of the step before)",
        "energies repeat or stand closer than 0.0005 eV over a stretch of points; rebin the scan first",
    )


@dataclass(slots=True)
class Batch:
    """The rows that have points enough, ascending and without repeats, and all that is needed to give back results.

    Parameters
    ----------
    energy, signals, count
        As in `ragged.Rows`, of the rows that can be done.
    numbers : dict of str to ndarray, shape (rows,)
        One number per row.
    code : ndarray of uint8, shape (rows,)
        Reason codes so far.
    """

    energy: Floats
    signals: list[Floats]
    count: Ints
    numbers: dict[str, Floats]
    code: NDArray[np.uint8]
    _rows: Rows
    _able: Ints
    _all: NDArray[np.uint8]

    def fail(self, where: Any, code: int) -> None:
        """Give rows a code, unless they have one."""
        self.code[where & (self.code == 0)] = code

    def results(self, outputs: Mapping[str, Output], values: Mapping[str, Any], care: int) -> dict[str, Any]:
        """Return all outputs in the shape of the batch; NaN (-1 for integers) where the code is below `care`.

        Codes from `care` on belong to values that are kept but suspect.
        """
        done = (self.code == 0) | (self.code >= care)
        out: dict[str, Any] = {}
        leading = self._rows.leading
        for name, output in outputs.items():
            if name.endswith("_quality"):
                self._all[self._able] = self.code
                out[name] = self._all.reshape(leading)
                continue
            value = np.asarray(values[name])
            total = len(self._all)
            if output.per_point:
                full = np.full((total, self._rows.width), np.nan)
                full[self._able] = value
                failed = np.ones(total, dtype=bool)
                failed[self._able] = ~done
                out[name] = self._rows.restore(full, failed)
            elif output.per_reference:
                full = np.full((total, value.shape[-1]), np.nan)
                full[self._able] = np.where(done[:, None], value, np.nan)
                out[name] = full.reshape(*leading, value.shape[-1])
            elif output.integer:
                counts = np.full(total, -1, dtype=np.int16)
                counts[self._able] = np.where(done, value, -1)
                out[name] = counts.reshape(leading)
            else:
                flat = np.full(total, np.nan)
                flat[self._able] = np.where(done & np.isfinite(value), value, np.nan)
                out[name] = flat.reshape(leading)
        return out


def make_batch(
    energy: ArrayLike, *signals: ArrayLike, fewest: int, numbers: Mapping[str, ArrayLike] | None = None
) -> Batch:
    """Return rows with `fewest` points or more, made regular; energies that repeat are moved up by 0.0005 eV.

    Parameters
    ----------
    energy, *signals : array_like, shape (..., n)
    fewest : int
        Points with a value in all of them that a row needs.
    numbers : mapping of str to array_like, shape (...)
        One number per spectrum.
    """
    rows = ragged.make_rows(energy, *signals)
    given = {name: ragged.per_spectrum(value, rows.leading, name) for name, value in (numbers or {}).items()}
    code = np.where(rows.count < fewest, FEW_POINTS, 0).astype(np.uint8)
    able = np.nonzero(code == 0)[0]
    pick: Any = slice(None) if able.size == len(code) else able
    count = rows.count[pick]
    kept, hopeless = ragged.nudge(rows.energy[pick])
    kept, again = ragged.nudge(kept)
    batch = Batch(
        energy=kept,
        signals=[array[pick] for array in rows.signals],
        count=count,
        numbers={name: value[pick] for name, value in given.items()},
        code=np.zeros(len(count), dtype=np.uint8),
        _rows=rows,
        _able=able,
        _all=code,
    )
    batch.fail(hopeless | again, TOO_CLOSE)
    return batch
