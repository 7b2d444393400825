"""SYNTHETIC tight-binding Hamiltonian of a trilayer in the format of wannier90 ``_hr.dat``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYERS = ("u", "m", "l")
FUNCTIONS = (
    *((layer, orbital) for layer in LAYERS for orbital in ("Z", "X", "px", "py")),
    ("um", "apical"),
    ("ml", "apical"),
)
"""Layer (or pair of layers) and orbital of each Wannier function, in the order of the file."""

Vector = tuple[int, int, int]
_CELLS: tuple[Vector, ...] = ((0, -1, 0), (-1, 0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0))


def trilayer_hamiltonian(truth: dict[str, Any]) -> dict[Vector, NDArray[np.float64]]:
    """Return matrix elements <0 m|H|R n> of one Ni-O trilayer with one Ni in a layer, without spin.

    Parameters
    ----------
    truth : dict
        Content of ``truth.yaml``; its entry ``wannier``, in eV.

    Returns
    -------
    dict of (int, int, int) to ndarray, shape (14, 14)
        In eV, in the order of `FUNCTIONS`.

    Examples
    --------
    >>> from barospec.sample_data.truth import load_truth
    >>> h = trilayer_hamiltonian(load_truth())
    >>> float(h[0, 0, 0][0, 12]), bool(np.all(h[1, 0, 0] == h[-1, 0, 0].T))
    (1.36, True)
    """
    numbers = truth["wannier"]
    place = {function: i for i, function in enumerate(FUNCTIONS)}
    h = {cell: np.zeros((len(FUNCTIONS), len(FUNCTIONS))) for cell in _CELLS}

    def hop(m: tuple[str, str], n: tuple[str, str], cell: Vector, value: float) -> None:
        h[cell][place[m], place[n]] += value
        h[-cell[0], -cell[1], -cell[2]][place[n], place[m]] += value

    for layer in LAYERS:
        where = "middle" if layer == "m" else "outer"
        for orbital in ("Z", "X", "px", "py"):
            level = numbers["level"][orbital[0]][where]
            h[0, 0, 0][place[layer, orbital], place[layer, orbital]] = level
        for p, sign, back in (("px", 1.0, (-1, 0, 0)), ("py", -1.0, (0, -1, 0))):
            # The O is half a cell further along x or y: its lobe has the opposite sign towards the Ni on the other side.
            for cell, lobe in (((0, 0, 0), 1.0), (back, -1.0)):
                hop((layer, "X"), (layer, p), cell, sign * lobe * numbers["t_par_pX"][where])
                # Slater and Koster: 3z2-r2 has 1/sqrt(3) of the overlap of x2-y2 with a p in the plane.
                hop((layer, "Z"), (layer, p), cell, -lobe * numbers["t_par_pX"][where] / 3**0.5)
        hop((layer, "px"), (layer, "py"), (0, 0, 0), numbers["t_pp"])
    for pair in ("um", "ml"):
        h[0, 0, 0][place[pair, "apical"], place[pair, "apical"]] = numbers["level"]["apical"]
        for layer, lobe in zip(pair, (1.0, -1.0), strict=True):
            where = "middle" if layer == "m" else "outer"
            hop((layer, "Z"), (pair, "apical"), (0, 0, 0), lobe * numbers["t_perp_pZ"][where])
    return h


def hamiltonian_text(truth: dict[str, Any]) -> str:
    """Return the Hamiltonian as the text of a ``_hr.dat``, marked SYNTHETIC in its first line.

    >>> from barospec.sample_data.truth import load_truth
    >>> hamiltonian_text(load_truth()).splitlines()[1:4]
    ['          14', '           5', '    1    1    1    1    1']
    """
    h = trilayer_hamiltonian(truth)
    lines = [
        " SYNTHETIC: a tight-binding Ni-O trilayer made by barospec.sample_data, no calculation",
        f"{len(FUNCTIONS):12d}",
        f"{len(h):12d}",
        "".join(f"{1:5d}" for _ in h),
    ]
    for cell, matrix in h.items():
        where = "".join(f"{x:5d}" for x in cell)
        for n in range(len(FUNCTIONS)):
            lines += [f"{where}{m + 1:5d}{n + 1:5d}{matrix[m, n]:12.6f}{0.0:12.6f}" for m in range(len(FUNCTIONS))]
    return "\n".join(lines) + "\n"
