"""The mapped folders, lazy imports, and doctests."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import barospec

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "archive": "barospec.archive",
    "catalogs": "barospec.catalogs",
    "cli": "barospec.cli",
    "schemas": "barospec.schemas",
}
HEAVY = ("pandas", "xarray", "zarr", "icechunk", "dask", "intake", "numpy", "scipy", "matplotlib", "h5py", "yaml")


def modules() -> list[str]:
    names = ["barospec"]
    names += [module.name for module in pkgutil.walk_packages(barospec.__path__, "barospec.")]
    for folder, package in {**FOLDERS, "sample_data": "barospec.sample_data"}.items():
        names.append(package)
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder).with_suffix("").parts
            if "raw" not in inside and inside[-1] != "__init__":
                names.append(".".join([package, *inside]))
    return sorted(set(names))


def test_every_folder_with_modules_is_a_package() -> None:
    """setup.py finds packages by their ``__init__.py``; a folder without one would be missing in the wheel."""
    folders = {path.parent for folder in (*FOLDERS, "barospec") for path in (ROOT / folder).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("name", modules())
def test_doctests(name: str) -> None:
    # pytest's own collection would import the folders under their bare names.
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_bare_import_is_banned_by_ruff(tmp_path: Path) -> None:
    ruff = pytest.importorskip("ruff", reason="ruff is installed by `make lint` only")
    assert ruff
    probe = tmp_path / "probe.py"
    probe.write_text("import archive\n")
    config = str(ROOT / "pyproject.toml")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--config", config, "--select", "TID251", str(probe)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "TID251" in done.stdout


def imported_after(code: str) -> set[str]:
    """Top-level modules present in a fresh interpreter after running `code`."""
    program = f"import sys\n{code}\nprint('\\n' + ' '.join(sorted(m for m in sys.modules if '.' not in m)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_of_barospec_costs_nothing() -> None:
    assert not imported_after("import barospec") & {*HEAVY, "duckdb", "typer", "lark"}


def test_cold_query_imports_none_of_the_array_stack(sample_path: Path) -> None:
    code = f"""
sys.argv = ["barospec", "query", "all runs above 14 GPa", "--archive", {str(sample_path)!r}, "--json"]
from barospec.cli.main import run
try:
    run()
except SystemExit as end:
    assert not end.code, end.code
"""
    found = imported_after(code)
    assert "duckdb" in found
    assert not found & set(HEAVY)


@pytest.mark.parametrize("verb", ["runs", "fields", "query"])
def test_help_imports_no_archive(verb: str) -> None:
    code = f"""
sys.argv = ["barospec", {verb!r}, "--help"]
from barospec.cli.main import run
try:
    run()
except SystemExit:
    pass
"""
    assert not imported_after(code) & {*HEAVY, "duckdb"}


def test_public_names_resolve() -> None:
    for name in barospec.__all__:
        assert getattr(barospec, name) is not None
    with pytest.raises(AttributeError):
        _ = barospec.nothing_of_this_name
