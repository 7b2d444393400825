"""Annotations of spectra: flags, labels and notes, stored as events and searched as fields.

Events are never changed: removing a flag is another event. The history therefore shows who set what when, and every snapshot
has the flags of its time. No data are changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from barospec.archive.store.annotation_events import ACTIONS, fold
from barospec.schemas.errors import CallError, did_you_mean
from barospec.schemas.vocabulary import ANNOTATIONS, FLAGS

if TYPE_CHECKING:
    from barospec.archive.store.repository import Store, Transaction


def folded(events: Sequence[tuple[str, str, str, str]]) -> dict[str, dict[str, Any]]:
    """Fold annotation events into current values: spectrum_id -> the fields of `ANNOTATIONS`.

    Parameters
    ----------
    events : sequence of (action, spectrum_id, reason, details)
        In the order of the commits; `details` is JSON with ``value``.

    Examples
    --------
    >>> folded([("flag", "a", "glitch", '{"value": "bad"}'), ("label", "a", "", '{"value": "fig 2"}')])["a"]["labels"]
    'fig 2'
    """
    return {
        subject: {
            "flag": state.flag or None,
            "flag_reason": state.reason or None,
            "labels": ", ".join(sorted(state.labels)) or None,
            "remarks": "; ".join(state.notes) or None,
        }
        for subject, state in fold(events).items()
    }


def annotate(connection: Any) -> bool:
    """Write the fields of `ANNOTATIONS` into an index, from its events; return True if anything changed."""
    marks = ", ".join("?" * len(ACTIONS))
    events = connection.execute(
        f"SELECT action, subject, reason, details FROM events WHERE action IN ({marks}) ORDER BY rowid", list(ACTIONS)
    ).fetchall()
    changed = False
    if events:
        rows = [[subject, *values.values()] for subject, values in folded(events).items()]
        # One list per column: executemany takes seconds for ten thousand rows.
        select = ", ".join(f"unnest(?::VARCHAR[]) AS {name}" for name in ("spectrum_id", *ANNOTATIONS))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE said AS SELECT {select}", list(map(list, zip(*rows, strict=True)))
        )
        sets = ", ".join(f"{name} = said.{name}" for name in ANNOTATIONS)
        differs = " OR ".join(f"spectra.{name} IS DISTINCT FROM said.{name}" for name in ANNOTATIONS)
        number = connection.execute(
            f"UPDATE spectra SET {sets} FROM said WHERE said.spectrum_id = spectra.spectrum_id AND ({differs})"
        ).fetchall()[0][0]
        changed = bool(number)
        connection.execute("DROP TABLE said")
    return changed


def note_flags(connection: Any) -> None:
    """Record in an index whether any spectrum is flagged as bad, so that most queries skip the check."""
    bad = connection.execute("SELECT count(*) FROM spectra WHERE flag = 'bad'").fetchall()[0][0]
    connection.execute("DELETE FROM meta WHERE key = 'flagged'")
    connection.execute("INSERT INTO meta VALUES ('flagged', ?)", ["yes" if bad else "no"])


def check_flag(flag: str) -> str:
    """Return the flag as spelled in the vocabulary, or raise CallError."""
    if flag.casefold() not in FLAGS:
        raise CallError(f'"{flag}" is not a flag.{did_you_mean(flag, FLAGS)} It is one of: {", ".join(FLAGS)}.')
    return flag.casefold()


def check_label(label: str) -> str:
    """Return the label stripped of spaces, or raise CallError if it could not be separated from others in a list."""
    clean = " ".join(label.split())
    if not clean or "," in clean or len(clean) > 64:
        raise CallError(f'"{label}" cannot be a label: 1 to 64 characters without a comma.')
    return clean


def write_annotations(
    store: Store, action: str, subjects: Sequence[str], value: str, reason: str, message: str
) -> str | None:
    """Append an event for each spectrum, in one commit; return the snapshot."""
    from barospec.archive.store.events import event
    from barospec.archive.store.repository import microseconds
    from barospec.archive.store.write import Writer

    def write(work: Transaction) -> None:
        now = microseconds()
        details = {"value": value} if value else {}
        rows = [event(action, subject, now, reason=reason, details=details) for subject in subjects]
        Writer(work.root, work.changes).append_table("events", rows)
        work.message = message

    return store.write(action, write)[1]
