"""Compute the reference numbers of ``larch_reference.npz`` with Larch, in an environment of its own.

    python -m venv larch && larch/bin/pip install xraylarch==2026.3.1
    larch/bin/python tests/reference/make_larch_reference.py

Of the real files only results are kept, at every seventh point; the data stay where they are.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path = [place for place in sys.path if place]

import larch  # noqa: E402
from curves import real_curves, synthetic_curves  # noqa: E402
from larch.xafs import pre_edge  # noqa: E402

EVERY = 7
NUMBERS = ("e0", "edge_step", "pre1", "pre2", "norm1", "norm2", "nnorm", "nvict")
SETTINGS = {
    "explicit": {"pre1": -90.0, "pre2": -25.0, "norm1": 40.0, "norm2": 240.0, "nnorm": 1},
    "victoreen": {"nvict": 2},
    "cubic": {"nnorm": 3},
    "end": {"norm1": 5000.0},
}


def reference(energy: np.ndarray, mu: np.ndarray, **settings: float) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Numbers, norm and flat of one spectrum; norm and flat lie on Larch's own points (finite, ascending)."""
    group = larch.Group(energy=energy.copy(), mu=mu.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pre_edge(group, **settings)
    details = group.pre_edge_details
    numbers = [group.e0, group.edge_step, *(getattr(details, name) for name in NUMBERS[2:])]
    return [float(number) for number in numbers], group.norm, group.flat


def main() -> None:
    folder = HERE.parents[2] / "shared" / "realdata"
    out: dict[str, np.ndarray] = {"version": np.array(larch.version.__version__)}
    real = real_curves(folder)
    for label, settings in {"default": {}, **SETTINGS}.items():
        rows = {name: reference(*curve, **settings) for name, curve in real.items()}
        out[f"real_{label}_numbers"] = np.array([row[0] for row in rows.values()])
        out[f"real_{label}_norm"] = np.concatenate([row[1][::EVERY] for row in rows.values()])
        out[f"real_{label}_flat"] = np.concatenate([row[2][::EVERY] for row in rows.values()])
    out["real_names"] = np.array(list(real))
    curves = synthetic_curves()
    rows = [reference(*curve) for curve in curves]
    out["synthetic_numbers"] = np.array([row[0] for row in rows])
    # Four points each: first, at a third, at two thirds, last.
    picks = [[0, len(row[1]) // 3, 2 * len(row[1]) // 3, len(row[1]) - 1] for row in rows]
    out["synthetic_norm"] = np.array([row[1][pick] for row, pick in zip(rows, picks, strict=True)])
    out["synthetic_flat"] = np.array([row[2][pick] for row, pick in zip(rows, picks, strict=True)])
    np.savez_compressed(HERE / "larch_reference.npz", **out)


if __name__ == "__main__":
    main()
