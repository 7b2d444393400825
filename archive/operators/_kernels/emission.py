"""Shared steps of the emission operators: main line, window of unit area, references interpolated to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import counting_variance, covered, inside, row_sum, weights_between
from barospec.archive.operators._kernels.peak import PeakFit, fit_top, highest
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints
from barospec.schemas.errors import CallError

INPUTS = ("energy", "emission", "emission_sigma")
REASONS = (
    *common_reasons(12, "emission"),
    "no main line: no maximum inside the scan",
    "the scan does not cover the window",
)
NO_LINE, NOT_COVERED = 3, 4
SIGMA = "its statistical standard uncertainty"

HALF = 1.5
"""eV on either side of the main line's top that its position is fitted on."""
DEGREE = 4


def main_line(energy: Floats, y: Floats, count: Ints, variance: Floats, half: float = HALF) -> PeakFit:
    """Fit the highest line by a polynomial around its top."""
    guess, _ = highest(energy, y, inside(energy, count, -np.inf, np.inf))
    return fit_top(energy, y, count, guess, half, DEGREE, variance)


@dataclass(slots=True)
class Unit:
    """Curves scaled to unit area on a window around their own main line.

    ``weights`` integrate over the window, ``curve`` and ``variance`` are scaled, ``line`` is the main line (eV),
    ``center`` the center of mass of the window (eV), ``done`` where all that exists.
    """

    weights: Floats
    curve: Floats
    variance: Floats
    line: Floats
    line_sigma: Floats
    center: Floats
    done: Bools


def unit_area(energy: Floats, y: Floats, count: Ints, variance: Floats, below: float, above: float) -> Unit:
    """Scale to unit area from `below` under the main line to `above` over it (eV)."""
    top = main_line(energy, y, count, variance)
    line = np.where(top.found, top.position, energy[:, 0])
    low, high = line - below, line + above
    weights = weights_between(energy, count, low, high)
    area = row_sum(weights * y, count)
    done = top.found & covered(energy, count, low, high) & (area > 0)
    scale = np.where(done, 1.0 / np.where(area > 0, area, 1.0), np.nan)[:, None]
    distance = np.where(np.isfinite(energy), energy, 0.0) - line[:, None]
    center = line + row_sum(weights * distance * y * np.nan_to_num(scale), count)
    return Unit(weights, y * scale, variance * scale**2, line, top.position_sigma, center, done)


def variance_of(energy: Floats, y: Floats, count: Ints, sigma: Floats | None) -> Floats:
    """Return the variance of the points: the given one, else one estimated from the curve itself."""
    if sigma is None:
        return counting_variance(energy, y, count)
    known = np.isfinite(sigma) & (sigma > 0)
    return np.where(known.any(axis=1, keepdims=True), sigma**2, np.nan)


def reference_unit(
    operator: str,
    energy: ArrayLike | None,
    curve: ArrayLike | None,
    sigma: ArrayLike | None,
    below: float,
    above: float,
) -> tuple[Floats, Unit, int]:
    """Scale one reference to unit area on its own window; return it with its energies and number of points.

    Raises
    ------
    CallError
        When there is none or it does not reach over the window.
    """
    if energy is None or curve is None:
        raise CallError(f'{operator} needs a reference: a query that finds the spectrum, such as "NiO at 1 bar".')
    values = [np.atleast_2d(np.asarray(array, float)) for array in (energy, curve)]
    if sigma is not None:
        values.append(np.atleast_2d(np.asarray(sigma, float)))
    batch = make_batch(*values, fewest=12)
    if len(batch.count) != 1:
        raise CallError(f"{operator}: the reference has fewer than 12 points with a value, or is more than one curve.")
    given = batch.signals[1] if sigma is not None else None
    variance = variance_of(batch.energy, batch.signals[0], batch.count, given)
    unit = unit_area(batch.energy, batch.signals[0], batch.count, variance, below, above)
    if not unit.done[0]:
        raise CallError(
            f"{operator}: the reference does not reach from {below:g} eV below its main line to {above:g} eV above it."
        )
    return batch.energy, unit, int(batch.count[0])


def interpolate_reference(energy: Floats, moved: Floats, reference: tuple[Floats, Unit, int]) -> tuple[Floats, Floats]:
    """Interpolate curve and variance of a reference linearly to `energy` + `moved` (one per row); NaN outside.

    The variance is that between two points of independent errors.
    """
    axis, unit, count = reference
    x, y, v = axis[0, :count], unit.curve[0, :count], unit.variance[0, :count]
    target = np.where(np.isfinite(energy), energy + moved[:, None], np.inf)
    value = np.interp(target, x, y, left=np.nan, right=np.nan)
    i = np.clip(np.searchsorted(x, target, side="right") - 1, 0, count - 2)
    u = np.clip((target - x[i]) / (x[i + 1] - x[i]), 0.0, 1.0)
    return value, (1 - u) ** 2 * v[i] + u**2 * v[i + 1]
