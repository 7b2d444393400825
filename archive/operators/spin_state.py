"""Low-spin and high-spin shares of a Kβ line, with an upper limit on the high-spin share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.emission import interpolate_reference, reference_unit, unit_area, variance_of
from barospec.archive.operators._kernels.integrals import row_sum
from barospec.archive.operators._kernels.least_squares import linear
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators.operator import QUALITY, Operator, Output, References
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(20, "emission"),
    "no main line, or the scan does not reach over the window around it",
    "a reference, once aligned, does not reach over the window",
    "the two references are too alike to be distinguished",
    "the noise of spectrum or references is not known",
    "suspect: the share lies beyond the references by more than three sigmas",
)
NOT_COVERED, REFERENCE_SHORT, ALIKE, NO_NOISE, BEYOND = range(3, 8)


def spin_state(
    energy: ArrayLike,
    emission: ArrayLike,
    emission_sigma: ArrayLike,
    *,
    below: float = 30.0,
    above: float = 15.0,
    confidence: float = 0.95,
    reference_energy: ArrayLike | None = None,
    reference_emission: ArrayLike | None = None,
    reference_emission_sigma: ArrayLike | None = None,
) -> dict[str, Any]:
    """Fit the share of a high-spin reference in a spectrum described by a low-spin and a high-spin one.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    emission, emission_sigma : array_like, shape (..., n)
        As `normalize_emission` returns them; its scale cancels.
    below, above : float
        The window reaches from `below` under the main line to `above` over it, in eV.
    confidence : float
        Of the upper limit, above 0.5 and below 1.
    reference_energy, reference_emission, reference_emission_sigma : array_like, shape (2, m)
        The references (``references``): first low spin, then high spin.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).

    Raises
    ------
    CallError
        Without two references, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    All three curves have unit area on their windows and their main lines on one energy; the spectrum is fitted by
    ``LS + f (HS - LS)``, weighted by the noise of all three; what the references' noise adds to the normal equation is
    taken out, and the sigma contains that of the alignment. Where the residual exceeds the noise, sigma is scaled
    up by the root of ``spin_chi2``. The limit is that below which the share lies with `confidence` when it is
    known to lie in [0, 1] and every value there was as likely before. "Single-component low spin" is such a
    limit, not a zero, and it is one on what these two references describe.

    References
    ----------
    Least squares; spin sensitivity of Kβ: Inorg. Chem. 59, 12518 (2020), doi:10.1021/acs.inorgchem.0c01620.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8220.0, 8350.0, 0.4)
    >>> def line(satellite):
    ...     y = np.exp(-(((energy - 8265) / 2) ** 2)) + satellite * np.exp(-(((energy - 8249) / 4) ** 2))
    ...     return y / (y.sum() * 0.4)
    >>> s = np.full(energy.size, 1e-4)
    >>> out = spin_state(energy, 0.75 * line(0.05) + 0.25 * line(0.1), s, reference_energy=[energy, energy],
    ...                  reference_emission=[line(0.05), line(0.1)], reference_emission_sigma=[s, s])
    >>> round(float(out["high_spin"]), 2)
    0.25
    """
    if not below > 0 or not above > 0 or not 0.5 < confidence < 1:
        raise CallError("below and above are eV above 0, confidence lies between 0.5 and 1.")
    low, high = _references(reference_energy, reference_emission, reference_emission_sigma, below, above)
    with np.errstate(all="ignore"):
        batch = make_batch(energy, emission, emission_sigma, fewest=20)
        x, (y, sigma), count = batch.energy, batch.signals, batch.count
        own = unit_area(x, y, count, variance_of(x, y, count, sigma), below, above)
        batch.fail(~own.done, NOT_COVERED)
        used = own.weights > 0
        (ls, ls_variance), (hs, hs_variance) = (
            interpolate_reference(x, one[1].line[0] - own.line, one) for one in (low, high)
        )
        batch.fail((used & ~np.isfinite(ls + hs)).any(axis=1), REFERENCE_SHORT)
        used &= np.isfinite(ls + hs + own.curve)
        ls, hs = np.where(used, ls, 0.0), np.where(used, hs, 0.0)
        target = np.where(used, own.curve - ls, 0.0)
        ls_noise, hs_noise = (np.where(used & np.isfinite(v), v, 0.0) for v in (ls_variance, hs_variance))
        share, chi2 = np.full(len(count), 0.5), np.zeros(len(count))
        for _ in range(3):
            f = np.clip(share, 0.0, 1.0)[:, None]
            variance = own.variance + (1 - f) ** 2 * ls_variance + f**2 * hs_variance
            known = np.where(used, variance > 0, True).all(axis=1)
            weight = np.where(used & (variance > 0), 1.0 / np.where(variance > 0, variance, 1.0), 0.0)
            fit = linear([hs - ls], target, weight, count)
            # Noise of the references stands in both sides of the normal equation; its expectation is taken out.
            own_part, other_part = (row_sum(weight * v, count) for v in (ls_noise, ls_noise + hs_noise))
            square = row_sum(weight * (hs - ls) ** 2, count)
            bare = np.where(square > 2 * other_part, square - other_part, square)
            share = np.where(
                square > 2 * other_part, (fit.coefficients[:, 0] * square - own_part) / bare, fit.coefficients[:, 0]
            )
            chi2 = fit.chi2 / np.maximum(fit.points - 1, 1)
        difference = np.sqrt(row_sum(np.where(used, own.weights, 0.0) * (hs - ls) ** 2, count))
        size = np.sqrt(row_sum(np.where(used, own.weights, 0.0) * ls**2, count))
        batch.fail(~known, NO_NOISE)
        batch.fail(~fit.solved | ~(difference > 1e-3 * size), ALIKE)
        spread = np.sqrt(np.maximum(chi2, 1.0) * square) / bare
        f = np.clip(share, 0.0, 1.0)
        kernel = weight * (hs - ls) / bare[:, None]
        tilts = []
        for one, curve in ((low, ls), (high, hs)):
            ahead, _ = interpolate_reference(x, one[1].line[0] - own.line + 0.1, one)
            tilts.append(row_sum(kernel * np.where(used & np.isfinite(ahead), (ahead - curve) / 0.1, 0.0), count))
        # The three main lines are aligned as well as noise permits.
        for tilt, line in (
            ((1 - f) * tilts[0], low[1].line_sigma[0]),
            (f * tilts[1], high[1].line_sigma[0]),
            ((1 - f) * tilts[0] + f * tilts[1], own.line_sigma),
        ):
            spread = np.hypot(spread, tilt * line)
        batch.fail((share < -3 * spread) | (share > 1 + 3 * spread), BEYOND)
        values = {
            "high_spin": np.clip(share, 0.0, 1.0),
            "high_spin_sigma": spread,
            "high_spin_limit": upper_limit(share, spread, confidence),
            "high_spin_free": share,
            "spin_chi2": chi2,
        }
        return batch.results(OPERATOR.outputs, values, BEYOND)


def upper_limit(value: Floats, sigma: Floats, confidence: float) -> Floats:
    """Return the limit that a share in [0, 1] is below with `confidence`, from a normal likelihood and a flat prior.

    >>> upper_limit(np.array([0.0]), np.array([0.1]), 0.95).round(3).tolist()
    [0.196]
    """
    with np.errstate(all="ignore"):
        # Far outside, the tails themselves vanish: the limit then is at the bound.
        low, high = ndtr((0.0 - value) / sigma), ndtr((1.0 - value) / sigma)
        inside = high - low
        limit = value + sigma * ndtri(low + confidence * inside)
    # Deep below zero the normal tail is exponential in the distance.
    deep = value < -8 * sigma
    decay = np.where(deep, -np.log(1 - confidence) * sigma**2 / np.maximum(-value, 1e-300), limit)
    out: Floats = np.clip(np.where(value > 1 + 8 * sigma, 1.0, decay), 0.0, 1.0)
    return out


def _references(
    energy: ArrayLike | None, emission: ArrayLike | None, sigma: ArrayLike | None, below: float, above: float
) -> list[Any]:
    if energy is None or emission is None:
        raise CallError(
            'spin_state needs references, low spin first: --with references="LS: LaNiO3 at 1 bar; HS: NiO at 1 bar".'
        )
    arrays = [np.atleast_2d(np.asarray(a, float)) for a in (energy, emission)]
    errors = None if sigma is None else np.atleast_2d(np.asarray(sigma, float))
    if len(arrays[0]) != 2 or len(arrays[1]) != 2:
        raise CallError(f"spin_state takes two references, low spin first; it got {len(arrays[1])}.")
    return [
        reference_unit("spin_state", arrays[0][k], arrays[1][k], None if errors is None else errors[k], below, above)
        for k in range(2)
    ]


OPERATOR = Operator(
    name="spin_state",
    version=2,
    func=spin_state,
    inputs=("energy", "emission", "emission_sigma"),
    outputs={
        "high_spin": Output("1", "share of the high-spin reference, within [0, 1]"),
        "high_spin_sigma": Output("1", "its standard uncertainty"),
        "high_spin_limit": Output("1", "its upper limit at the confidence asked for"),
        "high_spin_free": Output("1", "share as fitted, which may lie outside [0, 1]"),
        "spin_chi2": Output("1", "squared residuals over noise and degrees of freedom"),
        "spin_state_quality": QUALITY,
    },
    summary="High-spin share from a fit by a low-spin and a high-spin reference, with its upper limit.",
    source="least squares; spin sensitivity of Kβ: Inorg. Chem. 59, 12518 (2020), doi:10.1021/acs.inorgchem.0c01620",
    technique="xes",
    parameters={
        "below": "the window begins this far below the main line, eV",
        "above": "the window ends this far above the main line, eV",
        "confidence": "of the upper limit, between 0.5 and 1",
    },
    reasons=REASONS,
    references=References(
        {
            "reference_energy": "energy",
            "reference_emission": "emission",
            "reference_emission_sigma": "emission_sigma",
        },
        "a low-spin and a high-spin spectrum, in this order: LS: ...; HS: ...",
        several=True,
        fewest=2,
        absolute=False,
    ),
)
