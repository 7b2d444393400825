"""Derived values of a bundle: requested chains, their outputs, the spectra that they depend on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.compute.spectra import needed_channels
from barospec.archive.operators.chain.execute import parse_chain
from barospec.archive.operators.operator import Output
from barospec.archive.operators.registry import find_operator
from barospec.archive.store.storage.location import locate
from barospec.catalogs.index import database
from barospec.catalogs.index.open import opened
from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.selection.select import select
from barospec.schemas.errors import BarospecError, CallError, Conflict

if TYPE_CHECKING:
    import xarray as xr

    from barospec.catalogs.selection.selection import Selection

_EXAMPLE = "--with \"valence(references='2: NiO at 1 bar; 3: LaNiO3 at 1 bar')\""
Chain = str
ApplyTo = Callable[["Selection", Chain], "xr.Dataset | xr.DataTree"]


@dataclass(frozen=True)
class DerivedSet:
    """Outputs of one chain for the spectra of one group.

    Parameters
    ----------
    chain : str
        As requested.
    key : str
        Group of the spectra, such as ``xas/Ni-K``.
    outputs : dict of str to Output
        Of the operators that the chain names, in their order.
    dataset : Dataset
        Lazy.
    """

    chain: str
    key: str
    outputs: dict[str, Output]
    dataset: xr.Dataset
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def reference_ids(self) -> list[str]:
        """Return ids of all spectra that the values depend on beside their own."""
        named = self.provenance.get("references", {}).values()
        return sorted({name for group in named for one in group for name in one["spectrum_id"]})

    def described(self) -> dict[str, Any]:
        """Return what is needed to compute the set again: steps, versions, all parameters, references."""
        steps = self.provenance["steps"]
        available = [str(name) for name in self.dataset.attrs["available"]]
        return {
            "kind": self.key.replace("/", "-"),
            "chain": self.chain,
            "steps": [name for name, _ in parse_chain(self.chain)],
            "versions": {step["operator"]: step["version"] for step in steps},
            "parameters": {step["operator"]: step["parameters"] for step in steps},
            "sources": {step["operator"]: step["source"] for step in steps},
            "available": available,
            "references": {
                operator: [
                    {"label": one["label"], "query": one.get("query", ""), "spectrum_id": one["spectrum_id"]}
                    for one in named
                ]
                for operator, named in self.provenance.get("references", {}).items()
            },
            "outputs": {name: {"unit": out.unit, "meaning": out.meaning} for name, out in self.outputs.items()},
            "notes": self.provenance.get("notes", []),
        }


def split_chains(asked: str | Sequence[str]) -> list[str]:
    """Split at commas outside parentheses and quotes.

    >>> split_chains("edge_energy, normalize(pre1=-150, pre2=-30) | edge_energy")
    ['edge_energy', 'normalize(pre1=-150, pre2=-30) | edge_energy']
    """
    found = []
    for text in [asked] if isinstance(asked, str) else asked:
        depth, quote, start = 0, "", 0
        for place, char in enumerate(text):
            if quote or char in "\"'":
                quote = "" if char == quote else quote or char
            elif char in "()":
                depth += 1 if char == "(" else -1
            elif char == "," and depth == 0:
                found.append(text[start:place])
                start = place + 1
        found.append(text[start:])
    return list(dict.fromkeys(chain.strip() for chain in found if chain.strip()))


def canonical_chains(selection: Selection, asked: Sequence[str], mixed: bool) -> list[tuple[str, bool]]:
    """Return requested values as chains: a name under which the archive stores values is replaced by their chain and references.

    So ``valence`` in a bundle is the ``valence`` of queries if the archive stores one; otherwise it is the operator
    with its defaults. Values are computed again in both cases, since a bundle contains all outputs of a chain.

    Returns
    -------
    list of (str, bool)
        Chain, and True if it may mix origins.
    """
    stored = {name: _stored(selection, name) for name in asked if "(" not in name and "|" not in name}
    return [stored.get(chain) or (chain, mixed) for chain in asked]


def _stored(selection: Selection, name: str) -> tuple[str, bool] | None:
    with opened(locate(selection.root), selection.snapshot) as (_, connection):
        found = known_from(connection).find("spectra", name)
        if found is None or found.stored is None:
            return None
        newest = "QUALIFY row_number() OVER (PARTITION BY name ORDER BY revision DESC) = 1"
        (row,) = database.dicts(
            connection, f"SELECT * FROM derivations WHERE name = ? {newest}", [found.stored.derivation]
        )
    steps = str(row["chain"]).split(" | ")
    for operator, pairs in json.loads(row["refs"] or "{}").items():
        queries = "; ".join(f"{label}: {query}" if label else query for label, query in pairs)
        if "'" in queries:
            raise CallError(f"{name} is stored with references that cannot be quoted; write its chain: {row['chain']}.")
        place = next(n for n, step in enumerate(steps) if step.split("(")[0] == operator)
        given = find_operator(operator).references
        assert given is not None
        inside = steps[place].partition("(")[2].removesuffix(")")
        quoted = f"{given.name}='{queries}'"
        steps[place] = f"{operator}({', '.join(part for part in (inside, quoted) if part)})"
    return " | ".join(steps), bool(row["mixed"])


def compute(selection: Selection, chains: Sequence[str], *, mixed: bool = False) -> list[DerivedSet]:
    """Apply each chain to each group of a selection that has its technique, lazily.

    Raises
    ------
    CallError
        If a chain applies to none of the spectra.
    Conflict
        If two chains give values of one name.
    """
    from barospec.archive.compute.spectra import apply

    made: list[DerivedSet] = []
    for chain, mix in canonical_chains(selection, chains, mixed):
        operators = [find_operator(name) for name, _ in parse_chain(chain)]
        technique = operators[-1].technique
        keys = [key for key in selection.counts() if not technique or key.startswith(f"{technique}/")]
        if not keys:
            raise CallError(f"{chain} is for {technique} spectra, and the selection contains none.")
        for key in keys:
            mine = selection.groups == key
            part = replace(selection, groups=selection.groups[mine], rows=selection.rows[mine])
            wanted = needed_channels(chain, part.channels(key, True))
            spectra = part._dataset(key, wanted, ("energy_shift",), None)
            available = [str(name) for name, variable in spectra.data_vars.items() if "point" in variable.dims]

            def find(text: str, key: str = key, part: Selection = part, wanted: Sequence[str] = wanted) -> xr.Dataset:
                return part._reference(text, key, wanted)

            try:
                dataset = apply(spectra, chain, find=find, mixed=mix)
            except BarospecError as error:
                error.add_note(f"in {chain}. Write the chain in full, such as {_EXAMPLE}; mixed origins: --mixed")
                raise
            dataset.attrs["available"] = available
            outputs = {name: out for operator in operators for name, out in operator.outputs.items()}
            made.append(DerivedSet(chain, key, outputs, dataset, json.loads(dataset.attrs["provenance"])))
    _refuse_twins(made)
    return made


def _refuse_twins(made: Sequence[DerivedSet]) -> None:
    owner: dict[tuple[str, str], DerivedSet] = {}
    for one in made:
        for name in one.outputs:
            before = owner.setdefault((one.key, name), one)
            if before is not one:
                raise Conflict(
                    f'"{before.chain}" and "{one.chain}" both give {name}. Names in a bundle are unique. '
                    f"Omit one, or write separate bundles."
                )


def by_ids(selection: Selection, identifiers: Sequence[str]) -> Selection:
    """Select the spectra with these ids at the snapshot of a selection, by group and id; parents of merges too."""
    found = select(locate(selection.root), selection.snapshot, "scans", spectrum_id=list(identifiers))
    ids = found.columns(["spectrum_id"])["spectrum_id"].astype(str)
    order = np.lexsort((ids, found.groups.astype(str)))
    return replace(found, groups=found.groups[order], rows=found.rows[order])


def definitions(sets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the definition of each derived value, once for each operator and parameters, for a README."""
    found: dict[str, dict[str, Any]] = {}
    for one in sets:
        for name, version in one["versions"].items():
            operator = find_operator(name)
            references = {
                reference["label"] or "reference": f"{reference['query']} ({len(reference['spectrum_id'])} spectra)"
                for reference in one["references"].get(name, [])
            }
            stated = {
                key: value for key, value in one["parameters"][name].items() if key not in ("reference", "references")
            }
            entry = {
                "operator": name,
                "version": version,
                "summary": operator.summary,
                "parameters": stated,
                "references": references,
                "source": operator.source,
                "chain": one["chain"],
                "reasons": list(operator.reasons),
            }
            # One definition: 10 eV may be written 10 by one chain and 10.0 by another.
            same = {key: float(value) if isinstance(value, int) else value for key, value in stated.items()}
            found.setdefault(json.dumps([name, same, references], sort_keys=True), entry)
    return list(found.values())
