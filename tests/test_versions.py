"""Tags, differences and earlier states: what was is what is read, and what changed is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import barospec
from barospec import Archive
from barospec.archive.history.diff import Change
from barospec.catalogs.index import database
from barospec.catalogs.index.files import index_path
from barospec.cli.diff import lines
from barospec.schemas.errors import CallError, Conflict, NotFound

from .files_made import SETTINGS, write_columns

SHEET = [*SETTINGS, "pressure=15.1 ± 0.2 GPa"]


def state(archive: Archive) -> dict[str, Any]:
    """All that can be searched or read: rows that count with every field, their curves, the small tables."""
    with archive.connection() as connection:
        rows = database.dicts(
            connection,
            "SELECT * EXCLUDE (grp, row, header) FROM spectra WHERE status NOT IN ('reverted', 'purged') "
            "ORDER BY spectrum_id, revision",
        )
        saved = database.dicts(connection, "SELECT name, arg_max(query, revision) AS query FROM saved GROUP BY name HAVING arg_max(status, revision) = 'active' ORDER BY 1")  # fmt: skip
        structures = database.values(connection, "SELECT structure_id, a, revision FROM structures WHERE status = 'active' ORDER BY 1")  # fmt: skip
    curves = {r["spectrum_id"]: archive.curve(r["spectrum_id"]) for r in rows if r["status"] == "active"}
    plain = {key: (energy.tobytes(), curve.tobytes()) for key, (energy, curve) in curves.items()}
    return {"rows": rows, "curves": plain, "saved": saved, "structures": structures, "settings": archive.settings()}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_columns(tmp_path / f"scan{n}.dat", seed=n) for n in range(5)]


@pytest.fixture
def archive(tmp_path: Path, files: list[Path]) -> Archive:
    made = Archive.create(tmp_path / "a")
    assert made.ingest(files[:3], SHEET).added == 3
    return made


def ids(archive: Archive, text: str = "") -> list[str]:
    return [str(name) for name in archive.query(text).columns(["spectrum_id"])["spectrum_id"]]


def test_tags_tell_who_when_and_why(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAROSPEC_ACTOR", "ada")
    named = archive.snapshot
    made = archive.tag("v1", "as submitted")
    assert (made.snapshot, made.author, made.message) == (named, "ada", "as submitted")
    assert archive.tag_records() == [made]
    with pytest.raises(Conflict, match="already"):
        archive.tag("v1")
    with pytest.raises(Conflict, match="never moves"):
        archive.tag("v1", at=archive.snapshot)
    with pytest.raises(CallError, match="looks like a snapshot or a date"):
        archive.tag("2024-05-01")
    with pytest.raises(CallError, match="cannot be a tag"):
        archive.tag("../x")
    assert archive.untag("v1") == named
    assert archive.tag_records() == []
    with pytest.raises(Conflict, match="never gets another meaning"):
        archive.tag("v1")
    with pytest.raises(NotFound):
        archive.untag("v1")


def test_a_tag_without_its_record_gets_it(archive: Archive) -> None:
    """As after a kill between the two: the same call again completes it."""
    from barospec.archive.store.repository import Store

    named = archive.snapshot
    Store(archive.location).tag("v1", named)
    assert archive.tag_records()[0].author == ""
    assert archive.tag("v1", "again").snapshot == named
    assert archive.tag_records()[0].message == "again"


def test_tagged_snapshots_keep_their_index_and_others_get_it_back(archive: Archive) -> None:
    first = archive.snapshot
    archive.tag("v1")
    second = archive.snapshot
    for number in range(5):
        archive.set(ids(archive)[0], [f"note=n{number}"], reason="x")
    assert index_path(archive.location, first).exists()
    assert not index_path(archive.location, second).exists()
    assert len(ids(barospec.open(archive.location.root, at=second))) == 3
    assert index_path(archive.location, second).exists()


def changes(archive: Archive, first: str, second: str | None = None) -> Mapping[tuple[str, str], list[Change]]:
    found: dict[tuple[str, str], list[Change]] = {}
    for change in archive.diff(first, second).changes:
        found.setdefault((change.kind, change.change), []).append(change)
    return found


def test_a_difference_is_told_in_words(archive: Archive, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAROSPEC_ACTOR", "ada")
    archive.tag("v1")
    first, second, third = ids(archive)
    archive.ingest(files[3:], SHEET)
    archive.set(first, ["pressure=15.6 ± 0.1 GPa"], reason="ruby misread")
    archive.set(first, ["temperature=10 K"], reason="sensor")
    archive.withdraw(second, reason="beam lost")
    energy, curve = archive.curve(third)
    row = next(n for n, name in enumerate([first, second, third]) if name == third)
    write_columns(files[row], seed=99)
    archive.ingest([files[row]], SHEET, replace=True)
    archive.save("warm", "above 100 K")
    archive.configure({"title": "T"})
    found = changes(archive, "v1")
    assert {key: len(items) for key, items in found.items()} == {
        ("spectrum", "added"): 2,
        ("spectrum", "corrected"): 1,
        ("spectrum", "replaced"): 1,
        ("spectrum", "withdrawn"): 1,
        ("saved query", "added"): 1,
        ("setting", "replaced"): 1,
    }
    (corrected,) = found["spectrum", "corrected"]
    assert corrected.name == first
    assert corrected.changed["pressure"] == {"old": 15.1, "new": 15.6, "unit": "GPa"}
    assert corrected.actor == "ada"
    (replaced,) = found["spectrum", "replaced"]
    step = archive.curve(third)[1] - curve
    at = int(np.argmax(abs(step)))
    assert (replaced.name, replaced.revision, replaced.curve["changed"]) == (third, 2, int((step != 0).sum()))
    assert (replaced.curve["energy"], replaced.curve["largest"]) == (energy[at], step[at])
    assert replaced.curve["relative"] == pytest.approx(abs(step[at]) / np.ptp(curve))
    text = "\n".join(lines(archive.diff("v1")))
    for said in (
        "2 spectra added: 2 of run-1, xas Ni K",
        "pressure 15.1 ± 0.2 -> 15.6 ± 0.1 GPa",
        "of 120 values changed, at most by",
        "(beam lost; ada)",
        "saved query @warm added",
    ):
        assert said in text
    back = changes(archive, archive.snapshot, "v1")
    assert len(back["spectrum", "corrected"]) == len(back["spectrum", "brought back"]) == 1
    assert archive.diff("v1", "v1").changes == []


def test_a_difference_looks_at_what_changed_only(archive: Archive, files: list[Path]) -> None:
    before = archive.snapshot
    archive.set(ids(archive)[0], ["note=x"], reason="x")
    found = archive.diff(before)
    assert (found.looked_at, found.whole) == (1, False)
    assert archive.diff(before, before).looked_at == 0


def test_an_earlier_state_comes_back_whole(archive: Archive, files: list[Path]) -> None:
    archive.save("all", "Ni K")
    archive.label(ids(archive)[0], "fig 2")
    archive.note(ids(archive)[0], "good")
    archive.configure({"title": "first"})
    archive.withdraw(ids(archive)[2], reason="x")
    archive.tag("v1")
    then = state(archive)
    first, second = ids(archive)
    archive.set(first, ["pressure=15.6 GPa", "medium=none"], reason="x")
    archive.withdraw(second, reason="x")
    archive.flag(first, "bad", "glitch")
    archive.unlabel(first, "fig 2")
    archive.note(first, "look again")
    archive.save("all", "above 1 GPa", replace=True)
    archive.save("more", "above 2 GPa")
    archive.configure({"title": "second"})
    archive.ingest(files[3:], SHEET)
    archive.ingest(files[:1], [*SETTINGS, "pressure=9 GPa"], replace=True)
    later, head = state(archive), archive.snapshot
    assert later != then
    tried = archive.restore("v1", dry_run=True)
    assert archive.snapshot == head
    report = archive.restore("v1", reason="start over")
    assert (report.taken_back, report.set_back) == (tried.taken_back, tried.set_back) == (3, 2)
    assert state(archive) == then
    assert archive.diff("v1").changes == []
    assert archive.restore("v1").same
    with archive.ask("Ni K") as answer:
        assert (answer.count, answer.withdrawn) == (2, 1), "what was taken back is not counted either"
    rebuilt = archive.rebuild_index()
    assert rebuilt.exists()
    assert state(archive) == then
    archive.restore(head)
    assert state(archive) == later, "restoring the state before undoes it"


def test_ingest_after_a_restore(archive: Archive, files: list[Path]) -> None:
    archive.tag("v1")
    archive.ingest(files[3:], SHEET)
    added = set(ids(archive)) - set(ids(barospec.open(archive.location.root, at="v1")))
    first = ids(barospec.open(archive.location.root, at="v1"))[0]
    archive.ingest(files[:1], [*SETTINGS, "pressure=9 GPa"], replace=True)
    archive.restore("v1")
    # The same files bring the same spectra back; other conditions make the next revision, never the same one again.
    report = archive.ingest([files[3]], SHEET)
    assert (report.added, report.conflicts) == (1, 0)
    other = archive.ingest([files[4]], [*SETTINGS, "pressure=3 GPa"])
    assert (other.added, other.conflicts) == (1, 0)
    assert set(ids(archive)) - set(ids(barospec.open(archive.location.root, at="v1"))) == added
    archive.ingest(files[:1], [*SETTINGS, "pressure=8 GPa"], replace=True)
    assert archive.show(first)["spectrum"]["revision"] == 3
    with archive.connection() as connection:
        twice = database.values(connection, "SELECT 1 FROM spectra GROUP BY spectrum_id, revision HAVING count(*) > 1")
        active = database.values(connection, "SELECT 1 FROM spectra WHERE status = 'active' GROUP BY spectrum_id HAVING count(*) > 1")  # fmt: skip
    assert twice == active == []


def test_derived_values_come_back(archive: Archive, files: list[Path]) -> None:
    """Sets made later are dropped; of values computed again or for the first time, those of then count."""
    first = ids(archive)[0]
    archive.set("spectra", ["energy_calibration=foil"], reason="x")
    archive.derive("edge_energy", "pressure > 1 GPa")
    archive.tag("v1")

    def found() -> Any:
        with archive.connection() as connection:
            return database.dicts(connection, 'SELECT spectrum_id, "edge_energy:edge_energy" AS value, "edge_energy:state" AS state FROM spectra ORDER BY 1')  # fmt: skip

    then = found()
    assert [row["state"] for row in then] == [0, 0, 0]
    archive.set(first, ["energy_shift=0.5 eV"], reason="foil")
    archive.refresh("edge_energy")
    archive.ingest(files[3:], [*SHEET, "energy_calibration=foil"])
    archive.derive("edge_energy", "pressure > 1 GPa")
    archive.derive("white_line", "pressure > 1 GPa")
    assert len(found()) == 5
    assert next(row["value"] for row in found() if row["spectrum_id"] == first) != then[0]["value"]
    report = archive.restore("v1")
    assert report.records["derivations"] == 1
    assert report.records["derived values"] == 3
    counted = {row["spectrum_id"]: row for row in found()}
    assert [counted[row["spectrum_id"]] for row in then] == then
    assert [derivation["name"] for derivation in archive.derivations()] == ["edge_energy"]
    archive.rebuild_index()
    assert {row["spectrum_id"]: row for row in found()} == counted
    assert archive.restore("v1").same
    # The spectra that come back have no value of then; one is computed when asked for.
    archive.ingest(files[3:], [*SHEET, "energy_calibration=foil"])
    assert len(ids(archive, "edge_energy > 1 eV")) == 3
    archive.refresh("edge_energy", missing=True)
    assert len(ids(archive, "edge_energy > 1 eV")) == 5


def test_structures_and_models_come_back_and_revisions_are_not_used_twice(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "s")

    def sheet(a: float) -> Path:
        path = tmp_path / f"sheet-{a}.yaml"
        path.write_text(
            f"structures:\n  - structure_id: s1\n    material: NiO\n    space_group: Fm-3m\n    a: {a}\n"
            f"    source: test\n    pressure: 0.0001\n    temperature: 300\n"
        )
        return path

    assert archive.ingest([sheet(4.18)]).structures == 1
    archive.tag("v1")
    assert archive.ingest([sheet(4.17)], replace=True).replaced == 1
    archive.restore("v1")

    def held() -> list[tuple[Any, ...]]:
        with archive.connection() as connection:
            return database.values(connection, "SELECT a, revision, status FROM structures ORDER BY revision")

    assert held() == [(4.18, 1, "active"), (4.17, 2, "reverted")]
    (change,) = archive.diff(archive.log()[1].snapshot).changes
    assert (change.kind, change.change) == ("structure", "replaced")
    archive.ingest([sheet(4.16)], replace=True)
    assert held() == [(4.18, 1, "superseded"), (4.17, 2, "reverted"), (4.16, 3, "active")]
