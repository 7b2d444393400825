"""Migration of archives from earlier formats: one step for each format.

A step is a function of a transaction that brings the arrays from its format to the next. It is committed together with the new
number, and the marker follows: if killed in between, the same call completes it. The tests keep a frozen archive of each format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from barospec.archive.store.repository import Store, Transaction
from barospec.archive.store.storage.files import files_of
from barospec.archive.store.storage.marker import FORMAT, MARKER

Step = Callable[[Transaction], None]
# Format that a step starts from -> the step. Format 1 is the first one.
STEPS: Mapping[int, Step] = {}


def migrate(store: Store, *, to: int = FORMAT, steps: Mapping[int, Step] = STEPS, dry_run: bool = False) -> list[int]:
    """Migrate an archive to the newest format; return the formats reached, in order.

    Parameters
    ----------
    store : Store
    to : int
        The target format.
    steps : mapping
        As `STEPS`.
    dry_run : bool
        Only report what would be done.
    """
    files = files_of(store.location)
    marker = json.loads(files.read(MARKER))
    done = []
    for start in range(int(marker["barospec_format"]), to):
        done.append(start + 1)
        if dry_run:
            continue

        def write(work: Transaction, start: int = start) -> None:
            if (
                int(str(work.root.attrs["barospec_format"])) > start
            ):  # an earlier call was interrupted before the marker
                return
            steps[start](work)
            work.root.attrs["barospec_format"] = start + 1
            work.message = f"migrated from format {start} to {start + 1}"
            work.metadata = {"rebuild": True}

        store.write("migrate", write)
        marker["barospec_format"] = start + 1
        files.write(MARKER, json.dumps(marker) + "\n")
    return done
