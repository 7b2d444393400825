"""The command line: results on stdout and nothing else, exit codes, every verb documented."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import typer

from barospec import Archive
from barospec.cli._output import plain, write_object
from barospec.cli.main import _called, app

from .files_made import SETTINGS, write_columns
from .realdata import REALDATA, needs_realdata

ROOT = Path(__file__).parents[1]


def call(*words: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a person does."""
    command = [sys.executable, "-W", "error", "-m", "barospec.cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, check=False)


def commands() -> list[str]:
    group = typer.main.get_command(app)
    return sorted(group.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", commands())
def test_every_verb_has_help_and_is_documented(verb: str) -> None:
    done = call(verb, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 5
    assert f"`{verb}" in (ROOT / "docs" / "cli.md").read_text()


READING = {
    "query": ["query", "all runs above 14 GPa"],
    "query spectra": ["query", "xas Ni K sorted by pressure"],
    "runs": ["runs"],
    "fields": ["fields"],
    "apply": ["apply", "edge_energy(ensemble=0)", "xas Ni K run = run-2"],
    "log": ["log"],
    "operators": ["operators"],
}


@pytest.mark.parametrize("name", READING)
def test_json_is_one_object_and_stdout_nothing_else(name: str, sample_path: Path) -> None:
    archive = [] if name == "operators" else ["--archive", str(sample_path)]
    done = call(*READING[name], *archive, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["count"] == len(found["rows"]) > 0
    if name != "operators":
        assert len(found["snapshot"]) == 20
        assert isinstance(found["missing"], dict)
        assert isinstance(found["units"], dict)


def test_all_runs_above_14_gpa(sample_path: Path) -> None:
    done = call("query", "all runs above 14 GPa", "--archive", sample_path, "--json")
    found = json.loads(done.stdout)
    rows = {row["run"]: row for row in found["rows"]}
    assert set(rows) == {"run-2", "run-3", "run-5", "run-6", "NiO"}
    for row in rows.values():
        assert 0 < row["matched"] <= row["of"]
        assert row["pressure_min"] > 14
        assert row["pressure_max"] >= row["pressure_min"]
    assert found["missing"] == {"pressure": 19}
    assert found["units"]["pressure_min"] == "GPa"
    assert {row["run"] for row in found["unlisted"]} == {
        "run-1",
        "run-4",
        "calculated-clusters",
        "calculated-references",
    }


def test_show_prints_everything_and_a_picture(sample: Archive, sample_path: Path) -> None:
    identifier = str(sample.query("run = run-2", limit=1).columns(["spectrum_id"])["spectrum_id"][0])
    done = call("show", identifier[:10], "--archive", sample_path, "--header")
    assert done.returncode == 0, done.stderr
    for word in (
        identifier,
        "SYNTHETIC",
        "run-2_SYNTHETIC.h5",
        "0.9 GPa",
        "sha256",
        "silicone oil",
        "⠒",
        "⡇",
        "eV, from",
    ):
        assert word in done.stdout
    found = json.loads(call("show", identifier, "--archive", sample_path, "--json").stdout)
    assert found["rows"][0]["spectrum_id"] == identifier
    assert found["units"]["pressure"] == "GPa"


def test_csv_and_parquet_hold_the_same(sample_path: Path, tmp_path: Path) -> None:
    text = "La L3 sorted by pressure"
    rows = list(csv.DictReader(io.StringIO(call("query", text, "-a", sample_path, "--csv").stdout)))
    done = call("query", text, "-a", sample_path, "--parquet", tmp_path / "t.parquet")
    assert done.returncode == 0, done.stderr
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT spectrum_id, pressure FROM read_parquet(?)", [str(tmp_path / "t.parquet")]
        ).fetchall()
    assert [(row["spectrum_id"], float(row["pressure"])) for row in rows] == found
    assert len(found) == 9


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["query", "runs abuve 14 GPa"], 2, "above"),
        (["query", "presure > 14"], 2, "pressure"),
        (["query", "Ni K above 14 K"], 0, ""),
        (["query", "pressure > 14 K"], 2, "temperature"),
        (["query", "Fe K"], 2, "Ni K"),
        (["show", "zzzz"], 1, "no spectrum_id begins"),
        (["apply", "edge_enrgy"], 1, "edge_energy"),
        (["apply", "edge_energy(fracton=0.5)"], 2, "fraction"),
        (["apply", "edge_energy", "xes"], 1, "xas"),
        (["ingest", "nothing.yaml"], 1, "no such file"),
        (["ingest", "x.xdi", "--set", "presure=3"], 2, "pressure"),
        (["query", "spectra", "--at", "v9"], 1, "no tag, snapshot or date"),
        (["query", "spectra", "--json", "--csv"], 2, "choose one"),
        (["plot", "spectra", "La L3", "-o", "x.bmp"], 2, ".png"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_mistakes_end_in_a_message_and_the_right_exit_code(
    words: list[str], code: int, said: str, sample_path: Path, tmp_path: Path
) -> None:
    done = call(*words, cwd=tmp_path, BAROSPEC_ARCHIVE=str(sample_path))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 25
    if code == 2:
        assert done.stdout == ""


def test_no_archive_names_the_next_command(tmp_path: Path) -> None:
    done = call("query", "all runs", cwd=tmp_path, BAROSPEC_ARCHIVE="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "barospec init" in done.stderr


def test_ingest_and_check_tell_what_they_did(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.xdi")
    (tmp_path / "bad.xdi").write_text("no data")
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    checked = call("check", tmp_path / "a.xdi", tmp_path / "bad.xdi", *sets)
    assert checked.returncode == 1
    assert "1 spectrum can be ingested, 1 refused" in checked.stdout
    assert "bad.xdi" in checked.stderr
    assert call("init", tmp_path / "arc").returncode == 0
    done = call("ingest", tmp_path / "a.xdi", "-a", tmp_path / "arc", *sets, "--json")
    assert (done.returncode, json.loads(done.stdout)["added"]) == (0, 1)
    again = call("ingest", tmp_path / "a.xdi", "-a", tmp_path / "arc", *sets)
    assert again.returncode == 0
    assert "Nothing new: 1 already in the archive" in again.stdout


def test_a_closed_pipe_is_no_error(sample_path: Path) -> None:
    command = f"{sys.executable} -m barospec.cli.main query spectra -a {sample_path} --csv | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_demo_walks_through(tmp_path: Path) -> None:
    done = call("demo", "d", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "$ barospec query 'all runs above 14 GPa' --archive d" in done.stdout
    assert "106 added" in done.stdout
    assert "intake.open_catalog" in done.stdout
    for picture in ("edge-shift.png", "conditions.png"):
        assert (tmp_path / "d" / "pictures" / picture).stat().st_size > 10_000
    again = call("demo", "d", cwd=tmp_path)  # a second walk finds all in place
    assert again.returncode == 0, again.stderr
    assert "Nothing new" in again.stdout


def test_json_of_strange_values() -> None:
    out = io.StringIO()
    write_object({"a": float("nan")}, ["x"], [[float("inf")], ["β\n"], [None]], out)
    assert json.loads(out.getvalue()) == {"a": None, "rows": [{"x": None}, {"x": "β\n"}, {"x": None}]}
    assert plain({"k": (1, 2.5, "x")}) == {"k": [1, 2.5, "x"]}


@needs_realdata
def test_real_files_give_the_edge_energies_of_facts_json(tmp_path: Path) -> None:
    facts = json.loads((REALDATA / "facts.json").read_text())
    call("init", tmp_path / "a")
    xdi = call(
        "ingest", REALDATA / "xdi", "-a", tmp_path / "a", "--set", "run=library", "--set", "origin=measured", "--json"
    )
    found = json.loads(xdi.stdout)
    assert (found["added"], found["refused"], xdi.returncode) == (11, 1, 1)  # nonxafs_1d.xdi is no spectrum
    bliss = call(
        "ingest", REALDATA / "bliss" / "id24_laser_heated_Fe.h5", "-a", tmp_path / "a", "--set", "run=id24", "--set", "origin=measured",
        "--set", "sample=Fe", "--set", "technique=xas", "--set", "edge=Fe K", "--json",
    )  # fmt: skip
    assert (json.loads(bliss.stdout)["added"], bliss.returncode) == (1, 0)
    rows = json.loads(call("apply", "edge_energy", "xas", "-a", tmp_path / "a", "--json").stdout)["rows"]
    expected = {
        name.removeprefix("xdi/"): fact["e_08"]
        for name, fact in facts.items()
        if name.startswith("xdi/") and "e_08" in fact
    }
    expected["id24_laser_heated_Fe.h5"] = facts["bliss/id24_laser_heated_Fe.h5"]["spectra"]["39.1"]["e_08"]
    compared = {row["source_file"]: row["edge_energy"] for row in rows}
    assert set(expected) <= set(compared)
    for name, value in expected.items():
        assert compared[name] == pytest.approx(value, abs=0.002), name


def test_at_answers_as_of_then(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a")
    first = archive.ingest([write_columns(tmp_path / "one.xdi", seed=1)], [*SETTINGS, "pressure=1"]).snapshot
    archive.ingest([write_columns(tmp_path / "two.xdi", seed=2)], [*SETTINGS, "pressure=2"])
    assert first is not None
    for at, count in ((None, 2), (first, 1), (first[:8], 1), ("2999-01-01", 2)):
        option = ["--at", at] if at else []
        for verb in (["query", "spectra"], ["apply", "edge_energy(ensemble=0)"]):
            found = json.loads(call(*verb, "-a", tmp_path / "a", "--json", *option).stdout)
            assert found["count"] == count, (verb, at)
    assert len(json.loads(call("log", "-a", tmp_path / "a", "--json", "--at", first).stdout)["rows"]) == 2


def test_a_process_builds_the_verb_that_is_called_and_no_other() -> None:
    every = [verb.name for verb in app.registered_commands]
    for name in every:
        called = _called([str(name), "--help"])
        assert [verb.name for verb in called.registered_commands] == [name]
    assert [verb.name for verb in app.registered_commands] == every
    for words in ([], ["--help"], ["querry"], ["index"]):
        assert _called(words) is app
