"""All correlations of the trilayer over pressure, temperature and ratio: one batch compared with a loop of diagonalizations."""

from __future__ import annotations

import itertools

import numpy as np

from barospec.archive.spins.algebra import pair_operator
from barospec.archive.spins.models import multilayer, trilayer
from barospec.archive.spins.observables import spin_correlations
from barospec.archive.spins.outputs import BOLTZMANN
from benchmarks.record import Result, alternating, seconds

SHAPE = (20, 25, 20)
LOOPED = 200
PAIRS = list(itertools.combinations(range(6), 2))


def grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return J_H along pressure (interpolated between the two published values), temperature in K, and the ratio J_ZZ / J_H."""
    hund = np.linspace(0.63, 0.57, SHAPE[0])[:, None, None]
    kelvin = np.linspace(0.0, 600.0, SHAPE[1])[None, :, None]
    ratio = np.linspace(0.2, 2.0, SHAPE[2])[None, None, :]
    return hund, kelvin, ratio


def single(hund: float, kelvin: float, ratio: float, operators: list[np.ndarray]) -> np.ndarray:
    """Compute one point directly: the 64 by 64 matrix, its eigenvectors, and every pair."""
    pair = dict(zip(PAIRS, operators, strict=True))
    matrix = hund * (ratio * (pair[1, 3] + pair[3, 5]) - pair[0, 1] - pair[2, 3] - pair[4, 5])
    energies, vectors = np.linalg.eigh(matrix)
    excitation = energies - energies[0]
    weights = np.exp(-excitation / (BOLTZMANN * kelvin)) if kelvin else (excitation < 1e-9).astype(float)
    weights /= weights.sum()
    return np.array([np.einsum("an,ab,bn,n", vectors, o, vectors, weights, optimize=True) for o in operators])


def run() -> list[Result]:
    """Time both methods after checking that they give the same numbers."""
    hund, kelvin, ratio = grid()
    operators = [pair_operator(*pair, trilayer().spins).toarray() for pair in PAIRS]
    points = [(float(hund[i, 0, 0]), float(kelvin[0, j, 0]), float(ratio[0, 0, k])) for i, j, k in np.ndindex(*SHAPE)]
    looped = points[:: len(points) // LOOPED]

    def batch() -> np.ndarray:
        found = spin_correlations(trilayer(), {"J_H": hund, "J_ZZ": hund * ratio}, kelvin)
        return np.asarray(found["spin_correlation"].values)

    def distinct() -> np.ndarray:
        h, t, r = (np.array(column) for column in zip(*points, strict=True))
        return np.asarray(spin_correlations(trilayer(), {"J_H": h, "J_ZZ": h * r}, t)["spin_correlation"].values)

    def loop() -> np.ndarray:
        return np.array([single(*point, operators) for point in looped])

    everything = batch()
    upper = tuple(np.array(PAIRS).T)
    same = everything.reshape(-1, 6, 6)[:: len(points) // LOOPED][:, *upper]
    worst = max(np.abs(same - loop()).max(), np.abs(distinct().reshape(everything.shape) - everything).max())
    if worst > 1e-10:
        raise RuntimeError(f"batch and loop differ by {worst:g}; a comparison of their times has no meaning.")
    one, each, many = alternating(batch, distinct, loop, repeat=5)
    many *= len(points) / len(looped)
    table = Result(
        "Spin correlations",
        f"All 15 pair correlations of the trilayer at {len(points):,} points ({' x '.join(map(str, SHAPE))}: pressure, temperature, ratio). The peer "
        f"diagonalizes the 64 by 64 matrix of each point ({len(looped)} timed, scaled up). Both agree to {worst:.0e}.",
        ("way", "s", "loop / this"),
    )
    table.rows = [
        ("batch, diagonalized once for all temperatures", one, many / one),
        ("batch, every point diagonalized", each, many / each),
        ("loop of single diagonalizations", many, 1.0),
    ]
    return [table, _larger()]


def _larger() -> Result:
    table = Result(
        "Spin spectrum of larger stacks",
        "All levels of one point; operators of each stack are built once and reused.",
        ("layers", "spins", "ms, kept operators"),
    )
    for layers in (2, 3, 4, 5):
        model = multilayer(layers)
        spin_correlations(model, {"J_H": 0.6, "J_ZZ": 0.5})
        taken = seconds(lambda model=model: spin_correlations(model, {"J_H": 0.6, "J_ZZ": 0.5}))  # type: ignore[misc]
        table.rows.append((layers, 2 * layers, taken * 1e3))
    return table
