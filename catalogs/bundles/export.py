"""Export of a selection as files for other tools, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.bundles.redact import Policy
from barospec.archive.exports import athena, nxxas, xdi
from barospec.archive.exports.common import Exported, Spectrum, json_header, time_text
from barospec.archive.exports.csv import write_csv
from barospec.archive.store.read import array, read_columns, spectra_group
from barospec.archive.store.repository import cached_reader
from barospec.catalogs.bundles.groups import UNTOLD, BundleTable, Progress, about_of
from barospec.schemas.errors import CallError, Conflict, did_you_mean
from barospec.schemas.vocabulary import BY_NAME, DATA_NAME, SPECTRUM_TERMS

if TYPE_CHECKING:
    from barospec.catalogs.selection.selection import Selection

FORMATS = ("xdi", "athena", "nxxas", "csv")
BLOCK = 1024


def export(
    selection: Selection, folder: Path, format: str, settings: Mapping[str, Any], *, overwrite: bool, progress: Progress
) -> Exported:
    """Write a selection in one of `FORMATS`; see `barospec._bundles.BundleMethods.export`."""
    if format not in FORMATS:
        raise CallError(
            f'there is no export "{format}".{did_you_mean(format, FORMATS)} Choose one of: {", ".join(FORMATS)}.'
        )
    if not len(selection):
        raise CallError(f'the query finds no spectra ("{selection.query}"); there is nothing to export.')
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder} is a file. Choose a folder.")
    policy = Policy(settings)
    made = Exported(policy.text(selection.query), selection.snapshot)
    if policy.fields:
        for name, values in selection.columns(sorted(policy.fields)).items():
            known = [value for value in values.tolist() if value is not None and value == value]
            policy.drop(name, len(known))
            policy.learn(name, known)
    spectra = _spectra(selection, policy, progress)
    folder.mkdir(parents=True, exist_ok=True)
    work = {"xdi": _each_xdi, "csv": _each_csv, "athena": _one_file, "nxxas": _one_file}[format]
    work(spectra, folder, format, overwrite, made)
    made.left_out = dict(sorted(policy.left_out.items()))
    return made


def _spectra(selection: Selection, policy: Policy, progress: Progress) -> Iterator[Spectrum]:
    """Yield the spectra in the selection's order, a block of rows at a time."""
    names = [t.name for t in SPECTRUM_TERMS if t.name not in policy.fields and t.name not in UNTOLD]
    for start in range(0, len(selection), BLOCK):
        stop = start + BLOCK
        part = replace(selection, groups=selection.groups[start:stop], rows=selection.rows[start:stop])
        made: dict[int, Spectrum] = {}
        for key in part.counts():
            mine = np.nonzero(part.groups == key)[0]
            one = replace(part, groups=part.groups[mine], rows=part.rows[mine])
            made.update(zip(mine.tolist(), _block(one, key, names, policy), strict=True))
        for row in range(len(part)):
            progress("", start + row, len(selection))
            yield made[row]


def _block(selection: Selection, key: str, names: Sequence[str], policy: Policy) -> Iterator[Spectrum]:
    data = DATA_NAME[key.split("/")[0]]
    channels = selection.channels(key, True)
    arrays = selection._dataset(key, channels, (), None)[["energy", data, *channels]].compute()
    values = {str(name): variable.values for name, variable in arrays.data_vars.items()}
    columns = selection.columns(names)
    headers = _headers(selection, key)
    for row in range(len(selection)):
        known = {name: _known(name, columns[name][row], policy) for name in names}
        count = int(columns["point_count"][row])
        signals = {name: values[name][row, :count] for name in channels}
        yield Spectrum(
            values["energy"][row, :count],
            values[data][row, :count],
            {name: curve for name, curve in signals.items() if np.isfinite(curve).any()},
            {name: value for name, value in known.items() if value is not None},
            json_header(policy.header(headers[row])),
        )


def _known(name: str, value: Any, policy: Policy) -> Any:
    kind = BY_NAME[name].kind
    if value is None or (kind == "time" and np.isnat(value)) or value != value:
        return None
    if kind == "time":
        return datetime.fromisoformat(str(np.datetime64(value, "us")))
    if kind in ("number", "integer"):
        return int(value) if kind == "integer" else float(value)
    return policy.file_name(value) if name in ("source_file", "run_sheet") else policy.text(value)


def _headers(selection: Selection, key: str) -> list[str]:
    root = cached_reader(selection.root, selection.snapshot)
    low, high = int(selection.rows.min()), int(selection.rows.max()) + 1
    stored = read_columns(spectra_group(root, key), low, high).get("header")
    if stored is None or "tables/headers" not in root:
        return [""] * len(selection)
    texts = array(root, "tables/headers/text")
    numbers = stored[selection.rows - low]
    known = {int(n): str(texts[int(n)]) for n in np.unique(numbers) if 0 <= n < texts.shape[0]}
    return [known.get(int(n), "") for n in numbers]


def _taken(spectra: Iterator[Spectrum], refusal: Callable[[Spectrum], str], made: Exported) -> Iterator[Spectrum]:
    for spectrum in spectra:
        reason = refusal(spectrum)
        if reason:
            made.skipped[reason] += 1
        else:
            made.count += 1
            yield spectrum


def _target(folder: Path, name: str, overwrite: bool) -> Path:
    path = folder / name
    if path.exists() and not overwrite:
        raise Conflict(f"{path} exists; it was not replaced. Choose another folder, or use --overwrite.")
    return path


def _each_xdi(spectra: Iterator[Spectrum], folder: Path, format: str, overwrite: bool, made: Exported) -> None:
    for spectrum in _taken(spectra, xdi.refusal, made):
        path = _target(folder, spectrum.file_name + xdi.SUFFIX, overwrite)
        xdi.write(spectrum, path)
        made.files.append(path)


def _one_file(spectra: Iterator[Spectrum], folder: Path, format: str, overwrite: bool, made: Exported) -> None:
    module = {"athena": athena, "nxxas": nxxas}[format]
    path = _target(folder, f"spectra{module.SUFFIX}", overwrite)
    part = path.with_name(f".{path.name}.part")
    try:
        module.write(_taken(spectra, module.refusal, made), part)
        if made.count:
            part.replace(path)
            made.files.append(path)
    finally:
        part.unlink(missing_ok=True)


def _each_csv(spectra: Iterator[Spectrum], folder: Path, format: str, overwrite: bool, made: Exported) -> None:
    table = BundleTable()
    rows: list[dict[str, Any]] = []
    listing = _target(folder, "spectra.csv", overwrite)
    for spectrum in _taken(spectra, lambda _: "", made):
        path = _target(folder, f"{spectrum.file_name}.csv", overwrite)
        curve = "mu" if spectrum.columns["technique"] == "xas" else "intensity"
        columns: dict[str, Any] = {"energy (eV)": spectrum.energy, curve: spectrum.curve, **spectrum.channels}
        # In every line, so that a column copied from the file keeps it.
        columns["origin"] = np.full(len(spectrum.energy), spectrum.columns["origin"], dtype=object)
        write_csv(path, columns)
        made.files.append(path)
        known = spectrum.columns.items()
        rows.append({"file": path.name} | {n: time_text(v) if isinstance(v, datetime) else v for n, v in known})
    names = list(dict.fromkeys(key for row in rows for key in row))
    order = {term.name: position for position, term in enumerate(SPECTRUM_TERMS)}
    names.sort(key=lambda name: order.get(name, -1))
    columns = {name: np.array([row.get(name) for row in rows], dtype=object) for name in names}
    write_csv(listing, columns)
    table.parts.append({"spectrum_id": columns["spectrum_id"], **columns})
    table.about = {name: about_of(name) for name in columns}
    write_csv(_target(folder, "fields.csv", overwrite), table.fields())
    made.files += [listing, folder / "fields.csv"]
