"""First moment of the Kβ main line."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import make_batch
from barospec.archive.operators._kernels.crossings import crossings, mean_slope
from barospec.archive.operators._kernels.emission import (
    INPUTS,
    NO_LINE,
    NOT_COVERED,
    REASONS,
    SIGMA,
    main_line,
    variance_of,
)
from barospec.archive.operators._kernels.integrals import row_sum, value_at, weights_between
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

MOMENT_REASONS = (
    *REASONS[:4],
    "the line does not fall to `level` of its maximum on both sides inside the scan",
)


def first_moment(
    energy: ArrayLike, emission: ArrayLike, emission_sigma: ArrayLike, *, level: float = 0.3
) -> dict[str, Any]:
    """Compute the first moment of the main line above a fraction of its maximum.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    emission, emission_sigma : array_like, shape (..., n)
        As `normalize_emission` returns them; its scale cancels.
    level : float
        Fraction of the maximum, above 0 and below 1.

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
    Mean energy over the stretch around the main line where the emission stays above `level` of the fitted
    maximum, with its ends by linear interpolation: the crossings nearest to the line on either side. Absolute
    moments compare only where the spectrometer's calibration does; subtract `kbeta13_position` otherwise.

    References
    ----------
    P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8350.0, 0.4)
    >>> line = np.exp(-(((energy - 8264.8) / 3) ** 2))
    >>> round(float(first_moment(energy, line, 0 * line + 0.01)["first_moment"]), 2)
    8264.8
    """
    if not 0 < level < 1:
        raise CallError(f"level = {level} is not a fraction of the maximum. Give a number between 0 and 1.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, emission, emission_sigma, fewest=12)
        x, (y, sigma), count = batch.energy, batch.signals, batch.count
        variance = variance_of(x, y, count, sigma)
        top = main_line(x, y, count, variance)
        batch.fail(~top.found, NO_LINE)
        line = np.where(top.found, top.position, x[:, 0])
        low, high, found = crossings(x, y, count, line, level * top.height)
        batch.fail(~found, NOT_COVERED)
        weights = weights_between(x, count, np.where(found, low, 0.0), np.where(found, high, 0.0))
        distance = np.where(weights > 0, x - line[:, None], 0.0)
        area = row_sum(weights * y, count)
        moment = row_sum(weights * distance * y, count) / area
        # The ends move with the noise as well: each carries the level times its distance from the moment.
        change = weights * (distance - moment[:, None]) / area[:, None]
        spread = row_sum(np.where(weights > 0, change**2 * variance, 0.0), count)
        for end in (low, high):
            slope = mean_slope(x, y, count, end)
            noise = np.sqrt(value_at(x, variance, count, end))
            spread += (level * top.height * (end - line - moment) / area * noise / slope) ** 2
        values = {"first_moment": line + moment, "first_moment_sigma": np.sqrt(spread)}
        return batch.results(OPERATOR.outputs, values, len(MOMENT_REASONS))


OPERATOR = Operator(
    name="first_moment",
    version=1,
    func=first_moment,
    inputs=INPUTS,
    outputs={
        "first_moment": Output("eV", "mean energy of the main line above `level` of its maximum"),
        "first_moment_sigma": Output("eV", SIGMA),
        "first_moment_quality": QUALITY,
    },
    summary="First moment of the main line above a fraction of its maximum.",
    source="P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005)",
    technique="xes",
    parameters={"level": "fraction of the maximum above which the line counts, above 0 and below 1"},
    reasons=MOMENT_REASONS,
)
