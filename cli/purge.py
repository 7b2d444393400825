"""``barospec purge``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._correction_options import DryRunOption, JsonReport, ReasonOption, WhatArgument
from barospec.cli._options import ArchiveOption, open_archive
from barospec.cli._output import note, progress, write_object
from barospec.cli.gc import tell_left
from barospec.schemas.values import counted

NAME = "purge"


def command(
    what: WhatArgument,
    reason: ReasonOption,
    archive: ArchiveOption = None,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete the spectra (default: dry run).")] = False,
    as_json: JsonReport = False,
) -> None:
    """Delete spectra permanently; this cannot be undone.

    Deletes them from every state of the archive. To hide spectra without deleting them, use `barospec withdraw`. Without --yes nothing is deleted; the changes are only listed.
    Numbers, conditions, names, headers and derived values are deleted. Only the ids stay, so that they are never used again. The
    earlier history is removed, and so are the tags that contain the spectra; other tags stay. Copies of the archive, bundles and
    indexes on other machines are not changed.
    """
    from barospec.schemas.errors import CallError

    opened = open_archive(archive)
    with progress("purge") as advance:
        report = opened.purge(what, reason=reason, dry_run=dry_run or not yes, progress=advance)
    if as_json:
        rows = [[name] for name in report.ids]
        head = {"snapshot": report.snapshot or opened.snapshot, "count": len(rows), "missing": {}, "units": {}}
        head |= {"tags": report.tags, "dry_run": report.dry_run, "pending": opened.pending}
        write_object(head, ["spectrum_id"], rows)
    else:
        would = "would be " if report.dry_run else ""
        print(
            f"{counted(len(report.ids), 'spectra')} ({counted(report.rows, 'revisions')}) {would}permanently deleted: {', '.join(report.ids[:8])}"
        )
        for name, snapshot in report.tags.items():
            print(
                f"tag {name} ({snapshot}) {'would be deleted' if report.dry_run else 'was deleted'}: it contains them"
            )
        if report.cleared is not None:
            print(
                f"{counted(len(report.cleared.expired), 'commits')} removed from the history; {report.cleared.bytes / 1e6:.1f} MB removed."
            )
    if report.dry_run and not dry_run:
        raise CallError("nothing was deleted. Check the list above, then add --yes to delete these spectra.")
    if report.cleared is not None:
        tell_left(report.cleared.left_until)
    if not report.dry_run:
        note("Copies of this archive, bundles and indexes on other machines may still contain these spectra.")
