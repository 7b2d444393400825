"""Model sheets in their four forms: YAML, JSON, and tables in CSV or xlsx; and writing them.

All become one tree of nodes with the line of every value, which `records` reads. A table has either a row for each
parameter (columns ``model_id``, ``name``, ``value``, ``unit``, ...) or a row for each model with the parameters as columns
that carry their unit (``J_H (eV)``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from barospec.archive.readers.spreadsheet import read_table, split_header
from barospec.schemas.errors import CallError, InvalidData, UnreadableFile, did_you_mean

if TYPE_CHECKING:
    from barospec.archive.spins.sheets.model_record import ModelRecord, Parameter

TABLES = (".csv", ".xlsx")
SUFFIXES = (".yaml", ".yml", ".json", *TABLES)
# In a table of parameters, `note` is the parameter's; the model's note has another name.
MODEL_NOTE = "model_note"
_HEAD = 65_536


def is_model_sheet(path: Path) -> bool:
    """Return True if a file lists models: YAML or JSON with ``models`` at the top, or a table with a column ``model_id``."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        return False
    try:
        if suffix == ".xlsx":
            return _is_table_of_models(path)
        with path.open("rb") as file:
            head = file.read(2_000_000 if suffix not in TABLES else _HEAD)
    except OSError:
        return False
    if suffix == ".json":
        return (
            head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and re.search(rb'"models"\s*:\s*\[', head) is not None
        )
    if suffix == ".csv":
        lines = (line.strip(b"\xef\xbb\xbf \t\r") for line in head.split(b"\n"))
        first = next((line for line in lines if line and not line.startswith(b"#")), b"")
        return b"model_id" in [cell.strip(b' \t"') for cell in re.split(rb"[,;\t]", first)]
    return any(line.rstrip() == b"models:" for line in head.splitlines())


def _is_table_of_models(path: Path) -> bool:
    try:
        return any(
            "model_id" in row for _, row in zip(range(1), (cells for _, cells in read_table(path)), strict=False)
        )
    except (UnreadableFile, InvalidData):
        return False


def compose(path: Path, raw: bytes, keys: Sequence[str], parameter_keys: Sequence[str]) -> Any:
    """Read the node tree of a model sheet.

    Parameters
    ----------
    path : Path
        Its suffix is the format.
    raw : bytes
        Its content.
    keys, parameter_keys : sequence of str
        Keys of a model, and of a parameter; a table's other columns are parameters.

    Returns
    -------
    yaml node
        A mapping with ``models``; None for an empty file.

    Raises
    ------
    UnreadableFile
        Not YAML, JSON or a table, with line and column.
    InvalidData
        A table whose columns or rows contradict each other; every problem on a separate line.
    """
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return _from_table(path, keys, parameter_keys)
    try:
        text = raw.decode("utf-8-sig")
        if suffix == ".json":
            text = _checked_json(text, path)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path}: byte {error.start} is not UTF-8. Save the sheet as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UnreadableFile(f"{path}{place}: not YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UnreadableFile(f"{path}: not YAML: {str(error).splitlines()[0]}.") from None
    return _without_nulls(node) if suffix == ".json" else node


def _checked_json(text: str, path: Path) -> str:
    """Return JSON for the YAML parser: valid, without tabs (never inside a text), code points for pairs of surrogates."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableFile(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}.") from None
    except RecursionError:
        raise UnreadableFile(f"{path}: not JSON: nested too deeply.") from None
    pair = r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    return re.sub(pair, lambda match: match[1] + json.loads(f'"{match[2]}"'), text.replace("\t", " "))


def _without_nulls(node: Any) -> Any:
    """Return the tree without null entries."""
    if isinstance(node, yaml.MappingNode):
        kept = [(key, value) for key, value in node.value if value.tag != "tag:yaml.org,2002:null"]
        node.value = [(key, _without_nulls(value)) for key, value in kept]
    elif isinstance(node, yaml.SequenceNode):
        node.value = [_without_nulls(value) for value in node.value]
    return node


class _Table:
    """One pass over the rows of a table, which become models; collects problems."""

    def __init__(self, path: Path, keys: Sequence[str], parameter_keys: Sequence[str]) -> None:
        self.path, self.keys, self.parameter_keys = path, keys, parameter_keys
        self.models: dict[str, dict[str, tuple[str, int]]] = {}
        self.parameters: dict[str, list[dict[str, tuple[str, int]]]] = {}
        self.lines: dict[str, int] = {}
        self.problems: dict[str, None] = {}

    def problem(self, message: str, line: int) -> None:
        self.problems[f"{self.path}:{line}: {message}"] = None

    def row(self, cells: Mapping[str, str], line: int, long: bool) -> None:
        name = cells.get("model_id", "").strip()
        if not name and long and self.models:
            name = list(self.models)[-1]  # the rows below a model's first row belong to it
        if not name:
            self.problem("the row has no model_id.", line)
            return
        if name in self.models and not long:
            self.problem(f'model_id "{name}" is already that of line {self.lines[name]}. Choose another.', line)
            return
        self.lines.setdefault(name, line)
        facts = self.models.setdefault(name, {"model_id": (name, line)})
        listed = self.parameters.setdefault(name, [])
        one: dict[str, tuple[str, int]] = {}
        for header, text in cells.items():
            key, unit = split_header(header)
            if not text.strip() or not key:
                continue
            if key == MODEL_NOTE or (key in self.keys and not (long and key in self.parameter_keys)):
                self.fact(facts, "note" if key == MODEL_NOTE else key, text.strip(), line)
            elif long and (key in self.parameter_keys or key == "parameter"):
                one["name" if key == "parameter" else key] = (text.strip(), line)
                if unit:
                    one.setdefault("unit", (unit, line))
            elif not long and unit:
                listed.append({"name": (key, line), "value": (text.strip(), line), "unit": (unit, line)})
            else:
                self.problem(self.unknown(header, key, long), 1)
        if one:
            listed.append(one)

    def unknown(self, header: str, key: str, long: bool) -> str:
        known = [*self.keys, MODEL_NOTE, *(self.parameter_keys if long else ())]
        remedy = "" if long else f' If it is a parameter, write its unit: "{header} (eV)".'
        return (
            f'column "{header}" is not a key of a model.{did_you_mean(key, known)}{remedy} Write [{key}] to ignore it.'
        )

    def fact(self, facts: dict[str, tuple[str, int]], key: str, text: str, line: int) -> None:
        before = facts.get(key)
        if before is not None and before[0] != text:
            message = (
                f'{key} is "{text}" here and "{before[0]}" in line {before[1]}; a model has one. Correct one of them.'
            )
            self.problem(message, line)
        facts.setdefault(key, (text, line))

    def node(self) -> Any:
        models = []
        for name, facts in self.models.items():
            pairs = [(_scalar(key, line), _scalar(text, line)) for key, (text, line) in facts.items()]
            line = self.lines[name]
            listed = [_mapping(parameter, next(iter(parameter.values()))[1]) for parameter in self.parameters[name]]
            pairs.append((_scalar("parameters", line), yaml.SequenceNode(_SEQ, listed, _mark(line), _mark(line))))
            models.append(yaml.MappingNode(_MAP, pairs, _mark(line), _mark(line)))
        listing = yaml.SequenceNode(_SEQ, models, _mark(1), _mark(1))
        return yaml.MappingNode(_MAP, [(_scalar("models", 1), listing)], _mark(1), _mark(1))


_MAP, _SEQ, _STR = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str"))


def _mark(line: int) -> Any:
    return yaml.Mark("table", 0, line - 1, 0, None, 0)


def _scalar(text: str, line: int) -> Any:
    return yaml.ScalarNode(_STR, text, _mark(line), _mark(line))


def _mapping(values: Mapping[str, tuple[str, int]], line: int) -> Any:
    pairs = [(_scalar(key, place), _scalar(text, place)) for key, (text, place) in values.items()]
    return yaml.MappingNode(_MAP, pairs, _mark(line), _mark(line))


def _from_table(path: Path, keys: Sequence[str], parameter_keys: Sequence[str]) -> Any:
    rows = list(read_table(path))
    if not rows:
        raise InvalidData(f"{path}: the table has no row below its header.")
    headers = {split_header(header)[0] for header in rows[0][1]}
    if "model_id" not in headers:
        raise InvalidData(f"{path}:1: the table has no column model_id.")
    long = bool(headers & {"name", "parameter"})
    table = _Table(path, keys, parameter_keys)
    for line, cells in rows:
        table.row(cells, line, long)
    if table.problems:
        raise InvalidData("\n".join(table.problems))
    return table.node()


# Writing


def write_models(records: Iterable[ModelRecord], path: Path) -> None:
    """Write models as a sheet that `records.read_models` reads.

    Parameters
    ----------
    records : iterable of ModelRecord
    path : Path
        ``.yaml``, ``.json``, or ``.csv`` (a row for each parameter). An existing file is replaced atomically.

    Raises
    ------
    CallError
        For another suffix.

    Examples
    --------
    >>> write_models([], Path("models.txt"))
    Traceback (most recent call last):
        ...
    barospec.schemas.errors.CallError: models.txt: models are written as .yaml, .json or .csv.
    """
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".json", ".csv"):
        raise CallError(f"{path}: models are written as .yaml, .json or .csv.")
    models = [_plain(record) for record in records]
    if suffix == ".json":
        text = json.dumps({"models": models}, indent=1, ensure_ascii=False) + "\n"
    elif suffix == ".csv":
        text = _csv(models)
    else:
        text = yaml.safe_dump({"models": models}, sort_keys=False, allow_unicode=True, width=120)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _plain(record: ModelRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "model_id": record.model_id,
        **{name: getattr(record, name) for name in ("compound", "structure", "stack", "scale", "status")},
        "pressure": "-" if math.isnan(record.pressure) else f"{record.pressure!r} GPa",
    }
    if not math.isnan(record.temperature):
        facts["temperature"] = f"{record.temperature!r} K"
    facts |= {"hamiltonian": record.hamiltonian, **record.metadata, "source": record.source}
    return {**facts, "parameters": [_parameter(parameter) for parameter in record.parameters]}


def _parameter(parameter: Parameter) -> dict[str, str]:
    found = {"name": parameter.name}
    if not math.isnan(parameter.value):
        sigma = "" if math.isnan(parameter.sigma) else f" ± {parameter.sigma!r}"
        found["value"] = f"{parameter.value!r}{sigma}"
    found |= {
        name: repr(getattr(parameter, name)) for name in ("low", "high") if not math.isnan(getattr(parameter, name))
    }
    found["unit"] = parameter.unit
    return found | {name: text for name in ("layer", "bond", "quote", "note") if (text := getattr(parameter, name))}


def _csv(models: Sequence[Mapping[str, Any]]) -> str:
    import csv
    import io

    rows = []
    for model in models:
        facts = {MODEL_NOTE if key == "note" else key: text for key, text in model.items() if key != "parameters"}
        rows += [facts | parameter for parameter in model["parameters"]]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
