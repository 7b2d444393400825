"""The care of an archive: whether it is what was written, what may be cleared away, what must be deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from barospec._queries import Finding
from barospec.catalogs.index import build
from barospec.schemas.errors import BarospecError, NotFound, QueryError

if TYPE_CHECKING:
    from barospec.archive.edit.purge import Purged
    from barospec.archive.store.garbage_collection import Cleared
    from barospec.archive.verify.doctor import Finding as Seen
    from barospec.archive.verify.repair import Repaired
    from barospec.archive.verify.report import Verified

Progress = Callable[[str, int, int], None]


def _silent(name: str, done: int, total: int) -> None:
    pass


class Caring(Finding):
    """Verification, index, clearing away, deleting for good."""

    def rebuild_index(self) -> Path:
        """Make the index of this snapshot anew from the arrays."""
        return build.publish(self._store, self.snapshot, rebuild=True)

    def gc(self, *, keep_days: float | None = None, dry_run: bool = False, progress: Progress = _silent) -> Cleared:
        """Shorten the history to what is to be kept, and remove files that nothing refers to.

        The newest state and every tagged one always stay.

        Parameters
        ----------
        keep_days : float, optional
            Days of history to keep; the setting ``keep_days`` without it, and all where that is not set.
        dry_run : bool
            Only say what would be removed.
        progress : callable
            Called as ``progress(what, done, total)``.

        Raises
        ------
        StoreError
            The store is damaged: nothing is removed then.
        """
        from barospec.archive.store.garbage_collection import collect
        from barospec.archive.store.settings import read_settings

        self._must_be_newest()
        store = self._store
        if keep_days is None:
            keep_days = read_settings(store.read(self.snapshot))["keep_days"]
        if not dry_run:
            build.prune(store)  # first: on a full disk that makes room for the rest
        report = collect(store, keep_days=keep_days, dry_run=dry_run, progress=progress)
        if not dry_run:
            self._finish(store, store.location.head(), prune=True)
        return report

    def doctor(self) -> list[Seen]:
        """Look at what the archive depends on: versions, file system, lock, space, leftovers, index; changes nothing."""
        from barospec.archive.verify.doctor import Finding as Seen
        from barospec.archive.verify.doctor import examine

        found = list(examine(self.location))
        try:
            snapshot = self.location.head()
        except BarospecError as error:
            return [*found, Seen("index", "wrong", str(error))]
        refused: list[build.UnusableIndex] = []
        used = build.reader(self.location, snapshot, refused)
        if used is not None:
            path, connection = used
            connection.close()
            found.append(Seen("index", "ok", f"{path} is that of the newest snapshot"))
        elif not refused:
            found.append(Seen("index", "note", "there is none of the newest snapshot", "The next query makes it."))
        todo = (
            "The next query rebuilds it from the store." if used is None else "Another one is used; it can be deleted."
        )
        found += [Seen("index", "wrong", f"{each.path} {each.why}", todo) for each in refused]
        return found

    def repair(self, *, dry_run: bool = False) -> Repaired:
        """Go back to the last whole snapshot if the newest one is damaged.

        What is given up is copied to the archive's folder ``damaged`` first.

        Parameters
        ----------
        dry_run : bool
            Only say what would be done and lost.

        Raises
        ------
        StoreError
            No snapshot is whole.
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
        """How many spectra the index of a snapshot has, if there is one."""
        path = build.index_path(self.location, snapshot)
        if not path.exists():
            return None
        with build.connect(path) as connection:
            return int(build.values(connection, "SELECT count(*) FROM spectra")[0][0])

    def migrate(self, *, dry_run: bool = False) -> list[int]:
        """Bring the archive to this version's format; returns the formats it was brought to, none when it has it."""
        from barospec.archive.store.migrate import migrate

        store = self._store
        done = migrate(store, dry_run=dry_run)
        if done and not dry_run:
            self._finish(store, self.location.head())
        return done

    def purge(self, what: str, *, reason: str, dry_run: bool = False, progress: Progress = _silent) -> Purged:
        """Delete spectra for good, from every state of the archive; nothing can bring them back.

        The tags that hold them are deleted, and the history before is cut off.

        Parameters
        ----------
        what : str
            A spectrum_id, a unique beginning of one, or a query.
        reason : str
            Why, for the events.
        dry_run : bool
            Only say what would be deleted, and which tags with it.
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
                raise NotFound(f'no spectrum is found by "{what}".')
            rows: dict[str, list[int]] = {}
            with build.connect(path) as connection:
                sql = "SELECT grp, row FROM spectra WHERE spectrum_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL"
                for key, row in build.values(connection, sql, [ids]):
                    rows.setdefault(key, []).append(row)
            return ids, rows

        begun = (unfinished(files_of(self.location)) or {}).get("ids", [])
        try:
            one = one or found(self.snapshot)[0]
        except (NotFound, QueryError):  # once purged, they are found no more
            if not begun:
                raise
        one = sorted({*(one or ()), *begun})  # what was interrupted is ended with it
        report = purge(store, found, reason=reason, dry_run=dry_run, progress=progress)
        if not dry_run:
            self._finish(store, store.location.head(), rebuild=True, prune=True)
        return report

    def verify(self, *, history: bool = False, progress: Progress = _silent) -> Verified:
        """Check that the archive is what was written; nothing is changed.

        Every metadata file against the digest that its commit recorded, every chunk by its checksum, every spectrum's
        numbers against their ``row_sha256``, ids, revisions, events, the rules of the vocabulary, and every row of every
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
            ``ok``, and the ``faults`` with their places.
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
        except BarospecError:  # told already
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
                report.blame(f"index of {snapshot}", f"it cannot be compared: {str(error).splitlines()[0]}")
        return report

    def seal(self) -> int:
        """Record the digests of metadata files of commits that have none, as the files are now; returns how many."""
        return self._store.seal()
