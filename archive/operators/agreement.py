"""Agreement of spectra with one reference, whatever its energy zero and scale: calculated against measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels import shift_fit
from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.propagation import NORM_REFERENCE, NORMALIZATION, unpacked
from barospec.archive.operators.operator import QUALITY, Operator, Output, References

REASONS = (*common_reasons(14), *shift_fit.REASONS)


def agreement(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    most: float = 20.0,
    reference_energy: ArrayLike | None = None,
    reference_norm: ArrayLike | None = None,
    normalization: ArrayLike | None = None,
    reference_normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Fit the shift and scale that bring a spectrum onto a reference, and return the residual.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption, such as that of calculations with clusters of different size.
    low, high : float
        Window in eV, absolute, on the reference's energies.
    most : float
        Largest shift that is considered, in eV.
    reference_energy, reference_norm : array_like, shape (m,)
        The reference spectrum (``reference``), such as the measured one.
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
        Without window or reference, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Least squares of ``norm(E) = a reference(E + shift)`` over shift and a. A calculation has an energy zero of its
    own; a shift therefore says nothing about valence. Residuals compare within one window.

    References
    ----------
    Cluster-size series as in E. Mijit et al., "Local electronic properties of La3Ni2O7 under pressure" (2024),
    figure 6.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> curve = 0.5 + np.arctan((energy - 8345) / 2) / np.pi
    >>> out = agreement(energy - 7.2, 0.9 * curve, low=8335, high=8375, reference_energy=energy,
    ...                 reference_norm=curve)
    >>> round(float(out["agreement_shift"]), 2), round(float(out["agreement_scale"]), 2)
    (7.2, 0.9)
    """
    reference = shift_fit.reference_curve("agreement", reference_energy, reference_norm, reference_normalization)
    window = shift_fit.window_of("agreement", low, high, most)
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers=unpacked(normalization))
        found = shift_fit.best_shift(batch, reference, window, most, scale=True)
        values = {
            "agreement_residual": found.residual,
            "agreement_shift": found.shift,
            "agreement_shift_sigma": found.sigma,
            "agreement_scale": found.scale,
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="agreement",
    version=2,
    func=agreement,
    inputs=("energy", "norm"),
    outputs={
        "agreement_residual": Output("1", "root of squared residuals over that of squared values; no noise, no sigma"),
        "agreement_shift": Output("eV", "added to the spectrum's energies"),
        "agreement_shift_sigma": Output("eV", "its statistical standard uncertainty"),
        "agreement_scale": Output("1", "factor of the reference; it follows from the curves and has no sigma"),
        "agreement_quality": QUALITY,
    },
    summary="Best shift and scale of a (calculated) spectrum against a reference, and the residual.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024), figure 6",
    technique="xas",
    parameters={
        "low": "lower end of the window in eV, absolute, on the reference's energies",
        "high": "upper end of the window in eV, absolute, on the reference's energies",
        "most": "largest shift that is considered, eV",
    },
    optional={"normalization": NORMALIZATION},
    reasons=REASONS,
    references=References(
        NORM_REFERENCE,
        "spectrum that the others are compared with, such as the measured one",
        absolute=False,
    ),
    example={"low": 8335.0, "high": 8375.0},
)
