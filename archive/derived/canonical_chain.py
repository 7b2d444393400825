"""Canonical text of a chain: every operator that runs, every parameter, references as queries.

Equivalent requests give the same text, so that a stored value is found again and never stored twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from barospec.archive.derived.store import Derivation
from barospec.archive.operators.chain.execute import Plan, parse_chain, prepare
from barospec.archive.operators.chain.references import split_references
from barospec.schemas.errors import CallError
from barospec.schemas.vocabulary import CHANNELS

_WORD = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?")


def canonical_chain(
    operators: str,
    available: Collection[str],
    parameters: Mapping[str, Any],
    canonical: Callable[[str], str],
    *,
    mixed: bool = False,
) -> Derivation:
    """Return the derivation of a chain and its parameters, without a name and without spectra.

    Parameters
    ----------
    operators : str
        As people write a chain.
    available : collection of str
        Arrays of the spectra: ``energy``, ``mu`` or ``intensity``, recorded channels.
    parameters : mapping
        As for `apply.apply`.
    canonical : callable
        From the text of a query to its canonical form.
    mixed : bool
        Allow references of another origin.

    Raises
    ------
    CallError
        For input that cannot be stored: a reference that is not a query, a parameter that is not a number or word.
    NotFound, Conflict, QueryError
        As `chain.prepare`, and for references that cannot be understood.

    Examples
    --------
    >>> canonical_chain("edge_energy", ["energy", "mu"], {"fraction": 0.5, "ensemble": 0}, str).chain.split(" | ")[-1]
    'edge_energy(fraction=0.5, far=10, ensemble=0)'
    """
    if parameters.get("uncertainty", "propagated") != "propagated":
        raise CallError(
            f"stored values have propagated sigmas; uncertainty={parameters['uncertainty']} is of a selection as a whole, or of "
            "a number of repetitions. Omit it, or compute without storing."
        )
    plan = prepare(operators, available, {k: v for k, v in parameters.items() if k != "uncertainty"})
    refs = {}
    for name, asked in plan.asked_references().items():
        operator = next(each for each in plan.operators if each.name == name)
        pairs = split_references(operator, asked)
        if operator.references is not None and operator.references.labels:
            pairs = [(f"{float(label):g}", query) for label, query in pairs]
        refs[name] = [(label, canonical(_query_of(name, query))) for label, query in pairs]
    named = [name for name, _ in parse_chain(operators)]
    return Derivation("", named[-1], chain_text(plan, named), refs, mixed, ())


def _query_of(operator: str, asked: Any) -> str:
    text = asked if isinstance(asked, str) else getattr(asked, "query", None)
    if not isinstance(text, str):
        raise CallError(
            f"{operator}: stored values need references that can be found again; give a query or a selection, "
            f"not {type(asked).__name__}."
        )
    return text


def chain_text(plan: Plan, named: Collection[str] = ()) -> str:
    """Return the chain of a plan with every parameter, as `parse_chain` reads it back.

    An operator that only replaces a missing channel is left to `plan`, unless it is `named`.
    """
    steps = []
    for operator in plan.operators:
        if operator.name not in named and all(
            name in CHANNELS for name in operator.outputs if name != operator.quality
        ):
            continue
        hidden = operator.references.name if operator.references is not None else None
        given = [
            f"{name}={_value_text(operator.name, name, value)}"
            for name, value in plan.parameters[operator.name].items()
            if name != hidden
        ]
        steps.append(f"{operator.name}({', '.join(given)})" if given else operator.name)
    return " | ".join(steps)


def _value_text(operator: str, name: str, value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        # 10 and 10.0 compute the same, so they must be found as the same.
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, str) and '"' not in value:
        plain = _WORD.fullmatch(value) and value.lower() not in ("none", "true", "false", "yes", "no")
        return value if plain else f'"{value}"'
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, int | float) for v in value):
        return f'"{" ".join(map(repr, value))}"'  # as an operator that takes several numbers reads them
    raise CallError(
        f"{operator}.{name} = {value!r} cannot be kept with stored values: give a number, a word or a text."
    )
