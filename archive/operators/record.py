"""What an operator is: a record around a pure batch function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Output:
    """One result: its unit, its meaning, and whether it has a value per point or one per spectrum."""

    unit: str
    meaning: str
    per_point: bool = False
    integer: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """A pure function with declared inputs, outputs and units.

    Parameters
    ----------
    name : str
        As people say it: ``barospec apply NAME``.
    version : int
        Raised when numbers change; stored values of an older version are stale.
    func : callable
        ``func(*inputs, **parameters) -> dict`` on arrays ``(..., n)``; rows may be padded with NaN. Never raises for
        data: a row that cannot be done gives NaN and a code in `quality`.
    inputs : tuple of str
        ``energy``, ``mu``, ``intensity``, a channel, or an output of another operator (which then runs before).
    outputs : mapping of str to Output
        In order; the first is the one people mean.
    summary, source : str
        One sentence; and where the definition comes from.
    technique : str
        ``xas``, ``xes``, or empty for both.
    parameters : mapping of str to str
        Meaning (with unit) of each keyword of `func`.
    reasons : tuple of str
        What the code in the output ``<name>_quality`` means: 0 is always "ok".
    """

    name: str
    version: int
    func: Callable[..., dict[str, Any]]
    inputs: tuple[str, ...]
    outputs: Mapping[str, Output]
    summary: str
    source: str
    technique: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ("ok",)

    @property
    def quality(self) -> str:
        """Name of the output that holds the reason code of each spectrum."""
        return f"{self.name}_quality"

    @property
    def defaults(self) -> dict[str, Any]:
        """Every keyword of the function with its default value."""
        signature = inspect.signature(self.func)
        return {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
