"""Raw files of the sample archive, and the code that generates them."""

from __future__ import annotations

from pathlib import Path

RAW = Path(__file__).parent / "raw"

_SHEETS = (
    "references.yaml",
    "ambient-xas.yaml",
    "ambient-xes.yaml",
    "run-1.yaml",
    "run-2.yaml",
    "run-3.yaml",
    "run-4.yaml",
    "run-5.yaml",
    "run-6.yaml",
    "NiO.yaml",
    "calculated.yaml",
)


def sheets() -> list[Path]:
    """Return the run sheets of the sample archive, in the order of ingest.

    Returns
    -------
    list of Path
        Structures and literature values first, so that spectra can refer to them.

    Examples
    --------
    >>> sheets()[0].name
    'references.yaml'
    """
    return [RAW / name for name in _SHEETS]
