"""Model sheets: Hamiltonian parameters with their units, conventions, conditions and source.

A sheet is YAML or JSON, with shared keys at the top and a list ``models``, or a table (see `sheets`). A number without
its conventions is refused: U and J without the Hund convention, E_CT without its reference, a coupling of a
transformed Hamiltonian without the state selection and the operator basis. ``not stated`` is allowed if the source does
not state them.

Hoppings may come from a Hamiltonian in Wannier functions, beside or in place of ``parameters``:

    wannier: {file: x_hr.dat, orbitals: [{index: 1, site: Ni, layer: u, orbital: Z}, ...]}
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from barospec.archive.spins.electrons import wannier
from barospec.archive.spins.models import STACKS
from barospec.archive.spins.sheets import sheets
from barospec.archive.spins.sheets.model_record import ModelRecord, Parameter
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile, did_you_mean
from barospec.schemas.records import Problem
from barospec.schemas.units import BY_SYMBOL, find_unit, parse_quantity
from barospec.schemas.values import check_text, checked, parse_value
from barospec.schemas.vocabulary import BY_NAME

NOT_STATED = "not stated"
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "scale": ("Hartree", "eV", "sub-eV"),
    "origin": ("calculated", "synthetic"),
    "status": ("published", "assumed", "interpolated", "calculated"),
    "stack": (*STACKS, "other"),
    "hund_convention": ("kanamori", "spin", NOT_STATED),
    "e_ct_reference": ("high-spin d8", "level", NOT_STATED),
    "state_selection": ("lowest", "overlap", NOT_STATED),
    "operator_basis": ("tensor", "polynomial", "product", NOT_STATED),
}
"""Allowed words of these keys."""
REQUIRED = tuple("model_id compound stack scale status pressure structure hamiltonian source parameters".split())
REQUIRED_AT: Mapping[str, tuple[str, ...]] = {
    "Hartree": ("fermi_level_reference", "hund_convention", "e_ct_reference"),
    "eV": ("hund_convention", "state_selection", "operator_basis"),
    "sub-eV": ("state_selection", "operator_basis"),
}
"""Conventions that a model's numbers need, by energy scale."""
_FREE = "fermi_level_reference pressure_method temperature phase note wannier".split()
MODEL_KEYS = (*REQUIRED, *_FREE, *ALLOWED)
WANNIER_KEYS = ("file", "orbitals")
PARAMETER_KEYS = ("name", "value", "low", "high", "unit", "layer", "bond", "quote", "note")
_SHARED = tuple(key for key in MODEL_KEYS if key not in ("model_id", "parameters", "wannier"))
_TOP_KEYS = ("models", *_SHARED)
_MAX_BYTES = 2_000_000


def read_models(path: Path | str) -> list[ModelRecord]:
    """Read all models of a sheet.

    Parameters
    ----------
    path : Path or str
        A YAML or JSON file, or a table in CSV or xlsx.

    Returns
    -------
    list of ModelRecord
        In the order of the sheet.

    Raises
    ------
    UnreadableFile
        The file cannot be read, or does not fit its suffix.
    InvalidData
        Any other mistake; every problem on a separate line, with file and line.

    Examples
    --------
    >>> import tempfile
    >>> text = '''
    ... source: a paper
    ... models:
    ...   - {model_id: a, compound: La3Ni2O7, structure: ambient, stack: bilayer, scale: sub-eV, status: assumed,
    ...      pressure: 1 bar, hamiltonian: J S.S, state_selection: lowest, operator_basis: tensor,
    ...      parameters: [{name: J, value: 110, unit: meV}]}
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sheet = Path(folder) / "model.yaml"
    ...     _ = sheet.write_text(text)
    ...     read_models(sheet)[0].value("J")
    0.11
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}.") from None
    if len(raw) > _MAX_BYTES:
        raise UnreadableFile(f"{path}: {len(raw)} bytes; a model sheet has at most {_MAX_BYTES}. Is it a data file?")
    keys = [key for key in MODEL_KEYS if key not in ("parameters", "wannier")]
    node = sheets.compose(path, raw, keys, PARAMETER_KEYS)
    reading = _Reading(path, hashlib.sha256(raw).hexdigest())
    records = reading.top(node)
    if reading.problems:
        raise InvalidData("\n".join(str(problem) for problem in reading.problems))
    return records


class _Reading:
    """One pass over the node tree; collects all problems, so that people correct a sheet once."""

    def __init__(self, path: Path, sha256: str) -> None:
        self.path, self.sha256 = path, sha256
        self.problems: list[Problem] = []

    def problem(self, message: str, line: int) -> None:
        self.problems.append(Problem("error", message, str(self.path), line))

    def top(self, node: Any) -> list[ModelRecord]:
        if not isinstance(node, yaml.MappingNode):
            self.problem("a model sheet is a mapping with a list `models`.", 1)
            return []
        items = self.items(node, _TOP_KEYS)
        models = items.pop("models", None)
        if not isinstance(models, yaml.SequenceNode) or not models.value:
            self.problem("the sheet has no list `models`; begin each model with a dash.", _line(models or node))
            return []
        shared = self.texts(items)
        found = [self.model(entry, shared) for entry in models.value]
        seen: dict[str, int] = {}
        for record in (record for record in found if record):
            if record.model_id in seen:
                first = seen[record.model_id]
                self.problem(
                    f'model_id "{record.model_id}" is already that of line {first}. Choose another.', record.line
                )
            seen.setdefault(record.model_id, record.line)
        return [record for record in found if record]

    def items(self, node: yaml.MappingNode, allowed: Iterable[str]) -> dict[str, Any]:
        known = tuple(dict.fromkeys(allowed))
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "a list"
            if name not in known:
                hint = did_you_mean(name, known) or f" There are {', '.join(known)}."
                self.problem(f'"{name}" is not a key here.{hint}', _line(key))
            elif name in found:
                self.problem(f"{name} is given twice; the first is in line {_line(found[name])}.", _line(key))
            else:
                found[name] = value
        return found

    def texts(self, items: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
        found = {}
        for name, node in items.items():
            if not isinstance(node, yaml.ScalarNode):
                self.problem(f"{name} is one value, not a list or mapping.", _line(node))
                continue
            text = " ".join(str(node.value).split())
            try:
                check_text(name, text)
            except InvalidData as error:
                self.problem(str(error), _line(node))
            if name in ALLOWED and text not in ALLOWED[name]:
                choices = ALLOWED[name]
                hint = did_you_mean(text, choices)
                self.problem(f'{name} "{text}" is not one of {", ".join(choices)}.{hint}', _line(node))
            found[name] = (text, _line(node))
        return found

    def model(self, node: Any, shared: Mapping[str, tuple[str, int]]) -> ModelRecord | None:
        if not isinstance(node, yaml.MappingNode):
            self.problem("a model is a mapping of keys, beginning with model_id.", _line(node))
            return None
        before, line = len(self.problems), _line(node)
        items = self.items(node, MODEL_KEYS)
        listed, hamiltonian = items.pop("parameters", None), items.pop("wannier", None)
        texts = {**shared, **self.texts(items)}
        scale = texts.get("scale", ("", 0))[0]
        for name in (*REQUIRED, *REQUIRED_AT.get(scale, ())):
            if name != "parameters" and not texts.get(name, ("", 0))[0]:
                why = (
                    f" at the {scale} scale its numbers mean nothing without it;"
                    if name in REQUIRED_AT.get(scale, ())
                    else ""
                )
                choices = f" One of {', '.join(ALLOWED[name])}." if name in ALLOWED else ""
                self.problem(f"the model has no {name}:{why} give it, or write {NOT_STATED} if the source does not state it.{choices}"
                             if why else f"the model has no {name}. Give it.{choices}", line)  # fmt: skip
        parameters = self.parameters(listed, line) if listed is not None or hamiltonian is None else ()
        if hamiltonian is not None:
            taken = self.hamiltonian(hamiltonian)
            for parameter in parameters:
                if parameter.name in {p.name for p in taken}:
                    message = f"{parameter.name} is read from the Hamiltonian of `wannier`; remove one of the two."
                    self.problem(message, parameter.line)
            parameters = (*taken, *parameters)
        pressure, temperature = (self.condition(name, texts) for name in ("pressure", "temperature"))
        if len(self.problems) > before:
            return None
        plain = {name: text for name, (text, _) in texts.items()}
        named = {name: plain.pop(name) for name in REQUIRED if name in plain and name != "pressure"}
        for name in ("pressure", "temperature"):
            plain.pop(name, None)
        return ModelRecord(
            **named,
            pressure=pressure,
            temperature=temperature,
            parameters=parameters,
            metadata=plain,
            source_file=self.path.name,
            source_sha256=self.sha256,
            line=line,
        )

    def condition(self, name: str, texts: Mapping[str, tuple[str, int]]) -> float:
        if name not in texts:
            return math.nan
        text, line = texts[name]
        try:
            value = parse_value(BY_NAME[name], text)[name]
        except InvalidData as error:
            self.problem(str(error), line)
            return math.nan
        return math.nan if value is None else float(value)

    def parameters(self, node: Any, line: int) -> tuple[Parameter, ...]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.problem(
                "the model has no list `parameters`; give name, value and unit of each (or `wannier`).",
                line if node is None else _line(node),
            )
            return ()
        found: list[Parameter] = []
        for entry in node.value:
            parameter = self.parameter(entry)
            if parameter is None:
                continue
            same = [p for p in found if (p.name, p.layer, p.bond) == (parameter.name, parameter.layer, parameter.bond)]
            if same:
                self.problem(
                    f"{parameter.name} of the same layer and bond is already in line {same[0].line}.", parameter.line
                )
            found.append(parameter)
        return tuple(found)

    def hamiltonian(self, node: Any) -> tuple[Parameter, ...]:
        """Read parameters from a Hamiltonian beside the sheet, each with file, sha256 and R in its note."""
        line, before = _line(node), len(self.problems)
        items = self.items(node, WANNIER_KEYS) if isinstance(node, yaml.MappingNode) else {}
        labels = items.pop("orbitals", None)
        name = self.texts(items).get("file", ("", 0))[0]
        if not name or not isinstance(labels, yaml.SequenceNode):
            self.problem("`wannier` needs a file and a list of orbitals, one for each function.", line)
            return ()
        orbitals = [orbital for entry in labels.value for orbital in self.orbital(entry)]
        if len(self.problems) > before:
            return ()
        try:
            groups, origin = wannier.read_bonds(self.path.parent / name, orbitals)
        except (BarospecError, OSError) as error:
            self.problem(str(error) if name in str(error) else f"{name}: {error}", line)
            return ()
        notes = [f"{group.meaning}; {origin}; {group.origin}" for group in groups]
        return tuple(
            Parameter(g.name, "eV", g.value, g.sigma, layer=g.layer, bond=g.bond, note=note, line=line)
            for g, note in zip(groups, notes, strict=True)
        )

    def orbital(self, node: Any) -> list[wannier.Orbital]:
        if not isinstance(node, yaml.MappingNode):
            self.problem("an orbital is a mapping: {index: 1, site: Ni, layer: u, orbital: Z}.", _line(node))
            return []
        texts = self.texts(self.items(node, wannier.LABEL_KEYS))
        try:
            return wannier.read_labels([{key: text for key, (text, _) in texts.items()}])
        except InvalidData as error:
            self.problem(str(error), _line(node))
            return []

    def parameter(self, node: Any) -> Parameter | None:
        if not isinstance(node, yaml.MappingNode):
            self.problem("a parameter is a mapping: {name: J_ZZ, value: 0.36, unit: eV}.", _line(node))
            return None
        line, before = _line(node), len(self.problems)
        texts = self.texts(self.items(node, PARAMETER_KEYS))
        plain = {name: text for name, (text, _) in texts.items()}
        for name in ("name", "unit"):
            if not plain.get(name):
                self.problem(f"the parameter has no {name}. Write it like {{name: J_ZZ, value: 0.36, unit: eV}}.", line)
        if not any(plain.get(name) for name in ("value", "low", "note")):
            self.problem("the parameter has no value. Give value, or low and high, or a note with the reason.", line)
        if ("low" in plain) != ("high" in plain):
            self.problem("a range needs both low and high.", line)
        unit = plain.get("unit", "1")
        if find_unit(unit) is None:
            self.problem(f'unknown unit "{unit}".{did_you_mean(unit, list(BY_SYMBOL))}', line)
            return None
        # Energies are converted to eV; other units stay.
        target = "eV" if unit in ("meV", "keV") else unit
        numbers = {"value": math.nan, "low": math.nan, "high": math.nan}
        sigma = math.nan
        for name in numbers:
            if name in texts:
                text, place = texts[name]
                try:
                    quantity = parse_quantity(f"{text} {unit}" if unit != "1" else text, target)
                    checked({"value": quantity.value, "value_sigma": quantity.sigma})
                except InvalidData as error:
                    self.problem(f"{name} {str(error).removeprefix('value ')} The unit is in `unit`.", place)
                    continue
                numbers[name] = quantity.value
                sigma = quantity.sigma if name == "value" and quantity.sigma is not None else sigma
        if numbers["low"] > numbers["high"]:
            self.problem(f"low {numbers['low']:g} is above high {numbers['high']:g}.", line)
        if len(self.problems) > before:
            return None
        return Parameter(
            plain["name"],
            target,
            **numbers,
            sigma=sigma,
            layer=plain.get("layer", ""),
            bond=plain.get("bond", ""),
            quote=plain.get("quote", ""),
            note=plain.get("note", ""),
            line=line,
        )


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
