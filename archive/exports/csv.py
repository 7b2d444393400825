"""Columns as CSV."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


def write_csv(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of one length as CSV: shortest decimals that give the same number back, nothing for unknown."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_lines(columns))


def csv_lines(columns: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield the lines of `write_csv`."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    for row in itertools.chain([list(columns)], ([_cell(value) for value in row] for row in rows)):
        writer.writerow(row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else int(value) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return value
