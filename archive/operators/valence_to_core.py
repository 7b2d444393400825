"""Valence-to-core line (Kβ2,5) on the tail of the main line: position, area, height, width, and their change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import Batch, common_reasons, make_batch
from barospec.archive.operators._kernels.emission import main_line, variance_of
from barospec.archive.operators._kernels.integrals import covered, inside, row_sum, weights_between
from barospec.archive.operators._kernels.least_squares import linear
from barospec.archive.operators._kernels.peak import fit_top, highest
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators.operator import QUALITY, Operator, Output, References
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(20, "emission"),
    "no main line below the window",
    "the scan does not cover the window and its sides",
    "the tail of the main line cannot be fitted on both sides of the window",
    "no maximum above the tail inside the window",
    "suspect: no reference was named, so there is no shift",
    "suspect: the reference has no such line, so there is no shift",
)
NO_LINE, NOT_COVERED, NO_TAIL, NO_MAXIMUM, NO_REFERENCE, BAD_REFERENCE = range(3, 9)


def valence_to_core(
    energy: ArrayLike,
    emission: ArrayLike,
    emission_sigma: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    side: float = 6.0,
    half: float = 2.5,
    aligned: bool = False,
    reference_energy: ArrayLike | None = None,
    reference_emission: ArrayLike | None = None,
    reference_emission_sigma: ArrayLike | None = None,
) -> dict[str, Any]:
    """Measure position, area, height and width of a weak line above the tail of the main one, and its shift.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    emission, emission_sigma : array_like, shape (..., n)
        As `normalize_emission` returns them; heights and areas are on its scale.
    low, high : float
        Window of the line in eV, absolute and fixed for a series.
    side : float
        Length in eV on either side of the window on which the tail is fitted.
    half : float
        Half width in eV of the cubic fitted around the top.
    aligned : bool
        Whether positions are counted from each spectrum's own main line, which takes out a drift of the
        spectrometer. Position and shift are then those of the distance.
    reference_energy, reference_emission, reference_emission_sigma : array_like, shape (m,), optional
        The reference spectrum (``reference``).

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).

    Raises
    ------
    CallError
        Without a window, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    The tail is ``a + b t + c/(E - main line)^2`` fitted to both sides of the window, weighted by the noise; t is
    linear in E. Area: trapezoidal rule over the window. Position and height: a cubic within `half` of the top.
    Width: area over height (integral breadth; 1.06 of the full width at half maximum for a Gaussian, 1.57 for a
    Lorentzian), which needs no second fit. Sigma of area and height contain that of the tail.

    References
    ----------
    E. Gallo, P. Glatzel, Adv. Mater. 26, 7730 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8350.0, 0.4)
    >>> line = 1 / (1 + ((energy - 8265) / 2) ** 2) + 0.02 * np.exp(-(((energy - 8328) / 3) ** 2))
    >>> out = valence_to_core(energy, line, 0 * line + 1e-4, low=8318, high=8338)
    >>> round(float(out["vtc_position"]), 1), round(float(out["vtc_height"]), 3)
    (8328.0, 0.02)
    """
    if low is None or high is None or not low < high:
        raise CallError("valence_to_core needs low < high, the window in eV: for Ni low=8318, high=8338.")
    if not side > 0 or not half > 0:
        raise CallError("side and half are lengths in eV above 0.")
    settings = (float(low), float(high), side, half, bool(aligned))
    with np.errstate(all="ignore"):
        batch = make_batch(energy, emission, emission_sigma, fewest=20)
        values = _line(batch, *settings)
        nothing = np.full(len(batch.count), np.nan)
        values |= dict.fromkeys(("vtc_shift", "vtc_shift_sigma", "vtc_ratio", "vtc_ratio_sigma"), nothing)
        if reference_energy is None or reference_emission is None:
            batch.fail(np.ones(len(batch.count), dtype=bool), NO_REFERENCE)
            return batch.results(OPERATOR.outputs, values, NO_REFERENCE)
        given = [np.atleast_2d(np.asarray(a, float)) for a in (reference_energy, reference_emission)]
        sigma = reference_emission_sigma
        given.append(np.full(given[1].shape, np.nan) if sigma is None else np.atleast_2d(np.asarray(sigma, float)))
        other = make_batch(*given, fewest=20)
        before = _line(other, *settings) if len(other.count) == 1 else {}
        if not before or other.code.any():
            batch.fail(np.ones(len(batch.count), dtype=bool), BAD_REFERENCE)
            return batch.results(OPERATOR.outputs, values, NO_REFERENCE)
        ratio = values["vtc_height"] / before["vtc_height"]
        relative = [one["vtc_height_sigma"] / one["vtc_height"] for one in (values, before)]
        values |= {
            "vtc_shift": values["vtc_position"] - before["vtc_position"],
            "vtc_shift_sigma": np.hypot(values["vtc_position_sigma"], before["vtc_position_sigma"]),
            "vtc_ratio": ratio,
            "vtc_ratio_sigma": np.abs(ratio) * np.hypot(*relative),
        }
        return batch.results(OPERATOR.outputs, values, NO_REFERENCE)


def _line(batch: Batch, low: float, high: float, side: float, half: float, aligned: bool) -> dict[str, Floats]:
    x, (y, sigma), count = batch.energy, batch.signals, batch.count
    variance = variance_of(x, y, count, sigma)
    top = main_line(x, y, count, variance)
    batch.fail(~top.found | (top.position > low - side), NO_LINE)
    main = np.where(top.found, top.position, x[:, 0] - 1.0)
    batch.fail(~covered(x, count, low - side, high + side), NOT_COVERED)
    sides = inside(x, count, low - side, low) | inside(x, count, high, high + side)
    middle, scale = 0.5 * (low + high), 0.5 * (high - low) + side
    t = np.where(np.isfinite(x), (x - middle) / scale, 0.0)
    distance = np.where(np.isfinite(x), x - main[:, None], 1.0)
    # Where the tail runs into the main line it is not looked at.
    tail = np.where(distance > 1.0, ((middle - main)[:, None] / np.where(distance > 1.0, distance, 1.0)) ** 2, 0.0)
    basis = [np.ones_like(t), t, tail]
    weight = np.where(sides & (variance > 0), 1.0 / np.where(variance > 0, variance, 1.0), 0.0)
    known = np.asarray((weight > 0).any(axis=1), dtype=bool)
    weight = np.where(known[:, None], weight, sides.astype(np.float64))
    fit = linear(basis, y, weight, count)
    batch.fail(~fit.solved | (fit.points < 6), NO_TAIL)
    base = np.zeros_like(y)
    for k, term in enumerate(basis):
        base += fit.coefficients[:, k, None] * term
    net = y - base
    guess, found = highest(x, net, inside(x, count, low, high))
    peak = fit_top(x, net, count, guess, half, 3, variance)
    good = found & peak.found & (peak.position > low) & (peak.position < high) & (peak.height > 0)
    batch.fail(~good, NO_MAXIMUM)
    weights = weights_between(x, count, low, high)
    area = row_sum(weights * net, count)
    under = np.stack([row_sum(weights * term, count) for term in basis], axis=1)
    area_variance = row_sum(np.where(weights > 0, weights**2 * variance, 0.0), count) + fit.combine(under)
    here = np.where(good, peak.position, middle)
    terms = np.stack([np.ones_like(here), (here - middle) / scale, ((middle - main) / (here - main)) ** 2], axis=1)
    height_sigma = np.sqrt(peak.height_sigma**2 + fit.combine(terms))
    area_sigma = np.where(known, np.sqrt(area_variance), np.nan)
    # Area and height share their points and their tail: what raises one raises the other.
    both = weights / area[:, None] - peak.height_kernel / peak.height[:, None]
    tail_terms = under / area[:, None] - terms / peak.height[:, None]
    relative = np.sqrt(row_sum(np.where(both != 0, both**2 * variance, 0.0), count) + fit.combine(tail_terms))
    relative = np.where(known, relative, np.nan)
    return {
        "vtc_position": peak.position - (main if aligned else 0.0),
        "vtc_position_sigma": np.hypot(peak.position_sigma, top.position_sigma if aligned else 0.0),
        "vtc_area": area,
        "vtc_area_sigma": area_sigma,
        "vtc_height": peak.height,
        "vtc_height_sigma": height_sigma,
        "vtc_width": area / peak.height,
        "vtc_width_sigma": np.abs(area / peak.height) * relative,
    }


SIGMA = "its statistical standard uncertainty"
OPERATOR = Operator(
    name="valence_to_core",
    version=2,
    func=valence_to_core,
    inputs=("energy", "emission", "emission_sigma"),
    outputs={
        "vtc_position": Output("eV", "energy of the line's top, or its distance from the main line"),
        "vtc_position_sigma": Output("eV", SIGMA),
        "vtc_area": Output("eV", "area above the tail, on the scale of emission"),
        "vtc_area_sigma": Output("eV", SIGMA + ", that of the tail included"),
        "vtc_height": Output("1", "height above the tail"),
        "vtc_height_sigma": Output("1", SIGMA + ", that of the tail included"),
        "vtc_width": Output("eV", "area over height (integral breadth)"),
        "vtc_width_sigma": Output("eV", SIGMA),
        "vtc_shift": Output("eV", "position less that of the reference"),
        "vtc_shift_sigma": Output("eV", SIGMA + ", that of the reference included"),
        "vtc_ratio": Output("1", "height over that of the reference"),
        "vtc_ratio_sigma": Output("1", SIGMA + ", that of the reference included"),
        "valence_to_core_quality": QUALITY,
    },
    summary="Position, area, height and width of the Kβ2,5 line above the main line's tail, and their change.",
    source="E. Gallo, P. Glatzel, Adv. Mater. 26, 7730 (2014)",
    technique="xes",
    parameters={
        "low": "lower end of the line's window in eV, absolute",
        "high": "upper end of the line's window in eV, absolute",
        "side": "length in eV on either side of the window on which the tail is fitted",
        "half": "half width in eV of the cubic fitted around the top",
        "aligned": "whether positions are counted from each spectrum's own main line",
    },
    reasons=REASONS,
    references=References(
        {
            "reference_energy": "energy",
            "reference_emission": "emission",
            "reference_emission_sigma": "emission_sigma",
        },
        "spectrum that shift and ratio are taken against",
        fewest=0,
    ),
    example={"low": 8318.0, "high": 8338.0},
)
