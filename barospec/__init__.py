"""barospec: an archive of high-pressure x-ray spectra and the models that explain them.

>>> import barospec
>>> __version__
'0.2.0.dev0'

Open an archive with `barospec.open`, create one with `barospec.Archive.create`; `barospec._archive.Archive` lists the methods.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from barospec.schemas.version import __version__

if TYPE_CHECKING:
    from barospec._archive import Archive as Archive
    from barospec._archive import open as open
    from barospec._bundles import verify_bundle as verify_bundle
    from barospec.catalogs.selection.selection import Selection as Selection
    from barospec.schemas.errors import BarospecError as BarospecError

# Name -> module: loaded on first use (PEP 562), so that `import barospec` is fast.
_PUBLIC = {
    "Archive": "barospec._archive",
    "BarospecError": "barospec.schemas.errors",
    "Selection": "barospec.catalogs.selection.selection",
    "open": "barospec._archive",
    "verify_bundle": "barospec._bundles",
}
__all__ = ["Archive", "BarospecError", "Selection", "__version__", "open", "verify_bundle"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'barospec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
