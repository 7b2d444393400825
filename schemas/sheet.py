"""Keys of a run sheet, and the JSON Schema with which editors check one.

Both are generated from the vocabulary. ``docs/run-sheet.schema.json`` is the generated schema; a test fails if it is not
current.
"""

from __future__ import annotations

from typing import Any

from barospec.schemas.vocabulary import SETTABLE, TERMS, Term

SIGNALS = {
    "transmission": "ln(i0/itrans)",
    "fluorescence": "ifluor/i0",
    "reference": "ln(itrans/irefer)",
    "emission": "iemission/i0, or iemission where there is no i0",
    "mutrans": "as recorded",
    "mufluor": "as recorded",
    "murefer": "as recorded",
    "normtrans": "as recorded",
    "normfluor": "as recorded",
    "murecorded": "as recorded, type of measurement not stated",
    "mucalc": "as calculated",
}
RUN_KEYS = (
    "files", "scans", "format", "signal", "columns", "channels", "scans_not_listed", "ruby_log", "interpolate_pressure", "time_zone",
)  # fmt: skip
BETWEEN = ("time", "step")
TOP_KEYS = (*RUN_KEYS, "runs", "structures", "literature")
ROW_KEYS = ("file", "scan", "skip", "signal")
STRUCTURE_KEYS = ("cif", "sites", "material", "pressure", "pressure_sigma", "temperature", "origin", "note", "source")
LITERATURE_KEYS = ("material", "edge", "line", "pressure", "pressure_sigma", "temperature", "note", "source")


def names(level: str) -> tuple[str, ...]:
    """Return the names that a run sheet can use for records of a level, without system terms."""
    return tuple(term.name for term in TERMS if term.level == level and term.need != "system")


def _field(term: Term) -> dict[str, Any]:
    described: dict[str, Any] = {"description": term.meaning + (f" Unit: {term.unit}." if term.unit else "")}
    if term.kind == "number":
        described["anyOf"] = [{"type": "number"}, {"type": "string"}]
    elif term.kind == "integer":
        described["anyOf"] = [{"type": "integer"}, {"type": "string", "pattern": r"^\d+$|^-$"}]
    elif term.allowed:
        described["enum"] = [*term.allowed]
    elif term.name == "line":
        described["type"] = "string"
    else:
        described["type"] = ["string", "number"]
    return described


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the run sheet (draft 2020-12)."""
    fields = {term.name: _field(term) for term in SETTABLE}
    by_name = {term.name: _field(term) for term in TERMS}
    text: dict[str, Any] = {"type": ["string", "number"]}
    row = {
        "type": "object",
        "properties": {**fields, "file": text, "scan": text, "skip": text, "signal": {"enum": [*SIGNALS]}},
        "additionalProperties": False,
    }
    shared = {
        "files": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
        "scans": {"anyOf": [{"type": "string"}, {"type": "array", "items": row}]},
        "format": {"type": "string"},
        "signal": {"enum": [*SIGNALS]},
        "columns": {"type": "object"},
        "channels": {"type": "object"},
        "scans_not_listed": {"enum": ["take", "skip"]},
        "ruby_log": {"type": "string"},
        "interpolate_pressure": {"enum": [*BETWEEN]},
        "time_zone": {"type": "string"},
    }
    run = {"type": "object", "properties": {**fields, **shared}, "additionalProperties": False}
    sites = {"type": "array", "items": {"type": "object", "required": ["element", "x", "y", "z"]}}
    structure = {
        "type": "object",
        "properties": {
            **{name: by_name[name] for name in (*names("structure"), *STRUCTURE_KEYS) if name in by_name},
            "cif": {"type": "string"},
            "sites": sites,
        },
        "required": ["structure_id", "source"],
        "additionalProperties": False,
    }
    literature = {
        "type": "object",
        "properties": {name: by_name[name] for name in (*names("literature"), *LITERATURE_KEYS)},
        "required": [term.name for term in TERMS if term.level == "literature" and term.need == "required"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "barospec run sheet",
        "type": "object",
        "properties": {
            **fields,
            **shared,
            "runs": {"type": "array", "items": run, "minItems": 1},
            "structures": {"type": "array", "items": structure},
            "literature": {"type": "array", "items": literature},
        },
        "additionalProperties": False,
    }
