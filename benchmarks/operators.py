"""Operators: microseconds per spectrum, kernel by kernel and end to end, against Larch, rexafs and a memory copy.

Peers run in environments of their own: the interpreters that ``BAROSPEC_LARCH_PYTHON`` and ``BAROSPEC_REXAFS_PYTHON``
name, or ones that are made for the run with pip (Larch takes 2.4 GB). Without a peer its columns are empty.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.operators.chain import execute
from barospec.archive.operators.registry import OPERATORS
from benchmarks.record import Result, least_cpu

POINTS = 700
ROWS = 2000
PEER_ROWS = 60

LARCH = """
import json, sys, time
import numpy as np
from larch import Group, __version__
from larch.xafs import find_e0, pre_edge
def normalize(energy, mu):
    pre_edge(energy, mu, group=Group())
steps, version = {"normalize": normalize, "find_e0": find_e0}, __version__
"""

REXAFS = """
import json, sys, time
import numpy as np
from rexafs import Spectrum, __version__
def normalize(energy, mu):
    spectrum = Spectrum.from_arrays(energy, mu)
    spectrum.normalize()
    spectrum.norm(), spectrum.flat()
steps, version = {"normalize": normalize}, __version__
"""

TIMED = """
data = np.load(sys.argv[1])
pairs = list(zip(data["energy"], data["mu"]))
out = {"version": version}
for name, step in steps.items():
    step(*pairs[0])
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for energy, mu in pairs:
            step(energy, mu)
        best = min(best, time.process_time() - start)
    out[name] = best / len(pairs)
print(json.dumps(out))
"""

PEERS = {
    "Larch": (LARCH, "BAROSPEC_LARCH_PYTHON", "xraylarch==2026.3.1"),
    "rexafs": (REXAFS, "BAROSPEC_REXAFS_PYTHON", "rexafs==0.2.14 numpy"),
}

ALONE = """
import json, re, sys, time
from pathlib import Path
from barospec import Archive
archive, count = Archive(sys.argv[1]), int(sys.argv[2])
best = least = float("inf")
for _ in range(int(sys.argv[3])):
    start, spent = time.perf_counter(), time.process_time()
    found = archive.query("xas", limit=count).apply("edge_energy", ensemble=0)
    value = found["edge_energy"].compute()
    best = min(best, time.perf_counter() - start)
    least = min(least, time.process_time() - spent)
assert value.notnull().all()
# Not ru_maxrss, which a child process inherits from its parent.
peak = int(re.search("VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"seconds": best, "cpu": least, "peak": peak}))
"""


def curves(rows: int, *, shared: bool, seed: int = 0) -> dict[str, np.ndarray]:
    """Make noisy absorption edges and emission lines, on one axis or on axes of their own."""
    random = np.random.default_rng(seed)
    base = np.r_[np.linspace(8150, 8325, 100), np.linspace(8325.5, 8385, 300), np.linspace(8386, 8800, POINTS - 400)]
    moved = 0.0 if shared else np.linspace(-0.5, 0.5, rows)[:, None]
    energy = np.ascontiguousarray(np.broadcast_to(base + moved, (rows, POINTS)))
    x = energy - 8345.0 - random.uniform(-1, 1, (rows, 1))
    mu = 0.5 + np.arctan(x / 2) / np.pi + 0.4 / (1 + ((x - 3) / 3) ** 2) + 0.05 / (1 + ((x + 13) / 1.2) ** 2)
    line = 1 / (1 + (x / 3) ** 2) + 0.2 / (1 + ((x + 12) / 4) ** 2) + 0.05 * np.exp(-(((x - 63) / 4) ** 2)) + 0.01
    noise = random.normal(0, 1e-3, (2, rows, POINTS))
    foil = np.arctan((x + 12) / 2) + noise[0]
    return {"energy": energy, "mu": mu + noise[0], "intensity": line + noise[1], "murefer": foil}


def run() -> list[Result]:
    """Return three tables: against Larch, kernel by kernel, and end to end from an archive."""
    return [_against_larch(), _kernels(), _end_to_end()]


def _against_larch() -> Result:
    first = {name: _peer(name, place) for name, place in PEERS.items()}
    times = [_ours(shared, given) for shared, given in CASES]
    # Once more, as the machine may have been busy with other things: the shorter time counts for either side.
    again = {name: _peer(name, place) for name, place in PEERS.items()}
    times = [tuple(map(min, one, _ours(*case))) for one, case in zip(times, CASES, strict=True)]
    best = {
        name: {key: value if isinstance(value, str) else min(value, again[name][key]) for key, value in found.items()}
        for name, found in first.items()
        if found and again[name]
    }
    versions = ", ".join(f"{name} {found['version']}" for name, found in best.items()) or "no peer at hand"
    result = Result(
        f"normalize with e0, {POINTS} points",
        f"CPU time of one thread, fastest of repeated runs, before and after the peers'; {versions}, spectrum by spectrum. "
        "A memory copy reads energy and mu and writes norm and flat.",
        ["what", "µs per spectrum", "Larch / this", "rexafs / this", "copy / this"],
    )

    def ratio(peer: str, taken: float) -> Any:
        return best[peer]["normalize"] / taken if peer in best else "–"

    for (shared, given), (taken, copied) in zip(CASES, times, strict=True):
        title = f"{'one shared grid' if shared else 'own grids'}, e0 {'given' if given else 'found'}"
        result.rows.append([title, taken * 1e6, ratio("Larch", taken), ratio("rexafs", taken), copied / taken])
    for name, found in best.items():
        for step in ("normalize", "find_e0"):
            if step in found:
                result.rows.append(
                    [
                        f"{name} {step}",
                        found[step] * 1e6,
                        ratio("Larch", found[step]),
                        ratio("rexafs", found[step]),
                        "–",
                    ]
                )
    return result


CASES = ((False, False), (True, False), (False, True), (True, True))


def _ours(shared: bool, given: bool) -> tuple[float, float]:
    """Return the seconds for a spectrum, and for a copy of it."""
    arrays = {key: array for key, array in curves(ROWS, shared=shared).items() if key in ("energy", "mu")}
    if shared:
        arrays["energy"] = arrays["energy"][0]
    whole = np.ascontiguousarray(np.broadcast_to(arrays["energy"], arrays["mu"].shape))
    steps = [("normalize", {"e0": 8345.0} if given else {})]

    def ours() -> None:
        execute.run_chain(steps, arrays, wanted=["norm", "flat", "e0", "edge_step"])

    ours()
    taken, copied = least_cpu(ours, lambda: [whole.copy(), arrays["mu"].copy()])
    return taken / ROWS, copied / ROWS


def _peer(name: str, place: tuple[str, str, str]) -> dict[str, Any]:
    program, variable, wanted = place
    with tempfile.TemporaryDirectory() as folder:
        python = os.environ.get(variable) or _installed(name, wanted)
        if python is None:
            return {}
        file = Path(folder) / "curves.npz"
        np.savez(file, **{key: curves(PEER_ROWS, shared=False)[key] for key in ("energy", "mu")})
        words = [python, "-W", "ignore", "-c", program + TIMED, str(file)]
        # CPU time counts all threads, and waiting ones of a linear algebra library too.
        single = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=single)
        if done.returncode:
            print(f"{name} did not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return {}
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


@lru_cache
def _installed(name: str, wanted: str) -> str | None:
    """Return an interpreter with a peer, made for this run; None where pip cannot fetch it."""
    place = Path(tempfile.mkdtemp(prefix=f"barospec-{name}-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    python = str(place / "bin" / "python")
    made = subprocess.run([sys.executable, "-m", "venv", str(place)], check=False)
    if (
        made.returncode
        or subprocess.run([python, "-m", "pip", "install", "-q", *wanted.split()], check=False).returncode
    ):
        return None
    return python


def _kernels() -> Result:
    result = Result(
        f"Every operator, {POINTS} points, own grids",
        "CPU time; the steps before an operator are run beforehand and not counted.",
        ["operator", "µs per spectrum", "times a memory copy"],
    )
    arrays = curves(256, shared=False)
    for name, operator in OPERATORS.items():
        raw = {"energy": arrays["energy"], "mu": arrays["mu"], "murefer": arrays["murefer"]}
        if operator.technique == "xes":
            raw = {"energy": arrays["energy"] - 80.2, "intensity": arrays["intensity"]}
        if name == "foil":
            raw |= {"itrans": np.exp(-arrays["mu"]), "irefer": np.exp(-arrays["mu"] - 1)}
            del raw["murefer"]
        plan = execute.prepare([(name, dict(operator.example))], list(raw))
        for step in plan.operators[:-1]:
            plan.parameters[step.name].update(step.example)
        own = execute.Reference({key: value[:1] for key, value in raw.items()}, "2")
        moved = execute.Reference({key: value[1:2] + 2.0 * (key == "energy") for key, value in raw.items()}, "3")
        named = {
            step.name: [own, moved] if step.references.several else [own]
            for step in plan.operators
            if step.references is not None
        }
        plan = execute.bind(plan, named)
        values: dict[str, Any] = dict(raw)
        for step in plan.operators[:-1]:
            execute.run_step(plan, step, values)
        work = _step(plan, values)
        work()
        taken, copied = least_cpu(work, lambda raw=raw: [value.copy() for value in list(raw.values())[:2]], repeat=3)
        result.rows.append([name, taken / 256 * 1e6, taken / copied])
    return result


def _step(plan: execute.Plan, values: dict[str, Any]) -> Callable[[], None]:
    def work() -> None:
        execute.run_step(plan, plan.operators[-1], dict(values))

    return work


def _end_to_end() -> Result:
    result = Result(
        "From the archive: query, read, normalize, edge energy",
        "One process per number of spectra: dask threads, ensemble of 0, fastest of repeated runs; peak resident memory, "
        f"which includes that of a process with one spectrum. All curves and energies take {POINTS * 16 / 1e6:.4f} MB per spectrum.",
        ["spectra", "s", "CPU µs per spectrum", "peak memory MB", "all curves MB"],
    )
    with tempfile.TemporaryDirectory() as folder:
        place = _archive(Path(folder) / "archive", max(COUNTS))
        for count in COUNTS:
            words = [sys.executable, "-c", ALONE, str(place), str(count), "1" if count > 20_000 else "3"]
            done = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
            result.rows.append(
                [count, done["seconds"], done["cpu"] / count * 1e6, done["peak"], count * POINTS * 16 / 1e6]
            )
    return result


COUNTS = (1, 1000, 10_000, 100_000)


def _archive(place: Path, rows: int, block: int = 5000) -> Path:
    """Make an archive of noisy edges on one grid, written in several commits."""
    from barospec import Archive
    from barospec.archive.store.repository import Store
    from barospec.archive.store.write import Batch, Writer
    from barospec.catalogs.index import build

    archive = Archive.create(place)
    data = curves(block, shared=True)
    store = Store(archive.location)
    for start in range(0, rows, block):
        batch = Batch()
        for number in range(min(block, rows - start)):
            batch.energies.append(data["energy"][0])
            batch.signals.append({"mu": data["mu"][number]})
            batch.columns.append(
                {
                    "spectrum_id": f"{start + number:016x}",
                    "revision": 1,
                    "status": "active",
                    "run": "r",
                    "sample": "NiO",
                    "technique": "xas",
                    "edge": "Ni K",
                    "origin": "synthetic",
                    "pressure": (start + number) / 1000,
                    "point_count": POINTS,
                }
            )
            for name in batch.hashes:
                batch.hashes[name].append(os.urandom(32))
        with store.transaction("bench") as work:
            Writer(work.root, work.changes).append_spectra("xas/Ni-K", batch)
            work.message = "rows"
    build.publish(store, archive.location.head())
    return place
