"""Searchable fields: name, unit, uncertainty, and column of the index."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from dataclasses import field as _default
from typing import Any, Protocol

from barospec.schemas.units import find_unit


class Connection(Protocol):
    """The part of a DuckDB connection that the query language uses."""

    def execute(self, query: str, parameters: Any = None) -> Any:
        """Run a statement."""

    def cursor(self) -> Any:
        """Return a second connection to the same database."""


# The table of the noun "derived values"; see `derived_rows`.
VALUES = "derived_values"
# Tables whose rows are spectra, or values computed from them.
OF_SPECTRA = ("spectra", VALUES)
INCLUDABLE = ("stale", "uncalibrated", "bad")


@dataclass(frozen=True, slots=True)
class Stored:
    """Attributes of a field that holds derived values; see `catalogs.index.derived`.

    Parameters
    ----------
    derivation, output, operator, chain : str
        The set, and its computation.
    state, other : str
        SQL: 0 fresh, 1 stale, NULL never computed; and the value if it is not served.
    absolute : bool
        True for an energy that needs a calibrated axis.
    reasons : tuple of str
        Meanings of the reason codes.
    """

    derivation: str
    output: str
    operator: str
    chain: str
    state: str
    other: str
    absolute: bool = False
    reasons: tuple[str, ...] = ()

    def sql(self, served: str, include: Collection[str]) -> str:
        """Return SQL for the value, including stale and uncalibrated values if requested."""
        if "stale" in include and ("uncalibrated" in include or not self.absolute):
            return f"coalesce({served}, {self.other})"
        if "stale" in include:
            calibrated = f"coalesce({quoted('energy_calibration')} IN ('foil', 'reference'), FALSE)"
            return f"coalesce({served}, CASE WHEN {self.state} = 1 AND {calibrated} THEN {self.other} END)"
        if "uncalibrated" in include and self.absolute:
            return f"coalesce({served}, CASE WHEN {self.state} = 0 THEN {self.other} END)"
        return served


@dataclass(frozen=True, slots=True)
class Field:
    """A searchable field.

    Parameters
    ----------
    name : str
        As in answers.
    kind : str
        ``number``, ``integer``, ``word``, ``text`` or ``time``.
    sql : str
        The quoted column, or an expression supplied by the index. Never made from query text.
    unit, meaning : str
    sigma : str
        Name of the field with the standard uncertainty; empty if there is none.
    applies : mapping
        Required values of other fields for this one to be applicable.
    table : str
        Table of the index.
    allowed : tuple of str
        All values of the vocabulary for a word.
    aliases : tuple of str
    """

    name: str
    kind: str
    sql: str
    unit: str = ""
    meaning: str = ""
    sigma: str = ""
    applies: Mapping[str, tuple[str, ...]] = _default(default_factory=dict)
    table: str = "spectra"
    allowed: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    derived: bool = False
    stored: Stored | None = None

    @property
    def dimension(self) -> str:
        """Quantity of the unit; empty for plain numbers and strings."""
        unit = find_unit(self.unit) if self.unit else None
        return unit.dimension if unit and unit.dimension != "number" else ""


def quoted(name: str) -> str:
    """Quote a column name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
