"""Records of the append-only ``events`` table: actor, action, subject, time and reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from barospec.archive.store.repository import current_user
from barospec.schemas.values import check_text


def event(
    action: str, subject: str, now: int, *, reason: str = "", details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a record for the append-only ``events`` table.

    Parameters
    ----------
    action : str
        The verb: ``set``, ``withdraw``, ``restore``, ``replace``, ``merge``, ``tag``, ``purge``, ...
    subject : str
        Its object: a spectrum_id, the name of a tag, ...
    now : int
        Microseconds since 1970 (UTC).

    Raises
    ------
    InvalidData
        A reason or detail is a text that no store accepts; see `values.check_text`.
    """
    for name, text in {"reason": reason, **(details or {})}.items():
        if isinstance(text, str):
            check_text(name, text)
    return {
        "action": action,
        "actor": current_user(),
        "subject": subject,
        "reason": reason,
        "details": json.dumps(details or {}, sort_keys=True),
        "time": now,
    }
