"""Statements about numbers that a series gives: no change, same slope, same value; and what is structural in a shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.statistics.series_fit import Line, fit_line
from barospec.schemas.errors import CallError


@dataclass(frozen=True, slots=True)
class Equivalence:
    """The statement "no change": the change and what it is smaller than.

    ``bound`` is the smallest margin for which "less than it" holds at ``confidence``; ``equivalent`` whether the margin
    asked for is one (None without one); ``p_value`` of the test against that margin.
    """

    change: float
    sigma: float
    bound: float
    confidence: float
    margin: float
    equivalent: bool | None
    p_value: float


def equivalence_of(
    change: float, sigma: float, dof: float, *, margin: float | None = None, confidence: float = 0.95
) -> Equivalence:
    """Test a change against +-margin by two one-sided tests.

    Raises
    ------
    CallError
        For a margin or confidence that makes no sense.

    References
    ----------
    D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15, 657 (1987), doi:10.1007/BF01068419.

    Examples
    --------
    >>> found = equivalence_of(0.02, 0.03, np.inf, margin=0.1)
    >>> round(found.bound, 3), found.equivalent
    (0.069, True)
    """
    if (margin is not None and not margin > 0) or not 0.5 < confidence < 1:
        raise CallError("margin is a size above 0, confidence lies between 0.5 and 1.")
    bound = abs(change) + float(stats.t.ppf(confidence, dof)) * sigma
    p_value = float("nan") if margin is None else float(stats.t.sf((margin - abs(change)) / sigma, dof))
    return Equivalence(
        change=change,
        sigma=sigma,
        bound=bound,
        confidence=confidence,
        margin=float("nan") if margin is None else margin,
        equivalent=None if margin is None else bool(bound < margin),
        p_value=p_value,
    )


def equivalence(
    x: ArrayLike,
    y: ArrayLike,
    sigma: ArrayLike | None = None,
    *,
    margin: float | None = None,
    confidence: float = 0.95,
) -> Equivalence:
    """Bound the change of y over the whole range of x: "does not move, less than 0.03 eV at 95 %".

    Parameters
    ----------
    x, y, sigma : array_like, shape (n,)
        As `fit_line`.
    margin : float, optional
        Size of a change that would matter, in the unit of y.
    confidence : float

    Returns
    -------
    Equivalence
        The change is that of the fitted line from the lowest to the highest x.

    Raises
    ------
    InvalidData
        For fewer than 3 points or a single condition.
    CallError
        For a margin or confidence that makes no sense.

    References
    ----------
    D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15, 657 (1987), doi:10.1007/BF01068419.

    Examples
    --------
    >>> found = equivalence([1, 2, 3, 4], [8333.41, 8333.40, 8333.42, 8333.41], [0.01] * 4, margin=0.1)
    >>> found.equivalent, round(found.bound, 2)
    (True, 0.05)
    """
    line = fit_line(x, y, sigma)
    span = line.x_high - line.x_low
    return equivalence_of(line.slope * span, line.slope_sigma * span, line.dof, margin=margin, confidence=confidence)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference of two independent numbers: itself, its sigma, the probability of one as large by chance."""

    difference: float
    sigma: float
    p_value: float
    bound: float


def compare_slopes(first: Line, second: Line, *, confidence: float = 0.95) -> Comparison:
    """Compare the slopes of two series, such as edge shift against bond length of two compounds.

    Parameters
    ----------
    first, second : Line
    confidence : float
        Of ``bound``, the size that the difference stays below.

    Returns
    -------
    Comparison
        ``p_value`` of the two-sided test with Welch's degrees of freedom.

    References
    ----------
    B. L. Welch, Biometrika 34, 28 (1947), doi:10.1093/biomet/34.1-2.28.

    Examples
    --------
    >>> one = fit_line([0, 1, 2, 3], [0.0, 1.0, 2.1, 3.0], [0.1] * 4)
    >>> two = fit_line([0, 1, 2, 3], [0.0, 1.1, 2.0, 3.1], [0.1] * 4)
    >>> compare_slopes(one, two).p_value > 0.5
    True
    """
    a, b = first.slope_sigma**2, second.slope_sigma**2
    sigma = float(np.sqrt(a + b))
    dof = (a + b) ** 2 / (a**2 / first.dof + b**2 / second.dof) if sigma > 0 else np.inf
    difference = first.slope - second.slope
    p_value = 2 * float(stats.t.sf(abs(difference) / sigma, dof)) if sigma > 0 else float(difference == 0)
    return Comparison(difference, sigma, p_value, abs(difference) + float(stats.t.ppf(confidence, dof)) * sigma)


def compare_values(first: float, first_sigma: float, second: float, second_sigma: float) -> Comparison:
    """Compare two independent estimates of one number, such as the valence from the edge and from Kβ2,5.

    Examples
    --------
    >>> found = compare_values(2.53, 0.05, 2.81, 0.05)
    >>> round(found.difference, 2), round(found.p_value, 5)
    (-0.28, 8e-05)
    """
    found = equivalence_of(first - second, float(np.hypot(first_sigma, second_sigma)), np.inf)
    p_value = 2 * float(stats.norm.sf(abs(found.change) / found.sigma))
    return Comparison(found.change, found.sigma, p_value, found.bound)


def structural_correction(
    edge_energy: ArrayLike, bond_length: ArrayLike, *, per_bond_length: float, at: float, sigma: float = 0.0
) -> tuple[Floats, Floats]:
    """Subtract from edge energies of one sample the part that its contraction makes.

    Parameters
    ----------
    edge_energy : array_like, shape (n,)
        In eV, of one sample along a route. Never of different compounds: their bond lengths differ for other reasons,
        and the scale of valence between two references contains that difference already.
    bond_length : array_like, shape (n,)
        In Å, at each point.
    per_bond_length, sigma : float
        dE/dR in eV/Å and its standard uncertainty, from a compound whose valence does not change.
    at : float
        Bond length in Å at which nothing is corrected: that at ambient conditions.

    Returns
    -------
    energies, sigmas : ndarray, shape (n,)
        ``E - (dE/dR)(R - R0)`` and the uncertainty that dE/dR brings, in eV.

    Examples
    --------
    >>> energies, _ = structural_correction([8345.46, 8346.26], [1.979, 1.9257], per_bond_length=-15.0, at=1.979)
    >>> energies.round(2).tolist()
    [8345.46, 8345.46]
    """
    contraction = np.asarray(bond_length, dtype=np.float64) - at
    return np.asarray(edge_energy, float) - per_bond_length * contraction, np.abs(contraction) * sigma
