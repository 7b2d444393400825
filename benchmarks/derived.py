"""Derived values: storing compared with computing alone, queries compared with queries on pressure."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Writer
from barospec.catalogs.index import build, database
from barospec.catalogs.index.files import index_path
from barospec.catalogs.query.answer.answer import ask
from benchmarks.record import Result, alternating
from benchmarks.rows import batch_of

ROWS = 100_000
POINTS = 500
BATCH = 10_000
OUTPUTS = ("edge_energy", "edge_energy_sigma", "edge_energy_sigma_norm", "edge_energy_windows", "edge_energy_quality")


def archive_of_edges(path: Path, rows: int) -> Archive:
    """Create an archive of noisy Ni K edges on one axis that move with pressure."""
    archive = Archive.create(path)
    store, random = Store(archive.location), np.random.default_rng(0)
    energy = np.r_[np.linspace(8150, 8325, 80), np.linspace(8325.5, 8385, 220), np.linspace(8386, 8800, POINTS - 300)]
    for start in range(0, rows, BATCH):
        count = min(BATCH, rows - start)
        batch = batch_of(count, start, 0, random)
        for i, columns in enumerate(batch.columns):
            e0 = 8345.0 + 0.03 * (columns["pressure"] or 0.0)
            mu = 0.4 + np.arctan((energy - e0) / 1.5) / np.pi + 0.5 + random.normal(scale=1e-3, size=POINTS)
            batch.energies[i], batch.signals[i] = energy, {"mu": mu}
            columns.update(point_count=POINTS, energy_min=energy[0], energy_max=energy[-1])
        with store.transaction("bench") as work:
            Writer(work.root, work.changes).append_spectra("xas/Ni-K", batch)
            work.message = f"{count} rows"
    build.publish(store, archive.location.head(), rebuild=True)
    return archive


def run(folder: Path | None = None, rows: int = ROWS) -> list[Result]:
    """Return storing and queries as ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = archive_of_edges((folder or Path(temporary)) / "edges", rows)
        return [_storing(archive, rows), _searching(archive, rows)]


def _storing(archive: Archive, rows: int) -> Result:
    result = Result(
        f"Storing derived values of {rows:,} spectra",
        f"Deriving and storing (block by block, each an atomic commit, index published) compared with the lazy computation of the same "
        f"outputs alone; {POINTS} points each, `edge_energy` with normalization. Every repetition creates a new set.",
        ["chain", "lazy s", "stored s", "ratio", "again (all fresh) s"],
    )
    for chain, parameters in (("edge_energy", {}), ("edge_energy, ensemble=0", {"ensemble": 0})):
        rounds = iter(range(1000))

        def lazy(parameters: dict[str, float] = parameters) -> None:
            archive.query("xas").apply("edge_energy", **parameters)[list(OUTPUTS)].compute()  # type: ignore[union-attr]

        def stored(parameters: dict[str, float] = parameters, rounds: object = rounds) -> None:
            far = 10 + 1e-6 * next(rounds)  # type: ignore[call-overload]
            archive.derive("edge_energy", "xas", far=far, **parameters)

        def again(parameters: dict[str, float] = parameters) -> None:
            archive.derive("edge_energy", "xas", far=10, **parameters)

        alone, kept = alternating(lazy, stored, repeat=3)
        [nothing] = alternating(again, repeat=3)
        result.rows.append([chain, alone, kept, kept / alone, nothing])
    return result


def _searching(archive: Archive, rows: int) -> Result:
    result = Result(
        f"Searching {rows:,} rows by a derived value",
        "On an open connection, with all counts of an answer; limits chosen so that both find the same number.",
        ["found", "pressure ms", "edge_energy ms", "ratio", "edge_energy at 2 sigma ms"],
    )
    with database.connect(index_path(archive.location, archive.snapshot)) as connection:
        for count in (100, rows // 10):
            limits = {}
            for field, column in (("pressure", '"pressure"'), ("edge_energy", '"edge_energy:edge_energy"')):
                sql = f"SELECT {column} FROM spectra WHERE {column} IS NOT NULL ORDER BY 1 DESC LIMIT 1 OFFSET {count}"
                limits[field] = connection.execute(sql).fetchall()[0][0]
            questions = [f"{field} > {limit!r}" for field, limit in limits.items()]
            questions.append(f"{questions[1]} at 2 sigma")

            def search(question: str) -> None:
                list(ask(connection, question).rows)

            times = alternating(*(lambda q=q: search(q) for q in questions), repeat=15)  # type: ignore[misc]
            result.rows.append([count, times[0] * 1e3, times[1] * 1e3, times[1] / times[0], times[2] * 1e3])
    return result


if __name__ == "__main__":
    for table in run(rows=int(os.environ.get("ROWS", ROWS))):
        print(table.markdown())
