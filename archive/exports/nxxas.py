"""NeXus: one file, an entry of the application definition NXxas for each spectrum (energy and intensity in the entry)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from barospec.archive.exports.common import Spectrum, stated, time_text
from barospec.schemas.version import __version__
from barospec.schemas.vocabulary import CHANNELS

SUFFIX = ".nxs"
_MODES = {"fluorescence": "fluorescence", "herfd": "HERFD", "electron yield": "total electron yield"}
_RAW = ("i0", "itrans", "ifluor", "irefer")
_UNITS = {"Å": "angstrom"}


def refusal(spectrum: Spectrum) -> str:
    """Return why a spectrum cannot be an NXxas entry; empty when it can."""
    return "" if spectrum.columns["technique"] == "xas" else "NXxas is for absorption spectra"


def write(spectra: Iterable[Spectrum], path: Path) -> int:
    """Write a file; returns its number of entries.

    Parameters
    ----------
    spectra : iterable of Spectrum
        Absorption spectra.
    path : Path
        The file.

    Notes
    -----
    The form of the definition that NIAC discusses since 2023 (``element``, ``absorption_edge``, ``mode``, ``energy`` and
    ``intensity`` in the entry); recorded channels lie under ``instrument``. All other fields of the archive are in
    ``process/note`` as texts with units.
    """
    import h5py

    count = 0
    with h5py.File(path, "w", libver=("earliest", "v110"), track_order=False) as file:
        file.attrs["NX_class"] = "NXroot"
        file.attrs["creator"] = f"barospec {__version__}"
        for spectrum in spectra:
            entry = _group(file, spectrum.file_name, "NXentry")
            _fill(entry, spectrum)
            if not count:
                file.attrs["default"] = spectrum.file_name
            count += 1
    return count


def _fill(entry: Any, spectrum: Spectrum) -> None:
    known = spectrum.columns
    entry.attrs["default"] = "data"
    entry["definition"] = "NXxas"
    entry["title"] = spectrum.label()
    symbol, level = str(known["edge"]).split(" ")
    entry["element"], entry["absorption_edge"] = symbol, level
    mode = str(known.get("mode") or "")
    ratio = spectrum.curve_name in ("mufluor", "normfluor")
    entry["mode"] = _MODES.get(mode, "fluorescence" if ratio else "transmission")
    if known.get("time") is not None:
        entry["start_time"] = time_text(known["time"])
    _numbers(entry, "energy", spectrum.energy, "eV")
    _numbers(entry, "intensity", spectrum.curve, "")
    entry["intensity"].attrs["long_name"] = (
        "normalized absorption" if spectrum.curve_name.startswith("norm") else "absorption"
    ) + (f" ({spectrum.warning})" if spectrum.warning else "")
    data = _group(entry, "data", "NXdata")
    data.attrs["signal"], data.attrs["axes"] = "intensity", ["energy"]
    data["energy"], data["intensity"] = entry["energy"], entry["intensity"]
    instrument = _group(entry, "instrument", "NXinstrument")
    for name in _RAW:
        if name in spectrum.channels:
            detector = _group(instrument, name, "NXmonitor" if name == "i0" else "NXdetector")
            _numbers(detector, "data", spectrum.channels[name], "")
            detector["data"].attrs["long_name"] = CHANNELS[name]
    if known.get("d_spacing") is not None:
        crystal = _group(_group(instrument, "monochromator", "NXmonochromator"), "crystal", "NXcrystal")
        _numbers(crystal, "d_spacing", known["d_spacing"], "Å")
    for group, nx_class, term in (("source", "NXsource", "facility"), ("beamline", "NXcollection", "beamline")):
        if known.get(term):
            _group(instrument, group, nx_class)["name"] = str(known[term])
    sample = _group(entry, "sample", "NXsample")
    sample["name"] = str(known["sample"]) if known.get("sample") else "unknown"
    if known.get("material"):
        sample["chemical_formula"] = str(known["material"])
    for term, unit in (("temperature", "K"), ("pressure", "GPa")):
        if known.get(term) is not None:
            _numbers(sample, term, known[term], unit)
    process = _group(entry, "process", "NXprocess")
    process["program"], process["version"] = "barospec", __version__
    note = _group(process, "note", "NXcollection")
    for name, value in known.items():
        note[name] = stated(name, value)
    note["origin"][()] = spectrum.warning or "measured"


def _group(parent: Any, name: str, nx_class: str) -> Any:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _numbers(group: Any, name: str, values: Any, unit: str) -> None:
    group.create_dataset(name, data=values, track_times=False)
    if unit:
        group[name].attrs["units"] = _UNITS.get(unit, unit)
