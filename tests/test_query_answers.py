"""What answers promise: the right rows, and honest counts of those that are not among them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from barospec.catalogs.query.answer.answer import CHUNK, Answer, ask, spectra_of
from barospec.catalogs.query.answer.describe import describe_fields
from barospec.catalogs.query.answer.explain import explain, plan_lines
from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.ast_json import from_dict
from barospec.catalogs.query.resolve.keywords import query_of
from barospec.schemas.errors import QueryError
from tests.query_archive import SPECTRA, make_index


@pytest.fixture(scope="module")
def index() -> Any:
    """An index of known contents; nobody writes to it."""
    return make_index()


@pytest.fixture
def own() -> Any:
    """An index that the test may change."""
    return make_index()


def rows(found: Answer) -> list[dict[str, Any]]:
    """The rows of an answer by column."""
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def active(**wanted: Any) -> list[dict[str, Any]]:
    """The active rows that have these values."""
    return [r for r in SPECTRA if r["status"] == "active" and all(r.get(k) == v for k, v in wanted.items())]


def test_above_is_strict_and_between_inclusive(index: Any) -> None:
    assert {r["pressure"] for r in rows(ask(index, "above 14 GPa"))} == {15.6, 16.0, 19.5, 20.0, 23.7}
    assert {r["pressure"] for r in rows(ask(index, "between 14 and 16 GPa"))} == {14.0, 15.6, 16.0}
    assert {r["pressure"] for r in rows(ask(index, "at least 20 GPa"))} == {20.0, 23.7}
    assert {r["temperature"] for r in rows(ask(index, "10 ± 2 K"))} == {10.0, 12.0}


def test_conditions_hold_on_the_same_spectrum(index: Any) -> None:
    # run-3 reached 16 GPa at 300 K and 23.7 GPa at 12 K, but has nothing below 20 GPa and below 80 K at once.
    found = ask(index, "runs between 14.5 and 20 GPa below 80 K")
    assert [r["run"] for r in rows(found)] == ["run-2"]


def test_runs_tell_how_many_of_how_many_and_their_range(index: Any) -> None:
    found = ask(index, "all runs above 14 GPa")
    by_run = {r["run"]: r for r in rows(found)}
    assert list(by_run) == ["run-2", "run-3", "run-5", "run-6"]
    assert (by_run["run-3"]["matched"], by_run["run-3"]["of"]) == (2, 3)
    assert (by_run["run-3"]["pressure_min"], by_run["run-3"]["pressure_max"]) == (16.0, 23.7)
    assert by_run["run-2"]["of"] == len(active(run="run-2"))
    assert by_run["run-6"]["lacking"] == 1
    assert by_run["run-3"]["samples"] == "La3Ni2O7"
    assert found.units == {"pressure_min": "GPa", "pressure_max": "GPa"}
    assert found.missing == {"pressure": 5}


def test_runs_that_cannot_be_decided_are_apart(index: Any) -> None:
    found = ask(index, "runs above 14 GPa")
    assert [row[found.columns.index("run")] for row in found.unlisted] == ["feff", "run-1"]


def test_runs_not_above_have_no_such_spectrum(index: Any) -> None:
    found = ask(index, "runs not above 14 GPa")
    assert [r["run"] for r in rows(found)] == ["NiO", "ambient"]
    # run-6 is ruled out by a spectrum at 19.5 GPa; run-1 cannot be decided.
    assert [row[found.columns.index("run")] for row in found.unlisted] == ["feff", "run-1"]


def test_runs_that_meet_several_conditions_and_none_of_several_others(index: Any) -> None:
    # run-2 is at 10 K, run-3 goes to 23.7 GPa; run-5 is at 20 GPa and 300 K, as is run-6, which lacks one pressure.
    found = ask(index, "runs above 14 GPa below 400 K not above 22 GPa not below 11 K")
    assert [r["run"] for r in rows(found)] == ["run-5"]
    assert "run-6" in [row[found.columns.index("run")] for row in found.unlisted]


def test_a_missing_value_keeps_a_run_from_not_above(own: Any) -> None:
    own.execute("UPDATE spectra SET pressure = NULL WHERE run = 'NiO' AND pressure = 12")
    found = ask(own, "runs not above 14 GPa")
    assert [r["run"] for r in rows(found)] == ["ambient"]
    assert [row[found.columns.index("run")] for row in found.unlisted] == ["NiO", "feff", "run-1"]


def test_selecting_runs_takes_only_spectra_of_listed_runs(index: Any) -> None:
    found = spectra_of(index, "runs not above 14 GPa")
    assert sorted(found.rows) == [r["row"] for r in SPECTRA if r["run"] in ("NiO", "ambient")]
    first = spectra_of(index, "runs not above 14 GPa limit 1")
    assert sorted(first.rows) == [r["row"] for r in SPECTRA if r["run"] == "NiO"]


def test_selection_keeps_the_order_asked_for(index: Any) -> None:
    found = spectra_of(index, "run-2 sorted by pressure descending")
    assert list(found.rows) == [5, 4, 3, 2, 1, 0]
    assert set(found.groups) == {"xas/Ni K"}
    assert found.predicates["where"] == {"field": "run", "op": "=", "value": "run-2"}
    with pytest.raises(QueryError, match="contains spectra"):
        spectra_of(index, "structures")


def test_missing_is_not_false_and_not_applicable_is_not_missing(index: Any) -> None:
    for text in ("pressure > 14", "not pressure > 14", "pressure != 14"):
        assert ask(index, text).missing == {"pressure": 5}, text
    found = ask(index, "line = Kβ")
    assert (found.count, found.missing, found.not_applicable) == (3, {}, {"line": 18})
    assert ask(index, "cluster_atoms > 60").not_applicable == {"cluster_atoms": 19}
    assert ask(index, "line is missing").count == 0
    found = ask(index, "edge_energy > 8000 eV")
    assert (found.missing, found.not_applicable) == ({"edge_energy": 16}, {"edge_energy": 3})


def test_a_row_that_is_decided_otherwise_is_not_counted_as_missing(index: Any) -> None:
    # run-1 lacks pressures, but none of its rows is of the La L3 edge.
    assert ask(index, "La L3 above 14 GPa").missing == {}
    assert ask(index, "run-1 or above 14 GPa").missing == {"pressure": 3}


def test_withdrawn_rows_are_counted_and_can_be_asked_for(index: Any) -> None:
    found = ask(index, "run-2 above 14.5 GPa")
    assert (found.count, found.withdrawn) == (1, 1)
    assert [r["pressure"] for r in rows(ask(index, "status = withdrawn"))] == [15.0]
    assert ask(index, "status in (withdrawn, superseded)").count == 2


def test_a_row_without_an_uncertainty_is_undecided_where_it_counts(index: Any) -> None:
    found = ask(index, "La3Ni2O7 pressure > 10 GPa at 2 sigma")
    there = active(sample="La3Ni2O7")
    none = [row for row in there if row.get("pressure") is None]
    bare = [row for row in there if row.get("pressure_sigma") is None and row not in none]
    assert bare
    assert none
    assert found.missing == {"pressure": len(none), "pressure_sigma": len(bare)}


def test_near_limit_counts_sigma_and_readings_before_and_after(index: Any) -> None:
    # 13.9 ± 0.2 (13.7 before, 14.1 after) and 14.0 ± 0.2 lie near 14; 15.6 has no sigma.
    found = ask(index, "run-2 above 14 GPa")
    assert (found.near_limit, found.near_inside) == (2, 0)
    found = ask(index, "run-2 at most 14 GPa")
    assert (found.near_limit, found.near_inside) == (2, 2)
    assert ask(index, "run-2 above 14.15 GPa").near_limit == 1
    assert ask(index, "run-2 above 14.05 GPa").near_limit == 2
    assert ask(index, "run-2 not above 14 GPa").near_inside == 2


def test_only_the_readings_can_straddle(own: Any) -> None:
    own.execute("UPDATE spectra SET pressure_sigma = NULL")
    assert ask(own, "run-2 above 14 GPa").near_limit == 1


def test_missing_uncertainty_is_said(index: Any) -> None:
    assert ask(index, "run-2 above 14 GPa").notes == ["1 of 1 matching rows has no uncertainty of pressure recorded."]


def test_at_uses_the_rows_own_uncertainty_or_says_the_tolerance(index: Any) -> None:
    # run-3 at 12 K has a sigma of 3 K; the tolerance alone would not reach 9.5 K.
    found = ask(index, "run-3 at 9.5 K")
    assert [r["temperature"] for r in rows(found)] == [12.0]
    assert any("±2 K" in note and "temperature_sigma" in note for note in found.notes)
    assert ask(index, "run-2 at 12.5 K").count == 0
    assert ask(index, "run-2 at 12 K").count == 6


def test_exact_equality_that_finds_nothing_points_to_at(index: Any) -> None:
    assert any('"temperature at 11 K"' in note for note in ask(index, "temperature = 11").notes)


def test_scans_show_what_was_merged(own: Any) -> None:
    own.execute("ALTER TABLE spectra ADD COLUMN IF NOT EXISTS merged_into VARCHAR")
    own.execute("UPDATE spectra SET merged_into = 'x' WHERE run = 'run-2' AND pressure < 10")
    assert ask(own, "spectra in run-2").count == 4
    assert ask(own, "scans in run-2").count == 6
    assert ask(own, "run-2", scans=True).count == 6


def test_limit_does_not_change_the_count(index: Any) -> None:
    found = ask(index, "latest 2 spectra in run-2")
    assert found.count == 6
    assert [r["pressure"] for r in rows(found)] == [15.6, 14.0]
    assert len(rows(ask(index, "run-2", limit=3))) == 3
    assert len(rows(ask(index, "runs", limit=3))) == 3


def test_missing_values_are_sorted_last(index: Any) -> None:
    for text in ("sorted by pressure", "sorted by pressure descending"):
        assert [r["pressure"] for r in rows(ask(index, text))][-5:] == [None] * 5


def test_counting(index: Any) -> None:
    found = ask(index, "count by run, edge above 14 GPa")
    assert found.columns == ["run", "edge", "count"]
    assert list(found.rows) == [
        ("run-2", "Ni K", 1),
        ("run-3", "Ni K", 2),
        ("run-5", "La L3", 1),
        ("run-6", "Ni K", 1),
    ]
    assert list(ask(index, "count runs above 14 GPa").rows) == [(4,)]
    assert list(ask(index, "count runs not above 14 GPa").rows) == [(2,)]
    assert list(ask(index, "count run-2").rows) == [(6,)]


def test_columns(index: Any) -> None:
    assert ask(index, "run-2", columns=["run", "P"]).columns == ["run", "pressure"]
    assert "edge_energy_sigma" in ask(index, "edge_energy > 8000 eV").columns
    assert len(ask(index, "run-2", columns=["*"]).columns) > 60
    with pytest.raises(QueryError, match="pressure"):
        ask(index, "run-2", columns=["presure"])


def test_snapshot_and_explanation(index: Any) -> None:
    assert ask(index, "run-2").snapshot == "S0"
    told = explain(index, "above 140 kbar")
    assert (told["query"], told["snapshot"]) == ("pressure > 14 GPa", "S0")
    assert 14.0 in told["parameters"].values()
    assert "14" not in told["sql"]
    assert told["tree"] == ["spectra", "  pressure > 14 GPa"]
    assert any("of spectra where" in line for line in told["plan"])
    runs = explain(index, "runs above 14 GPa not calculated")
    assert runs["tree"] == ["runs", "  and", "    pressure > 14 GPa", "    not", "      origin = calculated"]
    assert len(runs["plan"]) < 8
    assert plan_lines([]) == ["nothing to read: the conditions exclude every row"]


def test_rows_stream_in_chunks(own: Any) -> None:
    many = f"SELECT 'g', i, 'active', 'run-2' FROM range({CHUNK}) t(i)"
    own.execute(f"INSERT INTO spectra (grp, row, status, run) {many}")
    sizes = [len(chunk) for chunk in ask(own, "run-2").chunks()]
    assert sum(sizes) == CHUNK + 6
    assert max(sizes) == CHUNK


# Words with several meanings


def test_material_is_preferred_only_if_it_includes_the_others(own: Any) -> None:
    assert ask(own, "NiO").canonical == "material = NiO"
    own.execute("UPDATE spectra SET material = 'other' WHERE run = 'NiO'")
    with pytest.raises(QueryError, match="several meanings") as caught:
        ask(own, "NiO")
    assert caught.value.hints == ("Perhaps: material = NiO", "Perhaps: sample = NiO", "Perhaps: run = NiO")


def test_values_that_differ_in_case_only_need_the_exact_spelling(own: Any) -> None:
    own.execute("INSERT INTO field_values VALUES ('run', 'RUN-2', 1)")
    assert ask(own, "run = run-2").canonical == "run = run-2"
    with pytest.raises(QueryError, match="No spectrum"):
        ask(own, "run = Run-2")


def test_many_values_are_not_all_listed(own: Any) -> None:
    own.execute("INSERT INTO field_values SELECT 'run', 'loading-' || i, 1 FROM range(20000) t(i)")
    with pytest.raises(QueryError) as caught:
        ask(own, "run = loadin-77")
    assert "loading-77" in caught.value.problem
    assert len(str(caught.value)) < 600


# Python keywords


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"pressure": "> 140 kbar"}, "pressure > 140 kbar"),
        ({"pressure": (">", 14)}, "pressure > 14"),
        ({"pressure": (">=", "140 kbar")}, "pressure >= 140 kbar"),
        ({"pressure": slice(14, None)}, "pressure >= 14"),
        ({"pressure": slice(None, "14 GPa")}, "pressure <= 14 GPa"),
        ({"pressure": slice(10, 20)}, "pressure between 10 and 20"),
        ({"pressure": slice(None)}, "pressure is known"),
        ({"pressure": None}, "pressure is missing"),
        ({"pressure": ...}, "pressure is known"),
        ({"pressure": np.float64(1.5)}, "pressure = 1.5"),
        ({"pressure": "10 to 20 GPa"}, "pressure between 10 and 20 GPa"),
        ({"temperature": "10 ± 1 K"}, "temperature = 10 ± 1 K"),
        ({"temperature": "at 10 K"}, "temperature at 10 K"),
        ({"edge": "Ni K"}, 'edge = "Ni K"'),
        ({"edge": "not in (Ni K)"}, "edge not in (Ni K)"),
        ({"run": ["run-2", "run-3"]}, "run in (run-2, run-3)"),
        ({"run": {"b", "a"}}, "run in (a, b)"),
        ({"sample": "NiO; x"}, 'sample = "NiO; x"'),
        ({"sample": "and above"}, 'sample = "and above"'),
        ({"time": date(2024, 5, 31)}, "time = 2024-05-31"),
        (
            {"time": datetime(2024, 5, 31, 2, tzinfo=timezone(timedelta(hours=2)))},
            "time = 2024-05-31T00:00:00",
        ),
        ({"step": 3, "edge": "Ni K"}, 'step = 3 and edge = "Ni K"'),
    ],
)
def test_keyword_conditions(keywords: dict[str, Any], text: str) -> None:
    assert ast.to_text(query_of("", **keywords)) == text


def test_keywords_join_the_text(index: Any) -> None:
    found = ask(index, "Ni K", pressure=slice(14, None), run=["run-2", "run-3"])
    assert found.canonical == 'edge = "Ni K" and pressure >= 14 GPa and run in (run-2, run-3)'
    assert ask(index, "run-2 or run-3", pressure="> 14 GPa").canonical == (
        "(run = run-2 or run = run-3) and pressure > 14 GPa"
    )
    assert ask(index, run="run-2").count == 6
    assert ask(index).count == len(active())


@pytest.mark.parametrize(
    "keywords",
    [
        {"pressure": True},
        {"pressure": float("nan")},
        {"pressure": []},
        {"pressure": slice(1, 2, 3)},
        {"pressure": object()},
        {"pressure": "> 14 GPa sorted by run"},
        {"pressure": "> 14 K"},
        {"pressure": "\0"},
        {"presure": 3},
        {"grp": "xas"},
        {'pressure" IS NULL OR "pressure': 3},
        {"run": "run-9"},
        {"limit": 0},
        {"time": date.max},
    ],
)
def test_keywords_that_mean_nothing(index: Any, keywords: dict[str, Any]) -> None:
    with pytest.raises(QueryError):
        ask(index, "", **keywords)


# Structured form


@pytest.mark.parametrize(
    "form",
    [
        [],
        {"noun": "tables"},
        {"where": {"field": "pressure", "op": "; DROP", "value": 1}},
        {"where": {"field": "pressure", "op": ">", "value": {"number": "14"}}},
        {"where": {"field": "pressure", "op": ">", "value": {"number": True}}},
        {"where": {"field": "pressure", "op": ">", "value": {"number": 10**400}}},
        {"where": {"field": "pressure", "op": "in", "values": []}},
        {"where": {"and": []}},
        {"where": {"sql": "1 = 1"}},
        {"where": {"field": 'pressure" OR 1=1 --', "op": "missing"}},
        {"where": {"field": "time", "op": "=", "value": {"date": "2024-02-31"}}},
        {"limit": "1; DROP TABLE spectra"},
        {"limit": 0},
        {"sort": [{"field": "presure"}]},
        {"count_by": ["grp"]},
        {"where": {"words": ["nothing"]}},
        {"where": {"saved": "nothing"}},
    ],
)
def test_structured_forms_that_mean_nothing(index: Any, form: Any) -> None:
    with pytest.raises(QueryError):
        ask(index, from_dict(form))


def test_deep_structures_are_refused() -> None:
    form: dict[str, Any] = {"words": ["x"]}
    for _ in range(5000):
        form = {"not": form}
    with pytest.raises(QueryError, match="nested"):
        from_dict({"where": form})


# Injection

HOSTILE = [
    "'; DROP TABLE spectra; --",
    '"; DROP TABLE spectra; --',
    "x' OR '1'='1",
    'x" OR "1"="1',
    "$p0",
    "?",
    "%(x)s",
    "{0}",
    "\\",
    "\\' OR 1=1 --",
    "/* */ OR TRUE",
    "read_csv('/etc/passwd')",
    "spectra UNION SELECT * FROM meta",
    "\u037e DROP TABLE spectra",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_only_values(own: Any, text: str) -> None:
    """In any place where text can stand, it is a value that no row has, or an error; never SQL."""
    quoted = ast.quote(text)
    for query in (
        text,
        quoted,
        f"run = {quoted}",
        f"{quoted} > 3",
        f"sorted by {quoted}",
        f"count by {quoted}",
        f"@{text}",
    ):
        with pytest.raises(QueryError):
            ask(own, query)
    for query in (
        f"title = {quoted}",
        f"title contains {quoted}",
        f"id = {quoted}",
        f"title in ({quoted}, b)",
    ):
        found = ask(own, query)
        assert (found.count, list(found.rows)) == (0, [])
        assert text not in found.statement.sql.replace("$p0", "")  # our own first parameter
    assert own.execute("SELECT count(*) FROM spectra").fetchone() == (len(SPECTRA),)


def test_a_row_with_a_hostile_value_is_found_as_any_other(own: Any) -> None:
    value = HOSTILE[0]
    own.execute("UPDATE spectra SET run = ?, title = ? WHERE run = 'NiO'", [value, value])
    own.execute("UPDATE field_values SET value = ? WHERE field = 'run' AND value = 'NiO'", [value])
    for text in (ast.quote(value), f"run = {ast.quote(value)}", f"title = {ast.quote(value)}"):
        found = ask(own, text)
        assert found.count == 2
        assert ask(own, found.canonical).count == 2
    assert [r["run"] for r in rows(ask(own, f"runs of {ast.quote(value)}"))] == [value]


def test_parsing_alone_needs_no_archive() -> None:
    assert ast.to_text(parse("La3Ni2O7 Ni K below 80 K")) == "La3Ni2O7 Ni K < 80 K"


def test_fields_tell_what_there_is(index: Any) -> None:
    found = {(row["table"], row["field"]): row for row in describe_fields(index)}
    pressure = found["spectra", "pressure"]
    assert (pressure["unit"], pressure["count"], pressure["total"]) == ("GPa", 16, len(active()))
    assert (float(pressure["min"]), float(pressure["max"])) == (0.0001, 23.7)
    assert found["spectra", "sample"]["values"][0] == f"La3Ni2O7 ({len(active(sample='La3Ni2O7'))})"
    energy = found["spectra", "edge_energy"]  # a derived value
    assert (energy["level"], energy["count"], energy["unit"], energy["max"]) == ("derived", 2, "eV", "8346.4")
    assert found["bonds", "bond_length"]["total"] == 2
    assert found["literature", "quantity"]["values"] == ["bond length (1)", "valence (1)"]


def test_explain_is_about_the_answer_that_was_asked_for(index: Any) -> None:
    told = explain(index, "above 14 GPa", columns=["run"], limit=2)
    assert told["sql"].startswith('SELECT "run" AS "run" FROM')
    assert told["sql"].endswith("LIMIT 2")
