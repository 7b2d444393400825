"""A small table of the index with the spectra that lack a pressure.

Most questions are about pressure, and report how many rows are undecided. With those rows in a table of their own, plain
comparisons suffice for the large table, which DuckDB decides in its scan; `counts` combines both.
"""

from __future__ import annotations

from typing import Any

from barospec.catalogs.query.resolve.fields import quoted

TABLE = "without_pressure"
LACKING = "pressure"
# Columns that questions about pressure use besides; each is rewritten with every refresh. Annotations cannot be
# among them, since they change without any row being written.
COLUMNS = (
    *(
        "status",
        "merged_into",
        "experiment",
        "run",
        "step",
        "sample",
        "material",
        "element",
        "technique",
        "edge",
        "line",
    ),
    *("origin", "direction", "medium", "mode", "time", "temperature", "temperature_sigma"),
    *("pressure", "pressure_sigma", "pressure_before", "pressure_after"),
)
_SELECTED = f'SELECT "grp", "row", {", ".join(map(quoted, COLUMNS))} FROM spectra WHERE {quoted(LACKING)} IS NULL'


def set_apart(connection: Any) -> None:
    """Create the table from all rows of ``spectra``."""
    connection.execute(f"CREATE TABLE {TABLE} AS {_SELECTED}")


def set_apart_again(connection: Any, group: str, start: int, stop: int, *, new: bool = False) -> None:
    """Update the table for some rows of a group; `new` states that it has none of them."""
    if start == stop:
        return
    here, bound = '"grp" = ? AND "row" >= ? AND "row" < ?', [group, start, stop]
    if not new:
        connection.execute(f"DELETE FROM {TABLE} WHERE {here}", bound)
    connection.execute(f"INSERT INTO {TABLE} {_SELECTED} AND {here}", bound)
