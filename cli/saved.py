"""``barospec save``, ``saved`` and ``unsave``: named queries in the archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, write_object
from barospec.schemas.values import counted

ReasonOption = Annotated[str, typer.Option("--reason", help="Reason, recorded in the history.", show_default=False)]


def save(
    name: Annotated[
        str, typer.Argument(help='Name, such as superconducting; queries refer to it as "@superconducting".')
    ],
    text: Annotated[str, typer.Argument(help='Query, such as "La3Ni2O7 above 14 GPa below 80 K".')],
    archive: ArchiveOption = None,
    reason: ReasonOption = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the query of an existing name.")] = False,
) -> None:
    """Save a query in the archive under a name.

    Other queries refer to it as @NAME. The query is checked, then stored in canonical form with author, time and reason, in one commit. `barospec catalog` creates an
    entry for each saved query that finds spectra.
    """
    opened = open_archive(archive)
    before = opened.snapshot
    record = opened.save(name, text, reason=reason, replace=replace)
    with opened.ask(f"@{name}") as answer:
        found = counted(answer.count, answer.noun)
    if opened.snapshot == before:
        print(f"@{name} is already saved: {record.query} ({found}); nothing was changed.")
    else:
        print(f"@{name} saved: {record.query} ({found})")


def unsave(
    name: Annotated[str, typer.Argument(help="Name, without @.")],
    archive: ArchiveOption = None,
    reason: ReasonOption = "",
) -> None:
    """Remove a saved query.

    Earlier snapshots keep it, and `barospec saved --history` lists it. If other saved queries use this one, remove them first.
    """
    record = open_archive(archive).unsave(name.removeprefix("@"), reason=reason)
    print(f"@{record.name} removed; it was: {record.query}")


def saved(
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    history: Annotated[
        bool, typer.Option("--history", help="Include earlier and removed queries, newest first.")
    ] = False,
) -> None:
    """List the saved queries.

    For each: the query, the number of matches, author, time and reason.
    """
    opened = open_archive(archive, at)
    records = opened.saved(history=history)
    columns = ["name", "query", "noun", "count", "author", "time", "reason", "status", "revision", "text"]
    rows = [[*_shown(opened, record.to_dict(), columns)] for record in records]
    if as_json:
        write_object({"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}, columns, rows)
        return
    if not rows:
        note('This archive has no saved queries. Save one: barospec save NAME "QUERY".')
        return
    # The query is on a line of its own, not shortened, so that it can be copied.
    for row in rows:
        record = dict(zip(columns, row, strict=True))
        state = record["status"] if record["count"] is None else counted(record["count"], record["noun"])
        why = f": {record['reason']}" if record["reason"] else ""
        print(f"@{record['name']}  {state}; {record['author']}, {record['time']:%Y-%m-%d %H:%M} UTC{why}")
        print(f"    {record['query']}")


def _shown(opened: Any, record: dict[str, Any], columns: list[str]) -> list[Any]:
    """Return the columns of a record; only current names have a count."""
    from barospec.schemas.errors import QueryError

    current = {one.name: one.revision for one in opened.saved()}
    record["count"] = None
    if current.get(record["name"]) != record["revision"]:
        record["status"] = "replaced" if record["status"] == "active" else record["status"]
    else:
        try:
            with opened.ask(f"@{record['name']}") as answer:
                record["count"] = answer.count
        except QueryError as error:  # for example a value that the archive no longer has
            note(f"@{record['name']}: {error.problem}")
    return [record[name] for name in columns]


COMMANDS: dict[str, Callable[..., None]] = {"save": save, "saved": saved, "unsave": unsave}
