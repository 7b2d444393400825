"""The marker file of an archive, and reference files."""

from __future__ import annotations

import json

from barospec.schemas.errors import StoreError, Unsupported

FORMAT = 1
MARKER = "barospec.json"


def snapshot_in(text: str, where: str) -> str:
    """Return the snapshot id of a ref file.

    >>> snapshot_in('{"snapshot":"1CECHNKREP0F1RSTCMT0"}', "ref.json")
    '1CECHNKREP0F1RSTCMT0'
    """
    try:
        return str(json.loads(text)["snapshot"])
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            f"{where} is damaged: it should name the newest snapshot. `barospec doctor --repair` finds the last whole one."
        ) from None


def identity(text: str, marker: str, place: str) -> str:
    """Return the UUID in an archive's marker; raise if the marker is damaged or of a newer format."""
    uuid, written = describe(text, marker)
    if written > FORMAT:
        raise Unsupported(f"{place} has format {written}; this version reads up to {FORMAT}. Upgrade barospec.")
    return uuid


def describe(text: str, marker: str) -> tuple[str, int]:
    """Return the UUID and the format that a marker states."""
    try:
        described = json.loads(text)
        return str(described["uuid"]), int(described["barospec_format"])
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{marker} is damaged: it should hold the archive's format and uuid as JSON.") from None
