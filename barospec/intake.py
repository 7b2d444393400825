"""The reader that intake catalogs name. This path is permanent: catalogs outside the project hold it."""

from __future__ import annotations

from barospec.catalogs.selection.intake import SelectionReader

__all__ = ["SelectionReader"]
