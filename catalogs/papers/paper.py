"""Publications: figures, tables and numbers, each with its query and operator, computed and checked.

``paper.yaml`` has the printed values; the values from the spectra are added with a verdict. Nothing is tuned: a verdict of
disagreement has its amount.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from barospec.archive.bundles.redact import Policy
from barospec.archive.exports.csv import write_csv
from barospec.archive.exports.json import write_json
from barospec.archive.operators.chain.execute import parse_chain
from barospec.archive.operators.registry import find_operator
from barospec.catalogs.derived.requested import DerivedSet, compute
from barospec.catalogs.index.open import snapshot_of
from barospec.catalogs.papers.check_numbers import statistic
from barospec.catalogs.selection.select import select
from barospec.schemas.errors import BarospecError, CallError, Conflict, InvalidData, UnreadableFile, did_you_mean
from barospec.schemas.units import convert
from barospec.schemas.vocabulary import BY_NAME

if TYPE_CHECKING:
    from barospec.archive.store.storage.location import Location
    from barospec.catalogs.selection.selection import Selection

TOP = ("title", "doi", "citation", "snapshot", "note", "numbers", "figures", "tables")
NUMBER = (
    "id",
    "where",
    "quote",
    "query",
    "operator",
    "output",
    "statistic",
    "along",
    "compared_with",
    "value",
    "sigma",
    "unit",
)
CURVES = ("id", "where", "caption", "query", "operator", "output", "fields")
STATISTICS = ("mean", "difference", "slope")
WITHIN = 2.0  # combined standard uncertainties
MOST_CURVES = 500
FIELDS = ("run", "sample", "origin", "pressure", "pressure_sigma", "temperature")


@dataclass(frozen=True)
class Paper:
    """Content of a ``paper.yaml``; texts as written, since the digits of a number give its precision."""

    path: Path
    content: dict[str, Any]

    def fill(self, location: Location, selection: Selection) -> FilledPaper:
        """Compute all items at the snapshot of a selection.

        Raises
        ------
        Conflict
            If the paper states another snapshot.
        InvalidData
            If an item cannot be computed as written; the message names it.
        """
        stated = self.content.get("snapshot")
        if stated and snapshot_of(location, stated) != selection.snapshot:
            raise Conflict(f'{self.path}: it is for the snapshot "{stated}"; share with --at {stated}.')
        filled = FilledPaper(self)
        for number in self.content["numbers"]:
            filled.numbers.append(_named(self.path, number, lambda n=number: _number(location, selection, n, filled)))
        for kind in ("figures", "tables"):
            for item in self.content[kind]:
                made = _named(self.path, item, lambda i=item: _table(location, selection, i, filled))
                filled.tables[str(item["id"])] = made
        return filled


@dataclass
class FilledPaper:
    """A paper with the values from the spectra.

    Attributes
    ----------
    numbers : list of dict
        As in ``numbers.json``: printed value, computed value with its spectra, and verdict.
    tables : dict of str to dict of arrays
        Columns of each figure's and table's CSV.
    spectrum_ids, available : set of str
        Spectra and arrays that were used.
    """

    paper: Paper
    numbers: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    spectrum_ids: set[str] = field(default_factory=set)
    available: set[str] = field(default_factory=set)

    def summary(self) -> dict[str, Any]:
        """Return the summary for ``bundle.json``: the title and the number of each verdict."""
        verdicts = [number["verdict"].split(" ")[0] for number in self.numbers]
        counted = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
        return {"title": self.paper.content.get("title") or "the publication", "verdicts": counted}

    def write(self, folder: Path, policy: Policy) -> list[dict[str, Any]]:
        """Write the filled ``paper.yaml``, ``numbers.json`` and CSV files; return a row for each number."""
        folder.mkdir()
        for name, columns in self.tables.items():
            write_csv(folder / f"{name}.csv", {policy.text(title): values for title, values in columns.items()})
        write_json(folder / "numbers.json", policy.clean(self.numbers))
        rows = [
            {
                "id": number["id"],
                "where": number["where"],
                "stated": number["stated"]["value"],
                "stated_sigma": number["stated"]["sigma"],
                "computed": number["computed"]["value"],
                "computed_sigma": number["computed"]["sigma"],
                "unit": number["unit"],
                "spectra": len(number["spectrum_id"]),
                "verdict": number["verdict"],
            }
            for number in self.numbers
        ]
        if rows:
            columns = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
            write_csv(folder / "numbers.csv", columns)
        content = {key: value for key, value in self.paper.content.items() if value}
        content["numbers"] = [
            {**stated, "computed": number["computed"], "verdict": number["verdict"]}
            for stated, number in zip(self.paper.content["numbers"], self.numbers, strict=True)
        ]
        for kind in ("figures", "tables"):
            content[kind] = [{**item, "file": f"{item['id']}.csv"} for item in self.paper.content[kind]]
        text = yaml.safe_dump(policy.clean(content), sort_keys=False, allow_unicode=True, width=110)
        (folder / "paper.yaml").write_text(text, encoding="utf-8", newline="\n")
        return rows


def read_paper(path: Path) -> Paper:
    """Read and check a ``paper.yaml``.

    Raises
    ------
    UnreadableFile
        If there is no such file, or it is not YAML.
    InvalidData
        For an unknown, missing or duplicate key or id; with its position.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not YAML: {' '.join(str(error).split())[:200]}.") from None
    if not isinstance(content, dict):
        raise InvalidData(f"{path}: expected a mapping with numbers, figures or tables.")
    _check_keys(str(path), content, TOP)
    ids: set[str] = set()
    for kind, keys, needed in (
        ("numbers", NUMBER, ("id", "query", "operator", "value", "unit")),
        ("figures", CURVES, ("id", "query")),
        ("tables", CURVES, ("id", "query")),
    ):
        items = content.setdefault(kind, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise InvalidData(f"{path}: {kind} must be a list of mappings.")
        for position, item in enumerate(items, 1):
            place = f"{path}: {kind} {item.get('id', position)}"
            _check_keys(place, item, keys)
            lacking = [key for key in needed if not item.get(key)]
            if lacking:
                raise InvalidData(f"{place}: {', '.join(lacking)} is missing.")
            name = str(item["id"])
            if name in ids or not name.replace("-", "").replace("_", "").isalnum() or name in ("paper", "numbers"):
                raise InvalidData(f"{place}: an id must be unique, of letters, digits, - and _.")
            ids.add(name)
    return Paper(path, content)


def _check_keys(place: str, item: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in item:
        if key not in keys:
            raise InvalidData(
                f'{place}: "{key}" has no meaning here.{did_you_mean(str(key), list(keys))} Keys: {", ".join(keys)}.'
            )


def _named(path: Path, item: Mapping[str, Any], work: Any) -> Any:
    try:
        return work()
    except BarospecError as error:
        error.add_note(f"in {path}, item {item['id']}")
        raise


def _derive(
    location: Location, selection: Selection, query: str, chain: str, filled: FilledPaper
) -> tuple[Selection, DerivedSet]:
    """Return the spectra of a query, of the technique of the chain, and the outputs of the chain."""
    found = select(location, selection.snapshot, query)
    technique = find_operator(parse_chain(chain)[-1][0]).technique
    if technique:
        found = found.sel(technique=technique)
    if len(found.counts()) != 1:
        kinds = ", ".join(found.counts()) or "no spectra"
        raise InvalidData(f'"{query}" finds {kinds}; expected one kind of spectra. Narrow the query.')
    (made,) = compute(found, [chain])
    ids = {str(name) for name in found.columns(["spectrum_id"])["spectrum_id"]}
    filled.spectrum_ids |= ids | {*made.reference_ids}
    filled.available |= {str(name) for name in made.dataset.attrs["available"]}
    return found, made


def _number(location: Location, selection: Selection, item: Mapping[str, Any], filled: FilledPaper) -> dict[str, Any]:
    kind = item.get("statistic") or ("difference" if item.get("compared_with") else "mean")
    if kind not in STATISTICS:
        raise InvalidData(f'statistic "{kind}" is not one of {", ".join(STATISTICS)}.{did_you_mean(kind, STATISTICS)}')
    if (kind == "difference") != bool(item.get("compared_with")):
        raise InvalidData("a difference needs compared_with (a query); no other statistic accepts it.")
    found, made = _derive(location, selection, item["query"], item["operator"], filled)
    output = item.get("output") or next(iter(find_operator(parse_chain(item["operator"])[-1][0]).outputs))
    if output not in made.outputs or made.outputs[output].per_point or made.outputs[output].per_reference:
        raise InvalidData(f'"{output}" has no single number per spectrum; choose one of {", ".join(_scalars(made))}.')
    names = [name for name in (output, f"{output}_sigma") if name in made.outputs]
    values = _values(made, names)
    others, other_ids = np.zeros(0), list[str]()
    if kind == "difference":
        beside, base = _derive(location, selection, item["compared_with"], item["operator"], filled)
        others, other_ids = _values(base, names)[output], _ids(beside)
    along_name = item.get("along") or "pressure"
    if along_name not in BY_NAME or BY_NAME[along_name].kind not in ("number", "integer"):
        raise InvalidData(f'along "{along_name}" is not a number field.')
    along = found.columns([along_name])[along_name] if kind == "slope" else np.full(len(found), np.nan)
    sigmas = values.get(f"{output}_sigma", np.full(len(found), np.nan))
    number, sigma = statistic(kind, values[output], sigmas, along, others)
    unit = made.outputs[output].unit + (f"/{BY_NAME[along_name].unit}" if kind == "slope" else "")
    stated = _stated(item, unit)
    described = made.described() | {"outputs": {name: made.described()["outputs"][name] for name in names}}
    return {
        **{key: item.get(key, "") for key in ("id", "where", "quote", "query")},
        "statistic": kind,
        "output": output,
        "unit": unit,
        "derived": described,
        "spectrum_id": _ids(found),
        "along_field": along_name if kind == "slope" else "",
        "along": [_known(value) for value in along],
        "compared_with": other_ids,
        "stated": {"value": stated[0], "sigma": stated[1]},
        "computed": {"value": _known(number), "sigma": _known(sigma), "count": int(np.isfinite(values[output]).sum())},
        "verdict": verdict(number, sigma, *stated, unit),
    }


def verdict(number: float, sigma: float, stated: float, stated_sigma: float | None, half: float, unit: str) -> str:
    """Compare a computed number with the stated one, within twice their combined uncertainty and half its last digit.

    >>> verdict(0.79, 0.02, 0.8, None, 0.05, "eV")
    'agrees'
    >>> verdict(0.60, 0.02, 0.8, 0.05, 0.05, "eV")
    'differs by -0.2 eV (3.7 sigma)'
    """
    if not math.isfinite(number):
        return "not computed: no spectrum gives a value"
    combined = math.hypot(stated_sigma or 0.0, sigma if math.isfinite(sigma) else 0.0)
    difference = number - stated
    if abs(difference) <= WITHIN * combined + half:
        return "agrees"
    sigmas = f" ({abs(difference) / combined:.2g} sigma)" if combined else ""
    return f"differs by {difference:.3g} {unit}{sigmas}"


def _stated(item: Mapping[str, Any], unit: str) -> tuple[float, float | None, float]:
    """Return value, sigma and half of the last printed digit, in `unit`."""
    texts = [str(item["value"]), str(item.get("sigma") or "")]
    try:
        value, sigma = float(texts[0]), float(texts[1]) if texts[1] else None
    except ValueError:
        raise InvalidData(f'value "{texts[0]}" or sigma "{texts[1]}" is not a number.') from None
    mantissa, _, exponent = texts[0].lower().partition("e")
    half = 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    top, _, bottom = str(item["unit"]).partition("/")
    wanted, _, below = unit.partition("/")
    if bottom != below:
        raise InvalidData(f"unit {item['unit']} is stated; the number is in {unit}.")
    scale = convert(1.0, top, wanted) - convert(0.0, top, wanted)
    return value * scale, None if sigma is None else sigma * scale, half * abs(scale)


def _scalars(made: DerivedSet) -> list[str]:
    return [name for name, out in made.outputs.items() if not (out.per_point or out.per_reference)]


def _values(made: DerivedSet, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    computed = made.dataset[list(names)].compute()
    return {name: np.asarray(computed[name].values, dtype=np.float64) for name in names}


def _ids(selection: Selection) -> list[str]:
    return [str(name) for name in selection.columns(["spectrum_id"])["spectrum_id"]]


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _table(location: Location, selection: Selection, item: Mapping[str, Any], filled: FilledPaper) -> dict[str, Any]:
    """Return columns of a figure's or table's CSV: curves side by side, or a line for each spectrum."""
    chain = item.get("operator") or ""
    if not chain:
        found = select(location, selection.snapshot, item["query"])
        if len(found.counts()) != 1:
            raise InvalidData(
                f'"{item["query"]}" finds {", ".join(found.counts()) or "no spectra"}; expected one kind.'
            )
        dataset = found.to_xarray()
        filled.spectrum_ids |= {*_ids(found)}
        return _curves(found, dataset, "mu" if "mu" in dataset else "intensity")
    found, made = _derive(location, selection, item["query"], chain, filled)
    output = item.get("output")
    if output and output not in made.outputs:
        raise InvalidData(f'"{output}" is not an output of {chain}.{did_you_mean(output, list(made.outputs))}')
    if output and made.outputs[output].per_point:
        return _curves(found, made.dataset, output)
    names = _scalars(made)
    fields = [str(name) for name in item.get("fields") or FIELDS]
    columns = found.columns(["spectrum_id", *fields])
    units = {name: BY_NAME[name].unit for name in columns} | {name: made.outputs[name].unit for name in names}
    values = {**columns, **_values(made, names)}
    return {f"{name} ({units[name]})" if units[name] not in ("", "1") else name: v for name, v in values.items()}


def _curves(found: Selection, dataset: Any, output: str) -> dict[str, Any]:
    if len(found) > MOST_CURVES:
        raise CallError(f"a figure of {len(found)} curves; the maximum is {MOST_CURVES}. Narrow the query.")
    computed = dataset[["energy", output]].compute()
    energy, curves = computed["energy"].values, computed[output].values
    about = found.columns(["spectrum_id", "origin", "pressure", "temperature"])
    labels = []
    for row in range(len(found)):
        conditions = [f"{about[name][row]:g} {unit}" for name, unit in (("pressure", "GPa"), ("temperature", "K")) if about[name][row] == about[name][row]]  # fmt: skip
        origin = str(about["origin"][row])
        labels.append(
            " ".join([*conditions, about["spectrum_id"][row], *([origin.upper()] if origin != "measured" else [])])
        )
    shared = bool((np.nan_to_num(energy) == np.nan_to_num(energy[:1])).all())
    if shared:
        return {"energy (eV)": energy[0], **{f"{output} {label}": curves[row] for row, label in enumerate(labels)}}
    columns: dict[str, Any] = {}
    for row, label in enumerate(labels):
        columns |= {f"energy (eV) {label}": energy[row], f"{output} {label}": curves[row]}
    return columns
