"""Rows per chunk of a 1-D column: few rows make commits fast, many rows make reading fast."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from barospec.archive.store import read as layout
from barospec.archive.store import write
from barospec.archive.store.repository import Store
from benchmarks.record import Result, seconds
from benchmarks.rows import add_rows

ROWS = 100_000
CHOICES = (2048, 8192, 16_384, 65_536)


def run() -> list[Result]:
    """Return one table."""
    result = Result(
        f"Rows per chunk of 1-D arrays, at {ROWS:,} rows",
        "A commit of 100 more rows rewrites the last chunk of every column; building an index reads all chunks.",
        ["rows per chunk", "commit of 100 rows s", "read all columns s", "files"],
    )
    kept = write.COLUMN_ROWS
    try:
        for rows in CHOICES:
            write.COLUMN_ROWS = rows
            with tempfile.TemporaryDirectory() as folder:
                result.rows.append([rows, *_measure(Path(folder) / "a")])
    finally:
        write.COLUMN_ROWS = kept
    return [result]


def _measure(path: Path) -> tuple[float, float, int]:
    store = Store.create(path)
    rng = np.random.default_rng(0)
    for start in range(0, ROWS, 25_000):
        add_rows(store, 25_000, start, rng, kind=0)
    commit = seconds(lambda: add_rows(store, 100, ROWS, rng, kind=0), 5)
    group = layout.spectra_group(store.read(store.location.head()), "xas/Ni-K")
    read = seconds(lambda: layout.read_columns(group, 0, ROWS), 3)
    return commit, read, sum(1 for file in path.rglob("*") if file.is_file())
