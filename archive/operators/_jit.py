"""How kernels are compiled with numba. Imported by the `_compiled_*` modules alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_REORDERED = {"reassoc", "contract", "nsz"}
"""Sums may be added in lanes; how depends on their length alone, so a row has the same bits wherever it stands."""


def compiled(finite: bool = False, exact: bool = False) -> Callable[[Kernel], Kernel]:
    """Compile without the interpreter's lock.

    `finite` promises that no NaN and no infinity comes; `exact` has every operation done as written, one number at a time or
    many, as in loops without sums.
    """
    flags = set() if exact else _REORDERED | {"nnan", "ninf"} if finite else _REORDERED
    options: dict[str, Any] = {"nogil": True, "fastmath": flags, "error_model": "numpy"}

    def wrap(function: Kernel) -> Kernel:
        # A helper becomes part of its caller. Called as a function of its own it would be there twice, compiled alone and with
        # the caller, and which of the two runs, with other bits, would depend on what came out of numba's cache.
        own = options | {"forceinline": function.__name__.startswith("_")}
        try:
            made = numba.njit(cache=True, **own)(function)
        except RuntimeError:  # a cache can be written neither beside the module nor at home
            made = numba.njit(**own)(function)
        return cast(Kernel, made)

    return wrap
