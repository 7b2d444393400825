"""From the location of an archive and a question to an answer or a selection: head, index, query, rows.

Nothing here imports zarr, icechunk, xarray or pandas unless an index must be made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from barospec.archive.store.storage.location import Location
from barospec.catalogs.index.open import opened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from barospec.catalogs.selection.selection import Selection


def select(location: Location, at: str | None, question: str | Mapping[str, Any], **conditions: Any) -> Selection:
    """Select the spectra that a question finds.

    Parameters
    ----------
    location : Location
        The archive.
    at : str, optional
        Tag, snapshot or date.
    question : str or mapping
        Query text, or predicates as a catalog keeps them.
    **conditions
        Further conditions by field, see `catalogs.answer`.
    """
    from barospec.catalogs.query.answer.answer import spectra_of

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
    """Return a selection of spectra at known rows; `query` describes them."""
    import numpy as np

    from barospec.catalogs.index.columns import columns
    from barospec.catalogs.selection.selection import Selection

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
        _find=lambda text: select(location, snapshot, text),
    )
