"""`Archive`: one class whose methods are the verbs of the command line.

Only the modules of this folder join layers: ingest, then publish the index; query, then apply. Heavy imports are inside
methods, so that a query loads only what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barospec._annotations import AnnotationMethods
from barospec._bundles import BundleMethods
from barospec._history import HistoryMethods
from barospec._ingest import IngestMethods, prepare
from barospec._maintenance import MaintenanceMethods
from barospec._models import ModelMethods
from barospec._queries import PathLike
from barospec.archive.store.storage.location import is_remote
from barospec.catalogs.index import database

if TYPE_CHECKING:
    from barospec.catalogs.selection.saved_queries import SavedQuery


__all__ = ["Archive", "open", "prepare"]


class Archive(ModelMethods, IngestMethods, AnnotationMethods, HistoryMethods, MaintenanceMethods, BundleMethods):
    """An archive with all its methods.

    Parameters
    ----------
    path : path-like
        The archive's folder, or ``s3://bucket/prefix``.
    at : str, optional
        State to read: a tag, a snapshot or a date (UTC). Without it every call reads the newest snapshot.
    """

    @classmethod
    def create(cls, path: PathLike, *, title: str = "") -> Archive:
        """Create an empty archive at `path`, a folder that is absent or empty, or ``s3://bucket/prefix``."""
        from barospec.archive.store.repository import Store

        store = Store.create(path, title=title)
        made = cls(path)
        made._finish(store, store.location.head())
        return made

    def save(
        self,
        name: str,
        text: str | Mapping[str, Any],
        *,
        reason: str = "",
        replace: bool = False,
        **conditions: Any,
    ) -> SavedQuery:
        """Save a query under a name, in one commit; other queries refer to it as ``@name``.

        Parameters
        ----------
        name : str
            Letters, digits, ``_`` and ``-``.
        text : str
            The query; `conditions` are added to it as in `query`.
        reason : str
            Recorded in the history.
        replace : bool
            Replace the query of an existing name.
        """
        from barospec.catalogs.selection.saved_queries import save

        self._must_be_newest()
        store = self._store
        record, snapshot = save(store, self._look, name, text, reason=reason, replacing=replace, **conditions)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return record

    def unsave(self, name: str, *, reason: str = "") -> SavedQuery:
        """Remove a saved query, in one commit; earlier snapshots keep it."""
        from barospec.catalogs.selection.saved_queries import remove

        self._must_be_newest()
        store = self._store
        record, snapshot = remove(store, self._look, name, reason=reason)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return record

    def saved(self, *, history: bool = False) -> list[SavedQuery]:
        """Return the saved queries by name; with `history` also earlier versions and removed queries."""
        from barospec.catalogs.selection.saved_queries import saved_queries

        with self.connection() as connection:
            return saved_queries(connection, history=history)

    # Share

    def catalog(
        self,
        path: PathLike,
        entries: Mapping[str, str] | None = None,
        *,
        pin: bool = False,
        derived: Sequence[str] = (),
    ) -> dict[str, str]:
        """Write an intake catalog of named selections; return name -> query.

        Parameters
        ----------
        path : path-like
            The catalog file; the path of an archive in a folder is relative to it.
        entries : mapping of str to str, optional
            Name -> query. Default: all spectra, each kind of spectrum, each run, and the saved queries that find
            spectra.
        pin : bool
            Make the entries read this snapshot always, instead of following the archive.
        derived : sequence of str
            Stored values to add to the spectra of every entry, such as ``["edge_energy"]``.
        """
        from barospec.catalogs.query.answer.answer import spectra_of
        from barospec.catalogs.query.resolve.archive_schema import known_from, stored_field
        from barospec.catalogs.selection.intake import slug, write_catalog
        from barospec.catalogs.selection.saved_queries import SELECTABLE

        target = Path(path)
        if entries is None:
            entries = {"all_spectra": "spectra"}
            with self.connection() as connection:
                for (key,) in database.values(
                    connection, "SELECT DISTINCT grp FROM spectra WHERE status = 'active' ORDER BY 1"
                ):
                    technique, kind = key.split("/")
                    edge = kind.replace("-", " ")
                    entries[slug(f"{technique} {edge}")] = f"{technique} {edge}"
                for (run,) in database.values(
                    connection, "SELECT DISTINCT run FROM spectra WHERE status = 'active' ORDER BY 1"
                ):
                    entries[slug(f"run {run}" if not run.startswith("run") else run)] = f'run = "{run}"'
            for saved in self.saved():
                if saved.noun in SELECTABLE:
                    name = slug(saved.name)
                    entries[f"saved_{name}" if name in entries else name] = f"@{saved.name}"
        with self.connection() as connection:
            understood = {name: spectra_of(connection, text) for name, text in entries.items()}
            known = known_from(connection)
        place = self.location.place
        if not is_remote(place):
            place = Path(os.path.relpath(Path(place).resolve(), target.resolve().parent)).as_posix()
        write_catalog(
            target,
            place,
            {name: (item.canonical, item.predicates) for name, item in understood.items()},
            title=f"selections of {self.location.place.rpartition('/')[2]}",
            at=self.snapshot if pin else None,
            derived=[stored_field(known, name).name for name in derived],
        )
        return {name: item.canonical for name, item in understood.items()}


def open(path: PathLike, at: str | None = None) -> Archive:
    """Open an archive.

    Parameters
    ----------
    path : path-like
        Its folder, or ``s3://bucket/prefix``.
    at : str, optional
        A tag, a snapshot or a date (UTC).

    Raises
    ------
    NotFound
        There is no archive at `path`; the message names the next command.
    """
    return Archive(path, at=at)
