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
        typer.Argument(help="Letters, digits, . _ and -. Without it, the tags are listed.", show_default=False),
    ] = None,
    archive: ArchiveOption = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What it is for.", show_default=False)] = "",
    at: AtOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the tag; needs --yes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Really delete.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a state of the archive a name for ever, or list the names.

    The newest state is named, or the one given with --at. A tag never moves, and a deleted name is never given again:
    what was cited stays what it was. `gc` keeps everything that a tag names. Without a NAME, --at lists the tags of
    that state and of earlier ones.
    """
    from barospec.schemas.errors import CallError

    opened = open_archive(archive)
    if name is not None and delete:
        if not yes:
            raise CallError(f"the name {name} can never be given again. Add --yes to delete it all the same.")
        meant = opened.untag(name, reason=message)
        print(f"Tag {name} deleted; it named {meant}, which can still be read with --at {meant} until `barospec gc`.")
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
