"""``barospec catalog``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, open_archive
from barospec.cli._output import note, table
from barospec.schemas.errors import CallError

NAME = "catalog"


def command(
    file: Annotated[Path, typer.Argument(help="The catalog file to write.")] = Path("catalog.yaml"),
    entry: Annotated[
        list[str] | None,
        typer.Option(
            "--entry",
            "-e",
            help='A named selection: --entry ni_k_above_14gpa="xas Ni K above 14 GPa". May be repeated.',
        ),
    ] = None,
    derived: Annotated[
        list[str] | None,
        typer.Option(
            "--derived", help="Stored values that come with the spectra: --derived edge_energy. May be repeated."
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
) -> None:
    """Write an intake catalog whose entries are named selections of the archive.

    Without --entry: everything, each kind of spectrum, each run and each saved query. The archive is named relative to the file. With --at
    the entries are held at that snapshot; otherwise they follow the archive.
    """
    from barospec.catalogs.selection.saved_queries import SELECTABLE

    entries: dict[str, str] | None = None
    if entry:
        entries = {}
        for text in entry:
            name, equals, query = text.partition("=")
            if not equals or not query.strip():
                raise CallError(f'--entry "{text}": write NAME=QUERY.')
            entries[name.strip()] = query.strip()
    opened = open_archive(archive, at)
    written = opened.catalog(file, entries, pin=at is not None, derived=derived or [])
    table(["entry", "selection"], list(written.items()))
    if entries is None:
        for saved in opened.saved():
            if saved.noun not in SELECTABLE:
                note(f"@{saved.name} is no entry: it asks for {saved.noun}, and entries hold spectra.")
    print(f'\nOpen it: intake.open_catalog("{file}")["{next(iter(written))}"].read()')
