"""Edge energy as the first upward crossing of a fraction of the step, with two kinds of uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.ensemble import ENSEMBLE, Baselines, ensemble_windows
from barospec.archive.operators._kernels.ragged import Bools, Floats, Ints, at
from barospec.archive.operators._kernels.windows import Windows, slice_windows
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

NOISE_POINTS = 8
"""Interior points of the pre-edge window from which the noise is estimated, at least."""

STUDENT = 0.8
"""t of 68.3 % is 1 + 0.5/dof, and distances that share neighbors have 0.6 degrees of freedom each."""

_FAR, _SEVERAL = (
    "suspect: the crossing lies more than `far` from e0",
    ("suspect: norm rises through the fraction more than once, the rise next to e0 was taken"),
)
_NO_SIGMA = f"no edge_energy_sigma: fewer than {NOISE_POINTS + 2} points in the pre-edge window"
REASONS = (
    "ok",
    "no norm or no e0: the spectrum was not normalized, see normalize_quality",
    "no crossing: norm does not rise through the fraction next to e0",
    "energies repeat or stand closer than 0.0005 eV over a stretch of points; rebin the scan first",
    _FAR,
    _SEVERAL,
    _NO_SIGMA,
    f"{_FAR}; {_NO_SIGMA}",
    f"{_SEVERAL}; {_NO_SIGMA}",
)
NOT_NORMALIZED, NO_CROSSING, TOO_CLOSE, FAR, SEVERAL, NO_SIGMA, FAR_NO_SIGMA, SEVERAL_NO_SIGMA = range(1, 9)


def edge_energy(
    energy: ArrayLike,
    norm: ArrayLike,
    e0: ArrayLike,
    pre1: ArrayLike = np.nan,
    pre2: ArrayLike = np.nan,
    norm1: ArrayLike = np.nan,
    norm2: ArrayLike = np.nan,
    nnorm: ArrayLike = -1,
    nvict: ArrayLike = 0,
    *,
    fraction: float = 0.8,
    far: float = 10.0,
    ensemble: int = ENSEMBLE,
) -> dict[str, Any]:
    """Find the energy where norm first rises through a fraction of the edge step, by linear interpolation.

    The rise is looked for from e0: where norm(e0) lies below `fraction`, the first upward crossing above e0,
    else the last one below it. On a spectrum that rises through the fraction once this is the first upward
    crossing; unlike that it does not stop at a glitch or a noise peak far below the edge.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    norm : array_like, shape (..., n)
        Normalized absorption, as `normalize` returns it; points without a value are excluded.
    e0 : array_like, shape (...)
        In eV.
    pre1, pre2, norm1, norm2, nnorm, nvict : array_like, shape (...), optional
        Windows, degree and power that `normalize` used; without them there are no uncertainties.
    fraction : float
        Of the edge step, above 0 and at most 1.
    far : float
        Distance from e0 in eV beyond which the result is flagged.
    ensemble : int
        Number of windows that ``edge_energy_sigma_norm`` is the spread of; 0 leaves it out (NaN).

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
    ``edge_energy_sigma``: the point noise s of norm is the scatter of the points in the pre-edge window about
    the line between their two neighbors (free of slope and curvature), taken as the same and independent for
    all points. With u the position of the crossing between its two points, g the slope of norm there, and the
    fits linear in the data::

        sigma = s/g sqrt((1-u)^2 + u^2 + V_pre + fraction^2 V_post)

    V_pre is the variance of the pre-edge line at the crossing less `fraction` times that at e0, V_post that
    of the post-edge polynomial at e0, both for unit noise. Correlated points (rebinned, interpolated,
    smoothed data) make it too small.

    ``edge_energy_sigma_norm``: standard deviation over windows that another person might have chosen, at the
    same e0: pre1 from 75 to 100 % of the one used, pre2 from 60 to 120 % of the one used (not within 15 eV of
    e0 unless it was), norm1 moved up by up to 20 % and norm2 down by up to 30 % of the post-edge window, the
    degree, if above 1, lowered by one in every second; points of a Halton sequence, so that any number covers
    the ranges evenly. NaN where fewer than three quarters of them give a value. It is common to spectra of
    one series normalized alike: a shift between two of them is known far better.

    What the number is made of: on long scans of Ni2O3 and Ni(OH)2 (post-edge window of 1080 eV, degree 2) it is 0.22
    and 0.32 eV, where 90 windows chosen by hand spread by 0.17 and 0.22 eV over the same range of 0.7 to 1.0 eV. At one
    degree the ensemble spreads by 0.05 to 0.19 eV; the two degrees lie 0.4 and 0.6 eV apart and have half of the
    members each, which makes a standard deviation as large as it can be. Whoever has reason to trust one degree
    gives nnorm and norm2 and quotes the smaller number.

    References
    ----------
    Fraction 0.8 as E. Mijit et al., "Local electronic properties of La3Ni2O7 under pressure" (2024); windows
    and normalization as in `normalize`.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> norm = np.clip((energy - 8340) / 10, 0, 1)
    >>> out = edge_energy(energy, norm, 8345.0, fraction=0.83)
    >>> round(float(out["edge_energy"]), 6)
    8348.3
    >>> OPERATOR.reasons[int(out["edge_energy_quality"])]
    'no edge_energy_sigma: fewer than 10 points in the pre-edge window'
    """
    _check(fraction, far, ensemble)
    rows = ragged.make_rows(energy, norm)
    numbers = {
        "e0": e0,
        "pre1": pre1,
        "pre2": pre2,
        "norm1": norm1,
        "norm2": norm2,
        "nnorm": nnorm,
        "nvict": nvict,
    }
    given = {name: ragged.per_spectrum(value, rows.leading, name) for name, value in numbers.items()}
    with np.errstate(all="ignore"):
        return _edge_energy_rows(rows, given, fraction, far, int(ensemble))


def _check(fraction: float, far: float, ensemble: int) -> None:
    if not 0 < fraction <= 1:
        raise CallError(f"fraction = {fraction} is not a fraction of the edge step. Give a number above 0, at most 1.")
    if not far > 0:
        raise CallError(f"far = {far} is not a distance. Give eV above 0.")
    if ensemble != int(ensemble) or not (ensemble == 0 or 4 <= ensemble <= 1000):
        raise CallError(f"ensemble = {ensemble} is not a number of windows. Give 4 to 1000, or 0 for none.")


def _edge_energy_rows(
    rows: ragged.Rows, given: dict[str, Floats], fraction: float, far: float, ensemble: int
) -> dict[str, Any]:
    total = len(rows.count)
    value, sigma, sigma_norm = (np.full(total, np.nan) for _ in range(3))
    used = np.zeros(total, dtype=np.int16)
    quality = np.where((rows.count < 2) | ~np.isfinite(given["e0"]), NOT_NORMALIZED, 0).astype(np.uint8)
    able = np.nonzero(quality == 0)[0]
    if able.size:
        pick: Any = slice(None) if able.size == total else able
        energy, hopeless = ragged.nudge(rows.energy[pick])
        energy, again = ragged.nudge(energy)
        norm, count = rows.signals[0][pick], rows.count[pick]
        part = {name: numbers[pick] for name, numbers in given.items()}
        left, found, several = find_crossing(energy, norm, count, part["e0"], fraction)
        low, step = at(norm, left), at(norm, left + 1) - at(norm, left)
        u = (fraction - low) / step
        width = at(energy, left + 1) - at(energy, left)
        crossing = at(energy, left) + u * width
        windows = _known_windows(part)
        noise = _sigma(energy, norm, count, part, windows, left, u, crossing, fraction)
        spread, windows_used = _sigma_norm(energy, norm, count, part, windows, left, fraction, ensemble)

        code = np.zeros(len(count), dtype=np.uint8)
        known = np.isfinite(noise)
        code[~known] = NO_SIGMA
        code[several] = np.where(known[several], SEVERAL, SEVERAL_NO_SIGMA)
        distant = np.abs(crossing - part["e0"]) > far
        code[distant] = np.where(known[distant], FAR, FAR_NO_SIGMA)
        code[~found] = NO_CROSSING
        code[hopeless | again] = TOO_CLOSE
        done = (code == 0) | (code >= FAR)
        quality[pick] = code
        for out, numbers in ((value, crossing), (sigma, noise), (sigma_norm, spread)):
            out[pick] = np.where(done, numbers, np.nan)
        used[pick] = np.where(done, windows_used, 0)
    results: tuple[NDArray[Any], ...] = (value, sigma, sigma_norm, used, quality)
    return {name: result.reshape(rows.leading) for name, result in zip(OPERATOR.outputs, results, strict=True)}


def find_crossing(energy: Floats, norm: Floats, count: Ints, e0: Floats, fraction: float) -> tuple[Ints, Bools, Bools]:
    """Return the index of the point before the rise through `fraction` next to e0; if there is one; if others precede.

    Rows as in `ragged.Rows`. Others count from the first point on.
    """
    column = np.arange(norm.shape[1] - 1)
    above = norm >= fraction
    up = above[:, 1:] & ~above[:, :-1] & (column < (count - 1)[:, None])
    near_e0 = ragged.nearest(energy, e0)
    after = column >= near_e0[:, None]
    up_after, up_before = up & after, up & ~after
    already = above[np.arange(len(norm)), near_e0]
    last_before = norm.shape[1] - 2 - up_before[:, ::-1].argmax(axis=1)
    index = np.where(already, last_before, up_after.argmax(axis=1))
    found = np.where(already, up_before.any(axis=1), up_after.any(axis=1))
    return np.where(found, index, 0), found, found & (up.argmax(axis=1) < index)


def _known_windows(part: dict[str, Floats]) -> Windows:
    """Return the windows as numbers everywhere; where they are not known, empty ones at e0."""
    known = np.isfinite(part["pre1"] + part["pre2"] + part["norm1"] + part["norm2"]) & (part["nnorm"] >= 0)
    ends = [np.where(known, part[name], 0.0) for name in ("pre1", "pre2", "norm1", "norm2")]
    return Windows(ends[0], ends[1], ends[2], ends[3], np.where(known, part["nnorm"], 0).astype(np.intp))


def _sigma(
    energy: Floats,
    norm: Floats,
    count: Ints,
    part: dict[str, Floats],
    windows: Windows,
    left: Ints,
    u: Floats,
    crossing: Floats,
    fraction: float,
) -> Floats:
    """Return the statistical standard uncertainty in eV; NaN where the pre-edge window is too short for the noise."""
    e0 = part["e0"]
    cut = slice_windows(energy, count, e0, windows)
    noise = _point_noise(energy, norm, cut.pre_start, cut.pre_stop)
    # The slope over three intervals: that of one is as noisy as the points themselves.
    before, behind = np.maximum(left - 1, 0), np.minimum(left + 2, count - 1)
    slope = (at(norm, behind) - at(norm, before)) / (at(energy, behind) - at(energy, before))
    baselines = Baselines(energy, norm, count, np.zeros(len(e0)))
    post_start = np.maximum(cut.post_start, 0)
    post, post_mean = baselines.leverage(post_start, cut.post_stop, cut.nnorm, e0)
    # A polynomial that contains the line extrapolates it to e0; a constant has it at its mean energy.
    reference = np.where(cut.nnorm > 0, e0, post_mean)
    pre = baselines.line_leverage(cut.pre_start, cut.pre_stop, ~cut.constant, crossing, reference, fraction)
    variance = (1 - u) ** 2 + u**2 + pre + fraction**2 * post
    return np.where(slope > 0, noise * np.sqrt(variance) / slope, np.nan)


def _point_noise(energy: Floats, norm: Floats, start: Ints, stop: Ints) -> Floats:
    """Estimate the standard deviation of a point of norm from distances to the line between its two neighbors."""
    inner = stop - start - 2
    able = inner >= NOISE_POINTS
    if not able.any():
        return np.full(len(energy), np.nan)
    begin, end = np.where(able, start, 0), np.where(able, stop, 3)
    first, last = int(begin.min()), int(end.max())
    x, y = energy[:, first:last], norm[:, first:last]
    weight = (x[:, 2:] - x[:, 1:-1]) / (x[:, 2:] - x[:, :-2])
    distance = y[:, 1:-1] - weight * y[:, :-2] - (1 - weight) * y[:, 2:]
    squares = distance**2 / (1 + weight**2 + (1 - weight) ** 2)
    index = ragged.segments(begin - first, end - first - 2, squares.shape[1])
    mean = ragged.reduce_segments(np.add, squares, index) / np.maximum(inner, 1)
    # A noise found from few points is uncertain itself: Student's factor, which 68 % of the intervals need.
    return np.where(able, np.sqrt(mean) * (1.0 + STUDENT / np.maximum(inner, 1)), np.nan)


def member_crossings(
    energy: ArrayLike,
    norm: ArrayLike,
    e0: ArrayLike,
    pre1: ArrayLike,
    pre2: ArrayLike,
    norm1: ArrayLike,
    norm2: ArrayLike,
    nnorm: ArrayLike,
    nvict: ArrayLike,
    *,
    fraction: float,
    ensemble: int,
) -> Floats:
    """Return the edge energy with every set of windows of the ensemble, in eV, shape (..., ensemble); NaN without one.

    Arguments as `edge_energy`. Members of one number stand for the same windows in every spectrum that has the
    same windows to begin with: differences between spectra are member by member.
    """
    rows = ragged.make_rows(energy, norm)
    given = {"e0": e0, "pre1": pre1, "pre2": pre2, "norm1": norm1, "norm2": norm2, "nnorm": nnorm, "nvict": nvict}
    numbers = {name: ragged.per_spectrum(value, rows.leading, name) for name, value in given.items()}
    out = np.full((len(rows.count), ensemble), np.nan)
    able = np.nonzero((rows.count >= 2) & np.isfinite(numbers["e0"]))[0]
    if able.size and ensemble:
        with np.errstate(all="ignore"):
            x, hopeless = ragged.nudge(rows.energy[able])
            x, again = ragged.nudge(x)
            y, count = rows.signals[0][able], rows.count[able]
            part = {name: value[able] for name, value in numbers.items()}
            left, found, _ = find_crossing(x, y, count, part["e0"], fraction)
            crossings = _members(x, y, count, part, _known_windows(part), left, fraction, ensemble)
            out[able] = np.where((found & ~hopeless & ~again)[:, None], crossings, np.nan)
    return out.reshape(*rows.leading, ensemble)


def _members(
    energy: Floats,
    norm: Floats,
    count: Ints,
    part: dict[str, Floats],
    windows: Windows,
    left: Ints,
    fraction: float,
    ensemble: int,
) -> Floats:
    baselines = Baselines(energy, norm, count, part["nvict"])
    lines, steps = baselines.edges(part["e0"], ensemble_windows(windows, ensemble))
    return baselines.crossings(lines, steps, left, fraction)


def _sigma_norm(
    energy: Floats,
    norm: Floats,
    count: Ints,
    part: dict[str, Floats],
    windows: Windows,
    left: Ints,
    fraction: float,
    ensemble: int,
) -> tuple[Floats, NDArray[np.intp]]:
    """Return the standard deviation of the crossing over the ensemble of windows, in eV, and how many gave one."""
    if ensemble == 0:
        return np.full(len(count), np.nan), np.zeros(len(count), dtype=np.intp)
    crossings = _members(energy, norm, count, part, windows, left, fraction, ensemble)
    good = np.isfinite(crossings)
    used = good.sum(axis=1)
    # One column after the other: the order of addition must not depend on the batch.
    mean, square = np.zeros(len(count)), np.zeros(len(count))
    shifted = np.where(good, crossings - at(energy, left)[:, None], 0.0)
    for member in range(ensemble):
        mean += shifted[:, member]
    mean /= used
    for member in range(ensemble):
        square += np.where(good[:, member], shifted[:, member] - mean, 0.0) ** 2
    enough = 4 * used >= 3 * ensemble
    return np.where(enough, np.sqrt(square / (used - 1)), np.nan), used


OPERATOR = Operator(
    name="edge_energy",
    version=2,
    func=edge_energy,
    inputs=("energy", "norm", "e0", "pre1", "pre2", "norm1", "norm2", "nnorm", "nvict"),
    outputs={
        "edge_energy": Output("eV", "energy where norm rises through the fraction next to e0"),
        "edge_energy_sigma": Output("eV", "its statistical standard uncertainty, from the noise below the edge"),
        "edge_energy_sigma_norm": Output("eV", "its standard deviation over an ensemble of normalization windows"),
        "edge_energy_windows": Output("1", "how many windows of the ensemble gave a value", integer=True),
        "edge_energy_quality": QUALITY,
    },
    summary="Energy where the normalized absorption first rises through a fraction (0.8) of the edge step.",
    source="fraction 0.8: E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xas",
    parameters={
        "fraction": "fraction of the edge step, above 0 and at most 1",
        "far": "distance from e0 in eV beyond which the result is flagged",
        "ensemble": "number of windows that edge_energy_sigma_norm is the spread of; 0: NaN, not computed",
    },
    reasons=REASONS,
)
