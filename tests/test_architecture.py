"""Pages about the code: folder READMEs and docs/architecture.md name files that exist, and all of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("archive", "barospec", "catalogs", "cli", "sample_data", "schemas")
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# Packages without a README of their own -> the folder whose README covers them.
COVERED = {
    "archive/spins/electrons": "archive/spins",
    "archive/spins/sheets": "archive/spins",
    "catalogs/query/answer": "catalogs/query",
    "catalogs/query/parse": "catalogs/query",
    "catalogs/query/resolve": "catalogs/query",
}
# The layers of the picture -> the package that contains them.
PICTURES = ("barospec", "barospec.archive", "barospec.catalogs", "barospec.catalogs.query")


def modules() -> dict[str, list[str]]:
    """Return folder -> modules in it, beside ``__init__``."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__init__.py":
                found.setdefault(path.parent.relative_to(ROOT).as_posix(), []).append(path.name)
    return found


MODULES = modules()
READMES = sorted({ROOT / COVERED.get(folder, folder) / "README.md" for folder in MODULES})
PAGES = [*READMES, *(page for package in PACKAGES for page in (ROOT / package).rglob("DECISIONS.md")), ARCHITECTURE]


def in_backticks(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`([^`]+)`", text)


def layers(container: str) -> list[set[str]]:
    """Return the layers of an import contract, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        listed: list[Any] = contract.get("layers", [])
        if listed and contract.get("containers", ["barospec"]) == [container]:
            return [{name.strip().removeprefix("barospec.") for name in re.split(r"[|:]", layer)} for layer in listed]
    raise AssertionError(f"no contract on the layers of {container}")


def drawn(container: str) -> list[set[str]]:
    """Return the layers of a picture in the order of its arrows, the highest first."""
    found = re.search(rf'subgraph \w+\["{re.escape(container)}"\]\n(.*?)\n  end', ARCHITECTURE.read_text(), re.DOTALL)
    assert found, f"no picture of {container}"
    boxes = dict(re.findall(r'(\w+)\["([^"]+)"\]', found[1]))
    order: list[str] = []
    for line in found[1].splitlines():
        chain = re.findall(r"\b([a-z]\d+)\b", re.sub(r'\["[^"]+"\]', "", line))
        assert not order or not chain or chain[0] == order[-1], f"the chain of arrows is broken at {chain}"
        order += chain[1:] if order else chain
    assert set(order) == set(boxes)
    return [set(boxes[box].split(" · ")) for box in order]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_named_paths_exist(page: Path) -> None:
    """A path may be relative to the page's folder (or a subpackage that it covers) or to the checkout."""
    folder = page.parent.relative_to(ROOT).as_posix()
    bases = [page.parent, ROOT, *(ROOT / part for part, covering in COVERED.items() if covering == folder)]
    if page == ARCHITECTURE:
        bases = [ROOT]
    paths = [name for name in in_backticks(page) if re.fullmatch(r"\w[\w./-]*(\.py|/)", name)]
    assert [name for name in paths if not any((base / name).exists() for base in bases)] == []
    assert page != ARCHITECTURE or paths


@pytest.mark.parametrize("folder", MODULES)
def test_every_folder_has_a_readme_of_one_screen(folder: str) -> None:
    page = ROOT / COVERED.get(folder, folder) / "README.md"
    assert page.exists(), f"write {folder}/README.md: its question, its modules, how to add one, decisions"
    lines = page.read_text().splitlines()
    assert len(lines) <= 60
    assert folder == "sample_data" or [line for line in lines if len(line) > 160] == []


@pytest.mark.parametrize("folder", MODULES)
def test_every_module_is_in_a_readme(folder: str) -> None:
    names = {name.rpartition("/")[2] for name in in_backticks(ROOT / COVERED.get(folder, folder) / "README.md")}
    assert [module for module in MODULES[folder] if module not in names] == []


def test_exceptions_are_needed() -> None:
    assert set(COVERED) <= set(MODULES)
    assert [folder for folder in COVERED if (ROOT / folder / "README.md").exists()] == []


@pytest.mark.parametrize("container", PICTURES)
def test_picture_has_the_layers_of_the_contracts(container: str) -> None:
    assert drawn(container) == layers(container)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        assert "://" in target or (page.parent / target.partition("#")[0]).exists(), target
