"""Output: tables, JSON and CSV on stdout; notes and progress on stderr."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TextIO

Row = Sequence[Any]


def note(text: str) -> None:
    """Print a message on stderr."""
    print(text, file=sys.stderr)


def plain(value: Any) -> Any:
    """Return a value for JSON: None for unknown and NaN, ISO text for times."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat() + ("Z" if value.tzinfo is None else "")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return plain(value.item()) if hasattr(value, "item") else str(value)


def write_object(
    head: Mapping[str, Any], columns: Sequence[str], rows: Iterable[Row], out: TextIO | None = None
) -> None:
    """Write one JSON object with `head` and then ``rows``, streamed so that large results need little memory."""
    out = out or sys.stdout
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "), allow_nan=False)
    start = encoder.encode(plain(head))
    out.write(start[:-1] + (", " if len(head) else "") + '"rows": [')
    separator = "\n"
    for row in rows:
        record = {name: plain(value) for name, value in zip(columns, row, strict=True)}
        out.write(separator + encoder.encode(record))
        separator = ",\n"
    out.write("\n]}\n")


def write_csv(columns: Sequence[str], units: Mapping[str, str], rows: Iterable[Row], out: TextIO | None = None) -> None:
    """Write CSV with plain field names in the first line; print units on stderr, so that parsers read the CSV."""
    writer = csv.writer(out or sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if (value := plain(cell)) is None else value for cell in row])
    shown = ", ".join(f"{name} {unit}" for name, unit in units.items() if name in columns and unit not in ("", "1"))
    if shown:
        note(f"units: {shown}")


def text_of(value: Any, digits: int = 7) -> str:
    """Return a value as short text for a table; a dash for unknown."""
    value = plain(value)
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text_of(item, digits) for item in value)
    return str(value)


WIDEST = 60


def shortened(text: str) -> str:
    """Return the text of a cell, cut to `WIDEST` characters; --csv and --json print all of it."""
    return text if len(text) <= WIDEST else text[: WIDEST - 1].rstrip() + "…"


def heading(name: str, units: Mapping[str, str]) -> str:
    """Return the name of a column with its unit."""
    unit = units.get(name, "")
    return f"{name} ({unit})" if unit and unit != "1" else name


def table(
    columns: Sequence[str], rows: Iterable[Row], *, units: Mapping[str, str] | None = None, title: str = ""
) -> None:
    """Print a table: drawn by rich on a terminal, aligned columns otherwise."""
    units = units or {}
    # An uncertainty has two significant digits.
    digits = [2 if "_sigma" in name else 7 for name in columns]
    cells = [[shortened(text_of(cell, count)) for cell, count in zip(row, digits, strict=True)] for row in rows]
    heads = [heading(name, units) for name in columns]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(heads))]
    if sys.stdout.isatty():
        _rich_table(heads, cells, numeric, title)
        return
    widths = [max([len(head), *(len(row[i]) for row in cells)]) for i, head in enumerate(heads)]
    lines = [heads, *cells]
    if title:
        print(title)
    for line in lines:
        aligned = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(line, widths, numeric, strict=True)]
        print("  ".join(aligned).rstrip())


def _is_number(text: str) -> bool:
    if text == "–":
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rich_table(heads: Sequence[str], cells: Iterable[Sequence[str]], numeric: Sequence[bool], title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for head, right in zip(heads, numeric, strict=True):
        drawn.add_column(head, justify="right" if right else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*row)
    Console().print(drawn)


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """Show progress on stderr: a bar on a terminal, a line every five seconds otherwise. Yield ``advance(name, done, total)``."""
    if sys.stderr.isatty() and not os.environ.get("CI"):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)

            def advance(name: str, done: int, total: int) -> None:
                bar.update(task, description=f"{what} {name}"[:60], completed=done, total=total)

            yield advance
        return
    reported = time.monotonic()

    def tell_lines(name: str, done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= 5.0:
            reported = time.monotonic()
            note(f"{what}: {done} of {total} ({name})")

    yield tell_lines
