"""The curves that the Larch reference was computed on: real files read the plainest way, and synthetic ones.

Shared by ``make_larch_reference.py`` and the tests, so that both see the same numbers; apart from the
product's readers, so that an error there is not an error here.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

SYNTHETIC = 5000


def real_curves(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Energy in eV and mu of every absorption spectrum in the XDI, Athena, BLISS and FEFF files."""
    paths = [path for path in sorted((folder / "xdi").glob("*.xdi")) if path.name != "nonxafs_1d.xdi"]
    curves = {f"xdi/{path.name}": _xdi(path) for path in paths}
    for path in sorted((folder / "athena").glob("*.prj")):
        groups = _athena_json(path) if path.read_bytes()[:1] == b"{" else _athena_perl(path)
        curves.update({f"athena/{path.name}#{label}": group for label, group in groups})
    curves["bliss/id24_laser_heated_Fe.h5"] = _bliss(folder / "bliss" / "id24_laser_heated_Fe.h5")
    curves["feff/xmu.dat"] = tuple(np.loadtxt(folder / "feff" / "xmu.dat").T[[0, 3]])
    return curves


def _xdi(path: Path) -> tuple[np.ndarray, np.ndarray]:
    text = path.read_text()
    labels = {name: int(number) - 1 for number, name in re.findall(r"# Column\.(\d+):\s*(\w+)", text)}
    table = np.loadtxt(path, comments="#")
    if "mutrans" in labels:
        return table[:, labels["energy"]], table[:, labels["mutrans"]]
    return table[:, labels["energy"]], np.log(table[:, labels["i0"]] / table[:, labels["itrans"]])


def _athena_perl(path: Path) -> list[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    with gzip.open(path, "rt", errors="replace") as file:
        text = file.read()
    groups = []
    label, energy = "", np.empty(0)
    for name, body in re.findall(r"^@(args|x|y) = \((.*?)\);$", text, re.M | re.S):
        if name == "args":
            label = re.search(r"'label','((?:[^'\\]|\\.)*)'", body)[1]
            continue
        numbers = np.array([float(number) for number in re.findall(r"'([^']+)'", body)])
        if name == "x":
            energy = numbers
        else:
            groups.append((label, (energy, numbers)))
    return groups


def _athena_json(path: Path) -> list[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    groups: list[Any] = [group for group in json.loads(path.read_text()).values() if isinstance(group, dict)]
    return [
        (group["args"]["label"], (np.array(group["x"], dtype=float), np.array(group["y"], dtype=float)))
        for group in groups
        if "x" in group
    ]


def _bliss(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import h5py

    with h5py.File(path) as file:
        scan = file["39.1/measurement"]
        return scan["energy_enc"][:] * 1000.0, scan["mu_trans"][:]


def synthetic_curves(number: int = SYNTHETIC) -> list[tuple[np.ndarray, np.ndarray]]:
    """Noisy edges with pre-edge peak, white line and oscillations, each on a grid of its own.

    Edges from 2.5 to 25 keV; even grids, three-region grids and jittered ones, 120 to 800 points; now and
    then out of order, with repeated energies, with holes.
    """
    random = np.random.default_rng(20240917)
    return [_synthetic(random) for _ in range(number)]


def _synthetic(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    edge = random.uniform(2500.0, 25000.0)
    below, above = random.uniform(40.0, 220.0), random.uniform(60.0, 1000.0)
    fine = random.uniform(0.15, 1.0)
    kind = random.integers(3)
    if kind == 0:
        points = int(random.integers(120, 800))
        energy = np.linspace(edge - below, edge + above, points)
    else:
        energy = np.r_[
            np.arange(edge - below, edge - 20.0, random.uniform(2.0, 8.0)),
            np.arange(edge - 20.0, edge + 40.0, fine),
            edge + 40.0 + np.arange(0.0, np.sqrt(above - 40.0), random.uniform(0.05, 0.2)) ** 2,
        ]
        if kind == 2:
            energy += random.normal(0.0, 0.1 * fine, energy.size)
    width = random.uniform(0.6, 3.0)
    x = energy - edge
    mu = 0.5 + np.arctan(x / width) / np.pi
    mu += random.uniform(0.0, 1.2) / (1.0 + ((x - random.uniform(1.0, 4.0)) / (1.5 * width)) ** 2)
    mu += random.uniform(0.0, 0.1) * np.exp(-0.5 * ((x + random.uniform(6.0, 14.0)) / 1.2) ** 2)
    k = np.sqrt(np.maximum(x, 0.0) * 0.2624682)
    mu += 0.15 * np.sin(2.0 * random.uniform(1.6, 2.8) * k) * np.exp(-0.02 * k**2) * (x > 5.0)
    mu = random.uniform(0.05, 3.0) * mu + random.uniform(-0.5, 2.0) * (edge / energy) ** 3 + random.uniform(-0.3, 0.3)
    mu += random.normal(0.0, 10.0 ** random.uniform(-5.0, -2.3), energy.size)
    trouble = random.uniform()
    if trouble < 0.05:
        order = random.permutation(energy.size)
        energy, mu = energy[order], mu[order]
    elif trouble < 0.10:
        # Rounded so that the nudge is a float nudge of what a file would hold.
        again = np.sort(random.choice(np.arange(5, energy.size - 5), 3, replace=False))
        energy = np.sort(np.round(energy, 2))
        energy[again] = energy[again - 1]
    elif trouble < 0.15:
        mu[random.choice(energy.size, 5, replace=False)] = np.nan
    elif trouble < 0.20:
        energy, mu = energy[::-1].copy(), mu[::-1].copy()
    return energy, mu
