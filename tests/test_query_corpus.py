"""The corpus: what people type, what it means, and what they are told when it means nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from barospec.catalogs.query.answer.answer import ask
from barospec.catalogs.query.parse.parser import canonical, parse
from barospec.schemas.errors import QueryError
from tests.query_archive import make_index

CORPUS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("queries.yaml").read_text("utf-8"))
SAVED = CORPUS["saved"]


@pytest.fixture(scope="module")
def index() -> Any:
    """An index of known contents."""
    return make_index()


def test_the_corpus_is_large_and_half_of_it_wrong() -> None:
    assert len(CORPUS["right"]) >= 150
    assert len(CORPUS["wrong"]) >= 140


@pytest.mark.parametrize("case", CORPUS["right"], ids=lambda case: case["ask"])
def test_right_queries(index: Any, case: dict[str, Any]) -> None:
    found = ask(index, case["ask"], saved=SAVED)
    assert found.canonical == case["means"]
    assert f"{found.count} {found.noun}" == case["finds"]
    if " limit " not in found.canonical:
        assert len(list(found.rows)) == found.count
    # The canonical text and the stored predicates are the same question.
    assert canonical(parse(found.canonical)) == found.canonical
    for again in (ask(index, found.canonical), ask(index, found.predicates)):
        assert (again.canonical, again.count, again.predicates) == (
            found.canonical,
            found.count,
            found.predicates,
        )


@pytest.mark.parametrize("case", CORPUS["wrong"], ids=lambda case: case["ask"])
def test_wrong_queries(index: Any, case: dict[str, Any]) -> None:
    with pytest.raises(QueryError) as caught:
        ask(index, case["ask"], saved=SAVED)
    error = caught.value
    assert error.problem == case["says"]
    assert error.text[error.start : error.end] == case["at"]
