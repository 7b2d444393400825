"""Pre-edge peak above a fitted baseline: area, height, centroid, position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import Batch, common_reasons, make_batch
from barospec.archive.operators._kernels.crop import crop_to
from barospec.archive.operators._kernels.integrals import (
    covered,
    inside,
    row_sum,
    weights_between,
    white_noise,
)
from barospec.archive.operators._kernels.least_squares import Fit, curved
from barospec.archive.operators._kernels.peak import fit_top, highest
from barospec.archive.operators._kernels.propagation import NORMALIZATION, NoisePropagator, length, unpacked
from barospec.archive.operators._kernels.ragged import Bools, Floats
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(20),
    "no edge: the spectrum was not normalized, see normalize_quality",
    "the scan does not cover the windows",
    "fewer than 7 points in the windows of the baseline",
    "the baseline does not describe norm in its windows: the residual is more than 0.02 or the fit has no end",
    "suspect: no maximum inside the window of the peak, so there is no position and no height",
)
NO_EDGE, NOT_COVERED, FEW_BASELINE, NOT_CONVERGED, NO_MAXIMUM = range(3, 8)
LARGEST_MISFIT = 0.02
"""Root mean square of what the baseline leaves of norm in its windows."""
TAIL = 10.0
"""eV above the anchor where the fit of the baseline's Lorentzian starts."""
WIDTH = 7.0
"""eV, its half width there."""
SPREAD_OF_PLACE, SPREAD_OF_WIDTH = 0.5, 0.35
"""What both are held to, in units of 10 eV."""
LEAST_NOISE = 3e-4


def pre_edge_peak(
    energy: ArrayLike,
    norm: ArrayLike,
    e0: ArrayLike,
    *,
    anchor: float | str | None = None,
    base1: float = -40.0,
    peak1: float = -20.0,
    peak2: float = -10.0,
    base2: float = -5.0,
    half: float = 1.0,
    normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Measure area, height, centroid and position of the pre-edge peak above a line plus the tail of a Lorentzian.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    e0 : array_like, shape (...)
        In eV; used with ``anchor="own"`` only.
    anchor : float or "own"
        Energy in eV, absolute, that the four window ends are relative to: the e0 of the series. ``own`` takes
        each spectrum's own e0 instead, which is not comparable along a series whose edge moves.
    base1, peak1, peak2, base2 : float
        In eV relative to the anchor: the baseline is fitted on [base1, peak1] and [peak2, base2], the peak lies
        on [peak1, peak2].
    half : float
        Half width in eV of the cubic fitted around the highest point of the peak.
    normalization : array_like, shape (..., 7), optional
        What `normalize` did: e0, pre1, pre2, norm1, norm2, nnorm, nvict. Without it the sigmas are those of the points
        of norm alone.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).

    Raises
    ------
    CallError
        Without an anchor, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Baseline ``b(E) = a + c t + d/(1 + ((E - f)/g)**2)``, t linear in E, by least squares. With p = norm - b::

        area     = integral of p over [peak1, peak2]          (trapezoidal rule, ends cut exactly)
        centroid = integral of E p / area
        position, height: maximum of a cubic fitted to p around its highest point

    A tail hardly separates a Lorentzian's position from its width. Both are therefore held, as if they had been measured
    once: 10 +- 5 eV above the anchor and 7 +- 3.5 eV, against the noise of the points (0.0003 at least), which decides
    nothing where the data do. Larch weighs all points alike in its centroid, which is biased on uneven grids.

    Sigmas are statistical: one noise for all points of a spectrum, through the fitted baseline and the fits of the
    normalization. That the tail of a real edge is no Lorentzian is not in them: 0.005 eV of an area of 0.124 eV for an
    arctangent edge. Pre-edges measured in transmission, fluorescence and HERFD are not comparable.

    References
    ----------
    Baseline windows as ``larch.xafs.prepeaks_setup`` of xraylarch 2026.3.1; baseline as M. Wilke et al., Am.
    Mineral. 86, 714 (2001), doi:10.2138/am-2001-5-612, discusses.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8290.0, 8400.0, 0.25)
    >>> edge = 1 / (1 + ((energy - 8352) / 4) ** 2)
    >>> peak = 0.05 * np.exp(-(((energy - 8331) / 1.5) ** 2))
    >>> out = pre_edge_peak(energy, edge + peak, 8346.0, anchor=8346.0)
    >>> round(float(out["pre_edge_area"]), 3), round(float(out["pre_edge_position"]), 1)
    (0.133, 8331.0)
    """
    if anchor is None or (isinstance(anchor, str) and anchor != "own"):
        raise CallError(
            "pre_edge_peak needs anchor, the e0 of the series in eV, such as anchor=8345: windows that moved "
            'with each spectrum would follow the edge. anchor="own" takes them so.'
        )
    if not base1 < peak1 < peak2 < base2 or not half > 0:
        raise CallError("base1, peak1, peak2, base2 are rising energies relative to the anchor; half > 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=20, numbers={"e0": e0, **unpacked(normalization)})
        x, count = batch.energy, batch.count
        batch.fail(~np.isfinite(batch.numbers["e0"]), NO_EDGE)
        center = np.full(len(count), np.nan) if isinstance(anchor, str) else np.full(len(count), anchor)
        center = np.where(np.isfinite(center), center, batch.numbers["e0"])
        center = np.where(np.isfinite(center), center, x[:, 0])
        ends = [center + end for end in (base1, peak1, peak2, base2)]
        batch.fail(~covered(x, count, ends[0], ends[3]), NOT_COVERED)
        base = inside(x, count, ends[0], ends[1]) | inside(x, count, ends[2], ends[3])
        batch.fail(np.count_nonzero(base, axis=1) < 7, FEW_BASELINE)
        values = _measure(batch, _Windows(center, ends[1], ends[2], base), half)
        batch.fail(~np.isfinite(values["pre_edge_position"]), NO_MAXIMUM)
        return batch.results(OPERATOR.outputs, values, NO_MAXIMUM)


@dataclass(slots=True)
class _Windows:
    anchor: Floats
    low: Floats
    high: Floats
    base: Bools


def _baseline(x: Floats, parameters: Floats) -> tuple[Floats, list[Floats]]:
    """Return values and derivatives (by the five parameters) of line plus Lorentzian, in units of 10 eV."""
    a, c, d, f, g = (parameters[:, k, None] for k in range(5))
    u = (x - f) / g
    shape = 1.0 / (1.0 + u * u)
    slope = 2.0 * d * u * shape**2 / g
    return a + c * x + d * shape, [np.ones_like(x), x, shape, slope, slope * u]


def _fit(batch: Batch, windows: _Windows, noise: Floats) -> tuple[Fit, Floats]:
    x, y, count = batch.energy, batch.signals[0], batch.count
    t = (np.where(np.isfinite(x), x, windows.anchor[:, None]) - windows.anchor[:, None]) / 10.0
    # The tail between the windows decides: begin with a Lorentzian that passes through the upper one.
    near = inside(x, count, windows.high, windows.high + 20.0) & windows.base
    rise = row_sum(np.where(near, y, 0.0), count) / np.maximum(np.count_nonzero(near, axis=1), 1)
    begin = np.zeros((len(count), 5))
    begin[:, 2], begin[:, 3], begin[:, 4] = np.maximum(8.0 * rise, 1e-3), TAIL / 10.0, WIDTH / 10.0
    hold = np.zeros_like(begin)
    at_least = np.maximum(np.nan_to_num(noise), LEAST_NOISE)
    hold[:, 3], hold[:, 4] = (at_least / SPREAD_OF_PLACE) ** 2, (at_least / SPREAD_OF_WIDTH) ** 2
    return curved(_baseline, t, y, windows.base.astype(np.float64), count, begin, 60, hold=hold), t


def _measure(batch: Batch, windows: _Windows, half: float) -> dict[str, Floats]:
    x, y, count = batch.energy, batch.signals[0], batch.count
    noise = white_noise(x, y, count)
    fit, t = _fit(batch, windows, noise)
    # A tail does not pin down its Lorentzian: parameters creep along a valley in which the baseline is the same.
    # What counts is that the baseline lies on the points.
    misfit = np.sqrt(fit.chi2 / fit.points)
    batch.fail(~(misfit <= LARGEST_MISFIT), NOT_CONVERGED)
    carrier = NoisePropagator(x, y, count, batch.numbers)
    peak = y - _baseline(t, fit.coefficients)[0]
    weights = weights_between(x, count, windows.low, windows.high)
    guess, found = highest(x, peak, inside(x, count, windows.low, windows.high))
    top = fit_top(x, peak, count, guess, half, 3, noise**2)
    # What follows needs the points of the windows and of the top only.
    cut = crop_to(windows.base | (weights > 0) | (top.height_kernel != 0))
    slopes = _baseline(cut.take(t), fit.coefficients)[1]
    fitted, near = cut.mask(windows.base).astype(np.float64), cut.count
    area = row_sum(weights * peak, count)
    moment = np.where(weights > 0, t * 10.0, 0.0)
    centroid = row_sum(weights * moment * peak, count) / area

    def sigma(kernel: Floats) -> Floats:
        """Return the sigma of a result with this kernel on the peak: the points that made the baseline count as well."""
        own = cut.take(kernel)
        gradient = np.stack([row_sum(own * slope, near) for slope in slopes], axis=1)
        whole = cut.put(own - fit.kernel(slopes, fitted, gradient))
        return noise * length(carrier.on_mu(whole), count)

    good = found & top.found & (top.position > windows.low) & (top.position < windows.high)
    return {
        "pre_edge_area": area,
        "pre_edge_area_sigma": sigma(weights),
        "pre_edge_height": np.where(good, top.height, np.nan),
        "pre_edge_height_sigma": np.where(good, sigma(top.height_kernel), np.nan),
        "pre_edge_centroid": windows.anchor + centroid,
        "pre_edge_centroid_sigma": sigma(weights * (moment - centroid[:, None]) / area[:, None]),
        "pre_edge_position": np.where(good, top.position, np.nan),
        "pre_edge_position_sigma": np.where(good, sigma(top.position_kernel), np.nan),
    }


_SIGMA = "its statistical standard uncertainty"
OPERATOR = Operator(
    name="pre_edge_peak",
    version=2,
    optional={"normalization": NORMALIZATION},
    func=pre_edge_peak,
    inputs=("energy", "norm", "e0"),
    outputs={
        "pre_edge_area": Output("eV", "integral of norm above the baseline over the peak's window"),
        "pre_edge_area_sigma": Output("eV", _SIGMA + ", that of the baseline included"),
        "pre_edge_height": Output("1", "highest point of norm above the baseline"),
        "pre_edge_height_sigma": Output("1", _SIGMA + ", that of the baseline included"),
        "pre_edge_centroid": Output("eV", "mean energy of the peak, by the trapezoidal rule"),
        "pre_edge_centroid_sigma": Output("eV", _SIGMA + ", that of the baseline included"),
        "pre_edge_position": Output("eV", "energy of the highest point"),
        "pre_edge_position_sigma": Output("eV", _SIGMA + ", that of the baseline included"),
        "pre_edge_peak_quality": QUALITY,
    },
    summary="Area, height, centroid and position of the pre-edge peak above a line plus a Lorentzian tail.",
    source=(
        "windows as xraylarch 2026.3.1, prepeaks_setup; baseline: M. Wilke et al., Am. Mineral. 86, 714 (2001), "
        "doi:10.2138/am-2001-5-612"
    ),
    technique="xas",
    parameters={
        "anchor": "energy in eV that the windows are relative to: the e0 of the series, or own",
        "base1": "lower end of the lower baseline window, eV relative to the anchor",
        "peak1": "its upper end, where the peak's window begins",
        "peak2": "end of the peak's window, where the upper baseline window begins",
        "base2": "upper end of the upper baseline window, eV relative to the anchor",
        "half": "half width in eV of the cubic fitted around the peak's highest point",
    },
    reasons=REASONS,
    example={"anchor": 8345.0},
)
