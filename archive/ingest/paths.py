"""Files named on the command line, and fields and layouts of files without a run sheet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from barospec.archive.sheets.records import is_sheet
from barospec.archive.spins.sheets.sheets import is_model_sheet
from barospec.archive.store.storage.marker import MARKER
from barospec.schemas.errors import CallError, InvalidData, did_you_mean
from barospec.schemas.records import Problem
from barospec.schemas.sheet import SIGNALS
from barospec.schemas.values import parse_value
from barospec.schemas.vocabulary import BY_NAME, SETTABLE, find_term

if TYPE_CHECKING:
    from barospec.archive.ingest.prepared import Prepared

LAYOUTS = ("columns", "channels")  # mappings, written as in a run sheet: {energy: energy_enc, i0: I0}
SETTINGS = ("format", "signal", *LAYOUTS)


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Parse ``FIELD=VALUE`` of the command line; make field names canonical.

    Raises CallError for an unknown field, a missing "=", or a field that the archive itself writes.
    """
    found: dict[str, str] = {}
    known = [*SETTINGS, *(term.name for term in SETTABLE)]
    for pair in pairs:
        name, equals, value = pair.partition("=")
        term = find_term(name)
        key = name.strip() if name.strip() in SETTINGS else (term.name if term else "")
        if not equals:
            raise CallError(f'--set "{pair}" has no "=". Write --set FIELD=VALUE, such as --set pressure="15.6 GPa".')
        if key not in known:
            raise CallError(
                f"--set {name}: there is no such field to set.{did_you_mean(name, known)} `barospec fields` lists them."
            )
        found[key] = value
    return found


def set_layouts(settings: Mapping[str, str]) -> dict[str, Any]:
    """Parse ``--set channels="{energy: energy_enc, i0: I0}"`` like a run sheet's, every scalar as text."""
    found: dict[str, Any] = {}
    for name in LAYOUTS:
        if name in settings:
            try:
                value = yaml.load(settings[name], Loader=yaml.BaseLoader)
            except (yaml.YAMLError, RecursionError):
                value = None
            if not isinstance(value, dict) or not value:
                raise CallError(
                    f"--set {name}={settings[name]} is not a mapping. Write --set {name}='{{energy: energy_enc, i0: I0, itrans: I1}}'."
                )
            found[name] = value
    return found


def parse_conditions(settings: Mapping[str, str]) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    for name in sorted(settings, key=lambda name: (name != "element", name.endswith("_sigma"))):
        if name == "signal" and settings[name] not in SIGNALS:
            raise CallError(f"--set signal={settings[name]}: choose from {', '.join(SIGNALS)}.")
        if name not in SETTINGS:
            try:
                if name == "edge":  # the element that the file states may complete it
                    conditions["edge"] = settings[name]
                else:
                    conditions.update(parse_value(BY_NAME[name], settings[name]))
            except InvalidData as error:
                raise CallError(f"--set {error}") from None
    return conditions


def files_below(folder: Path) -> Iterator[Path]:
    """Yield files of a folder and its subfolders, without hidden files and archives."""
    for place, folders, names in os.walk(folder):
        if MARKER in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def expand(paths: Iterable[Path], prepared: Prepared) -> Iterator[tuple[Path, Path]]:
    """Yield the files of `paths`, each with the folder that is ingested: the named one, or that of the file.

    A folder means its run sheets and model sheets, or without any all its files.
    """
    for path in paths:
        if path.is_dir():
            inside = sorted(files_below(path))
            sheets = [p for p in inside if is_sheet(p) or is_model_sheet(p)]
            if not inside:
                prepared.error("the folder is empty.", path)
            if sheets and not any(is_sheet(p) and not is_model_sheet(p) for p in sheets) and len(inside) > len(sheets):
                others = len(inside) - len(sheets)
                message = f"the folder has model sheets and no run sheet; its {others} other files were ignored."
                prepared.problems.append(Problem("note", message, str(path)))
            yield from ((file, path) for file in sheets or inside)
        elif path.exists():
            yield path, path.parent
        else:
            near = did_you_mean(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
            prepared.error(f"there is no such file.{near}", path)
