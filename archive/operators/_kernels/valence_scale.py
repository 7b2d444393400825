"""Valence scale: a line through references of known valence, and the interpolation on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.least_squares import inverted
from barospec.archive.operators._kernels.ragged import Floats
from barospec.schemas.errors import CallError

REASONS = (
    "ok",
    "no position, see the quality of the step before",
    "suspect: extrapolated, the position lies beyond the references",
    "no sigma: that of the position or of a reference is not known",
    "suspect: extrapolated, and no sigma",
)
NO_POSITION, EXTRAPOLATED, NO_SIGMA, BOTH = range(1, 5)
MEANING = "spectra of known valence, each with it: 2: ...; 3: ..."


def _calibrated(position: Floats, sigma: Floats, known: tuple[Floats, Floats, Floats]) -> tuple[Floats, Floats]:
    """Interpolate valence and sigma on the line E = a + b v through the references (E, sigma, v)."""
    at, errors, valence = known
    usable = np.isfinite(errors).all() and bool((errors > 0).all())
    weight = 1.0 / errors**2 if usable else np.ones(len(at))
    # About the weighted middle, offset and slope are independent.
    middle = np.sum(weight * valence) / np.sum(weight)
    v = valence - middle
    sums = np.array([[np.sum(weight), np.sum(weight * v)], [np.sum(weight * v), np.sum(weight * v * v)]])
    inverse, solved = inverted(sums[None])
    if not solved[0]:
        raise CallError("the references have one valence; valences that differ are needed.")
    offset, slope = inverse[0] @ np.array([np.sum(weight * at), np.sum(weight * v * at)])
    if slope == 0:
        raise CallError("the references lie at one energy; the scale of valence has no length.")
    covariance = inverse[0]
    if len(at) > 2:
        # More references than the line needs: where they scatter more than their sigmas say, that counts.
        chi2 = np.sum(weight * (at - offset - slope * v) ** 2) / (len(at) - 2)
        covariance = covariance * (max(chi2, 1.0) if usable else chi2)
    elif not usable:
        covariance = np.full((2, 2), np.nan)
    t = (position - offset) / slope
    variance = sigma**2 + covariance[0, 0] + 2 * t * covariance[0, 1] + t**2 * covariance[1, 1]
    return middle + t, np.sqrt(variance) / abs(slope)


def interpolate_valence(
    position: ArrayLike, sigma: ArrayLike, sigma_norm: ArrayLike | None, references: tuple[Any, ...], name: str
) -> dict[str, Any]:
    at, errors, norm_errors, numbers = references
    if at is None or numbers is None:
        raise CallError(
            f'{name} needs references with their valences, such as --with references="2: NiO at 1 bar; 3: LaNiO3 at 1 bar".'
        )
    known, valences = np.ravel(np.asarray(at, float)), np.ravel(np.asarray(numbers, float))
    if known.size < 2 or known.size != valences.size or not np.isfinite(valences).all():
        raise CallError(f"{name} needs two references or more, each with a valence; it got {valences.tolist()}.")
    if not np.isfinite(known).all():
        raise CallError(f"a reference has no position, so it gives no valence: {known.tolist()} eV.")

    def spread_of(given: Any) -> Floats:
        return np.full(known.size, np.nan) if given is None else np.ravel(np.asarray(given, float))

    value = np.asarray(position, dtype=np.float64)
    leading = value.shape
    own = ragged.per_spectrum(sigma, leading, "sigma")
    flat = value.reshape(-1)
    with np.errstate(all="ignore"):
        found, spread = _calibrated(flat, own, (known, spread_of(errors), valences))
        quality = np.where(np.isfinite(flat), 0, NO_POSITION).astype(np.uint8)
        beyond = (found > valences.max() + 1e-9) | (found < valences.min() - 1e-9)
        unknown = ~np.isfinite(spread)
        for where, code in ((beyond & unknown, BOTH), (beyond, EXTRAPOLATED), (unknown, NO_SIGMA)):
            quality = np.where(where & (quality == 0), code, quality).astype(np.uint8)
        out = {name: found, f"{name}_sigma": np.where(quality == NO_POSITION, np.nan, spread)}
        if sigma_norm is not None:
            wide = ragged.per_spectrum(sigma_norm, leading, "sigma_norm")
            _, norm_spread = _calibrated(flat, wide, (known, spread_of(norm_errors), valences))
            out[f"{name}_sigma_norm"] = np.where(quality == NO_POSITION, np.nan, norm_spread)
        out[f"{name}_quality"] = quality
    return {key: np.asarray(array).reshape(leading) for key, array in out.items()}
