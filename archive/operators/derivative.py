"""First derivative of the normalized absorption."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import white_noise
from barospec.archive.operators.operator import QUALITY, Operator, Output

REASONS = common_reasons(3)


def derivative(energy: ArrayLike, norm: ArrayLike) -> dict[str, Any]:
    """Differentiate norm, second-order accurate on an uneven grid, one-sided at the ends.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        NaN where the input was.

    Raises
    ------
    CallError
        For shapes that do not fit.

    Notes
    -----
    With h and k the steps to the left and right neighbor::

        dnorm = (y+ h/k - y- k/h)/(h + k) + y (k - h)/(h k)

    Nothing is smoothed. Neighboring values share points, so their errors are correlated.

    References
    ----------
    The central difference on an uneven grid follows from the parabola through three points.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.array([8340.0, 8341.0, 8343.0, 8344.0])
    >>> derivative(energy, (energy - 8340) ** 2)["dnorm"][1:3].tolist()
    [2.0, 6.0]
    """
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=3)
        x, y, count = batch.energy, batch.signals[0], batch.count
        noise = white_noise(x, y, count)[:, None]
        h, k = x[:, 1:-1] - x[:, :-2], x[:, 2:] - x[:, 1:-1]
        right, left, middle = h / k / (h + k), -k / h / (h + k), (k - h) / (h * k)
        slope, sigma = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        slope[:, 1:-1] = right * y[:, 2:] + left * y[:, :-2] + middle * y[:, 1:-1]
        sigma[:, 1:-1] = noise * np.sqrt(right**2 + left**2 + middle**2)
        rows, last = np.arange(len(count)), count - 1
        for here, there in ((0 * last, 0 * last + 1), (last, last - 1)):
            step = x[rows, here] - x[rows, there]
            slope[rows, here] = (y[rows, here] - y[rows, there]) / step
            sigma[rows, here] = noise[:, 0] * np.sqrt(2.0) / np.abs(step)
        return batch.results(OPERATOR.outputs, {"dnorm": slope, "dnorm_sigma": sigma}, len(REASONS))


OPERATOR = Operator(
    name="derivative",
    version=1,
    func=derivative,
    inputs=("energy", "norm"),
    outputs={
        "dnorm": Output("1/eV", "first derivative of norm", per_point=True),
        "dnorm_sigma": Output("1/eV", "its statistical standard uncertainty", per_point=True),
        "derivative_quality": QUALITY,
    },
    summary="First derivative of the normalized absorption.",
    source="parabola through three neighboring points",
    technique="xas",
    reasons=REASONS,
)
