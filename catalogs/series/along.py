"""Series: a computed quantity along a condition, gathered from a selection, grouped, and tested.

The statistics are `barospec.archive.statistics.series_fit` and `series_components`; this module applies them to an archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.statistics import series_compare, series_fit
from barospec.archive.statistics.series_components import components
from barospec.schemas.errors import CallError, InvalidData, NotFound, did_you_mean
from barospec.schemas.vocabulary import BY_NAME

if TYPE_CHECKING:
    from barospec.catalogs.selection.selection import Selection

Floats = NDArray[np.float64]
BondLengths = Mapping[str, tuple[Sequence[float], Sequence[float]]]
BOND = "bond_length"
METHODS = ("line", "breakpoint", "equivalence", "slopes", "components")


@dataclass(slots=True)
class SeriesData:
    """Points of one or several series.

    Parameters
    ----------
    name, unit : str
        The quantity.
    against, against_unit : str
        The condition.
    x, y, sigma : ndarray, shape (n,)
    groups : list of str
        Name of the series of each point.
    ids : list of str
        Spectrum of each point.
    left_out : int
        Spectra without the condition or the quantity.
    notes : list of str
    provenance : dict
    """

    name: str
    unit: str
    against: str
    against_unit: str
    x: Floats
    y: Floats
    sigma: Floats
    groups: list[str]
    ids: list[str]
    left_out: int
    notes: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    def series(self) -> Iterator[tuple[str, Floats, Floats, Floats]]:
        """Yield name, x, y and sigma of each series, by name."""
        labels = np.asarray(self.groups, dtype=object)
        for name in sorted(set(self.groups)):
            mine = labels == name
            yield name, self.x[mine], self.y[mine], self.sigma[mine]


def gather(
    selection: Selection,
    operators: str,
    *,
    against: str = "pressure",
    value: str | None = None,
    by: Sequence[str] = ("sample", "run"),
    bond_lengths: BondLengths | None = None,
    bond: str | None = None,
    **parameters: Any,
) -> SeriesData:
    """Compute an operator over a selection and pair its result with a condition.

    Parameters
    ----------
    selection : Selection
        Spectra of one kind.
    operators : str
        An operator or a chain.
    against : str
        A number field such as pressure or cluster_atoms, or ``bond_length``.
    value : str, optional
        Name of the output; the first of the last operator by default.
    by : sequence of str
        Fields that distinguish series; empty for one series of all.
    bond_lengths : mapping, optional
        Material -> (pressures in GPa, lengths in Å), for ``against="bond_length"``; the archive's structures by
        default, each spectrum by its structure or, between two of its material, by pressure.
    bond : str, optional
        Name of the bond, such as Ni-O; the absorbing element and O by default.
    **parameters
        Parameters of the operators.

    Raises
    ------
    CallError, NotFound, InvalidData
        For fields, outputs and operators that do not exist, or spectra of several kinds.
    """
    import xarray as xr

    known = [name for name, term in BY_NAME.items() if term.kind in ("number", "integer")]
    if against not in known:
        raise CallError(f'"{against}" is not a number field.{did_you_mean(against, known)}')
    result = selection.apply(operators, **parameters)
    if not isinstance(result, xr.Dataset) or not len(selection):
        raise InvalidData(f"a series needs one kind of spectra; this selection has {selection.counts() or 'none'}.")
    scalars = [str(name) for name, variable in result.data_vars.items() if variable.dims == ("spectrum",)]
    name = value or (scalars[0] if scalars else "")
    if name not in scalars:
        raise NotFound(
            f'there is no result "{name}".{did_you_mean(name, scalars)} Choose one of: {", ".join(scalars)}.'
        )
    wanted = [name, f"{name}_sigma"] if f"{name}_sigma" in scalars else [name]
    computed = result[wanted].compute()
    y = np.asarray(computed[name].values, dtype=np.float64)
    sigma = np.asarray(computed[wanted[-1]].values, float) if len(wanted) > 1 else np.full(y.shape, np.nan)
    if against == BOND:
        x = _bond_lengths(selection, bond_lengths, bond)
    else:
        x = np.asarray(selection.columns([against])[against], dtype=np.float64)
    labels = selection.columns([*by, "spectrum_id"])
    keys = [", ".join(str(labels[f][i]) for f in by if labels[f][i] is not None) or "all" for i in range(len(y))]
    good = np.isfinite(x) & np.isfinite(y)
    notes = [note for note in str(result.attrs.get("notes", "")).split("\n") if note]
    if (~good).any():
        holes = ((against, int((~np.isfinite(x)).sum())), (name, int((~np.isfinite(y)).sum())))
        lacking = [f"{number} without {what}" for what, number in holes if number]
        notes.append(f"{int((~good).sum())} of {len(y)} spectra excluded: {', '.join(lacking)}.")
        if against == BOND and not np.isfinite(x).any():
            notes.append(
                "Bond lengths are read from structures of the material at these pressures, or from --bond-lengths FILE."
            )
    return SeriesData(
        name=name,
        unit=str(computed[name].attrs.get("units", "1")),
        against=against,
        against_unit=BY_NAME[against].unit,
        x=x[good],
        y=y[good],
        sigma=sigma[good],
        groups=[key for key, keep in zip(keys, good, strict=True) if keep],
        ids=[str(i) for i, keep in zip(labels["spectrum_id"], good, strict=True) if keep],
        left_out=int((~good).sum()),
        notes=notes,
        provenance=json.loads(str(result.attrs["provenance"])),
    )


def _bond_lengths(selection: Selection, given: BondLengths | None, bond: str | None) -> Floats:
    """Return the mean bond length of each spectrum in Å: of its structure, else interpolated in pressure within its material.

    NaN beyond the known pressures: a length is never extrapolated.
    """
    found = selection.columns(["material", "pressure", "structure", "element"])
    wanted = bond or f"{found['element'][0]}-O"
    if given is None:
        by_structure, given = _archive_bonds(selection, wanted)
    else:
        by_structure = {}
    out = np.full(len(selection), np.nan)
    for i in range(len(selection)):
        material, pressure, structure = (found[name][i] for name in ("material", "pressure", "structure"))
        if structure in by_structure:
            out[i] = by_structure[structure]
        elif material in given:
            pressures, lengths = (np.asarray(column, dtype=np.float64) for column in given[material])
            order = np.argsort(pressures)
            out[i] = np.interp(pressure, pressures[order], lengths[order], left=np.nan, right=np.nan)
    return out


def _archive_bonds(selection: Selection, bond: str) -> tuple[dict[str, float], BondLengths]:
    from barospec.archive.store.storage.location import locate
    from barospec.catalogs.index import database
    from barospec.catalogs.index.open import opened

    text = """SELECT structure_id, material, pressure, sum(bond_length * multiplicity) / sum(multiplicity) AS length
        FROM bonds WHERE bond = ? AND status = 'active' AND bond_length < ? GROUP BY ALL ORDER BY ALL"""
    # Bonds reach beyond the first shell; a metal-oxygen octahedron ends below this.
    with opened(locate(selection.root), selection.snapshot) as (_, connection):
        rows = database.dicts(connection, text, [bond, FIRST_SHELL])
    by_material: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        if row["pressure"] is not None and row["material"] is not None:
            pressures, lengths = by_material.setdefault(row["material"], ([], []))
            pressures.append(row["pressure"])
            lengths.append(row["length"])
    return {row["structure_id"]: row["length"] for row in rows}, by_material


FIRST_SHELL = 2.6
"""Å: upper limit of distances that count as the bond."""


def analyze(method: str, gathered: SeriesData, **options: Any) -> list[dict[str, Any]]:
    """Apply a method of `METHODS` to each series.

    Parameters
    ----------
    method : {"line", "breakpoint", "equivalence", "slopes"}
        ``slopes`` compares the slopes of all pairs of series.
    gathered : SeriesData
    **options
        ``margin`` and ``confidence`` as in `series_fit`.

    Returns
    -------
    list of dict
        One row for each series (or pair), plain numbers; a failed one has ``reason`` instead.

    Raises
    ------
    CallError
        For a method that does not exist.
    """
    steps: dict[str, Callable[..., dict[str, Any]]] = {
        "line": _line,
        "breakpoint": _breakpoint,
        "equivalence": _equivalence,
    }
    if method == "slopes":
        return _slopes(gathered, options.get("confidence", 0.95))
    if method not in steps:
        raise CallError(f'there is no method "{method}". Choose one of: {", ".join(METHODS)}.')
    rows = []
    for name, x, y, sigma in gathered.series():
        try:
            rows.append({"series": name, "points": x.size, **steps[method](x, y, sigma, **options)})
        except InvalidData as error:
            rows.append({"series": name, "points": x.size, "reason": str(error)})
    return rows


def _line(x: Floats, y: Floats, sigma: Floats, confidence: float = 0.95, **_: Any) -> dict[str, Any]:
    line = series_fit.fit_line(x, y, sigma)
    names = ("slope", "slope_sigma", "intercept", "intercept_sigma", "chi2", "dof", "p_value", "scaled")
    ends = {f"band_at_{end}": float(line.band(getattr(line, f"x_{end}"), confidence)) for end in ("low", "high")}
    return {name: getattr(line, name) for name in names} | {"x_low": line.x_low, "x_high": line.x_high} | ends


def _breakpoint(x: Floats, y: Floats, sigma: Floats, confidence: float = 0.95, **_: Any) -> dict[str, Any]:
    found = asdict(series_fit.fit_breakpoint(x, y, sigma, confidence=confidence))
    del found["line"], found["value"]
    return found


def _equivalence(
    x: Floats, y: Floats, sigma: Floats, margin: float | None = None, confidence: float = 0.95
) -> dict[str, Any]:
    found = asdict(series_compare.equivalence(x, y, sigma, margin=margin, confidence=confidence))
    return {**found, "x_low": float(x.min()), "x_high": float(x.max())}


def _slopes(gathered: SeriesData, confidence: float) -> list[dict[str, Any]]:
    lines: list[tuple[str, series_fit.Line]] = []
    rows: list[dict[str, Any]] = []
    for name, x, y, sigma in gathered.series():
        try:
            lines.append((name, series_fit.fit_line(x, y, sigma)))
        except InvalidData as error:
            rows.append({"series": name, "points": x.size, "reason": str(error)})
    for i, (first, one) in enumerate(lines):
        for second, two in lines[i + 1 :]:
            found = series_compare.compare_slopes(one, two, confidence=confidence)
            row = {"series": f"{first} against {second}", "points": one.count + two.count}
            rows.append({**row, "slope": one.slope, "slope_other": two.slope, **asdict(found)})
    return rows


def analyze_components(
    selection: Selection, *, low: float, high: float, centered: bool = True, **parameters: Any
) -> dict[str, Any]:
    """Compute principal components of the normalized spectra of a selection.

    Returns
    -------
    dict
        ``rank``, ``noise``, ``rows`` (component, singular value, p value, indicator), ``scores`` (one list for each
        spectrum, with its spectrum_id), ``notes``, ``provenance``.

    Raises
    ------
    InvalidData
        For spectra of several kinds, or too few.
    """
    import xarray as xr

    result = selection.apply("normalize", **parameters)
    if not isinstance(result, xr.Dataset) or not len(selection):
        raise InvalidData(f"a series needs one kind of spectra; this selection has {selection.counts() or 'none'}.")
    computed = result[["norm", "energy"]].compute()
    usable = np.isfinite(computed["norm"].values).sum(axis=1) >= 14
    found = components(
        computed["energy"].values[usable], computed["norm"].values[usable], low=low, high=high, centered=centered
    )
    ids = selection.columns(["spectrum_id"])["spectrum_id"][usable]
    indicator = [*found.indicator.tolist(), float("nan")]
    rows = [
        {"component": k + 1, "singular_value": s, "p_value_without": p, "indicator": i}
        for k, (s, p, i) in enumerate(
            zip(found.singular_values.tolist(), found.p_values.tolist(), indicator, strict=True)
        )
    ]
    kept = max(found.rank, 1)
    notes = [note for note in str(result.attrs.get("notes", "")).split("\n") if note]
    if not usable.all():
        notes.append(f"{int((~usable).sum())} of {len(usable)} spectra excluded: not normalized.")
    return {
        "rank": found.rank,
        "noise": found.noise,
        "rows": rows,
        "scores": {str(i): scores[:kept].tolist() for i, scores in zip(ids, found.scores, strict=True)},
        "notes": notes,
        "provenance": json.loads(str(result.attrs["provenance"])),
    }
