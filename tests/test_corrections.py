"""Corrections of conditions, spectra withdrawn and brought back; what ingest makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import barospec
from barospec import Archive
from barospec.archive.edit.corrections import corrected, parse_fields
from barospec.archive.ingest.commit import check_number
from barospec.archive.sheets.conditions import conditions_sha256
from barospec.catalogs.index.files import index_path
from barospec.catalogs.index.known_rows import lookup
from barospec.schemas.errors import BarospecError, CallError, InvalidData, NotFound
from benchmarks.rows import archive_of_rows

from .files_made import SETTINGS, write_columns


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_columns(tmp_path / f"scan{n}.dat", seed=n) for n in range(4)]


@pytest.fixture
def archive(tmp_path: Path, files: list[Path]) -> Archive:
    made = Archive.create(tmp_path / "a")
    assert made.ingest(files, [*SETTINGS, "pressure=15.1 ± 0.2 GPa", "pressure_method=measured"]).added == 4
    return made


def ids(archive: Archive, text: str = "") -> list[str]:
    return [str(name) for name in archive.query(text).columns(["spectrum_id"])["spectrum_id"]]


def value(archive: Archive, name: str, field: str) -> object:
    return archive.show(name)["spectrum"].get(field)


def test_a_pressure_is_corrected(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAROSPEC_ACTOR", "ada")
    before, name = archive.snapshot, ids(archive)[0]
    report = archive.set(name[:8], ["P=156 ± 1 kbar"], reason="ruby misread")
    assert [edit.known.spectrum_id for edit in report.edits] == [name]
    assert (value(archive, name, "pressure"), value(archive, name, "pressure_sigma")) == (15.6, 0.1)
    assert value(archive, name, "pressure_method") is None, "the method told of the old value"
    assert ids(archive, "pressure > 15.5 GPa") == [name]
    then = barospec.open(archive.location.root, at=before)
    assert value(then, name, "pressure") == 15.1
    event = archive.show(name)["events"][-1]
    assert (event["action"], event["actor"], event["reason"]) == ("set", "ada", "ruby misread")
    assert json.loads(event["details"])["changed"]["pressure"] == {"old": 15.1, "new": 15.6}


def test_several_fields_of_what_a_query_finds(archive: Archive) -> None:
    before = archive.snapshot
    tried = archive.set("pressure > 15 GPa", {"temperature": "10 K", "medium": "Daphne 7575"}, reason="x", dry_run=True)
    assert (len(tried.edits), archive.snapshot) == (4, before)
    archive.set("pressure > 15 GPa", {"temperature": "10 K", "medium": "Daphne 7575"}, reason="x")
    assert len(ids(archive, 'below 20 K and medium = "Daphne 7575"')) == 4
    again = archive.set("below 20 K", {"temperature": "10 K"}, reason="x")
    assert (again.unchanged, again.edits, again.snapshot) == (4, [], None)
    archive.set("below 20 K", {"medium": None}, reason="was not noted")
    assert len(ids(archive, "medium is missing")) == 4


@pytest.mark.parametrize(
    ("field", "error", "said"),
    [
        ("spectrum_id=1", CallError, "archive writes it"),
        ("edge=Fe K", CallError, "identity"),
        ("technique=xes", CallError, "identity"),
        ("run=other", CallError, "identity"),
        ("presure=1", CallError, "Did you mean pressure"),
        ("pressure=23,7", CallError, "not a"),
        ("pressure=10 K", CallError, "K"),
        ("pressure", CallError, "no \"=\""),
        ("sample=", InvalidData, "sample not stated"),
        ("origin=", InvalidData, "origin not stated"),
        ("cluster_atoms=7", InvalidData, "does not apply"),
        ("origin=guessed", CallError, "not one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_refused(archive: Archive, field: str, error: type[BarospecError], said: str) -> None:
    before = archive.snapshot
    with pytest.raises(error, match=said):
        archive.set(ids(archive)[0], [field], reason="x")
    assert archive.snapshot == before


def test_a_reason_is_needed_and_the_spectra_must_be_there(archive: Archive) -> None:
    with pytest.raises(CallError, match="reason"):
        archive.set(ids(archive)[0], ["note=x"], reason=" ")
    with pytest.raises(NotFound, match="no active spectrum"):
        archive.set("pressure > 99 GPa", ["note=x"], reason="x")
    with pytest.raises(CallError, match="twice"):
        parse_fields(["P=1", "pressure=2"])


def test_ingesting_the_same_file_again_does_not_undo_a_correction(archive: Archive, files: list[Path]) -> None:
    name = ids(archive)[0]
    archive.set(name, ["pressure=15.6 GPa"], reason="misread")
    said = [*SETTINGS, "pressure_method=measured"]
    same = archive.ingest(files, [*said, "pressure=15.1 ± 0.2 GPa"])
    assert (same.unchanged, same.conflicts, same.replaced) == (4, 0, 0)
    assert value(archive, name, "pressure") == 15.6
    # The sheet is put right too, as it was corrected here.
    right = archive.ingest(files[:1], [*SETTINGS, "pressure=15.6 GPa"])
    assert (right.unchanged, right.conflicts) == (1, 0)
    # A third value is a contradiction.
    third = archive.ingest(files[:1], [*said, "pressure=15.9 ± 0.2 GPa"])
    assert third.conflicts == 1


def test_a_replacement_keeps_what_was_corrected_unless_it_says_otherwise(archive: Archive, files: list[Path]) -> None:
    name = ids(archive)[0]
    archive.set(name, ["pressure=15.6 GPa"], reason="misread")
    sheet = [*SETTINGS, "pressure=15.1 ± 0.2 GPa", "pressure_method=measured", "medium=none"]
    assert archive.ingest(files[:1], sheet).conflicts == 1
    report = archive.ingest(files[:1], sheet, replace=True)
    assert report.replaced == 1
    assert any("corrected; the correction is kept: pressure 15.1 GPa -> 15.6 GPa" in p.message for p in report.problems)
    shown = archive.show(name)["spectrum"]
    assert (shown["revision"], shown["pressure"], shown["medium"]) == (2, 15.6, "none")
    assert archive.ingest(files[:1], sheet).unchanged == 1, "the same sheet again is nothing new"
    changed = [*SETTINGS, "pressure=15.3 GPa", "pressure_method=measured", "medium=none"]
    archive.ingest(files[:1], changed, replace=True)
    assert value(archive, name, "pressure") == 15.3


def test_the_fingerprint_of_the_conditions_follows_from_the_index(archive: Archive) -> None:
    """What tells edited rows from others: of one that was not edited, the index gives what was fingerprinted."""
    found = lookup(index_path(archive.location, archive.snapshot), ids(archive), [])
    assert all(check_number(conditions_sha256(row.columns)) == row.conditions for row in found)


def test_withdrawn_spectra_are_counted_and_come_back(archive: Archive, files: list[Path]) -> None:
    first, *rest = ids(archive)
    archive.withdraw(first, reason="beam lost")
    assert ids(archive) == rest
    with archive.ask("above 10 GPa") as answer:
        assert (answer.count, answer.withdrawn) == (3, 1)
    shown = archive.show(first)
    assert (shown["spectrum"]["status"], shown["events"][-1]["reason"]) == ("withdrawn", "beam lost")
    with pytest.raises(NotFound, match="withdrawn"):
        archive.curve(first)
    report = archive.ingest(files, [*SETTINGS, "pressure=15.1 ± 0.2 GPa", "pressure_method=measured"])
    assert report.unchanged == 4
    assert any("barospec restore" in problem.message for problem in report.problems)
    archive.reinstate(first, reason="it was not")
    assert set(ids(archive)) == {first, *rest}
    assert archive.reinstate(first, reason="again").edits == []


def test_words_of_withdrawn_spectra_stay_known(archive: Archive) -> None:
    archive.withdraw("Ni K", reason="all of them")
    with archive.ask("Ni K") as answer:
        assert (answer.count, answer.withdrawn) == (0, 4)
    assert len(archive.reinstate("Ni K", reason="none of them").edits) == 4


def test_a_mean_shows_its_scans_while_it_is_withdrawn(archive: Archive) -> None:
    archive.set("spectra", ["temperature=300 K"], reason="room")
    archive.merge("", pressure=1.0)
    (mean,) = ids(archive)
    report = archive.withdraw(mean, reason="scans differ")
    assert any("shown again" in note for note in report.notes)
    assert len(ids(archive)) == 4
    archive.reinstate(mean, reason="they do not")
    assert ids(archive) == [mean]


RUBY = {
    "technique": "xas", "edge": "Ni K", "run": "r", "sample": "s", "origin": "measured", "temperature": 300.0,
    "ruby_wavelength": 698.0, "ruby_reference": 694.24, "pressure_scale": "ruby Mao 1986",
}  # fmt: skip


def test_a_pressure_follows_the_ruby_line_it_came_from() -> None:
    told: list[str] = []
    first = corrected(RUBY, {"note": "x"}, told.append)
    # Mao, Xu and Bell 1986: P = 1904/7.665 ((698/694.24)^7.665 - 1).
    assert first["pressure"] == pytest.approx(1904 / 7.665 * ((698.0 / 694.24) ** 7.665 - 1), abs=1e-6)
    second = corrected(first, {"ruby_wavelength": 699.0}, told.append)
    assert second["pressure"] == pytest.approx(1904 / 7.665 * ((699.0 / 694.24) ** 7.665 - 1), abs=1e-6)
    stated = {**first, "pressure": 11.0}
    assert corrected(stated, {"ruby_wavelength": 699.0}, told.append)["pressure"] == 11.0, "what was stated stays"
    assert any("the stated one is kept" in message for message in told)


def test_a_thousand_spectra_are_corrected_in_one_commit(tmp_path: Path) -> None:
    archive = archive_of_rows(tmp_path / "m", 1000)
    before = len(archive.log())
    count = len(ids(archive, "pressure > 1 GPa"))
    report = archive.set("pressure > 1 GPa", ["temperature=77 K"], reason="sensor")
    assert len(report.edits) + report.unchanged == count > 500
    assert len(archive.log()) == before + 1
    assert len(ids(archive, "pressure > 1 GPa and temperature = 77 K")) == count
