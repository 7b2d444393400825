"""Names of derived values of several sets: ``edge_energy``, ``edge_energy[fraction=0.5]``, ``valence[foils]``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

ADDRESS = re.compile(r"\s*([A-Za-z_]\w*)\s*\[([^\[\]]*)\]\s*")
_STEP = re.compile(r"([A-Za-z_]\w*)(?:\(((?:[^()\"]|\"[^\"]*\")*)\))?")
_GIVEN = re.compile(r"([A-Za-z_]\w*)=(\"[^\"]*\"|[^,]+)")


def chain_parameters(chain: str) -> dict[str, str]:
    """Parse a full chain: ``operator.parameter`` -> value as written; each operator itself as ``operator``.

    >>> chain_parameters('deglitch(at="1 2") | edge_energy(fraction=0.5)')
    {'deglitch': '', 'deglitch.at': '1 2', 'edge_energy': '', 'edge_energy.fraction': '0.5'}
    """
    found = {}
    for name, given in _STEP.findall(re.sub(r"\"[^\"]*\"", lambda m: m[0].replace("|", " "), chain)):
        found[name] = ""
        found.update({f"{name}.{key}": value.strip().strip('"') for key, value in _GIVEN.findall(given)})
    return found


def address(fields: Sequence[Mapping[str, Any]], reserved: Collection[str]) -> list[dict[str, Any]]:
    """Give each field of ``derived_fields`` a unique name.

    A preferred set's outputs keep their names. Names of another set are followed by the parameters in which it differs from
    the preferred one, or by the set's name if these are ambiguous.

    Parameters
    ----------
    fields : sequence of mapping
        ``name``, ``derivation``, ``operator``, ``chain``, ``refs``, ``preferred``, ``sigma_column``.
    reserved : collection of str
        Names with another meaning.
    """
    sets = {row["derivation"]: row for row in fields}
    first = {row["operator"]: row for row in sets.values() if row["preferred"]}
    labels = {name: _label(row, first[row["operator"]]) for name, row in sets.items()}
    by_operator = [(sets[name]["operator"], label) for name, label in labels.items()]
    named: list[dict[str, Any]] = []
    taken = set(reserved)
    for row in fields:
        label = labels[row["derivation"]]
        if label and by_operator.count((row["operator"], label)) > 1:
            label = row["derivation"]
        if not label and row["name"] in taken:
            label = row["derivation"]
        tail = f"[{label}]" if label else ""
        taken.add(row["name"] + tail)
        sigma = f"{row['sigma_column']}{tail}" if row["sigma_column"] else ""
        named.append({**row, "name": row["name"] + tail, "sigma_column": sigma})
    return named


def _label(row: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    if row["derivation"] == first["derivation"]:
        return ""
    mine, theirs = chain_parameters(row["chain"]), chain_parameters(first["chain"])
    if mine.keys() != theirs.keys() or json.loads(row["refs"]) != json.loads(first["refs"]):
        return str(row["derivation"])
    different = {key: value for key, value in mine.items() if value != theirs[key]}
    if not different or any(re.search(r"[\[\],\"]", value) for value in different.values()):
        return str(row["derivation"])
    last = [key.rpartition(".")[2] for key in mine]
    labels = (key if last.count(key.rpartition(".")[2]) > 1 else key.rpartition(".")[2] for key in different)
    return ", ".join(f"{key}={value}" for key, value in zip(labels, different.values(), strict=True))


def matches(inside: str, *, derivation: str, chain: str) -> bool:
    """Return True if the text in brackets names a set: its name, an operator of its chain, or parameters with values.

    >>> matches("fraction = 0.50, ensemble=32", derivation="x", chain="edge_energy(fraction=0.5, ensemble=32)")
    True
    """
    if inside.strip().casefold() == derivation.casefold():
        return True
    known = {key.casefold(): value for key, value in chain_parameters(chain).items()}
    parts = [part.strip() for part in inside.split(",") if part.strip()]
    return bool(parts) and all(_holds(part, known) for part in parts)


def _holds(part: str, known: Mapping[str, str]) -> bool:
    name, equals, value = (piece.strip() for piece in part.partition("="))
    key = name.casefold()
    if not equals:
        return known.get(key) == ""
    owners = [full for full in known if full == key or full.endswith(f".{key}")]
    return any(_equal(known[full], value.strip("\"'")) for full in owners)


def _equal(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.casefold() == other.casefold()
