"""`verify` of archives: nothing is wrong with a sound one, and damage to any file is found and named."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from barospec.api import Archive
from barospec.catalogs import index
from barospec.schemas.errors import BarospecError

from .files_made import SETTINGS, write_columns
from .test_versions import state

SHEET = """structures:
  - {structure_id: s1, material: NiO, space_group: Fm-3m, a: 4.18, source: test, pressure: 0.0001, temperature: 300}
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with something of each kind: two groups, corrections, withdrawn and replaced spectra, tags, values."""
    folder = tmp_path_factory.mktemp("sound")
    files = [write_columns(folder / f"scan{n}.dat", seed=n) for n in range(4)]
    archive = Archive.create(folder / "a", title="sound")
    archive.ingest(files[:3], [*SETTINGS, "pressure=15.1 ± 0.2 GPa", "energy_calibration=foil"])
    sheet = folder / "sheet.yaml"
    sheet.write_text(SHEET)
    archive.ingest([sheet])
    archive.tag("v1", "as submitted")
    first, second, third = (str(name) for name in archive.query("").columns(["spectrum_id"])["spectrum_id"])
    archive.set(first, ["pressure=15.6 GPa"], reason="misread")
    archive.set(first, ["medium=neon"], reason="log book")
    archive.withdraw(second, reason="beam lost")
    write_columns(files[2], seed=9)
    archive.ingest(files[2:], [*SETTINGS, "pressure=16 GPa", "energy_calibration=foil"], replace=True)
    archive.flag(third, "check", "steps")
    archive.derive("edge_energy", "spectra")
    archive.save("high", "above 1 GPa")
    archive.configure({"title": "T"})
    assert archive.verify(history=True).faults == []
    return folder / "a"


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def test_a_sound_archive(sound: Path) -> None:
    report = Archive(sound).verify()
    assert (report.ok, report.notes) == (True, [])
    assert report.checked["spectra"] == 5
    assert report.checked["sealed files"] > 100
    assert report.checked["chunks"] == len([path for path in (sound / "store/chunks").rglob("*") if path.is_file()])
    assert Archive(sound, at="v1").verify().ok


def test_the_sample_archive_is_sound(sample: Archive) -> None:
    report = sample.verify()
    assert report.faults == []


# Class of files -> pattern, and how many are damaged.
CLASSES = {
    "chunks": ("store/chunks/**/*", 8),
    "manifests": ("store/manifests/*", 8),
    "snapshots": ("store/snapshots/*", 8),
    "transactions": ("store/transactions/*", 4),
    "configuration": ("store/config.yaml", 3),
    "branch": ("store/refs/branch.main/*", 4),
    "tag": ("store/refs/tag.v1/*", 4),
    "marker": ("barospec.json", 4),
    "seals": ("seals/*", 4),
    "index": ("index/*/*", 8),
}


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def told(path: Path) -> list[str]:
    """What is said to be wrong, also by not opening it."""
    try:
        report = Archive(path).verify()
    except BarospecError as error:
        return [str(error)]
    return [f"{fault.where}: {fault.what}" for fault in report.faults]


@pytest.fixture(scope="module")
def right(sound: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is read in a sound archive, now and at its tag."""
    return state(Archive(sound)), state(Archive(sound, at="v1"))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_flipped_bit_is_found(kind: str, copy: Path, right: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """At random positions of random files; what is not found changes nothing that is read."""
    pattern, count = CLASSES[kind]
    rng = random.Random(kind)
    files = sorted(path for path in copy.glob(pattern) if path.is_file())
    missed = 0
    for _ in range(count):
        path = rng.choice(files)
        before = path.read_bytes()
        flip(path, rng)
        found = told(copy)
        if not found:
            missed += 1
            assert (state(Archive(copy)), state(Archive(copy, at="v1"))) == right, path
        path.write_bytes(before)
        index._OPEN.clear()
    assert told(copy) == []
    # Spare bytes of a database, and a letter's case in the name of a snapshot, may change without a difference.
    assert missed == 0 or kind in ("index", "branch", "tag", "marker")


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in ("index", "seals")])
def test_a_missing_or_shortened_file_is_found(kind: str, copy: Path) -> None:
    rng = random.Random(kind)
    files = sorted(path for path in copy.glob(CLASSES[kind][0]) if path.is_file())
    path = rng.choice(files)
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    assert told(copy), path
    path.unlink()
    if kind != "tag":  # without its file there is no such tag, and the record of it tells
        assert told(copy), path
    path.write_bytes(before)
    assert told(copy) == []
