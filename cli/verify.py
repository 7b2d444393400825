"""``barospec verify``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, progress, write_object
from barospec.schemas.values import counted

NAME = "verify"


def command(
    path: Annotated[
        str | None,
        typer.Argument(
            help="Archive or bundle (folder or zip) to verify. Default: the archive of --archive.", show_default=False
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    history: Annotated[
        bool,
        typer.Option("--history", help="For an archive: read every snapshot, not only the newest and the tagged ones."),
    ] = False,
    seal: Annotated[
        bool, typer.Option("--seal", help="For an archive: first record checksums of metadata files that have none.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="For a bundle: compute every derived value again and compare.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify every byte and record of an archive or bundle.

    Checks the bytes of all files, every spectrum, every record and every row of the index. Prints each fault with its location. Nothing changes (except with --seal), and no code of a bundle is executed. Exit code 1 if
    anything is wrong.
    """
    whole = (
        _bundle(path, recompute, as_json)
        if path and _is_bundle(path)
        else _archive(path or archive, at, history, seal, as_json)
    )
    if not whole:
        raise typer.Exit(1)


def _is_bundle(path: str) -> bool:
    place = Path(path)
    return place.is_file() or (place.is_dir() and not (place / "barospec.json").exists())


def _archive(place: str | None, at: str | None, history: bool, seal: bool, as_json: bool) -> bool:
    opened = open_archive(place, at)
    if seal:
        note(f"checksums recorded for {counted(opened.seal(), 'snapshots')}.")
    began = time.monotonic()
    with progress("verify") as advance:
        report = opened.verify(history=history, progress=advance)
    seconds = time.monotonic() - began
    if as_json:
        columns = ["where", "what", "todo"]
        rows = [[fault.where, fault.what, fault.todo] for fault in report.faults]
        head = {"snapshot": report.snapshot, "count": len(rows), "missing": {}, "units": {}}
        write_object({**head, "ok": report.ok, "checked": report.checked, "notes": report.notes}, columns, rows)
    else:
        for fault in report.faults:
            print(f"{fault.where}: {fault.what}")
        for todo in dict.fromkeys(fault.todo for fault in report.faults):
            print(f"-> {todo}")
        shown = ", ".join(counted(number, what) for what, number in report.checked.items() if what != "bytes of chunks")
        size = report.checked.get("bytes of chunks", 0) / 1e6
        verdict = "No faults" if report.ok else counted(len(report.faults), "faults")
        print(f"{verdict}: {shown}; {size:.1f} MB of chunks in {seconds:.1f} s.")
    for message in report.notes:
        note(message)
    return report.ok


def _bundle(path: str, recompute: bool, as_json: bool) -> bool:
    from barospec import verify_bundle

    with progress("verifying") as advance:
        found = verify_bundle(path, recompute=recompute, progress=advance)
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
        return found.ok
    for line in found.recomputed:
        print(line)
    for problem in found.problems:
        print(f"WRONG  {problem}")
    for text in found.notes:
        note(text)
    state = "is undamaged" if found.ok else f"is damaged: {counted(len(found.problems), 'problems')}"
    more = f" and {counted(found.inputs, 'inputs')}" if found.inputs else ""
    held = f"{counted(found.files, 'files')}, {counted(found.spectra, 'spectra')}{more}"
    print(f"{path} {state}; {held} (bundle {found.identifier}).")
    return found.ok
