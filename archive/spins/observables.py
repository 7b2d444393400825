"""Observables of a spin model: levels, correlations, moments, thermodynamics.

Every function takes a model, its parameters in eV on a grid ``(...)`` and temperatures in K that broadcast
against the grid, and returns labelled arrays (`outputs.Labelled`). T = 0 is the equal mixture of the ground
multiplet. "Spin" has several meanings: `local_moment` is <S_Ni^2>, `effective_spin` (`composites`) belongs to
the low-energy model, and a paper's formal spin is neither.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.spins.models import SpinModel
from barospec.archive.spins.outputs import BATCH, BOLTZMANN, Array, Labelled, Outputs, collect
from barospec.archive.spins.solve import (
    DEGENERACY_TOLERANCE,
    Solution,
    boltzmann_weights,
    check_temperature,
    pair_stack,
    solve,
    thermal_average,
)

BOHR_MAGNETON = 5.7883817982e-5
"""Bohr magneton in eV/T (CODATA 2022)."""
_EMU = 6.02214076e23 * 9.2740100657e-21**2 / 1.602176634e-12  # N_A mu_B^2 / eV in cm^3/mol (cgs), about 3.23e-5


def spin_spectrum(model: SpinModel, parameters: Mapping[str, ArrayLike]) -> Outputs:
    """Compute levels with total spin, degeneracy and parity.

    Parameters
    ----------
    model : SpinModel
        Sites and interactions.
    parameters : mapping of str to array
        In eV, broadcasting to the grid ``(...)``.

    Returns
    -------
    dict of Labelled
        ``energy`` (..., level) in eV, ascending; ``total_spin``, ``degeneracy`` = 2S+1 and ``parity`` (+1, -1; 0
        without a mirror), (..., level); ``ground_energy`` and ``gap`` (...) in eV, the gap being the distance to
        the first level more than 1e-9 eV higher.

    Raises
    ------
    CallError
        See `solve.solve`.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> levels = spin_spectrum(trilayer(), {"J_H": 0.63, "J_ZZ": 0.36})
    >>> round(float(levels["gap"].values), 10), float(levels["total_spin"].values[0])
    (0.0724346654, 1.0)
    """
    solution = solve(model, parameters)
    order = np.argsort(solution.energies, axis=-1, kind="stable")
    energy = np.take_along_axis(solution.energies, order, axis=-1)
    ground = energy[..., 0]
    excitation = energy - ground[..., None]
    gap = np.min(np.where(excitation > DEGENERACY_TOLERANCE, excitation, np.inf), axis=-1)
    gap = np.where(np.isfinite(gap) & solution.valid, gap, np.nan)
    lost = ~solution.valid[..., None]
    spin = np.where(lost, np.nan, solution.spins[order])
    dims = (BATCH, "level")
    return collect(
        Labelled("energy", energy, dims, "eV", "Energy of each multiplet, lowest first."),
        Labelled("total_spin", spin, dims, "1", "Total spin S of the multiplet."),
        Labelled("degeneracy", 2 * spin + 1, dims, "1", "Number of states of the multiplet, 2S+1."),
        Labelled("parity", np.where(lost, np.nan, solution.parities[order]), dims, "1", "Parity under the mirror."),
        Labelled("ground_energy", ground, (BATCH,), "eV", "Energy of the ground state."),
        Labelled("gap", gap, (BATCH,), "eV", "Distance from the ground multiplet to the next level."),
    )


def spin_correlations(
    model: SpinModel,
    parameters: Mapping[str, ArrayLike],
    temperature: ArrayLike = 0.0,
    *,
    tolerance: float = DEGENERACY_TOLERANCE,
) -> Outputs:
    """Compute equal-time correlations <S_i.S_j> of all pairs of spins, and of the total spins of all pairs of Ni.

    Parameters
    ----------
    model : SpinModel
        Sites and interactions.
    parameters : mapping of str to array
        In eV, on the grid ``(...)``.
    temperature : array
        In K, broadcasting against the grid; from 0 up, no overflow anywhere.
    tolerance : float
        In eV: levels this close to the lowest one belong to the ground multiplet (T = 0 only).

    Returns
    -------
    dict of Labelled
        ``spin_correlation`` (..., site_i, site_j), diagonal s(s+1); ``layer_correlation`` (..., layer_i, layer_j),
        with S_Ni the sum over the layer's orbitals; ``local_moment`` (..., layer) = <S_Ni^2>, its diagonal. All
        in units of hbar^2.

    Raises
    ------
    CallError
        See `solve.solve`; negative temperatures.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> found = spin_correlations(trilayer(), {"J_H": 0.63, "J_ZZ": 0.36}, [0, 300])
    >>> round(float(found["spin_correlation"].values[0, 0, 4]), 9)  # Xu.Xl at T = 0
    0.249777198
    """
    solution = solve(model, parameters)
    return label_correlations(model, correlation_matrix(solution, temperature, tolerance))


def correlation_matrix(
    solution: Solution, temperature: ArrayLike = 0.0, tolerance: float = DEGENERACY_TOLERANCE
) -> Array:
    """Compute <S_i.S_j> of a solved model, shape (..., sites, sites); see `spin_correlations`."""
    n = len(solution.model.sites)
    pairs = list(itertools.combinations(range(n), 2))
    values = thermal_average(solution, pair_stack(pairs), temperature, tolerance)
    matrix = np.empty((*values.shape[:-1], n, n))
    for k, (i, j) in enumerate(pairs):
        matrix[..., i, j] = matrix[..., j, i] = values[..., k]
    known = np.broadcast_to(solution.valid & ~np.isnan(np.asarray(temperature, dtype=float)), values.shape[:-1])
    for i, spin in enumerate(solution.model.spins):
        matrix[..., i, i] = np.where(known, spin * (spin + 1), np.nan)
    return matrix


def label_correlations(model: SpinModel, matrix: Array) -> Outputs:
    """Label correlations of the sites, (..., sites, sites), and add the sums over each Ni."""
    layers = model.layers
    member = np.array([[site.layer == layer for site in model.sites] for layer in layers], dtype=float)
    by_layer = member @ matrix @ member.T
    sites = {"site_i": model.labels, "site_j": model.labels}
    ions = {"layer_i": layers, "layer_j": layers}
    moment = np.diagonal(by_layer, axis1=-2, axis2=-1)
    return collect(
        Labelled(
            "spin_correlation", matrix, (BATCH, "site_i", "site_j"), "1", "<S_i.S_j> of two spins (hbar^2).", sites
        ),
        Labelled(
            "layer_correlation",
            by_layer,
            (BATCH, "layer_i", "layer_j"),
            "1",
            "<S_i.S_j> of the total spins of two Ni (hbar^2).",
            ions,
        ),
        Labelled("local_moment", moment, (BATCH, "layer"), "1", "<S_Ni^2> (hbar^2).", {"layer": layers}),
    )


def local_moment(model: SpinModel, parameters: Mapping[str, ArrayLike], temperature: ArrayLike = 0.0) -> Outputs:
    """Compute <S_Ni^2> of each layer, and the spin S whose S(S+1) it equals.

    Parameters
    ----------
    model, parameters, temperature
        As in `spin_correlations`.

    Returns
    -------
    dict of Labelled
        ``local_moment`` (..., layer), 2 for a perfect spin 1; ``local_spin`` (..., layer), the S of
        S(S+1) = <S_Ni^2>. Neither is the effective spin of the low-energy model.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> local_moment(trilayer(), {"J_H": 0.63, "J_ZZ": 0.36})["local_moment"].values.round(10)
    array([1.97535603, 1.98304918, 1.97535603])
    """
    moment = spin_correlations(model, parameters, temperature)["local_moment"]
    spin = 0.5 * (np.sqrt(1 + 4 * np.maximum(np.asarray(moment.values, dtype=float), 0.0)) - 1)
    return collect(
        moment,
        Labelled("local_spin", spin, moment.dims, "1", "S of S(S+1) = <S_Ni^2>; not an effective spin.", moment.labels),
    )


def thermodynamics(
    model: SpinModel, parameters: Mapping[str, ArrayLike], temperature: ArrayLike, *, g: float = 2.0
) -> Outputs:
    """Compute energy, entropy, specific heat and susceptibility of one cluster.

    Parameters
    ----------
    model, parameters
        As in `spin_correlations`.
    temperature : array
        In K, broadcasting against the grid.
    g : float
        Isotropic g factor of all spins; the total spin is conserved, so there is no van Vleck term.

    Returns
    -------
    dict of Labelled, all of shape (...)
        ``energy`` in eV; ``entropy`` and ``specific_heat`` in k_B per cluster; ``total_moment`` = <S_tot^2>, which is
        S_eff(S_eff+1) of a Curie plot of the whole cluster; ``susceptibility`` = g^2 mu_B^2 <S_tot^2> / (3 k_B T) in
        mu_B/T per cluster and ``molar_susceptibility`` in cm^3/mol (emu/mol, cgs). At T = 0 the susceptibilities are
        0 for a singlet and infinite otherwise.

    Examples
    --------
    >>> from barospec.archive.spins.models import bilayer
    >>> hot = thermodynamics(bilayer(), {"J_H": 0.63, "J_ZZ": 0.36}, 1e6)
    >>> round(float(hot["entropy"].values / np.log(2)), 4), round(float(hot["total_moment"].values), 2)
    (4.0, 3.0)
    """
    solution = solve(model, parameters)
    kelvin = check_temperature(temperature)
    weights = boltzmann_weights(solution.energies, solution.degeneracies, kelvin)
    lowest = np.min(solution.energies, axis=-1)
    excitation = solution.energies - lowest[..., None]
    mean = np.sum(weights * excitation, axis=-1)
    variance = np.sum(weights * (excitation - mean[..., None]) ** 2, axis=-1)
    moment = np.sum(weights * solution.spins * (solution.spins + 1), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        thermal = BOLTZMANN * kelvin
        # Squaring first would lose the lowest temperatures to underflow.
        heat = np.where(variance > 0, (np.sqrt(variance) / thermal) ** 2, 0.0 * variance)
        each = weights / solution.degeneracies
        entropy = -np.sum(np.where(weights > 0, weights * np.log(each), 0.0 * weights), axis=-1)
        curie = np.where(moment > 1e-12, moment / (3 * thermal), 0.0 * moment)
    heat = np.where(kelvin == 0, 0.0 * mean, heat)
    susceptibility = g**2 * BOHR_MAGNETON * curie
    return collect(
        Labelled("energy", lowest + mean, (BATCH,), "eV", "Internal energy per cluster."),
        Labelled("entropy", entropy, (BATCH,), "k_B", "Entropy per cluster."),
        Labelled("specific_heat", heat, (BATCH,), "k_B", "Specific heat per cluster."),
        Labelled("total_moment", moment, (BATCH,), "1", "<S_tot^2> = S_eff(S_eff+1) of the whole cluster."),
        Labelled("susceptibility", susceptibility, (BATCH,), "µB/T", f"Susceptibility per cluster, g = {g:g}."),
        Labelled(
            "molar_susceptibility",
            g**2 * curie * _EMU,
            (BATCH,),
            "cm³/mol",
            f"Molar susceptibility of clusters (cgs), g = {g:g}.",
        ),
    )
