"""Selection: the spectra that a query found, with query and snapshot, ready for lazy computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.catalogs.selection.lazy_arrays import lazy
from barospec.schemas.errors import CallError, NotFound
from barospec.schemas.units import parse_quantity
from barospec.schemas.vocabulary import BY_NAME, CHANNELS, DATA_NAME, SPECTRUM_TERMS

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

# Default coordinates of a Dataset, if any of its spectra has a value.
COORDINATES = (
    "spectrum_id", "experiment", "run", "step", "sample", "material", "technique", "edge", "line", "origin",
    "pressure", "pressure_sigma", "temperature", "temperature_sigma", "direction", "mode", "beamline",
    "energy_calibration", "energy_shift", "signal", "point_count", "source_file", "source_scan",
    "cluster_atoms", "cluster_radius", "structure",
)  # fmt: skip
INDEXED = ("pressure", "temperature", "run", "edge")
DIMENSION = "spectrum"

Columns = Callable[[Sequence[str], NDArray[Any], NDArray[np.int64]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Selection:
    """The spectra that a query found, in its order.

    Attributes
    ----------
    root, uuid : str
        Path and identity of the archive.
    snapshot : str
        The queried snapshot; the selection never changes.
    query : str
        The query in canonical form.
    predicates : dict
        The same as structured conditions.
    groups, rows : ndarray, shape (n,)
        Location of each spectrum in the store.
    """

    root: str
    uuid: str
    snapshot: str
    query: str
    predicates: Mapping[str, Any]
    groups: NDArray[Any]
    rows: NDArray[np.int64]
    _fetch: Columns = field(repr=False, compare=False)
    _find: Callable[[str], Selection] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{key}: {count}" for key, count in self.counts().items())
        return f"<Selection of {len(self)} spectra ({kinds or 'none'}) for “{self.query}” at {self.snapshot}>"

    def counts(self) -> dict[str, int]:
        """Return the number of spectra by group, such as ``{"xas/Ni-K": 12}``."""
        names, counts = np.unique(self.groups.astype(str), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    def columns(self, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Return metadata by name, each of shape (n,): float with NaN, or object with None, where unknown."""
        return self._fetch(names, self.groups, self.rows)

    def table(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return metadata as a pandas DataFrame, one line per spectrum, units in ``.attrs["units"]``.

        Without `columns`, every field that any of the spectra has.
        """
        import pandas as pd

        names = [term.name for term in SPECTRUM_TERMS] if columns is None else list(columns)
        found = self.columns(names)
        frame = pd.DataFrame({name: found[name] for name in names})
        if columns is None:
            frame = frame.loc[:, [name for name in names if frame[name].notna().any()]]
        units = {name: unit for name in frame.columns if (unit := self._unit(name))}
        frame.attrs.update({"units": units, "query": self.query, "snapshot": self.snapshot})
        return frame

    def _unit(self, name: str) -> str:
        if name in BY_NAME:
            return BY_NAME[name].unit
        from barospec.archive.store.storage.location import locate
        from barospec.catalogs.index.open import opened
        from barospec.catalogs.query.resolve.archive_schema import known_from

        with opened(locate(self.root), self.snapshot) as (_, connection):
            return known_from(connection).fields["spectra"][name].unit

    def sel(self, **conditions: Any) -> Selection:
        """Select the spectra of this selection that meet all conditions.

        Parameters
        ----------
        **conditions
            A field and a value, a list of values, or a slice with inclusive bounds, as in xarray; numbers may be
            text with a unit: ``sel(pressure=slice("140 kbar", None), run="run-2")``. Rows without a value never match.
        """
        keep = np.ones(len(self), dtype=bool)
        texts = []
        for name, wanted in conditions.items():
            values = self.columns([name])[name]
            unit = self._unit(name)
            keep &= _matches(name, unit, values, wanted)
            texts.append(_described(name, unit, wanted))
        query = " and ".join([f"({self.query})", *texts]) if texts else self.query
        predicates = {**self.predicates, "sel": [*self.predicates.get("sel", []), *texts]}
        return replace(self, query=query, predicates=predicates, groups=self.groups[keep], rows=self.rows[keep])

    def to_xarray(
        self,
        *,
        channels: bool | Sequence[str] = False,
        coordinates: Sequence[str] = (),
        derived: Sequence[str] = (),
        include: Sequence[str] = (),
    ) -> xr.Dataset | xr.DataTree:
        """Return the spectra as a lazy Dataset, or as a DataTree keyed ``technique/edge-or-line`` for several kinds.

        Parameters
        ----------
        channels : bool or list of str
            Recorded channels beside the curve: all, some, or none.
        coordinates : list of str
            Further fields to attach as coordinates.
        derived : list of str
            Stored values to attach as variables, such as ``["edge_energy"]``, with their uncertainties: fresh ones, NaN
            otherwise.
        include : list of str
            Include ``stale`` or ``uncalibrated`` values.

        Returns
        -------
        Dataset
            ``mu`` or ``intensity`` and ``energy``, dims (spectrum, point), padded with NaN, as measured: nothing is
            interpolated. pressure, temperature, run and edge are indexed coordinates.
        """
        parts = {key: self._dataset(key, channels, coordinates, None) for key in self.counts()}
        if derived:
            from barospec.catalogs.selection.stored_values import with_derived

            for key, part in parts.items():
                mine = self._of_kind(key)
                parts[key] = with_derived(part, self.root, self.snapshot, mine.groups, mine.rows, derived, include)
        return self._joined(parts)

    def _of_kind(self, key: str) -> Selection:
        mine = self.groups == key
        return replace(self, groups=self.groups[mine], rows=self.rows[mine])

    def on_grid(self, energy: ArrayLike) -> xr.Dataset | xr.DataTree:
        """Interpolate the spectra linearly to one energy axis (eV), lazily; NaN outside the measured range.

        Returns a Dataset with dims (spectrum, energy), or a DataTree of such.
        """
        target = np.asarray(energy, dtype=np.float64)
        if target.ndim != 1 or target.size == 0 or not np.isfinite(target).all() or np.any(np.diff(target) <= 0):
            raise CallError("on_grid needs one increasing axis of finite energies in eV.")
        parts = {key: self._dataset(key, False, (), target) for key in self.counts()}
        return self._joined(parts)

    def apply(self, operators: str, *, mixed: bool = False, **parameters: Any) -> xr.Dataset | xr.DataTree:
        """Run an operator or a chain such as ``"normalize | edge_energy(fraction=0.5)"`` lazily over the spectra.

        Parameters
        ----------
        operators : str
            See ``barospec operators``.
        mixed : bool
            Allow references of another origin (measured, calculated, synthetic) than the spectra.
        **parameters
            Parameters of any operator of the chain. ``reference`` and ``references`` are queries, evaluated at the
            snapshot of this selection among spectra of the same kind: ``reference="NiO at 1 bar"``,
            ``references="2: NiO at 1 bar; 3: LaNiO3 at 1 bar"``, ``references={2: ..., 3: ...}``; selections are accepted too.
        """
        from barospec.archive.compute.replicates import LABELS, MEANING
        from barospec.archive.compute.spectra import apply, needed_channels

        labels = LABELS if parameters.get("uncertainty") in MEANING else ()
        parts = {}
        for key in self.counts():
            wanted = needed_channels(operators, self.channels(key, True))
            dataset = self._dataset(key, wanted, labels, None)

            def find(text: str, key: str = key, wanted: Sequence[str] = wanted) -> xr.Dataset:
                return self._reference(text, key, wanted)

            parts[key] = apply(dataset, operators, find=find, mixed=mixed, **parameters)
        return self._joined(parts)

    def _reference(self, text: str, key: str, channels: Sequence[str]) -> xr.Dataset:
        """Return the spectra of one kind that a query finds at this snapshot, as a Dataset."""
        import xarray as xr

        found = self._find(text)
        mine = found.groups == key
        if not mine.any():
            return xr.Dataset(attrs=found._attributes())
        part = replace(found, groups=found.groups[mine], rows=found.rows[mine])
        return part._dataset(key, channels, (), None)

    def _joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset | xr.DataTree:
        import xarray as xr

        if len(parts) == 1:
            return next(iter(parts.values()))
        if not parts:
            return xr.Dataset(attrs=self._attributes())
        return xr.DataTree.from_dict({f"/{key}": part for key, part in parts.items()}, name="selection")

    def _attributes(self) -> dict[str, Any]:
        return {"query": self.query, "snapshot": self.snapshot, "archive": self.root}

    def _dataset(
        self, key: str, channels: bool | Sequence[str], coordinates: Sequence[str], target: NDArray[np.float64] | None
    ) -> xr.Dataset:
        import xarray as xr

        part = self._of_kind(key)
        names = list(dict.fromkeys([*COORDINATES, *coordinates]))
        known = part.columns(names)
        width = int(np.nanmax(known["point_count"]))
        data = DATA_NAME[key.split("/")[0]]
        variables = [data] if target is not None else ["energy", data, *part.channels(key, channels)]
        dims = (DIMENSION, "point") if target is None else (DIMENSION, "energy")
        dataset = xr.Dataset(
            {
                name: (
                    dims,
                    lazy(self.root, self.snapshot, key, name, part.rows, width, self.uuid, target),
                    _about(name),
                )
                for name in variables
            },
            coords={
                name: (DIMENSION, known[name], _about(name))
                for name in names
                if _any(known[name]) or name in coordinates
            },
            attrs=part._attributes(),
        )
        if target is not None:
            dataset = dataset.assign_coords(energy=("energy", target, _about("energy")))
        for name in INDEXED:
            if name not in dataset.coords:
                dataset = dataset.assign_coords({name: (DIMENSION, known[name], _about(name))})
            dataset = dataset.set_xindex(name)
        return dataset

    def channels(self, key: str, wanted: bool | Sequence[str] = True) -> list[str]:
        """Return the recorded channels of a kind of spectra, such as ``xas/Ni-K``: all, those wanted, or none."""
        if wanted is False:
            return []
        from barospec.archive.store.read import spectra_group
        from barospec.archive.store.repository import cached_reader

        group = spectra_group(cached_reader(self.root, self.snapshot), key)
        present = [name for name in CHANNELS if name in group]
        if wanted is True:
            return present
        lacking = [name for name in wanted if name not in present]
        if lacking:
            raise NotFound(f"{key} has no channel {', '.join(lacking)}; it has {', '.join(present) or 'none'}.")
        return list(wanted)


def _any(values: NDArray[Any]) -> bool:
    if values.dtype == object:
        return bool(values.tolist().count(None) < values.size)
    return bool(np.any(~np.isnan(values))) if values.dtype.kind == "f" else bool(values.size)


def _about(name: str) -> dict[str, str]:
    if name in BY_NAME:
        term = BY_NAME[name]
        return {"long_name": term.meaning.rstrip("."), **({"units": term.unit} if term.unit else {})}
    if name == "energy":
        return {"long_name": "photon energy as recorded", "units": "eV"}
    return {"long_name": CHANNELS.get(name, {"mu": "absorption", "intensity": "emission intensity"}.get(name, name))}


def _number(unit: str, value: Any) -> float:
    return parse_quantity(value, unit).value if isinstance(value, str) else float(value)


def _matches(name: str, unit: str, values: NDArray[Any], wanted: Any) -> NDArray[np.bool_]:
    kind = BY_NAME[name].kind if name in BY_NAME else "number"
    if isinstance(wanted, slice):
        if wanted.step is not None:
            raise CallError(f"{name}: a slice with a step is not supported.")
        if kind not in ("number", "integer"):
            raise CallError(f"{name} is text; a slice needs a number field.")
        keep = ~np.isnan(values)
        if wanted.start is not None:
            keep &= values >= _number(unit, wanted.start)
        if wanted.stop is not None:
            keep &= values <= _number(unit, wanted.stop)
        return np.asarray(keep, dtype=bool)
    options = list(wanted) if isinstance(wanted, list | tuple | set | np.ndarray) else [wanted]
    if kind in ("number", "integer"):
        return np.asarray(np.isin(values, [_number(unit, option) for option in options]), dtype=bool)
    from barospec.schemas.values import parse_value

    texts = [parse_value(BY_NAME[name], str(option)).get(name) for option in options]
    return np.array([value in texts for value in values], dtype=bool)


def _described(name: str, unit: str, wanted: Any) -> str:
    if isinstance(wanted, slice):
        low, high = (
            None if end is None else f"{_number(unit, end):g} {unit}".strip() for end in (wanted.start, wanted.stop)
        )
        if low and high:
            return f"{name} between {low} and {high}"
        return f"{name} >= {low}" if low else f"{name} <= {high}" if high else f"{name} is known"
    options = list(wanted) if isinstance(wanted, list | tuple | set | np.ndarray) else [wanted]
    return (
        f"{name} in ({', '.join(str(option) for option in options)})" if len(options) > 1 else f"{name} = {options[0]}"
    )
