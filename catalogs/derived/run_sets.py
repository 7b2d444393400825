"""Storage of values of whole runs: fitted along a condition, stored with their points, refitted after changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.derived.store import ABSOLUTE, ALIGNING, Derivation, newest_series, read_derivations, software
from barospec.archive.store.read import read_table
from barospec.archive.store.repository import check_name, current_user, microseconds
from barospec.archive.store.storage.location import Location
from barospec.archive.store.write import Writer
from barospec.catalogs.derived.store_values import Derived, Progress
from barospec.catalogs.index import build, database
from barospec.catalogs.index.open import opened
from barospec.catalogs.index.references import references_now
from barospec.catalogs.index.series import KEY, METHODS, SeriesEntry, digest, judged, sets_of, titles
from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.selection.select import selection_of
from barospec.catalogs.series.along import analyze, gather
from barospec.schemas.errors import CallError, Conflict, did_you_mean
from barospec.schemas.vocabulary import BY_NAME, SPECTRUM_TERMS

if TYPE_CHECKING:
    from barospec.archive.store.repository import Store, Transaction
    from barospec.catalogs.selection.selection import Selection

RUNS = 64  # runs per commit
IDENTITY = ("chain", "refs", "mixed", "method", "against", "output", "query")


def define(
    store: Store,
    location: Location,
    wanted: Derivation,
    query: str,
    *,
    method: str,
    against: str,
    output: str | None,
    technique: str,
    name: str = "",
    follow: bool | None = None,
    reason: str = "",
) -> dict[str, Any]:
    """Return the requested set of values of runs, created in a commit of its own if new.

    Parameters
    ----------
    store, location
        The archive.
    wanted : Derivation
        Chain and references, see `canonical_chain.canonical_chain`.
    query : str
        Canonical query of the spectra.
    method, against : str
        One of `METHODS`; a field of numbers.
    output : str or None
        Name of the chain's output; its first by default.
    technique : str
        Technique of the chain.
    name : str
        Name of the set; by default from its quantity.
    follow : bool, optional
        Refit when spectra are added.
    reason : str

    Raises
    ------
    CallError
        For a method, condition or output that cannot be stored.
    Conflict
        If other values have the name.
    """
    about = _about(wanted, method, against, output)
    row = {
        "operator": wanted.operator,
        "chain": wanted.chain,
        "refs": json.dumps(wanted.refs, sort_keys=True, ensure_ascii=False),
        "mixed": int(wanted.mixed),
        "method": method,
        "against": against,
        **about,
        "technique": technique,
        "query": query,
        "status": "active",
        "reason": reason,
    }

    def write(work: Transaction) -> str:
        known = newest_series(work.root)
        same = next((one for one in known.values() if all(one[key] == row[key] for key in IDENTITY)), None)
        if same is not None and name and name != same["name"]:
            raise Conflict(f'these values are already stored as "{same["name"]}". Omit --as, or use that name.')
        taken = {*known, *read_derivations(work.root)}
        first = f"{row['output']}-{next(iter(METHODS[method][1])).name}"
        made = row | {
            "name": same["name"] if same else _free(name, first, taken),
            "follow": int(bool(same and same["follow"]) if follow is None else follow),
            "revision": 1 + (same["revision"] if same else 0),
            "author": current_user(),
            "time": microseconds(),
        }
        if same is None or any(same[key] != made[key] for key in ("follow", "status")):
            Writer(work.root, work.changes).append_table("series", [made])
            work.message = f"values of runs {made['name']}: {method} of {row['output']} along {against}"
        return str(made["name"])

    made, snapshot = store.write("derive", write)
    if snapshot:
        build.publish(store, snapshot)
    with opened(location, location.head()) as (_, connection):
        return next(one for one in sets_of(connection) if one["name"] == made)


def _about(wanted: Derivation, method: str, against: str, output: str | None) -> dict[str, Any]:
    from barospec.archive.operators.chain.execute import parse_chain
    from barospec.archive.operators.registry import find_operator

    if method not in METHODS:
        raise CallError(f'values of "{method}" cannot be stored; choose one of {", ".join(METHODS)}.')
    term = BY_NAME.get(against)
    numbers = [known.name for known in SPECTRUM_TERMS if known.kind in ("number", "integer")]
    if term is None or term.name not in numbers:
        raise CallError(f'"{against}" is not a number field for stored values.{did_you_mean(against, numbers)}')
    outputs = find_operator(wanted.operator).outputs
    scalars = [name for name, about in outputs.items() if not (about.per_point or about.per_reference or about.integer)]
    chosen = output or next(iter(scalars), "")
    if chosen not in scalars:
        raise CallError(f'{wanted.operator} has no number "{chosen}" per spectrum. It has {", ".join(scalars)}.')
    aligned = {name for name, _ in parse_chain(wanted.chain)} & ALIGNING
    return {"output": chosen, "unit": outputs[chosen].unit, "absolute": int(chosen in ABSOLUTE and not aligned)}


def _free(name: str, first: str, taken: set[str]) -> str:
    folded = {each.casefold() for each in taken}
    if name:
        check_name(name, "the name of derived values")
        if name.casefold() in folded:
            raise Conflict(f'"{name}" is the name of other derived values; `barospec derive` lists them.')
        return name
    number = 1
    while (free := first if number == 1 else f"{first}-{number}").casefold() in folded:
        number += 1
    return free


def change(store: Store, name: str, *, follow: bool | None, status: str | None, reason: str) -> str | None:
    """Change the use of a set, in one commit; return the snapshot, None if nothing changed."""

    def write(work: Transaction) -> None:
        row = newest_series(work.root)[name]
        now = row | {
            "follow": row["follow"] if follow is None else int(follow),
            "status": row["status"] if status is None else status,
        }
        if now != row:
            changes = {
                "revision": row["revision"] + 1,
                "author": current_user(),
                "time": microseconds(),
                "reason": reason,
            }
            Writer(work.root, work.changes).append_table("series", [now | changes])
            work.message = f"values of runs {name}: {now['status']}, {'follow' if now['follow'] else 'do not follow'}"

    return store.write("derive", write)[1]


def due(location: Location, snapshot: str, row: Mapping[str, Any], *, stale: bool, missing: bool) -> list[SeriesEntry]:
    """Return the runs of a set that are stale, or were never fitted, as requested."""
    with opened(location, snapshot) as (_, connection):
        entries = judged(connection, known_from(connection), row)
    wanted = [entry for entry in entries if entry.members]
    return [entry for entry in wanted if (missing if entry.stored is None else stale and entry.because)]


def store_runs(
    store: Store,
    location: Location,
    row: Mapping[str, Any],
    entries: Sequence[SeriesEntry],
    snapshot: str,
    progress: Progress | None = None,
) -> Derived:
    """Fit the given runs and store the results, a number of runs per commit."""
    report = Derived(str(row["name"]))
    for start in range(0, len(entries), RUNS):
        if progress is not None:
            progress(report.name, start, len(entries))
        block = entries[start : start + RUNS]
        records = []
        for group in dict.fromkeys(entry.key[0] for entry in block):
            records += _fitted(location, row, [entry for entry in block if entry.key[0] == group], snapshot, report)

        def write(work: Transaction, records: list[dict[str, Any]] = records) -> None:
            first = len(read_table(work.root, "series_values", ["number"])["number"])
            numbered = [record | {"number": first + place} for place, record in enumerate(records)]
            Writer(work.root, work.changes).append_table("series_values", numbered)
            work.message = f"{len(records)} runs: {row['name']}"
            work.metadata = {"counts": {"runs": len(records)}, "set": row["name"]}

        _, made = store.write("derive", write)
        report.snapshot = made or report.snapshot
    if progress is not None and entries:
        progress(report.name, len(entries), len(entries))
    return report


def _fitted(
    location: Location, row: Mapping[str, Any], entries: Sequence[SeriesEntry], snapshot: str, report: Derived
) -> list[dict[str, Any]]:
    """Return records of the runs of one kind of spectra."""
    group = str(entries[0].key[0])
    selection = active_spectra(location, snapshot, group, [str(one[0]) for entry in entries for one in entry.members])
    steps, fitted, notes = fit(selection, row, entries)
    report.notes += [note for note in notes if note not in report.notes]
    refs = {}
    if json.loads(row["refs"] or "{}"):
        with opened(location, snapshot) as (_, connection):
            refs = references_now(connection, known_from(connection), json.loads(row["refs"]), group)
    common = {
        "name": row["name"],
        "steps": json.dumps(steps, sort_keys=True, ensure_ascii=False),
        "refs": json.dumps(refs, ensure_ascii=False),
        "query": row["query"],
        "input_snapshot": snapshot,
        "software": json.dumps(software(), sort_keys=True),
        "actor": current_user(),
        "time": microseconds(),
    }
    records = []
    for entry, (outputs, points, reason) in zip(entries, fitted, strict=True):
        report.computed += 1
        report.failed += bool(reason)
        records.append(
            common
            | dict(zip(KEY, entry.key, strict=True))
            | {
                "members": json.dumps(entry.members, ensure_ascii=False),
                "members_sha256": digest(entry.members),
                "outputs": json.dumps(outputs),
                "points": points,
                "reason": reason,
            }
        )
    return records


def active_spectra(location: Location, snapshot: str, group: str, ids: Sequence[str]) -> Selection:
    """Select the active spectra with these ids, of one group."""
    with opened(location, snapshot) as (_, connection):
        rows = database.values(
            connection,
            "SELECT row FROM spectra WHERE grp = ? AND status = 'active' AND spectrum_id IN (SELECT unnest(?::VARCHAR[])) "
            "ORDER BY row",
            [group, list(ids)],
        )
    return selection_of(location, snapshot, [group] * len(rows), [row for (row,) in rows], "spectra of runs")


Fit = tuple[dict[str, float | None], int, str]


def fit(
    selection: Selection, row: Mapping[str, Any], entries: Sequence[SeriesEntry]
) -> tuple[list[dict[str, Any]], list[Fit], list[str]]:
    """Return steps; for each run its numbers, its number of points, and the reason of a missing number; and notes."""
    refs = {key: [tuple(pair) for pair in pairs] for key, pairs in json.loads(row["refs"] or "{}").items()}
    derivation = Derivation("", row["operator"], row["chain"], refs, bool(row["mixed"]), ())
    gathered = gather(
        selection,
        row["chain"],
        against=row["against"],
        value=row["output"],
        by=["spectrum_id"],
        mixed=derivation.mixed,
        **derivation.parameters(),
    )
    method = row["method"]
    steps = [*gathered.provenance["steps"]]
    steps.append({"operator": method, "version": METHODS[method][0], "parameters": {"against": row["against"]}})
    place = {identity: i for i, identity in enumerate(gathered.ids)}
    found: list[Fit] = []
    for entry in entries:
        mine = [place[str(one[0])] for one in entry.members if str(one[0]) in place]
        part = _part(gathered, mine)
        [result] = analyze(method, part) if mine else [{"reason": f"no {row['output']} with a {row['against']}"}]
        values = {number.key: _plain(result.get(number.key)) for number in titles(row).values()}
        found.append((values, len(mine), str(result.get("reason", ""))))
    return steps, found, gathered.notes


def _part(gathered: Any, mine: Sequence[int]) -> Any:
    from dataclasses import replace

    chosen = np.asarray(mine, dtype=np.int64)
    arrays = {name: getattr(gathered, name)[chosen] for name in ("x", "y", "sigma")}
    return replace(gathered, groups=["run"] * len(mine), ids=[gathered.ids[i] for i in mine], **arrays)


def _plain(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def describe(connection: Any) -> list[dict[str, Any]]:
    """Describe the sets of values of runs, as `sets.describe` does for spectra; counts are of runs."""
    known = known_from(connection)
    rows = []
    for row in sets_of(connection):
        entries = judged(connection, known, row)
        first = next(iter(titles(row).values())).key
        here = [entry for entry in entries if entry.members]
        fresh = [entry for entry in here if entry.stored is not None and not entry.because]
        stale = [entry.because for entry in here if entry.because]
        fields = [
            field.name
            for field in known.fields["spectra"].values()
            if field.stored and field.stored.derivation == row["name"]
        ]
        rows.append({
            "name": row["name"],
            "of": "runs",
            "field": next(iter(fields), None),
            "fresh": sum(entry.outputs.get(first) is not None for entry in fresh),
            "failed": sum(entry.outputs.get(first) is None for entry in fresh),
            "stale": len(stale),
            "because": [{"reason": reason, "count": stale.count(reason)} for reason in dict.fromkeys(stale)],
            "missing": sum(entry.stored is None for entry in here),
            "preferred": bool(fields) and "[" not in fields[0],
            "follow": bool(row["follow"]),
            "chain": f"{row['chain']} | {row['method']}(against={row['against']})",
            "references": json.loads(row["refs"] or "{}"),
            "queries": [row["query"]],
            "author": row["author"],
            "time": row["time"],
        })  # fmt: skip
    return rows
