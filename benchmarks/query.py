"""Queries over a million rows, against the floor: typer and DuckDB with the same SQL and nothing else."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from barospec.archive.store import Store
from barospec.catalogs import index
from barospec.catalogs.answer import ask
from benchmarks.record import Result, alternating
from benchmarks.rows import add_rows, archive_of_rows

ROWS = 1_000_000
QUESTIONS = (
    "all runs above 39.9 GPa",
    "Ni K spectra between 10 and 10.01 GPa below 80 K",
    "xas of NiO pressure > 399 kbar and run in (run-2, run-3, run-1500)",
)

FLOOR = """
import json, sys
import duckdb, typer
app = typer.Typer(add_completion=False)
@app.command()
def query(path: str, statement: str) -> None:
    known = json.loads(statement)
    with duckdb.connect(path, read_only=True) as connection:
        result = connection.execute(known["sql"], known["parameters"])
        names = [column[0] for column in result.description]
        rows = [dict(zip(names, row)) for row in result.fetchall()]
    json.dump({"count": len(rows), "rows": rows}, sys.stdout, default=str)
app()
"""


def run(folder: Path | None = None, rows: int = ROWS) -> list[Result]:
    """Cold, warm and refresh, as ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        return _run((folder or Path(temporary)) / f"rows-{rows}", rows)


def _run(path: Path, rows: int) -> list[Result]:
    archive = archive_of_rows(path, rows)
    file = index.index_path(archive.location, archive.snapshot)
    result = Result(
        f"Queries over {rows:,} rows",
        "Cold: a new process until its JSON is complete, against a process with typer and DuckDB alone that runs the same SQL. "
        "Warm: in one process on an open connection, with all the counts that the answer tells, against the bare SQL of its rows.",
        ["question", "answer", "cold s", "floor s", "cold ratio", "warm ms", "raw ms", "warm ratio"],
    )
    for question in QUESTIONS:
        with index.connect(file) as connection:
            found = ask(connection, question)
            statement = json.dumps({"sql": found.statement.sql, "parameters": found.statement.parameters}, default=str)
            sql, bound = found.statement.sql, found.statement.parameters

            def ours(question: str = question) -> None:
                list(ask(connection, question).rows)

            def raw(sql: str = sql, bound: object = bound) -> None:
                connection.execute(sql, bound).fetchall()

            warm, bare = alternating(ours, raw, repeat=15)
            count = found.count
        cold, floor = alternating(
            lambda question=question: _process(
                "-m", "barospec.cli.main", "query", question, "--archive", str(path), "--json"
            ),  # type: ignore[misc]
            lambda statement=statement: _process("-c", FLOOR, str(file), statement),  # type: ignore[misc]
            repeat=9,
        )
        result.rows.append([question, count, cold, floor, cold / floor, warm * 1e3, bare * 1e3, warm / bare])
    return [result, _refresh(archive.location.root, rows)]


def _process(*words: str) -> None:
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)


def _refresh(path: Path, rows: int) -> Result:
    """Adding rows to a large archive: how long until the index of the new snapshot is there."""
    from barospec.api import Archive

    result = Result(
        f"Index refresh after adding to {rows:,} rows",
        "CPU time of publishing the index of the next snapshot (replay on a copy of the last), against building it anew.",
        ["added", "replay CPU s", "rebuild CPU s", "ratio"],
    )
    store = Store(Archive(path).location)
    rng = np.random.default_rng(1)
    for number, added in enumerate((1, 1000)):
        add_rows(store, added, rows + number * 1000, rng, kind=0)
        replay = _cpu(lambda: index.publish(store, store.location.head()))
        rebuild = _cpu(lambda: index.publish(store, store.location.head(), rebuild=True))
        result.rows.append([added, replay, rebuild, replay / rebuild])
    (path / "rows.json").unlink(missing_ok=True)  # it has more rows now
    return result


def _cpu(work: object) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()  # type: ignore[operator]
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
