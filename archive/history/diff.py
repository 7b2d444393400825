"""Differences between two snapshots: spectra, values, amounts and reasons.

Reads only the rows that the commits between touched, see `changed_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.history.changed_rows import Rows, Touched, column_names, current, read_fields, touched, within
from barospec.archive.history.restore import newest_saved, table_records
from barospec.archive.store.read import array, count_records, group_at, spectra_group
from barospec.archive.store.repository import Commit, Store
from barospec.archive.store.settings import read_settings
from barospec.schemas.vocabulary import BY_NAME, DATA_NAME

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

NAMED = (
    "spectrum_id",
    "revision",
    "status",
    "experiment",
    "run",
    "sample",
    "source_file",
    "source_scan",
    "merged_into",
)
# Fields that do not describe the spectrum itself.
UNSAID = frozenset({"revision", "status", "ingested", "merged_into", "spectrum_id"})
# Table -> the column that names a record, and the columns that are compared.
RECORDS: Mapping[str, tuple[str, str]] = {
    "structures": ("structure", "structure_id"),
    "models": ("model", "model_id"),
    "literature": ("literature value", "quantity"),
    "model_outputs": ("model output", "entry"),
}
NOT_COMPARED = frozenset(
    {"status", "revision", "ingested", "run_sheet", "source_sha256", "content_sha256", "source_file"}
)


@dataclass(slots=True)
class Change:
    """One difference.

    Parameters
    ----------
    kind : str
        ``spectrum``, ``structure``, ``model``, ``literature value``, ``saved query``, ``setting``, ...
    change : str
        ``added``, ``replaced``, ``corrected``, ``withdrawn``, ``brought back``, ``taken back``, ``purged``, ``removed``.
    name : str
        spectrum_id, structure, name of the query, ...
    changed : dict
        Field -> old and new value, and its unit.
    curve : dict
        Of a replaced spectrum: points before and after, number of changed values, the largest change and its energy.
    """

    kind: str
    change: str
    name: str
    group: str = ""
    run: str = ""
    source_file: str = ""
    source_scan: str = ""
    revision: int | None = None
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    curve: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    actor: str = ""
    time: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(slots=True)
class Difference:
    """All differences between two snapshots."""

    first: str
    second: str
    changes: list[Change] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    forward: bool = True
    looked_at: int = 0
    whole: bool = False


def compare(store: Store, first: str, second: str) -> Difference:
    """Compare the snapshot `second` with the snapshot `first`; either may be the older one.

    Parameters
    ----------
    store : Store
    first, second : str
        Snapshots.

    Returns
    -------
    Difference
        ``changes`` by kind; ``looked_at`` counts the rows that were read.
    """
    found = touched(store, first, second)
    before, after = store.read(first), store.read(second)
    difference = Difference(first, second, [], found.commits, found.forward, whole=found.whole)
    difference.looked_at = sum(map(len, found.rows.values()))
    changes = _spectra(before, after, found)
    changes += _records(before, after, found)
    changes += _named(before, after)
    changes += _derived(before, after)
    if found.forward:
        _explain(before, after, changes)
    difference.changes = changes
    return difference


@dataclass(frozen=True, slots=True)
class _Place:
    group: str
    row: int
    fields: Mapping[str, Any]


def _spectra(before: Group, after: Group, found: Touched) -> list[Change]:
    changes: list[Change] = []
    old, new = (_current(root, found.rows) for root in (before, after))
    pairs: list[tuple[_Place, _Place, Change]] = []
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name), new.get(name)
        was, now = (place.fields["status"] if place else None for place in (a, b))
        here = b or a
        if here is None or (was is None and now is None):
            continue
        change = Change("spectrum", "", name, here.group, revision=here.fields["revision"])
        change.run, change.source_file, change.source_scan = (
            str(here.fields[key] or "") for key in ("run", "source_file", "source_scan")
        )
        if a is None:
            change.change = "added"
        elif b is None:
            change.change = _gone(after, a)
        elif was != now:
            change.change = "withdrawn" if now == "withdrawn" else "brought back"
        if a is not None and b is not None:
            pairs.append((a, b, change))
        else:
            changes.append(change)
    _compare_pairs(before, after, pairs)
    changes += [change for _, _, change in pairs if change.change]
    return sorted(changes, key=lambda c: (c.group, c.change, c.run, c.source_file, _number(c.source_scan)))


def _number(scan: str) -> tuple[float, str]:
    try:
        return float(scan), scan
    except ValueError:
        return float("inf"), scan


def _current(root: Group, rows: Mapping[str, Rows]) -> dict[str, _Place]:
    """Return the current row of each touched spectrum."""
    seen: dict[str, list[_Place]] = {}
    for key in sorted(rows):
        present = within(root, key, rows[key])
        if not len(present):
            continue
        read = read_fields(root, key, present, NAMED)
        for place, values in enumerate(zip(*read.values(), strict=True)):
            fields = dict(zip(read, values, strict=True))
            seen.setdefault(fields["spectrum_id"], []).append(_Place(key, int(present[place]), fields))
    found = {}
    for name, places in seen.items():
        which = current([p.fields["status"] for p in places], [p.fields["revision"] for p in places])
        if which is not None:
            found[name] = places[which]
    return found


def _gone(after: Group, place: _Place) -> str:
    """Return the reason why a spectrum is not current any more."""
    if len(within(after, place.group, np.array([place.row]))):
        status = read_fields(after, place.group, np.array([place.row]), ["status"])["status"][0]
        return {"reverted": "taken back", "purged": "purged", "superseded": "superseded"}.get(str(status), "removed")
    return "removed"


def _compare_pairs(before: Group, after: Group, pairs: Sequence[tuple[_Place, _Place, Change]]) -> None:
    """Compare fields of spectra that both snapshots have, and curves of replaced ones."""
    by_groups: dict[tuple[str, str], list[tuple[_Place, _Place, Change]]] = {}
    for pair in pairs:
        by_groups.setdefault((pair[0].group, pair[1].group), []).append(pair)
    for (first, second), members in by_groups.items():
        names = sorted({*column_names(before, first), *column_names(after, second)} & BY_NAME.keys() - UNSAID)
        old = read_fields(before, first, np.array([a.row for a, _, _ in members]), names)
        new = read_fields(after, second, np.array([b.row for _, b, _ in members]), names)
        for place, (a, b, change) in enumerate(members):
            for name in names:
                was, now = old[name][place], new[name][place]
                if was != now:
                    change.changed[name] = {"old": was, "new": now, "unit": BY_NAME[name].unit}
            if (a.group, a.row) != (b.group, b.row):
                change.change = change.change or "replaced"
                change.curve = compare_curves(before, a.group, a.row, after, b.group, b.row)
            elif change.changed:
                change.change = change.change or "corrected"


def compare_curves(before: Group, group_a: str, row_a: int, after: Group, group_b: str, row_b: int) -> dict[str, Any]:
    """Compare the curves of two rows.

    Returns
    -------
    dict
        ``points`` of each; ``changed`` values, or None where the energies differ; ``largest`` change (new minus old, at
        the old energies, interpolated where they differ), at ``energy`` (eV); ``relative`` to the range of the old curve.
    """
    energy_a, curve_a = read_curve(before, group_a, row_a)
    energy_b, curve_b = read_curve(after, group_b, row_b)
    found: dict[str, Any] = {"points": [len(energy_a), len(energy_b)], "changed": None, "largest": None}
    same = energy_a.shape == energy_b.shape and bool((energy_a == energy_b).all())
    found["same_energies"] = same
    if same:
        differ = ~((curve_a == curve_b) | (np.isnan(curve_a) & np.isnan(curve_b)))
        found["changed"] = int(differ.sum())
        step = curve_b - curve_a
    else:
        order = np.argsort(energy_b, kind="stable")
        step = np.interp(energy_a, energy_b[order], curve_b[order], left=np.nan, right=np.nan) - curve_a
    finite = np.flatnonzero(np.isfinite(step))
    if finite.size:
        at = finite[np.argmax(np.abs(step[finite]))]
        size = float(np.ptp(curve_a[np.isfinite(curve_a)]))
        found |= {"largest": float(step[at]), "energy": float(energy_a[at])}
        found["relative"] = float(abs(step[at]) / size) if size else None
    return found


def read_curve(root: Group, key: str, row: int) -> tuple[Any, Any]:
    """Read energies (eV) and curve of one row, each of shape (n,), without padding."""
    group = spectra_group(root, key)
    count = int(np.asarray(array(group, "point_count")[row]))
    grid = int(np.asarray(array(group, "grid")[row]))
    data = DATA_NAME[key.split("/")[0]]
    return np.asarray(array(group, "grid_energy")[grid, :count]), np.asarray(array(group, data)[row, :count])


def _records(before: Group, after: Group, found: Touched) -> list[Change]:
    changes = []
    for table, (kind, key) in RECORDS.items():
        written = found.tables is None or table in found.tables
        if written:
            old, new = (_active(root, table, key) for root in (before, after))
            changes += _by_name(kind, old, new)
    return changes


def _active(root: Group, table: str, key: str) -> dict[str, dict[str, Any]]:
    """Return active records by name; a model has its parameters among its fields."""
    found: dict[str, dict[str, Any]] = {}
    numbers: dict[tuple[str, int], dict[str, Any]] = {}
    if table == "models":
        for item in table_records(root, "model_parameters"):
            name = " ".join(part for part in (item["name"], item["layer"], item["bond"]) if part)
            numbers.setdefault((item["model_id"], item["revision"]), {})[name] = _known(item["value"])
    for record in table_records(root, table):
        if record["status"] in ("active", ""):
            name = str(record[key])
            if table == "literature":
                name = " ".join(str(record[part]) for part in ("quantity", "material", "value", "value_unit", "source"))
            fields = {field: _known(value) for field, value in record.items() if field not in NOT_COMPARED}
            found[name] = {**fields, **numbers.get((name, record.get("revision", 0)), {})}
    return found


def _known(value: Any) -> Any:
    return None if value == "" or value != value else value


def _by_name(kind: str, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[Change]:
    changes = []
    for name in sorted({*old, *new}):
        if name not in old:
            changes.append(Change(kind, "added", name))
        elif name not in new:
            changes.append(Change(kind, "removed", name))
        elif old[name] != new[name]:
            fields = sorted({*old[name], *new[name]})
            changed = {
                field: {"old": old[name].get(field), "new": new[name].get(field), "unit": ""}
                for field in fields
                if old[name].get(field) != new[name].get(field)
            }
            changes.append(Change(kind, "replaced", name, changed=changed))
    return changes


def _named(before: Group, after: Group) -> list[Change]:
    """Compare saved queries and settings."""
    saved = [
        {f"@{name}": {"query": r["query"]} for name, r in newest_saved(root).items() if r["status"] == "active"}
        for root in (before, after)
    ]
    changes = _by_name("saved query", *saved)
    settings = [{name: {"value": value} for name, value in read_settings(root).items()} for root in (before, after)]
    return changes + _by_name("setting", *settings)


def _derived(before: Group, after: Group) -> list[Change]:
    """Compare sets of derived values by their number of entries."""
    sets = [{name: {"entries": count} for name, count in _entries(root).items()} for root in (before, after)]
    return _by_name("derived set", *sets)


def _entries(root: Group) -> dict[str, int]:
    if "derived" not in root:
        return {}
    return {
        str(name): max((node.shape[0] for _, node in group.arrays() if node.ndim), default=0)
        for name, group in group_at(root, "derived").groups()
    }


def _explain(before: Group, after: Group, changes: Sequence[Change]) -> None:
    """Add actor, time and reason to changes, from the events added between the snapshots."""
    events: dict[str, dict[str, Any]] = {}
    for record in table_records(after, "events", start=count_records(before, "events")):
        events[record["subject"]] = record
    for change in changes:
        latest = events.get(change.name)
        if latest is not None:
            change.reason, change.actor = latest["reason"], latest["actor"]
            change.time = datetime.fromtimestamp(latest["time"] / 1e6, UTC).replace(tzinfo=None)
