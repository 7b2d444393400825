"""Archives of many generated rows, created with the real store and the real index."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Batch, Writer
from barospec.catalogs.index import build

BATCH = 50_000
SAMPLES = ("La3Ni2O7", "NiO", "LaNiO3", "La4Ni3O10")
EDGES = (("xas", "Ni K", None), ("xas", "La L3", None), ("xes", "Ni K", "Kβ"))


def batch_of(count: int, start: int, kind: int, rng: np.random.Generator) -> Batch:
    """Return rows with about as many fields as in a beamtime, and curves of four points."""
    technique, edge, line = EDGES[kind]
    energy = np.array([8300.0, 8320.0, 8340.0, 8400.0])
    pressure = rng.uniform(0, 40, count)
    temperature = rng.choice([10.0, 80.0, 300.0], count)
    batch = Batch()
    for i in range(count):
        number = start + i
        batch.energies.append(energy)
        batch.signals.append({"intensity" if line else "mu": energy})
        batch.columns.append({
            "spectrum_id": f"{number * 2654435761 % 2**64:016x}", "revision": 1, "status": "active", "experiment": f"hc-{number // 100_000}",
            "run": f"run-{number // 500}", "step": i % 500, "sample": SAMPLES[number % 4], "material": SAMPLES[number % 4],
            "technique": technique, "edge": edge, "line": line, "element": edge.split()[0], "origin": "synthetic",
            "title": f"scan {number}", "time": 1_700_000_000_000_000 + number * 60_000_000,
            "pressure": None if number % 50 == 0 else float(pressure[i]), "pressure_sigma": 0.3, "pressure_method": "measured",
            "pressure_scale": "ruby Dewaele 2004", "temperature": float(temperature[i]), "temperature_sigma": 1.0, "direction": "compression",
            "medium": "silicone oil", "cell": "membrane DAC", "anvils": "nano-polycrystalline diamond", "culet": 300.0, "facility": "generated",
            "beamline": f"B{number % 9}", "mode": "emission" if line else "transmission", "monochromator": "Si(111)",
            "energy_calibration": "foil", "energy_shift": 0.1, "signal": "emission" if line else "transmission", "point_count": 4,
            "energy_min": 8300.0, "energy_max": 8400.0, "source_file": f"scan-{number}.h5", "source_scan": f"{i}.1",
            "source_sha256": f"{number:064x}", "reader": "bliss 1", "run_sheet": f"run-{number // 500}.yaml", "ingested": 1_700_000_000_000_000,
        })  # fmt: skip
        for name in batch.hashes:
            batch.hashes[name].append(os.urandom(32))
    return batch


def archive_of_rows(path: Path, count: int) -> Archive:
    """Return an archive with `count` rows; use the one at `path` if it has as many."""
    note = path / "rows.json"
    if note.exists() and json.loads(note.read_text())["rows"] == count:
        archive = Archive(path)
        build.publish(Store(archive.location), archive.snapshot)  # perhaps with other columns
        return archive
    if path.exists():
        import shutil

        shutil.rmtree(path)
    archive = Archive.create(path)
    store = Store(archive.location)
    rng = np.random.default_rng(0)
    for start in range(0, count, BATCH):
        add_rows(store, min(BATCH, count - start), start, rng)
    build.publish(store, archive.location.head(), rebuild=True)
    note.write_text(json.dumps({"rows": count}))
    return archive


def add_rows(store: Store, count: int, start: int, rng: np.random.Generator, *, kind: int | None = None) -> None:
    """Add `count` rows in one commit."""
    chosen = (start // BATCH) % 3 if kind is None else kind
    technique, edge, line = EDGES[chosen]
    key = f"{technique}/{edge.replace(' ', '-')}" if line is None else "xes/Ni-Kb"
    with store.transaction("bench") as work:
        Writer(work.root, work.changes).append_spectra(key, batch_of(count, start, chosen, rng))
        work.message = f"{count} rows"
