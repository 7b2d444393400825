"""Small data files made by the tests themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]


def edge(energy: Curve, e0: float = 8340.0, seed: int = 0) -> Curve:
    """A smooth edge with a little noise."""
    noise = np.random.default_rng(seed).normal(scale=1e-3, size=energy.shape)
    step: Curve = 0.5 + np.arctan((energy - e0) / 2.0) / np.pi + noise + 0.2
    return step


def write_columns(path: Path, *, points: int = 120, e0: float = 8340.0, seed: int = 0) -> Path:
    """A plain column file of energy and mutrans with a header that says so."""
    energy = np.linspace(8250.0, 8500.0, points)
    lines = "\n".join(f"{e:.4f} {m:.8f}" for e, m in zip(energy, edge(energy, e0, seed), strict=True))
    path.write_text(
        f"# XDI/1.0 made/1\n# Element.symbol: Ni\n# Element.edge: K\n# Column.1: energy eV\n# Column.2: mutrans\n# ///\n# test\n#----\n# energy mutrans\n{lines}\n"
    )
    return path


SETTINGS = ["run=run-1", "sample=NiO", "origin=synthetic", "technique=xas", "edge=Ni K"]
