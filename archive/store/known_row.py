"""A row that the archive already has, as ingest and corrections look it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Known:
    """The newest row of a spectrum that the archive holds. ``content`` and ``conditions`` are check numbers."""

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
    """What ingest asks: the rows at `snapshot` with these ids or these source keys, newest revisions only."""

    def __call__(self, snapshot: str, ids: Sequence[str], sources: Sequence[tuple[str, ...]]) -> Iterable[Known]:
        """Rows that have one of the ids, or are active and have one of the sources."""
