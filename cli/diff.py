"""``barospec diff``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import write_object
from barospec.schemas.values import counted

if TYPE_CHECKING:
    from barospec.archive.history.diff import Change, Difference

NAME = "diff"
# Changes of a kind that are listed one by one; more are counted.
SHOWN = 12


def command(
    first: Annotated[str, typer.Argument(metavar="A", help="Earlier state: a tag, a snapshot or a date.")],
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="B", help="Later state, named in the same way. Default: the newest.", show_default=False
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    every: Annotated[bool, typer.Option("--all", help="List every change.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the differences between two states of the archive.

    Lists spectra that were added, replaced, corrected or withdrawn, with old and new values, reasons and authors. Structures, models,
    literature values, saved queries, settings and stored results are compared too.
    """
    opened = open_archive(archive, at)
    found = opened.diff(first, second)
    if as_json:
        rows = [change.to_dict() for change in found.changes]
        columns = list(rows[0]) if rows else []
        head = {"snapshot": found.second, "count": len(rows), "missing": {}, "units": {}}
        commits = [{"snapshot": c.snapshot, "time": c.time, "message": c.message} for c in found.commits]
        more = {"from": found.first, "to": found.second, "summary": summary(found), "commits": commits}
        write_object({**head, **more}, columns, [list(row.values()) for row in rows])
        return
    second_name = second or at or "the newest state"
    on_the_way = f", {counted(len(found.commits), 'commits')}" if found.commits else ""
    print(f"From {first} to {second_name}{on_the_way}:")
    if not found.changes:
        print("no differences in the data or in the metadata.")
    for line in lines(found, every=every):
        print(line)


def summary(found: Difference) -> dict[str, dict[str, int]]:
    """Count the changes of each sort, by kind of record."""
    counts: dict[str, dict[str, int]] = {}
    for change in found.changes:
        of_kind = counts.setdefault(change.kind, {})
        of_kind[change.change] = of_kind.get(change.change, 0) + 1
    return counts


def lines(found: Difference, *, every: bool = False) -> Iterable[str]:
    """Yield the difference as lines of text."""
    spectra = [change for change in found.changes if change.kind == "spectrum"]
    for sort in dict.fromkeys(change.change for change in spectra):
        members = [change for change in spectra if change.change == sort]
        yield f"{counted(len(members), 'spectra')} {sort}{_of_runs(members)}"
        if sort == "added" and not every:
            continue
        shown = members if every else members[:SHOWN]
        for change in shown:
            yield f"  {spectrum_line(change)}"
        if len(members) > len(shown):
            yield f"  ... and {len(members) - len(shown)} more (--all)"
    for change in found.changes:
        if change.kind != "spectrum":
            reported = fields_line(change.changed)
            yield f"{change.kind} {change.name} {change.change}{f': {reported}' if reported else ''}{_why(change)}"


def _of_runs(members: Iterable[Change]) -> str:
    counts: dict[tuple[str, str], int] = {}
    for change in members:
        kind = change.group.replace("/", " ").replace("-", " ")
        counts[change.run, kind] = counts.get((change.run, kind), 0) + 1
    parts = [f"{count} of {run}, {kind}" for (run, kind), count in sorted(counts.items())]
    return ": " + "; ".join(parts[:8]) + ("; ..." if len(parts) > 8 else "")


def spectrum_line(change: Change) -> str:
    """Return one spectrum's change as text.

    >>> from barospec.archive.history.diff import Change
    >>> spectrum_line(Change("spectrum", "corrected", "00ab", run="run-2", source_scan="7", reason="misread", actor="ada",
    ...     changed={"pressure": {"old": 15.1, "new": 15.6, "unit": "GPa"},
    ...              "pressure_sigma": {"old": None, "new": 0.2, "unit": "GPa"}}))
    '00ab, scan 7 of run-2: pressure 15.1 -> 15.6 ± 0.2 GPa (misread; ada)'
    """
    file = change.source_file.rpartition("/")[2]
    scan = f"scan {change.source_scan} of " if change.source_scan else ""
    where = f"{scan}{change.run}{f' ({file})' if file else ''}"
    reported = [part for part in (curve_line(change), fields_line(change.changed)) if part]
    return f"{change.name}, {where}{': ' if reported else ''}{'; '.join(reported)}{_why(change)}"


def curve_line(change: Change) -> str:
    """Return the change of a replaced spectrum's curve as text."""
    curve = change.curve
    if not curve:
        return ""
    before, after = curve["points"]
    if curve["changed"] == 0:
        return f"the same {before} points"
    what = f"{curve['changed']} of {before} values" if curve["same_energies"] else f"{before} -> {after} points"
    if curve["largest"] is None:
        return f"{what} changed; no energy in common" if not curve["same_energies"] else f"{what} changed"
    share = f" ({curve['relative']:.2g} of its range)" if curve.get("relative") is not None else ""
    return f"{what} changed, at most by {curve['largest']:+.4g} at {curve['energy']:.2f} eV{share}"


def fields_line(changed: Mapping[str, Mapping[str, Any]]) -> str:
    """Return old and new values with unit and uncertainty as text."""
    from barospec.schemas.vocabulary import BY_NAME

    parts = []
    reported = set()
    for name, item in changed.items():
        term = BY_NAME.get(name)
        sigma = changed.get(term.sigma) if term and term.sigma else None
        if sigma is not None and term is not None:
            reported.add(term.sigma)
        old, new = (_value(item[end], None if sigma is None else sigma[end]) for end in ("old", "new"))
        unit = f" {item['unit']}" if item["unit"] not in ("", "1") and item["new"] is not None else ""
        parts.append((name, f"{name} {old} -> {new}{unit}"))
    shown = [text for name, text in parts if name not in reported]
    return "; ".join(shown[:8]) + (f"; and {len(shown) - 8} more fields" if len(shown) > 8 else "")


def _value(value: Any, sigma: Any) -> str:
    if value is None or value == "":
        return "not known"
    shown = f"{value:.10g}" if isinstance(value, float) else str(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return shown + (f" ± {sigma:.3g}" if sigma is not None else "")


def _why(change: Change) -> str:
    reported = "; ".join(part for part in (change.reason, change.actor) if part)
    return f" ({reported})" if reported else ""
