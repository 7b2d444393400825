"""A small index with known contents, for the tests of the query language.

The tables are those of `catalogs.index`; every count in the tests can be checked by eye against `SPECTRA`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from barospec.schemas.vocabulary import SPECTRUM_TERMS, TERMS

SQL = {"number": "DOUBLE", "integer": "BIGINT", "word": "VARCHAR", "text": "VARCHAR", "time": "TIMESTAMP"}
DERIVED = (
    (
        "edge_energy",
        "eV",
        "edge_energy_sigma",
        "Energy where the normalized curve first crosses 0.8.",
        "",
        "xas",
    ),
    ("valence", "1", "valence_sigma", "Mean valence from the edge energy.", "", "xas"),
)


def _row(run: str, sample: str, edge: str = "Ni K", **given: Any) -> dict[str, Any]:
    row = {
        "experiment": "hc-1",
        "run": run,
        "sample": sample,
        "material": sample,
        "edge": edge,
        "technique": "xas",
    }
    row |= {
        "origin": "synthetic",
        "element": edge.split()[0],
        "status": "active",
        "revision": 1,
        "mode": "transmission",
    }
    row |= {"medium": "silicone oil", "energy_calibration": "reference", "direction": "compression"} | given
    if row["technique"] == "xes":
        row["line"] = "Kβ"
    return row


def _spectra() -> list[dict[str, Any]]:
    rows = []
    for pressure, sigma in ((0.9, 0.1), (5.0, 0.1), (10.0, 0.2), (13.9, 0.2), (14.0, 0.2), (15.6, None)):
        rows.append(_row("run-2", "La3Ni2O7", pressure=pressure, pressure_sigma=sigma, temperature=10.0))
    rows[3] |= {"pressure_before": 13.7, "pressure_after": 14.1}
    rows[0] |= {"edge_energy": 8346.0, "edge_energy_sigma": 0.2, "valence": 2.5, "valence_sigma": 0.05}
    rows[1] |= {"edge_energy": 8346.4, "edge_energy_sigma": 0.2, "valence": 2.39, "valence_sigma": 0.05}
    for pressure, temperature in ((2.0, 300.0), (16.0, 300.0), (23.7, 12.0)):
        rows.append(_row("run-3", "La3Ni2O7", pressure=pressure, temperature=temperature, temperature_sigma=3.0))
    rows += [_row("run-1", "La3Ni2O7"), _row("run-1", "La3Ni2O7", temperature=300.0)]  # no pressure
    rows += [_row("run-5", "La3Ni2O7", "La L3", pressure=p, temperature=300.0) for p in (4.0, 20.0)]
    rows.append(
        _row(
            "run-6",
            "La3Ni2O7",
            technique="xes",
            pressure=19.5,
            temperature=300.0,
            medium="none",
            mode="emission",
        )
    )
    rows.append(_row("run-6", "La3Ni2O7", technique="xes", temperature=300.0, medium="none", mode="emission"))
    rows += [_row("NiO", "NiO", pressure=p, temperature=300.0) for p in (1.0, 12.0)]
    rows.append(_row("ambient", "NiO", pressure=0.0001, temperature=300.0, pressure_method="ambient"))
    rows.append(_row("ambient", "NiO", technique="xes", pressure=0.0001, temperature=300.0, direction="none"))
    for atoms in (57, 77):
        calculated = {
            "origin": "calculated",
            "code": "FEFF10",
            "cluster_atoms": atoms,
            "energy_calibration": "calculated",
        }
        rows.append(_row("feff", "LaNiO3", mode="calculation", **calculated))
    rows.append(_row("run-2", "La3Ni2O7", pressure=15.0, temperature=10.0, status="withdrawn"))
    rows.append(_row("run-2", "La3Ni2O7", pressure=16.0, temperature=10.0, status="superseded"))
    for i, row in enumerate(rows):
        row |= {
            "step": i + 1,
            "time": f"2024-05-{i + 1:02d} 08:00:00",
            "spectrum_id": f"{i:02d}ab56cd78ef90{i:02d}",
        }
        row |= {
            "title": f"SYNTHETIC scan {i}",
            "source_scan": f"{i}.10",
            "grp": f"{row['technique']}/{row['edge']}",
            "row": i,
        }
    return rows


SPECTRA = _spectra()
STRUCTURES = (
    {
        "structure_id": "NiO-ambient",
        "material": "NiO",
        "space_group": "F m -3 m",
        "a": 4.177,
        "pressure": 0.0001,
    },
    {
        "structure_id": "LNO-hp",
        "material": "La3Ni2O7",
        "space_group": "I4/mmm",
        "a": 3.73,
        "c": 19.75,
        "pressure": 29.5,
    },
)
BONDS = (
    {
        "structure_id": "NiO-ambient",
        "material": "NiO",
        "bond": "Ni-O",
        "bond_length": 2.0885,
        "pressure": 0.0001,
    },
    {
        "structure_id": "LNO-hp",
        "material": "La3Ni2O7",
        "bond": "Ni-O",
        "bond_length": 1.865,
        "pressure": 29.5,
    },
)
LITERATURE = (
    {"quantity": "valence", "material": "La3Ni2O7", "value": 2.53, "value_sigma": 0.05, "value_unit": "1"},
    {"quantity": "bond length", "material": "NiO", "value": 2.09, "value_unit": "Å"},
)


def _fill(connection: Any, table: str, columns: Mapping[str, str], rows: Any) -> None:
    connection.execute(f"CREATE TABLE {table} ({', '.join(f'{chr(34)}{n}{chr(34)} {k}' for n, k in columns.items())})")
    names = list(columns)
    marks = ", ".join("?" * len(names))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [[row.get(n) for n in names] for row in rows])


def make_index(path: Path | str = ":memory:", spectra: Any = SPECTRA) -> Any:
    """An open connection to such an index."""
    connection = duckdb.connect(str(path))
    columns_of_spectra = {"grp": "VARCHAR", "row": "BIGINT"} | {term.name: SQL[term.kind] for term in SPECTRUM_TERMS}
    columns_of_spectra |= {name: "DOUBLE" for row in DERIVED for name in (row[0], row[2])}
    _fill(connection, "spectra", columns_of_spectra, spectra)
    shared = {
        "material": "VARCHAR",
        "pressure": "DOUBLE",
        "pressure_sigma": "DOUBLE",
        "temperature": "DOUBLE",
    }
    for table, level, rows in (
        ("structures", "structure", STRUCTURES),
        ("bonds", "bond", BONDS),
        ("literature", "literature", LITERATURE),
    ):
        columns = {term.name: SQL[term.kind] for term in TERMS if term.level == level} | shared
        columns |= {"structure_id": "VARCHAR", "status": "VARCHAR"}
        _fill(connection, table, columns, [{"status": "active", **row} for row in rows])
    connection.execute("CREATE TABLE field_values (field VARCHAR, value VARCHAR, count BIGINT)")
    for term in SPECTRUM_TERMS:
        if term.kind == "word":
            connection.execute(
                f"INSERT INTO field_values SELECT '{term.name}', \"{term.name}\", count(*) FROM spectra "
                f"WHERE status = 'active' AND \"{term.name}\" IS NOT NULL GROUP BY 2"
            )
    connection.execute("CREATE TABLE meta (key VARCHAR, value VARCHAR)")
    connection.execute("INSERT INTO meta VALUES ('snapshot', 'S0')")
    derived = dict.fromkeys(("name", "unit", "sigma_column", "meaning", "sql", "technique"), "VARCHAR")
    _fill(connection, "derived_fields", derived, [dict(zip(derived, row, strict=True)) for row in DERIVED])
    return connection
