"""Whether compiled kernels are at hand. They need numba, which is optional; results agree to 1e-12 with and without."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module, util
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

SWITCH = "BAROSPEC_NUMBA"
"""Environment variable: ``0`` leaves numba alone even where it is installed."""


def kernels() -> ModuleType | None:
    """The module of compiled kernels, or None. numba is imported by the first call, not with barospec."""
    return None if os.environ.get(SWITCH, "1") == "0" else _imported()


@lru_cache(maxsize=1)
def _imported() -> ModuleType | None:
    if util.find_spec("numba") is None:
        return None
    try:
        import_module("numba")
    except ImportError:  # one that does not know this numpy or Python
        return None
    return import_module("barospec.archive.operators._compiled")


def frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """The array, not to be written through. Kernels take only such: for others numba compiles a second version, whose
    sums may be added in another order, and the bits would tell who has called before.
    """
    view = array.view()
    view.flags.writeable = False
    return view


@lru_cache(maxsize=1)
def lorentzian(half: int = 512) -> NDArray[np.float64]:
    """1/(1 + k^2) for -half <= k <= half."""
    table: NDArray[np.float64] = 1.0 / (1.0 + np.arange(-half, half + 1.0) ** 2)
    table.flags.writeable = False
    return table
