"""Verification of a bundle: every byte, every rule, every derived value."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from barospec.archive.bundles import bagit
from barospec.archive.bundles.reader import BundleReader
from barospec.archive.bundles.safe_unzip import folder_of
from barospec.archive.bundles.zarr_groups import GroupReader, load_json
from barospec.archive.exports.csv import csv_lines
from barospec.archive.operators.operator import Operator
from barospec.archive.operators.registry import OPERATORS
from barospec.archive.store.fingerprints import column_of
from barospec.catalogs.bundles.groups import BundleTable, about_of
from barospec.catalogs.bundles.metadata import READER
from barospec.catalogs.papers.check_numbers import Spectra, check
from barospec.schemas.errors import BarospecError, InvalidData
from barospec.schemas.vocabulary import BY_NAME, CHANNELS, DATA_NAME, TERMS

Progress = Callable[[str, int, int], None]
MOST_REFERENCES = 10_000
LARGEST_NUMBER, LARGEST_COUNT = 1e7, 4096
_URL = re.compile(r"\{CATALOG_DIR\}/data/(?:spectra|inputs)/[A-Za-z0-9-]+\.zarr")


@dataclass
class VerifiedBundle:
    """Result of a verification: every problem found.

    Attributes
    ----------
    problems : list of str
        Empty if the bundle is whole.
    notes : list of str
        What could not be checked here, and remarks for the reader.
    recomputed : list of str
        A line for each recomputed derived value.
    """

    path: str
    identifier: str = ""
    query: str = ""
    snapshot: str = ""
    files: int = 0
    spectra: int = 0
    inputs: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recomputed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if there are no problems."""
        return not self.problems


def verify(
    path: Path, *, recompute: bool = False, progress: Progress = lambda name, done, total: None
) -> VerifiedBundle:
    """Check a bundle, a folder or a zip archive. Nothing in it is executed; nothing is written beside it.

    Parameters
    ----------
    path : Path
    recompute : bool
        Compute every derived value again with this software's operators.
    tell : callable
        Progress callback: ``tell(name, done, total)``.

    Raises
    ------
    NotFound, UnreadableFile, InvalidData
        If there is no bundle, or the zip archive is refused before it is unpacked.
    """
    found = VerifiedBundle(str(path))
    with folder_of(path) as root:
        bundle = _examine(root, found, progress)
        if recompute and found.ok and bundle is not None:
            _recompute(bundle, found)
        elif recompute:
            found.notes.append("derived values were not recomputed: the bundle is damaged.")
    return found


def must_be_whole(root: Path, progress: Progress = lambda name, done, total: None) -> None:
    """Raise InvalidData unless the unpacked bundle in `root` is whole; the message has the first problems."""
    found = VerifiedBundle(str(root))
    _examine(root, found, progress)
    if not found.ok:
        shown = "\n  ".join(found.problems[:5])
        more = f"\n  and {len(found.problems) - 5} more" if len(found.problems) > 5 else ""
        raise InvalidData(f"the bundle is not whole; nothing was read from it:\n  {shown}{more}")


def _examine(root: Path, found: VerifiedBundle, progress: Progress) -> BundleReader | None:
    found.problems += bagit.verify(root, progress)
    found.files = sum(path.is_file() for path in root.rglob("*"))
    try:
        bundle = BundleReader.open(root)
    except BarospecError as error:
        found.problems.append(str(error))
        return None
    found.identifier, found.query = bundle.identifier, bundle.described["query"]
    found.snapshot = bundle.described["snapshot"]
    for check_one in (_check_groups, _check_derived, _check_table, _check_tags):
        try:
            found.problems += check_one(bundle, found)
        except BarospecError as error:
            found.problems.append(str(error))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OSError) as error:
            found.problems.append(f"damaged beyond reading: {type(error).__name__}: {str(error)[:100]}")
    found.problems = list(dict.fromkeys(found.problems))
    return bundle


def _check_groups(bundle: BundleReader, found: VerifiedBundle) -> Iterator[str]:
    """Check arrays, units, values and fingerprints of each group."""
    seen: dict[str, str] = {}
    for described, path in zip(bundle.described["groups"], bundle.paths, strict=True):
        group, key = bundle.group(path), bundle.key(path)
        columns = bundle.columns(path)
        if path.startswith("spectra/"):
            found.spectra += len(group)
        else:
            found.inputs += len(group)
        if described["count"] != len(group):
            yield f"{path} has {len(group)} spectra; bundle.json says {described['count']}."
        for name in columns["spectrum_id"]:
            if name in seen:
                yield f"spectrum {name} is in {seen[name]} and in {path}."
            seen[name] = path
        yield from _check_names(bundle, path, group, DATA_NAME[key.split("/")[0]])
        differ = unknown = partial = 0
        for one in bundle.spectra(path):
            differ += one.fits is False
            unknown += one.fits is None
            partial += not one.complete
        if unknown and bundle.described["raw"]:
            differ += unknown
        elif unknown:
            found.notes.append(
                f"{path}: {unknown} of {len(group)} spectra were sealed by version 0.1.0 without some of their channels and have no "
                "fingerprint of these arrays: only the checksums of the files cover their numbers."
            )
        elif partial:
            found.notes.append(
                f"{path}: {partial} of {len(group)} spectra have recorded channels in the archive that this bundle excludes."
            )
        if differ:
            yield f"{path}: the fingerprint of {differ} spectra does not match their numbers."
        for term in TERMS:
            if term.private and term.name in columns:
                found.notes.append(f"{path} has the private field {term.name}.")


def _check_names(bundle: BundleReader, path: str, group: GroupReader, data: str) -> Iterator[str]:
    derived = {name for one in bundle.described["derived"] if one["group"] == path for name in one["outputs"]}
    fingerprints = {"row_sha256", "header_sha256", *(column_of(name) for name in (data, *CHANNELS))}
    for name in group.names:
        dims, unit = group.dims(name), group.attrs(name).get("units", "")
        expected = about_of(name).get("units", "")
        if name in ("energy", data) or name in CHANNELS:
            if dims != ("spectrum", "point") or group.kind(name) != "float64":
                yield f"{path}/{name}: a curve has dimensions (spectrum, point) and 64-bit numbers."
        elif name in BY_NAME or name in fingerprints:
            if dims != ("spectrum",):
                yield f"{path}/{name}: a field has one value for each spectrum."
        elif name not in derived:
            yield f"{path}/{name} is not a field, channel or derived value that bundle.json names."
            continue
        else:
            continue
        if unit != expected:
            yield f'{path}/{name} is in "{unit}"; the unit of {name} is "{expected}".'


def _check_derived(bundle: BundleReader, found: VerifiedBundle) -> Iterator[str]:
    """Check that each derived value has its array, its operator and the spectra that it depends on."""
    places: dict[str, set[str]] = {}
    for path in bundle.paths:
        kind = bundle.key(path).replace("/", "-")
        places.setdefault(kind, set()).update(bundle.group(path).read("spectrum_id").tolist())
    for one in bundle.described["derived"]:
        group = bundle.group(one["group"])
        for name, output in one["outputs"].items():
            if name not in group.names:
                yield f"{one['group']}: the derived value {name} is missing."
            elif group.attrs(name).get("units", output["unit"]) != output["unit"]:
                yield f"{one['group']}/{name}: its unit differs from bundle.json ({output['unit']})."
        for name, version in one["versions"].items():
            ours = OPERATORS.get(name)
            if ours is None:
                found.notes.append(f"this version has no operator {name}; its values cannot be recomputed here.")
            elif ours.version != version:
                found.notes.append(
                    f"{name} has version {version} in the bundle and {ours.version} here: recompute with the bundle's own "
                    f"check_numbers.py."
                )
            yield from _check_parameters(one["parameters"][name], name, ours)
        for operator, references in one["references"].items():
            for reference in references:
                ids = reference["spectrum_id"]
                if not isinstance(ids, list) or not 0 < len(ids) <= MOST_REFERENCES:
                    yield f"{operator}: a reference has {len(ids)} spectra; expected 1 to {MOST_REFERENCES}."
                lost = [name for name in ids if name not in places.get(one["kind"], set())]
                if lost:
                    yield f"{operator} depends on the spectrum {lost[0]}, which is not in the bundle."


def _check_parameters(parameters: Mapping[str, Any], name: str, operator: Operator | None) -> Iterator[str]:
    """Check that parameters have plausible sizes, since they decide how much an operator computes."""
    for key, value in parameters.items():
        default = operator.defaults.get(key) if operator else None
        most = LARGEST_COUNT if isinstance(default, int) and not isinstance(default, bool) else LARGEST_NUMBER
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int | float) and not isinstance(item, bool) and abs(item) > most:
                yield f"{name}: {key} = {item} is implausibly large."
        if isinstance(value, list | str | dict) and len(value) > MOST_REFERENCES:
            yield f"{name}: {key} is implausibly long."


def _check_table(bundle: BundleReader, found: VerifiedBundle) -> Iterator[str]:
    """Compare ``spectra.csv`` with the arrays, line by line."""
    table = BundleTable()
    derived = bundle.described["derived"]
    for path in bundle.paths:
        if not path.startswith("spectra/"):
            continue
        group = bundle.group(path)
        columns: dict[str, NDArray[Any]] = {}
        given = {name for one in derived if one["group"] == path for name in one["outputs"]}
        signals = {column_of(name) for name in group.names if group.dims(name) == ("spectrum", "point")}
        for name in group.names:
            if group.dims(name) == ("spectrum",) and name not in signals:
                values = group.read(name)
                if group.kind(name) == "string":
                    columns[name] = np.array([value or None for value in values], dtype=object)
                elif name in given or name in BY_NAME:
                    columns[name] = values.astype(np.float64)
        table.parts.append(columns)
    path_of = bundle.root / "data" / "spectra.csv"
    with path_of.open(encoding="utf-8", newline="") as file:
        stated = csv.DictReader(file)
        for number, (line, row) in enumerate(itertools.zip_longest(_rows(table), stated), 2):
            if line is None or row is None:
                yield f"data/spectra.csv has {'more' if line is None else 'fewer'} lines than there are spectra."
                return
            # Derived values have the order of the arrays in one and of the operators in the other.
            wrong = [name for name in {*line, *row} if line.get(name) != row.get(name)]
            if wrong:
                yield f"data/spectra.csv:{number}: {min(map(str, wrong))} differs from the arrays."
                return


def _rows(table: BundleTable) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(io.StringIO("".join(csv_lines(table.columns())), newline=""))


def _check_tags(bundle: BundleReader, found: VerifiedBundle) -> Iterator[str]:
    """Check that the catalog names only the bundle's groups and a stock reader, and that the crate's files exist."""
    path = bundle.root / "catalog.yaml"
    if path.is_file():
        if path.stat().st_size > 1 << 24:
            yield "catalog.yaml is larger than 16 MB; refused."
            return
        try:
            catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, RecursionError) as error:
            yield f"catalog.yaml is not plain YAML: {str(error).splitlines()[0]}. Do not open it."
            return
        for name, entry in catalog["entries"].items():
            if entry.get("reader") != READER:
                yield f"catalog.yaml: the entry {name} would run {str(entry.get('reader'))[:80]}. Do not open it."
        for name, data in catalog["data"].items():
            if data.get("datatype") != "intake.readers.datatypes:Zarr" or not _URL.fullmatch(data["kwargs"]["url"]):
                yield f"catalog.yaml: {name} reads {str(data.get('kwargs'))[:80]}, which is outside the bundle."
        if catalog.get("user_parameters"):
            yield "catalog.yaml has user parameters, which no bundle's catalog has."
    crate = bundle.root / "ro-crate-metadata.json"
    if crate.is_file():
        for entity in load_json(crate)["@graph"]:
            kind = entity.get("@type")
            if kind == "File" and not (bundle.root / bagit.check_path(entity["@id"])).is_file():
                yield f"ro-crate-metadata.json names {entity['@id']}, which is missing."


def _recompute(bundle: BundleReader, found: VerifiedBundle) -> None:
    """Recompute every derived value whose operators have the same versions here as in the bundle."""
    derived = bundle.described["derived"]

    def same(one: Mapping[str, Any]) -> bool:
        return all(
            name in OPERATORS and OPERATORS[name].version == version for name, version in one["versions"].items()
        )

    groups = {path: bundle.group(path) for path in bundle.paths}
    spectra = Spectra(
        lambda path, name, start, stop: groups[path].read(name, start, stop),
        {path: (len(group), group.width, group.names) for path, group in groups.items()},
    )
    numbers = bundle.root / "data" / "paper" / "numbers.json"
    stated = load_json(numbers) if numbers.is_file() else []
    kept = [one for one in derived if same(one)]
    for one in [one for one in derived if one not in kept]:
        found.notes.append(f"{one['chain']} was not recomputed: its operators have other versions here.")
    for number in stated:
        problems = [
            text
            for name, values in number["derived"]["parameters"].items()
            for text in _check_parameters(values, name, OPERATORS.get(name))
        ]
        found.problems += problems
    if found.problems:
        return
    try:
        for line in check(spectra, {"derived": kept}, [number for number in stated if same(number["derived"])]):
            found.recomputed.append(line)
            if "DIFFERS" in line:
                found.problems.append(f"recomputed: {line}.")
    except (BarospecError, KeyError, ValueError, TypeError) as error:
        found.problems.append(f"derived values cannot be recomputed: {error}")
