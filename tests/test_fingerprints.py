"""Numbers that leave an archive are tied to a recorded fingerprint, also where channels stay behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from barospec import Archive
from barospec.archive.store import repository
from barospec.archive.store.fingerprints import column_of
from barospec.archive.store.read import array, row_sha256, spectra_group
from barospec.archive.store.repository import Store, Transaction
from barospec.catalogs.bundles.build import Bundle
from barospec.catalogs.bundles.verify import verify
from barospec.schemas.errors import StoreError

from .bundles_made import ABOVE, opened, reseal, write_scan
from .files_made import SETTINGS

KEY = "xas/Ni-K"
GROUP = f"data/spectra/{KEY.replace('/', '-')}.zarr"


def spoil(archive: Archive, values: Any, *, row: int = 3, name: str = "mu") -> None:
    """Write over a curve as damage would: in the store, and in no record of it."""

    def body(work: Transaction) -> None:
        array(spectra_group(work.root, KEY), name)[row, :] = values
        work.message = "damage"

    Store(archive.location).write("test", body)
    repository._reader.cache_clear()


def stored(archive: Archive, name: str) -> NDArray[Any]:
    return np.asarray(array(spectra_group(Store(archive.location).read(archive.snapshot), KEY), name)[:])


@pytest.fixture
def mine(shared_path: Path, tmp_path: Path) -> Archive:
    return opened(shutil.copytree(shared_path, tmp_path / "mine"))


def test_each_signal_has_its_own(mine: Archive) -> None:
    energies = stored(mine, "grid_energy")[stored(mine, "grid")]
    for name in ("mu", "i0", "itrans"):
        for energy, values, digest in zip(energies, stored(mine, name), stored(mine, column_of(name)), strict=True):
            assert digest.tobytes() == row_sha256(energy, {name: values})


def test_a_spectrum_whose_numbers_are_lost_is_an_error(mine: Archive, tmp_path: Path) -> None:
    spoil(mine, np.nan)
    with pytest.raises(StoreError, match=r"1 spectra have no numbers where some were written \(the first is row 3\)"):
        mine.query("run-2").to_xarray().compute()
    with pytest.raises(StoreError, match="have no numbers"):
        mine.query("run-2").apply("edge_energy").compute()
    with pytest.raises(StoreError, match="have no numbers"):
        mine.export("run-2", tmp_path / "out")
    assert mine.query("run = NiO").to_xarray().mu.compute().notnull().any("point").all()


def test_a_lost_half_of_a_long_spectrum_is_an_error(tmp_path: Path) -> None:
    """Chunks have 1024 points: the second one can be lost alone."""
    archive = Archive.create(tmp_path / "long")
    energy = np.linspace(8200.0, 8600.0, 1500)
    for number, points in enumerate((1500, 900)):
        lines = "\n".join(f"{e:.4f} {np.arctan(e - 8340):.8f}" for e in energy[:points])
        (tmp_path / f"{number}.dat").write_text(f"# energy mutrans\n{lines}\n")
    archive.ingest([tmp_path / "0.dat", tmp_path / "1.dat"], [*SETTINGS, "columns={energy: 1, mutrans: 2}"])
    assert archive.query("spectra").to_xarray().mu.compute().notnull().sum("point").values.tolist() == [1500, 900]
    whole = stored(archive, "mu")[0]
    spoil(archive, np.where(np.arange(1500) < 1024, whole, np.nan), row=0)
    with pytest.raises(StoreError, match=r"1 spectra have no numbers where some were written \(the first is row 0\)"):
        archive.query("spectra").to_xarray().compute()


def test_a_spectrum_that_was_written_without_numbers_is_read(mine: Archive) -> None:
    """Its record says so: the fingerprint is of just that."""

    def body(work: Transaction) -> None:
        group = spectra_group(work.root, KEY)
        array(group, "mu")[3, :] = np.nan
        energy = np.asarray(array(group, "grid_energy")[int(array(group, "grid")[3])])
        array(group, "mu_sha256")[3, :] = np.frombuffer(row_sha256(energy, {"mu": energy * np.nan}), dtype=np.uint8)
        work.message = "no numbers"

    Store(mine.location).write("test", body)
    repository._reader.cache_clear()
    read = mine.query("run-2").to_xarray().mu.compute()
    assert read.notnull().any("point").values.tolist().count(False) == 1


@pytest.mark.parametrize("name", ["mu", "i0"])
def test_share_compares_before_it_seals(mine: Archive, tmp_path: Path, name: str) -> None:
    whole = stored(mine, name)[3]
    spoil(mine, whole * (1 + 1e-12), name=name)
    with pytest.raises(
        StoreError, match=r"numbers of 1 spectra are not those that were written \(the first is row 3\)"
    ):
        mine.share("run-2", tmp_path / "bundle", raw=True)
    assert not (tmp_path / "bundle").exists()
    assert [fault.what for fault in mine.verify().faults] == ["its numbers are not those that were written (sha256)"]


def test_rows_of_version_0_1_0_are_compared_with_the_fingerprint_of_all_numbers(mine: Archive, tmp_path: Path) -> None:
    def older(work: Transaction) -> None:
        group = spectra_group(work.root, KEY)
        for name in ("mu", "i0", "itrans"):
            del group[column_of(name)]
        work.message = "as 0.1.0 wrote"

    Store(mine.location).write("test", older)
    repository._reader.cache_clear()
    assert mine.verify().faults == []
    made = mine.share("run-2", tmp_path / "bundle")
    assert verify(made.path).problems == []
    spoil(mine, stored(mine, "i0")[3] + 1.0, name="i0")  # which the bundle leaves out, and the one fingerprint covers
    with pytest.raises(StoreError, match="numbers of 1 spectra are not those that were written"):
        mine.share("run-2", tmp_path / "again")


def test_a_bundle_without_channels_can_still_be_checked(mine: Archive, tmp_path: Path) -> None:
    made = mine.share("run-2", tmp_path / "bundle")
    found = verify(made.path)
    assert found.problems == []
    assert [note for note in found.notes if "excludes" in note] == [
        "spectra/xas-Ni-K.zarr: 6 of 6 spectra have recorded channels in the archive that this bundle excludes."
    ]
    spectra = zarr.open_group(made.path / GROUP, mode="r+")
    curves: Any = spectra["mu"]
    curves[2, 7] = np.nextafter(curves[2, 7], 9)
    reseal(made.path)
    assert verify(made.path).problems == [
        "spectra/xas-Ni-K.zarr: the fingerprint of 1 spectra does not match their numbers."
    ]


def test_an_import_keeps_the_original_fingerprint(sealed: Bundle, shared_path: Path, tmp_path: Path) -> None:
    other = Archive.create(tmp_path / "other")
    other.import_bundle(sealed.path)
    assert other.verify().faults == []
    names = opened(shared_path).query(ABOVE).columns(["spectrum_id"])["spectrum_id"].tolist()
    digests = {}
    for archive in (opened(shared_path), other):
        ids = stored(archive, "spectrum_id").tolist()
        digests[archive.location.place] = [stored(archive, "row_sha256")[ids.index(name)].tobytes() for name in names]
    first, second = digests.values()
    assert first == second
    # The channels are not here, and what is here is still covered.
    spoil(other, stored(other, "mu")[0] + 1e-9, row=0)
    assert [fault.what for fault in other.verify().faults] == ["its numbers are not those that were written (sha256)"]


def test_the_file_of_an_imported_spectrum_brings_its_channels(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan.xdi", 8343.0, seed=1)
    first, other = Archive.create(tmp_path / "first"), Archive.create(tmp_path / "other")
    first.ingest([scan], SETTINGS)
    other.import_bundle(first.share("spectra", tmp_path / "bundle").path)
    report = other.ingest([scan], SETTINGS)
    assert (report.added, report.unchanged, report.snapshot) == (0, 1, None)
    assert [problem.message for problem in report.problems] == [
        "in the archive without i0, itrans, as a bundle had it; --replace adds them."
    ]
    report = other.ingest([scan], SETTINGS, replace=True)
    assert (report.replaced, report.unchanged) == (1, 0), report.problems
    found = other.query("spectra").to_xarray(channels=True).compute()
    np.testing.assert_array_equal(found.i0[0], 1e5 + 100.0 * np.arange(160))
    assert other.ingest([scan], SETTINGS).unchanged == 1
    assert other.verify().faults == []
