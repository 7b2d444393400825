"""``barospec merge``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, JsonOption, open_archive
from barospec.cli._output import note, table, write_object
from barospec.schemas.values import counted

NAME = "merge"
COLUMNS = ("spectrum_id", "run", "edge", "signal", "step", "pressure", "temperature", "repeats", "error", "parents")


def command(
    text: Annotated[str, typer.Argument(help='Which spectra, such as "run-2 above 10 GPa". Default: all.')] = "",
    pressure: Annotated[
        float, typer.Option("--pressure", help="How far a repeat may lie from the first of its point, in GPa.", min=0)
    ] = 0.05,
    temperature: Annotated[
        float, typer.Option("--temperature", help="The same for the temperature, in K.", min=0)
    ] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be merged.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="What this is, for the history.")] = "",
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Merge the repeats at each point into a new spectrum: mean, and standard error in the channel sigma.

    The scans stay in the archive and are hidden unless a query says scans. Scans belong together when they follow each other on
    a run's route at one pressure and temperature, and agree in sample, signal, mode and calibration.
    """
    opened = open_archive(archive)
    report = opened.merge(text, pressure=pressure, temperature=temperature, dry_run=dry_run, message=message)
    rows: list[list[Any]] = [
        [*(point.columns.get(name) for name in COLUMNS[:7]), len(point.parents), point.error, list(point.parents)]
        for point in report.merged
    ]
    if as_json:
        head = {"snapshot": report.snapshot, "count": len(rows), "unchanged": report.unchanged, "single": report.single}
        units = {"pressure": "GPa", "temperature": "K"}
        write_object({**head, "units": units, "pending": opened.pending}, COLUMNS, rows)
        return
    if rows:
        table(COLUMNS[:-1], (row[:-1] for row in rows), units={"pressure": "GPa", "temperature": "K"})
    done = "would be merged" if dry_run else "merged"
    parts = [f"{sum(len(point.parents) for point in report.merged)} scans {done} into {counted(len(rows), 'spectra')}"]
    parts += [f"{counted(report.unchanged, 'points are')} merged already"] if report.unchanged else []
    parts += [f"{counted(report.single, 'points have')} one scan"] if report.single else []
    for told in report.notes:
        note(told)
    print("; ".join(parts) + (f". Snapshot {report.snapshot}." if report.snapshot else "."))
