"""From an archive's place and a question to an answer or a selection: head, index, query, rows.

Nothing here imports zarr, icechunk, xarray or pandas unless an index has to be made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from barospec.archive.head import Location
from barospec.catalogs import index
from barospec.schemas.errors import NotFound, StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from barospec.catalogs.selection import Selection

RETRIES = 5


def snapshot_of(location: Location, at: str | None) -> str:
    """The snapshot meant by a tag, an id, a date, or None (the head)."""
    found = location.snapshot(at)
    if found is None:
        from barospec.archive.store import Store

        found = Store(location).resolve(at)
    return found


@contextmanager
def opened(location: Location, at: str | None) -> Iterator[tuple[str, Any]]:
    """Yield a snapshot and a read-only connection to its index, which is made if there is none that can be used.

    A writer may remove the index of an older snapshot between our look and our opening it; then we look again.
    """
    for _ in range(RETRIES):
        snapshot = snapshot_of(location, at)
        found = index.reader(location, snapshot)
        if found is None:
            from barospec.archive.store import Store

            try:
                index.publish(Store(location), snapshot)
            except (NotFound, StoreError):
                # `gc` may have removed it since we looked, for a commit came after it.
                if at is not None or location.head() == snapshot:
                    raise
                continue
            found = index.reader(location, snapshot)
        if found is not None:
            path, connection = found
            with index.blamed(path), connection:
                yield snapshot, connection
            return
    raise StoreError(f"the index of {location.place} disappears again and again; is something else cleaning up there?")


def select(location: Location, at: str | None, question: str | Mapping[str, Any], **conditions: Any) -> Selection:
    """The spectra that a question finds, as a selection.

    Parameters
    ----------
    location : Location
        The archive.
    at : str, optional
        Tag, snapshot or date.
    question : str or mapping
        A query text, or the predicates of one as a catalog keeps them.
    **conditions
        Further conditions by field, see `catalogs.answer`.
    """
    from barospec.catalogs.answer import spectra_of

    with opened(location, at) as (snapshot, connection):
        found = spectra_of(connection, question, **conditions)

    return selection_of(location, snapshot, found.groups, found.rows, found.canonical, found.predicates)


def selection_of(
    location: Location,
    snapshot: str,
    groups: Any,
    rows: Any,
    query: str,
    predicates: Mapping[str, Any] | None = None,
) -> Selection:
    """Spectra that are known by their places, as a selection; `query` says what they are."""
    import numpy as np

    from barospec.catalogs.index_columns import columns
    from barospec.catalogs.selection import Selection

    def fetch(names: Sequence[str], groups: NDArray[Any], rows: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        with opened(location, snapshot) as (_, again):
            return columns(again, names, groups, rows)

    return Selection(
        root=location.place,
        uuid=location.uuid,
        snapshot=snapshot,
        query=query,
        predicates=predicates or {},
        groups=np.asarray(groups, dtype=object),
        rows=np.asarray(rows, dtype=np.int64),
        _fetch=fetch,
    )
