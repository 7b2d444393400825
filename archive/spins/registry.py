"""Operators over models: a plain table, as `archive.operators.registry` is for spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike

from barospec.archive.spins.chain import hopping_to_spins
from barospec.archive.spins.composites import PICTURES, picture_weights
from barospec.archive.spins.effective import effective_hamiltonian
from barospec.archive.spins.electrons.electrons import electron_cluster
from barospec.archive.spins.models import STACKS
from barospec.archive.spins.observables import local_moment, spin_correlations, spin_spectrum, thermodynamics
from barospec.archive.spins.outputs import Outputs
from barospec.archive.spins.trans_proximate import trans_proximate
from barospec.schemas.errors import CallError, NotFound, did_you_mean

Parameters = Mapping[str, ArrayLike]


@dataclass(frozen=True, slots=True)
class ModelOperator:
    """A pure function of a stack of layers, its parameters and temperature.

    Parameters
    ----------
    name, version, summary, source : str
        As of an operator on spectra.
    func : callable
        ``func(stack, parameters, temperature, **options) -> dict of Labelled``, batched over ``(...)``.
    scale : str
        The energy scale of its models: ``Hartree`` or ``eV``.
    stacks : tuple of str
        Stacks of layers it is defined for.
    thermal : bool
        True if it depends on temperature.
    options : mapping of str to (default, meaning)
        Without default (None), the caller gives it or the models state it.
    """

    name: str
    version: int
    func: Callable[..., Outputs]
    summary: str
    source: str
    scale: str = "eV"
    stacks: tuple[str, ...] = tuple(STACKS)
    thermal: bool = False
    options: Mapping[str, tuple[Any, str]] = field(default_factory=dict)


def _spectrum(stack: str, parameters: Parameters, temperature: ArrayLike) -> Outputs:
    return spin_spectrum(STACKS[stack](), parameters)


def _correlations(stack: str, parameters: Parameters, temperature: ArrayLike, *, tolerance: float) -> Outputs:
    return spin_correlations(STACKS[stack](), parameters, temperature, tolerance=tolerance)


def _moment(stack: str, parameters: Parameters, temperature: ArrayLike) -> Outputs:
    return local_moment(STACKS[stack](), parameters, temperature)


def _thermodynamics(stack: str, parameters: Parameters, temperature: ArrayLike, *, g: float) -> Outputs:
    return thermodynamics(STACKS[stack](), parameters, temperature, g=g)


def _weights(stack: str, parameters: Parameters, temperature: ArrayLike) -> Outputs:
    return picture_weights(STACKS[stack](), parameters, PICTURES[stack], temperature)


def _effective(
    stack: str, parameters: Parameters, temperature: ArrayLike, *, picture: str, selection: Any, basis: Any
) -> Outputs:
    pictures = PICTURES[stack]
    if picture not in pictures:
        raise CallError(
            f'picture "{picture}" is not one of {", ".join(pictures)} for the {stack}.{did_you_mean(picture, list(pictures))}'
        )
    return effective_hamiltonian(STACKS[stack](), parameters, pictures[picture], selection=selection, basis=basis)


def _electrons(
    stack: str, parameters: Parameters, temperature: ArrayLike, *, convention: Any, e_ct_reference: Any, selection: Any
) -> Outputs:
    return electron_cluster(
        stack, parameters, convention=convention, e_ct_reference=e_ct_reference, selection=selection
    )


def _chain(
    stack: str,
    parameters: Parameters,
    temperature: ArrayLike,
    *,
    convention: Any,
    e_ct_reference: Any,
    selection: Any,
    keep: Any,
) -> Outputs:
    return hopping_to_spins(
        parameters, convention=convention, e_ct_reference=e_ct_reference, selection=selection, keep=keep
    )


def _proximate(stack: str, parameters: Parameters, temperature: ArrayLike, *, selection: Any) -> Outputs:
    return trans_proximate(parameters, temperature, selection=selection)


_SOURCE = "arXiv:2505.13442 (multi-scale derivation); des Cloizeaux, Nucl. Phys. 20, 321 (1960), doi:10.1016/0029-5582(60)90177-2, for the transformation"
_SELECTION = (
    "lowest",
    "exact states of the effective model: lowest, or overlap (largest model-space weight)",
)
_ELECTRONS: Mapping[str, tuple[Any, str]] = {
    "convention": (None, "meaning of J: kanamori, or spin (-J S.S); stated by the model or given here"),
    "e_ct_reference": (None, "reference of E_CT: high-spin d8, or level; stated by the model or given here"),
    "selection": _SELECTION,
}

MODEL_OPERATORS: Mapping[str, ModelOperator] = {
    operator.name: operator
    for operator in (
        ModelOperator(
            "spin_spectrum", 1, _spectrum, "Levels with total spin, degeneracy and parity.", "exact diagonalization"
        ),
        ModelOperator(
            "spin_correlations", 1, _correlations,
            "Correlations <S_i.S_j> of all pairs of spins and of all pairs of Ni; T = 0 is the mixture of the ground multiplet.",
            "exact diagonalization", thermal=True,
            options={"tolerance": (1e-9, "eV; levels this close to the lowest belong to the ground multiplet at T = 0")},
        ),
        ModelOperator(
            "local_moment", 1, _moment, "<S_Ni^2> of each layer; not the effective spin.", "exact diagonalization", thermal=True
        ),
        ModelOperator(
            "thermodynamics", 1, _thermodynamics, "Energy, entropy, specific heat and susceptibility of one cluster.",
            "exact diagonalization", thermal=True, options={"g": (2.0, "isotropic g factor of all spins")},
        ),
        ModelOperator(
            "picture_weights", 1, _weights,
            "Weight of the state in each low-energy model space (spin-1, trimer or dimer), and its effective spin.",
            _SOURCE, thermal=True,
        ),
        ModelOperator(
            "effective_hamiltonian", 1, _effective,
            "Couplings of the low-energy spins by the exact canonical transformation, and to first order.",
            _SOURCE,
            options={
                "picture": ("spin_1", "spin_1, trimer (trilayer) or dimer"),
                "selection": _SELECTION,
                "basis": ("tensor", "operator basis of the coefficients: tensor, polynomial or product"),
            },
        ),
        ModelOperator(
            "electron_cluster", 1, _electrons,
            "Hund and superexchange couplings of a Ni-O-Ni cluster from hopping, by exact canonical transformation. Three layers at most: "
            "it needs all levels, and a fourth layer has sectors of up to 1,988 states.",
            _SOURCE, scale="Hartree", stacks=("bilayer", "trilayer", "vacancy"), options=_ELECTRONS,
        ),
        ModelOperator(
            "hopping_to_spins", 1, _chain, "The whole chain for the trilayer: hopping, J_H and J_ZZ, couplings of the low-energy spins.",
            _SOURCE, scale="Hartree", stacks=("trilayer",),
            options={**_ELECTRONS, "keep": ("main", "terms of the eV scale that enter the sub-eV scale: main (J_H, J_ZZ) or all 76 invariants")},
        ),
        ModelOperator(
            "trans_proximate", 2, _proximate,
            "Outer-outer against outer-middle in the trilayer, by each criterion under its own name.",
            _SOURCE, stacks=("trilayer",), thermal=True, options={"selection": _SELECTION},
        ),
    )
}  # fmt: skip


def find_model_operator(name: str) -> ModelOperator:
    """Return the operator of that name; raise NotFound with the nearest names."""
    if name not in MODEL_OPERATORS:
        raise NotFound(f'there is no operator "{name}" over models.{did_you_mean(name, list(MODEL_OPERATORS))}')
    return MODEL_OPERATORS[name]
