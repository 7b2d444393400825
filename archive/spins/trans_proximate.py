"""Trans-proximate order: ties between outer layers against ties to the middle one, by separate criteria.

The published claim is about couplings. The equal-time correlations of the isolated six-spin model say the opposite: with
J_H of 0.4 eV or more, at every ratio J_ZZ/J_H from 0.2 to 100 and up to 600 K; at T = 0 for every set tried. (With fixed J_ZZ
and small J_H, temperature removes the weak tie to the middle layer first, and the order turns: J_ZZ = 0.66 eV at 300 K above
a ratio of about 4.7.) Each answer therefore has the name of its criterion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.spins.algebra import multiplets
from barospec.archive.spins.canonical import Selection
from barospec.archive.spins.composites import PICTURES
from barospec.archive.spins.effective import SMALL_WEIGHT, coupling, effective_model, label_effective, reduce_model
from barospec.archive.spins.invariants import decompose, invariant_basis
from barospec.archive.spins.models import SpinModel, trilayer
from barospec.archive.spins.observables import correlation_matrix
from barospec.archive.spins.outputs import BATCH, BOLTZMANN, Array, Labelled, Outputs, as_array, collect
from barospec.archive.spins.solve import check_temperature, solve
from barospec.schemas.errors import CallError


@dataclass(frozen=True, slots=True)
class Criterion:
    """A named comparison: quantities for outer-outer and outer-middle, and their unit."""

    name: str
    outer: str
    middle: str
    unit: str
    statement: str


CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        Criterion(
            "coupling",
            "J(lt)",
            "J(mt)",
            "eV",
            "In the trimer model space the outer X spins couple to the trimer more strongly than the middle one.",
        ),
        Criterion(
            "mean_force",
            "K(ul)",
            "K(um)",
            "1",
            "The mean-force coupling (over k_B T) of the outer X spins exceeds that of outer and middle.",
        ),
        Criterion(
            "correlation_x",
            "<Xu.Xl>",
            "<Xu.Xm>",
            "1",
            "The equal-time correlation of the outer X spins exceeds that of outer and middle.",
        ),
        Criterion(
            "correlation_z",
            "<Zu.Zl>",
            "<Zu.Zm>",
            "1",
            "The equal-time correlation of the outer Z spins exceeds that of outer and middle.",
        ),
        Criterion(
            "correlation_ni",
            "<Su.Sl>",
            "<Su.Sm>",
            "1",
            "The equal-time correlation of the outer Ni spins exceeds that of outer and middle.",
        ),
        Criterion(
            "correlation_effective",
            "<Xu.Xl> effective",
            "<Xu.Xm> effective",
            "1",
            "In the effective model of the trimer model space, the outer effective spins correlate more strongly.",
        ),
    )
}


_CORRELATION = "correlation_"


def mean_force_couplings(correlations: ArrayLike) -> Array:
    """Compute couplings, over k_B T, of three spins 1/2 whose reduced density matrix is exp(-sum K_ij S_i.S_j) / Z.

    SU(2) leaves the reduced density matrix of three spins three free numbers, which their correlations fix:
    rho = 1/8 + (2/3) sum C_ij S_i.S_j. Its logarithm is again a sum of scalar products.

    Parameters
    ----------
    correlations : array, shape (..., 3)
        <S_0.S_1>, <S_0.S_2>, <S_1.S_2> in units of hbar^2.

    Returns
    -------
    ndarray, shape (..., 3)
        K_01, K_02, K_12, dimensionless; times k_B T they are energies. NaN where the density matrix is singular
        (a pure state of the three spins has no finite potential) or not known.

    Examples
    --------
    >>> mean_force_couplings([-0.1, 0.0, 0.0]).round(6) + 0.0
    array([0.479573, 0.      , 0.      ])
    """
    given = as_array(correlations)
    if given.shape[-1:] != (3,):
        raise CallError(f"three correlations are expected on the last axis; the shape is {given.shape}.")
    spins = (0.5, 0.5, 0.5)
    known = np.all(np.isfinite(given), axis=-1)
    filled = np.where(known[..., None], given, 0.0)
    logarithms = []
    for group in multiplets(spins):
        pairs = np.stack([group.pairs[pair] for pair in ((0, 1), (0, 2), (1, 2))])
        density = np.eye(len(group.parities)) / 8 + np.tensordot(filled, pairs, 1) * (2 / 3)
        values, vectors = np.linalg.eigh(density)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(values > 1e-14, np.log(np.maximum(values, 1e-300)), np.nan)
        logarithms.append(-(vectors * logs[..., None, :]) @ np.swapaxes(vectors, -1, -2))
    basis = invariant_basis(spins, "tensor")
    found, _ = decompose(basis, tuple(logarithms))
    order = [basis.index((pair,)) for pair in ((0, 1), (0, 2), (1, 2))]
    return np.where(known[..., None], found[..., order], np.nan)


def trans_proximate(
    parameters: Mapping[str, ArrayLike],
    temperature: ArrayLike = 0.0,
    *,
    selection: Selection = "lowest",
    model: SpinModel | None = None,
) -> Outputs:
    """Compare outer-outer with outer-middle in the trilayer, by every criterion of `CRITERIA`.

    Parameters
    ----------
    parameters : mapping of str to array
        Of `models.trilayer`, in eV, on the grid ``(...)``.
    temperature : array
        In K, broadcasting against the grid; the criterion ``coupling`` does not depend on it.
    selection : {"lowest", "overlap"}
        State selection of the effective Hamiltonian.
    model : SpinModel, optional
        Another model with the same six site labels.

    Returns
    -------
    dict of Labelled
        Outer-outer and outer-middle, absolute values: ``coupling_outer`` and ``coupling_middle`` (...) in eV, ``mean_force_outer``
        and ``mean_force_middle`` (...) over k_B T, ``correlation_outer`` and ``correlation_middle`` (..., correlation); ``holds``
        (..., criterion), 1 where outer is larger, 0 where not, NaN where unknown; ``mean_force_energy`` (..., 2) in eV, the mean-force couplings times k_B T;
        ``smallest_weight`` (...), of the trimer model space; ``trustworthy`` (..., criterion), 0 for the two criteria of
        the effective model where that weight is below one half.

    Examples
    --------
    >>> found = trans_proximate({"J_H": 0.57, "J_ZZ": 0.66})
    >>> dict(zip(found["holds"].labels["criterion"], found["holds"].values.tolist()))
    ... # doctest: +NORMALIZE_WHITESPACE
    {'coupling': 1.0, 'mean_force': 1.0, 'correlation_x': 0.0, 'correlation_z': 0.0, 'correlation_ni': 0.0,
     'correlation_effective': 0.0}
    """
    model = trilayer() if model is None else model
    solution = solve(model, parameters)
    kelvin = check_temperature(temperature)
    reduced = reduce_model(solution, PICTURES["trilayer"]["trimer"], selection)
    matrix = correlation_matrix(solution, kelvin)
    shape = matrix.shape[:-2]
    couplings = label_effective(reduced, "tensor")
    values = _correlations(model, matrix)
    values["coupling"] = (coupling(couplings, "t.Xl"), coupling(couplings, "t.Xm"))
    values["correlation_effective"] = _effective(*effective_model(reduced), kelvin)
    outer, middle = (
        np.stack([np.broadcast_to(np.abs(values[name][side]), shape) for name in CRITERIA], axis=-1) for side in (0, 1)
    )
    known = np.isfinite(outer) & np.isfinite(middle)
    weight = np.broadcast_to(reduced.smallest_weight, shape)
    needs = np.array([name in ("coupling", "correlation_effective") for name in CRITERIA])
    trust = np.where(known, ~(needs & ~(weight[..., None] >= SMALL_WEIGHT)), np.nan)
    force = np.stack(values["mean_force"], axis=-1)
    energy = force * BOLTZMANN * np.broadcast_to(kelvin, shape)[..., None] + 0.0
    labels = {"criterion": tuple(CRITERIA)}
    dims = (BATCH, "criterion")
    return collect(
        *_ties(outer, "outer", "outer-outer"),
        *_ties(middle, "middle", "outer-middle"),
        Labelled("holds", np.where(known, outer > middle, np.nan), dims, "1", "1 where outer exceeds middle.", labels),
        Labelled(
            "trustworthy", trust, dims, "1", "0 where the trimer model space's smallest weight is below 0.5.", labels
        ),
        Labelled(
            "mean_force_energy",
            energy,
            (BATCH, "pair"),
            "eV",
            "Mean-force coupling of X spins.",
            {"pair": ("ul", "um")},
        ),
        Labelled("smallest_weight", reduced.smallest_weight, (BATCH,), "1", "Least model-space weight of the trimer."),
    )


def _ties(values: Array, side: str, between: str) -> list[Labelled]:
    """Return one side of all criteria, each quantity an output with its own unit."""
    place = {name: k for k, name in enumerate(CRITERIA)}
    found = []
    for name, what in (("coupling", "Coupling"), ("mean_force", "Mean-force coupling over k_B T")):
        meaning = f"{what}, {between}, absolute value: {getattr(CRITERIA[name], side)}."
        found.append(Labelled(f"{name}_{side}", values[..., place[name]], (BATCH,), CRITERIA[name].unit, meaning))
    names = [name for name in CRITERIA if name.startswith(_CORRELATION)]
    labels = {"correlation": tuple(name.removeprefix(_CORRELATION) for name in names)}
    listed = values[..., [place[name] for name in names]]
    meaning = f"Equal-time correlation, {between}, absolute value."
    return [*found, Labelled(f"correlation_{side}", listed, (BATCH, "correlation"), "1", meaning, labels)]


def sides(outputs: Outputs, criterion: str) -> tuple[Array, Array]:
    """Return outer-outer and outer-middle of one criterion from `trans_proximate`.

    >>> outer, middle = sides(trans_proximate({"J_H": 0.57, "J_ZZ": 0.66}), "correlation_x")
    >>> bool(outer < middle)
    True
    """
    if not criterion.startswith(_CORRELATION):
        outer, middle = (as_array(outputs[f"{criterion}_{side}"].values) for side in ("outer", "middle"))
        return outer, middle
    at = outputs["correlation_outer"].labels["correlation"].index(criterion.removeprefix(_CORRELATION))
    outer, middle = (as_array(outputs[f"correlation_{side}"].values)[..., at] for side in ("outer", "middle"))
    return outer, middle


def _correlations(model: SpinModel, matrix: Array) -> dict[str, tuple[Array, Array]]:
    """Compute outer-outer and outer-middle of the criteria that follow from the correlations alone."""

    def between(*labels: str) -> Array:
        i, j = (model.site(label) for label in labels)
        return np.asarray(matrix[..., i, j], dtype=np.float64)

    def ions(a: str, b: str) -> Array:
        return sum((between(p + a, q + b) for p in "XZ" for q in "XZ"), np.zeros(matrix.shape[:-2]))

    force = mean_force_couplings(np.stack([between("Xu", "Xm"), between("Xu", "Xl"), between("Xm", "Xl")], axis=-1))
    return {
        "mean_force": (force[..., 1], force[..., 0]),
        "correlation_x": (between("Xu", "Xl"), between("Xu", "Xm")),
        "correlation_z": (between("Zu", "Zl"), between("Zu", "Zm")),
        "correlation_ni": (ions("u", "l"), ions("u", "m")),
    }


def _effective(model: SpinModel, parameters: Mapping[str, Array], kelvin: Array) -> tuple[Array, Array]:
    """Compute <Xu.Xl> and <Xu.Xm> of the effective model of the trimer model space."""
    matrix = correlation_matrix(solve(model, parameters), kelvin)
    u, m, end = (model.site(label) for label in ("Xu", "Xm", "Xl"))
    return matrix[..., u, end], matrix[..., u, m]
