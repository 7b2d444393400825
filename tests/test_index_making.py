"""How an index file comes about: from rows that are at hand or from the store, in one thread or in several, or not at all."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.store import read as layout
from barospec.archive.store import write as writer_module
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Batch, Writer
from barospec.catalogs.index import build, database, files, tables
from barospec.catalogs.index.files import folder, index_path, put_first
from barospec.schemas.errors import StoreError

from .test_index import content

GROUPS = ("xas/Ni-K", "xes/Ni-Kb")
Row = tuple[float | None, str | None, str | None, int | None]

rows = st.lists(
    st.tuples(
        st.none() | st.floats(0, 40),
        st.none() | st.sampled_from(["run-1", "run-2", "run-3"]),
        st.none() | st.sampled_from(["", "first scan", "Kβ′"]),
        st.none() | st.integers(0, 3),
    ),
    min_size=1,
    max_size=4,
)
append = st.tuples(st.just("append"), st.sampled_from(GROUPS), rows)
edit = st.tuples(st.just("edit"), st.sampled_from(GROUPS), st.just([]))
commits = st.lists(st.lists(append | edit, min_size=1, max_size=3), min_size=1, max_size=4)
ROW: Row = (14.0, "run-1", "first scan", 1)
# A column that comes later; two batches in one commit; a row that is edited in the commit it came with.
PLANS = [
    [[("append", GROUPS[0], [(None, "run-1", None, None)])], [("append", GROUPS[0], [ROW])]],
    [[("append", GROUPS[0], [ROW]), ("append", GROUPS[0], [ROW, ROW]), ("append", GROUPS[1], [ROW])]],
    [[("append", GROUPS[0], [ROW])], [("append", GROUPS[0], [ROW]), ("edit", GROUPS[0], [])]],
]


def batch_of(key: str, given_rows: Sequence[Row], start: int) -> Batch:
    """Spectra of three points with those values of pressure, run, title and step."""
    energy = np.array([8300.0, 8340.0, 8400.0])
    batch = Batch()
    for number, (pressure, run, title, step) in enumerate(given_rows, start):
        batch.energies.append(energy)
        batch.signals.append({"mu" if key.startswith("xas") else "intensity": energy})
        batch.columns.append({
            "spectrum_id": f"{key} {number}", "revision": 1, "status": "active", "technique": key[:3], "edge": "Ni K",
            "origin": "synthetic", "point_count": 3, "pressure": pressure, "run": run, "title": title, "step": step,
        })  # fmt: skip
        for hashes in batch.hashes.values():
            hashes.append(os.urandom(32))
    return batch


def commit(store: Store, plan: Sequence[tuple[str, str, Sequence[Row]]]) -> str | None:
    """One commit of appended batches and of edits, each to the last row of its group; None where nothing is to be done."""
    with store.transaction("test") as work:
        writer = Writer(work.root, work.changes)
        for verb, key, given_rows in plan:
            there = key in layout.group_paths(work.root)
            held = layout.count_rows(layout.spectra_group(work.root, key)) if there else 0
            if verb == "append":
                writer.append_spectra(key, batch_of(key, given_rows, held))
            elif held:
                writer.edit_spectra(key, [held - 1], {"status": "withdrawn"})
        if work.changes.appended or work.changes.edited:
            work.message = "as planned"
    return work.snapshot


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(commits)
@example(PLANS[0])
@example(PLANS[1])
@example(PLANS[2])
def test_rows_at_hand_make_the_index_that_the_store_makes(plan: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Archive.create(Path(folder) / "a").location)
        for what in plan:
            snapshot = commit(store, what)
            if snapshot is None:
                continue
            path = build.publish(store, snapshot)
            at_hand = content(path)
            path.unlink()
            assert content(build.publish(Store(store.location), snapshot)) == at_hand
            assert content(build.publish(store, snapshot, rebuild=True)) == at_hand


def test_rows_at_hand_are_not_read_back(empty: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    real = layout.read_columns
    monkeypatch.setattr(layout, "read_columns", lambda group, *span: read.append(span) or real(group, *span))
    store = Store(empty.location)
    for plan in ([("append", GROUPS[0], [ROW])], [("append", GROUPS[0], [ROW, ROW]), ("append", GROUPS[1], [ROW])]):
        snapshot = commit(store, plan)
        assert snapshot
        build.publish(store, snapshot)
    assert not read
    # What another process wrote, what was edited since, and what is let go after its one use, is read.
    snapshot = commit(store, [("append", GROUPS[0], [ROW])])
    assert snapshot
    build.publish(Store(empty.location), snapshot)
    assert read == [(3, 4)]
    snapshot = commit(store, [("append", GROUPS[0], [ROW]), ("edit", GROUPS[0], [])])
    assert snapshot
    build.publish(store, snapshot)
    assert read[1:] == [(4, 5)]


def test_many_rows_are_not_held(empty: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "COLUMN_ROWS", 2)
    store = Store(empty.location)
    for count, held in ((2, {"spectra/xas/Ni-K"}), (3, set())):
        snapshot = commit(store, [("append", GROUPS[0], [ROW] * count)])
        assert snapshot
        assert set(store.pop_inserted(snapshot)) == held
        assert not store.pop_inserted(snapshot)


def test_threads_may_make_the_same_index_and_others(tmp_path: Path) -> None:
    stores = [Store(Archive.create(tmp_path / name).location) for name in "ab"]
    heads = [commit(store, [("append", GROUPS[0], [ROW] * 20)]) for store in stores]
    wanted = [
        content(build.publish(store, head or "", rebuild=True)) for store, head in zip(stores, heads, strict=True)
    ]

    def make(turn: int) -> bool:
        which = turn % 2
        path = build.publish(stores[which], heads[which] or "", rebuild=turn % 3 > 0)
        return content(path) == wanted[which]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(make, range(24)))
    for store in stores:
        assert not list(folder(store.location).glob(".*"))


def test_a_failed_index_leaves_nothing_behind(empty: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(empty.location)
    snapshot = commit(store, [("append", GROUPS[0], [ROW])])
    assert snapshot

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is full")

    for rebuild in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(build, "stamp", fails)
            with pytest.raises(RuntimeError, match="disk is full"):
                build.publish(store, snapshot, rebuild=rebuild)
        assert not list(folder(store.location).glob(".*"))
        assert not index_path(store.location, snapshot).exists()
    build.publish(store, snapshot)
    assert len(empty.query()) == 1


def test_after_a_full_disk_an_index_can_be_made(empty: Archive) -> None:
    store = Store(empty.location)
    snapshot = commit(store, [("append", GROUPS[0], [ROW] * 50)])
    assert snapshot
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for rebuild in (False, True):
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (200_000, hard)
        )  # no file can be longer: writing fails as on a full disk
        try:
            with pytest.raises(StoreError, match=r"cannot be written: .*too large.*index rebuild"):
                build.publish(store, snapshot, rebuild=rebuild)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not list(folder(store.location).glob(".*"))
    build.publish(store, snapshot)
    assert len(empty.query()) == 50


def test_an_index_is_made_beside_a_damaged_one(empty: Archive) -> None:
    store = Store(empty.location)
    for damage in (b"not a database", None):
        before = store.location.head()
        path = index_path(store.location, before)
        if damage is None:  # what opens, and breaks when it is read
            held = path.read_bytes()
            damage = held[:8192] + bytes(len(held) - 8192)
        path.write_bytes(damage)
        snapshot = commit(store, [("append", GROUPS[0], [ROW])])
        assert snapshot
        made = content(build.publish(store, snapshot))
        assert made == content(build.publish(store, snapshot, rebuild=True))


def test_an_ancestor_pruned_meanwhile_is_not_missed(empty: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(empty.location)
    snapshot = commit(store, [("append", GROUPS[0], [ROW])])
    assert snapshot
    real = build.shutil.copyfile

    def pruned_first(base: Path, path: Path) -> None:
        base.unlink()
        real(base, path)

    monkeypatch.setattr(build.shutil, "copyfile", pruned_first)
    assert len(content(build.publish(store, snapshot))["spectra"]) == 1


def test_a_wrong_statement_is_not_taken_for_a_damaged_file(empty: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(empty.location)
    snapshot = commit(store, [("append", GROUPS[0], [ROW])])
    assert snapshot
    monkeypatch.setattr(build, "add_values", lambda connection, *_: connection.execute("SELECT nothing FROM spectra"))
    with pytest.raises(database.DamagedIndex, match="nothing"):
        build.publish(store, snapshot)


REACHING = (
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "COPY (SELECT 1) TO '{folder}/out.parquet'",
    "ATTACH '{folder}/other.duckdb' AS other",
    "SET allowed_directories = ['{folder}']",
    "SET enable_external_access = true",
)


def test_connections_that_read_reach_no_other_file(empty: Archive, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nhidden\n")
    path = index_path(empty.location, empty.snapshot)
    with empty.connection() as asked, database.connect(path) as plain, database.attached({"held": path}) as beside:
        for connection in (asked, plain, beside):
            for sql in REACHING:
                with pytest.raises(database.DamagedIndex, match=r"disabled|while database is running"):
                    connection.execute(sql.format(secret=secret, folder=tmp_path))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["archive", "secret.csv"]


def test_a_table_is_written_into_its_folder_and_nowhere_else(empty: Archive, tmp_path: Path) -> None:
    target = tmp_path / "it's here" / "t.parquet"
    target.parent.mkdir()
    with empty.connection() as connection:
        database.write_parquet(connection, "SELECT key FROM meta WHERE key = $key", {"key": "uuid"}, target)
        assert [each.name for each in target.parent.iterdir()] == ["t.parquet"]
        with pytest.raises(StoreError, match=r"disabled"):
            database.write_parquet(connection, f"SELECT * FROM read_parquet('{tmp_path}/a.parquet')", [], target)
        with pytest.raises(StoreError, match=r"absent"):
            database.write_parquet(connection, "SELECT 1", [], tmp_path / "absent" / "t.parquet")
    with duckdb.connect() as connection:
        assert connection.execute("SELECT key FROM read_parquet(?)", [str(target)]).fetchall() == [("uuid",)]


@pytest.mark.parametrize("links", [True, False])
def test_of_two_publishers_the_first_stays(empty: Archive, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    snapshot = commit(Store(empty.location), [("append", GROUPS[0], [ROW])])
    assert snapshot
    other, real = Store(empty.location), put_first
    firsts: list[tuple[Path, int]] = []

    def late(part: Path, target: Path) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(build, "put_first", real)
            firsts.append((build.publish(other, snapshot), target.stat().st_ino))
        real(part, target)

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(files.os, "link", no_links)
    monkeypatch.setattr(build, "put_first", late)
    path = build.publish(Store(empty.location), snapshot)
    assert firsts == [(path, path.stat().st_ino)]
    assert [each.name for each in path.parent.iterdir() if snapshot in each.name] == [path.name]
    monkeypatch.undo()
    assert build.publish(other, snapshot, rebuild=True).stat().st_ino != firsts[0][1]


def test_what_killed_publishers_left_is_removed_by_the_next(empty: Archive) -> None:
    where = folder(empty.location)
    killing = """if True:
        import os, signal, sys
        from barospec.archive.store.repository import Store
        from barospec.catalogs.index import build
        build.stamp = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        store = Store.open(sys.argv[1])
        build.publish(store, store.location.head(), rebuild=True)
    """
    died = subprocess.run([sys.executable, "-c", killing, empty.location.place], check=False)
    assert died.returncode == -signal.SIGKILL
    left = [each for each in where.iterdir() if ".part" in each.name]
    assert left
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        names = {
            "living": f".index-A.duckdb.{files._host()}.{alive.pid}.0f.part",
            "elsewhere": ".index-B.duckdb.another-host.1.0f.part",
            "elsewhere, old": ".index-C.duckdb.another-host.1.0f.part.wal",
            "before this version": f".index-D.duckdb.{2**22 + 1}.140195861076864.part",
            "of another form, old": ".index-E.part",
        }
        for what, name in names.items():
            (where / name).touch()
            if what.endswith("old"):
                os.utime(where / name, (0, 0))
        snapshot = commit(Store(empty.location), [("append", GROUPS[0], [ROW])])
        assert snapshot
        build.publish(Store(empty.location), snapshot)
        kept = {each.name for each in where.iterdir() if ".part" in each.name}
        alive.communicate(b"\n")
    assert kept == {names["living"], names["elsewhere"]}


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=12))
def test_compact_codes_stand_for_the_same_words(codes: list[int]) -> None:
    compact, used = tables.compact_codes(np.array(codes, dtype=np.int32))
    assert [used[code] if code >= 0 else -1 for code in compact.tolist()] == codes
    assert used == sorted(set(codes) - {-1})
