"""The index follows from the store, whichever way it was made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import requires
from math import isnan
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.catalogs.index import build, database
from barospec.catalogs.index import files as index_files
from barospec.catalogs.index.files import folder, index_path
from barospec.catalogs.query.answer.answer import ask
from barospec.catalogs.query.answer.sql import Translator
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema, known_from
from barospec.catalogs.query.resolve.resolve import resolve

from .files_made import SETTINGS, write_columns

FIELDS = ("pressure", "temperature", "pressure_sigma", "step")
TABLES = ("spectra", "without_pressure", "field_values", "structures", "sites", "bonds", "literature", "runs", "events")
TABLES += ("saved",)


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with database.connect(path) as connection:
        return {name: sorted(database.values(connection, f"SELECT * FROM {name}"), key=repr) for name in TABLES}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 5), st.sampled_from(["run-1", "run-2"])),
        st.tuples(st.just("replace"), st.integers(0, 5), st.sampled_from(["run-1", "run-2"])),
        st.tuples(st.just("skip index"), st.just(0), st.just("")),
    ),
    min_size=1,
    max_size=7,
)


# All that replaying has to bridge, in one plan: commits without an index, rows replaced among them, a conflict.
BRIDGED = [
    ("add", 0, "run-1"), ("skip index", 0, ""), ("add", 1, "run-2"), ("skip index", 0, ""), ("replace", 0, "run-2"),
    ("replace", 1, "run-1"), ("add", 0, "run-1"),
]  # fmt: skip


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
@example(BRIDGED)
def test_replayed_index_equals_a_rebuilt_one(plan: list[tuple[str, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive.create(Path(folder) / "a")
        model: dict[int, tuple[str, float | None]] = {}
        skip = False
        for count, (verb, number, run) in enumerate(plan):
            if verb == "skip index":
                skip = True
                continue
            path = write_columns(Path(folder) / f"{number}.xdi", seed=number, points=60 + number)
            pressure = None if count % 5 == 0 else float(count)
            given_settings = [f"run={run}", *SETTINGS[1:], *([] if pressure is None else [f"pressure={pressure}"])]
            report = archive.ingest([path], given_settings, replace=verb == "replace")
            if number not in model or verb == "replace":
                model[number] = (run, pressure)
                assert report.ok
            else:
                assert report.conflicts == 1
            if skip and report.snapshot:
                # A killed publisher leaves a commit without an index; the next one bridges it.
                index_path(archive.location, report.snapshot).unlink()
                skip = False
        head = archive.location.head()
        replayed = content(build.publish(Store(archive.location), head))
        rebuilt = content(build.publish(Store(archive.location), head, rebuild=True))
        assert replayed == rebuilt
        found = archive.query().columns(["run", "pressure", "point_count"])
        rows = zip(found["point_count"], found["run"], found["pressure"], strict=True)
        assert {int(points) - 60: (run, None if isnan(p) else p) for points, run, p in rows} == model


def test_old_indexes_go_and_come_back_on_demand(empty: Archive, tmp_path: Path) -> None:
    heads = []
    for number in range(5):
        report = empty.ingest([write_columns(tmp_path / f"{number}.xdi", seed=number)], SETTINGS)
        heads.append(report.snapshot)
        if number == 0:
            assert report.snapshot
            Store(empty.location).tag("first", report.snapshot)
    kept = {path.name for path in folder(empty.location).glob("index-*.duckdb")}
    assert kept == {f"index-{head}.duckdb" for head in (heads[0], *heads[2:])}
    assert len(Archive(empty.location.root, at=heads[1]).query()) == 2
    assert len(Archive(empty.location.root, at="first").query()) == 1


def damaged_head(path: Path) -> None:
    path.write_bytes(b"not a database")


def damaged_block(path: Path) -> None:
    """A file that is recognized as DuckDB's, and in which nothing can be found."""
    held = path.read_bytes()
    path.write_bytes(held[:8192] + bytes(len(held) - 8192))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def of_another_kind(path: Path) -> None:
    other = path.with_name("other.duckdb")  # a path that is open in this process leads to what was opened
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE something_else AS SELECT 1 AS one")
    other.replace(path)


def written_by_a_newer_duckdb(path: Path) -> None:
    """The number of the storage version, at byte 12, is one that no DuckDB knows yet."""
    held = bytearray(path.read_bytes())
    held[12:20] = (10_000).to_bytes(8, "little")
    path.write_bytes(held)


UNUSABLE = [damaged_head, damaged_block, cut_short, of_another_kind, written_by_a_newer_duckdb]


@pytest.mark.parametrize("harm", UNUSABLE)
def test_an_index_that_cannot_be_opened_is_rebuilt(
    empty: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    path = index_path(empty.location, empty.location.head())
    whole = content(path)
    harm(path)
    assert [run["run"] for run in empty.runs()] == ["run-1"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path} cannot be ")
    assert content(path) == whole
    caplog.clear()
    assert [run["run"] for run in empty.runs()] == ["run-1"]
    assert not caplog.records
    # Nor does it stop a writer, or stay in its way.
    harm(path)
    assert empty.ingest([write_columns(tmp_path / "b.xdi", seed=2)], SETTINGS).added == 1
    assert len(empty.query()) == 2


@pytest.mark.parametrize("harm", UNUSABLE)
def test_beside_a_read_only_archive_it_is_rebuilt_in_the_cache(
    empty: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    path = index_path(empty.location, empty.location.head())
    harm(path)
    held = path.read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Tests may run as root, whom permissions do not stop.
    monkeypatch.setattr(index_files.os, "access", lambda path, mode: False)
    for _ in range(2):
        assert len(empty.query()) == 1
    (made,) = (tmp_path / "cache" / "barospec" / empty.location.uuid).rglob("index-*.duckdb")
    before = made.stat().st_mtime_ns
    assert len(empty.query()) == 1
    assert (path.read_bytes(), made.stat().st_mtime_ns) == (held, before)


def test_damage_that_shows_only_when_it_is_read_is_no_wrong_answer(empty: Archive, tmp_path: Path) -> None:
    files = [write_columns(tmp_path / f"{seed}.xdi", seed=seed) for seed in range(3)]
    empty.ingest(files, [*SETTINGS, "pressure=5 GPa"])
    right = {str(name) for name in empty.query().columns(["spectrum_id"])["spectrum_id"]}
    path = index_path(empty.location, empty.snapshot)
    whole, refused = path.read_bytes(), 0
    for offset in range(12_288, len(whole), 131_072):  # after the three headers
        part = tmp_path / "part"
        part.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x40]) + whole[offset + 1 :])
        part.replace(path)
        try:
            found = empty.query("pressure > 1 GPa").columns(["spectrum_id"])["spectrum_id"]
        except database.UnusableIndex:
            refused += 1
            empty.rebuild_index()
            found = empty.query("pressure > 1 GPa").columns(["spectrum_id"])["spectrum_id"]
        assert set(map(str, found)) == right
    assert refused


def test_index_files_have_the_storage_version_of_the_oldest_duckdb_allowed(empty: Archive, tmp_path: Path) -> None:
    declared = next(line for line in requires("barospec") or [] if line.startswith("duckdb"))
    oldest = declared.partition(">=")[2].partition(",")[0]
    major_minor = oldest.split(".")[:2]
    assert f"v{'.'.join(major_minor)}.0" == database.STORAGE
    empty.ingest(
        [write_columns(tmp_path / "a.xdi")], SETTINGS
    )  # replayed from the one that was built for the empty archive
    replayed = index_path(empty.location, empty.location.head())
    rebuilt = shutil.copyfile(empty.rebuild_index(), tmp_path / "rebuilt.duckdb")
    for path in (shutil.copyfile(replayed, tmp_path / "replayed.duckdb"), rebuilt):
        with duckdb.connect(str(path), read_only=True) as connection:
            sql = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
            assert connection.execute(sql).fetchall() == [(f"{database.STORAGE}+",)]


# What is in the wrong place, and what the message says of it.
WRONG_FILES = ("forged snapshot", "forged statement", "foreign", "older")


def wrong_file(kind: str, archive: Archive, older: Path, folder: Path) -> tuple[Path, str]:
    """An index file that opens, and is not that of the archive's newest snapshot; the archive has two spectra, one withdrawn."""
    if kind == "older":
        return older, "is of another snapshot"
    if kind == "foreign":
        other = Archive.create(folder / "other")
        other.ingest([write_columns(folder / "o.xdi", seed=9)], ["sample=other", *SETTINGS[:1], *SETTINGS[2:]])
        return index_path(other.location, other.snapshot), "is of another archive"
    source = older if kind == "forged snapshot" else index_path(archive.location, archive.snapshot)
    made = Path(shutil.copyfile(source, folder / "forged.duckdb"))
    with duckdb.connect(str(made)) as connection:
        if kind == "forged snapshot":
            connection.execute("UPDATE meta SET value = ? WHERE key = 'snapshot'", [archive.snapshot])
        else:  # a statement that lets queries skip what they should look at
            connection.execute("UPDATE meta SET value = 'yes' WHERE key = 'all_active'")
    return made, "was changed after it was made"


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("kind", WRONG_FILES)
def test_an_index_of_another_archive_or_snapshot_is_refused(
    kind: str, warm: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = Archive.create(tmp_path / "archive")
    archive.ingest([write_columns(tmp_path / f"{seed}.xdi", seed=seed) for seed in (1, 2)], SETTINGS)
    older = Path(shutil.copyfile(index_path(archive.location, archive.snapshot), tmp_path / "older.duckdb"))
    withdrawn, kept = sorted(map(str, archive.query().columns(["spectrum_id"])["spectrum_id"]))
    archive.withdraw(withdrawn, reason="a glitch")
    path = index_path(archive.location, archive.snapshot)
    wrong, said = wrong_file(kind, archive, older, tmp_path)
    if warm:
        assert len(archive.query()) == 1
    path.unlink()
    shutil.copyfile(wrong, path)
    states = [one.state for one in archive.doctor() if one.name == "index"]
    assert states == ["wrong"]
    caplog.clear()
    assert archive.query().columns(["spectrum_id"])["spectrum_id"].tolist() == [kept]
    (record,) = caplog.records
    assert said in record.getMessage()
    assert "\n" not in record.getMessage()
    assert [one.state for one in archive.doctor() if one.name == "index"] == ["ok"]
    with database.connect(path) as connection:
        assert database.values(connection, "SELECT count(*) FROM spectra WHERE status = 'withdrawn'") == [(1,)]
    # A writer that would replay it makes its own from the store as well.
    path.unlink()
    shutil.copyfile(wrong, path)
    archive.reinstate(withdrawn, reason="it was none")
    assert sorted(archive.query().columns(["spectrum_id"])["spectrum_id"].tolist()) == [withdrawn, kept]


def test_an_index_that_would_be_replayed_is_asked_whose_it_is(empty: Archive, tmp_path: Path) -> None:
    other = Archive.create(tmp_path / "other")
    other.ingest([write_columns(tmp_path / "o.xdi", seed=9)], ["sample=other", *SETTINGS[:1], *SETTINGS[2:]])
    before = index_path(empty.location, empty.snapshot)
    made = empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS).snapshot
    assert made
    index_path(empty.location, made).unlink()
    for wrong in (index_path(other.location, other.snapshot), None):
        if wrong is None:
            of_another_kind(before)
        else:
            before.unlink()
            shutil.copyfile(wrong, before)
        assert len(content(build.publish(Store(empty.location), made))["spectra"]) == 1
        index_path(empty.location, made).unlink()


def test_the_command_line_reports_it_on_stderr_only(empty: Archive, tmp_path: Path) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    damaged_head(index_path(empty.location, empty.snapshot))
    words = [sys.executable, "-m", "barospec.cli.main", "query", "", "--json", "-a", str(empty.location.place)]
    first, second = (subprocess.run(words, capture_output=True, text=True, check=True) for _ in range(2))
    assert json.loads(first.stdout)["count"] == 1
    assert first.stdout == second.stdout
    assert "rebuilt from the store" in first.stderr
    assert len(first.stderr.splitlines()) == 1
    assert second.stderr == ""


def test_a_read_only_archive_is_indexed_in_the_cache(
    empty: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    shutil.rmtree(empty.location.index)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Tests may run as root, whom permissions do not stop.
    monkeypatch.setattr(index_files.os, "access", lambda path, mode: False)
    assert len(empty.query()) == 1
    assert list((tmp_path / "cache" / "barospec" / empty.location.uuid).rglob("index-*.duckdb"))
    assert not empty.location.index.exists()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(FIELDS),
    st.sampled_from([">", ">=", "<", "<=", "=", "!="]),
    st.one_of(st.floats(0, 320), st.sampled_from([0.0001, 0.9, 10.0, 14.0, 14.3, 15.6, 25.0, 80.0, 300.0])),
    st.sampled_from(
        ["{}", "not ({})", "{} and run-2", "{} or line is missing", "({}) and pressure between 5 and 20 GPa"]
    ),
)
def test_what_the_index_knows_about_itself_changes_no_answer(
    sample: Archive, field: str, op: str, limit: float, frame: str
) -> None:
    text = frame.format(f"{field} {op} {limit}")
    with sample.connection() as connection:
        known = known_from(connection)
        assert known.reach["pressure"] > (0, 0)
        assert "run" in known.complete
        assert "pressure_before" in known.empty
        assert known.apart
        unaware = replace(known, reach={}, complete=frozenset(), empty=frozenset(), all_active=False, apart=False)
        with_help, without = (ask(connection, text, known=one) for one in (known, unaware))
        for name in ("count", "missing", "not_applicable", "withdrawn", "near_limit", "near_inside", "notes"):
            assert getattr(with_help, name) == getattr(without, name), name
        assert list(with_help.rows) == list(without.rows)
        assert (with_help.count, with_help.near_limit, with_help.near_inside) == _said_plainly(connection, text, known)


def _said_plainly(connection: Any, text: str, known: ArchiveSchema) -> tuple[int, int, int]:
    """Matching rows, rows near a limit, and those that are both: the condition in its three tempers, for every row."""
    translator = Translator(resolve(parse(text), known), replace(known, complete=frozenset(), empty=frozenset()))
    exact, loose, strict = (translator.condition(temper) for temper in ("exact", "loose", "strict"))
    inside, outside = f"{exact} AND NOT coalesce({strict}, FALSE)", f"NOT {exact} AND {loose}"
    counts = [f"count(*) FILTER (WHERE {test})" for test in (exact, f"{inside} OR {outside}", inside)]
    statement = translator.statement(f"SELECT {', '.join(counts)} FROM spectra WHERE {translator.searched()}")
    found: tuple[int, int, int] = connection.execute(statement.sql, statement.parameters).fetchall()[0]
    return found


def test_the_index_still_knows_after_replaced_rows(empty: Archive, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.xdi", seed=1)
    other = write_columns(tmp_path / "b.xdi", seed=2)
    empty.ingest([path], [*SETTINGS, "pressure=14.5 GPa", "pressure_sigma=0.1"])
    empty.ingest([other], [*SETTINGS, "pressure=10 GPa", "pressure_sigma=0.1"])
    with empty.ask("above 15 GPa") as found:
        assert (found.count, found.near_limit) == (0, 0)
    empty.ingest([path], [*SETTINGS, "pressure=14.5 GPa", "pressure_sigma=0.9"], replace=True)
    with empty.ask("above 15 GPa") as found:
        assert (found.count, found.near_limit) == (0, 1)
    empty.ingest([other], SETTINGS, replace=True)  # now without a pressure
    with empty.ask("above 1 GPa") as found:
        assert (found.count, found.missing) == (1, {"pressure": 1})
