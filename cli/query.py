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
    text: Annotated[
        str, typer.Argument(help='What to find, such as "all runs above 14 GPa". Default: all spectra.')
    ] = "",
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print a JSON object on each line, rows only.")] = False,
    as_csv: CsvOption = False,
    parquet: ParquetOption = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help='Fields to show, with commas between; "*" for all.', show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most so many rows.", show_default=False)
    ] = None,
    scans: Annotated[bool, typer.Option("--scans", help="Show scans that were merged into others too.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Take derived values that are out of date too.")] = False,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Take energies on axes that were not calibrated too.")
    ] = False,
    bad: Annotated[bool, typer.Option("--bad", help="Show spectra that are flagged as bad too.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how the query is understood: conditions, SQL, plan.")
    ] = False,
) -> None:
    """Find spectra, runs, samples, derived values, structures or literature values.

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
        tell(answer, as_json=as_json, as_jsonl=as_jsonl, as_csv=as_csv, parquet=parquet)


def tell(
    answer: Answer,
    *,
    as_json: bool = False,
    as_jsonl: bool = False,
    as_csv: bool = False,
    parquet: Path | None = None,
) -> None:
    """Print an answer in the form asked for, and what it left out."""
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
        from barospec.catalogs.index.build import write_parquet

        write_parquet(answer.connection, answer.statement.sql, answer.statement.parameters, parquet)
        print(f"{answer.count} {answer.noun} written to {parquet}")
    else:
        rows: list[tuple[Any, ...]] = []
        for row in answer.rows:
            if len(rows) == SHOWN:
                break
            rows.append(row)
        # A few columns say where a record comes from in the archive; they show when little else does, or in --csv.
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
            print(f"\n{answer.noun} that cannot be decided, for want of a value:")
            kept = _informative(answer.columns, answer.unlisted)
            table(
                [answer.columns[i] for i in kept],
                [[row[i] for i in kept] for row in answer.unlisted],
                units=answer.units,
            )
    for line in remarks(answer):
        note(line)


def write_lines(columns: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """One JSON object on each line, for programs that read as they go."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    for row in rows:
        sys.stdout.write(encode({name: plain(value) for name, value in zip(columns, row, strict=True)}) + "\n")


def _informative(columns: list[str], rows: list[Any]) -> list[int]:
    """Columns in which any row has something."""
    return [i for i in range(len(columns)) if not rows or any(row[i] not in (None, []) for row in rows)]


def head_of(answer: Answer) -> dict[str, Any]:
    """What the JSON object says before its rows."""
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
    """How the query was understood and what the answer leaves out, in sentences."""
    shown = f", {answer.limit} of them shown" if answer.limit and answer.limit < answer.count else ""
    lines = [f"{counted(answer.count, answer.noun)}{shown}: {answer.canonical}  (snapshot {answer.snapshot})"]
    rows = answer.noun if answer.noun not in ("runs", "spectra", "scans", "samples", "counts") else "spectra"
    stale = "are left out: their {} is stale (`barospec derive --refresh`, or --stale)."
    for name, count in answer.missing.items():
        lines.append(counted(count, f"{rows} without {{}} could not be decided and are left out.").format(name))
    for name, count in answer.not_applicable.items():
        lines.append(counted(count, f"{rows} to which {{}} does not apply are left out.").format(name))
    for name, count in answer.stale.items():
        lines.append(counted(count, f"{rows} {stale}").format(name))
    for name, count in answer.uncalibrated.items():
        axis = "are left out: {} on an energy axis that is not calibrated (--uncalibrated)."
        lines.append(counted(count, f"{rows} {axis}").format(name))
    if answer.flagged:
        lines.append(counted(answer.flagged, f"{rows} that match are flagged as bad and left out (--bad)."))
    if answer.withdrawn:
        lines.append(counted(answer.withdrawn, f"withdrawn {rows} match and are left out."))
    if answer.near_limit:
        near = counted(answer.near_limit, f"{rows} lie within their uncertainty of a limit")
        lines.append(f"{near}, {answer.near_inside} of them in the answer.")
    return [*lines, *answer.notes]


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
    """SQL on several lines, broken before its clauses."""
    import re

    return re.sub(r"(?<!DISTINCT) (FROM|WHERE|GROUP BY|HAVING|ORDER BY|LIMIT|JOIN) ", r"\n\1 ", sql).split("\n")
