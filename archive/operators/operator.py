"""Operator: a record around a pure batch function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

OUTPUT_UNITS = ("1/eV", "1/GPa", "unit of mu", "unit of intensity")
"""Units of results beside those of `barospec.schemas.units`; scales of a curve as recorded have no unit of their own."""


# Version 0.1.0 worded reasons so; the words of CF attributes are names in users' programs and stay.
_KEPT_WORDS = {"suspect:": "care", "distinguished": "told apart"}


def _word(reason: str) -> str:
    """Return a reason in small letters, digits and underscores, without what it adds in brackets."""
    for now, kept in _KEPT_WORDS.items():
        reason = reason.replace(now, kept)
    plain = re.sub(r"\([^)]*\)", "", reason.lower())
    return re.sub(r"[^0-9a-z.+-]+", "_", plain).strip("_.")


WHITE = "one noise for all points of a spectrum, found from the curve itself"
COUNTED = "constant plus counting noise, found from the curve itself"


@dataclass(frozen=True, slots=True)
class Output:
    """One result: its unit, its meaning, and whether it has a value per point, per reference, or per spectrum.

    Of one that is `rare`, NaN says that there is none, and not that it could not be found.
    """

    unit: str
    meaning: str
    per_point: bool = False
    integer: bool = False
    per_reference: bool = False
    rare: bool = False


QUALITY = Output("1", "reason code: 0 ok, see the operator's reasons", integer=True)
"""The output ``<name>_quality`` of every operator."""


@dataclass(frozen=True, slots=True)
class References:
    """The reference spectra that an operator compares with, and how they reach its function as arrays.

    A person names them by queries; whoever runs the chain finds the spectra, takes them through the operators
    that run before this one, merges what one query finds, and hands the function plain arrays.

    Parameters
    ----------
    arrays : mapping of str to str or tuple of str
        Keyword of the function -> array of the reference that fills it, such as
        ``{"reference_energy": "energy", "reference_norm": "norm"}``; several numbers per spectrum as a tuple, which
        become the last axis.
    meaning : str
        What has to be named.
    several : bool
        Any number of references, stacked on the first axis of each array (shorter curves padded with NaN);
        otherwise one.
    labels : str
        Keyword that takes the number written before each query (``2: NiO; 3: LaNiO3``); empty for names.
    fewest : int
        References needed; 0 where the operator also works without.
    absolute : bool
        Whether absolute energies of spectrum and reference are compared, so that their calibration matters.
    """

    arrays: Mapping[str, str | tuple[str, ...]]
    meaning: str
    several: bool = False
    labels: str = ""
    fewest: int = 1
    absolute: bool = True

    @property
    def name(self) -> str:
        """The parameter that people write: ``reference``, or ``references`` where several may be given."""
        return "references" if self.several else "reference"

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of the arrays that a reference must have; numbers in a tuple are NaN where it has none."""
        return tuple(name for name in self.arrays.values() if isinstance(name, str))


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
        Meaning (with unit) of each keyword of `func`, without those of `references`.
    reasons : tuple of str
        What the code in the output ``<name>_quality`` means: 0 is always "ok".
    references : References, optional
        Spectra that it compares with.
    replaces : mapping of str to str
        Array -> output that replaces it for every operator that follows in the chain.
    optional : mapping of str to tuple of str
        Keyword of `func` -> numbers per spectrum that become its last axis, where the data or the steps before have all
        of them: what a result can do without, such as the windows of a normalization.
    example : mapping
        Values of the parameters that have no default, as an example; help and tests use them.
    fills : bool
        Whether `func` takes ``out``, a mapping of per-point outputs to arrays (rows, n) to write them into; those that
        it lacks are not computed. For inputs of shape (rows, n) only.
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
    references: References | None = None
    replaces: Mapping[str, str] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fills: bool = False

    def kind_of_sigma(self, output: str) -> str:
        """Return what an uncertainty among the outputs is made of; empty for what is none.

        >>> from barospec.archive.operators.registry import find_operator
        >>> find_operator("edge_energy").kind_of_sigma("edge_energy_sigma_norm")
        'spread over an ensemble of normalization windows'
        """
        if output.endswith("_sigma_norm"):
            return "spread over an ensemble of normalization windows"
        if not output.endswith("_sigma"):
            return ""
        noise = {"xas": WHITE, "xes": COUNTED}.get(self.technique, WHITE)
        return f"propagated: {noise}"

    @property
    def words(self) -> tuple[str, ...]:
        """Each reason as one word: codes in CF attributes, whose meanings are separated by blanks.

        >>> from barospec.archive.operators.registry import find_operator
        >>> find_operator("white_line").words[1]
        'fewer_than_14_points_with_energy_and_norm'
        """
        return tuple(_word(reason) for reason in self.reasons)

    @property
    def quality(self) -> str:
        """Name of the output that holds the reason code of each spectrum."""
        return f"{self.name}_quality"

    @property
    def definition(self) -> str:
        """Definition and formulas: the notes of the function's documentation."""
        text = inspect.cleandoc(self.func.__doc__ or "")
        _, found, rest = text.partition("Notes\n-----\n")
        return rest.partition("\n\nReferences\n")[0].strip() if found else ""

    @property
    def defaults(self) -> dict[str, Any]:
        """Every keyword of the function with its default value; arrays of references are no such keywords."""
        hidden = set() if self.references is None else {*self.references.arrays, self.references.labels}
        hidden |= set(self.optional)
        if self.fills:
            hidden.add("out")
        signature = inspect.signature(self.func)
        return {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in hidden
        }
