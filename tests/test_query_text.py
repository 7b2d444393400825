"""Any text is a query or a QueryError, and canonical text reads back to the same query."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.build_parse_table import digest, lark_parser
from barospec.catalogs.query.parse.lexer import LONGEST_TEXT, NOUNS, RESERVED
from barospec.catalogs.query.parse.parse_table import GRAMMAR_SHA256, RULES
from barospec.catalogs.query.parse.parser import _HANDLERS, parse
from barospec.catalogs.query.resolve.archive_schema import known_from
from barospec.catalogs.query.resolve.ast_json import from_dict, to_dict
from barospec.catalogs.query.resolve.resolve import resolve
from barospec.schemas.errors import QueryError
from barospec.schemas.units import UNITS
from tests.query_archive import make_index
from tests.test_query_corpus import CORPUS

words = st.one_of(
    st.sampled_from(
        ["pressure", "edge", "Ni K", "run-2", "Kβ", "Si(111)", "14", "2024-05", "a", 'quo"te', "back\\slash"]
    ),
    st.sampled_from(sorted(RESERVED)),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
names = st.lists(words, max_size=3).map(tuple)
some_words = st.lists(words, min_size=1, max_size=3).map(tuple)
units = st.sampled_from([unit.symbol for unit in UNITS if unit.symbol != "1"])
finite = st.floats(allow_nan=False, allow_infinity=False)
dates = st.one_of(
    st.dates().map(lambda day: day.isoformat()),
    st.dates().map(lambda day: day.isoformat()[:7]),
    st.datetimes().map(lambda at: at.isoformat(timespec="seconds")),
).filter(lambda text: text < "9999-12")
numbers = st.builds(ast.Number, finite, st.one_of(st.just(""), units))
values = st.one_of(numbers, st.builds(ast.Date, dates), st.builds(ast.Words, some_words))
same_unit = st.tuples(finite, finite, st.one_of(st.just(""), units))
tests = st.one_of(
    st.builds(ast.Compare, names, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), values),
    st.builds(lambda n, v: ast.Between(n, ast.Number(v[0], v[2]), ast.Number(v[1], v[2])), names, same_unit),
    st.builds(lambda n, v: ast.Within(n, ast.Number(v[0], v[2]), ast.Number(abs(v[1]), v[2])), names, same_unit),
    st.builds(ast.At, names, numbers),
    st.builds(ast.In, names, st.lists(values, min_size=1, max_size=3).map(tuple)),
    st.builds(ast.Contains, names, st.builds(ast.Words, some_words)),
    st.builds(ast.Missing, names),
    st.builds(ast.Phrase, some_words),
    st.builds(ast.Saved, st.from_regex(r"[\w-]+", fullmatch=True)),
)
conditions: Any = st.recursive(
    st.one_of(tests, tests.map(lambda test: ast.And((test,)))),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(ast.both),
        st.lists(inner, min_size=2, max_size=3).map(ast.either),
        inner.map(ast.negate),
    ),
    max_leaves=8,
)
queries = st.builds(
    ast.Query,
    st.sampled_from(sorted(set(NOUNS.values()))),
    st.one_of(st.none(), conditions),
    st.one_of(st.none(), st.lists(some_words, max_size=2).map(tuple)),
    st.lists(st.builds(ast.Sort, some_words, st.booleans()), max_size=2).map(tuple),
    st.one_of(st.none(), st.integers(1, 10**9)),
)
typed = st.lists(
    st.one_of(
        st.sampled_from([word for case in CORPUS["right"] for word in case["ask"].split()]),
        st.sampled_from([word for case in CORPUS["wrong"] for word in case["ask"].split()]),
        st.text(max_size=6),
    ),
    max_size=14,
).map(" ".join)


@pytest.fixture(scope="module")
def known() -> Any:
    """What an index of known contents can be asked."""
    return known_from(make_index())


@settings(max_examples=400, deadline=None)
@given(queries)
def test_canonical_text_parses_back(query: ast.Query) -> None:
    text = ast.to_text(query)
    if len(text) < LONGEST_TEXT:
        assert parse(text) == query


@settings(max_examples=200, deadline=None)
@given(queries)
def test_structured_form_survives_json(query: ast.Query) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(query)))) == query


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), typed))
@example("(" * 9000)
@example("not " * 2000)
@example("a " * 4999)
@example("1e999999999999")
@example("9" * 9000 + " GPa")
@example("latest " + "9" * 5000)
@example("\0")
@example("\ud800")
@example("a\u0085b\u2028c")
@example("٣ GPa")
@example("time = 9999-12-31")
@example("time = 9999-12")
@example("time > 0000")
@example("since 0000")
@example("time = 0000-01")
@example('"' + "\\" * 999)
@example("@" * 99)
@example("K" + "(" * 99)
@example("10" + "–" * 99)
def test_any_text_is_a_query_or_a_query_error(known: Any, text: str) -> None:
    try:
        query = parse(text)
        resolved = resolve(query, known)
    except QueryError as error:
        str(error)  # can be shown
        return
    assert parse(ast.to_text(query)) == query
    assert parse(ast.to_text(resolved.query)) == resolved.query
    assert resolve(resolved.query, known).query == resolved.query


def steps(work: Callable[[], object]) -> int:
    """Calls that `work` makes, of Python and of C: the same on every machine, however busy."""
    count = 0

    def step(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event.endswith("call")

    before = sys.getprofile()
    sys.setprofile(step)
    try:
        with contextlib.suppress(QueryError):
            work()
    finally:
        sys.setprofile(before)
    return count


LONG = [("(", 9000), ("not ", 2000), ("a ", 1999), ("Ni K or ", 600), ("x = 1 and ", 400), ("9", 9999)]


@pytest.mark.parametrize(("piece", "number"), LONG)
def test_the_work_for_long_texts_grows_with_their_length(piece: str, number: int) -> None:
    half, whole = (steps(lambda count=count: parse(piece * count)) for count in (number // 2, number))
    assert whole < 2.5 * half
    assert whole < 60 * len(piece) * number


@pytest.mark.parametrize("case", CORPUS["wrong"] + CORPUS["right"], ids=lambda case: case["ask"])
def test_understanding_is_little_work(known: Any, case: dict[str, str]) -> None:
    count = steps(lambda: resolve(parse(case["ask"]), known))
    assert count < 20_000


def test_tables_were_made_from_this_grammar() -> None:
    assert digest() == GRAMMAR_SHA256, "run python -m barospec.catalogs.query.parse.build_parse_table"
    assert {handler for _, _, handler in RULES} - {"", "_"} == set(_HANDLERS)


def test_lark_reads_the_same() -> None:
    """The compiled tables accept and refuse what lark's own parser of the grammar does."""
    from lark.exceptions import LarkError

    lark = lark_parser()
    for case in CORPUS["right"] + CORPUS["wrong"]:
        try:
            lark.parse(case["ask"])
            accepted = True
        except QueryError:  # by the lexer, which both share
            continue
        except LarkError:
            accepted = False
        try:
            parse(case["ask"])
        except QueryError as error:
            # What the rules' own functions refuse is none of the grammar's business.
            starts = "The query ends", "Commas separate", "A parenthesis", "The opening parenthesis"
            refused = error.problem.startswith(starts)
            refused |= "is not allowed here" in error.problem or "needs something before it" in error.problem
            refused |= "use a decimal point" in error.problem or "a range is not allowed" in error.problem
            if case["ask"].strip():
                assert refused is not accepted, case["ask"]
        else:
            assert accepted, case["ask"]


def test_the_query_path_imports_nothing_heavy() -> None:
    heavy = [
        "numpy",
        "pandas",
        "xarray",
        "zarr",
        "icechunk",
        "dask",
        "intake",
        "lark",
        "duckdb",
        "yaml",
        "rich",
    ]
    code = f"import sys, barospec.catalogs.query.answer.answer; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
