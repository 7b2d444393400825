"""The theory side of an archive: models, their outputs, and spectra beside them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from barospec._queries import Finding
from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from barospec.catalogs.selection.models import ModelSelection


def about_models(text: str) -> str:
    """A question, made one about models where it names no noun.

    >>> about_models("La4Ni3O10 above 40 GPa")
    'models La4Ni3O10 above 40 GPa'
    """
    return text if re.search(r"\bmodels?\b", text) else f"models {text}".strip()


class Modeling(Finding):
    """What an archive does with models."""

    def models(self, text: str = "") -> ModelSelection:
        """The models that a query finds, such as ``"La4Ni3O10 above 40 GPa"`` or ``"with J_ZZ > 0.5 eV"``."""
        from barospec.archive.ingest.models import read_models
        from barospec.catalogs.selection.models import ModelSelection

        with self.ask(about_models(text), columns=["model_id"]) as answer:
            if answer.noun != "models":
                raise CallError(f"the query is about {answer.noun}, not about models.")
            found, query, snapshot = [str(row[0]) for row in answer.rows], answer.canonical, answer.snapshot
        return ModelSelection(
            self.location.place, snapshot, query, tuple(read_models(self._store.read(snapshot), found))
        )

    def together(self, text: str) -> xr.DataTree:
        """Spectra and models that meet the same conditions, as one tree: ``/spectra/...`` and ``/models``.

        Raises QueryError for a condition that only one of them has, such as an edge.
        """
        import xarray as xr

        spectra, models = self.query(text), self.models(text)
        tree: dict[str, xr.Dataset] = {"/models": models.to_xarray()} if len(models) else {}
        for key in spectra.counts():
            part = spectra.sel(technique=key.split("/")[0]).to_xarray()
            tree[f"/spectra/{key}"] = part if isinstance(part, xr.Dataset) else part[key].to_dataset()
        return xr.DataTree.from_dict(tree, name="together")

    def store_output(self, dataset: xr.Dataset, message: str = "") -> str:
        """Keep an output of `ModelSelection.apply` in the archive, in one commit; returns the entry's name."""
        from barospec.archive.ingest.models import store_output
        from barospec.archive.store.repository import Transaction, microseconds
        from barospec.archive.store.write import Writer

        self._must_be_newest()
        store, computed = self._store, dataset.compute()

        def write(work: Transaction) -> str:
            entry = store_output(Writer(work.root, work.changes), computed, microseconds())
            work.message = message or f"{entry} of {dataset.sizes['model']} models stored"
            return entry

        entry, snapshot = store.write("apply", write)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return entry

    def outputs(self, text: str = "") -> list[Mapping[str, Any]]:
        """What is stored beside the parameters of models: outputs of operators, and hoppings, bands and densities of files.

        `text` asks as for models, such as ``"La4Ni3O10 above 40 GPa"``: outputs are found with their models, files by their
        material, pressure and temperature. All without it.

        One dict for each: ``entry``, ``kind``, ``material``, ``pressure`` (GPa, None where not known or of several models),
        ``models``, ``source_file``, ``reader``, ``ingested``; `output` opens it.
        """
        from barospec.archive.ingest.models import list_outputs

        stored = list_outputs(self._store.read(self.snapshot))
        if not text.strip():
            return list(stored)
        from barospec.catalogs.selection.model_outputs import find_outputs

        with self.connection() as connection:
            return find_outputs(connection, about_models(text), stored)

    def output(self, entry: str) -> xr.Dataset:
        """A stored output of models, or what came from a file of a theory code, lazily; `outputs` lists them."""
        from barospec.archive.ingest.models import read_output

        return read_output(self._store.read(self.snapshot), entry)
