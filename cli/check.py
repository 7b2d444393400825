"""``barospec check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli._options import JsonOption, SetOption
from barospec.cli._output import progress, table, write_object
from barospec.cli.ingest import tell_problems, with_rate
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barospec.archive.ingest.prepared import PreparedSpectrum
    from barospec.archive.sheets.records import Sheet

NAME = "check"
SHOWN = 20


def command(
    paths: Annotated[list[Path], typer.Argument(help="Run sheets, data files, or folders that contain them.")],
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check run sheets and files without writing anything.

    Does everything that ingest does before the commit. Prints every problem, the values that were converted, and which recommended metadata are missing. Exit code 1 if anything
    would be refused.
    """
    from barospec._archive import prepare

    with progress("reading") as advance:
        prepared = prepare(paths, settings or [], with_rate(advance))
    complete = prepared.completeness()
    if as_json:
        head = {
            "spectra": len(prepared.entries),
            "structures": len(prepared.structures),
            "literature": len(prepared.literature),
            "refused": prepared.refused,
            "skipped": prepared.skipped,
            "understood": [
                {"field": field, "written": written, "understood": value}
                for (field, written), value in understood(prepared.sheets).items()
            ],
            "completeness": {name: {"stated": have, "of": of} for name, (have, of) in complete.items()},
        }
        columns = ["severity", "message", "file", "line", "column", "scan"]
        write_object(head, columns, ([getattr(p, name) for name in columns] for p in prepared.problems))
    else:
        tell_problems(prepared.problems)
        _tell_runs(prepared.entries)
        _tell_understood(prepared.sheets)
        lacking = {name: counts for name, counts in complete.items() if counts[0] < counts[1]}
        if lacking:
            print()
            rows = [[name, have, of, f"{100 * have // of} %"] for name, (have, of) in lacking.items()]
            table(["recommended, not always stated", "stated", "of", "share"], rows)
        extra = [
            counted(n, what)
            for n, what in (
                (len(prepared.structures), "structures"),
                (len(prepared.literature), "literature values"),
                (len(prepared.models), "models"),
                (len(prepared.calculations), "calculations"),
            )
            if n
        ]
        print(
            f"\n{counted(len(prepared.entries), 'spectra')} can be ingested, {prepared.refused} refused"
            + "".join(f", {text}" for text in extra)
            + "."
        )
    raise typer.Exit(1 if prepared.refused else 0)


def understood(sheets: Iterable[Sheet]) -> dict[tuple[str, str], str]:
    """Return the values that were converted: (field, as written) -> as understood."""
    return {key: value for sheet in sheets for key, value in sheet.understood.items()}


def _tell_understood(sheets: Iterable[Sheet]) -> None:
    found = list(understood(sheets).items())
    if found:
        print()
        rows = [[field, written, value] for (field, written), value in found[:SHOWN]]
        table(["field", "written", "understood"], rows)
    if len(found) > SHOWN:
        print(f"… and {len(found) - SHOWN} more; --json lists all.")


def _tell_runs(entries: list[PreparedSpectrum]) -> None:
    found: dict[tuple[str, str], list[float | None]] = {}
    for entry in entries:
        columns = entry.columns
        found.setdefault((columns["run"], entry.group), []).append(columns.get("pressure"))
    rows = []
    for (run, group), pressures in found.items():
        known = [p for p in pressures if p is not None]
        rows.append([run, group, len(pressures), len(known), min(known, default=None), max(known, default=None)])
    if rows:
        units = {"pressure_min": "GPa", "pressure_max": "GPa"}
        table(["run", "group", "spectra", "with_pressure", "pressure_min", "pressure_max"], rows, units=units)
