"""norm and E(0.8) of 500 spectra, frozen: what operators compute stays the same to 1e-12.

`python -m tests.test_operators_frozen` writes the file. It is written again only together with a raised `version` of an operator.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from barospec.archive.operators.chain.execute import run_chain
from tests.reference.curves import synthetic_curves
from tests.test_operators import spectra
from tests.test_operators_normalize import batch

FILE = Path(__file__).parent / "files" / "operators-frozen.npz"
EVERY = 16


def numbers() -> dict[str, np.ndarray]:
    """E(0.8), quality, edge step, sums of norm and every 16th point of norm of 500 spectra.

    300 edges from 2.5 to 25 keV on even, three-region and jittered grids, with holes, repeats and disorder; 200 Ni K
    edges of three noise levels, half of them cut short by padding.
    """
    wide = dict(zip(("energy", "mu"), batch(synthetic_curves(300)), strict=True))
    nickel = {name: spectra(200, 320, seed=80)[name] for name in ("energy", "mu")}
    random = np.random.default_rng(81)
    nickel["mu"] = nickel["mu"] * random.uniform(0.05, 3.0, (200, 1))
    nickel["mu"] += random.normal(0.0, 1.0, (200, 320)) * 10.0 ** random.integers(-5, -2, (200, 1))
    for row in range(100):
        nickel["mu"][row, int(random.integers(290, 320)) :] = np.nan
    found: dict[str, list[np.ndarray]] = {}
    for arrays in (wide, nickel):
        out = run_chain([("edge_energy", {"fraction": 0.8, "ensemble": 0})], arrays, wanted=WANTED)
        norm = out.pop("norm")
        out["norm_sum"], out["norm_squares"] = np.nansum(norm, axis=1), np.nansum(norm**2, axis=1)
        out["norm_points"] = np.isfinite(norm).sum(axis=1)
        out["norm"] = norm.reshape(-1)[::EVERY]
        for name, values in out.items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


WANTED = ("norm", "edge_step", "normalize_quality", "edge_energy", "edge_energy_quality")


@pytest.fixture(scope="module")
def both() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    with np.load(FILE) as frozen:
        return numbers(), dict(frozen)


def test_edge_energies_are_the_frozen_ones(both: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]) -> None:
    now, frozen = both
    assert np.isfinite(frozen["edge_energy"]).sum() > 480
    # 1e-9 eV is 4e-14 to 4e-13 of these energies, which float64 holds to 1e-16.
    np.testing.assert_allclose(now["edge_energy"], frozen["edge_energy"], rtol=0, atol=1e-9)


def test_norm_is_the_frozen_one(both: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]) -> None:
    now, frozen = both
    assert list(now) == list(frozen)
    for name in ("normalize_quality", "edge_energy_quality", "norm_points"):
        np.testing.assert_array_equal(now[name], frozen[name], err_msg=name)
    np.testing.assert_allclose(now["edge_step"], frozen["edge_step"], rtol=1e-12, atol=0)
    # norm is 1 above the edge and about 0 below it, where only the difference counts.
    np.testing.assert_allclose(now["norm"], frozen["norm"], rtol=1e-12, atol=1e-12)
    for name in ("norm_sum", "norm_squares"):
        np.testing.assert_allclose(
            now[name] / now["norm_points"], frozen[name] / frozen["norm_points"], rtol=1e-12, atol=1e-12
        )


if __name__ == "__main__":
    np.savez_compressed(FILE, **numbers())
