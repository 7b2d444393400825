"""A small table of the index: once more the spectra that lack a pressure.

Nearly every question here is about pressure, and has to tell how many rows it could not decide for want of one. Where those
stand apart, the large table is asked by plain comparisons, which DuckDB decides in its scan; `counts` puts both together.
"""

from __future__ import annotations

from typing import Any

from barospec.catalogs.query.resolve.fields import quoted

TABLE = "without_pressure"
LACKING = "pressure"
# What questions about pressure ask besides; each column more is written anew with every refresh. Not among them can be what
# people say about spectra, which changes without any row being written.
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
    """Make the table from all rows of ``spectra``."""
    connection.execute(f"CREATE TABLE {TABLE} AS {_SELECTED}")


def set_apart_again(connection: Any, group: str, start: int, stop: int, *, new: bool = False) -> None:
    """Bring the table up to date about some rows of a group; `new` says that it holds none of them."""
    if start == stop:
        return
    here, bound = '"grp" = ? AND "row" >= ? AND "row" < ?', [group, start, stop]
    if not new:
        connection.execute(f"DELETE FROM {TABLE} WHERE {here}", bound)
    connection.execute(f"INSERT INTO {TABLE} {_SELECTED} AND {here}", bound)
