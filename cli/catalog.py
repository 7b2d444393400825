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
    file: Annotated[Path, typer.Argument(help="Catalog file to write.")] = Path("catalog.yaml"),
    entry: Annotated[
        list[str] | None,
        typer.Option(
            "--entry",
            "-e",
            help='Entry as NAME=QUERY: --entry ni_k_above_14gpa="xas Ni K above 14 GPa". Can be repeated.',
        ),
    ] = None,
    derived: Annotated[
        list[str] | None,
        typer.Option("--derived", help="Stored values to add to the spectra: --derived edge_energy. Can be repeated."),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
) -> None:
    """Write an intake catalog of named selections.

    Without --entry the catalog has entries for all spectra, each kind of spectrum, each run and each saved query. The path of the archive
    is relative to the catalog file. The entries follow the archive; with --at they always read that snapshot.
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
                note(f"@{saved.name} is not an entry: it finds {saved.noun}, but an entry needs spectra.")
    print(f'\nOpen it: intake.open_catalog("{file}")["{next(iter(written))}"].read()')
