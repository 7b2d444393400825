"""wannier90 ``_hr.dat``: a tight-binding Hamiltonian. A model file, not a spectrum."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barospec.archive.readers import tables
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Problem

_PER_LINE = 15
# Six decimals are printed: two of them may differ by one in the last place, before the division.
_HERMITIAN = 2.5e-6


@dataclass(frozen=True, slots=True)
class Hoppings:
    """Matrix elements <0 m|H|R n> in eV, divided by the degeneracies of R.

    Parameters
    ----------
    vectors : ndarray of int, shape (r, 3)
        Lattice vectors R, in units of the lattice.
    matrix : ndarray of complex, shape (r, orbital, orbital)
        In eV; H(k) = sum over R of exp(2πi k·R) matrix[R], k in units of the reciprocal lattice.
    degeneracies : ndarray of int, shape (r,)
        What the file's numbers were divided by.
    comment : str
        First line of the file.
    problems : tuple of Problem
        Such as H(-R) that is not the conjugate transpose of H(R).
    """

    vectors: NDArray[np.int64]
    matrix: NDArray[np.complex128]
    degeneracies: NDArray[np.int64]
    comment: str = ""
    problems: tuple[Problem, ...] = ()


def sniff(head: bytes, filename: str) -> bool:
    """Check whether a first line of text is followed by two lone integers and lines of integers, 15 at most."""
    lines = head.decode("latin-1").split("\n")[:4]
    counts = [re.fullmatch(r"\s*\d+\s*", line) for line in lines[1:3]]
    return len(lines) == 4 and all(counts) and bool(re.fullmatch(r"(?:\s+\d+){1,15}\s*", f" {lines[3]}"))


def read_hoppings(path: str | Path) -> Hoppings:
    r"""Read the Hamiltonian of a ``_hr.dat``.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Hoppings

    Raises
    ------
    UnreadableFile
        When it is truncated or no ``_hr.dat``.
    InvalidData
        When its numbers contradict each other.

    Notes
    -----
    Format after the wannier90 user guide, section seedname_hr.dat: number of orbitals, number of R vectors,
    their degeneracies 15 a line, then rows R1 R2 R3 m n Re Im.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "chain_hr.dat")
    ...     rows = "-1 0 0 1 1 -0.5 0\n0 0 0 1 1 0.1 0\n1 0 0 1 1 -0.5 0\n"
    ...     _ = file.write_text(f"a chain\n1\n3\n2 1 2\n{rows}")
    ...     read_hoppings(file).matrix[:, 0, 0].real.tolist()
    [-0.25, 0.1, -0.25]
    """
    path = Path(path)
    text, problems = tables.read_text(path)
    tables.require_line_end(text, path)
    lines = text.split("\n")
    if len(lines) < 4:
        raise UnreadableFile(f"{path}: {len(lines)} lines; a _hr.dat has a comment, two counts and rows: truncated?")
    orbitals, count = (_count(lines[i], i + 1, path) for i in (1, 2))
    after = 3 + -(-count // _PER_LINE)
    degeneracies = _degeneracies(lines[3:after], count, path)
    expected = count * orbitals**2
    table = tables.parse_table(lines[after:], after + 1, path)
    rows = table.values
    if len(rows) != expected:
        raise UnreadableFile(
            f"{path}: {len(rows)} rows where {count} vectors of {orbitals} x {orbitals} elements make {expected}: "
            "truncated, or still being written?"
        )
    if table.problems or rows.shape[1] != 7:
        reason = table.problems[0] if table.problems else f"{path}:{after + 1}: {rows.shape[1]} columns"
        raise InvalidData(f"{reason}. A row is R1 R2 R3 m n Re Im, in numbers; compare the file with its original.")
    vectors, matrix = _fill(rows, orbitals, count, table.lines, path)
    matrix /= degeneracies[:, None, None]
    return Hoppings(
        vectors, matrix, degeneracies, lines[0].strip(), (*problems, *_hermitian(vectors, matrix, degeneracies, path))
    )


def _count(line: str, number: int, path: Path) -> int:
    if not re.fullmatch(r"\s*\d{1,7}\s*", line) or int(line) == 0:
        raise UnreadableFile(f'{path}:{number}: "{line.strip()[:30]}" where a count was expected: no _hr.dat?')
    return int(line)


def _degeneracies(lines: list[str], count: int, path: Path) -> NDArray[np.int64]:
    cells = [cell for line in lines for cell in line.split()]
    if len(cells) != count or not all(re.fullmatch(r"\d{1,6}", cell) and int(cell) > 0 for cell in cells):
        raise UnreadableFile(
            f"{path}:4: {len(cells)} degeneracies where {count} positive integers were expected, {_PER_LINE} a line: "
            "damaged or truncated?"
        )
    return np.array([int(cell) for cell in cells], dtype=np.int64)


def _fill(
    rows: tables.Array, orbitals: int, count: int, lines: NDArray[np.int64], path: Path
) -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """Fill vectors and matrices; every element of every vector must be there once."""
    whole = rows[:, :5].astype(np.int64)
    bad = (whole != rows[:, :5]).any(axis=1) | (whole[:, 3:] < 1).any(axis=1) | (whole[:, 3:] > orbitals).any(axis=1)
    if bad.any():
        raise InvalidData(
            f"{path}:{lines[np.argmax(bad)]}: R and orbitals are integers, orbitals from 1 to {orbitals}."
        )
    block = orbitals**2
    vectors = whole[::block, :3]
    apart = (whole[:, :3] != np.repeat(vectors, block, axis=0)).any(axis=1)
    if apart.any() or len(np.unique(vectors, axis=0)) != count:
        line = lines[np.argmax(apart)] if apart.any() else lines[0]
        raise InvalidData(f"{path}:{line}: the rows of one vector R do not stand together, or a vector stands twice.")
    matrix = np.full((count, orbitals, orbitals), np.nan, dtype=np.complex128)
    index = np.repeat(np.arange(count), block)
    matrix[index, whole[:, 3] - 1, whole[:, 4] - 1] = rows[:, 5] + 1j * rows[:, 6]
    if np.isnan(matrix).any():
        raise InvalidData(f"{path}: vector {vectors[np.argmax(np.isnan(matrix).any(axis=(1, 2)))]} lacks an element.")
    return vectors, matrix


def _hermitian(
    vectors: NDArray[np.int64], matrix: NDArray[np.complex128], degeneracies: NDArray[np.int64], path: Path
) -> list[Problem]:
    """Return a warning when the Hamiltonian is not Hermitian, or R is there without -R."""
    place = {tuple(vector): i for i, vector in enumerate(vectors.tolist())}
    opposite = [place.get(tuple(-x for x in vector)) for vector in vectors.tolist()]
    alone = sum(i is None for i in opposite)
    if alone:
        return [
            Problem("warning", f"{alone} vectors R are there without -R: the Hamiltonian is not Hermitian", str(path))
        ]
    other = matrix[[i for i in opposite if i is not None]]
    error = np.abs((matrix - other.conj().transpose(0, 2, 1)) * degeneracies[:, None, None]).max()
    if error > _HERMITIAN:
        message = f"H(-R) differs from the conjugate transpose of H(R) by up to {error:.2g} eV (before division)"
        return [Problem("warning", message, str(path))]
    return []
