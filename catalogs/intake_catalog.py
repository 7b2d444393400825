"""The reader under the path that catalogs written by barospec 0.1 name; new ones name `barospec.intake`."""

from __future__ import annotations

from barospec.catalogs.selection.intake import SelectionReader

__all__ = ["SelectionReader"]
