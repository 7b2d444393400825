"""Source of the operators in a bundle: the modules that a chain imports, unchanged."""

from __future__ import annotations

import ast
from functools import cache
from importlib import metadata, util
from importlib.resources import files
from pathlib import Path

from barospec.schemas.version import __version__

ENTRIES = ("barospec.archive.operators.chain.execute", "barospec.archive.operators.registry")
_PACKAGE = '"""{what}, unchanged. Part of a bundle of spectra; see check_numbers.py beside this folder."""\n'


@cache
def modules_of(entries: tuple[str, ...] = ENTRIES) -> dict[str, Path]:
    """Return the barospec modules that some modules import, directly or not, with their files.

    >>> "barospec.archive.operators.normalize" in modules_of()
    True
    """
    found: dict[str, Path] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        spec = util.find_spec(name)
        if name in found or spec is None or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        if spec.submodule_search_locations is None:  # a package: only its named modules
            waiting += _imports(found[name])
    return found


def _imports(path: Path) -> list[str]:
    """List barospec modules that a file imports at run time; imports for type checking are excluded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: list[str] = []
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.startswith("barospec.") and _is_module(name)]


@cache
def _is_module(name: str) -> bool:
    try:
        return util.find_spec(name) is not None
    except ModuleNotFoundError:  # a function, looked up as if it were a submodule
        return False


def software_versions() -> dict[str, str]:
    """Return versions of the software that shapes a bundle's bytes: numbers, arrays, tables and figures."""
    names = ("duckdb", "matplotlib", "numcodecs", "numpy", "scipy", "zarr")
    found = {"barospec": __version__}
    for name in names:
        if util.find_spec(name) is not None:
            found[name] = metadata.version(name)
    return found


def write_software(folder: Path) -> None:
    """Write the operators' source, its licence, and the packages that make it importable under its own name."""
    for name, source in sorted(modules_of().items()):
        parts = name.split(".")
        package = source.name == "__init__.py"
        target = folder.joinpath(*parts, "__init__.py") if package else folder.joinpath(*parts).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    for made in sorted({path.parent for path in folder.rglob("*.py")} | {folder / "barospec"}):
        for package_folder in [made, *made.parents]:
            if package_folder == folder:
                break
            init = package_folder / "__init__.py"
            if package_folder == folder / "barospec":
                what = _PACKAGE.format(what=f"The operators of barospec {__version__}")
                init.write_text(f'{what}\n__version__ = "{__version__}"\n', encoding="utf-8", newline="\n")
            elif not init.exists():
                init.write_text(_PACKAGE.format(what="A part of barospec"), encoding="utf-8", newline="\n")
    (folder / "LICENSE").write_text(_license(), encoding="utf-8", newline="\n")


@cache
def _license() -> str:
    """Return the license in full, independent of the working directory: the first metadata found in a checkout may lack it."""
    found = (each.read_text("licenses/LICENSE") for each in metadata.distributions(name="barospec"))
    if text := next((text for text in found if text), ""):
        return text
    beside = Path(str(files("barospec"))).resolve().parent / "LICENSE"
    return beside.read_text(encoding="utf-8") if beside.is_file() else "BSD 3-Clause\n"
