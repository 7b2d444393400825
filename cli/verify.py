"""``barospec verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli.common import JsonOption
from barospec.cli.output import note, progress, write_object

NAME = "verify"


def command(
    path: Annotated[Path, typer.Argument(help="A bundle: a folder or a zip archive.")],
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute every derived value again from the arrays, and compare.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that a bundle is what was sealed, and what a bundle should be.

    Every byte against the manifests (changed, missing, added and renamed files), every rule, every unit, and that each
    derived value has what it depends on. Nothing in the bundle is executed. Exit code 1 when anything is wrong.
    """
    from barospec.sharing import verify_bundle

    with progress("verifying") as tell:
        found = verify_bundle(path, recompute=recompute, progress=tell)
    if as_json:
        head = {
            "snapshot": found.snapshot,
            "query": found.query,
            "count": len(found.problems),
            "missing": {},
            "units": {},
            "ok": found.ok,
            "bundle": found.identifier,
            "files": found.files,
            "spectra": found.spectra,
            "inputs": found.inputs,
            "notes": found.notes,
            "recomputed": found.recomputed,
        }
        write_object(head, ["problem"], [[problem] for problem in found.problems])
    else:
        for line in found.recomputed:
            print(line)
        for problem in found.problems:
            print(f"WRONG  {problem}")
        for said in found.notes:
            note(said)
        state = "is whole" if found.ok else f"is not whole: {len(found.problems)} things are wrong"
        more = f" and {found.inputs} inputs" if found.inputs else ""
        print(f"{path} {state}; {found.files} files, {found.spectra} spectra{more} (bundle {found.identifier}).")
    if not found.ok:
        raise typer.Exit(1)
