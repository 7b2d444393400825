"""The index follows from the store, whichever way it was made."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from barospec.api import Archive
from barospec.archive.store import Store
from barospec.catalogs import index
from barospec.catalogs.answer import ask
from barospec.catalogs.known import Known, known_from
from barospec.catalogs.language import parse
from barospec.catalogs.resolve import resolve
from barospec.catalogs.sql import Translator
from barospec.schemas.errors import StoreError

from .files_made import SETTINGS, write_columns

FIELDS = ("pressure", "temperature", "pressure_sigma", "step")
TABLES = ("spectra", "without_pressure", "field_values", "structures", "sites", "bonds", "literature", "runs", "events")
TABLES += ("saved",)


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with index.connect(path) as connection:
        return {name: sorted(index.values(connection, f"SELECT * FROM {name}"), key=repr) for name in TABLES}


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
                index.index_path(archive.location, report.snapshot).unlink()
                skip = False
        head = archive.location.head()
        replayed = content(index.publish(Store(archive.location), head))
        rebuilt = content(index.publish(Store(archive.location), head, rebuild=True))
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
    kept = {path.name for path in index.folder(empty.location).glob("index-*.duckdb")}
    assert kept == {f"index-{head}.duckdb" for head in (heads[0], *heads[2:])}
    assert len(Archive(empty.location.root, at=heads[1]).query()) == 2
    assert len(Archive(empty.location.root, at="first").query()) == 1


def test_a_damaged_index_says_how_to_mend_it(empty: Archive) -> None:
    path = index.index_path(empty.location, empty.location.head())
    path.write_bytes(b"not a database")
    with pytest.raises(StoreError, match="barospec index rebuild"):
        empty.runs()
    empty.rebuild_index()
    assert empty.runs() == []


def test_a_read_only_archive_is_indexed_in_the_cache(
    empty: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    shutil.rmtree(empty.location.index)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Tests may run as root, whom permissions do not stop.
    monkeypatch.setattr(index.os, "access", lambda path, mode: False)
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


def _said_plainly(connection: Any, text: str, known: Known) -> tuple[int, int, int]:
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
