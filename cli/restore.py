"""``barospec restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli._correction_options import DryRunOption, print_edited
from barospec.cli._options import ArchiveOption, JsonOption, open_archive
from barospec.cli._output import note, write_object
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec import Archive

NAME = "restore"


def command(
    what: Annotated[
        str,
        typer.Argument(metavar="TAG|SNAPSHOT|DATE|ID", help="State to restore, or a withdrawn spectrum to reinstate."),
    ],
    archive: ArchiveOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Reason, recorded in the history.", show_default=False)] = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restore an earlier state, or a withdrawn spectrum.

    The restored state becomes the newest one, as a new commit. After `restore TAG` queries find what they found in that state. No history is lost: spectra that were added later get the status
    "reverted", keep their ids and revisions, and return if the same file is ingested again. To undo a restore, restore the snapshot
    before it.
    """
    from barospec.schemas.errors import CallError

    opened = open_archive(archive)
    if what not in opened.tags() and opened.is_spectrum(what):
        if _is_state(opened, what):
            raise CallError(f'"{what}" matches both a spectrum_id and a snapshot or date. Write more characters.')
        edited = opened.reinstate(what, reason=reason or "withdrawn in error", dry_run=dry_run)
        print_edited(edited, opened, dry_run=dry_run, as_json=as_json)
        return
    report = opened.restore(what, reason=reason, dry_run=dry_run)
    if as_json:
        columns = ["table", "records"]
        rows = [
            ["spectra taken back", report.taken_back],
            ["spectra set back", report.set_back],
            *report.records.items(),
        ]
        head = {"snapshot": report.snapshot or report.parent, "count": len(rows), "missing": {}, "units": {}}
        head |= {"restored": report.target, "before": report.parent, "dry_run": dry_run, "pending": opened.pending}
        write_object(head, columns, rows)
        return
    if report.same:
        print(f"The archive is the same as at {what}. Nothing was changed.")
        return
    would = "would be " if dry_run else ""
    print(
        f"{counted(report.taken_back, 'spectra')} added later {would}reverted, {report.set_back} {would}set to earlier values."
    )
    for table, count in sorted(report.records.items()):
        print(f"{table}: {count} {would}set to earlier values.")
    if not dry_run:
        note(f"To undo this: barospec restore {report.parent}")


def _is_state(opened: Archive, what: str) -> bool:
    from barospec.schemas.errors import NotFound

    try:
        opened._store.resolve(what)
    except NotFound:
        return False
    return True
