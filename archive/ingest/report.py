"""Report of an ingest: counts, problems, the new snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from barospec.schemas.records import Problem


@dataclass(slots=True)
class IngestReport:
    """Report of an ingest, for people and, as ``to_dict``, for programs."""

    added: int = 0
    unchanged: int = 0
    replaced: int = 0
    conflicts: int = 0
    refused: int = 0
    skipped: int = 0
    structures: int = 0
    literature: int = 0
    models: int = 0
    calculations: int = 0
    snapshot: str | None = None
    groups: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    spectrum_ids: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if all input is in the archive now."""
        return not (self.refused or self.conflicts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        counted = (
            "added",
            "unchanged",
            "replaced",
            "conflicts",
            "refused",
            "skipped",
            "structures",
            "literature",
            "models",
            "calculations",
        )
        return {
            **{name: getattr(self, name) for name in counted},
            "snapshot": self.snapshot,
            "groups": self.groups,
            "runs": self.runs,
            "pending": self.pending,
            "problems": [
                {"severity": p.severity, "message": p.message, "file": p.file, "line": p.line, "scan": p.scan}
                for p in self.problems
            ],
        }
