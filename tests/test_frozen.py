"""Archives of every released format open for ever, and are brought to this version's by steps."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import intake
import numpy as np
import pytest
import xarray as xr

import barospec
from barospec import Archive, verify_bundle
from barospec.archive.store.migrate import migrate
from barospec.archive.store.repository import Store, Transaction
from barospec.archive.store.storage.marker import MARKER

from .files_made import SETTINGS, write_columns
from .freeze_archive import reading

FILES = Path(__file__).parent / "files"
FROZEN = sorted(FILES.glob("archive-format-*.zip"))


@pytest.fixture(params=FROZEN, ids=lambda path: path.stem)
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    with zipfile.ZipFile(request.param) as packed:
        packed.extractall(tmp_path / "a")
    return tmp_path / "a", request.param.with_suffix(".json")


def test_there_is_one_of_each_format() -> None:
    assert [path.stem for path in FROZEN] == ["archive-format-1"]


def test_a_frozen_archive_opens_reads_verifies_and_takes_more(frozen: tuple[Path, Path], tmp_path: Path) -> None:
    root, told = frozen
    archive = barospec.open(root)
    expected = json.loads(told.read_text())
    assert reading(archive) == expected["now"]
    assert reading(Archive(root, at="v1")) | {"tags": {}} == expected["v1"] | {"tags": {}}
    assert archive.verify(history=True).faults == []
    assert archive.migrate() == []
    assert archive.ingest([write_columns(tmp_path / "new.dat")], SETTINGS).added == 1
    assert archive.verify().faults == []


def test_a_frozen_bundle_verifies_opens_and_is_imported(tmp_path: Path) -> None:
    """Of 0.1.0: `barospec share "XAS Ni K" b.zip --with edge_energy` of the frozen archive."""
    packed = FILES / "bundle-format-1.zip"
    told = verify_bundle(packed, recompute=True)
    assert (told.problems, len(told.recomputed)) == ([], 5)  # outputs
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    with xr.open_zarr(folder / "data/spectra/xas-Ni-K.zarr", consolidated=False) as spectra:
        energies = spectra["energy"].values
    archive = Archive.create(tmp_path / "new")
    archive.import_bundle(packed)
    rows = archive.query("sorted by pressure").columns(["spectrum_id", "pressure"])
    assert rows["spectrum_id"].tolist() == ["7e5be46545def578", "704c5ec9fb0561c7"]
    assert rows["pressure"].tolist() == [15.6, 16.0]
    assert np.array_equal(archive.curve("7e5be46545def578")[0], energies[0][np.isfinite(energies[0])])
    found = archive.query("XAS Ni K sorted by pressure").apply("edge_energy")["edge_energy"].values
    np.testing.assert_allclose(found, [8344.5090151441, 8344.50919548353], rtol=0, atol=1e-9)
    assert archive.verify().faults == []


def test_a_frozen_catalog_opens(tmp_path: Path) -> None:
    """Of 0.1.0: `barospec catalog c.yaml -e high="XAS Ni K above 15.8 GPa"`; its reader has another path today."""
    with zipfile.ZipFile(FROZEN[0]) as packed:
        packed.extractall(tmp_path / "a")
    shutil.copy(FILES / "catalog-0.1.0.yaml", tmp_path / "c.yaml")
    opened = intake.open_catalog(str(tmp_path / "c.yaml"))
    assert opened["high"].read()["spectrum_id"].values.tolist() == ["704c5ec9fb0561c7"]


def test_steps_bring_an_archive_to_a_later_format(frozen: tuple[Path, Path]) -> None:
    """The mechanism, with a step of the test's own: in order, each in a commit, and ended when it was killed between."""
    root, _ = frozen
    store, done = Store.open(root), []

    def step(work: Transaction) -> None:
        done.append(int(str(work.root.attrs["barospec_format"])))
        work.root.attrs["step"] = len(done)

    assert migrate(store, to=3, steps={1: step, 2: step}, dry_run=True) == [2, 3]
    assert done == []
    assert migrate(store, to=3, steps={1: step, 2: step}) == [2, 3]
    assert done == [1, 2]
    assert json.loads((root / MARKER).read_text())["barospec_format"] == 3
    assert [commit.message for commit in store.history(limit=2)] == [
        "migrated from format 2 to 3",
        "migrated from format 1 to 2",
    ]
    (root / MARKER).write_text((root / MARKER).read_text().replace("3", "2", 1))  # killed before the marker was written
    assert migrate(store, to=3, steps={2: step}) == [3]
    assert done == [1, 2]
