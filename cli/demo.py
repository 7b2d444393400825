"""``barospec demo``."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._output import note

NAME = "demo"

SERIES = "La3Ni2O7 Ni K run in (run-2, run-3)"

PYTHON = """
import barospec

archive = barospec.open("{archive}")
selection = archive.query("Ni K above 14 GPa below 80 K")
print(selection)
spectra = selection.to_xarray()            # lazy: nothing is read yet
print(spectra.sizes, type(spectra.mu.data).__name__)
edges = selection.apply("edge_energy")     # lazy too
print(edges.edge_energy.compute().to_series().describe()[["count", "mean", "min", "max"]].round(3).to_string())
"""

INTAKE = """
import intake

catalog = intake.open_catalog("{catalog}")
print(list(catalog))
spectra = catalog["ni_k_above_14gpa"].read()   # the same lazy Dataset
print(spectra.sizes, sorted(set(spectra.run.values)))
"""


def command(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder for the sample archive.")] = Path("barospec-demo"),
) -> None:
    """Build a sample archive and run example commands on it.

    The archive is built from raw files. Every command is printed before it runs, so that it can be repeated. The spectra of the sample are SYNTHETIC (generated from
    published numbers) or calculated with a physics code; none is a measurement.
    """
    from barospec import sample_data

    run = partial(_run, context.obj)
    archive = shlex.quote(str(folder))
    raw = _shown(Path(sample_data.RAW))
    pictures = folder / "pictures"
    say("1. Build an archive from raw files and run sheets, as beamlines and codes write them.")
    if (folder / "barospec.json").exists():
        print(f"   {folder} exists; its spectra are recognized and not added again.")
    else:
        run("init", str(folder), "--title", "barospec sample archive")
    if run("ingest", str(raw), "--archive", str(folder), quiet=True):
        note(
            f"{folder} is not the sample archive of this version. Remove it, or name another folder; then run the demo again."
        )
        raise typer.Exit(1)
    run("runs", "--archive", str(folder))
    say("2. Query. Units are converted, and the answer reports what it excluded.")
    run("query", "all runs above 14 GPa", "--archive", str(folder))
    run("query", "Ni K spectra with pressure > 140 kbar and temperature = 10 +- 1 K", "--archive", str(folder))
    say("3. Compute edge energies (norm = 0.8) lazily over a query, as a table and as pictures.")
    run("apply", "edge_energy", f"{SERIES} sorted by pressure", "--archive", str(folder))
    run("plot", "quantity", SERIES, "--relative", "-o", str(pictures / "edge-shift.png"), "--archive", str(folder))
    run("plot", "conditions", "pressure is known", "-o", str(pictures / "conditions.png"), "--archive", str(folder))
    say("4. Do the same in Python.")
    execute(PYTHON.format(archive=folder))
    say("5. Do the same with an intake catalog.")
    catalog = folder / "catalog.yaml"
    run(
        "catalog",
        str(catalog),
        "-e",
        "ni_k_above_14gpa=xas Ni K above 14 GPa",
        "-e",
        "nio=xas of NiO",
        "--archive",
        str(folder),
    )
    execute(INTAKE.format(catalog=catalog))
    print(
        f"\nThe archive is in {folder}. Set BAROSPEC_ARCHIVE={archive} to use it without --archive. Next, for your own data: docs/run-sheets.md."
    )


def _shown(path: Path) -> Path:
    """Return a path relative to this folder where that is shorter."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}")


def _run(app: typer.Typer, *words: str, quiet: bool = False) -> int:
    """Print a command as a user types it, run it in this process, and return its exit code."""
    print(f"\n$ barospec {shlex.join(words)}")
    sys.stdout.flush()
    hidden = contextlib.redirect_stderr(io.StringIO()) if quiet else contextlib.nullcontext()
    with hidden:
        code = app(list(words), standalone_mode=False)
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


def execute(program: str) -> None:
    """Print a Python program line by line, then run it."""
    print("\n" + "\n".join(f">>> {line}" if line else "" for line in program.strip().splitlines()) + "\n")
    sys.stdout.flush()
    exec(compile(program, "<demo>", "exec"), {})
    sys.stdout.flush()
