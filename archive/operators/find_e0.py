"""The position of an edge by every definition in use, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels import e0_search, ragged
from barospec.archive.operators._kernels.batch import Batch, common_reasons, make_batch
from barospec.archive.operators._kernels.competing_edges import rival
from barospec.archive.operators._kernels.crop import crop
from barospec.archive.operators._kernels.integrals import inside, row_sum, weights_between, white_noise
from barospec.archive.operators._kernels.least_squares import Fit, linear
from barospec.archive.operators._kernels.peak import fit_top, highest
from barospec.archive.operators._kernels.propagation import NORMALIZATION, NoisePropagator, length, unpacked
from barospec.archive.operators._kernels.ragged import Floats, Ints, at
from barospec.archive.operators.edge_energy import find_crossing
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(e0_search.FEWEST),
    "no edge: the spectrum was not normalized, see normalize_quality",
    "suspect: not every definition gives a value; NaN where it does not",
    "suspect: the derivative has another maximum that is nearly as high, at e0_derivative_other",
)
NO_EDGE, SOME_MISSING, TWO_MAXIMA = 3, 4, 5


def find_e0(
    energy: ArrayLike,
    mu: ArrayLike,
    norm: ArrayLike,
    e0: ArrayLike,
    *,
    fraction: float = 0.5,
    level1: float = 0.15,
    level2: float = 1.0,
    half: float = 2.0,
    reach: float = 30.0,
    normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Find the edge by five definitions: inflection point, its refinement, fraction, integral, white line.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    mu, norm : array_like, shape (..., n)
        Absorption as measured and normalized.
    e0 : array_like, shape (...)
        Edge position in eV that the normalization used: the others are looked for next to it.
    fraction : float
        Of the edge step, for the fraction.
    level1, level2 : float
        Of the edge step, between which the integral definition averages the energy.
    half : float
        Half width in eV of the polynomial fits.
    reach : float
        eV above e0 in which the white line is looked for.

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
        For parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    ``e0_derivative`` is the inflection point (maximum of the first derivative) as Larch finds it. Where the derivative
    has another maximum, 5 to 30 eV away, that reaches 0.8 of it or is as high within noise, noise and grid decide
    between the two: the other is ``e0_derivative_other``, and flagged. Slopes are compared over 1 eV on either side.
    ``e0_parabola`` is the vertex of the parabola that the derivative follows within `half` of e0 (a cubic fitted to norm). ``e0_fraction`` is where norm rises
    through `fraction` next to e0. ``e0_integral`` is the mean energy over the levels of the rise::

        1/(level2 - level1) * integral of E(norm) d(norm) from level1 to level2

    ``e0_white_line`` is the maximum of a cubic through the points around the highest one within `reach`.
    Sigmas are statistical: one noise for all points of a spectrum, found from the scatter of the points about
    the cubics through their neighbors, propagated through the fits of the normalization; the choice of its windows
    adds to them (`edge_energy`).

    References
    ----------
    Inflection point: xraylarch 2026.3.1, ``find_e0``. The integral is defined by the formula above.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> norm = np.clip((energy - 8340) / 10, 0, 1.2)
    >>> out = find_e0(energy, norm, norm, 8345.0)
    >>> [round(float(out[name]), 2) for name in ("e0_fraction", "e0_integral")]
    [8345.0, 8345.75]
    """
    if not 0 < level1 < level2:
        raise CallError(f"level1 = {level1}, level2 = {level2}: give two rising fractions of the edge step.")
    if not 0 < fraction <= 1.5 or not half > 0 or not reach > 0:
        raise CallError("fraction must lie above 0, up to 1.5; half and reach are eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, mu, norm, fewest=e0_search.FEWEST, numbers={"e0": e0, **unpacked(normalization)})
        start = batch.numbers["e0"]
        batch.fail(~np.isfinite(start), NO_EDGE)
        batch.numbers["e0"] = np.where(np.isfinite(start), start, batch.energy[:, 0])
        values = _positions(batch, fraction, (level1, level2), half, reach)
        wanted = [
            values[name]
            for name, output in OPERATOR.outputs.items()
            if output.unit == "eV" and not name.endswith(("_sigma", "_other"))
        ]
        batch.fail(~np.isfinite(np.stack(wanted)).all(axis=0), SOME_MISSING)
        batch.fail(np.isfinite(values["e0_derivative_other"]), TWO_MAXIMA)
        return batch.results(OPERATOR.outputs, values, SOME_MISSING)


def _positions(
    batch: Batch, fraction: float, levels: tuple[float, float], half: float, reach: float
) -> dict[str, Floats]:
    energy, (mu, norm), count, e0 = batch.energy, batch.signals, batch.count, batch.numbers["e0"]
    noise = white_noise(energy, norm, count)
    steepest = np.full(len(count), np.nan)
    good = np.nonzero(batch.code == 0)[0]
    if good.size:
        found, is_one = e0_search.find_e0(energy[good], mu[good], count[good])
        steepest[good] = np.where(is_one, found, np.nan)
    second = rival(energy, norm, count, np.where(np.isfinite(steepest), steepest, e0), noise)
    other = np.where(second.near & np.isfinite(steepest), second.energy, np.nan)
    vertex, vertex_sigma = inflection(batch, half, noise)

    carrier = NoisePropagator(energy, norm, count, batch.numbers)

    def sigma(kernel: Floats) -> Floats:
        return noise * length(carrier.on_mu(kernel), count)

    crossing, crossing_kernel, _ = _crossing(batch, fraction)
    low, _, low_found = _crossing(batch, levels[0])
    high, _, high_found = _crossing(batch, levels[1])
    weights = weights_between(energy, count, np.where(low_found, low, 0), np.where(high_found, high, 0))
    area = row_sum(weights * norm, count)
    span = levels[1] - levels[0]
    integral = (levels[1] * high - levels[0] * low - area) / span
    # A crossing that moves changes nothing in first order: the integrand equals the level there.
    integral_sigma = sigma(weights / span)
    guess, _ = highest(energy, norm, inside(energy, count, e0, e0 + reach))
    top = fit_top(energy, norm, count, guess, half, 3, noise**2)
    return {
        "e0_derivative": steepest,
        "e0_derivative_other": other,
        "e0_parabola": vertex,
        "e0_parabola_sigma": vertex_sigma,
        "e0_fraction": crossing,
        "e0_fraction_sigma": np.where(np.isfinite(crossing), sigma(crossing_kernel), np.nan),
        "e0_integral": np.where(low_found & high_found & (high > low), integral, np.nan),
        "e0_integral_sigma": np.where(low_found & high_found & (high > low), integral_sigma, np.nan),
        "e0_white_line": np.where(top.found, top.position, np.nan),
        "e0_white_line_sigma": np.where(top.found, sigma(top.position_kernel), np.nan),
    }


def _crossing(batch: Batch, level: float) -> tuple[Floats, Floats, Any]:
    """Return where norm rises through `level` next to e0, what its points move it by, and whether it does."""
    energy, norm, rows = batch.energy, batch.signals[1], np.arange(len(batch.count))
    left, found, _ = find_crossing(energy, norm, batch.count, batch.numbers["e0"], level)
    low, step = at(norm, left), at(norm, left + 1) - at(norm, left)
    width = at(energy, left + 1) - at(energy, left)
    u = (level - low) / step
    # The slope over three intervals: that of one is as noisy as the points themselves.
    before, behind = np.maximum(left - 1, 0), np.minimum(left + 2, batch.count - 1)
    slope = (at(norm, behind) - at(norm, before)) / (at(energy, behind) - at(energy, before))
    kernel = np.zeros_like(norm)
    kernel[rows, left], kernel[rows, left + 1] = (u - 1) / slope, -u / slope
    return np.where(found, at(energy, left) + u * width, np.nan), kernel, found


def inflection(batch: Batch, half: float, noise: Floats) -> tuple[Floats, Floats]:
    """Return the vertex of the derivative's parabola and its sigma: the inflection of a cubic fitted around e0."""
    energy, norm, count = batch.energy, batch.signals[1], batch.count
    start = at(energy, ragged.nearest(energy, batch.numbers["e0"]))
    center = start
    for _ in range(3):
        fit, width, _ = local_cubic(energy, norm, count, center, half)
        c2, c3 = fit.coefficients[:, 2], fit.coefficients[:, 3]
        t = -c2 / (3 * c3)
        good = fit.solved & (c3 < 0) & (np.abs(t) <= 1)
        before, center = center, np.where(good, center + t * width, center)
    zero = np.zeros_like(c2)
    terms = np.stack([zero, zero, -1 / (3 * c3), c2 / (3 * c3**2)], axis=1)
    good &= np.abs(center - start) <= 2 * width
    sigma = noise * np.sqrt(fit.combine(terms)) * width * drawn_along(energy, norm, count, center, half, 3)
    return np.where(good, before + t * width, np.nan), np.where(good, sigma, np.nan)


def drawn_along(energy: Floats, y: Floats, count: Ints, center: Floats, half: float, passes: int) -> Floats:
    """Return how much farther an inflection moves than one cubic says, since the window of the cubic moves along.

    ``1 + k + k^2 ...``, one term per pass, k the slope of the inflection found against the middle of the window.
    """
    places = []
    for side in (-0.1, 0.1):
        fit, width, _ = local_cubic(energy, y, count, center + side * half, half)
        places.append(center + side * half - width * fit.coefficients[:, 2] / (3 * fit.coefficients[:, 3]))
    k = np.clip((places[1] - places[0]) / (0.2 * half), -0.6, 0.6)
    factor: Floats = np.where(np.isfinite(k), sum(k**n for n in range(passes)), 1.0)
    return factor


def local_cubic(
    energy: Floats, y: Floats, count: Ints, center: Floats, half: float
) -> tuple[Fit, Floats, Callable[[Floats], Floats]]:
    """Fit a cubic in t = (E - center)/width within `half` of `center`, three points on either side at least.

    Returns the fit, the width, and what gives the weights of all points in ``terms @ coefficients``.
    """
    rows = np.arange(len(count))
    index = ragged.nearest(energy, center)
    lower, upper = energy[rows, np.maximum(index - 3, 0)], energy[rows, np.minimum(index + 3, count - 1)]
    width = np.maximum(half, np.maximum(center - lower, upper - center))
    cut = crop(energy, count, center - 1.25 * width, center + 1.25 * width)
    t = (cut.take(energy, np.inf) - center[:, None]) / width[:, None]
    t = np.where(np.abs(t) < 1.5, t, 2.0)
    # The window ends go down smoothly to no weight, so that a point never jumps in or out.
    weight = np.clip((1.25 - np.abs(t)) / 0.5, 0.0, 1.0)
    basis = [np.ones_like(t), t, t**2, t**3]
    fit = linear(basis, cut.take(y), weight, cut.count, np.ones_like(t))
    return fit, width, lambda terms: cut.put(fit.kernel(basis, weight, terms))


OPERATOR = Operator(
    name="find_e0",
    version=3,
    optional={"normalization": NORMALIZATION},
    func=find_e0,
    inputs=("energy", "mu", "norm", "e0"),
    outputs={
        "e0_derivative": Output(
            "eV",
            "inflection point of mu (maximum of the first derivative), a point of the scan; no sigma: the step or more",
        ),
        "e0_derivative_other": Output(
            "eV", "another maximum of the derivative, nearly as high; NaN where there is none", rare=True
        ),
        "e0_parabola": Output("eV", "vertex of the parabola that the derivative follows around e0"),
        "e0_parabola_sigma": Output("eV", "its statistical standard uncertainty"),
        "e0_fraction": Output("eV", "where norm rises through the fraction next to e0"),
        "e0_fraction_sigma": Output("eV", "its statistical standard uncertainty"),
        "e0_integral": Output("eV", "mean energy of the rise over the levels of norm"),
        "e0_integral_sigma": Output("eV", "its statistical standard uncertainty"),
        "e0_white_line": Output("eV", "maximum of norm above e0"),
        "e0_white_line_sigma": Output("eV", "its statistical standard uncertainty"),
        "find_e0_quality": QUALITY,
    },
    summary="Edge position by every definition: inflection point, parabola, fraction, integral, white line.",
    source="inflection point: xraylarch 2026.3.1, find_e0; the others as defined here",
    technique="xas",
    parameters={
        "fraction": "fraction of the edge step for e0_fraction",
        "level1": "lower level of norm of the integral definition",
        "level2": "upper level of norm of the integral definition",
        "half": "half width of the polynomial fits in eV",
        "reach": "eV above e0 in which the white line is looked for",
    },
    reasons=REASONS,
)
