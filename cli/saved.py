"""``barospec save``, ``saved`` and ``unsave``: queries kept under a name in the archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, write_object

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the history.", show_default=False)]


def save(
    name: Annotated[str, typer.Argument(help='The name, such as superconducting; written "@superconducting" in use.')],
    text: Annotated[str, typer.Argument(help='The query, such as "La3Ni2O7 above 14 GPa below 80 K".')],
    archive: ArchiveOption = None,
    reason: ReasonOption = "",
    replace: Annotated[bool, typer.Option("--replace", help="Give a name in use another meaning.")] = False,
) -> None:
    """Save a query under a name in the archive; @NAME then stands for it in every query.

    The query is checked against the archive and kept in canonical form, with author, time and reason, in a commit of
    its own. `barospec catalog` makes an entry of each saved query that finds spectra.
    """
    opened = open_archive(archive)
    before = opened.snapshot
    record = opened.save(name, text, reason=reason, replace=replace)
    with opened.ask(f"@{name}") as answer:
        found = f"{answer.count} {answer.noun}"
    if opened.snapshot == before:
        print(f"@{name} means that already: {record.query} ({found}); nothing was changed.")
    else:
        print(f"@{name} saved: {record.query} ({found})")


def unsave(
    name: Annotated[str, typer.Argument(help="The name, without @.")],
    archive: ArchiveOption = None,
    reason: ReasonOption = "",
) -> None:
    """Remove a saved query. Earlier snapshots keep it, and `barospec saved --history` lists it.

    A query that others are built on cannot be removed before them.
    """
    record = open_archive(archive).unsave(name.removeprefix("@"), reason=reason)
    print(f"@{record.name} removed; it was: {record.query}")


def saved(
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    history: Annotated[
        bool, typer.Option("--history", help="Also earlier meanings and removed queries, newest first.")
    ] = False,
) -> None:
    """List the saved queries: what each means, how much it finds now, who saved it, when and why."""
    opened = open_archive(archive, at)
    records = opened.saved(history=history)
    columns = ["name", "query", "noun", "count", "author", "time", "reason", "status", "revision", "text"]
    rows = [[*_shown(opened, record.to_dict(), columns)] for record in records]
    if as_json:
        write_object({"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}, columns, rows)
        return
    if not rows:
        note('No query is saved in this archive. Save one: barospec save NAME "QUERY".')
        return
    # One line for what it means, whole, so that it can be copied.
    for row in rows:
        record = dict(zip(columns, row, strict=True))
        state = record["status"] if record["count"] is None else f"{record['count']} {record['noun']}"
        why = f": {record['reason']}" if record["reason"] else ""
        print(f"@{record['name']}  {state}; {record['author']}, {record['time']:%Y-%m-%d %H:%M} UTC{why}")
        print(f"    {record['query']}")


def _shown(opened: Any, record: dict[str, Any], columns: list[str]) -> list[Any]:
    """The record's columns; the count is of the name as it stands now, nothing for what is past."""
    from barospec.schemas.errors import QueryError

    current = {one.name: one.revision for one in opened.saved()}
    record["count"] = None
    if current.get(record["name"]) != record["revision"]:
        record["status"] = "replaced" if record["status"] == "active" else record["status"]
    else:
        try:
            with opened.ask(f"@{record['name']}") as answer:
                record["count"] = answer.count
        except QueryError as error:  # a value that the archive no longer has
            note(f"@{record['name']}: {error.problem}")
    return [record[name] for name in columns]


COMMANDS: dict[str, Callable[..., None]] = {"save": save, "saved": saved, "unsave": unsave}
