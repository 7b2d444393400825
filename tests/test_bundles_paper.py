"""A publication's numbers and figures out of a bundle: filled, judged, never tuned."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from barospec import Archive, sample_data
from barospec.catalogs.bundles.verify import verify
from barospec.catalogs.papers.check_numbers import statistic
from barospec.catalogs.papers.paper import read_paper, verdict
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile

from .bundles_made import ABOVE, opened

PAPER = """
title: A test
numbers:
  - {id: edge, where: text, query: "%(query)s", operator: edge_energy, value: %(value)s, unit: eV}
  - {id: shift, query: "La3Ni2O7 measured above 20 GPa", compared_with: "La3Ni2O7 measured below 5 GPa",
     operator: edge_energy, value: 651, sigma: 5, unit: meV}
  - {id: rate, query: "La3Ni2O7 measured", operator: edge_energy, statistic: slope, value: 0.09, unit: eV/GPa}
figures:
  - {id: raw-curves, query: "La3Ni2O7 measured"}
  - {id: normalized, query: "La3Ni2O7 xas", operator: normalize, output: norm}
tables:
  - {id: edges, query: "La3Ni2O7 measured", operator: edge_energy, fields: [run, pressure]}
"""


def write_paper(folder: Path, query: str = "La3Ni2O7 measured above 22 GPa", value: str = "8345.7") -> Path:
    path = folder / "paper.yaml"
    path.write_text(PAPER % {"query": query, "value": value})
    return path


@pytest.fixture(scope="module")
def filled(shared_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    return opened(shared_path).share(ABOVE, folder / "bundle", paper=write_paper(folder)).path


def test_numbers_are_filled_and_judged(filled: Path, shared_path: Path) -> None:
    with (filled / "data/paper/numbers.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    spectra = opened(shared_path).query("La3Ni2O7 measured sorted by pressure")
    edges = spectra.apply("edge_energy").compute()
    values, pressure = edges.edge_energy.values, spectra.columns(["pressure"])["pressure"]
    assert float(rows["edge"]["computed"]) == values[-1]
    assert float(rows["edge"]["computed_sigma"]) == edges.edge_energy_sigma.values[-1]
    assert float(rows["shift"]["computed"]) == pytest.approx(values[-1] - values[0], abs=1e-9)
    assert float(rows["rate"]["computed"]) == pytest.approx(np.polyfit(pressure, values, 1)[0], rel=1e-6)
    assert (rows["shift"]["stated"], rows["shift"]["stated_sigma"], rows["shift"]["unit"]) == ("0.651", "0.005", "eV")
    assert (rows["edge"]["spectra"], rows["rate"]["spectra"]) == ("1", "6")
    assert rows["rate"]["verdict"].startswith("differs by -0.0")
    content = yaml.safe_load((filled / "data/paper/paper.yaml").read_text())
    assert content["numbers"][2]["value"] == "0.09", "what was printed stays as it was printed"
    assert content["numbers"][2]["verdict"] == rows["rate"]["verdict"]


def test_each_figure_is_one_wide_table(filled: Path, shared_path: Path) -> None:
    spectra = opened(shared_path).query("La3Ni2O7 measured").to_xarray().compute()
    with (filled / "data/paper/raw-curves.csv").open(newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head[0] == "energy (eV)"
    assert len(head) == 7
    assert all("GPa" in title and "300 K" in title for title in head[1:])
    np.testing.assert_array_equal(np.array(rows, dtype=float).T[1:], spectra.mu.values)
    with (filled / "data/paper/normalized.csv").open(newline="") as file:
        assert sum("CALCULATED" in title for title in next(csv.reader(file))) == 1
    with (filled / "data/paper/edges.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 6
    assert {"run", "pressure (GPa)", "edge_energy (eV)", "edge_energy_sigma (eV)"} <= table[0].keys()


def test_numbers_are_recomputed_from_the_bundle(filled: Path) -> None:
    found = verify(filled, recompute=True)
    assert found.ok, found.problems
    assert sum(line.startswith("paper: ") and "agrees" in line for line in found.recomputed) == 3
    numbers = json.loads((filled / "data/paper/numbers.json").read_text())
    ids = {name for number in numbers for name in number["spectrum_id"] + number["compared_with"]}
    inputs = (filled / "data/inputs.csv").read_text()
    spectra = (filled / "data/spectra.csv").read_text()
    assert all(name in inputs or name in spectra for name in ids)


def test_the_example_of_the_sample_archive(sample: Archive, tmp_path: Path) -> None:
    """Input recovered: the numbers that the synthetic spectra were made from."""
    paper = Path(sample_data.RAW).parent / "paper.yaml"
    made = sample.share("La3Ni2O7 xas Ni K synthetic above 14 GPa", tmp_path / "bundle", paper=paper)
    assert {row["id"]: row["verdict"] for row in made.verdicts} == {
        "valence-ambient": "agrees",
        "shift-at-15-6-GPa": "agrees",
        "shift-at-23-7-GPa": "agrees",
    }
    head = (made.path / "data/paper/figure-edges.csv").read_text().split("\n")[0]
    assert head.count("SYNTHETIC") == head.count("GPa")
    assert verify(made.path, recompute=True).ok


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("operator:", "operater:", "Did you mean operator"),
        ("id: shift", "id: edge", "must be unique"),
        ("id: edge", "id: ../x", "letters, digits"),
        ("value: 651", "value: many", "is not a number"),
        ("unit: meV", "unit: GPa", "GPa"),
        ("statistic: slope", "statistic: median", "not one of mean, difference, slope"),
        ("operator: edge_energy, value", "operator: normalize, output: norm, value", "no single number per spectrum"),
        ("La3Ni2O7 measured above 22 GPa", "measured above 99 GPa", "expected one kind of spectra"),
    ],
)
def test_mistakes_are_named(shared_path: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    path = write_paper(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BarospecError) as caught:
        opened(shared_path).share(ABOVE, tmp_path / "bundle", paper=path)
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert words in told, told
    assert not (tmp_path / "bundle").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        read_paper(tmp_path / "absent.yaml")
    (tmp_path / "code.yaml").write_text(f"title: !!python/object/apply:os.mkdir [{tmp_path / 'made'}]")
    read_paper(tmp_path / "code.yaml")
    assert not (tmp_path / "made").exists()
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InvalidData, match="mapping"):
        read_paper(tmp_path / "list.yaml")


@given(st.floats(-10, 10), st.floats(0.001, 1), st.floats(0.001, 1))
def test_verdict_is_the_distance_in_sigmas(stated: float, sigma: float, stated_sigma: float) -> None:
    combined = float(np.hypot(sigma, stated_sigma))
    assert verdict(stated + 1.9 * combined, sigma, stated, stated_sigma, 0.0, "eV") == "agrees"
    assert verdict(stated - 2.1 * combined, sigma, stated, stated_sigma, 0.0, "eV").startswith("differs by -")
    assert verdict(float("nan"), sigma, stated, stated_sigma, 0.0, "eV").startswith("not computed")


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=12), st.floats(-5, 5), st.floats(-3, 3))
def test_statistics_against_numpy(noise: list[float], offset: float, slope: float) -> None:
    x = np.arange(len(noise), dtype=float)
    y = offset + slope * x + 1e-3 * np.array(noise)
    none = np.full(len(y), np.nan)
    mean, error = statistic("mean", y, none, none, none)
    assert mean == pytest.approx(y.mean())
    assert error == pytest.approx(y.std(ddof=1) / np.sqrt(len(y)))
    fitted = np.polyfit(x, y, 1)
    assert statistic("slope", y, none, x, none)[0] == pytest.approx(fitted[0], abs=1e-9)
    assert statistic("difference", y, none, none, y)[0] == pytest.approx(0.0, abs=1e-12)
