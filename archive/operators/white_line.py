"""White line: position, height, and area above a rounded step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import covered, inside, row_sum, weights_between, white_noise
from barospec.archive.operators._kernels.peak import fit_top, highest
from barospec.archive.operators._kernels.propagation import NORMALIZATION, NoisePropagator, length, unpacked
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(14),
    "no edge: the spectrum was not normalized, see normalize_quality",
    "no maximum between e0 and e0 + `high`: norm only rises or falls there",
    "the scan does not cover the window of the area",
)
NO_EDGE, NO_MAXIMUM, NOT_COVERED = 3, 4, 5


def white_line(
    energy: ArrayLike,
    norm: ArrayLike,
    e0: ArrayLike,
    *,
    low: float = -5.0,
    high: float = 20.0,
    step_width: float = 2.0,
    half: float = 2.0,
    normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Find position and height of the first strong maximum above the edge, and the area above an arctangent step.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    e0 : array_like, shape (...)
        In eV: the middle of the step.
    low, high : float
        Window of the area, in eV relative to e0.
    step_width : float
        Full width at half maximum of the step's derivative, in eV.
    half : float
        Half width in eV of the cubic fitted around the highest point.

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
        For parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    ``area = integral of norm - (1/2 + arctan(2 (E - e0)/step_width)/pi)`` from e0 + low to e0 + high. The
    position of the step decides over the area, so areas compare within a series normalized alike. Sigmas are
    statistical (one noise for all points of a spectrum).

    References
    ----------
    The arctangent step is the integral of a Lorentzian: the definition is all there is.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> step = np.arctan(energy - 8345) / np.pi + 0.5
    >>> out = white_line(energy, step + 0.5 * np.exp(-((energy - 8350) ** 2) / 8), 8345.0)
    >>> round(float(out["white_line_area"]), 2), round(float(out["white_line_position"]), 1)
    (2.51, 8350.1)
    """
    if not low < high or not high > 0 or not step_width > 0 or not half > 0:
        raise CallError("low must lie below high; high, step_width and half are eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers={"e0": e0, **unpacked(normalization)})
        x, y, count = batch.energy, batch.signals[0], batch.count
        center = batch.numbers["e0"]
        batch.fail(~np.isfinite(center), NO_EDGE)
        center = np.where(np.isfinite(center), center, x[:, 0])
        noise = white_noise(x, y, count)
        guess, found = highest(x, y, inside(x, count, center, center + high))
        batch.fail(~found, NO_MAXIMUM)
        batch.fail(~covered(x, count, center + low, center + high), NOT_COVERED)
        top = fit_top(x, y, count, guess, half, 3, noise**2)
        batch.fail(~top.found, NO_MAXIMUM)
        weights = weights_between(x, count, center + low, center + high)
        t = np.where(np.isfinite(x), x, 0.0) - center[:, None]
        step = 0.5 + np.arctan(2 * t / step_width) / np.pi

        carrier = NoisePropagator(x, y, count, batch.numbers)

        def sigma(kernel: Floats) -> Floats:
            return noise * length(carrier.on_mu(kernel), count)

        values = {
            "white_line_position": top.position,
            "white_line_position_sigma": sigma(top.position_kernel),
            "white_line_height": top.height,
            "white_line_height_sigma": sigma(top.height_kernel),
            "white_line_area": row_sum(weights * (y - step), count),
            "white_line_area_sigma": sigma(weights),
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="white_line",
    version=2,
    optional={"normalization": NORMALIZATION},
    func=white_line,
    inputs=("energy", "norm", "e0"),
    outputs={
        "white_line_position": Output("eV", "energy of the maximum of norm above e0"),
        "white_line_position_sigma": Output("eV", "its statistical standard uncertainty"),
        "white_line_height": Output("1", "norm at the maximum"),
        "white_line_height_sigma": Output("1", "its statistical standard uncertainty"),
        "white_line_area": Output("eV", "integral of norm above an arctangent step at e0"),
        "white_line_area_sigma": Output("eV", "its statistical standard uncertainty"),
        "white_line_quality": QUALITY,
    },
    summary="Position, height and area (above an arctangent step at e0) of the white line.",
    source="the definition is all there is; the arctangent is the integral of a Lorentzian",
    technique="xas",
    parameters={
        "low": "lower end of the area's window, eV relative to e0",
        "high": "upper end of the window and of the search for the maximum, eV relative to e0",
        "step_width": "full width at half maximum of the step's derivative in eV",
        "half": "half width in eV of the cubic fitted around the highest point",
    },
    reasons=REASONS,
)
