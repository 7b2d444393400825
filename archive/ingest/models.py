"""Models in the store: parameter sets as two small tables, with revisions like structures.

``/tables/models`` has one row per parameter set with its conventions and conditions; ``/tables/model_parameters`` one
row per number. Reading models from sheets is `spins.records`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.spins.sheets.model_record import ModelRecord, Parameter
from barospec.archive.store.read import (
    array,
    count_records,
    creating,
    dims_of,
    group_at,
    highest_revisions,
    read_table,
    together,
)
from barospec.archive.store.write import Writer
from barospec.schemas.errors import NotFound, did_you_mean
from barospec.schemas.records import Problem

if TYPE_CHECKING:
    import xarray as xr

    from barospec.archive.ingest.report import IngestReport
    from barospec.archive.store.read import Group

CONVENTIONS = ("fermi_level_reference", "hund_convention", "e_ct_reference", "state_selection", "operator_basis")
DESCRIBED = (*CONVENTIONS, "phase", "pressure_method", "note")


def fingerprint(record: ModelRecord) -> str:
    """Return the sha256 of a model's content, independent of its file and line."""
    numbers = [
        (p.name, p.layer, p.bond, p.unit, p.value, p.sigma, p.low, p.high, p.quote, p.note) for p in record.parameters
    ]
    facts = [record.model_id, record.compound, record.structure, record.stack, record.scale, record.status]
    # An unstated origin is stored as calculated: stating it gives the same model.
    metadata = sorted(item for item in record.metadata.items() if item != ("origin", "calculated"))
    stated = [record.pressure, record.temperature, record.hamiltonian, record.source, metadata]
    return hashlib.sha256(repr([facts, stated, numbers]).encode()).hexdigest()


def add_models(writer: Writer, records: Sequence[ModelRecord], replace: bool, now: int, report: IngestReport) -> int:
    """Write the models that the archive does not have; return their number. Conflicts go into the report."""
    table = read_table(writer.root, "models", ["model_id", "content_sha256", "status", "revision"])
    held = {
        str(name): (str(digest), int(revision), row)
        for row, (name, digest, status, revision) in enumerate(zip(*table.values(), strict=True))
        if status == "active"
    }
    highest = highest_revisions(table["model_id"], table["revision"])
    fresh: list[tuple[ModelRecord, int]] = []
    for record in records:
        before = held.get(record.model_id)
        if before is None:
            fresh.append((record, highest.get(record.model_id, 0) + 1))
        elif before[0] == fingerprint(record):
            report.unchanged += 1
        elif replace:
            writer.edit_table("models", [before[2]], {"status": "superseded"})
            report.replaced += 1
            fresh.append((record, highest[record.model_id] + 1))
        else:
            report.conflicts += 1
            message = f"model {record.model_id} is in the archive with other content; --replace makes it revision {before[1] + 1}."
            report.problems.append(Problem("error", message, record.source_file, record.line))
    if fresh:
        writer.append_table("models", [_row(record, revision, now) for record, revision in fresh])
        writer.append_table(
            "model_parameters", [row for record, revision in fresh for row in _numbers(record, revision)]
        )
    return len(fresh)


def _row(record: ModelRecord, revision: int, now: int) -> dict[str, Any]:
    return {
        "model_id": record.model_id,
        "material": record.compound,
        "structure": record.structure,
        "stack": record.stack,
        "scale": record.scale,
        "standing": record.status,
        "hamiltonian": record.hamiltonian,
        "pressure": record.pressure,
        "temperature": record.temperature,
        **{name: record.metadata.get(name) for name in DESCRIBED},
        "source": record.source,
        "source_file": record.source_file,
        "source_sha256": record.source_sha256,
        "content_sha256": fingerprint(record),
        "origin": record.metadata.get("origin", "calculated"),
        "status": "active",
        "revision": revision,
        "ingested": now,
    }


def _numbers(record: ModelRecord, revision: int) -> list[dict[str, Any]]:
    return [
        {
            "model_id": record.model_id,
            "revision": revision,
            **{name: getattr(p, name) for name in ("name", "layer", "bond", "unit", "quote", "note")},
            **{name: getattr(p, name) for name in ("value", "sigma", "low", "high")},
        }
        for p in record.parameters
    ]


def symbol(name: str, layer: str = "", bond: str = "") -> str:
    """Return a parameter's name as a field: letters, digits and underscores.

    >>> symbol("J(lt)"), symbol("J_H", layer="m"), symbol("t_perp_pZ", layer="m", bond="um")
    ('J_lt', 'J_H_m', 't_perp_pZ_m_um')
    """
    words = "".join(char if char.isalnum() else " " for char in f"{name} {layer} {bond}").split()
    return "_".join(words)


def fields_of(keys: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """Return field names of parameters by (name, layer, bond); the bond is included only to distinguish parameters.

    >>> fields_of([("J_H", "", ""), ("t", "m", "um"), ("t", "m", "ml"), ("t", "u", "um")])[("t", "u", "um")]
    't_u'
    """
    wanted = list(dict.fromkeys(keys))
    bonds: dict[tuple[str, str], set[str]] = {}
    for name, layer, bond in wanted:
        bonds.setdefault((name, layer), set()).add(bond)
    return {
        (name, layer, bond): symbol(name, layer, bond if len(bonds[name, layer]) > 1 else "")
        for name, layer, bond in wanted
    }


def read_models(root: Group, identifiers: Sequence[str] | None = None) -> list[ModelRecord]:
    """Read active models: those with the given identifiers in that order, or all."""
    rows = {row["model_id"]: row for row in _records(read_table(root, "models")) if row["status"] == "active"}
    numbers: dict[tuple[str, int], list[Parameter]] = {}
    for record in _records(read_table(root, "model_parameters")):
        key = (record.pop("model_id"), record.pop("revision"))
        numbers.setdefault(key, []).append(Parameter(**record))
    return [
        ModelRecord(
            model_id=row["model_id"],
            compound=row["material"],
            status=row["standing"],
            parameters=tuple(numbers[row["model_id"], row["revision"]]),
            metadata={name: row[name] for name in (*DESCRIBED, "origin") if row[name]},
            **{name: row[name] for name in ("structure", "stack", "scale", "hamiltonian", "pressure", "temperature")},
            **{name: row[name] for name in ("source", "source_file", "source_sha256")},
        )
        for row in ([rows[name] for name in identifiers] if identifiers is not None else rows.values())
    ]


def _records(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = list(table)
    return [dict(zip(names, map(_plain, values), strict=True)) for values in zip(*table.values(), strict=True)]


def _plain(value: Any) -> Any:
    """Return a stored value as a Python object; stored text has numpy's string type."""
    return value.item() if isinstance(value, np.generic) else str(value)


def store_output(writer: Writer, dataset: xr.Dataset, now: int) -> str:
    """Write a computed output of models as labelled arrays under ``/model_outputs/<entry>``; return the entry's name.

    The attribute ``provenance`` is written too: operator, version, options, models and their query.
    """
    provenance = json.loads(dataset.attrs["provenance"])
    operator = provenance["steps"][-1]["operator"]
    entry = f"{operator}-{count_records(writer.root, 'model_outputs') + 1}"
    group = writer.root.require_group(f"model_outputs/{entry}")
    group.attrs.update({key: value for key, value in dataset.attrs.items() if value is not None})
    for name, variable in dataset.variables.items():
        values = np.asarray(variable.values)
        text = values.dtype.kind in "OUST"
        stored = values.astype(np.dtypes.StringDType()) if text else values
        chunks = [max(1, min(size, 4096)) for size in values.shape]
        dtype, fill = (str, "") if text else (values.dtype, np.nan if values.dtype.kind == "f" else 0)
        dims = [str(dim) for dim in variable.dims]
        together(creating(group, str(name), dtype, fill, values.shape, chunks, dims))
        made = array(group, str(name))
        made[...] = stored
        made.attrs.update({str(key): value for key, value in variable.attrs.items()})
    record = {
        "entry": entry,
        "operator": operator,
        "version": int(provenance["steps"][-1]["version"]),
        "models": json.dumps([model["model_id"] for model in provenance["models"]]),
        "query": str(dataset.attrs.get("query", "")),
        "input_snapshot": str(dataset.attrs.get("snapshot", "")),
        "provenance": dataset.attrs["provenance"],
        "status": "active",
        "ingested": now,
    }
    writer.append_table("model_outputs", [record])
    return entry


def list_outputs(root: Group) -> list[dict[str, Any]]:
    """Return active outputs, of operators over models and of files of theory codes, with identifying facts."""
    columns = ("entry", "operator", "models", "provenance", "status", "ingested")
    found = []
    for row in _records(read_table(root, "model_outputs", columns)):
        if row["status"] != "active":
            continue
        about = json.loads(row["provenance"]).get("file", {})
        found.append({
            "entry": row["entry"],
            "kind": row["operator"],
            "material": about.get("material"),
            "pressure": about.get("pressure"),
            "temperature": about.get("temperature"),
            "code": about.get("code"),
            "models": ", ".join(json.loads(row["models"])),
            "source_file": about.get("source_file"),
            "source_sha256": about.get("source_sha256"),
            "reader": about.get("reader"),
            "ingested": row["ingested"],
        })  # fmt: skip
    return found


def read_output(root: Group, entry: str) -> xr.Dataset:
    """Open a stored output, lazily. Raise NotFound if there is no such entry."""
    import dask.array
    import xarray as xr

    path = f"model_outputs/{entry}"
    if path not in root:
        known = [str(name) for name in read_table(root, "model_outputs", ["entry"])["entry"]]
        raise NotFound(
            f'there is no stored output "{entry}".{did_you_mean(entry, known)} There are {", ".join(known) or "none"}.'
        )
    node = group_at(root, path)
    variables: dict[str, Any] = {}
    for name, item in node.arrays():
        dims = dims_of(item)
        # Labels are small and read at once; numbers are read when computed.
        values: Any
        if item.dtype.kind not in "fiu":
            values = np.asarray(item[...]).astype(object)
        elif (name,) == dims:
            values = np.asarray(item[...])
        else:
            values = dask.array.from_array(item, chunks=item.chunks)  # type: ignore[no-untyped-call]
        variables[name] = (dims, values, dict(item.attrs))
    dimensions = {dim for dims, _, _ in variables.values() for dim in dims}
    labels = {
        name for name in variables if name in dimensions or name in ("pressure", "material", "structure", "standing")
    }
    return xr.Dataset(
        {name: item for name, item in variables.items() if name not in labels},
        coords={name: variables[name] for name in labels},
        attrs=dict(node.attrs),
    )
