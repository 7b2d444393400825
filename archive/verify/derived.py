"""Verification of the keys of stored derived values; a part of `verify`.

Freshness compares an entry's keys with the present spectra and calculations. So the keys are checked here: they must name an
existing spectrum and revision, the numbers of this revision, and a calculation whose operators, parameters and references
can be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.derived.store import KEYS, count_entries, derived_group, read_derivations, read_entries
from barospec.archive.store.read import (
    array,
    count_rows,
    dims_of,
    first_dim,
    group_paths,
    read_table,
    read_words,
    spectra_group,
)

if TYPE_CHECKING:
    from barospec.archive.store.read import Group
    from barospec.archive.verify.report import Verified

BLOCK = 100_000
Hashes = Mapping[str, Mapping[int, bytes | None]]
TODO = "Compute it again under another name (barospec apply ... --store --as NAME), and drop this set."


def check_derived(root: Group, report: Verified, progress: Callable[[str, int, int], None]) -> None:
    """Check all sets of derived values of a snapshot.

    Parameters
    ----------
    root : Group
    report : Verified
        Receives the faults.
    progress : callable
        Called as ``progress(name, done, total)``.
    """
    try:
        sets = read_derivations(root)
        held = list(root["derived"].group_keys()) if "derived" in root else []  # type: ignore[union-attr]
        calculations = _calculations(root, report)
    except Exception as error:
        report.blame("/tables/derivations", f"it cannot be read: {_said(error)}")
        return
    for name in sorted(set(held) - set(sets)):
        report.blame(f"/derived/{name}", "it is not in the table of derivations")
    hashes = _hashes(root) if held else {}
    for name in sorted(set(held) & set(sets)):
        try:
            _check_set(root, name, calculations, hashes, report, progress)
        except Exception as error:
            report.blame(f"/derived/{name}", f"it cannot be read: {_said(error)}")


def _calculations(root: Group, report: Verified) -> set[tuple[str, int]]:
    known: set[tuple[str, int]] = set()
    table = read_table(root, "calculations")
    for place, values in enumerate(zip(*table.values(), strict=True)):
        row, where = dict(zip(table, values, strict=True)), f"/tables/calculations[{place}]"
        key = str(row["name"]), int(row["number"])
        if key in known:
            report.blame(where, f"{key[0]} has calculation {key[1]} twice")
        known.add(key)
        try:
            for step in json.loads(str(row["steps"])):
                int(step["version"]), str(step["operator"]), dict(step["parameters"])
            for references in json.loads(str(row["refs"]) or "{}").values():
                [(one["query"], one["sha256"], one["spectra"]) for one in references]
            json.loads(str(row["software"]))
        except (ValueError, KeyError, TypeError) as error:
            report.blame(where, f"the record of the calculation cannot be read: {_said(error)}")
    return known


def _hashes(root: Group) -> Hashes:
    """Return spectrum_id -> revision -> beginning of the fingerprint of its numbers; None if purged."""
    found: dict[str, dict[int, bytes | None]] = {}
    purged = [code for code, word in enumerate(read_words(root, "status")) if word == "purged"]
    for key in group_paths(root):
        group = spectra_group(root, key)
        for start in range(0, count_rows(group), BLOCK):
            ids, revisions, digests, status = (
                np.asarray(array(group, name)[start : start + BLOCK])
                for name in ("spectrum_id", "revision", "row_sha256", "status")
            )
            gone = np.isin(status, purged).tolist()
            for identity, revision, digest, lost in zip(ids, revisions.tolist(), digests, gone, strict=True):
                found.setdefault(str(identity), {})[revision] = None if lost else digest[:8].tobytes()
    return found


def _check_set(
    root: Group,
    name: str,
    calculations: set[tuple[str, int]],
    hashes: Hashes,
    report: Verified,
    progress: Callable[[str, int, int], None],
) -> None:
    group = derived_group(root, name)
    assert group is not None
    total = count_entries(root, name)
    for column, node in group.arrays():
        if first_dim(node) == "entry" and node.shape[0] != total:
            report.blame(f"/derived/{name}/{column}", f"it has {node.shape[0]} entries, the set {total}")
            return
    words = len(read_words(root, "energy_calibration"))
    listed = group.attrs.get("reasons")
    reasons = len(listed) if isinstance(listed, list) else 0
    for start in range(0, total, BLOCK):
        progress(f"derived/{name}", start, total)
        stored = read_entries(root, name, start, min(total, start + BLOCK))
        for place in range(len(stored["revision"])):
            entry = {key: stored[key][place] for key in KEYS}
            what = _fault(entry, calculations, hashes, name, words)
            if what:
                report.blame(f"/derived/{name}[{start + place}]", what, TODO)
        for column, values in stored.items():
            if column.endswith("_quality") and dims_of(array(group, column)) == ("entry",) and reasons:
                for place in np.flatnonzero((values < -1) | (values >= reasons)).tolist():
                    what = f"quality {values[place]} of {column} has no meaning; there are {reasons}"
                    report.blame(f"/derived/{name}[{start + place}]", what, TODO)
    report.count("derived values", total)


def _fault(
    entry: Mapping[str, Any],
    calculations: set[tuple[str, int]],
    hashes: Hashes,
    name: str,
    words: int,
) -> str:
    identity, revision = str(entry["spectrum_id"]), int(entry["revision"])
    revisions = hashes.get(identity)
    if revisions is None:
        return f"it is of {identity}, but there is no such spectrum"
    if revision not in revisions:
        return f"{identity} has no revision {revision}"
    if not entry["row_sha256"].any():  # a value that a restored state did not have, see `restore_derived`
        return ""
    if revisions[revision] not in (None, entry["row_sha256"][:8].tobytes()):
        return f"it is recorded as computed from other numbers than {identity} revision {revision} has"
    if (name, int(entry["calculation"])) not in calculations:
        return f"calculation {entry['calculation']} of {name} is not in the table of calculations"
    if not -1 <= int(entry["energy_calibration"]) < words:
        return f"energy_calibration has code {entry['energy_calibration']}, for which there is no word"
    return ""


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
