"""The absorption of the reference foil, formed from the intensities before and behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.batch import common_reasons, make_batch
from barospec.archive.operators.operator import QUALITY, Operator, Output

REASONS = common_reasons(1, "positive itrans and irefer")


def foil(energy: ArrayLike, itrans: ArrayLike, irefer: ArrayLike) -> dict[str, Any]:
    """Form the absorption of the foil behind the sample, ``murefer = ln(itrans / irefer)``.

    Parameters
    ----------
    energy : array_like, shape (..., n)
        In eV, any order, NaN padding allowed.
    itrans, irefer : array_like, shape (..., n)
        Intensity between sample and foil, and behind the foil.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...), per point (..., n).
        ``murefer`` is NaN where an intensity is not above 0. It has no sigma of its own: `align` takes the noise from
        the curve.

    Raises
    ------
    CallError
        For shapes that do not fit.

    References
    ----------
    Lambert-Beer law; channel names as in the XDI dictionary.

    Examples
    --------
    >>> import numpy as np
    >>> foil([8330.0, 8331.0], [100.0, 100.0], [100 / np.e, 50.0])["murefer"].round(3).tolist()
    [1.0, 0.693]
    """
    with np.errstate(all="ignore"):
        ratio = np.asarray(itrans, dtype=np.float64) / np.asarray(irefer, dtype=np.float64)
        positive = (np.asarray(itrans) > 0) & (np.asarray(irefer) > 0)
        batch = make_batch(energy, np.where(positive, np.log(ratio), np.nan), fewest=1)
        return batch.results(OPERATOR.outputs, {"murefer": batch.signals[0]}, len(REASONS))


OPERATOR = Operator(
    name="foil",
    version=1,
    func=foil,
    inputs=("energy", "itrans", "irefer"),
    outputs={
        "murefer": Output("1", "absorption of the reference foil", per_point=True),
        "foil_quality": QUALITY,
    },
    summary="Absorption of the reference foil from the intensities before and behind it.",
    source="Lambert-Beer law; channel names as in the XDI dictionary",
    technique="xas",
    reasons=REASONS,
)
