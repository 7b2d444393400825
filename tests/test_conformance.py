"""Every reader down to the store: provenance, units and values come back; damaged tables are read or refused with their place."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from barospec import Archive
from barospec.archive.ingest.prepare import prepare
from barospec.archive.readers import registry
from barospec.archive.readers.ruby_log import find_ruby_log
from barospec.schemas.errors import BarospecError
from barospec.schemas.vocabulary import CHANNELS, DATA_NAME

from .files_made import write_columns
from .test_readers import SAMPLES

SETTINGS = ["run=r", "sample=s", "edge=Ni K"]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """One archive with the sample of every reader."""
    archive = Archive.create(tmp_path_factory.mktemp("conformance") / "archive")
    for name, path in SAMPLES.items():
        # Only calculated files say what they are.
        said = [] if name in ("fdmnes", "feff", "quanty") else ["origin=synthetic"]
        more = {"bliss": ["line=Kb"], "quanty": ["technique=xas"]}.get(name, [])
        report = archive.ingest([path], [*SETTINGS, *said, *more, f"experiment={name}"])
        assert report.added >= 1, (name, [str(problem) for problem in report.problems])
    return archive


@pytest.mark.parametrize("name", sorted(registry.READERS))
def test_values_units_and_provenance_come_back(name: str, together: Archive) -> None:
    path = SAMPLES[name]
    reader, scans = registry.read_file(path)
    by_name = {scan.name: scan for scan in scans}
    found = together.query(f'experiment = "{name}"')
    assert len(found) >= 1
    for row, key in zip(range(len(found)), found.groups, strict=True):
        one = together.query(f'spectrum_id = "{found.columns(["spectrum_id"])["spectrum_id"][row]}"')
        told = {term: values[0] for term, values in one.columns(
            ["source_file", "source_scan", "source_sha256", "reader", "technique", "point_count"]
        ).items()}  # fmt: skip
        scan = by_name[told["source_scan"]]
        assert told["source_file"] == path.name
        assert told["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert told["reader"] == f"{reader.name} {reader.version}"
        assert key.startswith(told["technique"])
        data = one.to_xarray(channels=True).load()
        assert data["energy"].attrs["units"] == "eV"
        np.testing.assert_array_equal(data["energy"].values[0, : scan.energy.size], scan.energy)
        for channel, values in scan.channels.items():
            assert channel in CHANNELS
            if channel in data:
                np.testing.assert_array_equal(data[channel].values[0, : values.size], values)
        curve = data[DATA_NAME[told["technique"]]].values[0, : scan.energy.size]
        assert np.isfinite(curve).any()


# Run sheets, scan tables and ruby logs: not readers of spectra, but as likely to be damaged.

SHEET = """experiment: hc-1
technique: xas
origin: synthetic
ruby_reference: 694.24 ± 0.01
pressure_scale: ruby Mao 1986
interpolate_pressure: step
ruby_log: ruby.csv
runs:
  - run: run-1
    sample: "NiO"
    edge: Ni K
    files: [a.xdi, b.xdi]
    scans: {table}
literature:
  - {{quantity: valence, material: NiO, value: 2, value_unit: "1", source: "here", quote: "2+"}}
"""
ROWS = [
    ["file", "scan", "step", "temperature (K)", "[remark]"],
    ["a.xdi", "1", "1", "300", "first"],
    ["b.xdi", "1", "3", "300 ± 2", ""],
]
LOG = "step,ruby_wavelength (nm),ruby_temperature\n1,695.0,300\n2,696.1 ± 0.02,300 K\n4,697.3,299\n"


def _folder(tmp_path: Path, table: str) -> Path:
    write_columns(tmp_path / "a.xdi")
    write_columns(tmp_path / "b.xdi", seed=1)
    (tmp_path / "ruby.csv").write_text(LOG)
    if table == "scans.xlsx":
        book = openpyxl.Workbook()
        for row in ROWS:
            book.active.append(row)
        out = io.BytesIO()
        book.save(out)
        (tmp_path / table).write_bytes(out.getvalue())
    else:
        (tmp_path / table).write_text("\n".join(",".join(row) for row in ROWS) + "\n", encoding="utf-8")
    (tmp_path / "sheet.yaml").write_text(SHEET.format(table=table), encoding="utf-8")
    return tmp_path / "sheet.yaml"


def _whole(sheet: Path) -> None:
    found = prepare([sheet], {})
    assert found.refused == 0, [str(problem) for problem in found.problems]
    pressures = [entry.columns["pressure"] for entry in found.entries]
    assert len(pressures) == 2
    assert pressures[0] < pressures[1]


@pytest.mark.parametrize("table", ["scans.csv", "scans.xlsx"])
@pytest.mark.parametrize("damaged", ["sheet.yaml", "scans", "ruby.csv"])
def test_damaged_sheets_and_logs_are_read_or_refused_with_their_place(damaged: str, table: str, tmp_path: Path) -> None:
    """Cut at every fiftieth, and with flipped bytes: no traceback, and never a spectrum with a nonsense condition."""
    sheet = _folder(tmp_path, table)
    _whole(sheet)
    path = tmp_path / (table if damaged == "scans" else damaged)
    data = path.read_bytes()
    rng = random.Random(7)
    cases = [data[: len(data) * part // 50] for part in range(50)]
    for _ in range(50):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        cases.append(bytes(changed))
    for case in cases:
        path.write_bytes(case)
        found = prepare([sheet], {})
        # Either something is refused, or both scans are there: none vanishes silently.
        assert found.refused or found.problems or len(found.entries) == 2
        for problem in found.problems:
            if problem.severity == "error":
                assert problem.message
                assert problem.file or str(tmp_path) in problem.message
        for entry in found.entries:
            assert 0 <= entry.columns.get("pressure", 0.0) < 1000
            assert 0 < entry.columns.get("temperature", 1.0) < 10_000
    path.write_bytes(data)
    _whole(sheet)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_damaged_ruby_log_is_recognized_or_not_but_never_stops_a_draft(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ruby{suffix}"
    if suffix == ".csv":
        path.write_text(LOG)
    else:
        book = openpyxl.Workbook()
        for line in LOG.splitlines():
            book.active.append(line.split(","))
        book.save(path)
    whole = find_ruby_log(path)
    assert whole is not None
    assert (whole.axis, whole.wavelengths) == ("step", True)
    data, rng = path.read_bytes(), random.Random(3)
    for part in range(50):
        path.write_bytes(data[: len(data) * part // 50])
        _no_library_error(path)
        changed = bytearray(data)
        changed[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(changed))
        _no_library_error(path)


def _no_library_error(path: Path) -> None:
    refused = ""
    found = None
    try:
        found = find_ruby_log(path)
    except BarospecError as error:
        refused = str(error)
    assert not refused or str(path) in refused
    assert found is None or found.axis in ("time", "step")
