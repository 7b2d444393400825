"""Record of a spin model: parameters with units, conventions, conditions and source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from barospec.schemas.errors import InvalidData


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a model.

    ``value`` and ``sigma`` are NaN when not given; ``low`` and ``high`` hold a published range. All in `unit`. ``quote`` is
    the text as printed.
    """

    name: str
    unit: str
    value: float = math.nan
    sigma: float = math.nan
    low: float = math.nan
    high: float = math.nan
    layer: str = ""
    bond: str = ""
    quote: str = ""
    note: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """Parameters of one Hamiltonian at one pressure, with conventions, conditions and source.

    ``pressure`` in GPa and ``temperature`` in K (NaN when not given). ``status`` is published, assumed,
    interpolated or calculated.
    """

    model_id: str
    compound: str
    structure: str
    stack: str
    scale: str
    status: str
    pressure: float
    hamiltonian: str
    source: str
    parameters: tuple[Parameter, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    temperature: float = math.nan
    source_file: str = ""
    source_sha256: str = ""
    line: int = 0

    def value(self, name: str, *, layer: str = "", bond: str = "") -> float:
        """Return the value of a parameter, NaN if not given; layer and bond are needed only to distinguish parameters.

        Raises InvalidData if the model has no such parameter, or several.
        """
        found = [p for p in self.parameters if p.name == name and layer in ("", p.layer) and bond in ("", p.bond)]
        if len(found) != 1:
            names = ", ".join(dict.fromkeys(p.name for p in self.parameters))
            raise InvalidData(f'model {self.model_id} has {len(found)} parameters "{name}"; it has {names}.')
        return found[0].value
