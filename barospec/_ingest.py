"""Write operations: ingest, watch, merge; each also publishes the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barospec._derived import DerivedMethods
from barospec._queries import PathLike
from barospec.catalogs.index import build, database
from barospec.catalogs.index.known_rows import lookup
from barospec.catalogs.index.open import opened
from barospec.catalogs.selection import select
from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    from barospec.archive.compute.replicates import Repeat
    from barospec.archive.ingest.average_scans import MergeReport
    from barospec.archive.ingest.prepared import Prepared
    from barospec.archive.ingest.report import IngestReport
    from barospec.archive.store.known_row import ExistingRow
    from barospec.archive.store.repository import Store


Progress = Callable[[str, int, int], None]


class IngestMethods(DerivedMethods):
    """Methods of an archive that add spectra."""

    def prepare(
        self, paths: Sequence[PathLike], settings: Sequence[str] = (), progress: Progress | None = None
    ) -> Prepared:
        """Read run sheets and files without writing anything; `settings` are ``FIELD=VALUE`` texts."""
        return prepare(paths, settings, progress)

    def ingest(
        self,
        paths: Sequence[PathLike],
        settings: Sequence[str] = (),
        *,
        replace: bool = False,
        strict: bool = False,
        message: str = "",
        progress: Progress | None = None,
    ) -> IngestReport:
        """Ingest run sheets or files in one atomic commit, and publish its index.

        Parameters
        ----------
        paths : sequence of path-like
            Run sheets, files, or folders of them.
        settings : sequence of str
            ``FIELD=VALUE`` for files that no run sheet describes.
        replace : bool
            Store data that differ from the archive as a new revision; otherwise they are reported as conflicts.
        strict : bool
            Write nothing if anything is refused.
        message : str
            Commit message.
        progress : callable, optional
            Called as ``progress(name, done, total)``.

        Returns
        -------
        Report
            Counts, the new snapshot, and every problem with its location.
        """
        self._must_be_newest()
        return self.ingest_prepared(prepare(paths, settings, progress), replace=replace, strict=strict, message=message)

    def ingest_prepared(
        self, prepared: Prepared, *, replace: bool = False, strict: bool = False, message: str = ""
    ) -> IngestReport:
        """Write the result of `prepare` in one commit, and publish its index. Parameters as in `ingest`."""
        from barospec.archive.ingest.commit import ingest

        self._must_be_newest()
        store = self._store

        def known(snapshot: str, ids: Sequence[str], sources: Sequence[tuple[str, ...]]) -> list[ExistingRow]:
            return lookup(build.publish(store, snapshot), ids, sources)

        report = ingest(store, prepared, known, replace=replace, strict=strict, message=message)
        report.pending = self._finished_put(store, report.snapshot)
        return report

    def _finished_put(self, store: Store, snapshot: str | None) -> list[str]:
        """Do the steps after a commit of spectra, and finish pending steps of earlier commits."""
        from barospec._after_commit import finish
        from barospec.archive.store.storage.location import Local

        if snapshot is None and isinstance(self.location, Local):
            store.seal_commit()
        self.pending = finish(store, [snapshot or self.location.head()], self.follow, committed=snapshot)
        return self.pending

    def watch(
        self,
        folder: PathLike,
        sheet: PathLike | None = None,
        settings: Sequence[str] = (),
        *,
        replace: bool = False,
        settle: float = 10.0,
        every: float = 10.0,
    ) -> Iterator[IngestReport]:
        """Ingest new scans of a folder during a measurement; see `archive.watch.Watch`.

        Parameters
        ----------
        folder : path-like
            Folder of the measurement; it may disappear and return.
        sheet : path-like, optional
            Run sheet, read again when it changes. Without one, `settings` describe all files.
        settings : sequence of str
            ``FIELD=VALUE``.
        replace : bool
            Store data that differ from the archive as a new revision.
        settle : float
            Seconds without changes before a file is read.
        every : float
            Minimum number of seconds between two commits.

        Yields
        ------
        Report
            One after each check of the folder, mostly empty. Close the iterator to stop.
        """
        from barospec.archive.ingest.paths import parse_settings
        from barospec.archive.ingest.watch import Watch

        self._must_be_newest()
        return Watch(
            Path(folder),
            self.ingest_prepared,
            sheet=None if sheet is None else Path(sheet),
            settings=parse_settings(settings),
            replace=replace,
            settle=settle,
            every=every,
        ).reports()

    def merge(
        self,
        text: str | Mapping[str, Any] = "",
        *,
        pressure: float = 0.05,
        temperature: float = 1.0,
        dry_run: bool = False,
        message: str = "",
    ) -> MergeReport:
        """Merge the repeated scans at each point among the spectra of a query, in one commit.

        Parameters
        ----------
        text : str
            Such as ``"run-2 above 10 GPa"``.
        pressure, temperature : float
            Maximum difference between repeats of a point, in GPa and K.
        dry_run : bool
            Report the result without writing it.
        message : str
            Commit message.

        Returns
        -------
        MergeReport
            Each point with its parents. Parents stay; queries hide them unless they ask for scans.
        """
        from barospec.archive.compute.replicates import repeats_from
        from barospec.archive.ingest.average_scans import merge_repeats

        self._must_be_newest()
        store = self._store

        def repeats(snapshot: str) -> list[Repeat]:
            build.publish(store, snapshot)
            selection = select.select(self.location, snapshot, text, scans=True)
            ids = selection.columns(["spectrum_id"])["spectrum_id"].tolist()
            wanted = "SELECT * FROM spectra WHERE status = 'active' AND spectrum_id IN (SELECT unnest(?::VARCHAR[]))"
            with opened(self.location, snapshot) as (_, connection):
                return repeats_from(database.dicts(connection, wanted, [ids]))

        report = merge_repeats(
            store,
            repeats,
            lambda snapshot, ids, sources: lookup(build.publish(store, snapshot), ids, sources),
            pressure=pressure,
            temperature=temperature,
            dry_run=dry_run,
            message=message,
        )
        if not dry_run:
            self._finished_put(store, report.snapshot)
        return report


def prepare(paths: Sequence[PathLike], settings: Sequence[str] = (), progress: Progress | None = None) -> Prepared:
    """Read run sheets and files without an archive, as ``barospec check`` does."""
    from barospec.archive.ingest.paths import parse_settings
    from barospec.archive.ingest.prepare import prepare as prepare_paths

    if not paths:
        raise CallError("name at least one run sheet, file or folder.")
    return prepare_paths([Path(path) for path in paths], parse_settings(settings), progress)
