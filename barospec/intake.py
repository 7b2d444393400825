"""Reader that intake catalogs name. This module path is permanent, because existing catalogs contain it."""

from __future__ import annotations

from barospec.catalogs.selection.intake import SelectionReader

__all__ = ["SelectionReader"]
