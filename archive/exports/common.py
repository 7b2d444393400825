"""Shared steps of all exports: one spectrum with its metadata, without private fields."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.vocabulary import BY_NAME

Floats = NDArray[np.float64]
SAID = {"synthetic": "SYNTHETIC: generated, not measured", "calculated": "CALCULATED, not measured"}
# What a curve is called by other tools, by the way it was formed.
CURVES: Mapping[str, str] = {
    "transmission": "mutrans",
    "fluorescence": "mufluor",
    "reference": "murefer",
    "emission": "iemission",
}


@dataclass(slots=True)
class Spectrum:
    """One spectrum on its way into a file.

    Parameters
    ----------
    energy, curve : ndarray, shape (n,)
        In eV as recorded, and the curve.
    channels : dict of str to ndarray, each shape (n,)
        Recorded channels that have values.
    columns : dict
        Vocabulary terms that are known; private ones are not among them.
    header : dict
        The file's own header, cleaned.
    """

    energy: Floats
    curve: Floats
    channels: dict[str, Floats]
    columns: dict[str, Any]
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def identifier(self) -> str:
        """Its spectrum_id."""
        return str(self.columns["spectrum_id"])

    @property
    def warning(self) -> str:
        """Notice for a spectrum that nobody measured; empty for a measured one."""
        return SAID.get(str(self.columns["origin"]), "")

    @property
    def curve_name(self) -> str:
        """Name of the curve among the channels: how it was formed."""
        signal = str(self.columns.get("signal") or "")
        return CURVES.get(signal, signal or "mutrans")

    @property
    def file_name(self) -> str:
        """A name for its file, without ending: run, pressure, temperature, id, and what it is not."""
        parts = [str(self.columns["run"])]
        parts += [f"{self.columns[name]:g}{unit}" for name, unit in _TOLD if self.columns.get(name) is not None]
        parts.append(self.identifier)
        if self.warning:
            parts.append(str(self.columns["origin"]).upper())
        return re.sub(r"[^A-Za-z0-9.+-]+", "_", "_".join(parts))

    def label(self) -> str:
        """Return a title for people: sample, pressure and temperature, run, and what it is not."""
        sample = str(self.columns.get("sample") or "")
        conditions = [f"{self.columns[name]:g} {unit}" for name, unit in _TOLD if self.columns.get(name) is not None]
        text = ", ".join([sample, *conditions, str(self.columns["run"])])
        return (
            text if not self.warning or states_origin(text, self) else f"{text} ({str(self.columns['origin']).upper()})"
        )


_TOLD = (("pressure", "GPa"), ("temperature", "K"))


def states_origin(text: str, spectrum: Spectrum) -> bool:
    """Check whether a text already says that a spectrum is synthetic or calculated."""
    return str(spectrum.columns["origin"]).casefold() in text.casefold()


@dataclass(slots=True)
class Exported:
    """Result of an export: what was written, and what could not be."""

    query: str = ""
    snapshot: str = ""
    count: int = 0
    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, int] = field(default_factory=dict)


def time_text(value: Any) -> str:
    """Format a time as ISO 8601 in UTC, to the second."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(np.datetime64(value, "s")))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def stated(name: str, value: Any) -> str:
    """Format a field as text, with its unit."""
    term = BY_NAME[name]
    if term.kind == "time":
        return time_text(value)
    if term.kind == "number":
        return f"{float(value)!r}" + (f" {term.unit}" if term.unit not in ("", "1") else "")
    return " ".join(str(int(value) if term.kind == "integer" else value).split())


def json_header(text: Any) -> dict[str, Any]:
    """Parse the JSON that a reader keeps as text within a header, such as Athena's parameters."""
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
