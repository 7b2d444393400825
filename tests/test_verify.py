"""`verify` of archives: nothing is wrong with a sound one, and damage to any file is found and named."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from barospec import Archive
from barospec.catalogs.index import database
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


# Class of files -> pattern; how many are damaged at once, each of which has to be named.
NAMED = {
    "chunks": ("store/chunks/**/*", 12),
    "manifests": ("store/manifests/*", 12),
    "snapshots": ("store/snapshots/*", 4),
    "transactions": ("store/transactions/*", 4),
    "configuration": ("store/config.yaml", 1),
    "seals": ("seals/*", 4),
}
# Class -> pattern; how often one is damaged, at least, which has to be told in some way. Half of an index is spare bytes.
TOLD = {"branch": ("store/refs/branch.main/*", 3), "tag": ("store/refs/tag.v1/*", 2), "marker": ("barospec.json", 4), "index": ("index/*/*", 4)}  # fmt: skip


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def files_of(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def told(path: Path, history: bool = False) -> list[str]:
    """What is said to be wrong, also by not opening it."""
    database._OPEN.clear()
    try:
        report = Archive(path).verify(history=history)
    except BarospecError as error:
        return [str(error)]
    return [f"{fault.where}: {fault.what}" for fault in report.faults]


@pytest.fixture(scope="module")
def right(sound: Path) -> list[dict[str, Any]]:
    """What is read in a sound archive, now and at its tag."""
    return [state(Archive(sound, at=at)) for at in (None, "v1")]


def unchanged(copy: Path, right: list[dict[str, Any]]) -> bool:
    database._OPEN.clear()
    return [state(Archive(copy, at=at)) for at in (None, "v1")] == right


@pytest.mark.parametrize("kind", NAMED)
def test_files_with_a_flipped_bit_are_named(kind: str, copy: Path, right: list[dict[str, Any]]) -> None:
    """At random positions of random files; what is not found changes nothing that is read."""
    pattern, count = NAMED[kind]
    rng = random.Random(kind)
    chosen = rng.sample(files_of(copy, pattern), count)
    before = {path: path.read_bytes() for path in chosen}
    for path in chosen:
        flip(path, rng)
    found = "\n".join(told(copy))
    missed = [path for path in chosen if path.name not in found]
    for path in chosen:
        if path not in missed:
            path.write_bytes(before[path])
    if missed:  # zstd's frames have bits without a meaning
        assert kind == "chunks"
        assert len(missed) <= 2
        assert unchanged(copy, right)


@pytest.mark.parametrize("kind", TOLD)
def test_a_flipped_bit_elsewhere_is_told(kind: str, copy: Path, right: list[dict[str, Any]]) -> None:
    pattern, count = TOLD[kind]
    rng = random.Random(kind)
    found = 0
    for attempt in range(4 * count):
        if attempt >= count and found:
            break
        path = rng.choice(files_of(copy, pattern))
        before = path.read_bytes()
        flip(path, rng)
        if told(copy):
            found += 1
        else:  # spare bytes of a database, a letter's case in the name of a snapshot
            assert unchanged(copy, right), path
        path.write_bytes(before)
    assert found


@pytest.mark.parametrize("kind", [*NAMED, "branch", "marker"])
def test_missing_files_are_found(kind: str, copy: Path) -> None:
    pattern, count = NAMED.get(kind) or TOLD[kind]
    rng = random.Random(kind)
    files = files_of(copy, pattern)
    if kind == "seals":  # without its seal a snapshot is one that was not sealed yet
        files[0].unlink()
        report = Archive(copy).verify()
        assert any("1 snapshots have no record" in note for note in report.notes)
        return
    for path in rng.sample(files, min(count, len(files))):
        path.unlink()
    assert told(copy, history=kind == "chunks")
