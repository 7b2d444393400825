"""Records of the append-only ``events`` table: who did what to which subject, when and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from barospec.archive.store import actor


def event(
    action: str, subject: str, now: int, *, reason: str = "", details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A record for the append-only ``events`` table.

    Parameters
    ----------
    action : str
        The verb: ``set``, ``withdraw``, ``restore``, ``replace``, ``merge``, ``tag``, ``purge``, ...
    subject : str
        What it was done to: a spectrum_id, the name of a tag, ...
    now : int
        Microseconds since 1970 (UTC).
    """
    return {
        "action": action,
        "actor": actor(),
        "subject": subject,
        "reason": reason,
        "details": json.dumps(details or {}, sort_keys=True),
        "time": now,
    }
