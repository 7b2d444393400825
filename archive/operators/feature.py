"""A feature at a fixed energy: height and area, and their change against a reference spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import (
    covered,
    interpolated,
    row_sum,
    weights_between,
    white_noise,
)
from barospec.archive.operators._kernels.propagation import (
    NORM_REFERENCE,
    NORMALIZATION,
    NoisePropagator,
    length,
    unpacked,
)
from barospec.archive.operators._kernels.shift_fit import reference_curve
from barospec.archive.operators.operator import QUALITY, Operator, Output, References
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(14),
    "the scan does not cover the window",
    "suspect: no reference was named, so there is no change",
    "suspect: the reference does not cover the window, so there is no change",
)
NOT_COVERED, NO_REFERENCE, REFERENCE_SHORT = 3, 4, 5


def feature(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    position: float | None = None,
    half: float = 1.0,
    low: float | None = None,
    high: float | None = None,
    reference_energy: ArrayLike | None = None,
    reference_norm: ArrayLike | None = None,
    normalization: ArrayLike | None = None,
    reference_normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Measure the height of norm at an energy and its area in a window, both fixed for a series; and their change.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    position : float
        Energy in eV, absolute, such as 8358 for feature C.
    half : float
        The height is the mean of norm within this of `position`, in eV.
    low, high : float, optional
        Window of the area in eV, absolute; `position` -+ 4 by default.
    reference_energy, reference_norm : array_like, shape (m,), optional
        The reference spectrum (``reference``).
    normalization : array_like, shape (..., 7), optional
        What `normalize` did: e0, pre1, pre2, norm1, norm2, nnorm, nvict. Without it the sigmas are those of the points
        of norm alone.
    reference_normalization : array_like, shape (7), optional
        The same of the reference.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).

    Raises
    ------
    CallError
        Without a position, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Height and area are those of norm itself, without a baseline: under a shoulder such as C any baseline is a
    choice, while the change against a reference spectrum of the series needs none. Means and areas are exact
    integrals of the straight lines between the points. Sigma of a change contains the reference's noise.

    References
    ----------
    Feature C at 8358 eV: E. Mijit et al., "Local electronic properties of La3Ni2O7 under pressure" (2024).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> bump = 0.1 * np.exp(-(((energy - 8358) / 5) ** 2))
    >>> out = feature(energy, 1 + bump, position=8358, reference_energy=energy, reference_norm=1 + 0 * bump)
    >>> round(float(out["feature_height_change"]), 3), round(float(out["feature_area"]), 2)
    (0.099, 8.66)
    """
    if position is None:
        raise CallError("feature needs position, the energy in eV, such as position=8358.")
    begin, end = (position - 4.0 if low is None else low), (position + 4.0 if high is None else high)
    if not begin < end or not half > 0:
        raise CallError("low must lie below high, and half is eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers=unpacked(normalization))
        x, y, count = batch.energy, batch.signals[0], batch.count
        noise = white_noise(x, y, count)
        batch.fail(~covered(x, count, min(begin, position - half), max(end, position + half)), NOT_COVERED)
        before = np.full(x.shape, np.nan)
        reference = None
        if reference_energy is None or reference_norm is None:
            batch.fail(np.ones(len(count), dtype=bool), NO_REFERENCE)
        else:
            reference = reference_curve("feature", reference_energy, reference_norm, reference_normalization)
            before = interpolated(x, reference.energy, reference.curve)
        carrier, values = NoisePropagator(x, y, count, batch.numbers), {}
        for name, (first, last) in {
            "feature_height": (position - half, position + half),
            "feature_area": (begin, end),
        }.items():
            weights = weights_between(x, count, first, last)
            if name == "feature_height":
                weights = weights / (2 * half)
            taken = weights > 0
            values[name] = row_sum(weights * y, count)
            sigma = noise * length(carrier.on_mu(weights), count)
            values[f"{name}_sigma"] = sigma
            difference = np.where(taken, y - before, 0.0)
            values[f"{name}_change"] = row_sum(weights * difference, count)
            theirs = np.full(len(count), np.nan) if reference is None else reference.variance(weights, x)
            values[f"{name}_change_sigma"] = np.sqrt(sigma**2 + theirs)
        batch.fail(~np.isfinite(values["feature_area_change"]), REFERENCE_SHORT)
        return batch.results(OPERATOR.outputs, values, NO_REFERENCE)


OPERATOR = Operator(
    name="feature",
    version=2,
    func=feature,
    inputs=("energy", "norm"),
    outputs={
        "feature_height": Output("1", "mean of norm within `half` of the position"),
        "feature_height_sigma": Output("1", "its statistical standard uncertainty"),
        "feature_area": Output("eV", "integral of norm over the window"),
        "feature_area_sigma": Output("eV", "its statistical standard uncertainty"),
        "feature_height_change": Output("1", "height less that of the reference"),
        "feature_height_change_sigma": Output("1", "its statistical standard uncertainty"),
        "feature_area_change": Output("eV", "area less that of the reference"),
        "feature_area_change_sigma": Output("eV", "its statistical standard uncertainty"),
        "feature_quality": QUALITY,
    },
    summary="Height and area of norm at a fixed energy, such as C at 8358 eV, and their change.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xas",
    parameters={
        "position": "energy of the feature in eV, absolute",
        "half": "the height is the mean of norm within this of the position, eV",
        "low": "lower end of the area's window in eV, absolute; default: position - 4",
        "high": "upper end of the area's window in eV, absolute; default: position + 4",
    },
    optional={"normalization": NORMALIZATION},
    reasons=REASONS,
    references=References(
        NORM_REFERENCE,
        "spectrum that the change is taken against",
        fewest=0,
    ),
    example={"position": 8358.0},
)
