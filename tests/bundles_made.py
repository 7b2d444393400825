"""A small archive with everything that a bundle has to deal with: references, channels, private texts, emission, calculations."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import barospec
from barospec import Archive
from barospec.archive.bundles import bagit as bags

from .files_made import edge

CHAINS = "edge_energy, valence(references='2: material = NiO; 3: material = LaNiO3')"
ABOVE = "La3Ni2O7 Ni K xas above 10 GPa measured"
PRIVATE = re.compile(r"(?i)hc[-_ ]?4321|jane doe|/data/visitor|/home/")
PRESSURES = (2.0, 8.0, 12.0, 15.0, 20.0, 23.7)


def write_scan(path: Path, e0: float, *, seed: int, points: int = 160) -> Path:
    """An XDI file with channels, a shared grid, and a header that says more than one gives away."""
    energy = np.linspace(8200.0, 8560.0, points)
    mu = edge(energy, e0, seed)
    i0 = 1e5 + 100.0 * np.arange(points)
    itrans = i0 * np.exp(-mu)
    lines = "\n".join(f"{e:.4f} {i!r} {t!r}" for e, i, t in zip(energy, i0.tolist(), itrans.tolist(), strict=True))
    path.write_text(
        "# XDI/1.0 made/1\n# Element.symbol: Ni\n# Element.edge: K\n# Column.1: energy eV\n# Column.2: i0\n"
        "# Column.3: itrans\n# Mono.d_spacing: 3.13555\n# Scan.user: Jane Doe\n# Facility.proposal: hc4321\n"
        f"# Scan.file: /data/visitor/hc4321/bm23/{path.stem}.h5\n# Scan.gain: 1e7 V/A\n# ///\n"
        f"# measured by Jane Doe\n#----\n# energy i0 itrans\n{lines}\n"
    )
    return path


def write_emission(path: Path, *, seed: int, points: int = 140) -> Path:
    """Kβ emission with its satellite."""
    energy = np.linspace(8225.0, 8300.0, points)
    noise = np.random.default_rng(seed).normal(scale=2e-3, size=points)
    line = 1.0 / (1 + ((energy - 8265.0) / 3) ** 2) + 0.2 / (1 + ((energy - 8250.0) / 4) ** 2) + 0.01 + noise
    path.write_text("# energy intensity\n" + "\n".join(f"{e:.3f} {y:.7f}" for e, y in zip(energy, line, strict=True)))
    return path


SHEET = """
experiment: tests
technique: xas
edge: Ni K
origin: measured
beamline: BM23
proposal: HC-4321
operator: Jane Doe
temperature: 300 K
note: smooth
runs:
  - run: run-2
    sample: La3Ni2O7
    material: La3Ni2O7
    files: series*.xdi
    scans:
SCANS
  - {run: NiO, sample: NiO, material: NiO, pressure: 1 bar, files: NiO*.xdi}
  - {run: LaNiO3, sample: LaNiO3, material: LaNiO3, pressure: 1 bar, files: LaNiO3*.xdi}
  - run: run-6
    sample: La3Ni2O7 (SYNTHETIC)
    material: La3Ni2O7
    origin: synthetic
    technique: xes
    line: Kb
    pressure: 12 GPa
    files: kb*.dat
    columns: {energy: 1, iemission: 2}
  - {run: fms, sample: La3Ni2O7, material: La3Ni2O7, origin: calculated, code: FEFF, pressure: 16 GPa, files: code.xdi}
literature:
  - {material: NiO, quantity: e0, value: 8346, value_unit: eV, source: "a book"}
structures:
  - {structure_id: nio, material: NiO, space_group: Fm-3m, a: 4.177, b: 4.177, c: 4.177, alpha: 90, beta: 90, gamma: 90,
     sites: [{label: Ni, element: Ni, x: 0, y: 0, z: 0}, {label: O, element: O, x: 0.5, y: 0, z: 0}], source: "a book"}
"""
TELLING = "taken by Jane Doe in hc4321, see /data/visitor/hc4321/log.txt"


def make_archive(folder: Path) -> Path:
    """Build the archive: 6 of La3Ni2O7 along pressure, 2 + 2 references, 2 of Kβ emission, 1 calculated."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    rows = []
    for number, pressure in enumerate(PRESSURES):
        write_scan(raw / f"series{number}.xdi", 8343.0 + 0.03 * pressure, seed=number)
        note = f', note: "{TELLING}"' if number == 3 else ""
        rows.append(f"      - {{file: series{number}.xdi, pressure: {pressure} ± 0.3 GPa, step: {number}{note}}}")
    for material, e0 in (("NiO", 8341.0), ("LaNiO3", 8344.0)):
        for number in range(2):
            write_scan(raw / f"{material}{number}.xdi", e0, seed=50 + number)
    for number in range(2):
        write_emission(raw / f"kb{number}.dat", seed=90 + number)
    write_scan(raw / "code.xdi", 8343.5, seed=99)
    (raw / "run-sheet.yaml").write_text(SHEET.replace("SCANS", "\n".join(rows)))
    archive = Archive.create(folder / "archive", title="Nickelates under pressure, a test")
    report = archive.ingest([raw / "run-sheet.yaml"])
    assert report.ok, report.problems
    assert report.added == 13
    carberry = {"name": "Carberry, Josiah", "orcid": "0000-0002-1825-0097", "affiliation": "ESRF", "ror": "02550n020"}
    archive.configure({
        "description": "Made for tests.",
        "publisher": "A repository",
        "contact": "josiah@example.org",
        "creators": [carberry, "Ada Lovelace"],
        "license": "CC-BY-4.0",
        "funding": [{"funder": "ERC", "award": "123456"}],
        "keywords": "nickelates, diamond anvil cell",
    })  # fmt: skip
    return folder / "archive"


def opened(path: Path) -> Archive:
    """The archive at a path."""
    found = barospec.open(path)
    assert isinstance(found, Archive)
    return found


def reseal(root: Path) -> None:
    """New manifests, as somebody would write them who wants to be believed."""
    for name in (bags.PAYLOAD, bags.TAGS, "bagit.txt", "bag-info.txt"):
        (root / name).unlink(missing_ok=True)
    bags.seal(root, {})
