"""Low-energy model spaces: composite spins of a model, and their weights.

A low-energy model space (`Picture`) groups the sites of a model into composites. Each composite is the lowest multiplet of
a Hamiltonian of its own sites: two spin-1/2 with ferromagnetic coupling make the spin 1 of a Ni ion, three Z spins with
antiferromagnetic bonds the trimer spin t, two the singlet of a dimer (spin 0, which drops out).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from barospec.archive.spins.algebra import Multiplets, Pair, magnetization, multiplets, raising_operator
from barospec.archive.spins.models import SpinModel
from barospec.archive.spins.outputs import BATCH, Array, Labelled, Outputs, as_array, collect
from barospec.archive.spins.solve import Solution, solve, thermal_average
from barospec.schemas.errors import CallError


@dataclass(frozen=True, slots=True)
class Composite:
    """A spin made of several: label, sites of the model, and the couplings (factor, (i, j)) that bind them."""

    label: str
    sites: tuple[str, ...]
    binding: tuple[tuple[float, tuple[str, str]], ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A named low-energy model space: a grouping of all sites; `ion_spin` is the effective spin of each Ni ion."""

    name: str
    composites: tuple[Composite, ...]
    ion_spin: Mapping[str, float]

    def __hash__(self) -> int:
        return hash((self.name, self.composites))


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A low-energy model space of a model.

    ``labels`` and ``spins`` are the composites that keep a spin; ``columns`` holds, for each total spin of the
    model, its highest-weight states as orthonormal columns (n_S, k_S) in the model's.
    """

    labels: tuple[str, ...]
    spins: tuple[float, ...]
    columns: Mapping[float, Array]


def ion(layer: str) -> Composite:
    """Return the spin 1 of a Ni ion: X and Z parallel.

    >>> ion("u").sites
    ('Xu', 'Zu')
    """
    return Composite(f"S{layer}", (f"X{layer}", f"Z{layer}"), ((-1.0, (f"X{layer}", f"Z{layer}")),))


def single(label: str) -> Composite:
    """Return a composite of one site.

    >>> single("Xu").binding
    ()
    """
    return Composite(label, (label,))


def chain(label: str, *sites: str) -> Composite:
    """Return the lowest multiplet of an antiferromagnetic chain: the trimer t of three Z, the singlet of two.

    >>> chain("t", "Zu", "Zm", "Zl").binding[0]
    (1.0, ('Zu', 'Zm'))
    """
    return Composite(label, sites, tuple((1.0, bond) for bond in itertools.pairwise(sites)))


PICTURES: dict[str, dict[str, Picture]] = {
    "trilayer": {
        "spin_1": Picture("spin_1", tuple(map(ion, "uml")), dict.fromkeys("uml", 1.0)),
        "trimer": Picture(
            "trimer", (chain("t", "Zu", "Zm", "Zl"), *map(single, ("Xu", "Xm", "Xl"))), dict.fromkeys("uml", 0.5)
        ),
    },
    "bilayer": {
        "spin_1": Picture("spin_1", (ion("u"), ion("l")), dict.fromkeys("ul", 1.0)),
        "dimer": Picture("dimer", (chain("d", "Zu", "Zl"), single("Xu"), single("Xl")), dict.fromkeys("ul", 0.5)),
    },
    "vacancy": {
        "spin_1": Picture("spin_1", tuple(map(ion, "uml")), dict.fromkeys("uml", 1.0)),
        "dimer": Picture(
            "dimer", (ion("u"), chain("d", "Zm", "Zl"), single("Xm"), single("Xl")), {"u": 1.0, "m": 0.5, "l": 0.5}
        ),
    },
    "monolayer_bilayer": {
        "spin_1": Picture("spin_1", tuple(map(ion, "sul")), dict.fromkeys("sul", 1.0)),
        "dimer": Picture(
            "dimer", (ion("s"), chain("d", "Zu", "Zl"), single("Xu"), single("Xl")), {"s": 1.0, "u": 0.5, "l": 0.5}
        ),
    },
    **{
        f"multilayer_{n}": {"spin_1": Picture("spin_1", tuple(map(ion, names)), dict.fromkeys(names, 1.0))}
        for n, names in ((n, [str(k + 1) for k in range(n)]) for n in (4, 5, 6))
    },
}
"""Low-energy model spaces by stack (`models.STACKS`) and name."""


def isometry(composite: Composite, model: SpinModel) -> tuple[float, Array]:
    """Return the composite's spin, and its states m = S, ..., -S as columns over the product states of its sites.

    Raises
    ------
    CallError
        If the lowest level of the binding is not one multiplet.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> spin, states = isometry(chain("t", "Zu", "Zm", "Zl"), trilayer())
    >>> spin, states.shape
    (0.5, (8, 2))
    """
    spins = tuple(model.spins[model.site(label)] for label in composite.sites)
    place = {label: k for k, label in enumerate(composite.sites)}
    bound: list[tuple[float, Pair]] = [(f, (place[a], place[b])) for f, (a, b) in composite.binding]
    found: list[tuple[float, float, Array, Multiplets]] = []
    for group in multiplets(spins):
        matrix = sum((f * group.pairs[min(p), max(p)] for f, p in bound), np.zeros((len(group.parities),) * 2))
        energies, vectors = np.linalg.eigh(matrix)
        found += [(float(e), group.spin, vectors[:, k], group) for k, e in enumerate(energies)]
    found.sort(key=lambda level: level[0])
    if len(found) > 1 and found[1][0] - found[0][0] < 1e-9:
        raise CallError(
            f"composite {composite.label}: its lowest level is not one multiplet; add or change its binding."
        )
    _, spin, vector, group = found[0]
    state = np.zeros(len(magnetization(spins)))
    state[group.states] = group.basis @ vector
    # A fixed sign: the largest component is positive, the first one among equals.
    state *= np.sign(state[np.argmax(np.abs(state) > np.abs(state).max() - 1e-9)])
    lowering = raising_operator(spins).T
    columns = [state]
    for m in np.arange(spin, -spin + 0.5, -1.0):
        columns.append(lowering @ columns[-1] / np.sqrt(spin * (spin + 1) - m * (m - 1)))
    return spin, np.column_stack(columns)


@lru_cache(maxsize=32)
def embedding(model: SpinModel, picture: Picture) -> Embedding:
    """Return the highest-weight states of a low-energy model space among the model's.

    Raises
    ------
    CallError
        If the composites do not use every site exactly once.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> found = embedding(trilayer(), PICTURES["trilayer"]["trimer"])
    >>> found.labels, {spin: columns.shape for spin, columns in found.columns.items()}
    (('t', 'Xu', 'Xm', 'Xl'), {0.0: (5, 2), 1.0: (9, 3), 2.0: (5, 1), 3.0: (1, 0)})
    """
    used = [model.site(label) for composite in picture.composites for label in composite.sites]
    if sorted(used) != list(range(len(model.sites))):
        raise CallError(
            f"picture {picture.name} must use each site of the model once; it uses "
            f"{', '.join(model.sites[k].label for k in used)} of {', '.join(model.labels)}."
        )
    full: Array = np.ones((1, 1))
    spins = []
    for composite in picture.composites:
        spin, states = isometry(composite, model)
        full = np.asarray(np.kron(full, states), dtype=np.float64)
        spins.append(spin)
    sizes = [round(2 * model.spins[k]) + 1 for k in used]
    # Axes follow the composites; put them in the order of the model's sites.
    order = [int(k) for k in np.argsort(used)]
    full = full.reshape(*sizes, -1).transpose(*order, len(sizes)).reshape(len(full), -1)
    kept = [k for k, spin in enumerate(spins) if spin > 0]
    small = tuple(spins[k] for k in kept)
    effective = {group.spin: group for group in multiplets(small)}
    columns = {}
    for group in model.multiplets():
        part = effective.get(group.spin)
        n = len(group.parities)
        columns[group.spin] = (
            np.zeros((n, 0)) if part is None else group.basis.T @ full[np.ix_(group.states, part.states)] @ part.basis
        )
    return Embedding(tuple(picture.composites[k].label for k in kept), small, columns)


def picture_weights(
    model: SpinModel,
    parameters: Mapping[str, ArrayLike],
    pictures: Mapping[str, Picture],
    temperature: ArrayLike = 0.0,
) -> Outputs:
    """Compute the weight of the model's state in each low-energy model space, and the effective spin.

    Parameters
    ----------
    model : SpinModel
        Sites and interactions.
    parameters : mapping of str to array
        In eV, on the grid ``(...)``.
    pictures : mapping of str to Picture
        Such as ``PICTURES["trilayer"]``.
    temperature : array
        In K, broadcasting against the grid.

    Returns
    -------
    dict of Labelled
        ``picture_weight`` (..., picture), the expectation value of each model space's projector (the spaces overlap, so
        they need not add up to 1); ``picture`` (...), number of the space with the larger weight, NaN if none
        reaches one half; ``effective_spin`` (..., layer), the spin of each Ni ion in this space.

    Examples
    --------
    >>> from barospec.archive.spins.models import trilayer
    >>> found = picture_weights(trilayer(), {"J_H": 1.0, "J_ZZ": [0.5, 0.96, 0.964, 2.0]}, PICTURES["trilayer"])
    >>> found["effective_spin"].values[:, 0]
    array([1. , 1. , 0.5, 0.5])
    """
    return label_weights(solve(model, parameters), pictures, temperature)


def label_weights(
    solution: Solution,
    pictures: Mapping[str, Picture],
    temperature: ArrayLike = 0.0,
    *,
    layers: tuple[str, ...] | None = None,
) -> Outputs:
    """Return `picture_weights` of a solved model; give `layers` if its sites do not name them."""
    model = solution.model
    layers = model.layers if layers is None else layers
    found = [embedding(model, picture) for picture in pictures.values()]

    def projectors(group: Multiplets) -> Array:
        return np.stack([e.columns[group.spin] @ e.columns[group.spin].T for e in found])

    weights = thermal_average(solution, projectors, temperature)
    known = np.where(np.isnan(weights), -1.0, weights)
    best = np.argmax(known, axis=-1)
    clear = np.max(known, axis=-1) >= 0.5
    table = as_array([[picture.ion_spin[layer] for layer in layers] for picture in pictures.values()])
    names = tuple(pictures)
    return collect(
        Labelled(
            "picture_weight",
            weights,
            (BATCH, "picture"),
            "1",
            "Weight in the states of the low-energy model space.",
            {"picture": names},
        ),
        Labelled(
            "picture",
            np.where(clear, best, np.nan),
            (BATCH,),
            "1",
            f"Number of the low-energy model space: {', '.join(names)}.",
        ),
        Labelled(
            "effective_spin",
            np.where(clear[..., None], table[best], np.nan),
            (BATCH, "layer"),
            "1",
            "Spin of each Ni ion in the low-energy model space with the larger weight.",
            {"layer": layers},
        ),
    )
