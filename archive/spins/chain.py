"""Chain of two transformations: hopping -> Hund and superexchange couplings -> couplings of the low-energy spins.

Nothing is tuned between the steps. ``keep="main"`` passes on J_H and J_ZZ alone, as the published chain does;
``keep="all"`` passes on all 76 invariants, so that no number depends on where they were cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.spins.canonical import Selection
from barospec.archive.spins.composites import PICTURES, label_weights
from barospec.archive.spins.effective import coupling, effective_model, label_effective, reduce_model
from barospec.archive.spins.electrons.electrons import Convention, Reference, reduce_cluster
from barospec.archive.spins.invariants import decompose, invariant_basis
from barospec.archive.spins.models import trilayer
from barospec.archive.spins.outputs import BATCH, Array, Labelled, Outputs, collect
from barospec.archive.spins.solve import solve
from barospec.schemas.errors import CallError

Keep = Literal["main", "all"]


def hopping_to_spins(
    parameters: Mapping[str, ArrayLike],
    *,
    convention: Convention,
    e_ct_reference: Reference,
    keep: Keep = "main",
    selection: Selection = "lowest",
) -> Outputs:
    """Compute the couplings of the trilayer's low-energy spins from hopping.

    Parameters
    ----------
    parameters, convention, e_ct_reference
        As in `electrons.electron_cluster`, on the grid ``(...)``.
    keep : {"main", "all"}
        Terms of the eV scale that enter the sub-eV scale.
    selection : {"lowest", "overlap"}
        State selection of both transformations.

    Returns
    -------
    dict of Labelled, all of shape (...)
        In eV: ``J_H_outer``, ``J_H_middle``, ``J_ZZ``; ``J_ml`` (three spin-1, tensor basis); ``J_lt`` and ``J_mt`` (trimer
        model space). Dimensionless: ``ratio`` = J_ZZ over the mean J_H; ``weight_spin_1`` and ``weight_trimer``, of the
        ground multiplet in each model space; ``smallest_weight_electrons``, ``smallest_weight_spin_1``,
        ``smallest_weight_trimer``, the least model-space weight of each transformation; ``intruders``.

    Raises
    ------
    CallError
        For unknown names, conventions or parameters.

    Examples
    --------
    >>> values = {"t_perp_pZ": 1.94, "E_CT": 3.21, "U_d": 6, "U_p": 4, "J": 0.4}
    >>> found = hopping_to_spins(values, convention="kanamori", e_ct_reference="high-spin d8")
    >>> round(float(found["J_lt"].values), 3)
    -0.279
    """
    if keep not in ("main", "all"):
        raise CallError(f'keep "{keep}" is not one of main, all.')
    reduced, intruders = reduce_cluster(
        "trilayer", parameters, convention=convention, e_ct_reference=e_ct_reference, selection=selection
    )
    basis = invariant_basis(reduced.spins, "product")
    values, _ = decompose(basis, reduced.matrices)

    def of(i: int, j: int) -> Array:
        return np.asarray(values[..., basis.index(((i, j),))], dtype=np.float64)

    outer, middle, j_zz = -of(0, 1), -of(2, 3), of(1, 3)
    stack = trilayer()
    if keep == "all":
        solution = solve(*effective_model(reduced, stack.mirror))
    else:
        solution = solve(stack, {"J_H(l)": outer, "J_H(m)": middle, "J_ZZ": j_zz})
    pictures = PICTURES["trilayer"]
    spin_1 = label_effective(reduce_model(solution, pictures["spin_1"], selection), "tensor")
    trimer = label_effective(reduce_model(solution, pictures["trimer"], selection), "tensor")
    weights = np.asarray(label_weights(solution, pictures, layers=stack.layers)["picture_weight"].values)
    rows: list[tuple[str, Array, str, str]] = [
        ("J_H_outer", outer, "eV", "Hund coupling of the outer layers."),
        ("J_H_middle", middle, "eV", "Hund coupling of the middle layer."),
        ("J_ZZ", j_zz, "eV", "Superexchange of neighboring Z spins."),
        ("ratio", j_zz / ((2 * outer + middle) / 3), "1", "J_ZZ over the mean J_H of the three layers."),
        ("J_ml", coupling(spin_1, "Sm.Sl"), "eV", "Coupling of neighboring spin-1 (tensor basis)."),
        ("J_lt", coupling(trimer, "t.Xl"), "eV", "Coupling of an outer X spin to the trimer."),
        ("J_mt", coupling(trimer, "t.Xm"), "eV", "Coupling of the middle X spin to the trimer."),
        ("weight_spin_1", weights[..., 0], "1", "Weight of the ground multiplet in the spin-1 model space."),
        ("weight_trimer", weights[..., 1], "1", "Weight of the ground multiplet in the trimer model space."),
        ("smallest_weight_electrons", reduced.smallest_weight, "1", "Least weight, electrons to six spins."),
        ("smallest_weight_spin_1", np.asarray(spin_1["smallest_weight"].values), "1", "Least weight, to three spin-1."),
        ("smallest_weight_trimer", np.asarray(trimer["smallest_weight"].values), "1", "Least weight, to the trimer."),
        ("intruders", intruders, "1", "Unchosen exact multiplets below the highest chosen one."),
    ]
    return collect(*(Labelled(name, array, (BATCH,), unit, meaning) for name, array, unit, meaning in rows))
