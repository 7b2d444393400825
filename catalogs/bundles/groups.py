"""Spectra of a selection as plain zarr groups, written block by block, and as one table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import compute
from numpy.typing import NDArray

from barospec.archive.bundles.redact import Policy
from barospec.archive.bundles.zarr_groups import REFERENCE, GroupWriter
from barospec.archive.exports.csv import write_csv
from barospec.archive.operators.chain.execute import output_dtype
from barospec.archive.store.fingerprints import column_of, confirmed
from barospec.archive.store.read import array, read_columns, read_table, spectra_group
from barospec.archive.store.repository import cached_reader
from barospec.catalogs.derived.requested import DerivedSet
from barospec.catalogs.selection.selection import _about
from barospec.schemas.vocabulary import BY_NAME, CHANNELS, DATA_NAME, SPECTRUM_TERMS

if TYPE_CHECKING:
    from barospec.catalogs.selection.selection import Selection

Progress = Callable[[str, int, int], None]
VALUES = 1 << 22  # of one variable at a time: 32 MB
TOGETHER = 8  # columns of metadata
UNTOLD = ("status", "merged_into")  # a bundle has active spectra only, and lists parents separately
ALWAYS = ("point_count", "revision")  # integers that every spectrum has
SAID = {
    "synthetic": "SYNTHETIC: generated, not measured.",
    "calculated": "CALCULATED with a physics code, not measured.",
    "measured": "Measured.",
}


@dataclass
class BundleTable:
    """Columns of all groups of a bundle, for a CSV and a Parquet file."""

    parts: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    about: dict[str, dict[str, str]] = field(default_factory=dict)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return all columns, in the vocabulary's order and then the derived ones; unknown is NaN or None."""
        order = [term.name for term in SPECTRUM_TERMS]
        names = dict.fromkeys(name for part in self.parts for name in part)
        ranked = sorted(names, key=lambda name: order.index(name) if name in order else len(order))
        out = {}
        for name in ranked:
            pieces = []
            for part in self.parts:
                length = len(part["spectrum_id"])
                pieces.append(_with_iso_times(part.get(name, np.full(length, None, dtype=object))))
            texts = any(piece.dtype == object and any(isinstance(v, str) for v in piece) for piece in pieces)
            out[name] = (
                np.concatenate([piece.astype(object) for piece in pieces])
                if texts
                else np.concatenate([_numbers(piece) for piece in pieces])
            )
        return out

    def units(self) -> dict[str, str]:
        """Return the unit of each column that has one."""
        return {name: about["units"] for name, about in self.about.items() if about.get("units")}

    def write_csv(self, path: Path) -> None:
        """Write a CSV with plain names in the first line; empty where unknown. Units are in ``fields.csv``."""
        write_csv(path, self.columns())

    def fields(self) -> dict[str, NDArray[Any]]:
        """Return the meanings of the columns, as a table."""
        names = list(self.columns())
        rows = [(name, self.about[name].get("units", ""), self.about[name].get("long_name", "")) for name in names]
        columns = np.array(rows, dtype=object).T if rows else np.empty((3, 0), dtype=object)
        return dict(zip(("field", "unit", "meaning"), columns, strict=True))


def _with_iso_times(piece: NDArray[Any]) -> NDArray[Any]:
    """Return times as ISO 8601, other values unchanged."""
    if piece.dtype != object or not any(isinstance(value, datetime) for value in piece):
        return piece
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in piece]
    return np.array(texts, dtype=object)


def _numbers(piece: NDArray[Any]) -> NDArray[np.float64]:
    if piece.dtype == object:
        return np.array([np.nan if value is None else value for value in piece], dtype=np.float64)
    return piece.astype(np.float64)


@dataclass
class WrittenGroup:
    """A written group."""

    path: str
    key: str
    count: int
    origins: dict[str, int]
    channels: list[str]


def write_groups(
    part: Path,
    folder: str,
    selection: Selection,
    sets: Sequence[DerivedSet],
    channels: Callable[[str], Sequence[str]],
    policy: Policy,
    headers: dict[str, str] | None,
    progress: Progress,
) -> tuple[list[WrittenGroup], BundleTable]:
    """Write the spectra of a selection, one zarr folder for each technique and edge.

    Parameters
    ----------
    part : Path
        The ``data`` folder of the bundle.
    folder : str
        ``spectra`` or ``inputs``.
    selection : Selection
    sets : sequence of DerivedSet
        Stored beside the spectra.
    channels : callable
        From a group's key to the included recorded channels.
    policy : Policy
        Decides what is excluded.
    headers : dict, optional
        Receives the files' own headers by sha256; None excludes them.
    tell : callable
        Progress callback: ``tell(name, done, total)``.
    """
    groups, table = [], BundleTable()
    for key in sorted(selection.counts()):
        mine = selection.groups == key
        one = replace(selection, groups=selection.groups[mine], rows=selection.rows[mine])
        path = f"{folder}/{key.replace('/', '-')}.zarr"
        columns = _columns(one, key, policy, headers)
        own = [item for item in sets if item.key == key]
        scalars = _write_group(part / path, one, key, columns, own, list(channels(key)), policy, progress)
        origins = columns["origin"].tolist()
        counted = {name: origins.count(name) for name in sorted(set(origins))}
        groups.append(WrittenGroup(path, key, len(one), counted, list(channels(key))))
        table.parts.append(columns | scalars)
        table.about |= {name: about_of(name) for name in columns}
        table.about |= {
            name: {"units": out.unit, "long_name": f"{out.meaning} ({item.chain})"}
            for item in own
            for name, out in item.outputs.items()
        }
    return groups, table


def about_of(name: str) -> dict[str, str]:
    """Return unit and meaning of a column."""
    if name in _SUMS:
        return {"long_name": _SUMS[name]}
    return _about(name)


_SUMS = {
    "row_sha256": "sha256 over shape, energies and all recorded signals of the spectrum in the archive",
    **{
        column_of(name): f"sha256 over shape, energies and {name} of the spectrum"
        for name in (*DATA_NAME.values(), *CHANNELS)
    },
    "header_sha256": "key in data/headers.json of the header of the file",
}


def _columns(selection: Selection, key: str, policy: Policy, headers: dict[str, str] | None) -> dict[str, NDArray[Any]]:
    """Return the metadata that may be shared: float with NaN, or texts with None."""
    names = [t.name for t in SPECTRUM_TERMS if t.name not in policy.fields and t.name not in UNTOLD]
    found: dict[str, NDArray[Any]] = {}
    # A few at a time: texts of all columns at once would dominate the memory of a large selection.
    parts = (selection.columns(names[start : start + TOGETHER]) for start in range(0, len(names), TOGETHER))
    for name, values in itertools.chain.from_iterable(part.items() for part in parts):
        kind = BY_NAME[name].kind
        if kind == "time":
            known = np.array([None if np.isnat(v) else f"{v.astype('datetime64[us]')}Z" for v in values], dtype=object)
        elif kind in ("word", "text"):
            clean = policy.file_name if name in ("source_file", "run_sheet") else policy.text
            cleaned = {value: clean(value) for value in dict.fromkeys(values.tolist()) if value is not None}
            known = np.array([cleaned.get(value) for value in values], dtype=object)
        else:
            known = values
        if known.dtype == object and not any(value is not None for value in known):
            continue
        if known.dtype != object and not np.isfinite(known).any():
            continue
        found[name] = known
    root = cached_reader(selection.root, selection.snapshot)
    group = spectra_group(root, key)
    low, high = int(selection.rows.min()), int(selection.rows.max()) + 1
    stored = read_columns(group, low, high)
    at = selection.rows - low
    found["row_sha256"] = np.array([bytes(row).hex() for row in stored["row_sha256"][at]], dtype=object)
    if headers is not None and "header" in stored and not policy.keeps_headers:
        policy.drop("the files' own headers", len(at))
    elif headers is not None and "header" in stored:
        found["header_sha256"] = _headers(root, stored["header"][at], policy, headers)
    return found


def _headers(root: Any, numbers: NDArray[Any], policy: Policy, headers: dict[str, str]) -> NDArray[Any]:
    import hashlib

    named: dict[int, str | None] = {}
    total = int(array(root, "tables/headers/text").shape[0]) if "tables/headers" in root else 0
    # The table is small beside the curves; reading it once is cheaper than once per distinct header.
    texts: Any = read_table(root, "headers", ["text"])["text"] if total else []
    for number in sorted({int(n) for n in numbers}):
        text = str(texts[number]) if 0 <= number < total else ""
        cleaned = policy.header(text)
        digest = hashlib.sha256(cleaned.encode()).hexdigest()
        if cleaned != "{}":
            headers[digest] = cleaned
        named[number] = digest if cleaned != "{}" else None
    return np.array([named[int(n)] for n in numbers], dtype=object)


def _write_group(
    path: Path,
    selection: Selection,
    key: str,
    columns: Mapping[str, NDArray[Any]],
    sets: Sequence[DerivedSet],
    channels: Sequence[str],
    policy: Policy,
    progress: Progress,
) -> dict[str, NDArray[Any]]:
    """Write one group; return its derived values that have one number per spectrum."""
    data, count = DATA_NAME[key.split("/")[0]], len(selection)
    width = int(np.nanmax(columns["point_count"]))
    spectra = selection._dataset(key, list(channels), (), None)
    stored = spectra_group(cached_reader(selection.root, selection.snapshot), key)
    curves = ["energy", data, *channels]
    writer = GroupWriter(path, _group_attributes(selection, key, columns, policy))
    for name in curves:
        writer.create(name, "float64", (count, width), ("spectrum", "point"), _about(name))
    for name, values in columns.items():
        dtype = "string" if values.dtype == object else "int64" if name in ALWAYS else "float64"
        writer.create(name, dtype, (count,), ("spectrum",), about_of(name), coordinate=True)
        texts = np.array(["" if value is None else value for value in values], dtype=np.dtypes.StringDType())
        writer.write(name, 0, texts if dtype == "string" else values.astype(dtype))
    for name in curves[1:]:
        writer.create(column_of(name), "string", (count,), ("spectrum",), about_of(column_of(name)), coordinate=True)
    for item in sets:
        _create_outputs(writer, item, count, width, policy)
    scalars = {
        name: np.full(count, np.nan)
        for item in sets
        for name, out in item.outputs.items()
        if _dims(item, name)[1:] == ()
    }
    # Without coordinates: their indexes would be sliced, and kept, for each block.
    datasets = [
        dataset[names].drop_vars(list(dataset.coords))
        for dataset, names in ((spectra, curves), *((item.dataset, list(item.outputs)) for item in sets))
    ]
    rows = max(1024, min(2048, VALUES // max(width, 1) // 1024 * 1024))
    for start in range(0, count, rows):
        progress(key, start, count)
        part = slice(start, start + rows)
        # One call: shared inputs are read once.
        numbers, *others = compute(  # type: ignore[no-untyped-call]
            *(dataset.isel(spectrum=part) for dataset in datasets)
        )
        read = {str(name): np.asarray(variable.values) for name, variable in numbers.data_vars.items()}
        energy = read.pop("energy")
        sums = confirmed(stored, selection.rows[part], energy, read)
        for name, digests in sums.items():
            texts = np.array([digest.hex() for digest in digests], dtype=np.dtypes.StringDType())
            writer.write(column_of(name), start, texts)
        for computed in (numbers, *others):
            for name, variable in computed.data_vars.items():
                writer.write(str(name), start, np.asarray(variable.values))
                if name in scalars:
                    scalars[str(name)][part] = variable.values
    writer.close()
    return scalars


def _dims(item: DerivedSet, name: str) -> tuple[str, ...]:
    out = item.outputs[name]
    operator = item.dataset[name].attrs["operator"]
    return ("spectrum", *(("point",) if out.per_point else (f"{REFERENCE}{operator}",) if out.per_reference else ()))


def _create_outputs(writer: GroupWriter, item: DerivedSet, count: int, width: int, policy: Policy) -> None:
    steps = {step["operator"]: step for step in item.provenance["steps"]}
    for name, out in item.outputs.items():
        variable = item.dataset[name]
        attributes: dict[str, Any] = {key: value for key, value in variable.attrs.items() if value is not None}
        operator = str(attributes["operator"])
        attributes["chain"] = policy.text(item.chain)
        attributes["parameters"] = policy.clean(steps[operator]["parameters"])
        shape = [count, width if out.per_point else variable.shape[-1]][: variable.ndim]
        if out.per_reference:
            attributes["references"] = [str(label) for label in item.dataset["reference"].values]
        dtype = np.dtype(output_dtype(name, out)).name
        writer.create(name, dtype, shape, _dims(item, name), attributes)


def _group_attributes(
    selection: Selection, key: str, columns: Mapping[str, NDArray[Any]], policy: Policy
) -> dict[str, Any]:
    technique = key.split("/")[0]
    origins = sorted(set(columns["origin"].tolist()))
    first = {name: columns[name][0] for name in ("edge", "line") if name in columns}
    return {
        "title": f"{technique} spectra at the {' '.join(str(value) for value in first.values() if value)} edge",
        "technique": technique,
        **{name: value for name, value in first.items() if value},
        "origin": ", ".join(origins),
        "comment": " ".join(SAID[origin] for origin in origins),
        "query": policy.text(selection.query),
        "snapshot": selection.snapshot,
        "missing_text": "",
    }


def write_rows(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write records as CSV, in the order of their keys."""
    rows = list(records)
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(path, {name: np.array([row.get(name) for row in rows], dtype=object) for name in names})
