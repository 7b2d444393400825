"""Energies aligned on a reference spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels import e0_search, shift_fit
from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators.operator import QUALITY, Operator, Output, References

REASONS = (*common_reasons(e0_search.FEWEST, "mu"), *shift_fit.REASONS)


def align_to(
    energy: ArrayLike,
    mu: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    most: float = 10.0,
    reference_energy: ArrayLike | None = None,
    reference_mu: ArrayLike | None = None,
) -> dict[str, Any]:
    """Shift each spectrum's energies so that a window of it lies best on a reference spectrum.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    mu : array_like, shape (..., n)
        Absorption, any scale and offset.
    low, high : float
        Window in eV, absolute, on the reference's energies.
    most : float
        Largest shift that is considered, in eV.
    reference_energy, reference_mu : array_like, shape (m,)
        The reference spectrum (``reference``).

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        ``aligned_energy`` replaces ``energy`` in the rest of the chain.

    Raises
    ------
    CallError
        Without window or reference, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Least squares of ``mu(E - shift) = a reference(E) + b + c E`` over shift, a, b and c. Whatever moved the edge
    is taken away with it: right for repeats and for glitches, wrong for a series whose edge moves.

    References
    ----------
    Ordinary least squares.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> mu = np.arctan((energy - 8340) / 2)
    >>> out = align_to(energy + 0.7, 3 * mu, low=8330, high=8360, reference_energy=energy, reference_mu=mu)
    >>> round(float(out["align_to_shift"]), 3)
    -0.7
    """
    reference = shift_fit.reference_curve("align_to", reference_energy, reference_mu)
    window = shift_fit.window_of("align_to", low, high, most)
    with np.errstate(all="ignore"):
        batch = make_batch(energy, mu, fewest=e0_search.FEWEST)
        found = shift_fit.best_shift(batch, reference, window, most, linear_background=True, scale=True)
        x = np.where(np.isfinite(batch.energy), batch.energy, np.nan)
        values = {
            "aligned_energy": x + found.shift[:, None],
            "align_to_shift": found.shift,
            "align_to_shift_sigma": found.sigma,
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="align_to",
    version=1,
    func=align_to,
    inputs=("energy", "mu"),
    outputs={
        "align_to_shift": Output("eV", "added to the recorded energies"),
        "align_to_shift_sigma": Output("eV", "its statistical standard uncertainty"),
        "aligned_energy": Output("eV", "energies on which the window lies best on the reference", per_point=True),
        "align_to_quality": QUALITY,
    },
    summary="Shift energies so that a window of each spectrum lies best on a reference spectrum.",
    source="ordinary least squares",
    technique="xas",
    parameters={
        "low": "lower end of the window in eV, absolute",
        "high": "upper end of the window in eV, absolute",
        "most": "largest shift that is considered, eV",
    },
    reasons=REASONS,
    references=References(
        {"reference_energy": "energy", "reference_mu": "mu"}, "spectrum that all others are aligned with"
    ),
    replaces={"energy": "aligned_energy"},
    example={"low": 8330.0, "high": 8370.0},
)
