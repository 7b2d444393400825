"""How a curve is formed from the channels that were recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.errors import InvalidData
from barospec.schemas.sheet import SIGNALS

Curve = NDArray[np.float64]

# The channels that each way needs. Recorded curves come first: they are what the beamline decided.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "mutrans": ("mutrans",),
    "mufluor": ("mufluor",),
    "mucalc": ("mucalc",),
    "normtrans": ("normtrans",),
    "normfluor": ("normfluor",),
    "transmission": ("i0", "itrans"),
    "fluorescence": ("i0", "ifluor"),
    "emission": ("iemission",),
    "murefer": ("murefer",),
    "reference": ("itrans", "irefer"),
}
# Never chosen unasked: they are curves of the foil, not of the sample.
ON_REQUEST = ("murefer", "reference")


def choose_signal(channels: Mapping[str, Curve], technique: str, wanted: str | None) -> str:
    """The way to form the curve: the one asked for, or the first that the channels allow.

    Raises InvalidData when the channels do not allow it.
    """
    able = [name for name, needs in NEEDS.items() if all(need in channels for need in needs)]
    if wanted is not None:
        if wanted not in able:
            lacking = [need for need in NEEDS[wanted] if need not in channels]
            raise InvalidData(
                f"signal {wanted} ({SIGNALS[wanted]}) needs {' and '.join(lacking)}, which the file does not have. "
                f"It has {', '.join(sorted(channels)) or 'none'}; possible: {', '.join(able) or 'none'}."
            )
        return wanted
    for name in able:
        if name not in ON_REQUEST and (name == "emission") == (technique == "xes"):
            return name
    expected = "iemission" if technique == "xes" else "mutrans, i0 with itrans, or i0 with ifluor"
    raise InvalidData(
        f"no {technique} curve can be formed from the channels {', '.join(sorted(channels)) or '(none)'}; "
        f"expected {expected}. Name the channels in the run sheet (columns: or channels:) or say signal:."
    )


def form_signal(channels: Mapping[str, Curve], signal: str) -> Curve:
    """The curve, shape (n,); NaN where a logarithm or a ratio has no value.

    >>> form_signal({"i0": np.array([1.0, 2.0]), "itrans": np.array([1.0, 0.0])}, "transmission")
    array([ 0., nan])
    """
    if signal == "transmission":
        return _log_ratio(channels["i0"], channels["itrans"])
    if signal == "reference":
        return _log_ratio(channels["itrans"], channels["irefer"])
    if signal == "fluorescence":
        return _ratio(channels["ifluor"], channels["i0"])
    if signal == "emission":
        return _ratio(channels["iemission"], channels["i0"]) if "i0" in channels else channels["iemission"]
    return channels[NEEDS[signal][0]]


def _ratio(above: Curve, below: Curve) -> Curve:
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _log_ratio(above: Curve, below: Curve) -> Curve:
    out = np.full(above.shape, np.nan)
    good = (above > 0) & (below > 0)
    np.log(np.divide(above, below, out=np.ones(above.shape), where=good), out=out, where=good)
    return out
