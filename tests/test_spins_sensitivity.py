"""Statements about outputs, shares of a box over stored models, and how the command shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from barospec import Archive
from barospec.archive.spins.outputs import BATCH, Labelled, Outputs
from barospec.archive.spins.registry import MODEL_OPERATORS
from barospec.archive.spins.statements import parse_statement, parse_statements
from barospec.cli import operators_models
from barospec.sample_data import RAW
from barospec.schemas.errors import CallError
from barospec.schemas.units import find_unit

from .test_cli import call

OUTPUTS: Outputs = {
    "gap": Labelled("gap", np.zeros(1), (BATCH,), "eV", "."),
    "J_lt": Labelled("J_lt", np.zeros(1), (BATCH,), "eV", "."),
    "share": Labelled("share", np.zeros(1), (BATCH,), "1", "."),
    "J_ZZ": Labelled("J_ZZ", np.zeros((1, 2)), (BATCH, "bond"), "eV", ".", {"bond": ("um", "ml")}),
    "pair": Labelled("pair", np.zeros((1, 2, 2)), (BATCH, "i", "j"), "1", ".", {"i": ("a", "b"), "j": ("a", "b")}),
}
VALUES = {
    "gap": np.array([0.1, 0.3, np.nan]),
    "J_lt": np.array([-0.3, -0.1, -0.2]),
    "share": np.array([0.0, 0.5, 1.0]),
    "J_ZZ": np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]),
    "pair": np.arange(12.0).reshape(3, 2, 2),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gap > 200 meV", [0, 1, np.nan]),
        ("gap<=0.1", [1, 0, np.nan]),
        ("abs(J_lt) > gap", [1, 0, np.nan]),
        ("|J_lt| >= 0.2 eV", [1, 0, 1]),
        ("J(lt) < -0.15", [1, 0, 1]),
        ("J_ZZ[ml] > 2 * J_ZZ[um]", [1, 1, 0]),
        ("-2*J_lt > J_ZZ[um]", [1, 0, 1]),
        ("pair[a,b] > 4.5", [0, 1, 1]),
        ("0.5 < share", [0, 0, 1]),
        ("1e-1 eV < gap", [0, 1, np.nan]),
    ],
)
def test_statements(text: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(parse_statement(text, OUTPUTS)(VALUES), expected)


def test_the_margin_says_by_how_much() -> None:
    np.testing.assert_allclose(parse_statement("gap > 200 meV", OUTPUTS).margin(VALUES), [-0.1, 0.1, np.nan])
    np.testing.assert_allclose(parse_statement("gap < 200 meV", OUTPUTS).margin(VALUES), [0.1, -0.1, np.nan])
    assert list(parse_statements("gap > 1; share<1 ;", OUTPUTS)) == ["gap > 1", "share<1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gap", "does not compare two sides"),
        ("gap > 1 > 0", "does not compare two sides"),
        ("gip > 1", r'no output "gip".*Did you mean gap'),
        ("gap > 1 K", "unit of temperature"),
        ("gap > share", "compares eV with 1"),
        ("J_ZZ > 1", r"write which J_ZZ, of bond: J_ZZ\[um\]"),
        ("J_ZZ[mu] > 1", r'no bond "mu".*There are um, ml'),
        ("gap[x] > 1", "in no brackets"),
        ("1 > 0", "names no output"),
        ("abs(1) > gap", "neither an output nor a number"),
        ("gap > 0,5", r"Write 0\.5"),
        ("__import__('os') > 1", "neither an output nor a number"),
        (" ; ", "no statement"),
    ],
)
def test_what_is_no_statement_is_told(text: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        parse_statements(text, OUTPUTS)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    made = Archive.create(tmp_path_factory.mktemp("models") / "archive")
    made.ingest([RAW / "models"])
    return made


CONVENTIONS: Any = {"convention": "kanamori", "e_ct_reference": "high-spin d8"}


def test_shares_are_those_of_the_closed_form(archive: Archive) -> None:
    """The dimer's gap grows with J_ZZ, so the share above one value of it is that part of the range."""
    models = archive.models("models of La3Ni2O7 above 40 GPa")
    middle = float(models.apply("spin_spectrum", sweep={"J_ZZ": [0.5]})["gap"].squeeze())  # type: ignore[index]
    found = models.sensitivity("spin_spectrum", {"J_ZZ": (0.3, 0.7)}, f"gap > {middle!r} eV", points=256)
    assert isinstance(found, xr.Dataset)
    assert float(found["share"].squeeze()) == pytest.approx(0.5, abs=0.01)
    order = np.argsort(found["box_J_ZZ"].values[0])
    assert np.all(np.diff(found["margin"].values[0, 0][order]) > 0)
    assert found["box_J_ZZ"].attrs["units"] == found["margin"].attrs["units"] == "eV"
    assert float(found["gap_low"].squeeze()) < middle < float(found["gap_high"].squeeze())


def test_a_family_moves_as_one_and_a_member_alone(archive: Archive) -> None:
    models = archive.models("models of La4Ni3O10 above 40 GPa with scale = eV")
    together = models.sensitivity("spin_spectrum", {"J_H": (0.4, 0.8)}, "gap > 0", points=8)
    assert "box_J_H" in together
    assert "box_J_H(l)" not in together
    apart = models.sensitivity("spin_spectrum", {"J_H(l)": (0.4, 0.8)}, "gap > 0", points=8)
    assert np.ptp(apart["box_J_H(l)"].values) > 0.1
    assert np.ptp(apart["box_J_H(m)"].values) == 0


def test_published_ranges_are_the_box_of_what_has_no_value(archive: Archive) -> None:
    models = archive.models("models of La4Ni3O10")
    found = models.sensitivity("hopping_to_spins", {"J": 0.4}, "abs(J_lt) > abs(J_mt)", points=32, **CONVENTIONS)
    assert found.sizes["model"] == 2
    low, high = found["box_E_CT"].values.min(), found["box_E_CT"].values.max()
    assert (3.0 <= low < 3.2, 3.8 < high <= 4.0) == (True, True)
    step = json.loads(found.attrs["provenance"])["steps"][0]
    assert (step["operator"], step["of"], step["options"]["points"]) == ("sensitivity", "hopping_to_spins", 32)
    entry = archive.store_output(found)
    xr.testing.assert_allclose(archive.output(entry)["share"].compute(), found["share"])


@pytest.mark.parametrize(
    ("box", "holds", "message"),
    [
        ({"U": (1.0, 2.0)}, "J_ZZ > 0", 'no parameter "U" for a box'),
        ({"U_d": (2.0, 1.0)}, "J_ZZ > 0", "range of U_d"),
        ({}, "J_XX > 0", 'no output "J_XX"'),
    ],
)
def test_wrong_boxes_and_statements_are_told(archive: Archive, box: Any, holds: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        archive.models("models of La4Ni3O10").sensitivity("hopping_to_spins", box, holds, points=8, **CONVENTIONS)
    with pytest.raises(CallError, match="power of two"):
        archive.models("models of La4Ni3O10").sensitivity("spin_spectrum", {"J_H": (0.4, 0.8)}, "gap > 0", points=7)


@pytest.mark.parametrize("name", [*MODEL_OPERATORS, *operators_models.BESIDE])
def test_every_operator_over_models_is_listed_and_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in [row[0] for row in operators_models.rows()]
    operators_models.describe(name)
    assert f'barospec apply {name} "models of La4Ni3O10"' in capsys.readouterr().out
    if name in MODEL_OPERATORS:
        for output in operators_models.outputs(MODEL_OPERATORS[name]).values():
            assert output.unit in ("k_B", "µB/T", "cm³/mol") or find_unit(output.unit) is not None, (
                output.name,
                output.unit,
            )
            assert output.meaning


def test_the_command_as_a_theorist_would(archive: Archive, tmp_path: Path) -> None:
    place = ["--archive", archive.location.root]
    words = ["--with=of=hopping_to_spins", "--with=box.J=0.4", "--with=points=16", "--with=box.U_d=4:8"]
    words += ["--with=convention=kanamori", "--with=e_ct_reference=high-spin d8"]
    words += ["--with=holds=abs(J_lt) > abs(J_mt); J_ZZ > 9"]
    done = call("apply", "sensitivity", "models of La4Ni3O10", *words, "-o", tmp_path / "a.png", *place)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").stat().st_size > 10_000
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[-3] for line in lines if "abs(J_lt)" in line] == ["1", "1"]
    assert [line[-3] for line in lines if "J_ZZ" in line and "9" in line] == ["0", "0"]
    found = json.loads(call("apply", "sensitivity", "models of La4Ni3O10", *words, "--json", *place).stdout)
    assert found["count"] == len(found["rows"])
    assert not [row for row in found["rows"] if row["unit"] not in ("eV", "1")]
    assert call("apply", "sensitivity", "models of La4Ni3O10", "--with=of=hopping_to_spins", *place).returncode == 2
    listed = json.loads(call("operators", "--json").stdout)
    assert {"sensitivity", "trans_proximate", "edge_energy"} <= {row["name"] for row in listed["rows"]}
