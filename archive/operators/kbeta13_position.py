"""Position of the Kβ1,3 main line."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import make_batch
from barospec.archive.operators._kernels.emission import HALF, INPUTS, NO_LINE, REASONS, SIGMA, main_line, variance_of
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError


def kbeta13_position(
    energy: ArrayLike, emission: ArrayLike, emission_sigma: ArrayLike, *, half: float = HALF
) -> dict[str, Any]:
    """Find the position of the main line, from a fit and not from a point of the scan.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    emission, emission_sigma : array_like, shape (..., n)
        As `normalize_emission` returns them.
    half : float
        Half width in eV of the quartic fitted around the top.

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
    Maximum of a quartic fitted within `half` of it, found in three passes. Absolute positions compare only where
    the spectrometer's calibration does.

    References
    ----------
    P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8350.0, 0.4)
    >>> line = np.exp(-(((energy - 8264.83) / 3) ** 2))
    >>> round(float(kbeta13_position(energy, line, 0 * line + 0.01)["kbeta13_position"]), 2)
    8264.83
    """
    if not half > 0:
        raise CallError(f"half = {half} is not a width. Give eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, emission, emission_sigma, fewest=12)
        x, (y, sigma), count = batch.energy, batch.signals, batch.count
        top = main_line(x, y, count, variance_of(x, y, count, sigma), half)
        batch.fail(~top.found, NO_LINE)
        values = {"kbeta13_position": top.position, "kbeta13_position_sigma": top.position_sigma}
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="kbeta13_position",
    version=1,
    func=kbeta13_position,
    inputs=INPUTS,
    outputs={
        "kbeta13_position": Output("eV", "energy of the maximum of the main line, from a fit"),
        "kbeta13_position_sigma": Output("eV", SIGMA),
        "kbeta13_position_quality": QUALITY,
    },
    summary="Position of the Kβ1,3 line from a fit around its top.",
    source="P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005)",
    technique="xes",
    parameters={"half": "half width in eV of the quartic fitted around the top"},
    reasons=REASONS,
)
