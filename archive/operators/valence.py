"""Valence from the position of an edge or of the valence-to-core line between those of references."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.least_squares import inverted
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators.operator import QUALITY, Operator, Output, References
from barospec.schemas.errors import CallError

REASONS = (
    "ok",
    "no position, see the quality of the step before",
    "suspect: extrapolated, the position lies beyond the references",
    "no sigma: that of the position or of a reference is not known",
    "suspect: extrapolated, and no sigma",
)
NO_POSITION, EXTRAPOLATED, NO_SIGMA, BOTH = range(1, 5)


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


def _interpolate(
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


def valence(
    edge_energy: ArrayLike,
    edge_energy_sigma: ArrayLike,
    edge_energy_sigma_norm: ArrayLike,
    *,
    reference_edge_energy: ArrayLike | None = None,
    reference_edge_energy_sigma: ArrayLike | None = None,
    reference_edge_energy_sigma_norm: ArrayLike | None = None,
    reference_valence: ArrayLike | None = None,
) -> dict[str, Any]:
    """Interpolate the valence linearly from the edge energies of references.

    Parameters
    ----------
    edge_energy, edge_energy_sigma, edge_energy_sigma_norm : array_like, shape (...)
        In eV, as `edge_energy` returns them.
    reference_edge_energy, reference_edge_energy_sigma, reference_edge_energy_sigma_norm : array_like, shape (r,)
        The same of two or more references (``references``), treated alike.
    reference_valence : array_like, shape (r,)
        Their valences.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).
        ``valence_sigma_norm`` takes the windows as independent between spectra of different materials;
        ``valence_quality`` flags values beyond the references.

    Raises
    ------
    CallError
        With fewer than two references, without their valences, or for valences or energies that do not differ.

    Notes
    -----
    With two references, ``t = (E - E1)/(E2 - E1)`` and ::

        v = v1 + (v2 - v1) t
        sigma_v = |(v2 - v1)/(E2 - E1)| sqrt(sE^2 + (1 - t)^2 s1^2 + t^2 s2^2)

    With more, the line ``E = a + b v`` is fitted to the references, weighted by their sigmas, with its
    covariance, which is scaled up where they scatter more than their sigmas say. Errors are taken as
    independent: a calibration error that all share cancels, one that they do not adds to each sigma.

    The edge energy also follows bond length and shape. Under pressure part of a shift is structural
    (``series.structural_correction``, within one sample only); and real Ni2O3 lies below Ni(OH)2, so the shapes of
    references and sample have to be alike.

    References
    ----------
    Linear relation between NiO and LaNiO3 as in E. Mijit et al., "Local electronic properties of La3Ni2O7 under
    pressure" (2024): 2.53(5).

    Examples
    --------
    >>> out = valence(8345.46, 0.03, 0.2, reference_edge_energy=[8344.4, 8346.4],
    ...               reference_edge_energy_sigma=[0.04, 0.04], reference_valence=[2, 3])
    >>> round(float(out["valence"]), 3), round(float(out["valence_sigma"]), 3)
    (2.53, 0.021)
    """
    known = (
        reference_edge_energy,
        reference_edge_energy_sigma,
        reference_edge_energy_sigma_norm,
        reference_valence,
    )
    return _interpolate(edge_energy, edge_energy_sigma, edge_energy_sigma_norm, known, "valence")


def valence_vtc(
    vtc_position: ArrayLike,
    vtc_position_sigma: ArrayLike,
    *,
    reference_vtc_position: ArrayLike | None = None,
    reference_vtc_position_sigma: ArrayLike | None = None,
    reference_valence: ArrayLike | None = None,
) -> dict[str, Any]:
    """Interpolate the valence linearly from the positions of the valence-to-core line of references.

    Parameters
    ----------
    vtc_position, vtc_position_sigma : array_like, shape (...)
        In eV, as `valence_to_core` returns them.
    reference_vtc_position, reference_vtc_position_sigma : array_like, shape (r,)
        The same of two or more references (``references``).
    reference_valence : array_like, shape (r,)
        Their valences.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``VTC_OPERATOR.outputs``, shape (...).

    Raises
    ------
    CallError
        With fewer than two references, without their valences, or for valences or energies that do not differ.

    Notes
    -----
    The formulas of `valence`. It is a second estimate, independent of the edge: with the shifts that the paper
    prints for La3Ni2O7, 1.50 eV above NiO and 0.35 eV below LaNiO3, it is 2.81 where the edge gives 2.53. Neither
    corrects the other; that they differ says that a linear scale between two compounds is a model.

    References
    ----------
    Kβ2,5 shifts: E. Mijit et al., "Local electronic properties of La3Ni2O7 under pressure" (2024).

    Examples
    --------
    >>> out = valence_vtc(1.50, 0.05, reference_vtc_position=[0.0, 1.85],
    ...                   reference_vtc_position_sigma=[0.05, 0.05], reference_valence=[2, 3])
    >>> round(float(out["valence_vtc"]), 2), round(float(out["valence_vtc_sigma"]), 2)
    (2.81, 0.04)
    """
    known = (reference_vtc_position, reference_vtc_position_sigma, None, reference_valence)
    return _interpolate(vtc_position, vtc_position_sigma, None, known, "valence_vtc")


_MEANING = "spectra of known valence, each with it: 2: ...; 3: ..."
OPERATOR = Operator(
    name="valence",
    version=1,
    func=valence,
    inputs=("edge_energy", "edge_energy_sigma", "edge_energy_sigma_norm"),
    outputs={
        "valence": Output("1", "valence on the line through the references"),
        "valence_sigma": Output("1", "its statistical standard uncertainty, the references' included"),
        "valence_sigma_norm": Output("1", "its standard uncertainty from the choice of normalization windows"),
        "valence_quality": QUALITY,
    },
    summary="Valence by linear interpolation of the edge energy between references.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xas",
    reasons=REASONS,
    references=References(
        {
            "reference_edge_energy": "edge_energy",
            "reference_edge_energy_sigma": "edge_energy_sigma",
            "reference_edge_energy_sigma_norm": "edge_energy_sigma_norm",
        },
        _MEANING,
        several=True,
        labels="reference_valence",
        fewest=2,
    ),
)
VTC_OPERATOR = Operator(
    name="valence_vtc",
    version=1,
    func=valence_vtc,
    inputs=("vtc_position", "vtc_position_sigma"),
    outputs={
        "valence_vtc": Output("1", "valence on the line through the references, from the Kβ2,5 position"),
        "valence_vtc_sigma": Output("1", "its statistical standard uncertainty, the references' included"),
        "valence_vtc_quality": QUALITY,
    },
    summary="Valence by linear interpolation of the Kβ2,5 position between references.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xes",
    reasons=REASONS,
    references=References(
        {
            "reference_vtc_position": "vtc_position",
            "reference_vtc_position_sigma": "vtc_position_sigma",
        },
        _MEANING,
        several=True,
        labels="reference_valence",
        fewest=2,
    ),
)
