"""Due values of a set: stale, never computed, or of new spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.derived.store import Derivation, follows_since, read_derivations
from barospec.archive.store.storage.location import Location
from barospec.catalogs.derived.store_values import BLOCK, Derived, Progress, states, store_values
from barospec.catalogs.index import database
from barospec.catalogs.index.derived import STALE
from barospec.catalogs.index.open import opened
from barospec.catalogs.query.resolve.fields import quoted
from barospec.catalogs.selection.select import selection_of
from barospec.schemas.errors import BarospecError, QueryError

if TYPE_CHECKING:
    from barospec.archive.store.repository import Store
    from barospec.catalogs.selection.selection import Selection


def in_state(location: Location, snapshot: str, name: str, state: int | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return groups and rows of the active spectra whose value of a set is in a state."""
    test = f"{quoted(f'{name}:state')} {'IS NULL' if state is None else f'= {state:d}'}"
    with opened(location, snapshot) as (_, connection):
        found = connection.execute(
            f"SELECT grp, row FROM spectra WHERE status = 'active' AND {test} ORDER BY grp, row"
        ).fetchnumpy()
    return np.asarray(found["grp"], dtype=object), np.asarray(found["row"], dtype=np.int64)


def refresh(
    store: Store,
    location: Location,
    derivation: Derivation,
    *,
    within: Selection | None = None,
    missing: bool = False,
    block: int = BLOCK,
    progress: Progress | None = None,
) -> Derived:
    """Recompute the stale values of a set, and nothing else.

    Parameters
    ----------
    store, location, block, progress
        As for `store_values`.
    derivation : Derivation
    within : Selection, optional
        Only these spectra.
    missing : bool
        Compute spectra too that meet a query of the set and never had a value.
    """
    snapshot = location.head() if within is None else within.snapshot
    places = _due(location, snapshot, derivation, missing)
    groups = np.concatenate([groups for groups, _ in places])
    rows = np.concatenate([rows for _, rows in places])
    wanted = dict.fromkeys(zip(groups.tolist(), rows.tolist(), strict=True))
    if within is not None:
        mine = set(zip(within.groups.tolist(), within.rows.tolist(), strict=True))
        wanted = {place: None for place in wanted if place in mine}
    due = sorted(wanted)
    selection = selection_of(
        location,
        snapshot,
        [group for group, _ in due],
        [row for _, row in due],
        f"{derivation.name} is stale" if not missing else f"{derivation.name} is stale or missing",
    )
    return store_values(store, location, derivation, selection, block=block, progress=progress)


Places = tuple[NDArray[Any], NDArray[np.int64]]


def _due(location: Location, snapshot: str, derivation: Derivation, missing: bool) -> tuple[Places, Places]:
    """Return the stale spectra, and, if requested, the missing ones."""
    nothing = np.array([], dtype=object), np.array([], dtype=np.int64)
    with opened(location, snapshot) as (_, connection):
        begun = database.values(
            connection, "SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [f"derived/{derivation.name}"]
        )
    return (
        in_state(location, snapshot, derivation.name, STALE) if begun else nothing,
        lacking(location, snapshot, derivation) if missing else nothing,
    )


def _ingested_since(
    location: Location, snapshot: str, groups: NDArray[Any], rows: NDArray[np.int64], since: int
) -> list[tuple[str, int]]:
    """Return the spectra that were ingested at a time (microseconds since 1970) or later."""
    if not len(rows):
        return []
    with opened(location, snapshot) as (_, connection):
        connection.register("wanted", {"grp": groups, "row": rows})
        found = database.values(
            connection,
            "SELECT grp, row FROM wanted JOIN spectra USING (grp, row) WHERE epoch_us(ingested) >= ?",
            [since],
        )
    return [(str(group), int(row)) for group, row in found]


def lacking(location: Location, snapshot: str, derivation: Derivation) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return groups and rows of spectra that meet a query of a set, have its technique, and have no value of it."""
    from barospec.archive.operators.registry import OPERATORS
    from barospec.catalogs.query.answer.answer import spectra_of

    operator = OPERATORS.get(derivation.operator)
    found: dict[tuple[str, int], None] = {}
    for query in derivation.queries:
        try:
            with opened(location, snapshot) as (_, connection):
                places = spectra_of(connection, query)
        except QueryError:  # a value that the archive no longer has: no spectrum matches
            continue
        found.update(dict.fromkeys(zip(places.groups.tolist(), places.rows.tolist(), strict=True)))
    wanted = [place for place in found if operator is None or place[0].startswith(operator.technique)]
    groups = np.array([group for group, _ in wanted], dtype=object)
    rows = np.array([row for _, row in wanted], dtype=np.int64)
    none = np.isnan(states(location, snapshot, derivation.name, groups, rows))
    return groups[none], rows[none]


def refresh_new(store: Store, location: Location, snapshot: str) -> list[str]:
    """Compute new spectra, and spectra whose data this commit replaced, for the sets that follow; return failures.

    New spectra were ingested after the set began to follow and never computed: work that a killed program or a full disk left
    undone is done with the next commit.
    """
    root = store.read(snapshot)
    sets = [each for each in read_derivations(root).values() if each.status == "active" and each.follow]
    commit = next(store.history(snapshot, limit=1))
    spans = {
        key.removeprefix("spectra/"): span
        for key, span in commit.metadata.get("appended", {}).items()
        if key.startswith("spectra/")
    }
    failures: list[str] = []
    for each in sets:
        try:
            stale, lost = _due(location, snapshot, each, missing=True)
            places = [
                (group, row)
                for group, row in zip(stale[0].tolist(), stale[1].tolist(), strict=True)
                if group in spans and spans[group][0] <= row < spans[group][1]
            ]
            places += _ingested_since(location, snapshot, *lost, follows_since(root, each.name))
            if places:
                due = sorted(set(places))
                new = selection_of(
                    location, snapshot, [g for g, _ in due], [r for _, r in due], " or ".join(each.queries)
                )
                store_values(store, location, each, new)
        except BarospecError as error:
            failures.append(f"{each.name} was not computed for new spectra: {error}")
    return failures
