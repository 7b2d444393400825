"""Pre-edge subtraction, edge step, normalized and flattened absorption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.e0_search import FEWEST, find_e0
from barospec.archive.operators._kernels.fit import Polynomials, fit_polynomials
from barospec.archive.operators._kernels.ragged import TIE, Bools, Floats, Ints, at
from barospec.archive.operators._kernels.windows import (
    CONSTANT_PRE_EDGE,
    E0_OUTSIDE,
    FEW_POINTS,
    NO_EDGE,
    NO_POST_EDGE,
    NO_STEP,
    SHORT_POST_EDGE,
    TOO_CLOSE,
    Slices,
    choose_windows,
    slice_windows,
)
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

MAX_DEGREE = 5
CURVES = ("norm", "flat", "pre_edge", "post_edge")

REASONS = (
    "ok",
    f"fewer than {FEWEST} points with energy and mu",
    "energies repeat or stand closer than 0.0005 eV over a stretch of points; rebin the scan first",
    "no edge found: no point inside the scan is steep together with both its neighbors",
    "the given e0 lies outside the scan",
    "edge step not positive",
    "too few points above the edge for the post-edge fit",
    "suspect: fewer than 3 steps in the pre-edge window, a constant was subtracted instead of a line",
    "suspect: fewer than 5 points in the post-edge window, the degree was lowered",
)


def normalize(
    energy: ArrayLike,
    mu: ArrayLike,
    *,
    e0: ArrayLike | None = None,
    pre1: float | None = None,
    pre2: float | None = None,
    norm1: float | None = None,
    norm2: float | None = None,
    nnorm: int | None = None,
    nvict: int = 0,
    out: Mapping[str, Floats] | None = None,
) -> dict[str, Any]:
    """Subtract the pre-edge line and divide by the edge step, with the rules of Larch 2026.3.1.

    With ``p(E)`` the line fitted to ``mu E**nvict`` over [e0 + pre1, e0 + pre2], divided by ``E**nvict``, and
    ``q(E)`` the polynomial of degree `nnorm` fitted to ``mu - p`` over [e0 + norm1, e0 + norm2]::

        edge_step = q(E at the point nearest e0)
        norm = (mu - p) / edge_step
        flat = norm below e0, norm - (q(E) - q(e0)) / edge_step from e0 up

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV. One axis for all spectra, or one each; any order. Repeated energies are moved up by 0.0005 eV.
    mu : array_like, shape (..., n)
        Absorption, any scale. Points without a finite energy and mu are excluded; padding with NaN is one
        case.
    e0 : float or array_like of shape (...), optional
        Edge energy in eV. Default: the inflection point, see Notes.
    pre1, pre2, norm1, norm2 : float, optional
        Window ends in eV relative to e0. Default: pre1 from the second point, to 5 eV (2 eV with 20 points or
        fewer below e0); pre2 half of it; norm2 from the last point, to 5 eV; norm1 a third of norm2 in 5 eV,
        at most 25 and at most norm2 - 2. Windows are clipped to the scan. The lower end is the last point at
        or below it, the upper end the nearest point, itself not used.
    nnorm : int, optional
        Degree of the post-edge polynomial, 0 to 5. Default: 2 if the window is 300 eV or longer, 1 from 30
        eV, else 0.
    nvict : int
        Power of the energy in the pre-edge fit.
    out : mapping of str to ndarray, shape (rows, n), optional
        Where to write the outputs that have a value per point; those that it lacks are not computed. For spectra of
        shape (rows, n).

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        Per-point outputs are NaN where the input was. Nothing here is an uncertainty: the choice of windows is the
        largest one and `edge_energy` propagates it.

    Raises
    ------
    CallError
        For parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    e0 is the grid point with the largest derivative that exceeds 0.6 of the derivative's range together with
    both its neighbors; a second pass within 75 points smooths the derivative with a Lorentzian of about the
    scan's step. A window end within 1e-9 eV of a grid point counts as on it, a tie between two points goes to
    the lower one, and derivatives within 1e-9 of the range count as equal (the first is taken): float noise
    never decides.

    Different from Larch on purpose. NaN with a reason instead of a number: a given e0 outside the scan (Larch
    searches its own), no edge (Larch takes the start of its window), a negative step (Larch takes its
    absolute value), long stretches of points closer than 0.0005 eV (Larch stretches the axis). Equal energies
    keep their order. A norm2 at or below 0 is refused (Larch takes the end of the scan).

    References
    ----------
    M. Newville, J. Phys.: Conf. Ser. 430, 012007 (2013), doi:10.1088/1742-6596/430/1/012007; xraylarch
    2026.3.1, ``larch.xafs.pre_edge`` and ``find_e0``.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8731.0)
    >>> mu = 0.3 + 2 * (np.arctan((energy - 8345) / 2) / np.pi + 0.5)
    >>> out = normalize(energy, mu)
    >>> float(out["e0"]), float(out["pre1"]), float(out["norm2"]), int(out["nnorm"])
    (8345.0, -115.0, 385.0, 2)
    >>> round(float(out["edge_step"]), 2)
    1.93
    >>> OPERATOR.reasons[int(out["normalize_quality"])]
    'ok'
    """
    _check(pre1, pre2, norm1, norm2, nnorm, nvict)
    with np.errstate(all="ignore"):
        rows = ragged.make_rows(energy, mu)
        given = None if e0 is None else ragged.per_spectrum(e0, rows.leading, "e0")
        return _normalize_rows(rows, given, (pre1, pre2, norm1, norm2), nnorm, nvict, out)


def _check(
    pre1: float | None,
    pre2: float | None,
    norm1: float | None,
    norm2: float | None,
    nnorm: int | None,
    nvict: int,
) -> None:
    for name, value in (("pre1", pre1), ("pre2", pre2), ("norm1", norm1), ("norm2", norm2)):
        if value is not None and not np.isfinite(value):
            raise CallError(f"{name} = {value} is not an energy. Give eV relative to e0, or leave it out.")
    if norm2 is not None and norm2 <= 0:
        raise CallError(f"norm2 = {norm2:g} eV does not lie above e0. Give the upper end of the post-edge window.")
    if nnorm is not None and (nnorm != int(nnorm) or not 0 <= nnorm <= MAX_DEGREE):
        raise CallError(f"nnorm = {nnorm} is not a degree. Give an integer from 0 to {MAX_DEGREE}, or leave it out.")
    if nvict != int(nvict) or abs(nvict) > 10:
        raise CallError(f"nvict = {nvict} is not a power of the energy. Give an integer, usually 0 to 3.")


def fit_edge(energy: Floats, mu: Floats, cut: Slices, nvict: NDArray[np.int64]) -> tuple[Floats, Polynomials]:
    """Fit the pre-edge on every point and the post-edge polynomial above it."""
    straight = (~cut.constant).astype(np.intp)
    if not nvict.any():
        pre_edge = fit_polynomials(energy, mu, cut.pre_start, cut.pre_stop, straight)(energy)
    else:
        weight = energy ** nvict[:, None].astype(np.float64)
        line = fit_polynomials(energy, mu * weight, cut.pre_start, cut.pre_stop, straight)
        pre_edge = line(energy) / weight
    start = np.maximum(cut.post_start, 0)
    post = fit_polynomials(energy, mu - pre_edge, start, np.maximum(cut.post_stop, start + 1), cut.nnorm)
    return pre_edge, post


def _normalize_rows(
    rows: ragged.Rows,
    given: Floats | None,
    asked: tuple[float | None, ...],
    nnorm: int | None,
    nvict: int,
    wanted: Mapping[str, Floats] | None,
) -> dict[str, Any]:
    total = len(rows.count)
    done = _Done(
        per_point={name: np.empty((total, rows.width)) for name in CURVES} if wanted is None else dict(wanted),
        numbers={name: np.full(total, np.nan) for name in ("e0", "edge_step", "pre1", "pre2", "norm1", "norm2")},
        integers={name: np.full(total, -1, dtype=np.int16) for name in ("nnorm", "nvict")},
        quality=np.where(rows.count < FEWEST, FEW_POINTS, 0).astype(np.uint8),
    )
    able = done.quality == 0
    if able.any():
        pick: Any = slice(None) if able.all() else able
        energy, mu, count = rows.energy[pick], rows.signals[0][pick], rows.count[pick]
        picked = _normalize_able(energy, mu, count, None if given is None else given[pick], asked, nnorm, nvict)
        if wanted is None and able.all():
            done = picked
        else:
            done.take(picked, pick)
    failed = (done.quality > 0) & (done.quality < CONSTANT_PRE_EDGE)
    for values in done.numbers.values():
        values[failed] = np.nan
    for kept in done.integers.values():
        kept[failed] = -1
    out: dict[str, Any] = {name: rows.restore(values, failed) for name, values in done.per_point.items()}
    out.update({name: values.reshape(rows.leading) for name, values in {**done.numbers, **done.integers}.items()})
    out["normalize_quality"] = done.quality.reshape(rows.leading)
    return {name: out[name] for name in OPERATOR.outputs if name in out}


@dataclass(slots=True)
class _Done:
    per_point: dict[str, Floats]
    numbers: dict[str, Floats]
    integers: dict[str, NDArray[Any]]
    quality: NDArray[np.uint8]

    def take(self, other: _Done, where: Bools | slice) -> None:
        """Put the results of some rows in their places."""
        for mine, theirs in (
            (self.per_point, other.per_point),
            (self.numbers, other.numbers),
            (self.integers, other.integers),
        ):
            for name, values in mine.items():
                values[where] = theirs[name]
        self.quality[where] = other.quality


def _normalize_able(
    energy: Floats,
    mu: Floats,
    count: Ints,
    given: Floats | None,
    asked: tuple[float | None, ...],
    nnorm: int | None,
    nvict: int,
) -> _Done:
    """Compute all numbers of rows that have points enough; rows that fail later hold numbers without meaning."""
    quality = np.zeros(len(count), dtype=np.uint8)
    energy, hopeless = ragged.nudge(energy)
    energy, again = ragged.nudge(energy)
    quality[hopeless | again] = TOO_CLOSE
    if given is None:
        e0, found = find_e0(energy, mu, count)
        quality[~found & (quality == 0)] = NO_EDGE
    else:
        e0 = given
        inside = (e0 >= energy[:, 1] - TIE) & (e0 <= at(energy, count - 2) + TIE)
        quality[~inside & (quality == 0)] = E0_OUTSIDE
    # Rows without an edge go along with a harmless one; their results are wiped at the end.
    e0 = np.where(quality == 0, e0, at(energy, count // 2))
    near_e0 = ragged.nearest(energy, e0)
    windows = choose_windows(energy, count, e0, near_e0, asked, nnorm)
    cut = slice_windows(energy, count, e0, windows)
    used_nvict = np.where(cut.constant, 0, int(nvict))
    pre_edge, post = fit_edge(energy, mu, cut, used_nvict)

    rise = post(energy)
    post_edge = pre_edge + rise
    edge_step = at(post_edge, near_e0) - at(pre_edge, near_e0)
    quality[(cut.post_start < 0) & (quality == 0)] = NO_POST_EDGE
    quality[~(edge_step > 1e-12) & (quality == 0)] = NO_STEP
    quality[cut.constant & (quality == 0)] = CONSTANT_PRE_EDGE
    quality[(cut.nnorm < windows.nnorm) & (quality == 0)] = SHORT_POST_EDGE
    norm = (mu - pre_edge) / edge_step[:, None]
    rise /= edge_step[:, None]
    rise -= at(rise, near_e0)[:, None]
    np.copyto(rise, 0.0, where=np.arange(rise.shape[1]) < near_e0[:, None])
    return _Done(
        per_point={"norm": norm, "flat": norm - rise, "pre_edge": pre_edge, "post_edge": post_edge},
        numbers={
            "e0": e0,
            "edge_step": edge_step,
            "pre1": windows.pre1,
            "pre2": windows.pre2,
            "norm1": windows.norm1,
            "norm2": windows.norm2,
        },
        integers={"nnorm": cut.nnorm.astype(np.int16), "nvict": used_nvict.astype(np.int16)},
        quality=quality,
    )


OPERATOR = Operator(
    name="normalize",
    version=1,
    func=normalize,
    inputs=("energy", "mu"),
    outputs={
        "norm": Output("1", "normalized absorption: (mu - pre_edge) / edge_step", per_point=True),
        "flat": Output("1", "norm without the post-edge curvature from e0 up", per_point=True),
        "e0": Output("eV", "edge energy: given, or the inflection point of mu(E) (maximum of the first derivative)"),
        "edge_step": Output("unit of mu", "post_edge - pre_edge at the point nearest e0"),
        "pre_edge": Output("unit of mu", "pre-edge line", per_point=True),
        "post_edge": Output("unit of mu", "post-edge polynomial", per_point=True),
        "pre1": Output("eV", "lower end of the pre-edge window used, relative to e0"),
        "pre2": Output("eV", "upper end of the pre-edge window used, relative to e0"),
        "norm1": Output("eV", "lower end of the post-edge window used, relative to e0"),
        "norm2": Output("eV", "upper end of the post-edge window used, relative to e0"),
        "nnorm": Output("1", "degree of the post-edge polynomial used; -1 where nothing was done", integer=True),
        "nvict": Output("1", "power of the energy in the pre-edge fit used; -1 where nothing was done", integer=True),
        "normalize_quality": QUALITY,
    },
    summary="Subtract the pre-edge line and divide by the edge step, equal to Larch by default.",
    source=(
        "xraylarch 2026.3.1, larch.xafs.pre_edge and find_e0; "
        "M. Newville, J. Phys.: Conf. Ser. 430, 012007 (2013), doi:10.1088/1742-6596/430/1/012007"
    ),
    technique="xas",
    parameters={
        "e0": "edge energy in eV; default: the inflection point of mu(E)",
        "pre1": "lower end of the pre-edge window, eV relative to e0; default: the second point, to 5 eV",
        "pre2": "upper end of the pre-edge window, eV relative to e0; default: half of pre1",
        "norm1": "lower end of the post-edge window, eV relative to e0; default: norm2/3 to 5 eV, at most 25",
        "norm2": "upper end of the post-edge window, eV relative to e0; default: the last point, to 5 eV",
        "nnorm": "degree of the post-edge polynomial, 0 to 5; default: 2 from 300 eV, 1 from 30 eV, else 0",
        "nvict": "power of the energy in the pre-edge fit",
    },
    reasons=REASONS,
    fills=True,
)
