"""WIEN2k text: ``case.dosNev`` (densities of states) and ``case.spaghetti_ene`` (bands). Model files, no spectra."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from barospec.archive.readers import tables
from barospec.archive.readers.electronic import RYDBERG, Array, Bands, Dos
from barospec.schemas.errors import CallError, InvalidData, UnreadableFile

_DOS_NAME = re.compile(r"\.dos\d+(ev)?(?:up|dn)?$")
_BAND = re.compile(r"\s*#?\s*bandindex:\s*(\d+)", re.IGNORECASE)
_FERMI = re.compile(r"#\s*EF\s*=\s*(\S+?)(?=\s|NENRG|$)")


def sniff_dos(head: bytes, filename: str) -> bool:
    """Check whether the first lines are comments with ``EF=`` and ``NENRG=``, as TETRA writes them."""
    lines = head.decode("latin-1").split("\n")[:4]
    return any(re.match(r"#\s*EF\s*=.*NENRG", line) for line in lines)


def sniff_bands(head: bytes, filename: str) -> bool:
    """Check whether ``bandindex: 1`` is in the first lines, as SPAGHETTI writes it."""
    return any(_BAND.match(line) for line in head.decode("latin-1").split("\n")[:3])


def read_dos(path: str | Path, unit: str | None = None) -> Dos:
    r"""Read a density of states that TETRA wrote.

    Parameters
    ----------
    path : str or Path
        ``case.dos1ev`` (energies in eV from the Fermi level) or ``case.dos1`` (Ry); ``up`` and ``dn`` may follow.
    unit : {"eV", "Ry"}, optional
        Where the name of the file does not state it.

    Returns
    -------
    Dos
        One spin, columns labelled as in the file; eV and states per eV.

    Raises
    ------
    UnreadableFile, InvalidData
        When it is truncated, or the unit is not known.
    CallError
        For another unit.

    Notes
    -----
    Files after the WIEN2k users' guide, chapter TETRA; 1 Ry = 13.605693122990 eV (CODATA 2022).

    Examples
    --------
    >>> import tempfile
    >>> head = "#  BAND  -1\n#EF=   0.50000   NENRG=  2\n# ENERGY  total-DOS  Ni-d\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "case.dos1ev")
    ...     _ = file.write_text(head + "-1.0 2.0 0.5\n0.0 3.0 0.7\n")
    ...     read_dos(file).labels
    ('total-DOS', 'Ni-d')
    """
    path = Path(path)
    in_ry = _in_rydberg(path, unit)
    text, _ = tables.read_text(path)
    tables.require_line_end(text, path)
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    table = _table(lines, first, path)
    stated = re.search(r"NENRG\s*=\s*(\d+)", "\n".join(lines[:first]))
    if stated and int(stated[1]) != len(table):
        raise UnreadableFile(
            f"{path}: {len(table)} rows where NENRG is {stated[1]}: truncated, or still being written?"
        )
    labels = lines[first - 1].lstrip("# ").split() if first else []
    if len(labels) != table.shape[1] or labels[0].upper() != "ENERGY":
        raise InvalidData(f"{path}:{first}: {len(labels)} labels for {table.shape[1]} columns; the first is ENERGY.")
    factor, fermi = 1.0, 0.0
    if in_ry:
        level = _FERMI.search("\n".join(lines[:first]))
        value = tables.numeric(level[1]) if level else None
        factor, fermi = RYDBERG, np.nan if value is None else value * RYDBERG
    return Dos(table[:, 0] * factor, table[:, 1:].T[None] / factor, tuple(labels[1:]), fermi)


def _in_rydberg(path: Path, unit: str | None) -> bool:
    """Check whether energies are in Ry, by what the caller says, else by the name."""
    if unit not in (None, "eV", "Ry"):
        raise CallError(f'unit "{unit}": choose eV or Ry.')
    named = _DOS_NAME.search(path.name)
    if unit is None and named is None:
        raise InvalidData(
            f'{path}: WIEN2k states the unit in the name, ".dos1ev" or ".dos1" (Ry). Say unit="eV" or "Ry".'
        )
    return unit == "Ry" if unit else bool(named and not named[1])


def read_bands(path: str | Path) -> Bands:
    r"""Read bands that SPAGHETTI wrote along a path.

    Parameters
    ----------
    path : str or Path
        ``case.spaghetti_ene``: for each band a line ``bandindex:`` and rows kx ky kz, length along the path, energy.

    Returns
    -------
    Bands
        One spin; energies in eV from the Fermi level (``fermi_level`` is 0).

    Raises
    ------
    UnreadableFile, InvalidData
        When it is truncated or its bands have different k-points.

    Notes
    -----
    File after the WIEN2k users' guide, chapter SPAGHETTI.

    Examples
    --------
    >>> import tempfile
    >>> block = "  bandindex:     {}\n 0.0 0.0 0.0 0.00000 {}\n 0.5 0.0 0.0 0.25000 {}\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "case.spaghetti_ene")
    ...     _ = file.write_text(block.format(1, -1.5, -1.0) + block.format(2, 0.5, 0.25))
    ...     read_bands(file).energy.tolist()
    [[[-1.5, 0.5], [-1.0, 0.25]]]
    """
    path = Path(path)
    text, _ = tables.read_text(path)
    tables.require_line_end(text, path)
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if _BAND.match(line)]
    if not starts:
        raise UnreadableFile(
            f'{path}: no line "bandindex:", so no spaghetti_ene of WIEN2k, or cut before its first band.'
        )
    blocks = [lines[start + 1 : end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    counts = [sum(bool(line.strip()) for line in block) for block in blocks]
    if len(set(counts)) > 1:
        odd = next(i for i, count in enumerate(counts) if count != counts[0])
        raise UnreadableFile(
            f"{path}:{starts[odd] + 1}: band {odd + 1} has {counts[odd]} k-points, the first {counts[0]}: truncated or damaged?"
        )
    values = np.stack(
        [_table([*lines[: start + 1], *block], start + 1, path) for start, block in zip(starts, blocks, strict=True)]
    )
    if values.shape[2] != 5:
        raise InvalidData(f"{path}:{starts[0] + 2}: {values.shape[2]} columns; expected kx ky kz, length and energy.")
    if not (values[:, :, :4] == values[0, :, :4]).all():
        raise InvalidData(f"{path}: the bands are not on the same k-points: damaged, or of two runs.")
    return Bands(values[:, :, 4].T[None].copy(), values[0, :, :3], 0.0, distance=values[0, :, 3])


def _table(lines: list[str], first: int, path: Path) -> Array:
    """Read rows of numbers from a line on, without any gap."""
    table = tables.parse_table(lines[first:], first + 1, path)
    if table.problems:
        raise InvalidData(f"{table.problems[0]}. Compare the file with its original.")
    return table.values
