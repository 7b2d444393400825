"""Bundles: time and memory of writing, compared with a plain ``to_zarr`` of the same data; time of verification."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import barospec
from barospec import Archive, verify_bundle
from benchmarks.derived import POINTS, archive_of_edges
from benchmarks.record import Result, alternating, least_cpu

ROWS = 10_000
CHAINS = "edge_energy(ensemble=0)"
BLOCK = 1 << 20
# In a separate process: peak memory of sharing a number of spectra, or of writing them with xarray.
MEASURED = """
import re, sys
from pathlib import Path
import barospec
if __name__ == "__main__":
    place, target, how, count = sys.argv[1:]
    archive, text = barospec.open(place), f"xas sorted by spectrum_id limit {count}"
    if how == "to_zarr":
        archive.query(text).to_xarray().to_zarr(target, zarr_format=3, consolidated=False)
    else:
        archive.share(text, target, derived=how.removeprefix("share").strip())
    # Not ru_maxrss, which a child process inherits from its parent.
    print(int(re.search("VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def run(folder: Path | None = None, rows: int = ROWS) -> list[Result]:
    """Return rate and memory of `share`, and rate of `verify`."""
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        archive_of_edges(root / "edges", rows)
        return [_rate(root, rows), _memory(root, rows), _verifying(root, rows)]


def _archive(root: Path) -> Archive:
    opened = barospec.open(root / "edges")
    assert isinstance(opened, Archive)
    return opened


def _rate(root: Path, rows: int) -> Result:
    archive = _archive(root)
    result = Result(
        f"Sharing {rows:,} spectra",
        f"`share` (zarr groups, tables, metadata, pictures, sha256 of every file) compared with `to_zarr` of xarray for the same lazy Dataset "
        f"and fields only, and for the derived values if there are any; {POINTS} points each. Both read from the archive.",
        ["with", "to_zarr s", "share s", "ratio", "spectra/s"],
    )
    plain, bundle = root / "plain.zarr", root / "bundle"
    for chains in ("", CHAINS):

        def write_plain(chains: str = chains) -> None:
            shutil.rmtree(plain, ignore_errors=True)
            selection = archive.query("technique = xas")
            data = selection.to_xarray()
            if chains:
                operator, _, given = chains.partition("(")
                name, _, value = given.removesuffix(")").partition("=")
                applied = selection.apply(operator, **{name: float(value)})
                data = data.assign({str(k): v for k, v in applied.data_vars.items() if k not in data})  # type: ignore[union-attr, arg-type]
            data.to_zarr(plain, zarr_format=3, consolidated=False)

        def write_bundle(chains: str = chains) -> None:
            archive.share("technique = xas", bundle, derived=chains, overwrite=True)

        alone, whole = alternating(write_plain, write_bundle, repeat=3)
        result.rows.append((chains or "nothing derived", alone, whole, whole / alone, rows / whole))
    return result


def _memory(root: Path, rows: int) -> Result:
    counts = [rows // 10, rows, 5 * rows]
    archive_of_edges(root / "many", counts[-1])
    sizes = ", ".join(f"{count * POINTS * 16 / 1e6:.3g}" for count in counts)
    result = Result(
        "Memory of sharing",
        f"Peak resident memory, in MB, of a separate process that shares this number of spectra of {POINTS} points; their curves and "
        f"energies are {sizes} MB. Curves are written block by block; the growing part is the metadata of the spectra, which stay in memory.",
        ["spectra", *(f"{count:,}" for count in counts)],
    )
    for how in ("to_zarr", "share", f"share {CHAINS}"):
        row: list[object] = [how]
        for count in counts:
            target = root / "shared"
            shutil.rmtree(target, ignore_errors=True)
            words = [sys.executable, "-c", MEASURED, str(root / "many"), str(target), how, str(count)]
            row.append(float(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
        result.rows.append(row)
    return result


def _verifying(root: Path, rows: int) -> Result:
    archive, bundle = _archive(root), root / "bundle"
    result = Result(
        f"Verifying {rows:,} spectra",
        "CPU time of `verify`, compared with one sha256 of the same files. For an archive it decodes every chunk, computes the sha256 of each "
        "spectrum again and compares every row of the index with the store; for a bundle it compares arrays, table and records.",
        ["what", "MB", "sha256 s", "verify s", "ratio", "MB/s"],
    )
    works = [
        ("archive", root / "edges", lambda: archive.verify()),
        (f"bundle with {CHAINS}", bundle, lambda: verify_bundle(bundle)),
        ("the same, values recomputed", bundle, lambda: verify_bundle(bundle, recompute=True)),
    ]
    for what, folder, work in works:
        files = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
        size = sum(path.stat().st_size for path in files) / 1e6
        plain, whole = least_cpu(lambda files=files: _read(files), work, repeat=3)  # type: ignore[misc]
        result.rows.append((what, size, plain, whole, whole / plain, size / whole))
    return result


def _read(files: list[Path]) -> None:
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)


if __name__ == "__main__":
    for table in run(rows=int(os.environ.get("ROWS", ROWS))):
        print(table.markdown())
