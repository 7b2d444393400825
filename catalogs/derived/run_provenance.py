"""Provenance of a stored value of a run, and its recomputation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from barospec.archive.store.storage.location import Location
from barospec.catalogs.derived.run_sets import active_spectra, fit
from barospec.catalogs.index import database
from barospec.catalogs.index.series import KEY, SeriesEntry, judged, sets_of, titles
from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.schemas.errors import InvalidData, NotFound
from barospec.schemas.vocabulary import BY_NAME


def provenance(connection: Any, spectrum_id: str, derivation: str, title: str, snapshot: str) -> dict[str, Any]:
    """Return the record of a value of a spectrum's run; see `provenance.provenance`."""
    row = next(one for one in sets_of(connection) if one["name"] == derivation)
    known = known_from(connection)
    wanted = database.values(
        connection,
        f"SELECT {', '.join(KEY)} FROM spectra WHERE spectrum_id = ? AND status IN ('active', 'withdrawn') ORDER BY status LIMIT 1",
        [spectrum_id],
    )
    entry = next(
        (one for one in judged(connection, known, row) if [one.key] == wanted and one.stored is not None), None
    )
    if entry is None or entry.stored is None:
        raise NotFound(
            f"the run of {spectrum_id} has no {title} stored. Compute it: barospec derive --refresh {derivation} --missing"
        )
    stored, number = entry.stored, titles(row)[title.partition("[")[0]]
    members = json.loads(stored["members"])
    files = database.dicts(
        connection,
        "SELECT spectrum_id, revision, source_file, source_scan, source_sha256, reader, origin FROM spectra "
        "WHERE (spectrum_id, revision) IN (SELECT unnest(?::VARCHAR[]), unnest(?::BIGINT[])) ORDER BY spectrum_id",
        [[one[0] for one in members], [one[1] for one in members]],
    )
    points = {one[0]: one[-1] for one in members}
    outputs = json.loads(stored["outputs"])
    field = known.fields["spectra"][title]
    return {
        "snapshot": snapshot,
        "value": {
            "name": title,
            "value": outputs[number.key],
            "sigma": outputs.get(f"{number.key}_sigma"),
            "unit": field.unit,
            "meaning": field.meaning,
            "quality": stored["reason"] or "ok",
            "fresh": not entry.because,
            "stale_because": entry.because or None,
            "outputs": outputs,
        },
        "entity": {
            "run": dict(zip(KEY, entry.key, strict=True)) | {"points": stored["points"]},
            "spectra": [one | {row["against"]: points[one["spectrum_id"]]} for one in files],
            "members": members,
            "value": {"name": title, "derivation": derivation, "entry": stored["number"]},
        },
        "activity": {
            "derive": {
                **{key: row[key] for key in ("chain", "operator", "method", "against", "output", "technique")},
                "refs": json.loads(row["refs"] or "{}"),
                "mixed": bool(row["mixed"]),
                "steps": json.loads(stored["steps"]),
                "references": json.loads(stored["refs"] or "{}"),
                "query": stored["query"],
                "input_snapshot": stored["input_snapshot"],
                "software": json.loads(stored["software"]),
                "time": stored["time"],
            }
        },
        "agent": {"derive": stored["actor"]},
        "wasGeneratedBy": [["value", "derive"]],
        "used": [["derive", "spectra"]],
        "wasDerivedFrom": [["value", "spectra"]],
        "wasAssociatedWith": [["derive", "derive"]],
        "units": {row["against"]: BY_NAME[row["against"]].unit},
    }


def fit_again(location: Location, record: Mapping[str, Any]) -> dict[str, float | None]:
    """Refit the numbers of a record of `provenance` on their original snapshot."""
    derive, entity = record["activity"]["derive"], record["entity"]
    row = derive | {"refs": json.dumps(derive["refs"]), "name": entity["value"]["derivation"], "unit": ""}
    members = entity["members"]
    snapshot = derive["input_snapshot"]
    selection = active_spectra(location, snapshot, entity["run"]["grp"], [one[0] for one in members])
    if len(selection) < len(members):
        raise InvalidData(
            f"{len(members) - len(selection)} spectra of the record are not active in snapshot {snapshot}."
        )
    entry = SeriesEntry(tuple(entity["run"][part] for part in KEY), members, None)
    return fit(selection, row, [entry])[1][0][0]
