"""A named peak of norm followed through a series: position and height in an absolute window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import covered, inside, white_noise
from barospec.archive.operators._kernels.peak import fit_top, highest
from barospec.archive.operators._kernels.propagation import NORMALIZATION, NoisePropagator, length, unpacked
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(14),
    "the scan does not cover the window",
    "no maximum inside the window: norm is highest at its end",
    "no maximum inside the window: the fitted curve has none",
)
NOT_COVERED, AT_END, NO_MAXIMUM = 3, 4, 5


def track_peak(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    half: float | None = None,
    degree: int = 3,
    normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Find position and height of the highest maximum between two energies that are the same for a whole series.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    low, high : float
        The window in eV, absolute. It must be given: one that moved with each spectrum would follow the edge.
    half : float, optional
        Half width in eV of the polynomial fitted around the highest point; a quarter of the window by default.
    degree : int
        Of that polynomial, 2 to 5.

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
        Without a window, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    A polynomial of `degree` is fitted within `half` of the highest point, moved to its own maximum twice; the
    weights of its outermost points go down to nothing, so that no point jumps in or out.

    References
    ----------
    The broad resonance near 5520 eV above the La L3 edge, followed in E. Mijit et al., "Local electronic
    properties of La3Ni2O7 under pressure" (2024).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(5430.0, 5620.0, 0.8)
    >>> out = track_peak(energy, 1 + 0.1 * np.exp(-(((energy - 5519.3) / 12) ** 2)), low=5500, high=5540, half=5)
    >>> round(float(out["peak_position"]), 1), round(float(out["peak_height"]), 3)
    (5519.3, 1.1)
    """
    if low is None or high is None:
        raise CallError("track_peak needs low and high: the window in eV, such as low=5500, high=5540.")
    if not low < high or degree != int(degree) or not 2 <= degree <= 5 or (half is not None and not half > 0):
        raise CallError("low must lie below high, degree is 2 to 5, half is eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers=unpacked(normalization))
        x, y, count = batch.energy, batch.signals[0], batch.count
        noise = white_noise(x, y, count)
        batch.fail(~covered(x, count, low, high), NOT_COVERED)
        guess, found = highest(x, y, inside(x, count, low, high))
        batch.fail(~found, AT_END)
        top = fit_top(x, y, count, guess, half or 0.25 * (high - low), int(degree), noise**2)
        batch.fail(~top.found, NO_MAXIMUM)
        carrier = NoisePropagator(x, y, count, batch.numbers)
        kernels = [carrier.on_mu(one) for one in (top.position_kernel, top.height_kernel)]
        values = {
            "peak_position": top.position,
            "peak_position_sigma": noise * length(kernels[0], count),
            "peak_height": top.height,
            "peak_height_sigma": noise * length(kernels[1], count),
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="track_peak",
    version=2,
    optional={"normalization": NORMALIZATION},
    func=track_peak,
    inputs=("energy", "norm"),
    outputs={
        "peak_position": Output("eV", "energy of the maximum of norm in the window"),
        "peak_position_sigma": Output("eV", "its statistical standard uncertainty"),
        "peak_height": Output("1", "norm at the maximum"),
        "peak_height_sigma": Output("1", "its statistical standard uncertainty"),
        "track_peak_quality": QUALITY,
    },
    summary="Position and height of a named peak, such as the 5520 eV resonance, in an absolute window.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xas",
    parameters={
        "low": "lower end of the window in eV, absolute",
        "high": "upper end of the window in eV, absolute",
        "half": "half width in eV of the fitted polynomial; default: a quarter of the window",
        "degree": "degree of the fitted polynomial, 2 to 5",
    },
    reasons=REASONS,
    example={"low": 8340.0, "high": 8360.0},
)
