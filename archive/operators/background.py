"""Background of an emission spectrum, from its ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import counting_variance, row_sum
from barospec.archive.operators._kernels.least_squares import linear
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

REASONS = (*common_reasons(12, "intensity"), "too few points in the windows at the ends")
FEW = 3


def background(
    energy: ArrayLike, intensity: ArrayLike, *, below: float = 5.0, above: float = 0.0, degree: int = 0
) -> dict[str, Any]:
    """Subtract a constant or a line fitted to the ends of an emission spectrum.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    intensity : array_like, shape (..., n)
        As measured, any scale.
    below, above : float
        Lengths in eV of the windows at the lower and upper end of the scan; 0 for none.
    degree : int
        0 for a constant, 1 for a line.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        ``net_intensity`` replaces ``intensity`` in the rest of the chain.

    Raises
    ------
    CallError
        For parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Tails of lines reach into the windows and are subtracted with the background: the same windows for a series
    keep that the same. Points are weighted alike; the sigma follows from the counting noise that the curve shows.

    References
    ----------
    Ordinary least squares.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8350.0, 0.5)
    >>> out = background(energy, 3 + 100 * np.exp(-(((energy - 8265) / 3) ** 2)))
    >>> round(float(out["background_level"]), 6)
    3.0
    """
    if below < 0 or above < 0 or below + above <= 0:
        raise CallError("below and above are lengths in eV, one of them above 0.")
    if degree not in (0, 1):
        raise CallError(f"degree = {degree}: a background is a constant (0) or a line (1).")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, intensity, fewest=12)
        x, y, count = batch.energy, batch.signals[0], batch.count
        first, last = x[:, 0], x[np.arange(len(count)), count - 1]
        middle, half = 0.5 * (first + last), 0.5 * (last - first)
        t = np.where(np.isfinite(x), (x - middle[:, None]) / half[:, None], 0.0)
        ends = np.zeros(x.shape, dtype=bool)
        if below:
            ends |= x <= (first + below)[:, None]
        if above:
            ends |= (x >= (last - above)[:, None]) & np.isfinite(x)
        basis = [np.ones_like(t), t][: degree + 1]
        variance = counting_variance(x, y, count)
        fit = linear(basis, y, ends.astype(np.float64), count, np.nan_to_num(variance))
        points = row_sum((ends & np.isfinite(x)).astype(np.float64), count)
        batch.fail(~fit.solved | (points < degree + 3), FEW)
        level = np.zeros_like(y)
        for k, term in enumerate(basis):
            level += fit.coefficients[:, k, None] * term
        sigma = np.sqrt(fit.covariance[:, 0, 0])
        values = {
            "net_intensity": y - level,
            "background_level": fit.coefficients[:, 0],
            "background_level_sigma": np.where(np.isfinite(variance[:, 0]), sigma, np.nan),
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="background",
    version=1,
    func=background,
    inputs=("energy", "intensity"),
    outputs={
        "background_level": Output("unit of intensity", "background at the middle of the scan"),
        "background_level_sigma": Output("unit of intensity", "its statistical standard uncertainty"),
        "net_intensity": Output("unit of intensity", "intensity without the background", per_point=True),
        "background_quality": QUALITY,
    },
    summary="Subtract a constant or a line fitted to the ends of an emission spectrum.",
    source="ordinary least squares",
    technique="xes",
    parameters={
        "below": "length of the window at the lower end in eV; 0 for none",
        "above": "length of the window at the upper end in eV; 0 for none",
        "degree": "0 for a constant, 1 for a line",
    },
    reasons=REASONS,
    replaces={"intensity": "net_intensity"},
    example={"below": 30.0},
)
