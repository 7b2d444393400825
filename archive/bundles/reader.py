"""Reader of bundles, for ingest and verification; validates all content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.bundles.bagit import bundle_id, sha256_of
from barospec.archive.bundles.redact import PRIVATE
from barospec.archive.bundles.zarr_groups import GroupReader, load_json
from barospec.archive.ingest.prepared import Prepared, PreparedSpectrum
from barospec.archive.sheets.records import Sheet
from barospec.archive.spins.sheets.model_record import ModelRecord, Parameter
from barospec.archive.store.fingerprints import as_written, column_of
from barospec.archive.store.read import row_sha256
from barospec.archive.structures import structures
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile, Unsupported
from barospec.schemas.records import Problem
from barospec.schemas.values import checked, coerce, parse_time
from barospec.schemas.vocabulary import BY_NAME, CHANNELS, DATA_NAME, SPECTRUM_TERMS, Term, group_key

FORMAT = 1
_GROUP = re.compile(r"(?:spectra|inputs)/(?:xas|xes)-[A-Z][A-Za-z0-9]?-[A-Za-z0-9]+\.zarr")
_ID = re.compile(r"[0-9a-f]{16}")
_SHA = re.compile(r"[0-9a-f]{64}")
# Known to the archive that ingests a bundle, not to the bundle.
_OWN = ("ingested", "status", "merged_into", "bundle", "bundle_revision", "revision")


@dataclass(frozen=True, slots=True)
class SealedSpectrum:
    """A spectrum of a bundle.

    Attributes
    ----------
    row : int
        Of its group.
    energy : array, shape (n,)
    signals : dict of arrays, shape (n,)
        Those that it has.
    content : bytes
        Fingerprint of the spectrum in the archive of origin, if its numbers match that; else of these numbers.
    complete : bool
        True if no recorded channel was excluded.
    fits : bool or None
        Whether the numbers match the fingerprints; None without fingerprints.
    """

    row: int
    energy: NDArray[np.float64]
    signals: dict[str, NDArray[np.float64]]
    content: bytes
    complete: bool
    fits: bool | None


@dataclass
class BundleReader:
    """An unpacked bundle.

    Attributes
    ----------
    root : Path
    identifier : str
        See `bagit.bundle_id`.
    described : dict
        Content of ``data/bundle.json``, its shape checked.
    """

    root: Path
    identifier: str
    described: dict[str, Any]
    _groups: dict[str, GroupReader] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: Path) -> BundleReader:
        """Read and check the bundle's description of itself.

        Raises
        ------
        UnreadableFile
            The folder is no bundle.
        Unsupported
            A newer version wrote it.
        InvalidData
            Its description is invalid.
        """
        path = root / "data" / "bundle.json"
        if not path.is_file():
            raise UnreadableFile(f"{root.name} is no bundle: data/bundle.json is missing.")
        described = load_json(path)
        version = described.get("barospec_bundle") if isinstance(described, dict) else None
        if not isinstance(version, int):
            raise InvalidData("data/bundle.json states no version (barospec_bundle).")
        if version > FORMAT:
            raise Unsupported(f"the bundle has format {version}; this version reads up to {FORMAT}. Upgrade barospec.")
        _check_described(described)
        try:
            identifier = bundle_id(root)
        except OSError:
            identifier = ""
        return cls(root, identifier, described)

    @property
    def paths(self) -> list[str]:
        """Folders of the groups under ``data/``, the selection's first."""
        return [str(group["path"]) for group in self.described["groups"]]

    @property
    def private(self) -> list[str]:
        """Fields that its maker kept back; the default if not stated."""
        stated = self.described.get("private")
        return [str(name) for name in stated] if isinstance(stated, list) else list(PRIVATE)

    def group(self, path: str) -> GroupReader:
        """Return a group; check it at the first call."""
        if path not in self._groups:
            self._groups[path] = GroupReader(self.root / "data" / path)
        return self._groups[path]

    def key(self, path: str) -> str:
        """Return the key of the group in an archive, such as ``xas/Ni-K``."""
        return path.rpartition("/")[2].removesuffix(".zarr").replace("-", "/", 1)

    def columns(self, path: str) -> dict[str, NDArray[Any]]:
        """Return the metadata of a group as the archive has them, checked against the vocabulary; None where unknown."""
        group = self.group(path)
        found: dict[str, NDArray[Any]] = {}
        for name in group.names:
            if group.dims(name) != ("spectrum",) or name not in BY_NAME:
                continue
            term = BY_NAME[name]
            try:
                stored = group.read(name).tolist()
                if term.kind == "word":  # few different ones, over and over
                    meant = {value: _value(term, value) for value in dict.fromkeys(stored)}
                    values = [meant[value] for value in stored]
                else:
                    values = [_value(term, value) for value in stored]
            except (BarospecError, TypeError, ValueError, OverflowError) as error:
                raise InvalidData(f"{path}/{name}: {error}") from None
            found[name] = np.array([*values, None], dtype=object)[:-1]
        _check_identity(path, self.key(path), found, group)
        return found

    def spectra(self, path: str) -> Iterator[SealedSpectrum]:
        """Yield each spectrum of a group, its numbers compared with its fingerprints."""
        group = self.group(path)
        data = DATA_NAME[self.key(path).split("/")[0]]
        names = [data, *(name for name in group.names if name in CHANNELS)]
        if data not in group.names or "energy" not in group.names:
            raise InvalidData(f"{path}: it has no {data} or no energy.")
        for start, stop in group.blocks():
            arrays = {name: group.read(name, start, stop) for name in ("energy", *names)}
            counts = group.read("point_count", start, stop)
            sealed = {
                name: group.read(column, start, stop) if column in group.names else [""] * (stop - start)
                for name, column in [("", "row_sha256"), *((name, column_of(name)) for name in names)]
            }
            for row in range(stop - start):
                count = int(counts[row])
                if not 0 < count <= group.width:
                    raise InvalidData(
                        f"{path}: row {start + row} claims {count} points; its arrays have {group.width}."
                    )
                energy = np.ascontiguousarray(arrays["energy"][row, :count], dtype=np.float64)
                every = {name: np.ascontiguousarray(arrays[name][row, :count], dtype=np.float64) for name in names}
                if not np.isfinite(energy).all():
                    raise InvalidData(f"{path}: row {start + row} has an energy that is not a number.")
                present = {n: values for n, values in every.items() if n == data or np.isfinite(values).any()}
                own = {name: bytes.fromhex(str(sealed[name][row])) for name in names}
                whole = bytes.fromhex(str(sealed[""][row]))
                if row_sha256(energy, present) != whole and row_sha256(energy, every) == whole:
                    present = every
                complete = row_sha256(energy, present) == whole
                checked = all(own[name] for name in present)
                yield SealedSpectrum(
                    row=start + row,
                    energy=energy,
                    signals=present,
                    content=whole if complete or (checked and whole) else row_sha256(energy, present),
                    complete=complete,
                    fits=as_written(energy, every, whole, own) if checked or complete else None,
                )

    def prepared(self) -> Prepared:
        """Return all spectra and records, ready for `ingest`; rejected ones are among the problems."""
        prepared = Prepared()
        headers = self._headers()
        for path in self.paths:
            key, columns = self.key(path), self.columns(path)
            digests = (
                self.group(path).read("header_sha256").tolist() if "header_sha256" in self.group(path).names else []
            )
            for one in self.spectra(path):
                known = {name: values[one.row] for name, values in columns.items()}
                known |= {"bundle": self.identifier, "bundle_revision": known.get("revision")}
                kept = {n: v for n, v in known.items() if n in ("bundle", "bundle_revision") or n not in _OWN}
                header = headers.get(str(digests[one.row]), "{}") if digests else "{}"
                prepared.entries.append(
                    PreparedSpectrum(
                        group=key,
                        curves=prepared.spool.put(one.energy, one.signals),
                        columns=kept,
                        header=header,
                        content=one.content,
                        where=f"{path} [{kept['spectrum_id']}]",
                    )
                )
        self._take_records(prepared)
        # The bundle's description is kept, like run sheets, as provenance of these spectra.
        description = self.root / "data" / "bundle.json"
        name = Path(f"bundle-{self.identifier}.json")
        prepared.sheets.append(Sheet(name, sha256_of(description), description.read_text(encoding="utf-8")))
        return prepared

    def sealed(self) -> dict[str, str]:
        """Return spectrum_id -> fingerprint of the spectrum in the archive that the bundle was made from."""
        found: dict[str, str] = {}
        for path in self.paths:
            group = self.group(path)
            if "row_sha256" in group.names:
                found |= dict(zip(group.read("spectrum_id").tolist(), group.read("row_sha256").tolist(), strict=True))
        return found

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return the records of a kind: runs, samples, structures, literature, models."""
        path = self.root / "data" / "records" / f"{name}.json"
        content = load_json(path) if path.is_file() else []
        if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
            raise InvalidData(f"data/records/{name}.json is not a list of records.")
        return content

    def _headers(self) -> dict[str, str]:
        path = self.root / "data" / "headers.json"
        content = load_json(path, 1 << 28) if path.is_file() else {}
        if not isinstance(content, dict):
            raise InvalidData("data/headers.json is not a mapping.")
        return {str(digest): str(text) for digest, text in content.items()}

    def _take_records(self, prepared: Prepared) -> None:
        for name, parse in (("structures", _structure), ("models", _model), ("literature", _literature)):
            for record in self.records(name):
                try:
                    getattr(prepared, name).append(parse(record))
                except (BarospecError, TypeError, ValueError, KeyError) as error:
                    message = f"{record.get('structure_id') or record.get('model_id') or name}: {error}"
                    prepared.problems.append(Problem("warning", f"rejected: {message}", f"data/records/{name}.json"))


def _check_described(described: Mapping[str, Any]) -> None:
    groups = described.get("groups")
    if not isinstance(groups, list) or not groups or not all(isinstance(group, dict) for group in groups):
        raise InvalidData("data/bundle.json lists no groups.")
    for group in groups:
        if not isinstance(group.get("path"), str) or not _GROUP.fullmatch(group["path"]):
            raise InvalidData(f'data/bundle.json: "{str(group.get("path"))[:80]}" is no group of a bundle. Refused.')
    if len({group["path"] for group in groups}) != len(groups):
        raise InvalidData("data/bundle.json lists a group twice.")
    for name in ("query", "snapshot", "archive"):
        if not isinstance(described.get(name), str):
            raise InvalidData(f"data/bundle.json does not state its {name}.")
    if not isinstance(described.get("derived"), list):
        raise InvalidData("data/bundle.json does not list its derived values.")


def _value(term: Term, value: Any) -> Any:
    """Return a stored value as the archive has it."""
    if value is None or value == "" or value != value:
        return None
    if term.kind == "number":
        if not np.isfinite(value):
            raise InvalidData(f"{value} is not a number for {term.name}.")
        return checked({term.name: float(value)})[term.name]
    if term.kind == "integer":
        if float(value) != int(value):
            raise InvalidData(f"{value} is not a whole number for {term.name}.")
        return checked({term.name: int(value)})[term.name]
    if not isinstance(value, str):
        raise InvalidData(f"a value of {term.name} is not text.")
    if term.kind == "time":
        return checked({term.name: parse_time(value, term.name)})[term.name]
    if term.allowed or term.name in ("edge", "line"):
        return coerce(term, value)[term.name]
    return checked({term.name: value})[term.name]


def _check_identity(path: str, key: str, columns: Mapping[str, NDArray[Any]], group: GroupReader) -> None:
    lacking = [
        name for name in ("spectrum_id", "run", "origin", "technique", "edge", "point_count") if name not in columns
    ]
    if lacking:
        raise InvalidData(f"{path}: it has no {', '.join(lacking)}.")
    ids = columns["spectrum_id"].tolist()
    if not all(isinstance(one, str) and _ID.fullmatch(one) for one in ids) or len(set(ids)) != len(ids):
        raise InvalidData(f"{path}: a spectrum_id is not 16 hex digits, or comes twice.")
    for name in ("run", "origin", "technique", "edge", "point_count"):
        if any(value is None for value in columns[name]):
            raise InvalidData(f"{path}: a spectrum has no {name}.")
    lines = columns.get("line", np.full(len(ids), None, dtype=object))
    for technique, edge, line in set(zip(columns["technique"], columns["edge"], lines, strict=True)):
        if group_key(technique, edge, line or "") != key:
            raise InvalidData(f"{path}: it holds {technique} spectra of {edge} {line or ''}, which belong elsewhere.")
    fingerprints = [name for name in group.names if name.endswith("_sha256")]
    for name in fingerprints:
        if any(one and not _SHA.fullmatch(str(one)) for one in group.read(name)):
            raise InvalidData(f"{path}: a {name} is not 64 hex digits.")


_STRUCTURE = (
    *("structure_id", "material", "space_group", "a", "b", "c", "alpha", "beta", "gamma", "sites"),
    *("pressure", "pressure_sigma", "temperature", "origin", "note", "source", "source_file"),
)


def _structure(record: Mapping[str, Any]) -> structures.Structure:
    return structures.from_mapping({name: record[name] for name in _STRUCTURE if name in record})


def _model(record: Mapping[str, Any]) -> ModelRecord:
    texts = ("model_id", "compound", "structure", "stack", "scale", "status", "hamiltonian", "source", "source_file")
    stated: dict[str, Any] = {name: str(record.get(name, "")) for name in (*texts, "source_sha256")}
    stated |= {name: float(record.get(name, np.nan)) for name in ("pressure", "temperature")}
    numbers = [Parameter(**{str(key): value for key, value in one.items()}) for one in record.get("parameters", ())]
    metadata = {str(key): str(value) for key, value in record.get("metadata", {}).items()}
    return ModelRecord(**stated, parameters=tuple(numbers), metadata=metadata)


def _literature(record: Mapping[str, Any]) -> dict[str, Any]:
    known = {term.name for term in SPECTRUM_TERMS} | {
        "quantity",
        "value",
        "value_sigma",
        "value_unit",
        "source",
        "quote",
    }
    taken = {name: value for name, value in record.items() if name in known}
    for name in ("quantity", "value", "value_unit", "source"):
        if name not in taken:
            raise InvalidData(f"a literature value needs {name}.")
    return {name: value for name, value in coerced(taken).items() if value is not None}


def coerced(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's values, checked against the vocabulary."""
    return {name: _value(BY_NAME[name], value) for name, value in record.items()}


def summary(described: Mapping[str, Any]) -> str:
    """Return one line on the origin of a bundle, for the history."""
    return json.dumps({name: described[name] for name in ("archive", "snapshot", "query")}, ensure_ascii=False)
