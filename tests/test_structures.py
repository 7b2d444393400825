"""Structures: cells completed and refused, CIF, and bond lengths with known answers."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.structures.structures import Bond, Structure, bonds, from_mapping, read_cif
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile
from tests.realdata import REALDATA, needs_realdata

NIO: dict[str, Any] = {
    "structure_id": "NiO-ambient",
    "material": "NiO",
    "space_group": "F m -3 m",
    "a": "4.177",
    "sites": [
        {"label": "Ni1", "element": "Ni", "x": "0", "y": 0, "z": 0},
        {"label": "O1", "element": "O", "x": "1/2", "y": 0.5, "z": "0.5"},
    ],
    "pressure": "1 bar",
    "temperature": "20 degC",
    "source": "known answer",
}
# a, c and z as in the titles of the calculated series; the labels are those of its feff.inp.
BILAYER: dict[str, Any] = {
    "structure_id": "La3Ni2O7-hp",
    "space_group": "I4/mmm",
    "a": "373 pm",
    "c": "19.75 Å",
    "sites": [
        {"label": "La1", "element": "La", "x": 0, "y": 0, "z": 0.5},
        {"label": "La2", "element": "La", "x": 0, "y": 0, "z": 0.321},
        {"label": "Ni1", "element": "Ni", "x": 0, "y": 0, "z": 0.0978},
        {"label": "O1", "element": "O", "x": 0, "y": 0, "z": 0},
        {"label": "O2", "element": "O", "x": 0, "y": 0, "z": 0.205},
        {"label": "O3", "element": "O", "x": 0, "y": 0.5, "z": 0.0958},
    ],
    "source": "known answer",
}
CIF = """data_NiO
_chemical_formula_sum 'Ni O'
_journal_paper_doi 10.0000/example
_diffrn_ambient_temperature 295(2)
_diffrn_ambient_pressure 5.0e6
_cell_length_a 4.177(1)
_cell_length_b 4.177(1)
_cell_length_c 4.177(1)
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ni1 Ni2+ 0 0 0 1
O1 O2- 0.5 0.5 0.5 1
"""


def changed(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (record | changes).items() if value is not None}


def around(structure: Structure, site: str, cutoff: float) -> list[Bond]:
    return [bond for bond in bonds(structure, cutoff) if bond.site == site]


def test_rock_salt() -> None:
    nio = from_mapping(NIO)
    assert (nio.b, nio.c, nio.gamma) == (4.177, 4.177, 90.0)
    assert nio.volume == pytest.approx(4.177**3, rel=1e-12)
    assert nio.pressure == 1e-4
    assert nio.temperature == pytest.approx(293.15)
    assert nio.problems == ()
    found = around(nio, "Ni1", 4.3)
    assert [(bond.bond, bond.multiplicity) for bond in found] == [
        ("Ni-O", 6),
        ("Ni-Ni", 12),
        ("Ni-O", 8),
        ("Ni-Ni", 6),
    ]
    np.testing.assert_allclose([bond.bond_length for bond in found], 4.177 * np.sqrt([0.25, 0.5, 0.75, 1.0]), atol=1e-9)
    assert around(nio, "O1", 2.2) == [Bond("O1", "Ni1", "O-Ni", pytest.approx(2.0885), 6)]


def test_bilayer_nickelate_has_the_apical_shell_of_the_paper() -> None:
    found = around(from_mapping(BILAYER), "Ni1", 5.7)
    nearest = [(bond.neighbor, round(bond.bond_length, 4), bond.multiplicity) for bond in found[:3]]
    assert nearest == [("O3", 1.8654, 4), ("O1", 1.9315, 1), ("O2", 2.1172, 1)]
    shell = [bond for bond in found if bond.neighbor == "O2" and round(bond.bond_length, 3) == 5.684]
    assert [bond.multiplicity for bond in shell] == [4]


@needs_realdata
def test_bilayer_nickelate_against_the_atom_list_of_the_calculation() -> None:
    text = (REALDATA / "feff10-computed" / "hp_77" / "feff.inp").read_text()
    assert "a=3.7300 c=19.7500 zLa2=0.3210 zNi=0.0978 zOap=0.2050 zOpl=0.0958" in text
    rows = re.findall(r"^(\S+)\s+(\S+)\s+(\S+)\s+\d\s+([A-Z][a-z]?)\d?\s+[\d.]+$", text, re.MULTILINE)
    element = np.array([row[3] for row in rows])
    distance = np.linalg.norm(np.array([row[:3] for row in rows], dtype=float), axis=1)
    found = around(from_mapping(BILAYER), "Ni1", 5.9)
    assert sum(bond.multiplicity for bond in found) == 76  # and the absorber: the 77 atoms of the cluster
    for bond in found:
        same = (element == bond.bond.split("-")[1]) & (np.abs(distance - bond.bond_length) < 2e-4)
        others = [b for b in found if b.bond == bond.bond and abs(b.bond_length - bond.bond_length) < 2e-4]
        assert same.sum() == sum(other.multiplicity for other in others)


def test_hexagonal_cell() -> None:
    hcp = from_mapping(
        {
            "structure_id": "Co",
            "space_group": "P 63/m m c",
            "a": 2.507,
            "c": 4.069,
            "sites": [{"label": "Co1", "element": "Co", "x": "1/3", "y": "2/3", "z": 0.25}],
            "source": "known answer",
        }
    )
    assert hcp.gamma == 120.0
    found = bonds(hcp, 2.6)
    assert [bond.multiplicity for bond in found] == [6, 6]
    np.testing.assert_allclose(
        [bond.bond_length for bond in found], [np.sqrt(2.507**2 / 3 + 4.069**2 / 4), 2.507], atol=1e-6
    )


def test_triclinic_cell_against_brute_force() -> None:
    record = {
        "structure_id": "t",
        "space_group": "P 1",
        "a": 3.1,
        "b": 4.2,
        "c": 5.3,
        "alpha": 75,
        "beta": 98,
        "gamma": 111,
        "sites": [
            {"label": "A", "element": "Fe", "x": 0.1, "y": 0.2, "z": 0.3},
            {"label": "B", "element": "O", "x": 0.7, "y": -0.4, "z": 1.9},
        ],
        "source": "known answer",
    }
    structure = from_mapping(record)
    cosines = np.cos(np.radians([75, 98, 111]))
    metric = np.array(
        [
            [3.1**2, 3.1 * 4.2 * cosines[2], 3.1 * 5.3 * cosines[1]],
            [3.1 * 4.2 * cosines[2], 4.2**2, 4.2 * 5.3 * cosines[0]],
            [3.1 * 5.3 * cosines[1], 4.2 * 5.3 * cosines[0], 5.3**2],
        ]
    )
    assert structure.volume == pytest.approx(np.sqrt(np.linalg.det(metric)), rel=1e-12)
    steps = np.array([0.6, -0.6, 1.6]) + np.array(np.meshgrid(*[np.arange(-6, 7)] * 3)).reshape(3, -1).T
    lengths = np.sqrt(np.einsum("ni,ij,nj->n", steps, metric, steps))
    found = [bond for bond in around(structure, "A", 6.0) if bond.neighbor == "B"]
    np.testing.assert_allclose([bond.bond_length for bond in found], np.sort(lengths[lengths <= 6.0]), atol=1e-9)


def test_sites_on_one_place_are_not_bonded() -> None:
    sites = [
        {"label": "Fe1", "element": "Fe", "x": 0, "y": 0, "z": 0, "occupancy": 0.5},
        {"label": "Mg1", "element": "Mg", "x": 0, "y": 0, "z": 0, "occupancy": 0.5},
    ]
    mixed = from_mapping(changed(NIO, sites=sites))
    assert {round(bond.bond_length, 4) for bond in bonds(mixed)} == {2.9536}
    assert mixed.sites[1].occupancy == 0.5


def test_rounded_special_positions_are_one_atom() -> None:
    sites = [{"label": "Co1", "element": "Co", "x": 0.3333, "y": 0.6667, "z": 0.25}]
    hcp = from_mapping(
        {
            "structure_id": "Co",
            "space_group": "P 63/m m c",
            "a": 2.507,
            "c": 4.069,
            "sites": sites,
            "source": "x",
        }
    )
    assert sum(bond.multiplicity for bond in bonds(hcp, 2.6)) == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space_group": "F m 3 n n"}, r'space group "F m 3 n n" is not known'),
        ({"space_group": None}, 'space group "" is not known'),
        ({"space_group": "P 4/m m m"}, "c is missing, and P 4/m m m .tetragonal. does not fix it"),
        ({"b": 4.2}, "b is 4.2, but F m -3 m .cubic. needs 4.177"),
        ({"alpha": "91 deg"}, "alpha is 91, but .* needs 90"),
        ({"a": "4,177"}, '(?s)structure NiO-ambient: a: "4,177" is not a number. Write 4.177'),
        ({"a": "4 GPa"}, "structure NiO-ambient: a: .*GPa is a unit of pressure"),
        ({"a": -1}, "a is -1.0; expected a number between 0 and 1000"),
        ({"a": None}, "a is missing"),
        ({"sites": "Ni 0 0 0"}, "write a list of"),
        ({"sites": ["Ni"]}, "is not a mapping"),
        (
            {"sites": [{"label": "Q1", "element": "Qq", "x": 0, "y": 0, "z": 0}]},
            'site Q1: "Qq" is not an element',
        ),
        ({"sites": [{"label": "O1", "element": "O", "x": 0, "y": 0}]}, "site O1: z is missing"),
        ({"sites": [{"label": "O1", "element": "O", "x": 0, "y": 0, "zz": 0}]}, 'site O1: no field "zz"'),
        ({"sites": [NIO["sites"][0], NIO["sites"][0]]}, 'two sites have the label "Ni1"'),
        ({"sites": [NIO["sites"][0] | {"occupancy": 2}]}, "occupancy 2.0 is not between 0 and 1"),
        ({"sites": [NIO["sites"][0] | {"x": "1/0"}]}, "divides by zero"),
        ({"origin": "guessed"}, 'origin "guessed" is not one of measured'),
        ({"presure": 1}, 'no field "presure". Did you mean pressure'),
        ({"structure_id": ""}, "structure_id is missing"),
        ({"cif": "nio.cif"}, "a, space_group, sites and a cif"),
    ],
)
def test_records_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        from_mapping(changed(NIO, **changes))


def test_angles_that_span_no_cell() -> None:
    record = changed(NIO, space_group="P 1", b=4, c=4, alpha=20, beta=20, gamma=90)
    with pytest.raises(InvalidData, match="the angles 20, 20, 90 span no cell"):
        from_mapping(record)


def test_monoclinic_and_rhombohedral_rules() -> None:
    mono = from_mapping(changed(NIO, space_group="P 1 21/c 1", b=5, c=6, beta=100))
    assert (mono.alpha, mono.beta, mono.gamma) == (90.0, 100.0, 90.0)
    rhombohedral = from_mapping(changed(NIO, space_group="R -3 c:R", alpha=60))
    assert (rhombohedral.c, rhombohedral.gamma) == (4.177, 60.0)
    assert "two choices of origin" in str(from_mapping(changed(NIO, space_group="F d -3 m")).problems[0])
    assert from_mapping(changed(NIO, space_group="F d -3 m:2")).problems == ()


def test_uncertainty_origin_and_note_are_kept() -> None:
    record = changed(NIO, pressure="140 +- 5 kbar", origin="calculated", note="a remark")
    nio = from_mapping(record)
    assert (nio.pressure, nio.pressure_sigma) == (14.0, 0.5)
    assert (nio.origin, nio.note) == ("calculated", "a remark")
    assert from_mapping(record | {"pressure_sigma": "1 GPa"}).pressure_sigma == 1.0


def test_a_record_without_a_source_is_told() -> None:
    assert "no source" in str(from_mapping(changed(NIO, source=None)).problems[0])


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), 500.0])
def test_cutoffs_that_cannot_be(cutoff: float) -> None:
    with pytest.raises(InvalidData, match="cutoff"):
        bonds(from_mapping(NIO), cutoff)


def test_cif(tmp_path: Path) -> None:
    path = tmp_path / "nio.cif"
    path.write_text(CIF)
    nio = read_cif(path)
    assert (nio.structure_id, nio.material, nio.space_group) == ("nio", "NiO", "F m -3 m")
    assert nio.temperature == 295.0
    assert nio.pressure == pytest.approx(5.0)
    assert nio.source == "10.0000/example"
    assert nio.source_file == "nio.cif"
    assert len(nio.source_sha256) == 64
    assert [site.element for site in nio.sites] == ["Ni", "O"]
    assert around(nio, "Ni1", 2.2) == [Bond("Ni1", "O1", "Ni-O", pytest.approx(2.0885), 6)]
    record = {"structure_id": "mine", "cif": "nio.cif", "pressure": "10 kbar", "source": "here"}
    mine = from_mapping(record, folder=tmp_path)
    assert (mine.structure_id, mine.pressure, mine.source, mine.temperature) == ("mine", 1.0, "here", 295.0)


def test_cif_operations_go_before_the_symbol(tmp_path: Path) -> None:
    path = tmp_path / "nio.cif"
    path.write_text(CIF + "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n'-x, -y, -z'\n")
    nio = read_cif(path)
    assert nio.operations == ("x,y,z", "-x,-y,-z")
    # Without the centering nickel has eight oxygens at the corners' distance and none nearer.
    assert [(bond.bond, bond.multiplicity) for bond in around(nio, "Ni1", 3.7)] == [("Ni-O", 8)]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("data_NiO\n", "", UnreadableFile, "is not a valid CIF"),
        ("_cell_length_a 4.177(1)\n", "", InvalidData, "0 data blocks with a cell"),
        ("4.177(1)\n_cell_length_b", "?\n_cell_length_b", InvalidData, "a is"),
        ("'F m -3 m'", "'F m 3 q'", InvalidData, "neither symmetry operations nor a space group"),
        ("Ni1 Ni2+ 0 0 0 1", "Ni1 Ni2+ ? 0 0 1", InvalidData, "coordinates"),
        ("Ni1 Ni2+", "Q1 Qq", InvalidData, "is not an element"),
    ],
)
def test_bad_cif(old: str, new: str, error: type[BarospecError], message: str, tmp_path: Path) -> None:
    assert old in CIF
    path = tmp_path / "bad.cif"
    path.write_text(CIF.replace(old, new, 1))
    with pytest.raises(error, match=message) as caught:
        read_cif(path)
    assert "bad.cif" in str(caught.value)


def test_cif_with_two_structures_and_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    path.write_text(CIF + CIF.replace("data_NiO", "data_other"))
    with pytest.raises(InvalidData, match=r"2 data blocks with a cell \(NiO, other\)"):
        read_cif(path)
    with pytest.raises(UnreadableFile, match=r"gone\.cif: cannot be opened"):
        read_cif(tmp_path / "gone.cif")


FLIP = st.tuples(st.integers(0, len(CIF) - 1), st.integers(0, 255))


@given(flips=st.lists(FLIP, min_size=1, max_size=6), cut=st.integers(0, 700))
@settings(max_examples=150, deadline=None)
def test_damaged_cif_is_read_or_refused(flips: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(CIF.encode())
    for place, value in flips:
        content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.cif"
        path.write_bytes(bytes(content[: len(content) - cut]))
        try:
            found = bonds(read_cif(path))
        except BarospecError:
            return
    assert all(0 < bond.bond_length <= 3.2 and bond.multiplicity >= 1 for bond in found)


def test_a_lattice_alone_is_kept_and_says_what_it_lacks() -> None:
    lattice = {
        "structure_id": "La3Ni2O7-ambient",
        "space_group": "C m m m",
        "a": 5.38902,
        "b": 5.44791,
        "c": 20.50644,
        "source": "x",
    }
    found = from_mapping(lattice)
    assert found.volume == pytest.approx(5.38902 * 5.44791 * 20.50644)
    assert bonds(found) == []
    assert any("no sites" in str(problem) for problem in found.problems)
