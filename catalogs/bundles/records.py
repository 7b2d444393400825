"""Records of a selection as JSON and CSV: runs, samples, structures, models and literature values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.bundles.redact import Policy
from barospec.archive.exports.json import write_json
from barospec.archive.ingest.models import read_models
from barospec.catalogs.bundles.groups import write_rows
from barospec.catalogs.index import database

NAMES = ("runs", "samples", "structures", "literature", "models")
_BOOKKEEPING = ("ingested", "sheet_sha256", "status")


def records_of(
    connection: Any, root: Any, columns: Mapping[str, NDArray[Any]], policy: Policy
) -> dict[str, list[dict[str, Any]]]:
    """Return the records by kind, in a stable order.

    Parameters
    ----------
    connection : duckdb connection
        Connection to the index of the snapshot.
    root : zarr.Group
        The store at the snapshot.
    columns : mapping
        Columns of the selected spectra: the runs, samples, materials and structures that they name.
    policy : Policy
        Redacts all texts.
    """
    materials = _distinct(columns, "material")
    found = {
        "runs": _runs(connection, columns),
        "samples": _counted(columns, ("sample", "material")),
        "structures": structure_records(connection, _distinct(columns, "structure"), materials),
        "literature": _plain(
            database.dicts(
                connection,
                "SELECT * FROM literature WHERE status = 'active' AND material IN (SELECT unnest(?::VARCHAR[])) "
                "ORDER BY ALL",
                [materials],
            )
        ),
        "models": [_model(record) for record in read_models(root) if record.compound in materials],
    }
    cleaned: dict[str, list[dict[str, Any]]] = policy.clean(found)
    return cleaned


def write_records(folder: Path, records: Mapping[str, list[dict[str, Any]]]) -> None:
    """Write ``NAME.json`` for each kind; ``NAME.csv`` beside it if a record is a flat row."""
    folder.mkdir()
    for name, rows in records.items():
        if rows:
            write_json(folder / f"{name}.json", rows)
            if name in ("runs", "samples", "literature"):
                write_rows(folder / f"{name}.csv", rows)


def _distinct(columns: Mapping[str, NDArray[Any]], name: str) -> list[str]:
    return sorted({str(value) for value in columns.get(name, ()) if value is not None})


def _counted(columns: Mapping[str, NDArray[Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """Return distinct combinations of some columns, with the number of spectra of each."""
    present = [name for name in names if name in columns]
    counts: dict[tuple[Any, ...], int] = {}
    for row in zip(*(columns[name].tolist() for name in present), strict=True):
        counts[row] = counts.get(row, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: tuple(str(value) for value in item[0]))
    return [{**dict(zip(present, row, strict=True)), "spectra": count} for row, count in ordered]


def _runs(connection: Any, columns: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    rows = _counted(columns, ("experiment", "run"))
    recorded = {
        (row["experiment"] or "", row["run"]): row
        for row in database.dicts(connection, "SELECT experiment, run, note, run_sheet FROM runs ORDER BY ingested")
    }
    for row in rows:
        mine = [name == row["run"] for name in columns["run"]]
        pressure = np.asarray(columns.get("pressure", np.full(len(mine), np.nan)), dtype=np.float64)[mine]
        known = pressure[np.isfinite(pressure)]
        row |= {"pressure_min": float(known.min()), "pressure_max": float(known.max())} if known.size else {}
        about = recorded.get((row.get("experiment") or "", row["run"]), {})
        row |= {name: about[name] for name in ("note", "run_sheet") if about.get(name)}
    return rows


def structure_records(connection: Any, named: list[str], materials: list[str]) -> list[dict[str, Any]]:
    """Return active structures with their sites and bonds: those named, and those of some materials."""
    found = database.dicts(
        connection,
        "SELECT * FROM structures WHERE status = 'active' AND (structure_id IN (SELECT unnest(?::VARCHAR[])) "
        "OR material IN (SELECT unnest(?::VARCHAR[]))) ORDER BY structure_id",
        [named, materials],
    )
    for row in found:
        for table, fields in (
            ("sites", "label, element, x, y, z, occupancy"),
            ("bonds", "bond, site, neighbor, bond_length, multiplicity"),
        ):
            sql = f"SELECT {fields} FROM {table} WHERE structure_id = ? AND revision = ?"
            order = " ORDER BY ALL" if table == "bonds" else ""
            row[table] = _plain(database.dicts(connection, sql + order, [row["structure_id"], row["revision"]]))
    return _plain(found)


def _model(record: Any) -> dict[str, Any]:
    found = asdict(record)
    found.pop("line", None)
    found["parameters"] = [_known(parameter) for parameter in found["parameters"]]
    return _known(found)


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_known({name: value for name, value in row.items() if name not in _BOOKKEEPING}) for row in rows]


def _known(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without unknown values; JSON has no NaN."""
    return {str(name): value for name, value in record.items() if value is not None and value == value and value != ""}
