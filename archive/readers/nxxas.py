"""NeXus files of the application definition NXxas, in the three forms that share the name.

- ``intensity``: ``energy`` and ``intensity`` in the entry, with ``element`` and ``edge`` or ``absorption_edge``,
  texts or groups (the definition under discussion since 2023, with NXxas_trans, NXxas_tfy, ..., and pynxxas).
- ``beams``: ``incoming_beam`` and ``absorbed_beam`` under the instrument, ``data/mode`` (NeXus manual, NXxas).
- ``detectors``: ``i0``, ``itrans``, ``ifluor``, ``irefer`` under the instrument, as Larch writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import channel_mapping, hdf5, scans
from barospec.archive.readers.hdf5 import NXXAS
from barospec.archive.readers.subprocess_reader import read_isolated
from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Problem, Scan
from barospec.schemas.units import convert, find_unit
from barospec.schemas.vocabulary import find_edge

name = "nxxas"
version = 2
suffixes = (".nxs", ".nx", ".h5", ".hdf5")

_RAW = ("i0", "itrans", "ifluor", "irefer")
# What a mode, or the end of a definition's name, says: our mode, and whether signal/i0 is the curve.
_MODES: tuple[tuple[str, str, bool], ...] = (
    (r"trans", "transmission", False),
    (r"herfd", "herfd", True),
    (r"electron|auger|\btey\b|\bpey\b", "electron yield", True),
    (r"fluo|\btfy\b|\bpfy\b", "fluorescence", True),
)


def sniff(head: bytes, filename: str) -> bool:
    """Check whether an HDF5 file names NXxas in its first megabytes (bytes are searched, nothing is opened)."""
    if not head.startswith(hdf5.SIGNATURE):
        return False
    path = Path(filename)
    return NXXAS in head if not path.is_file() else hdf5.mentions(path, NXXAS)


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read all spectra of an NXxas file.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``channels``: vocabulary channel, or ``energy``, to a dataset's path within the entry, or to
        ``{counter: ..., unit: keV}``. Without it, what the entry's form says.

    Returns
    -------
    list of Scan
        Named like the entry; of a stack of spectra ``NAME 1``, ``NAME 2``, ... Energy in eV.

    Raises
    ------
    UnreadableFile, InvalidData
        See ``archive/readers/README.md``.
    """
    return read_isolated(__name__, path, options)


def read_scans(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read in this process what `read` reads in another: for files that are known to be sound."""
    found: list[Scan] = []
    notes: list[Problem] = []
    refused: dict[str, list[str]] = {}
    with hdf5.open_file(path, options) as file:
        for key, group in _entries(file):
            file.links.begin()
            try:
                found += _scans(key, group, path, options)
            except InvalidData as error:
                message = str(error).removeprefix(f"{path} [{key}]: ")
                notes.append(Problem("warning", f"not read: {message}", str(path), scan=key))
                refused.setdefault(message, []).append(key)
        notes += file.links.problems()
    if not found:
        raise InvalidData(channel_mapping.nothing_read(path, refused, notes))
    found[0].problems[:0] = notes
    return found


def _entries(group: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Return groups that declare NXxas: entries, and subentries of entries with several signals."""
    for key in sorted(group, key=hdf5.by_number):
        item = hdf5.get(group, key)
        if not isinstance(item, hdf5.Hdf5Group):
            continue
        if _definition(item).startswith("NXxas"):
            yield f"{prefix}{key}", item
        if depth < 2 and hdf5.attribute(item, "NX_class") in ("NXentry", "NXsubentry"):
            yield from _entries(item, f"{prefix}{key}/", depth + 1)


def _definition(group: Any) -> str:
    return hdf5.text_of(hdf5.get(group, "definition")) or hdf5.attribute(group, "definition")


@dataclass(slots=True)
class _Entry(channel_mapping.ScanEntry):
    """An NXxas entry; its counters are paths of 1-D and 2-D datasets within it."""

    group: Any = None

    def text(self, *paths: str) -> str:
        """Return the first of some strings that is there."""
        return next((text for path in paths if (text := hdf5.text_of(hdf5.get(self.group, path)).strip())), "")


def _scans(key: str, group: Any, path: Path, options: Mapping[str, Any]) -> list[Scan]:
    if _definition(group).startswith("NXxasproc"):
        raise InvalidData(f"{path} [{key}]: the definition NXxasproc (processed data) is not read; its raw file is.")
    instrument = _of_class(group, "NXinstrument", "instrument")
    entry = _Entry(key, path, _datasets(group, instrument), group=group)
    wanted = channel_mapping.wanted_channels(options, entry.place)
    mode, is_ratio = _mode(entry)
    if wanted:
        chosen = {channel: channel_mapping.named(entry, channel, given)[0][0] for channel, given in wanted.items()}
        unit = channel_mapping.named(entry, "energy", wanted["energy"])[1] if "energy" in wanted else ""
    else:
        chosen, unit = _by_form(entry, mode, is_ratio), ""
    chosen.setdefault("energy", "energy" if "energy" in entry.counters else "instrument/monochromator/energy")
    missing = [where for where in chosen.values() if where not in entry.counters]
    if missing:
        raise InvalidData(f"{entry.place}: no dataset {missing[0]}. There are {channel_mapping.listing(entry, 20)}.")
    entry.units = {where: hdf5.attribute(entry.counters[where], "units") for where in chosen.values()}
    energy = channel_mapping.in_ev(entry, chosen["energy"], unit)
    arrays = {
        channel: channel_mapping.values_of(entry, where) for channel, where in chosen.items() if channel != "energy"
    }
    conditions = _conditions(entry, instrument, mode)
    header = _header(entry, chosen)
    found: list[Scan] = []
    rows = max((values.shape[0] for values in arrays.values() if values.ndim == 2), default=1)
    for row in range(rows):
        channels = {channel: values[row] if values.ndim == 2 else values for channel, values in arrays.items()}
        odd = [f"{channel} {values.size}" for channel, values in channels.items() if values.size != energy.size]
        if odd or energy.ndim != 1:
            raise InvalidData(f"{entry.place}: {energy.size} energies, but {', '.join(odd)} values: damaged.")
        found.append(
            scans.make_scan(
                path,
                energy,
                channel_mapping.alive(entry, channels, {channel: [where] for channel, where in chosen.items()}),
                name=f"{key} {row + 1}" if rows > 1 else key,
                title=entry.text("title"),
                conditions=conditions,
                header=header,
                problems=entry.problems if not found else (),
            )
        )
    group.links.complete(found, key, group, [entry.counters[where] for where in chosen.values()], finished=True)
    return found


def _of_class(group: Any, nx_class: str, usual: str) -> Any:
    """Return the member of a NeXus class, whatever it is called; None without one."""
    usual_one = hdf5.get(group, usual)
    if usual_one is not None:
        return usual_one
    members = (hdf5.get(group, key) for key in group)
    return next((item for item in members if item is not None and hdf5.attribute(item, "NX_class") == nx_class), None)


def _datasets(group: Any, instrument: Any) -> dict[str, Any]:
    """Return numeric arrays of an entry by path, those of the instrument under ``instrument/`` whatever it is called."""
    found: dict[str, Any] = {}
    roots = [("", group), ("instrument/", instrument)]
    roots += [(f"{key}/", hdf5.get(group, key)) for key in ("data", "plot")]
    for prefix, root in roots:
        if not isinstance(root, hdf5.Hdf5Group):
            continue
        members = [(key, hdf5.get(root, key)) for key in root]
        inner = [
            (f"{key}/{name}", hdf5.get(item, name))
            for key, item in members
            if isinstance(item, hdf5.Hdf5Group) and prefix == "instrument/"
            for name in ("data", "energy")
        ]
        for key, item in (*members, *inner):
            sound = isinstance(item, hdf5.Dataset) and item.ndim in (1, 2) and item.dtype.kind in "fiu"
            if sound and item.shape[-1] > 1:
                found[f"{prefix}{key}"] = item
    return found


def _mode(entry: _Entry) -> tuple[str, bool]:
    """Return how it was detected, by ``mode`` or the definition's name, and whether signal/i0 is the curve."""
    stated = entry.text("mode", "mode/name", "data/mode")
    text = stated or re.sub(r"^NXxas_?", "", _definition(entry.group)).replace("_", " ")
    for pattern, mode, is_ratio in _MODES:
        if re.search(pattern, text, re.IGNORECASE):
            return mode, is_ratio
    return "", False


def _by_form(entry: _Entry, mode: str, is_ratio: bool) -> dict[str, str]:
    """Return channels and their datasets, by the form of the entry."""
    chosen = {key: f"instrument/{key}/data" for key in _RAW if f"instrument/{key}/data" in entry.counters}
    chosen |= {key: f"data/{key}" for key in ("mutrans", "mufluor", "murefer") if f"data/{key}" in entry.counters}
    if "intensity" in entry.counters:
        kind = "norm" if "norm" in hdf5.attribute(entry.counters["intensity"], "long_name").casefold() else "mu"
        neutral = kind == "mu" and not mode
        chosen["murecorded" if neutral else f"{kind}fluor" if is_ratio else f"{kind}trans"] = "intensity"
        if not mode:
            name = "murecorded" if neutral else "normtrans"
            entry.add_problem(
                "warning", f"no mode is stated; intensity is called {name}. Say channels: {{mufluor: intensity}} if so"
            )
        return chosen
    if "instrument/absorbed_beam/data" in entry.counters:
        if not mode:
            raise InvalidData(
                f"{entry.place}: data/mode is missing, so what absorbed_beam measures is not known. Say channels: "
                "{i0: instrument/incoming_beam/data, itrans: instrument/absorbed_beam/data} (or ifluor)."
            )
        signal = "ifluor" if is_ratio else "itrans"
        return chosen | {"i0": "instrument/incoming_beam/data", signal: "instrument/absorbed_beam/data"}
    if not set(chosen) - {"i0", "irefer"}:
        raise InvalidData(
            f"{entry.place}: neither intensity, nor absorbed_beam, nor itrans or ifluor is in it. Say channels: "
            f"{{energy: ..., mutrans: ...}}; datasets are {channel_mapping.listing(entry, 20) or 'none'}."
        )
    return chosen


def _conditions(entry: _Entry, instrument: Any, mode: str) -> dict[str, Any]:
    found: dict[str, Any] = {"technique": "xas"}
    if mode:
        found["mode"] = mode
    xray = ("sample/xrayedge", "scan/xrayedge", "data")
    element = entry.text("element", "element/symbol", "element/name", *(f"{one}/element" for one in xray))
    level = entry.text("absorption_edge", "edge", "edge/name", "absorption_edge/name", *(f"{one}/edge" for one in xray))
    edge = find_edge(f"{element} {level}") if element and level else None
    if edge:
        found["edge"] = edge
    else:
        entry.add_problem("warning", f'element is "{element}" and edge is "{level}": give the edge in the run sheet')
    texts = {
        "sample": hdf5.text_of(hdf5.get(entry.group, "sample/name")),
        "material": hdf5.text_of(hdf5.get(entry.group, "sample/chemical_formula")),
        "beamline": hdf5.text_of(hdf5.get(instrument, "beamline/name")) if instrument is not None else "",
        "facility": hdf5.text_of(hdf5.get(instrument, "source/name")) if instrument is not None else "",
    }
    found |= {term: text.strip() for term, text in texts.items() if text.strip()}
    for where, term, unit in (
        ("sample/temperature", "temperature", "K"),
        ("sample/pressure", "pressure", "GPa"),
        ("instrument/monochromator/crystal/d_spacing", "d_spacing", "Å"),
    ):
        value = _quantity(hdf5.get(entry.group, where), unit)
        if value is not None:
            found[term] = value
    start = entry.text("start_time")
    if moment := scans.utc(start):
        found["time"] = moment
    elif start:
        entry.add_problem("note", f'start_time "{start}" has no time zone; time (UTC) is left open')
    return found


def _quantity(item: Any, unit: str) -> float | None:
    """Return a scalar with a stated unit, in `unit`; None without one."""
    value, stated = hdf5.scalar(item), hdf5.attribute(item, "units")
    known, wanted = find_unit(stated) or find_unit(stated.rstrip("s")), find_unit(unit)
    if value is None or known is None or wanted is None or known.dimension != wanted.dimension or not stated:
        return None
    found = convert(value, known.symbol, unit)
    return found if np.isfinite(found) and found > 0 else None


def _header(entry: _Entry, chosen: Mapping[str, str]) -> dict[str, str]:
    header = {key: entry.text(key) for key in ("title", "start_time", "end_time", "process/program", "process/version")}
    header["definition"] = _definition(entry.group)
    header["mode"] = entry.text("mode", "mode/name", "data/mode")
    header["channels"] = ", ".join(f"{channel}: {where}" for channel, where in chosen.items())
    return {key.replace("/", "."): text for key, text in header.items() if text}
