"""Records that readers return, and problems. Plain data without behavior."""

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
    """A problem of a file or a run sheet to report.

    ``severity`` is ``error`` (the item is refused), ``warning`` (it is accepted; check it) or ``note``.
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
    """Location of the numbers of a scan if the file that was read only links to them."""

    file: Path
    scan: str
    sha256: str


@dataclass(slots=True)
class Scan:
    """One scan as recorded in a file, in the names and units of the vocabulary.

    Parameters
    ----------
    name : str
        Name of the scan in the file ("1.1"); "1" if the file has one scan.
    energy : ndarray, shape (n,)
        In eV, in the order of the file.
    channels : dict of str to ndarray, each shape (n,)
        Keys from `schemas.vocabulary.CHANNELS`; NaN where a value is missing.
    conditions : dict
        Vocabulary terms that the file states, in the units of the vocabulary. Nothing is guessed.
    header : dict of str to str
        Metadata of the file, unchanged.
    problems : list of Problem
        Problems that do not prevent reading.
    held : Held, optional
        The other file that contains all its numbers; the scan is the same from either file.
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
    """One file format. ``archive/readers/README.md`` lists the responsibilities of a reader."""

    name: str
    version: int
    suffixes: tuple[str, ...]

    def sniff(self, head: bytes, filename: str) -> bool:
        """Return True if a file that begins with `head` (4096 bytes at most) has this format."""

    def read(self, path: Path, options: Mapping[str, Any]) -> list[Scan]:
        """Return all scans of the file. Raise UnreadableFile or InvalidData, with place and remedy."""


@runtime_checkable
class GrowingReader(Protocol):
    """A format of one file with many scans, which records when each scan has ended."""

    name: str
    version: int
    suffixes: tuple[str, ...]

    def sniff(self, head: bytes, filename: str) -> bool:
        """See `Reader`."""

    def read(self, path: Path, options: Mapping[str, Any]) -> list[Scan]:
        """See `Reader`."""

    def read_since(
        self, path: Path, options: Mapping[str, Any], seen: Sequence[str]
    ) -> tuple[list[Scan], list[str], list[Problem]]:
        """Return the scans that are not in `seen`, all entries that have ended, and problems to report."""
