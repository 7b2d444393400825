"""Averages of repeats at one point: a new spectrum with mean, standard error and the ids of its parents.

The parents stay unchanged; queries hide them unless scans are requested.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.compute.replicates import AVERAGED, TOLERANCES, Repeat, points
from barospec.archive.operators._kernels.averaging import merge as average
from barospec.archive.sheets.conditions import conditions_sha256
from barospec.archive.store.events import event
from barospec.archive.store.known_row import Lookup
from barospec.archive.store.read import array, count_records, row_sha256, spectra_group
from barospec.archive.store.repository import Store, Transaction, microseconds
from barospec.archive.store.write import Batch, Writer
from barospec.schemas.values import counted
from barospec.schemas.vocabulary import CHANNELS, DATA_NAME, SPECTRUM_TERMS

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

VERSION = 1


@dataclass(slots=True)
class Merged:
    """One point: the new spectrum, its parents, and the median standard error of its curve relative to the curve's range."""

    spectrum_id: str
    group: str
    parents: tuple[str, ...]
    columns: dict[str, Any]
    error: float = float("nan")


@dataclass(slots=True)
class MergeReport:
    """Report of a merge."""

    merged: list[Merged] = field(default_factory=list)
    unchanged: int = 0
    single: int = 0
    notes: list[str] = field(default_factory=list)
    snapshot: str | None = None


Find = Callable[[str], Sequence[Repeat]]


def merge_repeats(
    store: Store,
    find: Find,
    known: Lookup,
    *,
    pressure: float = TOLERANCES["pressure"],
    temperature: float = TOLERANCES["temperature"],
    dry_run: bool = False,
    message: str = "",
) -> MergeReport:
    """Merge the repeats among some spectra, in one commit.

    Parameters
    ----------
    store : Store
    find : callable
        Active spectra at a snapshot, hidden parents included. Called inside the transaction.
    known : Lookup
        As `ingest` uses it.
    pressure, temperature : float
        As in `points`.
    dry_run : bool
        Report what would be merged; write nothing.
    message : str
        Commit message.

    Returns
    -------
    MergeReport
    """

    def write(work: Transaction) -> MergeReport:
        report = MergeReport()
        originals = [repeat for repeat in find(work.parent) if not repeat.columns.get("parents")]
        groups = points(originals, pressure, temperature)
        report.single = sum(len(group) == 1 for group in groups)
        fresh = []
        for group in groups:
            if len(group) > 1:
                identity = _identity(group)
                if all(repeat.columns.get("merged_into") == identity for repeat in group):
                    report.unchanged += 1
                else:
                    fresh.append((identity, group))
        batches: dict[str, Batch] = {}
        for identity, group in fresh:
            report.merged.append(_merged(work.root, identity, group, batches.setdefault(group[0].group, Batch())))
        if fresh and not dry_run:
            _replace_merged(work, fresh, batches, known)
            count = len(fresh)
            scans = sum(len(group) for _, group in fresh)
            work.message = message or f"{scans} scans merged into {counted(count, 'spectra')}"
            work.metadata = {"counts": {"merged": count}}
        return report

    report, snapshot = store.write("merge", write)
    report.snapshot = snapshot
    return report


def _replace_merged(
    work: Transaction, fresh: Sequence[tuple[str, list[Repeat]]], batches: Mapping[str, Batch], known: Lookup
) -> None:
    """Write the new means; supersede earlier means with other parents."""
    writer = Writer(work.root, work.changes)
    replaced = {str(old) for _, group in fresh for r in group if (old := r.columns.get("merged_into"))}
    for row in known(work.parent, sorted(replaced), []):
        writer.edit_spectra(row.group, [row.row], {"status": "superseded"})
    _write(writer, fresh, batches, microseconds())


def _identity(group: Sequence[Repeat]) -> str:
    """Return the identity of a mean: the same parents in the same revisions give the same spectrum."""
    parts = sorted(f"{repeat.spectrum_id}:{repeat.columns.get('revision')}" for repeat in group)
    return hashlib.sha256("\0".join(["merge", *parts]).encode()).hexdigest()[:16]


def _write(writer: Writer, fresh: Sequence[tuple[str, list[Repeat]]], batches: Mapping[str, Batch], now: int) -> None:
    headers: list[dict[str, str]] = []
    base = count_records(writer.root, "headers")
    for batch in batches.values():
        for place, columns in enumerate(batch.columns):
            header = json.dumps({"merged": columns["parents"], "merge": str(VERSION)}, sort_keys=True)
            batch.columns[place] = {**columns, "ingested": now, "header": base + len(headers)}
            headers.append({"sha256": hashlib.sha256(header.encode()).hexdigest(), "text": header})
    writer.append_table("headers", headers)
    for key, batch in sorted(batches.items()):
        writer.append_spectra(key, batch)
    for identity, group in fresh:
        writer.edit_spectra(group[0].group, [repeat.row for repeat in group], {"merged_into": identity})
    details = [(identity, {"parents": [repeat.spectrum_id for repeat in group]}) for identity, group in fresh]
    writer.append_table("events", [event("merge", identity, now, details=content) for identity, content in details])


def _merged(root: Group, identity: str, group: Sequence[Repeat], batch: Batch) -> Merged:
    """Append the mean of a point's repeats to `batch`; return it."""
    data = DATA_NAME[str(group[0].columns["technique"])]
    energy, signals = _means(spectra_group(root, group[0].group), group, data)
    columns = _terms(identity, group, energy)
    batch.energies.append(energy)
    batch.signals.append(signals)
    batch.columns.append(columns)
    batch.hashes["row_sha256"].append(row_sha256(energy, signals))
    batch.hashes["conditions_sha256"].append(conditions_sha256(columns))
    error = float("nan")
    if np.isfinite(signals["sigma"]).any() and np.ptp(curve := signals[data][np.isfinite(signals[data])]) > 0:
        error = float(np.nanmedian(signals["sigma"]) / np.ptp(curve))
    return Merged(identity, group[0].group, tuple(repeat.spectrum_id for repeat in group), columns, error)


def _means(
    stored: Group, group: Sequence[Repeat], data: str
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Return the energies of the first repeat, the mean curve, its standard error, and the means of shared channels."""
    counts = [int(repeat.columns["point_count"]) for repeat in group]
    width = max(counts)

    def rows(name: str, places: Sequence[int]) -> NDArray[np.float64]:
        block = np.full((len(group), width), np.nan)
        for line, place, count in zip(block, places, counts, strict=True):
            line[:count] = np.asarray(array(stored, name)[place, :count])
        return block

    grids = [int(np.asarray(array(stored, "grid")[repeat.row])) for repeat in group]
    energies = rows("grid_energy", grids)
    signals: dict[str, NDArray[np.float64]] = {}
    for name in (data, *(name for name in CHANNELS if name in stored and name != "sigma")):
        values = rows(name, [repeat.row for repeat in group])
        if np.isfinite(values).any(axis=1).all():
            found = average(energies, values)
            signals[name] = np.ascontiguousarray(found["mean"][: counts[0]])
            if name == data:
                signals["sigma"] = np.ascontiguousarray(found["error"][: counts[0]])
    return np.ascontiguousarray(energies[0, : counts[0]]), signals


def _terms(identity: str, group: Sequence[Repeat], energy: NDArray[np.float64]) -> dict[str, Any]:
    """Return the terms on which all parents agree; pressure and temperature are means, other differing terms unknown."""
    merged: dict[str, Any] = {}
    for term in SPECTRUM_TERMS:
        values = [repeat.columns.get(term.name) for repeat in group]
        if all(value == values[0] for value in values):
            merged[term.name] = values[0]
    for name in AVERAGED:
        numbers = [float(value) for repeat in group if (value := repeat.columns.get(name)) is not None]
        if numbers:
            merged[name] = float(f"{np.mean(numbers):.12g}")
        # The repeats share the gauge: its uncertainty does not average out.
        sigmas = [value for repeat in group if (value := repeat.columns.get(f"{name}_sigma")) is not None]
        if sigmas:
            merged[f"{name}_sigma"] = max(sigmas)
    times = [value for repeat in group if (value := repeat.columns.get("time")) is not None]
    parents = ", ".join(repeat.spectrum_id for repeat in group)
    return merged | {
        "spectrum_id": identity,
        "revision": 1,
        "status": "active",
        "title": f"mean of {len(group)} scans",
        "time": min(times) if times else None,
        "point_count": len(energy),
        "energy_min": float(energy.min()),
        "energy_max": float(energy.max()),
        "source_file": None,
        "source_scan": None,
        "source_sha256": None,
        "reader": f"merge {VERSION}",
        "parents": parents,
        "merged_into": None,
    }
