"""Machine-readable metadata of a bundle: RO-Crate 1.1, DataCite 4, CITATION.cff 1.2 and a stock intake catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from barospec.archive.exports.json import write_json
from barospec.schemas.version import __version__

CRATE = "https://w3id.org/ro/crate/1.1"
READER = "intake.readers.readers:XArrayDatasetReader"
_MEDIA = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".yaml": "application/yaml",
    ".cff": "application/yaml",
    ".txt": "text/plain",
}


def creators_of(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the creators that the archive's settings name, each with ``name`` and perhaps ``orcid`` and ``affiliation``."""
    found = []
    for given in settings.get("creators") or ():
        one = {"name": given} if isinstance(given, str) else {str(k): str(v) for k, v in given.items() if v}
        if one.get("name"):
            if one.get("orcid"):
                one["orcid"] = "https://orcid.org/" + one["orcid"].rstrip("/").rpartition("/")[2]
            found.append(one)
    return found


def license_of(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and address of the licence: an SPDX identifier or a URL; the address is empty if none is stated.

    >>> license_of({"license": "CC-BY-4.0"})
    ('CC-BY-4.0', 'https://spdx.org/licenses/CC-BY-4.0')
    """
    stated = str(settings.get("license") or "").strip()
    if not stated:
        return "No licence is stated; ask the creators before you use these data.", ""
    if stated.startswith(("http://", "https://")):
        return stated, stated
    return stated, f"https://spdx.org/licenses/{stated}" if re.fullmatch(r"[\w.+-]+", stated) else ""


def funding_of(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the grants: ``funder`` and perhaps ``award``."""
    stated = settings.get("funding") or ()
    given = [stated] if isinstance(stated, str | Mapping) else list(stated)
    return [{"funder": one} if isinstance(one, str) else {str(k): str(v) for k, v in one.items()} for one in given]


def write_crate(root: Path, about: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write ``ro-crate-metadata.json``: the bundle, its files, creators and software.

    Parameters
    ----------
    root : Path
        The bundle's folder, complete except for this file and the manifests.
    about : mapping
        ``title``, ``description``, ``date``, ``identifier``, ``groups``.
    settings : mapping
        Settings of the archive.
    """
    parts, entities = _parts(root, about)
    people, named = _people(settings)
    label, address = license_of(settings)
    license_id = address or "#license"
    root_entity: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": about["title"],
        "description": about["description"],
        "datePublished": about["date"],
        "identifier": about["identifier"],
        "license": {"@id": license_id},
        "hasPart": [{"@id": part} for part in parts],
        "keywords": ", ".join(about["keywords"]),
        "mentions": {"@id": "#share"},
    }
    if named:
        authors = [{"@id": one} for one in named]
        root_entity["author"] = authors if len(authors) > 1 else authors[0]
        root_entity["creator"] = root_entity["author"]
    publisher = str(settings.get("publisher") or "")
    if publisher:
        root_entity["publisher"] = {"@id": "#publisher"}
        people.append({"@id": "#publisher", "@type": "Organization", "name": publisher})
    grants = funding_of(settings)
    if grants:
        root_entity["funder"] = [{"@id": f"#funder-{number}"} for number, _ in enumerate(grants, 1)]
        people += [
            {
                "@id": f"#funder-{number}",
                "@type": "Organization",
                "name": grant.get("funder", ""),
                **({"description": f"award {grant['award']}"} if grant.get("award") else {}),
            }
            for number, grant in enumerate(grants, 1)
        ]
    software = {
        "@id": "#barospec",
        "@type": "SoftwareApplication",
        "name": "barospec",
        "version": __version__,
        "softwareVersion": __version__,
    }
    action = {
        "@id": "#share",
        "@type": "CreateAction",
        "name": f"the query: {about['query']}",
        "instrument": {"@id": "#barospec"},
        "result": {"@id": "./"},
        "endTime": about["date"],
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": CRATE},
        "about": {"@id": "./"},
    }
    terms = {"@id": license_id, "@type": "CreativeWork", "name": label, "description": f"Licence of the data: {label}"}
    graph = [descriptor, root_entity, *entities, *people, terms, software, action]
    write_json(root / "ro-crate-metadata.json", {"@context": f"{CRATE}/context", "@graph": graph})


def _parts(root: Path, about: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """List the files worth naming; a zarr group is one data set, whatever its number of chunks."""
    names, entities = [], []
    for group in about["groups"]:
        name = f"data/{group['path']}/"
        names.append(name)
        what = "the selection" if group["path"].startswith("spectra/") else "inputs of derived values"
        origins = ", ".join(f"{count} {origin}" for origin, count in group["origins"].items())
        entities.append({
            "@id": name,
            "@type": "Dataset",
            "name": f"{group['key']} spectra ({what})",
            "description": f"{group['count']} spectra ({origins}) as a Zarr v3 group with consolidated metadata.",
            "encodingFormat": "application/vnd.zarr",
        })  # fmt: skip
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or ".zarr/" in name or name.startswith("software/"):
            continue
        names.append(name)
        described = {
            "@id": name,
            "@type": "File",
            "name": name.rpartition("/")[2],
            "contentSize": str(path.stat().st_size),
        }
        if path.suffix in _MEDIA:
            described["encodingFormat"] = _MEDIA[path.suffix]
        entities.append(described)
    names.append("software/")
    entities.append({
        "@id": "software/",
        "@type": "Dataset",
        "name": "source of the operators",
        "description": "The operators that computed the derived values, unchanged, under the BSD 3-Clause licence beside them.",
    })  # fmt: skip
    return names, entities


def _people(settings: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    entities: list[dict[str, Any]] = []
    named: list[str] = []
    for number, one in enumerate(creators_of(settings), 1):
        identifier = one.get("orcid") or f"#creator-{number}"
        named.append(identifier)
        entity: dict[str, Any] = {"@id": identifier, "@type": "Person", "name": one["name"]}
        if one.get("affiliation"):
            place = one.get("ror") or f"#affiliation-{number}"
            entity["affiliation"] = {"@id": place}
            if all(known["@id"] != place for known in entities):
                entities.append({"@id": place, "@type": "Organization", "name": one["affiliation"]})
        entities.append(entity)
    return entities, named


def write_datacite(path: Path, about: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write metadata for a DOI, in the JSON of DataCite's schema 4; the repository assigns the DOI."""
    label, address = license_of(settings)
    creators = []
    for one in creators_of(settings):
        entry: dict[str, Any] = {"name": one["name"], "nameType": "Personal"}
        if one.get("affiliation"):
            scheme = {"affiliationIdentifierScheme": "ROR", "schemeUri": "https://ror.org"}
            ror = {"affiliationIdentifier": one["ror"], **scheme} if one.get("ror") else {}
            entry["affiliation"] = [{"name": one["affiliation"], **ror}]
        if one.get("orcid"):
            scheme = {"nameIdentifierScheme": "ORCID", "schemeUri": "https://orcid.org"}
            entry["nameIdentifiers"] = [{"nameIdentifier": one["orcid"], **scheme}]
        creators.append(entry)
    content: dict[str, Any] = {
        "titles": [{"title": about["title"]}],
        "creators": creators or [{"name": "(:unkn)", "nameType": "Organizational"}],
        "publisher": {"name": str(settings.get("publisher") or "(:unkn)")},
        "publicationYear": int(about["date"][:4]),
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "X-ray spectra"},
        "subjects": [{"subject": word} for word in about["keywords"]],
        "descriptions": [{"description": about["description"], "descriptionType": "Abstract"}],
        "dates": [{"date": about["date"], "dateType": "Created"}],
        "alternateIdentifiers": [
            {"alternateIdentifier": about["identifier"], "alternateIdentifierType": "barospec archive and snapshot"}
        ],
        "formats": ["Zarr v3", "CSV", "Parquet"],
        "schemaVersion": "http://datacite.org/schema/kernel-4",
    }
    if address:
        content["rightsList"] = [{"rights": label, "rightsUri": address}]
    grants = [
        {
            "funderName": g.get("funder", ""),
            **({"awardNumber": g["award"]} if g.get("award") else {}),
            **({"awardTitle": g["title"]} if g.get("title") else {}),
            **({"funderIdentifier": g["ror"], "funderIdentifierType": "ROR"} if g.get("ror") else {}),
        }
        for g in funding_of(settings)
    ]
    if grants:
        content["fundingReferences"] = grants
    write_json(path, content)


def write_citation(path: Path, about: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write ``CITATION.cff`` 1.2."""
    authors: list[dict[str, str]] = []
    for one in creators_of(settings):
        family, comma, given = one["name"].partition(",")
        if not comma:
            given, _, family = one["name"].rpartition(" ")
        author = {"family-names": family.strip(), "given-names": given.strip()}
        author |= {key: one[key] for key in ("orcid", "affiliation") if one.get(key)}
        authors.append({key: value for key, value in author.items() if value})
    content: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use these data, please cite them as below.",
        "type": "dataset",
        "title": about["title"],
        "abstract": about["description"],
        # The format requires an author.
        "authors": authors or [{"name": "unknown (not stated in the archive's settings)"}],
        "date-released": about["date"],
        "keywords": about["keywords"],
        "identifiers": [{"type": "other", "value": about["identifier"], "description": "archive and snapshot"}],
    }
    label, address = license_of(settings)
    if address:
        content["license" if address.startswith("https://spdx.org/") else "license-url"] = label
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8", newline="\n")


def write_catalog(path: Path, groups: Sequence[Mapping[str, Any]], title: str) -> None:
    """Write a catalog that stock intake 2 lists and reads, with paths relative to itself and without requiring dask."""
    entries, data = {}, {}
    for group in groups:
        name = entry_name(group["path"])
        data[f"{name}_zarr"] = {
            "datatype": "intake.readers.datatypes:Zarr",
            "kwargs": {"url": "{CATALOG_DIR}/data/" + group["path"]},
            "metadata": {},
            "user_parameters": {},
        }
        entries[name] = {
            "reader": READER,
            # chunks: null reads lazily through xarray alone; pass chunks={} for dask.
            "kwargs": {"data": "{data(" + f"{name}_zarr" + ")}", "chunks": None},
            "output_instance": "xarray:Dataset",
            "metadata": {"description": f"{group['count']} spectra of {group['key']}"},
            "user_parameters": {},
        }
    content = {
        "version": 2,
        "metadata": {"title": title},
        # Without aliases intake lists no entry of a catalog read from a file.
        "aliases": {name: name for name in entries},
        "entries": entries,
        "data": data,
        "user_parameters": {},
    }
    header = "# Stock intake 2: intake.open_catalog('catalog.yaml')['NAME'].read() is an xarray Dataset.\n"
    path.write_text(
        header + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8", newline="\n"
    )


def entry_name(path: str) -> str:
    """Return the name of a group in the catalog.

    >>> entry_name("spectra/xas-Ni-K.zarr"), entry_name("inputs/xes-Ni-Kb.zarr")
    ('xas_ni_k', 'inputs_xes_ni_kb')
    """
    folder, _, name = path.removesuffix(".zarr").rpartition("/")
    plain = re.sub(r"[^0-9a-z]+", "_", name.casefold())
    return plain if folder == "spectra" else f"{folder}_{plain}"
