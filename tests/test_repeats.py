"""Sigmas from repeats: who is a repeat of whom, intervals that hold the truth, and said what they are."""

from __future__ import annotations

import json
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.compute.replicates import point_numbers, scatter
from barospec.archive.compute.spectra import apply
from barospec.schemas.errors import CallError

from .test_apply import spectra
from .test_cli import call

GROUPS = 3000


def labelled(pressures: list[float], **more: Any) -> xr.Dataset:
    """Edges that differ by noise only, at these pressures of one run."""
    rows = len(pressures)
    data = spectra(rows)
    noise = np.random.default_rng(8).normal(0, 3e-3, data.mu.shape)
    data["mu"] = (data.mu.dims, data.mu.values[0] + noise)
    names = {name: ("spectrum", value) for name, value in more.items()}
    same = {"run": ("spectrum", ["run-1"] * rows), "temperature": ("spectrum", [300.0] * rows)}
    steps = np.cumsum([0, *(np.diff(pressures) != 0)]).astype(float)
    return data.assign_coords(pressure=("spectrum", pressures), step=("spectrum", steps), **same, **names)


def share(inside: np.ndarray) -> None:
    """One sigma holds 68.27 % within three binomial deviations."""
    assert abs(inside.mean() - 0.6827) < 3 * np.sqrt(0.6827 * 0.3173 / inside.size)


@pytest.mark.parametrize("repeats", [3, 4, 10])
def test_one_sigma_holds_the_truth_in_68_of_100_whatever_the_number_of_repeats(repeats: int) -> None:
    random = np.random.default_rng(repeats)
    values = random.normal(5.0, 0.3, (GROUPS, repeats))
    sigma = scatter(values.ravel(), np.repeat(np.arange(GROUPS), repeats)).reshape(values.shape)
    assert (sigma == sigma[:, :1]).all()
    share(np.abs(values.mean(axis=1) - 5.0) < sigma[:, 0] / np.sqrt(repeats))
    share(np.abs(random.normal(5.0, 0.3, GROUPS) - 5.0) < sigma[:, 0])


def test_pooled_sigmas_hold_it_with_two_repeats_a_point() -> None:
    random = np.random.default_rng(1)
    # Series of three pairs and a single, each at a level of its own: three degrees of freedom.
    point = np.tile([0, 0, 1, 1, 2, 2, 3], GROUPS) + np.repeat(4 * np.arange(GROUPS), 7)
    series = np.repeat(np.arange(GROUPS), 7)
    level = random.normal(0, 9, 4 * GROUPS)
    values = level[point] + random.normal(0, 0.3, point.size)
    sigma = scatter(values, point, series)
    single = point % 4 == 3
    share(np.abs(values - level[point])[single] < sigma[single])
    assert np.isnan(scatter(values, point)).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-1e3, 1e3) | st.just(float("nan"))), min_size=1, max_size=30))
def test_the_order_does_not_matter_and_gaps_do_not_count(rows: list[tuple[int, float]]) -> None:
    point, values = np.array([p for p, _ in rows]), np.array([v for _, v in rows])
    found = scatter(values, point)
    back = scatter(values[::-1], point[::-1])[::-1]
    np.testing.assert_allclose(found, back, rtol=1e-9, atol=1e-9)
    for number in set(point.tolist()):
        mine = values[(point == number) & np.isfinite(values)]
        known = np.isfinite(found[point == number]).sum()
        assert known == (mine.size if mine.size >= 3 else 0)


def test_a_point_is_what_a_merge_would_take_together() -> None:
    point, series = point_numbers(labelled([1.0, 1.04, 1.0, 5.0, 5.0, 1.0, np.nan]))
    # Visited twice is two points; a pressure that is not known makes a point of its own.
    together = [np.flatnonzero(point == number).tolist() for number in dict.fromkeys(point.tolist())]
    assert together == [[0, 1, 2], [3, 4], [5], [6]]
    assert np.unique(series).size == 1
    same = labelled([1.0] * 4, parents=["", "", "", "a, b, c"])
    point, series = point_numbers(same)
    assert np.unique(point[:3]).size == 1
    assert point[3] != point[0]
    assert series[3] != series[0]
    with pytest.raises(CallError, match="need the terms that identify repeats"):
        point_numbers(spectra(3).drop_vars("run"))


def test_sigmas_are_lazy_stated_and_missing_with_a_reason() -> None:
    data = labelled([1.0] * 6 + [5.0] * 2)
    found = apply(data.chunk(spectrum=3), "edge_energy", uncertainty="repeats", ensemble=0)
    assert dask.is_dask_collection(found.edge_energy_sigma)
    loaded, eager = found.compute(), apply(data, "edge_energy", uncertainty="repeats", ensemble=0)
    np.testing.assert_array_equal(loaded.edge_energy_sigma.values, eager.edge_energy_sigma.values)
    plain = apply(data, "edge_energy", ensemble=0)
    np.testing.assert_array_equal(loaded.edge_energy.values, plain.edge_energy.values)
    spread = plain.edge_energy.values[:6].std(ddof=1)
    np.testing.assert_allclose(loaded.edge_energy_sigma.values[:6], 1.1105 * spread, rtol=1e-4)
    # The same noise as the formula finds in each curve, within what six values tell.
    assert 0.3 < spread / plain.edge_energy_sigma.values[:6].mean() < 2.5
    assert np.isnan(loaded.edge_energy_sigma.values[6:]).all()
    assert loaded["repeats"].values.tolist() == [6] * 6 + [2] * 2
    assert "2 of 8 spectra have too few repeats" in loaded.attrs["notes"]
    told = json.loads(loaded.attrs["provenance"])
    for text in (loaded.edge_energy_sigma.attrs["uncertainty"], told["uncertainty"]):
        assert "Student" in text
    pooled = apply(data, "edge_energy", uncertainty="pooled_repeats", ensemble=0).edge_energy_sigma.values
    assert (pooled == pooled[0]).all()
    assert np.isfinite(pooled).all()


def test_values_against_references_have_them_too_and_cannot_be_stored(sample: Archive) -> None:
    run = "xas Ni K run = run-2"
    names = ["--with", "references=2: xas NiO run = ambient; 3: xas LaNiO3 run = ambient"]
    asked = ["--with", "uncertainty=pooled_repeats", "--archive", sample.location.root, "--json"]
    found = json.loads(call("apply", "valence", run, *names, *asked).stdout)
    sigmas = {row["valence_sigma"] for row in found["rows"]}
    assert len(sigmas) == 1
    assert 0.002 < sigmas.pop() < 0.03
    assert "pooled_repeats" in found["provenance"]["uncertainty"]
    with pytest.raises(CallError, match="stored values have propagated sigmas"):
        sample.derive("edge_energy", run, uncertainty="repeats")
