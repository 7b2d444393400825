"""Made-up spectra for the figures of operators: shapes of nickel edges and lines, with noise; not measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EDGE = {2.0: 8344.4, 2.5: 8345.4, 3.0: 8346.4}
"""eV: edge energies of the made-up compounds of these valences."""
GLITCH = 8390.0


def absorption(valence: float, seed: int, *, glitch: bool = False) -> dict[str, Floats]:
    """Return one spectrum with its foil: energy (eV), mu, murefer, itrans and irefer, shape (1, n)."""
    energy = np.r_[np.arange(8170.0, 8320.0, 3.0), np.arange(8320.0, 8400.0, 0.4), np.arange(8400.0, 8750.0, 2.0)]
    x = energy - EDGE[valence]
    step = 0.5 + np.arctan((x + 1.2) / 1.6) / np.pi
    mu = (
        0.35
        - 4e-4 * x
        + 0.9
        * (
            step * (1 + 0.02 * np.sin(x / 14) * (1 - np.exp(-((np.maximum(x, 0) / 25) ** 4))))
            + 0.55 / (1 + ((x - 4) / 2.6) ** 2)
        )
    )
    mu = mu + 0.07 * np.exp(-(((energy - 8332.6) / 1.3) ** 2)) + 0.09 * (valence - 2) / (1 + ((energy - 8358) / 3) ** 2)
    foil = np.arctan((energy - 8333.8) / 1.8) / np.pi + 0.9
    noise = np.random.default_rng(seed).normal(0, 1.5e-3, (2, energy.size))
    spike = 0.25 * (np.abs(energy - GLITCH) < 0.15) * glitch
    trans = 1e5 * np.exp(-(mu + noise[0]))
    return {
        "energy": energy[None],
        "mu": (mu + noise[0] + spike)[None],
        "itrans": trans[None],
        "irefer": (trans * np.exp(-(foil + noise[1])))[None],
        "murefer": (foil + noise[1])[None],
    }


def emission(valence: float, seed: int) -> dict[str, Floats]:
    """Return one emission spectrum in counts: energy (eV) and intensity, shape (1, n)."""
    energy = np.arange(8225.0, 8345.0, 0.4)
    prime = {2.0: 0.22, 2.5: 0.17, 3.0: 0.12}[valence]
    line = 1 / (1 + ((energy - 8264.8) / 2.2) ** 2) + prime * np.exp(-(((energy - 8251.0) / 4.5) ** 2))
    line += 0.045 * np.exp(-(((energy - 8326.0 - 1.85 * (valence - 2)) / 3.0) ** 2)) + 0.012
    counts = np.random.default_rng(seed).poisson(3e4 * line).astype(float)
    return {"energy": energy[None], "intensity": counts[None]}
