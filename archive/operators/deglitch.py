"""Points taken out by name: glitches that a person has seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

REASONS = (*common_reasons(1, "mu"), "no points left")
NOTHING_LEFT = 3


def deglitch(
    energy: ArrayLike, mu: ArrayLike, *, at: float | str | Sequence[float] | None = None, width: float = 0.5
) -> dict[str, Any]:
    """Leave out the points near given energies. Nothing is detected and nothing is interpolated.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    mu : array_like, shape (..., n)
        Absorption.
    at : float, sequence of float, or text
        Energies in eV, absolute; text holds several, such as ``"8350.2 8361"``.
    width : float
        Points within this of such an energy are excluded, in eV.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        ``deglitched_mu`` replaces ``mu`` in the rest of the chain; NaN at the excluded points. There is no sigma: the other
        points are as measured.

    Raises
    ------
    CallError
        Without energies, for what is not a number, or shapes that do not fit.

    References
    ----------
    None: what is excluded, and where, is in the parameters.

    Examples
    --------
    >>> out = deglitch([8340.0, 8341.0, 8342.0], [0.1, 9.9, 0.2], at=8341.2)
    >>> out["deglitched_mu"].tolist(), int(out["deglitched_points"])
    ([0.1, nan, 0.2], 1)
    """
    places = _energies(at)
    if not width > 0:
        raise CallError(f"width = {width} is not a distance. Give eV above 0.")
    with np.errstate(all="ignore"):
        batch = make_batch(energy, mu, fewest=1)
        x, y, count = batch.energy, batch.signals[0], batch.count
        out = np.zeros(x.shape, dtype=bool)
        for place in places:
            out |= np.abs(x - place) <= width + 1e-9
        left_out = np.count_nonzero(out, axis=1)
        batch.fail(left_out >= count, NOTHING_LEFT)
        values = {"deglitched_mu": np.where(out, np.nan, y), "deglitched_points": left_out}
        return batch.results(OPERATOR.outputs, values, len(REASONS))


def _energies(at: float | str | Sequence[float] | None) -> list[float]:
    words = [word for word in re.split(r"[\s,;]+", at) if word] if isinstance(at, str) else at
    try:
        found = [float(value) for value in np.atleast_1d(np.asarray(words, dtype=object))]
    except (TypeError, ValueError):
        found = []
    if not found or not np.isfinite(found).all():
        raise CallError(f'deglitch needs at, the energies in eV, such as at="8350.2 8361"; it got {at!r}.')
    return found


OPERATOR = Operator(
    name="deglitch",
    version=1,
    func=deglitch,
    inputs=("energy", "mu"),
    outputs={
        "deglitched_points": Output("1", "how many points were excluded", integer=True),
        "deglitched_mu": Output("unit of mu", "mu without the points near the given energies", per_point=True),
        "deglitch_quality": QUALITY,
    },
    summary="Leave out the points near energies that a person names; nothing is detected or interpolated.",
    source="none: what is excluded is in the parameters",
    technique="xas",
    parameters={
        "at": "energies in eV, absolute, one or several",
        "width": "distance within which points are excluded, eV",
    },
    reasons=REASONS,
    replaces={"mu": "deglitched_mu"},
    example={"at": 8390.0},
)
