"""``barospec import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, JsonOption, open_archive
from barospec.cli._output import note, progress, write_object

NAME = "import"


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle: a folder or a zip archive.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Store data that differ from the archive as a new revision.")
    ] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="Commit message.", show_default=False)] = "",
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a bundle into the archive, in one commit.

    Imports its spectra, their inputs and records. The bundle is verified first. Spectra keep their spectrum_id, and record the bundle and revision that they came from. Importing the
    same bundle again adds nothing. Data that differ from the archive are reported as conflicts. Exit code 1 if anything was not
    imported.
    """
    with progress("importing") as advance:
        report = open_archive(archive).import_bundle(bundle, replace=replace, message=message, progress=advance)
    counts = {name: value for name, value in report.to_dict().items() if isinstance(value, int)}
    if as_json:
        problems = [[p.severity, p.message, p.file] for p in report.problems]
        head: dict[str, object] = {
            "snapshot": report.snapshot,
            "count": len(problems),
            "missing": {},
            "units": {},
            **counts,
            "pending": report.pending,
        }
        write_object(head, ["severity", "message", "file"], problems)
    else:
        for problem in report.problems:
            note(f"{problem.severity}: {problem}")
        shown = ", ".join(f"{value} {name}" for name, value in counts.items() if value)
        print(f"{shown or 'nothing to import'}" + (f"; snapshot {report.snapshot}" if report.snapshot else ""))
    if not report.ok:
        raise typer.Exit(1)
