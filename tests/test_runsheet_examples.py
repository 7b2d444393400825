"""Every example of docs/run-sheets.md on columns and counters is a sheet that is ingested, and gives the numbers that it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barospec import Archive

from .files_made import edge

FILES = Path(__file__).parent / "files"
PAGE = Path(__file__).parent.parent / "docs" / "run-sheets.md"
HEAD = "run: r\nsample: s\ntechnique: xas\nedge: Ni K\norigin: synthetic\n"
ENERGY = np.linspace(8250.0, 8500.0, 60)
I0 = np.linspace(1000.0, 900.0, 60)


def _table(path: Path, *columns: Any) -> None:
    rows = zip(*columns, strict=True)
    path.write_text("".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the examples name."""
    for source, name in {
        "invented-table.txt": "foil.dat",
        "invented-bliss.h5": "scans.h5",
        "invented.spec": "scans.spec",
        "invented-nxxas.nxs": "scan.nxs",
        "invented_2_conv.txt": "ni_1_conv.txt",
    }.items():
        shutil.copy(FILES / source, tmp_path / name)
    shutil.copy(tmp_path / "ni_1_conv.txt", tmp_path / "ni_2_conv.txt")
    with (tmp_path / "ni_2_conv.txt").open("a") as file:  # another calculation
        file.write("    57.500  7.0000000E-01\n")
    mu = edge(ENERGY)
    fluorescence = I0 * mu / 10
    _table(tmp_path / "pixels.dat", ENERGY, I0, *(fluorescence * part for part in (0.2, 0.3, 0.5)))
    angle = np.degrees(np.arcsin(12398.419843320026 / (2 * 3.1356 * ENERGY)))
    _table(tmp_path / "angles.dat", angle, I0, I0 * np.exp(-mu))
    _table(tmp_path / "processed.dat", ENERGY, mu)
    _table(tmp_path / "both.dat", ENERGY, I0, I0 * np.exp(-mu), fluorescence * 0.4, fluorescence * 0.6)
    return tmp_path


def examples() -> list[str]:
    section = PAGE.read_text(encoding="utf-8").split("## Columns and counters")[1].split("\n## ")[0]
    return re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)


def names(text: str) -> str:
    return re.search(r"files: (\S+)", text)[1]  # type: ignore[index]


@pytest.mark.parametrize("text", examples(), ids=names)
def test_examples_are_ingested(text: str, folder: Path, empty: Archive) -> None:
    sheet = folder / "sheet.yaml"
    name = names(text)
    head = HEAD.replace("synthetic", "calculated") if "E_edge" in text else HEAD
    sheet.write_text(head + text, encoding="utf-8")
    report = empty.ingest([sheet])
    assert [str(problem) for problem in report.problems if problem.severity == "error"] == []
    found = empty.query()
    data = found.to_xarray().load()
    columns = found.columns(["signal", "temperature", "absorber", "energy_min", "energy_max"])
    count = 2 if name in ("both.dat", "ni_*_conv.txt") else 1
    assert report.added == len(found) == count
    curve = data["mu"].values[:, : int(data["point_count"].values.min())]
    if name == "pixels.dat":
        np.testing.assert_allclose(curve[0], edge(ENERGY) / 10, rtol=1e-7)
    elif name == "angles.dat":
        np.testing.assert_allclose(data["energy"].values[0], ENERGY, rtol=1e-7)
        np.testing.assert_allclose(curve[0], edge(ENERGY), atol=1e-7)
    elif name == "processed.dat":
        assert list(columns["signal"]) == ["murecorded"]
    elif name == "both.dat":
        assert sorted(columns["signal"]) == ["fluorescence", "transmission"]
        way = dict(zip(columns["signal"], curve, strict=True))
        np.testing.assert_allclose(way["fluorescence"] * 10, way["transmission"], atol=1e-6)
    elif name == "scans.h5":
        assert float(columns["temperature"][0]) == pytest.approx(10.1, abs=0.2)
    elif name == "ni_*_conv.txt":
        assert sorted(columns["absorber"]) == ["Ni1", "Ni2"]
        np.testing.assert_allclose(columns["energy_min"], 8333 - 45)
    if name in ("foil.dat", "scans.h5", "scans.spec", "scan.nxs"):
        np.testing.assert_allclose([columns["energy_min"][0], columns["energy_max"][0]], [8300.0, 8400.0], atol=1e-6)


def test_every_preset_stands_in_the_page() -> None:
    from barospec.archive.readers.beamline_layouts import LAYOUTS

    page = PAGE.read_text(encoding="utf-8")
    for name, _, _ in LAYOUTS:
        assert any(name.split(" (")[0].split()[-1] in line for line in page.splitlines() if line.startswith("| ")), name
