"""``barospec restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli._correction_options import DryRunOption, tell
from barospec.cli._options import ArchiveOption, JsonOption, open_archive
from barospec.cli._output import note, write_object

if TYPE_CHECKING:
    from barospec import Archive

NAME = "restore"


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TAG|SNAPSHOT|DATE|ID", help="The state to go back to, or a withdrawn spectrum to bring back."
        ),
    ],
    archive: ArchiveOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the history.", show_default=False)] = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier state the newest one, or bring a withdrawn spectrum back; in a commit, nothing is lost.

    After `restore TAG` queries find what they found then. Spectra that came later are kept as "reverted": their ids and
    revisions are not used for anything else, and the same file ingested again brings them back. `restore` of the
    snapshot before undoes it.
    """
    from barospec.schemas.errors import CallError

    opened = open_archive(archive)
    if what not in opened.tags() and opened.is_spectrum(what):
        if _is_state(opened, what):
            raise CallError(f'"{what}" begins a spectrum_id and a snapshot or date; write more of it.')
        edited = opened.reinstate(what, reason=reason or "withdrawn in error", dry_run=dry_run)
        tell(edited, opened, dry_run=dry_run, as_json=as_json)
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
        print(f"The archive is as it was at {what}; nothing was changed.")
        return
    would = "would be " if dry_run else ""
    print(
        f"{report.taken_back} spectra that came later {would}taken back, {report.set_back} {would}set to what they were."
    )
    for table, count in sorted(report.records.items()):
        print(f"{table}: {count} {would}set back.")
    if not dry_run:
        note(f"To undo this: barospec restore {report.parent}")


def _is_state(opened: Archive, what: str) -> bool:
    from barospec.schemas.errors import NotFound

    try:
        opened._store.resolve(what)
    except NotFound:
        return False
    return True
