"""Compiled kernels: optional, imported late, equal to the numpy code beside them, safe in threads."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.operators import _e0, _grid, _speed, chain
from barospec.archive.operators.normalize import CONSTANT_PRE_EDGE, REASONS, normalize
from tests.reference.curves import synthetic_curves
from tests.test_operators import same, spectra
from tests.test_operators_normalize import batch, step_curve

pytestmark = pytest.mark.skipif(_speed.kernels() is None, reason="numba is not installed, or switched off")

EXACT = ("e0", "pre1", "pre2", "norm1", "norm2", "nnorm", "nvict", "normalize_quality")


def both(monkeypatch: pytest.MonkeyPatch, *arrays: np.ndarray, **parameters: Any) -> list[dict[str, Any]]:
    """Results with the compiled kernels and without."""
    found = []
    for switch in ("1", "0"):
        monkeypatch.setenv(_speed.SWITCH, switch)
        found.append(normalize(*arrays, **parameters))
    return found


def check_equal(compiled: dict[str, Any], plain: dict[str, Any], tolerance: float = 1e-12) -> None:
    for name in EXACT:
        np.testing.assert_array_equal(compiled[name], plain[name], err_msg=name)
    for name in ("norm", "flat", "pre_edge", "post_edge", "edge_step"):
        ours, theirs = compiled[name], plain[name]
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=name)
        finite = np.nan_to_num(theirs)
        scale = np.max(np.abs(finite), axis=-1, keepdims=True) if theirs.ndim > 1 else np.abs(finite)
        assert np.all(np.abs(np.nan_to_num(ours) - finite) <= tolerance * scale), name


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"e0": 8345.0},
        {"nnorm": 3},
        {"nnorm": 0},
        {"nvict": 1},
        {"pre1": -90.0, "pre2": -25.0, "norm1": 40.0, "norm2": 240.0, "nnorm": 1},
        {"pre2": -1.0, "norm2": 30.0},
        {"norm1": 1.0, "norm2": 3.0},
    ],
)
def test_equal_to_numpy_on_synthetic_spectra(monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]) -> None:
    check_equal(*both(monkeypatch, *batch(synthetic_curves()[:600]), **parameters))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    points=st.integers(10, 500),
    noise=st.sampled_from([0.0, 1e-4, 1e-2, 1.0]),
    repeats=st.integers(0, 3),
    unsorted=st.booleans(),
)
def test_equal_to_numpy_on_any_scan(seed: int, points: int, noise: float, repeats: int, unsorted: bool) -> None:
    random = np.random.default_rng(seed)
    energy = np.sort(random.uniform(8200.0, 8700.0, (4, points)), axis=1)
    mu = step_curve(energy) + noise * random.normal(size=energy.shape)
    mu[1, points // 2 :] = np.nan
    energy[2, random.integers(0, points, repeats)] = energy[2, 0]
    if unsorted:
        energy[3], mu[3] = energy[3, ::-1].copy(), mu[3, ::-1].copy()
    with pytest.MonkeyPatch.context() as patch:
        # Random grids have windows of two points, where a fit magnifies rounding.
        check_equal(*both(patch, energy, mu), tolerance=1e-9)


def test_nearly_all_spectra_take_the_compiled_way(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = _e0.find_e0

    def counted(energy: np.ndarray, mu: np.ndarray, count: np.ndarray) -> Any:
        seen.append(len(count))
        return original(energy, mu, count)

    monkeypatch.setattr(_e0, "find_e0", counted)
    energy, mu = batch(synthetic_curves()[:600])
    normalize(energy, mu)
    assert sum(seen) < 300


@pytest.mark.parametrize("switch", ["1", "0"])
@pytest.mark.parametrize("parameters", [{}, {"e0": 8345.0}, {"nnorm": 3, "pre2": -20.0}])
@pytest.mark.parametrize("holes", ["none", "at the end of all", "at the end of one", "inside"])
def test_one_axis_for_all_gives_the_bits_of_axes_of_their_own(
    monkeypatch: pytest.MonkeyPatch, switch: str, parameters: dict[str, Any], holes: str
) -> None:
    monkeypatch.setenv(_speed.SWITCH, switch)
    random = np.random.default_rng(5)
    energy = np.cumsum(random.uniform(0.2, 1.0, 700)) + 8100.0
    mu = step_curve(energy + random.uniform(-1, 1, (40, 1))) + random.normal(0, 1e-3, (40, 700))
    if holes == "at the end of all":
        mu[:, -30:] = np.nan
    elif holes == "at the end of one":
        mu[7, -30:] = np.nan
    elif holes == "inside":
        mu[7, 300] = np.nan
    own = normalize(np.repeat(energy[None], 40, axis=0), mu, **parameters)
    assert np.unique(own["e0"]).size > 1 or parameters.get("e0")
    for shared in (energy, energy[None], np.broadcast_to(energy, mu.shape)):
        assert same(normalize(shared, mu, **parameters), own)
    # Neither which rows stand beside one another matters, nor in which order.
    mixed = random.permutation(40)[:23]
    assert same(normalize(energy, mu[mixed], **parameters), {name: values[mixed] for name, values in own.items()})


def test_a_spectrum_has_the_same_bits_beside_any_others() -> None:
    arrays = spectra(9, 300)
    energy, mu = arrays["energy"], arrays["mu"]
    # The grid of the row before is remembered: here it is the same, there another one.
    energy[3:6] = energy[3]
    mu[5, 250:] = np.nan
    whole = normalize(energy, mu)
    for row in range(9):
        assert same(normalize(energy[row], mu[row]), {name: values[row] for name, values in whole.items()})


@pytest.mark.parametrize("nnorm", [2, 3])
def test_a_curve_has_the_same_bits_whichever_others_are_wanted(nnorm: int) -> None:
    arrays = {name: spectra(9, 301)[name] for name in ("energy", "mu")}
    curves = ("norm", "flat", "pre_edge", "post_edge")
    whole = chain.run_chain([("normalize", {"nnorm": nnorm})], arrays, wanted=curves)
    for wanted in itertools.chain.from_iterable(itertools.combinations(curves, n) for n in (1, 2)):
        found = chain.run_chain([("normalize", {"nnorm": nnorm})], arrays, wanted=wanted)
        assert same({name: found[name] for name in wanted}, {name: whole[name] for name in wanted})


@pytest.mark.parametrize("width", [10.0, 1.0, 0.3])
def test_windows_whose_points_lie_in_heaps(monkeypatch: pytest.MonkeyPatch, width: float) -> None:
    # Here polynomials are made by recurrence, not of sums of powers, which nearly cancel.
    post = np.r_[8380.0 + width * np.linspace(0, 1, 200), 8790.0, 8800.0]
    energy = np.r_[np.linspace(8150.0, 8379.0, 300), post]
    mu = 1e-3 * (energy - 8345.0) + np.where(energy > 8345.0, 2.0 - 1e-6 * (energy - 8345.0) ** 2, 1.0)
    compiled, plain = both(monkeypatch, energy[None], mu[None], e0=8345.0, norm1=35.0, nnorm=2)
    check_equal(compiled, plain, tolerance=1e-9)
    np.testing.assert_allclose(compiled["post_edge"][0, 300:-1], mu[300:-1], rtol=1e-11)


def test_threads_get_what_one_gets() -> None:
    arrays = {name: spectra(60, 300)[name] for name in ("energy", "mu")}
    alone = chain.run_chain("edge_energy", arrays)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: chain.run_chain("edge_energy", arrays), range(12)):
            assert same(found, alone)


def test_rows_know_whether_they_are_plain() -> None:
    energy = np.arange(8200.0, 8240.0)
    mu = np.stack([energy] * 5)
    energies = np.stack([energy] * 5)
    energies[1, 7] = energies[1, 6]
    energies[2] = energies[2, ::-1]
    mu[3, 5] = np.nan
    mu[4, 5] = 1e200
    rows = _grid.make_rows(energies, mu)
    assert rows.plain.tolist() == [True, False, True, True, False]
    assert rows.count.tolist() == [40, 40, 40, 39, 40]
    assert _grid.make_rows(energy, mu[0]).plain.all()


def test_huge_numbers_are_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = spectra(3, 300)
    arrays["mu"][1] *= 1e300
    compiled, plain = both(monkeypatch, arrays["energy"], arrays["mu"])
    assert same({k: v[1] for k, v in compiled.items()}, {k: v[1] for k, v in plain.items()})
    assert REASONS[int(compiled["normalize_quality"][0])] == "ok"
    assert compiled["normalize_quality"][1] < CONSTANT_PRE_EDGE


def test_numba_is_not_imported_with_barospec() -> None:
    code = (
        "import sys, barospec, barospec.archive.operators.registry, barospec.archive.compute.spectra, barospec._archive;"
        "assert 'numba' not in sys.modules;"
        "from barospec.archive.operators import chain; import numpy as np;"
        "e = np.arange(8200., 8700.); chain.run_chain('normalize', {'energy': e, 'mu': np.arctan(e - 8345)});"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_without_numba_or_with_one_that_fails_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_speed.SWITCH, "0")
    assert _speed.kernels() is None
    monkeypatch.delenv(_speed.SWITCH)
    for broken in (None, ImportError("Numba needs NumPy 1.2 or less")):
        _speed._imported.cache_clear()

        def fail(name: str, broken: ImportError | None = broken) -> Any:
            if broken is not None:
                raise broken
            return None

        monkeypatch.setattr(_speed.util, "find_spec", lambda name, broken=broken: broken and object())
        monkeypatch.setattr(_speed, "import_module", fail)
        assert _speed.kernels() is None
    monkeypatch.undo()
    _speed._imported.cache_clear()
    assert _speed.kernels() is not None


def test_kernels_give_the_same_bits_fresh_and_out_of_the_cache(tmp_path: Path) -> None:
    code = (
        "import hashlib; import numpy as np; from barospec.archive.operators.normalize import normalize;"
        "r = np.random.default_rng(1); e = 8200 + np.cumsum(r.uniform(0.3, 1.0, (30, 500)), axis=1);"
        "m = np.arctan(e - 8345) + r.normal(0, 1e-3, e.shape);"
        "print([hashlib.sha256(v.tobytes()).hexdigest() for p in ({}, {'e0': 8345.0}) for v in normalize(e, m, **p).values()])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    fresh, cached = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
        for _ in range(2)
    )
    assert any(tmp_path.rglob("*.nbc"))
    assert fresh == cached


def test_one_version_of_each_kernel_serves_all_callers() -> None:
    """Two versions, compiled apart, may add in another order: bits would depend on who has called before."""
    compiled = _speed.kernels()
    assert compiled is not None
    arrays = spectra(3, 200, 1)
    for writable in (True, False):
        given = [np.array(arrays[name]) for name in ("energy", "mu")]
        for array in given:
            array.flags.writeable = writable
        normalize(*given)
    for kernel in (compiled.normalize_rows, compiled.first_guesses, compiled.smoothed_points):
        assert {str(signature[place]) for signature in kernel.signatures for place in (0, 2)} == {
            "readonly array(float64, 2d, C)"
        }
