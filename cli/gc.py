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
    """In a bucket: what is too young to be removed."""
    if until is not None:
        note(
            "What nothing refers to and is younger than a day stays, for another machine may be putting it there. Run "
            f"`barospec gc --yes` after {until:%Y-%m-%d %H:%M} UTC to remove it."
        )


def command(
    archive: ArchiveOption = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            "--keep-days",
            min=0,
            help="Days of history to keep. Default: the setting keep_days; all of it where that is not set.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do it; without it only what would be done is told.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Shorten the history, and remove files that nothing refers to. Tells what it would do until --yes is given.

    The newest state and every tagged one are never touched. Files that nothing refers to come from writers
    that were interrupted, and from history that was given up.
    """
    opened = open_archive(archive)
    with progress("gc") as tell:
        report = opened.gc(keep_days=keep_days, dry_run=not yes, progress=tell)
    if as_json:
        columns = ["snapshot", "time", "message"]
        rows = [[commit.snapshot, commit.time, commit.message] for commit in report.expired]
        head = {"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}
        more = {"kept": report.kept, "tags": report.tags, "removed": report.removed, "bytes": report.bytes}
        more |= {"left_until": report.left_until, "pending": opened.pending}
        write_object({**head, **more, "dry_run": report.dry_run}, columns, rows)
        return
    would = "would leave" if report.dry_run else "left"
    print(
        f"{counted(len(report.expired), 'entries')} {would} the history, {report.kept} stay; {counted(len(report.tags), 'tags stay')}."
    )
    told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in report.removed.items()) or "no files"
    if report.dry_run:
        also = "; what only those entries need comes on top" if report.expired else ""
        print(f"Nothing refers to {told} ({report.bytes / 1e6:.1f} MB){also}.")
        note("Nothing was removed. Add --yes to do it.")
    else:
        print(f"Removed: {told} ({report.bytes / 1e6:.1f} MB).")
        tell_left(report.left_until)
