"""The archive as Python sees it: one class whose methods are the command line's verbs.

The modules of this folder are the only place that joins layers: ingest then publish the index; query then apply. Heavy
imports are inside methods, so that a query never pays for what it does not use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barospec._annotations import Annotating
from barospec._bundles import Sharing
from barospec._history import Keeping
from barospec._ingest import Putting, prepare
from barospec._maintenance import Caring
from barospec._models import Modeling
from barospec._queries import PathLike
from barospec.archive.store.storage.location import is_remote
from barospec.catalogs.index import build

if TYPE_CHECKING:
    from barospec.catalogs.selection.saved_queries import SavedQuery


__all__ = ["Archive", "open", "prepare"]


class Archive(Modeling, Putting, Annotating, Keeping, Caring, Sharing):
    """An archive and all its verbs.

    Parameters
    ----------
    path : path-like
        The archive's folder, or ``s3://bucket/prefix``.
    at : str, optional
        A tag, a snapshot or a date (UTC): answer as of then. Without it every call sees the newest snapshot.
    """

    @classmethod
    def create(cls, path: PathLike, *, title: str = "") -> Archive:
        """Make an empty archive at `path`, a folder that is absent or empty, or ``s3://bucket/prefix``."""
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
        """Save a query under a name, in a commit of its own; ``@name`` then stands for it in every query.

        Parameters
        ----------
        name : str
            Letters, digits, ``_`` and ``-``.
        text : str
            The query; `conditions` join it as in `query`.
        reason : str
            For the history.
        replace : bool
            Give another meaning to a name that is in use.
        """
        from barospec.catalogs.selection.saved_queries import save

        self._must_be_newest()
        store = self._store
        record, snapshot = save(store, self._look, name, text, reason=reason, replacing=replace, **conditions)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return record

    def unsave(self, name: str, *, reason: str = "") -> SavedQuery:
        """Remove a saved query, in a commit of its own; earlier snapshots keep it."""
        from barospec.catalogs.selection.saved_queries import remove

        self._must_be_newest()
        store = self._store
        record, snapshot = remove(store, self._look, name, reason=reason)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return record

    def saved(self, *, history: bool = False) -> list[SavedQuery]:
        """The saved queries by name; with `history` also what they were before, and the removed ones."""
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
        """Write an intake catalog of named selections; returns name -> query.

        Parameters
        ----------
        path : path-like
            The catalog file; an archive in a folder is named relative to it.
        entries : mapping of str to str, optional
            Name -> query. Without it: everything, each kind of spectrum, each run, and the saved queries that find
            spectra.
        pin : bool
            Hold the entries at this snapshot instead of following the archive.
        derived : sequence of str
            Stored values that come with the spectra of every entry, such as ``["edge_energy"]``.
        """
        from barospec.catalogs.query.answer.answer import spectra_of
        from barospec.catalogs.query.resolve.archive_schema import known_from, stored_field
        from barospec.catalogs.selection.intake import slug, write_catalog
        from barospec.catalogs.selection.saved_queries import SELECTABLE

        target = Path(path)
        if entries is None:
            entries = {"all_spectra": "spectra"}
            with self.connection() as connection:
                for (key,) in build.values(
                    connection, "SELECT DISTINCT grp FROM spectra WHERE status = 'active' ORDER BY 1"
                ):
                    technique, kind = key.split("/")
                    edge = kind.replace("-", " ")
                    entries[slug(f"{technique} {edge}")] = f"{technique} {edge}"
                for (run,) in build.values(
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
