"""Queries saved under a name: kept with the archive, checked, versioned, usable everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import intake
import pytest

from barospec import Archive
from barospec.schemas.errors import CallError, Conflict, NotFound, QueryError

from .files_made import SETTINGS, write_columns

COLD = "La3Ni2O7 above 14 GPa below 80 K"


@pytest.fixture
def own(sample_path: Path, tmp_path: Path) -> Archive:
    """A copy of the sample archive that the test may write to."""
    shutil.copytree(sample_path, tmp_path / "archive")
    return Archive(tmp_path / "archive")


def ids(archive: Archive, text: str) -> list[str]:
    """What a query finds."""
    return sorted(archive.query(text).columns(["spectrum_id"])["spectrum_id"])


def test_a_saved_query_stands_for_its_text(own: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAROSPEC_ACTOR", "ada")
    record = own.save("cold", COLD, reason="where resistance vanishes")
    assert record.query == "material = La3Ni2O7 and pressure > 14 GPa and temperature < 80 K"
    assert (record.text, record.author, record.reason, record.revision) == (COLD, "ada", "where resistance vanishes", 1)
    assert ids(own, "@cold") == ids(own, COLD) != []
    assert ids(own, "@cold and run-2") == ids(own, f"{COLD} and run-2")
    assert len(own.query("@cold", run="run-3")) == len(own.query(f"{COLD} run = run-3"))
    assert [saved.name for saved in own.saved()] == ["cold"]
    newest = own.log(1)[0]
    assert (newest.metadata["verb"], newest.metadata["actor"]) == ("save", "ada")
    assert newest.message == f"query @cold saved: {record.query}"


def test_runs_stay_runs_and_orders_stay(own: Archive) -> None:
    own.save("high", "runs above 14 GPa")
    own.save("newest", "xas Ni K sorted by pressure descending limit 3")
    with own.ask("@high") as answer, own.ask("runs above 14 GPa") as same:
        assert answer.noun == "runs"
        assert list(answer.rows) == list(same.rows)
    with own.ask("@newest") as answer:
        assert len(list(answer.rows)) == 3
    with pytest.raises(QueryError, match="has a limit"):
        own.query("@newest and run-2")


def test_one_query_on_top_of_another_follows_it(own: Archive) -> None:
    own.save("cold", COLD)
    outer = own.save("cold_nickel", "@cold and xas Ni K")
    assert outer.query.startswith("@cold and ")
    own.save("cold", "La3Ni2O7 above 20 GPa below 80 K", replace=True)
    assert ids(own, "@cold_nickel") == ids(own, "La3Ni2O7 above 20 GPa below 80 K xas Ni K") != []


def test_what_would_break_is_refused_and_nothing_is_written(own: Archive) -> None:
    own.save("cold", COLD)
    own.save("cold_nickel", "@cold Ni K")
    head = own.snapshot
    with pytest.raises(QueryError, match=r"refers to itself: @cold -> @cold_nickel -> @cold"):
        own.save("cold", "@cold_nickel", replace=True)
    with pytest.raises(QueryError, match=r"refers to itself|no saved query"):
        own.save("self", "@self")
    with pytest.raises(Conflict, match="@cold_nickel is built on @cold and would break"):
        own.save("cold", "Ni K limit 5", replace=True)
    with pytest.raises(Conflict, match="used by @cold_nickel"):
        own.unsave("cold")
    with pytest.raises(Conflict, match=r"saved already, by .* as: material"):
        own.save("cold", "Ni K")
    with pytest.raises(Conflict, match="only by case"):
        own.save("Cold", "Ni K")
    with pytest.raises(QueryError, match="abuve"):
        own.save("typo", "Ni K abuve 14 GPa")
    with pytest.raises(QueryError, match="query is empty"):
        own.save("nothing", "")
    for name in ("", "14GPa", "a b", "@cold", "x" * 65, "run/2"):
        with pytest.raises(CallError, match="not a valid name"):
            own.save(name, "Ni K")
    with pytest.raises(NotFound, match="Did you mean cold"):
        own.unsave("colt")
    assert own.snapshot == head


def test_the_same_meaning_again_writes_nothing(own: Archive) -> None:
    own.save("cold", COLD)
    head = own.snapshot
    own.save("cold", "below 80 K above 140 kbar La3Ni2O7", replace=True)  # another order is another text
    assert own.snapshot != head
    head = own.snapshot
    assert own.save("cold", "temperature < 80 K and pressure > 14 GPa and material = La3Ni2O7").revision == 2
    assert own.snapshot == head


def test_removing_is_a_commit_and_the_past_keeps_it(own: Archive) -> None:
    own.save("cold", COLD)
    before = own.snapshot
    count = len(own.query("@cold"))
    removed = own.unsave("cold", reason="not needed")
    assert (removed.status, removed.revision, own.saved()) == ("removed", 2, [])
    with pytest.raises(QueryError, match="no saved query @cold"):
        own.query("@cold")
    past = Archive(own.location.root, at=before)
    assert len(past.query("@cold")) == count
    assert [saved.name for saved in past.saved()] == ["cold"]
    assert [(s.revision, s.status, s.reason) for s in own.saved(history=True)] == [
        (2, "removed", "not needed"),
        (1, "active", ""),
    ]
    assert own.save("cold", "Ni K").revision == 3
    with pytest.raises(CallError, match="earlier state"):
        past.save("warm", "Ni K")


def test_meaning_does_not_drift_when_words_get_a_second_one(empty: Archive, tmp_path: Path) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi", seed=1)], ["sample=NiO", "run=r-1", "origin=measured"])
    record = empty.save("oxide", "NiO")
    before = ids(empty, "@oxide")
    empty.ingest([write_columns(tmp_path / "b.xdi", seed=2)], ["sample=other", "run=NiO", "origin=measured"])
    assert record.query in ("sample = NiO", "material = NiO")
    assert ids(empty, "@oxide") == before


def test_saved_queries_survive_a_rebuilt_index(own: Archive) -> None:
    own.save("cold", COLD)
    found = ids(own, "@cold")
    shutil.rmtree(own.location.index)
    assert ids(Archive(own.location.root), "@cold") == found


def test_saved_queries_become_catalog_entries(own: Archive, tmp_path: Path) -> None:
    own.save("cold-ni", f"{COLD} xas Ni K")
    own.save("run-2", "run-2 above 14 GPa")  # the name that the run's own entry has
    own.save("high", "runs above 20 GPa")
    own.save("oxides", "structures of NiO")
    written = own.catalog(tmp_path / "c.yaml")
    assert {"cold_ni", "saved_run_2", "run_2", "high"} <= set(written)
    assert "oxides" not in written  # structures are no spectra
    catalog = intake.open_catalog(str(tmp_path / "c.yaml"))
    assert catalog["cold_ni"].read().sizes["spectrum"] == len(own.query("@cold-ni"))
    assert catalog["saved_run_2"].read().sizes["spectrum"] < catalog["run_2"].read().sizes["spectrum"]


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "barospec.cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)


def test_verbs(own: Archive) -> None:
    where = ("--archive", own.location.root)
    assert call("saved", *where).stdout == ""
    done = call("save", "cold", COLD, "--reason", "zero resistance", *where)
    assert (done.returncode, done.stdout.startswith("@cold saved: material = La3Ni2O7")) == (0, True), done.stderr
    assert "nothing was changed" in call("save", "cold", COLD, *where).stdout
    again = call("save", "cold", "Ni K", *where)
    assert (again.returncode, again.stdout) == (1, "")
    assert "--replace" in again.stderr
    assert call("save", "cold", "Ni K abuve 3 GPa", "--replace", *where).returncode == 2
    listed = call("saved", *where).stdout
    assert "zero resistance" in listed
    assert "material = La3Ni2O7 and pressure > 14 GPa and temperature < 80 K" in listed
    found = json.loads(call("saved", "--json", *where).stdout)
    count = json.loads(call("query", "@cold", "--json", *where).stdout)["count"]
    assert (found["count"], found["rows"][0]["count"]) == (1, count)
    assert call("unsave", "@cold", *where).returncode == 0
    assert call("unsave", "cold", *where).returncode == 1
    assert "removed" in call("saved", "--history", *where).stdout


def test_a_query_whose_values_are_gone_says_which(empty: Archive, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.xdi", seed=1)
    empty.ingest([path], [*SETTINGS, "medium=silicone oil"])
    empty.save("oil", 'medium = "silicone oil"')
    empty.ingest([path], [*SETTINGS, "medium=none"], replace=True)
    with pytest.raises(QueryError, match="saved query @oil"):
        empty.query("@oil")
    done = call("saved", "--archive", empty.location.root)
    assert done.returncode == 0
    assert "@oil" in done.stdout
    assert "silicone oil" in done.stderr


def test_explain_writes_a_saved_query_out(own: Archive) -> None:
    own.save("cold", COLD)
    done = call("query", "@cold and run-2", "--explain", "--archive", own.location.root)
    assert done.returncode == 0, done.stderr
    for part in ("understood as", "  material = La3Ni2O7", "$p0 = 'La3Ni2O7'", "reads ", "columns of spectra"):
        assert part in done.stdout
    assert "@cold" not in done.stdout
    assert len(done.stdout.splitlines()) < 40
