"""The same queries with Tiled and intake-esm on the same rows.

Each is installed into its own virtual environment, in the folder BAROSPEC_PEERS (used again if it exists) or in a temporary folder.
A peer that cannot be installed, for example without a package index, is excluded with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from barospec import Archive
from benchmarks.record import Result, seconds
from benchmarks.rows import archive_of_rows

ROWS = 100_000
PEERS = {"Tiled": ("tiled[all]", "peer_tiled.py"), "intake-esm": ("intake-esm", "peer_intake_esm.py")}
QUESTIONS = {
    "range": "Ni K between 10 and 10.01 GPa below 80 K",
    "equal": "xas of NiO in run in (run-2, run-3, run-150)",
    "runs": "runs above 39.9 GPa",
    "missing": "pressure is missing",
    "count": "above 14 GPa",
}
COLUMNS = (
    "spectrum_id", "experiment", "run", "step", "sample", "material", "technique", "edge", "line", "element", "origin", "title",
    "pressure", "pressure_sigma", "pressure_method", "pressure_scale", "temperature", "temperature_sigma", "direction", "medium", "cell",
    "anvils", "culet", "facility", "beamline", "mode", "monochromator", "energy_calibration", "signal", "point_count", "energy_min",
    "energy_max", "source_file", "source_scan", "reader", "run_sheet",
)  # fmt: skip


def run(rows: int = ROWS) -> list[Result]:
    """Return one table with a row per query, including queries that the peers do not support."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archive = archive_of_rows(folder / "archive", rows)
        source = folder / "rows.jsonl"
        _export(archive, source)
        ours = {name: _ask(archive, name, text) for name, text in QUESTIONS.items()}
        told = {name: _peer(name, source, folder) for name in PEERS}
        again = {name: _ask(archive, name, text) for name, text in QUESTIONS.items()}
    return [_table(rows, ours, again, told)]


def _export(archive: Archive, target: Path) -> None:
    with archive.ask("all spectra", columns=COLUMNS) as answer, target.open("w") as out:
        for row in answer.rows:
            out.write(json.dumps(dict(zip(answer.columns, row, strict=True))) + "\n")


def _ask(archive: Archive, name: str, text: str) -> tuple[int, float]:
    """Return the number of matches, and the median seconds of a query with all counts and rows."""

    def ask() -> int:
        with archive.ask(text) as answer:
            return answer.count if name in ("count", "missing") else len(list(answer.rows))

    return ask(), seconds(ask, 5)


def _peer(name: str, source: Path, folder: Path) -> dict[str, Any]:
    requirement, script = PEERS[name]
    try:
        python = _environment(name, requirement, folder)
    except subprocess.CalledProcessError as error:
        return {
            "excluded": f"could not be installed: {(error.stderr or '').strip().splitlines()[-1:] or ['no reason given']}"
        }
    place = folder / f"peer-{name}"
    place.mkdir()
    command = [str(python), str(Path(__file__).with_name(script)), str(source), str(place)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    if done.returncode:
        return {"excluded": f"failed: {done.stderr.strip().splitlines()[-1:]}"}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _environment(name: str, requirement: str, folder: Path) -> Path:
    """Return the interpreter of a virtual environment with the peer."""
    place = Path(os.environ.get("BAROSPEC_PEERS") or folder) / name.lower()
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], capture_output=True, text=True, check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", requirement], capture_output=True, text=True, check=True)
    return python


def _table(rows: int, ours: dict[str, Any], again: dict[str, Any], told: dict[str, dict[str, Any]]) -> Result:
    versions = ", ".join(f"{name} {peer['version']}" for name, peer in told.items() if "version" in peer)
    lacking = "".join(f" {name} is excluded: {peer['excluded']}." for name, peer in told.items() if "excluded" in peer)
    result = Result(
        f"Side by side: {rows:,} rows of {len(COLUMNS)} fields",
        f"barospec {version('barospec')}, {versions}; warm, in one process each, the rows with their metadata as Python objects; barospec with "
        "all counts of an answer (missing, withdrawn, near a limit), measured before and after the peers, mean of both. The SQLite catalog of Tiled was filled "
        "directly and queried with its in-process client; intake-esm has a pandas table. Ratios above 1: slower than barospec."
        + lacking,
        ["question", "rows", "barospec ms", *(f"{name} ms" for name in told), *(f"{name} ratio" for name in told)],
    )
    for name, text in QUESTIONS.items():
        count, mine = ours[name][0], (ours[name][1] + again[name][1]) / 2
        answers = [peer.get("answers", {}).get(name, {"cannot": "excluded"}) for peer in told.values()]
        for answer in answers:
            if "count" in answer and answer["count"] != count:
                answer.update(cannot=f"{answer['count']} rows instead of {count}")
        cell: Callable[[dict[str, Any]], Any] = lambda a: a.get("cannot") or a["s"] * 1e3  # noqa: E731
        ratio: Callable[[dict[str, Any]], Any] = lambda a: "–" if "cannot" in a else a["s"] / mine  # noqa: B023, E731
        result.rows.append([text, count, mine * 1e3, *map(cell, answers), *map(ratio, answers)])
    nothing = ["–", "–", *("no units: the number must be converted first" for _ in told), *("–" for _ in told)]
    result.rows.append(["above 399 kbar (units)", *nothing])
    near = ["–", "–", *("not reported" for _ in told), *("–" for _ in told)]
    result.rows.append(["number without a value, or within sigma of the limit", *near])
    return result
