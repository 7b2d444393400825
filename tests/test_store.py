"""The store: atomic, exclusive, checked."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.archive.store.storage import disk_sync
from barospec.archive.store.storage.location import Local
from barospec.catalogs.index.files import index_path
from barospec.schemas.errors import BarospecError, Conflict, NotFound, StoreError

from .files_made import SETTINGS, write_columns
from .killed import COMMAND_LINE, run_killed


def test_create_refuses_a_folder_with_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(Conflict, match="not empty"):
        Store.create(tmp_path)
    assert (tmp_path / "x").read_text() == "mine"


def test_open_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="barospec init"):
        Store.open(tmp_path / "none")
    Store.create(tmp_path / "barospec-archive")
    with pytest.raises(NotFound, match="Did you mean barospec-archive"):
        Store.open(tmp_path / "barospec-archiv")


def test_newer_format_is_refused(tmp_path: Path) -> None:
    Store.create(tmp_path / "a")
    marker = tmp_path / "a" / "barospec.json"
    marker.write_text(marker.read_text().replace('"barospec_format": 1', '"barospec_format": 99'))
    with pytest.raises(BarospecError, match="Upgrade barospec"):
        Store.open(tmp_path / "a")


def test_history_and_resolve(empty: Archive) -> None:
    store = Store(empty.location)
    with store.transaction("test") as work:
        work.root.attrs["x"] = 1
        work.message = "first"
    head = empty.location.head()
    assert [commit.message for commit in store.history()] == ["first", "archive created"]
    store.tag("v1", head)
    assert store.resolve("v1") == store.resolve(None) == store.resolve(head) == store.resolve(head[:8]) == head
    assert store.resolve("2999-01-01") == head
    with pytest.raises(NotFound, match="did not exist"):
        store.resolve("1999-01-01")
    with pytest.raises(NotFound, match="no tag, snapshot or date"):
        store.resolve("v2")
    with pytest.raises(Conflict):
        store.tag("v1", head)


def test_an_error_inside_a_transaction_writes_nothing(empty: Archive) -> None:
    store, before = Store(empty.location), empty.location.head()

    def fail() -> None:
        with store.transaction("test") as work:
            work.root.attrs["x"] = 1
            work.message = "never"
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        fail()
    assert empty.location.head() == before
    with store.transaction("test", wait=1):  # and the lock is free
        pass


def _hold(path: str, told: Connection) -> None:
    with Store.open(path).transaction("holding"):
        told.send("held")
        told.recv()  # nobody answers: it holds the lock until it is killed


def test_a_held_lock_says_who_holds_it(empty: Archive) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    holder = context.Process(target=_hold, args=(str(empty.location.root), there))
    holder.start()
    try:
        assert here.recv() == "held"
        with (
            pytest.raises(StoreError, match=f"holding on .* pid {holder.pid}"),
            Store(empty.location).transaction("mine", wait=0),
        ):
            pass
    finally:
        holder.kill()
        holder.join()
        here.close()
        there.close()
    with Store(empty.location).transaction("mine", wait=0):  # a killed holder's lock is gone
        pass


def command(archive: Path, *paths: Path, settings: list[str]) -> list[str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "barospec.cli.main", "ingest", *map(str, paths), "--archive", str(archive), *sets]


def test_kill_during_ingest_leaves_the_previous_snapshot(empty: Archive, tmp_path: Path) -> None:
    first = [write_columns(tmp_path / "first.xdi")]
    assert empty.ingest(first, SETTINGS).added == 1
    before = empty.location.head()
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        write_columns(folder / f"scan-{number:03}.xdi", seed=number + 1)
    words = command(empty.location.root, folder, settings=SETTINGS)[3:]
    # Under the lock before anything is written; among the chunks; with all chunks there; and before the commit itself.
    for place, number in (
        ("icechunk:Repository.writable_session", 1),
        ("icechunk:IcechunkStore.set", 1),
        ("icechunk:IcechunkStore.set", 30),
        ("barospec.archive.store.repository:Store._commit", 1),
        ("icechunk:Session.commit", 1),
    ):
        run_killed(COMMAND_LINE, words, place, number)
        assert empty.location.head() == before
        assert len(empty.query("spectra")) == 1
    report = empty.ingest([folder], SETTINGS)  # nothing of the wreck is in the way
    assert report.ok
    assert len(empty.query("spectra")) == 41


@pytest.mark.parametrize(
    ("place", "number", "after"),
    [
        ("icechunk:Session.commit", 1, True),
        ("barospec.archive.store.checksums:write_seal", 1, False),
        ("barospec.archive.store.checksums:write_seal", 1, True),
        (
            "barospec.catalogs.index.build:publish",
            2,
            False,
        ),  # the first is of the empty archive, to look for duplicates
    ],
)
def test_kill_after_the_commit_leaves_all_of_it(
    empty: Archive, tmp_path: Path, place: str, number: int, after: bool
) -> None:
    paths = [write_columns(tmp_path / f"{number}.xdi", seed=number) for number in range(2)]
    run_killed(COMMAND_LINE, command(empty.location.root, *paths, settings=SETTINGS)[3:], place, number, after=after)
    assert len(Archive(empty.location.root).query("spectra")) == 2
    assert empty.ingest(paths, SETTINGS).unchanged == 2
    assert empty.verify().faults == []


def test_two_ingests_at_once_both_arrive(empty: Archive, tmp_path: Path) -> None:
    processes = []
    for number in range(3):
        folder = tmp_path / f"writer-{number}"
        folder.mkdir()
        for scan in range(4):
            write_columns(folder / f"scan-{number}-{scan}.xdi", seed=10 * number + scan)
        processes.append(
            subprocess.Popen(
                command(empty.location.root, folder, settings=[f"run=run-{number}", *SETTINGS[1:]]),
                stdout=subprocess.PIPE,
            )
        )
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert len(empty.query("spectra")) == 12
    assert {row["run"] for row in empty.runs()} == {"run-0", "run-1", "run-2"}


def test_one_flipped_bit_in_a_chunk_is_an_error(empty: Archive, tmp_path: Path) -> None:
    for number in range(4):
        write_columns(tmp_path / f"s{number}.xdi", seed=number, points=300)
    assert empty.ingest(sorted(tmp_path.glob("s*.xdi")), SETTINGS).added == 4
    chunks = sorted(path for path in (empty.location.store / "chunks").rglob("*") if path.is_file())
    assert len(chunks) > 20
    store = Store(empty.location)
    reference = _everything(store)
    rng = random.Random(7)
    noticed = 0
    for path in chunks:
        clean = path.read_bytes()
        for _ in range(3):
            position, bit = rng.randrange(len(clean)), rng.randrange(8)
            damaged = bytearray(clean)
            damaged[position] ^= 1 << bit
            os.chmod(path, 0o644)
            path.write_bytes(damaged)
            try:
                # A fresh store: icechunk caches chunks.
                assert _everything(Store(empty.location)) == reference, (
                    f"wrong numbers from {path.name} at byte {position}"
                )
            except AssertionError:
                raise
            except Exception:
                noticed += 1
        path.write_bytes(clean)
    assert noticed > 2 * len(chunks)  # a few bits of a frame's header carry nothing, and change nothing
    assert _everything(Store(empty.location)) == reference


def _everything(store: Store) -> list[bytes]:
    from barospec.archive.store.read import array

    root = store.read(store.location.head())
    return [repr(array(root, path)[...].tolist()).encode() for path in sorted(root_arrays(root))]


def root_arrays(root: object) -> list[str]:
    import zarr

    assert isinstance(root, zarr.Group)
    return [name for name, node in root.members(max_depth=None) if isinstance(node, zarr.Array)]


def test_nothing_of_ours_is_on_stdout_at_open(empty: Archive) -> None:
    code = f"from barospec.archive.store.repository import Store; Store.open({str(empty.location.root)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_index_is_published_with_the_commit(empty: Archive, tmp_path: Path) -> None:
    report = empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    assert report.snapshot
    assert index_path(empty.location, report.snapshot).exists()


def test_what_is_reported_is_on_the_disk(empty: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks before the reference names them, and all of it before the commit is reported."""
    seen: list[tuple[str, int, bool]] = []
    store, before = Store(empty.location), empty.location.head()
    flush = disk_sync.to_disk

    def noted(location: Local) -> None:
        chunks = sum(path.is_file() for path in (location.store / "chunks").rglob("*"))
        seen.append((location.head(), chunks, (location.root / f"seals/{location.head()}.json").exists()))
        flush(location)

    monkeypatch.setattr("barospec.archive.store.repository.to_disk", noted)
    with store.transaction("test") as work:
        work.root.create_array("x", data=np.arange(3.0))
        work.message = "x"
    assert work.snapshot
    assert seen == [(before, 1, False), (work.snapshot, 1, True)]
    with store.transaction("test"):
        pass
    assert len(seen) == 2, "where nothing is committed nothing is waited for"


def test_a_disk_that_cannot_write_is_an_error(empty: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the commit nothing is in; after it the snapshot is named."""
    store, before, fails = Store(empty.location), empty.location.head(), [True]

    def broken(_: Local) -> None:
        if fails.pop(0):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("barospec.archive.store.repository.to_disk", broken)

    def write() -> None:
        with store.transaction("test") as work:
            work.root.attrs["x"] = 1
            work.message = "x"

    with pytest.raises(StoreError, match=r"the disk reports an error .*; nothing was written"):
        write()
    assert empty.location.head() == before
    fails[:] = [False, True]
    with pytest.raises(StoreError, match="was committed; run `barospec verify`") as told:
        write()
    assert empty.location.head() in str(told.value)
    with pytest.raises(FileNotFoundError):
        disk_sync.to_disk(Local(empty.location.root / "nowhere", ""))
