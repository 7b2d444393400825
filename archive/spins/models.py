"""Spin models: sites, interactions, and common stacks of layers.

Parameters are in eV, spins are S = sigma/2. A parameter of one layer is written ``J_H(m)``; giving ``J_H``
sets every ``J_H(...)`` that is not given explicitly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.spins.algebra import Multiplets, Pair, check_mirror, check_spins, multiplets, product
from barospec.archive.spins.outputs import Array, as_array
from barospec.schemas.errors import CallError, did_you_mean

_SYMMETRY_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Site:
    """A spin: label ("Xu"), size, layer (Ni ion) and orbital."""

    label: str
    spin: float
    layer: str = ""
    orbital: str = ""


@dataclass(frozen=True, slots=True)
class Interaction:
    """A parameter of the Hamiltonian and the operator it multiplies.

    The operator is a sum of (factor, ((i, j), (k, l), ...)): factor times the mean of the products
    (S_i.S_j)(S_k.S_l)... in all orders; one pair is a Heisenberg term, the same pair twice a biquadratic one.
    """

    name: str
    terms: tuple[tuple[float, tuple[Pair, ...]], ...]


@dataclass(frozen=True, slots=True)
class SpinModel:
    """Sites and interactions; `mirror` lists the image of each site, if the stack has a mirror.

    Examples
    --------
    >>> dimer = SpinModel((Site("a", 0.5), Site("b", 0.5)), (Interaction("J", ((1.0, ((0, 1),)),)),))
    >>> dimer.parameters
    ('J',)
    """

    sites: tuple[Site, ...]
    interactions: tuple[Interaction, ...]
    mirror: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_spins(self.spins)
        if self.mirror is not None:
            check_mirror(self.spins, self.mirror)
        for what, names in (("site", self.labels), ("interaction", self.parameters)):
            double = sorted({name for name in names if names.count(name) > 1})
            if double:
                raise CallError(f"{what} {', '.join(double)} appears twice; each needs its own label.")
        for interaction in self.interactions:
            for _, factors in interaction.terms:
                outside = [pair for pair in factors if not all(0 <= i < len(self.sites) for i in pair)]
                if outside:
                    raise CallError(
                        f"interaction {interaction.name} names the sites {outside[0]} of {len(self.sites)}."
                    )

    @property
    def spins(self) -> tuple[float, ...]:
        """Spin of each site."""
        return tuple(site.spin for site in self.sites)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label of each site."""
        return tuple(site.label for site in self.sites)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the interactions."""
        return tuple(interaction.name for interaction in self.interactions)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers in the order of their first site."""
        return tuple(dict.fromkeys(site.layer for site in self.sites))

    def site(self, label: str) -> int:
        """Return the number of the site of that label.

        Raises CallError with the nearest labels.
        """
        if label not in self.labels:
            raise CallError(f'there is no site "{label}"; there are {", ".join(self.labels)}.')
        return self.labels.index(label)

    def multiplets(self) -> tuple[Multiplets, ...]:
        """Return the highest-weight states of the model's spins, split by the mirror."""
        return multiplets(self.spins, self.mirror)


@lru_cache(maxsize=64)
def interaction_operators(model: SpinModel) -> tuple[Array, ...]:
    """Return the operators of all interactions for each total spin: a tuple of arrays, shape (parameters, n, n).

    Raises
    ------
    CallError
        If an interaction breaks the mirror of the model.

    Examples
    --------
    >>> [operators.shape for operators in interaction_operators(trilayer())]
    [(3, 5, 5), (3, 9, 9), (3, 5, 5), (3, 1, 1)]
    """
    spins, result = model.spins, []
    for group in model.multiplets():
        stack = np.zeros((len(model.interactions), *group.basis.shape[1:] * 2))
        for number, interaction in enumerate(model.interactions):
            for factor, factors in interaction.terms:
                stack[number] += factor * product(group, factors, spins)
            broken = np.abs(stack[number] * (group.parities[:, None] != group.parities))
            if broken.max(initial=0.0) > _SYMMETRY_TOLERANCE:
                raise CallError(
                    f"interaction {interaction.name} is not symmetric under the mirror {model.mirror}. "
                    "Give the mirrored pairs the same parameter, or build the model with mirror=None."
                )
        result.append(stack)
    return tuple(result)


def complete_parameters(names: Sequence[str], given: Mapping[str, ArrayLike]) -> tuple[list[Array], tuple[int, ...]]:
    """Return one array for each name, and the shape they broadcast to; ``J_H`` means every ``J_H(...)``.

    Raises
    ------
    CallError
        For a parameter that is missing, unknown, or of a shape that does not broadcast.

    Examples
    --------
    >>> values, shape = complete_parameters(["J_H(m)", "J_H(l)"], {"J_H": [0.6, 0.5]})
    >>> len(values), shape
    (2, (2,))
    """
    families = {name.split("(")[0] for name in names}
    for name in given:
        if name not in names and name not in families:
            choices = [*names, *sorted(families)]
            raise CallError(
                f'the model has no parameter "{name}"; it has {", ".join(names)}.{did_you_mean(name, choices)}'
            )
    values = []
    for name in names:
        found = given.get(name, given.get(name.split("(")[0]))
        if found is None:
            raise CallError(f"parameter {name} is not given. Give its value in eV; 0 if the interaction is absent.")
        values.append(as_array(found))
    try:
        shape = np.broadcast_shapes(*(value.shape for value in values))
    except ValueError:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in zip(names, values, strict=True))
        raise CallError(f"the parameters' shapes do not broadcast: {shapes}.") from None
    return values, shape


def hund_stack(
    layers: Sequence[str], bonds: Sequence[tuple[str, str, str]], hund: Mapping[str, str], *, mirror: bool
) -> SpinModel:
    """Build Ni layers with spins X and Z each, Hund coupling on each Ni and J_ZZ along bonds of Z spins.

    H = - sum_layer J_H X.Z + sum_bond J_ZZ Z.Z

    Parameters
    ----------
    layers : sequence of str
        From top to bottom.
    bonds : sequence of (layer, layer, parameter name)
        Present apical oxygens.
    hund : mapping of layer to parameter name
        Layers with the same name share the parameter.
    mirror : bool
        True if the stack is the same upside down.

    Examples
    --------
    >>> hund_stack(["1"], [], {"1": "J_H(1)"}, mirror=False).labels
    ('X1', 'Z1')
    """
    names = list(layers)
    sites = tuple(Site(f"{orbital}{name}", 0.5, name, orbital) for name in names for orbital in "XZ")
    terms: dict[str, list[tuple[float, tuple[Pair, ...]]]] = {}
    for number, name in enumerate(names):
        terms.setdefault(hund[name], []).append((-1.0, ((2 * number, 2 * number + 1),)))
    for upper, lower, parameter in bonds:
        pair = (2 * names.index(upper) + 1, 2 * names.index(lower) + 1)
        terms.setdefault(parameter, []).append((1.0, (pair,)))
    n = len(names)
    exchange = tuple(2 * (n - 1 - site // 2) + site % 2 for site in range(2 * n)) if mirror else None
    return SpinModel(sites, tuple(Interaction(name, tuple(parts)) for name, parts in terms.items()), exchange)


def multilayer(n: int) -> SpinModel:
    """Build a mirror-symmetric stack of `n` layers, 1 to n from the top, with J_H(k) and J_ZZ(k) of the mirror pairs k.

    >>> multilayer(4).parameters
    ('J_H(1)', 'J_H(2)', 'J_ZZ(1)', 'J_ZZ(2)')
    """
    if n < 1:
        raise CallError(f"a stack of {n} layers has no spins; give 1 or more.")
    layers = [str(k + 1) for k in range(n)]
    hund = {name: f"J_H({min(k, n - 1 - k) + 1})" for k, name in enumerate(layers)}
    bonds = [(layers[k], layers[k + 1], f"J_ZZ({min(k, n - 2 - k) + 1})") for k in range(n - 1)]
    return hund_stack(layers, bonds, hund, mirror=True)


def bilayer() -> SpinModel:
    """Build layers u and l (La3Ni2O7), parameters J_H and J_ZZ.

    >>> bilayer().parameters
    ('J_H', 'J_ZZ')
    """
    return hund_stack("ul", [("u", "l", "J_ZZ")], {"u": "J_H", "l": "J_H"}, mirror=True)


def trilayer() -> SpinModel:
    """Build layers u, m, l (La4Ni3O10), parameters J_H(l) of both outer layers, J_H(m) and J_ZZ.

    >>> trilayer().labels
    ('Xu', 'Zu', 'Xm', 'Zm', 'Xl', 'Zl')
    """
    hund = {"u": "J_H(l)", "m": "J_H(m)", "l": "J_H(l)"}
    return hund_stack("uml", [("u", "m", "J_ZZ"), ("m", "l", "J_ZZ")], hund, mirror=True)


def vacancy() -> SpinModel:
    """Build the trilayer without the apical oxygen between u and m: without that bond and without mirror.

    >>> vacancy().mirror is None
    True
    """
    hund = {"u": "J_H(l)", "m": "J_H(m)", "l": "J_H(l)"}
    return hund_stack("uml", [("m", "l", "J_ZZ")], hund, mirror=False)


def monolayer_bilayer() -> SpinModel:
    """Build a monolayer s and an uncoupled bilayer u, l, parameters J_H(s), J_H(u), J_ZZ.

    The mirror is that of the bilayer; it maps the monolayer to itself.

    >>> monolayer_bilayer().parameters
    ('J_H(s)', 'J_H(u)', 'J_ZZ')
    """
    stack = hund_stack("sul", [("u", "l", "J_ZZ")], {"s": "J_H(s)", "u": "J_H(u)", "l": "J_H(u)"}, mirror=False)
    return SpinModel(stack.sites, stack.interactions, (0, 1, 4, 5, 2, 3))


STACKS: dict[str, Callable[[], SpinModel]] = {
    "bilayer": bilayer,
    "trilayer": trilayer,
    "vacancy": vacancy,
    "monolayer_bilayer": monolayer_bilayer,
    # Up to 12 spins 1/2 with all levels (`lanczos` finds the lowest of more); layers are 1, 2, ... from the top.
    **{f"multilayer_{n}": partial(multilayer, n) for n in (4, 5, 6)},
}
