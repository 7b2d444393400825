"""Columns of the store and storage types of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from barospec.schemas.vocabulary import SPECTRUM_TERMS, Kind

MISSING_INT = int(np.iinfo(np.int64).min)

# kind -> (numpy dtype, fill). A word is stored as a code into /words/<term>, a time as microseconds since 1970.
STORED: Mapping[Kind, tuple[Any, Any]] = {
    "number": ("float64", np.nan),
    "integer": ("int64", MISSING_INT),
    "time": ("int64", MISSING_INT),
    "word": ("int32", -1),
    "text": (str, ""),
}
SPECTRUM_KINDS: Mapping[str, Kind] = {term.name: term.kind for term in SPECTRUM_TERMS} | {
    "grid": "integer",
    "header": "integer",
}

_text: Kind = "text"
_number: Kind = "number"
_integer: Kind = "integer"
TABLES: Mapping[str, Mapping[str, Kind]] = {
    "structures": {
        **dict.fromkeys(("structure_id", "material", "space_group", "note", "source", "source_file"), _text),
        **dict.fromkeys(("a", "b", "c", "alpha", "beta", "gamma", "volume"), _number),
        **dict.fromkeys(("pressure", "pressure_sigma", "temperature"), _number),
        **dict.fromkeys(("origin", "status", "source_sha256", "run_sheet"), _text),
        "revision": "integer",
        "ingested": "time",
    },
    "sites": {
        **dict.fromkeys(("structure_id", "label", "element"), _text),
        **dict.fromkeys(("x", "y", "z", "occupancy"), _number),
        "revision": "integer",
    },
    "bonds": {
        **dict.fromkeys(("structure_id", "bond", "site", "neighbor"), _text),
        "bond_length": "number",
        "multiplicity": "integer",
        "revision": "integer",
    },
    "literature": {
        **dict.fromkeys(("quantity", "material", "value_unit", "source", "quote", "note", "edge", "line"), _text),
        **dict.fromkeys(("value", "value_sigma", "pressure", "pressure_sigma", "temperature"), _number),
        **dict.fromkeys(("status", "run_sheet"), _text),
        "ingested": "time",
    },
    "models": {
        **dict.fromkeys(
            ("model_id", "material", "structure", "stack", "scale", "standing", "hamiltonian", "phase"), _text
        ),
        **dict.fromkeys(("pressure", "temperature"), _number),
        **dict.fromkeys(("pressure_method", "fermi_level_reference", "hund_convention", "e_ct_reference"), _text),
        **dict.fromkeys(("state_selection", "operator_basis", "note", "source", "source_file"), _text),
        **dict.fromkeys(("source_sha256", "content_sha256", "origin", "status"), _text),
        "revision": "integer",
        "ingested": "time",
    },
    "model_outputs": {
        **dict.fromkeys(("entry", "operator", "models", "query", "input_snapshot", "provenance", "status"), _text),
        "version": "integer",
        "ingested": "time",
    },
    "model_parameters": {
        **dict.fromkeys(("model_id", "name", "layer", "bond", "unit", "quote", "note"), _text),
        **dict.fromkeys(("value", "sigma", "low", "high"), _number),
        "revision": "integer",
    },
    "runs": {
        **dict.fromkeys(("experiment", "run", "note", "run_sheet", "sheet_sha256"), _text),
        "ingested": "time",
    },
    "sheets": {**dict.fromkeys(("name", "sha256", "text"), _text), "ingested": "time"},
    "headers": dict.fromkeys(("sha256", "text"), _text),
    # Append-only: the newest revision of a name counts; removing is a revision too.
    "saved": {
        **dict.fromkeys(("name", "query", "text", "noun", "status", "author", "reason"), _text),
        "revision": "integer",
        "time": "time",
    },
    # Append-only likewise; the value is JSON.
    "settings": {
        **dict.fromkeys(("name", "value", "author", "reason"), _text),
        "revision": "integer",
        "time": "time",
    },
    "events": {
        **dict.fromkeys(("action", "actor", "subject", "reason", "details"), _text),
        "time": "time",
    },
    # Sets of derived values, append-only like `saved`; and each run of one over the spectra of a group.
    "derivations": {
        **dict.fromkeys(("name", "operator", "chain", "refs", "queries", "definition_sha256"), _text),
        **dict.fromkeys(("status", "author", "reason"), _text),
        **dict.fromkeys(("mixed", "preferred", "follow", "revision"), _integer),
        "time": "time",
    },
    "calculations": {
        **dict.fromkeys(("name", "grp", "steps", "refs", "query", "input_snapshot"), _text),
        **dict.fromkeys(("software", "notes", "actor"), _text),
        "number": "integer",
        "time": "time",
    },
    # Values of whole runs: the sets, append-only likewise, and their values for each run; the highest number is the newest.
    "series": {
        **dict.fromkeys(("name", "operator", "chain", "refs", "method", "against", "output", "unit"), _text),
        **dict.fromkeys(("technique", "query", "status", "author", "reason"), _text),
        **dict.fromkeys(("mixed", "absolute", "follow", "revision"), _integer),
        "time": "time",
    },
    "series_values": {
        **dict.fromkeys(("name", "grp", "experiment", "run", "sample", "members", "members_sha256"), _text),
        **dict.fromkeys(("outputs", "reason", "steps", "refs", "query", "input_snapshot", "software", "actor"), _text),
        **dict.fromkeys(("number", "points"), _integer),
        "time": "time",
    },
}
