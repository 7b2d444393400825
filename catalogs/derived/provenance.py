"""Provenance of a stored number: raw file, scan, reader, spectrum, every step with its parameters, and the value.

The record uses the terms of W3C PROV (entity, activity, agent, used, wasGeneratedBy, wasDerivedFrom), in plain JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from barospec.catalogs.index import database
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema, stored_field
from barospec.catalogs.query.resolve.fields import Field, quoted
from barospec.schemas.errors import NotFound

OF_SPECTRUM = (
    *("spectrum_id", "revision", "status", "run", "sample", "technique", "edge", "line", "origin", "signal"),
    *("point_count", "energy_calibration", "energy_shift", "parents", "flag", "flag_reason"),
)
OF_FILE = ("source_file", "source_scan", "source_sha256", "reader", "run_sheet", "ingested")

# Why the newest entry of a spectrum is not fresh: the first match. `s` is the spectrum, `e` the entry, `c` its calculation.
STALE_BECAUSE = """CASE
    WHEN e.calculation < 0 THEN 'it was not yet computed in the restored state'
    WHEN e.revision < s.revision THEN 'revision ' || s.revision || ' has replaced the data of revision ' || e.revision
    WHEN e.content <> s.content THEN 'the numbers of the spectrum have changed'
    WHEN e.energy_shift IS DISTINCT FROM s.energy_shift THEN 'energy_shift was ' || coalesce(e.energy_shift::VARCHAR, 'none')
        || ' and is now ' || coalesce(s.energy_shift::VARCHAR, 'none') || ' (eV)'
    WHEN e.energy_calibration IS DISTINCT FROM s.energy_calibration THEN 'energy_calibration was '
        || coalesce(e.energy_calibration, 'unknown') || ' and is now ' || coalesce(s.energy_calibration, 'unknown')
    WHEN c.reason <> '' THEN c.reason
    ELSE '' END"""


def newest_entries(name: str, where: str) -> str:
    """Return SQL for the newest entry of a set for each spectrum that meets `where`, with why it is stale, or an empty text."""
    return f"""SELECT s.grp, s.row, s.status, e.entry, e.calculation, e.revision AS computed_revision, {STALE_BECAUSE} AS because
        FROM spectra s JOIN {quoted(f"derived/{name}")} e ON e.spectrum_id = s.spectrum_id AND e.revision <= s.revision
        LEFT JOIN calculation_states c ON c.name = '{name}' AND c.number = e.calculation WHERE {where}
        QUALIFY row_number() OVER (PARTITION BY s.grp, s.row ORDER BY e.revision DESC, e.entry DESC) = 1"""


def stale_because(connection: Any, name: str) -> list[tuple[str, int]]:
    """Count active spectra with stale values of a set by reason, the commonest first."""
    entries = newest_entries(name, f"s.status = 'active' AND s.{quoted(f'{name}:state')} = 1")
    rows = connection.execute(
        f"SELECT because, count(*) FROM ({entries}) GROUP BY because ORDER BY count(*) DESC, because"
    ).fetchall()
    return [(str(because), int(count)) for because, count in rows]


def provenance(connection: Any, known: ArchiveSchema, spectrum_id: str, name: str, snapshot: str) -> dict[str, Any]:
    """Return the record of one stored value.

    Parameters
    ----------
    connection : duckdb connection
        To the index.
    known : ArchiveSchema
        Schema of that index.
    spectrum_id : str
        Complete identifier.
    name : str
        A derived field.
    snapshot : str
        The snapshot of the index.

    Returns
    -------
    dict
        ``value``, ``entity``, ``activity``, ``agent``, and the relations between them.

    Raises
    ------
    NotFound
        If there is no such field, or the spectrum has no value of it.
    """
    field = stored_field(known, name)
    assert field.stored is not None
    if _is_of_runs(connection, field.stored.derivation):
        from barospec.catalogs.derived import run_provenance

        return run_provenance.provenance(connection, spectrum_id, field.stored.derivation, field.name, snapshot)
    place = "s.spectrum_id = ? AND s.status IN ('active', 'withdrawn')"
    entries = newest_entries(field.stored.derivation, place)
    found = database.dicts(connection, f"SELECT * FROM ({entries}) ORDER BY status LIMIT 1", [spectrum_id])
    if not found or found[0]["calculation"] < 0:  # the entry marks a restored state without a value
        raise NotFound(
            f"{spectrum_id} has no {field.name} stored. Compute it: barospec derive --refresh {field.stored.derivation} --missing"
        )
    entry = found[0]
    value = _value(connection, field, entry)
    calculation = database.dicts(
        connection,
        "SELECT * FROM calculations WHERE name = ? AND number = ?",
        [field.stored.derivation, entry["calculation"]],
    )[0]
    spectrum = database.dicts(
        connection,
        "SELECT * FROM spectra WHERE spectrum_id = ? AND revision = ?",
        [spectrum_id, entry["computed_revision"]],
    )[0]
    definition = database.dicts(
        connection,
        "SELECT * FROM derivations WHERE name = ? ORDER BY revision DESC LIMIT 1",
        [field.stored.derivation],
    )[0]
    references = json.loads(calculation["refs"] or "{}")
    units = {"energy_shift": "eV"}
    return {
        "snapshot": snapshot,
        "value": value,
        "entity": {
            "file": {"name": spectrum["source_file"], "sha256": spectrum["source_sha256"]},
            "spectrum": {key: spectrum[key] for key in (*OF_SPECTRUM, *OF_FILE) if spectrum[key] is not None},
            "parents": _parents(connection, spectrum),
            "corrections": _corrections(connection, spectrum_id, calculation["time"]),
            "value": {"name": field.name, "derivation": field.stored.derivation, "entry": entry["entry"]},
            **{
                f"reference {operator} {one['label'] or number}": {"query": one["query"], "spectra": one["spectra"]}
                for operator, several in references.items()
                for number, one in enumerate(several, 1)
            },
        },
        "activity": {
            "read": {"reader": spectrum["reader"], "scan": spectrum["source_scan"], "time": spectrum["ingested"]},
            "derive": {
                "chain": definition["chain"],
                "refs": json.loads(definition["refs"] or "{}"),
                "mixed": bool(definition["mixed"]),
                "operator": definition["operator"],
                "steps": json.loads(calculation["steps"]),
                "references": references,
                "notes": json.loads(calculation["notes"] or "[]"),
                "query": calculation["query"],
                "input_snapshot": calculation["input_snapshot"],
                "software": json.loads(calculation["software"]),
                "time": calculation["time"],
            },
        },
        "agent": {"derive": calculation["actor"]},
        "wasGeneratedBy": [["spectrum", "read"], ["value", "derive"]],
        "used": [["read", "file"], ["derive", "spectrum"], *(["derive", key] for key in _reference_keys(references))],
        "wasDerivedFrom": [["spectrum", "file"], ["value", "spectrum"]],
        "wasAssociatedWith": [["derive", "derive"]],
        "units": units,
    }


def _parents(connection: Any, spectrum: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the scans of a mean, each with its file, in the newest revision of that time."""
    ids = [name for name in (spectrum["parents"] or "").split(", ") if name]
    if not ids:
        return []
    return database.dicts(
        connection,
        "SELECT spectrum_id, revision, source_file, source_scan, source_sha256, reader FROM spectra "
        "WHERE spectrum_id IN (SELECT unnest(?::VARCHAR[])) AND (ingested <= ? OR ingested IS NULL) "
        "QUALIFY row_number() OVER (PARTITION BY spectrum_id ORDER BY revision DESC) = 1 ORDER BY spectrum_id",
        [ids, spectrum["ingested"]],
    )


def _corrections(connection: Any, spectrum_id: str, until: Any) -> list[dict[str, Any]]:
    """Return the corrections of the energy axis after the file was read: every change of shift or calibration until then."""
    events = database.dicts(
        connection,
        "SELECT action, actor, reason, details, time FROM events WHERE subject = ? AND time <= ? ORDER BY time",
        [spectrum_id, until],
    )
    found = []
    for event in events:
        changed = json.loads(event["details"] or "{}").get("changed")
        for name in ("energy_shift", "energy_calibration"):
            if isinstance(changed, dict) and name in changed:
                old, new = (changed[name][end] for end in ("old", "new"))
                text = f"{name} {_shown(old)} → {_shown(new)}: {event['action']} {event['time']:%Y-%m-%d} by {event['actor']}"
                text += f", {event['reason']}" if event["reason"] else ""
                found.append(
                    {"field": name, "old": old, "new": new, "said": text} | {k: event[k] for k in ("action", "time")}
                )
    return found


def _is_of_runs(connection: Any, derivation: str) -> bool:
    return bool(database.values(connection, "SELECT 1 FROM series WHERE name = ? LIMIT 1", [derivation]))


def _reference_keys(references: Mapping[str, Any]) -> list[str]:
    return [
        f"reference {operator} {one['label'] or number}"
        for operator, several in references.items()
        for number, one in enumerate(several, 1)
    ]


def _value(connection: Any, field: Field, entry: Mapping[str, Any]) -> dict[str, Any]:
    assert field.stored is not None
    table = quoted(f"derived/{field.stored.derivation}")
    row = database.dicts(connection, f"SELECT * FROM {table} WHERE entry = ?", [entry["entry"]])[0]
    output = field.stored.output
    base, _, label = output.partition("[")
    sigma = f"{base}_sigma" + (f"[{label}" if label else "")
    quality = f"{field.stored.operator}_quality"
    state, reasons = row.get(quality), _reasons(connection, field)
    return {
        "name": field.name,
        "value": row[output],
        "sigma": row.get(sigma),
        "unit": field.unit,
        "meaning": field.meaning,
        "quality": None if state is None else reasons[state] if 0 <= state < len(reasons) else str(state),
        "fresh": not entry["because"],
        "stale_because": entry["because"] or None,
        "outputs": {key: value for key, value in row.items() if key not in KEYS},
    }


KEYS = ("entry", "spectrum_id", "revision", "calculation", "content", "energy_shift", "energy_calibration")


def _reasons(connection: Any, field: Field) -> list[str]:
    assert field.stored is not None
    rows = database.values(
        connection,
        "SELECT reasons FROM derived_fields WHERE derivation = ? AND reasons <> '' LIMIT 1",
        [field.stored.derivation],
    )
    return [str(reason) for reason in json.loads(rows[0][0])] if rows else []


def tree(record: Mapping[str, Any]) -> list[str]:
    """Return the record as an outline, from the number down to the raw file."""
    value, derive = record["value"], record["activity"]["derive"]
    software = derive["software"]
    unit = f" {value['unit']}" if value["unit"] else ""
    shown = "no value" if value["value"] is None else f"{value['value']!r}"
    shown += f" ± {value['sigma']:.2g}" if value["sigma"] is not None else ""
    lines = [f"{value['name']} = {shown}{unit if value['value'] is not None else ''}"]
    state = "fresh" if value["fresh"] else f"STALE: {value['stale_because']}"
    lines.append(f"  {value['meaning']}; quality: {value['quality']}; {state}")
    versions = ", ".join(f"{name} {software[name]}" for name in ("barospec", "numpy", "scipy"))
    lines.append(f"└─ computed {derive['time']:%Y-%m-%d %H:%M:%S} UTC by {record['agent']['derive']} with {versions}")
    lines.append(
        f"   from snapshot {derive['input_snapshot']}, set {record['entity']['value']['derivation']}, over: {derive['query']}"
    )
    for step in derive["steps"]:
        given = ", ".join(f"{name} {_shown(item)}" for name, item in step["parameters"].items() if name not in HIDDEN)
        lines.append(f"   ├─ {step['operator']} version {step['version']}" + (f": {given}" if given else ""))
    for operator, several in derive["references"].items():
        for one in several:
            label = f"{one['label']}: " if one["label"] else ""
            ids = ", ".join(f"{each[0]} revision {each[1]}" for each in one["spectra"])
            lines.append(f"   ├─ reference of {operator}, {label}{one['query']}")
            lines.append(f"   │  {ids}")
    lines += [f"   ├─ {note}" for note in derive.get("notes", ())]
    return lines + (_of_run(record) if "run" in record["entity"] else _of_spectrum(record["entity"]))


def _of_run(record: Mapping[str, Any]) -> list[str]:
    entity, against = record["entity"], record["activity"]["derive"]["against"]
    key = ", ".join(f"{part} {entity['run'][part]}" for part in ("run", "sample", "experiment") if entity["run"][part])
    unit = record["units"][against]
    lines = [f"   └─ {key}: {entity['run']['points']} points of {len(entity['spectra'])} spectra"]
    for one in entity["spectra"]:
        x = "–" if one[against] is None else f"{one[against]:g} {unit}".strip()
        lines.append(
            f"      ├─ {one['spectrum_id']} revision {one['revision']} ({one['origin'].upper()}) at {x}: scan "
            f"{one['source_scan'] or '–'} of {one['source_file']}, read by {one['reader']}, sha256 {one['source_sha256']}"
        )
    return lines


def _of_spectrum(entity: Mapping[str, Any]) -> list[str]:
    spectrum, lines = entity["spectrum"], []
    for one in entity.get("corrections", ()):
        lines.append(f"   ├─ {one['said']}")
    shift = spectrum.get("energy_shift")
    lines.append(
        f"   └─ spectrum {spectrum['spectrum_id']} revision {spectrum['revision']} ({spectrum['origin'].upper()}): "
        f"{spectrum['point_count']} points, {spectrum.get('signal', 'signal unknown')}, energy_shift "
        f"{_shown(shift)}{' eV' if shift is not None else ''}, energy_calibration {spectrum.get('energy_calibration', 'unknown')}"
    )
    if entity.get("parents"):
        lines.append(f"      mean of {len(entity['parents'])} scans, made by barospec merge")
        for one in entity["parents"]:
            lines.append(
                f"      ├─ {one['spectrum_id']} revision {one['revision']}: scan {one['source_scan'] or '–'} of "
                f"{one['source_file']}, read by {one['reader']}, sha256 {one['source_sha256']}"
            )
    lines.append(
        f"      └─ scan {spectrum.get('source_scan', '–')} of {spectrum.get('source_file', '–')}, read by "
        f"{spectrum.get('reader', '–')}, ingested {spectrum['ingested']:%Y-%m-%d %H:%M} UTC"
    )
    lines.append(f"         sha256 {spectrum.get('source_sha256', '–')}")
    if spectrum.get("run_sheet"):
        lines.append(f"         conditions from {spectrum['run_sheet']}")
    return lines


HIDDEN = ("reference", "references")


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
