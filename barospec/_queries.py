"""Queries, single spectra, and operators over the results of queries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from barospec.archive.store.storage.location import Location, locate
from barospec.catalogs.index import build, database
from barospec.catalogs.index.open import opened, snapshot_of
from barospec.catalogs.selection import select
from barospec.schemas.errors import CallError, NotFound
from barospec.schemas.vocabulary import BY_NAME, SPECTRUM_TERMS

if TYPE_CHECKING:
    import xarray as xr

    from barospec.archive.store.repository import Store
    from barospec.catalogs.query.answer.answer import Answer
    from barospec.catalogs.selection.selection import Selection


PathLike = str | os.PathLike[str]


class QueryMethods:
    """One archive, at its newest snapshot or at a given one.

    Parameters
    ----------
    path : path-like
        The archive's folder, or ``s3://bucket/prefix``.
    at : str, optional
        State to read: a tag, a snapshot or a date (UTC). Without it every call reads the newest snapshot.
    """

    def __init__(self, path: PathLike, at: str | None = None) -> None:
        self.location: Location = locate(path)
        self.at = at
        # Steps that the last writing verb could not finish, with reasons: its commit is complete, and the next verb finishes them.
        self.pending: list[str] = []

    def __repr__(self) -> str:
        return f"<barospec archive {self.location.place} at {self.at or 'the newest snapshot'}>"

    @property
    def snapshot(self) -> str:
        """Return the snapshot that is read."""
        return snapshot_of(self.location, self.at)

    @property
    def _store(self) -> Store:
        from barospec.archive.store.repository import Store

        return Store(self.location)

    def _finish(self, store: Store, *snapshots: str, follow: bool = False, **how: bool) -> None:
        """Do the steps after a commit, and finish pending steps of earlier commits; see `_after_commit`."""
        from barospec._after_commit import catch_up, finish

        def due(snapshot: str) -> list[str]:
            return catch_up(store, self.location, snapshot)

        self.pending = finish(store, snapshots, due if follow else None, committed=snapshots[0], **how)

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Yield a read-only DuckDB connection to the index of this snapshot."""
        with opened(self.location, self.at) as (_, connection):
            yield connection

    # Find

    @contextmanager
    def ask(self, text: str | Mapping[str, Any] = "", **options: Any) -> Iterator[Answer]:
        """Run a query; the answer streams its rows inside the ``with`` block.

        See ``docs/query-language.md`` for the language, and `catalogs.answer.ask` for the options.
        """
        from barospec.catalogs.query.answer.answer import ask

        with self.connection() as connection:
            yield ask(connection, text, **options)

    def query(self, text: str | Mapping[str, Any] = "", **conditions: Any) -> Selection:
        """Return the spectra that a query finds as a selection.

        Parameters
        ----------
        text : str
            Such as ``"Ni K spectra above 14 GPa below 80 K"``; empty for all.
        **conditions
            Further conditions by field: ``run=["run-2", "run-3"]``, ``pressure=slice(14, None)``, ``temperature="< 80 K"``.

        Raises
        ------
        QueryError
            If the text cannot be understood; the message has the position and what would be valid.
        """
        return select.select(self.location, self.at, text, **conditions)

    def runs(self, text: str = "") -> list[dict[str, Any]]:
        """Return the runs with their spectra, samples, edges and ranges; `text` has conditions ("above 14 GPa")."""
        with self.ask(f"runs {text}".strip()) as answer:
            return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def derived_values(self, text: str = "") -> list[dict[str, Any]]:
        """Return stored derived values, one row per spectrum and quantity; `text` has conditions ("of run-2 above 14 GPa").

        Returns
        -------
        list of dict
            ``spectrum_id``, conditions, ``quantity``, ``value`` and ``value_sigma`` in ``value_unit``, ``state`` (fresh, or
            as included), ``set`` and ``chain``.
        """
        noun = "" if text.casefold().startswith("derived values") else "derived values "
        with self.ask((noun + text).strip()) as answer:
            return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    @contextmanager
    def _look(self, snapshot: str) -> Iterator[Any]:
        with database.connect(build.publish(self._store, snapshot)) as connection:
            yield connection

    def _must_be_newest(self) -> None:
        if self.at is not None:
            raise CallError("an archive opened at an earlier state is read-only. Open it without at to write.")

    def fields(self) -> list[dict[str, Any]]:
        """Return every field of queries with unit, meaning, and count, range or most frequent values in this archive."""
        from barospec.catalogs.query.answer.describe import describe_fields

        with self.connection() as connection:
            return describe_fields(connection)

    def identify(self, beginning: str) -> str:
        """Return the complete spectrum_id for its beginning.

        Raises NotFound when there is none or more than one.
        """
        wanted = beginning.strip().lower()
        with self.connection() as connection:
            found = database.values(
                connection,
                "SELECT DISTINCT spectrum_id FROM spectra WHERE starts_with(spectrum_id, ?) LIMIT 4",
                [wanted],
            )
        if not wanted or not found:
            raise NotFound(f'no spectrum_id begins with "{beginning}". `barospec query` lists them.')
        if len(found) > 1:
            raise NotFound(
                f'"{beginning}" begins several spectrum_ids: {", ".join(str(row[0]) for row in found)}. Write more characters.'
            )
        return str(found[0][0])

    def is_spectrum(self, what: str) -> bool:
        """Return True if a text is the beginning of a spectrum_id of the archive, not a query."""
        word = what.strip().lower()
        if not 4 <= len(word) <= 16 or set(word) - set("0123456789abcdef"):
            return False
        with self.connection() as connection:
            found = database.values(
                connection, "SELECT 1 FROM spectra WHERE starts_with(spectrum_id, ?) LIMIT 1", [word]
            )
        return bool(found)

    def show(self, spectrum_id: str) -> dict[str, Any]:
        """Return all metadata of a spectrum: fields, file header, revisions and events.

        Returns
        -------
        dict
            ``spectrum`` (field -> value), ``units``, ``header``, ``revisions``, ``events``, ``channels``, ``snapshot``.
        """
        from barospec.archive.store.read import array, spectra_group
        from barospec.schemas.vocabulary import CHANNELS

        identifier = self.identify(spectrum_id)
        snapshot = self.snapshot
        with self.connection() as connection:
            names = [term.name for term in SPECTRUM_TERMS]
            rows = database.dicts(
                connection,
                "SELECT * FROM spectra WHERE spectrum_id = ? ORDER BY status = 'active' DESC, revision DESC",
                [identifier],
            )
            events = database.dicts(connection, "SELECT * FROM events WHERE subject = ? ORDER BY time", [identifier])
        newest = rows[0]
        root = self._store.read(snapshot)
        group = spectra_group(root, newest["grp"])
        header = ""
        if newest["header"] is not None:
            header = str(array(root, "tables/headers/text")[int(newest["header"])])
        return {
            "snapshot": snapshot,
            "spectrum": {name: newest[name] for name in names if newest[name] is not None},
            "units": {name: BY_NAME[name].unit for name in names if BY_NAME[name].unit and newest[name] is not None},
            "header": header,
            "channels": [name for name in CHANNELS if name in group],
            "revisions": [
                {key: row[key] for key in ("revision", "status", "ingested", "source_file", "source_sha256")}
                for row in rows
            ],
            "events": events,
        }

    def curve(self, spectrum_id: str) -> tuple[Any, Any]:
        """Return energy (eV) and curve of one spectrum, each of shape (n,), without padding."""
        dataset = self._one(spectrum_id)
        data = next(name for name in ("mu", "intensity") if name in dataset)
        count = int(dataset["point_count"].item())
        return dataset["energy"].values[0, :count], dataset[data].values[0, :count]

    def _one(self, spectrum_id: str) -> xr.Dataset:
        import xarray as xr

        identifier = self.identify(spectrum_id)
        selection = self.query(f'spectrum_id = "{identifier}"', include=["bad"])
        if not len(selection):
            status = self.show(identifier)["spectrum"]["status"]
            raise NotFound(
                f"{identifier} is not active, but {status}. `barospec show {identifier}` prints when and why."
            )
        dataset = selection.to_xarray()
        assert isinstance(dataset, xr.Dataset)
        return dataset

    def apply(self, operators: str, text: str | Mapping[str, Any] = "", **parameters: Any) -> xr.Dataset | xr.DataTree:
        """Run an operator or a chain lazily over the spectra of a query. See `Selection.apply`."""
        return self.query(text).apply(operators, **parameters)
