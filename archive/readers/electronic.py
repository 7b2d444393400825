"""Band structures and densities of states as plain arrays with their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.records import Problem

Array = NDArray[np.float64]

# CODATA 2022, in eV.
RYDBERG = 13.605693122990


@dataclass(frozen=True, slots=True)
class Bands:
    """Eigenvalues on a list of k-points.

    Parameters
    ----------
    energy : ndarray, shape (spin, k, band)
        In eV, on the scale of `fermi_level`.
    kpoints : ndarray, shape (k, 3)
        As the file has them: VASP in units of the reciprocal lattice, WIEN2k as in its path.
    fermi_level : float
        In eV; 0 where the file's energies are relative to it, NaN where it is not stated.
    weights, distance : ndarray, shape (k,), optional
        Weight in sums over the zone; length along the path.
    occupation : ndarray, shape (spin, k, band), optional
        0 to 1.
    projection : ndarray, shape (spin, k, band, column), optional
        Weight of each state on the orbitals of the atoms ("fat bands"), 0 to 1; its sum is below 1, since orbitals within
        spheres do not hold all of a state.
    labels : tuple of str
        Of the columns: ``1 Ni dxy`` (number, element, orbital).
    """

    energy: Array
    kpoints: Array
    fermi_level: float
    weights: Array | None = None
    distance: Array | None = None
    occupation: Array | None = None
    projection: Array | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dos:
    """Densities of states on one energy grid.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        In eV, on the scale of `fermi_level`.
    density : ndarray, shape (spin, column, n)
        In states per eV (and cell or atom, as the code counts).
    labels : tuple of str
        Of the columns: ``total``, then ``1 Ni dxy`` (number, element, orbital) or the file's own labels.
    fermi_level : float
        As in `Bands`.
    """

    energy: Array
    density: Array
    labels: tuple[str, ...]
    fermi_level: float


@dataclass(frozen=True, slots=True)
class ElectronicStructure:
    """Result of one run of a code; None for what its file does not hold."""

    code: str
    code_version: str
    elements: tuple[str, ...]
    bands: Bands | None
    dos: Dos | None
    problems: tuple[Problem, ...] = ()
