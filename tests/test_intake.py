"""The intake catalog: listable, movable, lazy, without SQL."""

from __future__ import annotations

import shutil
from pathlib import Path

import dask
import intake
import pytest
import xarray as xr
import yaml

from barospec import Archive
from barospec.schemas.errors import CallError, QueryError

ROOT = Path(__file__).parents[1]


def test_entries_list_and_read_lazily(sample: Archive, tmp_path: Path) -> None:
    sample.catalog(tmp_path / "c.yaml", {"ni_k_above_14gpa": "xas Ni K above 14 GPa", "emission": "XES"})
    catalog = intake.open_catalog(str(tmp_path / "c.yaml"))
    assert set(catalog) == {"ni_k_above_14gpa", "emission"}
    dataset = catalog["ni_k_above_14gpa"].read()
    assert isinstance(dataset, xr.Dataset)
    assert dask.is_dask_collection(dataset.mu.data)
    assert float(dataset.pressure.min()) > 14
    assert dataset.sizes["spectrum"] == len(sample.query("xas Ni K above 14 GPa"))
    assert catalog["emission"].read().sizes["spectrum"] == 16
    assert "intensity" in catalog.emission.discover()


def test_a_catalog_moves_with_its_archive(sample_path: Path, tmp_path: Path) -> None:
    shutil.copytree(sample_path, tmp_path / "one" / "archive")
    Archive(tmp_path / "one" / "archive").catalog(tmp_path / "one" / "c.yaml", {"xes": "XES"})
    shutil.move(tmp_path / "one", tmp_path / "two")
    assert intake.open_catalog(str(tmp_path / "two" / "c.yaml"))["xes"].read().sizes["spectrum"] == 16


def test_default_entries_cover_kinds_and_runs(sample: Archive, tmp_path: Path) -> None:
    written = sample.catalog(tmp_path / "c.yaml")
    assert {"all_spectra", "xas_ni_k", "xas_la_l3", "xes_ni_kb", "run_2", "run_nio"} <= set(written)
    catalog = intake.open_catalog(str(tmp_path / "c.yaml"))
    assert isinstance(catalog["all_spectra"].read(), xr.DataTree)
    assert catalog["run_2"].read().sizes["spectrum"] == 16


def test_predicates_not_sql(sample: Archive, tmp_path: Path) -> None:
    sample.catalog(tmp_path / "c.yaml", {"x": "Ni K above 14 GPa"}, pin=True)
    text = (tmp_path / "c.yaml").read_text()
    assert "SELECT " not in text.upper()
    entry = yaml.safe_load(text)["entries"]["x"]
    assert entry["kwargs"]["at"] == sample.snapshot
    assert isinstance(entry["kwargs"]["predicates"], dict)
    assert entry["metadata"]["description"] == 'edge = "Ni K" and pressure > 14 GPa'


def test_a_wrong_query_is_refused_when_writing(sample: Archive, tmp_path: Path) -> None:
    with pytest.raises(QueryError):
        sample.catalog(tmp_path / "c.yaml", {"x": "Ni K abuve 14 GPa"})
    with pytest.raises(CallError, match="entry name"):
        sample.catalog(tmp_path / "c.yaml", {"14gpa": "Ni K"})
    assert not (tmp_path / "c.yaml").exists()


def test_the_shipped_catalog_opens_the_demo_archive(sample_path: Path, tmp_path: Path) -> None:
    # As in a checkout: catalogs/sample.yaml beside the archive that `make demo` builds.
    (tmp_path / "catalogs").mkdir()
    shutil.copy(ROOT / "catalogs" / "sample.yaml", tmp_path / "catalogs")
    shutil.copytree(sample_path, tmp_path / "barospec-demo")
    catalog = intake.open_catalog(str(tmp_path / "catalogs" / "sample.yaml"))
    found = {name: catalog[name].read() for name in catalog}
    assert isinstance(found["ni_k_above_14gpa"], xr.Dataset)
    assert all(isinstance(item, xr.DataTree) or item.sizes["spectrum"] for item in found.values())
