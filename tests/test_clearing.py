"""Clearing away and deleting for good: what is kept is kept byte for byte, what is deleted is nowhere; and killed writers."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs.zstd import Zstd

import barospec
from barospec import Archive
from barospec.archive.store import garbage_collection, repository
from barospec.archive.store.repository import Store
from barospec.catalogs.index import build
from barospec.catalogs.index.files import index_path
from barospec.schemas.errors import CallError, NotFound, StoreError

from .files_made import SETTINGS, write_columns
from .killed import COMMAND_LINE, run_killed
from .test_versions import ids, state


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Three states, the first and second tagged; the second brings a sample of its own."""
    files = [write_columns(tmp_path / f"scan{n}.dat", seed=n) for n in range(4)]
    made = Archive.create(tmp_path / "a")
    made.ingest(files[:2], [*SETTINGS, "pressure=15.1 GPa"])
    made.tag("early")
    mine = [word for word in SETTINGS if not word.startswith("sample")]
    made.ingest(files[2:3], [*mine, "sample=SecretOxide", "pressure=16 GPa", "note=of a visitor"])
    made.tag("late")
    made.set(ids(made, "SecretOxide")[0], ["medium=neon"], reason="the visitor said so")
    return made


def test_gc_tells_first_and_keeps_what_tags_name(archive: Archive, tmp_path: Path) -> None:
    root = tmp_path / "a"
    now, early, late = (state(Archive(root, at=at)) for at in (None, "early", "late"))
    count, lone = len(archive.log()), archive.log()[0].snapshot
    archive.set(ids(archive)[0], ["medium=neon"], reason="x")
    archive.set(ids(archive)[0], ["medium="], reason="not so")
    now = state(archive)
    tried = archive.gc(keep_days=0, dry_run=True)
    assert len(archive.log()) == count + 2
    assert lone in [commit.snapshot for commit in tried.expired]
    done = archive.gc(keep_days=0)
    assert [c.snapshot for c in done.expired] == [c.snapshot for c in tried.expired]
    assert done.removed["snapshots"] == len(done.expired) >= 2
    assert done.bytes > 0
    assert [state(Archive(root, at=at)) for at in (None, "early", "late")] == [now, early, late]
    with pytest.raises(NotFound):
        Archive(root, at=lone).query("")
    assert archive.verify(history=True).faults == []
    assert archive.ingest([write_columns(tmp_path / "new.dat", seed=7)], SETTINGS).added == 1
    archive.restore("early")
    assert archive.diff("early").changes == []
    assert archive.verify().faults == []
    assert archive.gc(dry_run=True).expired == [], "without keep_days all of the history is kept"


def test_gc_refuses_to_take_damage_for_right(archive: Archive, tmp_path: Path) -> None:
    path = next(path for path in sorted((tmp_path / "a/store/manifests").iterdir()))
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(StoreError, match="Nothing was removed"):
        archive.gc(keep_days=0)
    path.write_bytes(before)
    assert archive.verify().ok


def content_of(name: str, raw: bytes) -> bytes:
    """What a file says, chunks as they are decoded."""
    return bytes(Zstd().decode(raw)) if "/chunks/" in name else raw


def everything(root: Path) -> bytes:
    """All bytes of an archive."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return b"\0".join(content_of(path.as_posix(), path.read_bytes()) for path in files)


def secrets(archive: Archive, name: str) -> list[bytes]:
    """Traces of a spectrum: some of its numbers, its sample, its header, what was said of it."""
    curve = archive.curve(name)[1]
    return [struct.pack("<d", value) for value in np.asarray(curve)[10:14]] + [
        b"SecretOxide",
        b"of a visitor",
        b"visitor said",
    ]


def test_purged_spectra_are_nowhere(archive: Archive, tmp_path: Path) -> None:
    root = tmp_path / "a"
    (name,) = ids(archive, "SecretOxide")
    archive.derive("edge_energy", "spectra")
    archive.flag(name, "check", "visitor said")
    traces = secrets(archive, name)
    assert all(trace in everything(root) for trace in traces)
    early = state(Archive(root, at="early"))
    with pytest.raises(CallError, match="reason"):
        archive.purge(name, reason="")
    tried = archive.purge("SecretOxide", reason="not ours", dry_run=True)
    assert (tried.ids, list(tried.tags)) == ([name], ["late"])
    assert all(trace in everything(root) for trace in traces)
    done = archive.purge("SecretOxide", reason="not ours")
    assert (done.ids, list(done.tags), list(archive.tags())) == ([name], ["late"], ["early"])
    left = everything(root)
    assert [trace for trace in traces if trace in left] == []
    assert state(Archive(root, at="early")) == early
    assert len(ids(archive)) == 2
    assert archive.show(name)["spectrum"]["status"] == "purged"
    assert archive.verify(history=True).faults == []
    # The same file is told, and the id is never given to anything else.
    report = archive.ingest([tmp_path / "scan2.dat"], SETTINGS)
    assert (report.added, report.conflicts) == (0, 1)
    assert any("purged" in problem.message for problem in report.problems)
    assert archive.ingest([tmp_path / "scan3.dat"], SETTINGS).added == 1
    archive.rebuild_index()
    assert archive.verify().faults == []


class Killed(BaseException):
    """As if the process were gone: nothing behind it runs."""


@pytest.mark.parametrize("stage", ["untag", "clear", "_seal_again"])
def test_a_purge_that_was_killed_is_told_and_ended(stage: str, archive: Archive, tmp_path: Path) -> None:
    root = tmp_path / "a"
    (name,) = ids(archive, "SecretOxide")
    traces = secrets(archive, name)

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        if stage == "untag":
            patch.setattr(Store, "untag", killed)
        elif stage == "clear":
            patch.setattr("barospec.archive.edit.purge.clear", killed)
        else:
            patch.setattr(garbage_collection, "_seal_again", killed)
        with pytest.raises(Killed):
            archive.purge("SecretOxide", reason="not ours")
    assert len(ids(archive)) == 2, "the newest state is whole in any case"
    faults = archive.verify().faults
    assert any("interrupted" in fault.what for fault in faults)
    assert any(each.name == "unfinished" for each in archive.doctor())
    with pytest.raises(StoreError, match="purge was interrupted"):
        archive.gc(keep_days=0)
    archive.purge("SecretOxide", reason="not ours")
    assert archive.verify().faults == []
    left = everything(root)
    assert [trace for trace in traces if trace in left] == []
    assert list(archive.tags()) == ["early"]
    assert barospec.open(root, at="early").query("spectra")


PROGRAM = """
import sys
from barospec import Archive
archive, verb = Archive(sys.argv[1]), sys.argv[2]
archive.gc(keep_days=0) if verb == "gc" else archive.purge("SecretOxide", reason="not ours")
"""
REWRITING = [
    ("icechunk:Repository.expire_snapshots", False),
    ("icechunk:Repository.expire_snapshots", True),
    ("icechunk:Repository.garbage_collect", False),
    ("icechunk:Repository.garbage_collect", True),
    ("barospec.archive.store.garbage_collection:write_seal", False),
    ("barospec.archive.store.garbage_collection:write_seal", True),
]


def test_killed_at_any_step_what_tags_keep_stays_readable(archive: Archive, tmp_path: Path) -> None:
    """SIGKILL, not an exception: what was begun is told and ended by the next call, and nothing else is lost."""
    root = tmp_path / "a"
    (name,) = ids(archive, "SecretOxide")
    traces = secrets(archive, name)
    now, early, late = (state(Archive(root, at=at)) for at in (None, "early", "late"))
    for place, after in REWRITING:
        run_killed(PROGRAM, [str(root), "gc"], place, after=after)
        assert [state(Archive(root, at=at)) for at in (None, "early", "late")] == [now, early, late]
    archive = Archive(root)
    archive.gc(keep_days=0)
    assert archive.verify(history=True).faults == []
    assert [state(Archive(root, at=at)) for at in (None, "early", "late")] == [now, early, late]
    emptied = [("icechunk:Session.commit", True), ("barospec.archive.store.repository:Store.untag", False)]
    for place, after in [("icechunk:Session.commit", False), *emptied, *REWRITING]:
        run_killed(PROGRAM, [str(root), "purge"], place, after=after)
        assert state(Archive(root, at="early")) == early
        assert len(ids(Archive(root))) == (3 if (place, after) == ("icechunk:Session.commit", False) else 2)
    archive = Archive(root)
    archive.purge("SecretOxide", reason="not ours")
    assert archive.verify(history=True).faults == []
    assert [trace for trace in traces if trace in everything(root)] == []
    assert (list(archive.tags()), len(ids(archive))) == (["early"], 2)
    assert state(Archive(root, at="early")) == early


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> None:
    """Use up all the space."""
    with (place / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    assert shutil.disk_usage(place).free == 0


def test_gc_works_on_a_full_disk(small: Path, tmp_path: Path) -> None:
    root = small / "a"
    archive = Archive.create(root)
    files = [write_columns(tmp_path / f"scan{n}.dat", seed=n) for n in range(3)]
    assert archive.ingest(files[:2], [*SETTINGS, "pressure=15.1 GPa"]).added == 2
    archive.set(ids(archive)[0], ["medium=neon"], reason="x")
    words = ["ingest", str(files[2]), "--archive", str(root), *(f"--set={each}" for each in SETTINGS)]
    run_killed(COMMAND_LINE, words, "icechunk:Session.commit")  # leaves chunks that nothing refers to
    now = state(archive)
    fill(small)
    with pytest.raises((StoreError, OSError), match=r"(?i)no space left"):
        archive.ingest(files[2:], SETTINGS)
    run_killed(PROGRAM, [str(root), "gc"], "icechunk:Repository.garbage_collect")
    assert (root / garbage_collection.UNFINISHED).read_bytes() == b""
    assert state(Archive(root)) == now
    assert any("interrupted" in fault.what for fault in archive.verify().faults)
    run_killed(PROGRAM, [str(root), "gc"], "icechunk:Repository.expire_snapshots", after=True)
    assert state(Archive(root)) == now
    fill(small)
    done = Archive(root).gc(keep_days=0)
    assert done.removed["snapshots"] == 2
    assert done.kept == 1
    assert state(Archive(root)) == now
    assert archive.verify(history=True).faults == []
    (small / "filler").unlink()
    assert Archive(root).ingest(files[2:], SETTINGS).added == 1


@pytest.mark.parametrize("held", [True, False])
def test_lazy_data_outlive_the_snapshot_they_were_chosen_at(archive: Archive, tmp_path: Path, held: bool) -> None:
    root, chosen = tmp_path / "a", archive.snapshot
    lazy = archive.query("spectra").to_xarray()
    expected = {name: lazy[name].values.copy() for name in ("energy", "mu")}
    archive.ingest([write_columns(tmp_path / "scan9.dat", seed=9)], [*SETTINGS, "pressure=17 GPa"])
    archive.gc(keep_days=0)
    assert not (root / "store/snapshots" / chosen).exists()
    if not held:  # as in another process, where nothing of it is in memory
        repository._reader.cache_clear()
    for name, values in expected.items():
        np.testing.assert_array_equal(lazy[name].values, values)
    with pytest.raises(NotFound, match="gc` may have removed one that no tag keeps"):
        Archive(root, at=chosen).query("spectra")


def test_lazy_data_of_purged_spectra_are_an_error(archive: Archive) -> None:
    secret, rest = (archive.query(text).to_xarray() for text in ("SecretOxide", "NiO"))
    expected = rest["mu"].values.copy()
    archive.purge("SecretOxide", reason="not ours")
    repository._reader.cache_clear()
    with pytest.raises(StoreError, match="purged after they were selected"):
        secret["mu"].load()
    np.testing.assert_array_equal(rest["mu"].values, expected)


def test_a_query_whose_snapshot_is_removed_takes_the_newest(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, publish = tmp_path / "a", build.publish
    writer = Archive(root)
    archive.set(ids(archive)[0], ["medium=helium"], reason="x")
    index_path(archive.location, archive.snapshot).unlink()

    def late(*words: Any, **options: Any) -> Any:
        monkeypatch.setattr(build, "publish", publish)
        writer.ingest([write_columns(tmp_path / "scan9.dat", seed=9)], [*SETTINGS, "pressure=17 GPa"])
        writer.gc(keep_days=0)
        return publish(*words, **options)

    monkeypatch.setattr(build, "publish", late)
    assert len(archive.query("spectra")) == 4
