"""Options and output that ``set``, ``withdraw``, ``restore`` and ``purge`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli._output import note, write_object
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec import Archive
    from barospec.archive.edit.corrections import Edited

SHOWN = 20
WhatArgument = Annotated[
    str, typer.Argument(metavar="ID|QUERY", help="A spectrum_id (a unique beginning is enough), or a query.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Reason, recorded in the history.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the changes without applying them.")]
YesOption = Annotated[
    bool,
    typer.Option(
        "--yes", "-y", help="Apply the changes to all spectra that a query finds, without asking (default: ask)."
    ),
]
JsonReport = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def print_edited(report: Edited, opened: Archive, *, dry_run: bool, as_json: bool) -> None:
    """Print the changes of each spectrum, applied or planned."""
    from barospec.archive.edit.corrections import show_changes
    from barospec.schemas.vocabulary import BY_NAME

    for message in report.notes:
        note(message)
    if as_json:
        columns = ["spectrum_id", "revision", "run", "source_file", "source_scan", "changed"]
        rows = [
            [
                edit.known.spectrum_id,
                edit.known.revision,
                *edit.known.source[1:4],
                {name: {"old": old, "new": new} for name, (old, new) in edit.changed.items()},
            ]
            for edit in report.edits
        ]
        units = {name: BY_NAME[name].unit for edit in report.edits for name in edit.changed if BY_NAME[name].unit}
        head = {"snapshot": report.snapshot or opened.snapshot, "count": len(rows), "missing": {}, "units": units}
        head |= {"unchanged": report.unchanged, "dry_run": dry_run, "notes": report.notes, "pending": opened.pending}
        write_object(head, columns, rows)
        return
    for edit in report.edits[:SHOWN]:
        print(f"{edit.known.spectrum_id}  {edit.label}: {show_changes(edit.changed)}")
    if len(report.edits) > SHOWN:
        print(f"... and {len(report.edits) - SHOWN} more")
    count = len(report.edits)
    done = f"{counted(count, 'spectra')} {'would change' if dry_run else 'changed'}"
    done += (
        f", {report.unchanged} {'has' if report.unchanged == 1 else 'have'} these values already"
        if report.unchanged
        else ""
    )
    print(f"{done}{f' (snapshot {report.snapshot})' if report.snapshot else ''}.")
