"""Repeats of one point: their spectra, and the scatter of their values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    import xarray as xr

    from barospec.archive.operators.chain.execute import Plan

# Terms that repeats of one point share exactly; pressure and temperature are compared with a tolerance.
SHARED = (
    "experiment", "run", "sample", "material", "technique", "edge", "line", "origin", "signal", "mode", "direction",
    "energy_calibration", "energy_shift", "structure", "absorber", "cluster_atoms", "cluster_radius", "method",
)  # fmt: skip
AVERAGED = ("pressure", "temperature")
POOLED = SHARED[: SHARED.index("direction")]
"""Terms shared by spectra whose noise is pooled: run, sample and measurement."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A spectrum that may be merged: its row and its terms (None where unknown)."""

    group: str
    row: int
    columns: Mapping[str, Any]

    @property
    def spectrum_id(self) -> str:
        """Its identity."""
        return str(self.columns["spectrum_id"])


def points(repeats: Iterable[Repeat], pressure: float, temperature: float) -> list[list[Repeat]]:
    """Group spectra by the points of their P-T path, each with one or more repeats.

    Parameters
    ----------
    repeats : iterable of Repeat
    pressure, temperature : float
        Maximum distance, in GPa and K, of a repeat from the first one of its point.

    Returns
    -------
    list of list of Repeat
        A P-T path is ordered by step, then time: a pressure that is visited twice makes two points. Spectra with unknown
        pressure or temperature belong together only if both have the same step.

    Examples
    --------
    >>> rows = [Repeat("xas/Ni-K", n, {"run": "r", "step": n, "pressure": p, "temperature": 300.0, "time": None})
    ...         for n, p in enumerate([1.0, 1.01, 5.0, 1.0])]
    >>> [[repeat.row for repeat in point] for point in points(rows, 0.05, 1.0)]
    [[0, 1], [2], [3]]
    """
    routes: dict[tuple[Any, ...], list[Repeat]] = {}
    for repeat in repeats:
        key = (repeat.group, *(repeat.columns.get(name) for name in SHARED))
        routes.setdefault(key, []).append(repeat)
    found: list[list[Repeat]] = []
    for route in routes.values():
        walked: list[list[Repeat]] = []
        for repeat in sorted(route, key=_along):
            if walked and _same_point(walked[-1][0].columns, repeat.columns, pressure, temperature):
                walked[-1].append(repeat)
            else:
                walked.append([repeat])
        found += walked
    return found


def _along(repeat: Repeat) -> tuple[float, ...]:
    known = (repeat.columns.get(name) for name in ("step", "time", *AVERAGED))
    return (*(float("inf") if value is None else float(value) for value in known), repeat.row)


def _same_point(first: Mapping[str, Any], other: Mapping[str, Any], pressure: float, temperature: float) -> bool:
    same_step = first.get("step") is not None and first.get("step") == other.get("step")
    for name, tolerance in (("pressure", pressure), ("temperature", temperature)):
        a, b = first.get(name), other.get(name)
        if a is None or b is None:
            if not (a is None and b is None and same_step):
                return False
        elif abs(a - b) > tolerance:
            return False
    return True


def repeats_from(rows: Iterable[Mapping[str, Any]]) -> list[Repeat]:
    """Return repeats from rows of an index (``grp``, ``row`` and the terms); a time without zone is UTC.

    >>> found = repeats_from([{"grp": "xas/Ni-K", "row": 3, "time": datetime(1970, 1, 1, 0, 0, 1), "run": "r"}])
    >>> found[0].group, found[0].columns["time"]
    ('xas/Ni-K', 1000000)
    """
    return [
        Repeat(str(row["grp"]), int(row["row"]), {name: _microseconds(value) for name, value in row.items()})
        for row in rows
    ]


def _microseconds(value: Any) -> Any:
    """Return a time as the store has it; anything else unchanged."""
    if not isinstance(value, datetime):
        return value
    since = value.replace(tzinfo=value.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


FEWEST = 3
"""Minimum number of repeats with a value for a sigma."""
ONE_SIGMA = 0.8413447460685429
"""Probability below one standard deviation of a normal variable."""
TOLERANCES = {"pressure": 0.05, "temperature": 1.0}
"""Default tolerances in GPa and K between repeats of one point."""
LABELS = (*SHARED, *AVERAGED, "step", "time", "parents")
"""Terms that identify repeats."""
STUDENT = "times Student's factor for one sigma (1.32 for 2 degrees of freedom, 1.06 for 9)"
MEANING = {
    "repeats": f"standard deviation of the values of the repeats of a point {STUDENT}; NaN for fewer than {FEWEST} repeats",
    "pooled_repeats": f"standard deviation of the values about the means of their points, over all points of a run {STUDENT}; "
    f"NaN for fewer than {FEWEST - 1} degrees of freedom",
}
OF_ONE = (
    "It is that of one spectrum; divided by sqrt(n) it is that of the mean of n. Errors that repeats share (reference, "
    "calibration, windows) are not in it"
)


def point_numbers(spectra: xr.Dataset) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for each spectrum the number of its point and of its series, as defined by `POOLED`.

    A mean of repeats is a separate point.

    Raises
    ------
    CallError
        For spectra without the labels of an archive.
    """
    if "run" not in spectra.coords or spectra["run"].dims != ("spectrum",):
        raise CallError(
            "sigmas from repeats need the terms that identify repeats (run, sample, pressure, ...), which spectra from a query "
            "of an archive have."
        )
    columns = {name: spectra[name].values for name in LABELS if name in spectra.coords}
    rows = [
        {"grp": "", "row": row, **{name: _known(column[row]) for name, column in columns.items()}}
        for row in range(spectra.sizes["spectrum"])
    ]
    point, series = np.empty(len(rows), dtype=np.intp), np.empty(len(rows), dtype=np.intp)
    keys: dict[tuple[Any, ...], int] = {}
    number = 0
    for group in points(repeats_from(rows), **TOLERANCES):
        means = [repeat for repeat in group if repeat.columns.get("parents")]
        scans = [repeat for repeat in group if not repeat.columns.get("parents")]
        for one in (scans, *([mean] for mean in means)):
            for repeat in one:
                point[repeat.row] = number
                # A mean scatters less than a scan: it belongs to no series.
                key = tuple(repeat.columns.get(name) for name in POOLED) if one is scans else (number,)
                series[repeat.row] = keys.setdefault(key, len(keys))
            number += 1
    return point, series


def _known(value: Any) -> Any:
    """Return a value of a coordinate as records have it: None if unknown."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else value.astype("datetime64[us]").astype(datetime)
    if value is None or value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value


def scatter(
    values: NDArray[np.float64], point: NDArray[np.intp], series: NDArray[np.intp] | None = None
) -> NDArray[np.float64]:
    """Return sigma of each value from the scatter of the values at its point, or at all points of its series.

    Parameters
    ----------
    values : ndarray, shape (..., spectra)
    point : ndarray of int, shape (spectra,)
        As `point_numbers` gives it.
    series : ndarray of int, shape (spectra,), optional
        Pools the points of a series, about their own means.

    Returns
    -------
    ndarray, shape (..., spectra)
        The standard deviation times Student's factor; NaN where fewer than ``FEWEST - 1`` degrees of freedom are left.

    References
    ----------
    Pooled standard deviation: ISO/IEC Guide 98-3 (GUM), 4.2.4 and H.3.6; Student's factor for an interval of 68.27 %: annex G.

    Examples
    --------
    >>> scatter(np.array([1.0, 2.0, 3.0, 7.0]), np.array([0, 0, 0, 1])).round(3).tolist()
    [1.321, 1.321, 1.321, nan]
    """
    from scipy.special import stdtrit

    pool = point if series is None else series
    flat = np.asarray(values, dtype=np.float64).reshape(-1, len(point))
    out = np.full(flat.shape, np.nan)
    for line, sigma in zip(flat, out, strict=True):
        good = np.isfinite(line)
        with np.errstate(all="ignore"):
            many = np.bincount(point, good, minlength=1)
            mean = np.bincount(point, np.where(good, line, 0.0), minlength=1) / many
            away = np.where(good, line - mean[point], 0.0)
            # The mean of each point takes one degree of freedom.
            free = np.bincount(pool, np.where(good, 1.0 - 1.0 / many[point], 0.0), minlength=1).round()
            spread = np.sqrt(np.bincount(pool, away**2, minlength=1) / free)
            found = (stdtrit(np.maximum(free, 1.0), ONE_SIGMA) * spread)[pool]
        enough = good & (free[pool] >= FEWEST - 1)
        sigma[enough] = found[enough]
    return out.reshape(np.shape(values))


def with_scatter(found: xr.Dataset, plan: Plan, kind: str) -> xr.Dataset:
    """Return the results of a chain with sigmas from repeats, lazy if the results are.

    Parameters
    ----------
    found : Dataset
        As `apply` makes it.
    plan : Plan
    kind : {"repeats", "pooled_repeats"}

    Raises
    ------
    CallError
        As `point_numbers`.
    """
    import xarray as xr

    point, series = point_numbers(found)
    many = np.bincount(point, minlength=1)[point]
    out = found.assign_coords(
        repeats=("spectrum", many, {"long_name": "spectra of this selection at the same point, this one included"})
    )
    given = {"point": point} if kind == "repeats" else {"point": point, "series": series}
    meaning = f"{MEANING[kind]}. {OF_ONE}"
    for name, output in plan.outputs.items():
        sigma = f"{name}_sigma"
        if sigma not in plan.outputs or output.per_point:
            continue
        made = xr.apply_ufunc(
            scatter,
            found[name].chunk({"spectrum": -1}) if found[name].chunks else found[name],
            kwargs=given,
            input_core_dims=[["spectrum"]],
            output_core_dims=[["spectrum"]],
            dask="parallelized",
            output_dtypes=[np.float64],
        )
        out[sigma] = made.transpose(*found[name].dims)
        out[sigma].attrs = {**found[sigma].attrs, "uncertainty": meaning}
    notes = [found.attrs["notes"]] if found.attrs.get("notes") else []
    free = np.bincount(series, 1.0 - 1.0 / many, minlength=1).round()[series] if kind != "repeats" else many - 1
    lone = int((free < FEWEST - 1).sum())
    if lone:
        notes.append(
            f"{lone} of {len(many)} spectra have too few repeats in this selection for a sigma from them ({MEANING[kind]}). "
            "Merged repeats are hidden: query for scans."
        )
    provenance = json.loads(found.attrs["provenance"]) | {"uncertainty": f"{kind}: {meaning}", "notes": notes}
    text = json.dumps(provenance, sort_keys=True, ensure_ascii=False)
    return out.assign_attrs(found.attrs | {"notes": "\n".join(notes), "provenance": text})
