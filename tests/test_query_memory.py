"""What a query needs of memory is bounded by its answer, and long answers are never held as Python objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rows import archive_of_rows

ROWS = 120_000
# Held as Python objects the rows take 115 MB more than ten of them, streamed 41 MB (of DuckDB's buffers).
MOST_EXTRA = 75.0

PEAK = (
    "import resource, subprocess, sys\n"
    "with open(sys.argv[1], 'wb') as out:\n"
    "    subprocess.run(sys.argv[2:], stdout=out, stderr=subprocess.DEVNULL, check=True)\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)\n"
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of many rows."""
    path = tmp_path_factory.mktemp("many") / "archive"
    archive_of_rows(path, ROWS)
    return path


def peak(out: Path, *words: str) -> float:
    """Largest resident memory of the command, in MB; what it prints goes to `out`."""
    command = [sys.executable, "-c", PEAK, str(out), sys.executable, "-m", "barospec.cli.main", *words]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("form", ["--csv", "--jsonl", "--json"])
def test_long_answers_stream(many: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    few = peak(out, "query", "all spectra limit 10", form, "--archive", str(many))
    all_of_them = peak(out, "query", "all spectra", form, "--archive", str(many))
    assert all_of_them - few < MOST_EXTRA
    with out.open(encoding="utf-8") as lines:
        assert sum(1 for _ in lines) == ROWS + {"--csv": 1, "--jsonl": 0, "--json": 2}[form]


def test_rows_come_in_the_same_order_however_they_are_asked_for(many: Path, tmp_path: Path) -> None:
    """Long answers are put together from pieces of the table; none is lost, none comes twice."""
    out = tmp_path / "out"
    peak(out, "query", "all spectra", "--jsonl", "--columns", "spectrum_id", "--archive", str(many))
    streamed = [json.loads(line)["spectrum_id"] for line in out.read_text().splitlines()]
    peak(out, "query", f"all spectra limit {ROWS}", "--jsonl", "--columns", "spectrum_id", "--archive", str(many))
    at_once = [json.loads(line)["spectrum_id"] for line in out.read_text().splitlines()]
    assert streamed == at_once
    assert len(set(streamed)) == ROWS
