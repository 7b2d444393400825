"""The sample archive's raw files: current, marked as synthetic, and true to their truth file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openpyxl
import pytest
import yaml

from barospec.archive.readers.registry import read_file
from barospec.archive.sheets.run_sheet import read_sheet
from barospec.archive.structures import structures
from barospec.sample_data import RAW, generate, sheets, spectra, truth

TRUTH = truth.load_truth()
SYNTHETIC_RUNS = (*generate.RUNS, "ambient")
PAPERS = Path(__file__).parents[2] / "shared" / "papers"
PAPER = PAPERS / "mijit-2024-la3ni2o7-xas-xes.txt"
SUMMARY = PAPERS / "jiang-2025-la4ni3o10-summary.txt"
BINARY = {".h5", ".xlsx"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    generate.generate(folder)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def h5_content(path: Path) -> dict[str, Any]:
    """Everything in an HDF5 file: datasets, attributes, links."""
    found: dict[str, Any] = {}

    def walk(group: h5py.Group) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):
                found[f"{group.name}/{name}->"] = link.path
                continue
            item = group[name]
            found[f"{item.name}@"] = dict(item.attrs)
            if isinstance(item, h5py.Dataset):
                found[item.name] = item[()]
            else:
                walk(item)

    with h5py.File(path) as file:
        found["@"] = dict(file.attrs)
        walk(file)
    return found


def test_the_committed_files_are_what_the_generator_makes(made: Path) -> None:
    assert names(made) == names(RAW)
    for name in names(RAW):
        if Path(name).suffix not in BINARY:
            assert (made / name).read_bytes() == (RAW / name).read_bytes(), name


def test_committed_binary_files_hold_what_the_generator_makes(made: Path) -> None:
    # By content: another HDF5 or openpyxl may arrange the same content in other bytes.
    for name in (n for n in names(RAW) if n.endswith(".h5")):
        ours, theirs = h5_content(made / name), h5_content(RAW / name)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            np.testing.assert_equal(theirs[key], value, err_msg=f"{name} {key}")
    for name in (n for n in names(RAW) if n.endswith(".xlsx")):
        ours_rows, theirs_rows = (list(openpyxl.load_workbook(f / name).active.values) for f in (made, RAW))
        assert ours_rows == theirs_rows


def test_a_second_run_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    generate.generate(tmp_path)
    assert names(tmp_path) == names(made)
    different = [n for n in names(made) if (made / n).read_bytes() != (tmp_path / n).read_bytes()]
    assert different == []


def test_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in RAW.rglob("*") if path.is_file()) < 6e6


def test_every_sheet_is_listed_once() -> None:
    assert sorted(path.name for path in sheets()) == sorted(path.name for path in RAW.glob("*.yaml"))
    assert all(path.is_file() for path in sheets())


def test_sheets_and_files_read_without_a_complaint() -> None:
    spectra_of: dict[str, int] = {}
    for path in sheets():
        sheet = read_sheet(path)
        assert [str(problem) for problem in sheet.problems] == []
        for run in sheet.runs:
            for file in run.files:
                scans = read_file(file, run.format, run.options)[1]
                serious = [p for scan in scans for p in scan.problems if p.severity == "error"]
                assert serious == []
                name = (run.rows[0].conditions if run.rows else run.conditions)["run"]
                spectra_of[name] = spectra_of.get(name, 0) + len(scans)
    assert sum(spectra_of.values()) == 106
    assert spectra_of == {
        **{run: len(generate.route(TRUTH, run)) for run in generate.RUNS},
        "ambient": 18,
        "calculated-clusters": 8,
        "calculated-references": 5,
    }


def raw_spectra() -> list[Path]:
    return [path for run in SYNTHETIC_RUNS for path in sorted((RAW / run).iterdir())]


def test_every_synthetic_file_says_so() -> None:
    assert len(raw_spectra()) == 4 + 1 + 1 + 5 + 9 + 10 + 16 + 18
    for path in raw_spectra():
        assert "SYNTHETIC" in path.name
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                assert "SYNTHETIC" in file.attrs["title"]
                for entry in file.values():
                    assert "SYNTHETIC" in entry["title"].asstr()[()]
                    assert "(SYNTHETIC)" in entry["sample/name"].asstr()[()]
                    assert "(simulated)" in entry["instrument/name"].asstr()[()]
            continue
        header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
        assert any(line.startswith("# SYNTHETIC: ") for line in header), path
        assert any(re.search(r"sample.*\(SYNTHETIC\)", line, re.IGNORECASE) for line in header), path
        assert any(re.search(r"beamline.*\(simulated\)", line, re.IGNORECASE) for line in header), path


def test_sheets_say_where_their_spectra_come_from() -> None:
    for path in sheets()[1:]:
        sheet = yaml.safe_load(path.read_text("utf-8"))
        expected = "calculated" if path.name == "calculated.yaml" else "synthetic"
        assert sheet["origin"] == expected
        if expected == "synthetic":
            assert sheet["note"].startswith("SYNTHETIC.")
            assert "(SYNTHETIC)" in sheet.get("sample", "(SYNTHETIC)")
            assert sheet["beamline"].endswith("(simulated)")
            assert sheet["facility"].endswith("(simulated)")
        if path.name.startswith("ambient"):
            rows = (RAW / sheet["scans"]).read_text("utf-8").splitlines()[1:]
            assert all("(SYNTHETIC)" in row.split(",")[1] for row in rows)


def test_runs_without_known_pressure_have_none() -> None:
    for run in ("run-1", "run-4"):
        sheet = yaml.safe_load((RAW / f"{run}.yaml").read_text("utf-8"))
        assert not {"pressure", "scans"} & set(sheet)
        assert not (RAW / f"{run}-scans.csv").exists()


def test_runs_above_14_gpa() -> None:
    reached = {run: max(p.pressure for p in generate.route(TRUTH, run)) for run in TRUTH["routes"]}
    told = {run: top for run, top in reached.items() if run not in ("run-1", "run-4")}
    assert {run for run, top in told.items() if top > 14} == {"run-2", "run-3", "run-5", "run-6", "NiO"}
    assert told == {"run-2": 15.6, "run-3": 25.0, "run-5": 20.0, "run-6": 19.5, "NiO": 30.0}


def test_bliss_files_have_the_traps_of_real_ones() -> None:
    with h5py.File(RAW / "run-3" / "run-3_SYNTHETIC.h5") as file:
        assert file.attrs["default"] not in file
        measured = file["1.1/measurement"]
        assert "units" not in measured["energy_enc"].attrs
        assert measured["energy_enc"][0] == pytest.approx(8.2, abs=1e-4)
        assert measured["timer_delta"].size == measured["energy_enc"].size - 1
        assert file["1.2/measurement/Tcryo"].size < measured["energy_enc"].size
        assert file["1.1/instrument/positioners_start/membrane"][()] == b"ERR"
        assert np.isnan(file["1.1/instrument/positioners_start/Emono"][()])
        short = [n for n in file if n.endswith(".1") and file[n]["measurement/I2"].size == 420]
        assert short == ["5.1"]


NI_K = [("La3Ni2O7", p) for p in (0.0, 2.4, 11.2, 13.0, 14.3, 15.6, 18.6, 23.7, 25.0)]
NI_K += [("NiO", p) for p in (0.0, 15.2, 30.0)] + [("LaNiO3", 0.0)]


def declared(material: str, pressure: float) -> float:
    """Edge energy that the truth file promises, read without the generator's code."""
    ambient: float = TRUTH["edge_energy"][material]["value"]
    if material == "La3Ni2O7":
        rows = TRUTH["edge_shift"]["La3Ni2O7"]
        return ambient + float(np.interp(pressure, [r["pressure"] for r in rows], [r["shift"] for r in rows]))
    if material == "NiO":
        solid = TRUTH["edge_shift"]["NiO"]
        b0, b1 = solid["bulk_modulus"]["value"], solid["derivative"]["value"]
        contraction = 1.0 - (1.0 + b1 * pressure / b0) ** (-1.0 / b1 / 3.0)
        rate = TRUTH["edge_shift"]["per_bond_length"]["value"]
        return ambient - float(rate * TRUTH["bond_length"]["NiO"]["value"] * contraction)
    return ambient


@pytest.mark.parametrize(("material", "pressure"), NI_K)
def test_noise_free_curve_crosses_at_the_declared_edge_energy(material: str, pressure: float) -> None:
    energy = truth.grid(TRUTH, "ni_k")
    norm = spectra.normalized(energy, truth.ni_k_edge(TRUTH, material, pressure))
    assert spectra.crossing(energy, norm, 0.8) == pytest.approx(declared(material, pressure), abs=0.005)


def usual_normalization(energy: np.ndarray, mu: np.ndarray, degree: int) -> np.ndarray:
    """A line below, a polynomial above the steepest point, windows as XAS programs choose them."""
    slope = np.gradient(mu, energy)
    inner = slice(energy.size // 20, -energy.size // 20)
    e0 = energy[inner][np.argmax(slope[inner])]
    low = 5 * round((energy[0] - e0) / 5)
    below = (energy >= e0 + low) & (energy <= e0 + low / 2)
    above = energy >= e0 + 25
    x = energy - e0
    rest = mu - np.polyval(np.polyfit(x[below], mu[below], 1), x)
    return np.asarray(rest / np.polyfit(x[above], rest[above], degree)[-1])


@pytest.mark.parametrize(("material", "pressure"), NI_K)
def test_usual_normalization_recovers_the_edge_energy(material: str, pressure: float) -> None:
    energy = truth.grid(TRUTH, "ni_k")
    mu = generate.absorbance(TRUTH, "ni_k", material, pressure, "run-3", energy)
    found = spectra.crossing(energy, usual_normalization(energy, mu, 2))
    assert found == pytest.approx(declared(material, pressure), abs=0.02)


def test_valence_of_the_truth_follows_from_its_edge_energies() -> None:
    e = {name: declared(name, 0.0) for name in ("NiO", "La3Ni2O7", "LaNiO3")}
    valence = 2.0 + (e["La3Ni2O7"] - e["NiO"]) / (e["LaNiO3"] - e["NiO"])
    assert valence == pytest.approx(2.53, abs=0.001)


def test_printed_shifts() -> None:
    assert truth.edge_shift(TRUTH, "La3Ni2O7", 15.6) == pytest.approx(0.5)
    assert truth.edge_shift(TRUTH, "La3Ni2O7", 23.7) == pytest.approx(0.8)
    slopes = [
        np.diff([truth.edge_shift(TRUTH, "La3Ni2O7", p) for p in pair])[0] for pair in ((6, 7), (13, 14), (20, 21))
    ]
    assert slopes[1] > 1.5 * max(slopes[0], slopes[2])


def test_pre_edge_stays_and_feature_c_grows_most_above_14_gpa() -> None:
    energy = np.arange(8330.0, 8362.0, 0.02)
    curves = {p: spectra.normalized(energy, truth.ni_k_edge(TRUTH, "La3Ni2O7", p)) for p in (0.0, 12.0, 16.0, 23.7)}
    pre = energy < 8336.0
    tops = {p: energy[pre][np.argmax(curve[pre])] for p, curve in curves.items()}
    assert max(tops.values()) - min(tops.values()) < 0.1
    assert curves[23.7][pre].max() > curves[0.0][pre].max()
    at_c = {p: float(np.interp(8358.0, energy, curve)) for p, curve in curves.items()}
    assert at_c[16.0] - at_c[12.0] > at_c[12.0] - at_c[0.0] > 0


def test_nothing_changes_on_cooling() -> None:
    for run in ("run-2", "run-3"):
        cooling = [p for p in generate.route(TRUTH, run) if p.direction == "cooling"]
        assert len({p.shape_pressure for p in cooling}) == 1
        assert len({p.pressure for p in cooling}) > 1


def test_la_l3_edge_moves_down_and_its_white_line_grows() -> None:
    energy = np.arange(5475.0, 5535.0, 0.01)
    low, high = (spectra.normalized(energy, truth.la_l3_edge(TRUTH, p)) for p in (0.0, 20.0))
    assert spectra.crossing(energy, high) - spectra.crossing(energy, low) == pytest.approx(-0.22, abs=0.005)
    assert high.max() / low.max() == pytest.approx(1.04, abs=0.001)
    resonance = energy > 5512.0
    tops = [energy[resonance][np.argmax(curve[resonance])] for curve in (low, high)]
    assert 5518.0 < tops[0] < 5522.0
    assert tops[1] > tops[0] + 0.5


def kb25(material: str, pressure: float) -> tuple[float, float]:
    """Position and height of Kβ2,5 above a line between 8318 and 8340 eV."""
    energy = np.arange(8315.0, 8342.0, 0.01)
    curve = spectra.emission(energy, truth.ni_kb_emission(TRUTH, material, pressure))
    ends = np.interp([8318.0, 8340.0], energy, curve)
    above = curve - np.interp(energy, [8318.0, 8340.0], ends)
    return float(energy[np.argmax(above)]), float(above.max())


def test_emission_of_the_three_compounds() -> None:
    energy = np.arange(8230.0, 8300.0, 0.01)
    main = {m: spectra.emission(energy, truth.ni_kb_emission(TRUTH, m, 0.0)) for m in TRUTH["ambient"]["materials"]}
    assert all(curve.max() == pytest.approx(1.0, abs=1e-4) for curve in main.values())
    assert energy[np.argmax(main["La3Ni2O7"])] == pytest.approx(8264.7, abs=0.1)
    np.testing.assert_allclose(main["La3Ni2O7"], main["LaNiO3"], atol=1e-4)
    prime = np.argmin(np.abs(energy - 8249.0))
    assert main["NiO"][prime] > 1.2 * main["La3Ni2O7"][prime]
    (e, h), (e_nio, h_nio), (e_lno, h_lno) = (kb25(m, 0.0) for m in ("La3Ni2O7", "NiO", "LaNiO3"))
    assert e - e_nio == pytest.approx(1.50, abs=0.05)
    assert e - e_lno == pytest.approx(-0.35, abs=0.05)
    assert h_nio / h == pytest.approx(0.75, abs=0.02)
    assert h_lno == pytest.approx(h, rel=0.02)


def test_kb25_moves_down_under_pressure_at_constant_intensity() -> None:
    (low, h_low), (high, h_high) = kb25("La3Ni2O7", 0.0), kb25("La3Ni2O7", 19.5)
    assert high - low == pytest.approx(-0.585, abs=0.05)
    assert h_high == pytest.approx(h_low, rel=0.03)


def test_foil_lies_at_its_calibration_energy() -> None:
    energy = np.arange(8320.0, 8360.0, 0.01)
    slope = np.gradient(spectra.normalized(energy, truth.ni_foil_edge(TRUTH)), energy)
    assert energy[np.argmax(slope)] == pytest.approx(8333.0, abs=0.1)


def test_counts_are_noisy_as_counting_is() -> None:
    tables = [np.loadtxt(RAW / "run-6" / f"run-6_{i:02d}_SYNTHETIC.dat") for i in (1, 2)]
    counts = np.stack([table[:, 1] for table in tables])
    difference = (counts[0] - counts[1]) / np.sqrt(counts.sum(axis=0))
    assert 0.85 < difference.std() < 1.15  # Poisson: 1


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "value" in node:
            yield path, node
        for key, value in node.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from leaves(value, f"{path}/{i}")


def test_every_number_of_the_truth_is_quoted_or_said_to_be_assumed() -> None:
    found = list(leaves(TRUTH))
    assert len(found) > 15
    assert [path for path, leaf in found if "quote" not in leaf and "assumed" not in leaf] == []
    for name in ("ni_k_shape", "ni_foil", "counting", "grids"):
        assert TRUTH[name]["assumed"]
    for run, route in TRUTH["routes"].items():
        assert route["quote"], run


def plain(text: str) -> str:
    """Letters and digits only: the printed text comes with LaTeX and broken lines."""
    text = re.sub(r"\\(approx|sim|text|beta|AA)", "", text).replace("β", "").replace("μ", "").replace("µ", "")
    return re.sub(r"[^0-9a-z.+-]", "", text.replace("–", "-").lower())


def quotes() -> dict[Path, list[str]]:
    """All quotes, by the text in which they must stand."""

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("quote", "height_quote", "normalization"):
                    yield value
                else:
                    yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    literature = yaml.safe_load((RAW / "references.yaml").read_text("utf-8"))["literature"]
    of = {path: [r for r in literature if r["source"].startswith(start)] for path, start in SOURCES.items()}
    assert sum(map(len, of.values())) == len(literature)
    return {PAPER: [*walk(TRUTH), *walk(of[PAPER])], SUMMARY: list(walk(of[SUMMARY]))}


SOURCES = {PAPER: "Mijit et al. 2024, ", SUMMARY: "arXiv:2505.13442: Jiang et al. 2025, from a summary, "}


@pytest.mark.parametrize(("path", "least"), [(PAPER, 40), (SUMMARY, 6)])
def test_quotes_are_printed_in_their_source(path: Path, least: int) -> None:
    if not path.is_file():
        pytest.skip(f"the text {path} is not here")
    printed = plain(path.read_text("utf-8"))
    found = quotes()[path]
    assert len(found) > least
    assert [quote for quote in found if plain(quote) not in printed] == []


def test_the_hamiltonian_says_that_it_is_synthetic() -> None:
    files = [path for path in (RAW / "models").iterdir() if path.suffix == ".dat"]
    assert len(files) == 1
    for path in files:
        assert "SYNTHETIC" in path.name
        assert path.read_text("utf-8").startswith(" SYNTHETIC: ")


def test_structures_have_the_bond_lengths_of_the_calculations() -> None:
    records = read_sheet(RAW / "references.yaml").structures
    found = {}
    for record in records:
        record.pop("__line__")
        found[record["structure_id"]] = structures.from_mapping(record, folder=RAW)
    for name, run in (
        ("La3Ni2O7-hp-cluster", "hp_77"),
        ("La3Ni2O7-ap-tetragonal", "ap_77"),
        ("NiO-0.97", "nio_0.97"),
    ):
        atoms = (RAW / "feff" / run / "feff.inp").read_text("utf-8").split("ATOMS\n")[1].splitlines()
        oxygen = sorted(float(line.split()[-1]) for line in atoms if " O" in line)[:6]
        bonds = structures.bonds(found[name], cutoff=2.5)
        lengths = [b.bond_length for b in bonds if b.site == "Ni1" and b.bond == "Ni-O" for _ in range(b.multiplicity)]
        assert sorted(lengths) == pytest.approx(oxygen, abs=2e-4)


def test_command_line_makes_a_complete_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "copy"
    assert generate.main([str(folder)]) == 0
    assert "synthetic" in capsys.readouterr().out
    assert names(folder) == names(RAW)
    assert generate.main(["--help"]) == 2
