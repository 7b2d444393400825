"""Shift of the edge energy against a reference spectrum, both normalized with one set of windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators import edge_energy as _edge_energy
from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.ensemble import ENSEMBLE
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators.edge_energy import edge_energy, member_crossings
from barospec.archive.operators.normalize import normalize
from barospec.archive.operators.operator import QUALITY, Operator, Output, References
from barospec.schemas.errors import CallError

WINDOWS = ("pre1", "pre2", "norm1", "norm2")
REASONS = (
    "ok",
    "the reference has no edge energy",
    "cannot be normalized with the reference's windows (too few points, no step, or e0 outside the scan)",
    "no crossing: norm does not rise through the fraction next to the reference's e0",
    "suspect: the scan does not reach the ends of the reference's windows, so others were used",
    "suspect: the edge lies more than `far` from the reference's e0, or norm rises through more than once",
    "no edge_shift_sigma: too few points in the pre-edge window of spectrum or reference",
)
BAD_REFERENCE, NOT_NORMALIZED, NO_CROSSING, CLIPPED, FAR, NO_SIGMA = range(1, 7)
_CARE = (
    _edge_energy.FAR,
    _edge_energy.SEVERAL,
    _edge_energy.FAR_NO_SIGMA,
    _edge_energy.SEVERAL_NO_SIGMA,
)
SAME_WINDOW = 5.0
"""eV by which a window may end short of the reference's: grids differ by a point or two."""


def edge_shift(
    energy: ArrayLike,
    mu: ArrayLike,
    *,
    fraction: float = 0.8,
    pre1: float | None = None,
    pre2: float | None = None,
    norm1: float | None = None,
    norm2: float | None = None,
    nnorm: int | None = None,
    far: float = 10.0,
    ensemble: int = ENSEMBLE,
    reference_energy: ArrayLike | None = None,
    reference_mu: ArrayLike | None = None,
) -> dict[str, Any]:
    """Subtract the edge energy of a reference spectrum, with the reference's windows for both.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    mu : array_like, shape (..., n)
        Absorption as measured, any scale.
    fraction : float
        Of the edge step, above 0 and at most 1.
    pre1, pre2, norm1, norm2 : float, optional
        Window ends in eV relative to the e0 of the reference; by default what `normalize` chooses for it.
    nnorm : int, optional
        Degree of the post-edge polynomial; by default what `normalize` chooses for the reference.
    far : float
        Distance from the reference's e0 in eV beyond which the result is flagged.
    ensemble : int
        Number of sets of windows that ``edge_shift_sigma_norm`` is the spread of; 0 leaves it out (NaN).
    reference_energy, reference_mu : array_like, shape (m,)
        The reference spectrum (``reference``), as measured.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).
        ``edge_shift_sigma`` includes that of the reference.

    Raises
    ------
    CallError
        Without a reference, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    Spectrum and reference are normalized over the same absolute windows, the edge step is taken at the
    reference's e0 for both, and each edge energy is the first rise through `fraction` next to it (see
    `edge_energy`). ``edge_shift_sigma_norm`` is the standard deviation of the difference over an ensemble of
    windows that spectrum and reference share: what a choice of windows does to both cancels, which is why it is
    far smaller than the same number of an edge energy.

    References
    ----------
    Shift against the first spectrum of a series as in E. Mijit et al., "Local electronic properties of La3Ni2O7
    under pressure" (2024).

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8230.0, 8731.0)
    >>> def mu(e0):
    ...     return 0.3 + 2 * (np.arctan((energy - e0) / 2) / np.pi + 0.5)
    >>> out = edge_shift(energy, mu(8345.6), reference_energy=energy, reference_mu=mu(8345.0), nnorm=1)
    >>> round(float(out["edge_shift"]), 1)
    0.6
    """
    if reference_energy is None or reference_mu is None:
        raise CallError(
            'edge_shift needs a reference: a query for the spectrum that shifts count from, such as --with reference="..."'
        )
    # Wrong shapes are refused before anything else is looked at.
    rows = ragged.make_rows(energy, mu)
    asked: dict[str, Any] = {"pre1": pre1, "pre2": pre2, "norm1": norm1, "norm2": norm2}
    base = normalize(np.ravel(reference_energy), np.ravel(reference_mu), nnorm=nnorm, **asked)
    options = {"fraction": fraction, "far": far}
    origin = _edge(np.ravel(reference_energy), base, options, ensemble)
    known = bool(np.isfinite(origin["value"]))
    windows = {name: float(base[name]) if known else 0.0 for name in WINDOWS}
    shared: dict[str, Any] = {**windows, "norm2": max(windows["norm2"], 1.0), "nnorm": max(int(base["nnorm"]), 0)}
    own = normalize(energy, mu, e0=float(base["e0"]) if known else 0.0, **shared)
    here = _edge(energy, own, options, ensemble)

    quality = np.zeros(rows.leading, dtype=np.uint8)

    def mark(where: Any, code: int) -> None:
        quality[...] = np.where(np.asarray(where) & (quality == 0), code, quality)

    mark(not known, BAD_REFERENCE)
    mark(~np.isfinite(own["e0"]), NOT_NORMALIZED)
    mark(~np.isfinite(here["value"]), NO_CROSSING)
    short = np.zeros(rows.leading, dtype=bool)
    for name in WINDOWS:
        short |= np.abs(own[name] - windows[name]) > SAME_WINDOW
    mark(short, CLIPPED)
    mark(here["care"], FAR)
    sigma = np.hypot(here["sigma"], origin["sigma"])
    mark(~np.isfinite(sigma), NO_SIGMA)
    done = (quality == 0) | (quality >= CLIPPED)
    values = {
        "edge_shift": here["value"] - origin["value"],
        "edge_shift_sigma": sigma,
        "edge_shift_sigma_norm": _spread(here["members"], origin["members"], ensemble),
    }
    out: dict[str, Any] = {name: np.where(done, value, np.nan) for name, value in values.items()}
    out["edge_shift_quality"] = quality
    return out


def _edge(energy: ArrayLike, base: dict[str, Any], options: dict[str, float], ensemble: int) -> dict[str, Any]:
    """Return the edge energy, its sigma, whether it is suspect, and the crossings of the ensemble."""
    settings = [base[name] for name in ("e0", *WINDOWS, "nnorm", "nvict")]
    edge = edge_energy(energy, base["norm"], *settings, ensemble=0, **options)
    code = edge["edge_energy_quality"]
    members = member_crossings(energy, base["norm"], *settings, fraction=options["fraction"], ensemble=ensemble)
    return {
        "value": edge["edge_energy"],
        "sigma": edge["edge_energy_sigma"],
        "care": np.isin(code, _CARE),
        "members": members,
    }


def _spread(here: Floats, origin: Floats, ensemble: int) -> Floats:
    """Return the standard deviation over the members of the difference; NaN where fewer than three quarters have one."""
    if ensemble == 0:
        return np.full(here.shape[:-1], np.nan)
    with np.errstate(all="ignore"):
        difference = here - origin
        good = np.isfinite(difference)
        used = good.sum(axis=-1)
        # One column after the other: the order of addition must not depend on the batch.
        mean, square = np.zeros(used.shape), np.zeros(used.shape)
        for k in range(ensemble):
            mean += np.where(good[..., k], difference[..., k], 0.0)
        mean /= used
        for k in range(ensemble):
            square += np.where(good[..., k], difference[..., k] - mean, 0.0) ** 2
        return np.where(4 * used >= 3 * ensemble, np.sqrt(square / (used - 1)), np.nan)


OPERATOR = Operator(
    name="edge_shift",
    version=1,
    func=edge_shift,
    inputs=("energy", "mu"),
    outputs={
        "edge_shift": Output("eV", "edge energy less that of the reference, same windows for both"),
        "edge_shift_sigma": Output("eV", "its statistical standard uncertainty"),
        "edge_shift_sigma_norm": Output("eV", "its standard deviation over an ensemble of shared windows"),
        "edge_shift_quality": QUALITY,
    },
    summary="Shift of the edge energy against a reference, both normalized with one set of windows.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xas",
    parameters={
        "fraction": "fraction of the edge step, above 0 and at most 1",
        "pre1": "lower end of the pre-edge window, eV relative to the reference's e0; default as normalize",
        "pre2": "upper end of the pre-edge window, eV relative to the reference's e0; default as normalize",
        "norm1": "lower end of the post-edge window, eV relative to the reference's e0; default as normalize",
        "norm2": "upper end of the post-edge window, eV relative to the reference's e0; default as normalize",
        "nnorm": "degree of the post-edge polynomial; default as normalize for the reference",
        "far": "distance from the reference's e0 in eV beyond which the result is flagged",
        "ensemble": "number of sets of windows that edge_shift_sigma_norm is the spread of; 0: NaN",
    },
    reasons=REASONS,
    references=References(
        {"reference_energy": "energy", "reference_mu": "mu"}, "spectrum that the shift is counted from"
    ),
    example={"pre1": -150.0, "norm2": 350.0},
)
