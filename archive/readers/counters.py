"""Counters of a BLISS scan: which of them is the energy, and which is what channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from barospec.archive.readers import hdf5, scans
from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Problem

if TYPE_CHECKING:
    import h5py

# Counters that hold the energy of the incident beam, nearest to what the crystal did first: encoder before
# set value.
INCIDENT = ("energy_enc", "energy_cenc", "mono_energy", "energy", "enetraj", "emono", "mono_e", "ene")
# Counters that hold the energy a spectrometer was set to.
EMISSION = ("xes_en", "xes_energy", "emission_energy", "energy_tana", "energy_analyser", "energy_analyzer")
# Counters of each channel, casefolded. ID24 and BM23 write I0, I1, I2 and the quotients formed at the
# beamline.
COUNTERS: Mapping[str, tuple[str, ...]] = {
    "i0": ("i0", "io"),
    "itrans": ("itrans", "it", "i1"),
    "irefer": ("irefer", "iref", "i2"),
    "ifluor": ("ifluor", "if", "iff"),
    "iemission": ("iemission",),
    "mutrans": ("mutrans", "mu_trans"),
    "mufluor": ("mufluor", "mu_fluo", "mu_fluor"),
    "murefer": ("murefer", "mu_ref"),
}


class NoSpectrum(Exception):
    """An entry without an energy axis: nothing is wrong with it, it is only not ours."""


@dataclass(slots=True)
class Entry:
    """One entry of the file with its 1-D counters, opened but not read."""

    name: str
    group: h5py.Group
    path: Path
    counters: dict[str, h5py.Dataset]
    problems: list[Problem] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.path} [{self.name}]"

    def tell(self, severity: Literal["warning", "note"], message: str) -> None:
        self.problems.append(Problem(severity, message, str(self.path), scan=self.name))

    def text(self, key: str) -> str:
        """A string of the entry, "" when missing or unreadable."""
        return hdf5.text_of(hdf5.get(self.group, key))

    def find(self, wanted: str) -> str | None:
        """The counter of that name, in any capitalization if only one has it."""
        if wanted in self.counters:
            return wanted
        alike = [counter for counter in self.counters if counter.casefold() == wanted.casefold()]
        return alike[0] if len(alike) == 1 else None


def find_axis(entry: Entry, given: Any) -> tuple[str, str, str]:
    """Technique, counter of the energy axis, and the unit that the caller states for it."""
    if given is not None:
        names, unit = _named(entry, "energy", given)
        missing = [one for one in names if entry.find(one) is None]
        if missing or len(names) != 1:
            raise NoSpectrum(f"no counter {' or '.join(names)}")
        axis = entry.find(names[0]) or ""
        return _technique(entry, axis), axis, unit
    for table in (EMISSION, INCIDENT):
        for wanted in table:
            for counter in entry.counters:
                folded = counter.casefold()
                if folded != wanted and not (wanted == "xes_en" and folded.startswith("xes_en")):
                    continue
                if _moves(entry, counter):
                    others = [one for one in entry.counters if one != counter and is_energy(one)]
                    if others:
                        entry.tell("note", f"energy axis is {counter}; there are also {', '.join(others)}")
                    return _technique(entry, counter), counter, ""
    raise NoSpectrum(f"no energy axis among its counters ({listing(entry, 12)})")


def is_energy(counter: str) -> bool:
    folded = counter.casefold()
    return folded in INCIDENT or folded in EMISSION or folded.startswith("xes_en")


def _technique(entry: Entry, axis: str) -> str:
    """By the axis: emission is resolved with the spectrometer, absorption with the incident beam."""
    folded = axis.casefold()
    if folded in EMISSION or folded.startswith("xes_en"):
        return "xes"
    if folded in INCIDENT:
        return "xas"
    names = hdf5.get(entry.group, "techniques/names")
    return "xes" if names is not None and b"XES" in np.asarray(names[()]).astype(bytes).ravel() else "xas"


def _moves(entry: Entry, counter: str) -> bool:
    """Whether a counter was scanned: a constant mono energy jitters by 1e-7."""
    values = values_of(entry, counter)
    finite = values[np.isfinite(values)]
    return bool(finite.size > 1 and np.ptp(finite) > 1e-4 * abs(float(np.median(finite))))


def choose(entry: Entry, technique: str, axis: str, wanted: Mapping[str, Any]) -> dict[str, list[str]]:
    """Counters of each channel; InvalidData when those that make a curve are missing or ambiguous."""
    chosen: dict[str, list[str]] = {}
    for channel, given in wanted.items():
        if channel == "energy":
            continue
        names, _ = _named(entry, channel, given)
        found = [entry.find(one) for one in names]
        if None in found:
            raise InvalidData(
                f"{entry.place}: channels: {channel}: no 1-D counter {names[found.index(None)]}. There are "
                f"{listing(entry)}."
            )
        chosen[channel] = [one for one in found if one]
    for channel, counters in COUNTERS.items():
        if channel in chosen:
            continue
        matches = [
            counter for counter in entry.counters if counter.casefold() in counters and counter != axis
        ]
        if len(matches) > 1:
            raise InvalidData(
                f"{entry.place}: {' and '.join(matches)} could both be {channel}. {_remedy(entry)}"
            )
        if matches:
            chosen[channel] = matches
    if technique == "xes" and "iemission" not in chosen:
        signal = _plotted(entry, axis)
        if signal:
            entry.tell(
                "warning", f"iemission is {signal}, which the file plots by default; say channels: if not so"
            )
            chosen["iemission"] = [signal]
    needed = (
        [("i0", "iemission")]
        if technique == "xes"
        else [
            ("mutrans",),
            ("mufluor",),
            ("i0", "itrans"),
            ("i0", "ifluor"),
            ("murefer",),
            ("itrans", "irefer"),
        ]
    )
    if not any(set(group) <= set(chosen) for group in needed):
        open_ones = [channel for channel in needed[0 if technique == "xes" else 2] if channel not in chosen]
        raise InvalidData(f"{entry.place}: which counter is {' and '.join(open_ones)}? {_remedy(entry)}")
    return chosen


def _named(entry: Entry, channel: str, given: Any) -> tuple[list[str], str]:
    """Names and unit from a caller's entry: "I0", ["el1", "el2"], "
    "{"counter": "energy_enc", "unit": "keV"}.
    """
    unit = ""
    if isinstance(given, Mapping):
        if "counter" not in given or set(given) - {"counter", "unit"}:
            raise InvalidData(
                f"{entry.place}: channels: {channel}: {dict(given)} is not understood. "
                "Write {counter: energy_enc, unit: keV}."
            )
        given, unit = given["counter"], str(given.get("unit") or "")
    names = [str(one) for one in given] if isinstance(given, list | tuple) else [str(given)]
    return names, unit


def _plotted(entry: Entry, axis: str) -> str | None:
    """The counter that the entry's default plot shows over `axis`."""
    data = hdf5.get(entry.group, hdf5.attribute(entry.group, "default") or "plotselect")
    if data is None or hdf5.attribute(data, "axes") != axis:
        return None
    return entry.find(hdf5.attribute(data, "signal"))


def listing(entry: Entry, most: int = 60) -> str:
    names = list(entry.counters)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _remedy(entry: Entry) -> str:
    return (
        "Say it in the run sheet, such as channels: {energy: energy_enc, i0: I0, itrans: I1}. The 1-D "
        "counters are "
        f"{listing(entry)}."
    )


def values_of(entry: Entry, counter: str) -> scans.Array:
    return np.asarray(entry.counters[counter][()], dtype=np.float64)


def sum_of(entry: Entry, counters: list[str]) -> scans.Array:
    arrays = [values_of(entry, counter) for counter in counters]
    shortest = min(values.size for values in arrays)
    return np.asarray(np.sum([values[:shortest] for values in arrays], axis=0), dtype=np.float64)
