"""The care of an archive: whether it is what was written, what may be cleared away, what must be deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from barospec.catalogs import index
from barospec.finding import Finding

if TYPE_CHECKING:
    from barospec.archive.verify import Verified

Progress = Callable[[str, int, int], None]


def _silent(name: str, done: int, total: int) -> None:
    pass


class Caring(Finding):
    """Verification, index, clearing away, deleting for good."""

    def rebuild_index(self) -> Path:
        """Make the index of this snapshot anew from the arrays."""
        return index.publish(self._store, self.snapshot, rebuild=True)

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
        from barospec.archive.store import Store
        from barospec.archive.verify import Verified, verify_earlier, verify_files, verify_state
        from barospec.catalogs.index_check import REBUILD, check_index
        from barospec.schemas.errors import BarospecError

        report = Verified()
        try:
            store = Store(self.location)
            report.snapshot = self.snapshot
        except BarospecError as error:
            report.blame("store", str(error))
            return report
        verify_files(store, report, progress)
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
