"""FEFF ``xmu.dat``: a calculated absorption spectrum.

Columns omega, e, k, mu, mu0, chi as the FEFF documentation has them: omega is the absolute photon energy in
eV, mu is divided by the edge step at 50 eV. The header carries FEFF's settings; the atoms of the cluster are
only in ``feff.inp``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import scans, tables
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Problem, Scan
from barospec.schemas.vocabulary import ELEMENTS, find_edge

name = "feff"
version = 1
suffixes = ("xmu.dat",)

_CODE = re.compile(r"\bfeff\s*([\d.]+\S*)", re.IGNORECASE)
_ABSORBER = re.compile(r"Abs\s+Z=\s*(\d+).*?\b([KLM]\d?)\s+shell")
_COLUMNS = re.compile(r"^omega\s+e\s+k\s+mu\s+mu0\s+chi\b")
# A window of at least this many eV below the edge is what default normalizations fit a line to.
_PRE_EDGE = 30.0


def sniff(head: bytes, filename: str) -> bool:
    """Check whether the header names FEFF in its first line and the absorbing atom in the next ones."""
    text = head.decode("latin-1")
    return text.startswith("#") and bool(_CODE.search(text.split("\n", 1)[0])) and "Abs   Z=" in text


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read the spectrum of an ``xmu.dat``.

    Parameters
    ----------
    path : Path
        The file. A ``feff.inp`` beside it gives the number of atoms.
    options : mapping
        None is used.

    Returns
    -------
    list of Scan
        One scan with channels ``mucalc`` and ``mu0calc``, energy in eV as FEFF gives it (not calibrated).

    Raises
    ------
    UnreadableFile, InvalidData
        See ``archive/readers/README.md``.
    """
    text, problems = tables.read_text(path)
    lines = text.split("\n")
    # FEFF 10 comments its lines twice, and some not at all: the column line decides where the header ends.
    plain = [re.sub(r"^[\s#]+", "", line).rstrip() for line in lines]
    end = next((i for i, line in enumerate(plain) if _COLUMNS.match(line)), None)
    if end is None:
        raise UnreadableFile(f'{path}: no line "omega e k mu mu0 chi" before the numbers: truncated, or no xmu.dat?')
    table = tables.parse_table(lines[end + 1 :], end + 2, path, cut=not text.endswith("\n"))
    problems += table.problems
    if table.values.shape[1] != 6:
        raise InvalidData(
            f"{path}:{end + 2}: rows have {table.values.shape[1]} columns; xmu.dat has 6 (omega e k mu mu0 chi)."
        )
    energy = table.values[:, 0]
    header = _header(plain[:end])
    conditions = _conditions(plain[:end], path, problems)
    _add_cluster(conditions, header, path, problems)
    _tell_range(energy, table.values[:, 2], path, problems)
    return [
        scans.make_scan(
            path,
            energy,
            {"mucalc": table.values[:, 3], "mu0calc": table.values[:, 4]},
            lines=table.lines,
            title=header.get("title", ""),
            conditions=conditions,
            header=header,
            problems=problems,
        )
    ]


def _tell_range(energy: tables.Array, k: tables.Array, path: Path, problems: list[Problem]) -> None:
    """Note when there is too little before the Fermi level, where FEFF's k passes zero."""
    sound = np.isfinite(energy) & np.isfinite(k)
    if not sound.any():
        return
    below = float(energy[sound][np.argmin(np.abs(k[sound]))] - energy[sound][0])
    if below < _PRE_EDGE:
        message = (
            f"only {below:.1f} eV lie below the Fermi level, too few for default normalization windows; "
            "mu is already divided by its edge step"
        )
        problems.append(Problem("note", message, str(path)))


def _header(plain: list[str]) -> dict[str, str]:
    header = {"header": "\n".join(plain)}
    title = _CODE.sub("", plain[0]).strip() if plain else ""
    title = re.sub(r"^name:\s*", "", title)
    return header | ({"title": title} if title else {})


def _conditions(plain: list[str], path: Path, problems: list[Problem]) -> dict[str, Any]:
    text = "\n".join(plain)
    found: dict[str, Any] = {
        "technique": "xas",
        "origin": "calculated",
        "mode": "calculation",
        "energy_calibration": "calculated",
        "code": "FEFF",
    }
    code = _CODE.search(plain[0]) if plain else None
    if code:
        found["code_version"] = code[1]
    absorber = _ABSORBER.search(text)
    edge = None
    if absorber and 0 < int(absorber[1]) <= len(ELEMENTS):
        edge = find_edge(f"{ELEMENTS[int(absorber[1]) - 1]} {absorber[2]}")
    if edge:
        found["edge"] = edge
    else:
        message = 'no line "Abs Z=... K shell" in the header: the edge is not known; give it in the run sheet'
        problems.append(Problem("warning", message, str(path)))
    radius = re.search(r"\bFMS\s+rfms=\s*([\d.]+)", text)
    value = tables.numeric(radius[1]) if radius else None
    if value is not None and value > 0:
        found["cluster_radius"] = value
    found["method"] = _method(plain)
    return found


def _method(plain: list[str]) -> str:
    """Return FEFF's settings, mostly in its own words, in the order of the header."""
    parts = []
    for line in plain:
        potentials = re.match(r"POT\s+(.*)", line)
        if potentials:
            parts.append(" ".join(potentials[1].split()))
        exchange = re.match(r"Gam_ch=\s*(\S+)\s+(.*)", line)
        if exchange:
            parts.append(f"{' '.join(exchange[2].split())}, Gam_ch={exchange[1]}")
        if re.match(r"FMS\s+rfms=", line):
            parts.append("full multiple scattering")  # its radius is a term of its own, cluster_radius
        paths = re.match(r"PATH\s+Rmax=\s*([\d.]+)", line)
        if paths:
            parts.append(f"paths up to {paths[1]} Å")
        amplitude = re.match(r"S02=\s*(\S+)", line)
        if amplitude:
            parts.append(f"S02={amplitude[1]}")
    return "; ".join(parts)


def _add_cluster(conditions: dict[str, Any], header: dict[str, str], path: Path, problems: list[Problem]) -> None:
    """Count the atoms within the full-multiple-scattering radius from the ``feff.inp`` beside the file."""
    radius = conditions.get("cluster_radius")
    beside = path.with_name("feff.inp")
    if radius is None or not beside.is_file():
        return

    def add_problem(message: str) -> None:
        problems.append(Problem("warning", f"{message}; cluster_atoms is left open", str(beside)))

    data = beside.read_bytes()
    cards, atoms, scale = _read_input(data.decode("latin-1"))
    stated = tables.numeric((cards.get("FMS") or [""])[0])
    if stated is None or abs(stated - radius) > 1e-3:
        add_problem(f"FMS radius {' '.join(cards.get('FMS', ['is missing']))}, but xmu.dat was made with {radius}")
        return
    centers = [atom for atom in atoms if atom[3] == 0]
    if len(centers) != 1:
        add_problem(f"{len(atoms)} atoms, of which {len(centers)} are the absorber (potential 0)")
        return
    xyz = np.array([atom[:3] for atom in atoms], dtype=np.float64) * scale
    distance = np.linalg.norm(xyz - np.array(centers[0][:3], dtype=np.float64) * scale, axis=1)
    if distance.max() <= radius:
        add_problem(f"its farthest atom is at {distance.max():.3f} Å, within the FMS radius of {radius} Å")
        return
    conditions["cluster_atoms"] = int((distance <= radius).sum())
    header["cluster_atoms_from"] = f"feff.inp beside the file, sha256 {hashlib.sha256(data).hexdigest()}"


def _read_input(text: str) -> tuple[dict[str, list[str]], list[tuple[float, float, float, int]], float]:
    """Read cards, atoms (x, y, z, potential), and the factor on coordinates of a ``feff.inp``."""
    cards: dict[str, list[str]] = {}
    atoms: list[tuple[float, float, float, int]] = []
    listing = False
    for line in text.splitlines():
        words = line.split("*")[0].split()
        if not words:
            continue
        numbers = [tables.numeric(word) for word in words[:4]]
        if words[0][0].isalpha():
            card = words[0].upper()
            cards.setdefault(card, words[1:])
            listing = card == "ATOMS"
            if card == "END":
                break
        elif listing and len(numbers) == 4 and None not in numbers:
            x, y, z, potential = (float(number) for number in numbers if number is not None)
            atoms.append((x, y, z, int(potential)))
    scale = tables.numeric((cards.get("RMULTIPLIER") or ["1"])[0])
    return cards, atoms, 1.0 if scale is None else scale
