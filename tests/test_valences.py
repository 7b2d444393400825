"""Two estimates of a valence side by side, and the structural part of an edge shift."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from barospec import Archive
from barospec.catalogs.series import structural, valences
from barospec.cli import series as series_verb
from barospec.cli import valences as verb
from barospec.sample_data.truth import bond_length, load_truth
from barospec.schemas.errors import CallError, InvalidData, NotFound

REFERENCES = "2: NiO run = ambient; 3: LaNiO3 run = ambient"
WINDOW = {"low": 8318.0, "high": 8340.0}


@pytest.fixture(scope="module")
def bonds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ni-O of the sample's truth as a table."""
    truth = load_truth()
    path = tmp_path_factory.mktemp("bonds") / "bonds.csv"
    lines = ["# mean Ni-O", "material,pressure,bond_length"]
    for material in ("La3Ni2O7", "NiO"):
        lines += [f"{material},{p},{bond_length(truth, material, p):.6f}" for p in np.linspace(0, 31, 32)]
    path.write_text("\n".join(lines) + "\n")
    return path


def run(command: object, *words: object) -> dict[str, object]:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output + repr(done.exception)
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_both_estimates_of_the_sample_stand_side_by_side(sample: Archive, sample_path: Path) -> None:
    told = run(
        verb.command,
        "La3Ni2O7 run = ambient",
        "--references",
        REFERENCES,
        "--low",
        8318,
        "--high",
        8340,
        "-a",
        sample_path,
    )
    edge, line = told["rows"]  # type: ignore[misc]
    assert edge["operator"] == "valence"
    assert edge["valence"] == pytest.approx(2.53, abs=0.02)
    assert (edge["spectra"], line["spectra"]) == (4, 2)
    # The generator's 2.81, less what a tail under the line does to its position.
    assert line["valence"] == pytest.approx(2.81, abs=0.06)
    assert told["difference"] == pytest.approx(edge["valence"] - line["valence"])
    assert told["difference_sigma"] == pytest.approx(
        np.sqrt(edge["sigma"] ** 2 + edge["sigma_norm"] ** 2 + line["sigma"] ** 2)
    )
    assert any("not calibrated" in note for note in told["notes"])  # type: ignore[attr-defined]
    with pytest.raises(InvalidData, match="emission spectra of one kind"):
        valences.two_estimates(sample.query("La3Ni2O7 xas Ni K run = run-2"), REFERENCES, **WINDOW)
    wide = valences.two_estimates(sample.query("La3Ni2O7 Ni K run in (ambient, run-6)"), REFERENCES, **WINDOW)
    assert any("not one point" in note for note in wide.notes)


def test_contraction_is_taken_out_with_the_slope_of_nio(sample_path: Path, bonds: Path) -> None:
    told = run(
        series_verb.command, "structural", "edge_shift", "La3Ni2O7 xas Ni K run = run-3", "-w",
        "reference=La3Ni2O7 run = ambient", "--bond-lengths", bonds, "--like", "NiO xas Ni K run = NiO",
        "--like-reference", "NiO run = ambient", "-a", sample_path,
    )  # fmt: skip
    rows: list[dict[str, float]] = told["rows"]  # type: ignore[assignment]
    assert len(rows) == 15
    assert [row["bond_length"] for row in rows] == sorted((row["bond_length"] for row in rows), reverse=True)
    assert rows[0]["structural"] == 0
    last = rows[-1]
    assert last["edge_shift"] == pytest.approx(0.8, abs=0.1)
    # The sample was made so that all of the shift is contraction.
    assert abs(last["corrected"] - rows[0]["edge_shift"]) < 3 * last["corrected_sigma"]
    assert last["corrected_sigma"] > 0.01
    assert told["units"]["corrected"] == "eV"  # type: ignore[index]
    assert any("dE/dR = -1" in note and "eV/Å" in note for note in told["notes"])  # type: ignore[attr-defined]


def test_no_correction_without_slope_energy_or_bonds(sample: Archive, bonds: Path) -> None:
    selection = sample.query("La3Ni2O7 xas Ni K run = run-3")
    table = structural.read_bond_lengths(bonds)
    with pytest.raises(CallError, match="--like"):
        structural.structural(selection, "edge_energy(ensemble=0)", bond_lengths=table)
    with pytest.raises(CallError, match="--like"):
        structural.structural(selection, "edge_energy(ensemble=0)", slope=-15.0, like=selection)
    with pytest.raises(CallError, match="needs energies"):
        structural.structural(selection, "normalize", value="edge_step", slope=-15.0, bond_lengths=table)
    with pytest.raises(InvalidData, match="no spectrum has a bond length"):
        structural.structural(selection, "edge_energy(ensemble=0)", slope=-15.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("material,pressure\nNiO,1\n", "no column bond_length"),
        ("material,pressure,bond_length\nNiO,1,two\n", "row 1"),
        ("material,pressure,bond_length\nNiO,1,2.09\nNiO,2,20.9\n", "row 2.*is not possible"),
        ("material,pressure,bond_length\nNiO,1\n", "row 1"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bonds.csv"
    path.write_text(text)
    with pytest.raises(InvalidData, match=said):
        structural.read_bond_lengths(path)
    with pytest.raises(NotFound, match="no table"):
        structural.read_bond_lengths(tmp_path / "none.csv")


def test_options_of_another_method_are_refused(sample_path: Path) -> None:
    app = typer.Typer()
    app.command()(series_verb.command)
    for words, said in ((["line", "--margin", "0.1"], "equivalence"), (["line", "--slope", "-15"], "structural")):
        done = CliRunner().invoke(app, [words[0], "edge_energy", "xas Ni K", *words[1:], "-a", str(sample_path)])
        assert isinstance(done.exception, CallError)
        assert said in str(done.exception)
