"""Sensitivity of a result to unknown parameters: a box of them, and the share where a statement holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import qmc

from barospec.archive.spins.outputs import Array, Labelled, Outputs, as_array, collect
from barospec.schemas.errors import CallError

Range = tuple[float, float]


def sample_box(box: Mapping[str, float | Range], points: int = 256, seed: int = 0) -> dict[str, Array]:
    """Return points that fill a box of parameters evenly (a scrambled Sobol sequence).

    Parameters
    ----------
    box : mapping of str to float or (low, high)
        A number stays fixed.
    points : int
        Number of points; a power of two, for a balanced sequence.
    seed : int
        The same seed gives the same points.

    Returns
    -------
    dict of str to ndarray, shape (points,)

    Raises
    ------
    CallError
        For a range that is empty or not finite, or a number of points that is not a power of two.

    Notes
    -----
    I. M. Sobol, USSR Comput. Math. Math. Phys. 7, 86 (1967), in the implementation of `scipy.stats.qmc`.

    Examples
    --------
    >>> found = sample_box({"U_d": (4.0, 8.0), "U_p": 4.0}, 8)
    >>> found["U_d"].shape, bool(np.all((found["U_d"] >= 4) & (found["U_d"] <= 8))), found["U_p"][0]
    ((8,), True, np.float64(4.0))
    """
    if points < 1 or points & (points - 1):
        raise CallError(f"{points} points do not fill a box evenly; give a power of two, such as 256.")
    ranges = {name: value for name, value in box.items() if isinstance(value, tuple)}
    for name, (low, high) in ranges.items():
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise CallError(f"range of {name} is {low} to {high}; give two finite numbers, the lower first.")
    fixed = {name: np.full(points, float(v)) for name, v in box.items() if not isinstance(v, tuple)}
    if not ranges:
        return fixed
    unit = qmc.Sobol(len(ranges), seed=seed).random(points)
    varied = {name: low + (high - low) * unit[:, k] for k, (name, (low, high)) in enumerate(ranges.items())}
    return {name: varied.get(name, fixed.get(name, np.zeros(0))) for name in box}


def share(holds: ArrayLike) -> tuple[float, float, int]:
    """Return the share of points where a statement holds, its standard uncertainty, and the number of undecided points.

    Parameters
    ----------
    holds : array
        1 or True where it holds, 0 where not, NaN where unknown.

    Returns
    -------
    share, sigma : float
        Among the decided points; sigma as for independent points (Agresti and Coull: two successes and two failures
        are added, so that it is not zero for a share of 0 or 1). NaN if all are undecided.
    unknown : int

    Examples
    --------
    >>> share([1.0, 1.0, 0.0, np.nan])[::2]
    (0.6666666666666666, 1)
    """
    values = as_array(holds).ravel()
    known = values[~np.isnan(values)]
    if not known.size:
        return math.nan, math.nan, int(values.size)
    adjusted = (known.sum() + 2) / (known.size + 4)
    return float(known.mean()), math.sqrt(adjusted * (1 - adjusted) / (known.size + 4)), int(values.size - known.size)


def sensitivity(
    result: Callable[[dict[str, Array]], Outputs],
    box: Mapping[str, float | Range],
    statements: Mapping[str, Callable[[Mapping[str, Array]], ArrayLike]],
    points: int = 256,
    seed: int = 0,
) -> Outputs:
    """Compute a result over a box of parameters, and the share of the box where statements about it hold.

    Parameters
    ----------
    result : callable
        Takes parameters, each of shape (points,), and returns labelled outputs whose first axis is the points'.
    box, points, seed
        As in `sample_box`.
    statements : mapping of str to callable
        Each takes the outputs' values by name and returns truth for each point. If a number that it needs is NaN, it
        must return NaN (`decided` does that).

    Returns
    -------
    dict of Labelled
        ``share``, ``share_sigma`` and ``unknown`` (statement,); the parameters (point,) in eV; for every output
        ``<name>_low``, ``<name>_median`` and ``<name>_high``: 5, 50 and 95 % of its known values, with its own axes.

    Examples
    --------
    >>> from barospec.archive.spins.models import bilayer
    >>> from barospec.archive.spins.observables import spin_spectrum
    >>> found = sensitivity(
    ...     lambda p: spin_spectrum(bilayer(), p), {"J_H": 0.6, "J_ZZ": (0.3, 0.7)},
    ...     {"gap above 60 meV": lambda v: decided(v["gap"] > 0.06, v["gap"])}, 64)
    >>> bool(0 < found["share"].values[0] < 1)
    True
    """
    parameters = sample_box(box, points, seed)
    outputs = result(parameters)
    values = {name: as_array(np.asarray(output.values, dtype=float)) for name, output in outputs.items()}
    wrong = [name for name, array in values.items() if array.shape[:1] != (points,)]
    if wrong:
        raise CallError(f"outputs {', '.join(wrong)} do not have the {points} points on their first axis.")
    shares = np.array([share(statement(values)) for statement in statements.values()], dtype=float).reshape(-1, 3)
    labels = {"statement": tuple(statements)}
    found = [
        Labelled("share", shares[:, 0], ("statement",), "1", "Share of the box where the statement holds.", labels),
        Labelled("share_sigma", shares[:, 1], ("statement",), "1", "Its standard uncertainty.", labels),
        Labelled("unknown", shares[:, 2], ("statement",), "1", "Undecided points.", labels),
    ]
    found += [Labelled(n, v, ("point",), "eV", "Sampled parameter.") for n, v in parameters.items()]
    for name, array in values.items():
        if np.isnan(array).all():
            continue
        output, none = outputs[name], np.isnan(array).all(axis=0)
        for suffix, percent in (("low", 5), ("median", 50), ("high", 95)):
            text = f"{percent} % of the box is below. {output.meaning}"
            within = np.nanpercentile(np.where(none, 0.0, array), percent, axis=0)
            spread = np.asarray(np.where(none, np.nan, within), dtype=np.float64)
            found.append(Labelled(f"{name}_{suffix}", spread, output.dims[1:], output.unit, text, output.labels))
    return collect(*found)


def decided(truth: ArrayLike, *numbers: ArrayLike) -> Array:
    """Return truth as 1 and 0, but NaN wherever one of its numbers is NaN.

    >>> decided([True, False], [1.0, np.nan])
    array([ 1., nan])
    """
    result = as_array(truth)
    for number in numbers:
        result = np.where(np.isnan(as_array(number)), np.nan, result)
    return result
