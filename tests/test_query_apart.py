"""The spectra without a pressure, once more in a table of their own: answers are the same, and the table is kept right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.catalogs.index import build, database
from barospec.catalogs.index.annotations import note_flags
from barospec.catalogs.index.check import check_index
from barospec.catalogs.index.files import index_path
from barospec.catalogs.index.tables import measure
from barospec.catalogs.query.answer.answer import Answer, ask
from barospec.catalogs.query.answer.sql import Translator
from barospec.catalogs.query.answer.three_valued import halves
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema, known_from, known_now
from barospec.catalogs.query.resolve.missing_pressure import COLUMNS, TABLE, set_apart
from barospec.catalogs.query.resolve.resolve import resolve
from barospec.schemas.vocabulary import ANNOTATIONS, BY_NAME, SPECTRUM_TERMS

from .files_made import SETTINGS, write_columns
from .query_archive import make_index

TOLD = ("count", "missing", "not_applicable", "withdrawn", "flagged", "near_limit", "near_inside", "notes", "unlisted")
# What an archive may have, each alone and all together.
KINDS = ("plain", "readings", "curated", "all")


def _number(rng: random.Random, choices: tuple[float, ...], gaps: float) -> float | None:
    return None if rng.random() < gaps else rng.choice(choices)


def _rows(kind: str) -> list[dict[str, Any]]:
    rng = random.Random(kind)
    rows = []
    for number in range(60):
        row: dict[str, Any] = {"grp": "xas/Ni-K", "row": number, "spectrum_id": f"{number:016x}", "technique": "xas"}
        row |= {
            "status": "active",
            "run": f"run-{number % 4}",
            "edge": rng.choice(["Ni K", "La L3"]),
            "origin": "measured",
        }
        row |= {"pressure": _number(rng, (0.5, 9.8, 10.0, 10.2, 20.0), 0.3), "step": number}
        row |= {"pressure_sigma": _number(rng, (0.1, 0.3, 2.0), 0.3), "line": None}
        row |= {"temperature": _number(rng, (10.0, 79.0, 80.0, 300.0), 0.2)}
        row |= {"temperature_sigma": _number(rng, (0.5, 2.0), 0.3)}
        if kind in ("readings", "all"):  # of spectra without a pressure too
            row |= {f"pressure_{end}": _number(rng, (8.0, 10.0, 10.5, 30.0), 0.5) for end in ("before", "after")}
        if kind in ("curated", "all"):
            row["status"] = rng.choice(["active", "active", "withdrawn", "superseded"])
            row["merged_into"] = rng.choice([None, None, f"{number - 1:016x}"])
        if kind == "all":
            row["flag"] = rng.choice([None, None, "bad", "good"])
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def indexes() -> Iterator[dict[str, Any]]:
    """Indexes of random rows with gaps, by what they have beside."""
    made = {}
    for kind in KINDS:
        connection = made[kind] = make_index(spectra=_rows(kind))
        set_apart(connection)
        measure(connection)
        note_flags(connection)
        connection.execute("INSERT INTO meta VALUES ('snapshot', ?)", [kind])
    yield made
    for connection in made.values():
        connection.close()


PRESSURE = st.one_of(
    st.tuples(st.sampled_from([">", ">=", "<", "<=", "=", "!="]), st.sampled_from([9.8, 10.0, 10.1, 19.0, 50.0])).map(
        lambda told: f"pressure {told[0]} {told[1]} GPa"
    ),
    st.sampled_from([
        "between 10 and 10.2 GPa", "pressure = 10 +- 0.3 GPa", "pressure at 10 GPa", "pressure in (10, 20)",
        "pressure > 10 +- 1 GPa", "pressure > 10 GPa at 2 sigma", "pressure is missing", "pressure is known",
        "not pressure > 10 GPa", "(pressure > 10 GPa or temperature < 80 K)",
    ]),
)  # fmt: skip
OTHERS = st.sampled_from([
    "temperature < 80 K", "temperature between 79 and 80 K", "temperature is missing", "edge = Ni K", "run-2",
    "(run-1 or temperature > 80 K)", "not edge = Ni K", "pressure < 15 GPa", "pressure_sigma < 1 GPa",
    "pressure_before > 9 GPa", "status = withdrawn", "flag = bad", "spectrum_id = 0000000000000004", "line is missing",
])  # fmt: skip
NOUNS = st.sampled_from(["", "", "scans ", "runs "])


def _same(one: Answer, other: Answer) -> None:
    for name in TOLD:
        assert getattr(one, name) == getattr(other, name), name
    assert list(one.rows) == list(other.rows)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PRESSURE, min_size=1, max_size=2), st.lists(OTHERS, max_size=2), NOUNS, st.booleans())
def test_rows_apart_change_no_answer(
    indexes: dict[str, Any], pressures: list[str], others: list[str], noun: str, bad: bool
) -> None:
    text = f"{noun}where {' and '.join([*others[:1], *pressures, *others[1:]])}" if noun else ""
    text = text or " and ".join([*others[:1], *pressures, *others[1:]])
    include = ["bad"] if bad else []
    for kind, connection in indexes.items():
        if ("flag" in text and kind != "all") or ("before" in text and kind not in ("readings", "all")):
            continue
        known = known_from(connection)
        assert known.apart
        unaware = replace(known, reach={}, complete=frozenset(), empty=frozenset(), all_active=False, apart=False)
        found = ask(connection, text, known=known, include=include)
        _same(found, ask(connection, text, known=replace(known, apart=False), include=include))
        _same(found, ask(connection, text, known=unaware, include=include))
        if found.noun != "runs":
            assert (found.count, found.near_limit, found.near_inside, found.missing) == _plainly(
                found, unaware, include
            )


def _plainly(found: Answer, known: ArchiveSchema, include: list[str]) -> tuple[int, int, int, dict[str, int]]:
    """The same numbers, each condition as it stands, for every row."""
    asked = replace(parse(found.canonical), include=tuple(include))
    translator = Translator(resolve(asked, known), known)
    exact, loose, strict = (translator.condition(temper) for temper in ("exact", "loose", "strict"))
    inside, outside = f"{exact} AND NOT coalesce({strict}, FALSE)", f"NOT {exact} AND {loose}"
    tests = [exact, f"{inside} OR {outside}", inside]
    names = [*translator.conditioned(), *(["pressure_sigma"] if "at 2 sigma" in found.canonical else [])]
    names = [name for name in dict.fromkeys(names) if name in found.missing or f"{name} is" not in found.canonical]
    fields = known.fields["spectra"]
    tests += [
        f"({exact}) IS NULL AND {fields[name].sql} IS NULL AND {translator.applicable(fields[name])}" for name in names
    ]
    counts = ", ".join(f"count(*) FILTER (WHERE {test})" for test in tests)
    statement = translator.statement(f"SELECT {counts} FROM spectra WHERE {translator.searched()}")
    told = found.connection.execute(statement.sql, statement.parameters).fetchall()[0]
    lacking = {name: number for name, number in zip(names, told[3:], strict=True) if number and name not in ANNOTATIONS}
    return (*told[:3], lacking)


@pytest.mark.parametrize(
    ("kind", "text", "apart"),
    [
        ("plain", "Ni K spectra between 10 and 10.2 GPa below 80 K", True),
        ("plain", "pressure at 10 GPa", True),
        ("plain", "pressure in (10, 20) and run-2", True),
        ("readings", "pressure > 10 GPa", True),
        ("curated", "scans above 10 GPa", True),
        ("readings", "pressure > 10 +- 1 GPa", False),  # a reading might stand in for the value
        ("plain", "pressure > 10 GPa at 2 sigma", False),
        ("plain", "pressure is missing", False),
        ("plain", "pressure > 10 GPa or run-2", False),
        ("plain", "temperature < 80 K", False),
        ("plain", "pressure > 10 GPa and title contains a", False),
        ("all", "pressure > 10 GPa", False),
    ],
)
def test_which_questions_look_there(indexes: dict[str, Any], kind: str, text: str, apart: bool) -> None:
    known = known_from(indexes[kind])
    places = [place for _, place in halves(Translator(resolve(parse(text), known), known))]
    assert places == (['"spectra"', TABLE] if apart else ['"spectra"'])


def test_a_table_of_its_own_has_all_that_its_columns_need() -> None:
    assert {term.name for term in SPECTRUM_TERMS} - set(ANNOTATIONS) >= set(COLUMNS)
    for name in COLUMNS:
        term = BY_NAME[name]
        needed = {term.sigma, *(f"{name}_{end}" for end in ("before", "after")), *term.applies} & set(BY_NAME)
        assert needed <= set(COLUMNS), name
    assert {"status", "merged_into"} <= set(COLUMNS)  # which every search looks at


def _said(path: Path) -> tuple[int, int, str]:
    """Spectra above 10 GPa, those without a pressure, and whether the index says that its rows stand in order."""
    with database.connect(path) as connection:
        found = ask(connection, "above 10 GPa", columns=["spectrum_id"])
        _same(found, ask(connection, "above 10 GPa", columns=["spectrum_id"], known=known_now(connection)))
        missing = found.missing.get("pressure", 0)
        assert database.values(connection, f"SELECT count(*) FROM {TABLE} WHERE status = 'active'") == [(missing,)]
        return found.count, missing, database.values(connection, "SELECT value FROM meta WHERE key = 'in_order'")[0][0]


def test_corrections_keep_the_table_right(empty: Archive, tmp_path: Path) -> None:
    def said() -> tuple[int, int, str]:
        return _said(index_path(empty.location, empty.location.head()))

    paths = [write_columns(tmp_path / f"{number}.xdi", seed=number) for number in range(4)]
    empty.ingest(paths[:3], SETTINGS)
    first, second, _ = empty.query().columns(["spectrum_id"])["spectrum_id"]
    assert said() == (0, 3, "yes")
    empty.ingest(paths[3:], [*SETTINGS[:-1], "edge=La L3", "pressure=12 GPa"])
    assert said() == (1, 3, "no")  # it has its place before Ni K
    empty.set(first, {"pressure": "15 GPa"}, reason="found in the log")
    empty.withdraw(second, reason="glitch")
    assert said() == (2, 1, "no")
    empty.set(first, {"pressure": None, "medium": "argon"}, reason="of another run")
    empty.reinstate(second, reason="none")
    empty.ingest(paths[2:3], [*SETTINGS, "pressure=20 GPa"], replace=True)
    assert said() == (2, 2, "no")
    assert list(check_index(Store(empty.location), empty.location.head())) == []
    build.build(Store(empty.location), empty.location.head(), tmp_path / "fresh.duckdb")
    assert _said(tmp_path / "fresh.duckdb") == (2, 2, "yes")
