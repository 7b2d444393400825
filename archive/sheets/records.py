"""Records of a run sheet: the sheet, its runs, and the rows of their scan tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from barospec.schemas.records import Problem


@dataclass(slots=True)
class Row:
    """Conditions of one scan."""

    file: str | None
    scan: str | None
    conditions: dict[str, Any]
    skip: str | None
    signal: str | None
    where: str
    line: int
    broken: bool = False


@dataclass(slots=True)
class SheetRun:
    """One run of a sheet: inherited conditions, files, and the rows of its scan table (None: all scans).

    ``log`` are gauge readings beside the scans; ``between`` is the axis along which pressures are interpolated.
    """

    conditions: dict[str, Any]
    files: tuple[Path, ...] = ()
    rows: list[Row] | None = None
    take_rest: bool = False
    format: str | None = None
    signal: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    log: list[Row] = field(default_factory=list)
    between: str | None = None
    line: int = 0
    broken: bool = False


@dataclass(slots=True)
class Sheet:
    """A run sheet as read, with its problems.

    ``understood`` maps (term, text as written) to the value as understood, for texts that are not plain numbers.
    """

    path: Path
    sha256: str
    text: str
    runs: list[SheetRun] = field(default_factory=list)
    structures: list[dict[str, Any]] = field(default_factory=list)
    literature: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    understood: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File name of the sheet."""
        return self.path.name


def is_sheet(path: Path) -> bool:
    """Return True if a path is a run sheet by its name."""
    return path.suffix.lower() in (".yaml", ".yml")


# Readings that give a pressure; one that is stated nearer to the scan replaces all inherited ones.
READINGS = ("pressure", "ruby_wavelength", "ruby_wavelength_before", "ruby_wavelength_after")


def drop_inherited(merged: dict[str, Any], stated: Iterable[str]) -> None:
    """Remove inherited terms that belong to an inherited value which `stated` terms replace."""
    fresh = set(stated)
    if fresh & {*READINGS}:
        for name in (*READINGS, "pressure_before", "pressure_after", "pressure_sigma"):
            merged.pop(name, None)
        if merged.get("pressure_method") == "ambient":  # implied by the word, not stated for the run
            del merged["pressure_method"]
    if "temperature" in fresh:
        merged.pop("temperature_sigma", None)
