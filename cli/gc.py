"""``barospec gc``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, JsonOption, open_archive
from barospec.cli._output import note, progress, write_object
from barospec.schemas.values import counted

NAME = "gc"


def tell_left(until: datetime | None) -> None:
    """Print which files of a bucket are too young to be removed."""
    if until is not None:
        note(
            "Unused files younger than one day stay, because another machine may still be writing them. Run "
            f"`barospec gc --yes` after {until:%Y-%m-%d %H:%M} UTC to remove them."
        )


def command(
    archive: ArchiveOption = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            "--keep-days",
            min=0,
            help="Days of history to keep. Default: the setting keep_days, or the whole history without that setting.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply the changes (default: dry run).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old history and unused files.

    Without --yes nothing changes; the changes are only listed. The newest state and all tagged states always stay. Unused files
    remain after interrupted writes and after history was removed.
    """
    opened = open_archive(archive)
    with progress("gc") as advance:
        report = opened.gc(keep_days=keep_days, dry_run=not yes, progress=advance)
    if as_json:
        columns = ["snapshot", "time", "message"]
        rows = [[commit.snapshot, commit.time, commit.message] for commit in report.expired]
        head = {"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}
        more = {"kept": report.kept, "tags": report.tags, "removed": report.removed, "bytes": report.bytes}
        more |= {"left_until": report.left_until, "pending": opened.pending}
        write_object({**head, **more, "dry_run": report.dry_run}, columns, rows)
        return
    would = "would be removed from" if report.dry_run else "removed from"
    print(
        f"{counted(len(report.expired), 'commits')} {would} the history, {report.kept} kept; {counted(len(report.tags), 'tags')} kept."
    )
    shown = ", ".join(counted(count, kind.replace("_", " ")) for kind, count in report.removed.items()) or ""
    if report.dry_run:
        also = "; files that only these commits use would be removed too" if report.expired else ""
        print(f"Unused files: {shown} ({report.bytes / 1e6:.1f} MB){also}." if shown else f"No unused files{also}.")
        note("Nothing was removed. Add --yes to apply the changes.")
    else:
        print(f"Removed: {shown} ({report.bytes / 1e6:.1f} MB)." if shown else "No unused files.")
        tell_left(report.left_until)
