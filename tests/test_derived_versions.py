"""Derived values beside corrections, withdrawals and restored states: what holds again is fresh again, the rest is stale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barospec import Archive
from barospec.archive.derived.store import count_entries
from barospec.archive.store.repository import Store
from barospec.archive.verify.derived import check_derived
from barospec.archive.verify.report import Verified
from barospec.catalogs.derived import refresh
from barospec.catalogs.index import build, database

from .files_made import SETTINGS, write_columns

CALIBRATED = [*SETTINGS, "energy_calibration=foil"]


def add(archive: Archive, folder: Path, number: int, *, replacing: bool = False, e0: float = 0.0) -> None:
    path = write_columns(folder / f"{number}.xdi", seed=number, points=60, e0=e0 or 8340.0 + number)
    settings = [*CALIBRATED, f"step={number}", f"pressure={number} GPa"]
    assert archive.ingest([path], settings, replace=replacing).ok


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive.create(tmp_path / "archive")
    for number in (1, 2):
        add(made, tmp_path, number)
    made.derive("edge_energy", "Ni K", ensemble=0)
    return made


def state(archive: Archive, name: str = "edge_energy") -> tuple[int, int, int]:
    row = archive.derivations(name)[0]
    return row["fresh"], row["stale"], row["missing"]


def served(archive: Archive) -> dict[int, float]:
    with archive.ask("edge_energy > 0 eV", columns=["step", "edge_energy"]) as found:
        return dict(found.rows)


def entries(archive: Archive) -> int:
    return count_entries(Store(archive.location).read(archive.snapshot), "edge_energy")


def test_a_correction_that_enters_makes_stale_and_taking_it_back_makes_fresh(archive: Archive) -> None:
    before, tagged = served(archive), archive.snapshot
    archive.set("step = 1", ["pressure=7 GPa"], reason="ruby line misread")
    assert (state(archive), served(archive)) == ((2, 0, 0), before)
    archive.set("step = 1", ["energy_shift=0.5 eV"], reason="aligned to the foil")
    assert state(archive) == (1, 1, 0)
    assert list(served(archive)) == [2]
    assert [report.computed for report in archive.refresh()] == [1]
    assert served(archive)[1] == pytest.approx(before[1] + 0.5, abs=1e-9)
    archive.set("step = 1", {"energy_shift": None}, reason="the foil was another one")
    assert state(archive) == (1, 1, 0)  # the newest entry counts, and that one is of the shifted axis
    assert archive.refresh()[0].computed == 1
    assert (state(archive), served(archive)) == ((2, 0, 0), before)
    assert archive.refresh()[0].computed == 0
    assert entries(archive) == 4
    assert served(Archive(archive.location.root, at=tagged)) == before
    identity = archive.query("step = 1").columns(["spectrum_id"])["spectrum_id"][0]
    record = archive.why(identity, "edge_energy")
    assert record["value"]["fresh"]
    assert record["value"]["value"] == before[1]


def test_withdrawn_spectra_are_neither_found_nor_stale_and_come_back_fresh(archive: Archive) -> None:
    before = served(archive)
    archive.withdraw("step = 2", reason="wrong sample")
    assert (state(archive), list(served(archive))) == ((1, 0, 0), [1])
    assert archive.refresh(missing=True)[0].computed == 0
    archive.reinstate("step = 2", reason="it was the right one")
    assert (state(archive), served(archive)) == ((2, 0, 0), before)
    assert entries(archive) == 2


def test_a_restored_state_has_its_values_sets_flags_and_labels(archive: Archive, tmp_path: Path) -> None:
    first = str(archive.query("step = 1").columns(["spectrum_id"])["spectrum_id"][0])
    second = str(archive.query("step = 2").columns(["spectrum_id"])["spectrum_id"][0])
    archive.label(first, "figure 2")
    archive.flag(first, "check", "odd")
    archive.note(first, "first note")
    before, then, told = served(archive), archive.snapshot, _told(archive)
    add(archive, tmp_path, 1, replacing=True, e0=8360.0)
    add(archive, tmp_path, 3)
    archive.derive("edge_energy", "Ni K", ensemble=0)
    archive.derive("edge_energy", "Ni K", ensemble=0, fraction=0.5, preferred=True)
    archive.flag(first, "bad", "glitch")
    archive.flag(second, "bad", "glitch")
    archive.unlabel(first, "figure 2")
    archive.label(second, "talk")
    archive.note(first, "second note")
    assert list(served(archive)) == [3]
    report = archive.restore(then, reason="too fast")
    assert report.records["derivations"] == 1  # the new set; the other one is used as before
    assert report.records["derived values"] == 2  # of the new revision and the new spectrum
    assert (served(archive), _told(archive)) == (before, told)
    assert [row["name"] for row in archive.derivations()] == ["edge_energy"]
    assert state(archive) == (2, 0, 0)
    assert archive.why(first, "edge_energy")["value"]["value"] == before[1]
    assert archive.restore(then).same
    rebuilt = build.publish(Store(archive.location), archive.snapshot, rebuild=True)
    assert rebuilt.exists()
    assert (served(archive), _told(archive), state(archive)) == (before, told, (2, 0, 0))
    assert not verified(archive)
    # And forwards again, to the state that was left.
    archive.restore(report.parent)
    assert [row["name"] for row in archive.derivations() if row["preferred"]] == ["edge_energy-2"]
    assert list(served(archive)) == [3]
    assert not verified(archive)


def _told(archive: Archive) -> list[tuple[Any, ...]]:
    with archive.connection() as connection:
        return database.values(
            connection,
            "SELECT step, flag, flag_reason, labels, remarks FROM spectra WHERE status = 'active' ORDER BY step",
        )


def test_a_dropped_set_that_comes_back_knows_what_happened_meanwhile(archive: Archive, tmp_path: Path) -> None:
    archive.change_derivation("edge_energy", status="dropped")
    archive.set("step = 1", ["energy_shift=0.5 eV"], reason="aligned")
    archive.set("step = 2", ["pressure=9 GPa"], reason="ruby")
    build.publish(Store(archive.location), archive.snapshot, rebuild=True)
    report = archive.derive("edge_energy", "Ni K", ensemble=0)
    assert (report.name, report.computed, report.fresh) == ("edge_energy", 1, 1)
    assert state(archive) == (2, 0, 0)


def test_what_a_killed_ingest_left_undone_is_done_with_the_next(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(archive, tmp_path, 3)
    archive.change_derivation("edge_energy", follow=True)
    with monkeypatch.context() as patched:
        patched.setattr(refresh, "store_values", _killed)
        with pytest.raises(KeyboardInterrupt):
            add(archive, tmp_path, 4)
    assert state(archive) == (2, 0, 2)
    add(archive, tmp_path, 5)
    assert sorted(served(archive)) == [1, 2, 4, 5]  # 3 came before the set followed
    assert state(archive) == (4, 0, 1)


def _killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def damaged(archive: Archive, column: str, value: Any) -> Iterator[None]:
    store = Store(archive.location)
    with store.transaction("damage") as work:
        node: Any = work.root[f"derived/edge_energy/{column}"]
        before = node[0]
        node[0] = value
        work.message = "damage"
    yield
    with store.transaction("repair") as work:
        again: Any = work.root[f"derived/edge_energy/{column}"]
        again[0] = before
        work.message = "repair"


def verified(archive: Archive) -> list[str]:
    report = Verified()
    check_derived(Store(archive.location).read(archive.location.head()), report, lambda *_: None)
    return [f"{fault.where}: {fault.what}" for fault in report.faults]


def test_verify_finds_entries_that_belong_to_nothing(archive: Archive) -> None:
    assert verified(archive) == []
    for column, value, said in (
        ("spectrum_id", "0" * 16, "there is no such spectrum"),
        ("revision", 9, "has no revision 9"),
        ("calculation", 7, "calculation 7"),
        ("row_sha256", np.ones(32, dtype=np.uint8), "is recorded as computed from other numbers"),
        ("energy_calibration", 999, "for which there is no word"),
        ("edge_energy_quality", 99, "quality"),
    ):
        with damaged(archive, column, value):
            [fault] = verified(archive)
            assert said in fault, fault
    assert verified(archive) == []
