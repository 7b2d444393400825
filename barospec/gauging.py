"""Pressures of an archive, re-expressed in one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from barospec.catalogs import find, index
from barospec.finding import Finding

if TYPE_CHECKING:
    from barospec.archive.rescale import RescaleReport


class Gauging(Finding):
    """What an archive does with gauge readings."""

    def rescale_pressure(
        self,
        text: str | Mapping[str, Any],
        scale: str,
        *,
        reason: str = "",
        dry_run: bool = False,
        message: str = "",
    ) -> RescaleReport:
        """Re-express the pressures of what a query finds in one scale, in one commit.

        Parameters
        ----------
        text : str
            Which spectra, such as ``"run-2"``; scans that were merged and their means are both meant.
        scale : str
            Such as ``"ruby Dewaele 2004"``; see ``archive.pressure.SCALES``.
        reason, message : str
            For the events of each spectrum; for the history.
        dry_run : bool
            Only say what would change.

        Returns
        -------
        RescaleReport
            Old and new pressures, and how many stay as they are for which reason. Earlier snapshots keep the old ones.

        Raises
        ------
        InvalidData
            For a scale without formula.
        """
        from barospec.archive.pressure import find_scale
        from barospec.archive.rescale import rescale

        self._must_be_newest()
        find_scale(scale)
        store = self._store

        def rows(snapshot: str) -> list[dict[str, Any]]:
            index.publish(store, snapshot)
            # Merged means are hidden from the one, their scans from the other.
            both = (find.select(self.location, snapshot, text, scans=scans) for scans in (False, True))
            ids = list(dict.fromkeys(str(name) for one in both for name in one.columns(["spectrum_id"])["spectrum_id"]))
            wanted = "SELECT * FROM spectra WHERE status = 'active' AND spectrum_id IN (SELECT unnest(?::VARCHAR[]))"
            with find.opened(self.location, snapshot) as (_, connection):
                return list(index.dicts(connection, wanted, [ids]))

        report = rescale(store, rows, scale, reason=reason, dry_run=dry_run, message=message)
        if report.snapshot:
            index.publish(store, report.snapshot)
        return report
