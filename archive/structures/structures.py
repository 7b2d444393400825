"""Crystal structures, from a CIF or from a lattice with its sites, and their bonds.

Symmetry is gemmi's (https://gemmi.readthedocs.io); distances are found over all periodic images within the
cutoff.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.structures import cells, cif
from barospec.schemas.errors import InvalidData, did_you_mean
from barospec.schemas.records import Problem
from barospec.schemas.sheet import STRUCTURE_KEYS
from barospec.schemas.units import Quantity, parse_quantity
from barospec.schemas.values import check_text, checked
from barospec.schemas.vocabulary import ELEMENTS, ORIGINS

_FIELDS = (
    *("structure_id", "material", "space_group", *cells.LENGTHS, *cells.ANGLES, "sites"),
    *("pressure", "pressure_sigma", "temperature", "origin", "note", "source", "source_file", "cif"),
)


@dataclass(frozen=True, slots=True)
class Site:
    """An atom of the asymmetric unit, in fractions of the cell edges."""

    label: str
    element: str
    x: float
    y: float
    z: float
    occupancy: float = 1.0


@dataclass(frozen=True, slots=True)
class Structure:
    """One crystal structure. Lengths in Å, angles in degrees, volume in Å³, pressure in GPa, temperature in
    K.

    ``pressure`` and ``temperature`` are None when not stated; ``operations`` are the symmetry operations as
    triplets ("x,y,z"), centering included.
    """

    structure_id: str
    material: str
    space_group: str
    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float
    volume: float
    sites: tuple[Site, ...]
    operations: tuple[str, ...] = field(repr=False)
    pressure: float | None = None
    pressure_sigma: float | None = None
    temperature: float | None = None
    origin: str = ""
    note: str = ""
    source: str = ""
    source_file: str = ""
    source_sha256: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Bond:
    """From one site of the asymmetric unit to another: `multiplicity` neighbors at `bond_length` Å."""

    site: str
    neighbor: str
    bond: str
    bond_length: float
    multiplicity: int


@dataclass(slots=True)
class _Draft:
    """A structure while it is read, with its location for messages."""

    place: str
    file: str = ""
    problems: list[Problem] = field(default_factory=list)

    def warn(self, message: str) -> None:
        self.problems.append(Problem("warning", message, self.file or self.place))


def read_cif(
    path: str | Path,
    structure_id: str | None = None,
    *,
    material: str = "",
    pressure: float | None = None,
    temperature: float | None = None,
    source: str = "",
    **more: Any,
) -> Structure:
    """Read a structure from a CIF with one data block.

    Parameters
    ----------
    path : str or Path
    structure_id : str, optional
        Default: the name of the file without its ending.
    material, source : str
        Win over the file (``_chemical_formula_sum``; DOI or journal).
    pressure : float, optional
        GPa; wins over ``_diffrn_ambient_pressure`` (kPa).
    temperature : float, optional
        K; wins over ``_diffrn_ambient_temperature``.
    **more
        ``pressure_sigma``, ``origin`` and ``note`` of the structure.

    Returns
    -------
    Structure

    Raises
    ------
    UnreadableFile, InvalidData
        If it is not a CIF; without cell, sites or symmetry, or with several blocks that have them.
    """
    import gemmi

    path = Path(path)
    data, block = cif.load(path)
    draft = _Draft(str(path), str(path))
    small = gemmi.make_small_structure_from_block(block)
    symbol, operations = cif.symmetry(block, small, path)
    stated_pressure = cif.number(block, "_diffrn_ambient_pressure")
    if pressure is None and stated_pressure is not None:
        pressure = stated_pressure * 1e-6  # the CIF dictionary's unit is kPa
    if temperature is None:
        temperature = cif.number(block, "_diffrn_ambient_temperature")
    return _finish(
        draft,
        cif.cell(block),
        structure_id=structure_id or path.stem,
        material=material or "".join(cif.text(block, "_chemical_formula_sum").split()),
        space_group=symbol,
        sites=_cif_sites(small, draft),
        operations=operations,
        pressure=pressure,
        temperature=temperature,
        source=source or cif.text(block, "_journal_paper_doi") or cif.text(block, "_publ_section_title"),
        source_file=path.name,
        source_sha256=hashlib.sha256(data).hexdigest(),
        **more,
    )


def _cif_sites(small: Any, draft: _Draft) -> tuple[Site, ...]:
    return tuple(
        _site(site.label, site.type_symbol, (site.fract.x, site.fract.y, site.fract.z), site.occ, draft)
        for site in small.sites
    )


def from_mapping(record: Mapping[str, Any], folder: str | Path | None = None) -> Structure:
    """Build a structure from a run sheet's record: a lattice with its sites, or the name of a CIF.

    Parameters
    ----------
    record : mapping
        As in ``docs/run-sheets.md``; values may be text with a unit ("417.7 pm", "1 bar"). `b`, `c` and the
        angles may be omitted if the space group fixes them.
    folder : str or Path, optional
        Folder of the ``cif``.

    Returns
    -------
    Structure

    Raises
    ------
    InvalidData, UnreadableFile
        Naming the field or the CIF, the value found and the value expected.

    Examples
    --------
    >>> nio = from_mapping({
    ...     "structure_id": "NiO", "space_group": "F m -3 m", "a": "4.177 Å", "source": "example",
    ...     "sites": [{"label": "Ni1", "element": "Ni", "x": 0, "y": 0, "z": 0},
    ...               {"label": "O1", "element": "O", "x": 0.5, "y": 0.5, "z": 0.5}]})
    >>> nio.c, round(nio.volume, 3)
    (4.177, 72.877)
    """
    place = _check_keys(record)
    draft = _Draft(place)
    common = _common(record, place)
    if record.get("cif"):
        surplus = [key for key in (*cells.LENGTHS, *cells.ANGLES, "space_group", "sites") if key in record]
        if surplus:
            raise InvalidData(
                f"{place}: {', '.join(surplus)} and a cif; the cell comes from one of them. Drop the other."
            )
        identity = str(common.pop("structure_id"))
        path = Path(folder or ".") / str(record["cif"])
        return read_cif(path, identity, **common)
    symbol = str(record.get("space_group") or "")
    group = cells.find_space_group(symbol, place)
    if group.ext in ("1", "2") and ":" not in symbol:
        draft.warn(f"{group.hm} has two choices of origin; 1 is assumed. Write {group.hm}:1 or {group.hm}:2")
    units = dict.fromkeys(cells.LENGTHS, "Å") | dict.fromkeys(cells.ANGLES, "deg")
    given = {key: _number(record, key, unit, place) for key, unit in units.items()}
    return _finish(
        draft,
        cells.complete_cell(given, group, place),
        space_group=group.hm,
        sites=_sites(record, draft),
        operations=tuple(operation.triplet() for operation in group.operations()),
        source_file=str(record.get("source_file") or ""),
        **common,
    )


def from_file(path: Path, conditions: Mapping[str, Any]) -> Structure:
    """Read a CIF without sheet, named like the file unless ``structure`` is given; `conditions` are fields with values.

    Raises as `from_mapping` does.
    """
    stated = {name: conditions[name] for name in STRUCTURE_KEYS if conditions.get(name) is not None}
    return from_mapping(
        {**stated, "structure_id": conditions.get("structure") or path.stem, "cif": path.name}, path.parent
    )


def _common(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the terms that a record may state of any structure, from a CIF or from a lattice."""
    pressure = _quantity(record, "pressure", "GPa", place)
    sigma = _number(record, "pressure_sigma", "GPa", place)
    if sigma is None and pressure is not None:
        sigma = pressure.sigma
    origin = str(record.get("origin") or "")
    if origin and origin not in ORIGINS:
        raise InvalidData(f'{place}: origin "{origin}" is not one of {", ".join(ORIGINS)}.')
    return {
        "structure_id": str(record["structure_id"]).strip(),
        **{key: str(record.get(key) or "") for key in ("material", "source", "note")},
        "origin": origin,
        "pressure": None if pressure is None else pressure.value,
        "pressure_sigma": sigma,
        "temperature": _number(record, "temperature", "K", place),
    }


def _check_keys(record: Mapping[str, Any]) -> str:
    """Refuse unknown fields and a missing name; return the location for messages."""
    place = f"structure {record.get('structure_id', '')}".strip()
    for key in record:
        if key not in _FIELDS:
            raise InvalidData(f'{place}: no field "{key}".{did_you_mean(str(key), _FIELDS)}')
    if not str(record.get("structure_id") or "").strip():
        raise InvalidData(f"{place}: structure_id is missing: the name that spectra refer to.")
    return place


def bonds(structure: Structure, cutoff: float = 3.2) -> list[Bond]:
    """Return distances from each site of the asymmetric unit to its neighbors.

    Parameters
    ----------
    structure : Structure
        With cell, sites and symmetry.
    cutoff : float
        Longest distance, in Å.

    Returns
    -------
    list of Bond
        By site as listed, then by length. Lengths within 1e-4 Å to the same neighboring site are one bond.
        Both directions are there: six "Ni-O" around nickel and six "O-Ni" around oxygen. Partly occupied
        sites count as full ones; sites that share one position (mixed occupancy) are not bonded to each
        other. Empty for a structure with a lattice only.

    Raises
    ------
    InvalidData
        For a cutoff that is not positive, or too long for the cell (over a million images).

    Examples
    --------
    >>> sites = (Site("Ni1", "Ni", 0, 0, 0), Site("O1", "O", 0.5, 0.5, 0.5))
    >>> cell = dict.fromkeys(("a", "b", "c"), 4.0) | dict.fromkeys(("alpha", "beta", "gamma"), 90.0)
    >>> simple = Structure("x", "", "P 1", **cell, volume=64.0, sites=sites, operations=("x,y,z",))
    >>> [(bond.bond, round(bond.bond_length, 4), bond.multiplicity) for bond in bonds(simple, 3.5)]
    [('Ni-O', 3.4641, 8), ('O-Ni', 3.4641, 8)]
    """
    cell = {key: getattr(structure, key) for key in (*cells.LENGTHS, *cells.ANGLES)}
    sites = structure.sites
    if not sites:
        return []
    found = cells.neighbors(
        cells.to_cartesian(cell),
        np.array([[site.x, site.y, site.z] for site in sites], dtype=np.float64),
        structure.operations,
        cutoff,
        structure.structure_id,
    )
    return [
        Bond(sites[i].label, sites[j].label, f"{sites[i].element}-{sites[j].element}", length, count)
        for i, j, length, count in found
    ]


def _finish(draft: _Draft, cell: Mapping[str, float], **terms: Any) -> Structure:
    """Check the required parts of a structure, and add the volume."""
    sites = terms["sites"]
    if not sites:
        # A diffraction paper often prints the lattice alone; it is kept, with a note on missing sites.
        draft.warn("no sites, so no bond lengths. Give label, element, x, y, z if they are known")
    labels = [site.label for site in sites]
    for label in {label for label in labels if labels.count(label) > 1}:
        raise InvalidData(f'{draft.place}: two sites have the label "{label}"; give each its own label.')
    if not terms.get("source"):
        draft.warn("no source is given (DOI, database entry, or how it was obtained)")
    known: dict[str, Any] = {**cell, **terms}
    for site in sites:
        check_text(f"{draft.place}: a site's label", site.label)
    volume = cells.volume(cell, draft.place)
    try:
        checked({**known, "volume": volume})
    except InvalidData as error:
        raise InvalidData(f"{draft.place}: {error}") from None
    return Structure(**known, volume=volume, problems=tuple(draft.problems))


def _site(label: str, symbol: str, xyz: Sequence[float], occupancy: float, draft: _Draft) -> Site:
    element = "".join(itertools.takewhile(str.isalpha, symbol or label)).capitalize()
    if element == "D":
        element = "H"  # deuterium is hydrogen to x-rays
    if element not in ELEMENTS:
        raise InvalidData(f'{draft.place}: site {label}: "{symbol or label}" is not an element.')
    if not all(math.isfinite(value) for value in xyz):
        raise InvalidData(f"{draft.place}: site {label}: coordinates {tuple(xyz)} are not all numbers.")
    if not 0 < occupancy <= 1:
        raise InvalidData(f"{draft.place}: site {label}: occupancy {occupancy} is not between 0 and 1.")
    x, y, z = (float(value) for value in xyz)
    return Site(label or element, element, x, y, z, float(occupancy))


def _sites(record: Mapping[str, Any], draft: _Draft) -> tuple[Site, ...]:
    rows = record.get("sites") or ()
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise InvalidData(f"{draft.place}: sites is {rows!r}; write a list of {{label, element, x, y, z}}.")
    sites = []
    for row in rows:
        if not isinstance(row, Mapping):
            raise InvalidData(
                f"{draft.place}: site {row!r} is not a mapping; write {{label: Ni1, element: Ni, x: 0, ...}}."
            )
        label = str(row.get("label") or row.get("element") or "")
        place = f"{draft.place}: site {label}"
        known = ("label", "element", "x", "y", "z", "occupancy")
        for key in row:
            if key not in known:
                raise InvalidData(f'{place}: no field "{key}".{did_you_mean(str(key), known)}')
        xyz = [_number(row, axis, "1", place) for axis in "xyz"]
        if None in xyz:
            raise InvalidData(f"{place}: {'xyz'[xyz.index(None)]} is missing.")
        occupancy = _number(row, "occupancy", "1", place)
        numbers = [value for value in xyz if value is not None]
        sites.append(
            _site(label, str(row.get("element") or ""), numbers, 1.0 if occupancy is None else occupancy, draft)
        )
    return tuple(sites)


def _number(record: Mapping[str, Any], key: str, unit: str, place: str) -> float | None:
    """Return a value of a record in `unit`; None if missing."""
    quantity = _quantity(record, key, unit, place)
    return None if quantity is None else quantity.value


def _quantity(record: Mapping[str, Any], key: str, unit: str, place: str) -> Quantity | None:
    """Return a value with the uncertainty written beside it; None if missing. A third may be written 1/3."""
    value = record.get(key)
    text = "" if value is None else str(value).strip()
    if text in ("", "-"):
        return None
    try:
        if unit == "1" and text.count("/") == 1:
            top, bottom = (parse_quantity(part, unit).value for part in text.split("/"))
            if bottom == 0:
                raise InvalidData(f'"{text}" divides by zero.')
            return Quantity(top / bottom)
        return parse_quantity(text, unit)
    except InvalidData as error:
        raise InvalidData(f"{place}: {key}: {error}") from None
