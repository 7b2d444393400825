"""Steps after a commit: checksums, index, derived values of sets that follow.

The commit is complete when these steps begin. An error here, such as a full disk, is therefore reported as pending and not as a
failure. Any verb builds a missing index later; the other steps are finished by the next verb that writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING

from barospec.catalogs.index import build, database
from barospec.catalogs.index.open import opened

if TYPE_CHECKING:
    from barospec.archive.store.repository import Store
    from barospec.archive.store.storage.location import Location

Follow = Callable[[str], Sequence[str]]
FOLLOWING = """SELECT 1 FROM (
    SELECT arg_max(follow, revision) AS follow, arg_max(status, revision) AS status FROM derivations GROUP BY name
) WHERE follow = 1 AND status = 'active'"""


def finish(
    store: Store,
    snapshots: Sequence[str],
    refresh_new: Follow | None = None,
    *,
    committed: str | None,
    rebuild: bool = False,
    prune: bool = False,
) -> list[str]:
    """Do the steps after a commit, as far as possible.

    Parameters
    ----------
    store : Store
        The store that was written.
    snapshots : sequence of str
        Snapshots whose indexes are built, the newest first.
    follow : callable, optional
        Computes derived values of the new spectra of the first snapshot; returns what could not be computed.
    committed : str, optional
        The snapshot that was written, for the report.
    rebuild : bool
        Rebuild the indexes from the arrays even if they exist.
    prune : bool
        Remove old index files even if no index is built.

    Returns
    -------
    list of str
        Pending steps with reasons; also logged as a warning.
    """
    pending = [f"checksums: {store.unsealed}"] if store.unsealed else []

    def attempt(what: str, step: Callable[[], object]) -> bool:
        try:
            step()
        except Exception as error:
            if os.environ.get("BAROSPEC_DEBUG"):
                raise
            pending.append(f"{what}: {_why(error)}")
            return False
        return True

    def publish() -> None:
        for snapshot in snapshots:
            build.publish(store, snapshot, rebuild=rebuild)

    indexed = attempt("index", publish)
    if prune:
        attempt("removal of old index files", lambda: build.prune(store))
    if refresh_new is not None and snapshots and indexed:
        attempt("values that follow", lambda: pending.extend(refresh_new(snapshots[0])))
    if pending:
        done = f"Snapshot {committed} is committed" if committed else "The command is complete"
        shown = "; ".join(each.rstrip(". ") for each in pending)
        getLogger("barospec").warning(
            "%s; pending: %s. The next command that writes finishes the pending steps.", done, shown
        )
    return pending


def catch_up(store: Store, location: Location, snapshot: str) -> list[str]:
    """Compute new values of sets that follow, if there are any; return what could not be computed."""
    with opened(location, snapshot) as (_, connection):
        if not database.values(connection, FOLLOWING):
            return []
    from barospec.catalogs.derived.refresh import refresh_new

    shown = refresh_new(store, location, snapshot)
    build.publish(store, location.head())
    return shown


def _why(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
