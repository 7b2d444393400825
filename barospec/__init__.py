"""barospec: an archive of high-pressure x-ray spectra and the models that explain them.

>>> import barospec
>>> barospec.__version__
'0.2.0.dev0'

Open an archive with `barospec.open`, create one with `barospec.Archive.create`; `barospec.api.Archive` lists the methods.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barospec.api import Archive as Archive
    from barospec.api import open as open
    from barospec.catalogs.selection import Selection as Selection
    from barospec.schemas.errors import BarospecError as BarospecError

__version__ = "0.2.0.dev0"

# Name -> module: loaded on first use (PEP 562), so that `import barospec` is fast.
_PUBLIC = {
    "Archive": "barospec.api",
    "BarospecError": "barospec.schemas.errors",
    "Selection": "barospec.catalogs.selection",
    "open": "barospec.api",
}
__all__ = ["Archive", "BarospecError", "Selection", "__version__", "open"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'barospec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
