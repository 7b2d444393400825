"""``barospec log``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli.common import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli.output import table, write_object

NAME = "log"


def command(
    archive: ArchiveOption = None,
    at: AtOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Only the newest entries.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the history: who, when, what came in."""
    opened = open_archive(archive, at)
    named: dict[str, list[str]] = {}
    for tag, snapshot in opened.tags().items():
        named.setdefault(snapshot, []).append(tag)
    columns = ["snapshot", "time", "actor", "verb", "message", "tags"]
    rows = [
        [c.snapshot, c.time, c.metadata.get("actor"), c.metadata.get("verb"), c.message, named.get(c.snapshot, [])]
        for c in opened.log(limit)
    ]
    if as_json:
        write_object({"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}, columns, rows)
    else:
        table(columns, [[row[0], f"{row[1]:%Y-%m-%d %H:%M:%S} UTC", *row[2:]] for row in rows])
