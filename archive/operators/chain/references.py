"""References on their way to an operator: the same chain as everything else, repeats merged, plain arrays out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barospec.archive.operators._kernels.averaging import merge, merge_numbers
from barospec.archive.operators.operator import Operator
from barospec.schemas.errors import CallError, InvalidData


@dataclass(frozen=True, slots=True)
class Reference:
    """Spectra that one query found: raw arrays with a leading axis of repeats, and a label.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        ``energy``, ``mu`` or ``intensity``, channels: shape (repeats, n).
    label : str
        What stands before the query; the number that goes with it where an operator wants one.
    about : mapping
        Query, snapshot, spectrum ids, whatever provenance is to record.
    """

    arrays: Mapping[str, NDArray[np.float64]]
    label: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


_LABEL = re.compile(r"^\s*([^\s:\"']+)\s*:\s*(.+)$", re.DOTALL)


def split_references(operator: Operator, value: Any) -> list[tuple[str, Any]]:
    """Split what a person wrote for ``reference`` or ``references`` into labels and queries.

    Parameters
    ----------
    operator : Operator
    value : str, mapping, or anything else that names spectra
        ``"NiO at 1 bar"``; with several, ``"2: NiO at 1 bar; 3: LaNiO3 at 1 bar"`` or ``{2: ..., 3: ...}``.

    Returns
    -------
    list of (label, query)

    Raises
    ------
    CallError
        For too few, or a label that is no number where the operator wants one.

    Examples
    --------
    >>> from barospec.archive.operators.registry import find_operator
    >>> split_references(find_operator("valence"), "2: NiO at 1 bar; 3: LaNiO3 at 1 bar")
    [('2', 'NiO at 1 bar'), ('3', 'LaNiO3 at 1 bar')]
    """
    wanted = operator.references
    assert wanted is not None
    if not wanted.several:
        return [("", value)]
    if isinstance(value, Mapping):
        found = [(str(label), query) for label, query in value.items()]
    elif isinstance(value, str):
        found = []
        for part in value.split(";"):
            match = _LABEL.match(part)
            if part.strip():
                found.append((match[1], match[2].strip()) if match else ("", part.strip()))
    elif isinstance(value, Sequence):
        found = [("", query) for query in value]
    else:
        found = [("", value)]
    if len(found) < wanted.fewest:
        raise CallError(
            f"{operator.name} needs {wanted.fewest} references or more, separated by semicolons; it got {len(found)}."
        )
    if wanted.labels:
        for label, _ in found:
            try:
                float(label)
            except ValueError:
                raise CallError(
                    f'{operator.name} needs a number before each reference, such as "2: NiO at 1 bar"; it got "{label}".'
                ) from None
    return found


def arrays_for(
    operator: Operator, references: Sequence[Reference], made: Sequence[Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[np.float64]]:
    """Return the keyword arrays of an operator from what the steps before it made of each reference.

    Curves of one reference are merged onto its first spectrum's energies, numbers averaged; see `merge`.

    Raises
    ------
    InvalidData
        When a reference has no value in what the operator needs.
    """
    wanted = operator.references
    assert wanted is not None
    columns: dict[str, list[NDArray[np.float64]]] = {keyword: [] for keyword in wanted.arrays}
    for reference, values in zip(references, made, strict=True):
        for keyword, name in wanted.arrays.items():
            if not isinstance(name, str):
                numbers = [float(_merged(one, values)) if one in values else np.nan for one in name]
                columns[keyword].append(np.array(numbers))
                continue
            column = _merged(name, values)
            if not np.isfinite(column).any() and not name.endswith(("_sigma", "_sigma_norm")):
                asked = reference.about.get("query", reference.label)
                raise InvalidData(
                    f'{operator.name}: the reference "{asked}" has no {name}. Look at it with barospec apply.'
                )
            columns[keyword].append(column)
    out = {keyword: _stacked(found, wanted.several) for keyword, found in columns.items()}
    if wanted.labels:
        out[wanted.labels] = np.array([float(reference.label) for reference in references])
    return out


def _merged(name: str, values: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    array = np.asarray(values[name], dtype=np.float64)
    if array.ndim == 1:
        if name.endswith("_sigma"):
            own = values[name.removesuffix("_sigma")]
            return np.array(merge_numbers(own, array)[1])
        # A choice of windows is common to the repeats: no averaging makes it smaller.
        good = array[np.isfinite(array)]
        return np.array(good.mean() if good.size else np.nan)
    energy = np.asarray(values["energy"], dtype=np.float64)
    best = int(np.isfinite(array).sum(axis=1).argmax())
    order = [best, *(k for k in range(len(array)) if k != best)]
    if name == "energy":
        axis: NDArray[np.float64] = energy[best]
        return axis
    merged = merge(energy[order], array[order])
    mean: NDArray[np.float64] = merged["mean"]
    # The standard uncertainty of a mean of independent repeats.
    return mean / np.sqrt(np.maximum(merged["repeats"], 1)) if name.endswith("_sigma") else mean


def _stacked(columns: list[NDArray[np.float64]], several: bool) -> NDArray[np.float64]:
    if not several:
        return columns[0]
    if columns[0].ndim == 0:
        return np.array([float(column) for column in columns])
    width = max(column.size for column in columns)
    return np.stack([np.pad(c, (0, width - c.size), constant_values=np.nan) for c in columns])
