"""References of derived values: the spectra that a query finds, with everything that affects a number.

The queries run when values are computed and whenever an index is made: if the answers differ, the values are stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from barospec.catalogs.query.answer.answer import rows_of
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema, known_now
from barospec.catalogs.query.resolve.fields import Connection, quoted
from barospec.catalogs.query.resolve.resolve import resolve
from barospec.schemas.errors import BarospecError, CallError

# Fields that affect a number, of the spectrum itself or of a reference.
ENTERS = ("spectrum_id", "revision", "content", "energy_shift", "energy_calibration")


def canonical_reference(known: ArchiveSchema, text: str) -> str:
    """Return the query of a reference in canonical form, saved queries expanded.

    Raises
    ------
    CallError
        For a query on derived values: a set that depends on itself would never be fresh.
    QueryError
        For a query that cannot be understood.
    """
    from barospec.catalogs.query.parse import ast

    found = resolve(parse(text), known)
    derived = [name for name, field in found.fields.items() if field.derived]
    if derived:
        raise CallError(
            f'the reference "{text}" depends on {", ".join(derived)}, which is computed itself. '
            f"Name it by measured fields, or by spectrum_id."
        )
    return ast.to_text(found.query)


def spectra_behind(connection: Connection, known: ArchiveSchema, query: str, group: str) -> list[list[Any]]:
    """Return `ENTERS` of each spectrum of a group that a query finds, by spectrum_id; empty if it finds nothing."""
    try:
        found = rows_of(connection, resolve(parse(query), known), known)
    except BarospecError:  # a value that the archive no longer has
        return []
    rows = [int(row) for key, row in zip(found["grp"], found["row"], strict=True) if key == group]
    values = connection.execute(
        f"SELECT {', '.join(map(quoted, ENTERS))} FROM spectra WHERE grp = ? AND row IN (SELECT unnest(?)) ORDER BY 1",
        [group, rows],
    ).fetchall()
    return [list(row) for row in values]


def references_now(
    connection: Connection, known: ArchiveSchema, refs: Mapping[str, Sequence[Sequence[str]]], group: str
) -> dict[str, list[dict[str, Any]]]:
    """Return the current references of each operator: label, query, spectra, and their digest."""
    return {
        operator: [
            {"label": label, "query": query, **_digested(spectra_behind(connection, known, query, group))}
            for label, query in pairs
        ]
        for operator, pairs in refs.items()
    }


def _digested(spectra: list[list[Any]]) -> dict[str, Any]:
    return {"spectra": spectra, "sha256": digest(spectra)}


def digest(spectra: list[list[Any]]) -> str:
    """Return the fingerprint of a list of spectra."""
    return hashlib.sha256(json.dumps(spectra, ensure_ascii=False).encode()).hexdigest()


class References:
    """Evaluates `References.changed` for many calculations on one index, running each query once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: ArchiveSchema | None = None
        self._digests: dict[tuple[str, str], str] = {}

    def changed(self, refs: str, group: str) -> str:
        """Return why references have changed, or an empty text; `refs` as kept in the table of calculations."""
        for operator, references in json.loads(refs or "{}").items():
            for reference in references:
                if self._digest(reference["query"], group) != reference["sha256"]:
                    return f'the reference "{reference["query"]}" of {operator} has changed'
        return ""

    def _digest(self, query: str, group: str) -> str:
        if (query, group) not in self._digests:
            self._known = self._known or known_now(self._connection)
            self._digests[query, group] = digest(spectra_behind(self._connection, self._known, query, group))
        return self._digests[query, group]
