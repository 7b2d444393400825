"""XDI 1.0: one text file a spectrum, after the specification and dictionary of the XDI working group
(https://github.com/XraySpectroscopy/XAS-Data-Interchange).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from barospec.archive.exports.common import Floats, Spectrum, stated, time_text
from barospec.schemas.units import convert
from barospec.schemas.version import __version__

SUFFIX = ".xdi"
# The dictionary's fields; everything else that is known goes into our own namespace.
_FIELDS = {
    "Facility.name": "facility",
    "Beamline.name": "beamline",
    "Mono.name": "monochromator",
    "Sample.name": "sample",
}
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_TOLD = ("technique", "edge", "element", "point_count", "energy_min", "energy_max", "status")


def refusal(spectrum: Spectrum) -> str:
    """Return why a spectrum cannot be an XDI file; empty when it can."""
    if spectrum.columns["technique"] != "xas":
        return "XDI is for absorption spectra"
    keep = np.isfinite(spectrum.energy) & np.isfinite(spectrum.curve)
    return "" if keep.any() else "no point has a value"


def write(spectrum: Spectrum, path: Path) -> None:
    """Write one spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        An absorption spectrum.
    path : Path
        The file.

    Notes
    -----
    Points without a value in the curve are excluded, since the format has no word for them, and counted in
    ``Barospec.points_left_out``; channels with further gaps are excluded as a whole. `energy_shift` is a field and is not
    added.
    """
    keep = np.isfinite(spectrum.energy) & np.isfinite(spectrum.curve)
    columns: dict[str, Floats] = {"energy": spectrum.energy[keep], spectrum.curve_name: spectrum.curve[keep]}
    gaps = []
    for name, values in spectrum.channels.items():
        if name in columns:
            continue
        if np.isfinite(values[keep]).all():
            columns[name] = values[keep]
        else:
            gaps.append(name)
    symbol, level = str(spectrum.columns["edge"]).split(" ")
    fields = {f"Column.{number}": name for number, name in enumerate(columns, 1)}
    fields["Column.1"] = "energy eV"
    fields |= {"Element.symbol": symbol, "Element.edge": level, **_known_fields(spectrum)}
    fields |= {
        f"Barospec.{name}": stated(name, value)
        for name, value in spectrum.columns.items()
        if name not in (*_FIELDS.values(), *_TOLD, "origin", "time", "d_spacing", "material", "temperature")
    }
    fields["Barospec.origin"] = spectrum.warning or "measured"
    if not keep.all():
        fields["Barospec.points_left_out"] = str(int((~keep).sum()))
    if gaps:
        fields["Barospec.channels_left_out"] = " ".join(gaps)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"# XDI/1.0 barospec/{__version__}\n")
        file.writelines(f"# {name}: {' '.join(value.split())}\n" for name, value in fields.items())
        file.write("# ///\n# ---\n")
        file.write(f"# {' '.join(columns)}\n")
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            file.write("  " + "  ".join(map(repr, row)) + "\n")


def _known_fields(spectrum: Spectrum) -> dict[str, str]:
    known = spectrum.columns
    fields = {name: str(known[term]) for name, term in _FIELDS.items() if known.get(term)}
    if spectrum.warning:
        fields["Sample.name"] = spectrum.label()
    if known.get("d_spacing") is not None:
        fields["Mono.d_spacing"] = f"{known['d_spacing']!r}"
    if known.get("material") and _FORMULA.fullmatch(str(known["material"])):
        fields["Sample.stoichiometry"] = str(known["material"])
    if known.get("temperature") is not None:
        fields["Sample.temperature"] = f"{known['temperature']!r} K"
    if known.get("pressure") is not None:  # the dictionary knows no GPa
        fields["Sample.pressure"] = f"{convert(known['pressure'], 'GPa', 'Pa')!r} Pa"
    if known.get("time") is not None:
        fields["Scan.start_time"] = time_text(known["time"])
    return fields
