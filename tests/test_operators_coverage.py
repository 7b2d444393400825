"""Sigmas that mean what they say: from noisy curves as measured to the result, references as noisy, 68 % cover.

Every case starts at mu or counts: the noise goes through the normalization, the interpolation of the reference and
the operator. The truth is what the same steps give without noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from barospec.archive.operators.chain import execute
from barospec.archive.operators.iad import UNDER_FLOOR
from barospec.archive.operators.registry import OPERATORS
from barospec.sample_data.spectra import emission
from barospec.sample_data.truth import grid, load_truth, ni_kb_emission

DRAWS, ROWS = 50, 8
"""References drawn, and spectra compared with each."""
ENERGY = np.r_[np.arange(8200.0, 8320, 4.0), np.arange(8320.0, 8375, 0.25), np.arange(8375.0, 8700, 3.0)]
OTHER = ENERGY + 0.1
"""References are measured on energies of their own."""
NOISE = 1e-3
FIXED = {"normalize.e0": 8345.0, "norm1": 40.0, "nnorm": 1}
TRUTH = load_truth()
KB = grid(TRUTH, "ni_kb")


def absorption(energy: np.ndarray, edge: float = 8345.0, pre: float = 0.05, feature: float = 0.05) -> np.ndarray:
    """An oxide's edge: step, white line, pre-edge peak at 8332, feature at 8358; all smooth on the grid."""
    x = energy - edge
    mu = 0.5 + np.arctan(x / 1.8) / np.pi + 0.5 * np.exp(-(((x - 4.5) / 3.2) ** 2))
    mu += pre * np.exp(-(((energy - 8332.0) / 1.4) ** 2)) + feature * np.exp(-(((energy - 8358.0) / 4.0) ** 2))
    found: np.ndarray = 0.3 - 2e-4 * x + 0.9 * mu
    return found


def kb(material: str, share: float = 1.0) -> np.ndarray:
    first, second = (emission(KB, ni_kb_emission(TRUTH, name, 0.0)) for name in (material, "LaNiO3"))
    found: np.ndarray = share * first + (1 - share) * second
    return found


def pulls(truth: dict[str, Any], found: list[dict[str, Any]], name: str, of: str = "") -> np.ndarray:
    """(value - truth)/sigma of all draws; `of` where the truth goes by another name."""
    value, sigma = (np.concatenate([one[key] for one in found]) for key in (name, f"{name}_sigma"))
    exact = np.asarray(truth[of or name])[0]
    if value.ndim == 2:
        value, sigma, exact = value[:, 0], sigma[:, 0], exact[0]
    pull: np.ndarray = (value - exact) / sigma
    assert np.isfinite(pull).all(), name
    return pull


def covers(pull: np.ndarray, name: str, bias: float = 0.25) -> None:
    # Spectra that share a reference are not independent: half of them count.
    independent = pull.size / 2
    assert abs(np.mean(np.abs(pull) < 1) - 0.683) < 4 * np.sqrt(0.683 * 0.317 / independent), name
    assert abs(pull.mean()) < bias + 4 / np.sqrt(independent), name


XAS: list[tuple[str, dict[str, Any], list[dict[str, float]], dict[str, float]]] = [
    ("edge_energy", {"ensemble": 0}, [], {}),
    ("find_e0", {}, [], {}),
    ("white_line", {}, [], {}),
    ("track_peak", {"low": 8344.0, "high": 8356.0}, [], {}),
    ("pre_edge_peak", {"anchor": 8345.0}, [], {}),
    ("derivative_features", {"beta_low": 8340.0, "beta_high": 8350.0, "half": 1.2}, [], {}),
    ("edge_shift", {"norm1": 40.0, "nnorm": 1, "ensemble": 0}, [{"edge": 8344.7}], {}),
    ("whole_edge_shift", {"low": 8335.0, "high": 8352.0}, [{}], {}),
    ("agreement", {"low": 8335.0, "high": 8375.0}, [{}], {}),
    ("feature", {"position": 8358.0}, [{"feature": 0.02}], {}),
    ("difference", {"low": 8330.0, "high": 8370.0}, [{"feature": 0.02}], {}),
    ("lcf", {"low": 8330.0, "high": 8370.0}, [{"edge": 8344.0}, {"edge": 8346.0, "feature": 0.0}], {}),
    ("valence", {}, [{"edge": 8344.0}, {"edge": 8346.0}], {"edge": 8345.06}),
]


@pytest.mark.parametrize(("name", "asked", "others", "mine"), XAS, ids=[case[0] for case in XAS])
def test_absorption(name: str, asked: dict[str, Any], others: list[dict[str, float]], mine: dict[str, float]) -> None:
    random = np.random.default_rng(7)
    clean = absorption(ENERGY, **mine)
    if name == "lcf":
        clean = 0.35 * absorption(ENERGY, **others[0]) + 0.65 * absorption(ENERGY, **others[1])
    fixed = {} if name == "edge_shift" else FIXED

    def run(mu: np.ndarray, noise: float) -> dict[str, Any]:
        named = [
            execute.Reference({"energy": OTHER[None], "mu": (c + random.normal(0, noise, c.size))[None]}, str(2 + k))
            for k, c in enumerate(absorption(OTHER, **one) for one in others)
        ]
        ready = execute.bind(execute.prepare([(name, asked)], ["energy", "mu"], fixed), {name: named} if named else {})
        return execute.run(ready, {"energy": ENERGY, "mu": mu})

    truth = run(clean[None], 0.0)
    draws, rows = (DRAWS, ROWS) if others else (1, DRAWS * ROWS)
    found = [run(clean + random.normal(0, NOISE, (rows, clean.size)), NOISE) for _ in range(draws)]
    outputs = OPERATORS[name].outputs
    tested = [o for o in outputs if f"{o}_sigma" in outputs and np.isfinite(truth[o]).all()]
    assert tested
    for output in tested:
        covers(pulls(truth, found, output), output)


XES: list[tuple[str, np.ndarray, tuple[str, ...], tuple[str, ...]]] = [
    ("kbeta_prime", kb("NiO"), (), ("kbeta_prime_area", "kbeta_prime_height")),
    ("kbeta13_position", kb("NiO"), (), ("kbeta13_position",)),
    ("first_moment", kb("NiO"), (), ("first_moment",)),
    (
        "valence_to_core(low=8318, high=8338)",
        kb("La3Ni2O7"),
        ("NiO",),
        ("vtc_position", "vtc_area", "vtc_height", "vtc_width", "vtc_shift", "vtc_ratio"),
    ),
    ("iad", kb("NiO"), ("LaNiO3",), ("iad",)),
    ("spin_state", kb("NiO", 0.3), ("LaNiO3", "NiO"), ("high_spin",)),
]


def emitted(steps: str, curve: np.ndarray, others: tuple[str, ...], counts: float) -> tuple[Any, list[dict[str, Any]]]:
    """The result without noise, and those of counted spectra against counted references."""
    random = np.random.default_rng(5)
    name = steps.partition("(")[0]

    def run(intensity: np.ndarray, counted: bool) -> dict[str, Any]:
        named = []
        for other in others:
            bare = kb(other) * counts
            named.append(
                execute.Reference(
                    {"energy": KB[None], "intensity": (random.poisson(bare) if counted else bare)[None].astype(float)}
                )
            )
        arrays = {"energy": KB, "intensity": intensity}
        return execute.run_chain(steps, arrays, references={name: named} if named else {})

    draws, rows = (DRAWS, ROWS) if others else (1, DRAWS * ROWS)
    found = [run(random.poisson(curve * counts, (rows, curve.size)).astype(float), True) for _ in range(draws)]
    return run(curve[None] * counts, False), found


@pytest.mark.parametrize(("steps", "curve", "others", "outputs"), XES, ids=[case[0].split("(")[0] for case in XES])
def test_emission(steps: str, curve: np.ndarray, others: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    truth, found = emitted(steps, curve, others, 2e4)
    for output in outputs:
        of = {"iad": "iad_raw"}.get(output, "")
        if output == "high_spin":
            assert all((one["high_spin_free"] == one["high_spin"]).all() for one in found)
        covers(pulls(truth, found, output, of), output, bias=0.3)


def test_the_difference_of_like_spectra_is_zero_within_its_sigma() -> None:
    _, found = emitted("iad", kb("LaNiO3"), ("LaNiO3",), 2e4)
    value, sigma, raw, limit, quality = (
        np.concatenate([one[name] for one in found])
        for name in ("iad", "iad_sigma", "iad_raw", "iad_limit", "iad_quality")
    )
    assert abs(value.mean()) < 0.35 * sigma.mean()
    assert raw.mean() > 2 * sigma.mean()
    assert np.mean(np.abs(value) < sigma) > 0.65
    assert (limit > 0).mean() > 0.95
    assert np.mean(quality == UNDER_FLOOR) > 0.95


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_small_differences_lie_below_their_limit(share: float) -> None:
    truth, found = emitted("iad", kb("NiO", share), ("LaNiO3",), 2e4)
    limit, value, sigma = (np.concatenate([one[n] for one in found]) for n in ("iad_limit", "iad", "iad_sigma"))
    exact = float(truth["iad_raw"][0])
    assert np.mean(limit > exact) > 0.9
    assert abs(value.mean() - exact) < sigma.mean()
