"""``barospec tag``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, table, write_object

NAME = "tag"


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of the tag: letters, digits, . _ and -. Without it, the tags are listed.", show_default=False
        ),
    ] = None,
    archive: ArchiveOption = None,
    message: Annotated[str, typer.Option("--message", "-m", help="Purpose of the tag.", show_default=False)] = "",
    at: AtOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the tag; needs --yes.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Confirm the deletion (default: nothing is deleted).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a state a permanent name, or list the names.

    The tag names the newest state, or the state given with --at. A tag never moves, and a deleted name cannot be used again, so that
    citations stay valid. `gc` keeps all tagged states. Without a name, the tags are listed; then --at limits the list to that state
    and earlier ones.
    """
    from barospec.schemas.errors import CallError

    opened = open_archive(archive)
    if name is not None and delete:
        if not yes:
            raise CallError(f"a deleted tag name cannot be used again. Add --yes to delete {name}.")
        meant = opened.untag(name, reason=message)
        print(f"Tag {name} deleted. It named snapshot {meant}; --at {meant} reads it until `barospec gc` removes it.")
        return
    if delete:
        raise CallError("name the tag to delete.")
    if name is not None:
        made = opened.tag(name, message, at=at)
        note(f"Tag {made.name} names snapshot {made.snapshot}.")
    records = [t for t in opened.tag_records() if name is None or t.name == name]
    if name is None and at is not None:
        opened = open_archive(archive, at)
        earlier = {commit.snapshot for commit in opened.log()}
        records = [record for record in records if record.snapshot in earlier]
    columns = ["name", "snapshot", "time", "author", "message"]
    rows = [[record.to_dict()[column] for column in columns] for record in records]
    if as_json:
        head = {"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}, "pending": opened.pending}
        write_object(head, columns, rows)
    elif rows and name is None:
        table(columns, [[*row[:2], f"{row[2]:%Y-%m-%d %H:%M} UTC" if row[2] else None, *row[3:]] for row in rows])
    elif not rows:
        note("There are no tags. Make one: barospec tag v1 -m MESSAGE")
