"""Readers of model files: Hamiltonians, bands, densities of states. They hold no spectra and give plain arrays."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barospec.schemas.errors import BarospecError, CallError, UnreadableFile, did_you_mean


@dataclass(frozen=True, slots=True)
class ModelReader:
    """A model format: its module beside this one, the functions that recognize and read it, what it holds."""

    module: str
    read: str
    holds: str
    sniff: str = "sniff"

    def function(self, name: str) -> Any:
        """Import the module and return a function of it."""
        return getattr(importlib.import_module(f"barospec.archive.readers.{self.module}"), name)


# One line a format.
MODEL_READERS: Mapping[str, ModelReader] = {
    "vasprun": ModelReader("vasp", "read_vasprun", "bands and densities of states (VASP)"),
    "wannier90": ModelReader("wannier90", "read_hoppings", "hoppings H(R) (wannier90 _hr.dat)"),
    "wien2k_bands": ModelReader("wien2k", "read_bands", "bands (WIEN2k spaghetti_ene)", "sniff_bands"),
    "wien2k_dos": ModelReader("wien2k", "read_dos", "densities of states (WIEN2k dosNev)", "sniff_dos"),
}


def model_claims(head: bytes, filename: str) -> list[str]:
    r"""Return names of the model formats that a file of this beginning may have, in alphabetical order.

    >>> model_claims(b"written by hand\n 1\n 3\n 2 1 2\n", "chain_hr.dat")
    ['wannier90']
    """
    return [name for name, entry in MODEL_READERS.items() if entry.function(entry.sniff)(head, filename)]


def read_model(path: str | Path, format: str | None = None) -> Any:
    """Read a model file.

    Parameters
    ----------
    path : str or Path
        The file.
    format : str, optional
        A key of `MODEL_READERS`; default: the one that recognizes the file.

    Returns
    -------
    Hoppings, ElectronicStructure, Bands or Dos
        As the format's own function returns it; see ``wannier90.py`` and ``electronic.py``.

    Raises
    ------
    UnreadableFile, InvalidData
        When no format recognizes it, or it is damaged.
    CallError
        When there is no format of that name.

    Examples
    --------
    >>> sorted(MODEL_READERS)
    ['vasprun', 'wannier90', 'wien2k_bands', 'wien2k_dos']
    """
    path = Path(path)
    known = list(MODEL_READERS)
    if format is not None and format not in MODEL_READERS:
        raise CallError(f'no model format "{format}"; there are {", ".join(known)}.{did_you_mean(format, known)}')
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        names = [format] if format else model_claims(head, str(path))
        if len(names) != 1:
            which = f"both {' and '.join(names)}" if names else f"none of {', '.join(known)}"
            raise UnreadableFile(f"{path}: recognized as {which}; say format=NAME.")
        entry = MODEL_READERS[names[0]]
        return entry.function(entry.read)(path)
    except BarospecError:
        raise
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be opened: {error.strerror or error}.") from None
    except Exception as error:  # a damaged file can make a parser raise anything
        reason = str(error).splitlines()[0] if str(error) else "no message"
        raise UnreadableFile(
            f"{path}: cannot be read ({type(error).__name__}: {reason}). Damaged, truncated or still being written?"
        ) from error
