"""All compiled kernels under one name; see `_speed.kernels`."""

from barospec.archive.operators._compiled_e0 import (
    NONE,
    NUMPY,
    TRANSFORM,
    chosen_points,
    resampled_rows,
    steepest_points,
)
from barospec.archive.operators._compiled_rows import HUGE, filled, finite_lead, normalize_rows, rising

__all__ = [
    "HUGE",
    "NONE",
    "NUMPY",
    "TRANSFORM",
    "chosen_points",
    "filled",
    "finite_lead",
    "normalize_rows",
    "resampled_rows",
    "rising",
    "steepest_points",
]
