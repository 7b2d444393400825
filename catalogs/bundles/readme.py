"""README of a bundle, for readers without this software."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from barospec.catalogs.bundles.groups import SAID
from barospec.catalogs.bundles.metadata import creators_of, entry_name, funding_of, license_of
from barospec.schemas.values import counted


def readme(
    about: Mapping[str, Any],
    bundle: Mapping[str, Any],
    definitions: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    left_out: Mapping[str, int],
) -> str:
    """Return the text, in Markdown.

    Parameters
    ----------
    about : mapping
        Title, description, date, identifier.
    bundle : mapping
        Content of ``bundle.json``.
    definitions : sequence of mapping
        See `catalogs.derived.requested.definitions`.
    settings : mapping
        Settings of the archive.
    left_out : mapping of str to int
        Items excluded by the privacy policy, by kind.
    """
    spectra = [group for group in bundle["groups"] if group["path"].startswith("spectra/")]
    inputs = [group for group in bundle["groups"] if not group["path"].startswith("spectra/")]
    origins = sorted({origin for group in bundle["groups"] for origin in group["origins"]})
    first = f"data/{spectra[0]['path']}"
    curve = "mu" if spectra[0]["key"].startswith("xas") else "intensity"
    lines = [
        f"# {about['title']}",
        "",
        about["description"],
        "",
        *[f"**{SAID[origin]}**" for origin in origins if origin != "measured"],
        "",
        "| | |",
        "|---|---|",
        f"| query | `{bundle['query']}` |",
        f"| spectra | {sum(group['count'] for group in spectra)} |",
        f"| archive, snapshot | {bundle['archive']}, {bundle['snapshot']}"
        + (f" (tag {bundle['tag']})" if bundle["tag"] else "")
        + " |",
        f"| snapshot date | {about['date']} |",
        f"| made with | barospec {bundle['software']['barospec']} |",
        "",
        "| group | spectra | origin | |",
        "|---|---|---|---|",
        *[_group_line(group) for group in (*spectra, *inputs)],
        "",
        "## Open it",
        "",
        "```python",
        "import xarray as xr",
        f'spectra = xr.open_zarr("{first}", chunks=None)  # lazy; omit chunks if dask is installed',
        f"spectra.{curve}[0], spectra.energy[0], spectra.pressure  # one curve with its energies; all pressures",
        "```",
        "",
        f'With intake: `intake.open_catalog("catalog.yaml")["{entry_name(spectra[0]["path"])}"].read()`. With zarr alone: '
        f'`zarr.open_group("{first}", mode="r")["{curve}"][:]`.',
        "Energies are in eV, as recorded, one axis for each spectrum, padded with NaN; to calibrate them, add `energy_shift` where "
        "it exists. An empty text and NaN mean unknown.",
        "`data/spectra.csv` and `data/spectra.parquet` are the table of spectra and derived values; `data/fields.csv` has "
        "the meanings and units of the columns.",
        "",
        "## Check it",
        "",
        "    sha256sum -c --strict manifest-sha256.txt tagmanifest-sha256.txt   # check every byte against the manifests (BagIt)",
        "    python check_numbers.py                                             # recompute every derived value from the arrays",
        "",
        "The first finds changed and missing files; the second needs numpy and zarr. `barospec verify` does both, finds "
        "added and renamed files too, and checks units and parameters.",
        "",
        *_derived(definitions),
        *_paper(bundle),
        *_records(bundle),
        "## Excluded",
        "",
        *(
            [f"- {name}: {count}" for name, count in sorted(left_out.items())]
            if left_out
            else ["Nothing was excluded for privacy."]
        ),
        "" if bundle["raw"] else "\nRecorded channels and the files' own headers are not part of this bundle.",
        "",
        "## Cite it",
        "",
        *_cite(about, settings),
    ]
    text = "\n".join(lines).rstrip() + "\n"
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


def _group_line(group: Mapping[str, Any]) -> str:
    origins = ", ".join(f"{count} {origin}" for origin, count in group["origins"].items())
    note = "" if group["path"].startswith("spectra/") else "not part of the selection; inputs of derived values"
    return f"| `data/{group['path']}` | {group['count']} | {origins} | {note} |"


def _derived(definitions: Sequence[Mapping[str, Any]]) -> list[str]:
    if not definitions:
        return []
    lines = ["## Definitions of the derived values", ""]
    for one in definitions:
        stated = ", ".join(f"{name} = {_value(value)}" for name, value in one["parameters"].items())
        lines.append(f"- **{one['operator']}** (version {one['version']}): {one['summary']}")
        lines.append(f"  Parameters: {stated or 'none'}.")
        lines += [f"  Reference {label}: {text}." for label, text in one["references"].items()]
        codes = "; ".join(f"{code} {reason}" for code, reason in enumerate(one["reasons"]))
        lines.append(f"  Source: {one['source']}. Codes in `{one['operator']}_quality`: {codes}.")
    return [*lines, ""]


def _value(value: Any) -> str:
    return "automatic" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def _paper(bundle: Mapping[str, Any]) -> list[str]:
    if not bundle.get("paper"):
        return []
    paper = bundle["paper"]
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(paper["verdicts"].items()))
    return [
        "## The publication",
        "",
        f"`data/paper/paper.yaml` maps the figures and numbers of {paper['title']} to queries and operators; "
        f"`data/paper/numbers.csv` has the verdict on each number ({verdicts or 'no numbers'}); the curves of each figure are a CSV beside it.",
        "",
    ]


def _records(bundle: Mapping[str, Any]) -> list[str]:
    if not bundle["records"]:
        return []
    records = ", ".join(
        counted(count, {"literature": "literature values"}.get(name, name)) for name, count in bundle["records"].items()
    )
    return [f"`data/records/` has the records of these spectra: {records}.", ""]


def _cite(about: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    names = "; ".join(one["name"] for one in creators_of(settings)) or "(creators not stated)"
    label, address = license_of(settings)
    lines = [f"{names} ({about['date'][:4]}): {about['title']}. {about['identifier']}", ""]
    lines.append(f"Licence of the data: {label}" + (f" ({address})" if address and address != label else ""))
    lines.append("The source in `software/` has the BSD 3-Clause licence, see `software/LICENSE`.")
    if settings.get("contact"):
        lines.append(f"Questions: {settings['contact']}")
    for grant in funding_of(settings):
        lines.append(f"Funded by {grant.get('funder', '')}{' ' + grant['award'] if grant.get('award') else ''}.")
    return lines
