"""Permanent deletion of spectra: numbers, conditions, names, headers and derived values, in every state of the archive.

A commit empties their rows, which keep their ids, so that no id is used again. Then the history before it is removed,
the tags that hold the spectra are deleted, and the files are removed. If killed in between, the same call completes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.derived.store import derived_group
from barospec.archive.edit.corrections import hide_parents
from barospec.archive.store.checksums import UNFINISHED
from barospec.archive.store.commits import microseconds, now_text
from barospec.archive.store.events import event
from barospec.archive.store.garbage_collection import Cleared, Progress, clear, unfinished
from barospec.archive.store.read import (
    array,
    count_records,
    count_rows,
    first_dim,
    group_at,
    group_paths,
    read_table,
    spectra_group,
)
from barospec.archive.store.repository import Store, Transaction
from barospec.archive.store.storage.files import files_of
from barospec.archive.store.table_schema import SPECTRUM_KINDS
from barospec.archive.store.write import Writer
from barospec.schemas.errors import CallError, StoreError
from barospec.schemas.values import counted
from barospec.schemas.vocabulary import BY_NAME

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

# Columns of a purged row that stay: its id and source row.
KEPT = frozenset({"spectrum_id", "revision", "status", "technique", "edge", "line"})
Rows = Mapping[str, Sequence[int]]
Find = Callable[[str], tuple[Sequence[str], Rows]]


@dataclass(slots=True)
class Purged:
    """Result of a purge, done or dry run: spectra by id, the tags that hold them, entries of the history."""

    ids: list[str] = field(default_factory=list)
    rows: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    cleared: Cleared | None = None
    snapshot: str | None = None
    dry_run: bool = False


def purge(store: Store, find: Find, *, reason: str, dry_run: bool, progress: Progress) -> Purged:
    """Delete spectra from every state of the archive.

    Parameters
    ----------
    store : Store
    find : callable
        Ids and rows (all revisions) of the spectra at a snapshot.
    reason : str
        For the events; nothing else of the spectra is kept.
    dry_run : bool
        Only report what would be deleted.
    progress : callable

    Returns
    -------
    Purged
        ``tags`` are the deleted tags and their snapshots.
    """
    if not reason.strip():
        raise CallError('a purge needs a reason. Write --reason "wrong sample, not ours".')

    def write(work: Transaction) -> Purged:
        ids, rows = find(work.parent)
        report = Purged(sorted(ids), sum(map(len, rows.values())))
        fresh = _not_empty(work.root, rows)
        if any(fresh.values()):
            _empty(work, ids, fresh)
            now = microseconds()
            events = [event("purge", name, now, reason=reason) for name in report.ids]
            Writer(work.root, work.changes).append_table("events", events)
            work.message = f"{counted(len(ids), 'spectra')} purged: {reason}"
            work.metadata = {"counts": {"purge": len(ids)}, "rebuild": True}
        return report

    if dry_run:
        ids, rows = find(store.location.head())
        report = Purged(sorted(ids), sum(map(len, rows.values())), dry_run=True)
        report.tags = _holding(store, rows)
        return report
    files = files_of(store.location)
    if unfinished(files) is None:
        ids, _ = find(store.location.head())
        files.write(UNFINISHED, json.dumps({"verb": "purge", "since": now_text(), "ids": sorted(ids)}))
    report, snapshot = store.write("purge", write)
    report.snapshot = snapshot
    _, rows = find(store.location.head())
    report.tags = _holding(store, rows)
    emptied = next(c for c in store.history() if c.metadata.get("verb") == "purge")
    for name in report.tags:
        store.untag(name)
    report.cleared = clear(store, emptied.time, "purge", False, progress)
    for commit in list(store.history()):
        if any(_not_empty(store.read(commit.snapshot), rows).values()):
            raise StoreError(
                f"snapshot {commit.snapshot} still holds purged spectra: another writer committed meanwhile. Run the same command again."
            )
    return report


def _holding(store: Store, rows: Rows) -> dict[str, str]:
    """Return tags whose snapshot has the data of some of these rows. Rows never move, so row numbers are compared."""
    found = {}
    for name, snapshot in store.location.tags().items():
        if any(_not_empty(store.read(snapshot), rows).values()):
            found[name] = snapshot
    return found


def _not_empty(root: Group, rows: Rows) -> dict[str, list[int]]:
    """Return those of the rows that exist at a snapshot and have data."""
    found = {}
    for key, places in rows.items():
        if f"spectra/{key}" not in root:
            continue
        group = spectra_group(root, key)
        present = np.array(sorted(row for row in places if row < count_rows(group)), dtype=np.int64)
        if len(present):
            points = np.asarray(array(group, "point_count").get_orthogonal_selection((present,)))
            found[key] = [int(row) for row, count in zip(present, points, strict=True) if count > 0]
    return found


def _empty(work: Transaction, ids: Iterable[str], rows: Rows) -> None:
    writer, root = Writer(work.root, work.changes), work.root
    gone = set(ids)
    _empty_records(writer, gone, rows)
    words: dict[str, set[int]] = {}
    for key, places in rows.items():
        if not places:
            continue
        hide_parents(writer, key, [(row, "purged") for row in places])
        group, chosen = spectra_group(root, key), np.array(places)
        _empty_grids(group, chosen)
        for name, node in list(group.arrays()):
            if first_dim(node) != "spectrum" or name in KEPT:
                continue
            if SPECTRUM_KINDS.get(name) == "word":
                codes = np.asarray(array(group, name).get_orthogonal_selection((chosen,)))
                words.setdefault(name, set()).update(codes.tolist())
            selection: Any = (chosen, *(slice(None) for _ in node.shape[1:]))
            empty = 0 if name in ("point_count", "grid") else node.fill_value
            array(group, name).set_orthogonal_selection(selection, empty)
        writer.edit_spectra(key, places, {"status": "purged"})
    _empty_words(root, words)
    _empty_derived(root, gone)


def _empty_grids(group: Group, chosen: Any) -> None:
    """Empty the energies that no other spectrum has; give them a fingerprint that no energies have."""
    grids = np.asarray(array(group, "grid")[:])
    others = np.ones(len(grids), dtype=bool)
    others[chosen] = False
    points = np.asarray(array(group, "point_count")[:])
    for grid in sorted(set(grids[chosen].tolist()) - set(grids[others & (points > 0)].tolist())):
        array(group, "grid_energy")[grid, :] = np.nan
        digest = hashlib.sha256(f"purged {grid}".encode()).digest()
        array(group, "grid_sha256")[grid, :] = np.frombuffer(digest, dtype=np.uint8)


def _empty_records(writer: Writer, gone: set[str], rows: Rows) -> None:
    """Empty the events of the spectra, and headers of their files that no other spectrum has."""
    root = writer.root
    subjects = read_table(root, "events", ["subject"])["subject"]
    affected = [row for row, subject in enumerate(subjects) if str(subject) in gone]
    if affected:
        writer.edit_table("events", affected, {"details": "{}", "reason": ""})
    if not count_records(root, "headers"):
        return
    mine: set[int] = set()
    others: set[int] = set()
    for key in group_paths(root):
        group = spectra_group(root, key)
        if "header" in group:
            headers = np.asarray(array(group, "header")[:])
            chosen = np.zeros(len(headers), dtype=bool)
            chosen[list(rows.get(key, ()))] = True
            mine |= set(headers[chosen].tolist())
            others |= set(headers[~chosen].tolist())
    lost = sorted(row for row in mine - others if 0 <= row < count_records(root, "headers"))
    if lost:
        writer.edit_table("headers", lost, {"text": "", "sha256": ""})


def _empty_words(root: Group, words: Mapping[str, set[int]]) -> None:
    """Empty names that only purged spectra had, such as that of a sample; the codes stay in use."""
    for name, codes in words.items():
        term = BY_NAME.get(name)
        if term is None or term.allowed:
            continue
        for key in group_paths(root):
            group = spectra_group(root, key)
            if name in group:
                codes = codes - set(np.unique(np.asarray(array(group, name)[:])).tolist())
        for code in sorted(codes - {-1}):
            array(group_at(root, "words"), name)[code] = ""


def _empty_derived(root: Group, gone: set[str]) -> None:
    for name in list(group_at(root, "derived").group_keys()) if "derived" in root else ():
        group = derived_group(root, name)
        if group is None:
            continue
        held = [str(each) in gone for each in np.asarray(array(group, "spectrum_id")[:])]
        entries = np.flatnonzero(held)
        for column, node in list(group.arrays()) if len(entries) else ():
            if first_dim(node) == "entry" and column not in ("spectrum_id", "revision", "calculation"):
                selection: Any = (entries, *(slice(None) for _ in node.shape[1:]))
                array(group, column).set_orthogonal_selection(selection, node.fill_value)
