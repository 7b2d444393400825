"""Energies aligned on the reference foil that was measured with each spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels import e0_search
from barospec.archive.operators._kernels.batch import Batch, common_reasons, make_batch
from barospec.archive.operators._kernels.competing_edges import EQUAL, rival
from barospec.archive.operators._kernels.integrals import white_noise
from barospec.archive.operators._kernels.ragged import Bools, Floats
from barospec.archive.operators.find_e0 import inflection
from barospec.archive.operators.operator import QUALITY, Operator, Output
from barospec.schemas.errors import CallError

REASONS = (
    *common_reasons(e0_search.FEWEST, "the foil's absorption"),
    "no edge of the foil found: no point inside the scan is steep together with both its neighbors",
    "suspect: the derivative has no parabola next to the foil's e0, the point of the scan was taken",
    "suspect: the derivative has two maxima that are nearly as high, and the lower in energy was taken although the "
    "other one (foil_e0_other) is steeper or nearer to `to`",
)
NO_EDGE, GRID_POINT, TWO_MAXIMA = 3, 4, 5


def align(
    energy: ArrayLike, murefer: ArrayLike, *, to: float | None = None, half: float = 2.0, equal: float = EQUAL
) -> dict[str, Any]:
    """Shift each spectrum's energies so that the edge of its own foil lies at one energy.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    murefer : array_like, shape (..., n)
        Absorption of the foil, measured with the spectrum.
    to : float
        Where the foil's e0 belongs, in eV. There is no default: Ni metal is 8333 in common tables and 8331.5 in
        others, and two series are comparable only when both use one.
    half : float
        Half width in eV of the cubic fitted around the foil's inflection point.
    equal : float
        Share of the steepest slope from which another maximum of the derivative, 5 to 30 eV away, counts as well. A large
        one, such as 9, takes the highest maximum of the derivative in any case.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        ``aligned_energy`` replaces ``energy`` in the rest of the chain.

    Raises
    ------
    CallError
        Without `to`, for parameters that no data could make right, or shapes that do not fit.

    Notes
    -----
    The foil's e0 is its inflection point (maximum of the first derivative) as Larch finds it, refined by the parabola
    that the derivative follows within `half` of it; the point itself where there is no such parabola (flagged,
    without a sigma). Recorded energies are not changed; the shift is a result, and aligned energies exist inside the
    chain.

    The derivative of some metals has two maxima that are nearly as high: those of nickel lie 12 eV apart, the second at
    0.8 to 1 of the first, and noise decides which is the steeper. Tabulated edge energies of foils are those of the first
    inflection, so of two maxima the lower in energy is taken: where `to` lies does not decide, as a scan may be off by half
    their distance. The other is reported in ``foil_e0_other``, and flagged where it is the steeper one or lies nearer to `to`.
    Slopes are compared over 1 eV on either side; the derivative has to fall to 0.9 of the lower one between them.

    References
    ----------
    Inflection point: xraylarch 2026.3.1, ``find_e0``. First inflection: S. Kraft, J. Stuempel, P. Becker, U. Kuetgens, Rev.
    Sci. Instrum. 67, 681 (1996), doi:10.1063/1.1146657.

    Examples
    --------
    >>> import numpy as np
    >>> energy = np.arange(8300.0, 8400.0, 0.5)
    >>> out = align(energy, np.arctan((energy - 8331.7) / 2), to=8333.0)
    >>> round(float(out["align_shift"]), 1)
    1.3
    """
    if to is None or not np.isfinite(to):
        raise CallError(
            "align needs to, the energy in eV at which the foil's e0 belongs, such as to=8333 for Ni metal."
        )
    if not half > 0:
        raise CallError(f"half = {half} is not a width. Give eV above 0.")
    if not equal > 0:
        raise CallError(
            f"equal = {equal} is no share of a slope. Give 0.8, or 9 for the highest maximum of the derivative in any case."
        )
    with np.errstate(all="ignore"):
        batch = make_batch(energy, murefer, murefer, fewest=e0_search.FEWEST)
        e0, sigma, other, steeper = _foil_e0(batch, half, equal)
        batch.fail(np.isfinite(other) & (steeper | (np.abs(other - to) < np.abs(e0 - to))), TWO_MAXIMA)
        shift = to - e0
        x = np.where(np.isfinite(batch.energy), batch.energy, np.nan)
        values = {
            "aligned_energy": x + shift[:, None],
            "align_shift": shift,
            "align_shift_sigma": sigma,
            "foil_e0": e0,
            "foil_e0_other": other,
        }
        return batch.results(OPERATOR.outputs, values, GRID_POINT)


def _foil_e0(batch: Batch, half: float, equal: float) -> tuple[Floats, Floats, Floats, Bools]:
    """Find the first inflection and its sigma, another maximum of the derivative, and whether that one is the steeper."""
    e0 = np.full(len(batch.count), np.nan)
    good = np.nonzero(batch.code == 0)[0]
    if good.size:
        found, is_one = e0_search.find_e0(batch.energy[good], batch.signals[0][good], batch.count[good])
        e0[good] = np.where(is_one, found, np.nan)
    batch.fail(~np.isfinite(e0), NO_EDGE)
    e0 = np.where(np.isfinite(e0), e0, batch.energy[:, 0])
    noise = white_noise(batch.energy, batch.signals[0], batch.count)
    second = rival(batch.energy, batch.signals[0], batch.count, e0, noise, equal)
    two = second.near
    # Noise alone is no reason to leave the highest maximum: the other one has to be as high by its share.
    steeper = two & (second.energy < e0) & (second.ratio >= equal)
    other = np.where(two, np.where(steeper, e0, second.energy), np.nan)
    e0 = np.where(steeper, second.energy, e0)
    batch.numbers["e0"] = e0
    refined, sigma = inflection(batch, half, noise)
    batch.fail(~np.isfinite(refined), GRID_POINT)
    return np.where(np.isfinite(refined), refined, e0), sigma, other, steeper


OPERATOR = Operator(
    name="align",
    version=2,
    func=align,
    inputs=("energy", "murefer"),
    outputs={
        "align_shift": Output("eV", "added to the recorded energies"),
        "align_shift_sigma": Output("eV", "its statistical standard uncertainty"),
        "foil_e0": Output("eV", "e0 of the foil on the recorded energies"),
        "foil_e0_other": Output(
            "eV", "another maximum of its derivative, nearly as high; a grid point, without a sigma", rare=True
        ),
        "aligned_energy": Output("eV", "energies on which the foil's e0 is where it belongs", per_point=True),
        "align_quality": QUALITY,
    },
    summary="Shift energies so that the reference foil measured with each spectrum has its e0 at one energy.",
    source=(
        "inflection point: xraylarch 2026.3.1, find_e0, refined by a parabola; first of two inflections as S. Kraft et al., "
        "Rev. Sci. Instrum. 67, 681 (1996), doi:10.1063/1.1146657"
    ),
    technique="xas",
    parameters={
        "to": "energy in eV at which the foil's e0 belongs (Ni metal: 8333 or 8331.5, by convention)",
        "half": "half width in eV of the cubic fitted around the foil's inflection point",
        "equal": "share of the steepest slope from which another maximum of the derivative counts as well",
    },
    reasons=REASONS,
    replaces={"energy": "aligned_energy"},
    example={"to": 8333.0},
)
