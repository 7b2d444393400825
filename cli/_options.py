"""Options that several verbs share, and access to the archive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import xarray as xr

    from barospec import Archive

ArchiveOption = Annotated[
    str | None,
    typer.Option(
        "--archive",
        "-a",
        metavar="LOCATION",
        help="Archive: a folder or s3://bucket/prefix. Default: the variable BAROSPEC_ARCHIVE, or ./barospec-archive.",
        show_default=False,
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", help="State to read: a tag, a snapshot or a date (UTC). Default: the newest.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print the result as CSV.")]
ParquetOption = Annotated[
    Path | None, typer.Option("--parquet", help="Write the result to a Parquet file.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help='Value of a field for files without a run sheet, such as --set pressure="15.6 GPa". Can be repeated.',
    ),
]


def archive_path(path: str | None) -> str:
    """Return the location of the archive: the option, the environment variable, or the default name in this folder."""
    from barospec.archive.store.storage.location import DEFAULT_ARCHIVE

    return path or os.environ.get("BAROSPEC_ARCHIVE") or DEFAULT_ARCHIVE


def open_archive(path: str | None, at: str | None = None) -> Archive:
    """Open the archive that the options name."""
    from barospec._archive import Archive

    return Archive(archive_path(path), at=at)


def datasets_of(result: xr.Dataset | xr.DataTree) -> list[xr.Dataset]:
    """Return the Datasets of a result, which is one Dataset or a tree of them."""
    import xarray as xr

    if isinstance(result, xr.Dataset):
        return [result]
    return [node.to_dataset() for node in result.leaves]


def agree(question: str) -> None:
    """Ask for confirmation on a terminal; elsewhere raise an error that names --yes."""
    import sys

    from barospec.schemas.errors import CallError

    if not sys.stdin.isatty():
        raise CallError("nothing was changed. Check the changes listed above, then add --yes to apply them.")
    if not typer.confirm(question, err=True):
        raise CallError("nothing was changed.")
