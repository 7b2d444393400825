"""Positions and heights of maxima of the first derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import Batch, common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import covered, white_noise
from barospec.archive.operators._kernels.propagation import NORMALIZATION, length, on_mu, unpacked
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators.find_e0 import drawn_along, local_cubic
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

NOT_COVERED, SOME_MISSING = 3, 4

REASONS = (
    *common_reasons(14),
    "the scan does not cover a window",
    "suspect: not every feature is a maximum of the derivative inside its window; NaN where not",
)


FEATURES = ("alpha", "beta", "gamma")


def derivative_features(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    alpha_low: float | None = None,
    alpha_high: float | None = None,
    beta_low: float | None = None,
    beta_high: float | None = None,
    gamma_low: float | None = None,
    gamma_high: float | None = None,
    half: float = 2.0,
    normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Find position and height of the maxima of the derivative in up to three windows: pre-edge, edge, feature C.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    alpha_low, alpha_high, beta_low, beta_high, gamma_low, gamma_high : float
        Windows in eV, absolute and fixed for a series. A feature without a window is not computed (NaN).
    half : float
        Half width in eV of the fits, smaller than the features are wide.
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
        Without any window, for one with one end only, or shapes that do not fit.

    Notes
    -----
    A cubic fitted to norm within `half` gives the parabola that its derivative follows there. Of all points of
    the window the one with the steepest such cubic is taken, the fit repeated around the parabola's vertex;
    position and height are the vertex and its value. Fitting norm and not differences of it keeps the noise
    white, so that the sigmas follow from the fit.

    References
    ----------
    Features alpha, beta and gamma: E. Mijit et al., "Local electronic properties of La3Ni2O7 under pressure"
    (2024), figure S2.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.25)
    >>> norm = 0.5 + np.arctan((energy - 8344.1) / 2) / np.pi
    >>> out = derivative_features(energy, norm, beta_low=8340, beta_high=8350)
    >>> round(float(out["beta_position"]), 2), round(float(out["beta_height"]), 2)
    (8344.1, 0.15)
    """
    ends = {"alpha": (alpha_low, alpha_high), "beta": (beta_low, beta_high), "gamma": (gamma_low, gamma_high)}
    wanted = {name: pair for name, pair in ends.items() if pair != (None, None)}
    if not wanted:
        raise CallError("derivative_features needs a window, such as beta_low=8338, beta_high=8350 (eV).")
    for name, (low, high) in wanted.items():
        if low is None or high is None or not low < high:
            raise CallError(f"{name}_low and {name}_high are the rising ends of a window in eV; give both.")
    if not half > 0:
        raise CallError(f"half = {half} is not a width. Give eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers=unpacked(normalization))
        x, count = batch.energy, batch.count
        empty = np.full(len(count), np.nan)
        values = dict.fromkeys(OPERATOR.outputs, empty)
        for name, (low, high) in wanted.items():
            assert low is not None
            assert high is not None
            batch.fail(~covered(x, count, low, high), NOT_COVERED)
            found = _steepest(batch, low, high, half)
            batch.fail(~np.isfinite(found[0]), SOME_MISSING)
            for key, value in zip(("position", "position_sigma", "height", "height_sigma"), found, strict=True):
                values[f"{name}_{key}"] = value
        return batch.results(OPERATOR.outputs, values, SOME_MISSING)


def _steepest(batch: Batch, low: float, high: float, half: float) -> tuple[Floats, ...]:
    """Find the highest vertex of the derivative's local parabolas: position, sigma, height, sigma; NaN without one."""
    x, y, count = batch.energy, batch.signals[0], batch.count
    noise = white_noise(x, y, count)
    steps = np.arange(low, high + 0.5 * half, 0.5 * half)
    best_height, best = np.full(len(count), -np.inf), np.full(len(count), np.nan)
    for center in steps:
        fit, width, _ = local_cubic(x, y, count, np.full(len(count), min(center, high)), half)
        slope = fit.coefficients[:, 1] / width
        better = fit.solved & (slope > best_height)
        best_height, best = np.where(better, slope, best_height), np.where(better, min(center, high), best)
    position = best
    for _ in range(3):
        fit, width, kernel_of = local_cubic(x, y, count, np.where(np.isfinite(position), position, low), half)
        c = fit.coefficients
        t = -c[:, 2] / (3 * c[:, 3])
        good = fit.solved & (c[:, 3] < 0) & (np.abs(t) <= 1.0)
        center = position
        position = np.where(good, position + t * width, np.nan)
    zero = np.zeros_like(t)
    moves = np.stack([zero, zero, -1 / (3 * c[:, 3]), c[:, 2] / (3 * c[:, 3] ** 2)], axis=1)
    rises = np.stack([zero, zero + 1, 2 * t, 3 * t**2], axis=1) / width[:, None]
    height = (c[:, 1] + 2 * c[:, 2] * t + 3 * c[:, 3] * t**2) / width
    inside_window = (position >= low) & (position <= high)
    keep = np.isfinite(center) & inside_window
    drawn = drawn_along(x, y, count, np.where(np.isfinite(position), position, low), half, 3)
    # A line and a scale do not move the vertex of the derivative; they do change its height.
    kernel = kernel_of(rises)
    height_sigma = noise * length(on_mu(kernel, x, y, count, batch.numbers), count)
    out = (position, noise * np.sqrt(fit.combine(moves)) * width * drawn, height, height_sigma)
    return tuple(np.where(keep, value, np.nan) for value in out)


OPERATOR = Operator(
    name="derivative_features",
    version=2,
    optional={"normalization": NORMALIZATION},
    func=derivative_features,
    inputs=("energy", "norm"),
    outputs={
        **{
            f"{name}_{key}{sigma}": Output(
                unit,
                ("standard uncertainty (statistical) of the " if sigma else "")
                + f"{key} of the maximum of the derivative in window {name}",
            )
            for name in ("beta", "alpha", "gamma")
            for key, unit in (("position", "eV"), ("height", "1/eV"))
            for sigma in ("", "_sigma")
        },
        "derivative_features_quality": QUALITY,
    },
    summary="Positions and heights of the derivative's maxima alpha, beta and gamma in absolute windows.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024), figure S2",
    technique="xas",
    parameters={
        **{
            f"{name}_{end}": f"{'lower' if end == 'low' else 'upper'} end of window {name} in eV, absolute"
            for name in FEATURES
            for end in ("low", "high")
        },
        "half": "half width of the fits in eV",
    },
    reasons=REASONS,
    example={"beta_low": 8338.0, "beta_high": 8352.0},
)
