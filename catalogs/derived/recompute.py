"""Recomputation of a stored number from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from barospec.archive.derived.store import Derivation, software
from barospec.archive.store.storage.location import Location
from barospec.catalogs.derived.store_values import compute
from barospec.catalogs.index import database
from barospec.catalogs.index.open import opened
from barospec.catalogs.index.series import METHODS
from barospec.catalogs.query.resolve.operator_table import VERSIONS
from barospec.catalogs.selection.select import selection_of
from barospec.schemas.errors import NotFound

AGREEMENT = 1e-12  # relative: effect of another order of additions, in another version of numpy or on another machine


def recompute(location: Location, record: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute; see `barospec._derived.DerivedMethods.recompute`."""
    derive = record["activity"]["derive"]
    if "run" in record["entity"]:
        from barospec.catalogs.derived.run_provenance import fit_again

        outputs: dict[str, Any] = dict(fit_again(location, record))
        return {"outputs": outputs, **_compared(outputs, record["value"]["outputs"]), "changed": _changed(derive)}
    spectrum = record["entity"]["spectrum"]
    snapshot = derive["input_snapshot"]
    with opened(location, snapshot) as (_, connection):
        places = database.values(
            connection,
            "SELECT grp, row FROM spectra WHERE spectrum_id = ? AND revision = ?",
            [spectrum["spectrum_id"], spectrum["revision"]],
        )
    if not places:
        raise NotFound(f"{spectrum['spectrum_id']} revision {spectrum['revision']} is not in snapshot {snapshot}.")
    derivation = Derivation("", derive["operator"], derive["chain"], derive["refs"], derive["mixed"], ())
    selection = selection_of(
        location, snapshot, [places[0][0]], [places[0][1]], f"spectrum_id = {spectrum['spectrum_id']}"
    )
    result = compute(selection, derivation)
    outputs = {}
    for name, variable in result.data_vars.items():
        found = np.asarray(variable.values)[0]
        if variable.dims == ("spectrum",):
            outputs[str(name)] = found.item()
        elif "reference" in variable.dims:
            labels = [str(label) for label in result["reference"].values]
            outputs.update({f"{name}[{label}]": value.item() for label, value in zip(labels, found, strict=True)})
    return {"outputs": outputs, **_compared(outputs, record["value"]["outputs"]), "changed": _changed(derive)}


def _compared(outputs: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    worst, same = 0.0, True
    for name, was in stored.items():
        now = outputs.get(name)
        missing = now is None or (isinstance(now, float) and np.isnan(now)) or (isinstance(now, int) and now == -1)
        if was is None or now is None or missing:
            same &= was is None and missing
            worst = worst if was is None and missing else float("inf")
            continue
        same &= float(now) == float(was)
        worst = max(worst, abs(float(now) - float(was)) / (abs(float(was)) or 1.0))
    return {"same_bits": same, "difference": worst, "agrees": same or worst <= AGREEMENT}


def _changed(derive: Mapping[str, Any]) -> list[str]:
    versions = {**VERSIONS, **{method: version for method, (version, _) in METHODS.items()}}
    changes = [
        f"{step['operator']} was version {step['version']} and is now {versions.get(step['operator'], 'gone')}"
        for step in derive["steps"]
        if versions.get(step["operator"]) != step["version"]
    ]
    now = software()
    changes += [
        f"{name} was {was} and is now {now.get(name)}"
        for name, was in derive["software"].items()
        if now.get(name) != was
    ]
    return changes
