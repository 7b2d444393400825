"""Hoppings, bands and densities of states in the archive: labelled arrays beside the models' own outputs.

A file of a theory code becomes one entry for each kind of content under ``/model_outputs``, with its sha256, reader
and stated conditions. Like a spectrum, it is recognized when it is ingested again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.readers.models_registry import MODEL_READERS, model_claims, read_model
from barospec.archive.store.read import read_table
from barospec.archive.store.write import Writer
from barospec.schemas.errors import InvalidData
from barospec.schemas.records import Problem

if TYPE_CHECKING:
    import xarray as xr

    from barospec.archive.ingest.report import IngestReport
    from barospec.archive.readers.electronic import Bands, Dos
    from barospec.archive.readers.wannier90 import Hoppings
    from barospec.archive.store.repository import Transaction

KINDS = ("hoppings", "bands", "densities")
# Fields of a calculation; fields of spectra, such as an edge, have no meaning here.
FACTS = (
    "material", "pressure", "pressure_sigma", "pressure_method", "temperature", "structure", "code", "code_version", "method",
    "experiment", "run", "sample", "title", "note",
)  # fmt: skip
UNITS = {"pressure": "GPa", "pressure_sigma": "GPa", "temperature": "K"}
VERSION = 1
_HEAD = 4096
_Arrays = dict[str, tuple[tuple[str, ...], Any, str, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Calculation:
    """One kind of content of one file: ``arrays`` maps a name to (dims, values, unit, meaning)."""

    kind: str
    arrays: _Arrays
    facts: Mapping[str, Any]
    source_file: str
    source_sha256: str
    reader: str
    where: str

    @property
    def key(self) -> tuple[str, str]:
        """The key that identifies it: sha256 of the file and kind."""
        return self.source_sha256, self.kind


def calculation_format(path: Path, stated: str | None) -> str | None:
    """Return the format of a theory code's file without spectra; None for any other file.

    Parameters
    ----------
    path : Path
        An existing file.
    stated : str, optional
        The stated format; a format of spectra gives None.
    """
    if stated is not None:
        return stated if stated in MODEL_READERS else None
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None  # reported when it is read
    names = model_claims(head, str(path))
    return names[0] if len(names) == 1 else None


def read_calculations(
    path: Path, format: str, conditions: Mapping[str, Any], name: str
) -> tuple[list[Calculation], list[Problem]]:
    """Read the calculations of a file; return them and the reader's problems.

    Parameters
    ----------
    path : Path
    format : str
        A key of `MODEL_READERS`.
    conditions : mapping
        Stated conditions, in the vocabulary's units; ``material`` is needed.
    name : str
        Name of the file in the archive.

    Raises
    ------
    UnreadableFile, InvalidData
        As the reader does; when no material is stated, or another origin than calculated.
    """
    origin = conditions.get("origin")
    if origin not in (None, "calculated"):
        raise InvalidData(f"{path}: origin is {origin}, but a file of {MODEL_READERS[format].holds} is calculated.")
    if conditions.get("material") is None:
        raise InvalidData(
            f"{path}: no material is stated. Write material: La3Ni2O7 in the run sheet, or --set material=..."
        )
    content = read_model(path, format)
    facts = {key: conditions[key] for key in FACTS if conditions.get(key) is not None}
    code = getattr(content, "code", "")
    if code:
        facts.setdefault("code", code)
        facts.setdefault("code_version", content.code_version)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = [
        Calculation(kind, arrays, facts, name, digest, f"{format} {VERSION}", str(path))
        for kind, arrays in _contents(content)
    ]
    return found, list(getattr(content, "problems", ()))


def _contents(content: Any) -> Iterator[tuple[str, _Arrays]]:
    from barospec.archive.readers.electronic import Bands, Dos, ElectronicStructure

    if isinstance(content, ElectronicStructure):
        for part in (content.bands, content.dos):
            if part is not None:
                yield from _contents(part)
    elif isinstance(content, Bands):
        yield "bands", _bands(content)
    elif isinstance(content, Dos):
        yield "densities", _densities(content)
    else:
        yield "hoppings", _hoppings(content)


def _hoppings(content: Hoppings) -> _Arrays:
    dims = ("vector", "orbital_i", "orbital_j")
    meaning = "part of <0 i|H|R j>, divided by the degeneracy of R"
    return {
        "hopping_real": (dims, content.matrix.real, "eV", f"Real {meaning}."),
        "hopping_imag": (dims, content.matrix.imag, "eV", f"Imaginary {meaning}."),
        "R": (("vector", "axis"), content.vectors, "1", "Lattice vector of orbital j, in units of the lattice."),
        "degeneracy": (("vector",), content.degeneracies, "1", "Divisor of the file's numbers."),
    }


def _bands(content: Bands) -> _Arrays:
    dims = ("spin", "k", "band")
    arrays: _Arrays = {
        "energy": (dims, content.energy, "eV", "Eigenvalues on the scale of fermi_level."),
        "kpoint": (("k", "axis"), content.kpoints, "1", "k-points as the file has them."),
        "fermi_level": (
            (),
            content.fermi_level,
            "eV",
            "Fermi level; 0 where energies count from it, NaN where not stated.",
        ),
    }
    for name, where, unit, meaning in (
        ("weights", ("k",), "1", "Weight of the k-point in sums over the zone."),
        ("distance", ("k",), "1", "Length along the path, in the file's unit."),
        ("occupation", dims, "1", "Occupation, 0 to 1."),
        ("projection", (*dims, "orbital"), "1", "Weight of the state on an orbital of an atom (fat bands)."),
    ):
        values = getattr(content, name)
        if values is not None:
            arrays[name] = (where, values, unit, meaning)
    if content.projection is not None:
        arrays["orbital"] = (("orbital",), list(content.labels), "", "Number, element and orbital.")
    return arrays


def _densities(content: Dos) -> _Arrays:
    return {
        "density": (("spin", "orbital", "energy"), content.density, "1/eV", "Density of states, as the code counts."),
        "energy": (("energy",), content.energy, "eV", "On the scale of fermi_level."),
        "orbital": (("orbital",), list(content.labels), "", "total, or number, element and orbital."),
        "fermi_level": (
            (),
            content.fermi_level,
            "eV",
            "Fermi level; 0 where energies count from it, NaN where not stated.",
        ),
    }


def to_dataset(record: Calculation) -> xr.Dataset:
    """Return the arrays with labels, units and provenance."""
    import xarray as xr

    described = {
        "source_file": record.source_file,
        "source_sha256": record.source_sha256,
        "reader": record.reader,
        **dict(record.facts),
    }
    step = {"operator": record.kind, "version": VERSION, "options": {}, "source": record.reader}
    provenance = {"steps": [step], "models": [], "file": described}
    variables = {
        name: (dims, np.asarray(values, dtype=object if isinstance(values, list) else None), _attributes(unit, meaning))
        for name, (dims, values, unit, meaning) in record.arrays.items()
    }
    units = {f"{name}_unit": UNITS[name] for name in record.facts if name in UNITS}
    return xr.Dataset(
        variables,
        attrs={
            **described,
            **units,
            "origin": "calculated",
            "provenance": json.dumps(provenance, sort_keys=True, ensure_ascii=False),
        },
    )


def _attributes(unit: str, meaning: str) -> dict[str, str]:
    return {"units": unit, "long_name": meaning} if unit else {"long_name": meaning}


def held(work: Transaction) -> dict[tuple[str, str], tuple[str, int, Mapping[str, Any]]]:
    """Return active entries from files: (sha256, kind) -> entry, row, facts."""
    table = read_table(work.root, "model_outputs", ["entry", "operator", "provenance", "status"])
    found: dict[tuple[str, str], tuple[str, int, Mapping[str, Any]]] = {}
    for row, (entry, kind, text, status) in enumerate(zip(*table.values(), strict=True)):
        about = json.loads(str(text)).get("file") if str(kind) in KINDS and str(status) == "active" else None
        if about:
            facts = {key: about[key] for key in FACTS if key in about}
            found[about["source_sha256"], str(kind)] = (str(entry), row, facts)
    return found


def add_calculations(
    writer: Writer, work: Transaction, records: Sequence[Calculation], replace: bool, now: int, report: IngestReport
) -> int:
    """Write the calculations that the archive does not have; return their number. Conflicts go into the report."""
    from barospec.archive.ingest.models import store_output

    if not records:
        return 0
    before = held(work)
    seen: set[tuple[str, str]] = set()
    added = 0
    for record in records:
        known = before.get(record.key)
        if record.key in seen or (known is not None and dict(known[2]) == dict(record.facts)):
            report.unchanged += 1
            continue
        if known is not None and not replace:
            report.conflicts += 1
            named = [key for key in FACTS if known[2].get(key) != record.facts.get(key)]
            differ = "; ".join(f"{key} {known[2].get(key)} -> {record.facts.get(key)}" for key in named)
            message = f"is in the archive as {known[0]} with other facts ({differ}). Nothing was changed; --replace ingests it again."
            report.problems.append(Problem("error", message, record.where))
            continue
        if known is not None:
            writer.edit_table("model_outputs", [known[1]], {"status": "superseded"})
            report.replaced += 1
        seen.add(record.key)
        store_output(writer, to_dataset(record), now)
        added += 1
    return added
