"""Counters of a scan (BLISS, SPEC): which of them is the energy, and which is what channel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from barospec.archive.readers import scans
from barospec.schemas.errors import InvalidData, did_you_mean
from barospec.schemas.records import Problem
from barospec.schemas.vocabulary import CHANNELS, find_channel

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


# How many names a message lists.
SHOWN = 5


class NoSpectrum(Exception):
    """An entry without an energy axis: nothing is wrong with it, it is only not ours."""


@dataclass(slots=True)
class ScanEntry:
    """One scan of a file with its 1-D counters: arrays, or datasets that are opened but not read.

    `units` are those that the file states, `technique` likewise; `plotted` is the axis and the signal that the
    file shows by default.
    """

    name: str
    path: Path
    counters: Mapping[str, Any]
    units: Mapping[str, str] = field(default_factory=dict)
    technique: str = ""
    plotted: tuple[str, str] = ("", "")
    problems: list[Problem] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.path} [{self.name}]"

    def add_problem(self, severity: Literal["warning", "note"], message: str) -> None:
        self.problems.append(Problem(severity, message, str(self.path), scan=self.name))

    def find(self, wanted: str) -> str | None:
        """Find the counter of that name, in any capitalization if only one has it."""
        if wanted in self.counters:
            return wanted
        for fold in (str.casefold, plain):
            alike = [counter for counter in self.counters if fold(counter) == fold(wanted)]
            if alike:
                return alike[0] if len(alike) == 1 else None
        return None


def plain(counter: str) -> str:
    """Return a counter's name for comparison: without capitals and without a unit in brackets.

    >>> plain("Energy (keV)")
    'energy'
    """
    return re.sub(r"\s*[(\[][^)\]]*[)\]]$", "", counter).casefold()


def find_axis(entry: ScanEntry, given: Any) -> tuple[str, str, str]:
    """Find the technique, the counter of the energy axis, and the unit that the caller states for it."""
    if given is not None:
        names, unit = named(entry, "energy", given)
        missing = [one for one in names if entry.find(one) is None]
        if missing or len(names) != 1:
            raise NoSpectrum(f"no counter {' or '.join(names)}")
        axis = entry.find(names[0]) or ""
        return _technique(entry, axis), axis, unit
    for table in (EMISSION, INCIDENT):
        for wanted in table:
            for counter in entry.counters:
                folded = plain(counter)
                if folded != wanted and not (wanted == "xes_en" and folded.startswith("xes_en")):
                    continue
                if _moves(entry, counter):
                    others = [one for one in entry.counters if one != counter and is_energy(one)]
                    if others:
                        entry.add_problem("note", f"energy axis is {counter}; there are also {', '.join(others)}")
                    return _technique(entry, counter), counter, ""
    raise NoSpectrum(f"no energy axis among its counters ({listing(entry, 12)})")


def is_energy(counter: str) -> bool:
    folded = plain(counter)
    return folded in INCIDENT or folded in EMISSION or folded.startswith("xes_en")


def _technique(entry: ScanEntry, axis: str) -> str:
    """Return the technique by the axis: emission is resolved with the spectrometer, absorption with the incident beam."""
    folded = plain(axis)
    if folded in EMISSION or folded.startswith("xes_en"):
        return "xes"
    if folded in INCIDENT:
        return "xas"
    return entry.technique or "xas"


def _moves(entry: ScanEntry, counter: str) -> bool:
    """Check whether a counter was scanned: a constant mono energy jitters by 1e-7."""
    values = values_of(entry, counter)
    finite = values[np.isfinite(values)]
    return bool(finite.size > 1 and np.ptp(finite) > 1e-4 * abs(float(np.median(finite))))


def choose(entry: ScanEntry, technique: str, axis: str, wanted: Mapping[str, Any]) -> dict[str, list[str]]:
    """Choose the counters of each channel; InvalidData when those that make a curve are missing or ambiguous."""
    chosen: dict[str, list[str]] = {}
    for channel, given in wanted.items():
        if channel in ("energy", "temperature"):
            continue
        names, _ = named(entry, channel, given)
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
        matches = [counter for counter in entry.counters if plain(counter) in counters and counter != axis]
        if len(matches) > 1:
            raise InvalidData(f"{entry.place}: {' and '.join(matches)} could both be {channel}. {_remedy(entry)}")
        if matches:
            chosen[channel] = matches
    if technique == "xes" and "iemission" not in chosen:
        signal = _plotted(entry, axis)
        if signal:
            entry.add_problem(
                "warning", f"iemission is {signal}, which the file plots by default; say channels: if not so"
            )
            chosen["iemission"] = [signal]
    needed = (
        [("i0", "iemission")]
        if technique == "xes"
        else [
            ("mutrans",),
            ("mufluor",),
            ("murecorded",),
            ("i0", "itrans"),
            ("i0", "ifluor"),
            ("murefer",),
            ("itrans", "irefer"),
        ]
    )
    if not any(set(group) <= set(chosen) for group in needed):
        open_ones = [channel for channel in needed[0 if technique == "xes" else 3] if channel not in chosen]
        raise InvalidData(f"{entry.place}: which counter is {' and '.join(open_ones)}? {_remedy(entry)}")
    return chosen


def named(entry: ScanEntry, channel: str, given: Any) -> tuple[list[str], str]:
    """Return names and unit from a caller's entry: "I0", ["el1", "el2"], "
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


def _plotted(entry: ScanEntry, axis: str) -> str | None:
    """Return the counter that the entry's default plot shows over `axis`."""
    plotted, signal = entry.plotted
    return entry.find(signal) if plotted == axis and signal else None


def listing(entry: ScanEntry, most: int = 60) -> str:
    names = list(entry.counters)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _remedy(entry: ScanEntry) -> str:
    return (
        "Say it in the run sheet, such as channels: {energy: energy_enc, i0: I0, itrans: I1}. The 1-D "
        "counters are "
        f"{listing(entry)}."
    )


def values_of(entry: ScanEntry, counter: str) -> scans.Array:
    return np.asarray(entry.counters[counter][()], dtype=np.float64)


def sum_of(entry: ScanEntry, counters: list[str]) -> scans.Array:
    arrays = [values_of(entry, counter) for counter in counters]
    shortest = min(values.size for values in arrays)
    return np.asarray(np.sum([values[:shortest] for values in arrays], axis=0), dtype=np.float64)


def wanted_channels(options: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """Check the caller's ``channels``: channels of the vocabulary, ``energy`` and ``temperature``."""
    wanted = options.get("channels") or {}
    if not isinstance(wanted, Mapping):
        raise InvalidData(f"{place}: channels is {wanted!r}; write channels: {{energy: energy_enc, i0: I0}}.")
    found: dict[str, Any] = {}
    for key, given in wanted.items():
        channel = key if key in ("energy", "temperature") else find_channel(str(key))
        if channel is None:
            known = ["energy", "temperature", "mu", *CHANNELS]
            raise InvalidData(f'{place}: channels: no channel "{key}".{did_you_mean(str(key), known)}')
        found[channel] = given
    return found


def in_ev(entry: ScanEntry, axis: str, unit: str) -> scans.Array:
    """Convert the energy axis to eV; where no unit is stated, the range decides, and a warning says so."""
    values = values_of(entry, axis)
    unit = unit or entry.units.get(axis, "")
    if unit:
        return scans.scale_to(values, unit, "eV", f"{entry.place}: {axis}")
    finite = values[np.isfinite(values)]
    middle = float(np.median(finite)) if finite.size else np.nan
    span = f"{finite.min():.6g} to {finite.max():.6g}" if finite.size else "no finite value"
    # A scan of one edge or line does not span a factor of three; a counter taken by mistake may.
    narrow = bool(finite.size) and 0 < finite.max() < 3 * finite.min()
    if narrow and 1 <= middle <= 100:
        agree = [
            counter
            for counter in entry.counters
            if is_energy(counter) and entry.units.get(counter, "").casefold() == "kev"
        ]
        like = f", like {agree[0]}, which says keV" if agree else ""
        entry.add_problem("warning", f"{axis} has no unit; {span} is taken as keV{like}")
        return values * 1000.0
    if narrow and 100 < middle <= scans.PLAUSIBLE_EV[1]:
        entry.add_problem("warning", f"{axis} has no unit; {span} is taken as eV")
        return values
    raise InvalidData(
        f"{entry.place}: {axis} has no unit, and {span} is neither keV nor eV of an x-ray energy. "
        f"Say channels: {{energy: {{counter: {axis}, unit: keV}}}}, or name another counter."
    )


def alive(entry: ScanEntry, arrays: dict[str, scans.Array], chosen: Mapping[str, list[str]]) -> dict[str, scans.Array]:
    """Return channels without those whose counter was zero all along: nothing was connected."""
    dead = [channel for channel, values in arrays.items() if not np.any(values)]
    if dead and len(dead) < len(arrays):
        names = ", ".join(f"{channel} ({'+'.join(chosen[channel])})" for channel in dead)
        entry.add_problem("note", f"all values are zero, dropped: {names}")
        return {channel: values for channel, values in arrays.items() if channel not in dead}
    return arrays


def nothing_read(path: Path, reasons: Mapping[str, list[str]], notes: Sequence[Problem]) -> str:
    """Return the message for a file none of whose scans is a spectrum."""
    lines = [f"{names_of(keys)}: {why}" for why, keys in reasons.items()]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"and {len(lines) - SHOWN} more"]
    lines += [note.message for note in notes if not note.scan]
    if any(why.startswith("no energy axis") for why in reasons):
        lines.append("If one of them is a spectrum, say so: channels: {energy: LABEL, i0: LABEL, itrans: LABEL}.")
    listed = "\n  ".join(lines) or "it has no entries"
    return f"{path}: no spectrum could be read:\n  {listed}"


def names_of(keys: Sequence[str]) -> str:
    """Return the first few names of scans, and how many more there are."""
    return ", ".join(keys[:SHOWN]) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
