"""Principal components of a series: how many spectra it is made of, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from barospec.archive.operators._kernels.batch import make_batch
from barospec.archive.operators._kernels.integrals import interpolated, white_noise
from barospec.archive.operators._kernels.ragged import Floats
from barospec.schemas.errors import CallError, InvalidData


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components of a series.

    Parameters
    ----------
    rank : int
        Components that stand above the noise; -1 where the noise is not known.
    singular_values, p_values : ndarray, shape (k,)
        ``p_values[i]`` is the probability that what components 0..i leave is no more than noise would.
    indicator : ndarray, shape (k - 1,)
        Malinowski's indicator function, smallest at the number of components; needs no noise.
    scores : ndarray, shape (spectra, k)
        Of each spectrum; ``scores @ curves (+ mean)`` gives the spectra back.
    curves : ndarray, shape (k, points)
    energy, mean : ndarray, shape (points,)
    noise : float
        Standard deviation of a point.
    """

    rank: int
    singular_values: Floats
    p_values: Floats
    indicator: Floats
    scores: Floats
    curves: Floats
    energy: Floats
    mean: Floats
    noise: float


def components(
    energy: ArrayLike,
    norm: ArrayLike,
    *,
    low: float,
    high: float,
    centered: bool = True,
    confidence: float = 0.95,
) -> Components:
    """Find the principal components over a window, and the number of them that noise does not explain.

    Parameters
    ----------
    energy, norm : array_like, shape (spectra, n)
        In eV and normalized, NaN padding allowed.
    low, high : float
        Window in eV, absolute.
    centered : bool
        Subtract the mean spectrum first: rank 0 then is a series that does not change, 1 one that changes along one
        line (two phases, or one that moves a little), more for more.
    confidence : float
        A component counts while what is left is more than noise at this confidence.

    Returns
    -------
    Components

    Raises
    ------
    CallError
        For a wrong window or confidence.
    InvalidData
        For fewer than 3 spectra or 5 points that all have.

    Notes
    -----
    All spectra are taken at the energies of the first inside the window, interpolated linearly where theirs differ
    (which smooths: the noise then is a little overestimated, the rank not). What k components leave has
    ``(spectra - centered - k)(points - k)`` degrees of freedom; its sum of squares over noise^2 is compared with
    chi squared. An edge that only moves is no mixture, and yields more components the farther it moves.

    References
    ----------
    E. R. Malinowski, "Factor Analysis in Chemistry" (1991); Anal. Chem. 49, 612 (1977), doi:10.1021/ac50012a027.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> energy = np.tile(np.arange(8320.0, 8380.0, 0.5), (9, 1))
    >>> share = np.linspace(0, 1, 9)[:, None]
    >>> norm = np.arctan(energy - 8345) + share * np.exp(-(((energy - 8358) / 4) ** 2))
    >>> components(energy, norm + rng.normal(0, 1e-3, norm.shape), low=8325, high=8375).rank
    1
    """
    if not low < high or not 0.5 < confidence < 1:
        raise CallError("low must lie below high, and confidence between 0.5 and 1.")
    with np.errstate(all="ignore"):
        batch = make_batch(np.atleast_2d(energy), np.atleast_2d(norm), fewest=14)
        if len(batch.count) < 3:
            raise InvalidData(f"{len(batch.count)} spectra with 14 points or more; components need 3.")
        axis = batch.energy[0, : batch.count[0]]
        axis = axis[(axis >= low - 1e-9) & (axis <= high + 1e-9)]
        rows = [interpolated(axis, batch.energy[k, :c], batch.signals[0][k, :c]) for k, c in enumerate(batch.count)]
        noise = float(np.sqrt(np.mean(white_noise(batch.energy, batch.signals[0], batch.count) ** 2)))
    data = np.stack(rows)
    good = np.isfinite(data).all(axis=0)
    axis, data = axis[good], data[:, good]
    if axis.size < 5:
        raise InvalidData(f"{axis.size} points between {low:g} and {high:g} eV that all spectra have; 5 are needed.")
    mean = data.mean(axis=0) if centered else np.zeros(axis.size)
    u, s, v = np.linalg.svd(data - mean, full_matrices=False)
    n, m = len(data) - int(centered), axis.size
    most = min(n, m)
    left = np.array([np.sum(s[k:] ** 2) for k in range(most + 1)])
    # From what 0 components leave to what all but one do: after the last nothing is left to test.
    free = np.array([(n - k) * (m - k) for k in range(most)])
    chi2 = left[:most] / noise**2 if noise > 0 else np.full(most, np.nan)
    p_values = np.asarray(stats.chi2.sf(chi2, free), dtype=np.float64)
    enough = np.nonzero(p_values > 1 - confidence)[0]
    rank = -1 if not noise > 0 else int(enough[0]) if enough.size else most
    k = np.arange(1, most)
    indicator = np.sqrt(left[1:most] / (max(n, m) * (most - k))) / (most - k) ** 2
    return Components(
        rank=rank,
        singular_values=s[:most],
        p_values=p_values,
        indicator=indicator,
        scores=(u * s)[:, :most],
        curves=v[:most],
        energy=axis,
        mean=mean,
        noise=noise,
    )
