"""The Kβ main line: position, intensity of the Kβ′ satellite, first moment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.emission import HALF, main_line, variance_of
from barospec.archive.operators._kernels.integrals import covered, row_sum, value_at, weights_between
from barospec.archive.operators._kernels.ragged import Floats, Ints
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

INPUTS = ("energy", "emission", "emission_sigma")
REASONS = (
    *common_reasons(12, "emission"),
    "no main line: no maximum inside the scan",
    "the scan does not cover the window",
)
NO_LINE, NOT_COVERED = 3, 4
_SIGMA = "its statistical standard uncertainty"
_QUALITY = QUALITY


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
        Outputs with the units and meanings of ``POSITION_OPERATOR.outputs``, shape (...).

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
        return batch.results(POSITION_OPERATOR.outputs, values, len(REASONS))


POSITION_OPERATOR = Operator(
    name="kbeta13_position",
    version=1,
    func=kbeta13_position,
    inputs=INPUTS,
    outputs={
        "kbeta13_position": Output("eV", "energy of the maximum of the main line, from a fit"),
        "kbeta13_position_sigma": Output("eV", _SIGMA),
        "kbeta13_position_quality": _QUALITY,
    },
    summary="Position of the Kβ1,3 line from a fit around its top.",
    source="P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005)",
    technique="xes",
    parameters={"half": "half width in eV of the quartic fitted around the top"},
    reasons=REASONS,
)


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
        Outputs with the units and meanings of ``PRIME_OPERATOR.outputs``, shape (...).

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
        return batch.results(PRIME_OPERATOR.outputs, values, len(REASONS))


def _slope_with(x: Floats, y: Floats, count: Ints, line: Floats, ends: tuple[float, float, float]) -> Floats:
    """Return how much the satellite's share of the area changes with the position of the line, in 1/eV."""
    w1, w2, above = ends
    shares = []
    for moved in (line - 0.2, line + 0.2):
        part, whole = (weights_between(x, count, moved - w2, moved + end) for end in (-w1, above))
        shares.append(row_sum(part * y, count) / row_sum(whole * y, count))
    slope: Floats = (shares[1] - shares[0]) / 0.4
    return slope


PRIME_OPERATOR = Operator(
    name="kbeta_prime",
    version=2,
    func=kbeta_prime,
    inputs=INPUTS,
    outputs={
        "kbeta_prime_area": Output("1", "share of the area that lies from w2 to w1 below the main line"),
        "kbeta_prime_area_sigma": Output("1", _SIGMA),
        "kbeta_prime_height": Output("1", "height at `distance` below the main line, over its height"),
        "kbeta_prime_height_sigma": Output("1", _SIGMA),
        "kbeta_prime_quality": _QUALITY,
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

MOMENT_REASONS = (
    *REASONS[:4],
    "the line does not fall to `level` of its maximum on both sides inside the scan",
)


def first_moment(
    energy: ArrayLike, emission: ArrayLike, emission_sigma: ArrayLike, *, level: float = 0.3
) -> dict[str, Any]:
    """Compute the first moment of the main line above a fraction of its maximum.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    emission, emission_sigma : array_like, shape (..., n)
        As `normalize_emission` returns them; its scale cancels.
    level : float
        Fraction of the maximum, above 0 and below 1.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``MOMENT_OPERATOR.outputs``, shape (...).

    Raises
    ------
    CallError
        For parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Mean energy over the stretch around the main line where the emission stays above `level` of the fitted
    maximum, with its ends by linear interpolation: the crossings nearest to the line on either side. Absolute
    moments compare only where the spectrometer's calibration does; subtract `kbeta13_position` otherwise.

    References
    ----------
    P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8350.0, 0.4)
    >>> line = np.exp(-(((energy - 8264.8) / 3) ** 2))
    >>> round(float(first_moment(energy, line, 0 * line + 0.01)["first_moment"]), 2)
    8264.8
    """
    if not 0 < level < 1:
        raise CallError(f"level = {level} is not a fraction of the maximum. Give a number between 0 and 1.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, emission, emission_sigma, fewest=12)
        x, (y, sigma), count = batch.energy, batch.signals, batch.count
        variance = variance_of(x, y, count, sigma)
        top = main_line(x, y, count, variance)
        batch.fail(~top.found, NO_LINE)
        line = np.where(top.found, top.position, x[:, 0])
        low, high, found = crossings(x, y, count, line, level * top.height)
        batch.fail(~found, NOT_COVERED)
        weights = weights_between(x, count, np.where(found, low, 0.0), np.where(found, high, 0.0))
        distance = np.where(weights > 0, x - line[:, None], 0.0)
        area = row_sum(weights * y, count)
        moment = row_sum(weights * distance * y, count) / area
        # The ends move with the noise as well: each carries the level times its distance from the moment.
        change = weights * (distance - moment[:, None]) / area[:, None]
        spread = row_sum(np.where(weights > 0, change**2 * variance, 0.0), count)
        for end in (low, high):
            slope = _slope(x, y, count, end)
            noise = np.sqrt(value_at(x, variance, count, end))
            spread += (level * top.height * (end - line - moment) / area * noise / slope) ** 2
        values = {"first_moment": line + moment, "first_moment_sigma": np.sqrt(spread)}
        return batch.results(MOMENT_OPERATOR.outputs, values, len(MOMENT_REASONS))


def crossings(x: Any, y: Any, count: Any, center: Any, level: Any) -> tuple[Any, Any, Any]:
    """Find the nearest energies on either side of `center` where y falls below `level` (per row); whether both exist."""
    inside = np.arange(x.shape[1]) < count[:, None]
    under = (y < level[:, None]) & inside
    column = np.arange(x.shape[1])
    left = np.where(under & (x < center[:, None]), column, -1).max(axis=1)
    right = np.where(under & (x > center[:, None]), column, x.shape[1]).min(axis=1)
    found = (left >= 0) & (right < count) & np.isfinite(level)
    rows = np.arange(len(x))

    def between(outer: Any, inner: Any) -> Any:
        y0, y1 = y[rows, outer], y[rows, inner]
        return x[rows, outer] + (level - y0) / (y1 - y0) * (x[rows, inner] - x[rows, outer])

    left, right = np.where(found, left, 0), np.where(found, right, 1)
    return between(left, left + 1), between(right, right - 1), found


def _slope(x: Any, y: Any, count: Any, where: Any) -> Any:
    """Return the mean slope of y within 1 eV of `where`."""
    low, high = value_at(x, y, count, where - 1.0), value_at(x, y, count, where + 1.0)
    return np.abs(high - low) / 2.0


MOMENT_OPERATOR = Operator(
    name="first_moment",
    version=1,
    func=first_moment,
    inputs=INPUTS,
    outputs={
        "first_moment": Output("eV", "mean energy of the main line above `level` of its maximum"),
        "first_moment_sigma": Output("eV", _SIGMA),
        "first_moment_quality": _QUALITY,
    },
    summary="First moment of the main line above a fraction of its maximum.",
    source="P. Glatzel, U. Bergmann, Coord. Chem. Rev. 249, 65 (2005)",
    technique="xes",
    parameters={"level": "fraction of the maximum above which the line counts, above 0 and below 1"},
    reasons=MOMENT_REASONS,
)
