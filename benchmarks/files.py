"""Many files, and one file of many scans: files per second, share of parsing, break-even of workers."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from barospec import Archive
from barospec.archive.ingest import parse_pool, prepare
from barospec.archive.ingest.parse_pool import Job, Parsed, parse
from barospec.archive.readers import bliss
from barospec.archive.readers.registry import read_file
from benchmarks.record import Result, seconds

FILES, POINTS = 10_000, 500
SCANS, COUNTERS = 2_000, 5
SETTINGS = ["run=r", "sample=NiO", "origin=synthetic", "edge=Ni K"]
HEAD = (
    "# XDI/1.0 generated/1\n# Element.symbol: Ni\n# Element.edge: K\n# Column.1: energy eV\n# Column.2: mutrans\n"
    "# ///\n# generated\n#----\n# energy mutrans\n"
)


def run() -> list[Result]:
    """Return three tables."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = _xdi(root / "xdi")
        return [_many_files(root, paths), _one_file(root), _break_even(paths)]


def _xdi(folder: Path) -> list[Path]:
    folder.mkdir()
    energy = np.linspace(8200.0, 8900.0, POINTS)
    rng = np.random.default_rng(0)
    for number in range(FILES):
        mu = np.arctan(energy - 8340) / np.pi + rng.normal(scale=1e-3, size=POINTS)
        rows = "".join(f"{e:.4f} {m:.8f}\n" for e, m in zip(energy, mu, strict=True))
        (folder / f"scan-{number:05}.xdi").write_text(HEAD + rows)
    return sorted(folder.iterdir())


def _ingest(root: Path, name: str, paths: list[Path]) -> tuple[float, float, float]:
    """Return seconds of an ingest, of waiting for parsed files, and of the same ingest again."""
    archive = Archive.create(root / name)
    waited = 0.0

    def timed(jobs: list[Job]) -> Iterator[Parsed]:
        nonlocal waited
        stream = parse(jobs)
        while True:
            start = time.perf_counter()
            found = next(stream, None)
            waited += time.perf_counter() - start
            if found is None:
                return
            yield found

    original: Callable[..., Iterator[Parsed]] = prepare.parse
    prepare.parse = timed  # type: ignore[assignment]
    try:
        whole = seconds(lambda: archive.ingest(paths, SETTINGS), 1)
    finally:
        prepare.parse = original  # type: ignore[assignment]
    return whole, waited, seconds(lambda: archive.ingest(paths, SETTINGS), 1)


def _many_files(root: Path, paths: list[Path]) -> Result:
    bare = seconds(lambda: [read_file(path) for path in paths], 1)
    jobs = [Job(path) for path in paths]
    parsed = seconds(lambda: sum(1 for _ in parse(jobs)), 1)
    whole, waited, again = _ingest(root, "a", paths)
    result = Result(
        f"Ingest of {FILES:,} XDI files of {POINTS} points",
        "With one worker process per core; one commit, its index published. The bare reader parses the same files one after the "
        "other. Parsing is the share of time in which the writing process waited for parsed files. "
        f"Peak memory of the writing process: {_peak()} MB, bare reader included.",
        ["what", "s", "files/s", "times the bare reader", "parsing"],
    )
    share = f"{100 * waited / whole:.0f} %"
    for name, taken, part in (
        ("bare reader", bare, "100 %"),
        ("parsed, with sha256", parsed, "100 %"),
        ("ingest", whole, share),
        ("the same again (nothing new)", again, ""),
    ):
        result.rows.append([name, taken, f"{len(paths) / taken:.0f}", taken / bare, part])
    return result


def _peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _hdf5(path: Path) -> Path:
    energy = np.linspace(8.2, 8.9, POINTS)
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["creator"] = "bliss"
        for number in range(1, SCANS + 1):
            entry = file.create_group(f"{number}.1")
            entry["title"], entry["end_time"] = "fscan", "2024-05-03T10:00:00+02:00"
            entry["measurement/energy_enc"] = energy
            entry["measurement/mu_trans"] = np.arctan(energy - 8.34) + rng.normal(scale=1e-3, size=POINTS)
            for counter in range(COUNTERS - 2):
                entry[f"measurement/counter{counter}"] = rng.random(POINTS)
    return path


def _one_file(root: Path) -> Result:
    path = _hdf5(root / "many.h5")

    def floor() -> None:
        with h5py.File(path) as file:
            for key in file:
                for name in ("energy_enc", "mu_trans"):
                    np.asarray(file[f"{key}/measurement/{name}"])

    arrays = seconds(floor, 1)
    bare = seconds(lambda: bliss.read_scans(path, {}), 1)
    apart = seconds(lambda: read_file(path), 1)
    whole, waited, again = _ingest(root, "b", [path])
    result = Result(
        f"Ingest of a BLISS HDF5 file of {SCANS:,} scans",
        f"{POINTS} points, {COUNTERS} counters a scan, {path.stat().st_size / 1e6:.0f} MB. HDF5 is read in a separate process, which a "
        "damaged file can crash; the lower limit reads only the two required arrays.",
        ["what", "s", "scans/s", "times the bare reader", "parsing"],
    )
    share = f"{100 * waited / whole:.0f} %"
    for name, taken, part in (
        ("h5py, two arrays a scan", arrays, ""),
        ("bare reader", bare, "100 %"),
        ("reader in a child process", apart, "100 %"),
        ("ingest", whole, share),
        ("the same again (nothing new)", again, ""),
    ):
        result.rows.append([name, taken, f"{SCANS / taken:.0f}", taken / bare, part])
    return result


def _cpu() -> tuple[float, float]:
    """Return CPU seconds of this process and of its finished child processes."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, ended.ru_utime + ended.ru_stime


def _break_even(paths: list[Path]) -> Result:
    """Compare parsing in this process with parsing in workers from the first file on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    result = Result(
        "Break-even of worker processes",
        f"XDI files of {POINTS} points, {cores} cores. Workers are started if parsing the remaining files would take more than "
        f"{parse_pool.WORTH} s in this process at the current rate. CPU time shows what a busy machine hides: the work that workers "
        "take from this process, and their own cost.",
        [
            "files",
            "here s",
            "workers from the start s",
            "ratio",
            "CPU here s",
            "with workers: CPU here s",
            "and in workers s",
        ],
    )
    worth = parse_pool.WORTH
    for count in (200, 1000, 5000):
        jobs = [Job(path) for path in paths[:count]]
        start = _cpu()
        here = seconds(lambda jobs=jobs: sum(1 for _ in parse(jobs, workers=1)), 1)  # type: ignore[misc]
        middle = _cpu()
        parse_pool.WORTH = 0.0
        try:
            there = seconds(lambda jobs=jobs: sum(1 for _ in parse(jobs)), 1)  # type: ignore[misc]
        finally:
            parse_pool.WORTH = worth
        end = _cpu()
        result.rows.append(
            [count, here, there, there / here, middle[0] - start[0], end[0] - middle[0], end[1] - middle[1]]
        )
    return result
