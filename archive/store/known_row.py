"""Rows of the archive, as ingest and corrections look them up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ExistingRow:
    """The newest row of a spectrum of the archive. ``content`` and ``conditions`` are check numbers."""

    spectrum_id: str
    group: str
    row: int
    revision: int
    status: str
    content: int
    conditions: int
    source: tuple[str, ...]
    columns: Mapping[str, Any]


class Lookup(Protocol):
    """Lookup of the rows at `snapshot` with given ids or source keys, newest revisions only."""

    def __call__(self, snapshot: str, ids: Sequence[str], sources: Sequence[tuple[str, ...]]) -> Iterable[ExistingRow]:
        """Return rows that have one of the ids, or are active and have one of the sources."""
