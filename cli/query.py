"""``barospec query``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, CsvOption, JsonOption, ParquetOption, open_archive
from barospec.cli._output import note, plain, table, write_csv, write_object
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec.catalogs.query.answer.answer import Answer

NAME = "query"
BOOKKEEPING = ("source_sha256", "content_sha256", "ingested", "run_sheet", "status", "revision", "source_file")
SHOWN = 60


def command(
    text: Annotated[str, typer.Argument(help='Query, such as "all runs above 14 GPa". Default: all spectra.')] = "",
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print one JSON object per row, without the counts.")
    ] = False,
    as_csv: CsvOption = False,
    parquet: ParquetOption = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help='Fields to show, separated by commas; "*" for all. Default: the most important ones.',
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Maximum number of rows.", show_default=False)
    ] = None,
    scans: Annotated[bool, typer.Option("--scans", help="Include scans that were merged into other spectra.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Include derived values that are out of date.")] = False,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Include energies on axes that were not calibrated.")
    ] = False,
    bad: Annotated[bool, typer.Option("--bad", help="Include spectra that are flagged as bad.")] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Print how the query is understood (conditions, SQL, plan) instead of the rows."
        ),
    ] = False,
) -> None:
    """Find spectra, runs, samples and other records.

    Other records are derived values, structures, models and literature values. Prints a table of the matching rows and, below it, how many rows were excluded and why. Units are converted.

    Examples: "Ni K spectra between 10 and 20 GPa below 80 K"; "calculated spectra with cluster_atoms >= 77";
    "pressure > 140 kbar and not origin = synthetic"; "runs not above 14 GPa"; "pressure is missing".
    """
    opened = open_archive(archive, at)
    names = [name.strip() for name in columns.split(",")] if columns else None
    asked = {"stale": stale, "uncalibrated": uncalibrated, "bad": bad}
    include = [name for name, wanted in asked.items() if wanted]
    if explain:
        _explain(opened, text, as_json=as_json, scans=scans, limit=limit, columns=names, include=include)
        return
    with opened.ask(text, scans=scans, limit=limit, columns=names, include=include) as answer:
        print_answer(answer, as_json=as_json, as_jsonl=as_jsonl, as_csv=as_csv, parquet=parquet)


def print_answer(
    answer: Answer,
    *,
    as_json: bool = False,
    as_jsonl: bool = False,
    as_csv: bool = False,
    parquet: Path | None = None,
) -> None:
    """Print an answer in the requested format, and what it excludes."""
    if sum((as_json, as_jsonl, as_csv, parquet is not None)) > 1:
        raise CallError("choose one of --json, --jsonl, --csv and --parquet.")
    if as_json:
        write_object(head_of(answer), answer.columns, answer.rows)
        return
    if as_jsonl:
        write_lines(answer.columns, answer.rows)
    elif as_csv:
        write_csv(answer.columns, answer.units, answer.rows)
    elif parquet is not None:
        from barospec.catalogs.index.database import write_parquet

        write_parquet(answer.connection, answer.statement.sql, answer.statement.parameters, parquet)
        print(f"{counted(answer.count, answer.noun)} written to {parquet}")
    else:
        rows: list[tuple[Any, ...]] = []
        for row in answer.rows:
            if len(rows) == SHOWN:
                break
            rows.append(row)
        # Columns of provenance: shown only where there are few other columns, or with --csv.
        kept = [
            i
            for i in _informative(answer.columns, rows)
            if answer.columns[i] not in BOOKKEEPING or answer.noun == "spectra" or len(answer.columns) < 8
        ]
        table([answer.columns[i] for i in kept], [[row[i] for i in kept] for row in rows], units=answer.units)
        asked = min(answer.count, answer.limit or answer.count)
        if asked > len(rows):
            note(f"… {asked - len(rows)} more; --csv prints all.")
        if answer.unlisted:
            lacking = f"no {' or '.join(answer.missing)} recorded" if answer.missing else "a value is missing"
            print(f"\nundecided {answer.noun} ({lacking}):")
            kept = _informative(answer.columns, answer.unlisted)
            table(
                [answer.columns[i] for i in kept],
                [[row[i] for i in kept] for row in answer.unlisted],
                units=answer.units,
            )
    for line in remarks(answer):
        note(line)


def write_lines(columns: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Write one JSON object per line."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    for row in rows:
        sys.stdout.write(encode({name: plain(value) for name, value in zip(columns, row, strict=True)}) + "\n")


def _informative(columns: list[str], rows: list[Any]) -> list[int]:
    """Return the columns that have a value in any row."""
    return [i for i in range(len(columns)) if not rows or any(row[i] not in (None, []) for row in rows)]


def head_of(answer: Answer) -> dict[str, Any]:
    """Return the keys of the JSON object that precede its rows."""
    return {
        "snapshot": answer.snapshot,
        "query": answer.canonical,
        "noun": answer.noun,
        "count": answer.count,
        "missing": answer.missing,
        "not_applicable": answer.not_applicable,
        "withdrawn": answer.withdrawn,
        "flagged": answer.flagged,
        "stale": answer.stale,
        "uncalibrated": answer.uncalibrated,
        "near_limit": answer.near_limit,
        "units": answer.units,
        "notes": answer.notes,
        "unlisted": [dict(zip(answer.columns, row, strict=True)) for row in answer.unlisted],
    }


def remarks(answer: Answer) -> list[str]:
    """Return sentences: how the query was understood and what the answer excludes."""
    shown = f", {answer.limit} of them shown" if answer.limit and answer.limit < answer.count else ""
    lines = [f"{counted(answer.count, answer.noun)}{shown}: {answer.canonical}  (snapshot {answer.snapshot})"]
    rows = answer.noun if answer.noun not in ("runs", "spectra", "scans", "samples", "counts") else "spectra"
    stale = "excluded: {} is stale (recompute with `barospec derive --refresh`, or include with --stale)."
    for name, count in answer.missing.items():
        lines.append(counted(count, f"{rows} excluded: no {{}} recorded.").format(name))
    for name, count in answer.not_applicable.items():
        lines.append(counted(count, f"{rows} excluded: {{}} does not apply.").format(name))
    for name, count in answer.stale.items():
        lines.append(counted(count, f"{rows} {stale}").format(name))
    for name, count in answer.uncalibrated.items():
        axis = "excluded: {} on an energy axis that is not calibrated (include with --uncalibrated)."
        lines.append(counted(count, f"{rows} {axis}").format(name))
    if answer.flagged:
        lines.append(counted(answer.flagged, f"matching {rows} excluded: flagged as bad (include with --bad)."))
    if answer.withdrawn:
        lines.append(counted(answer.withdrawn, f"matching {rows} excluded: withdrawn."))
    if answer.near_limit:
        near = counted(answer.near_limit, f"{rows} are within their uncertainty of the limit")
        lines.append(f"{near}; {_inside(answer.near_limit, answer.near_inside)}.")
    return [*lines, *answer.notes]


def _inside(near: int, inside: int) -> str:
    if near == 1:
        return "it is included" if inside else "it is not included"
    if inside in (0, near):
        return "none is included" if not inside else f"{'both' if near == 2 else 'all'} are included"
    return f"{inside} of them {'is' if inside == 1 else 'are'} included"


def _explain(opened: Any, text: str, *, as_json: bool, **asked: Any) -> None:
    from barospec.catalogs.query.answer.explain import explain

    with opened.connection() as connection:
        found = explain(connection, text, **asked)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2, default=str))
        return
    parameters = [f"${name} = {value!r}" for name, value in found["parameters"].items()] or ["none"]
    parts = {
        "understood as": [found["query"]],
        "conditions": found["tree"],
        "SQL of the rows": _broken(found["sql"]),
        "parameters": parameters,
        "DuckDB's plan": found["plan"],
    }
    for title, lines in parts.items():
        print(f"{title}\n" + "\n".join(f"  {line}" for line in lines) + "\n")


def _broken(sql: str) -> list[str]:
    """Split SQL into lines, one per clause."""
    import re

    return re.sub(r"(?<!DISTINCT) (FROM|WHERE|GROUP BY|HAVING|ORDER BY|LIMIT|JOIN) ", r"\n\1 ", sql).split("\n")
