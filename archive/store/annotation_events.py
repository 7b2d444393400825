"""Current flags, labels and notes, folded from annotation events; standard library only, for the query path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# `annotate` sets all remarks of a spectrum at once: a restored earlier state.
ACTIONS = ("flag", "unflag", "label", "unlabel", "note", "annotate")


@dataclass(slots=True)
class Remarks:
    """Flag, labels and notes of a spectrum."""

    flag: str = ""
    reason: str = ""
    labels: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the details of an ``annotate`` event."""
        return {"flag": self.flag, "reason": self.reason, "labels": sorted(self.labels), "notes": self.notes}


def fold(events: Iterable[Sequence[str]]) -> dict[str, Remarks]:
    """Return the remarks after a sequence of (action, spectrum_id, reason, details), oldest first.

    Examples
    --------
    >>> fold([("flag", "a", "glitch", '{"value": "bad"}'), ("label", "a", "", '{"value": "fig 2"}')])["a"].labels
    {'fig 2'}
    """
    found: dict[str, Remarks] = {}
    for action, subject, reason, details in events:
        if action not in ACTIONS:
            continue
        content = json.loads(details or "{}")
        value, mine = str(content.get("value", "")), found.setdefault(subject, Remarks())
        if action == "flag":
            mine.flag, mine.reason = value, reason or ""
        elif action == "unflag":
            mine.flag = mine.reason = ""
        elif action == "label":
            mine.labels.add(value)
        elif action == "unlabel":
            mine.labels.discard(value)
        elif action == "note":
            mine.notes.append(value)
        else:
            found[subject] = Remarks(content["flag"], content["reason"], set(content["labels"]), list(content["notes"]))
    return found
