"""A flipped bit in the store's own files is an error, or changes nothing: never another number, never a silent NaN."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import barospec
from barospec import Archive
from barospec.archive.store import repository
from barospec.archive.store.checksums import check_snapshot, read_seals, write_seal
from barospec.archive.store.snapshot_files import manifests_in
from barospec.archive.store.storage.files import LocalFiles
from barospec.schemas.errors import BarospecError, StoreError

from .files_made import SETTINGS, write_columns

FLIPS = 500


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive of three commits, so that manifests of several ages are in force."""
    folder = tmp_path_factory.mktemp("flips")
    archive = Archive.create(folder / "archive")
    for number in range(3):
        write_columns(folder / f"scan-{number}.dat", e0=8340.0 + number)
        assert archive.ingest([folder / f"scan-{number}.dat"], SETTINGS).added == 1
    return folder / "archive"


def numbers(root: Path) -> dict[str, NDArray[np.float64]]:
    """All curves and energies, read from the files again."""
    repository._reader.cache_clear()
    # In one thread: another one could still be reading when the file is whole again.
    spectra = barospec.open(root).query("spectra").to_xarray().compute(scheduler="synchronous")
    return {str(name): np.asarray(spectra[name]) for name in ("mu", "energy")}


def used_files(root: Path) -> list[Path]:
    """The newest snapshot's own file, and the manifests that it refers to."""
    head = barospec.open(root).snapshot
    own = root / "store" / "snapshots" / head
    return [own, *(root / "store" / "manifests" / name for name in manifests_in(own.read_bytes(), head))]


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(whole)


def test_every_flip_is_an_error(written: Path) -> None:
    wanted = numbers(written)
    assert all(np.isfinite(values).any(axis=1).all() for values in wanted.values())
    chance = random.Random(20261130)
    files = used_files(written)
    silent = []
    for _ in range(FLIPS):
        path = chance.choice(files)
        bit = chance.randrange(8 * path.stat().st_size)
        with flipped(path, bit):
            try:
                numbers(written)
            except BarospecError:
                continue
            silent.append((path.name, bit))
    assert silent == []
    for name, values in numbers(written).items():
        np.testing.assert_array_equal(values, wanted[name])


@pytest.mark.skipif(not os.environ.get("BAROSPEC_ALL_BITS"), reason="takes minutes; set BAROSPEC_ALL_BITS=1")
def test_every_bit_of_the_newest_state(written: Path) -> None:
    head = barospec.open(written).snapshot
    flips = 0
    for path in used_files(written):
        for bit in range(8 * path.stat().st_size):
            with flipped(path, bit), pytest.raises(StoreError):
                check_snapshot(LocalFiles(written), head, manifests_in)
            flips += 1
    assert flips == 8 * sum(path.stat().st_size for path in used_files(written)) > 50_000


def test_the_message_names_the_file(written: Path) -> None:
    manifest = used_files(written)[1]
    with (
        flipped(manifest, 800),
        pytest.raises(StoreError, match=f"{manifest.name} is damaged: its bytes are not those that were written"),
    ):
        numbers(written)
    whole = manifest.read_bytes()
    manifest.unlink()
    with pytest.raises(StoreError, match=f"{manifest.name} is damaged: it is missing"):
        numbers(written)
    manifest.write_bytes(whole)
    numbers(written)


def test_nothing_is_written_upon_a_damaged_state(written: Path, tmp_path: Path) -> None:
    """A chunk that seems to be missing would be written again, without what it held."""
    head = barospec.open(written).snapshot
    used = manifests_in((written / "store/snapshots" / head).read_bytes(), head)
    write_columns(tmp_path / "more.dat", e0=8349.0)
    with flipped(written / "store/manifests" / used[0], 900), pytest.raises(StoreError, match="is damaged"):
        barospec.open(written).ingest([tmp_path / "more.dat"], SETTINGS)
    assert barospec.open(written).snapshot == head


def test_seals_of_earlier_versions_are_compared_too(written: Path) -> None:
    """They have no digest of the whole snapshot: all seals together say what its files were."""
    files = LocalFiles(written)
    head = barospec.open(written).snapshot
    before = {name: files.read(name) for name in files.names("seals")}
    recorded = read_seals(files)
    for name in before:
        files.remove(name)
    write_seal(files, f"seals/{head}.json", recorded.files, recorded.snapshots)
    found = check_snapshot(files, head, manifests_in)
    assert len(found) == 1 + len(manifests_in((written / "store/snapshots" / head).read_bytes(), head))
    with flipped(written / "store" / sorted(found)[0], 700), pytest.raises(StoreError, match="is damaged"):
        check_snapshot(files, head, manifests_in)
    for name, content_before in before.items():
        files.write(name, content_before.decode())


def test_a_state_without_a_seal_is_read_unchecked_and_sealed_by_the_next_commit(written: Path, tmp_path: Path) -> None:
    files = LocalFiles(written)
    head = barospec.open(written).snapshot
    files.remove(f"seals/{head}.json")
    assert check_snapshot(files, head, manifests_in) == {}
    assert numbers(written)["mu"].shape[0] >= 3
    write_columns(tmp_path / "later.dat", e0=8351.0)
    barospec.open(written).ingest([tmp_path / "later.dat"], SETTINGS)
    assert f"seals/{head}.json" in files.names("seals")
    assert len(check_snapshot(files, head, manifests_in)) > 10


def test_an_index_is_not_replayed_from_a_damaged_commit(written: Path, tmp_path: Path) -> None:
    """Its message names the rows that came in: one bit, and rows are missing from the index."""
    archive = barospec.open(written)
    before = archive.snapshot
    for number in range(2):
        write_columns(tmp_path / f"{number}.dat", e0=8360.0 + number)
        archive.ingest([tmp_path / f"{number}.dat"], SETTINGS)
    expected = len(archive.query("spectra"))
    middle = archive.log()[1].snapshot
    path = written / "store/snapshots" / middle
    for index in (written / "index").rglob("index-*.duckdb"):
        if before not in index.name:
            index.unlink()
    whole = path.read_bytes()
    chance = random.Random(7)
    for _ in range(20):
        with flipped(path, chance.randrange(39 * 8, 8 * len(whole))):
            assert not repository.Store(archive.location).fits(middle)
            try:
                assert len(barospec.open(written).query("spectra")) == expected
            except StoreError:
                continue
            for index in (written / "index").rglob(f"index-{archive.snapshot}.duckdb"):
                index.unlink()
    assert repository.Store(archive.location).fits(middle)
