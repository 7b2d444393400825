"""Wannier Hamiltonians: known hoppings come back, and what does not fit is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.readers.models_registry import read_model
from barospec.archive.readers.wannier90 import Hoppings
from barospec.archive.spins.electrons import wannier
from barospec.archive.spins.electrons.electrons import electron_cluster
from barospec.archive.spins.electrons.wannier import Orbital, extract_hoppings, over_all, read_labels
from barospec.archive.spins.outputs import as_array
from barospec.archive.spins.sheets.records import read_models
from barospec.sample_data import RAW
from barospec.sample_data.hamiltonian import FUNCTIONS, trilayer_hamiltonian
from barospec.sample_data.truth import load_truth
from barospec.schemas.errors import InvalidData

from .realdata import REALDATA, needs_realdata

TRILAYER = [
    *(
        Orbital(4 * k + n + 1, kind, "O" if kind == "p" else "Ni", layer, bond)
        for k, layer in enumerate("uml")
        for n, (kind, bond) in enumerate((("Z", ""), ("X", ""), ("p", "x"), ("p", "y")))
    ),
    Orbital(13, "p", "O", bond="um"),
    Orbital(14, "p", "O", bond="ml"),
]


def hoppings(cells: dict[tuple[int, int, int], np.ndarray]) -> Hoppings:
    matrix = np.stack(list(cells.values())).astype(complex)
    return Hoppings(np.array(list(cells), dtype=np.int64), matrix, np.ones(len(cells), dtype=np.int64))


def trilayer() -> Hoppings:
    return hoppings(dict(trilayer_hamiltonian(load_truth())))


def table(groups: tuple[wannier.Bonds, ...]) -> dict[tuple[str, str], float]:
    return {(group.layer, group.bond): group.value for group in groups}


def test_known_hoppings_come_back() -> None:
    found = extract_hoppings(trilayer(), TRILAYER)
    assert list(found) == ["t_perp_pZ", "onsite_dp_Z", "t_par_pX", "onsite_dp_X"]
    assert table(found["t_perp_pZ"]) == {("u", "um"): 1.36, ("m", "um"): 1.40, ("m", "ml"): 1.40, ("l", "ml"): 1.36}
    in_plane = {(layer, bond): 1.45 if layer == "m" else 1.42 for layer in "uml" for bond in "xy"}
    assert table(found["t_par_pX"]) == in_plane
    assert table(found["onsite_dp_Z"]) == {("u", "um"): 2.9, ("m", "um"): 2.8, ("m", "ml"): 2.8, ("l", "ml"): 2.9}
    assert set(table(found["onsite_dp_X"]).values()) == {3.5, 3.6}
    whole = over_all(found["t_perp_pZ"])
    assert (whole.layer, whole.bond, whole.value, whole.sigma) == ("", "Ni-O apical", 1.38, 0.02)


def test_the_bonds_say_where_they_are() -> None:
    found = extract_hoppings(trilayer(), TRILAYER)["t_par_pX"][0]
    assert set(found.vectors) == {(0, 0, 0), (-1, 0, 0)}
    assert found.pairs == ((2, 3), (2, 3))
    assert "<2 0|H|3 R> R = (-1,0,0)" in found.origin
    assert math.isnan(extract_hoppings(trilayer(), TRILAYER)["t_perp_pZ"][0].sigma)  # one bond: nobody knows a spread


size = st.floats(0.3, 3.0)


@settings(max_examples=60, deadline=None)
@given(
    legs=st.tuples(size, size),
    levels=st.tuples(*[st.floats(-9.0, 9.0)] * 3),
    phases=st.tuples(*[st.floats(0.0, 6.28)] * 3),
    shift=st.floats(-20, 20),
)
def test_any_bilayer_whatever_phases_and_fermi_level(
    legs: tuple[float, float], levels: tuple[float, float, float], phases: tuple[float, float, float], shift: float
) -> None:
    h = np.diag(np.array(levels) + shift).astype(complex)
    h[[0, 1], 2] = legs
    h[2, [0, 1]] = legs
    gauge = np.exp(1j * np.array(phases))
    home = gauge[:, None].conj() * h * gauge
    labels = [Orbital(1, "Z", "Ni", "u"), Orbital(2, "Z", "Ni", "l"), Orbital(3, "p", "O", bond="ul")]
    found = extract_hoppings(hoppings({(0, 0, 0): home}), labels)
    np.testing.assert_allclose([g.value for g in found["t_perp_pZ"]], legs, rtol=1e-11)
    differences = np.array(levels[:2]) - levels[2]
    np.testing.assert_allclose([g.value for g in found["onsite_dp_Z"]], differences, atol=1e-10)


def test_several_sites_of_a_layer_give_a_spread() -> None:
    """Two Ni in a layer with bonds of their own: both are found, none is taken twice."""
    h = np.zeros((6, 6))
    h[[0, 1, 2, 3], [4, 4, 5, 5]] = h[[4, 4, 5, 5], [0, 1, 2, 3]] = [1.30, -1.32, 1.40, -1.42]
    h[[0, 2], [5, 4]] = h[[5, 4], [0, 2]] = 0.1
    labels = [Orbital(1, "Z", "Ni1", "u"), Orbital(2, "Z", "Ni2", "l"), Orbital(3, "Z", "Ni3", "u")]
    labels += [Orbital(4, "Z", "Ni4", "l"), Orbital(5, "p", "O1", bond="ul"), Orbital(6, "p", "O2", bond="ul")]
    upper, lower = extract_hoppings(hoppings({(0, 0, 0): h}), labels)["t_perp_pZ"]
    assert (upper.pairs, lower.pairs) == (((1, 5), (3, 6)), ((2, 5), (4, 6)))
    assert (upper.value, upper.sigma) == (1.35, 0.05)
    assert (lower.value, lower.sigma) == (1.37, 0.05)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (TRILAYER[:-1], "functions 14 of 14 have no label"),
        ([*TRILAYER, Orbital(15, "other")], "functions 15, but H has 14 Wannier functions"),
        ([*TRILAYER, Orbital(3, "other")], "functions 3 are labelled twice"),
        (
            [*TRILAYER[:-2], Orbital(13, "p", "O", bond="ul"), TRILAYER[-1]],
            r"the Z of layer l and the p of function 13 \(bond ul\) have 0 hoppings, 1 expected",
        ),
        ([*TRILAYER[:-2], Orbital(13, "p", "O", bond="ux"), TRILAYER[-1]], "does not name two layers that have a Z"),
        ([*TRILAYER[:2], Orbital(3, "p", "O", "s", "x"), *TRILAYER[3:]], "layer s, which has no X"),
        ([Orbital(k, "other") for k in range(1, 15)], "no p orbital is labelled"),
        # Z and X of a layer exchanged: the apical O has no hopping to what is called Z.
        ([Orbital(1, "X", "Ni", "u"), Orbital(2, "Z", "Ni", "u"), *TRILAYER[2:]], "labels do not fit"),
    ],
)
def test_labels_that_do_not_fit(labels: list[Orbital], says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        extract_hoppings(trilayer(), labels)


def test_bonds_that_do_not_stand_out() -> None:
    cells = dict(trilayer_hamiltonian(load_truth()))
    cells[1, 0, 0] = cells[1, 0, 0].copy()
    cells[-1, 0, 0] = cells[-1, 0, 0].copy()
    cells[1, 0, 0][0, 12] = cells[-1, 0, 0][12, 0] = 0.9
    with pytest.raises(InvalidData, match=r"1\.36, 0\.9 eV: 1 should be clearly larger"):
        extract_hoppings(hoppings(cells), TRILAYER)


def test_hermiticity_is_checked() -> None:
    cells = dict(trilayer_hamiltonian(load_truth()))
    cells[1, 0, 0] = cells[1, 0, 0] + 0.0
    cells[1, 0, 0][3, 4] += 1e-4
    with pytest.raises(InvalidData, match=r"element \d+ \d+ of R = \[-?1, 0, 0\] differs by 0.0001 eV"):
        extract_hoppings(hoppings(cells), TRILAYER)
    del cells[1, 0, 0]
    with pytest.raises(InvalidData, match="-R is missing"):
        extract_hoppings(hoppings(cells), TRILAYER)
    cells = dict(trilayer_hamiltonian(load_truth()))
    cells[0, 0, 0] = np.where(np.eye(14) > 0, np.nan, cells[0, 0, 0])
    with pytest.raises(InvalidData, match="not Hermitian"):
        extract_hoppings(hoppings(cells), TRILAYER)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"index": "1", "orbital": "z", "site": "Ni", "layer": "u"}, "not one of Z, X, p, other"),
        ({"index": "0", "orbital": "Z", "site": "Ni", "layer": "u"}, "from 1"),
        ({"index": "1-3", "orbital": "Z", "site": "Ni", "layer": "u"}, "only `orbital: other`"),
        ({"index": "5-3", "orbital": "other"}, "range"),
        ({"orbital": "other"}, "number of a Wannier function"),
        ({"index": "1", "orbital": "Z", "site": "O1", "layer": "u"}, "has no Z"),
        ({"index": "1", "orbital": "p", "site": "Ni", "bond": "um"}, "has no p"),
        ({"index": "1", "orbital": "Z", "site": "Nx", "layer": "u"}, "has no Z"),
        ({"index": "1", "orbital": "Z", "site": "Ni"}, "needs a layer"),
        ({"index": "1", "orbital": "p", "site": "O"}, "has no bond"),
    ],
)
def test_labels_that_are_not_well_formed(entry: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        read_labels([entry])


def test_labels_follow_the_order_of_the_sample() -> None:
    """The sheet's labels are those that the generator wrote the functions in."""
    assert [f"{layer} {orbital}" for layer, orbital in FUNCTIONS[:4]] == ["u Z", "u X", "u px", "u py"]
    assert [layer for layer, orbital in FUNCTIONS if orbital == "apical"] == ["um", "ml"]
    assert len(TRILAYER) == len(FUNCTIONS)


def test_from_a_file_to_couplings() -> None:
    """The whole way of the sample: _hr.dat, sheet, Hartree parameters, J_H and J_ZZ."""
    (record,) = read_models(RAW / "models" / "synthetic.yaml")
    values = {name: record.value(name) for name in ("E_CT", "U_d", "U_p", "J")}
    hopping = record.value("t_perp_pZ", bond="Ni-O apical")
    found = electron_cluster(
        "trilayer", values | {"t_perp_pZ": hopping}, convention="kanamori", e_ct_reference="high-spin d8"
    )
    np.testing.assert_allclose(as_array(found["J_ZZ"].values), 0.361, atol=5e-4)
    np.testing.assert_allclose(as_array(found["J_H"].values), [0.638, 0.574, 0.638], atol=5e-4)


@needs_realdata
def test_silicon_is_no_nickelate() -> None:
    silicon = read_model(REALDATA / "wannier90" / "silicon_hr.dat", "wannier90")
    assert (len(silicon.vectors), silicon.matrix.shape[1]) == (93, 8)
    with pytest.raises(InvalidData, match=r"functions 9, 10, 11, 12, 13, 14, but H has 8 Wannier functions"):
        extract_hoppings(silicon, TRILAYER)
    bilayer = [Orbital(2 * k + n + 1, kind, "Ni", layer) for k, layer in enumerate("ul") for n, kind in enumerate("ZX")]
    bilayer += [Orbital(5, "p", "O", bond="ul"), *(Orbital(k, "other") for k in (6, 7, 8))]
    with pytest.raises(InvalidData, match=r"should be clearly larger\. The labels do not fit"):
        extract_hoppings(silicon, bilayer)
    with pytest.raises(InvalidData, match="no p orbital is labelled"):
        extract_hoppings(silicon, [Orbital(k, "other") for k in range(1, 9)])
