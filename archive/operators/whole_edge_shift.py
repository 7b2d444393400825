"""Shift of the whole edge against a reference spectrum, by least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels import shift_fit
from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.propagation import NORM_REFERENCE, NORMALIZATION, unpacked
from barospec.archive.operators.operator import QUALITY, Operator, Output, References

REASONS = (*common_reasons(14), *shift_fit.REASONS)


def whole_edge_shift(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    most: float = 10.0,
    reference_energy: ArrayLike | None = None,
    reference_norm: ArrayLike | None = None,
    normalization: ArrayLike | None = None,
    reference_normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Fit the shift of the edge as a whole against that of a reference spectrum.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    low, high : float
        Window in eV, absolute, on the reference's energies: the rising edge.
    most : float
        Largest shift that is considered, in eV.
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
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).
        ``whole_edge_shift`` is positive where the spectrum has the higher energy.

    Raises
    ------
    CallError
        Without window or reference, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Least squares of ``norm(E) = reference(E - shift)`` over the shift, the reference being the cubic Hermite curve
    through its points. The sigma is that of the points of both; what their noise does to the
    normalization is not in it (`edge_shift` has that). It holds for an edge that
    moves without changing its shape: look at the residual, which then is that of the noise.

    References
    ----------
    Ordinary least squares.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> def edge(e0):
    ...     return 0.5 + np.arctan((energy - e0) / 2) / np.pi
    >>> out = whole_edge_shift(
    ...     energy, edge(8345.5), low=8335, high=8355, reference_energy=energy, reference_norm=edge(8345)
    ... )
    >>> round(float(out["whole_edge_shift"]), 3)
    0.5
    """
    reference = shift_fit.reference_curve("whole_edge_shift", reference_energy, reference_norm, reference_normalization)
    window = shift_fit.window_of("whole_edge_shift", low, high, most)
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers=unpacked(normalization))
        found = shift_fit.best_shift(batch, reference, window, most)
        values = {
            "whole_edge_shift": -found.shift,
            "whole_edge_shift_sigma": found.sigma,
            "whole_edge_residual": found.residual,
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="whole_edge_shift",
    version=2,
    func=whole_edge_shift,
    inputs=("energy", "norm"),
    outputs={
        "whole_edge_shift": Output("eV", "shift of the edge in the window against the reference"),
        "whole_edge_shift_sigma": Output("eV", "its statistical standard uncertainty"),
        "whole_edge_residual": Output("1", "root of squared residuals over that of squared values"),
        "whole_edge_shift_quality": QUALITY,
    },
    summary="Shift of the whole rising edge against a reference spectrum, by least squares.",
    source="ordinary least squares",
    technique="xas",
    parameters={
        "low": "lower end of the window in eV, absolute",
        "high": "upper end of the window in eV, absolute",
        "most": "largest shift that is considered, eV",
    },
    optional={"normalization": NORMALIZATION},
    reasons=REASONS,
    references=References(
        NORM_REFERENCE,
        "spectrum that the shift is counted from",
    ),
    example={"low": 8335.0, "high": 8355.0},
)
