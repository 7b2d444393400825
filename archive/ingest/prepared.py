"""Spectra, records and problems prepared for ingest, before the lock is taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from barospec.archive.ingest.temp_buffer import Curves, Spool
from barospec.archive.ingest.theory_outputs import Calculation
from barospec.archive.sheets.conditions import applies, conditions_sha256
from barospec.archive.sheets.records import Sheet
from barospec.archive.spins.sheets.model_record import ModelRecord
from barospec.archive.structures import structures
from barospec.schemas.records import Problem
from barospec.schemas.vocabulary import SETTABLE


@dataclass(slots=True)
class PreparedSpectrum:
    """A spectrum to ingest; its numbers are in a spool."""

    group: str
    curves: Curves
    columns: dict[str, Any]
    header: str
    content: bytes
    where: str

    @property
    def conditions(self) -> bytes:
        """Fingerprint of the terms that people may state about it."""
        return conditions_sha256(self.columns)

    @property
    def spectrum_id(self) -> str:
        """16 hex digits of sha256(file sha256, scan, signal)."""
        return str(self.columns["spectrum_id"])

    @property
    def source(self) -> tuple[str, ...]:
        """The name of the spectrum for people: experiment, run, file, scan, signal."""
        return tuple(str(self.columns.get(name) or "") for name in SOURCE)


SOURCE = ("experiment", "run", "source_file", "source_scan", "signal")


@dataclass(slots=True)
class Prepared:
    """Entries and problems of a set of paths."""

    entries: list[PreparedSpectrum] = field(default_factory=list)
    structures: list[structures.Structure] = field(default_factory=list)
    literature: list[dict[str, Any]] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    models: list[ModelRecord] = field(default_factory=list)
    calculations: list[Calculation] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refused: int = 0
    skipped: int = 0
    unfinished: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    ended: dict[Path, list[str]] = field(default_factory=dict)
    spool: Spool = field(default_factory=Spool)

    def error(self, message: str, file: object = "", line: int = 0, scan: str = "") -> None:
        """Add an error: something was refused."""
        self.problems.append(Problem("error", message, str(file), line, scan=scan))
        self.refused += 1

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Add problems, without repeats: several rows of one scan give the same ones."""
        last = self.problems[-64:]
        self.problems += [problem for problem in problems if problem not in last]

    def completeness(self) -> dict[str, tuple[int, int]]:
        """Return, for each recommended term, the number of entries that state it and to which it applies."""
        counts: dict[str, tuple[int, int]] = {}
        for term in SETTABLE:
            if term.need == "recommended":
                rows = [e.columns for e in self.entries if applies(term.applies, e.columns)]
                if rows:
                    counts[term.name] = (sum(row.get(term.name) is not None for row in rows), len(rows))
        return counts
