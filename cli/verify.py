"""``barospec verify``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, progress, write_object

NAME = "verify"


def command(
    path: Annotated[
        str | None,
        typer.Argument(
            help="An archive or a bundle (folder or zip). Default: the archive, as --archive.", show_default=False
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    history: Annotated[
        bool, typer.Option("--history", help="Of an archive, read every snapshot, not only the newest and tagged.")
    ] = False,
    seal: Annotated[
        bool, typer.Option("--seal", help="First record digests of an archive's metadata files that have none.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Of a bundle, compute every derived value again, and compare.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that everything is what was written: every byte, every spectrum, every record, every row of the index.

    Says what is wrong and where, and changes nothing; nothing in a bundle is executed. Exit code 1 when anything is wrong.
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
        note(f"{opened.seal()} snapshots sealed.")
    began = time.monotonic()
    with progress("verify") as tell:
        report = opened.verify(history=history, progress=tell)
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
        told = ", ".join(f"{number} {what}" for what, number in report.checked.items() if what != "bytes of chunks")
        size = report.checked.get("bytes of chunks", 0) / 1e6
        verdict = "Nothing is wrong" if report.ok else f"{len(report.faults)} faults"
        print(f"{verdict}: {told}; {size:.1f} MB of chunks in {seconds:.1f} s.")
    for message in report.notes:
        note(message)
    return report.ok


def _bundle(path: str, recompute: bool, as_json: bool) -> bool:
    from barospec import verify_bundle

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
        return found.ok
    for line in found.recomputed:
        print(line)
    for problem in found.problems:
        print(f"WRONG  {problem}")
    for said in found.notes:
        note(said)
    state = "is whole" if found.ok else f"is not whole: {len(found.problems)} things are wrong"
    more = f" and {found.inputs} inputs" if found.inputs else ""
    print(f"{path} {state}; {found.files} files, {found.spectra} spectra{more} (bundle {found.identifier}).")
    return found.ok
