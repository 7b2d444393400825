"""``barospec ingest``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, JsonOption, SetOption, open_archive
from barospec.cli._output import note, progress, table, write_object
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barospec.archive.ingest.report import IngestReport
    from barospec.schemas.records import Problem

NAME = "ingest"
SHOWN = 40


def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Run sheets, data files, or folders that contain them.", show_default=False),
    ] = None,
    settings: SetOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Store data that differ from the archive as a new revision.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if anything is refused.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="Commit message.")] = "",
    watch: Annotated[
        Path | None,
        typer.Option("--watch", help="Watch this folder and ingest new scans until interrupted.", show_default=False),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="With --watch: run sheet of the folder.", show_default=False)
    ] = None,
    then: Annotated[
        str, typer.Option("--then", help="With --watch: operator or chain to apply to each new spectrum.")
    ] = "",
    picture: Annotated[
        Path,
        typer.Option(
            "--picture",
            help="With --then: file for the picture of the newest spectrum over the one at the previous pressure.",
        ),
    ] = Path("barospec-watch.png"),
    settle: Annotated[
        float, typer.Option("--settle", help="With --watch: seconds without changes before a file is read.", min=0.1)
    ] = 10.0,
    every: Annotated[
        float, typer.Option("--every", help="With --watch: minimum number of seconds between two commits.", min=1.0)
    ] = 10.0,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ingest run sheets or data files, in one atomic commit.

    Spectra that are already in the archive are not added again. Scans that cannot be ingested are listed with file, line and reason;
    all others are ingested. With --watch the command runs during a measurement and ingests each scan when it is finished; Ctrl-C stops
    it. Exit code 1 if anything was refused.
    """
    if watch is not None:
        from barospec.cli.ingest_watch import Wanted, follow

        if paths or strict or message or as_json:
            raise CallError(
                "--watch accepts only --sheet, --set, --replace, --then, --picture, --settle and --every. Remove the other options and paths."
            )
        follow(open_archive(archive), Wanted(watch, sheet, settings or [], replace, then, picture, settle, every))
        return
    if sheet is not None or then:
        raise CallError(
            "--sheet and --then need --watch FOLDER. To ingest a run sheet, name it: barospec ingest SHEET."
        )
    if not paths:
        raise CallError("name at least one run sheet, file or folder.")
    opened = open_archive(archive)
    with progress("reading") as advance:
        found = opened.ingest(
            paths, settings or [], replace=replace, strict=strict, message=message, progress=with_rate(advance)
        )
    tell_report(found, strict, as_json)
    raise typer.Exit(0 if found.ok else 1)


def tell_report(report: IngestReport, strict: bool, as_json: bool) -> None:
    """Print the report of an ingest as tables and a sentence, or as one JSON object."""
    if as_json:
        found = report.to_dict()
        problems = found.pop("problems")
        columns = ["severity", "message", "file", "line", "scan"]
        write_object(found, columns, ([p[name] for name in columns] for p in problems))
        return
    tell_problems(report.problems)
    if report.groups:
        table(["group", "new spectra"], sorted(report.groups.items()))
    print(_summary(report.to_dict(), strict and not report.ok))


def with_rate(advance: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
    """Wrap a progress callback: show files per second and the remaining time instead of the file name."""
    start = time.monotonic()

    def rated(name: str, done: int, total: int) -> None:
        spent = time.monotonic() - start
        if done < 10 or spent < 1.0:
            advance(name, done, total)
            return
        left = (total - done) * spent / done
        shown = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        advance(f"{done / spent:.0f} files/s, {shown} left", done, total)

    return rated


def _summary(found: dict[str, Any], stopped: bool) -> str:
    names = {
        "added": "added",
        "replaced": "replaced",
        "unchanged": "already in the archive",
        "skipped": "skipped (see the run sheet or the notes)",
        "conflicts": "in conflict",
        "refused": "refused",
        "structures": "structures",
        "literature": "literature values",
        "models": "models",
        "calculations": "calculations (hoppings, bands, densities of states)",
    }
    parts = [counted(found[key], text) for key, text in names.items() if found[key]]
    if stopped:
        return f"Nothing was written (--strict): {', '.join(parts)}."
    if not found["snapshot"]:
        return f"Nothing new: {', '.join(parts) or 'no spectra found'}. The archive is unchanged."
    return f"{', '.join(parts)}. Snapshot {found['snapshot']}."


def tell_problems(problems: Iterable[Problem]) -> None:
    """Print problems to stderr: each error, but the same note of many files only once."""
    order = {"error": 0, "warning": 1, "note": 2}
    alike: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        # Numbers and quoted words differ from file to file; the rest of the message does not.
        key = problem.message if problem.severity == "error" else _shape(problem.message)
        alike.setdefault((problem.severity, key), []).append(problem)
    lines = []
    for (severity, _), same in sorted(alike.items(), key=lambda item: order[item[0][0]]):
        lines.append(f"{severity}: {same[0]}" + (f"  (and {len(same) - 1} more like it)" if len(same) > 1 else ""))
    for line in lines[:SHOWN]:
        note(line)
    if len(lines) > SHOWN:
        note(f"… and {len(lines) - SHOWN} more; --json lists all.")


def _shape(message: str) -> str:
    import re

    return re.sub(r'"[^"]*"|\d+(\.\d+)?', "…", message)
