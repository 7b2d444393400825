"""Exports: files that other tools take, say what nobody measured, give away nothing private, and read back unchanged."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from barospec import Archive
from barospec.archive.readers import athena as athena_reader
from barospec.archive.readers import nxxas as nxxas_reader
from barospec.archive.readers import xdi as xdi_reader
from barospec.cli.main import app
from barospec.schemas.errors import CallError, Conflict

from .bundles_made import PRIVATE, opened
from .realdata import REALDATA, needs_realdata

EVERY = "technique = xas"
# XDI 1.0: the field's grammar, and the values that its dictionary restricts.
FIELD = re.compile(r"# ([A-Za-z_]\w*\.\w+): (\S.*)")
EDGES = {"K", "L", "L1", "L2", "L3", "M", "M1", "M2", "M3", "M4", "M5"}


def valid_xdi(text: str) -> tuple[dict[str, str], np.ndarray]:
    """Read a file after the rules of the XDI 1.0 specification; raises where it breaks one."""
    assert text.isascii() or text.encode("utf-8")
    lines = text.split("\n")
    assert re.fullmatch(r"# XDI/1\.0( \S+/\S+)*", lines[0])
    assert all(len(line) <= 2048 for line in lines)
    end = next(number for number, line in enumerate(lines) if re.fullmatch(r"# ?-{3,}", line))
    comment = next((number for number, line in enumerate(lines) if re.fullmatch(r"# ?/{3,}", line)), end)
    fields: dict[str, str] = {}
    for line in lines[1:comment]:
        match = FIELD.fullmatch(line)
        assert match, line
        assert match[1] not in fields, line
        fields[match[1]] = match[2]
    assert fields["Element.edge"] in EDGES
    assert re.fullmatch(r"[A-Z][a-z]?", fields["Element.symbol"])
    assert float(fields["Mono.d_spacing"].split()[0]) > 0
    assert fields["Column.1"] == "energy eV"
    labels = lines[end + 1].removeprefix("#").split()
    numbers = [name for name in fields if name.startswith("Column.")]
    assert [fields[f"Column.{n}"].split()[0] for n in range(1, len(numbers) + 1)] == labels
    rows = [[float(item) for item in line.split()] for line in lines[end + 2 :] if line]
    table = np.array(rows)
    assert table.shape[1] == len(labels)
    assert np.isfinite(table).all()
    if "Scan.start_time" in fields:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?", fields["Scan.start_time"])
    return fields, table


@pytest.fixture(scope="module")
def archive(shared_path: Path) -> Archive:
    return opened(shared_path)


@pytest.mark.parametrize("format", ["xdi", "athena", "nxxas", "csv"])
def test_nothing_private_and_every_origin(archive: Archive, tmp_path: Path, format: str) -> None:
    made = archive.export(EVERY, tmp_path / "out", format=format)
    assert made.count == 11
    assert made.left_out["proposal"] == made.left_out["operator"] == 11
    for path in made.files:
        content = path.read_bytes()
        if path.suffix == ".prj":
            import gzip

            content = gzip.decompress(content)
        assert PRIVATE.search(content.decode("latin-1")) is None, path
        if format in ("athena", "nxxas"):
            assert b"CALCULATED" in content
    if format in ("xdi", "csv"):
        (calculated,) = [path for path in made.files if "CALCULATED" in path.name]
        assert "calculated" in calculated.read_text().casefold()


def test_xdi_is_valid_and_reads_back(archive: Archive, tmp_path: Path) -> None:
    made = archive.export(EVERY, tmp_path / "out")
    spectra = archive.query(EVERY).to_xarray(channels=True).compute()
    names = spectra.spectrum_id.values.tolist()
    for path in made.files:
        fields, table = valid_xdi(path.read_text())
        row = names.index(fields["Barospec.spectrum_id"])
        count = int(spectra.point_count[row]) if "point_count" in spectra else table.shape[0]
        np.testing.assert_array_equal(table[:, 0], spectra.energy.values[row, :count])
        (scan,) = xdi_reader.read(path, {})
        assert scan.conditions["edge"] == "Ni K"
        np.testing.assert_array_equal(scan.energy, table[:, 0])
        for name in ("i0", "itrans"):
            np.testing.assert_array_equal(scan.channels[name], spectra[name].values[row, :count])


def test_nxxas_reads_back(archive: Archive, tmp_path: Path) -> None:
    (path,) = archive.export(EVERY, tmp_path / "out", format="nxxas").files
    spectra = archive.query(EVERY).to_xarray().compute()
    with h5py.File(path) as file:
        assert len(file) == 11
        for entry in file.values():
            assert entry["definition"][()] == b"NXxas"
            row = spectra.spectrum_id.values.tolist().index(entry["process/note/spectrum_id"].asstr()[()])
            np.testing.assert_array_equal(entry["energy"][()], spectra.energy.values[row])
            np.testing.assert_array_equal(entry["intensity"][()], spectra.mu.values[row])
            assert entry["energy"].attrs["units"] == "eV"
            assert entry["sample/pressure"].attrs["units"] == "GPa"
            assert entry["sample/temperature"][()] == 300.0
    assert len(list(nxxas_reader.read(path, {}))) == 11


def test_csv_has_a_table_and_units(archive: Archive, tmp_path: Path) -> None:
    made = archive.export("run-6 or run = fms", tmp_path / "out", format="csv")
    assert made.count == 3
    with (tmp_path / "out/spectra.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["origin"] for row in rows) == ["calculated", "synthetic", "synthetic"]
    for row in rows:
        with (tmp_path / "out" / row["file"]).open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert {line["origin"] for line in lines} == {row["origin"]}
        curve = "mu" if row["technique"] == "xas" else "intensity"
        energy, values = archive.curve(row["spectrum_id"])
        np.testing.assert_array_equal([float(line["energy (eV)"]) for line in lines], energy)
        np.testing.assert_array_equal([float(line[curve]) for line in lines], values)
    with (tmp_path / "out/fields.csv").open(newline="") as file:
        units = {row["field"]: row["unit"] for row in csv.DictReader(file)}
    assert (units["pressure"], units["temperature"]) == ("GPa", "K")


@needs_realdata
@pytest.mark.parametrize("name", ["NiO.prj", "LaCoO3.prj"])
def test_athena_project_loses_nothing(tmp_path: Path, name: str) -> None:
    """In through our reader, out, and in again: the same groups, arrays and parameters, as a person set them in Athena."""
    archive = Archive.create(tmp_path / "archive")
    edge = "La L3" if name.startswith("La") else "Ni K"
    given = ["run=r", "sample=x", f"edge={edge}", "technique=xas", "origin=measured", "signal=murecorded"]
    report = archive.ingest([REALDATA / "athena" / name], [part for part in given if not part.startswith("signal")])
    assert report.added, report.problems
    archive.configure({"private": ["proposal", "operator", "source_path"]})
    (path,) = archive.export("all spectra", tmp_path / "out", format="athena").files
    before = {scan.header["group"]: scan for scan in athena_reader.read(REALDATA / "athena" / name, {})}
    after = list(athena_reader.read(path, {}))
    assert len(after) == report.added
    for scan in after:
        mine = before[scan.header["group"]]
        np.testing.assert_array_equal(scan.energy, mine.energy)
        assert set(scan.channels) <= set(mine.channels)
        for channel, curve in scan.channels.items():
            np.testing.assert_array_equal(curve, mine.channels[channel], err_msg=channel)
        old, new = json.loads(mine.header["athena"]), json.loads(scan.header["athena"])
        lost = {key: (value, new.get(key)) for key, value in old.items() if str(new.get(key)) != str(value)}
        assert set(lost) <= {"bkg_z", "fft_edge", "label"}, lost
        assert {key: str(a).casefold() for key, (a, _) in lost.items()} == {
            key: str(b).casefold() for key, (_, b) in lost.items()
        }


def test_calibration_of_the_archive_reaches_athena(shared_path: Path, tmp_path: Path) -> None:
    archive = opened(shutil.copytree(shared_path, tmp_path / "archive"))
    name = str(archive.query("run = fms").columns(["spectrum_id"])["spectrum_id"][0])
    archive.set(name, {"energy_shift": "1.25 eV"}, reason="by its foil")
    (path,) = archive.export("run = fms", tmp_path / "out", format="athena").files
    (scan,) = athena_reader.read(path, {})
    assert float(json.loads(scan.header["athena"])["bkg_eshift"]) == 1.25


def test_what_a_format_cannot_hold_is_told(archive: Archive, tmp_path: Path) -> None:
    made = archive.export("all spectra", tmp_path / "out", format="xdi")
    assert (made.count, sum(made.skipped.values())) == (11, 2)
    with pytest.raises(Conflict, match="exists"):
        archive.export("all spectra", tmp_path / "out", format="xdi")
    assert archive.export("all spectra", tmp_path / "out", format="xdi", overwrite=True).count == 11
    with pytest.raises(CallError, match="Did you mean athena"):
        archive.export("all spectra", tmp_path / "out", format="athene")
    with pytest.raises(CallError, match="nothing to export"):
        archive.export("La3Ni2O7 above 99 GPa", tmp_path / "out")


def test_same_export_twice_is_the_same_bytes(archive: Archive, tmp_path: Path) -> None:
    for format in ("xdi", "athena", "nxxas", "csv"):
        one, two = (archive.export(EVERY, tmp_path / n / format, format=format).files for n in ("one", "two"))
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two], format


def test_command_line(shared_path: Path, tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(app, ["export", EVERY, str(tmp_path / "o"), "-f", "csv", "--json", "--archive", str(shared_path)])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["spectra"] == 11
    none = run.invoke(app, ["export", "technique = xes", str(tmp_path / "x"), "--archive", str(shared_path)])
    assert none.exit_code == 1
    assert "not exported: 2 spectra" in none.stderr
