"""``--at`` on every verb that reads: it answers as it did then, whatever came later."""

from __future__ import annotations

import typer

from barospec.cli.main import app

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
