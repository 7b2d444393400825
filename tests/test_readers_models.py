"""Model files: known hoppings, bands and densities; damaged files without a traceback; the real silicon."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.readers import models_registry, vasp, wannier90, wien2k
from barospec.archive.readers.electronic import RYDBERG, Bands, Dos, ElectronicStructure
from barospec.archive.readers.models_registry import MODEL_READERS, read_model
from barospec.archive.readers.wannier90 import Hoppings
from barospec.schemas.errors import BarospecError, CallError, InvalidData, UnreadableFile
from tests.realdata import REALDATA, needs_realdata

FOLDER = Path(__file__).parent / "files" / "models"
SAMPLES = {
    "vasprun": FOLDER / "vasprun.xml",
    "wannier90": FOLDER / "chain_hr.dat",
    "wien2k_bands": FOLDER / "case.spaghetti_ene",
    "wien2k_dos": FOLDER / "case.dos1ev",
}
each_format = pytest.mark.parametrize("name", sorted(MODEL_READERS))


def check(content: Any) -> None:
    """What the content of any model file must be: finite numbers of shapes that fit."""
    if isinstance(content, ElectronicStructure):
        assert content.bands is not None or content.dos is not None
        for part in (content.bands, content.dos):
            if part is not None:
                check(part)
    elif isinstance(content, Hoppings):
        count, orbitals, other = content.matrix.shape
        assert orbitals == other
        assert content.vectors.shape == (count, 3)
        assert np.isfinite(content.matrix).all()
        assert (content.degeneracies > 0).all()
    elif isinstance(content, Bands):
        assert content.energy.ndim == 3
        assert content.kpoints.shape == (content.energy.shape[1], 3)
        assert np.isfinite(content.energy).all()
    else:
        assert isinstance(content, Dos)
        assert content.density.shape[1:] == (len(content.labels), content.energy.size)
        assert np.isfinite(content.density).all()


def read_anything(path: Path, name: str) -> None:
    refused = ""
    try:
        content = read_model(path, name)
    except BarospecError as error:
        refused = str(error)
    if refused:
        assert str(path) in refused
    else:
        check(content)


def edited(tmp_path: Path, name: str, old: str, new: str) -> Path:
    text = SAMPLES[name].read_text()
    assert old in text
    path = tmp_path / SAMPLES[name].name
    path.write_text(text.replace(old, new, 1))
    return path


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(MODEL_READERS)


@each_format
def test_sample_is_claimed_by_its_format_alone_and_read(name: str) -> None:
    assert models_registry.model_claims(SAMPLES[name].read_bytes()[:4096], str(SAMPLES[name])) == [name]
    check(read_model(SAMPLES[name]))
    check(read_model(SAMPLES[name], name))


@each_format
def test_truncated_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    data = SAMPLES[name].read_bytes()
    path = tmp_path / SAMPLES[name].name
    for part in range(50):
        cut = data[: len(data) * part // 50]
        path.write_bytes(cut)
        if (
            name == "wien2k_bands"
            and cut.rstrip(b" ").endswith(b"\n")
            and cut.count(b"bandindex:") == 1
            and cut.count(b"\n") > 1
        ):
            read_anything(path, name)  # fewer bands, or one band of fewer k-points, is a file in order
            continue
        with pytest.raises((UnreadableFile, InvalidData), match=path.name):
            read_model(path, name)


@each_format
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_are_read_or_refused(name: str, data: st.DataObject) -> None:
    content = bytearray(SAMPLES[name].read_bytes())
    places = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    for place, value in data.draw(places):
        content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAMPLES[name].name
        path.write_bytes(bytes(content))
        read_anything(path, name)


@each_format
@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"1 2\n", b"<modeling>", b"\xff\xfe\n"])
def test_rubbish_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / SAMPLES[name].name
    path.write_bytes(content)
    with pytest.raises((UnreadableFile, InvalidData), match=path.name):
        read_model(path, name)
    with pytest.raises(UnreadableFile, match="recognized as none of"):
        read_model(path)


def test_unknown_format_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r'no model format "wanier90".*Did you mean wannier90\?'):
        read_model(SAMPLES["wannier90"], "wanier90")
    with pytest.raises(UnreadableFile, match=r"gone: cannot be opened"):
        read_model(tmp_path / "gone")


def test_hoppings_are_divided_by_degeneracies_of_two_lines() -> None:
    found = wannier90.read_hoppings(SAMPLES["wannier90"])
    assert found.vectors[:, 0].tolist() == list(range(-8, 9))
    assert found.degeneracies.tolist() == [2, *([1] * 15), 2]
    assert found.matrix[0, 0, 0] == pytest.approx(0.8 / 9 / 2, abs=1e-6)
    assert found.matrix[8, 0, 0] == pytest.approx(0.8)
    # <0 m|H|0 n> with m = 1, n = 2.
    assert found.matrix[8, 0, 1] == pytest.approx(-0.1j)
    assert found.problems == ()
    # Cosine series of the chain, by hand.
    k = 0.3
    phases = np.exp(2j * np.pi * k * found.vectors[:, 0])
    by_hand = (
        0.8 + sum(1.6 / (1 + r) * np.cos(2 * np.pi * k * r) for r in range(1, 8)) + 0.8 / 9 * np.cos(16 * np.pi * k)
    )
    assert (phases @ found.matrix[:, 0, 0]).real == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n 2\n 17\n", "\n 2\n 18\n", "17 degeneracies where 18 positive integers"),
        ("\n 2\n 17\n", "\n x\n 17\n", r":2: \"x\" where a count was expected"),
        ("\n 2\n 17\n", "\n 3\n 17\n", "68 rows where 17 vectors of 3 x 3 elements make 153"),
        ("   -8    0    0    1    1", "   -8    0    0    9    1", r":6: R and orbitals are integers"),
        ("   -8    0    0    1    1", "   -8    0    0    2    1", r"vector \[-8  0  0\] lacks an element"),
        ("   -8    0    0    1    1", "   -8    1    0    1    1", "do not stand together"),
        ("    0.088889", "    ********", r'chain_hr.dat:6: "\*\*\*\*\*\*\*\*" is not a finite number'),
    ],
)
def test_contradictions_of_a_hamiltonian_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((UnreadableFile, InvalidData), match=message):
        read_model(edited(tmp_path, "wannier90", old, new), "wannier90")


def test_a_hamiltonian_that_is_not_hermitian_is_told(tmp_path: Path) -> None:
    found = read_model(edited(tmp_path, "wannier90", "    0.088889", "    0.098889"))
    assert "H(-R) differs from the conjugate transpose of H(R) by up to 0.01 eV" in str(found.problems[0])


@needs_realdata
def test_real_silicon() -> None:
    found = read_model(REALDATA / "wannier90" / "silicon_hr.dat")
    assert found.matrix.shape == (93, 8, 8)
    assert found.problems == ()
    first = found.vectors.tolist().index([-3, 1, 1])
    assert found.degeneracies[first] == 4
    assert found.matrix[first, 0, 0] == pytest.approx((0.064956 + 0.000019j) / 4)
    # Every vector weighs 1 / degeneracy: together they fill a 4 x 4 x 4 supercell.
    assert (1 / found.degeneracies).sum() == pytest.approx(64)
    gamma = np.linalg.eigvalsh(found.matrix.sum(axis=0))
    # Silicon at gamma: one low level, three-fold top of the valence bands about 12 eV above it.
    assert gamma[3] - gamma[0] == pytest.approx(12.0, abs=0.5)
    np.testing.assert_allclose(gamma[1:4], gamma[3], atol=1e-3)


def test_vasprun_gives_the_last_step_and_no_interpolated_densities() -> None:
    found = vasp.read_vasprun(SAMPLES["vasprun"])
    assert (found.code, found.code_version, found.elements) == ("VASP", "6.0.0", ("Ni", "O"))
    assert found.bands is not None
    assert found.dos is not None
    assert found.bands.energy.tolist() == [[[0, 1, 2], [1, 2, 3]], [[1, 2, 3], [2, 3, 4]]]
    assert found.bands.fermi_level == found.dos.fermi_level == 0.25
    np.testing.assert_array_equal(found.bands.weights, [0.25, 0.75])
    np.testing.assert_array_equal(found.bands.occupation[0, 0], [1, 1, 0])
    assert found.dos.labels == ("total", "1 Ni s", "1 Ni dxy", "2 O s", "2 O dxy")
    np.testing.assert_array_equal(found.dos.density[1, 0], [2, 3, 4, 5])
    np.testing.assert_array_equal(found.dos.density[1, 3], [2, 2, 2, 2])
    np.testing.assert_array_equal(found.dos.density[0, 2], found.dos.energy + 3)
    assert [problem.message for problem in found.problems] == [
        "2 ionic steps; bands and densities are those of the last"
    ]


def test_vasprun_gives_the_weights_of_fat_bands(tmp_path: Path) -> None:
    found = vasp.read_vasprun(SAMPLES["vasprun"]).bands
    assert found is not None
    assert found.projection is not None
    assert found.labels == ("1 Ni s", "1 Ni dxy", "2 O s", "2 O dxy")
    assert found.projection.shape == (2, 2, 3, 4)
    for spin, k, band, column in np.ndindex(found.projection.shape):
        ion, orbital = divmod(column, 2)
        assert found.projection[spin, k, band, column] == float(f"0.{spin}{k}{band}{ion}{orbital + 1}")
    # A file without them, and one whose weights are not of its bands.
    text = SAMPLES["vasprun"].read_text()
    path = tmp_path / "vasprun.xml"
    path.write_text(re.sub(r"<projected>.*?</projected>", "", text, flags=re.DOTALL))
    assert vasp.read_vasprun(path).bands.projection is None  # type: ignore[union-attr]
    at = text.rindex("<projected>")
    path.write_text(text[:at] + re.sub(r'<set comment="band 3">.*?</set>', "", text[at:], flags=re.DOTALL))
    with pytest.raises(InvalidData, match="projected bands have shape"):
        read_model(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<v>0.5 0 0</v>", "", "1 k-points and 2 weights for eigenvalues at 2"),
        ("<r>3.0000 0.0000</r></set>\n</set>", "</set>\n</set>", "the eigenvalues differ in length"),
        ("<modeling>", "<!DOCTYPE x [<!ENTITY a 'b'>]><modeling>", "no document type and no entities"),
        ("</modeling>", "", "the XML ends or breaks .* after 2 complete ionic"),
    ],
)
def test_contradictions_of_a_vasprun_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = SAMPLES["vasprun"].read_text()
    # The eigenvalues stand once more among the projected bands, from where they are not read.
    at = text.rindex(old, 0, text.rindex("<projected>") if old.startswith("<r>") else None)
    path = tmp_path / "vasprun.xml"
    path.write_text(text[:at] + new + text[at + len(old) :])
    with pytest.raises((UnreadableFile, InvalidData), match=message):
        read_model(path, "vasprun")


def test_vasprun_with_overflown_numbers_or_without_a_fermi_level(tmp_path: Path) -> None:
    text = SAMPLES["vasprun"].read_text()
    path = tmp_path / "vasprun.xml"
    last = text.rindex("<eigenvalues>", 0, text.rindex("<projected>"))
    path.write_text(text[:last] + text[last:].replace("<r>0.0000 1.0000", "<r>******** 1.0000", 1))
    with pytest.raises(InvalidData, match=r"not \*\*\*\*"):
        read_model(path)
    path.write_text(text.replace('<i name="efermi">0.2500</i>', ""))
    found = read_model(path)
    assert np.isnan(found.bands.fermi_level)
    assert "the Fermi level is not stated" in str(found.problems)


def test_wien2k_densities_in_both_units(tmp_path: Path) -> None:
    in_ev, in_ry = wien2k.read_dos(SAMPLES["wien2k_dos"]), wien2k.read_dos(FOLDER / "case.dos1")
    assert in_ev.labels == ("total-DOS", "Ni-d")
    np.testing.assert_allclose(in_ev.energy, [-2, -1, 0, 1])
    np.testing.assert_allclose(in_ry.energy, in_ev.energy * RYDBERG)
    assert (in_ev.fermi_level, in_ry.fermi_level) == (0.0, 0.5 * RYDBERG)
    # States stay states.
    assert np.trapezoid(in_ry.density[0, 0], in_ry.energy) == pytest.approx(
        np.trapezoid(in_ev.density[0, 0], in_ev.energy)
    )
    renamed = tmp_path / "density.txt"
    renamed.write_bytes(SAMPLES["wien2k_dos"].read_bytes())
    with pytest.raises(InvalidData, match=r'states the unit in the name.*unit="eV"'):
        wien2k.read_dos(renamed)
    np.testing.assert_array_equal(wien2k.read_dos(renamed, unit="eV").density, in_ev.density)
    with pytest.raises(CallError, match='unit "Ha"'):
        wien2k.read_dos(renamed, unit="Ha")


def test_wien2k_bands_of_unequal_paths_are_refused(tmp_path: Path) -> None:
    found = wien2k.read_bands(SAMPLES["wien2k_bands"])
    assert found.energy.shape == (1, 3, 2)
    np.testing.assert_allclose(found.distance, [0, 0.125, 0.25])
    assert found.fermi_level == 0.0
    text = SAMPLES["wien2k_bands"].read_text()
    path = tmp_path / "case.spaghetti_ene"
    path.write_text(text.replace("0.50000 0.00000 0.00000", "0.40000 0.00000 0.00000", 1))
    with pytest.raises(InvalidData, match="not on the same k-points"):
        read_model(path)
    path.write_text("\n".join(text.strip().split("\n")[:-1]) + "\n")
    with pytest.raises(UnreadableFile, match="band 2 has 2 k-points, the first 3"):
        read_model(path)
