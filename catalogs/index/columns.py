"""Columns of an index as numpy arrays, for known rows. Imports numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.query.resolve.fields import Field, quoted
from barospec.schemas.errors import NotFound, did_you_mean


def columns(
    connection: Any,
    names: Sequence[str],
    groups: Any,
    rows: Any,
    fields: Mapping[str, Field] | None = None,
) -> dict[str, Any]:
    """Return metadata of some rows, in their order: float with NaN, or object with None, if unknown.

    Parameters
    ----------
    connection : duckdb connection
        To the index.
    names : sequence of str
        Names of fields, including stored derived values.
    groups, rows : ndarray, shape (n,)
        Location of each spectrum in the store.
    fields : mapping of str to Field, optional
        Meanings of the names, if different from those in queries.
    """
    fields = fields or known_from(connection).fields["spectra"]
    terms = {name: field for name in names if (field := fields.get(name)) is not None}
    if len(terms) < len(set(names)):
        lacking = next(name for name in names if name not in terms)
        raise NotFound(
            f'"{lacking}" is not a field.{did_you_mean(lacking, list(fields))} `barospec fields` lists them.'
        )
    connection.register("wanted", {"grp": np.asarray(groups, dtype=object), "row": rows, "place": np.arange(len(rows))})
    selected = ", ".join(_fetched(name, terms[name]) for name in names)
    found = connection.execute(
        f"SELECT {selected} FROM wanted JOIN spectra USING (grp, row) ORDER BY place"
    ).fetchnumpy()
    return {name: _filled(found[name], terms[name].kind) for name in names}


def counts_of_states(connection: Any, field: Field, groups: Any, rows: Any) -> dict[str, int]:
    """Count the rows whose derived value is stale, uncalibrated, or was never computed."""
    assert field.stored is not None
    state, other = field.stored.state, field.stored.other
    connection.register("wanted", {"grp": np.asarray(groups, dtype=object), "row": rows})
    found = connection.execute(
        f"""SELECT count(*) FILTER (WHERE {state} = 1), count(*) FILTER (WHERE {state} = 0 AND {other} IS NOT NULL),
            count(*) FILTER (WHERE {state} IS NULL) FROM wanted JOIN spectra USING (grp, row)"""
    ).fetchall()[0]
    return dict(zip(("stale", "uncalibrated", "missing"), found, strict=True))


def _fetched(name: str, field: Field) -> str:
    cast = "::DOUBLE" if field.kind in ("number", "integer") else ""
    return f"{field.sql}{cast} AS {quoted(name)}"


def _filled(values: Any, kind: str) -> Any:
    if kind in ("number", "integer"):
        return np.ma.filled(values.astype(np.float64), np.nan)
    if kind == "time":
        return np.ma.filled(values.astype("datetime64[us]"), np.datetime64("NaT", "us"))
    # Not np.ma.filled: there a fill of None means numpy's own default, which is "?" for words.
    words = np.array(np.ma.getdata(values), dtype=object)
    words[np.ma.getmaskarray(values)] = None
    return words
