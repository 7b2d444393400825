"""Shared steps of the text readers: decoding, number tables, units, and checks of a curve."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.errors import UnreadableFile
from barospec.schemas.records import Problem

Array = NDArray[np.float64]


_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_SHOWN = 5


def read_text(path: Path) -> tuple[str, list[Problem]]:
    """Read the text of a file, as UTF-8 or, where it is not, as Latin-1.

    Parameters
    ----------
    path : Path
        A text file.

    Returns
    -------
    tuple of str and list of Problem
        Text without byte order mark, with line feeds as line ends; a note when Latin-1 had to be assumed.

    Raises
    ------
    UnreadableFile
        For an empty or a binary file.
    """
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    data = raw.rstrip(b"\x1a\r\n \t")
    if not data:
        raise UnreadableFile(f"{path}: the file is empty. Copy it again, or wait until it is written.")
    if b"\0" in data:
        at = data.index(b"\0")
        raise UnreadableFile(f"{path}: byte {at} is zero: a binary or damaged file where text was expected.")
    # Padding at the end says nothing, but a last line without an end marks a file that was cut.
    if any(end in raw[len(data) :] for end in (b"\n", b"\r")):
        data += b"\n"
    problems = []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        text = data.decode("latin-1")
        problems.append(Problem("note", "not UTF-8; read as Latin-1", str(path), line))
    return re.sub(r"\r\n?", "\n", text), problems


def numeric(cell: str) -> float | None:
    """Return the number a cell holds, or None. Python's ``1_000`` is not a number here, Fortran's ``1.0D3`` is.

    >>> numeric("1.5D2"), numeric("1.4.9")
    (150.0, None)
    """
    if not _NUMBER.fullmatch(cell):
        return None
    return float(cell.replace("D", "E").replace("d", "e") if cell[-1].isdigit() or cell[-1] == "." else cell)


def split_cells(line: str) -> list[str]:
    """Split a row at semicolons, commas or white space, whichever comes first in that order."""
    for delimiter in ";,":
        if delimiter in line:
            return [cell.strip() for cell in line.split(delimiter)]
    return line.split()


def is_row(line: str) -> bool:
    """Check whether a line holds nothing but numbers, and at least two."""
    cells = split_cells(line)
    return len(cells) > 1 and all(numeric(cell) is not None for cell in cells)


@dataclass(slots=True)
class Table:
    """Numbers of a text file. `values` has shape (rows, columns), `lines` (rows,) counts from 1."""

    values: Array
    lines: NDArray[np.int64]
    problems: list[Problem] = field(default_factory=list)


def require_line_end(text: str, path: Path) -> None:
    """Refuse a text whose last line is not ended: its last number may be cut, which nothing would show.

    For files of programs that end every line and whose numbers are used without a person looking at a curve.
    """
    if not text.endswith("\n"):
        raise UnreadableFile(
            f"{path}: its last line has no line end: truncated, or still being written? If it is whole, add one."
        )


def parse_table(lines: Sequence[str], first: int, path: Path, cut: bool = False) -> Table:
    """Parse the rows of a table; what is no number becomes NaN and is reported with its line.

    Parameters
    ----------
    lines : sequence of str
        The rows, blank ones allowed.
    first : int
        Number of the first line in the file, from 1.
    path : Path
        The file, for messages.
    cut : bool
        The file does not end with a line end: a short last row was cut off and is skipped.

    Returns
    -------
    Table
        As wide as most of the rows. A row with fewer or more cells keeps its first number only: which of the
        others is missing cannot be known.

    Raises
    ------
    UnreadableFile
        When there is no row of numbers, or most rows are damaged.
    """
    rows = [(first + i, split_cells(line)) for i, line in enumerate(lines) if line.strip()]
    if not rows:
        raise UnreadableFile(f"{path}: no rows of numbers after line {first - 1}: truncated, or still being written?")
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    problems: list[Problem] = []
    if cut:
        problems.append(_last_row(rows, width, path))
    numbers = np.array([number for number, _ in rows], dtype=np.int64)
    values = _fast(rows, width)
    if values is None:
        values, bad = _careful(rows, width)
        if len(bad) * 2 > len(rows):
            raise UnreadableFile(
                f"{path}:{bad[0][0]}: {bad[0][1]}; so it is in {len(bad)} of {len(rows)} rows. Not a table of numbers."
            )
        problems += [Problem("warning", message, str(path), number) for number, message in bad[:_SHOWN]]
        if len(bad) > _SHOWN:
            more = f"and {len(bad) - _SHOWN} more rows with missing or unreadable values"
            problems.append(Problem("warning", more, str(path), bad[_SHOWN][0]))
    return Table(values, numbers, problems)


def _last_row(rows: list[tuple[int, list[str]]], width: int, path: Path) -> Problem:
    """Describe a last row without a line end; one that is short is removed from `rows`."""
    number, cells = rows[-1]
    if len(rows) == 1 or len(cells) >= width:
        message = "no line end after the last row; if the file was cut, its last number may be incomplete"
        return Problem("note", message, str(path), number)
    rows.pop()
    message = (
        f"the file ends within this row ({len(cells)} of {width} cells), which is skipped: truncated, or "
        "still being written?"
    )
    return Problem("warning", message, str(path), number)


def _fast(rows: list[tuple[int, list[str]]], width: int) -> Array | None:
    """Parse all rows at once where every cell is a plain number, which is nearly always."""
    if any(len(cells) != width for _, cells in rows):
        return None
    try:
        values: Array = np.array([cells for _, cells in rows], dtype=np.float64)
    except ValueError:
        return None
    # NaN deserves a line number, and float() takes 1_000.
    sound = np.isfinite(values).all() and not any("_" in cell for _, cells in rows for cell in cells)
    return values if sound else None


def _careful(rows: list[tuple[int, list[str]]], width: int) -> tuple[Array, list[tuple[int, str]]]:
    values = np.full((len(rows), width), np.nan)
    bad: list[tuple[int, str]] = []
    for i, (number, cells) in enumerate(rows):
        parsed = [numeric(cell) for cell in cells]
        if len(cells) != width:
            values[i, 0] = np.nan if parsed[0] is None else parsed[0]
            bad.append((number, f"{len(cells)} cells where other rows have {width}; the row's signals become NaN"))
            continue
        values[i] = [np.nan if value is None else value for value in parsed]
        odd = [cell for cell, value in zip(cells, parsed, strict=True) if value is None or not np.isfinite(value)]
        if odd:
            bad.append((number, ", ".join(f'"{cell[:30]}"' for cell in odd[:3]) + " is not a finite number"))
    return values, bad
