"""VASP ``vasprun.xml``: bands and (partial) densities of states. A model file, not a spectrum.

Own reader on the standard library: pymatgen, ASE and sisl bring a materials toolkit each (or a copyleft licence),
and parsevasp ends the process on files with two ionic steps and wants nine orbitals in a partial density.
Elements after the VASP wiki (vasprun.xml).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers.electronic import Array, Bands, Dos, ElectronicStructure
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Problem

# What can be large and is not read.
_SKIPPED = ("scstep", "dielectricfunction", "dynmat")
_PROLOG = 65536


def sniff(head: bytes, filename: str) -> bool:
    """Check whether it is XML whose root is ``modeling``."""
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    return text.startswith(b"<?xml") and b"<modeling>" in text[:1024]


def read_vasprun(path: str | Path) -> ElectronicStructure:
    """Read bands and densities of states of a ``vasprun.xml``, those of the last ionic step.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    ElectronicStructure
        Energies in eV on VASP's own scale, with the Fermi level as stated; bands with their projections on orbitals where the
        file has them (LORBIT = 10 to 12).

    Raises
    ------
    UnreadableFile
        When it is truncated (the run was killed, or goes on) or no ``vasprun.xml``.
    InvalidData
        When numbers are missing or contradict each other.

    Examples
    --------
    >>> import tempfile
    >>> row = "<r>-1.5 1.0</r>"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "vasprun.xml")
    ...     _ = file.write_text(
    ...         "<?xml version='1.0'?><modeling><kpoints><varray name='kpointlist'><v>0 0 0</v></varray></kpoints>"
    ...         "<calculation><eigenvalues><array><set><set comment='spin 1'><set comment='kpoint 1'>"
    ...         f"{row}</set></set></set></array></eigenvalues></calculation></modeling>"
    ...     )
    ...     read_vasprun(file).bands.energy.tolist()
    [[[-1.5]]]
    """
    path = Path(path)
    with path.open("rb") as file:
        prolog = file.read(_PROLOG)
    if b"<!DOCTYPE" in prolog or b"<!ENTITY" in prolog:
        raise UnreadableFile(f"{path}: VASP writes no document type and no entities; this file is not from VASP.")
    parts, steps = _parts(path)
    if not {"kpoints", "dos", "eigenvalues"} & set(parts):
        raise UnreadableFile(
            f"{path}: neither k-points nor eigenvalues nor a density of states: no vasprun.xml of VASP?"
        )
    return _assemble(parts, steps, path)


def _parts(path: Path) -> tuple[dict[str, Any], int]:
    """Return the elements that are read, those of the last ionic step, and how many steps there were."""
    parts: dict[str, Any] = {}
    projected: tuple[list[str], Array] | None = None
    steps = 0
    try:
        for _, element in ET.iterparse(path, events=("end",)):
            if element.tag in _SKIPPED:
                element.clear()
            elif element.tag in ("generator", "kpoints", "atominfo"):
                parts.setdefault(element.tag, element)
            elif element.tag == "projected":
                projected = _projected(element, path)
                element.clear()  # the largest part of the file
            elif element.tag == "calculation":
                steps += 1
                parts = {key: value for key, value in parts.items() if key not in ("dos", "eigenvalues", "projected")}
                if projected is not None:
                    parts["projected"], projected = projected, None
                # Interpolated to other k-points they come again, with a comment.
                taken = (child for child in element if child.tag in ("dos", "eigenvalues") and not child.get("comment"))
                parts |= {child.tag: child for child in taken}
                # The parts that are kept hold on to their own children.
                for child in list(element):
                    element.remove(child)
    except ET.ParseError as error:
        raise UnreadableFile(
            f"{path}: the XML ends or breaks ({error}) after {steps} complete ionic step(s): the run was killed or goes "
            "on, or the file is damaged."
        ) from None
    return parts, steps


def _assemble(parts: dict[str, Any], steps: int, path: Path) -> ElectronicStructure:
    elements = tuple(
        (row[0].text or "").strip()
        for row in parts.get("atominfo", ET.Element("none")).findall("array[@name='atoms']/set/rc")
        if len(row)
    )
    version = parts.get("generator", ET.Element("none")).findtext("i[@name='version']", "").strip()
    dos_element = parts.get("dos")
    level = dos_element.find("i[@name='efermi']") if dos_element is not None else None
    fermi = float(_numbers([level], path)[0, 0]) if level is not None else np.nan
    problems = []
    if steps > 1:
        message = f"{steps} ionic steps; bands and densities are those of the last"
        problems.append(Problem("note", message, str(path)))
    if np.isnan(fermi):
        problems.append(Problem("warning", "the Fermi level is not stated; fermi_level is NaN", str(path)))
    bands = _bands(parts, elements, fermi, path) if "eigenvalues" in parts else None
    dos = _dos(dos_element, elements, fermi, path) if dos_element is not None else None
    if bands is None and dos is None:
        raise InvalidData(f"{path}: it has neither eigenvalues nor a density of states; did the run converge?")
    return ElectronicStructure("VASP", version, elements, bands, dos, tuple(problems))


def _projected(element: Any, path: Path) -> tuple[list[str], Array] | None:
    """Return orbitals, and weights of shape (spin, k, band, ion, orbital)."""
    fields = [(field.text or "").strip() for field in element.findall("array/field")]
    spins = element.findall("array/set/set")
    if not spins or not fields:
        return None
    nested = [
        [[_numbers(band.findall("r"), path) for band in k.findall("set")] for k in spin.findall("set")]
        for spin in spins
    ]
    weights = _regular(nested, "projected bands", path)
    if weights.ndim != 5 or weights.shape[-1] != len(fields):
        raise InvalidData(
            f"{path}: projected bands have shape {weights.shape}; expected (spin, k, band, ion, {len(fields)} orbitals): damaged?"
        )
    return fields, weights


def _projection(
    parts: dict[str, Any], shape: tuple[int, ...], elements: tuple[str, ...], path: Path
) -> tuple[Array | None, tuple[str, ...]]:
    """Return weights as columns with their labels; of a non-collinear run (total, x, y, z) those of the total."""
    if "projected" not in parts:
        return None, ()
    fields, weights = parts["projected"]
    if weights.shape[0] == 4 and shape[0] == 1:
        weights = weights[:1]
    ions = weights.shape[3]
    if weights.shape[:3] != shape or len(elements) not in (0, ions):
        raise InvalidData(
            f"{path}: projected bands have shape {weights.shape}; expected {(*shape, len(elements), len(fields))}: damaged?"
        )
    return weights.reshape(*shape, ions * len(fields)), _labels(elements, ions, fields)


def _labels(elements: tuple[str, ...], ions: int, orbitals: list[str]) -> tuple[str, ...]:
    """Return labels such as ``1 Ni dxy``: number, element, orbital."""
    named = elements if len(elements) == ions else ("",) * ions
    return tuple(f"{i} {name} {orbital}".replace("  ", " ") for i, name in enumerate(named, 1) for orbital in orbitals)


def _bands(parts: dict[str, Any], elements: tuple[str, ...], fermi: float, path: Path) -> Bands | None:
    spins = parts["eigenvalues"].findall("array/set/set")
    if not spins:
        return None
    values = _regular(
        [[_numbers(k.findall("r"), path) for k in spin.findall("set")] for spin in spins], "eigenvalues", path
    )
    if values.ndim != 4 or values.shape[-1] not in (1, 2):
        raise InvalidData(
            f"{path}: eigenvalues have shape {values.shape}; expected (spin, k, band, energy and occupation)."
        )
    if "kpoints" not in parts:
        raise InvalidData(f"{path}: eigenvalues without k-points: damaged?")
    kpoints = _numbers(parts["kpoints"].findall("varray[@name='kpointlist']/v"), path)
    weights = _numbers(parts["kpoints"].findall("varray[@name='weights']/v"), path).ravel()
    if kpoints.shape != (values.shape[1], 3) or weights.size not in (0, len(kpoints)):
        raise InvalidData(
            f"{path}: {kpoints.shape[0]} k-points and {weights.size} weights for eigenvalues at {values.shape[1]}: damaged?"
        )
    projection, labels = _projection(parts, values.shape[:3], elements, path)
    return Bands(
        values[..., 0],
        kpoints,
        fermi,
        weights=weights if weights.size else None,
        occupation=values[..., 1] if values.shape[-1] == 2 else None,
        projection=projection,
        labels=labels,
    )


def _dos(element: Any, elements: tuple[str, ...], fermi: float, path: Path) -> Dos | None:
    spins = element.findall("total/array/set/set")
    if not spins:
        return None
    total = _regular([_numbers(spin.findall("r"), path) for spin in spins], "total density", path)
    if total.ndim != 3 or total.shape[-1] < 2:
        raise InvalidData(
            f"{path}: the total density has shape {total.shape}; expected (spin, energy, energy and density)."
        )
    labels, columns = ["total"], [total[..., 1][:, None, :]]
    fields = [(field.text or "").strip() for field in element.findall("partial/array/field")]
    ions = element.findall("partial/array/set/set")
    if ions:
        nested = [[_numbers(spin.findall("r"), path) for spin in ion.findall("set")] for ion in ions]
        partial = _regular(nested, "partial densities", path)
        shape = (len(ions), total.shape[0], total.shape[1], len(fields))
        # A non-collinear run has four partial sets (total, x, y, z) beside one total density.
        if partial.shape[:1] + partial.shape[2:] != shape[:1] + shape[2:] or (partial.shape[1] not in (shape[1], 4)):
            raise InvalidData(f"{path}: partial densities have shape {partial.shape}; expected {shape}: damaged?")
        partial = partial[:, : shape[1], :, 1:]
        columns.append(partial.transpose(1, 0, 3, 2).reshape(shape[1], -1, shape[2]))
        labels += _labels(elements, len(ions), fields[1:])
    return Dos(total[0, :, 0], np.concatenate(columns, axis=1), tuple(labels), fermi)


def _numbers(elements: Iterable[Any], path: Path) -> Array:
    """Read rows of numbers; VASP prints asterisks where a number does not fit, which are refused."""
    rows = [(element.text or "").split() for element in elements]
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError:
        wrong = next((cell for row in rows for cell in row if not _is_number(cell)), "rows of unequal length")
        raise InvalidData(
            f"{path}: numbers were expected, not {wrong[:30]}: damaged, or too large for VASP's columns."
        ) from None
    return values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _regular(nested: list[Any], what: str, path: Path) -> Array:
    """Return one array of equal parts; InvalidData when they are not equal, or not finite."""
    try:
        values = np.array(nested, dtype=np.float64)
    except ValueError:
        raise InvalidData(f"{path}: the {what} differ in length between spins, ions or k-points: damaged?") from None
    if not np.isfinite(values).all():
        raise InvalidData(f"{path}: the {what} are not all finite.")
    return values
