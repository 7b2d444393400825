"""Pressures re-expressed in one scale: known numbers, there and back, edits with their history."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.edit.rescale_pressure import rescaled
from barospec.archive.sheets.ruby_pressure import SCALES, ruby_pressure
from barospec.schemas.errors import CallError, InvalidData

from .files_made import write_columns
from .test_cli import call

HEAD = "run: run-2\nsample: s\ntechnique: xas\nedge: Ni K\norigin: synthetic\nfiles: '*.xdi'\n"
ROWS = """\
pressure_scale: ruby Mao 1986
ruby_reference: 694.24
ruby_temperature: 300 K
interpolate_pressure: step
scans:
  - {file: 0.xdi, step: 1, ruby_wavelength: 697.0 ± 0.02}
  - {file: 1.xdi, step: 2}
  - {file: 2.xdi, step: 3, ruby_wavelength_before: 701.2, ruby_wavelength_after: 701.5}
  - {file: 3.xdi, step: 4, pressure: ambient}
  - {file: 4.xdi, step: 5, pressure: 12 GPa, pressure_scale: other}
  - {file: 5.xdi, step: 6, pressure: 20 ± 0.5 GPa}
"""
NEW = "ruby Dewaele 2004"


@pytest.fixture
def archive(empty: Archive, tmp_path: Path) -> Archive:
    for number in range(6):
        write_columns(tmp_path / f"{number}.xdi", seed=number)
    (tmp_path / "sheet.yaml").write_text(HEAD + ROWS)
    report = empty.ingest([tmp_path / "sheet.yaml"])
    assert (report.added, report.refused) == (6, 0), report.problems
    return empty


def pressures(archive: Archive) -> dict[str, np.ndarray]:
    return archive.query("spectra sorted by step").columns(
        ["pressure", "pressure_sigma", "pressure_before", "pressure_after", "pressure_scale"]
    )


def test_pressures_are_what_the_readings_give_on_the_new_scale(archive: Archive) -> None:
    before = archive.snapshot
    old = pressures(archive)
    report = archive.rescale_pressure("run-2", NEW, reason="as the others do")
    assert [edit.changed["pressure_scale"][1] for edit in report.changed] == [NEW] * 4
    assert report.left == {"ambient, no gauge reading": 1, 'pressure_scale "other" has no formula': 1}
    new = pressures(archive)
    first, sigma = map(float, ruby_pressure(697.0, 694.24, NEW, wavelength_sigma=0.02))
    two, three = (float(ruby_pressure(line, 694.24, NEW)[0]) for line in (701.2, 701.5))
    third = (two + three) / 2
    assert new["pressure"][[0, 2]] == pytest.approx([first, third], rel=1e-9)
    assert new["pressure_sigma"][0] == pytest.approx(sigma, rel=1e-5)
    # Interpolated: halfway between the readings before and after, on the new scale too.
    assert new["pressure"][1] == pytest.approx((first + third) / 2, abs=1e-4)
    assert new["pressure"][3:5].tolist() == old["pressure"][3:5].tolist()
    assert new["pressure_scale"].tolist() == [NEW, NEW, NEW, "ruby Mao 1986", "other", NEW]
    # What was published stays what it was.
    earlier = Archive(archive.location.root, at=before)
    np.testing.assert_array_equal(pressures(earlier)["pressure"], old["pressure"])
    shown = archive.show(report.changed[0].known.spectrum_id)
    (event,) = [event for event in shown["events"] if event["action"] == "rescale_pressure"]
    assert event["reason"] == "as the others do"
    assert json.loads(event["details"])["changed"]["pressure_scale"] == {"old": "ruby Mao 1986", "new": NEW}


def test_again_changes_nothing_and_a_rebuilt_index_agrees(archive: Archive) -> None:
    archive.rescale_pressure("run-2", NEW)
    head, found = archive.snapshot, pressures(archive)
    again = archive.rescale_pressure("run-2", NEW)
    assert (again.changed, again.unchanged, again.snapshot, archive.snapshot) == ([], 4, None, head)
    archive.rebuild_index()
    for name, values in pressures(archive).items():
        np.testing.assert_array_equal(values, found[name])


def test_a_dry_run_writes_nothing(archive: Archive) -> None:
    head = archive.snapshot
    assert len(archive.rescale_pressure("all spectra", NEW, dry_run=True).changed) == 4
    assert archive.snapshot == head


def test_the_same_sheet_is_recognized_afterwards(archive: Archive, tmp_path: Path) -> None:
    archive.rescale_pressure("run-2", NEW)
    report = archive.ingest([tmp_path / "sheet.yaml"])
    assert (report.unchanged, report.conflicts) == (6, 0)
    # Stated as it is now, it is the same too; stated otherwise, it is a conflict that says what differs.
    row = "  - {file: 0.xdi, step: 1, ruby_wavelength: 697.0 ± 0.02}\n"
    only = HEAD.replace("'*.xdi'", "0.xdi") + ROWS.split("scans:")[0].replace("interpolate_pressure: step\n", "")
    (tmp_path / "sheet.yaml").write_text(only.replace("ruby Mao 1986", NEW) + "scans:\n" + row)
    report = archive.ingest([tmp_path / "sheet.yaml"])
    assert (report.unchanged, report.conflicts) == (1, 0), report.problems
    (tmp_path / "sheet.yaml").write_text(only.replace("ruby Mao 1986", "Ruby2020") + "scans:\n" + row)
    report = archive.ingest([tmp_path / "sheet.yaml"])
    assert report.conflicts == 1
    assert f"pressure_scale {NEW} -> Ruby2020" in str(report.problems[-1])


def test_another_pressure_in_the_file_is_taken_on_the_scale_of_the_file(archive: Archive, tmp_path: Path) -> None:
    archive.rescale_pressure("run-2", NEW)
    rescaled_pressures = pressures(archive)["pressure"]
    sheet = HEAD + ROWS.replace("pressure: 20 ± 0.5 GPa", "pressure: 21 ± 0.4 GPa")
    (tmp_path / "sheet.yaml").write_text(sheet)
    report = archive.ingest([tmp_path / "sheet.yaml"], replace=True)
    assert (report.unchanged, report.replaced, report.conflicts) == (5, 1, 0), report.problems
    found = pressures(archive)
    # The number of the file on the scale that it was re-expressed in would be wrong without a word.
    assert (found["pressure"][5], found["pressure_sigma"][5]) == (21.0, 0.4)
    assert found["pressure_scale"].tolist() == [NEW, NEW, NEW, "ruby Mao 1986", "other", "ruby Mao 1986"]
    np.testing.assert_array_equal(found["pressure"][:5], rescaled_pressures[:5])


def test_scans_and_their_mean_go_together(empty: Archive, tmp_path: Path) -> None:
    for number in range(2):
        write_columns(tmp_path / f"{number}.xdi", seed=number)
    (tmp_path / "s.yaml").write_text(
        HEAD + "step: 1\ntemperature: 300 K\npressure: 10 GPa\npressure_scale: ruby Mao 1986\n"
    )
    empty.ingest([tmp_path / "s.yaml"])
    assert len(empty.merge("run-2").merged) == 1
    assert len(empty.rescale_pressure("run-2", NEW).changed) == 3
    assert len(set(empty.query("scans").columns(["pressure"])["pressure"])) == 1


SCALE = st.sampled_from(sorted(SCALES))


@given(pressure=st.floats(0, 150), sigma=st.floats(1e-3, 2), one=SCALE, other=SCALE)
def test_there_and_back(pressure: float, sigma: float, one: str, other: str) -> None:
    columns = {"pressure": pressure, "pressure_sigma": sigma, "pressure_scale": one}
    there = rescaled(columns, other)[0] or columns
    back = rescaled(there, one)[0] or there
    assert back["pressure"] == pytest.approx(pressure, rel=1e-8, abs=1e-8)
    assert back["pressure_sigma"] == pytest.approx(sigma, rel=1e-6)
    # All scales are the same slope at ambient within 3 %, and grow apart.
    assert abs(there["pressure"] - pressure) < 0.02 * pressure + 0.002 * pressure**2 + 1e-9


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "no pressure"),
        ({"pressure": 1.0}, "pressure_scale is not stated"),
        ({"pressure": 1e-4, "pressure_method": "ambient", "pressure_scale": "ruby Mao 1986"}, "ambient, no gauge reading"),
        ({"pressure": -500.0, "pressure_scale": "ruby Mao 1986"}, "its pressure is outside the range of ruby Mao 1986"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_says_why(columns: dict[str, object], reason: str) -> None:
    assert rescaled(columns, NEW) == ({}, reason)


def test_the_verb(archive: Archive) -> None:
    place = ["--archive", archive.location.root]
    with pytest.raises(InvalidData, match=r"has no formula here.*Did you mean ruby Dewaele 2004"):
        archive.rescale_pressure("run-2", "ruby Dewale 2004")
    with pytest.raises(CallError):
        Archive(archive.location.root, at=archive.snapshot).rescale_pressure("run-2", NEW)
    assert call("rescale_pressure", "run-2", "other", *place).returncode == 1
    found = json.loads(call("rescale_pressure", "run-2", NEW, "--dry-run", "--json", *place).stdout)
    assert (found["count"], found["snapshot"], found["units"]["pressure"]) == (4, None, "GPa")
    done = call("rescale_pressure", "run-2", NEW, *place)
    assert done.returncode == 0, done.stderr
    assert "4 pressures converted to ruby Dewaele 2004" in done.stdout
    assert "1 not changed: ambient" in done.stderr
