"""What follows a commit: checksums, index, values of sets that follow.

When it begins the commit is in. So whatever goes wrong here, such as a full disk, is reported as pending and not as a failure,
and the next verb makes up for it: the index any verb, the rest any verb that writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING

from barospec.catalogs.index import build, open

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
    follow: Follow | None = None,
    *,
    committed: str | None,
    rebuild: bool = False,
    prune: bool = False,
) -> list[str]:
    """Do what follows a commit, as far as it can be done.

    Parameters
    ----------
    store : Store
        That wrote.
    snapshots : sequence of str
        Those whose indexes are to be made, the newest first.
    follow : callable, optional
        Computes values of the first snapshot's new spectra; returns what could not be done.
    committed : str, optional
        The snapshot that was written, for the report.
    rebuild : bool
        Make the indexes from the arrays, whatever is there.
    prune : bool
        Remove index files that are not kept, even if none is made.

    Returns
    -------
    list of str
        What is pending, each with why; reported as a warning too.
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
    if follow is not None and snapshots and indexed:
        attempt("values that follow", lambda: pending.extend(follow(snapshots[0])))
    if pending:
        done = f"Snapshot {committed} is committed" if committed else "What was asked for is done"
        told = "; ".join(each.rstrip(". ") for each in pending)
        getLogger("barospec").warning("%s; pending: %s. The next command that writes finishes this.", done, told)
    return pending


def catch_up(store: Store, location: Location, snapshot: str) -> list[str]:
    """Compute what is due of sets that follow, if there are any; return what could not be done."""
    with open.opened(location, snapshot) as (_, connection):
        if not build.values(connection, FOLLOWING):
            return []
    from barospec.catalogs.derived.refresh import follow

    told = follow(store, location, snapshot)
    build.publish(store, location.head())
    return told


def _why(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
