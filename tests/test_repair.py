"""A damaged newest snapshot has a way back, and a clock that ran ahead stops nobody."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from barospec import Archive
from barospec.archive.store.checksums import digests, write_seal
from barospec.archive.store.snapshot_files import copied, read_snapshot
from barospec.archive.store.storage.files import files_of
from barospec.schemas.errors import BarospecError, StoreError

from .files_made import SETTINGS, write_columns
from .killed import run_killed
from .test_cli import call
from .test_versions import ids, state

REFERENCE = "store/refs/branch.main/ref.json"
PROGRAM = "import sys; from barospec import Archive; Archive(sys.argv[1]).repair()"
INGEST = "import sys; from barospec import Archive; Archive(sys.argv[1]).ingest([sys.argv[2]], sys.argv[3:])"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Two commits with spectra, the first of them tagged."""
    made = Archive.create(tmp_path / "a")
    made.ingest([write_columns(tmp_path / f"{n}.dat", seed=n) for n in range(2)], SETTINGS)
    made.tag("early")
    made.ingest([write_columns(tmp_path / "2.dat", seed=2)], SETTINGS)
    return made


def newest(archive: Archive, what: str) -> list[str]:
    """Files that only the newest commit has: its snapshot, its log, or its manifests; or the reference."""
    files = files_of(archive.location)
    if what == "reference":
        return [REFERENCE]
    if what != "manifests":
        return [f"store/{what}/{archive.snapshot}"]
    mine, before = (
        read_snapshot(files.read(f"store/snapshots/{commit.snapshot}")).manifests for commit in archive.log(2)
    )
    return [f"store/manifests/{name}" for name in mine if name not in before]


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
@pytest.mark.parametrize("what", ["snapshots", "transactions", "manifests"])
def test_a_damaged_newest_snapshot_is_given_up(archive: Archive, tmp_path: Path, what: str, how: str) -> None:
    root, lost = tmp_path / "a", archive.log()[0]
    before = state(Archive(root, at=archive.log()[1].snapshot))
    name = newest(archive, what)[0]
    good = (root / name).read_bytes()
    bad = {"flipped": good[:-9] + bytes([good[-9] ^ 4]) + good[-8:], "cut": good[: len(good) // 2], "missing": b""}[how]
    if how == "missing":
        (root / name).unlink()
    else:
        (root / name).write_bytes(bad)
    tried = archive.repair(dry_run=True)
    assert (tried.needed, tried.dry_run, tried.target) == (True, True, lost.parent)
    assert list(tried.damaged) == [name]
    assert [each.snapshot for each in tried.lost] == [lost.snapshot]
    assert tried.lost[0].message == (None if what == "snapshots" and how != "flipped" else tried.lost[0].message)
    assert (tried.before, tried.after) == (3, 2)
    assert json.loads((root / REFERENCE).read_text())["snapshot"] == lost.snapshot
    done = archive.repair()
    assert (done.target, [each.snapshot for each in done.lost]) == (lost.parent, [lost.snapshot])
    if how != "missing":
        assert (root / done.kept / name).read_bytes() == bad
    assert json.loads((root / done.kept / "report.json").read_text())["lost"][0]["snapshot"] == lost.snapshot
    archive = Archive(root)
    assert archive.log()[0].message == "repaired: 1 damaged commit given up"
    assert archive.log()[1].snapshot == lost.parent
    assert state(Archive(root, at=lost.parent)) == before
    assert archive.verify(history=True).faults == []
    assert not archive.repair(dry_run=True).needed
    assert archive.ingest([tmp_path / "2.dat"], SETTINGS).added == 1
    archive.gc()
    assert archive.verify(history=True).faults == []


@pytest.mark.parametrize("text", ["", "{}", '{"snapshot":"0123456789ABCDEFGHJK"}', None])
def test_a_damaged_reference_is_written_again(archive: Archive, tmp_path: Path, text: str | None) -> None:
    root, head, now = tmp_path / "a", archive.snapshot, state(archive)
    if text is None:
        (root / REFERENCE).unlink()
    else:
        (root / REFERENCE).write_text(text)
    with pytest.raises(BarospecError):
        Archive(root).query("spectra").to_xarray()
    assert call("doctor", "--archive", root).returncode == 1
    tried = call("doctor", "--repair", "--archive", root)
    assert (tried.returncode, head in tried.stdout) == (1, True)
    assert "Nothing was changed" in tried.stderr
    assert call("doctor", "--repair", "--yes", "--archive", root).returncode == 0
    archive = Archive(root)
    assert archive.log()[1].snapshot == head
    assert state(Archive(root, at=head)) == now
    assert len(ids(archive)) == 3
    assert archive.verify(history=True).faults == []


def test_the_doctor_says_what_would_be_lost(archive: Archive, tmp_path: Path) -> None:
    root, lost = tmp_path / "a", archive.log()[0]
    for name in newest(archive, "manifests"):
        (root / name).unlink()
    found = call("doctor", "--repair", "--archive", root)
    assert found.returncode == 1
    out = found.stdout
    assert f"would be {lost.parent} instead of {lost.snapshot}: 2 spectra instead of 3 spectra." in out
    assert "1 commit would be lost:" in out
    assert lost.message in out
    found = call("doctor", "--repair", "--json", "--archive", root)
    assert json.loads(found.stdout)["rows"][0]["snapshot"] == lost.snapshot


def test_without_damage_nothing_is_repaired(archive: Archive, tmp_path: Path) -> None:
    head = archive.snapshot
    assert not archive.repair().needed
    assert archive.snapshot == head
    assert not (tmp_path / "a/damaged").exists()
    for path in (tmp_path / "a/store/snapshots").iterdir():
        path.write_bytes(b"")
    with pytest.raises(StoreError, match="no snapshot is whole"):
        archive.repair()


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("barospec.archive.verify.repair:json.dumps", 2),  # before the reference is moved
        ("barospec.archive.verify.repair:write_seal", 1),
        ("barospec.archive.store.storage.files:LocalFiles.remove", 1),
        ("barospec.archive.store.storage.files:LocalFiles.remove", 3),
        ("icechunk:Session.commit", 1),
    ],
)
def test_a_repair_that_is_killed_is_ended_by_the_next(
    archive: Archive, tmp_path: Path, place: str, number: int
) -> None:
    root, lost = tmp_path / "a", archive.log()[0]
    (root / f"store/snapshots/{lost.snapshot}").write_bytes(b"cut")
    run_killed(PROGRAM, [str(root)], place, number)
    archive = Archive(root)
    archive.repair()
    assert lost.parent in [commit.snapshot for commit in archive.log()]
    assert lost.snapshot not in [commit.snapshot for commit in archive.log()]
    assert len(ids(archive)) == 2
    assert archive.verify(history=True).faults == []


def date(archive: Archive, snapshot: str, time: datetime) -> None:
    """As if the clock had shown `time` at a commit."""
    files, name = files_of(archive.location), f"store/snapshots/{snapshot}"
    raw = files.read(name)
    files.write(name, copied(raw, snapshot, read_snapshot(raw).parent, time))
    for seal in files.names("seals"):
        if seal.endswith(f"{snapshot}.json"):
            content = json.loads(files.read(seal))
            write_seal(files, seal, digests(files, content["files"]), content["snapshots"])


def run_ahead(archive: Archive) -> datetime:
    """As if the clock had been wrong at the last two commits; the time of the later one."""
    last, before = archive.log(2)
    future = datetime.now(UTC) + timedelta(days=90)
    date(archive, before.snapshot, future)
    date(archive, last.snapshot, future + timedelta(hours=1))
    return future + timedelta(hours=1)


@pytest.mark.parametrize("remote", [False, True])
def test_a_clock_that_ran_ahead_blocks_nothing(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture, remote: bool, request: pytest.FixtureRequest
) -> None:
    if remote:
        archive = Archive.create(request.getfixturevalue("address"))
        for number in range(2):
            archive.ingest([tmp_path / f"{number}.dat"], SETTINGS)
    now, count, ahead = state(archive), len(ids(archive)), run_ahead(archive)
    archive = Archive(archive.location.place)
    before, tags = archive.log(), archive.location.tags()
    assert before[0].time == ahead
    assert [each.state for each in archive.doctor() if each.name == "clock"] == ["note"]
    with caplog.at_level("WARNING"):
        report = archive.ingest([write_columns(tmp_path / "3.dat", seed=3)], SETTINGS)
    assert (report.added, archive.pending) == (1, [])
    (told,) = [each.getMessage() for each in caplog.records if "this computer's clock" in each.getMessage()]
    assert f"dated {ahead:%Y-%m-%d %H:%M} UTC" in told
    assert f"shows {datetime.now(UTC):%Y-%m-%d}" in told
    log = archive.log()
    assert log[1:] == before  # ids, times and messages
    assert (log[0].parent, archive.location.tags()) == (before[0].snapshot, tags)
    assert log[0].time <= datetime.now(UTC)
    assert state(Archive(archive.location.place, at=before[0].snapshot)) == now
    assert archive.verify(history=True).faults == []
    # From then on as ever, without another word.
    caplog.clear()
    archive.set(ids(archive)[0], ["medium=neon"], reason="seen")
    assert "this computer's clock" not in caplog.text
    assert len(ids(archive)) == count + 1
    assert len(files_of(archive.location).names("store/refs")) == 1 + len(tags)
    archive.gc(keep_days=0)
    assert archive.verify(history=True).faults == []
    assert len(ids(Archive(archive.location.place))) == count + 1


@pytest.mark.parametrize(
    ("write", "number"), [(True, 1), (True, 2), (True, 3), (True, 4), (True, 5), (False, 1), (False, 3)]
)
def test_a_writer_killed_beside_the_history_leaves_no_trace(
    archive: Archive, tmp_path: Path, write: bool, number: int
) -> None:
    root = tmp_path / "a"
    run_ahead(archive)
    before = Archive(root).log()
    write_columns(tmp_path / "3.dat", seed=3)
    place = f"barospec.archive.store.storage.files:LocalFiles.{'write' if write else 'remove'}"
    run_killed(INGEST, [str(root), str(tmp_path / "3.dat"), *SETTINGS], place, number)
    archive, committed = Archive(root), not write
    assert archive.log()[committed:] == before
    (archive.location.root / "store/refs/branch.mine").mkdir()  # another tool's
    shutil.copy(archive.location.root / REFERENCE, archive.location.root / "store/refs/branch.mine/ref.json")
    assert archive.verify(history=True).faults == []
    assert archive.ingest([tmp_path / "3.dat"], SETTINGS).added == (not committed)
    archive.set(ids(archive)[0], ["medium=neon"], reason="seen")
    assert len(ids(archive)) == 4
    assert archive.verify(history=True).faults == []
    if not committed:
        branches = [each for each in files_of(archive.location).names("store/refs") if "branch" in each]
        assert branches == [REFERENCE, "store/refs/branch.mine/ref.json"]


def test_a_clock_a_little_ahead_is_waited_for(archive: Archive, tmp_path: Path) -> None:
    dated = datetime.now(UTC) + timedelta(seconds=4)
    date(archive, archive.snapshot, dated)
    assert Archive(tmp_path / "a").ingest([write_columns(tmp_path / "3.dat", seed=3)], SETTINGS).added == 1
    assert archive.log()[0].time > dated
    assert archive.verify(history=True).faults == []


def test_a_damaged_snapshot_in_a_bucket_is_given_up(address: str, tmp_path: Path) -> None:
    archive = Archive.create(address)
    archive.ingest([write_columns(tmp_path / "0.dat")], SETTINGS)
    archive.ingest([write_columns(tmp_path / "1.dat", seed=1)], SETTINGS)
    archive.seal()
    lost, files = archive.log()[0], files_of(archive.location)
    name = f"store/snapshots/{lost.snapshot}"
    raw = files.read(name)
    files.write(name, raw[:-1] + bytes([raw[-1] ^ 1]))
    archive = Archive(address)
    assert archive.repair(dry_run=True).target == lost.parent
    done = archive.repair()
    assert files.read(f"{done.kept}/{name}")[:-1] == raw[:-1]
    assert len(Archive(address).query("spectra")) == 1
    assert Archive(address).verify(history=True).faults == []
    files.write(REFERENCE, "{")
    with pytest.raises(StoreError, match="doctor --repair"):
        Archive(address).query("spectra")
    assert Archive(address).repair().lost == []
    assert len(Archive(address).query("spectra")) == 1
