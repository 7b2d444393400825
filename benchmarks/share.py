"""Bundles: writing one against a plain ``to_zarr`` of the same data, and the memory that it takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import barospec
from benchmarks.derived import POINTS, archive_of_edges
from benchmarks.record import Result, alternating

ROWS = 10_000
# Sharing in a process of its own: what it holds at most beyond what the same process held after sharing 100 spectra.
MEASURED = """
import json, resource, sys
import barospec
if __name__ == "__main__":
    archive = barospec.open(sys.argv[1])
    archive.share("xas sorted by spectrum_id limit 100", sys.argv[2] + "/few")
    few = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    archive.share("technique = xas", sys.argv[2] + "/all")
    print(json.dumps([few / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def run(folder: Path | None = None, rows: int = ROWS) -> list[Result]:
    """Rate and memory of `share`."""
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        archive_of_edges(root / "edges", rows)
        return [_rate(root, rows), _memory(root, rows)]


def _rate(root: Path, rows: int) -> Result:
    archive = barospec.open(root / "edges")
    result = Result(
        f"Sharing {rows:,} spectra",
        f"`share` (zarr groups, tables, metadata, pictures, sha256 of every file) against xarray's `to_zarr` of the same lazy Dataset and "
        f"fields alone; {POINTS} points each. Both read from the archive.",
        ["with", "to_zarr s", "share s", "ratio", "spectra/s"],
    )
    plain, bundle = root / "plain.zarr", root / "bundle"

    def write_plain() -> None:
        shutil.rmtree(plain, ignore_errors=True)
        archive.query("technique = xas").to_xarray().to_zarr(plain, zarr_format=3, consolidated=False)

    for chains in ("", "edge_energy(ensemble=0)"):

        def write_bundle(chains: str = chains) -> None:
            archive.share("technique = xas", bundle, derived=chains, overwrite=True)

        alone, whole = alternating(write_plain, write_bundle, repeat=3)
        result.rows.append((chains or "nothing derived", alone, whole, whole / alone, rows / whole))
    return result


def _memory(root: Path, rows: int) -> Result:
    target = root / "shared"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(root / "edges"), str(target)], capture_output=True, text=True, check=True
    )
    few, every = json.loads(done.stdout.splitlines()[-1])
    size = rows * POINTS * 16 / 1e6
    result = Result(
        "Memory of sharing",
        f"Largest resident memory of a process that shares 100 spectra and then all {rows:,}, whose curves and energies are {size:.0f} MB.",
        ["after 100, MB", f"after {rows:,}, MB", "growth, MB"],
    )
    result.rows.append((few, every, every - few))
    return result
