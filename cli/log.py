"""``barospec log``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import table, write_object

NAME = "log"


def command(
    archive: ArchiveOption = None,
    at: AtOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="Maximum number of commits, newest first.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the history of the archive, one line per commit.

    Each line has snapshot, time, author, command, message and tags. --json adds the number of changed spectra.
    """
    opened = open_archive(archive, at)
    named: dict[str, list[str]] = {}
    for tag in opened.tag_records():
        named.setdefault(tag.snapshot, []).append(tag.name)
    columns = ["snapshot", "time", "actor", "verb", "message", "counts", "runs", "tags"]
    rows = [
        [
            *(c.snapshot, c.time, c.metadata.get("actor"), c.metadata.get("verb"), c.message),
            *(c.metadata.get("counts", {}), c.metadata.get("runs", {}), named.get(c.snapshot, [])),
        ]
        for c in opened.log(limit)
    ]
    if as_json:
        write_object({"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}, columns, rows)
    else:
        shown = ["snapshot", "time", "actor", "verb", "message", "tags"]
        table(shown, [[row[0], f"{row[1]:%Y-%m-%d %H:%M:%S} UTC", *row[2:5], row[7]] for row in _told(rows)])


def _told(rows: list[list[Any]]) -> list[list[Any]]:
    """Return the rows with None in empty cells."""
    return [[None if cell in ([], "") else cell for cell in row] for row in rows]
