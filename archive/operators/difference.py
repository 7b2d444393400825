"""Difference to a reference spectrum, point by point, and its size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import interpolated, row_sum, weights_between, white_noise
from barospec.archive.operators._kernels.propagation import (
    NORM_REFERENCE,
    NORMALIZATION,
    NoisePropagator,
    length,
    unpacked,
)
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators._kernels.shift_fit import reference_curve
from barospec.archive.operators.operator import QUALITY, Operator, Output, References
from barospec.schemas.errors import CallError

REASONS = (*common_reasons(14), "spectrum and reference do not both cover the window")
NOT_COVERED = 3


def difference(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    reference_energy: ArrayLike | None = None,
    reference_norm: ArrayLike | None = None,
    normalization: ArrayLike | None = None,
    reference_normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Subtract the norm of a reference spectrum, on the spectrum's own energies.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    low, high : float, optional
        Window in eV, absolute, of the two numbers; where both were measured by default.
    reference_energy, reference_norm : array_like, shape (m,)
        The reference spectrum (``reference``).
    normalization : array_like, shape (..., 7), optional
        What `normalize` did: e0, pre1, pre2, norm1, norm2, nnorm, nvict. Without it the sigmas are those of the points
        of norm alone.
    reference_normalization : array_like, shape (7), optional
        The same of the reference.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        ``difference`` is NaN where the reference was not measured; ``difference_rms`` is 0 where noise alone gives more.

    Raises
    ------
    CallError
        Without a reference, for a wrong window, or shapes that do not fit.

    Notes
    -----
    The reference is interpolated linearly. Sigmas are statistical and contain the reference's noise.

    References
    ----------
    The definition is all there is.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 1.0)
    >>> out = difference(energy, 0 * energy + 1.1, reference_energy=energy, reference_norm=0 * energy + 1)
    >>> round(float(out["difference_area"]), 2), round(float(out["difference_rms"]), 2)
    (9.9, 0.1)
    """
    reference = reference_curve("difference", reference_energy, reference_norm, reference_normalization)
    if low is not None and high is not None and not low < high:
        raise CallError("low must lie below high.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers=unpacked(normalization))
        x, y, count = batch.energy, batch.signals[0], batch.count
        last = x[np.arange(len(count)), count - 1]
        begin = np.maximum(x[:, 0], reference.energy[0]) if low is None else np.full(len(count), float(low))
        end = np.minimum(last, reference.energy[-1]) if high is None else np.full(len(count), float(high))
        inside_both = (begin >= np.maximum(x[:, 0], reference.energy[0]) - 1e-9) & (
            end <= np.minimum(last, reference.energy[-1]) + 1e-9
        )
        batch.fail(~inside_both | (end <= begin), NOT_COVERED)
        delta = y - interpolated(x, reference.energy, reference.curve)
        noise = white_noise(x, y, count)
        both = noise**2 + reference.noise**2
        weights = weights_between(x, count, begin, end)
        safe = np.where(weights > 0, np.where(np.isfinite(delta), delta, 0.0), 0.0)

        carrier = NoisePropagator(x, y, count, batch.numbers)

        def variance(kernel: Floats) -> Floats:
            own = length(carrier.on_mu(kernel), count)
            return (noise * own) ** 2 + reference.variance(kernel, x)

        share = weights / (end - begin)[:, None]
        # Interpolation between the reference's points leaves less of its noise than a point has.
        expected = noise**2 + reference.noise**2 * row_sum(share * reference.left(x), count)
        rms = np.sqrt(np.maximum(row_sum(share * safe**2, count) - expected, 0.0))
        # What points scatter by chance, beside the part that goes with the difference itself.
        chance = 2 * both**2 * row_sum(share**2, count)
        spread = variance(2 * share * safe) + chance
        values = {
            "difference": delta,
            "difference_area": row_sum(weights * safe, count),
            "difference_area_sigma": np.sqrt(variance(weights)),
            "difference_rms": rms,
            # Where nothing is left above the noise, the spread of the mean square is that of the rms squared.
            "difference_rms_sigma": np.sqrt(spread) / np.maximum(2 * rms, spread**0.25),
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="difference",
    version=2,
    func=difference,
    inputs=("energy", "norm"),
    outputs={
        "difference_area": Output("eV", "integral of the difference over the window"),
        "difference_area_sigma": Output("eV", "its statistical standard uncertainty"),
        "difference_rms": Output("1", "root mean square of the difference, noise subtracted"),
        "difference_rms_sigma": Output("1", "its statistical standard uncertainty"),
        "difference": Output("1", "norm less that of the reference", per_point=True),
        "difference_quality": QUALITY,
    },
    summary="Difference to a reference spectrum, point by point, with its integral and root mean square.",
    source="the definition is all there is",
    technique="xas",
    parameters={
        "low": "lower end of the window in eV, absolute; default: where both were measured",
        "high": "upper end of the window in eV, absolute; default: where both were measured",
    },
    optional={"normalization": NORMALIZATION},
    reasons=REASONS,
    references=References(
        NORM_REFERENCE,
        "spectrum that is subtracted",
    ),
)
