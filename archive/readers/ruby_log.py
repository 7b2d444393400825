"""Logs of gauge readings: recognition among the tables of a folder, conversion to the vocabulary's names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from barospec.archive.readers.spreadsheet import read_table, split_header
from barospec.schemas.errors import BarospecError
from barospec.schemas.units import find_unit
from barospec.schemas.vocabulary import BY_NAME, find_term

SUFFIXES = (".csv", ".tsv", ".xlsx")
MAX_BYTES = 4 * 2**20
# Common names, casefolded and without signs, beside the vocabulary's own.
NAMES: Mapping[str, str] = {
    **dict.fromkeys(
        ("lambda", "λ", "wavelength", "ruby", "r1", "rubywavelength", "rubyline", "rubyr1"), "ruby_wavelength"
    ),
    **dict.fromkeys(("lambda0", "λ0", "reference", "r1reference"), "ruby_reference"),
    **dict.fromkeys(("date", "datetime", "timestamp", "clock", "when"), "time"),
    **dict.fromkeys(("scale", "rubyscale"), "pressure_scale"),
}


@dataclass(frozen=True, slots=True)
class RubyLog:
    """A log as a table in the vocabulary's names.

    ``axis`` is ``time`` or ``step``; ``local_times`` is True if its times have no zone.
    """

    source: str
    name: str
    text: str
    axis: str
    comment: str
    wavelengths: bool
    has_scale: bool
    has_reference: bool
    local_times: bool


def find_ruby_log(path: Path) -> RubyLog | None:
    """Read a table as a log; return None if it is something else.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    RubyLog or None
        A log has a time or a step, and a ruby wavelength or a pressure, but no file or scan: then it is a scan table.
    """
    if path.suffix.lower() not in SUFFIXES or path.stat().st_size > MAX_BYTES:
        return None
    try:
        rows = [record for _, record in read_table(path)]
    except BarospecError:
        return None
    headers = list(rows[0]) if rows else []
    names = {header: _name(header) for header in headers}
    taken = [name for name in names.values() if name]
    if (
        len(set(taken)) < len(taken)
        or not {"ruby_wavelength", "pressure"} & set(taken)
        or not {"time", "step"} & set(taken)
    ):
        return None
    if {"file", "scan"} & {split_header(header)[0].casefold() for header in headers}:
        return None
    axis = "time" if "time" in taken else "step"
    times = [row[header] for row in rows for header, name in names.items() if name == "time" and row[header].strip()]
    renamed = [f"{header} is {name}" for header, name in names.items() if name and name != split_header(header)[0]]
    left = [header for header, name in names.items() if not name and header]
    comment = (
        "; ".join([*renamed, *([f"not used: {', '.join(left)}"] if left else [])]) or "its columns have these names"
    )
    return RubyLog(
        source=path.name,
        name="run-sheet-ruby-log.csv",
        text=_text(rows, names),
        axis=axis,
        comment=comment,
        wavelengths="ruby_wavelength" in taken,
        has_scale="pressure_scale" in taken,
        has_reference="ruby_reference" in taken,
        local_times=axis == "time" and not all(_zoned(text) for text in times),
    )


def _name(header: str) -> str:
    """Return the term of a column, or "". A wavelength needs its unit in the header, or the word ruby or R1."""
    bare, unit = split_header(header)
    term = find_term(bare)
    if term is not None:
        return term.name if term.name in BY_NAME else ""
    key = re.sub(r"[\s_.,\-]+", "", bare.casefold())
    # "lambda nm" and "wavelength_nm" have the unit in the name.
    for symbol in ("nm",):
        key = key.removesuffix(symbol)
    return NAMES.get(key, "") if not unit or find_unit(unit) else ""


def _zoned(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.strip()).tzinfo is not None
    except ValueError:
        return False


def _text(rows: list[dict[str, str]], names: Mapping[str, str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    headers = [header for header in names if header]
    writer.writerow([_header(header, names[header]) for header in headers])
    for row in rows:
        writer.writerow([row.get(header, "") for header in headers])
    return out.getvalue()


def _header(header: str, name: str) -> str:
    unit = split_header(header)[1]
    if not name:
        return f"[{header.strip('[]')}]"
    return f"{name} ({unit})" if unit else name
