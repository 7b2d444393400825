"""Derived values in the store: operator outputs by spectrum and revision, with their provenance.

::

    /derived/<set>/                       one group for each set: a chain with its parameters and references
        spectrum_id, revision   (entry)   whose value it is
        row_sha256, energy_shift, energy_calibration   inputs: an entry is valid only while these are the spectrum's
        calculation             (entry)   row of /tables/calculations with that `name` and `number`
        one array per output    (entry), (entry, reference) or, for results that are curves, (entry, point)
    /tables/derivations                   the sets, append-only: the newest revision of a name counts
    /tables/calculations                  each run of a set over a group: steps with versions, references, snapshot, software

Entries are only appended; of several for one spectrum and revision the newest counts. Freshness is not stored:
`catalogs.index.derived` compares an entry with the current inputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.store.read import (
    COLUMN_ROWS,
    POINTS,
    ROWS,
    array,
    creating,
    dims_of,
    first_dim,
    group_at,
    nodes_of,
    read_table,
    read_together,
    together,
)
from barospec.archive.store.repository import current_user, microseconds
from barospec.archive.store.write import Writer
from barospec.schemas.errors import Conflict, NotFound, did_you_mean
from barospec.schemas.vocabulary import Kind

if TYPE_CHECKING:
    from barospec.archive.operators.operator import Output
    from barospec.archive.store.read import Array, Group

References = Mapping[str, Sequence[tuple[str, str]]]
# Plain columns; row_sha256 has 32 bytes.
KEY_KINDS: Mapping[str, Kind] = {
    "spectrum_id": "text",
    "revision": "integer",
    "calculation": "integer",
    "energy_shift": "number",
    "energy_calibration": "word",
}
KEYS = ("spectrum_id", "revision", "row_sha256", "energy_shift", "energy_calibration", "calculation")

# Outputs in eV that are positions on the energy axis: meaningful only where that is calibrated. All others are
# differences, widths or areas; a test classifies every output in eV.
ABSOLUTE = frozenset((
    "e0", "foil_e0", "foil_e0_other", "e0_derivative", "e0_derivative_other", "e0_parabola", "e0_fraction", "e0_integral",
    "e0_white_line", "edge_energy",
    "alpha_position", "beta_position", "gamma_position", "pre_edge_centroid", "pre_edge_position", "white_line_position",
    "peak_position", "kbeta13_position", "first_moment", "vtc_position", "aligned_energy",
))  # fmt: skip
# After these the energies are where the reference's are, whatever the spectrum's own calibration.
ALIGNING = frozenset(("align", "align_to"))


@dataclass(frozen=True, slots=True)
class Derivation:
    """A set of derived values: chain, parameters, references and queries.

    Parameters
    ----------
    name : str
        Of the set and of its group in the store.
    operator : str
        The last of the chain, whose outputs are stored.
    chain : str
        With every parameter that does not choose references, as `chain.parse_chain` reads it.
    refs : mapping of str to sequence of (label, query)
        Operator -> its references as canonical queries, answered among spectra of the same kind.
    mixed : bool
        True if references of another origin were allowed.
    queries : tuple of str
        Queries for the spectra of the set, canonical.
    preferred : bool
        True if its outputs are used when no set is named.
    follow : bool
        True if new spectra that match one of the queries are computed at ingest.
    status, author, reason : str
    revision, time : int
        One more at each change; microseconds since 1970.
    """

    name: str
    operator: str
    chain: str
    refs: References
    mixed: bool
    queries: tuple[str, ...]
    preferred: bool = False
    follow: bool = False
    status: str = "active"
    author: str = ""
    reason: str = ""
    revision: int = 0
    time: int = 0

    @property
    def sha256(self) -> str:
        """The identity of the computation: chain, parameters and references, without spectra and author."""
        content = [self.chain, {key: [list(pair) for pair in pairs] for key, pairs in self.refs.items()}, self.mixed]
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def parameters(self) -> dict[str, Any]:
        """Return the keyword arguments of `apply.apply` beside the chain."""
        from barospec.archive.operators.registry import find_operator

        given: dict[str, Any] = {}
        for name, pairs in self.refs.items():
            wanted = find_operator(name).references
            assert wanted is not None
            value: Any = pairs[0][1]
            if wanted.several:
                labeled = all(label for label, _ in pairs)
                value = dict(pairs) if labeled else [query for _, query in pairs]
            given[f"{name}.{wanted.name}"] = value
        return given


def read_derivations(root: Group) -> dict[str, Derivation]:
    """Read the newest revision of each set of an archive, by name, dropped ones included."""
    found: dict[str, Derivation] = {}
    table = read_table(root, "derivations")
    for values in zip(*table.values(), strict=True):
        row = dict(zip(table, values, strict=True))
        made = Derivation(
            str(row["name"]),
            str(row["operator"]),
            str(row["chain"]),
            refs={key: [(a, b) for a, b in pairs] for key, pairs in json.loads(str(row["refs"])).items()},
            queries=tuple(json.loads(str(row["queries"]))),
            mixed=bool(row["mixed"]),
            preferred=bool(row["preferred"]),
            follow=bool(row["follow"]),
            status=str(row["status"]),
            author=str(row["author"]),
            reason=str(row["reason"]),
            revision=int(row["revision"]),
            time=int(row["time"]),
        )
        if made.name not in found or found[made.name].revision < made.revision:
            found[made.name] = made
    return found


def find_derivation(root: Group, name: str) -> Derivation:
    """Return the set of that name. Raise NotFound with the nearest names."""
    known = {each.name: each for each in read_derivations(root).values() if each.status == "active"}
    if name not in known:
        there = f" There are {', '.join(known)}." if known else " None is stored: barospec apply OPERATOR --store."
        raise NotFound(f'no derived values are stored as "{name}".{did_you_mean(name, list(known)) or there}')
    return known[name]


def follows_since(root: Group, name: str) -> int:
    """Return the time when the set last began to follow, in microseconds since 1970; it must follow."""
    table = read_table(root, "derivations", ["name", "revision", "follow", "time"])
    mine = sorted(
        (int(revision), bool(follow), int(time))
        for each, revision, follow, time in zip(*table.values(), strict=True)
        if str(each) == name
    )
    since = mine[-1][2]
    for _, follow, time in reversed(mine):
        if not follow:
            break
        since = time
    return since


def newest_series(root: Group) -> dict[str, dict[str, Any]]:
    """Read the newest revision of each set of run values from the table ``series``, by name, dropped ones included."""
    table = read_table(root, "series")
    known: dict[str, dict[str, Any]] = {}
    for values in zip(*table.values(), strict=True):
        row = {
            key: value.item() if isinstance(value, np.generic) else str(value)
            for key, value in zip(table, values, strict=True)
        }
        if row["name"] not in known or known[row["name"]]["revision"] < row["revision"]:
            known[row["name"]] = row
    return known


def write_derivation(writer: Writer, derivation: Derivation) -> Derivation:
    """Append a revision of a set; return it as written."""
    made = replace(derivation, revision=derivation.revision + 1, author=current_user(), time=microseconds())
    fields = ("name", "operator", "chain", "status", "author", "reason", "mixed", "preferred", "follow")
    row = {name: getattr(made, name) for name in (*fields, "revision", "time")}
    row |= {
        "refs": json.dumps(made.refs, sort_keys=True, ensure_ascii=False),
        "queries": json.dumps(list(made.queries), ensure_ascii=False),
        "definition_sha256": made.sha256,
    }
    writer.append_table("derivations", [row])
    return made


def place_derivation(known: Mapping[str, Derivation], wanted: Derivation, name: str) -> Derivation:
    """Return the set that already computes the same, or `wanted` under a free name.

    Parameters
    ----------
    known : mapping of str to Derivation
        From `read_derivations`.
    wanted : Derivation
    name : str
        Requested name; empty for the operator's name, with a number if that is taken.

    Raises
    ------
    Conflict
        The name is that of another set, or the set exists under another name.
    """
    same = next((each for each in known.values() if each.sha256 == wanted.sha256), None)
    if same is not None:
        if name and name != same.name:
            raise Conflict(f'these values are stored already, as "{same.name}". Omit --as, or use that name.')
        return replace(same, status="active")
    taken = {each.casefold() for each in known}
    if name:
        if name.casefold() in taken:
            raise Conflict(f'"{name}" is the name of other derived values: {known.get(name, wanted).chain}')
        return replace(wanted, name=name)
    number = 1
    while (free := wanted.operator if number == 1 else f"{wanted.operator}-{number}").casefold() in taken:
        number += 1
    return replace(wanted, name=free)


def write_calculation(writer: Writer, name: str, provenance: Mapping[str, Any], **about: Any) -> int:
    """Append a run of a set to the table of calculations; return its number within the set.

    Parameters
    ----------
    writer : Writer
    name : str
        The set.
    provenance : mapping
        As `apply.apply` gives it: ``steps``, ``references``, ``notes``.
    **about
        ``grp``, ``query``, ``input_snapshot``, ``refs`` (see `catalogs.index.references`).
    """
    names = read_table(writer.root, "calculations", ["name"])["name"]
    number = 1 + sum(str(each) == name for each in names)
    record = {
        "name": name,
        "number": number,
        "steps": json.dumps(provenance["steps"], sort_keys=True, ensure_ascii=False),
        "notes": json.dumps(provenance.get("notes", []), ensure_ascii=False),
        "software": json.dumps(software(), sort_keys=True),
        "actor": current_user(),
        "time": microseconds(),
        **about,
    }
    writer.append_table("calculations", [record])
    return number


def software() -> dict[str, str]:
    """Return the versions of the software: equal versions on the same platform give the same bits."""
    import platform

    import scipy

    from barospec.schemas.version import __version__

    versions = {"barospec": __version__, "numpy": np.__version__, "scipy": scipy.__version__}
    # Compiled kernels add in another order than numpy: equal within 1e-12, not to the last bit.
    versions["numba"] = "not used"
    return {**versions, "python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}


def append_entries(
    writer: Writer,
    name: str,
    keys: Mapping[str, Any],
    values: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, Output],
    about: Mapping[str, Any],
    labels: Sequence[str] = (),
) -> tuple[int, int]:
    """Append values of some spectra to a set; return the range of entries.

    Parameters
    ----------
    writer : Writer
    name : str
        The set.
    keys : mapping
        `KEYS`, each of length n.
    values : mapping of str to ndarray
        Output -> shape (n,), (n, references) or (n, points).
    outputs : mapping of str to Output
        Their units and meanings.
    about : mapping
        Attributes of the group: operator, reasons, technique, whether the chain aligns.
    labels : sequence of str
        Names of the references, for values of shape (n, references).
    """
    group = writer.root.require_group(f"derived/{name}")
    # Written once: the labels of a set's references never change.
    if "operator" not in group.attrs:
        group.attrs.update({**about, "references": list(labels)})
    start = int(array(group, "revision").shape[0]) if "revision" in group else 0
    stop = start + len(keys["revision"])
    writer.append_columns(group, {column: (kind, list(keys[column])) for column, kind in KEY_KINDS.items()}, start)
    _append(group, "row_sha256", keys["row_sha256"], start, ("entry", "byte"), (COLUMN_ROWS, 32), 0)
    for output, found in values.items():
        described = outputs[output]
        data = found.astype(np.int16) if described.integer else found.astype(np.float64)
        dims = ("entry",) if data.ndim == 1 else ("entry", "point" if described.per_point else "reference")
        chunks = (COLUMN_ROWS,) if data.ndim == 1 else (ROWS, POINTS) if described.per_point else (COLUMN_ROWS, 16)
        made = _append(group, output, data, start, dims, chunks, -1 if described.integer else np.nan)
        if not made.attrs:
            unit = {} if described.integer else {"units": described.unit}
            absolute = {"absolute_energy": True} if output in ABSOLUTE else {}
            made.attrs.update({"long_name": described.meaning, **unit, **absolute})
    for _, node in group.arrays():
        if first_dim(node) == "entry" and node.shape[0] < stop:
            node.resize((stop, *node.shape[1:]))
    writer.changes.append(f"derived/{name}", start, stop)
    return start, stop


def _append(
    group: Group,
    name: str,
    values: NDArray[Any],
    start: int,
    dims: Sequence[str],
    chunks: Sequence[int],
    fill: Any,
) -> Array[Any]:
    tail = values.shape[1:]
    if name not in group:
        together(creating(group, name, values.dtype, fill, (start, *tail), chunks, dims))
    target = array(group, name)
    widths = tuple(max(pair) for pair in zip(target.shape[1:], tail, strict=True))
    target.resize((start + len(values), *widths))
    target[(slice(start, None), *(slice(0, width) for width in tail))] = values
    return target


def derived_group(root: Group, name: str) -> Group | None:
    """Return the group of a set's entries; None while there are none."""
    return group_at(root, f"derived/{name}") if f"derived/{name}" in root else None


def count_entries(root: Group, name: str) -> int:
    """Return the number of entries of a set, older ones of the same spectra included."""
    group = derived_group(root, name)
    return int(array(group, "revision").shape[0]) if group is not None else 0


def read_entries(root: Group, name: str, start: int, stop: int) -> dict[str, NDArray[Any]]:
    """Read keys and values of some entries as stored, without curves."""
    nodes = {
        column: node
        for column, node in nodes_of(group_at(root, f"derived/{name}")).items()
        if first_dim(node) == "entry" and "point" not in dims_of(node)
    }
    return dict(zip(nodes, read_together(nodes.values(), slice(start, stop)), strict=True))
