"""Bundles into another archive: nothing lost, nothing twice, conflicts told, and out again with the same numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from barospec import Archive
from barospec.catalogs.bundles.build import Bundle
from barospec.cli.main import app
from barospec.schemas.errors import InvalidData

from .bundles_made import ABOVE, CHAINS, opened

GROUP = "data/spectra/xas-Ni-K.zarr"


@pytest.fixture
def other(tmp_path: Path) -> Archive:
    return Archive.create(tmp_path / "other")


def test_import_keeps_identity_and_provenance(sealed: Bundle, shared_path: Path, other: Archive) -> None:
    before = len(other.log())
    report = other.import_bundle(sealed.path)
    assert (report.ok, report.added) == (True, 8), report.problems
    assert len(other.log()) == before + 1
    names = ["spectrum_id", "pressure", "pressure_sigma", "run", "sample", "time", "source_sha256", "step", "origin"]
    for query in (ABOVE, "run = NiO"):
        mine, theirs = other.query(query).columns(names), opened(shared_path).query(query).columns(names)
        for name in names:
            np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    told = other.query(ABOVE).columns(["bundle", "bundle_revision", "proposal", "operator"])
    assert set(told["bundle"]) == {sealed.identifier}
    assert set(told["bundle_revision"]) == {1}
    assert set(told["proposal"]) == set(told["operator"]) == {None}
    assert sealed.identifier in next(iter(other.log())).message


def test_bundle_of_an_import_has_the_same_arrays(sealed: Bundle, other: Archive, tmp_path: Path) -> None:
    other.import_bundle(sealed.path)
    again = other.share(ABOVE, tmp_path / "again", derived=CHAINS)
    for group in (GROUP, GROUP.replace("spectra", "inputs")):
        first, second = (xr.open_zarr(path / group, chunks=None) for path in (sealed.path, again.path))
        for name in first.variables:
            if name not in ("ingested", "run_sheet", "revision"):
                np.testing.assert_array_equal(first[name].values, second[name].values, err_msg=str(name))
        assert set(second.variables) - set(first.variables) <= {"bundle", "bundle_revision"}
    third = Archive.create(tmp_path / "third")
    third.import_bundle(again.path)
    assert third.query(ABOVE).columns(["spectrum_id"])["spectrum_id"].tolist() == first_ids(sealed)


def first_ids(bundle: Bundle) -> list[str]:
    return list(xr.open_zarr(bundle.path / GROUP, chunks=None).spectrum_id.values)


def test_the_same_bundle_again_adds_nothing(sealed: Bundle, other: Archive) -> None:
    other.import_bundle(sealed.path)
    snapshot = other.snapshot
    report = other.import_bundle(sealed.path)
    assert (report.added, report.ok, report.snapshot) == (0, True, None)
    assert report.unchanged >= 8
    assert other.snapshot == snapshot


@pytest.mark.parametrize("raw", [False, True])
def test_an_archive_recognizes_its_own(shared_path: Path, tmp_path: Path, raw: bool) -> None:
    """Although the bundle lacks channels, headers, private fields and folders."""
    mine = opened(shutil.copytree(shared_path, tmp_path / "mine"))
    made = mine.share("run-2 or run = NiO or run = run-6", tmp_path / "bundle", derived="", raw=raw)
    report = mine.import_bundle(made.path)
    assert report.problems == []
    assert (report.added, report.snapshot) == (0, None)


def test_zip_goes_in_as_the_folder_does(shared_path: Path, other: Archive, tmp_path: Path) -> None:
    made = opened(shared_path).share("run = fms or run = run-6", tmp_path / "bundle.zip", raw=True)
    assert other.import_bundle(made.path).added == 3
    found = other.query("all spectra").columns(["origin", "line"])
    assert sorted(found["origin"]) == ["calculated", "synthetic", "synthetic"]
    for query in ("run = fms", "run = run-6"):
        one, two = (archive.query(query).to_xarray(channels=True).compute() for archive in (other, opened(shared_path)))
        for name, curve in two.data_vars.items():
            np.testing.assert_array_equal(one[name].values, curve.values)


def test_what_contradicts_is_a_conflict_until_replaced(
    sealed: Bundle, shared_path: Path, other: Archive, tmp_path: Path
) -> None:
    """The group that gave the bundle corrects a pressure and gives another one."""
    other.import_bundle(sealed.path)
    theirs, name = opened(shutil.copytree(shared_path, tmp_path / "theirs")), first_ids(sealed)[0]
    theirs.set(name, {"pressure": "13 GPa"}, reason="ruby read again")
    second = theirs.share(f"spectrum_id = {name}", tmp_path / "second")
    report = other.import_bundle(second.path)
    assert (report.ok, report.added) == (False, 0)
    assert [problem for problem in report.problems if name in str(problem) and "pressure" in str(problem)]
    assert other.query(f"spectrum_id = {name}").columns(["pressure"])["pressure"].tolist() == [12.0]
    assert other.import_bundle(second.path, replace=True).replaced == 1
    found = other.query(f"spectrum_id = {name}").columns(["pressure", "revision", "bundle"])
    assert (found["pressure"].tolist(), found["revision"].tolist()) == ([13.0], [2])
    assert found["bundle"].tolist() == [second.identifier]
    # What this archive corrected itself is upheld, as for files.
    other.set(name, {"pressure": "14 GPa"}, reason="their ruby is off")
    other.import_bundle(second.path)
    assert other.query(f"spectrum_id = {name}").columns(["pressure"])["pressure"].tolist() == [14.0]


def test_damaged_bundle_leaves_the_archive_alone(sealed: Bundle, other: Archive, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sealed.path, tmp_path / "copy"))
    chunk = copy / GROUP / "mu/c/0/0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    snapshot = other.snapshot
    with pytest.raises(InvalidData, match="nothing was read"):
        other.import_bundle(copy)
    assert (other.snapshot, len(other.query("all spectra"))) == (snapshot, 0)


def test_records_come_along(shared_path: Path, other: Archive, tmp_path: Path) -> None:
    made = opened(shared_path).share("run = NiO", tmp_path / "bundle")
    records = {path.name for path in (made.path / "data/records").iterdir()}
    assert {"runs.json", "runs.csv", "samples.json", "literature.csv", "literature.json", "structures.json"} <= records
    report = other.import_bundle(made.path)
    assert report.problems == []
    with other.connection() as connection:
        assert connection.execute("SELECT structure_id, a FROM structures").fetchall() == [("nio", 4.177)]
        assert connection.execute("SELECT quantity, value, value_unit FROM literature").fetchall() == [
            ("e0", 8346.0, "eV")
        ]


def test_command_line(sealed: Bundle, other: Archive) -> None:
    base = ["--archive", str(other.location.root)]
    run = CliRunner()
    first = run.invoke(app, ["import", str(sealed.path), *base, "-m", "from the group next door"])
    assert first.exit_code == 0, first.stderr
    assert "8 added" in first.stdout
    second = run.invoke(app, ["import", str(sealed.path), *base, "--json"])
    assert json.loads(second.stdout)["added"] == 0
    missing = run.invoke(app, ["import", str(sealed.path / "nowhere"), *base])
    assert missing.exit_code != 0
