"""Emission spectra on one scale: unit area, or the maximum of the main line 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.emission import main_line
from barospec.archive.operators._kernels.integrals import counting_variance, covered, row_max, row_sum, weights_between
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

KINDS = ("maximum", "area")
REASONS = (
    *common_reasons(12, "intensity"),
    "no main line: no maximum inside the scan",
    "area or maximum not positive",
    "the scan does not cover the window of the area",
)
NO_LINE, NOT_POSITIVE, NOT_COVERED = 3, 4, 5


def normalize_emission(
    energy: ArrayLike,
    intensity: ArrayLike,
    *,
    to: str = "maximum",
    area_low: float | None = None,
    area_high: float | None = None,
) -> dict[str, Any]:
    """Divide an emission spectrum by the height of its main line, or by its area.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    intensity : array_like, shape (..., n)
        Emission; subtract its background before.
    to : {"maximum", "area"}
        What becomes 1. The maximum is that of a quartic through the points around the top, not the highest point,
        which noise makes too high.
    area_low, area_high : float, optional
        Window of the area in eV, absolute; the whole scan by default.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        ``emission`` is in 1/eV and ``emission_scale`` in unit of intensity times eV where the area is 1.

    Raises
    ------
    CallError
        For parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    ``emission_sigma`` is found from the curve: variances ``a + g I`` (constant and counting noise) fitted to the
    squared distances of the points to the cubics through their neighbors. The sigma of the scale is common to
    all points and not in it.

    References
    ----------
    Maximum of Kβ1,3 scaled to 1 as in E. Mijit et al., "Local electronic properties of La3Ni2O7 under pressure"
    (2024); unit area as for integrated absolute differences: Inorg. Chem. 59,
    12518 (2020), doi:10.1021/acs.inorgchem.0c01620.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8350.0, 0.4)
    >>> out = normalize_emission(energy, 500 / (1 + ((energy - 8264.8) / 2) ** 2))
    >>> round(float(out["emission_scale"]), -1)
    500.0
    """
    if to not in KINDS:
        raise CallError(f'to = "{to}" is not known. Give maximum or area.')
    if area_low is not None and area_high is not None and not area_low < area_high:
        raise CallError("area_low must lie below area_high.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, intensity, fewest=12)
        x, raw, count = batch.energy, batch.signals[0], batch.count
        # Scaled first, so that squares of very large or small numbers do not leave the floats.
        largest = row_max(np.abs(raw), count)
        rough = np.where(largest > 0, largest, 1.0)
        y = raw / rough[:, None]
        variance = counting_variance(x, y, count)
        if to == "maximum":
            top = main_line(x, y, count, variance)
            batch.fail(~top.found, NO_LINE)
            scale, sigma = top.height, top.height_sigma
        else:
            last = x[np.arange(len(count)), count - 1]
            begin = x[:, 0] if area_low is None else np.full(len(count), float(area_low))
            end = last if area_high is None else np.full(len(count), float(area_high))
            batch.fail(~covered(x, count, begin, end), NOT_COVERED)
            weights = weights_between(x, count, begin, end)
            scale = row_sum(weights * y, count)
            sigma = np.sqrt(row_sum(np.where(weights > 0, weights**2 * variance, 0.0), count))
        batch.fail(~(scale > 0) | ~(largest > 0), NOT_POSITIVE)
        values = {
            "emission": y / scale[:, None],
            "emission_sigma": np.sqrt(variance) / scale[:, None],
            "emission_scale": scale * rough,
            "emission_scale_sigma": sigma * rough,
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


OPERATOR = Operator(
    name="normalize_emission",
    version=1,
    func=normalize_emission,
    inputs=("energy", "intensity"),
    outputs={
        "emission": Output("1", "emission with its maximum or its area (in eV) 1", per_point=True),
        "emission_sigma": Output("1", "standard uncertainty of each point, from the curve", per_point=True),
        "emission_scale": Output("unit of intensity", "maximum or area (times eV) that was divided by"),
        "emission_scale_sigma": Output("unit of intensity", "its statistical standard uncertainty"),
        "normalize_emission_quality": QUALITY,
    },
    summary="Scale an emission spectrum to the maximum of its main line, or to unit area.",
    source=(
        "E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024); "
        "integrated absolute differences: Inorg. Chem. 59, 12518 (2020), doi:10.1021/acs.inorgchem.0c01620"
    ),
    technique="xes",
    parameters={
        "to": "what becomes 1: maximum or area",
        "area_low": "lower end of the area's window in eV, absolute; default: the whole scan",
        "area_high": "upper end of the area's window in eV, absolute; default: the whole scan",
    },
    reasons=REASONS,
)
