"""Fingerprints of spectra: one of all numbers of a row, and one of each of its signals.

``row_sha256`` covers all recorded signals. ``<signal>_sha256``, beside each signal, covers that signal and the
energies, so that a bundle without some channels can still be checked. Rows of version 0.1.0 have the first one only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from barospec.archive.store.read import array, dims_of, read_rows, row_sha256
from barospec.schemas.errors import StoreError

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

MOST_EMPTY = 6
Numbers = NDArray[np.float64]


def column_of(signal: str) -> str:
    """Return the name of the array with the fingerprints of a signal.

    >>> column_of("mu")
    'mu_sha256'
    """
    return f"{signal}_sha256"


def signals_of(group: Group) -> list[str]:
    """Return the names of all signals of a group: the curve and its channels."""
    return [name for name, node in group.arrays() if dims_of(node) == ("spectrum", "point")]


def as_written(energy: Numbers, signals: Mapping[str, Numbers], whole: bytes, own: Mapping[str, bytes]) -> bool:
    """Return True if numbers are those that were written.

    Parameters
    ----------
    energy : array, shape (n,)
    signals : mapping of arrays, shape (n,)
        All signals of the row, or those with their own fingerprint. One without any number may be one that the
        spectrum never had.
    whole : bytes
        ``row_sha256``.
    own : mapping
        Signal -> its own fingerprint; empty where none was recorded.

    Examples
    --------
    >>> e, mu = np.array([1.0, 2.0]), np.array([0.0, 1.0])
    >>> own = {"mu": row_sha256(e, {"mu": mu})}
    >>> as_written(e, {"mu": mu}, b"", own), as_written(e, {"mu": mu + 1}, b"", own)
    (True, False)
    >>> as_written(e, {"mu": mu}, row_sha256(e, {"mu": mu}), {})
    True
    """
    recorded = {name for name in signals if own.get(name)}
    if any(row_sha256(energy, {name: signals[name]}) != own[name] for name in recorded):
        return False
    rest = [name for name in signals if name not in recorded]
    if recorded and not any(np.isfinite(signals[name]).any() for name in rest):
        return True
    empty = {name: values for name, values in signals.items() if not np.isfinite(values).any()}
    full = {name: values for name, values in signals.items() if name not in empty}
    return any(whole == row_sha256(energy, full | extra) for extra in _subsets(empty))


def _subsets(channels: Mapping[str, Numbers]) -> Iterator[dict[str, Numbers]]:
    names = sorted(channels)[:MOST_EMPTY]
    for count in range(len(names) + 1):
        for chosen in itertools.combinations(names, count):
            yield {name: channels[name] for name in chosen}


def recorded(group: Group, rows: NDArray[np.int64], signals: Sequence[str]) -> dict[str, list[bytes]]:
    """Return the fingerprints of some rows: ``row_sha256`` and one of each signal; empty if missing."""
    found: dict[str, list[bytes]] = {}
    for signal, name in [("row_sha256", "row_sha256"), *((signal, column_of(signal)) for signal in signals)]:
        if name in group:
            low, high = int(rows.min()), int(rows.max()) + 1
            stored = np.asarray(array(group, name)[low:high])[rows - low]
            found[signal] = [row.tobytes() if row.any() else b"" for row in stored]
        else:
            found[signal] = [b""] * len(rows)
    return found


def confirmed(
    group: Group, rows: NDArray[np.int64], energy: Numbers, signals: Mapping[str, Numbers]
) -> dict[str, list[bytes]]:
    """Compare numbers to export with their fingerprints; return a fingerprint of each signal.

    Parameters
    ----------
    group : Group
        Of the spectra.
    rows : array of int, shape (m,)
    energy : array, shape (m, n)
        Padded, as `read_rows` gives it.
    signals : mapping of arrays, shape (m, n)

    Returns
    -------
    dict
        Signal -> one fingerprint for each row; empty where the spectrum does not have that signal.

    Raises
    ------
    StoreError
        Numbers are not those that were written.
    """
    digests = recorded(group, rows, list(signals))
    counts = np.asarray(array(group, "point_count").get_orthogonal_selection((rows,))).tolist()
    wrong: set[int] = set()
    unknown: set[int] = set()
    for place, (row, count) in enumerate(zip(rows.tolist(), counts, strict=True)):
        for name, values in signals.items():
            fresh = row_sha256(energy[place, :count], {name: values[place, :count]})
            if not digests[name][place]:
                if not np.isfinite(values[place, :count]).any() and any(digests[other][place] for other in signals):
                    continue  # a channel that this spectrum does not have
                unknown.add(row)
                digests[name][place] = fresh
            elif digests[name][place] != fresh:
                wrong.add(row)
    if unknown:
        wrong |= set(differing(group, np.array(sorted(unknown))))
    if wrong:
        raise StoreError(
            f"/{group.path}: the numbers of {len(wrong)} spectra are not those that were written (the first is row {min(wrong)}): "
            "a file of the store is damaged. Run `barospec verify`, and restore the file from a copy."
        )
    return {name: digests[name] for name in signals}


def differing(group: Group, rows: NDArray[np.int64]) -> list[int]:
    """Return the rows whose numbers are not those that were written."""
    names = signals_of(group)
    digests = recorded(group, rows, names)
    numbers = np.asarray(array(group, "grid").get_orthogonal_selection((rows,)), dtype=np.int64)
    counts = np.asarray(array(group, "point_count").get_orthogonal_selection((rows,)))
    width = int(counts.max(initial=0))
    energies = read_rows(array(group, "grid_energy"), numbers, width)
    curves = {name: read_rows(array(group, name), rows, width) for name in names}
    wrong = []
    for place, (row, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True)):
        own = {name: digests[name][place] for name in names}
        cropped = {name: values[place, :count] for name, values in curves.items()}
        if not as_written(energies[place, :count], cropped, digests["row_sha256"][place], own):
            wrong.append(row)
    return wrong
