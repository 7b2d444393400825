"""``barospec show``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import plain, text_of

if TYPE_CHECKING:
    from barospec import Archive

NAME = "show"

SECTIONS = (
    (
        "what",
        (
            "title",
            "experiment",
            "run",
            "step",
            "sample",
            "material",
            "technique",
            "edge",
            "line",
            "origin",
            "time",
            "note",
        ),
    ),
    (
        "provenance",
        ("source_file", "source_scan", "source_sha256", "signal", "reader", "run_sheet", "ingested"),
    ),
)


def command(
    spectrum: Annotated[str, typer.Argument(help="A spectrum_id; a unique beginning is enough.")],
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    why: Annotated[
        str | None,
        typer.Option(
            "--why", help="Show the provenance of a stored value, such as --why edge_energy.", show_default=False
        ),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="With --why: compute the value again and compare.")
    ] = False,
    header: Annotated[bool, typer.Option("--header", help="Include the header of the raw file.")] = False,
) -> None:
    """Show all metadata of a spectrum and a small picture.

    Prints conditions, provenance, revisions and events. With --why: how a stored value was computed, down to the raw file.
    """
    import json

    opened = open_archive(archive, at)
    if why is not None:
        _why(opened, spectrum, why, recompute=recompute, as_json=as_json)
        return
    found = opened.show(spectrum)
    if as_json:
        record = {**found, "header": json.loads(found["header"] or "{}")}
        rows = [record.pop("spectrum")]
        print(json.dumps(plain({**record, "count": 1, "missing": {}, "rows": rows}), ensure_ascii=False))
        return
    fields, units = found["spectrum"], found["units"]
    print(
        f"spectrum {fields['spectrum_id']}, revision {fields['revision']}, {fields['status']}  ({fields['origin'].upper()})"
    )
    reported = {"spectrum_id", "revision", "status"}
    middle = [name for name in fields if name not in reported and not any(name in names for _, names in SECTIONS)]
    for title, names in (SECTIONS[0], ("conditions and instrument", tuple(middle)), SECTIONS[1]):
        lines = [(name, fields[name]) for name in names if name in fields]
        if lines:
            print(f"\n{title}")
            for name, value in lines:
                shown = textwrap.wrap(_with_unit(value, units.get(name, "")), 96) or [""]
                print(f"  {name:<22}" + f"\n{'':24}".join(shown))
    print(f"\n  {'channels in its group':<22}{', '.join(found['channels']) or 'none'}")
    for row in found["revisions"][1:]:
        print(f"  revision {row['revision']}: {row['status']}, ingested {text_of(row['ingested'])}")
    for event in found["events"]:
        print(f"  {event_line(event)}")
    if header:
        print("\nheader of the file")
        for key, value in json.loads(found["header"] or "{}").items():
            print(f"  {key}: {value}")
    if fields["status"] == "active":
        energy, curve = opened.curve(fields["spectrum_id"])
        print()
        print(picture(energy, curve))


def event_line(event: dict[str, Any]) -> str:
    """Return an event of a spectrum's history as text: time, action, author, reason and changes."""
    import json

    from barospec.cli.diff import fields_line
    from barospec.schemas.vocabulary import BY_NAME

    details = json.loads(event["details"] or "{}")
    changed = details.pop("changed", None)
    if isinstance(changed, dict):
        units = {name: BY_NAME[name].unit if name in BY_NAME else "" for name in changed}
        reported = fields_line({name: {**item, "unit": units[name]} for name, item in changed.items()})
    else:
        reported = str(changed or "")
        reported = reported or "; ".join(
            f"{name} {text_of(value)}" for name, value in details.items() if name != "revision"
        )
    text = "; ".join(part for part in (event["reason"] or "", reported) if part)
    return f"{event['time']:%Y-%m-%d %H:%M} UTC {event['action']} by {event['actor']}{f': {text}' if text else ''}"


def _why(opened: Archive, spectrum: str, name: str, *, recompute: bool, as_json: bool) -> None:
    import json

    from barospec.catalogs.derived.provenance import tree

    record = opened.why(spectrum, name)
    again = opened.recompute(record) if recompute else None
    if as_json:
        head = {"snapshot": record["snapshot"], "count": 1, "missing": {}, "units": {name: record["value"]["unit"]}}
        row = {key: value for key, value in record.items() if key not in ("snapshot", "units")}
        print(json.dumps(plain({**head, "rows": [row | ({"recomputed": again} if again else {})]}), ensure_ascii=False))
        return
    print("\n".join(tree(record)))
    if again is not None:
        apart = f"by {again['difference']:.2g}, relative"
        same = (
            "bit for bit identical"
            if again["same_bits"]
            else f"agrees, apart {apart}"
            if again["agrees"]
            else f"DIFFERS {apart}"
        )
        print(f"computed again: {same}" + (f" ({'; '.join(again['changed'])})" if again["changed"] else ""))


def _with_unit(value: Any, unit: str) -> str:
    shown = text_of(value, 10)
    return f"{shown} {unit}" if unit and unit != "1" else shown


def picture(energy: Any, curve: Any, width: int = 72, height: int = 14) -> str:
    """Draw a curve in Braille dots, two by four per character.

    >>> print(picture([0.0, 1.0], [0.0, 1.0], width=2, height=1))
    ⣠⠞
          0 … 1 eV, from 0 to 1
    """
    import numpy as np

    x, y = np.asarray(energy, dtype=float), np.asarray(curve, dtype=float)
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if x.size < 2:
        return "too few points for a picture"
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    columns, rows = 2 * width, 4 * height
    places = np.linspace(x[0], x[-1], columns)
    values = np.interp(places, x, y)
    low, high = float(y.min()), float(y.max())
    level = np.clip(((values - low) / ((high - low) or 1.0) * (rows - 1)).round().astype(int), 0, rows - 1)
    dots = np.zeros((rows, columns), dtype=bool)
    # Each column reaches halfway to its neighbors, so that a steep edge is a line and not a few dots.
    ends = np.concatenate([level[:1], (level[:-1] + level[1:]) // 2, level[-1:]])
    for column in range(columns):
        first, last = sorted((int(ends[column]), int(ends[column + 1])))
        first, last = min(first, int(level[column])), max(last, int(level[column]))
        dots[rows - 1 - last : rows - first, column] = True
    bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
    lines = []
    for top in range(0, rows, 4):
        line = ""
        for left in range(0, columns, 2):
            code = sum(bits[r][c] for r in range(4) for c in range(2) if dots[top + r, left + c])
            line += chr(0x2800 + code)
        lines.append(line.rstrip("\u2800"))
    lines.append(f"      {x[0]:.6g} … {x[-1]:.6g} eV, from {low:.4g} to {high:.4g}")
    return "\n".join(lines)
