"""Uncertainties by doing it again: the whole chain over curves with other noise, references included.

What `propagated` sigmas linearize and omit (an automatic e0, the choice of a highest point) is in these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.archive.operators._kernels import ragged
from barospec.archive.operators._kernels.integrals import counting_variance, white_noise
from barospec.archive.operators._kernels.ragged import Floats
from barospec.archive.operators.chain.execute import Plan, bind, run
from barospec.archive.operators.chain.references import Reference
from barospec.schemas.errors import CallError, InvalidData

KINDS = ("propagated", "bootstrap", "counting", "repeats", "pooled_repeats")
MEANING = {
    "bootstrap": "standard deviation over {n} repetitions of the whole chain with noise as found from the curve",
    "counting": "standard deviation over {n} repetitions of the whole chain with counting noise",
}
REPLICAS = 64
SIGNALS = ("mu", "intensity", "murefer")


def check(kind: str, replicas: int) -> None:
    """Refuse what is no kind of uncertainty.

    Raises
    ------
    CallError
    """
    if kind not in KINDS:
        raise CallError(f'uncertainty = "{kind}" is not known. Give {", ".join(KINDS)}.')
    if replicas != int(replicas) or not 8 <= replicas <= 10_000:
        raise CallError(f"replicas = {replicas} is no number of repetitions. Give 8 to 10000.")


def noise_of(name: str, energy: ArrayLike, signal: ArrayLike, kind: str) -> Floats:
    """Estimate the standard deviation of every point of curves, shape of `signal`.

    Parameters
    ----------
    name : str
        ``mu``, ``murefer`` or ``intensity``.
    energy, signal : array_like, shape (rows, n)
    kind : {"bootstrap", "counting"}
        Found from the curve: one for all points of absorption, constant plus counting noise for emission; or the root of
        the counts.

    Raises
    ------
    InvalidData
        Counting noise of something that is not counts.

    Examples
    --------
    >>> counts = np.array([[0.0, 4.0, 100.0]])
    >>> noise_of("intensity", counts, counts, "counting").tolist()
    [[0.0, 2.0, 10.0]]
    """
    curves = np.asarray(signal, dtype=np.float64)
    if kind == "counting":
        finite = curves[np.isfinite(curves)]
        if name != "intensity" or (finite.size and (finite.min() < 0 or np.abs(finite - np.rint(finite)).max() > 1e-6)):
            raise InvalidData(
                f"{name} is not in counts, so its counting noise is not known. Say uncertainty=bootstrap, which takes "
                "the noise from the curve."
            )
        return np.sqrt(curves)
    rows = ragged.make_rows(energy, curves)
    x, y, count = rows.energy, rows.signals[0], rows.count
    with np.errstate(all="ignore"):
        moved, _ = ragged.nudge(x)
        if name == "intensity":
            sigma = np.sqrt(counting_variance(moved, y, count))
        else:
            sigma = np.broadcast_to(white_noise(moved, y, count)[:, None], y.shape).copy()
    return rows.restore(sigma, np.zeros(len(count), dtype=bool)).reshape(curves.shape)


def _again(curve: Floats, sigma: Floats, replicas: int) -> Floats:
    """Return the curve with other noise, (replicas, n); the same for the same curve, wherever it occurs."""
    real = np.flatnonzero(np.isfinite(curve) & np.isfinite(sigma))
    seed = hashlib.sha256(np.ascontiguousarray(curve[real]).tobytes()).digest()
    out = np.tile(curve, (replicas, 1))
    out[:, real] += np.random.default_rng(list(seed)).normal(size=(replicas, real.size)) * sigma[real]
    return out


def _replicas(arrays: Mapping[str, ArrayLike], kind: str, replicas: int) -> dict[str, Floats]:
    """Return (replicas, rows, n) for each signal."""
    energy = np.asarray(arrays["energy"], dtype=np.float64)
    out = {}
    for name in SIGNALS:
        if name in arrays:
            curves, axis = np.broadcast_arrays(np.asarray(arrays[name], dtype=np.float64), energy)
            curves, axis = np.atleast_2d(curves), np.atleast_2d(axis)
            sigma = noise_of(name, axis, curves, "bootstrap" if name == "murefer" else kind)
            pairs = zip(curves, sigma, strict=True)
            out[name] = np.stack([_again(curve, spread, replicas) for curve, spread in pairs], axis=1)
    return out


def run_again(
    ready: Plan,
    found: Mapping[str, Sequence[Reference]],
    arrays: Mapping[str, ArrayLike],
    kind: str,
    replicas: int = REPLICAS,
) -> dict[str, NDArray[Any]]:
    """Run a chain and find the sigmas of its numbers by repetition.

    Parameters
    ----------
    ready : Plan
        Without references bound.
    found : mapping of str to sequence of Reference
        References of each operator.
    arrays : mapping of str to array_like
        ``Plan.inputs``: (rows, n) or (n,).
    kind : {"bootstrap", "counting"}
    replicas : int

    Returns
    -------
    dict of str to ndarray
        As `chain.run`; every ``<name>_sigma`` per spectrum is the standard deviation of ``<name>`` over the repetitions,
        NaN where fewer than three quarters of them gave a value. ``_sigma_norm`` and curves stay what they are.

    Raises
    ------
    CallError, InvalidData
        As `check` and `noise_of`.
    """
    check(kind, replicas)
    bound = bind(ready, found)
    out = run(bound, arrays)
    spreads = [
        name for name, output in ready.outputs.items() if f"{name}_sigma" in ready.outputs and not output.per_point
    ]
    mine = _replicas(arrays, kind, replicas)
    theirs = {name: [_replicas(one.arrays, kind, replicas) for one in references] for name, references in found.items()}
    shape = {name: np.asarray(arrays[name]).shape for name in mine}
    values: dict[str, list[NDArray[Any]]] = {name: [] for name in spreads}
    for k in range(replicas):
        named = {
            name: [
                replace(one, arrays={**one.arrays, **{key: noisy[k] for key, noisy in noise.items()}})
                for one, noise in zip(references, theirs[name], strict=True)
            ]
            for name, references in found.items()
        }
        plan = bind(ready, named) if named else bound
        made = run(plan, {**arrays, **{key: noisy[k].reshape(shape[key]) for key, noisy in mine.items()}}, spreads)
        for name in spreads:
            values[name].append(made[name])
    for name in spreads:
        stack = np.stack(values[name])
        many = np.isfinite(stack).sum(axis=0)
        with np.errstate(all="ignore"):
            middle = np.where(many > 0, np.nansum(stack, axis=0) / many, np.nan)
            sigma = np.sqrt(np.nansum((stack - middle) ** 2, axis=0) / (many - 1))
        out[f"{name}_sigma"] = np.where((4 * many >= 3 * replicas) & np.isfinite(out[name]), sigma, np.nan)
    return out
