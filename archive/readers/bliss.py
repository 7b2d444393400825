"""ESRF BLISS HDF5 (NeXus): scans ``n.1``, ``n.2``, ... with counters under ``measurement``.

An entry with an energy axis is a spectrum; others (cameras, pyrometers, alignments) are passed over, with
a note among the problems of the first scan. When no entry can be read, the error lists them with reasons.
Which counter is what follows the tables of ``channel_mapping.py``, or the caller's ``channels``; the choice
is kept in the scan's header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import channel_mapping, hdf5, sample_environment, scans
from barospec.archive.readers.hdf5 import NXXAS
from barospec.archive.readers.subprocess_reader import call_isolated, read_isolated
from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Problem, Scan

name = "bliss"
version = 2
suffixes = (".h5", ".hdf5", ".nx", ".nxs")


@dataclass(slots=True)
class _Entry(channel_mapping.ScanEntry):
    """An entry with the group it came from."""

    group: Any = None

    def text(self, key: str) -> str:
        """Return a string of the entry, "" when missing or unreadable."""
        return hdf5.text_of(hdf5.get(self.group, key))


def sniff(head: bytes, filename: str) -> bool:
    """Check whether an HDF5 file names BLISS, or has a ``measurement``, in its first megabytes.

    The bytes are searched, without the HDF5 library: a damaged file may crash that.
    """
    if not head.startswith(hdf5.SIGNATURE):
        return False
    path = Path(filename)
    if not path.is_file():
        return NXXAS not in head
    # Converters to NXxas keep names of the BLISS file they began with.
    return hdf5.mentions(path, rb"bliss|measurement") and not hdf5.mentions(path, NXXAS)


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read all spectra of a BLISS file, in the order of their numbers.

    Parameters
    ----------
    path : Path
        The file; links to other files are followed to those below the folder that is ingested.
    options : mapping
        ``channels``: vocabulary channel, or ``energy``, to a counter's name, to a list of counters to be
        summed, or to ``{counter: ..., unit: keV}``. Channels that it does not name follow the tables of ``channel_mapping.py``.

    Returns
    -------
    list of Scan
        Energy in eV, named like the entry ("39.1").

    Raises
    ------
    UnreadableFile
        For a damaged or truncated file, or one that is being written.
    InvalidData
        When no entry is a spectrum, or it is not clear which counters make one.
    """
    return read_isolated(__name__, path, options)


def read_scans(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read in this process what `read` reads in another: for files that are known to be sound."""
    taken = _take(path, options)
    if not taken.scans:
        raise InvalidData(channel_mapping.nothing_read(path, taken.refused | taken.other, taken.notes))
    taken.scans[0].problems[:0] = taken.all_notes(path)
    return taken.scans


def read_since(
    path: Path, options: Mapping[str, Any], seen: Sequence[str]
) -> tuple[list[Scan], list[str], list[Problem]]:
    """Read what is new in a growing file; entries that were seen are not opened.

    Parameters
    ----------
    path, options
        As in `read`.
    seen : sequence of str
        Names of entries that had ended when the file was read before.

    Returns
    -------
    scans : list of Scan
        Spectra among the other entries, none if there is none yet.
    ended : list of str
        Entries looked at now, spectra or not, that have ended: `seen` for the next time.
    problems : list of Problem
        About the file and its other entries.
    """
    scans_now, ended, problems = call_isolated(__name__, "scans_since", path, options, list(seen))
    return scans_now, ended, problems


def scans_since(
    path: Path, options: Mapping[str, Any], seen: Sequence[str]
) -> tuple[list[Scan], list[str], list[Problem]]:
    """Read in this process what `read_since` reads in another."""
    taken = _take(path, options, frozenset(seen), finished=False)
    return taken.scans, taken.ended, taken.all_notes(path)


@dataclass(slots=True)
class _Taken:
    """Outcome of a file's entries; `refused` and `other` map a reason to the entries it holds for."""

    scans: list[Scan] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    other: dict[str, list[str]] = field(default_factory=dict)

    def all_notes(self, path: Path) -> list[Problem]:
        problems = [
            Problem("note", f"no spectrum in {channel_mapping.names_of(keys)}: {why}", str(path))
            for why, keys in self.other.items()
        ]
        return [*self.notes, *problems]


def _take(path: Path, options: Mapping[str, Any], seen: frozenset[str] = frozenset(), finished: bool = True) -> _Taken:
    taken = _Taken()
    with hdf5.open_file(path, options) as file:
        entries = _entries(file, path, taken.notes, seen)
        for key, group in entries:
            file.links.begin()
            try:
                taken.scans.append(_scan(key, group, _slow(key, entries, path), path, options, finished))
            except channel_mapping.NoSpectrum as reason:
                taken.other.setdefault(str(reason), []).append(key)
            except InvalidData as error:
                message = str(error).removeprefix(f"{path} [{key}]: ")
                taken.notes.append(Problem("warning", f"not read: {message}", str(path), scan=key))
                taken.refused.setdefault(message, []).append(key)
        open_ones = {_number(key) for key, group in entries if not hdf5.text_of(hdf5.get(group, "end_time"))}
        # As long as one part of a scan goes on, such as its slow channels, the others are looked at again.
        taken.ended = [key for key, _ in entries if _number(key) not in open_ones]
        taken.notes += file.links.problems()
    return taken


def _number(key: str) -> str:
    """Return the number that the parts of a scan share: ``39`` of ``39.1`` and ``39.2``."""
    return key.rpartition(".")[0] or key


def _entries(
    file: hdf5.Hdf5Group, path: Path, notes: list[Problem], seen: frozenset[str]
) -> list[tuple[str, hdf5.Hdf5Group]]:
    """Open entries not seen before, by number; one note for each file whose links cannot be followed."""
    found = []
    broken: dict[str, list[str]] = {}
    for key in sorted(set(file) - seen, key=hdf5.by_number):
        group = hdf5.get(file, key)
        if isinstance(group, hdf5.Hdf5Group):
            found.append((key, group))
        elif group is None:
            target = file.target(key)
            if not file.links.why_not(target):
                broken.setdefault(target or "another place in this file", []).append(key)
    for target, keys in broken.items():
        names = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
        message = f"{len(keys)} entries ({names}) link to {target}, which is not there or cannot be read"
        notes.append(Problem("note", message, str(path)))
    default = hdf5.attribute(file, "default")
    if default and hdf5.get(file, default) is None:
        notes.append(Problem("note", f'the default entry "{default}" is not in the file', str(path)))
    return found


def _slow(key: str, entries: Sequence[tuple[str, hdf5.Hdf5Group]], path: Path) -> list[channel_mapping.ScanEntry]:
    """Return the other parts of a scan: ``n.2``, with channels that are recorded slowly, for ``n.1``."""
    number, _, _ = key.rpartition(".")
    others = ((other, group) for other, group in entries if other != key and other.rpartition(".")[0] == number)
    return [_entry(other, group, path, 1) for other, group in others if number]


def _entry(key: str, group: hdf5.Hdf5Group, path: Path, least: int = 2) -> _Entry:
    found = _counters(group, least)
    # Attributes cost as much as small arrays; only units that decide something are read.
    with_units = {name for name in found if channel_mapping.is_energy(name)} | set(
        sample_environment.like_thermometers(found)
    )
    data = hdf5.get(group, hdf5.attribute(group, "default") or "plotselect")
    names = hdf5.get(group, "techniques/names")
    emission = names is not None and b"XES" in np.asarray(names[()]).astype(bytes).ravel()
    return _Entry(
        key,
        path,
        found,
        units={name: unit for name in with_units if (unit := hdf5.attribute(found[name], "units"))},
        technique="xes" if emission else "",
        plotted=(hdf5.attribute(data, "axes"), hdf5.attribute(data, "signal")),
        group=group,
    )


def _scan(
    key: str,
    group: hdf5.Hdf5Group,
    slow: Sequence[channel_mapping.ScanEntry],
    path: Path,
    options: Mapping[str, Any],
    finished: bool,
) -> Scan:
    entry = _entry(key, group, path)
    if not entry.counters:
        raise channel_mapping.NoSpectrum("no 1-D counters under measurement")
    status = entry.text("writer/status").upper()
    if not entry.text("end_time"):
        if status and status not in ("SUCCEEDED", "FAILED"):
            raise channel_mapping.NoSpectrum(f"not finished (writer status {status}); read the file again later")
        entry.add_problem("warning", "no end_time: the scan may be unfinished")
    if (ended := entry.text("end_reason")) and ended.upper() != "SUCCESS":
        entry.add_problem("warning", f"the scan ended with {ended}")
    wanted = channel_mapping.wanted_channels(options, entry.place)
    technique, axis, unit = channel_mapping.find_axis(entry, wanted.get("energy"))
    chosen = channel_mapping.choose(entry, technique, axis, wanted)
    energy = channel_mapping.in_ev(entry, axis, unit or hdf5.attribute(entry.counters[axis], "units"))
    arrays = {"energy": energy}
    arrays |= {channel: channel_mapping.sum_of(entry, names) for channel, names in chosen.items()}
    arrays = _same_length(entry, arrays)
    conditions = {"technique": technique} | _conditions(entry, technique)
    conditions |= sample_environment.temperature(entry, slow, wanted.get("temperature"))
    header = _header(entry, {"energy": [axis], **chosen}) | sample_environment.dead_time(entry, chosen)
    scan = scans.make_scan(
        path,
        arrays.pop("energy"),
        channel_mapping.alive(entry, arrays, chosen),
        name=key,
        title=entry.text("title"),
        conditions=conditions,
        header=header,
        problems=entry.problems,
    )
    used = [entry.counters[counter] for counter in (axis, *(name for names in chosen.values() for name in names))]
    group.links.complete([scan], key, group, used, finished)
    return scan


def _counters(group: hdf5.Hdf5Group, least: int) -> dict[str, hdf5.Dataset]:
    """Return 1-D numeric counters of an entry with at least `least` points, by name."""
    measurement = hdf5.get(group, "measurement")
    if not isinstance(measurement, hdf5.Hdf5Group):
        return {}
    items = ((key, hdf5.get(measurement, key)) for key in measurement)
    return {
        key: item
        for key, item in items
        if isinstance(item, hdf5.Dataset) and item.ndim == 1 and item.size >= least and item.dtype.kind in "fiu"
    }


def _same_length(entry: channel_mapping.ScanEntry, arrays: dict[str, scans.Array]) -> dict[str, scans.Array]:
    """Cut fast and slow channels of one scan, which may differ by a point, to the shortest."""
    sizes = {channel: values.size for channel, values in arrays.items()}
    shortest, longest = min(sizes.values()), max(sizes.values())
    if shortest == longest:
        return arrays
    listing = ", ".join(f"{channel} {size}" for channel, size in sizes.items())
    if longest - shortest > max(2, shortest // 100):
        raise InvalidData(
            f"{entry.place}: the channels differ in length ({listing} points), so which points belong "
            "together is not "
            "known. Choose counters of one length under channels:."
        )
    entry.add_problem("warning", f"lengths differ ({listing} points); all are cut to the first {shortest}")
    return {channel: values[:shortest] for channel, values in arrays.items()}


def _conditions(entry: _Entry, technique: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if sample := entry.text("sample/name"):
        found["sample"] = sample
    instrument = hdf5.get(entry.group, "instrument/name")
    full, short = hdf5.text_of(instrument), hdf5.attribute(instrument, "short_name")
    facility = entry.text("instrument/machine/name") or (full.split("-")[0].upper() if "-" in full else "")
    if facility:
        found["facility"] = facility
    if short:
        found["beamline"] = short.upper()
    start = entry.text("start_time")
    if moment := scans.utc(start):
        found["time"] = moment
    elif start:
        entry.add_problem("note", f'start_time "{start}" has no time zone; time (UTC) is left open')
    if technique == "xes":
        item = hdf5.get(entry.group, "instrument/positioners/energy")
        unit = hdf5.attribute(item, "units").casefold()
        value = hdf5.scalar(item)
        if value is not None and np.isfinite(value) and unit in ("kev", "ev"):
            found["excitation_energy"] = float(f"{value * (1000 if unit == 'kev' else 1):.10g}")
    return found


def _header(entry: _Entry, chosen: Mapping[str, list[str]]) -> dict[str, str]:
    """Return what the file says about the scan, without directories, which hold proposal numbers and names."""
    header = {key: entry.text(key) for key in ("title", "start_time", "end_time", "end_reason")}
    header["creator"] = (
        f"{hdf5.attribute(entry.group.root, 'creator')} {hdf5.attribute(entry.group.root, 'creator_version')}"
    )
    header["channels"] = ", ".join(f"{channel}: {'+'.join(names)}" for channel, names in chosen.items())
    positioners = hdf5.get(entry.group, "instrument/positioners")
    unknown = []
    for key in positioners if isinstance(positioners, hdf5.Hdf5Group) else ():
        item = hdf5.get(positioners, key)
        if getattr(item, "shape", None) != ():
            continue
        value = hdf5.scalar(item)
        if value is None or not np.isfinite(value):
            unknown.append(key)
            continue
        header[f"positioners.{key}"] = f"{value:.10g} {hdf5.attribute(item, 'units')}".strip()
    if unknown:
        names = ", ".join(unknown[: channel_mapping.SHOWN]) + (", ..." if len(unknown) > channel_mapping.SHOWN else "")
        entry.add_problem("note", f"{len(unknown)} positioners have no value ({names})")
    return {key: text for key, text in header.items() if text.strip()}
