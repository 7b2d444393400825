"""Intensity of the Kβ′ satellite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import make_batch
from barospec.archive.operators._kernels.emission import (
    INPUTS,
    NO_LINE,
    NOT_COVERED,
    REASONS,
    SIGMA,
    main_line,
    variance_of,
)
from barospec.archive.operators._kernels.integrals import covered, row_sum, weights_between
from barospec.archive.operators._kernels.ragged import Floats, Ints
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError


def kbeta_prime(
    energy: ArrayLike,
    emission: ArrayLike,
    emission_sigma: ArrayLike,
    *,
    w1: float = 8.0,
    w2: float = 30.0,
    above: float = 15.0,
    distance: float = 16.0,
    half: float = 1.0,
) -> dict[str, Any]:
    """Measure the Kβ′ satellite: its share of the area, and the height at its position.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    emission, emission_sigma : array_like, shape (..., n)
        As `normalize_emission` returns them; its scale cancels.
    w1, w2 : float
        The satellite lies from w2 to w1 below the main line, in eV.
    above : float
        The whole area reaches from w2 below the main line to this above it, in eV.
    distance, half : float
        The height is the mean within `half` of the place `distance` below the main line, in eV.

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
    ``area = integral from line - w2 to line - w1 over integral from line - w2 to line + above``. The tail of the
    main line is in it: compare within one pair of windows. For w1 = 8 and w2 = 30 an ionic multiplet model of Ni,
    without charge transfer, gives 0.280 (Ni2+ high spin), 0.261 (Ni3+ low spin) and 0.353 (Ni3+ high spin):
    trends, not calibration. Other measures: `iad`, `spin_state`, `first_moment`.

    References
    ----------
    P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8220.0, 8350.0, 0.4)
    >>> line = np.exp(-(((energy - 8265) / 2) ** 2)) + 0.1 * np.exp(-(((energy - 8249) / 4) ** 2))
    >>> out = kbeta_prime(energy, line, 0 * line + 0.01)
    >>> round(float(out["kbeta_prime_area"]), 3), round(float(out["kbeta_prime_height"]), 3)
    (0.166, 0.098)
    """
    if not 0 < w1 < w2 or not above > 0 or not half > 0:
        raise CallError("w1 < w2, above and half are eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, emission, emission_sigma, fewest=12)
        x, (y, sigma), count = batch.energy, batch.signals, batch.count
        variance = variance_of(x, y, count, sigma)
        top = main_line(x, y, count, variance)
        batch.fail(~top.found, NO_LINE)
        line = np.where(top.found, top.position, x[:, 0])
        low = np.minimum(line - w2, line - distance - half)
        batch.fail(~covered(x, count, low, line + above), NOT_COVERED)
        part, whole = (weights_between(x, count, line - w2, line + end) for end in (-w1, above))
        total = row_sum(whole * y, count)
        share = row_sum(part * y, count) / total
        change = (part - share[:, None] * whole) / total[:, None]
        # The windows move with the main line, and that with its noise.
        change = change + _slope_with(x, y, count, line, (w1, w2, above))[:, None] * top.position_kernel
        place = weights_between(x, count, line - distance - half, line - distance + half) / (2 * half)
        height = row_sum(place * y, count) / top.height
        spread = row_sum(np.where(place > 0, place**2 * variance, 0.0), count)
        values = {
            "kbeta_prime_area": share,
            "kbeta_prime_area_sigma": np.sqrt(row_sum(np.where(change != 0, change**2 * variance, 0.0), count)),
            "kbeta_prime_height": height,
            "kbeta_prime_height_sigma": np.sqrt(spread + (height * top.height_sigma) ** 2) / top.height,
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


def _slope_with(x: Floats, y: Floats, count: Ints, line: Floats, ends: tuple[float, float, float]) -> Floats:
    """Return how much the satellite's share of the area changes with the position of the line, in 1/eV."""
    w1, w2, above = ends
    shares = []
    for moved in (line - 0.2, line + 0.2):
        part, whole = (weights_between(x, count, moved - w2, moved + end) for end in (-w1, above))
        shares.append(row_sum(part * y, count) / row_sum(whole * y, count))
    slope: Floats = (shares[1] - shares[0]) / 0.4
    return slope


OPERATOR = Operator(
    name="kbeta_prime",
    version=2,
    func=kbeta_prime,
    inputs=INPUTS,
    outputs={
        "kbeta_prime_area": Output("1", "share of the area that lies from w2 to w1 below the main line"),
        "kbeta_prime_area_sigma": Output("1", SIGMA),
        "kbeta_prime_height": Output("1", "height at `distance` below the main line, over its height"),
        "kbeta_prime_height_sigma": Output("1", SIGMA),
        "kbeta_prime_quality": QUALITY,
    },
    summary="Intensity of the Kβ′ satellite as a share of the area, and as a height.",
    source="P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005)",
    technique="xes",
    parameters={
        "w1": "upper end of the satellite's window, eV below the main line",
        "w2": "lower end of the satellite's window and of the whole area, eV below the main line",
        "above": "upper end of the whole area, eV above the main line",
        "distance": "place of the height, eV below the main line",
        "half": "the height is the mean within this of its place, eV",
    },
    reasons=REASONS,
)
