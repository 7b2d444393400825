"""Bundles: the spectra of a selection, sealed, for readers without this software.

``docs/bundles.md`` describes the folder. Its content follows from the selection, its snapshot, the options and the
software only: the same of these give the same bytes. It has no clock time, host or path of this machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.bundles import bagit
from barospec.archive.bundles.reader import FORMAT
from barospec.archive.bundles.redact import Policy
from barospec.archive.bundles.safe_unzip import pack
from barospec.archive.exports.csv import write_csv
from barospec.archive.exports.json import write_json
from barospec.archive.store.repository import cached_reader
from barospec.catalogs.bundles.groups import BundleTable, Progress, WrittenGroup, write_groups
from barospec.catalogs.bundles.metadata import write_catalog, write_citation, write_crate, write_datacite
from barospec.catalogs.bundles.readme import readme
from barospec.catalogs.bundles.records import records_of, write_records
from barospec.catalogs.bundles.software import software_versions, write_software
from barospec.catalogs.derived.requested import DerivedSet, by_ids, compute, definitions, split_chains
from barospec.catalogs.index import database
from barospec.catalogs.index.open import opened
from barospec.catalogs.papers import check_numbers
from barospec.catalogs.plots import spectra as pictures
from barospec.schemas.errors import CallError, Conflict
from barospec.schemas.version import __version__
from barospec.schemas.vocabulary import BY_NAME

if TYPE_CHECKING:
    from barospec.archive.store.storage.location import Location
    from barospec.catalogs.papers.paper import Paper
    from barospec.catalogs.selection.selection import Selection


@dataclass(frozen=True)
class Options:
    """Content of a bundle beside the spectra.

    Parameters
    ----------
    derived : sequence of str
        Chains whose values are included.
    raw : bool
        Include recorded channels and the files' own headers.
    mixed : bool
        Allow references of another origin than the spectra.
    paper : Paper, optional
        Figures and numbers of a publication to fill and check.
    tag : str
        Name of the snapshot.
    """

    derived: Sequence[str] = ()
    raw: bool = False
    mixed: bool = False
    paper: Paper | None = None
    tag: str = ""


@dataclass
class Bundle:
    """A written bundle.

    Attributes
    ----------
    path : Path
        Folder or zip archive.
    identifier : str
        Changes with every byte of the bundle.
    count, inputs : int
        Spectra of the selection, and spectra that derived values depend on.
    left_out : dict of str to int
        Items excluded by the privacy policy, by kind.
    verdicts : list of dict
        The numbers of the paper, each with its verdict.
    notes : list of str
        Remarks for readers of the derived values.
    """

    path: Path
    identifier: str
    snapshot: str
    query: str
    count: int
    inputs: int
    left_out: dict[str, int] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def share(
    location: Location,
    selection: Selection,
    target: Path,
    written: datetime,
    settings: Mapping[str, Any],
    options: Options,
    *,
    zipped: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda name, done, total: None,
) -> Bundle:
    """Write a bundle. It appears under its name only when complete and sealed.

    Parameters
    ----------
    location : Location
        The archive.
    selection : Selection
    target : Path
        A folder that is absent, or a file ending in ``.zip``.
    written : datetime
        When the snapshot was written: the only time in the bundle.
    settings : mapping
        The archive's own: title, creators, licence, privacy.
    options : Options
    zipped : bool
        Write a zip archive instead of a folder.
    overwrite : bool
        Replace an existing bundle.
    tell : callable
        Progress callback: ``tell(name, done, total)``.

    Raises
    ------
    CallError
        If the selection is empty.
    Conflict
        If `target` exists.
    """
    if not len(selection):
        raise CallError(f'the query finds no spectra ("{selection.query}"); there is nothing to share.')
    zipped = zipped or target.suffix == ".zip"
    final = target.with_name(f"{target.name}.zip") if zipped and target.suffix != ".zip" else target
    _check_target(final, overwrite)
    final.parent.mkdir(parents=True, exist_ok=True)
    staging = final.with_name(f".{final.name}.unfinished")
    shutil.rmtree(staging, ignore_errors=True)  # left by a killed process
    part = staging / "bundle"
    try:
        part.mkdir(parents=True)
        made = _write(part, location, selection, written, settings, options, progress)
        if zipped:
            # Not the file's name, which may be changed: the same content gives the same bytes.
            pack(part, final, f"bundle-{made.identifier}")
        else:
            if final.exists():
                shutil.rmtree(final)
            part.replace(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    made.path = final
    return made


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    sealed = target.suffix == ".zip" or (target / "data" / "bundle.json").exists()
    if not overwrite:
        raise Conflict(f"{target} exists; nothing was written. Choose another path, or use --overwrite.")
    if not sealed:
        raise Conflict(f"{target} is not a bundle; it was not overwritten. Choose another path.")


def _write(
    part: Path,
    location: Location,
    selection: Selection,
    written: datetime,
    settings: Mapping[str, Any],
    options: Options,
    progress: Progress,
) -> Bundle:
    policy = Policy(settings)
    sets = compute(selection, split_chains(options.derived), mixed=options.mixed)
    filled = options.paper.fill(location, selection) if options.paper else None
    wanted = {name for item in sets for name in item.reference_ids} | (filled.spectrum_ids if filled else set())
    own = {str(name) for name in selection.columns(["spectrum_id"])["spectrum_id"]}
    inputs = by_ids(selection, sorted(wanted - own)) if wanted - own else None
    for one in (selection, inputs) if inputs is not None else (selection,):
        _learn(policy, one)
    channels = _channels_for(options.raw, selection, sets, sorted(filled.available) if filled else ())
    for item in sets:
        if twice := sorted({*item.outputs} & {*channels(item.key)}):
            raise Conflict(
                f'"{item.chain}" gives {twice[0]}, which is also a recorded channel in this bundle. Names of arrays '
                "in a bundle are unique. Omit the chain, or write separate bundles."
            )
    data = part / "data"
    data.mkdir()
    headers: dict[str, str] | None = {} if options.raw else None
    groups, table = write_groups(data, "spectra", selection, sets, channels, policy, headers, progress)
    extra: list[WrittenGroup] = []
    if inputs is not None:
        extra, beside = write_groups(data, "inputs", inputs, [], channels, policy, headers, progress)
        beside.write_csv(data / "inputs.csv")
        table.about = beside.about | table.about
    if headers:
        write_json(data / "headers.json", headers)
    _write_tables(data, table)
    columns = table.columns()
    with opened(location, selection.snapshot) as (_, connection):
        records = records_of(connection, cached_reader(selection.root, selection.snapshot), columns, policy)
    write_records(data / "records", records)
    _draw(data / "pictures", replace(selection, query=policy.text(selection.query)))
    described = [{**item.described(), "group": f"spectra/{item.key.replace('/', '-')}.zarr"} for item in sets]
    verdicts = filled.write(data / "paper", policy) if filled else []
    bundle: dict[str, Any] = {
        "barospec_bundle": FORMAT,
        "archive": location.uuid,
        "snapshot": selection.snapshot,
        "tag": options.tag,
        "written": written.isoformat(timespec="seconds"),
        "query": policy.text(selection.query),
        "software": software_versions(),
        "raw": options.raw,
        "private": policy.names,
        "groups": [vars(group) for group in (*groups, *extra)],
        "derived": policy.clean(described),
        "records": {name: len(rows) for name, rows in records.items() if rows},
        "left_out": {},
        "paper": policy.clean(filled.summary()) if filled else None,
    }
    bundle["left_out"] = dict(sorted(policy.left_out.items()))
    write_json(data / "bundle.json", bundle)
    _write_tags(part, bundle, settings, written, definitions(bundle["derived"]), policy)
    identifier = bagit.seal(part, _bag_info(bundle, settings, written), progress)
    return Bundle(
        part,
        identifier,
        selection.snapshot,
        selection.query,
        len(selection),
        0 if inputs is None else len(inputs),
        bundle["left_out"],
        verdicts,
        list(dict.fromkeys(note for item in described for note in item["notes"])),
    )


def _learn(policy: Policy, selection: Selection) -> None:
    """Record private fields in the policy, with their values."""
    fields = sorted(policy.fields)
    for name, values in selection.columns(fields).items() if fields else ():
        known = [value for value in values.tolist() if value is not None and value == value]
        policy.drop(name, len(known))
        if BY_NAME[name].kind in ("word", "text"):
            policy.learn(name, known)


def _channels_for(
    raw: bool, selection: Selection, sets: Sequence[DerivedSet], also: Sequence[str]
) -> Callable[[str], Sequence[str]]:
    def channels(key: str) -> list[str]:
        present = selection.channels(key, True)
        used = {name for item in sets if item.key == key for name in item.dataset.attrs["available"]} | {*also}
        return present if raw else [name for name in present if name in used]

    return channels


def _write_tables(data: Path, table: BundleTable) -> None:
    table.write_csv(data / "spectra.csv")
    database.arrays_to_parquet(table.columns(), table.units(), data / "spectra.parquet")
    write_csv(data / "fields.csv", table.fields())


def _draw(folder: Path, selection: Selection) -> None:
    """Plot the conditions, and the spectra of each kind."""
    found = selection.columns(["pressure", "temperature"])
    if (np.isfinite(found["pressure"]) & np.isfinite(found["temperature"])).any():
        pictures.save(pictures.conditions(selection), folder / "conditions.png")
    for key in sorted(selection.counts()):
        mine = selection.groups == key
        one = replace(selection, groups=selection.groups[mine], rows=selection.rows[mine])
        pictures.save(pictures.spectra(one), folder / f"spectra-{key.replace('/', '-')}.png")


def _write_tags(
    part: Path,
    bundle: Mapping[str, Any],
    settings: Mapping[str, Any],
    written: datetime,
    defined: Sequence[Mapping[str, Any]],
    policy: Policy,
) -> None:
    """Write the documents beside the payload, for people and for machines."""
    about = _about(bundle, settings, written)
    text = readme(about, bundle, defined, settings, bundle["left_out"])
    (part / "README.md").write_text(text, encoding="utf-8", newline="\n")
    (part / "check_numbers.py").write_bytes(Path(check_numbers.__file__).read_bytes())
    write_software(part / "software")
    write_catalog(part / "catalog.yaml", bundle["groups"], about["title"])
    write_citation(part / "CITATION.cff", about, settings)
    write_datacite(part / "datacite.json", about, settings)
    write_crate(part, about, settings)


def _about(bundle: Mapping[str, Any], settings: Mapping[str, Any], written: datetime) -> dict[str, Any]:
    spectra = [group for group in bundle["groups"] if group["path"].startswith("spectra/")]
    count = sum(group["count"] for group in spectra)
    kinds = ", ".join(f"{group['count']} {group['key'].replace('/', ' ').replace('-', ' ')}" for group in spectra)
    origins = sorted({origin for group in spectra for origin in group["origins"]})
    title = str(settings.get("title") or "High-pressure x-ray spectra")
    description = str(settings.get("description") or "")
    return {
        "title": title if len(title) > 8 else f"{title}: high-pressure x-ray spectra",
        "description": f"{description + ' ' if description else ''}{count} {' and '.join(origins)} x-ray spectra ({kinds}) that the query "
        f"“{bundle['query']}” finds.",
        "query": bundle["query"],
        "date": written.strftime("%Y-%m-%d"),
        "identifier": f"barospec:{bundle['archive']}:{bundle['snapshot']}",
        "keywords": [*(settings.get("keywords") or ["x-ray spectroscopy", "high pressure"]), *origins],
        "groups": bundle["groups"],
    }


def _bag_info(bundle: Mapping[str, Any], settings: Mapping[str, Any], written: datetime) -> dict[str, str]:
    return {
        "Bag-Software-Agent": f"barospec {__version__}",
        "Bagging-Date": written.strftime("%Y-%m-%d"),
        "External-Identifier": f"barospec:{bundle['archive']}:{bundle['snapshot']}",
        "External-Description": f"spectra that the query {bundle['query']} finds",
        "Source-Organization": str(settings.get("publisher") or ""),
    }
