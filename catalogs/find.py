"""From an archive's place and a question to an answer or a selection: head, index, query, rows.

Nothing here imports zarr, icechunk, xarray or pandas unless an index has to be made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barospec.archive.head import Location
from barospec.catalogs import index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from barospec.catalogs.selection import Selection


def snapshot_of(location: Location, at: str | None) -> str:
    """The snapshot meant by a tag, an id, a date, or None (the head)."""
    found = location.snapshot(at)
    if found is None:
        from barospec.archive.store import Store

        found = Store(location).resolve(at)
    return found


def index_of(location: Location, snapshot: str) -> Path:
    """The index of a snapshot, made if it is not there."""
    path = index.index_path(location, snapshot)
    if not path.exists():
        from barospec.archive.store import Store

        path = index.publish(Store(location), snapshot)
    return path


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
    import numpy as np

    from barospec.catalogs.answer import spectra_of
    from barospec.catalogs.selection import Selection

    snapshot = snapshot_of(location, at)
    path = index_of(location, snapshot)
    with index.connect(path) as connection:
        found = spectra_of(connection, question, **conditions)

    def fetch(names: Sequence[str], groups: NDArray[Any], rows: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        return index.columns(path if path.exists() else index_of(location, snapshot), names, groups, rows)

    return Selection(
        root=str(location.root),
        snapshot=snapshot,
        query=found.canonical,
        predicates=found.predicates,
        groups=np.asarray(found.groups, dtype=object),
        rows=np.asarray(found.rows, dtype=np.int64),
        _fetch=fetch,
    )
