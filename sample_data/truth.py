"""Noise-free curves from the truth file: the shape for each sample, pressure and run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import brentq

from barospec.sample_data.spectra import Array, Edge, Emission, Peak, Shell, murnaghan_length, normalized

TRUTH_FILE = Path(__file__).parent / "truth.yaml"


def load_truth(path: Path = TRUTH_FILE) -> dict[str, Any]:
    """Load the parameters of the generator as nested mappings, in the units of the file.

    Examples
    --------
    >>> load_truth()["edge_energy"]["fraction"]["value"]
    0.8
    """
    truth: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return truth


def grid(truth: dict[str, Any], name: str) -> Array:
    """Return the nominal energy grid `name` (``ni_k``, ``la_l3``, ``ni_kb``) in eV, ascending.

    Examples
    --------
    >>> grid(load_truth(), "ni_kb")[:3].tolist()
    [8230.0, 8230.4, 8230.8]
    """
    pieces = truth["grids"][name]
    parts = [low + step * np.arange(round((high - low) / step)) for low, high, step in pieces]
    return np.round(np.concatenate([*parts, [pieces[-1][1]]]), 4)


def edge_shift(truth: dict[str, Any], material: str, pressure: float) -> float:
    """Return the shift of the Ni K edge energy relative to ambient pressure.

    Parameters
    ----------
    truth : dict
    material : str
        ``La3Ni2O7`` (piecewise linear), ``NiO`` (from its contraction) or ``LaNiO3`` (ambient only).
    pressure : float
        In GPa.

    Returns
    -------
    float
        In eV.

    Examples
    --------
    >>> round(edge_shift(load_truth(), "La3Ni2O7", 15.6), 3)
    0.5
    """
    shifts = truth["edge_shift"]
    if material == "NiO":
        solid = shifts["NiO"]
        ratio = murnaghan_length(pressure, solid["bulk_modulus"]["value"], solid["derivative"]["value"])
        return float(shifts["per_bond_length"]["value"] * truth["bond_length"]["NiO"]["value"] * (ratio - 1.0))
    if material == "La3Ni2O7":
        rows = shifts["La3Ni2O7"]
        return float(np.interp(pressure, [r["pressure"] for r in rows], [r["shift"] for r in rows]))
    return 0.0


def bond_length(truth: dict[str, Any], material: str, pressure: float) -> float:
    """Return the mean Ni-O distance in Å at a pressure in GPa, consistent with the edge shift.

    Examples
    --------
    >>> round(bond_length(load_truth(), "La3Ni2O7", 23.7), 4)
    1.9257
    """
    r0: float = truth["bond_length"][material]["value"]
    return r0 + edge_shift(truth, material, pressure) / float(truth["edge_shift"]["per_bond_length"]["value"])


def _peaks(rows: list[list[float]]) -> tuple[Peak, ...]:
    return tuple(Peak(*row) for row in rows)


def ni_k_edge(truth: dict[str, Any], material: str, pressure: float) -> Edge:
    """Return the Ni K edge of a material at a pressure in GPa.

    Examples
    --------
    >>> ni_k_edge(load_truth(), "NiO", 0.0).energy
    8344.4
    """
    shape, feature = truth["ni_k_shape"], truth["feature_C"]
    height, position, fwhm, lorentzian = truth["pre_edge_A"][material]["peak"]
    growth = 1.0 + truth["pre_edge_A"]["growth_per_GPa"]["value"] * pressure
    moved = truth["pre_edge_A"]["shift_with_pressure"]["value"] * pressure
    rows = np.asarray(feature[material]["height"], dtype=np.float64)
    c_height = float(np.interp(pressure, rows[:, 0], rows[:, 1]))
    r0 = truth["bond_length"][material]["value"]
    return Edge(
        energy=truth["edge_energy"][material]["value"] + edge_shift(truth, material, pressure),
        step_fwhm=shape["step_fwhm"][material],
        moving=_peaks(shape["moving"][material]),
        fixed=(
            Peak(height * growth, position + moved, fwhm, lorentzian),
            Peak(
                c_height,
                feature["position"]["value"],
                feature["fwhm"]["value"],
                feature["lorentzian"]["value"],
            ),
        ),
        shells=tuple(Shell(*row) for row in shape["shells"][material]),
        measured=tuple(grid(truth, "ni_k").tolist()),
        degree=2,
        post_edge=shape["post_edge"][material],
        contraction=bond_length(truth, material, pressure) / r0,
        fraction=truth["edge_energy"]["fraction"]["value"],
    )


def ni_foil_edge(truth: dict[str, Any]) -> Edge:
    """Return the Ni K edge of the reference foil.

    Examples
    --------
    >>> ni_foil_edge(load_truth()).energy
    8345.9
    """
    foil = truth["ni_foil"]
    return Edge(
        energy=foil["edge"],
        step_fwhm=foil["step_fwhm"],
        moving=_peaks(foil["moving"]),
        fixed=(),
        shells=tuple(Shell(*row) for row in foil["shells"]),
        measured=tuple(grid(truth, "ni_k").tolist()),
        degree=2,
    )


def la_l3_edge(truth: dict[str, Any], pressure: float) -> Edge:
    """Return the La L3 edge of La3Ni2O7 at a pressure in GPa.

    Examples
    --------
    >>> round(la_l3_edge(load_truth(), 20.0).energy, 2)
    5481.78
    """
    la = truth["la_l3"]

    def change(name: str) -> float:
        return float(la[name]["value"]) * pressure / float(la[name]["pressure"])

    white, resonance = Peak(*la["white_line_peak"]), Peak(*la["resonance_peak"])
    ambient = Edge(
        energy=la["edge_energy"]["value"],
        step_fwhm=la["step_fwhm"],
        moving=(white, resonance),
        fixed=(),
        shells=tuple(Shell(*row) for row in la["shells"]),
        measured=tuple(grid(truth, "la_l3").tolist()),
        degree=1,
    )
    target = _highest(ambient) * (1.0 + change("white_line"))
    # The step itself moves down, so the resonance is placed relative to it.
    moved = replace(resonance, position=resonance.position + change("resonance") - change("shift"))

    def with_white_line(height: float) -> Edge:
        energy = ambient.energy + change("shift")
        return replace(ambient, energy=energy, moving=(replace(white, height=height), moved))

    height = brentq(lambda h: _highest(with_white_line(h)) - target, 0.8 * white.height, 1.3 * white.height, xtol=1e-7)
    return with_white_line(float(height))


def _highest(edge: Edge) -> float:
    energy = np.arange(edge.energy, edge.energy + 8.0, 0.01)
    return float(normalized(energy, edge).max())


def ni_kb_emission(truth: dict[str, Any], material: str, pressure: float) -> Emission:
    """Return the Ni Kβ emission of a material at a pressure in GPa.

    Examples
    --------
    >>> len(ni_kb_emission(load_truth(), "NiO", 0.0).lines)
    5
    """
    kb = truth["ni_kb"]
    prime, vtc = kb["beta_prime"], kb["beta_2_5"]
    satellite = Peak(
        vtc["height"][material] * (1.0 + vtc["growth_per_GPa"]["value"] * pressure),
        vtc["position"][material] + vtc["shift_per_GPa"]["value"] * pressure,
        vtc["fwhm"],
        vtc["lorentzian"],
    )
    beta_prime = Peak(prime["height"][material], prime["position"], prime["fwhm"], prime["lorentzian"])
    return Emission(
        lines=(
            *_peaks(kb["main"]["lines"]),
            beta_prime,
            satellite,
            *_peaks(kb["beta_double_prime"]["lines"]),
        ),
        background=kb["background"]["value"],
    )
