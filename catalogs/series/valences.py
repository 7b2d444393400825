"""Valence from the absorption edge and, independently, from the Kβ2,5 line; comparison of the two."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.statistics import series_compare
from barospec.schemas.errors import InvalidData

if TYPE_CHECKING:
    from barospec.catalogs.selection.selection import Selection

Floats = NDArray[np.float64]
SAME_POINT = 0.5
"""GPa: spectra further apart than this are not of one point, and the answer notes it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One estimate of a valence.

    ``sigma`` is that of a single spectrum: the references' contribution, common to all spectra, does not decrease
    with their number. ``sigma_norm`` (NaN for emission) is that of the choice of normalization windows; ``scatter`` the
    standard deviation between the spectra, NaN for one.
    """

    source: str
    operator: str
    valence: float
    sigma: float
    sigma_norm: float
    scatter: float
    spectra: int
    left_out: int
    flags: str


@dataclass(frozen=True, slots=True)
class Estimates:
    """Both estimates. ``comparison`` is that of `series_compare.compare_values`, with all known errors of each."""

    edge: Estimate
    line: Estimate
    comparison: series_compare.Comparison
    notes: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each estimate."""
        return [asdict(self.edge), asdict(self.line)]


def two_estimates(
    selection: Selection, references: str, *, low: float, high: float, aligned: bool = False, **parameters: Any
) -> Estimates:
    """Estimate the valence of a selection from its absorption and from its emission spectra.

    Parameters
    ----------
    selection : Selection
        Absorption spectra of one edge and emission spectra of one line, of one sample at one point.
    references : str
        Spectra of known valence, of both kinds: ``"2: NiO run = ambient; 3: LaNiO3 run = ambient"``.
    low, high : float
        Window of the Kβ2,5 line in eV.
    aligned : bool
        Measure the line's position from each spectrum's own main line.
    **parameters
        Parameters of ``edge_energy`` and the steps before it, such as ``fraction=0.5``.

    Raises
    ------
    InvalidData
        If one of the two kinds is missing, or there are several edges or lines.

    Notes
    -----
    Neither estimate corrects the other. Both are linear interpolations between two compounds: the first of an edge that also
    shifts with bond lengths, the second of a line that also shifts with the ligands' levels. With the shifts that E. Mijit et
    al. (2024) print for La3Ni2O7 (the line 1.50 eV above NiO and 0.35 eV below LaNiO3) the second is 2.81, where the first
    is 2.53(5).
    """
    parts = {}
    for technique, what in (("xas", "absorption"), ("xes", "emission")):
        part = selection.sel(technique=technique)
        kinds = part.counts()
        if len(kinds) != 1:
            raise InvalidData(
                f"the two estimates need {what} spectra of one kind; the query finds {kinds or 'none'}. "
                f"Omit technique and edge to select both, or name the edge."
            )
        parts[technique] = part
    edge, told_edge = _estimate(parts["xas"], "edge", "valence", references=references, **parameters)
    vtc = {"low": low, "high": high, "aligned": aligned}
    line, told_line = _estimate(parts["xes"], "Kβ2,5", "valence_vtc", references=references, **vtc)
    wide = [np.nansum([one.sigma**2, one.sigma_norm**2]) ** 0.5 for one in (edge, line)]
    notes = list(dict.fromkeys([*told_edge["notes"], *told_line["notes"]]))
    pressures = selection.columns(["pressure", "material"])
    known = np.asarray(pressures["pressure"], dtype=np.float64)
    if np.isfinite(known).any() and np.nanmax(known) - np.nanmin(known) > SAME_POINT:
        notes.append(f"these spectra span {np.nanmin(known):g} to {np.nanmax(known):g} GPa, not one point.")
    materials = sorted({str(name) for name in pressures["material"] if name is not None})
    if len(materials) > 1:
        notes.append(f"these spectra are of several materials: {', '.join(materials)}.")
    return Estimates(
        edge=edge,
        line=line,
        comparison=series_compare.compare_values(edge.valence, float(wide[0]), line.valence, float(wide[1])),
        notes=notes,
        provenance={"edge": told_edge, "line": told_line},
    )


def _estimate(part: Selection, source: str, operator: str, **parameters: Any) -> tuple[Estimate, dict[str, Any]]:
    import xarray as xr

    result = part.apply(operator, **parameters)
    assert isinstance(result, xr.Dataset)
    wanted = [name for name in (operator, f"{operator}_sigma", f"{operator}_sigma_norm") if name in result]
    computed = result[[*wanted, f"{operator}_quality"]].compute()
    values: Floats = np.asarray(computed[operator].values, dtype=np.float64)
    good = np.isfinite(values)
    if not good.any():
        raise InvalidData(f"{operator} has no value for any of {len(values)} spectra; see barospec apply {operator}.")
    codes = np.unique(np.asarray(computed[f"{operator}_quality"].values)[good])

    def middle(name: str) -> float:
        found = np.asarray(computed[name].values, dtype=np.float64)[good] if name in computed else np.array([np.nan])
        return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else float("nan")

    return (
        Estimate(
            source=source,
            operator=operator,
            valence=float(values[good].mean()),
            sigma=middle(f"{operator}_sigma"),
            sigma_norm=middle(f"{operator}_sigma_norm"),
            scatter=float(values[good].std(ddof=1)) if good.sum() > 1 else float("nan"),
            spectra=int(good.sum()),
            left_out=int((~good).sum()),
            flags=" | ".join(reason for code, reason in enumerate(_reasons(operator)) if code and code in codes),
        ),
        json.loads(str(result.attrs["provenance"])),
    )


def _reasons(operator: str) -> tuple[str, ...]:
    from barospec.archive.operators.registry import find_operator

    return find_operator(operator).reasons
