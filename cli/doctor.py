"""``barospec doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, JsonOption, open_archive
from barospec.cli._output import note, write_object
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec.archive.verify.repair import Lost, Repaired

NAME = "doctor"


def command(
    archive: ArchiveOption = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Return to the last undamaged snapshot if the newest is damaged.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply the repair (default: dry run).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the environment of an archive.

    Checks versions, file system, lock, space, leftover files and the index. Prints what to do about each problem. Nothing changes without --repair --yes. To check the contents of the archive, use
    `barospec verify`. Exit code 1 if anything is wrong; notes do not count.

    --repair lists the commits that would be lost. If you have a backup, restore the damaged files first: then nothing is lost.
    The damaged files stay in the folder "damaged" of the archive.
    """
    if yes and not repair:
        raise CallError("--yes needs --repair.")
    opened = open_archive(archive)
    if repair:
        report = opened.repair(dry_run=not yes)
        (_print_json if as_json else _print)(report)
        if report.dry_run and report.needed:
            raise typer.Exit(1)
        return
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


def _print_json(report: Repaired) -> None:
    columns = ["snapshot", "time", "message"]
    rows = [[each.snapshot, each.time, each.message] for each in report.lost]
    head = {"snapshot": report.target, "count": len(rows), "missing": {}, "units": {}}
    more: dict[str, Any] = {
        "damaged": report.damaged,
        "head": report.head,
        "kept": report.kept,
        "dry_run": report.dry_run,
    }
    more |= {"before": report.before, "after": report.after}
    write_object({**head, **more}, columns, rows)


def _print(report: Repaired) -> None:
    for name, what in report.damaged.items():
        print(f"damaged  {name}: {what}")
    if not report.needed:
        print("The newest snapshot is undamaged. Nothing to repair.")
        if report.damaged:
            note("Earlier states need the damaged files. Restore these files from a backup.")
        return
    would = "would be" if report.dry_run else "were"
    if report.head != report.target:
        counts = [
            counted(number, "spectra") if number is not None else "an unknown number"
            for number in (report.before, report.after)
        ]
        print(
            f"The newest snapshot {would} {report.target} instead of {report.head or 'an unknown one'}: {counts[1]} instead of {counts[0]}."
        )
    print(f"{counted(len(report.lost), 'commits')} {would} lost{':' if report.lost else '.'}")
    for each in report.lost:
        print(f"  {_line(each)}")
    if report.kept:
        print(f"The damaged files are in the folder {report.kept}/ of the archive.")
    if report.dry_run:
        note("Nothing was changed. Restore the damaged files from a backup if you have one; otherwise add --yes.")


def _line(each: Lost) -> str:
    when = f"{each.time:%Y-%m-%d %H:%M}" if each.time else "at an unknown time"
    return f"{each.snapshot}  {when}  {each.message if each.message is not None else 'its message cannot be read'}"
