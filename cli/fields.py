"""``barospec fields``."""

from __future__ import annotations

from typing import Any

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import table, write_object

NAME = "fields"


def command(archive: ArchiveOption = None, at: AtOption = None, as_json: JsonOption = False) -> None:
    """List the fields of queries: unit, meaning, values.

    The values are those of this archive: their number, and their range or the most frequent ones.
    """
    opened = open_archive(archive, at)
    found = opened.fields()
    if as_json:
        columns = [
            "field",
            "table",
            "unit",
            "kind",
            "level",
            "meaning",
            "count",
            "total",
            "min",
            "max",
            "values",
            "allowed",
            "aliases",
        ]
        head = {"snapshot": opened.snapshot, "count": len(found), "missing": {}, "units": {}}
        write_object(head, columns, ([row[name] for name in columns] for row in found))
        return
    tables: dict[str, list[list[Any]]] = {}
    for row in found:
        here = ", ".join(row["values"][:4]) or (
            f"{_short(row['min'])} … {_short(row['max'])}" if row["min"] is not None else ""
        )
        cells = [row["field"], row["unit"], row["count"], here, row["meaning"]]
        tables.setdefault(row["table"], []).append(cells)
    for number, (name, rows) in enumerate(tables.items()):
        if number:
            print()
        table(["field", "unit", name, "here", "meaning"], rows)


def _short(text: str) -> str:
    try:
        return f"{float(text):.7g}"
    except ValueError:
        return text[:16]
