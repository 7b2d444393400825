"""Model sheets: what is read, and what is refused."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from barospec.archive.spins.models import STACKS
from barospec.archive.spins.sheets.records import REQUIRED, REQUIRED_AT, read_models
from barospec.sample_data import RAW
from barospec.schemas.errors import InvalidData, UnreadableFile

SHEET = """\
compound: La4Ni3O10
source: a paper
models:
  - model_id: one
    stack: trilayer
    scale: Hartree
    status: published
    pressure: 443 kbar
    structure: measured
    hamiltonian: t, U, J
    fermi_level_reference: not stated
    hund_convention: kanamori
    e_ct_reference: high-spin d8
    state_selection: lowest
    operator_basis: tensor
    parameters:
      - {name: t_perp_pZ, value: 1940 ± 20, unit: meV, bond: um, quote: "1.94"}
      - {name: E_CT, low: 3, high: 4, unit: eV}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "model.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_units_ranges_and_inheritance(tmp_path: Path) -> None:
    (record,) = read_models(write(tmp_path, SHEET))
    assert (record.compound, record.pressure, record.scale) == ("La4Ni3O10", 44.3, "Hartree")
    hopping, transfer = record.parameters
    assert (hopping.value, hopping.sigma, hopping.unit, hopping.quote) == (1.94, 0.02, "eV", "1.94")
    assert math.isnan(transfer.value)
    assert (transfer.low, transfer.high) == (3.0, 4.0)
    assert record.metadata["hund_convention"] == "kanamori"
    assert len(record.source_sha256) == 64
    assert record.line == 4


def test_committed_sheets_are_sound() -> None:
    records = [record for path in sorted((RAW / "models").glob("*.yaml")) for record in read_models(path)]
    assert len({record.model_id for record in records}) == len(records) == 11
    assert {record.stack for record in records} <= set(STACKS)
    by_id = {record.model_id: record for record in records}
    assert by_id["La4Ni3O10-eV-high"].value("J_ZZ") == 0.66
    assert by_id["La4Ni3O10-Hartree-high"].pressure == 44.3
    assert by_id["La4Ni3O10-sub-eV-high"].value("J(lt)") == -0.28
    assert math.isnan(by_id["La4Ni3O10-sub-eV-high"].value("J(mt)"))
    assert all(record.status == "assumed" for record in records if record.compound != "La4Ni3O10")
    # Every published number shows the text it was printed as.
    assert all(
        p.quote
        for record in records
        if record.status == "published"
        for p in record.parameters
        if not math.isnan(p.value)
    )


@pytest.mark.parametrize("name", [n for n in (*REQUIRED, *REQUIRED_AT["Hartree"]) if n != "parameters"])
def test_mandatory_metadata_is_demanded(tmp_path: Path, name: str) -> None:
    text = "\n".join(line for line in SHEET.splitlines() if not line.lstrip(" -").startswith(f"{name}:"))
    if name == "model_id":
        text = SHEET.replace("model_id: one", "note: one")
    with pytest.raises(InvalidData, match=rf"model\.yaml:\d+: the model has no {name}"):
        read_models(write(tmp_path, text))


@pytest.mark.parametrize("scale", list(REQUIRED_AT))
def test_each_scale_demands_its_own(tmp_path: Path, scale: str) -> None:
    for name in REQUIRED_AT[scale]:
        lines = [line for line in SHEET.splitlines() if not line.lstrip().startswith(f"{name}:")]
        text = "\n".join(lines).replace("scale: Hartree", f"scale: {scale}")
        with pytest.raises(InvalidData, match=rf"no {name}: at the {scale} scale"):
            read_models(write(tmp_path, text))
    assert read_models(write(tmp_path, SHEET.replace("scale: Hartree", f"scale: {scale}")))


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("scale: Hartree", "scale: hartre", 6, "not one of Hartree, eV, sub-eV. Did you mean Hartree"),
        ("pressure: 443 kbar", "pressure: 443 K", 8, "temperature"),
        ("unit: meV", "unit: GPa2", 17, "unknown unit"),
        ("value: 1940 ± 20", 'value: "1,94"', 17, r"1\.94"),
        ("unit: meV, ", "", 17, "no unit"),
        ("low: 3, high: 4", "low: 4, high: 3", 18, "above high"),
        ("low: 3, high: 4", "low: 4", 18, "both low and high"),
        ("low: 3, high: 4, ", "", 18, "no value"),
        ("    hund_convention: kanamori", "    hund_conventoin: kanamori", 12, "Did you mean hund_convention"),
        ("name: E_CT", "name: t_perp_pZ, bond: um", 18, "already in line 17"),
        ("    status: published", "    status: published\n    status: assumed", 8, "given twice"),
        ("hamiltonian: t, U, J", "hamiltonian: [t, U]", 10, "one value"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in SHEET
    with pytest.raises(InvalidData, match=says) as caught:
        read_models(write(tmp_path, SHEET.replace(old, new)))
    assert f"model.yaml:{line}: " in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = SHEET.replace("scale: Hartree", "scale: big").replace("status: published", "status: guessed")
    with pytest.raises(InvalidData) as caught:
        read_models(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("models: [", UnreadableFile, "not YAML"),
        ("- a", InvalidData, "mapping"),
        ("source: x", InvalidData, "no list"),
        ("", InvalidData, "mapping"),
        ("models: [a]", InvalidData, "model_id"),
        (SHEET + SHEET[SHEET.index("  - model_id") :], InvalidData, "already that of line 4"),
    ],
)
def test_what_is_no_model_sheet(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read_models(write(tmp_path, text))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_models(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"source: \xe9\n")
    with pytest.raises(UnreadableFile, match="UTF-8"):
        read_models(tmp_path / "latin.yaml")


def test_a_parameter_that_is_not_there_is_named(tmp_path: Path) -> None:
    (record,) = read_models(write(tmp_path, SHEET))
    with pytest.raises(InvalidData, match="it has t_perp_pZ, E_CT"):
        record.value("J_H")


LABELS = """\
    wannier:
      file: b_hr.dat
      orbitals:
        - {index: 1, site: Ni, layer: u, orbital: Z}
        - {index: 2, site: Ni, layer: l, orbital: Z}
        - {index: 3, site: O, orbital: p, bond: ul}
"""
BILAYER = "\n".join(line for line in SHEET.splitlines() if "t_perp_pZ" not in line) + "\n"
BILAYER = BILAYER.replace("    parameters:\n", LABELS + "    parameters:\n")


def write_hamiltonian(folder: Path, legs: tuple[float, float] = (1.5, -1.7)) -> Path:
    h = [[-1.0, 0.0, legs[0]], [0.0, -1.0, legs[1]], [legs[0], legs[1], -4.0]]
    rows = "".join(f"0 0 0 {m + 1} {n + 1} {h[m][n]:.6f} 0\n" for n in range(3) for m in range(3))
    path = folder / "b_hr.dat"
    path.write_text(f"two layers\n3\n1\n1\n{rows}")
    return path


def test_parameters_come_from_a_hamiltonian(tmp_path: Path) -> None:
    digest = hashlib.sha256(write_hamiltonian(tmp_path).read_bytes()).hexdigest()
    (record,) = read_models(write(tmp_path, BILAYER))
    assert [(p.name, p.layer, p.bond, p.value, p.unit) for p in record.parameters[:3]] == [
        ("t_perp_pZ", "", "Ni-O apical", 1.6, "eV"),
        ("t_perp_pZ", "u", "ul", 1.5, "eV"),
        ("t_perp_pZ", "l", "ul", 1.7, "eV"),
    ]
    assert record.parameters[0].sigma == 0.1
    assert math.isnan(record.parameters[1].sigma)
    assert record.value("onsite_dp_Z", layer="l") == 3.0
    assert [p.name for p in record.parameters].count("E_CT") == 1  # the sheet's own; levels never take that name
    for parameter in record.parameters[:6]:
        assert f"b_hr.dat, sha256 {digest}" in parameter.note
        assert "R = (0,0,0)" in parameter.note


def test_a_hamiltonian_may_be_all(tmp_path: Path) -> None:
    write_hamiltonian(tmp_path)
    alone = BILAYER[: BILAYER.index("    parameters:")]
    assert len(read_models(write(tmp_path, alone))[0].parameters) == 6


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("- {name: E_CT, low: 3", "- {name: t_perp_pZ, low: 3", 23, "remove one of the two"),
        ("file: b_hr.dat", "file: c_hr.dat", 17, "c_hr.dat: cannot be opened"),
        ("      file: b_hr.dat\n", "", 17, "needs a file"),
        ("orbital: p, bond: ul", "orbital: p, bond: um", 17, "does not name two layers"),
        ("index: 3, site: O", "index: 4, site: O", 17, "functions 4, but H has 3"),
        (
            "index: 2, site: Ni, layer: l, orbital: Z",
            "index: 2, site: Ni, layer: l, orbital: Y",
            20,
            "not one of Z, X, p",
        ),
        ("index: 2, site", "indx: 2, site", 20, "Did you mean index"),
        ("        - {index: 3, site: O, orbital: p, bond: ul}", "        - three", 21, "an orbital is a mapping"),
    ],
)
def test_mistakes_in_a_hamiltonian_are_placed(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    write_hamiltonian(tmp_path)
    assert old in BILAYER
    with pytest.raises(InvalidData, match=says) as caught:
        read_models(write(tmp_path, BILAYER.replace(old, new)))
    assert f"model.yaml:{line}: " in str(caught.value)


def test_a_hamiltonian_is_of_one_model(tmp_path: Path) -> None:
    write_hamiltonian(tmp_path)
    with pytest.raises(InvalidData, match='"wannier" is not a key here'):
        read_models(write(tmp_path, "wannier: {file: b_hr.dat}\n" + SHEET))


def test_a_damaged_hamiltonian_is_refused(tmp_path: Path) -> None:
    path = write_hamiltonian(tmp_path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(InvalidData, match=r"model\.yaml:17: .*7 rows where"):
        read_models(write(tmp_path, BILAYER))
