"""Lookup of spectra by identity or source, for ingest and corrections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from barospec.catalogs.index.database import connect
from barospec.catalogs.query.resolve.fields import quoted
from barospec.schemas.vocabulary import SETTABLE

if TYPE_CHECKING:
    from barospec.archive.store.known_row import ExistingRow


def lookup(path: Path, ids: Sequence[str], sources: Sequence[tuple[str, ...]]) -> list[ExistingRow]:
    """Return the current row of each spectrum that has one of the ids, or whose active row has one of the source keys.

    That is its active row or, without one, its newest; ``revision`` is the highest of all its rows.
    """
    from barospec.archive.ingest.prepared import SOURCE
    from barospec.archive.store.known_row import ExistingRow

    names = [term.name for term in SETTABLE]
    settable = ", ".join(f"epoch_us({quoted(t.name)})" if t.kind == "time" else quoted(t.name) for t in SETTABLE)
    key = ", ".join(f"coalesce({name}, '')" for name in SOURCE)
    wanted = ", ".join(f"unnest(?::VARCHAR[]) AS k{number}" for number in range(len(SOURCE)))
    keys = ", ".join(f"k{number}" for number in range(len(SOURCE)))
    by_source = list(zip(*sources, strict=True)) or [()] * len(SOURCE)
    with connect(path) as connection:
        found = connection.execute(
            f"""WITH wanted AS (
                SELECT unnest(?::VARCHAR[]) AS spectrum_id UNION
                SELECT spectrum_id FROM spectra WHERE status = 'active' AND ({key}) IN (SELECT ({keys}) FROM (SELECT {wanted})))
            SELECT spectrum_id, grp, row, max(revision) OVER (PARTITION BY spectrum_id), status, content, conditions, {key}, {settable}
            FROM spectra WHERE spectrum_id IN (SELECT spectrum_id FROM wanted)
            QUALIFY row_number() OVER (PARTITION BY spectrum_id ORDER BY status = 'active' DESC, revision DESC) = 1""",
            [list(ids), *map(list, by_source)],
        ).fetchall()
    cut = 7 + len(SOURCE)
    return [
        ExistingRow(*row[:7], source=tuple(row[7:cut]), columns=dict(zip(names, row[cut:], strict=True)))  # type: ignore[misc]
        for row in found
    ]
