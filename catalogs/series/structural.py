"""Bond lengths from a table; edge energies of a sample corrected for its contraction."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.statistics import series_compare, series_fit
from barospec.catalogs.series.along import BOND, SeriesData, gather
from barospec.schemas.errors import CallError, InvalidData, NotFound

if TYPE_CHECKING:
    from barospec.catalogs.selection.selection import Selection

COLUMNS = ("material", "pressure", "bond_length")


def read_bond_lengths(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Read bond lengths from a CSV table with the columns material, pressure (GPa) and bond_length (Å).

    Returns
    -------
    dict
        Material -> (pressures, lengths), as for `series.gather`.

    Raises
    ------
    NotFound, InvalidData
        With the line that cannot be read.
    """
    if not path.is_file():
        raise NotFound(f"there is no table {path}. Expected the columns {', '.join(COLUMNS)} (GPa, Å).")
    found: dict[str, tuple[list[float], list[float]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or [])]
        if missing:
            raise InvalidData(
                f"{path}: no column {', '.join(missing)}; found {', '.join(rows.fieldnames or []) or 'none'}. "
                f"Write {','.join(COLUMNS)} as the first line (GPa, Å)."
            )
        for number, row in enumerate(rows, 1):
            try:
                pressure, length = (float(row[name]) for name in COLUMNS[1:])
            except (TypeError, ValueError):
                raise InvalidData(f"{path}, row {number}: {list(row.values())} are not material, GPa and Å.") from None
            if not (np.isfinite(pressure) and 0.5 < length < 6.0):
                raise InvalidData(f"{path}, row {number}: a bond of {length:g} Å at {pressure:g} GPa is not possible.")
            pressures, lengths = found.setdefault(row["material"].strip(), ([], []))
            pressures.append(pressure)
            lengths.append(length)
    return found


def structural(
    selection: Selection,
    operators: str,
    *,
    slope: float | None = None,
    slope_sigma: float = 0.0,
    like: Selection | None = None,
    like_reference: str | None = None,
    **options: Any,
) -> tuple[list[dict[str, Any]], SeriesData]:
    """Compute edge energies or shifts of each sample against pressure, less the effect of its contraction.

    Parameters
    ----------
    selection : Selection
    operators : str
        ``edge_energy``, ``edge_shift`` or another with a result in eV.
    slope, slope_sigma : float, optional
        dE/dR in eV/Å, or else
    like : Selection
        spectra of a compound whose valence does not change, along pressure: the slope of a line through their edge shifts
        against bond length is used.
    like_reference : str, optional
        Reference of that series, for operators that need one.
    **options
        Options of `series.gather`: parameters, references, ``bond_lengths``.

    Returns
    -------
    rows, gathered
        One row per spectrum: ``x`` (Å) as ``bond_length``, the energy before and after; the correction is zero at the
        longest bond of each series.

    Raises
    ------
    CallError
        For neither or both of `slope` and `like`, or a result that is not an energy.
    InvalidData
        If no spectrum has a bond length.
    """
    if (slope is None) == (like is None):
        raise CallError("give the slope dE/dR in eV/Å (--slope), or spectra of a compound to fit it to (--like).")
    found = gather(selection, operators, against=BOND, **options)
    if found.unit != "eV":
        raise CallError(f"{found.name} is in {found.unit}; a structural correction needs energies.")
    if not found.x.size:
        raise InvalidData(
            "no spectrum has a bond length at its pressure. Give a table: --bond-lengths FILE.csv with the columns "
            f"{', '.join(COLUMNS)} (GPa, Å), or ingest structures into the archive."
        )
    if like is not None:
        known = {**options, **({"reference": like_reference} if like_reference else {})}
        other = gather(like, operators, against=BOND, **{**known, "by": ()})
        line = series_fit.fit_line(other.x, other.y, other.sigma)
        slope, slope_sigma = line.slope, line.slope_sigma
        found.notes.append(
            f"dE/dR = {slope:.2f} ± {slope_sigma:.2f} eV/Å, from {line.count} spectra between {other.x.min():.4f} and "
            f"{other.x.max():.4f} Å."
        )
    assert slope is not None
    labels, ids, rows = np.asarray(found.groups, dtype=object), np.asarray(found.ids, dtype=object), []
    for name in sorted(set(found.groups)):
        mine = np.flatnonzero(labels == name)
        mine = mine[np.argsort(-found.x[mine], kind="stable")]
        at = float(found.x[mine[0]])
        energies, extra = series_compare.structural_correction(
            found.y[mine], found.x[mine], per_bond_length=slope, at=at, sigma=slope_sigma
        )
        rows += [
            {
                "series": name,
                "spectrum_id": str(ids[i]),
                "bond_length": float(found.x[i]),
                found.name: float(found.y[i]),
                "structural": float(found.y[i] - energy),
                "corrected": float(energy),
                "corrected_sigma": float(np.hypot(0.0 if np.isnan(found.sigma[i]) else found.sigma[i], more)),
            }
            for i, energy, more in zip(mine, energies, extra, strict=True)
        ]
        found.notes.append(f"{name}: the correction is zero at {at:.4f} Å, the longest bond of the series.")
    return rows, found
