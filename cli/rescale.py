"""``barospec rescale_pressure``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, JsonOption, open_archive
from barospec.cli._output import note, table, write_object
from barospec.schemas.values import counted

NAME = "rescale_pressure"
COLUMNS = (
    "spectrum_id",
    "run",
    "old_scale",
    "old_pressure",
    "old_sigma",
    "pressure",
    "pressure_sigma",
    "pressure_scale",
)
SHOWN = 40


def command(
    text: Annotated[str, typer.Argument(help='Query of the spectra, such as "run-2" or "all spectra".')],
    scale: Annotated[str, typer.Argument(help='Pressure scale, such as "ruby Dewaele 2004".')],
    reason: Annotated[str, typer.Option("--reason", help="Reason, recorded for each spectrum.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the changes without applying them.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="Commit message.")] = "",
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Convert pressures to one ruby scale, in one commit.

    The old pressures stay in the events of each spectrum and in earlier snapshots. Scales: ruby Mao 1978, ruby Mao 1986, ruby Dewaele
    2004, ruby Chijioke 2005, Ruby2020. Pressures without a scale are not changed, but counted. Interpolated pressures keep their
    relative position between the readings.
    """
    opened = open_archive(archive)
    report = opened.rescale_pressure(text, scale, reason=reason, dry_run=dry_run, message=message)
    rows = [
        [
            edit.known.spectrum_id,
            edit.known.source[1],
            *(edit.known.columns.get(name) for name in ("pressure_scale", "pressure", "pressure_sigma")),
            *(edit.changed.get(name, (None, None))[1] for name in ("pressure", "pressure_sigma", "pressure_scale")),
        ]
        for edit in report.changed
    ]
    units = dict.fromkeys(("old_pressure", "old_sigma", "pressure", "pressure_sigma"), "GPa")
    if as_json:
        head = {"snapshot": report.snapshot, "count": len(rows), "unchanged": report.unchanged, "left": report.left}
        write_object({**head, "units": units, "pending": opened.pending}, COLUMNS, rows)
        return
    if rows:
        table(COLUMNS, rows[:SHOWN], units=units)
    if len(rows) > SHOWN:
        note(f"… and {len(rows) - SHOWN} more; --json lists all.")
    for why, count in report.left.items():
        note(f"{count} not changed: {why}.")
    shown = f"{counted(len(rows), 'pressures')} {'would be converted' if dry_run else 'converted'} to {scale}, {report.unchanged} had this scale before"
    print(shown + (f". Snapshot {report.snapshot}." if report.snapshot else "."))
