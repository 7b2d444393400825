"""Formation of a curve from the recorded channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Scan
from barospec.schemas.sheet import SIGNALS
from barospec.schemas.vocabulary import DATA_NAME

Curve = NDArray[np.float64]
Reporter = Callable[[Literal["warning", "note"], str], None]

# The channels that each signal needs. Recorded curves come first: the beamline chose them.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "mutrans": ("mutrans",),
    "mufluor": ("mufluor",),
    "mucalc": ("mucalc",),
    "normtrans": ("normtrans",),
    "normfluor": ("normfluor",),
    "transmission": ("i0", "itrans"),
    "fluorescence": ("i0", "ifluor"),
    "emission": ("iemission",),
    "murecorded": ("murecorded",),  # after signals with a known formula
    "murefer": ("murefer",),
    "reference": ("itrans", "irefer"),
}
# Chosen on request only: they are curves of the foil, not of the sample.
ON_REQUEST = ("murefer", "reference")


def choose_signal(channels: Mapping[str, Curve], technique: str, wanted: str | None) -> str:
    """Return the signal to form: the requested one, or the first that the channels allow.

    Raises InvalidData if the channels do not allow it.
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
    expected = "iemission" if technique == "xes" else "mu, i0 with itrans, or i0 with ifluor"
    raise InvalidData(
        f"no {technique} curve can be formed from the channels {', '.join(sorted(channels)) or '(none)'}; "
        f"expected {expected}. Name the channels in the run sheet (columns: or channels:) or write signal:."
    )


def only_reference(channels: Mapping[str, Curve]) -> bool:
    """Return True if only the curve of a reference can be formed: a foil's scan beside that of its sample.

    >>> only_reference({"murefer": np.ones(2)}), only_reference({"murefer": np.ones(2), "mutrans": np.ones(2)})
    (True, False)
    """
    able = [name for name, needs in NEEDS.items() if all(need in channels for need in needs)]
    return bool(able) and set(able) <= {*ON_REQUEST}


def form_signal(channels: Mapping[str, Curve], signal: str) -> Curve:
    """Return the curve, shape (n,); NaN where a logarithm or a ratio has no value.

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


def curves_of(scan: Scan, technique: str, signal: str, report: Reporter) -> tuple[Curve, dict[str, Curve]]:
    """Return energies of a scan, its curve under its name in the store, and the channels beside it.

    Parameters
    ----------
    scan : Scan
    technique, signal : str
        Technique of the scan and signal to form.
    report : callable
        ``report(severity, message)`` reports points without a value.

    Returns
    -------
    energy : ndarray, shape (n,)
    signals : dict of str to ndarray, each shape (n,)

    Raises
    ------
    InvalidData
        No point has a value.
    """
    curve = form_signal(scan.channels, signal)
    keep = np.isfinite(scan.energy)
    if not keep.any() or not np.isfinite(curve[keep]).any():
        raise InvalidData(
            f"the {signal} signal has no finite value in {len(curve)} points; the scan is empty or aborted."
        )
    lost = int(np.count_nonzero(~np.isfinite(curve)))
    if lost:
        report(
            "warning", f"{lost} of {len(curve)} points have no value (NaN or a non-positive intensity); kept as NaN."
        )
    signals = {DATA_NAME[technique]: np.ascontiguousarray(curve[keep], dtype=np.float64)}
    for name, channel in scan.channels.items():
        if name != signal and not (signal == "emission" and name == "iemission" and "i0" not in scan.channels):
            signals[name] = np.ascontiguousarray(channel[keep], dtype=np.float64)
    return np.ascontiguousarray(scan.energy[keep], dtype=np.float64), signals


def _ratio(above: Curve, below: Curve) -> Curve:
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _log_ratio(above: Curve, below: Curve) -> Curve:
    out = np.full(above.shape, np.nan)
    good = (above > 0) & (below > 0)
    np.log(np.divide(above, below, out=np.ones(above.shape), where=good), out=out, where=good)
    return out
