"""Restore derived values of an earlier state; a part of `restore`.

Entries are only appended, and the newest of a spectrum counts. So a copy of the entry that counted then covers a later one;
if there was none, an entry without values and without a fingerprint, which no spectrum has: it is never
fresh, and `derive --refresh` computes it again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.derived.store import (
    count_entries,
    derived_group,
    newest_series,
    read_derivations,
    write_derivation,
)
from barospec.archive.store.read import array, first_dim
from barospec.archive.store.repository import current_user, microseconds
from barospec.archive.store.write import Writer

if TYPE_CHECKING:
    from barospec.archive.store.read import Array, Group

DROPPED = "dropped"


def restore_derived(then: Group, writer: Writer, reason: str) -> dict[str, int]:
    """Restore sets and values; return the numbers of sets defined again and of values set back.

    Parameters
    ----------
    then : Group
        The arrays of the state that is restored.
    writer : Writer
        Of the transaction.
    reason : str
        For the new revisions of the sets.
    """
    was, now = read_derivations(then), read_derivations(writer.root)
    counts = {"derivations": 0, "derived values": 0}
    for name, made in now.items():
        before = was.get(name)
        wanted = replace(before or made, status=before.status if before else DROPPED)
        wanted = replace(wanted, revision=made.revision, author=made.author, reason=made.reason, time=made.time)
        if wanted != made:
            write_derivation(writer, replace(wanted, reason=reason))
            counts["derivations"] += 1
        if before is not None:
            counts["derived values"] += _cover(then, writer, name)
    counts["derivations"] += _runs_again(then, writer, reason)
    return {kind: count for kind, count in counts.items() if count}


def _runs_again(then: Group, writer: Writer, reason: str) -> int:
    """Restore sets of run values. Later fits are not covered: they are fresh for their own points only."""
    was, now = newest_series(then), newest_series(writer.root)
    records = []
    for name, present in now.items():
        old = was.get(name, {"status": DROPPED, "follow": 0})
        if any(present[part] != old[part] for part in ("status", "follow")):
            update = {
                "revision": present["revision"] + 1,
                "time": microseconds(),
                "author": current_user(),
                "reason": reason,
            }
            records.append(present | {part: old[part] for part in ("status", "follow")} | update)
    if records:
        writer.append_table("series", records)
    return len(records)


def _cover(then: Group, writer: Writer, name: str) -> int:
    """Append, for each spectrum that got a value later, the entry that counted then."""
    group = derived_group(writer.root, name)
    if group is None:
        return 0
    old, stop = count_entries(then, name), count_entries(writer.root, name)
    keys = _keys(group, 0, stop)
    newest = {key: entry for entry, key in enumerate(keys)}
    newest_then = {key: entry for entry, key in enumerate(keys[:old])}
    wanted: dict[tuple[str, int], int | None] = {}
    for key in dict.fromkeys(keys[old:]):
        source = newest_then.get(key)
        if not _same(group, newest[key], source):
            wanted[key] = source
    if not wanted:
        return 0
    sources = np.array([-1 if source is None else source for source in wanted.values()], dtype=np.int64)
    for column, node in list(group.arrays()):
        if first_dim(node) == "entry":
            _append_copies(array(group, column), stop, sources)
    ids, revisions = zip(*wanted, strict=True)
    array(group, "spectrum_id")[stop:] = np.array(ids, dtype=np.dtypes.StringDType())
    array(group, "revision")[stop:] = np.array(revisions, dtype=np.int64)
    writer.changes.append(f"derived/{name}", stop, stop + len(wanted))
    return len(wanted)


def _keys(group: Group, start: int, stop: int) -> list[tuple[str, int]]:
    ids, revisions = (np.asarray(array(group, name)[start:stop]) for name in ("spectrum_id", "revision"))
    return [(str(name), int(revision)) for name, revision in zip(ids, revisions, strict=True)]


def _same(group: Group, entry: int, other: int | None) -> bool:
    """Return True if an entry equals another: a copy, or empty like none."""
    digests = array(group, "row_sha256")
    if other is None:
        return not np.asarray(digests[entry]).any()
    return all(
        np.array_equal(np.asarray(node[entry]), np.asarray(node[other]), equal_nan=node.dtype.kind == "f")
        for _, node in group.arrays()
        if first_dim(node) == "entry"
    )


def _append_copies(node: Array[Any], start: int, sources: NDArray[np.int64]) -> None:
    """Append copies of some entries of an array; the fill value for -1."""
    there = sources >= 0
    node.resize((start + len(sources), *node.shape[1:]))
    if there.any():
        rest = (slice(None),) * (node.ndim - 1)  # zarr looks for an ellipsis by comparing, which arrays cannot be
        copies = np.asarray(node.get_orthogonal_selection((sources[there], *rest)))
        node.set_orthogonal_selection((start + np.flatnonzero(there), *rest), copies)
