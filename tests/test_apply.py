"""Operators over lazy spectra: nothing is loaded early, one pass over the data, the same numbers wherever they run."""

from __future__ import annotations

import json
import pickle
import warnings
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

from barospec import Archive
from barospec.archive.compute.spectra import apply
from barospec.archive.operators.chain import execute
from barospec.archive.operators.registry import find_operator
from barospec.archive.statistics.resampling import noise_of
from barospec.catalogs.selection import lazy_arrays
from barospec.schemas.errors import CallError, Conflict, InvalidData, NotFound

ROWS = 24
LA = "La3Ni2O7 xas Ni K run = run-2 sorted by pressure"


def spectra(rows: int = ROWS, chunk: int = 0, noise: float = 1e-3) -> xr.Dataset:
    """Edges at 8345 eV + 0.05 eV per row, lazy where `chunk` says how many a block has."""
    random = np.random.default_rng(3)
    energy = np.broadcast_to(np.linspace(8200.0, 8700.0, 501), (rows, 501)).copy()
    x = energy - 8345.0 - 0.05 * np.arange(rows)[:, None]
    mu = 0.2 + np.arctan(x / 2) / np.pi + random.normal(0, noise, x.shape)
    dims = ("spectrum", "point")
    found = xr.Dataset(
        {"energy": (dims, energy), "mu": (dims, mu)},
        coords={"run": ("spectrum", [f"run-{k % 2}" for k in range(rows)])},
        attrs={"query": "Ni K", "snapshot": "S"},
    )
    return found.chunk(spectrum=chunk) if chunk else found


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of rows of every block that a chain was run on."""
    seen: list[int] = []
    original = execute.run

    def counted(ready: Any, arrays: Any, *rest: Any) -> Any:
        seen.append(len(next(iter(arrays.values()))))
        return original(ready, arrays, *rest)

    monkeypatch.setattr("barospec.archive.compute.spectra.run", counted)
    return seen


def test_nothing_runs_until_asked_for_and_every_block_once(runs: list[int]) -> None:
    found = apply(spectra(chunk=8), "deglitch(at=8250) | normalize | edge_energy")
    assert runs == []
    assert all(dask.is_dask_collection(found[name]) for name in ("edge_energy", "norm", "edge_energy_quality"))
    dask.compute(found.edge_energy, found.edge_energy_sigma, found.norm, found.e0)
    # Dask tries a function on empty arrays to learn its types; blocks with rows are the work.
    assert [rows for rows in runs if rows] == [8, 8, 8]


def test_tasks_grow_with_blocks_and_not_with_operators() -> None:
    def tasks(chunk: int, operators: str) -> int:
        found = apply(spectra(chunk=chunk), operators)
        return len(dict(dask.optimize(found["edge_energy"].data)[0].__dask_graph__()))

    assert tasks(8, "edge_energy") <= 4 * 3
    assert tasks(4, "edge_energy") <= 4 * 6
    assert tasks(8, "deglitch(at=8250) | normalize | edge_energy") == tasks(8, "edge_energy")


def test_a_chain_reads_every_array_of_the_archive_once(sample: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    original = lazy_arrays.load

    def counted(root: str, snapshot: str, key: str, name: str, rows: Any, *others: Any) -> Any:
        seen.append((name, len(rows)))
        return original(root, snapshot, key, name, rows, *others)

    monkeypatch.setattr(lazy_arrays, "load", counted)
    found = sample.apply("normalize | edge_energy", LA)
    assert isinstance(found, xr.Dataset)
    assert not seen
    found.compute(scheduler="synchronous")
    size = found.sizes["spectrum"]
    assert sorted(seen) == [("energy", size), ("mu", size)]


def test_blocks_threads_and_no_dask_agree_to_the_bit() -> None:
    whole = apply(spectra(), "edge_energy")
    for chunk in (1, 7, 24):
        parts = apply(spectra(chunk=chunk), "edge_energy").compute(scheduler="threads")
        for name in whole.data_vars:
            np.testing.assert_array_equal(parts[name].values, whole[name].values, err_msg=f"{name}, blocks of {chunk}")


def test_one_bad_spectrum_is_nan_with_a_reason_and_the_others_as_before() -> None:
    data = spectra()
    good = apply(data, "edge_energy")
    mu = data.mu.values.copy()
    mu[5], mu[9] = np.nan, 1.0
    data["mu"] = (data.mu.dims, mu)
    found = apply(data.chunk(spectrum=8), "edge_energy").compute()
    flags = found.edge_energy_quality
    reasons = find_operator("edge_energy").reasons
    # CF: one word for each value; the reasons themselves, which hold blanks and semicolons, one a line.
    assert len(flags.attrs["flag_meanings"].split()) == len(reasons)
    assert flags.attrs["flag_reasons"].split("\n") == list(reasons)
    assert list(flags.attrs["flag_values"]) == list(range(len(reasons)))
    for row in (5, 9):
        assert np.isnan(found.edge_energy[row])
        assert np.isnan(found.norm[row]).all()
        assert int(flags[row]) > 0
        assert reasons[int(found.edge_energy_quality[row])] != "ok"
    rest = [row for row in range(ROWS) if row not in (5, 9)]
    np.testing.assert_array_equal(found.edge_energy[rest], good.edge_energy[rest])


def test_results_are_labelled_with_units_sigmas_and_provenance() -> None:
    found = apply(spectra(chunk=8), "normalize(pre1=-100) | edge_energy", fraction=0.5)
    assert next(iter(found.data_vars)) == "edge_energy"
    assert found.edge_energy.attrs["units"] == "eV"
    assert found.norm.dims == ("spectrum", "point")
    assert list(found.run.values[:2]) == ["run-0", "run-1"]
    assert "propagated" in found.edge_energy_sigma.attrs["uncertainty"]
    told = json.loads(found.attrs["provenance"])
    assert [step["operator"] for step in told["steps"]] == ["normalize", "edge_energy"]
    assert told["steps"][0]["parameters"]["pre1"] == -100
    assert told["steps"][1]["parameters"]["fraction"] == 0.5
    assert (told["query"], told["snapshot"], told["uncertainty"]) == ("Ni K", "S", "propagated")
    assert json.dumps(told)  # plain JSON all through


def test_references_are_read_once_and_recorded(sample: Archive) -> None:
    found = sample.apply("edge_shift", LA, reference="La3Ni2O7 run = ambient")
    assert isinstance(found, xr.Dataset)
    told = json.loads(found.attrs["provenance"])["references"]["edge_shift"]
    assert told[0]["spectrum_id"]
    assert told[0]["query"] == "material = La3Ni2O7 and run = ambient"
    assert told[0]["origin"] == ["synthetic"]
    with pytest.raises(InvalidData, match="finds no spectra"):
        sample.apply("edge_shift", LA, reference="La3Ni2O7 run = ambient above 30 GPa")
    with pytest.raises(CallError, match="needs reference"):
        sample.apply("edge_shift", LA)
    with pytest.raises(CallError, match="needs an archive"):
        apply(spectra(), "edge_shift", reference="NiO")


def test_notes_tell_what_numbers_hide() -> None:
    data = spectra(4).assign_coords(
        mode=("spectrum", ["transmission", "fluorescence"] * 2), energy_calibration=("spectrum", ["none", "foil"] * 2)
    )
    found = apply(data, "edge_shift", reference=spectra(1))
    assert "2 of 4 spectra and 1 of 1 references are not calibrated" in found.attrs["notes"]
    assert "self-absorption" in found.attrs["notes"]
    peaks = apply(data, "pre_edge_peak", anchor=8333.0)
    assert "different detection are not comparable" in peaks.attrs["notes"]
    assert "not calibrated" not in apply(data, "edge_energy").attrs["notes"]


def test_a_stored_shift_moves_energies_and_says_so() -> None:
    data = spectra(3).assign_coords(energy_shift=("spectrum", [1.5, np.nan, 0.0]))
    moved = apply(data, "edge_energy").edge_energy - apply(spectra(3), "edge_energy").edge_energy
    np.testing.assert_allclose(moved, [1.5, 0.0, 0.0], atol=1e-9)
    assert "energy_shift" in json.loads(apply(data, "edge_energy").attrs["provenance"])


def test_calls_that_make_no_sense_are_refused() -> None:
    data = spectra(2)
    for call, error, said in (
        (("edge_enery",), NotFound, "edge_energy"),
        (("edge_energy(fractoin=0.5)",), CallError, "fraction"),
        (("kbeta_prime",), InvalidData, "xes"),
        (("normalize | normalize",), Conflict, "twice"),
        (("",), CallError, "name of an operator is expected"),
    ):
        with pytest.raises(error, match=said):
            apply(data, *call)
    with pytest.raises(CallError, match="propagated, bootstrap, counting"):
        apply(data, "edge_energy", uncertainty="jackknife")
    with pytest.raises(CallError, match="replicas"):
        apply(data, "edge_energy", uncertainty="bootstrap", replicas=2)


# Uncertainties by repetition


def test_bootstrap_finds_the_scatter_that_repeats_have() -> None:
    same = spectra(64, noise=2e-3)
    same["mu"] = (same.mu.dims, same.mu.values - spectra(64, noise=0).mu.values + spectra(1, noise=0).mu.values)
    propagated = apply(same, "edge_energy", ensemble=0)
    scatter = float(propagated.edge_energy.std())
    found = apply(same.isel(spectrum=slice(0, 6)).chunk(spectrum=3), "edge_energy", ensemble=0, uncertainty="bootstrap")
    assert dask.is_dask_collection(found.edge_energy_sigma)
    loaded = found.compute()
    np.testing.assert_array_equal(loaded.edge_energy, propagated.edge_energy[:6])
    # 64 repeats, 64 replicas: each knows the spread to 9 %.
    assert float(loaded.edge_energy_sigma.mean()) == pytest.approx(scatter, rel=0.3)
    assert float(propagated.edge_energy_sigma.mean()) == pytest.approx(scatter, rel=0.3)
    assert "64 repetitions" in loaded.edge_energy_sigma.attrs["uncertainty"]
    assert json.loads(loaded.attrs["provenance"])["uncertainty"] == "bootstrap, 64 replicas"
    again = apply(same.isel(spectrum=slice(2, 4)), "edge_energy", ensemble=0, uncertainty="bootstrap")
    np.testing.assert_array_equal(again.edge_energy_sigma, loaded.edge_energy_sigma[2:4])


def test_bootstrap_repeats_references_too() -> None:
    options = {"reference": spectra(1, noise=4e-3), "uncertainty": "bootstrap", "replicas": 48}
    quiet = spectra(3, noise=1e-9)
    found = apply(quiet, "edge_shift", **options)
    # The spectra have no noise: all of it is the reference's.
    propagated = apply(quiet, "edge_shift", reference=options["reference"])
    ratio = found.edge_shift_sigma / propagated.edge_shift_sigma
    assert float(ratio.min()) > 0.6
    assert float(ratio.max()) < 1.6


def test_counting_noise_is_that_of_counts_and_of_nothing_else() -> None:
    energy = np.arange(8200.0, 8300.0)[None]
    counts = np.random.default_rng(1).poisson(1e4 / (1 + ((energy - 8264.0) / 3) ** 2) + 50.0).astype(float)
    lines = xr.Dataset({"energy": (("spectrum", "point"), energy), "intensity": (("spectrum", "point"), counts)})
    found = apply(lines, "kbeta13_position", uncertainty="counting")
    assert "counting noise" in found.kbeta13_position_sigma.attrs["uncertainty"]
    # A Lorentzian of half width w over N counts in the line: about w / sqrt(N/2) and more, as a cubic is fitted to its top only.
    assert 0.01 < float(found.kbeta13_position_sigma[0]) < 0.2
    np.testing.assert_allclose(noise_of("intensity", energy, counts, "counting"), np.sqrt(counts))
    with pytest.raises(InvalidData, match="not in counts"):
        apply(spectra(1), "edge_energy", uncertainty="counting")
    with pytest.raises(InvalidData, match="not in counts"):
        apply(lines.assign(intensity=lines.intensity / 1e4), "kbeta13_position", uncertainty="counting").compute()


# Elsewhere


def test_tasks_carry_no_contents(sample: Archive) -> None:
    found = sample.apply("edge_energy", LA, ensemble=0)
    assert isinstance(found, xr.Dataset)
    size = len(pickle.dumps(dict(dask.optimize(found.edge_energy.data)[0].__dask_graph__())))
    curves = found.energy.nbytes
    assert size < 40_000 < curves


def test_a_cluster_gives_the_same_numbers(sample: Archive) -> None:
    distributed = pytest.importorskip("distributed")
    operators = "edge_shift"
    found = sample.apply(operators, LA, reference="La3Ni2O7 run = ambient")
    assert isinstance(found, xr.Dataset)
    here = found.compute(scheduler="threads")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ports and clean-up: not about numbers
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, worker_dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            assert len(client.scheduler_info()["workers"]) == 2
            there = found.chunk(spectrum=4).compute()
    # Matrix products of other row counts or threads may differ in the last bit, at 8,345 eV.
    xr.testing.assert_allclose(there, here, rtol=1e-12, atol=1e-9)
    assert all(there[name].attrs == here[name].attrs for name in here)
