"""Verification of spectra against their fingerprints and the vocabulary; a part of `verify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.history.changed_rows import Words, decode
from barospec.archive.sheets.conditions import applies
from barospec.archive.store.fingerprints import as_written, recorded
from barospec.archive.store.read import (
    HASH_COLUMNS,
    array,
    count_records,
    count_rows,
    dims_of,
    first_dim,
    read_columns,
    read_rows,
    read_words,
    spectra_group,
)
from barospec.schemas.vocabulary import BY_NAME, DATA_NAME, SETTABLE, SPECTRUM_TERMS, STATUSES, group_key

if TYPE_CHECKING:
    from barospec.archive.store.read import Group
    from barospec.archive.verify.report import Verified

# Numbers in memory at a time, of each array.
BLOCK = 1 << 20
TODO = "It was written so, or a file was replaced: compare with a copy, or ingest its file again with --replace."


@dataclass(slots=True)
class KnownRows:
    """Data of all rows for the other checks: id (as a number) and revision -> row, and the values that events name."""

    ids: list[NDArray[np.uint64]] = field(default_factory=list)
    revisions: list[NDArray[np.int64]] = field(default_factory=list)
    active: list[NDArray[np.bool_]] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)

    def add(self, key: str, start: int, columns: Mapping[str, list[Any]]) -> None:
        """Add rows of a block."""
        self.ids.append(np.array([number_of(name) for name in columns["spectrum_id"]], dtype=np.uint64))
        self.revisions.append(np.array([value or 0 for value in columns["revision"]], dtype=np.int64))
        self.active.append(np.array([status == "active" for status in columns["status"]], dtype=bool))
        self.places.append((key, start))

    def find(self) -> dict[int, None]:
        """Return all ids."""
        return dict.fromkeys(np.unique(np.concatenate(self.ids)).tolist() if self.ids else [])


def number_of(name: str | None) -> int:
    """Return a spectrum_id as a number; 0 if it is invalid."""
    try:
        return int(name or "0", 16) if len(name or "") == 16 else 0
    except ValueError:
        return 0


def check_rows(
    root: Group, groups: Sequence[str], report: Verified, progress: Callable[[str, int, int], None]
) -> KnownRows:
    """Check all rows of all groups, a block at a time."""
    known = KnownRows()
    headers = count_records(root, "headers")

    @cache
    def words(name: str) -> list[str]:
        return read_words(root, name)

    for key in groups:
        group = spectra_group(root, key)
        try:
            rows = count_rows(group)
            _check_lengths(group, key, rows, report)
            block = max(64, BLOCK // max(1, _width(group)) // 64 * 64)
        except Exception as error:
            report.blame(f"/spectra/{key}", f"it cannot be read: {error}")
            continue
        for start in range(0, rows, block):
            progress(key, start, rows)
            _check_block(group, words, key, start, min(rows, start + block), headers, known, report)
        report.count("spectra", rows)
    _check_ids(known, report)
    return known


def _width(group: Group) -> int:
    return max((node.shape[1] for _, node in group.arrays() if dims_of(node) == ("spectrum", "point")), default=1)


def _check_lengths(group: Group, key: str, rows: int, report: Verified) -> None:
    for name, node in group.arrays():
        if first_dim(node) == "spectrum" and node.shape[0] != rows:
            report.blame(f"/spectra/{key}/{name}", f"it has {node.shape[0]} rows, the group {rows}")
    for name in (
        "spectrum_id",
        "revision",
        "status",
        "grid",
        "grid_energy",
        *HASH_COLUMNS,
        DATA_NAME[key.split("/")[0]],
    ):
        if name not in group:
            report.blame(f"/spectra/{key}/{name}", "it is missing")


def _check_block(
    group: Group, words: Words, key: str, start: int, stop: int, headers: int, known: KnownRows, report: Verified
) -> None:
    where = f"/spectra/{key}[{start}:{stop}]"
    try:
        stored = read_columns(group, start, stop)
        columns = {name: decode(words, name, stored[name]) for name in stored if name in BY_NAME}
        for name in ("spectrum_id", "revision", "status"):
            columns.setdefault(name, [None] * (stop - start))
        known.add(key, start, columns)
        _check_terms(words, key, start, stored, columns, headers, report)
        _check_numbers(group, key, start, stored, columns, report)
    except Exception as error:
        report.blame(where, f"it cannot be read: {' '.join(str(error).split())[:200]}")


def _check_terms(
    words: Words, key: str, start: int, stored: Mapping[str, Any], columns: Mapping[str, list[Any]], headers: int, report: Verified
) -> None:  # fmt: skip
    """Check codes of words, values against the vocabulary, required terms, and terms that do not apply."""

    def blame(place: int, what: str) -> None:
        report.blame(f"/spectra/{key}[{start + place}] ({columns['spectrum_id'][place]})", what, TODO)

    for term in SPECTRUM_TERMS:
        if term.name in stored and term.kind == "word":
            codes = stored[term.name]
            for coded in np.flatnonzero((codes >= len(words(term.name))) | (codes < -1)).tolist():
                blame(coded, f"{term.name} has code {codes[coded]}, for which there is no word")
        if term.allowed:
            for place, value in enumerate(columns.get(term.name, ())):
                if value is not None and value not in term.allowed:
                    blame(place, f'{term.name} is "{value}", not one of {", ".join(term.allowed)}')
        elif term.name.endswith("_sigma") or term.name == "temperature":
            for place, value in enumerate(columns.get(term.name, ())):
                if value is not None and value < 0:
                    blame(place, f"{term.name} is {value}, and cannot be negative")
    needed = [term.name for term in SETTABLE if term.need == "required"]
    bound = [term for term in SETTABLE if term.applies and term.name in columns]
    for place, status in enumerate(columns["status"]):
        if status is None or status == "purged":
            if status is None:
                blame(place, f"its status is not known; it should be one of {', '.join(STATUSES)}")
            continue
        row = {
            name: columns[name][place]
            for name in {*needed, "line", *(n for t in bound for n in t.applies)} & columns.keys()
        }
        for name in needed:
            if row.get(name) is None:
                blame(place, f"{name} is missing, and is required")
        for term in bound:
            if columns[term.name][place] is not None and not applies(term.applies, row):
                blame(place, f"{term.name} is stated, but does not apply")
        if (
            row.get("technique")
            and row.get("edge")
            and group_key(row["technique"], row["edge"], row.get("line") or "") != key
        ):
            blame(place, f"it is {row['technique']} {row['edge']} {row.get('line') or ''}, which belongs elsewhere")
        if number_of(columns["spectrum_id"][place]) == 0:
            blame(place, "its spectrum_id is not 16 hex digits")
    for lost in np.flatnonzero(stored["header"] >= headers).tolist() if "header" in stored else ():
        blame(lost, "the header of its file is missing")


def _check_numbers(
    group: Group, key: str, start: int, stored: Mapping[str, Any], columns: Mapping[str, list[Any]], report: Verified
) -> None:  # fmt: skip
    """Compare the fingerprint of each spectrum's numbers, computed again."""
    counts, grids, digests = (np.asarray(stored[name]) for name in ("point_count", "grid", "row_sha256"))
    stop = start + len(counts)
    width, axes = _width(group), array(group, "grid_energy")
    kept = np.array([status != "purged" for status in columns["status"]])
    wrong = kept & ((counts < 0) | (counts > width) | (grids < 0) | (grids >= axes.shape[0]))
    energies = read_rows(axes, np.where(wrong | ~kept, 0, grids).astype(np.int64), width)
    signals = {
        name: np.asarray(node[start:stop]) for name, node in group.arrays() if dims_of(node) == ("spectrum", "point")
    }
    own = recorded(group, np.arange(start, stop), list(signals))
    for place in np.flatnonzero(kept):
        named = f"/spectra/{key}[{start + place}] ({columns['spectrum_id'][place]})"
        if wrong[place]:
            report.blame(named, "its number of points or its energies are out of range", TODO)
            continue
        count = int(counts[place])
        energy = energies[place, :count]
        found = {name: values[place, :count] for name, values in signals.items()}
        if not as_written(energy, found, digests[place].tobytes(), {name: own[name][place] for name in found}):
            report.blame(named, "its numbers are not those that were written (sha256)")
        elif columns.get("energy_min") and not (
            columns["energy_min"][place] == energy.min() and columns["energy_max"][place] == energy.max()
        ):
            report.blame(named, "energy_min and energy_max are not those of its energies", TODO)


def _check_ids(known: KnownRows, report: Verified) -> None:
    """Check that revisions have no repeats and no gaps, and that a spectrum has at most one active row."""
    if not known.ids:
        return
    ids, revisions, active = (np.concatenate(part) for part in (known.ids, known.revisions, known.active))
    order = np.lexsort((revisions, ids))
    ids, revisions, active = ids[order], revisions[order], active[order]
    same = ids[1:] == ids[:-1]
    first = np.concatenate([[True], ~same])
    step = np.concatenate([[0], np.diff(revisions)])
    for place in np.flatnonzero(np.where(first, revisions != 1, step != 1)):
        what = "begins with" if first[place] else "is followed by" if step[place] else "has twice"
        report.blame(
            f"spectrum {int(ids[place]):016x}", f"its revisions are not 1, 2, ...: it {what} {revisions[place]}", TODO
        )
    counts = np.add.reduceat(active.astype(int), np.flatnonzero(first))
    for place in np.flatnonzero(counts > 1):
        name = int(ids[np.flatnonzero(first)[place]])
        report.blame(f"spectrum {name:016x}", f"{counts[place]} of its rows are active", TODO)
