"""Words that people read: docstrings begin with a verb, and words of a translator's English stay out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("archive", "barospec", "catalogs", "cli", "schemas", "sample_data", "benchmarks", "docs")
NO_VERBS = {
    *("What Whether Where Which How Why Who When A An The All Every Each One No Some Three Two".split()),
    *("True False None Those These This That".split()),
}
STARRED = re.compile(
    r"\b(told|taken in|put in|left out|for want of|could not be decided|anew|for ever|of ours|laid on|steepest point)\b",
    re.IGNORECASE,
)
# Bytes of bundles and keys of files that people have.
KEPT = {"[left out]", "left_out", "said", "told apart"}


def modules() -> list[Path]:
    return sorted(
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if "raw" not in path.relative_to(ROOT).parts
    )


def documented(path: Path) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text:
                yield node, text


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    """Ruff's D401 finds other forms of verbs; nouns and questions are found here."""
    wrong = []
    for path in modules():
        for node, text in documented(path):
            first = re.split(r"\W", text, maxsplit=1)[0]
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and any("property" in ast.unparse(each) for each in node.decorator_list):
                continue
            if first in (NO_VERBS if is_function else {"What", "Whether", "Where", "Which", "How", "Why", "Who"}):
                wrong.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {text.splitlines()[0]}")
    assert wrong == []


def test_starred_words_appear_in_no_text_of_the_code() -> None:
    wrong = []
    for path in modules():
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                text = node.value
                for kept in KEPT:
                    text = text.replace(kept, "")
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno} {hit[0]}" for hit in STARRED.finditer(text)]
        for number, line in enumerate(source.splitlines(), 1):
            comment = re.search(r"(?:^|\s)# (.*)", line)
            if comment and (hit := STARRED.search(comment[1])):
                wrong.append(f"{path.relative_to(ROOT)}:{number} {hit[0]}")
    assert wrong == []


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("*.md"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.md") if "raw" not in p.parts)],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_starred_words_appear_on_no_page(path: Path) -> None:
    text = path.read_text()
    for kept in KEPT:
        text = text.replace(kept, "")
    assert [f"{text[: hit.start()].count(chr(10)) + 1}: {hit[0]}" for hit in STARRED.finditer(text)] == []
