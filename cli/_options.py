"""Options that verbs share, and how an archive is found."""

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
        metavar="PLACE",
        help="The archive: a folder or s3://bucket/prefix. Default: the BAROSPEC_ARCHIVE variable, or ./barospec-archive.",
        show_default=False,
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", help="A tag, snapshot or date (UTC): answer as of then. Default: the newest.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
ParquetOption = Annotated[Path | None, typer.Option("--parquet", help="Write a Parquet file.", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help='A field for files without a run sheet, such as --set pressure="15.6 GPa". May be repeated.'
    ),
]


def archive_path(path: str | None) -> str:
    """The archive meant: the option, the environment, or the default name in this folder."""
    from barospec.archive.store.storage.location import DEFAULT_ARCHIVE

    return path or os.environ.get("BAROSPEC_ARCHIVE") or DEFAULT_ARCHIVE


def open_archive(path: str | None, at: str | None = None) -> Archive:
    """Open the archive meant by the options."""
    from barospec import Archive

    return Archive(archive_path(path), at=at)


def datasets_of(result: xr.Dataset | xr.DataTree) -> list[xr.Dataset]:
    """The Datasets of a result, whether it is one or a tree of them."""
    import xarray as xr

    if isinstance(result, xr.Dataset):
        return [result]
    return [node.to_dataset() for node in result.leaves]


def agree(question: str) -> None:
    """Ask on a terminal; elsewhere refuse, and say how to agree beforehand."""
    import sys

    from barospec.schemas.errors import CallError

    if not sys.stdin.isatty():
        raise CallError("nothing was changed. Look through what would be done, and add --yes.")
    if not typer.confirm(question, err=True):
        raise CallError("nothing was changed.")
