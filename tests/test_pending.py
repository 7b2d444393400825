"""Committed is not finished: what fails after the commit is reported as pending, and the next verb makes up for it."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from barospec import Archive
from barospec.archive.store import checksums
from barospec.archive.store.repository import Store
from barospec.catalogs.derived import refresh
from barospec.catalogs.index import build
from barospec.catalogs.index.files import folder, index_path

from .files_made import SETTINGS, write_columns

LIMIT = 200_000  # bytes: more than any file of a small commit has, less than an index


@contextmanager
def full_disk() -> Iterator[None]:
    """Within, no file can be longer than `LIMIT`: writing an index fails as on a full disk, and a small commit does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def add(archive: Archive, folder: Path, number: int) -> Any:
    path = write_columns(folder / f"{number}.xdi", seed=number, points=60, e0=8340.0 + number)
    return archive.ingest([path], [*SETTINGS, "energy_calibration=foil", f"step={number}", f"pressure={number} GPa"])


def sealed(archive: Archive) -> list[bool]:
    """Of each commit, the newest first, whether its checksums are recorded."""
    return [(Path(archive.location.place) / "seals" / f"{commit.snapshot}.json").exists() for commit in archive.log()]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive.create(tmp_path / "archive")
    assert add(made, tmp_path, 1).added == 1
    assert made.pending == []
    return made


def test_a_full_disk_at_the_index_does_not_say_failed(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk():
        report = add(archive, tmp_path, 2)
    assert report.ok
    assert report.added == 1
    assert report.snapshot == archive.location.head()
    (why,) = report.pending
    assert why.startswith("index: the index ")
    assert "too large" in why
    assert archive.pending == report.to_dict()["pending"] == report.pending
    (record,) = caplog.records
    assert f"Snapshot {report.snapshot} is committed; pending: index: " in record.getMessage()
    assert not index_path(archive.location, report.snapshot).exists()
    assert not list(folder(archive.location).glob(".*"))
    # Any verb makes up for it; one that writes, too.
    assert [int(step) for step in archive.query().columns(["step"])["step"]] == [1, 2]
    with full_disk():
        assert add(archive, tmp_path, 3).pending
    assert add(archive, tmp_path, 3).to_dict() | {"problems": []} == {
        **report.to_dict(), "added": 0, "unchanged": 1, "snapshot": None, "pending": [], "problems": [], "groups": {}, "runs": {}
    }  # fmt: skip
    assert index_path(archive.location, archive.snapshot).exists()
    assert archive.pending == []


VERBS: dict[str, Callable[[Archive, str, Path], object]] = {
    "create": lambda archive, one, folder: Archive.create(folder / "new"),
    "ingest": lambda archive, one, folder: add(archive, folder, 7),
    "set": lambda archive, one, folder: archive.set(one, ["pressure=5 GPa"], reason="misread"),
    "withdraw": lambda archive, one, folder: archive.withdraw(one, reason="glitch"),
    "flag": lambda archive, one, folder: archive.flag(one, "bad", "glitch"),
    "note": lambda archive, one, folder: archive.note(one, "seen"),
    "settings": lambda archive, one, folder: archive.configure({"title": "T"}),
    "tag": lambda archive, one, folder: archive.tag("v1"),
    "save": lambda archive, one, folder: archive.save("low", "below 3 GPa"),
    "restore": lambda archive, one, folder: archive.restore(archive.log()[-1].snapshot),
    "derive": lambda archive, one, folder: archive.derive("edge_energy", "", ensemble=0),
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_fails_for_what_comes_after_its_commit(
    verb: str, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = str(archive.query().columns(["spectrum_id"])["spectrum_id"][0])
    before, real = archive.location.head(), build.publish

    def publish(store: Store, snapshot: str, *, rebuild: bool = False) -> Path:
        # What is asked before the commit has its index; all that comes later meets a full disk.
        if snapshot != before:
            no_space()
        return real(store, snapshot, rebuild=rebuild)

    with monkeypatch.context() as patch:
        patch.setattr(build, "publish", publish)
        patch.setattr(checksums, "write_seal", no_space)
        VERBS[verb](archive, one, tmp_path)
    made = archive if verb != "create" else Archive(tmp_path / "new")
    assert made.snapshot != before
    assert "is committed; pending: " in caplog.records[-1].getMessage()
    assert "index: [Errno 28] No space left on device" in caplog.records[-1].getMessage()
    if verb != "create":
        assert archive.pending == [f"{what}: [Errno 28] No space left on device" for what in ("checksums", "index")]
        assert sealed(made)[0] is False
    caplog.clear()
    made.configure({"title": "the next verb that writes"})
    assert made.pending == []
    assert not caplog.records
    assert all(sealed(made))
    assert made.verify().ok
    assert index_path(made.location, made.snapshot).exists()


def test_checksums_that_could_not_be_recorded_are_recorded_later_the_oldest_first(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "write_seal", no_space)
        for number in (2, 3):
            report = add(archive, tmp_path, number)
            assert report.pending == ["checksums: [Errno 28] No space left on device"]
            assert len(archive.query()) == number
    assert sealed(archive)[:2] == [False, False]
    # What stops in between leaves the rest to the next.
    real, made = checksums.write_seal, list[str]()

    def once(files: Any, target: str, *rest: Any, **more: Any) -> None:
        if made:
            no_space()
        made.append(target)
        real(files, target, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(checksums, "write_seal", once)
        assert add(archive, tmp_path, 3).pending == ["checksums: [Errno 28] No space left on device"]
    assert sealed(archive)[:2] == [False, True]
    report = add(archive, tmp_path, 3)  # nothing is new, and what was left is done
    assert (report.snapshot, report.unchanged, report.pending) == (None, 1, [])
    assert all(sealed(archive))
    assert archive.verify().ok


def test_values_that_follow_are_computed_by_the_next_verb_that_writes(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.derive("edge_energy", "Ni K", ensemble=0, follow=True)
    assert add(archive, tmp_path, 2).pending == []

    def state() -> tuple[int, int]:
        (row,) = archive.derivations("edge_energy")
        return row["fresh"], row["missing"]

    assert state() == (2, 0)
    with full_disk():
        assert len(add(archive, tmp_path, 3).pending) == 1  # without an index nothing is computed
    assert state() == (2, 1)
    with monkeypatch.context() as patch:
        patch.setattr(refresh, "store_values", no_space)
        report = add(archive, tmp_path, 4)
    assert report.ok
    assert report.pending == ["values that follow: [Errno 28] No space left on device"]
    assert state() == (2, 2)
    one = str(archive.query("step = 1").columns(["spectrum_id"])["spectrum_id"][0])
    archive.note(one, "another verb")
    assert archive.pending == []
    assert state() == (4, 0)
    with monkeypatch.context() as patch:
        patch.setattr(refresh, "store_values", no_space)
        assert add(archive, tmp_path, 5).pending
    assert add(archive, tmp_path, 5).unchanged == 1  # the same again
    assert state() == (5, 0)


def test_the_command_line_ends_well_warns_and_says_pending(archive: Archive, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "b.xdi", seed=2)
    limited = f"""if True:
        import resource
        from barospec.cli.main import run
        resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, resource.RLIM_INFINITY))
        run()
    """
    place = archive.location.place
    words = ["ingest", str(path), "-a", place, "--json", *(word for each in SETTINGS for word in ("--set", each))]
    done = subprocess.run([sys.executable, "-c", limited, *words], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["added"], found["snapshot"]) == (0, 1, archive.location.head())
    assert [each.partition(":")[0] for each in found["pending"]] == ["index"]
    told = [
        line for line in done.stderr.splitlines() if not line.startswith("reading: ")
    ]  # progress, on a slow machine
    assert len(told) == 1
    assert f"Snapshot {found['snapshot']} is committed; pending: index" in told[0]
    words = ["query", "", "--json", "-a", place]
    done = subprocess.run(
        [sys.executable, "-m", "barospec.cli.main", *words], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["count"] == 2
    assert done.stderr == ""
