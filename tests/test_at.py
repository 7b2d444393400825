"""``--at`` on every verb that reads: it answers as it did then, whatever came later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from barospec.api import Archive
from barospec.cli.main import app
from barospec.schemas.errors import NotFound

from .files_made import SETTINGS, write_columns
from .test_remote import call
from .test_versions import ids

# Verbs that write, or read no archive.
OTHERS = frozenset(
    "demo init ingest check sheet merge rescale_pressure operators import set withdraw restore doctor gc purge migrate save unsave "
    "flag unflag label unlabel note index".split()
)
RUN = "xas Ni K run = run-2"
CALLS: dict[str, list[str]] = {
    "query": ["query", f"{RUN} above 10 GPa", "--json"],
    "show": ["show", "ID", "--json"],
    "runs": ["runs", "--json"],
    "fields": ["fields", "--json"],
    "models": ["models", "--json"],
    "apply": ["apply", "normalize | white_line", f"{RUN} above 14 GPa", "--json"],
    "derive": ["derive", "--json"],
    "plot": ["plot", "conditions", RUN, "-o", "OUT/picture.png"],
    "series": ["series", "line", "normalize | white_line", RUN, "--json"],
    "catalog": ["catalog", "OUT/catalog.yaml", "--pin", "--entry", f"run={RUN}"],
    "share": ["share", f"{RUN} above 14 GPa", "OUT/bundle"],
    "export": ["export", f"{RUN} above 14 GPa", "OUT/exported", "--format", "csv"],
    "log": ["log", "--json"],
    "diff": ["diff", "FIRST", "--json"],
    "tag": ["tag", "--json"],
    "saved": ["saved", "--json"],
    "settings": ["settings", "--json"],
    "verify": ["verify", "--json"],
}


def test_every_verb_that_reads_takes_it() -> None:
    group = typer.main.get_command(app)
    options = {name: {option.name for option in verb.params} for name, verb in group.commands.items()}  # type: ignore[attr-defined]
    reading = {name for name, held in options.items() if {"archive", "as_json"} <= held} - OTHERS
    assert reading >= CALLS.keys() - {"plot", "catalog"}
    assert {name for name in reading if "at" not in options[name]} == set()
    assert {name for name in CALLS if "at" not in options[name]} == set()


def answers(archive: Path, out: Path, at: list[str]) -> dict[str, str]:
    """What each verb prints or writes; the places and the tags of today are not part of it."""
    out.mkdir()
    first = Archive(archive).log()[-1].snapshot
    found = {}
    identifier = ids(Archive(archive, at=at[1] if at else None), RUN)[0]
    for verb, words in CALLS.items():
        put: Callable[[str], str] = lambda word: word.replace("OUT", str(out)).replace("FIRST", first)  # noqa: E731
        chosen = [identifier if word == "ID" else put(word) for word in words]
        code, told, wrong = call(*chosen, "--archive", str(archive), *at)
        assert code == 0, (verb, wrong)
        if verb in ("log", "tag"):
            told = json.dumps([{k: v for k, v in row.items() if k != "tags"} for row in json.loads(told)["rows"]])
            told = "" if verb == "tag" else told
        if verb == "verify":
            told = json.dumps(json.loads(told)["checked"]["spectra"])
        found[verb] = told.replace(str(out), "OUT")
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        found[name] = path.read_bytes().hex()
    return found


def test_it_answers_as_it_did_then(sample_path: Path, tmp_path: Path) -> None:
    root = tmp_path / "a"
    shutil.copytree(sample_path, root)
    archive = Archive(root)
    archive.derive("normalize | white_line", f"{RUN} above 14 GPa")
    archive.save("high", "above 14 GPa", replace=True)
    then = answers(root, tmp_path / "then", [])
    named = archive.tag("v1").snapshot
    chosen = ids(archive, RUN)
    archive.set(chosen[0], ["pressure=39 GPa"], reason="x")
    archive.withdraw(chosen[1], reason="x")
    archive.save("high", "above 25 GPa", replace=True)
    archive.configure({"title": "another"})
    archive.flag(chosen[2], "bad", "glitch")
    archive.ingest([write_columns(tmp_path / "new.dat")], [*SETTINGS, "pressure=33 GPa"])
    now = answers(root, tmp_path / "now", ["--at", "v1"])
    differ = [name for name in then if now.get(name) != then[name]]
    assert differ == []
    assert now.keys() == then.keys()
    later = call("query", f"{RUN} above 10 GPa", "--json", "--archive", str(root))[1]
    assert later != then["query"]
    # By its beginning, and in Python.
    assert call(*CALLS["query"], "--archive", str(root), "--at", named[:8])[1] == then["query"]
    assert len(Archive(root, at=named).query(RUN)) == len(chosen)
    with pytest.raises(NotFound, match="Tags: v1"):
        Archive(root, at="v9").query(RUN)
