"""``barospec doctor``."""

from __future__ import annotations

import typer

from barospec.cli.common import ArchiveOption, JsonOption, open_archive
from barospec.cli.output import write_object

NAME = "doctor"


def command(archive: ArchiveOption = None, as_json: JsonOption = False) -> None:
    """Look at what an archive depends on: versions, file system, lock, space, leftovers, index; says what to do.

    Changes nothing. Whether the archive itself is what was written, `barospec verify` tells. Exit code 1 when anything is
    wrong; notes are no faults.
    """
    opened = open_archive(archive)
    found = opened.doctor()
    if as_json:
        rows = [[each.name, each.state, each.what, each.todo] for each in found]
        head = {"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}
        write_object(head, ["name", "state", "what", "todo"], rows)
    else:
        for each in found:
            print(f"{each.state:5}  {each.name}: {each.what}")
            if each.todo:
                print(f"       -> {each.todo}")
    if any(each.state == "wrong" for each in found):
        raise typer.Exit(1)
