"""Computation of stored derived values, block by block; each block is an atomic commit.

A killed run loses at most the current block, and the next run continues there: the work to do follows from the index, by
comparing entries with spectra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.derived.store import (
    ALIGNING,
    Derivation,
    append_entries,
    find_derivation,
    newest_series,
    place_derivation,
    read_derivations,
    write_calculation,
    write_derivation,
)
from barospec.archive.store.storage.location import Location
from barospec.archive.store.write import Writer
from barospec.catalogs.index.derived import FRESH
from barospec.catalogs.index.open import opened
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.query.resolve.fields import quoted
from barospec.schemas.errors import CallError, Conflict
from barospec.schemas.values import counted

if TYPE_CHECKING:
    import xarray as xr

    from barospec.archive.store.repository import Store, Transaction
    from barospec.catalogs.selection.selection import Selection

BLOCK = 16_384
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Derived:
    """Result of a run.

    Parameters
    ----------
    name : str
        Name of the set.
    computed, failed : int
        Spectra that got an entry; those among them without a value, for a stored reason.
    fresh : int
        Spectra that had a fresh value already.
    snapshot : str or None
        The last commit; None if there was nothing to do.
    notes : list of str
    """

    name: str
    computed: int = 0
    failed: int = 0
    fresh: int = 0
    snapshot: str | None = None
    notes: list[str] = field(default_factory=list)


def try_out(selection: Selection, wanted: Derivation) -> None:
    """Prepare one spectrum of each kind, so that errors are raised before anything is written."""
    for key in selection.counts():
        first = np.flatnonzero(selection.groups == key)[:1]
        one = replace(selection, groups=selection.groups[first], rows=selection.rows[first])
        one.apply(wanted.chain, mixed=wanted.mixed, **wanted.parameters())


def define(
    store: Store,
    wanted: Derivation,
    query: str,
    *,
    name: str = "",
    preferred: bool = False,
    follow: bool | None = None,
    reason: str = "",
) -> Derivation:
    """Return the requested set, created or extended by the query if needed, in a commit of its own."""

    def write(work: Transaction) -> Derivation:
        known = read_derivations(work.root)
        found = place_derivation(known, wanted, name)
        if found.name in newest_series(work.root):
            raise Conflict(f'"{found.name}" is the name of values of runs; `barospec derive` lists them.')
        queries = found.queries if query in found.queries else (*found.queries, query)
        changed = replace(found, queries=queries, follow=found.follow if follow is None else follow, reason=reason)
        writer = Writer(work.root, work.changes)
        if preferred and not found.preferred:
            changed = replace(changed, preferred=True)
            demote(writer, known, changed)
        before = known.get(changed.name)
        if before is not None and replace(before, reason=reason) == changed:
            return before
        made = write_derivation(writer, changed)
        work.message = f"derived values {made.name} {'changed' if before else 'defined'}: {made.chain}"[:200]
        return made

    return store.write("derive", write)[0]


def demote(writer: Any, known: Mapping[str, Derivation], chosen: Derivation) -> None:
    """Remove the preference from the other sets of an operator."""
    for other in known.values():
        if other.operator == chosen.operator and other.name != chosen.name and other.preferred:
            write_derivation(writer, replace(other, preferred=False))


def states(location: Location, snapshot: str, name: str, groups: Any, rows: Any) -> NDArray[np.float64]:
    """Return the state of a set's value for some spectra: `FRESH`, `STALE`, or NaN if there is none."""
    column = quoted(f"{name}:state")
    with opened(location, snapshot) as (_, connection):
        there = connection.execute(
            "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'spectra' AND column_name = ?", [f"{name}:state"]
        ).fetchall()[0][0]
        if not there:
            return np.full(len(rows), np.nan)
        connection.register("wanted", {"grp": groups, "row": rows, "place": np.arange(len(rows))})
        found = connection.execute(
            f"SELECT {column}::DOUBLE AS state FROM wanted JOIN spectra USING (grp, row) ORDER BY place"
        ).fetchnumpy()["state"]
    return np.asarray(np.ma.filled(found, np.nan), dtype=np.float64)


def store_values(
    store: Store,
    location: Location,
    derivation: Derivation,
    selection: Selection,
    *,
    block: int = BLOCK,
    progress: Progress | None = None,
) -> Derived:
    """Compute and store the missing and stale values of a set; fresh values are kept.

    Parameters
    ----------
    store, location
        The archive.
    derivation : Derivation
        The set, defined in the archive.
    selection : Selection
        Spectra to compute, at their snapshot.
    block : int
        Spectra per commit.
    progress : callable, optional
        Called as ``progress(name, done, total)``.
    """
    state = states(location, selection.snapshot, derivation.name, selection.groups, selection.rows)
    todo = ~(state == FRESH)
    report = Derived(derivation.name, fresh=int((~todo).sum()))
    part = replace(selection, groups=selection.groups[todo], rows=selection.rows[todo])
    done, total = 0, len(part)
    refs: dict[str, Any] = {}
    for key in part.counts():
        mine = part.groups == key
        kind = replace(part, groups=part.groups[mine], rows=part.rows[mine])
        number = None
        for start in range(0, len(kind), block):
            if progress is not None:
                progress(derivation.name, done, total)
            here = replace(kind, groups=kind.groups[start : start + block], rows=kind.rows[start : start + block])
            if key not in refs:
                refs[key] = _references(location, selection.snapshot, derivation, key)
            result = compute(here, derivation)
            number = _write(store, derivation, here, key, result, refs[key], number, report)
            done += len(here)
    if progress is not None and total:
        progress(derivation.name, total, total)
    return report


def _references(location: Location, snapshot: str, derivation: Derivation, key: str) -> dict[str, Any]:
    from barospec.catalogs.index.references import references_now

    if not derivation.refs:
        return {}
    with opened(location, snapshot) as (_, connection):
        return references_now(connection, known_from(connection), derivation.refs, key)


def compute(selection: Selection, derivation: Derivation) -> xr.Dataset:
    """Compute the outputs of the last operator for spectra of one kind, in memory."""
    import xarray as xr

    from barospec.archive.operators.registry import find_operator

    lazy = selection.apply(derivation.chain, mixed=derivation.mixed, **derivation.parameters())
    assert isinstance(lazy, xr.Dataset)  # one kind
    outputs = find_operator(derivation.operator).outputs
    curves = next(iter(outputs.values())).per_point
    names = [name for name, output in outputs.items() if curves or not output.per_point]
    if curves:
        # A curve needs its axis: as recorded with the stored shift, or as the chain replaced it.
        axis = "aligned_energy" if "aligned_energy" in lazy else "energy"
        names.append(axis)
    return lazy[names].compute()


def _write(
    store: Store,
    derivation: Derivation,
    selection: Selection,
    key: str,
    result: xr.Dataset,
    refs: Mapping[str, Any],
    number: int | None,
    report: Derived,
) -> int:
    """Commit one block; return the number of its calculation."""
    import json

    from barospec.archive.operators.operator import Output
    from barospec.archive.operators.registry import find_operator

    operator = find_operator(derivation.operator)
    keys = _keys(store, selection, key)
    outputs = {**operator.outputs}
    values = {}
    for name in map(str, result.data_vars):
        values[name] = np.asarray(result[name].values)
    for axis in ("energy", "aligned_energy"):
        if axis in values and axis not in outputs:
            values["energy"] = values.pop(axis)
            outputs["energy"] = Output("eV", "energies of the curve", per_point=True)
    provenance = json.loads(result.attrs["provenance"])
    first = next(name for name in operator.outputs if name in values)
    failed = int(np.isnan(values[first]).reshape(len(selection), -1).all(axis=1).sum())
    report.notes += [note for note in provenance["notes"] if note not in report.notes]
    about = {
        "operator": operator.name,
        "outputs": list(operator.outputs),
        "reasons": list(operator.reasons),
        "technique": operator.technique,
        "aligned": any(step["operator"] in ALIGNING for step in provenance["steps"]),
    }
    labels = [str(label) for label in result["reference"].values] if "reference" in result.coords else []

    def write(work: Transaction) -> int:
        writer = Writer(work.root, work.changes)
        mine = number
        if mine is None:
            mine = write_calculation(
                writer,
                derivation.name,
                provenance,
                grp=key,
                query=selection.query,
                input_snapshot=selection.snapshot,
                refs=json.dumps(refs, ensure_ascii=False),
            )
        entries = keys | {"calculation": np.full(len(selection), mine)}
        append_entries(writer, derivation.name, entries, values, outputs, about, labels)
        work.message = f"{counted(len(selection), 'values')} of {derivation.name} ({key})"
        work.metadata = {"counts": {"derived": len(selection), "failed": failed}, "set": derivation.name}
        return mine

    written, snapshot = store.write("derive", write)
    report.computed += len(selection)
    report.failed += failed
    report.snapshot = snapshot or report.snapshot
    return written


def _keys(store: Store, selection: Selection, key: str) -> dict[str, Any]:
    """Return the identifying keys and inputs of the entries of these spectra."""
    from barospec.archive.store.read import array, spectra_group
    from barospec.archive.store.repository import cached_reader

    found = selection.columns(["spectrum_id", "revision", "energy_shift", "energy_calibration"])
    hashes = array(spectra_group(cached_reader(selection.root, selection.snapshot), key), "row_sha256")
    low, high = int(selection.rows.min()), int(selection.rows.max()) + 1
    dense = high - low < 64 * len(selection)
    digests = np.asarray(hashes[low:high])[selection.rows - low] if dense else np.asarray(hashes.oindex[selection.rows])
    return {
        **found,
        "revision": found["revision"].astype(np.int64),
        "energy_shift": [None if np.isnan(shift) else shift for shift in found["energy_shift"]],
        "row_sha256": digests,
    }


def change(
    store: Store, name: str, *, preferred: bool | None, follow: bool | None, status: str | None, reason: str
) -> str | None:
    """Change the use of a set, in one commit; return the snapshot, None if nothing changed."""

    def write(work: Transaction) -> None:
        found = find_derivation(work.root, name)
        changed = replace(
            found,
            preferred=found.preferred if preferred is None else preferred,
            follow=found.follow if follow is None else follow,
            status=found.status if status is None else status,
        )
        if follow and any(parse(query).limit for query in found.queries):
            raise CallError(f"{name} has a query with a limit, which cannot be followed.")
        if changed == found:
            return
        writer = Writer(work.root, work.changes)
        if changed.preferred and not found.preferred:
            demote(writer, read_derivations(work.root), changed)
        made = write_derivation(writer, replace(changed, reason=reason))
        work.message = f"derived values {name}: " + ", ".join(
            text
            for text, now, before in (
                ("preferred" if made.preferred else "not preferred", made.preferred, found.preferred),
                ("follows new spectra" if made.follow else "follows no more", made.follow, found.follow),
                (made.status, made.status, found.status),
            )
            if now != before
        )

    return store.write("derive", write)[1]


def check_block(block: int) -> int:
    """Return a number of spectra per commit, or raise CallError."""
    if block < 1:
        raise CallError(f"block is {block}; expected the number of spectra per commit, 1 or more.")
    return block
