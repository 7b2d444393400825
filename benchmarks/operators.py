"""Operators: microseconds per spectrum, kernel by kernel and end to end, against Larch and a memory copy.

Larch runs in an environment of its own: the interpreter that ``BAROSPEC_LARCH_PYTHON`` names, or one that is made in
a temporary folder with pip (2.4 GB). Without either its columns are empty. rexafs is timed where that interpreter
has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.operators import chain
from barospec.archive.operators.registry import OPERATORS
from benchmarks.record import Result, alternating, seconds

POINTS = 700
ROWS = 2000
LARCH_ROWS = 60

PEER = """
import json, sys, time
import numpy as np
data = np.load(sys.argv[1])
energy, mu = data["energy"], data["mu"]
out = {}
from larch import Group
from larch.xafs import pre_edge, find_e0
pre_edge(energy[0], mu[0], group=Group())
start = time.perf_counter()
for e, m in zip(energy, mu):
    pre_edge(e, m, group=Group())
out["larch normalize"] = (time.perf_counter() - start) / len(mu)
start = time.perf_counter()
for e, m in zip(energy, mu):
    find_e0(e, m)
out["larch find_e0"] = (time.perf_counter() - start) / len(mu)
import larch
out["larch version"] = larch.__version__
try:
    import rexafs
    out["rexafs version"] = getattr(rexafs, "__version__", "?")
except ImportError:
    pass
print(json.dumps(out))
"""


def curves(rows: int, *, shared: bool, seed: int = 0) -> dict[str, np.ndarray]:
    """Noisy absorption edges and emission lines, on one axis or on axes of their own."""
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
    """Three tables: against Larch, kernel by kernel, and end to end from an archive."""
    return [_against_larch(), _kernels(), _end_to_end()]


def _against_larch() -> Result:
    peer = _peer()
    result = Result(
        f"normalize with e0, {POINTS} points",
        f"One thread, in one run; Larch {peer.get('larch version', '(not at hand)')} spectrum by spectrum. "
        "A memory copy moves energy and mu in and norm and flat out.",
        ["what", "µs per spectrum", "times Larch", "times a memory copy"],
    )
    for name, shared, given in (
        ("own grids, e0 found", False, False),
        ("one shared grid, e0 found", True, False),
        ("own grids, e0 given", False, True),
    ):
        arrays = {key: curves(ROWS, shared=shared)[key] for key in ("energy", "mu")}
        steps = [("normalize", {"e0": 8345.0} if given else {})]

        def ours(steps: Any = steps, arrays: Any = arrays) -> None:
            chain.run_chain(steps, arrays, wanted=["norm", "flat", "e0", "edge_step"])

        def copy(arrays: Any = arrays) -> None:
            [arrays["energy"].copy(), arrays["mu"].copy()]

        taken, copied = alternating(ours, copy, repeat=3)
        larch = peer.get("larch normalize")
        ratio = larch / (taken / ROWS) if larch else "–"
        result.rows.append([name, taken / ROWS * 1e6, ratio, taken / copied])
    for name in ("larch normalize", "larch find_e0"):
        if name in peer:
            result.rows.append([name, peer[name] * 1e6, peer["larch normalize"] / peer[name], "–"])
    return result


def _peer() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        python = os.environ.get("BAROSPEC_LARCH_PYTHON") or _installed(Path(folder))
        if python is None:
            return {}
        file = Path(folder) / "curves.npz"
        np.savez(file, **{key: curves(LARCH_ROWS, shared=False)[key] for key in ("energy", "mu")})
        done = subprocess.run(
            [python, "-W", "ignore", "-c", PEER, str(file)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"Larch did not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return {}
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


def _installed(folder: Path) -> str | None:
    """An interpreter with Larch, made for this run; None where pip cannot fetch it."""
    place = folder / "larch"
    made = subprocess.run([sys.executable, "-m", "venv", str(place)], check=False)
    python = str(place / "bin" / "python")
    if (
        made.returncode
        or subprocess.run([python, "-m", "pip", "install", "-q", "xraylarch==2026.3.1"], check=False).returncode
    ):
        return None
    return python


def _kernels() -> Result:
    result = Result(
        f"Every operator, {POINTS} points, own grids",
        "One thread; the steps before an operator are run beforehand and not counted.",
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
        plan = chain.prepare([(name, dict(operator.example))], list(raw))
        for step in plan.operators[:-1]:
            plan.parameters[step.name].update(step.example)
        own = chain.Reference({key: value[:1] for key, value in raw.items()}, "2")
        moved = chain.Reference({key: value[1:2] + 2.0 * (key == "energy") for key, value in raw.items()}, "3")
        named = {
            step.name: [own, moved] if step.references.several else [own]
            for step in plan.operators
            if step.references is not None
        }
        plan = chain.bind(plan, named)
        values: dict[str, Any] = dict(raw)
        for step in plan.operators[:-1]:
            chain.run_step(plan, step, values)
        taken = seconds(_step(plan, values), 3)
        copied = seconds(lambda raw=raw: [value.copy() for value in list(raw.values())[:2]], 3)  # type: ignore[misc]
        result.rows.append([name, taken / 256 * 1e6, taken / copied])
    return result


def _step(plan: chain.Plan, values: dict[str, Any]) -> Callable[[], None]:
    def work() -> None:
        chain.run_step(plan, plan.operators[-1], dict(values))

    return work


def _end_to_end() -> Result:
    from barospec.api import Archive
    from barospec.archive import layout
    from barospec.archive.store import Store
    from barospec.catalogs import index

    result = Result(
        "From the archive: query, read, normalize, edge energy",
        "A new selection each time, dask threads, ensemble of 0; linear in the number of spectra.",
        ["spectra", "s", "µs per spectrum"],
    )
    rows = 5000
    data = curves(rows, shared=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive.create(Path(folder) / "archive")
        batch = layout.Batch()
        for number in range(rows):
            batch.energies.append(data["energy"][0])
            batch.signals.append({"mu": data["mu"][number]})
            batch.columns.append(
                {
                    "spectrum_id": f"{number:016x}",
                    "revision": 1,
                    "status": "active",
                    "run": "r",
                    "sample": "NiO",
                    "technique": "xas",
                    "edge": "Ni K",
                    "origin": "synthetic",
                    "pressure": number / 100,
                    "point_count": POINTS,
                }
            )
            for name in batch.hashes:
                batch.hashes[name].append(os.urandom(32))
        store = Store(archive.location)
        with store.transaction("bench") as work:
            layout.Writer(work.root, work.changes).append_spectra("xas/Ni-K", batch)
            work.message = "rows"
        index.publish(store, archive.location.head())
        for count in (500, 5000):

            def compute(count: int = count) -> None:
                found: Any = archive.query(f"pressure < {count / 100} GPa").apply("edge_energy", ensemble=0)
                found[["edge_energy"]].compute()

            taken = seconds(compute, 3)
            result.rows.append([count, taken, taken / count * 1e6])
    return result
