"""An archive is where it was when it was opened, and is the one that was opened."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import barospec
from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.schemas.errors import NotFound, StoreError

from .files_made import SETTINGS, write_columns


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders, each with an archive of the same name."""
    folders = tmp_path / "a", tmp_path / "b"
    for number, folder in enumerate(folders):
        folder.mkdir()
        write_columns(folder / "scan.dat", e0=8340.0 + 3 * number)
        Archive.create(folder / "demo").ingest([folder / "scan.dat"], SETTINGS)
    monkeypatch.chdir(folders[0])
    return folders


def test_lazy_data_are_read_where_the_archive_is(two: tuple[Path, Path]) -> None:
    archive = barospec.open("demo")
    selection = archive.query("spectra")
    lazy = selection.to_xarray()
    wanted = lazy.mu.compute()
    os.chdir(two[1])
    np.testing.assert_array_equal(lazy.mu.compute(), wanted)
    np.testing.assert_array_equal(selection.to_xarray().mu.compute(), wanted)
    np.testing.assert_array_equal(archive.query("spectra").to_xarray().mu.compute(), wanted)
    assert not np.array_equal(barospec.open("demo").query("spectra").to_xarray().mu.compute(), wanted)


def test_writing_goes_where_the_archive_is(two: tuple[Path, Path]) -> None:
    archive, other = barospec.open("demo"), barospec.open(two[1] / "demo")
    before = other.snapshot
    write_columns(two[0] / "more.dat", e0=8350.0)
    os.chdir(two[1])
    assert archive.ingest([two[0] / "more.dat"], SETTINGS).added == 1
    assert other.snapshot == before
    assert len(barospec.open(two[0] / "demo").log()) == 3


def test_another_archive_in_its_place_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    archive = barospec.open("demo")
    held = Store(archive.location)
    lazy = archive.query("spectra").to_xarray()
    (two[0] / "demo").rename(tmp_path / "kept")
    with pytest.raises(NotFound, match=r"there is no archive at .*demo any more"):
        archive.query("spectra")
    (two[1] / "demo").rename(two[0] / "demo")
    before = barospec.open("demo").snapshot
    write_columns(tmp_path / "more.dat", e0=8350.0)
    for act in (
        lambda: archive.query("spectra"),
        lambda: archive.ingest([tmp_path / "more.dat"], SETTINGS),
        lambda: held.write("test", lambda work: setattr(work, "message", "no")),
    ):
        with pytest.raises(StoreError, match="is another archive now"):
            act()
    # A snapshot's id is of one archive: a task that asks for it gets those numbers, or an error.
    with pytest.raises(NotFound, match="is not in this archive"):
        lazy.compute()
    assert barospec.open("demo").snapshot == before
