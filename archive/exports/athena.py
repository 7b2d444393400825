"""Athena projects: gzipped Perl text as Demeter writes it, with the parameters that came with a group written back."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.exports.common import Floats, Spectrum, json_header, states_origin
from barospec.schemas.version import __version__

SUFFIX = ".prj"
_RECORD = "[record]   # create object and set arrays in ifeffit\n\n"
# Channels that make the curve: Athena's i0 and signal.
_MADE_OF = {"mutrans": ("i0", "itrans"), "mufluor": ("i0", "ifluor"), "murefer": ("itrans", "irefer")}


def refusal(spectrum: Spectrum) -> str:
    """Return why a spectrum cannot be a group of a project; empty when it can."""
    return "" if spectrum.columns["technique"] == "xas" else "Athena is for absorption spectra"


def write(spectra: Iterable[Spectrum], path: Path) -> int:
    """Write a project; returns its number of groups.

    Parameters
    ----------
    spectra : iterable of Spectrum
        Absorption spectra, one group each.
    path : Path
        The file.

    Notes
    -----
    The energies are as recorded; ``bkg_eshift`` is the archive's `energy_shift`, so that a calibration of the archive
    reaches Athena. Every other parameter is the one that came with the group, where one did.
    """
    keys: set[str] = set()
    count = 0
    journal: list[str] = []
    with path.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
        out = io.TextIOWrapper(packed, encoding="utf-8", newline="\n")
        out.write("# Athena project file -- Demeter version 0.9.26\n")
        out.write(f"# Written by barospec {__version__}\n\n")
        for spectrum in spectra:
            key = _key(spectrum, keys)
            if spectrum.warning:
                journal.append(f"{key}: {spectrum.warning}")
            out.write(f"$old_group = '{key}';\n")
            args = [item for pair in sorted(_args(spectrum).items()) for item in pair]
            out.write(f"@args = {perl(tuple(args))};\n")
            for name, values in _arrays(spectrum).items():
                out.write(f"@{name} = ({','.join(map(_number, values.tolist()))});\n")
            metadata = json_header(spectrum.header.get("athena_xdi"))
            if metadata:
                out.write(f"$xdi = bless( {perl(metadata)}, 'Xray::XDI' );\n")
            out.write(_RECORD)
            count += 1
        out.write(f"@journal = {perl(tuple(journal))};\n\n1;\n\n# Local Variables:\n# truncate-lines: t\n# End:\n")
        out.flush()
        out.detach()
    return count


def _key(spectrum: Spectrum, taken: set[str]) -> str:
    key = str(spectrum.header.get("group") or "")
    if not re.fullmatch(r"[A-Za-z]\w*", key) or key in taken:
        key = f"b{spectrum.identifier}"
    taken.add(key)
    return key


def _args(spectrum: Spectrum) -> dict[str, Any]:
    args = json_header(spectrum.header.get("athena"))
    known = spectrum.columns
    symbol, level = str(known["edge"]).split(" ")
    if not args:
        args = {"label": spectrum.label(), "datatype": "xmu", "is_xmu": 1, "titles": []}
        args |= {"importance": 1, "multiplier": 1, "is_nor": int(spectrum.curve_name.startswith("norm"))}
        args["ln"] = int(spectrum.curve_name in ("mutrans", "murefer") and _channels(spectrum) is not None)
    label = str(args.get("label") or spectrum.label())
    if spectrum.warning and not states_origin(label, spectrum):
        label = f"{label} ({str(known['origin']).upper()})"
    args |= {"label": label, "bkg_z": symbol.lower(), "fft_edge": level.lower()}
    shift = known.get("energy_shift")
    if shift is not None or args.get("bkg_eshift") not in (None, "", 0, "0"):
        stated = args.get("bkg_eshift")
        if _as_float(stated) != (shift or 0.0):  # text that says the same number stays as it was written
            args["bkg_eshift"] = shift or 0
    return args


def _as_float(text: Any) -> float | None:
    try:
        return float(str(text).strip() or 0)
    except ValueError:
        return None


def _channels(spectrum: Spectrum) -> tuple[Floats, Floats] | None:
    names = _MADE_OF.get(spectrum.curve_name)
    if names is None or any(name not in spectrum.channels for name in names):
        return None
    return spectrum.channels[names[0]], spectrum.channels[names[1]]


def _arrays(spectrum: Spectrum) -> dict[str, Floats]:
    arrays = {"x": spectrum.energy, "y": spectrum.curve}
    made_of = _channels(spectrum)
    if made_of is not None:
        arrays |= {"i0": made_of[0], "signal": made_of[1]}
    elif "i0" in spectrum.channels:
        arrays["i0"] = spectrum.channels["i0"]
    if "sigma" in spectrum.channels:
        arrays["stddev"] = spectrum.channels["sigma"]
    return arrays


def _number(value: float) -> str:
    return f"'{value!r}'" if np.isfinite(value) else "undef"


def perl(value: Any) -> str:
    r"""Write a value as Data::Dumper does.

    >>> perl(("label", "it's", 1, [2.5, None], {"a": "b"}))
    "('label','it\\'s',1,['2.5',undef],{'a' => 'b'})"
    """
    if value is None:
        return "undef"
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, float):
        return f"'{value!r}'"
    if isinstance(value, tuple):
        return f"({','.join(map(perl, value))})"
    if isinstance(value, list):
        return f"[{','.join(map(perl, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{perl(str(key))} => {perl(item)}" for key, item in value.items()) + "}"
    # A project is read line by line, and Data::Dumper's single quotes have no word for a line's end.
    text = str(value) if isinstance(value, str) else json.dumps(value)
    text = text.replace("\r", " ").replace("\n", " ")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
