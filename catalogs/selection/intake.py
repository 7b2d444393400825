"""Intake 2 catalogs whose entries are named selections of an archive.

An entry has the query as structured predicates, never as SQL, and the archive's location relative to the catalog
file, so that both can be moved together. Only this module imports intake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from intake.readers.readers import BaseReader

from barospec.archive.store.storage.location import is_remote, locate
from barospec.catalogs.selection.select import select
from barospec.schemas.errors import CallError, InvalidData

if TYPE_CHECKING:
    import xarray as xr


class SelectionReader(BaseReader):  # type: ignore[misc]  # intake has no types
    """Reads one named selection: a lazy Dataset, or a DataTree if it has several kinds of spectra."""

    output_instance = "xarray:Dataset"

    def _read(
        self,
        archive: str,
        predicates: Mapping[str, Any],
        at: str | None = None,
        channels: bool = False,
        derived: Sequence[str] = (),
        **_: Any,
    ) -> xr.Dataset | xr.DataTree:
        location = locate(re.sub("^file://", "", archive))
        return select(location, at, predicates).to_xarray(channels=channels, derived=derived)

    def discover(self, **kwargs: Any) -> Any:
        """Return the same as ``read``: nothing is loaded until it is computed."""
        return self.read(**kwargs)


def slug(text: str) -> str:
    """Convert a query or a name to an entry's name.

    >>> slug("Ni K above 14 GPa")
    'ni_k_above_14_gpa'
    """
    return re.sub(r"[^0-9a-z]+", "_", text.replace("β", "b").replace("α", "a").casefold()).strip("_")


def write_catalog(
    path: Path,
    archive: str,
    entries: Mapping[str, tuple[str, Mapping[str, Any]]],
    *,
    title: str = "",
    at: str | None = None,
    derived: Sequence[str] = (),
) -> None:
    """Write a catalog file.

    Parameters
    ----------
    path : Path
        Target; it is replaced only when complete.
    archive : str
        The archive's folder, relative to the catalog file; or its ``s3://`` address.
    entries : mapping of str to (str, mapping)
        Name -> (query text, query as predicates).
    title : str
        Title in the catalog's metadata.
    at : str, optional
        Tag or snapshot of the entries; without it they follow the archive.
    derived : sequence of str
        Stored values to read with the spectra; ``entry.read(derived=[...])`` reads others.
    """
    for name in entries:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise CallError(f'entry name "{name}" must begin with a letter and have letters, digits and _ only.')
    if any("{" in value for _, predicates in entries.values() for value in _strings(predicates)):
        raise InvalidData(
            "a query with { in a value cannot be stored in an intake catalog: intake would read it as a template."
        )
    described = {
        name: {
            "reader": "barospec.intake:SelectionReader",
            "kwargs": {
                "archive": archive if is_remote(archive) else "{CATALOG_DIR}/" + archive,
                "predicates": dict(predicates),
                **({"at": at} if at else {}),
                **({"derived": list(derived)} if derived else {}),
            },
            "output_instance": SelectionReader.output_instance,
            "metadata": {"description": text},
            "user_parameters": {},
        }
        for name, (text, predicates) in entries.items()
    }
    content = {
        "version": 2,
        "metadata": {"title": title, "made_by": "barospec"},
        # Without aliases, intake lists no entry of a catalog read from a file.
        "aliases": {name: name for name in entries},
        "entries": described,
        "data": {},
        "user_parameters": {},
    }
    part = path.with_name(f".{path.name}.part")
    header = "# Named selections of a barospec archive. Open with intake.open_catalog(); needs barospec installed.\n"
    part.write_text(header + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    part.replace(path)


def _strings(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []
