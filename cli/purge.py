"""``barospec purge``."""

from __future__ import annotations

from barospec.cli._correction_options import DryRunOption, JsonReport, ReasonOption, WhatArgument, YesOption
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
    yes: YesOption = False,
    as_json: JsonReport = False,
) -> None:
    """Delete spectra for good, from every state of the archive. Nothing can bring them back; see `withdraw` first.

    Numbers, conditions, names, headers and derived values are removed; only the ids stay, so that nothing else ever gets
    them. The history before is cut off, and the tags that hold the spectra are deleted; others stay as they are.
    Copies, bundles and the indexes of other machines are not reached. Needs --yes.
    """
    from barospec.schemas.errors import CallError

    opened = open_archive(archive)
    with progress("purge") as tell:
        report = opened.purge(what, reason=reason, dry_run=dry_run or not yes, progress=tell)
    if as_json:
        rows = [[name] for name in report.ids]
        head = {"snapshot": report.snapshot or opened.snapshot, "count": len(rows), "missing": {}, "units": {}}
        head |= {"tags": report.tags, "dry_run": report.dry_run, "pending": opened.pending}
        write_object(head, ["spectrum_id"], rows)
    else:
        would = "would be " if report.dry_run else ""
        print(
            f"{counted(len(report.ids), 'spectra')} ({counted(report.rows, 'revisions')}) {would}deleted for good: {', '.join(report.ids[:8])}"
        )
        for name, snapshot in report.tags.items():
            print(f"tag {name} ({snapshot}) {'would break' if report.dry_run else 'was deleted'}: it holds them")
        if report.cleared is not None:
            print(
                f"{counted(len(report.cleared.expired), 'entries')} left the history; {report.cleared.bytes / 1e6:.1f} MB removed."
            )
    if report.dry_run and not dry_run:
        raise CallError("nothing was deleted. Look through what would be, and add --yes.")
    if report.cleared is not None:
        tell_left(report.cleared.left_until)
    if not report.dry_run:
        note("Copies of this archive, bundles and indexes on other machines may still hold them.")
