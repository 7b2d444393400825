"""Stored values beside the spectra of a selection: labeled, with unit, state and provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from barospec.archive.store.storage.location import locate
from barospec.catalogs.index import columns, database
from barospec.catalogs.index.open import opened
from barospec.catalogs.query.resolve.archive_schema import known_from, stored_field
from barospec.catalogs.query.resolve.fields import Field
from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray


def with_derived(
    dataset: xr.Dataset,
    root: str,
    snapshot: str,
    groups: NDArray[Any],
    rows: NDArray[np.int64],
    names: Sequence[str],
    include: Sequence[str] = (),
) -> xr.Dataset:
    """Return the Dataset with stored values of its spectra, each with its uncertainty if it has one.

    Parameters
    ----------
    dataset : Dataset
        Of these spectra, with dimension ``spectrum``.
    root, snapshot : str
        The archive, and the queried snapshot.
    groups, rows : ndarray, shape (n,)
        Location of each spectrum in the store.
    names : sequence of str
        Derived fields, such as ``edge_energy`` or ``edge_energy[fraction=0.5]``.
    include : sequence of str
        ``stale``, ``uncalibrated``: values that are NaN by default.

    Returns
    -------
    Dataset
        With a variable for each name, dims ``spectrum``: fresh values, otherwise NaN. Attributes give units, operator,
        chain, the number of stale, uncalibrated and missing values, and the calculations (``provenance``, JSON).
    """
    if isinstance(names, str):
        raise CallError(f'derived is a list of names: derived=["{names}"].')
    with opened(locate(root), snapshot) as (_, connection):
        known = known_from(connection)
        wanted: dict[str, Field] = {}
        for name in names:
            found = stored_field(known, name)
            wanted[name] = found
            if found.sigma:  # named like the value
                base, bracket, rest = name.partition("[")
                wanted[f"{base}_sigma{bracket}{rest}"] = known.fields["spectra"][found.sigma]
        every = known.including(include).fields["spectra"]
        served = {name: every[field.name] for name, field in wanted.items()}
        values = columns.columns(connection, list(wanted), groups, rows, fields=served)
        attributes = {name: _about(connection, field, groups, rows) for name, field in wanted.items()}
    return dataset.assign({name: ("spectrum", values[name], attributes[name]) for name in wanted})


def _about(connection: Any, field: Field, groups: NDArray[Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    assert field.stored is not None
    counts = columns.counts_of_states(connection, field, groups, rows)
    calculations = database.dicts(
        connection,
        "SELECT number, steps, refs, query, input_snapshot, software, time::VARCHAR AS time, actor "
        "FROM calculations WHERE name = ? ORDER BY number",
        [field.stored.derivation],
    )
    for row in calculations:
        row.update({key: json.loads(row[key] or "{}") for key in ("steps", "refs", "software")})
    return {
        "long_name": field.meaning.rstrip("."),
        **({"units": field.unit} if field.unit else {}),
        "operator": field.stored.operator,
        "derivation": field.stored.derivation,
        "chain": field.stored.chain,
        **counts,
        "provenance": json.dumps(calculations, ensure_ascii=False, sort_keys=True),
    }
