"""A theorist's folder in the archive: hoppings, bands, densities and structures, recognized, labelled and never guessed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from barospec import Archive
from barospec.archive.readers.models_registry import read_model
from barospec.cli.main import app
from barospec.schemas.errors import QueryError
from tests.realdata import REALDATA, needs_realdata

FILES = Path(__file__).parent / "files"
MODELS = FILES / "models"
SAID = ["material=NiO", "pressure=20 kbar"]


def test_a_folder_of_calculations_becomes_labelled_arrays(empty: Archive) -> None:
    report = empty.ingest([MODELS], SAID)
    assert (report.calculations, report.refused, report.added) == (6, 0, 0)
    listed = {row["entry"]: row for row in empty.outputs()}
    assert sorted(row["kind"] for row in listed.values()) == [
        "bands",
        "bands",
        "densities",
        "densities",
        "densities",
        "hoppings",
    ]
    assert {(row["material"], row["pressure"]) for row in listed.values()} == {("NiO", 2.0)}
    for entry, row in listed.items():
        path = MODELS / row["source_file"]
        dataset = empty.output(entry)
        assert row["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (dataset.attrs["origin"], dataset.attrs["pressure"], dataset.attrs["pressure_unit"]) == (
            "calculated",
            2.0,
            "GPa",
        )
        assert json.loads(dataset.attrs["provenance"])["file"]["reader"].startswith(row["reader"])
        for name, variable in dataset.variables.items():
            assert variable.dtype.kind == "O" or variable.attrs["units"], name


def test_every_number_comes_back(empty: Archive) -> None:
    empty.ingest([MODELS / "vasprun.xml", MODELS / "chain_hr.dat"], SAID)
    entries = {row["kind"]: row["entry"] for row in empty.outputs()}
    vasp, chain = read_model(MODELS / "vasprun.xml"), read_model(MODELS / "chain_hr.dat")
    bands = empty.output(entries["bands"])
    np.testing.assert_array_equal(bands["energy"], vasp.bands.energy)
    np.testing.assert_array_equal(bands["projection"], vasp.bands.projection)
    assert list(bands["orbital"].values) == list(vasp.bands.labels)
    assert float(bands["fermi_level"]) == vasp.bands.fermi_level
    assert (bands.attrs["code"], bands.attrs["code_version"]) == ("VASP", "6.0.0")
    # The d weight of Ni in the second spin, by its label.
    chosen = bands["projection"].sel(orbital="1 Ni dxy").isel(spin=1)
    np.testing.assert_array_equal(chosen, vasp.bands.projection[1, ..., 1])
    densities = empty.output(entries["densities"])
    np.testing.assert_array_equal(densities["density"].sel(orbital="2 O s"), vasp.dos.density[:, 3])
    hoppings = empty.output(entries["hoppings"])
    np.testing.assert_array_equal(hoppings["hopping_real"] + 1j * hoppings["hopping_imag"], chain.matrix)
    np.testing.assert_array_equal(hoppings["R"], chain.vectors)


def test_again_changes_nothing_and_other_facts_are_a_conflict(empty: Archive) -> None:
    path = MODELS / "chain_hr.dat"
    first = empty.ingest([path], SAID)
    again = empty.ingest([path, path], SAID)
    assert (again.calculations, again.unchanged, again.snapshot) == (0, 2, None)
    other = empty.ingest([path], ["material=NiO", "pressure=3 GPa"])
    assert (other.conflicts, other.ok, other.snapshot) == (1, False, None)
    assert "hoppings-1 with other facts (pressure 2.0 -> 3.0)" in str(other.problems[-1])
    replaced = empty.ingest([path], ["material=NiO", "pressure=3 GPa"], replace=True)
    assert (replaced.calculations, replaced.replaced) == (1, 1)
    assert [(row["entry"], row["pressure"]) for row in empty.outputs()] == [("hoppings-2", 3.0)]
    assert [row["pressure"] for row in Archive(empty.location.place, at=first.snapshot).outputs()] == [2.0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [([], "no material is stated"), (["material=NiO", "origin=measured"], "origin is measured, but")],
)
def test_what_is_not_stated_is_asked_for(settings: list[str], said: str, empty: Archive) -> None:
    report = empty.ingest([MODELS / "chain_hr.dat"], settings)
    assert (report.refused, report.calculations) == (1, 0)
    assert said in str(report.problems[-1])


def test_a_sheet_describes_spectra_models_and_calculations_together(empty: Archive, tmp_path: Path) -> None:
    for name in ("chain_hr.dat", "vasprun.xml"):
        shutil.copy(MODELS / name, tmp_path / name)
    shutil.copy(FILES / "invented_out.txt", tmp_path)
    (tmp_path / "sheet.yaml").write_text(
        "run: theory\nsample: NiO\nmaterial: NiO\norigin: calculated\nfiles: ['*.dat', '*.xml', '*.txt']\n"
        "scans:\n  - {file: chain_hr.dat, pressure: 10 GPa}\n  - {file: vasprun.xml, pressure: 20 GPa}\n"
        "  - {file: invented_out.txt, scan: xanes, pressure: 30 GPa}\n"
    )
    report = empty.ingest([tmp_path])
    assert [str(problem) for problem in report.problems if problem.severity == "error"] == []
    assert (report.added, report.calculations) == (1, 3)
    assert {row["kind"]: row["pressure"] for row in empty.outputs()} == {
        "hoppings": 10.0,
        "bands": 20.0,
        "densities": 20.0,
    }


def test_a_damaged_calculation_does_not_stop_the_others(empty: Archive, tmp_path: Path) -> None:
    shutil.copy(MODELS / "chain_hr.dat", tmp_path / "good_hr.dat")
    data = (MODELS / "chain_hr.dat").read_bytes()
    (tmp_path / "cut_hr.dat").write_bytes(data[: len(data) // 2])
    report = empty.ingest([tmp_path], SAID)
    assert (report.calculations, report.refused) == (1, 1)
    assert any("cut_hr.dat" in str(problem) for problem in report.problems)
    assert empty.ingest([tmp_path], SAID, strict=True).snapshot is None


def test_an_archive_within_the_folder_is_left_alone(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "barospec-archive")
    shutil.copy(MODELS / "chain_hr.dat", tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("[core]\n")
    for _ in range(2):
        report = archive.ingest([tmp_path], SAID)
        assert (report.refused, report.calculations + report.unchanged) == (0, 1)


def test_a_structure_file_by_itself(empty: Archive, tmp_path: Path) -> None:
    (tmp_path / "nio.cif").write_text(
        "data_nio\n_cell_length_a 4.177\n_cell_length_b 4.177\n_cell_length_c 4.177\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
        "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nNi1 Ni 0 0 0\nO1 O 0.5 0.5 0.5\n"
    )
    report = empty.ingest([tmp_path / "nio.cif"], ["pressure=1 bar", "material=NiO"])
    assert (report.structures, report.refused) == (1, 0)
    with empty.ask("structures of NiO below 1 GPa", columns=["structure_id", "a"]) as answer:
        assert [tuple(row) for row in answer.rows] == [("nio", 4.177)]
    (tmp_path / "bad.cif").write_text("data_x\n_cell_length_a 4\n")
    assert empty.ingest([tmp_path / "bad.cif"]).refused == 1


def test_on_the_command_line(empty: Archive) -> None:
    run = CliRunner().invoke
    done = run(
        app, ["ingest", str(MODELS / "chain_hr.dat"), "--set", "material=NiO", "--archive", str(empty.location.place)]
    )
    assert done.exit_code == 0
    assert "1 calculation (hoppings, bands, densities of states)" in done.stdout
    found = json.loads(run(app, ["models", "--outputs", "--json", "--archive", str(empty.location.place)]).stdout)
    assert (found["count"], found["missing"]["pressure"], found["units"]["pressure"]) == (1, 1, "GPa")
    assert found["rows"][0]["entry"] == "hoppings-1"
    assert (
        "hoppings-1  hoppings  NiO" in run(app, ["models", "--outputs", "--archive", str(empty.location.place)]).stdout
    )
    checked = run(app, ["check", str(MODELS), "--set", "material=NiO"])
    assert (checked.exit_code, "6 calculations" in checked.stdout) == (0, True)


def test_outputs_are_found_by_questions_about_models(empty: Archive, tmp_path: Path) -> None:
    sheet = tmp_path / "two.csv"
    sheet.write_text(
        "model_id,compound,structure,stack,scale,status,pressure,hamiltonian,hund_convention,state_selection,"
        "operator_basis,source,J_H (eV),J_ZZ (eV)\n"
        "two,La3Ni2O7,assumed,bilayer,eV,assumed,30 GPa,-J_H X.Z + J_ZZ Z.Z,spin,lowest,tensor,a guess,0.5,0.66\n"
    )
    assert empty.ingest([sheet]).models == 1
    assert empty.ingest([MODELS / "chain_hr.dat"], ["material=NiO", "pressure=3 GPa"]).calculations == 1
    stored = empty.models("La3Ni2O7").apply("local_moment")
    assert isinstance(stored, xr.Dataset)
    output, file = empty.store_output(stored), "hoppings-1"
    for text, entries in {
        "": {output, file},
        "models of La3Ni2O7": {output},
        "nio": {file},
        "above 2 GPa": {output, file},
        "models between 2 and 4 GPa": {file},
        "with J_ZZ > 500 meV": {output},
        "NiO above 4 GPa": set(),
    }.items():
        assert {row["entry"] for row in empty.outputs(text)} == entries, text
    with pytest.raises(QueryError, match="NiO"):
        empty.outputs("NiOO")


@needs_realdata
def test_real_hoppings(empty: Archive) -> None:
    assert empty.ingest([REALDATA / "wannier90" / "silicon_hr.dat"], ["material=Si"]).calculations == 1
    found = empty.output("hoppings-1")
    assert found["hopping_real"].shape == (93, 8, 8)
    first = found["R"].values.tolist().index([-3, 1, 1])
    assert float(found["hopping_real"][first, 0, 0]) == 0.064956 / 4
