"""Relation of two snapshots, and the rows touched between them; work in proportion to the changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.store.read import array, count_rows, first_dim, group_paths, read_words, spectra_group
from barospec.archive.store.repository import Commit, Store
from barospec.archive.store.table_schema import SPECTRUM_KINDS, STORED

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

Rows = NDArray[np.int64]
Words = Callable[[str], list[str]]  # from a column to its vocabulary


@dataclass(slots=True)
class Touched:
    """Possible differences between two snapshots.

    Attributes
    ----------
    commits : list of Commit
        Commits between them, newest first; empty if the snapshots are not on one line.
    forward : bool
        True if the second is a descendant of the first.
    rows : dict
        Group of spectra -> rows that were appended or edited, ascending.
    tables : set of str or None
        Small tables that were written; None if unknown.
    whole : bool
        True if the history does not record the changes; everything was compared.
    """

    commits: list[Commit] = field(default_factory=list)
    forward: bool = False
    rows: dict[str, Rows] = field(default_factory=dict)
    tables: set[str] | None = None
    whole: bool = False


def touched(store: Store, first: str, second: str) -> Touched:
    """Return possible differences between two snapshots, from the commits between them; everything if they do not record it."""
    back = {commit.snapshot: commit for commit in store.history(second)}
    commits = _until(back, second, first)
    forward = commits is not None
    if commits is None:
        other = {commit.snapshot: commit for commit in store.history(first)}
        commits = _until(other, first, second)
    found = Touched(commits or [], forward)
    if commits is None or any(not _tells(commit) for commit in commits):
        roots = [store.read(first), store.read(second)]
        found.whole = True
        for key in {key for root in roots for key in group_paths(root)}:
            found.rows[key] = np.arange(max(_rows(root, key) for root in roots))
        return found
    found.tables = set()
    parts: dict[str, list[Rows]] = {}
    for commit in commits:
        found.tables |= set(commit.metadata.get("tables", ()))
        for group, (start, stop) in commit.metadata["appended"].items():
            if not group.startswith("spectra/"):  # entries of derived values
                continue
            parts.setdefault(group.removeprefix("spectra/"), []).append(np.arange(int(start), int(stop)))
        for group, rows in commit.metadata["edited"].items():
            parts.setdefault(group.removeprefix("spectra/"), []).append(np.asarray(rows, dtype=np.int64))
    found.rows = {key: np.unique(np.concatenate(arrays)) for key, arrays in parts.items()}
    return found


def _until(commits: Mapping[str, Commit], start: str, end: str) -> list[Commit] | None:
    """Return the commits from `start` back to `end`, `end` excluded; None if `end` is not an ancestor."""
    if end not in commits:
        return None
    found: list[Commit] = []
    snapshot: str | None = start
    while snapshot != end:
        if snapshot is None or snapshot not in commits:
            return None
        found.append(commits[snapshot])
        snapshot = commits[snapshot].parent
    return found


def _tells(commit: Commit) -> bool:
    """Return True if a commit records its changes and still follows its parent (`gc` shortens histories)."""
    return "appended" in commit.metadata and commit.metadata.get("parent", commit.parent) == commit.parent


def _rows(root: Group, key: str) -> int:
    return count_rows(spectra_group(root, key)) if f"spectra/{key}" in root else 0


def read_fields(root: Group, key: str, rows: Rows, names: Iterable[str]) -> dict[str, list[Any]]:
    """Read fields of some rows of a group, decoded; None where unknown. Rows beyond the end are not allowed."""
    group = spectra_group(root, key)
    found: dict[str, list[Any]] = {}
    for name in names:
        if name not in group or not len(rows):
            found[name] = [None] * len(rows)
            continue
        stored = np.asarray(array(group, name).get_orthogonal_selection((rows,)))
        found[name] = decode(partial(read_words, root), name, stored)
    return found


def decode(words_of: Words, name: str, stored: NDArray[Any]) -> list[Any]:
    """Decode a column of spectra: words for codes, None where unknown."""
    kind = SPECTRUM_KINDS[name]
    if kind == "word":
        words = words_of(name)
        return [words[code] if 0 <= code < len(words) else None for code in stored.tolist()]
    if kind == "number":
        return [None if value != value else value for value in stored.tolist()]
    if kind == "text":
        return [str(value) or None for value in stored]
    missing = STORED[kind][1]
    return [None if value == missing else value for value in stored.tolist()]


def column_names(root: Group, key: str) -> list[str]:
    """Return the names of the 1-D columns of a group that hold terms."""
    if f"spectra/{key}" not in root:
        return []
    group = spectra_group(root, key)
    return [
        name
        for name, node in group.arrays()
        if name in SPECTRUM_KINDS and node.ndim == 1 and first_dim(node) == "spectrum"
    ]


def within(root: Group, key: str, rows: Rows) -> Rows:
    """Return those of `rows` that exist at a snapshot."""
    return rows[rows < _rows(root, key)]


def current(statuses: Sequence[str | None], revisions: Sequence[int]) -> int | None:
    """Return the current row of one spectrum: the active one, else the newest withdrawn one; None without any."""
    best = None
    for place, status in enumerate(statuses):
        rank = {"active": 2, "withdrawn": 1}.get(status or "", 0)
        if rank and (best is None or (rank, revisions[place]) > best[0]):
            best = ((rank, revisions[place]), place)
    return None if best is None else best[1]
