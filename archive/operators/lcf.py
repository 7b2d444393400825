"""A spectrum as a mixture of reference spectra."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators._kernels.integrals import (
    covered,
    inside,
    interpolated,
    row_sum,
    white_noise,
)
from barospec.archive.operators._kernels.least_squares import linear
from barospec.archive.operators._kernels.propagation import NORM_REFERENCE, NORMALIZATION, length, on_mu, unpacked
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators._kernels.shift_fit import Reference, reference_curve
from barospec.archive.operators.operator import QUALITY, Operator, Output, References
from barospec.schemas.errors import CallError

MOST = 8

REASONS = (
    *common_reasons(14),
    "the scan does not cover the window",
    "the references are too alike in the window to be distinguished",
    "a reference does not cover the window",
)
NOT_COVERED, ALIKE, REFERENCE_SHORT = 3, 4, 5


def lcf(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    sum_to_one: bool = True,
    nonnegative: bool = True,
    reference_energy: ArrayLike | None = None,
    reference_norm: ArrayLike | None = None,
    normalization: ArrayLike | None = None,
    reference_normalization: ArrayLike | None = None,
) -> dict[str, Any]:
    """Fit the fractions of reference spectra that make up a spectrum (linear-combination fit).

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption.
    low, high : float
        Window in eV, absolute and fixed for a series.
    sum_to_one : bool
        Whether the fractions must add up to 1.
    nonnegative : bool
        Whether fractions below 0 are set to 0 and the others fitted again; the best such set is taken.
    reference_energy, reference_norm : array_like, shape (references, m)
        2 to 8 reference spectra (``references``), shorter ones padded with NaN.
    normalization : array_like, shape (..., 7), optional
        What `normalize` did: e0, pre1, pre2, norm1, norm2, nnorm, nvict. Without it the sigmas are those of the points
        of norm alone.
    reference_normalization : array_like, shape (references, 7), optional
        The same of the references.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per reference (..., references).

    Raises
    ------
    CallError
        Without window or references, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Least squares with all points of the window weighted alike; references are interpolated linearly. Sigma is
    propagated from the noise of the points of spectrum and references, through interpolation and normalization;
    where the residual is larger than the noise (``lcf_chi2`` above 1: a reference is missing or an energy is off),
    the excess counts as noise of the points. A fraction set to 0 by `nonnegative` has sigma NaN: it is at the limit,
    see the others.

    References
    ----------
    Non-negative least squares over all subsets, as C. L. Lawson, R. J. Hanson, "Solving Least Squares Problems"
    (1974), chapter 23, does with an active set.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> two = np.stack([np.arctan(energy - e) / np.pi + 0.5 for e in (8343.0, 8347.0)])
    >>> out = lcf(energy, 0.3 * two[0] + 0.7 * two[1], low=8330, high=8360,
    ...           reference_energy=np.stack([energy, energy]), reference_norm=two)
    >>> out["lcf_fraction"].round(3).tolist()
    [0.3, 0.7]
    """
    references = _references(reference_energy, reference_norm, reference_normalization)
    if low is None or high is None or not low < high:
        raise CallError("lcf needs low < high, the window in eV, absolute, such as low=8330, high=8370.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, norm, fewest=14, numbers=unpacked(normalization))
        x, y, count = batch.energy, batch.signals[0], batch.count
        batch.fail(~covered(x, count, low, high), NOT_COVERED)
        taken = inside(x, count, low, high)
        curves = [interpolated(x, one.energy, one.curve) for one in references]
        for curve in curves:
            batch.fail((taken & ~np.isfinite(curve)).any(axis=1), REFERENCE_SHORT)
        curves = [np.where(taken & np.isfinite(curve), curve, 0.0) for curve in curves]
        weight = taken.astype(np.float64)
        fractions, kernels, chi2, used = _fit(curves, y, weight, count, sum_to_one, nonnegative)
        batch.fail(~np.isfinite(chi2), ALIKE)
        noise = white_noise(x, y, count)
        points = row_sum(weight, count)
        expected = noise**2
        for k, one in enumerate(references):
            left = row_sum(weight * one.left(x), count) / points
            expected = expected + fractions[:, k] ** 2 * np.nan_to_num(one.noise) ** 2 * left
        reduced = chi2 / np.maximum(points - used + sum_to_one, 1) / expected
        variance = np.empty_like(fractions)
        for k, kernel in enumerate(kernels):
            own = length(on_mu(kernel, x, y, count, batch.numbers), count)
            # A residual above the noise is treated as more noise of the points, and not of the normalization.
            more = np.maximum(reduced - 1.0, 0.0) * expected * length(kernel, count) ** 2
            variance[:, k] = (noise * own) ** 2 + more
            for other, one in enumerate(references):
                variance[:, k] += one.variance(kernel * np.nan_to_num(fractions[:, other, None]), x)
        variance[~(np.abs(np.stack(kernels, axis=1)).max(axis=2) > 0)] = np.nan
        values = {
            "lcf_fraction": fractions,
            "lcf_fraction_sigma": np.sqrt(variance),
            "lcf_r_factor": chi2 / row_sum(np.where(taken, y, 0.0) ** 2, count),
            "lcf_chi2": reduced,
        }
        return batch.results(OPERATOR.outputs, values, len(REASONS))


def _references(energy: ArrayLike | None, norm: ArrayLike | None, normalization: ArrayLike | None) -> list[Reference]:
    if energy is None or norm is None:
        raise CallError(
            'lcf needs references: queries, such as --with references="NiO: NiO at 1 bar; LaNiO3: LaNiO3 at 1 bar".'
        )
    energies, curves = np.atleast_2d(np.asarray(energy, float)), np.atleast_2d(np.asarray(norm, float))
    if not 2 <= len(curves) <= MOST or len(energies) != len(curves):
        raise CallError(f"lcf takes 2 to {MOST} references with energies of their own; it got {len(curves)}.")
    numbers = [None] * len(curves) if normalization is None else list(np.reshape(normalization, (len(curves), -1)))
    return [reference_curve("lcf", e, c, n) for e, c, n in zip(energies, curves, numbers, strict=True)]


def _fit(
    curves: list[Floats], y: Floats, weight: Floats, count: Any, sum_to_one: bool, nonnegative: bool
) -> tuple[Floats, list[Floats], Floats, Floats]:
    """Return the best fractions over all subsets that are allowed, the kernel of each, squares, number used."""
    size, rows = len(curves), len(y)
    best = np.full(rows, np.inf)
    fractions, kernels = np.full((rows, size), np.nan), [np.zeros_like(y) for _ in curves]
    used = np.zeros(rows)
    subsets = [tuple(range(size))]
    if nonnegative:
        subsets += [s for n in range(size - 1, 0, -1) for s in combinations(range(size), n)]
    for number, subset in enumerate(subsets):
        found, weights, chi2, solved = _subset(curves, y, weight, count, subset, size, sum_to_one)
        allowed = solved & (chi2 < best)
        if nonnegative:
            allowed &= (found >= 0).all(axis=1)
        best = np.where(allowed, chi2, best)
        fractions = np.where(allowed[:, None], found, fractions)
        kernels = [np.where(allowed[:, None], new, old) for new, old in zip(weights, kernels, strict=True)]
        used = np.where(allowed, len(subset), used)
        if number == 0:
            # Where the whole set cannot be distinguished, a part of it proves nothing.
            alike = ~solved
    return fractions, kernels, np.where(alike | ~np.isfinite(best), np.nan, best), used


def _subset(
    curves: list[Floats], y: Floats, weight: Floats, count: Any, subset: tuple[int, ...], size: int, one: bool
) -> tuple[Floats, list[Floats], Floats, Any]:
    """Fit the fractions of the subset; return them, their kernels on the points (0 where not free), squares, done."""
    rows = len(y)
    fractions, kernels = np.zeros((rows, size)), [np.zeros_like(y) for _ in range(size)]
    *free, last = subset
    basis = [curves[k] for k in subset] if not one else [curves[k] - curves[last] for k in free]
    if not basis:
        rest = np.where(weight > 0, y - curves[last], 0.0)
        fractions[:, last] = 1.0
        return fractions, kernels, row_sum(rest**2, count), np.ones(rows, dtype=bool)
    # With the last fraction 1 minus the others, the others multiply differences.
    fit = linear(basis, y - curves[last] if one else y, weight, count)
    for place, k in enumerate(free if one else subset):
        fractions[:, k] = fit.coefficients[:, place]
        kernels[k] = fit.kernel(basis, weight, np.broadcast_to(np.eye(len(basis))[place], (rows, len(basis))))
    if one:
        fractions[:, last] = 1.0
        for k in free:
            fractions[:, last] -= fractions[:, k]
            kernels[last] = kernels[last] - kernels[k]
    return fractions, kernels, fit.chi2, fit.solved


OPERATOR = Operator(
    name="lcf",
    version=2,
    func=lcf,
    inputs=("energy", "norm"),
    outputs={
        "lcf_fraction": Output("1", "fraction of each reference", per_reference=True),
        "lcf_fraction_sigma": Output("1", "its standard uncertainty; NaN at the limit 0", per_reference=True),
        "lcf_r_factor": Output("1", "squared residuals over squared values"),
        "lcf_chi2": Output("1", "squared residuals over noise and degrees of freedom"),
        "lcf_quality": QUALITY,
    },
    summary="Fractions of reference spectra that make up a spectrum, with errors.",
    source="C. L. Lawson, R. J. Hanson, Solving Least Squares Problems (1974), chapter 23",
    technique="xas",
    parameters={
        "low": "lower end of the window in eV, absolute",
        "high": "upper end of the window in eV, absolute",
        "sum_to_one": "whether the fractions must add up to 1",
        "nonnegative": "whether fractions below 0 are not allowed",
    },
    optional={"normalization": NORMALIZATION},
    reasons=REASONS,
    references=References(
        NORM_REFERENCE,
        "spectra that may make up the others, such as NiO: ...; LaNiO3: ...",
        several=True,
        fewest=2,
    ),
    example={"low": 8330.0, "high": 8370.0},
)
