"""Maintenance of an archive: verification, garbage collection, repair, permanent deletion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from barospec._queries import QueryMethods
from barospec.catalogs.index import build, database
from barospec.catalogs.index.files import index_path
from barospec.schemas.errors import BarospecError, NotFound, QueryError

if TYPE_CHECKING:
    from barospec.archive.edit.purge import Purged
    from barospec.archive.store.garbage_collection import Cleared
    from barospec.archive.verify.doctor import Diagnosis
    from barospec.archive.verify.repair import Repaired
    from barospec.archive.verify.report import Verified

Progress = Callable[[str, int, int], None]


def _silent(name: str, done: int, total: int) -> None:
    pass


class MaintenanceMethods(QueryMethods):
    """Methods of an archive that verify, repair and clean it."""

    def rebuild_index(self) -> Path:
        """Rebuild the index of this snapshot from the arrays."""
        return build.publish(self._store, self.snapshot, rebuild=True)

    def gc(self, *, keep_days: float | None = None, dry_run: bool = False, progress: Progress = _silent) -> Cleared:
        """Remove old history and unused files.

        The newest state and all tagged states always stay.

        Parameters
        ----------
        keep_days : float, optional
            Days of history to keep. Default: the setting ``keep_days``, or the whole history without that setting.
        dry_run : bool
            Report what would be removed, and remove nothing.
        progress : callable
            Called as ``progress(what, done, total)``.

        Raises
        ------
        StoreError
            If the store is damaged; nothing is removed then.
        """
        from barospec.archive.store.garbage_collection import collect
        from barospec.archive.store.settings import read_settings

        self._must_be_newest()
        store = self._store
        if keep_days is None:
            keep_days = read_settings(store.read(self.snapshot))["keep_days"]
        if not dry_run:
            build.prune(store)  # first: on a full disk this frees space for the rest
        report = collect(store, keep_days=keep_days, dry_run=dry_run, progress=progress)
        if not dry_run:
            self._finish(store, store.location.head(), prune=True)
        return report

    def doctor(self) -> list[Diagnosis]:
        """Check versions, file system, lock, space, leftover files and index; change nothing."""
        from barospec.archive.verify.doctor import Diagnosis, examine

        found = list(examine(self.location))
        try:
            snapshot = self.location.head()
        except BarospecError as error:
            return [*found, Diagnosis("index", "wrong", str(error))]
        refused: list[database.UnusableIndex] = []
        used = database.reader(self.location, snapshot, refused)
        if used is not None:
            path, connection = used
            connection.close()
            found.append(Diagnosis("index", "ok", f"{path} is the index of the newest snapshot"))
        elif not refused:
            found.append(Diagnosis("index", "note", "the newest snapshot has no index", "The next query builds it."))
        todo = (
            "The next query rebuilds it from the store." if used is None else "Another index is used; delete this one."
        )
        found += [Diagnosis("index", "wrong", f"{each.path} {each.why}", todo) for each in refused]
        return found

    def repair(self, *, dry_run: bool = False) -> Repaired:
        """Return to the last undamaged snapshot if the newest one is damaged.

        The damaged files are first copied to the folder ``damaged`` of the archive.

        Parameters
        ----------
        dry_run : bool
            Report what would be done and lost, and change nothing.

        Raises
        ------
        StoreError
            If no snapshot is undamaged.
        """
        from barospec.archive.store.repository import Store
        from barospec.archive.verify.repair import repair

        self._must_be_newest()
        report = repair(self.location, dry_run=dry_run)
        if report.head is not None and report.head != report.target:
            report.before = self._indexed(report.head)
        report.after = self._indexed(report.target)
        if not dry_run and report.needed:
            store = Store(self.location)
            build.publish(store, store.location.head())
            build.prune(store)
        return report

    def _indexed(self, snapshot: str) -> int | None:
        """Return the number of spectra in the index of a snapshot, if there is one."""
        path = index_path(self.location, snapshot)
        if not path.exists():
            return None
        with database.connect(path) as connection:
            return int(database.values(connection, "SELECT count(*) FROM spectra")[0][0])

    def migrate(self, *, dry_run: bool = False) -> list[int]:
        """Upgrade the archive to the format of this version; return the formats of the steps, none if it is up to date."""
        from barospec.archive.store.migrate import migrate

        store = self._store
        done = migrate(store, dry_run=dry_run)
        if done and not dry_run:
            self._finish(store, self.location.head())
        return done

    def purge(self, what: str, *, reason: str, dry_run: bool = False, progress: Progress = _silent) -> Purged:
        """Delete spectra permanently, from every state of the archive; this cannot be undone.

        The tags that contain them are deleted, and the earlier history is removed.

        Parameters
        ----------
        what : str
            A spectrum_id, a unique beginning of one, or a query.
        reason : str
            Recorded in the events.
        dry_run : bool
            Report which spectra and tags would be deleted, and delete nothing.
        progress : callable
            Called as ``progress(what, done, total)``.
        """
        from barospec.archive.edit.purge import purge
        from barospec.archive.store.garbage_collection import unfinished
        from barospec.archive.store.storage.files import files_of

        self._must_be_newest()
        store = self._store
        one = [self.identify(what)] if self.is_spectrum(what) else None

        def found(snapshot: str) -> tuple[list[str], dict[str, list[int]]]:
            path = build.publish(store, snapshot)
            ids = one or [str(name) for name in self.query(what).columns(["spectrum_id"])["spectrum_id"]]
            if not ids:
                raise NotFound(f'"{what}" finds no spectrum.')
            rows: dict[str, list[int]] = {}
            with database.connect(path) as connection:
                sql = "SELECT grp, row FROM spectra WHERE spectrum_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL"
                for key, row in database.values(connection, sql, [ids]):
                    rows.setdefault(key, []).append(row)
            return ids, rows

        begun = (unfinished(files_of(self.location)) or {}).get("ids", [])
        try:
            one = one or found(self.snapshot)[0]
        except (NotFound, QueryError):  # once purged, queries do not find them
            if not begun:
                raise
        one = sorted({*(one or ()), *begun})  # an interrupted purge is finished here
        report = purge(store, found, reason=reason, dry_run=dry_run, progress=progress)
        if not dry_run:
            self._finish(store, store.location.head(), rebuild=True, prune=True)
        return report

    def verify(self, *, history: bool = False, progress: Progress = _silent) -> Verified:
        """Verify that the archive is undamaged; change nothing.

        Checks every metadata file against the checksum of its commit, every chunk by its checksum, the numbers of every
        spectrum against their ``row_sha256``, ids, revisions, events, the rules of the vocabulary, and every row of every
        index file against the store.

        Parameters
        ----------
        history : bool
            Read every snapshot, not only the newest (or the one this archive is opened at) and the tagged ones.
        progress : callable
            Called as ``progress(what, done, total)``.

        Returns
        -------
        Verified
            ``ok``, and the ``faults`` with their locations.
        """
        from barospec.archive.store.repository import Store
        from barospec.archive.verify.archive import verify_earlier, verify_files, verify_refs, verify_state
        from barospec.archive.verify.report import Verified
        from barospec.catalogs.index.check import REBUILD, check_index

        report = Verified()
        seals = verify_files(self.location, report, progress)
        try:
            store = Store(self.location)
            report.snapshot = self.snapshot
        except BarospecError as error:
            report.blame("store", str(error))
            return report
        verify_refs(store, seals, report)
        verify_state(store, report.snapshot, report, progress)
        try:
            tags = {snapshot: name for name, snapshot in store.location.tags().items()}
            if history:
                tags |= {c.snapshot: c.snapshot for c in store.history() if c.snapshot not in tags}
        except BarospecError:  # reported already
            tags = {}
        tags.pop(report.snapshot, None)
        for snapshot, name in tags.items():
            verify_earlier(store, snapshot, name, report, progress)
        for done, snapshot in enumerate([report.snapshot, *tags]):
            progress("index", done, 1 + len(tags))
            try:
                for where, what in check_index(store, snapshot):
                    report.blame(where, what, REBUILD)
            except Exception as error:  # an index cannot be made from a damaged store
                report.blame(f"index of {snapshot}", f"cannot be compared with the store: {str(error).splitlines()[0]}")
        return report

    def seal(self) -> int:
        """Record checksums of metadata files, as they are now, for commits without any; return the number of commits."""
        return self._store.seal()
