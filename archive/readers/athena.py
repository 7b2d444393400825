"""Athena projects (``.prj``): every group that is a curve over energy.

Energies are those of the file; the shift that Athena adds is the condition ``energy_shift``. All parameters of
a group are kept in the header as JSON under ``athena``, its XDI metadata under ``athena_xdi``. A group of the
reference channel has the curve ``murefer``; where it shares grid and shift with its sample, the sample's scan
carries that curve too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import athena_project, scans, tables
from barospec.archive.readers.athena_project import AthenaGroup, Project
from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Problem, Scan
from barospec.schemas.vocabulary import find_edge

name = "athena"
version = 2
suffixes = (".prj",)

_NO_CURVE = ("chi", "xmudat", "background", "detector")
_XDI_TERMS = {
    ("facility", "name"): "facility",
    ("beamline", "name"): "beamline",
    ("mono", "name"): "monochromator",
    ("sample", "name"): "sample",
}
# Recorded mu and mu formed from i0 and signal agree to the digits of the file.
_AGREES = 1e-6


def sniff(head: bytes, filename: str) -> bool:
    """Check whether the file, unpacked if need be, names itself an Athena project."""
    return athena_project.MARK in athena_project.beginning(head)


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read all curves over energy of a project.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        None is used.

    Returns
    -------
    list of Scan
        Named by the group's label, in the order of the project; a label that stands twice is followed by the
        group's key from its second use on. Energy in eV without Athena's shift.

    Raises
    ------
    UnreadableFile, InvalidData
        See ``archive/readers/README.md``; a group that is no spectrum is a problem of the first scan.
    """
    project = athena_project.read_project(path)
    notes = list(project.problems)
    names = _names(project, path, notes)
    found: list[Scan] = []
    for group in project.groups:
        try:
            found.append(_scan(group, names, project, path))
        except InvalidData as error:
            message = str(error).removeprefix(f"{path} [{names[id(group)]}]: ")
            notes.append(Problem("warning", f"not read: {message}", str(path), group.line, scan=names[id(group)]))
    if not found:
        listing = "\n  ".join(str(note) for note in notes) or "it has no groups"
        raise InvalidData(f"{path}: no group of the project is a spectrum:\n  {listing}")
    if project.journal.strip():
        found[0].header["journal"] = athena_project.without_folders(project.journal)
    found[0].problems[:0] = notes
    return found


def _names(project: Project, path: Path, notes: list[Problem]) -> dict[int, str]:
    """Return a name of its own for each group."""
    names: dict[int, str] = {}
    taken: Counter[str] = Counter()
    for group in project.groups:
        taken[group.label] += 1
        name = group.label if taken[group.label] == 1 else f"{group.label} [{group.key}]"
        while name in names.values():
            name += "'"
        names[id(group)] = name
        if taken[group.label] > 1:
            message = f'the label "{group.label}" stands {taken[group.label]} times; this group is called "{name}"'
            notes.append(Problem("warning", message, str(path), group.line, scan=name))
    return names


def _is_reference(group: AthenaGroup) -> bool:
    """Check whether a group is a reference channel: Athena calls it "  Ref NAME"."""
    return group.label.startswith("Ref ")


def _scan(group: AthenaGroup, names: Mapping[int, str], project: Project, path: Path) -> Scan:
    name = names[id(group)]
    place = f"{path} [{name}]"
    problems: list[Problem] = []

    def add_problem(severity: Any, message: str) -> None:
        problems.append(Problem(severity, message, str(path), group.line, scan=name))

    if group.wrong:
        what, line = group.wrong[0]
        raise InvalidData(f"{place}: line {line}: {what}: damaged." if line else f"{place}: {what}: damaged.")
    energy = _energy(group, place)
    channels = _channels(group, add_problem)
    conditions = _conditions(group, channels, add_problem)
    partner = _partner(group, project)
    header = {
        "group": group.key,
        "project": "\n".join(project.header),
        "athena": json.dumps(group.args, ensure_ascii=False, sort_keys=True),
    }
    if group.xdi:
        header["athena_xdi"] = json.dumps(group.xdi, ensure_ascii=False, sort_keys=True)
    if _is_reference(group):
        of = f" of {names[id(partner)]}" if partner else ""
        header["athena_role"] = f"reference{of}"
        add_problem("note", f"the reference channel{of}, not a sample; its curve is murefer")
    elif partner is not None and _is_reference(partner):
        header["athena_reference"] = names[id(partner)]
        _attach(channels, energy, group, partner, add_problem)
    return scans.make_scan(
        path,
        energy,
        channels,
        name=name,
        title=group.label,
        conditions=conditions,
        header=header,
        problems=problems,
    )


def _energy(group: AthenaGroup, place: str) -> tables.Array:
    """Return the group's energies; InvalidData for what is no spectrum, such as pixels or chi(k)."""
    kind = str(group.args.get("datatype") or group.args.get("recordtype") or "").casefold()
    if group.flag("is_chi") or kind.startswith(_NO_CURVE):
        raise InvalidData(f"{place}: a group of type {kind or 'chi'}, which is no absorption over energy.")
    missing = [array for array in ("x", "y") if array not in group.arrays]
    if missing:
        raise InvalidData(f"{place}: it has no array {' and no '.join(missing)}.")
    energy, curve = group.arrays["x"], group.arrays["y"]
    if energy.size != curve.size:
        raise InvalidData(f"{place}: {energy.size} energies for {curve.size} values: damaged.")
    if group.flag("is_pixel") or _are_pixels(energy):
        raise InvalidData(
            f"{place}: its abscissa is in pixels of a dispersive spectrometer, not in eV. Calibrate it in Athena "
            "(Data, calibrate dispersive XAS) and save the group it makes."
        )
    return scans.assume_ev(energy, f"{place}: energy")


def _are_pixels(energy: tables.Array) -> bool:
    """Check whether an abscissa counts 0, 1, 2, ...: no edge is within the first 100 eV of a scan by whole eV."""
    return bool(energy.size > 2 and 0 <= energy[0] < scans.SURELY_EV and np.all(np.diff(energy) == 1))


def _channels(group: AthenaGroup, add_problem: Any) -> dict[str, tables.Array]:
    """Return the curve and, where the file has them, the counters it was formed from."""
    curve, size = group.arrays["y"], group.arrays["y"].size
    i0, signal = (group.arrays.get(key) for key in ("i0", "signal"))
    if any(array is not None and array.size != size for array in (i0, signal)):
        add_problem("warning", "i0 and signal are not as long as the curve and are dropped")
        i0 = signal = None
    how = _formed(curve, i0, signal, group)
    reference = _is_reference(group)
    if group.flag("is_nor"):
        channels = {"normfluor" if how == "ratio" else "normtrans": curve}
    elif reference:
        channels = {"murefer": curve}
    else:
        channels = {{"ratio": "mufluor", "log": "mutrans"}.get(how, "murecorded"): curve}
    if not how and not reference:
        name = next(iter(channels))
        add_problem(
            "note", f"the project does not say whether in transmission or fluorescence; the curve is called {name}"
        )
    if i0 is not None:
        channels["itrans" if reference else "i0"] = i0
    if signal is not None and how:
        channels["irefer" if reference else ("ifluor" if how == "ratio" else "itrans")] = signal
    elif signal is not None:
        add_problem("note", "the array signal is not kept: it does not give the curve, so what it is is not known")
    deviation = group.arrays.get("stddev")
    if deviation is not None and deviation.size == size:
        channels["sigma"] = deviation
        add_problem(
            "note", "sigma is the stddev of Athena's merge: the scatter of its scans, not the error of their mean"
        )
    elif deviation is not None:
        add_problem("note", f"stddev has {deviation.size} values for {size} points and is dropped")
    return channels


def _formed(curve: tables.Array, i0: tables.Array | None, signal: tables.Array | None, group: AthenaGroup) -> str:
    """Return how the curve was formed: "log", "ratio", or "" when neither arrays nor parameters say so."""
    if i0 is not None and signal is not None:
        try:
            factor = float(group.args.get("multiplier") or 1)
        except (TypeError, ValueError):
            factor = 1.0
        with np.errstate(all="ignore"):
            formed = {"log": factor * np.log(np.abs(i0 / signal)), "ratio": factor * signal / i0}
        for how, values in formed.items():
            scale = np.nanmax(np.abs(values)) if np.isfinite(values).any() else 0.0
            if scale and np.allclose(values, curve, rtol=0, atol=_AGREES * scale, equal_nan=True):
                return how
        return ""
    text = str(group.args.get("xmu_string") or "")
    return "log" if group.flag("ln") or "ln(" in text else ""


def _partner(group: AthenaGroup, project: Project) -> AthenaGroup | None:
    """Return the group that is tied to this one as sample and reference."""
    key = str(group.args.get("referencegroup") or "")
    for other in project.groups:
        if other is not group and key and other.key == key:
            return other
    return None


def _attach(
    channels: dict[str, tables.Array], energy: tables.Array, group: AthenaGroup, partner: AthenaGroup, add_problem: Any
) -> None:
    """Give the sample's scan the curve of its reference, measured at the same time on the same grid."""
    grid, curve = partner.arrays.get("x"), partner.arrays.get("y")
    if grid is None or curve is None or curve.size != energy.size or not np.array_equal(grid, energy):
        add_problem("note", f'its reference "{partner.label}" has another grid and stays a scan of its own only')
    elif _shift(group) != _shift(partner):
        add_problem("note", f'its reference "{partner.label}" is shifted differently and stays a scan of its own only')
    else:
        channels["murefer"] = curve


def _shift(group: AthenaGroup) -> float:
    """Return Athena's energy shift in eV; 0 when none is stated."""
    value = tables.numeric(str(group.args.get("bkg_eshift") or "0").strip())
    return value if value is not None and np.isfinite(value) else 0.0


def _conditions(group: AthenaGroup, channels: Mapping[str, tables.Array], add_problem: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"technique": "xas"}
    element, level = str(group.args.get("bkg_z") or ""), str(group.args.get("fft_edge") or "")
    edge = find_edge(f"{element} {level}") if element and level else None
    if edge:
        found["edge"] = edge
    else:
        add_problem(
            "warning",
            f'bkg_z is "{element}" and fft_edge is "{level}": the edge is not known; give it in the run sheet',
        )
    if {"i0", "itrans"} <= set(channels):
        found["mode"] = "transmission"
    if shift := _shift(group):
        found["energy_shift"] = shift
    stated = _metadata(group)
    for key, term in _XDI_TERMS.items():
        if text := stated.get(key, ""):
            found[term] = text
    spacing = tables.numeric(stated.get(("mono", "d_spacing"), "").strip())
    if spacing is not None and 0.1 < spacing < 100:
        found["d_spacing"] = spacing
    start = stated.get(("scan", "start_time"), "")
    if moment := scans.utc(start):
        found["time"] = moment
    elif start:
        add_problem("note", f'Scan.start_time "{start}" has no time zone; time (UTC) is left open')
    return found


def _metadata(group: AthenaGroup) -> dict[tuple[str, str], str]:
    """Return XDI fields of a group, which newer projects keep as ``$xdi`` and older ones among the parameters."""
    metadata = group.xdi.get("metadata")
    families = dict(metadata) if isinstance(metadata, dict) else {}
    families |= {key[4:]: value for key, value in group.args.items() if key.startswith("xdi_")}
    return {
        (str(family).casefold(), str(tag).casefold()): value.strip()
        for family, tags in families.items()
        if isinstance(tags, dict)
        for tag, value in tags.items()
        if isinstance(value, str) and value.strip()
    }
