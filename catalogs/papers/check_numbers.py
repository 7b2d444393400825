"""Recompute every derived value of a bundle from its own arrays, and compare it with the stored one.

    python check_numbers.py [FOLDER]

It needs numpy and zarr only. The formulas are the operators' own source, unchanged, in ``software/`` beside this file.
If scipy is not installed, numpy and the standard library replace the few of its functions that they use.
Values agree if they differ by less than 1e-9 of themselves (or 1e-12), the effect of another FFT or another order of
additions, or by less than a millionth of their own standard uncertainty (an uncertainty, of itself), the effect of the
stopping point of an iterative fit. Exit code 0: all agree; 1: some do not; 2: not a bundle.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

RELATIVE, ABSOLUTE, OF_SIGMA = 1e-9, 1e-12, 1e-6
ROWS, VALUES = 2048, 1 << 22  # at a time: 32 MB of each array
MOST_GATHERED = 1 << 25
# (folder of a group within data/, array, first row, row after the last) -> values
Read = Callable[[str, str, int, int], NDArray[Any]]


class Spectra:
    """The groups of a bundle, read through a callable, with an index from spectrum_id to row.

    Parameters
    ----------
    read : callable
        See `Read`.
    groups : mapping of str to (int, int, list of str)
        Folder -> number of spectra, points of the longest, names of arrays; the selection's groups before the inputs.
    """

    def __init__(self, read: Read, groups: Mapping[str, tuple[int, int, Sequence[str]]]) -> None:
        self.read = read
        self.groups = groups
        self.place: dict[tuple[str, str], tuple[str, int]] = {}
        for group, (count, _, _) in groups.items():
            for row, identifier in enumerate(read(group, "spectrum_id", 0, count)):
                self.place.setdefault((kind_of(group), str(identifier)), (group, row))

    def has(self, group: str, name: str) -> bool:
        """Return True if a group has an array."""
        return name in self.groups[group][2]

    def block(self, group: str, names: Sequence[str], start: int, stop: int) -> dict[str, NDArray[np.float64]]:
        """Read arrays of some rows, energies with the stored ``energy_shift`` added; NaN for an array the group lacks."""
        found = {
            name: np.asarray(self.read(group, name, start, stop), dtype=np.float64)
            for name in names
            if self.has(group, name)
        }
        if self.has(group, "energy_shift"):
            shift = np.asarray(self.read(group, "energy_shift", start, stop), dtype=np.float64)
            found["energy"] = found["energy"] + np.where(np.isnan(shift), 0.0, shift)[:, None]
        for name in names:
            found.setdefault(name, np.full(found["energy"].shape, np.nan))
        return found

    def gather(self, kind: str, identifiers: Sequence[str], names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Read arrays of spectra by their ids, in that order, padded with NaN to one length."""
        rows = []
        for identifier in identifiers:
            if (kind, identifier) not in self.place:
                raise KeyError(f"spectrum {identifier} is not in the bundle, but a derived value depends on it")
            group, row = self.place[kind, identifier]
            if len(identifiers) * self.groups[group][1] > MOST_GATHERED:
                raise ValueError(
                    f"{len(identifiers)} spectra of {self.groups[group][1]} points are too many to compare with"
                )
            rows.append(self.block(group, names, row, row + 1))
        width = max(row["energy"].shape[1] for row in rows)
        padded = {
            name: [np.pad(row[name], ((0, 0), (0, width - row[name].shape[1])), constant_values=np.nan) for row in rows]
            for name in names
        }
        return {name: np.concatenate(parts) for name, parts in padded.items()}


def kind_of(group: str) -> str:
    """Return technique and edge of a group, by the name of its folder.

    >>> kind_of("inputs/xas-Ni-K.zarr")
    'xas-Ni-K'
    """
    return group.rpartition("/")[2].removesuffix(".zarr")


def prepared(spectra: Spectra, derived: Mapping[str, Any]) -> Any:
    """Return the plan of a derived set with its references bound: operators, all parameters, as the bundle states them."""
    from barospec.archive.operators.chain.execute import Reference, bind, prepare
    from barospec.archive.operators.registry import find_operator

    hidden = {
        f"{name}.{operator.references.name}"
        for name in derived["parameters"]
        if (operator := find_operator(name)).references is not None
    }
    stated = {
        f"{operator}.{name}": value
        for operator, parameters in derived["parameters"].items()
        for name, value in parameters.items()
        if f"{operator}.{name}" not in hidden
    }
    plan = prepare([(name, {}) for name in derived["steps"]], derived["available"], stated)
    references = {
        operator: [
            Reference(
                spectra.gather(derived["kind"], one["spectrum_id"], derived["available"]),
                str(one["label"]),
                {"query": one["query"]},
            )
            for one in named
        ]
        for operator, named in derived["references"].items()
    }
    return bind(plan, references)


def recompute(spectra: Spectra, derived: Mapping[str, Any]) -> Iterator[tuple[int, int, dict[str, NDArray[Any]]]]:
    """Yield the values of a derived set block by block: first row, row after the last, output -> values."""
    from barospec.archive.operators.chain.execute import run

    plan, wanted = prepared(spectra, derived), list(derived["outputs"])
    group, identifiers = derived.get("group"), derived.get("spectrum_id")
    count = spectra.groups[group][0] if group else len(identifiers or ())
    kind = derived["kind"]
    width = max((points for path, (_, points, _) in spectra.groups.items() if kind_of(path) == kind), default=1)
    rows = max(1, min(ROWS, VALUES // max(width, 1)))
    for start in range(0, count, rows):
        stop = min(count, start + rows)
        if group:
            arrays = spectra.block(group, derived["available"], start, stop)
        else:
            arrays = spectra.gather(derived["kind"], (identifiers or ())[start:stop], derived["available"])
        yield start, stop, run(plan, arrays, wanted)


def differing(found: NDArray[Any], stated: NDArray[Any], sigma: NDArray[Any] | float = 0.0) -> NDArray[np.bool_]:
    """Return True where two arrays of values with a standard uncertainty disagree; NaN agrees with NaN only.

    >>> differing(np.array([2.0, 2.0]), np.array([2.00000001, 2.00000001]), np.array([0.1, np.nan])).tolist()
    [False, True]
    """
    a, b = np.asarray(found, dtype=np.float64), np.asarray(stated, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        slack = OF_SIGMA * np.nan_to_num(np.abs(sigma), posinf=0.0)
        near = np.abs(a - b) <= ABSOLUTE + slack + RELATIVE * np.maximum(np.abs(a), np.abs(b))
    wrong: NDArray[np.bool_] = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
    return wrong


def statistic(
    kind: str, values: NDArray[Any], sigmas: NDArray[Any], along: NDArray[Any], others: NDArray[Any]
) -> tuple[float, float]:
    """Return one number and its standard uncertainty from the values of several spectra.

    Parameters
    ----------
    kind : str
        ``mean``; ``difference``, the mean less that of `others`; ``slope``, of a straight line along a condition.
    values, sigmas, along : array, shape (n,)
        Values, their uncertainties (NaN where unknown), and the condition.
    others : array, shape (m,)
        Values of the spectra to compare with.

    Returns
    -------
    value, sigma : float
        The uncertainty is from the scatter of the values; of a single value, its own. NaN if unknown.

    Examples
    --------
    >>> number, sigma = statistic("mean", np.array([1.0, 3.0]), np.array([0.1, 0.1]), np.zeros(2), np.zeros(0))
    >>> round(number, 3), round(sigma, 3)
    (2.0, 1.0)
    """
    good = np.isfinite(values) & (np.isfinite(along) if kind == "slope" else True)
    number, error = _mean(values[good], sigmas[good])
    if kind == "mean":
        return number, error
    if kind == "difference":
        base, spread = _mean(others[np.isfinite(others)], np.full(int(np.isfinite(others).sum()), np.nan))
        return number - base, math.hypot(error, spread if math.isfinite(spread) else 0.0)
    if kind != "slope":
        raise ValueError(f"{kind} is not a statistic; choose mean, difference or slope")
    x, y = along[good], values[good]
    if len(x) < 2 or np.ptp(x) == 0:
        return math.nan, math.nan
    center = x - x.mean()
    slope = float((center * y).sum() / (center**2).sum())
    rest = y - y.mean() - slope * center
    free = len(x) - 2
    return slope, float(np.sqrt((rest**2).sum() / free / (center**2).sum())) if free else math.nan


def _mean(values: NDArray[Any], sigmas: NDArray[Any]) -> tuple[float, float]:
    if not len(values):
        return math.nan, math.nan
    if len(values) == 1:
        return float(values[0]), float(sigmas[0])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def check(spectra: Spectra, bundle: Mapping[str, Any], numbers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Compare all derived values and all numbers of the paper; yield a line for each, with ``DIFFERS`` where they disagree."""
    for derived in bundle["derived"]:
        wrong: dict[str, int] = dict.fromkeys(derived["outputs"], 0)
        count = 0
        for start, stop, found in recompute(spectra, derived):
            for name, values in found.items():
                stated = spectra.read(derived["group"], name, start, stop)
                own, nothing = f"{name.removesuffix('_sigma')}_sigma", np.zeros(stated.shape)
                spread = (
                    spectra.read(derived["group"], own, start, stop) if spectra.has(derived["group"], own) else nothing
                )
                slack = spread if spread.shape == stated.shape else nothing
                wrong[name] += int(differing(values, stated, slack).reshape(len(values), -1).any(axis=1).sum())
            count = stop
        for name, bad in wrong.items():
            verdict = f"DIFFERS for {bad} of {count}" if bad else f"agrees for {count}"
            yield f"{derived['group']}: {name} {verdict} spectra"
    for number in numbers:
        value, sigma = number_of(spectra, number)
        stated = number["computed"]
        pair = np.array([math.nan if item is None else item for item in (stated["value"], stated["sigma"])])
        bad = bool(differing(np.array([value, sigma]), pair, pair[1]).any())
        yield f"paper: {number['id']} {'DIFFERS' if bad else 'agrees'} ({value:.6g})"


def number_of(spectra: Spectra, number: Mapping[str, Any]) -> tuple[float, float]:
    """Compute a number of the paper from the arrays: its spectra through the operator, then the statistic."""

    def values_of(ids: Sequence[str]) -> dict[str, NDArray[Any]]:
        blocks = [found for _, _, found in recompute(spectra, {**number["derived"], "spectrum_id": ids})]
        return {name: np.concatenate([block[name] for block in blocks]) for name in number["derived"]["outputs"]}

    own, name = values_of(number["spectrum_id"]), number["output"]
    sigmas = own.get(f"{name}_sigma", np.full(len(own[name]), np.nan))
    others = values_of(number["compared_with"])[name] if number["compared_with"] else np.zeros(0)
    along = np.array([math.nan if x is None else x for x in number["along"]], dtype=np.float64)
    return statistic(number["statistic"], own[name], sigmas, along, others)


def _stand_in_for_scipy() -> bool:
    """Replace the scipy functions that the operators use by numpy and the standard library, if scipy is not installed."""
    try:
        import scipy.fft
        import scipy.special  # noqa: F401
    except ImportError:
        from statistics import NormalDist

        def next_fast_len(target: int, real: bool = False) -> int:
            while True:
                rest = target
                for prime in (2, 3, 5):
                    while rest % prime == 0:
                        rest //= prime
                if rest == 1:
                    return target
                target += 1

        def quantile(p: float) -> float:
            return NormalDist().inv_cdf(p) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)

        top, fft, special = ModuleType("scipy"), ModuleType("scipy.fft"), ModuleType("scipy.special")
        vars(fft).update(rfft=np.fft.rfft, irfft=np.fft.irfft, next_fast_len=next_fast_len)
        vars(special).update(
            erf=np.vectorize(math.erf, otypes=[float]),
            ndtr=np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[float]),
            ndtri=np.vectorize(quantile, otypes=[float]),
        )
        vars(top).update(fft=fft, special=special)
        sys.modules.update({"scipy": top, "scipy.fft": fft, "scipy.special": special})
        return True
    return False


def main(folder: Path) -> int:
    """Check the bundle in `folder`, print the result, and return the exit code."""
    import zarr

    described = folder / "data" / "bundle.json"
    if not described.exists():
        print(f"{folder} is not a bundle: it has no data/bundle.json.", file=sys.stderr)
        return 2
    if _stand_in_for_scipy():
        print("scipy is not installed: using numpy's FFT and the error functions of the standard library.")
    sys.path.insert(0, str(folder / "software"))
    bundle = json.loads(described.read_text(encoding="utf-8"))
    paper = folder / "data" / "paper" / "numbers.json"
    numbers = json.loads(paper.read_text(encoding="utf-8")) if paper.exists() else []
    opened = {
        group["path"]: zarr.open_group(str(folder / "data" / group["path"]), mode="r") for group in bundle["groups"]
    }

    def read(group: str, name: str, start: int, stop: int) -> NDArray[Any]:
        values: Any = opened[group][name]
        return np.asarray(values[start:stop])

    groups = {path: (*group["energy"].shape, list(group)) for path, group in opened.items()}  # type: ignore[union-attr]
    lines = list(check(Spectra(read, groups), bundle, numbers))
    print("\n".join(lines) or "The bundle has no derived values.")
    bad = sum("DIFFERS" in line for line in lines)
    print(f"{len(lines) - bad} of {len(lines)} agree." if lines else "Nothing to recompute.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent))
