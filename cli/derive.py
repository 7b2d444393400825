"""``barospec derive``: list the stored sets of derived values and refresh them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, progress, table, write_object
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec import Archive
    from barospec.catalogs.derived.store_values import Derived

NAME = "derive"
COLUMNS = (
    *(
        "name",
        "of",
        "field",
        "preferred",
        "follow",
        "fresh",
        "stale",
        "failed",
        "missing",
        "because",
        "chain",
        "references",
    ),
    *("queries", "author", "time"),
)


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of a stored set; with --refresh, a query of spectra is possible too. Default: all sets.",
            show_default=False,
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Recompute stale values, and nothing else.")] = False,
    missing: Annotated[
        bool, typer.Option("--missing", help="With --refresh: also compute values that are missing.")
    ] = False,
    default: Annotated[
        bool, typer.Option("--default", help="Use this set for the plain name of the operator in queries.")
    ] = False,
    follow: Annotated[
        bool | None,
        typer.Option(
            "--follow/--no-follow",
            help="Compute, or stop computing, values of spectra that are added later.",
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Remove the set from queries. Storing the same values again restores it.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Reason, recorded in the history.", show_default=False)] = "",
) -> None:
    """List the stored derived values, or refresh them.

    For each set: how many values are fresh, stale, failed or missing. A value is stale if the spectrum, its energy shift or calibration, a reference, or the version of an operator has changed since
    the value was computed. Queries exclude stale values and count them. --refresh recomputes them block by block; after an
    interruption it continues at the first block that is not finished. `barospec apply OPERATOR TEXT --store` creates a set.
    """
    opened = open_archive(archive, at)
    changes = {"preferred": default or None, "follow": follow, "status": "dropped" if drop else None}
    if missing and not refresh:
        raise CallError("--missing needs --refresh.")
    if any(value is not None for value in changes.values()):
        if name is None or refresh:
            raise CallError("--default, --follow and --drop need the name of one set: barospec derive NAME --default.")
        opened.change_derivation(name, reason=reason, **changes)  # type: ignore[arg-type]
        if drop:
            print(f"{name} is removed from queries. Storing the same values again restores it.")
            return
    elif refresh:
        known = {row["name"] for row in opened.derivations()}
        target, text = (name or "", "") if name is None or name in known or " " not in name.strip() else ("", name)
        with progress("deriving") as reported:
            reports = opened.refresh(target, text, missing=missing, progress=reported)
        print_stored(opened, reports, as_json=as_json)
        return
    _list(opened, name, as_json=as_json)


def _list(opened: Archive, name: str | None, *, as_json: bool) -> None:
    rows = opened.derivations(name or "")
    if as_json:
        head = {"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}}
        write_object(head, COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
        return
    if not rows and name is None:
        note('No values are stored. Store some: barospec apply edge_energy "Ni K" --store.')
        return
    shown = ("name", "of", "field", "fresh", "stale", "failed", "missing", "follow")
    table(shown, [[row[column] for column in shown] for row in rows])
    for row in rows:
        print(f"\n{row['name']}: {row['chain']}")
        for operator, pairs in row["references"].items():
            named = "; ".join(f"{label}: {query}" if label else query for label, query in pairs)
            print(f"  references of {operator}: {named}")
        print(f"  queries: {' or '.join(row['queries'])}")
        for why in row["because"]:
            print(f"  {why['count']} stale: {why['reason']}")


def print_stored(opened: Archive, reports: Sequence[Derived], *, as_json: bool) -> None:
    """Print how many values were computed."""
    columns = ["name", "computed", "failed", "fresh"]
    lines: list[list[Any]] = [[getattr(report, column) for column in columns] for report in reports]
    notes = list(dict.fromkeys(line for report in reports for line in report.notes))
    if as_json:
        head = {"snapshot": opened.snapshot, "count": len(lines), "missing": {}, "units": {}, "notes": notes}
        head["pending"] = opened.pending
        write_object(head, columns, lines)
        return
    for report in reports:
        failed = f", {report.failed} of them without a value" if report.failed else ""
        fresh = f", {report.fresh} fresh before" if report.fresh else ""
        print(f"{report.name}: {counted(report.computed, 'values')} stored{failed}{fresh}.")
    if not reports:
        note("No values are stored.")
    for line in notes:
        note(line)
