"""All compiled kernels under one name; see `_speed.kernels`."""

from barospec.archive.operators._compiled_e0 import (
    MATRIX,
    NUMPY,
    TRANSFORM,
    chosen_points,
    first_guesses,
    resampled_rows,
    smoothed_points,
)
from barospec.archive.operators._compiled_rows import normalize_rows
from barospec.archive.operators._compiled_survey import HUGE, filled, finite_lead, rising, rising_lead

__all__ = [
    "HUGE",
    "MATRIX",
    "NUMPY",
    "TRANSFORM",
    "chosen_points",
    "filled",
    "finite_lead",
    "first_guesses",
    "normalize_rows",
    "resampled_rows",
    "rising",
    "rising_lead",
    "smoothed_points",
]
