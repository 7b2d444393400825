"""Valence from the position of an edge between those of references."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from barospec.archive.operators._kernels.valence_scale import MEANING, REASONS, interpolate_valence
from barospec.archive.operators.operator import QUALITY, Operator, Output, References


def valence(
    edge_energy: ArrayLike,
    edge_energy_sigma: ArrayLike,
    edge_energy_sigma_norm: ArrayLike,
    *,
    reference_edge_energy: ArrayLike | None = None,
    reference_edge_energy_sigma: ArrayLike | None = None,
    reference_edge_energy_sigma_norm: ArrayLike | None = None,
    reference_valence: ArrayLike | None = None,
) -> dict[str, Any]:
    """Interpolate the valence linearly from the edge energies of references.

    Parameters
    ----------
    edge_energy, edge_energy_sigma, edge_energy_sigma_norm : array_like, shape (...)
        In eV, as `edge_energy` returns them.
    reference_edge_energy, reference_edge_energy_sigma, reference_edge_energy_sigma_norm : array_like, shape (r,)
        The same of two or more references (``references``), treated alike.
    reference_valence : array_like, shape (r,)
        Their valences.

    Returns
    -------
    dict
        Outputs with the units and meanings of ``OPERATOR.outputs``, shape (...).
        ``valence_sigma_norm`` takes the windows as independent between spectra of different materials;
        ``valence_quality`` flags values beyond the references.

    Raises
    ------
    CallError
        With fewer than two references, without their valences, or for valences or energies that do not differ.

    Notes
    -----
    With two references, ``t = (E - E1)/(E2 - E1)`` and ::

        v = v1 + (v2 - v1) t
        sigma_v = |(v2 - v1)/(E2 - E1)| sqrt(sE^2 + (1 - t)^2 s1^2 + t^2 s2^2)

    With more, the line ``E = a + b v`` is fitted to the references, weighted by their sigmas, with its
    covariance, which is scaled up where they scatter more than their sigmas say. Errors are taken as
    independent: a calibration error that all share cancels, one that they do not adds to each sigma.

    The edge energy also follows bond length and shape. Under pressure part of a shift is structural
    (``series.structural_correction``, within one sample only); and real Ni2O3 lies below Ni(OH)2, so the shapes of
    references and sample have to be alike.

    References
    ----------
    Linear relation between NiO and LaNiO3 as in E. Mijit et al., "Local electronic properties of La3Ni2O7 under
    pressure" (2024): 2.53(5).

    Examples
    --------
    >>> out = valence(8345.46, 0.03, 0.2, reference_edge_energy=[8344.4, 8346.4],
    ...               reference_edge_energy_sigma=[0.04, 0.04], reference_valence=[2, 3])
    >>> round(float(out["valence"]), 3), round(float(out["valence_sigma"]), 3)
    (2.53, 0.021)
    """
    known = (
        reference_edge_energy,
        reference_edge_energy_sigma,
        reference_edge_energy_sigma_norm,
        reference_valence,
    )
    return interpolate_valence(edge_energy, edge_energy_sigma, edge_energy_sigma_norm, known, "valence")


OPERATOR = Operator(
    name="valence",
    version=1,
    func=valence,
    inputs=("edge_energy", "edge_energy_sigma", "edge_energy_sigma_norm"),
    outputs={
        "valence": Output("1", "valence on the line through the references"),
        "valence_sigma": Output("1", "its statistical standard uncertainty, the references' included"),
        "valence_sigma_norm": Output("1", "its standard uncertainty from the choice of normalization windows"),
        "valence_quality": QUALITY,
    },
    summary="Valence by linear interpolation of the edge energy between references.",
    source="E. Mijit et al., Local electronic properties of La3Ni2O7 under pressure (2024)",
    technique="xas",
    reasons=REASONS,
    references=References(
        {
            "reference_edge_energy": "edge_energy",
            "reference_edge_energy_sigma": "edge_energy_sigma",
            "reference_edge_energy_sigma_norm": "edge_energy_sigma_norm",
        },
        MEANING,
        several=True,
        labels="reference_valence",
        fewest=2,
    ),
)
