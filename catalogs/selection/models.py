"""Model selection: the models that a query found, ready for computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from barospec.archive.spins.sheets.model_record import ModelRecord
from barospec.schemas.errors import InvalidData

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class ModelSelection:
    """Parameter sets of Hamiltonians, in the order of the query.

    Attributes
    ----------
    root, snapshot, query : str
        As of a `Selection`.
    records : tuple of ModelRecord
        The models; ``status`` is published, assumed, interpolated or calculated.
    """

    root: str
    snapshot: str
    query: str
    records: tuple[ModelRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<ModelSelection of {len(self)} models for “{self.query}” at {self.snapshot}>"

    def only(self, **conditions: str) -> ModelSelection:
        """Select the models with these attributes, such as ``scale="eV", stack="trilayer"``."""
        kept = [r for r in self.records if all(getattr(r, name) == value for name, value in conditions.items())]
        return replace(self, records=tuple(kept))

    def at_pressures(self, pressures: Sequence[float]) -> ModelSelection:
        """Interpolate models to pressures (GPa) between the selected ones, linear in each parameter and labeled ``interpolated``."""
        from barospec.archive.compute.models import interpolate_models

        return replace(self, records=tuple(interpolate_models(self.records, pressures)))

    def table(self) -> pd.DataFrame:
        """Return one line per number: model, conditions, parameter, layer, bond, value, unit, standing, source."""
        import pandas as pd

        rows = [
            {
                "model_id": r.model_id, "material": r.compound, "stack": r.stack, "scale": r.scale, "pressure": r.pressure,
                "parameter": p.name, "layer": p.layer, "bond": p.bond, "value": p.value, "sigma": p.sigma, "low": p.low, "high": p.high,
                "unit": p.unit, "standing": r.status, "source": r.source, "quote": p.quote,
            }
            for r in self.records
            for p in r.parameters
        ]  # fmt: skip
        frame = pd.DataFrame(rows)
        frame.attrs.update({"units": {"pressure": "GPa"}, "query": self.query, "snapshot": self.snapshot})
        return frame

    def to_xarray(self) -> xr.Dataset:
        """Return parameters as labeled arrays, dims (model); NaN where a model does not have one."""
        import numpy as np
        import xarray as xr

        from barospec.archive.ingest.models import fields_of

        fields = fields_of((p.name, p.layer, p.bond) for r in self.records for p in r.parameters)
        names = {fields[p.name, p.layer, p.bond]: p.unit for r in self.records for p in r.parameters}
        values = {name: np.full(len(self), np.nan) for name in names}
        for row, record in enumerate(self.records):
            for p in record.parameters:
                values[fields[p.name, p.layer, p.bond]][row] = p.value
        facts = {name: ("model", [getattr(r, key) for r in self.records]) for name, key in _FACTS.items()}
        return xr.Dataset(
            {name: ("model", column, {"units": names[name]}) for name, column in values.items()},
            coords={
                "model": [r.model_id for r in self.records],
                "pressure": ("model", [r.pressure for r in self.records], {"units": "GPa"}),
                **facts,
            },
            attrs={"query": self.query, "snapshot": self.snapshot, "archive": self.root},
        )

    def apply(
        self, name: str, *, temperature: ArrayLike = 0.0, sweep: Mapping[str, ArrayLike] | None = None, **options: Any
    ) -> xr.Dataset | xr.DataTree:
        """Run a model operator lazily: a Dataset, or a DataTree keyed by stack if the selection has several.

        Models at another energy scale than the operator's are excluded; see `archive.compute.models.apply_models`.
        """
        from barospec.archive.compute.models import apply_models

        attributes = {"query": self.query, "snapshot": self.snapshot}
        return self._by_stack(
            name,
            lambda records: apply_models(
                records, name, temperature=temperature, sweep=sweep, attributes=attributes, **options
            ),
        )

    def _by_stack(
        self, name: str, compute: Callable[[tuple[ModelRecord, ...]], xr.Dataset]
    ) -> xr.Dataset | xr.DataTree:
        """Compute from the models that fit an operator: a Dataset, or a DataTree if they have several stacks."""
        import xarray as xr

        from barospec.archive.spins.registry import find_model_operator

        operator = find_model_operator(name)
        fitting = self.only(scale=operator.scale)
        stacks = [stack for stack in dict.fromkeys(r.stack for r in fitting.records) if stack in operator.stacks]
        if not stacks:
            have = ", ".join(sorted({f"{r.stack} at the {r.scale} scale" for r in self.records})) or "none"
            raise InvalidData(
                f"{name} takes models of {', '.join(operator.stacks)} at the {operator.scale} scale; the query finds {have}."
            )
        parts = {stack: compute(fitting.only(stack=stack).records) for stack in stacks}
        if len(parts) == 1:
            return next(iter(parts.values()))
        return xr.DataTree.from_dict({f"/{stack}": part for stack, part in parts.items()}, name="models")

    def sensitivity(
        self,
        name: str,
        box: Mapping[str, float | tuple[float, float]],
        holds: str,
        *,
        temperature: float = 0.0,
        points: int = 256,
        seed: int = 0,
        progress: Any = None,
        **options: Any,
    ) -> xr.Dataset | xr.DataTree:
        """Compute an operator's outputs over a box of parameters, and the fraction of it where statements hold.

        ``models.sensitivity("hopping_to_spins", {"U_d": (4, 8), "E_CT": (2.5, 4)}, "abs(J_lt) > abs(J_mt)")``; see
        `archive.compute.sensitivity.apply_sensitivity`. Computed at once; a DataTree keyed by stack if the selection has several.
        """
        from barospec.archive.compute.sensitivity import apply_sensitivity

        attributes = {"query": self.query, "snapshot": self.snapshot}
        return self._by_stack(
            name,
            lambda records: apply_sensitivity(
                records, name, box, holds, temperature=temperature, points=points, seed=seed, progress=progress,
                attributes=attributes, **options,
            ),
        )  # fmt: skip


_FACTS = {"material": "compound", "structure": "structure", "stack": "stack", "scale": "scale", "standing": "status"}
