"""``barospec ingest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli.common import ArchiveOption, JsonOption, SetOption, open_archive
from barospec.cli.output import note, progress, table, write_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barospec.schemas.records import Problem

NAME = "ingest"
SHOWN = 40


def command(
    paths: Annotated[list[Path], typer.Argument(help="Run sheets, data files, or folders of them.")],
    settings: SetOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take what contradicts the archive as a new revision.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if anything is refused.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="What this is, for the history.")] = "",
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put run sheets or files into the archive, in one atomic commit.

    What is there already is recognized and not added again. What cannot be taken is listed with its place, and the rest goes in.
    """
    opened = open_archive(archive)
    with progress("reading") as tell:
        report = opened.ingest(paths, settings or [], replace=replace, strict=strict, message=message, progress=tell)
    if as_json:
        found = report.to_dict()
        problems = found.pop("problems")
        columns = ["severity", "message", "file", "line", "scan"]
        write_object(found, columns, ([p[name] for name in columns] for p in problems))
    else:
        tell_problems(report.problems)
        if report.groups:
            table(["group", "new spectra"], sorted(report.groups.items()))
        print(_summary(report.to_dict(), strict and not report.ok))
    raise typer.Exit(0 if report.ok else 1)


def _summary(found: dict[str, object], stopped: bool) -> str:
    names = {
        "added": "added",
        "replaced": "replaced",
        "unchanged": "already there",
        "skipped": "skipped as the sheet says",
        "conflicts": "in conflict",
        "refused": "refused",
        "structures": "structures",
        "literature": "literature values",
        "models": "models",
    }
    parts = [f"{found[key]} {text}" for key, text in names.items() if found[key]]
    if stopped:
        return f"Nothing was written (--strict): {', '.join(parts)}."
    if not found["snapshot"]:
        return f"Nothing new: {', '.join(parts) or 'no spectra found'}. The archive is unchanged."
    return f"{', '.join(parts)}. Snapshot {found['snapshot']}."


def tell_problems(problems: Iterable[Problem]) -> None:
    """Problems on stderr: errors one by one, the same note of many files once."""
    order = {"error": 0, "warning": 1, "note": 2}
    alike: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        # Numbers and quoted words differ from file to file; what is said about them does not.
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
