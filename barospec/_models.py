"""Models, their stored outputs, and spectra together with models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from barospec._queries import QueryMethods
from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from barospec.catalogs.selection.models import ModelSelection


def about_models(text: str) -> str:
    """Return the query as a query of models if it names no noun.

    >>> about_models("La4Ni3O10 above 40 GPa")
    'models La4Ni3O10 above 40 GPa'
    """
    return text if re.search(r"\bmodels?\b", text) else f"models {text}".strip()


class ModelMethods(QueryMethods):
    """Methods of an archive for models."""

    def models(self, text: str = "") -> ModelSelection:
        """Return the models that a query finds, such as ``"La4Ni3O10 above 40 GPa"`` or ``"with J_ZZ > 0.5 eV"``."""
        from barospec.archive.ingest.models import read_models
        from barospec.catalogs.selection.models import ModelSelection

        with self.ask(about_models(text), columns=["model_id"]) as answer:
            if answer.noun != "models":
                raise CallError(f'the query finds {answer.noun}, not models. Begin it with "models".')
            found, query, snapshot = [str(row[0]) for row in answer.rows], answer.canonical, answer.snapshot
        return ModelSelection(
            self.location.place, snapshot, query, tuple(read_models(self._store.read(snapshot), found))
        )

    def together(self, text: str) -> xr.DataTree:
        """Return spectra and models that match the same conditions as one tree: ``/spectra/...`` and ``/models``.

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
        """Store an output of `ModelSelection.apply` in the archive, in one commit; return the name of the entry."""
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
        """List stored outputs of operators over models, and hoppings, bands and densities of states of ingested files.

        `text` is a query of models, such as ``"La4Ni3O10 above 40 GPa"``: outputs are found with their models, files by their
        material, pressure and temperature. Default: all.

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
        """Open a stored output of models, or the data of a theory code's file, lazily; `outputs` lists them."""
        from barospec.archive.ingest.models import read_output

        return read_output(self._store.read(self.snapshot), entry)
