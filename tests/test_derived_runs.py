"""Values of whole runs: slopes and breakpoints, stored with their points, searched with the noun runs, honest about their age."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.catalogs.index import build, database
from barospec.catalogs.series.along import analyze, gather
from barospec.schemas.errors import CallError, Conflict, NotFound

from .files_made import write_columns

# run -> how fast its edge moves, eV/GPa
SLOPES = {"run-1": 0.1, "run-2": 0.0, "run-3": -0.2}
PRESSURES = (0.0, 4.0, 8.0, 12.0)


def curve(folder: Path, run: str, pressure: float, slope: float) -> Path:
    seed = 100 * int(run[-1]) + int(pressure)
    return write_columns(folder / f"{run}-{pressure:g}.xdi", seed=seed, points=240, e0=8340 + slope * pressure)


def add(archive: Archive, folder: Path, run: str, pressure: float, slope: float, **options: Any) -> None:
    path = curve(folder, run, pressure, slope)
    given = ["sample=NiO", "origin=synthetic", "technique=xas", "edge=Ni K", "energy_calibration=foil"]
    given += [f"run={run}", f"pressure={pressure} GPa"]
    assert archive.ingest([path], given, **options).ok


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of three runs."""
    folder = tmp_path_factory.mktemp("runs")
    made, rows = Archive.create(folder / "archive"), []
    for run, slope in SLOPES.items():
        for pressure in PRESSURES[: 2 if run == "run-2" else None]:
            path = curve(folder, run, pressure, slope)
            rows.append(f"  - {{file: {path.name}, run: {run}, pressure: {pressure} GPa}}\n")
    head = (
        "sample: NiO\norigin: synthetic\ntechnique: xas\nedge: Ni K\nenergy_calibration: foil\nfiles: '*.xdi'\nscans:\n"
    )
    (folder / "sheet.yaml").write_text(head + "".join(rows))
    assert made.ingest([folder / "sheet.yaml"]).added == len(rows)
    return folder / "archive"


@pytest.fixture(scope="module")
def fitted(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the slopes of the runs."""
    folder = tmp_path_factory.mktemp("fitted") / "archive"
    shutil.copytree(measured, folder)
    Archive(folder).derive_runs("line", "edge_energy", "Ni K", ensemble=0)
    return folder


@pytest.fixture
def archive(fitted: Path, tmp_path: Path) -> Archive:
    """A copy to change."""
    shutil.copytree(fitted, tmp_path / "archive")
    return Archive(tmp_path / "archive")


def runs(archive: Archive, text: str, **options: Any) -> tuple[list[str], dict[str, int]]:
    with archive.ask(text, **options) as found:
        place = found.columns.index("run")
        return [row[place] for row in found.rows], found.stale


def state(archive: Archive, name: str) -> tuple[int, int, int, int]:
    row = archive.derivations(name)[0]
    assert row["of"] == "runs"
    return row["fresh"], row["failed"], row["stale"], row["missing"]


def test_slopes_of_runs_are_stored_and_searched(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured, tmp_path / "archive")
    archive = Archive(tmp_path / "archive")
    report = archive.derive_runs("line", "edge_energy", "Ni K", ensemble=0)
    assert (report.name, report.computed, report.failed) == ("edge_energy-slope", 3, 1)
    # run-2 has two points, through which a line says nothing of its uncertainty.
    assert state(archive, "edge_energy-slope") == (2, 1, 0, 0)
    gathered = gather(archive.query("Ni K"), "edge_energy", by=["run"], ensemble=0)
    lines = {row["series"]: row for row in analyze("line", gathered)}
    stored = archive.query("Ni K sorted by run").columns(["run", "edge_energy_slope", "edge_energy_slope_sigma"])
    for run in ("run-1", "run-3"):
        mine = stored["run"] == run
        np.testing.assert_array_equal(stored["edge_energy_slope"][mine], lines[run]["slope"])
        np.testing.assert_array_equal(stored["edge_energy_slope_sigma"][mine], lines[run]["slope_sigma"])
        assert lines[run]["slope"] == pytest.approx(SLOPES[run], abs=0.03)
    assert runs(archive, "runs where edge_energy_slope > 0.05 eV/GPa")[0] == ["run-1"]
    assert runs(archive, "runs where edge_energy_slope < -50 meV/GPa")[0] == ["run-3"]
    assert runs(archive, "runs where edge_energy_slope > 0 at 2 sigma")[0] == ["run-1"]
    with archive.ask("spectra with edge_energy_slope > 0.05 eV/GPa above 6 GPa") as found:
        assert (found.count, found.units["edge_energy_slope"]) == (2, "eV/GPa")
    assert archive.derive_runs("line", "edge_energy", "Ni K", ensemble=0).computed == 0
    with pytest.raises(Conflict, match="already stored"):
        archive.derive_runs("line", "edge_energy", "Ni K", ensemble=0, name="other")


def test_other_conditions_and_methods_are_sets_of_their_own(archive: Archive) -> None:
    assert archive.derive_runs("breakpoint", "edge_energy", "run-1", ensemble=0).name == "edge_energy-breakpoint"
    assert state(archive, "edge_energy-breakpoint") == (0, 1, 0, 0)  # four points are too few for a break
    half = archive.derive_runs("line", "edge_energy", "Ni K", ensemble=0, fraction=0.5)
    assert half.name == "edge_energy-slope-2"
    assert runs(archive, "runs where edge_energy_slope[fraction=0.5] > 0.05 eV/GPa")[0] == ["run-1"]
    for wrong, said in (
        ({"method": "slopes"}, "cannot be stored"),
        ({"against": "bond_length"}, "not a number field"),
        ({"output": "edge_enrgy"}, "has no number"),
    ):
        with pytest.raises(CallError, match=said):
            archive.derive_runs(**({"method": "line", "operators": "edge_energy", "text": "Ni K"} | wrong))
    archive.change_derivation("edge_energy-slope-2", status="dropped")
    archive.change_derivation("edge_energy-breakpoint", status="dropped")
    assert [row["name"] for row in archive.derivations()] == ["edge_energy-slope"]


def test_the_record_names_every_file_and_gives_the_bits_again(archive: Archive, tmp_path: Path) -> None:
    identity = str(archive.query("run-1 above 6 GPa").columns(["spectrum_id"])["spectrum_id"][0])
    record = json.loads(json.dumps(archive.why(identity, "edge_energy_slope"), default=str))
    assert [one["pressure"] for one in sorted(record["entity"]["spectra"], key=lambda one: one["pressure"])] == [
        0,
        4,
        8,
        12,
    ]
    assert {one["source_file"].rpartition("/")[2] for one in record["entity"]["spectra"]} == {
        f"run-1-{pressure:g}.xdi" for pressure in PRESSURES
    }
    assert [step["operator"] for step in record["activity"]["derive"]["steps"]] == ["normalize", "edge_energy", "line"]
    again = archive.recompute(record)
    assert (again["same_bits"], again["difference"], again["changed"]) == (True, 0.0, [])
    path = write_columns(tmp_path / "foil.xdi", points=60)
    given = ["sample=Ni foil", "origin=synthetic", "technique=xas", "edge=Ni K", "run=foils"]
    assert archive.ingest([path], given).ok
    foil = str(archive.query("run = foils").columns(["spectrum_id"])["spectrum_id"][0])
    with pytest.raises(NotFound, match="has no edge_energy_slope"):
        archive.why(foil, "edge_energy_slope")


def test_a_run_is_stale_when_its_points_are_not_what_they_were(archive: Archive, tmp_path: Path) -> None:
    name, tagged = "edge_energy-slope", archive.snapshot
    assert state(archive, name) == (2, 1, 0, 0)
    archive.set("run-1 above 10 GPa", ["pressure=12.5 GPa"], reason="ruby line misread")
    assert state(archive, name) == (1, 1, 1, 0)
    assert runs(archive, "runs where edge_energy_slope > 0.05 eV/GPa") == ([], {"edge_energy_slope": 4})
    assert runs(archive, "runs where edge_energy_slope > 0.05 eV/GPa including stale")[0] == ["run-1"]
    assert archive.derivations(name)[0]["because"] == [
        {"reason": "1 spectrum with changed numbers or conditions", "count": 1}
    ]
    add(archive, tmp_path, "run-3", 16.0, -0.2)
    assert state(archive, name) == (0, 1, 2, 0)
    assert [report.computed for report in archive.refresh(name)] == [2]
    assert state(archive, name) == (2, 1, 0, 0)
    archive.set("run-1 above 10 GPa", ["pressure=12 GPa"], reason="no, it was right")
    assert state(archive, name) == (2, 1, 0, 0)  # what was fitted with that pressure holds again
    archive.withdraw("run-3 above 15 GPa", reason="anvil broke")
    assert state(archive, name) == (2, 1, 0, 0)
    archive.reinstate("run-3 above 15 GPa", reason="it had not")
    at = Archive(archive.location.root, at=tagged)
    assert runs(at, "runs where edge_energy_slope > 0.05 eV/GPa")[0] == ["run-1"]
    before = [(archive.derivations(name), _columns(archive))]
    build.publish(Store(archive.location), archive.snapshot, rebuild=True)
    assert [(archive.derivations(name), _columns(archive))] == before


def _columns(archive: Archive) -> list[tuple[Any, ...]]:
    with archive.connection() as connection:
        return database.values(
            connection, 'SELECT row, "edge_energy-slope:edge_energy_slope" FROM spectra ORDER BY grp, row'
        )


def test_runs_follow_what_comes_in(archive: Archive, tmp_path: Path) -> None:
    archive.change_derivation("edge_energy-slope", follow=True)
    add(archive, tmp_path, "run-2", 9.0, 0.0)
    fresh, failed, stale, missing = state(archive, "edge_energy-slope")
    assert (fresh, failed, stale, missing) == (3, 0, 0, 0)  # run-2 has three points now
    assert runs(archive, "runs where edge_energy_slope between -0.05 and 0.05 eV/GPa")[0] == ["run-2"]


def test_an_axis_that_is_not_calibrated_leaves_its_run_out(archive: Archive) -> None:
    archive.set("run-1 above 10 GPa", {"energy_calibration": "none"}, reason="no foil in the beam")
    archive.refresh("edge_energy-slope")
    with archive.ask("runs where edge_energy_slope > 0.05 eV/GPa") as found:
        assert (found.count, found.uncalibrated) == (0, {"edge_energy_slope": 4})
    assert runs(archive, "runs where edge_energy_slope > 0.05 eV/GPa including uncalibrated")[0] == ["run-1"]
