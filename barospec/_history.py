"""Settings, versions and corrections of an archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from barospec._queries import QueryMethods
from barospec.catalogs.index import build
from barospec.catalogs.index.known_rows import lookup
from barospec.catalogs.selection import select
from barospec.schemas.errors import NotFound

if TYPE_CHECKING:
    from barospec.archive.edit.corrections import Edited
    from barospec.archive.edit.rescale_pressure import RescaleReport
    from barospec.archive.history.diff import Difference
    from barospec.archive.history.restore import Restored
    from barospec.archive.history.tags import Tag
    from barospec.archive.store.known_row import ExistingRow
    from barospec.archive.store.repository import Commit, Store


class HistoryMethods(QueryMethods):
    """Methods of an archive for settings, versions and corrections."""

    def settings(self) -> dict[str, Any]:
        """Return the settings of the archive, defaults included; see `archive.settings.DEFAULTS`."""
        from barospec.archive.store.settings import read_settings

        return read_settings(self._store.read(self.snapshot))

    def settings_history(self) -> list[dict[str, Any]]:
        """Return every change of a setting, oldest first: name, value, revision, author, reason, time."""
        from barospec.archive.store.settings import settings_history

        return settings_history(self._store.read(self.snapshot))

    def configure(self, changes: Mapping[str, Any], *, reason: str = "") -> dict[str, Any]:
        """Change settings, in one commit; return all settings.

        Parameters
        ----------
        changes : mapping
            Such as ``{"license": "CC-BY-4.0", "creators": [{"name": "Ada", "orcid": "0000-0002-1825-0097"}]}``; None
            restores the default.
        reason : str
            Recorded in the history.

        Raises
        ------
        CallError
            If a name is not a setting.
        InvalidData
            If a value is not valid.
        """
        from barospec.archive.store.settings import change_settings

        self._must_be_newest()
        store = self._store
        after, snapshot = change_settings(store, changes, reason=reason)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return after

    # Versions

    def log(self, limit: int | None = None) -> list[Commit]:
        """Return the commits, newest first."""
        return list(self._store.history(self.snapshot, limit=limit))

    def tags(self) -> dict[str, str]:
        """Return tag name -> snapshot."""
        return self.location.tags()

    def tag_records(self) -> list[Tag]:
        """Return the tags with message, author and time."""
        from barospec.archive.history.tags import read_tags

        store = self._store
        return read_tags(store, store.read(self.location.head()))

    def tag(self, name: str, message: str = "", *, at: str | None = None) -> Tag:
        """Give this snapshot a permanent name; message, author and time are stored in one commit.

        Parameters
        ----------
        name : str
            Letters, digits, ``.``, ``_``, ``-``.
        message : str
            Purpose of the tag.
        at : str, optional
            Tag, snapshot or date to be named; by default the state that this archive is opened at.

        Raises
        ------
        Conflict
            If the name is or was in use: a tag never changes its meaning.
        """
        from barospec.archive.history.tags import make_tag

        store = self._store
        tag, snapshot = make_tag(store, name, at or self.at, message=message)
        if snapshot:
            self._finish(store, snapshot, tag.snapshot, follow=True)
        return tag

    def untag(self, name: str, *, reason: str = "") -> str:
        """Delete a tag; return the snapshot that it named, which stays until `gc`."""
        from barospec.archive.history.tags import delete_tag

        store = self._store
        meant, snapshot = delete_tag(store, name, reason=reason)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return meant

    def diff(self, first: str, second: str | None = None) -> Difference:
        """Return the differences between two states: spectra, values, structures, models, queries, settings.

        Parameters
        ----------
        first, second : str
            Tags, snapshots or dates; by default `second` is the state of this archive.
        """
        from barospec.archive.history.diff import compare

        store = self._store
        return compare(store, store.resolve(first), store.resolve(second or self.at))

    def restore(self, at: str, *, reason: str = "", dry_run: bool = False) -> Restored:
        """Make an earlier state the newest one, in one commit; no history is lost.

        Parameters
        ----------
        at : str
            Tag, snapshot or date.
        reason : str
            Recorded in the history.
        dry_run : bool
            Report the changes without applying them.
        """
        from barospec.archive.history.restore import restore_state

        self._must_be_newest()
        store = self._store
        report = restore_state(store, store.resolve(at), name=at, reason=reason, dry_run=dry_run)
        if report.snapshot:
            self._finish(store, report.snapshot)
        return report

    # Corrections

    def set(
        self, what: str, fields: Mapping[str, Any] | Sequence[str], *, reason: str, dry_run: bool = False
    ) -> Edited:
        """Correct conditions of spectra, in one commit; every earlier snapshot keeps the old values.

        Parameters
        ----------
        what : str
            A spectrum_id, a unique beginning of one, or a query.
        fields : mapping or sequence of str
            ``{"pressure": "15.6 ± 0.2 GPa"}`` or ``["pressure=15.6GPa"]``, written as in run sheets; None is "not known".
            Values that depend on the old one (its uncertainty, a pressure from a corrected ruby line) change with it.
        reason : str
            Recorded in the history.
        dry_run : bool
            Report the changes without applying them.

        Returns
        -------
        Edited
            Old and new value of each field of each spectrum, and notes.

        Raises
        ------
        CallError
            If a field cannot be set, or a value is not valid.
        InvalidData
            If the change does not fit a spectrum; nothing is written then.
        """
        from barospec.archive.edit.corrections import parse_fields, set_conditions

        self._must_be_newest()
        stated = parse_fields(fields)
        store = self._store
        report = set_conditions(store, self._finder(what), stated, reason=reason, dry_run=dry_run)
        return self._finished(store, report)

    def withdraw(self, what: str, *, reason: str, dry_run: bool = False) -> Edited:
        """Withdraw spectra: queries exclude and count them until `reinstate`. Parameters as in `set`."""
        from barospec.archive.edit.corrections import set_status

        self._must_be_newest()
        store = self._store
        report = set_status(store, self._finder(what), "withdrawn", reason=reason, dry_run=dry_run)
        return self._finished(store, report)

    def reinstate(self, what: str, *, reason: str, dry_run: bool = False) -> Edited:
        """Reinstate withdrawn spectra. Parameters as in `set`; a query searches the withdrawn spectra."""
        from barospec.archive.edit.corrections import set_status

        self._must_be_newest()
        store, finder = self._store, self._finder(what, status="withdrawn")
        return self._finished(store, set_status(store, finder, "active", reason=reason, dry_run=dry_run))

    def rescale_pressure(
        self,
        text: str,
        scale: str,
        *,
        reason: str = "",
        dry_run: bool = False,
        message: str = "",
    ) -> RescaleReport:
        """Convert the pressures of the spectra of a query to one scale, in one commit.

        Parameters
        ----------
        text : str
            Query of the spectra, such as ``"run-2"``; includes merged scans and their means.
        scale : str
            Such as ``"ruby Dewaele 2004"``; see ``ruby_pressure.SCALES``.
        reason, message : str
            Recorded in the events of each spectrum; commit message.
        dry_run : bool
            Report the changes without applying them.

        Returns
        -------
        RescaleReport
            Old and new pressures, and counts of unchanged ones with reasons. Earlier snapshots keep the old pressures.

        Raises
        ------
        InvalidData
            If the scale has no formula.
        """
        from barospec.archive.edit.rescale_pressure import rescale
        from barospec.archive.sheets.ruby_pressure import find_scale

        self._must_be_newest()
        find_scale(scale)
        store, finder = self._store, self._finder(text, scans=(True, False))
        report = rescale(store, finder, scale, reason=reason, dry_run=dry_run, message=message)
        if report.snapshot:
            self._finish(store, report.snapshot, follow=True)
        return report

    def _finished(self, store: Store, report: Edited) -> Edited:
        if report.snapshot:
            self._finish(store, report.snapshot, follow=True)
        return report

    def _finder(self, what: str, status: str = "active", scans: Sequence[bool] = (True,)) -> Any:
        """Return a function that finds the rows of an id or a query under the lock; `scans`: merged scans, their means, or both."""
        store = self._store
        one = self.identify(what) if self.is_spectrum(what) else None

        def found(snapshot: str) -> list[ExistingRow]:
            path = build.publish(store, snapshot)
            if one is not None:
                return lookup(path, [one], [])
            words = (
                what
                if status == "active"
                else f"({what}) and status = {status}"
                if what.strip()
                else f"status = {status}"
            )
            chosen = [select.select(self.location, snapshot, words, scans=kind) for kind in scans]
            ids = list(
                dict.fromkeys(str(name) for one in chosen for name in one.columns(["spectrum_id"])["spectrum_id"])
            )
            if not ids:
                raise NotFound(f'"{what}" finds no {status} spectrum.')
            return sorted(lookup(path, ids, []), key=lambda known: (known.group, known.row))

        return found
