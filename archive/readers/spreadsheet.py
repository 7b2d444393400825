"""Tables beside a run sheet, in CSV or xlsx: scans with their conditions, or a log of gauge readings."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from barospec.schemas.errors import InvalidData, UnreadableFile, did_you_mean
from barospec.schemas.units import find_unit


def split_header(header: str) -> tuple[str, str]:
    """Split ``pressure (GPa)`` -> ("pressure", "GPa"); a header that is only ``[comment]`` -> ("", "").

    >>> split_header("pressure [kbar]")
    ('pressure', 'kbar')
    """
    header = header.strip()
    if header.startswith("[") or not header:
        return "", ""
    match = re.fullmatch(r"(.*?)\s*[(\[]([^)\]]+)[)\]]", header)
    if match and find_unit(match[2].strip()):
        return match[1].strip(), match[2].strip()
    return header, ""


def read_table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield rows of a CSV or xlsx table as (line, {header: text}), without empty rows."""
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
        raise UnreadableFile(f"{path} is not there.{near}")
    rows = _xlsx(path) if path.suffix.lower() == ".xlsx" else _csv(path)
    header: list[str] | None = None
    for line, cells in rows:
        if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            repeated = {name for name in header if name and header.count(name) > 1}
            if repeated:
                raise InvalidData(f"{path}:{line}: column {', '.join(sorted(repeated))} is given twice.")
        elif len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise InvalidData(
                f"{path}:{line}: {len(cells)} cells under {len(header)} headers. Quote cells that hold the separator."
            )
        else:
            yield line, dict(zip(header, cells, strict=False))


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile(f"{path} is not UTF-8. Save it as UTF-8.") from None
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise InvalidData(f"{path}:{reader.line_num}: {error}. Shorten the cell, or mend its quotes.") from None


def _xlsx(path: Path) -> Iterator[tuple[int, list[str]]]:
    import openpyxl

    try:
        with path.open("rb") as file:  # openpyxl leaves a damaged file open
            book = openpyxl.load_workbook(file, read_only=False, data_only=True)
            rows = [[_cell(cell) for cell in cells] for cells in book.worksheets[0].iter_rows()]
    except Exception as error:  # a damaged file can make zip, XML and openpyxl raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(f"{path} is not a readable xlsx file ({reason}). Is it whole? Save it again.") from None
    yield from enumerate(rows, start=1)


def _cell(cell: Any) -> str:
    """Return a cell's text as the sheet shows it: 1.10 formatted 0.00 stays 1.10."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, float):
        places = re.fullmatch(r"0\.(0+)", str(cell.number_format))
        return f"{value:.{len(places[1])}f}" if places else f"{value:.15g}"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
