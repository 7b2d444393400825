"""FDMNES, Quanty and FEFF: relative energies, what old files lack, signs, clusters; and the real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barospec.archive.readers import fdmnes, quanty, registry
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Scan
from tests.realdata import REALDATA, needs_realdata

FILES = Path(__file__).parent / "files"
RAW, OLD, GREEN = FILES / "invented_out.txt", FILES / "invented_2_conv.txt", FILES / "invented_iso.spec"


def told(found: list[Scan]) -> str:
    return "\n".join(str(problem) for scan in found for problem in scan.problems)


def read_one(path: Path) -> Scan:
    _, (scan,) = registry.read_file(path)
    return scan


def edited(tmp_path: Path, source: Path, *changes: tuple[str, str]) -> Path:
    text = source.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / source.name
    path.write_text(text)
    return path


def test_fdmnes_adds_the_edge_energy_and_takes_absorption_only() -> None:
    found = fdmnes.read(RAW, {})
    assert [scan.name for scan in found] == ["xanes", "xanes_xx"]
    for scan in found:
        np.testing.assert_allclose(scan.energy[[0, -1]], [8300.0, 8400.0], atol=1e-9)
        assert scan.conditions == {
            "technique": "xas",
            "origin": "calculated",
            "mode": "calculation",
            "energy_calibration": "calculated",
            "code": "FDMNES",
            "code_version": "1 February 2026",
            "method": "not convoluted",
            "edge": "Ni K",
        }
    np.testing.assert_allclose(found[1].channels["mucalc"], found[0].channels["mucalc"] / 2, rtol=1e-6)
    assert "1 columns after <xanes>_xx are not absorption" in told(found)


def test_fdmnes_first_line_without_a_comment_sign_is_no_row(tmp_path: Path) -> None:
    text = RAW.read_text().split("\n", 1)[1]
    path = tmp_path / "case.txt"
    path.write_text(text)
    assert registry.claims(path) == ["fdmnes"]
    assert fdmnes.read(path, {})[0].energy.size == 41


def test_old_convoluted_file_needs_the_edge_energy() -> None:
    assert registry.claims(OLD) == ["fdmnes"]
    with pytest.raises(InvalidData, match=r"invented_2_conv\.txt: .*relative to an E_edge.*columns: \{E_edge: 8333\}"):
        registry.read_file(OLD)
    _, found = registry.read_file(OLD, options={"columns": {"E_edge": "8.345 keV"}})
    np.testing.assert_allclose(found[0].energy[[0, -1]], [8300.0, 8400.0], atol=1e-9)
    assert "edge" not in found[0].conditions
    assert "method" not in found[0].conditions
    assert "ends in _2" in told(found)
    assert "absorber" not in found[0].conditions


def test_files_of_several_sites_tell_which_is_which(tmp_path: Path) -> None:
    for number in (2, 11):
        (tmp_path / f"ni_{number}_conv.txt").write_bytes(OLD.read_bytes())
    (tmp_path / "ni_conv.txt").write_bytes(OLD.read_bytes())
    (tmp_path / "other_3_conv.txt").write_bytes(OLD.read_bytes())
    options = {"columns": {"E_edge": "8333"}}
    first, second, both, alone = (
        fdmnes.read(tmp_path / name, options)[0]
        for name in ("ni_2_conv.txt", "ni_11_conv.txt", "ni_conv.txt", "other_3_conv.txt")
    )
    assert (first.conditions["absorber"], second.conditions["absorber"]) == ("site 2", "site 11")
    assert first.header["fdmnes_site"] == "site 2"
    assert "by the numbers (2, 11)" in told([first])
    # The sum of all sites has no number; a number without a second file may be anything.
    assert "absorber" not in both.conditions
    assert "absorber" not in alone.conditions
    assert "say absorber: in the run sheet" in told([alone])


def test_a_stated_edge_energy_goes_before_the_file_and_is_told() -> None:
    found = fdmnes.read(RAW, {"columns": {"e_edge": 8333}})
    assert found[0].energy[0] == pytest.approx(8288.0)
    assert "E_edge is 8345 eV in the file, 8333 eV as stated" in told(found)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"energy": 1}, "takes columns: {E_edge"),
        ("x", "takes columns: {E_edge"),
        ({"E_edge": 1}, "is 1 eV, which is no"),
    ],
)
def test_fdmnes_refuses_other_columns(columns: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        registry.read_file(RAW, options={"columns": columns})


@pytest.mark.parametrize(
    ("old", "new", "edge"),
    [
        ("28  1  1 ", "57  2  3 ", "La L3"),
        ("28  1  1 ", "57  2  1 ", "La L1"),
        ("28  1  1 ", "57  3  5 ", "La M5"),
        ("28  1  1 ", "57  3  7 ", None),
        ("28  1  1 ", "157 1  1 ", None),
        ("-5.01332  1  1", "-5.01332  6  2", None),  # L2 and L3 together
    ],
)
def test_fdmnes_edges(old: str, new: str, edge: str | None, tmp_path: Path) -> None:
    found = fdmnes.read(edited(tmp_path, RAW, (old, new)), {})
    assert found[0].conditions.get("edge") == edge
    assert ("does not state one edge" in told(found)) == (edge is None)


def test_fdmnes_without_absorption_or_with_an_impossible_edge(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no column of it"):
        fdmnes.read(edited(tmp_path, RAW, ("<xanes>     <xanes>_xx  (100)ss_0", "(100)ss_0 (200)ss_0 (300)ss_0")), {})
    with pytest.raises(InvalidData, match="E_edge is 0 eV"):
        fdmnes.read(edited(tmp_path, RAW, ("8345.000", "0.000")), {})


@needs_realdata
def test_real_fdmnes_raw_and_convoluted() -> None:
    folder = REALDATA / "fdmnes"
    (raw,) = registry.read_file(folder / "FDMNES_2022_Mo2C_out.dat")[1]
    (convoluted,) = registry.read_file(folder / "FDMNES_2022_Mo2C_out_conv.dat")[1]
    assert raw.conditions["edge"] == "Mo K"
    assert raw.conditions["code_version"] == "20 January 2022"
    assert (raw.energy[0], raw.channels["mucalc"][0]) == (19975.0, 1.1943264e-04)
    assert convoluted.conditions["method"].startswith("convoluted: Gamma_hole=1.25 eV, Gamma_max=15 eV")
    assert "edge" not in convoluted.conditions
    assert "give it in the run sheet" in told([convoluted])
    assert raw.energy.size == 559
    assert convoluted.energy.size == 589
    np.testing.assert_allclose(raw.energy[-1], convoluted.energy[-1], atol=1e-9)
    # Far above the edge a convolution changes little.
    assert convoluted.channels["mucalc"][-1] == pytest.approx(raw.channels["mucalc"][-1], rel=0.05)


def test_quanty_turns_the_sign_of_a_greens_function() -> None:
    (scan,) = quanty.read(GREEN, {})
    assert (scan.channels["mucalc"] > 0).all()
    assert "its sign is turned" in told([scan])
    assert scan.conditions["method"] == "multiplet; Gamma=0.1 eV (full width)"
    assert "edge" not in scan.conditions
    assert "technique" not in scan.conditions


def test_quanty_as_crispy_writes_it_is_positive(tmp_path: Path) -> None:
    text = GREEN.read_text()
    head, rows = text.split("Im[0]                \n") if "Im[0]                \n" in text else text.split("Im[0]\n")
    flipped = "\n".join(f"{r.split()[0]} {r.split()[1]} {r.split()[2].lstrip('-')}" for r in rows.strip().split("\n"))
    path = tmp_path / "crispy_iso.spec"
    path.write_text(f"{head}Im[0]\n{flipped}\n")
    (scan,) = quanty.read(path, {})
    np.testing.assert_allclose(scan.channels["mucalc"], quanty.read(GREEN, {})[0].channels["mucalc"])
    assert "sign" not in told([scan])


def test_quanty_with_both_signs_is_refused_unless_taken_as_it_is(tmp_path: Path) -> None:
    row = next(line for line in GREEN.read_text().split("\n") if line.startswith(" 8.34500"))
    path = edited(tmp_path, GREEN, (row, row.replace(" -", "  ")))
    with pytest.raises(InvalidData, match=r'Im\[0\] has both signs.*columns: \{mucalc: "Im\[0\]"\}'):
        registry.read_file(path)
    (scan,) = quanty.read(path, {"columns": {"iemission": "Im[0]"}})
    assert set(scan.channels) == {"iemission"}
    assert scan.channels["iemission"].min() < 0 < scan.channels["iemission"].max()


def test_quanty_relative_energies_need_an_edge_energy(tmp_path: Path) -> None:
    lines = GREEN.read_text().split("\n")
    moved = [f"{float(line.split()[0]) - 8345:.6f} {' '.join(line.split()[1:])}" for line in lines[5:] if line.strip()]
    path = tmp_path / "relative.spec"
    path.write_text("\n".join([*lines[:5], *moved]) + "\n")
    with pytest.raises(InvalidData, match=r"from -45 to 55 are relative to an edge.*columns: \{E_edge"):
        registry.read_file(path)
    (scan,) = quanty.read(path, {"columns": {"E_edge": "8345 eV"}})
    np.testing.assert_allclose(scan.energy[[0, -1]], [8300, 8400])


def test_quanty_several_spectra(tmp_path: Path) -> None:
    lines = GREEN.read_text().split("\n")
    double = [f"{line} {' '.join(line.split()[1:])}" for line in lines[5:] if line.strip()]
    head = [*lines[:4], "Energy Re[0] Im[0] Re[1] Im[1]"]
    path = tmp_path / "two.spec"
    path.write_text("\n".join([*head, *double]) + "\n")
    found = quanty.read(path, {})
    assert [scan.name for scan in found] == ["1", "2"]
    assert "1 spectra are stated, labels are 5" in told(found)
    path.write_text("\n".join([*lines[:4], "Energy Re[0] Im[0]", *double]) + "\n")
    with pytest.raises(InvalidData, match="3 labels for 5 columns"):
        quanty.read(path, {})


@pytest.mark.parametrize("columns", ["x", {"energy": 1}, {"flux": 3}])
def test_quanty_refuses_other_columns(columns: Any) -> None:
    with pytest.raises(InvalidData, match="columns"):
        registry.read_file(GREEN, options={"columns": columns})


def test_quanty_cut_within_its_header(tmp_path: Path) -> None:
    path = tmp_path / "cut.spec"
    path.write_text("".join(GREEN.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(UnreadableFile, match=r"cut\.spec: no rows of numbers"):
        registry.read_file(path)


def test_feff_counts_the_cluster_beside_it(tmp_path: Path) -> None:
    scan = read_one(FILES / "feff" / "xmu.dat")
    assert scan.conditions["cluster_atoms"] == 7
    assert scan.conditions["cluster_radius"] == 2.5
    assert scan.conditions["edge"] == "Ni K"
    assert scan.conditions["code_version"] == "10.0.0"
    assert "feff.inp" in scan.header["cluster_atoms_from"]
    alone = tmp_path / "xmu.dat"
    alone.write_bytes((FILES / "feff" / "xmu.dat").read_bytes())
    assert "cluster_atoms" not in read_one(alone).conditions


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("FMS 2.5", "FMS 3.5", "FMS radius 3.5 0, but xmu.dat was made with 2.5"),
        ("0 0 0 0 Ni", "0 0 0 1 Ni", "8 atoms, of which 0 are the absorber"),
        ("  2.9000", "  1.9000", "its farthest atom is at 2.000 Å"),
        ("FMS 2.5 0", "", "FMS radius is missing"),
    ],
)
def test_feff_input_that_does_not_fit(old: str, new: str, message: str, tmp_path: Path) -> None:
    for name in ("xmu.dat", "feff.inp"):
        (tmp_path / name).write_bytes((FILES / "feff" / name).read_bytes())
    text = (tmp_path / "feff.inp").read_text()
    assert old in text
    (tmp_path / "feff.inp").write_text(text.replace(old, new))
    scan = read_one(tmp_path / "xmu.dat")
    assert "cluster_atoms" not in scan.conditions
    assert message in told([scan])


def test_feff_coordinates_are_scaled_by_rmultiplier(tmp_path: Path) -> None:
    for name in ("xmu.dat", "feff.inp"):
        (tmp_path / name).write_bytes((FILES / "feff" / name).read_bytes())
    text = (tmp_path / "feff.inp").read_text()
    (tmp_path / "feff.inp").write_text(f"RMULTIPLIER 0.85\n{text.replace('2.9000', '3.0000')}")
    assert read_one(tmp_path / "xmu.dat").conditions["cluster_atoms"] == 7
    (tmp_path / "feff.inp").write_text(f"RMULTIPLIER 1.3\n{text}")
    assert read_one(tmp_path / "xmu.dat").conditions["cluster_atoms"] == 1


@needs_realdata
def test_real_feff_series() -> None:
    folders = sorted((REALDATA / "feff10-computed").iterdir())
    assert len(folders) == 13
    methods = set()
    for folder in folders:
        scan = read_one(folder / "xmu.dat")
        assert scan.energy.size == 109
        assert scan.conditions["origin"] == "calculated"
        assert scan.conditions["edge"] == "Ni K"
        if folder.name.startswith(("hp_", "ap_")):
            assert scan.conditions["cluster_atoms"] == int(folder.name[3:])
        if folder.name.startswith("hp_"):
            methods.add(scan.conditions["method"])
    assert len(methods) == 1
    nio = read_one(REALDATA / "feff" / "xmu.dat")
    assert nio.conditions["code_version"] == "8.50L"
    assert nio.energy[0] == 8338.447
    assert nio.channels["mucalc"][0] == pytest.approx(-0.184933)
    assert "cluster_radius" not in nio.conditions
    assert "paths up to 5.900 Å" in nio.conditions["method"]
