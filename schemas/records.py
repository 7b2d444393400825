"""What readers give and what problems look like. Plain records, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to tell a person about a file or a run sheet.

    ``severity`` is ``error`` (the item is refused), ``warning`` (it is taken, look at it) or ``note``.
    """

    severity: Literal["error", "warning", "note"]
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    scan: str = ""

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}" + (f":{self.column}" if self.column else "")
        if self.scan:
            place += f" [{self.scan}]"
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, slots=True)
class Held:
    """Where the numbers of a scan are, when the file that was read only links to them."""

    file: Path
    scan: str
    sha256: str


@dataclass(slots=True)
class Scan:
    """One sweep as a file records it, in the vocabulary's names and units.

    Parameters
    ----------
    name : str
        The scan's name inside the file ("1.1"); "1" when a file holds one.
    energy : ndarray, shape (n,)
        In eV, in the order of the file.
    channels : dict of str to ndarray, each shape (n,)
        Keys from `schemas.vocabulary.CHANNELS`; NaN where a value is missing.
    conditions : dict
        Vocabulary terms that the file itself states, in the vocabulary's units. Nothing guessed.
    header : dict of str to str
        The file's own metadata, untouched.
    problems : list of Problem
        What looks wrong but does not forbid reading.
    held : Held, optional
        The other file that holds all its numbers: the scan is the same whichever file it is read from.
    """

    name: str
    energy: NDArray[np.float64]
    channels: dict[str, NDArray[np.float64]]
    title: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    held: Held | None = None


class Reader(Protocol):
    """One file format. See ``archive/readers/README.md`` for what a reader is responsible for."""

    name: str
    version: int
    suffixes: tuple[str, ...]

    def sniff(self, head: bytes, filename: str) -> bool:
        """Whether a file that begins with `head` (4096 bytes at most) is of this format."""

    def read(self, path: Path, options: Mapping[str, Any]) -> list[Scan]:
        """All scans of the file. Raises UnreadableFile or InvalidData, with place and remedy."""


@runtime_checkable
class GrowingReader(Protocol):
    """A format of one file for many scans, each of which says when it has ended."""

    name: str
    version: int
    suffixes: tuple[str, ...]

    def sniff(self, head: bytes, filename: str) -> bool:
        """As of a `Reader`."""

    def read(self, path: Path, options: Mapping[str, Any]) -> list[Scan]:
        """As of a `Reader`."""

    def read_since(
        self, path: Path, options: Mapping[str, Any], seen: Sequence[str]
    ) -> tuple[list[Scan], list[str], list[Problem]]:
        """Scans that are not among `seen`, all entries that have ended, and what is to be told."""
