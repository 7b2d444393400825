"""``barospec verify``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from barospec.cli.common import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli.output import note, progress, write_object

NAME = "verify"


def command(
    path: Annotated[
        str | None, typer.Argument(help="What to verify. Default: the archive, as --archive.", show_default=False)
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    history: Annotated[
        bool, typer.Option("--history", help="Read every snapshot, not only the newest and tagged.")
    ] = False,
    seal: Annotated[
        bool, typer.Option("--seal", help="First record digests of metadata files that have none, as they are now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that everything is what was written: every byte, every spectrum, every record, every row of the index.

    Says what is wrong and where, and changes nothing. Exit code 1 when anything is.
    """
    opened = open_archive(path or archive, at)
    if seal:
        note(f"{opened.seal()} snapshots sealed.")
    began = time.monotonic()
    with progress("verify") as tell:
        report = opened.verify(history=history, progress=tell)
    seconds = time.monotonic() - began
    if as_json:
        columns = ["where", "what", "todo"]
        rows = [[fault.where, fault.what, fault.todo] for fault in report.faults]
        head = {"snapshot": report.snapshot, "count": len(rows), "missing": {}, "units": {}}
        write_object({**head, "ok": report.ok, "checked": report.checked, "notes": report.notes}, columns, rows)
    else:
        for fault in report.faults:
            print(f"{fault.where}: {fault.what}")
        for todo in dict.fromkeys(fault.todo for fault in report.faults):
            print(f"-> {todo}")
        told = ", ".join(f"{number} {what}" for what, number in report.checked.items() if what != "bytes of chunks")
        size = report.checked.get("bytes of chunks", 0) / 1e6
        verdict = "Nothing is wrong" if report.ok else f"{len(report.faults)} faults"
        print(f"{verdict}: {told}; {size:.1f} MB of chunks in {seconds:.1f} s.")
    for message in report.notes:
        note(message)
    if not report.ok:
        raise typer.Exit(1)
