"""Queries over a million rows, compared with typer and DuckDB alone running the same SQL."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.catalogs.index import build, database
from barospec.catalogs.index.files import index_path
from barospec.catalogs.query.answer.answer import SHOWN, ask
from barospec.catalogs.query.answer.sql import Statement, Translator
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.query.resolve.resolve import resolve
from benchmarks.record import Result, alternating, least_cpu
from benchmarks.rows import add_rows, archive_of_rows

ROWS = 1_000_000
PROCESSES = 9
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
    """Return cold and warm queries and refresh as ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        return _run((folder or Path(temporary)) / f"rows-{rows}", rows)


def _run(path: Path, rows: int) -> list[Result]:
    archive = archive_of_rows(path, rows)
    file = index_path(archive.location, archive.snapshot)
    result = Result(
        f"Queries over {rows:,} rows",
        "Cold: a new process until its JSON is complete, compared with a process with only typer and DuckDB that runs the same SQL. "
        "Warm: in a process on an open connection, with all counts of an answer, in ms of CPU time, which other "
        f"programs disturb least; medians of {PROCESSES} processes, with the smallest and largest ratio in brackets; compared with the bare SQL of its rows, and with plain SQL with the same counts: "
        "the SQL of the rows, and one statement that counts matches, near misses, rows without a value and withdrawn rows.",
        [
            "question",
            "answer",
            "cold s",
            "floor s",
            "cold ratio",
            "warm ms",
            "rows in SQL ms",
            "ratio",
            "as much in SQL ms",
            "ratio",
        ],
    )
    # A process is fast or slow as a whole, depending on its memory layout: each measurement has its own process.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as fresh:
        warm = list(fresh.map(_warm, [file] * PROCESSES))
    for number, question in enumerate(QUESTIONS):
        with database.connect(file) as connection:
            found = ask(connection, question)
            statement = json.dumps({"sql": found.statement.sql, "parameters": found.statement.parameters}, default=str)
            count = found.count
        cold, floor = alternating(
            lambda question=question: _process(
                "-m", "barospec.cli.main", "query", question, "--archive", str(path), "--json"
            ),  # type: ignore[misc]
            lambda statement=statement: _process("-c", FLOOR, str(file), statement),  # type: ignore[misc]
            repeat=9,
        )
        ours, bare, plain = (median(one[number][place] for one in warm) * 1e3 for place in range(3))
        against = [_spread([one[number][0] / one[number][place] for one in warm]) for place in (1, 2)]
        result.rows.append([question, count, cold, floor, cold / floor, ours, bare, against[0], plain, against[1]])
    return [result, _selections(archive), _output(path, file, rows), _refresh(archive.location.root, rows)]


def _warm(file: Path) -> list[tuple[float, float, float]]:
    """Return CPU time in s of each query in this process: barospec, bare SQL of its rows, plain SQL with the same counts."""
    taken = []
    for question in QUESTIONS:
        with database.connect(file) as connection:
            found = ask(connection, question)
            rows, counts = found.statement, _counts_in_sql(connection, question)

            def ours(question: str = question) -> None:
                list(ask(connection, question).rows)

            def run(*statements: Statement) -> None:
                for one in statements:
                    connection.execute(one.sql, one.parameters).fetchall()

            # Separately, because it reads much more and would displace data from the processor caches.
            (plain,) = least_cpu(partial(run, rows, counts), repeat=3)
            taken.append((*least_cpu(ours, partial(run, rows), repeat=25), plain))
    return taken


def _spread(ratios: list[float]) -> str:
    """Return the median and the range as text."""
    return f"{median(ratios):.3g} ({min(ratios):.3g}–{max(ratios):.3g})"


def _counts_in_sql(connection: Any, question: str) -> Statement:
    """Return plain SQL with the counts of an answer: every condition for every row."""
    known = known_from(connection)
    translator = Translator(resolve(parse(question), known), known)
    exact, loose, strict = (translator.condition(temper) for temper in ("exact", "loose", "strict"))
    tests = [exact, f"({exact} AND NOT {strict}) OR (NOT {exact} AND {loose})", f"{exact} AND NOT {strict}"]
    tests += [
        f"({exact}) IS NULL AND {translator.resolved.fields[name].sql} IS NULL" for name in translator.conditioned()
    ]
    active = translator.searched()
    select = [f"count(*) FILTER (WHERE {active} AND ({test}))" for test in tests]
    select.append(f"count(*) FILTER (WHERE {translator.searched('withdrawn')} AND {exact})")
    return translator.statement(f"SELECT {', '.join(select)} FROM spectra")


def _process(*words: str) -> None:
    # With bytecode, as for installed programs; without it the many files of barospec would load more slowly than the peers.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True, env=environment)


def _selections(archive: Archive) -> Result:
    """Compare opening many spectra lazily with fetching the same columns from DuckDB as numpy arrays."""
    from barospec.catalogs.selection.selection import COORDINATES

    result = Result(
        "Opening selections lazily",
        "From a query to a Dataset of lazy curves and labelled coordinates, compared with `fetchnumpy` of DuckDB for the "
        "same columns and conditions, in s of CPU time. Neither reads a curve.",
        ["query", "spectra", "open CPU s", "raw CPU s", "ratio"],
    )
    wanted = ", ".join(f'"{name}"' for name in COORDINATES)
    for pressure in (0.1, 1, 11.7, 19):
        text = f"xas Ni K below {pressure} GPa"
        with archive.connection() as connection:
            sql = f"SELECT {wanted} FROM spectra WHERE grp = 'xas/Ni-K' AND status = 'active' AND pressure < {pressure}"
            count = len(archive.query(text))
            ours, raw = least_cpu(
                lambda text=text: archive.query(text).to_xarray(),
                lambda sql=sql: connection.execute(sql).fetchnumpy(),
                repeat=5,
            )
        result.rows.append([text, count, ours, raw, ours / raw])
    return result


def _output(path: Path, file: Path, rows: int) -> Result:
    """Compare time and memory of writing all rows with DuckDB's COPY of the same columns."""
    result = Result(
        f"All {rows:,} rows out",
        "Total time of the command and its peak resident memory, compared with COPY of DuckDB to a file in a separate "
        "process (which formats in C on all cores; --json and --csv also write times in UTC and no NaN).",
        ["form", "s", "COPY s", "ratio", "MB of memory", "MB for one row"],
    )
    with tempfile.TemporaryDirectory() as folder:
        for form, kind in (
            ("--csv", "csv"),
            ("--jsonl", "json"),
            ("--json", "json, array true"),
            ("--parquet", "parquet"),
        ):
            target = str(Path(folder) / "rows")
            words = [form, target] if form == "--parquet" else [form]
            one = _measured("query", "all spectra limit 1", "--archive", str(path), *words)[1]
            seconds, memory = _measured("query", "all spectra", "--archive", str(path), *words)
            select = f"SELECT {', '.join(SHOWN)} FROM spectra WHERE status = 'active'"
            copy = f"import duckdb; duckdb.connect({str(file)!r}, read_only=True).execute(\"COPY ({select}) TO '{target}' (FORMAT {kind})\")"
            start = time.perf_counter()
            _process("-c", copy)
            floor = time.perf_counter() - start
            result.rows.append([form, seconds, floor, seconds / floor, memory, one])
    return result


def _measured(*words: str) -> tuple[float, float]:
    """Return seconds and peak MB of resident memory of the command."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, "-m", "barospec.cli.main", *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return time.perf_counter() - start, int(done.stdout) / 1024


def _refresh(path: Path, rows: int) -> Result:
    """Measure the time until the index of a new snapshot exists, after adding rows to a large archive."""
    result = Result(
        f"Index refresh after adding to {rows:,} rows",
        "CPU time of publishing the index of the next snapshot (replay on a copy of the last; median of nine): by the process that "
        "wrote the rows and by another process, which reads them from the store; compared with rebuilding the index.",
        ["added", "by the writer, CPU s", "by another, CPU s", "rebuild CPU s", "ratio"],
    )
    store, rng = Store(Archive(path).location), np.random.default_rng(1)
    for number, added in enumerate((1, 1000)):
        took: tuple[list[float], list[float]] = ([], [])
        for turn in range(18):
            add_rows(store, added, rows + (18 * number + turn) * 1000, rng, kind=0)
            reader = Store(store.location) if turn % 2 else store
            took[turn % 2].append(_cpu(partial(build.publish, reader, store.location.head())))
        rebuild = _cpu(lambda: build.publish(store, store.location.head(), rebuild=True))
        written, other = map(median, took)
        result.rows.append([added, written, other, rebuild, written / rebuild])
    (path / "rows.json").unlink(missing_ok=True)  # the archive has more rows now
    return result


def _cpu(work: object) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()  # type: ignore[operator]
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
