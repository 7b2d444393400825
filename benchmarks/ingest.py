"""Ingest: files per second compared with the bare reader, spectra per second compared with a memory copy."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from barospec import Archive
from barospec.archive.readers.registry import read_file
from barospec.archive.store import read
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Batch, Writer
from benchmarks.record import Result, seconds

FILES = 1000
SPECTRA, POINTS = 20_000, 500


def run() -> list[Result]:
    """Return two tables."""
    with tempfile.TemporaryDirectory() as folder:
        return [_files(Path(folder)), _store(Path(folder))]


def _files(folder: Path) -> Result:
    raw = folder / "raw"
    raw.mkdir()
    energy = np.linspace(8200.0, 8900.0, POINTS)
    rng = np.random.default_rng(0)
    head = "# XDI/1.0 generated/1\n# Element.symbol: Ni\n# Element.edge: K\n# Column.1: energy eV\n# Column.2: mutrans\n# ///\n# generated\n#----\n# energy mutrans\n"
    for number in range(FILES):
        mu = np.arctan(energy - 8340) / np.pi + rng.normal(scale=1e-3, size=POINTS)
        (raw / f"scan-{number:05}.xdi").write_text(
            head + "".join(f"{e:.4f} {m:.8f}\n" for e, m in zip(energy, mu, strict=True))
        )
    paths = sorted(raw.iterdir())
    parse = seconds(lambda: [read_file(path) for path in paths], 1)
    archive = Archive.create(folder / "archive")
    settings = ["run=r", "sample=NiO", "origin=synthetic"]
    whole = seconds(lambda: archive.ingest(paths, settings), 1)
    again = seconds(lambda: archive.ingest(paths, settings), 1)
    result = Result(
        f"Ingest of {FILES:,} XDI files of {POINTS} points",
        "From files to a published snapshot in one process, compared with the bare reader on the same files.",
        ["what", "s", "files/s", "times the bare reader"],
    )
    for name, taken in (("bare reader", parse), ("ingest", whole), ("the same again (nothing new)", again)):
        result.rows.append([name, taken, f"{FILES / taken:.0f}", taken / parse])
    return result


def _store(folder: Path) -> Result:
    rng = np.random.default_rng(0)
    energy = np.linspace(8200.0, 8900.0, POINTS)
    curves = rng.random((SPECTRA, POINTS))
    batch = Batch()
    for number in range(SPECTRA):
        batch.energies.append(energy)
        batch.signals.append({"mu": curves[number]})
        batch.columns.append(
            {
                "spectrum_id": f"{number:016x}",
                "revision": 1,
                "status": "active",
                "run": "r",
                "pressure": 1.0,
                "point_count": POINTS,
            }
        )
        for name in batch.hashes:
            batch.hashes[name].append(os.urandom(32))
    store = Store.create(folder / "store")

    def write() -> None:
        with store.transaction("bench") as work:
            Writer(work.root, work.changes).append_spectra("xas/Ni-K", batch)
            work.message = "rows"

    taken = seconds(write, 1)
    group = read.spectra_group(store.read(store.location.head()), "xas/Ni-K")
    source = read.array(group, "mu")
    everything = seconds(lambda: read.read_rows(source, np.arange(SPECTRA), POINTS), 3)
    some = rng.integers(0, SPECTRA, 100)
    scattered = seconds(lambda: read.read_rows(source, some, POINTS), 5)
    copy = seconds(lambda: curves.copy(), 5)
    result = Result(
        f"Store: {SPECTRA:,} spectra of {POINTS} points",
        "One commit of random numbers (not compressible), and reading them back, compared with copying the same bytes in memory.",
        ["what", "s", "spectra/s", "times a memory copy"],
    )
    result.rows += [
        ["append and commit", taken, f"{SPECTRA / taken:.0f}", taken / copy],
        ["read all", everything, f"{SPECTRA / everything:.0f}", everything / copy],
        ["read 100 scattered ones", scattered, f"{100 / scattered:.0f}", scattered / (copy * 100 / SPECTRA)],
        ["memory copy", copy, f"{SPECTRA / copy:.0f}", 1.0],
    ]
    return result
