"""``--at`` on every verb that reads: it answers as it did then, whatever came later."""

from __future__ import annotations

import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import intake
import pytest
import typer

from barospec import Archive
from barospec.cli.main import app, run
from barospec.sample_data import RAW
from barospec.schemas.errors import NotFound

from .files_made import SETTINGS, write_columns
from .test_versions import ids

SHEET = """structures:
  - {structure_id: s1, material: NiO, space_group: Fm-3m, a: 4.18, source: test, pressure: 0.0001, temperature: 300}
"""
# Verbs that write, or read no archive.
OTHERS = frozenset(
    "demo init ingest check sheet merge rescale_pressure operators import set withdraw restore doctor gc purge migrate save unsave "
    "flag unflag label unlabel note index".split()
)
ELSEWHERE = {"verify"}  # in test_verify: it takes long
RUN = "xas Ni K run = run-2"
HIGH = f"{RUN} above 9 GPa"
BOTH = "2: material = NiO run = ambient; 3: material = LaNiO3 run = ambient"
# Verb and a word -> the call. ID is a spectrum, FIRST the first snapshot, OUT a folder whose files are part of the answer.
CALLS: dict[str, list[str]] = {
    "query": ["query", f"{RUN} above 10 GPa", "--json"],
    "query runs": ["query", "all runs above 14 GPa", "--json"],
    "query stored": ["query", "white_line > 8340 eV", "--csv"],
    "query saved": ["query", "@high", "--csv"],
    "query labels": ["query", "labels contains fig2", "--json"],
    "query parquet": ["query", RUN, "--parquet", "OUT/found.parquet"],
    "query structures": ["query", "structures of NiO", "--json"],
    "show": ["show", "ID", "--json"],
    "show why": ["show", "ID", "--why", "white_line", "--json"],
    "runs": ["runs", "--json"],
    "fields": ["fields", "--json"],
    "models": ["models", "--json"],
    "models outputs": ["models", "La4Ni3O10", "--outputs"],
    "apply": ["apply", "normalize | white_line", HIGH, "--json"],
    "derive": ["derive", "--json"],
    "plot conditions": ["plot", "conditions", RUN, "-o", "OUT/picture.svg"],
    "plot spectra": ["plot", "spectra", HIGH, "-o", "OUT/spectra.svg"],
    "series": ["series", "line", "normalize | white_line", RUN, "--json"],
    "valences": ["valences", "La3Ni2O7 run = ambient", "--references", BOTH, "--low", "8318", "--high", "8340", "--json"],
    "catalog": ["catalog", "OUT/catalog.yaml", "--entry", f"run={RUN}"],
    "share": ["share", HIGH, "OUT/bundle", "--with", "normalize | white_line"],
    "export": ["export", HIGH, "OUT/exported", "--format", "csv"],
    "log": ["log", "--json"],
    "diff": ["diff", "FIRST", "--json"],
    "tag": ["tag", "--json"],
    "saved": ["saved", "--json"],
    "settings": ["settings", "--json"],
}  # fmt: skip
# What has to be another answer after all that `change` does.
CHANGED = "query, query runs, query stored, query saved, query labels, query parquet, query structures, show, show why, runs, fields, models, apply, derive, plot conditions, plot spectra, series, valences, share, export, log, diff, tag, saved, settings"  # fmt: skip


def call(*words: str) -> tuple[int, str, str]:
    """Run the command in this process: exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["barospec", *words])
        try:
            run()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def options() -> dict[str, set[str | None]]:
    group = typer.main.get_command(app)
    return {name: {option.name for option in verb.params} for name, verb in group.commands.items()}  # type: ignore[attr-defined]


def test_every_verb_that_reads_takes_it() -> None:
    given = options()
    reading = {name for name, held in given.items() if {"archive", "as_json"} <= held} - OTHERS
    assert {name for name in reading if "at" not in given[name]} == set()
    assert {name for name, held in given.items() if "at" in held} == {words[0] for words in CALLS.values()} | ELSEWHERE


def answers(archive: Path, out: Path, at: list[str], *, only: str = "") -> dict[str, str]:
    """What each verb prints and the files it writes."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    first = Archive(archive).log()[-1].snapshot
    named = Archive(archive).identify(str(out.parent.joinpath("id").read_text()))
    found = {}
    for name, words in CALLS.items():
        if only and name != only:
            continue
        put = [word.replace("OUT", str(out)).replace("FIRST", first).replace("ID", named) for word in words]
        code, told, wrong = call(*put, "--archive", str(archive), *at)
        assert code == 0, (name, wrong)
        if words[0] in ("log", "tag"):  # tags are names from outside: they tell of those of today
            told = json.dumps([{k: v for k, v in row.items() if k != "tags"} for row in json.loads(told)["rows"]])
        if words[0] == "catalog":  # with --at its entries are held there; without, they follow the archive
            path = out / "catalog.yaml"
            told = str(intake.open_catalog(str(path))["run"].read().spectrum_id.values.tolist())
            path.unlink()
        found[name] = told.replace(str(out), "OUT")
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        found[path.relative_to(out).as_posix()] = path.read_bytes().hex()
    return found


@pytest.fixture(scope="module")
def root(sample_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample archive with something of each kind on top."""
    root = Path(shutil.copytree(sample_path, tmp_path_factory.mktemp("at") / "a"))
    archive = Archive(root)
    archive.derive("normalize | white_line", HIGH)
    archive.save("high", "above 14 GPa", replace=True)
    for name in ids(archive, HIGH):
        archive.label(name, "fig2")
    (root.parent / "id").write_text(ids(archive, HIGH)[0])
    return root


def change(archive: Archive, folder: Path) -> None:
    """One of each change."""
    first, second, third = ids(archive, HIGH)[:3]
    archive.tag("later")
    archive.set(first, ["pressure=39 GPa"], reason="x")
    archive.set("xas Ni K run = ambient", ["energy_shift=0.5 eV"], reason="x")
    archive.withdraw(second, reason="x")
    archive.withdraw("run = run-3", reason="x")
    archive.save("high", "above 25 GPa", replace=True)
    archive.configure({"title": "another"})
    archive.flag(third, "bad", "glitch")
    archive.unlabel(third, "fig2")
    archive.refresh("white_line")
    archive.ingest([write_columns(folder / "new.dat")], [*SETTINGS, "pressure=33 GPa"])
    sheet = folder / "sheet.yaml"
    sheet.write_text(SHEET)
    models = folder / "models.yaml"
    models.write_text((RAW / "models" / "La4Ni3O10.yaml").read_text().replace("J_ZZ, value: 0.66", "J_ZZ, value: 0.67"))
    assert archive.ingest([models], replace=True).replaced == 1
    report = archive.ingest([sheet])
    assert report.ok, report.problems


def test_it_answers_as_it_did_then(root: Path, tmp_path: Path) -> None:
    out = root.parent / "out"
    archive = Archive(root)
    then = answers(root, out, [])
    named = archive.snapshot
    assert archive.tag("v1").snapshot == named
    moment = datetime.now(UTC).isoformat()
    tags = answers(root, out, ["--at", "v1"], only="tag")["tag"]
    change(archive, tmp_path)
    found = answers(root, out, ["--at", "v1"])
    assert [name for name in then if name != "tag" and found.get(name) != then[name]] == []
    assert found.keys() == then.keys()
    assert found["tag"] == tags, "the tag of a later state is not listed"
    for name in ("query", "runs", "show", "derive", "saved", "settings", "models", "fields"):
        for at in (named, named[:8]):
            assert answers(root, out, ["--at", at], only=name)[name] == then[name], (name, at)
        # At that moment there was one commit more, that of the tag itself.
        told, was = (json.loads(each) for each in (answers(root, out, ["--at", moment], only=name)[name], then[name]))
        assert told | {"snapshot": ""} == was | {"snapshot": ""}, name
    now = answers(root, out, [])
    assert [name for name in CHANGED.split(", ") if now.get(name) == then[name]] == []


def test_a_state_that_is_not_there(root: Path) -> None:
    with pytest.raises(NotFound, match="Tags: "):
        Archive(root, at="v9").query(RUN)
    code, told, wrong = call("query", RUN, "--archive", str(root), "--at", "1999-01-01")
    assert (code, told) == (1, "")
    assert "1999-01-01" in wrong
