"""Spectral shapes of the sample archive: pure functions, no files, no randomness.

An absorption edge is a rounded step with a pre-edge peak, a white line and EXAFS; an emission spectrum is a
sum of lines. They imitate the shape of such spectra; they are not a calculation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erf

Array = NDArray[np.float64]

# k² = 2m(E - E0)/ħ², in Å⁻² per eV (CODATA 2018: 1 / 3.80998 eV Å²).
K2_PER_EV = 0.2624684


@dataclass(frozen=True, slots=True)
class Peak:
    """A pseudo-Voigt peak: height (1), position and full width at half maximum (eV), Lorentzian share."""

    height: float
    position: float
    fwhm: float
    lorentzian: float = 0.3


@dataclass(frozen=True, slots=True)
class Shell:
    """One EXAFS shell: distance (Å), amplitude (Å³), phase (rad), phase slope (Å), disorder σ² (Å²)."""

    distance: float
    amplitude: float
    phase: float
    phase_slope: float
    sigma2: float


@dataclass(frozen=True, slots=True)
class Edge:
    """A normalized absorption edge whose crossing of `fraction` is exactly at `energy`.

    Parameters
    ----------
    energy : float
        Energy at which the normalized curve first reaches `fraction` (eV).
    fraction : float
        0.8 is the paper's definition of the edge energy.
    step_fwhm, step_lorentzian : float
        Width (eV) of the step's derivative and the share of its arctangent part.
    moving : tuple of Peak
        Peaks whose position is relative to the step's middle; they move with it and follow the contraction.
    fixed : tuple of Peak
        Peaks at absolute energies, such as the pre-edge peak A and feature C.
    shells : tuple of Shell
        Distances at ambient pressure.
    contraction : float
        R/R0. Energies above the step scale with its inverse square, as those of scattering resonances do.
    measured : tuple of float
        The energies at which the edge is measured (eV, ascending): a post-edge polynomial is fitted to them.
    degree : int
        Degree of that polynomial.
    post_edge : float
        Start of that fit, in eV above `energy`: 25 eV above the inflection point is usual.
    """

    energy: float
    step_fwhm: float
    moving: tuple[Peak, ...]
    fixed: tuple[Peak, ...]
    shells: tuple[Shell, ...]
    measured: tuple[float, ...]
    degree: int
    post_edge: float = 26.0
    contraction: float = 1.0
    fraction: float = 0.8
    step_lorentzian: float = 0.2


@dataclass(frozen=True, slots=True)
class Emission:
    """An emission spectrum: lines on a constant background, scaled to a maximum of 1."""

    lines: tuple[Peak, ...]
    background: float


def pseudo_voigt(energy: Array, peak: Peak) -> Array:
    """Return a peak of the given height, the sum of a Gaussian and a Lorentzian of one width.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        In eV.
    peak : Peak

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> pseudo_voigt(np.array([10.0, 11.0]), Peak(2.0, 10.0, 2.0)).tolist()
    [2.0, 1.0]
    """
    x = 2.0 * (energy - peak.position) / peak.fwhm
    gauss = np.exp(-np.log(2.0) * x**2)
    curve = peak.height * ((1.0 - peak.lorentzian) * gauss + peak.lorentzian / (1.0 + x**2))
    return np.asarray(curve, dtype=np.float64)


def smooth_step(energy: Array, low: float, high: float) -> Array:
    """Return 0 up to `low`, 1 from `high` on (eV), with continuous first derivative in between.

    >>> smooth_step(np.array([0.0, 1.0, 2.0]), 0.0, 2.0).tolist()
    [0.0, 0.5, 1.0]
    """
    t = np.clip((energy - low) / (high - low), 0.0, 1.0)
    return np.asarray(t**2 * (3.0 - 2.0 * t), dtype=np.float64)


def exafs(energy: Array, origin: float, shells: Sequence[Shell], contraction: float = 1.0) -> Array:
    """Return the sum of waves A sin(2kR + φ + φ'k) exp(-2σ²k²) / (kR²), faded in above the near-edge region.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        In eV.
    origin : float
        Energy of k = 0 (eV).
    shells : sequence of Shell
    contraction : float
        R/R0, applied to all distances.

    Returns
    -------
    ndarray, shape (n,)
        χ, 0 below ``origin + 8``.

    Examples
    --------
    >>> exafs(np.array([0.0, 5.0]), 0.0, [Shell(2.0, 1.0, 0.0, 0.0, 0.005)]).any().item()
    False
    """
    # Below 1 Å⁻¹ the waves are faded out; the lower bound only keeps 1/k finite there.
    k = np.sqrt(K2_PER_EV * np.maximum(energy - origin, 1.0 / K2_PER_EV))
    chi = np.zeros_like(energy)
    for shell in shells:
        r = shell.distance * contraction
        wave = np.sin(2.0 * k * r + shell.phase + shell.phase_slope * k)
        chi += shell.amplitude * wave * np.exp(-2.0 * shell.sigma2 * k**2) / (k * r**2)
    return np.asarray(chi * smooth_step(energy, origin + 8.0, origin + 34.0), dtype=np.float64)


def _unbalanced(energy: Array, edge: Edge, origin: float) -> Array:
    x = energy - origin
    step = (1.0 - edge.step_lorentzian) * 0.5 * (1.0 + erf(2.0 * np.sqrt(np.log(2.0)) * x / edge.step_fwhm))
    step += edge.step_lorentzian * (0.5 + np.arctan(2.0 * x / edge.step_fwhm) / np.pi)
    curve = np.asarray(step, dtype=np.float64)
    for peak in edge.moving:
        # Only the part above the step is a scattering resonance and follows the bond length.
        position = peak.position / edge.contraction**2 if peak.position > 0 else peak.position
        curve += pseudo_voigt(x, Peak(peak.height, position, peak.fwhm, peak.lorentzian))
    for peak in edge.fixed:
        curve += pseudo_voigt(energy, peak)
    return curve + exafs(energy, origin, edge.shells, edge.contraction)


def _with_origin(energy: Array, edge: Edge, origin: float) -> Array:
    """Return the curve for a given middle of the step, such that a post-edge fit gives an edge jump of 1.

    Without this correction, EXAFS and peak tails have a mean and a slope over any window, and the declared edge energy
    would belong to a jump that no normalization can find.
    """
    points = np.asarray(edge.measured, dtype=np.float64)
    window = points[points >= edge.energy + edge.post_edge]
    # A fit in Legendre polynomials of the window stays well conditioned.
    rest = np.polynomial.Legendre.fit(window, _unbalanced(window, edge, origin) - 1.0, edge.degree)
    correction = np.asarray(rest(energy), dtype=np.float64)
    return _unbalanced(energy, edge, origin) - correction * smooth_step(energy, origin + 12.0, origin + 25.0)


def crossing(energy: Array, norm: Array, fraction: float = 0.8) -> float:
    """Return the first energy at which a normalized curve reaches `fraction` from below, by linear interpolation.

    Parameters
    ----------
    energy, norm : ndarray, shape (n,)
        Ascending energies in eV.
    fraction : float

    Returns
    -------
    float
        In eV; NaN if the curve never reaches it.

    Examples
    --------
    >>> crossing(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.6, 1.0]), 0.8)
    1.5
    """
    above = np.flatnonzero((norm[1:] >= fraction) & (norm[:-1] < fraction))
    if above.size == 0:
        return float("nan")
    i = int(above[0])
    return float(energy[i] + (fraction - norm[i]) * (energy[i + 1] - energy[i]) / (norm[i + 1] - norm[i]))


@lru_cache(maxsize=256)
def edge_origin(edge: Edge) -> float:
    """Return the middle of the step (eV) that puts the crossing of ``edge.fraction`` at ``edge.energy``.

    Returns
    -------
    float
        Solved to 1e-9 eV.
    """
    near = np.arange(edge.energy - 40.0, edge.energy + 30.0, 0.02)

    def miss(origin: float) -> float:
        return crossing(near, _with_origin(near, edge, origin), edge.fraction) - edge.energy

    return float(brentq(miss, edge.energy - 12.0, edge.energy + 12.0, xtol=1e-9))


def normalized(energy: Array, edge: Edge) -> Array:
    """Return the noise-free normalized absorption of an edge.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        In eV.
    edge : Edge

    Returns
    -------
    ndarray, shape (n,)
        0 far below the edge; oscillating around 1 above it. Its first crossing of ``edge.fraction`` is
        ``edge.energy``, and a polynomial of degree ``edge.degree`` fitted to the measured points from
        ``edge.post_edge`` above that on is 1.

    Examples
    --------
    >>> energy = np.arange(8300.0, 8700.0, 0.1)
    >>> edge = Edge(8345.0, 4.0, (Peak(0.7, 5.0, 6.0),), (), (), measured=tuple(energy), degree=2)
    >>> round(crossing(energy, normalized(energy, edge)), 3)
    8345.0
    """
    return _with_origin(energy, edge, edge_origin(edge))


def emission(energy: Array, spectrum: Emission) -> Array:
    """Return the noise-free emission spectrum, scaled to a maximum of 1.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        In eV.
    spectrum : Emission

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> lines = Emission((Peak(3.0, 8264.7, 4.0),), background=0.0)
    >>> emission(np.array([8262.7, 8264.7]), lines).tolist()
    [0.5, 1.0]
    """
    first = spectrum.lines[0]
    fine = np.arange(first.position - 3.0, first.position + 3.0005, 0.001)

    def curve(e: Array) -> Array:
        total = np.sum([pseudo_voigt(e, line) for line in spectrum.lines], axis=0) + spectrum.background
        return np.asarray(total, dtype=np.float64)

    return np.asarray(curve(energy) / curve(fine).max(), dtype=np.float64)


def murnaghan_length(pressure: float, bulk_modulus: float, derivative: float) -> float:
    """Return the length relative to zero pressure, by Murnaghan's equation of state.

    Parameters
    ----------
    pressure, bulk_modulus : float
        In GPa.
    derivative : float
        Pressure derivative of the bulk modulus.

    Returns
    -------
    float
        (V/V0)^(1/3).

    References
    ----------
    F. D. Murnaghan, Proc. Natl. Acad. Sci. 30, 244 (1944).

    Examples
    --------
    >>> murnaghan_length(0.0, 190.0, 4.0)
    1.0
    """
    return float((1.0 + derivative * pressure / bulk_modulus) ** (-1.0 / (3.0 * derivative)))
