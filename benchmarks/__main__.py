"""``python -m benchmarks [NAME...]``: run benchmarks, print their tables, and write them to docs/benchmarks.md."""

from __future__ import annotations

import importlib
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

NAMES = ("ingest", "files", "query", "peers", "chunks", "spins", "operators", "derived", "share")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PACKAGES = ("numpy", "zarr", "icechunk", "duckdb", "xarray", "dask")


def main() -> None:
    """Run the named benchmarks, or all."""
    names = sys.argv[1:] or list(NAMES)
    unknown = set(names) - set(NAMES)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}. Choose from {', '.join(NAMES)}.")
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        tables = "\n".join(result.markdown() for result in importlib.import_module(f"benchmarks.{name}").run())
        print(tables)
        _keep(name, tables)


def _keep(name: str, tables: str) -> None:
    """Replace the section of a benchmark on the page; other sections do not change."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    machine = f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}, " + ", ".join(
        f"{p} {version(p)}" for p in PACKAGES
    )
    said = f"Measured {datetime.now(UTC):%Y-%m-%d} with `make bench ARGS={name}` on {machine}."
    section = f"<!-- {name} -->\n{tables}\n{said}\n<!-- end {name} -->\n"
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- end {name} -->\n", re.DOTALL)
    page = pattern.sub(lambda _: section, page) if pattern.search(page) else page.rstrip("\n") + "\n\n" + section
    PAGE.write_text(page, encoding="utf-8")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


HEAD = """# Benchmarks

Ratios measured side by side in one run; seconds are valid for one machine only. `make bench` runs all benchmarks and rewrites
this page, `make bench ARGS=query` runs one.
"""


if __name__ == "__main__":
    main()
