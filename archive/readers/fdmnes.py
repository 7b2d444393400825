"""FDMNES: calculated absorption spectra, raw (``_out.txt``) and convoluted (``_conv.txt``).

Energies in these files are relative to ``E_edge``, which stands in the first lines except in convoluted files of
old versions: those are refused unless the run sheet says ``columns: {E_edge: 8333}``. After the FDMNES users'
guide (Y. Joly, sections on output files and convolution) and the files' own headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from barospec.archive.readers import scans, tables
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Problem, Scan
from barospec.schemas.vocabulary import ELEMENTS, find_edge

name = "fdmnes"
version = 2
suffixes = ("_out.txt", "_conv.txt", ".txt", ".dat")

_COLUMNS = re.compile(r"\s*#?\s*Energy\s+(\S.*)")
_REVISION = re.compile(r"FDMNES program, Revision\s+(.*?)\s*$", re.MULTILINE)
_SITE = re.compile(r"_(\d+)(?:_conv)?$")
_SHELLS = "KLMNO"


def sniff(head: bytes, filename: str) -> bool:
    """Check whether the first lines name FDMNES, its parameters, or its column ``<xanes>``."""
    text = head.decode("latin-1")
    first = text.lstrip().split("\n", 1)[0]
    return (
        first.startswith("# FDMNES program")
        or bool(re.search(r"= *E_edge,", first))
        or bool(re.match(r"#?\s*Energy\s+<?xanes", first))
    )


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read the spectra of an FDMNES output file: one for each column ``<xanes>``.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``columns: {E_edge: 8333}`` (eV) where the file does not state it; it goes before the file's own.

    Returns
    -------
    list of Scan
        Channel ``mucalc`` as FDMNES gives it (Mbarn); energy in eV, E_edge added (not calibrated).

    Raises
    ------
    UnreadableFile, InvalidData
        See ``archive/readers/README.md``; also when E_edge is not known.
    """
    text, problems = tables.read_text(path)
    lines = text.split("\n")
    head = next(((i, match) for i, line in enumerate(lines) if (match := _COLUMNS.match(line))), None)
    if head is None:
        raise UnreadableFile(f'{path}: no line "Energy <xanes>" before the numbers: truncated, or no FDMNES output?')
    end, labels = head[0], head[1][1].split()
    table = tables.parse_table(lines[end + 1 :], end + 2, path, cut=not text.endswith("\n"))
    problems += table.problems
    taken = _curves(labels, table.values.shape[1] - 1, path, end + 1, problems)
    stated = _parameters(lines[:end])
    energy = table.values[:, 0] + _edge_energy(stated, options, path, problems)
    conditions = _conditions(stated, lines[:end], path, problems)
    header = {"header": "\n".join(line.rstrip() for line in lines[:end])}
    site = _site(path, problems)
    if site:
        conditions["absorber"] = header["fdmnes_site"] = site
    found: list[Scan] = []
    for index, label in taken.items():
        found.append(
            scans.make_scan(
                path,
                energy,
                {"mucalc": table.values[:, index]},
                name=label if len(taken) > 1 else "1",
                lines=table.lines,
                title=f"{path.stem} {label}" if len(taken) > 1 else path.stem,
                conditions=conditions,
                header=header,
                problems=problems if not found else (),
            )
        )
    return found


def _site(path: Path, problems: list[Problem]) -> str:
    """Return the site by FDMNES's number at the end of the file name; empty where it is not sure that it is one.

    Of several inequivalent absorbers FDMNES writes a file each, with the number in the name. One file alone may be
    called so by its owner; another of the same name with another number beside it settles the matter.
    """
    match = _SITE.search(path.stem)
    if match is None:
        return ""
    before, after = path.stem[: match.start(1)], path.stem[match.end(1) :] + path.suffix
    pattern = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    try:
        numbers = {found[1] for each in path.parent.iterdir() if (found := pattern.fullmatch(each.name))}
    except OSError:
        numbers = set()
    if len(numbers) > 1:
        listed = ", ".join(sorted(numbers, key=int))
        message = f"absorber is site {match[1]}, by the numbers ({listed}) at the end of the names of its files"
        problems.append(Problem("note", message, str(path)))
        return f"site {match[1]}"
    message = (
        f"the file name ends in _{match[1]}: if that is FDMNES's number of the site, say absorber: in the run sheet"
    )
    problems.append(Problem("note", message, str(path)))
    return ""


def _curves(labels: list[str], width: int, path: Path, line: int, problems: list[Problem]) -> dict[int, str]:
    """Return numbers (from 1) and names of the columns that are absorption; what comes after them is diffraction."""
    taken: dict[int, str] = {}
    for index, label in enumerate(labels[:width], 1):
        if "xanes" not in label.casefold():
            break
        plain = label.strip("<>").replace(">", "").replace("<", "")
        taken[index] = plain if plain not in taken.values() else f"{plain} ({index})"
    if not taken:
        shown = " ".join(labels)[:60]
        raise InvalidData(f'{path}:{line}: no column of it ("{shown}") is an absorption, <xanes>.')
    if len(taken) < width:
        left = f"{width - len(taken)} columns after {labels[len(taken) - 1]} are not absorption and are skipped"
        problems.append(Problem("note", left, str(path), line))
    return taken


def _parameters(lines: list[str]) -> dict[str, float]:
    """Return parameters that the header states as ``1.5 2.5 = A, B``, by name."""
    stated: dict[str, float] = {}
    for line in lines:
        numbers, equals, names = line.lstrip("# ").partition("=")
        if equals:
            values = [tables.numeric(cell) for cell in numbers.split()]
            pairs = zip((part.strip() for part in names.split(",")), values, strict=False)
            stated |= {key: value for key, value in pairs if value is not None}
    return stated


def _edge_energy(stated: Mapping[str, float], options: Mapping[str, Any], path: Path, problems: list[Problem]) -> float:
    columns = options.get("columns")
    if columns and (not isinstance(columns, Mapping) or {str(key).casefold() for key in columns} != {"e_edge"}):
        raise InvalidData(f"{path}: an FDMNES file takes columns: {{E_edge: 8333}} only, not {columns!r}.")
    given, own = scans.edge_energy_from(options, path), stated.get("E_edge")
    if given is not None:
        if own is not None and own != given:
            message = f"E_edge is {own:g} eV in the file, {given:g} eV as stated; the latter is added"
            problems.append(Problem("note", message, str(path)))
        return given
    if own is None:
        raise InvalidData(
            f"{path}: its energies are relative to an E_edge that it does not state (convoluted by an old version). "
            "Take it from the raw output beside it and say columns: {E_edge: 8333} (eV) in the run sheet."
        )
    if not scans.PLAUSIBLE_EV[0] <= own <= scans.PLAUSIBLE_EV[1]:
        raise InvalidData(f"{path}: E_edge is {own:g} eV, which is no edge of an element: damaged?")
    return own


def _conditions(stated: Mapping[str, float], lines: list[str], path: Path, problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "technique": "xas",
        "origin": "calculated",
        "mode": "calculation",
        "energy_calibration": "calculated",
        "code": "FDMNES",
    }
    revision = _REVISION.search("\n".join(lines))
    if revision:
        found["code_version"] = re.sub(r"(\d)(?:st|nd|rd|th) of ", r"\1 ", revision[1])
    widths = [f"{key}={stated[key]:g} eV" for key in ("Gamma_hole", "Gamma_max", "E_cut", "Shift") if key in stated]
    found["method"] = f"convoluted: {', '.join(widths)}" if widths else "not convoluted"
    if "Z" not in stated and not widths:
        found.pop("method")  # an old convoluted file says neither
    edge = _edge(stated)
    if edge:
        found["edge"] = edge
    else:
        message = "the file does not state one edge (Z, n_edge, j_edge); give it in the run sheet"
        problems.append(Problem("warning", message, str(path)))
    return found


def _edge(stated: Mapping[str, float]) -> str | None:
    """Return the edge by Z, shell and subshell; None when two edges (L2 and L3) are calculated together."""
    try:
        z, shell, sub = (int(stated[key]) for key in ("Z", "n_edge", "j_edge"))
    except (KeyError, ValueError, OverflowError):
        return None
    # ninit1 of ninitl initial states belong to the first edge.
    together = stated.get("ninitl", 1) != stated.get("ninit1", stated.get("ninitl", 1))
    if together or not 0 < z <= len(ELEMENTS) or not 0 < shell <= len(_SHELLS):
        return None
    return find_edge(f"{ELEMENTS[z - 1]} {_SHELLS[shell - 1]}{sub if shell > 1 else ''}")
