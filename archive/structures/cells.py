"""Cells and symmetry: complete a lattice, find the distances between sites."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.errors import InvalidData

Array = NDArray[np.float64]

LENGTHS = ("a", "b", "c")
ANGLES = ("alpha", "beta", "gamma")
# Distances that agree within this are one bond: coordinates are published to 1e-4 or 1e-5 of a cell edge.
SAME_LENGTH = 1e-4
# Two images of a site nearer than this are one atom on a special position, written with rounded coordinates.
SAME_PLACE = 0.05

_RIGHT = {"alpha": 90.0, "beta": 90.0, "gamma": 90.0}
_HEXAGONAL = {"alpha": 90.0, "beta": 90.0, "gamma": 120.0}
# Constraints of a crystal system: lengths that equal another one, and angles.
_RULES: Mapping[str, tuple[Mapping[str, str], Mapping[str, float]]] = {
    "cubic": ({"b": "a", "c": "a"}, _RIGHT),
    "tetragonal": ({"b": "a"}, _RIGHT),
    "orthorhombic": ({}, _RIGHT),
    "hexagonal": ({"b": "a"}, _HEXAGONAL),
    "trigonal": ({"b": "a"}, _HEXAGONAL),
}


def find_space_group(symbol: str, place: str) -> Any:
    """Return the space group (gemmi's) of a Hermann-Mauguin symbol.

    Parameters
    ----------
    symbol : str
        "F m -3 m" or "Fm-3m"; ":2" chooses the second origin, ":R" rhombohedral axes.
    place : str
        Location of the symbol, for messages.

    Returns
    -------
    gemmi.SpaceGroup

    Raises
    ------
    InvalidData
        For an unknown symbol.
    """
    import gemmi

    group = gemmi.find_spacegroup_by_name(symbol) if symbol else None
    if group is None:
        raise InvalidData(
            f'{place}: space group "{symbol}" is not known; write its Hermann-Mauguin symbol, such as '
            '"F m -3 m", or "P 1" if there is no symmetry.'
        )
    return group


def complete_cell(given: Mapping[str, float | None], group: Any, place: str) -> dict[str, float]:
    """Complete a cell with the values that the space group fixes.

    Parameters
    ----------
    given : mapping of str to float or None
        Stated values among a, b, c (Å), alpha, beta, gamma (degrees).
    group : gemmi.SpaceGroup
        Its crystal system and axes decide.
    place : str
        For messages.

    Returns
    -------
    dict of str to float
        All six.

    Raises
    ------
    InvalidData
        When one is missing that is not fixed, or contradicts the space group.

    Examples
    --------
    >>> complete_cell({"a": 3.73, "c": 19.75}, find_space_group("I 4/m m m", ""), "")["gamma"]
    90.0
    """
    system = group.crystal_system_str()
    equal, fixed = _RULES.get(system, ({}, {}))
    if group.ext == "R":  # rhombohedral axes
        equal, fixed = {"b": "a", "c": "a", "beta": "alpha", "gamma": "alpha"}, {}
    elif system == "monoclinic":
        unique = "abc".index(group.monoclinic_unique_axis())
        fixed = {angle: 90.0 for number, angle in enumerate(ANGLES) if number != unique}
    cell: dict[str, float] = {}
    for key in (*LENGTHS, *ANGLES):
        value = given.get(key)
        rule = cell[equal[key]] if key in equal else fixed.get(key)
        if value is None and rule is None:
            raise InvalidData(f"{place}: {key} is missing, and {group.hm} ({system}) does not fix it.")
        if value is not None and rule is not None and abs(value - rule) > 1e-6 * abs(rule):
            raise InvalidData(f"{place}: {key} is {value:g}, but {group.hm} ({system}) needs {rule:g}.")
        cell[key] = float(value if value is not None else rule or 0.0)
    return cell


def volume(cell: Mapping[str, float], place: str) -> float:
    """Return the volume of a cell in Å³; raise InvalidData if its lengths and angles are impossible.

    >>> volume({"a": 2.0, "b": 2.0, "c": 2.0, "alpha": 90.0, "beta": 90.0, "gamma": 90.0}, "")
    8.0
    """
    for key in (*LENGTHS, *ANGLES):
        top = 1000.0 if key in LENGTHS else 180.0
        if not 0 < cell[key] < top:
            raise InvalidData(f"{place}: {key} is {cell[key]}; expected a number between 0 and {top:.0f}.")
    # cos 90° is 6e-17 in floating point, which would show in the volume.
    cosines = [round(math.cos(math.radians(cell[angle])), 15) for angle in ANGLES]
    square = 1 - sum(cosine**2 for cosine in cosines) + 2 * math.prod(cosines)
    if square <= 0:
        raise InvalidData(f"{place}: the angles {', '.join(f'{cell[key]:g}' for key in ANGLES)} span no cell.")
    return cell["a"] * cell["b"] * cell["c"] * math.sqrt(square)


def to_cartesian(cell: Mapping[str, float]) -> Array:
    """Return the matrix, shape (3, 3), from fractions of the edges to Å; a is along x, b in the xy plane."""
    cos_a, cos_b, cos_g = (math.cos(math.radians(cell[angle])) for angle in ANGLES)
    sin_g = math.sin(math.radians(cell["gamma"]))
    y = (cos_a - cos_b * cos_g) / sin_g
    z = math.sqrt(1 - cos_b**2 - y**2)
    a, b, c = (cell[key] for key in LENGTHS)
    return np.array([[a, b * cos_g, c * cos_b], [0, b * sin_g, c * y], [0, 0, c * z]])


def neighbors(
    matrix: Array, sites: Array, operations: Sequence[str], cutoff: float, place: str
) -> list[tuple[int, int, float, int]]:
    """Return distances from each site to all others within a cutoff, over all periodic images.

    Parameters
    ----------
    matrix : ndarray, shape (3, 3)
        From `to_cartesian`.
    sites : ndarray, shape (n, 3)
        Sites of the asymmetric unit in fractions.
    operations : sequence of str
        Symmetry operations as triplets, centering included.
    cutoff : float
        In Å.
    place : str
        For messages.

    Returns
    -------
    list of (int, int, float, int)
        Site, neighboring site, distance in Å and how many there are; by site, then distance. Distances to one
        neighboring site that are within 1e-4 Å of the next are one. Sites at one position are not neighbors.

    Raises
    ------
    InvalidData
        For a cutoff that is not positive, or takes more than a million atoms.
    """
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise InvalidData(f"{place}: cutoff {cutoff} Å is not a positive length.")
    owner, fractions = _fill_cell(matrix, sites, operations)
    # Rows of the inverse are reciprocal vectors, 1/norm is the distance between lattice planes: that limits the cells
    # in each direction can hold a neighbor.
    reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(matrix), axis=1)).astype(int) + 1
    count = int(np.prod(2.0 * reach + 1)) * len(owner)
    if count > 1_000_000:
        raise InvalidData(f"{place}: a cutoff of {cutoff} Å takes {count} atoms; choose a shorter one.")
    images = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))), dtype=np.float64)
    positions = (images[:, None, :] + fractions[None, :, :]) @ matrix.T  # (images, atoms, 3)
    found = []
    for number, site in enumerate(np.mod(sites, 1.0)):
        distances = np.linalg.norm(positions - matrix @ site, axis=2)
        near = (distances > SAME_PLACE) & (distances <= cutoff)
        for other in range(len(sites)):
            lengths = np.sort(distances[near & (owner == other)[None, :]])
            if lengths.size:
                groups = np.split(lengths, np.flatnonzero(np.diff(lengths) > SAME_LENGTH) + 1)
                found += [(number, other, float(group.mean()), int(group.size)) for group in groups]
    return sorted(found, key=lambda pair: (pair[0], pair[2], pair[1]))


def _fill_cell(matrix: Array, sites: Array, operations: Sequence[str]) -> tuple[NDArray[np.int64], Array]:
    """Return site number and fractions (0 to 1) of every atom in the cell; images at one position are one atom."""
    import gemmi

    parsed = [gemmi.Op(triplet) for triplet in operations]
    owners: list[int] = []
    kept: list[Array] = []
    for number, site in enumerate(sites):
        images = np.mod([operation.apply_to_xyz(site.tolist()) for operation in parsed], 1.0)
        alone: list[Array] = []
        for image in images:
            apart = np.array(alone).reshape(-1, 3) - image
            apart -= np.round(apart)  # the nearest image of each
            if not (np.linalg.norm(apart @ matrix.T, axis=1) < SAME_PLACE).any():
                alone.append(image)
        owners += [number] * len(alone)
        kept += alone
    return np.array(owners, dtype=np.int64), np.array(kept)
