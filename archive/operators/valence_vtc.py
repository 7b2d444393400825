"""Valence from the position of the valence-to-core line between those of references."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.valence_scale import MEANING, REASONS, interpolate_valence
from barospec.archive.operators.operator import QUALITY, Operator, Output, References


def valence_vtc(
    vtc_position: ArrayLike,
    vtc_position_sigma: ArrayLike,
    *,
    reference_vtc_position: ArrayLike | None = None,
    reference_vtc_position_sigma: ArrayLike | None = None,
    reference_valence: ArrayLike | None = None,
) -> dict[str, Any]:
    """Interpolate the valence linearly from the positions of the valence-to-core line of references.

    Parameters
    ----------
    vtc_position, vtc_position_sigma : array_like, shape (...)
        In eV, as `valence_to_core` returns them.
    reference_vtc_position, reference_vtc_position_sigma : array_like, shape (r,)
        The same of two or more references (``references``).
    reference_valence : array_like, shape (r,)
        Their valences.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).

    Raises
    ------
    CallError
        With fewer than two references, without their valences, or for valences or energies that do not differ.

    Notes
    -----
    The formulas of `valence`. It is a second estimate, independent of the edge: with the shifts that the paper
    prints for La3Ni2O7, 1.50 eV above NiO and 0.35 eV below LaNiO3, it is 2.81 where the edge gives 2.53. Neither
    corrects the other; that they differ says that a linear scale between two compounds is a model.

    References
    ----------
    Kβ2,5 shifts: E. Mijit et al., "Local electronic properties of La3Ni2O7 under pressure" (2024).

    Examples
    --------
    >>> out = valence_vtc(1.50, 0.05, reference_vtc_position=[0.0, 1.85],
    ...                   reference_vtc_position_sigma=[0.05, 0.05], reference_valence=[2, 3])
    >>> round(float(out["valence_vtc"]), 2), round(float(out["valence_vtc_sigma"]), 2)
    (2.81, 0.04)
    """
    known = (reference_vtc_position, reference_vtc_position_sigma, None, reference_valence)
    return interpolate_valence(vtc_position, vtc_position_sigma, None, known, "valence_vtc")


OPERATOR = Operator(
    name="valence_vtc",
    version=1,
    func=valence_vtc,
    inputs=("vtc_position", "vtc_position_sigma"),
    outputs={
        "valence_vtc": Output("1", "valence on the line through the references, from the Kβ2,5 position"),
        "valence_vtc_sigma": Output("1", "its statistical standard uncertainty, the references' included"),
        "valence_vtc_quality": QUALITY,
    },
    summary="Valence by linear interpolation of the Kβ2,5 position between references.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xes",
    reasons=REASONS,
    references=References(
        {
            "reference_vtc_position": "vtc_position",
            "reference_vtc_position_sigma": "vtc_position_sigma",
        },
        MEANING,
        several=True,
        labels="reference_valence",
        fewest=2,
    ),
)
