"""Selections load nothing until computed, and their tasks grow with blocks, not with spectra."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.store import read
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Batch, Writer
from barospec.catalogs.index import build
from barospec.catalogs.selection import lazy_arrays
from barospec.schemas.errors import CallError, InvalidData, NotFound


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of variables that were read."""
    seen: list[str] = []
    original = read.read_rows

    def counted(source: object, *rest: object) -> object:
        seen.append(str(source))
        return original(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(lazy_arrays, "read_rows", counted)
    return seen


def dataset_of(found: xr.Dataset | xr.DataTree) -> xr.Dataset:
    assert isinstance(found, xr.Dataset)
    return found


def test_to_xarray_reads_nothing(sample: Archive, reads: list[str]) -> None:
    selection = sample.query("xas Ni K above 14 GPa")
    dataset = dataset_of(selection.to_xarray(channels=True))
    gridded = dataset_of(selection.on_grid(np.arange(8320.0, 8380.0)))
    edges = dataset_of(selection.apply("edge_energy"))
    assert not reads
    assert all(dask.is_dask_collection(item) for item in (dataset, gridded, edges))
    edges.edge_energy.compute()
    assert reads


def archive_of(path: Path, count: int) -> Archive:
    """An archive of many small spectra, through the real store and index."""
    archive = Archive.create(path)
    batch = Batch()
    energy = np.linspace(8300.0, 8400.0, 12)
    for number in range(count):
        batch.energies.append(energy)
        batch.signals.append({"mu": np.full(12, float(number))})
        batch.columns.append({
            "spectrum_id": f"{number:016x}", "revision": 1, "status": "active", "run": f"run-{number % 7}", "sample": "NiO",
            "technique": "xas", "edge": "Ni K", "origin": "synthetic", "pressure": number / 100, "point_count": 12,
            "energy_min": 8300.0, "energy_max": 8400.0,
        })  # fmt: skip
        for name in batch.hashes:
            batch.hashes[name].append(bytes(32))
    store = Store(archive.location)
    with store.transaction("test") as work:
        Writer(work.root, work.changes).append_spectra("xas/Ni-K", batch)
        work.message = "many"
    build.publish(store, archive.location.head())
    return archive


def test_task_count_grows_with_blocks(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a", 5000)
    tasks = {}
    for count in (1, 1000, 1024, 5000):
        dataset = dataset_of(archive.query(limit=count).to_xarray())
        assert dataset.sizes["spectrum"] == count
        tasks[count] = len(dataset.mu.__dask_graph__())  # type: ignore[arg-type]
        chain = dataset_of(archive.query(limit=count).apply("edge_energy"))
        assert len(dask.optimize(chain.edge_energy)[0].__dask_graph__()) <= 4 * -(-count // lazy_arrays.BLOCK_ROWS)
    assert tasks == {1: 1, 1000: 1, 1024: 1, 5000: 5}
    sparse = archive.query("run = run-3 and pressure > 20")
    values = dataset_of(sparse.to_xarray()).mu.isel(point=0).compute().values
    np.testing.assert_array_equal(values, [n for n in range(2001, 5000) if n % 7 == 3])


def test_order_of_the_query_is_kept(sample: Archive) -> None:
    selection = sample.query("xas Ni K pressure is known sorted by pressure descending")
    pressures = dataset_of(selection.to_xarray()).pressure.values
    assert (np.diff(pressures) <= 0).all()
    first = dataset_of(selection.to_xarray()).mu[0].compute()
    identifier = str(selection.columns(["spectrum_id"])["spectrum_id"][0])
    np.testing.assert_array_equal(first.values[: sample.curve(identifier)[1].size], sample.curve(identifier)[1])


def test_several_kinds_are_a_tree(sample: Archive) -> None:
    tree = sample.query("Ni K above 14 GPa").to_xarray()
    assert isinstance(tree, xr.DataTree)
    assert {node.path for node in tree.leaves} == {"/xas/Ni-K", "/xes/Ni-Kb"}
    assert "intensity" in tree["xes/Ni-Kb"]


def test_labels_are_indexed(sample: Archive) -> None:
    dataset = dataset_of(sample.query("xas Ni K run = run-2 sorted by pressure").to_xarray())
    assert {"pressure", "temperature", "run", "edge"} <= set(dataset.xindexes)
    assert float(dataset.sel(pressure=slice(14, None)).pressure.min()) > 14
    assert dataset.energy.attrs["units"] == "eV"
    assert dataset.pressure.attrs["units"] == "GPa"
    assert set(dataset.origin.values) == {"synthetic"}


def test_sel_combines_any_fields(sample: Archive) -> None:
    selection = sample.query("xas Ni K")
    narrowed = selection.sel(pressure=slice("140 kbar", None), run=["run-2", "run-3"], temperature=slice(None, 80))
    asked = sample.query("xas Ni K pressure >= 14 GPa run in (run-2, run-3) temperature <= 80 K")
    assert len(narrowed) == len(asked) > 0
    assert set(narrowed.columns(["spectrum_id"])["spectrum_id"]) == set(asked.columns(["spectrum_id"])["spectrum_id"])
    assert len(selection.sel(pressure=slice(None, None))) == int(
        np.isfinite(selection.columns(["pressure"])["pressure"]).sum()
    )
    with pytest.raises(NotFound, match="Did you mean pressure"):
        selection.sel(presure=14)
    with pytest.raises(CallError, match="slice needs a number"):
        selection.sel(run=slice("a", "b"))


def test_table_has_units_and_only_what_is_known(sample: Archive) -> None:
    table = sample.query("La L3").table()
    assert table.attrs["units"]["pressure"] == "GPa"
    assert "cluster_atoms" not in table.columns
    assert len(table) == 9


def test_on_grid_interpolates_and_does_not_extrapolate(sample: Archive) -> None:
    selection = sample.query("xas Ni K run = run-2")
    target = np.array([8000.0, 8340.5, 8350.25])
    gridded = dataset_of(selection.on_grid(target)).mu.compute()
    raw = dataset_of(selection.to_xarray()).compute()
    assert np.isnan(gridded.values[:, 0]).all()
    for row in range(3):
        count = int(raw.point_count[row])
        expected = np.interp(target[1:], raw.energy.values[row, :count], raw.mu.values[row, :count])
        np.testing.assert_allclose(gridded.values[row, 1:], expected, rtol=1e-12)
    with pytest.raises(CallError, match="increasing"):
        selection.on_grid([3.0, 2.0])


def test_apply_refuses_the_wrong_technique(sample: Archive) -> None:
    with pytest.raises(InvalidData, match="defined for xas"):
        sample.apply("edge_energy", "xes")


def test_apply_has_units_quality_and_provenance(sample: Archive) -> None:
    found = dataset_of(sample.apply("edge_energy", "xas Ni K run = run-2", fraction=0.5))
    assert found.edge_energy.attrs["units"] == "eV"
    assert "flag_meanings" in found.edge_energy_quality.attrs
    provenance = found.attrs["provenance"]
    assert '"fraction": 0.5' in provenance
    assert sample.snapshot in provenance


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 299), min_size=1, max_size=40), st.integers(1, 40))
def test_read_rows_in_any_order(rows: list[int], width: int) -> None:
    import zarr

    data = np.arange(300 * 30, dtype=float).reshape(300, 30)
    source = zarr.array(data, chunks=(64, 16))
    found = read.read_rows(source, np.array(rows, dtype=np.int64), width)
    expected = np.full((len(rows), width), np.nan)
    expected[:, : min(width, 30)] = data[rows, :width]
    np.testing.assert_array_equal(found, expected)


def test_unknown_words_stay_unknown(sample: Archive) -> None:
    selection = sample.query("spectra")
    found = selection.columns(["line", "medium", "pressure"])
    line = dict(zip(selection.groups.tolist(), found["line"].tolist(), strict=True))
    assert (line["xas/Ni-K"], line["xes/Ni-Kb"]) == (None, "Kβ")
    assert "?" not in set(found["medium"].tolist())
    assert "line" not in dataset_of(sample.query("xas Ni K").to_xarray()).coords
