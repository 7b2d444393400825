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
    text: Annotated[str, typer.Argument(help='Query of the spectra, such as "run-2 above 10 GPa". Default: all.')] = "",
    pressure: Annotated[
        float, typer.Option("--pressure", help="Maximum pressure difference between repeats of a point, in GPa.", min=0)
    ] = 0.05,
    temperature: Annotated[
        float,
        typer.Option("--temperature", help="Maximum temperature difference between repeats of a point, in K.", min=0),
    ] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the result without writing it.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="Commit message.")] = "",
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Merge repeated scans into their mean, a new spectrum.

    The channel sigma of the new spectrum is the standard error. Scans are repeats if they follow each other on the P-T path of a run, at the same pressure and temperature, and agree in sample,
    signal, mode and calibration. The scans stay in the archive; queries hide them unless they ask for "scans".
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
    scans = sum(len(point.parents) for point in report.merged)
    parts = [f"{counted(scans, 'scans')} {done} into {counted(len(rows), 'spectra')}"] if rows else ["Nothing merged"]
    parts += [f"{counted(report.unchanged, 'points are')} already merged"] if report.unchanged else []
    parts += [f"{counted(report.single, 'points have')} only one scan"] if report.single else []
    for shown in report.notes:
        note(shown)
    print("; ".join(parts) + (f". Snapshot {report.snapshot}." if report.snapshot else "."))
