"""Parameters of the Hartree scale from a Wannier Hamiltonian: t_perp_pZ, t_par_pX and one-particle level differences.

The file does not identify the Wannier functions: labels do, one for every function. A bond is then found by the size of its
hopping, not by geometry (the file has no positions), so hoppings must decrease clearly beyond the nearest neighbors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from barospec.archive.readers.models_registry import read_model
from barospec.archive.spins.outputs import Array
from barospec.schemas.errors import InvalidData, did_you_mean
from barospec.schemas.vocabulary import ELEMENTS

if TYPE_CHECKING:
    from barospec.archive.readers.wannier90 import Hoppings

ORBITALS: Mapping[str, str] = {
    "Z": "3z2-r2 of a metal site in a layer",
    "X": "x2-y2 of a metal site in a layer",
    "p": "O p that points to its metal neighbors, between two layers (bond: um) or in one (layer: u, bond: x)",
    "other": "any other function",
}
LABEL_KEYS = ("index", "site", "layer", "orbital", "bond")
APICAL, IN_PLANE = "Ni-O apical", "Ni-O in-plane"
# Beyond the nearest neighbors a hopping must be less than this part of the bonds' own, or labels and bonds are in doubt.
_APART = 0.5
# A hopping below this, in eV, counts as zero: files print six decimals.
_NONE = 1e-5
# Printed decimals of two elements, before the division by the degeneracy.
_HERMITIAN = 2.5e-6


@dataclass(frozen=True, slots=True)
class Orbital:
    """Label of one Wannier function.

    ``index`` counts from 1 as in the file; ``orbital`` is one of `ORBITALS`; ``layer`` (u, m, l) is that of a Z, an X or an in-plane
    p; ``bond`` names the two layers that an apical p connects ("um") or the direction of an in-plane p ("x").
    """

    index: int
    orbital: str
    site: str = ""
    layer: str = ""
    bond: str = ""

    @property
    def apical(self) -> bool:
        """True for a p between two layers."""
        return self.orbital == "p" and not self.layer


# A metal orbital, a p orbital, and the row of R in the Hamiltonian.
_Bond = tuple[Orbital, Orbital, int]


@dataclass(frozen=True, slots=True, eq=False)
class Bonds:
    """Bonds of one layer and one kind, with their values in the Hamiltonian.

    Parameters
    ----------
    name : str
        ``t_perp_pZ``, ``t_par_pX``, ``onsite_dp_Z`` or ``onsite_dp_X``.
    layer, bond : str
        As labelled; an empty layer means all of them.
    values : ndarray, shape (bond,)
        In eV.
    pairs : tuple of (int, int)
        Numbers of the metal and the O function, from 1.
    vectors : tuple of (int, int, int)
        Cell of the O function, the metal being in cell 0.
    """

    name: str
    layer: str
    bond: str
    values: Array
    pairs: tuple[tuple[int, int], ...]
    vectors: tuple[tuple[int, int, int], ...]

    @property
    def value(self) -> float:
        """Mean over the bonds, in eV."""
        return _decimal(self.values.mean())

    @property
    def sigma(self) -> float:
        """Spread (standard deviation, of all bonds and not of a sample) in eV; NaN for one bond."""
        return _decimal(self.values.std()) if self.values.size > 1 else float("nan")

    @property
    def meaning(self) -> str:
        """Meaning of the value, in a few words."""
        what = "E_d - E_p, one-particle levels" if self.name.startswith("onsite_dp") else "magnitude of the hopping"
        bonds = f"mean of {self.values.size} bonds" if self.values.size > 1 else "one bond"
        return f"{what}, {bonds}" + (
            "" if self.layer else " of all layers, sigma is their spread" if self.values.size > 1 else ""
        )

    @property
    def origin(self) -> str:
        """Functions and R of each bond, as text."""
        cells = zip(self.pairs, self.vectors, strict=True)
        return "; ".join(f"<{d} 0|H|{p} R> R = ({','.join(map(str, cell))})" for (d, p), cell in cells)


def read_labels(entries: Iterable[Mapping[str, str]]) -> list[Orbital]:
    """Read labels, one mapping for each function.

    Parameters
    ----------
    entries : iterable of mapping
        Keys ``index``, ``orbital`` and, as the orbital needs, ``site``, ``layer``, ``bond``. The index of an ``other`` may be a range
        such as ``15-45``.

    Returns
    -------
    list of Orbital
        In the order of the entries.

    Raises
    ------
    InvalidData
        For the first label that is not well formed.

    Examples
    --------
    >>> read_labels([{"index": "2", "site": "Ni", "layer": "u", "orbital": "Z"}])
    [Orbital(index=2, orbital='Z', site='Ni', layer='u', bond='')]
    >>> [label.index for label in read_labels([{"index": "3-5", "orbital": "other"}])]
    [3, 4, 5]
    """
    return [orbital for entry in entries for orbital in _read_label(entry)]


def _read_label(entry: Mapping[str, str]) -> list[Orbital]:
    shown = "{" + ", ".join(f"{key}: {text}" for key, text in entry.items()) + "}"
    kind, place = entry.get("orbital", ""), re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", entry.get("index", ""))
    if kind not in ORBITALS:
        raise InvalidData(
            f'orbital "{kind}" of {shown} is not one of {", ".join(ORBITALS)}.{did_you_mean(kind, list(ORBITALS))}'
        )
    if place is None or int(place[1]) < 1 or (place[2] and (kind != "other" or int(place[2]) < int(place[1]))):
        raise InvalidData(
            f"index of {shown} is the number of a Wannier function, from 1; only `orbital: other` may have a range like 15-45."
        )
    if kind == "other":
        return [Orbital(index, kind) for index in range(int(place[1]), int(place[2] or place[1]) + 1)]
    site, layer, bond = (entry.get(key, "") for key in ("site", "layer", "bond"))
    element = re.match(r"[A-Z][a-z]?", site)
    if element is None or element[0] not in ELEMENTS or (element[0] == "O") != (kind == "p"):
        expected = "O, O1, ..." if kind == "p" else "a metal such as Ni or Ni1"
        raise InvalidData(f'site "{site}" of {shown} has no {kind}: it is {ORBITALS[kind]}. Give the site, {expected}.')
    if kind == "p" and not bond:
        raise InvalidData(f"{shown} has no bond: it is {ORBITALS[kind]}.")
    if kind != "p" and (not layer or bond):
        raise InvalidData(f"{shown} needs a layer and takes no bond: it is {ORBITALS[kind]}.")
    return [Orbital(int(place[1]), kind, site, layer, bond)]


def extract_hoppings(hoppings: Hoppings, orbitals: Sequence[Orbital]) -> dict[str, tuple[Bonds, ...]]:
    """Extract parameters of the Hartree scale from H(R) of labelled Wannier functions.

    Parameters
    ----------
    hoppings : Hoppings
        H(R) in eV, divided by the degeneracies, R of shape (r, 3), matrix of shape (r, orbital, orbital).
    orbitals : sequence of Orbital
        One for each Wannier function.

    Returns
    -------
    dict of str to tuple of Bonds
        ``t_perp_pZ``: magnitude of the hopping between Z and the apical p between two layers. ``t_par_pX``: the same between X and the in-plane
        p. ``onsite_dp_Z``, ``onsite_dp_X``: level of the metal orbital minus that of the p. One `Bonds` for each layer and bond, in
        the order of the labels; a key is there only where p of its kind are labelled.

    Raises
    ------
    InvalidData
        If labels and functions do not fit, H is not Hermitian, or the nearest neighbors are not distinct.

    Notes
    -----
    The sign of a hopping is that of two arbitrary phases, so its magnitude is given.
    ``onsite_dp`` is E_d - E_p of electrons, which is also the energy that a *hole* gains on d rather than on p: positive for a
    charge-transfer insulator in both conventions, and independent of the Fermi level. It is a difference of
    one-particle levels of the functional that made the file: it includes that functional's mean field and double counting. It is
    **not** E_CT referred to the high-spin d8, which needs U and J, and never has that name here.

    Examples
    --------
    >>> from barospec.archive.readers.wannier90 import Hoppings
    >>> h = np.array([[[-1.0, 0.0, 1.4], [0.0, -1.0, -1.4], [1.4, -1.4, -4.5]]], dtype=complex)
    >>> file = Hoppings(np.zeros((1, 3), dtype=np.int64), h, np.ones(1, dtype=np.int64))
    >>> labels = [Orbital(1, "Z", "Ni", "u"), Orbital(2, "Z", "Ni", "l"), Orbital(3, "p", "O", bond="ul")]
    >>> found = extract_hoppings(file, labels)
    >>> [(b.layer, b.bond, b.value) for b in found["t_perp_pZ"]], found["onsite_dp_Z"][0].value
    ([('u', 'ul', 1.4), ('l', 'ul', 1.4)], 3.5)
    """
    _check_hermitian(hoppings)
    _check_labels(orbitals, hoppings.matrix.shape[1])
    found: dict[str, list[_Bond]] = {}
    for p in (orbital for orbital in orbitals if orbital.orbital == "p"):
        kind, count = ("Z", 1) if p.apical else ("X", 2)
        for layer in _connected(p, orbitals):
            metals = [o for o in orbitals if (o.orbital, o.layer) == (kind, layer)]
            found.setdefault(kind, []).extend(_nearest(hoppings, p, metals, layer, count))
    if not found:
        raise InvalidData("no p orbital is labelled, so there is no metal-oxygen bond. Label the O p.")
    home = int(np.flatnonzero((hoppings.vectors == 0).all(axis=1))[0])
    levels = hoppings.matrix[home].diagonal().real
    named: dict[str, tuple[Bonds, ...]] = {}
    for kind, name in (("Z", "t_perp_pZ"), ("X", "t_par_pX")):
        if kind in found:
            named[name] = _by_layer_and_bond(hoppings, name, found[kind])
            named[f"onsite_dp_{kind}"] = tuple(_level(levels, f"onsite_dp_{kind}", group) for group in named[name])
    return named


def read_bonds(path: Path, orbitals: Sequence[Orbital]) -> tuple[list[Bonds], str]:
    """Read all bonds of a ``_hr.dat``, each name over all layers first, and the file's name and sha256 as text.

    Raises UnreadableFile or InvalidData, as `extract_hoppings` and the reader do.
    """
    found = extract_hoppings(read_model(path, "wannier90"), orbitals)
    groups = [group for named in found.values() for group in (over_all(named), *named)]
    return groups, f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def over_all(groups: Sequence[Bonds]) -> Bonds:
    """Join bonds of all layers: their mean, for a model with one such parameter, and their spread between layers.

    >>> one = Bonds("t_perp_pZ", "u", "um", np.array([1.36]), ((1, 3),), ((0, 0, 0),))
    >>> other = Bonds("t_perp_pZ", "m", "um", np.array([1.40]), ((2, 3),), ((0, 0, 0),))
    >>> both = over_all([one, other])
    >>> both.bond, round(both.value, 9), round(both.sigma, 9)
    ('Ni-O apical', 1.38, 0.02)
    """
    name = groups[0].name
    return Bonds(
        name,
        "",
        APICAL if name in ("t_perp_pZ", "onsite_dp_Z") else IN_PLANE,
        np.concatenate([group.values for group in groups]),
        tuple(pair for group in groups for pair in group.pairs),
        tuple(vector for group in groups for vector in group.vectors),
    )


def _decimal(value: float) -> float:
    """Round to decimals as in files: the mean of 1.36 and 1.40 is 1.38, not 1.3800000000000001."""
    return float(f"{value:.12g}")


def _check_hermitian(hoppings: Hoppings) -> None:
    place = {tuple(vector): i for i, vector in enumerate(hoppings.vectors.tolist())}
    opposite = [place.get((-a, -b, -c)) for a, b, c in hoppings.vectors.tolist()]
    if (0, 0, 0) not in place or None in opposite:
        raise InvalidData(
            "R = 0 or some -R is missing, so H is not Hermitian. Write the file again with all its vectors."
        )
    other = hoppings.matrix[[i for i in opposite if i is not None]].conj().transpose(0, 2, 1)
    apart = np.abs((hoppings.matrix - other) * hoppings.degeneracies[:, None, None])
    if not apart.max() <= _HERMITIAN:
        r, m, n = np.unravel_index(np.argmax(np.nan_to_num(apart, nan=np.inf)), apart.shape)
        raise InvalidData(
            f"H is not Hermitian: element {m + 1} {n + 1} of R = {hoppings.vectors[r].tolist()} differs by {apart[r, m, n]:.2g} eV from "
            "the conjugate of that of -R. Was the file edited or cut?"
        )


def _check_labels(orbitals: Sequence[Orbital], count: int) -> None:
    given = [orbital.index for orbital in orbitals]
    outside = sorted({index for index in given if not 1 <= index <= count})
    double = sorted({index for index in given if given.count(index) > 1})
    missing = sorted(set(range(1, count + 1)) - set(given))
    if outside:
        raise InvalidData(
            f"there are labels for the functions {_listed(outside)}, but H has {count} Wannier functions."
        )
    if double:
        raise InvalidData(f"functions {_listed(double)} are labelled twice.")
    if missing:
        raise InvalidData(
            f"functions {_listed(missing)} of {count} have no label. Label each; `orbital: other` for unused ones."
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")


def _connected(p: Orbital, orbitals: Sequence[Orbital]) -> tuple[str, ...]:
    """Return the layers of a p: two for an apical, its own for an in-plane one."""
    kind = "Z" if p.apical else "X"
    layers = list(dict.fromkeys(o.layer for o in orbitals if o.orbital == kind))
    pairs = [(a, b) for a in layers for b in layers if a != b and a + b == p.bond] if p.apical else []
    if p.apical and not pairs:
        raise InvalidData(
            f'bond "{p.bond}" of function {p.index} does not name two layers that have a Z; those are {", ".join(layers) or "none"}. '
            "Write um for the O between u and m; an in-plane p has a layer too."
        )
    if not p.apical and p.layer not in layers:
        raise InvalidData(
            f"function {p.index} is a p in layer {p.layer}, which has no X; there are {', '.join(layers) or 'none'}."
        )
    return pairs[0] if p.apical else (p.layer,)


def _nearest(hoppings: Hoppings, p: Orbital, metals: Sequence[Orbital], layer: str, count: int) -> list[_Bond]:
    """Return the `count` largest hoppings of a p into a layer: metal, p, and row of R."""
    rows = [metal.index - 1 for metal in metals]
    sizes: NDArray[np.float64] = np.abs(hoppings.matrix[:, rows, p.index - 1])
    order = np.argsort(-sizes, axis=None, kind="stable")
    ranked = sizes.ravel()[order]
    if ranked.size < count or ranked[count - 1] < _NONE:
        raise InvalidData(
            f"the {metals[0].orbital} of layer {layer} and the p of function {p.index} (bond {p.bond}) have {int((ranked[:count] >= _NONE).sum())} "
            f"hoppings, {count} expected: the labels do not fit this Hamiltonian."
        )
    if ranked.size > count and ranked[count] >= _APART * ranked[count - 1]:
        raise InvalidData(
            f"hoppings of the p of function {p.index} (bond {p.bond}) to the {metals[0].orbital} of layer {layer} are "
            f"{', '.join(f'{size:.4g}' for size in ranked[: count + 1])} eV: {count} should be clearly larger. The labels do not fit, or the functions "
            "are not atomic orbitals along the bonds."
        )
    vector, metal = np.unravel_index(order[:count], sizes.shape)
    return [(metals[m], p, int(r)) for r, m in zip(vector, metal, strict=True)]


def _by_layer_and_bond(hoppings: Hoppings, name: str, bonds: Sequence[_Bond]) -> tuple[Bonds, ...]:
    classes: dict[tuple[str, str], list[_Bond]] = {}
    for bond in bonds:
        classes.setdefault((bond[0].layer, bond[1].bond), []).append(bond)
    return tuple(_hopping(hoppings, name, *key, found) for key, found in classes.items())


def _hopping(hoppings: Hoppings, name: str, layer: str, bond: str, bonds: Sequence[_Bond]) -> Bonds:
    cells = hoppings.vectors.tolist()
    return Bonds(
        name,
        layer,
        bond,
        np.array([np.abs(hoppings.matrix[r, metal.index - 1, p.index - 1]) for metal, p, r in bonds]),
        tuple((metal.index, p.index) for metal, p, _ in bonds),
        tuple((cells[r][0], cells[r][1], cells[r][2]) for _, _, r in bonds),
    )


def _level(levels: Array, name: str, group: Bonds) -> Bonds:
    """Return level differences of the bonds of a group; a pair that is bonded twice, across a cell, counts once."""
    pairs = tuple(dict.fromkeys(group.pairs))
    values = np.array([levels[d - 1] - levels[p - 1] for d, p in pairs])
    return Bonds(name, group.layer, group.bond, values, pairs, ((0, 0, 0),) * len(pairs))
