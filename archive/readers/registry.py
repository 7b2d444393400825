"""Registry of readers: the reader of a file, and reading it without a library's traceback."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from barospec.archive.readers.models_registry import MODEL_READERS, model_claims
from barospec.schemas.errors import BarospecError, CallError, UnreadableFile, did_you_mean
from barospec.schemas.records import GrowingReader, Problem, Reader, Scan

# One line a format: the module of that name beside this one.
_MODULES = (
    "athena",
    "bliss",
    "columns",
    "fdmnes",
    "feff",
    "nxxas",
    "quanty",
    "spec",
    "xdi",
)

HEAD = 4096
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class _Readers(Mapping[str, Reader]):
    """Name to module. A module is imported when asked for: the table itself costs no numpy and no h5py."""

    def __getitem__(self, name: str) -> Reader:
        if name not in _MODULES:
            raise KeyError(name)
        return cast(Reader, importlib.import_module(f"barospec.archive.readers.{name}"))

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


READERS: Mapping[str, Reader] = _Readers()


def claims(path: Path) -> list[str]:
    """Return names of the readers that claim a file, in alphabetical order.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    list of str

    Raises
    ------
    UnreadableFile
        When the file cannot be opened.
    """
    head = _head(path)
    return [name for name, reader in READERS.items() if reader.sniff(head, str(path))]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be opened: {error.strerror or error}.") from None


def _not_a_spectrum(models: list[str]) -> str:
    """Say what a model file holds, and how to read it."""
    holds = " or ".join(MODEL_READERS[name].holds for name in models)
    return (
        f"it holds {holds}. As such it is ingested; here spectra are read. In Python: models_registry.read_model(path)."
    )


def find_reader(path: str | Path, format: str | None = None, options: Mapping[str, Any] = _NO_OPTIONS) -> Reader:
    """Find the one reader for a file.

    Parameters
    ----------
    path : str or Path
        The file.
    format : str, optional
        Name of the reader, where the file does not show it or several claim it.
    options : mapping
        As in `read_file`. A file that nobody claims is a plain column file if ``columns`` describes it.

    Returns
    -------
    Reader

    Raises
    ------
    UnreadableFile
        When no reader or more than one claims the file; the message names the candidates.
    CallError
        When there is no format of that name.

    Examples
    --------
    >>> find_reader("anything.txt", format="xdi").name
    'xdi'
    """
    path = Path(path)
    if format is not None:
        if format not in READERS:
            if format in MODEL_READERS:
                raise CallError(f"{format} is a format of models, not of spectra: {_not_a_spectrum([format])}")
            known = ", ".join(READERS)
            raise CallError(f'no format "{format}"; there are {known}.{did_you_mean(format, list(READERS))}')
        return READERS[format]
    names = claims(path)
    if not names and options.get("columns"):
        names = ["columns"]
    if len(names) == 1:
        return READERS[names[0]]
    if names:
        raise UnreadableFile(
            f"{path}: {' and '.join(names)} both claim this file. Say which: format: {names[0]} in the "
            "run sheet, "
            f"or --format {names[0]}."
        )
    if models := model_claims(_head(path), str(path)):
        raise UnreadableFile(f"{path}: a model file, no spectrum: {_not_a_spectrum(models)}")
    raise UnreadableFile(
        f"{path}: of no known format ({', '.join(READERS)}). If one of them fits nevertheless, say "
        "format: NAME in the "
        "run sheet or --format NAME; if it is a plain table, describe it there: "
        "columns: {energy: {column: 1, unit: eV}, i0: 2, itrans: 3}."
    )


def read_file(
    path: str | Path, format: str | None = None, options: Mapping[str, Any] = _NO_OPTIONS
) -> tuple[Reader, list[Scan]]:
    """Read all scans of a file with the reader that claims it.

    Parameters
    ----------
    path : str or Path
        The file.
    format : str, optional
        Name of the reader; default: the one that claims the file.
    options : mapping
        ``columns`` (layout of a plain column file), ``channels`` (which counter is what), ``d_spacing`` (Å),
        as in ``docs/run-sheets.md``; a reader takes what concerns it.

    Returns
    -------
    tuple of Reader and list of Scan
        At least one scan, each with at least one channel.

    Raises
    ------
    BarospecError
        UnreadableFile, InvalidData, Unsupported or CallError; whatever a library raises on a damaged file
        becomes UnreadableFile with the file named.
    """
    path = Path(path)
    reader = find_reader(path, format, options)
    with _errors_of(path, reader.name):
        scans = reader.read(path, options)
    if not scans:
        raise UnreadableFile(f"{path}: {reader.name} found no scan in it.")
    return reader, scans


def read_since(
    path: Path, format: str | None, options: Mapping[str, Any], seen: Sequence[str]
) -> tuple[Reader, list[Scan], list[str], list[Problem]] | None:
    """Read what is new in a growing file: reader, new scans, entries that have ended, problems; see `bliss.read_since`.

    None for a format whose files do not say which of their scans have ended. Raises as `read_file`, but no new scan is no error.
    """
    reader = find_reader(path, format, options)
    if not isinstance(reader, GrowingReader):
        return None
    with _errors_of(path, reader.name):
        return reader, *reader.read_since(path, options, seen)


@contextmanager
def _errors_of(path: Path, name: str) -> Iterator[None]:
    """Convert whatever is raised in the block to an error of barospec that names the file."""
    try:
        yield
    except BarospecError as error:
        # Errors about a unit or a number come from below, where the file is not known.
        if str(path) not in str(error):
            error.args = (f"{path}: {error.args[0] if error.args else error}", *error.args[1:])
        raise
    except Exception as error:  # a damaged file can make a library raise anything
        reason = str(error).splitlines()[0] if str(error) else "no message"
        raise UnreadableFile(
            f"{path}: cannot be read as {name} ({type(error).__name__}: {reason}). Damaged, "
            "truncated or still "
            "being written? Compare it with its original; if it is of another format, say --format NAME."
        ) from error
