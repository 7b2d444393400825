"""One check of values: what `check` accepts, all that follows accepts; what it refuses, it refuses in plain words."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from barospec import Archive
from barospec._ingest import prepare
from barospec.catalogs.bundles.verify import verify
from barospec.schemas.errors import CallError, InvalidData
from barospec.schemas.values import check_text, checked, parse_value
from barospec.schemas.vocabulary import BY_NAME, LIMITS, SETTABLE, TERMS, Term

from .files_made import SETTINGS, write_columns

WRONG = [
    ("step", "1" * 30, "step 1111"),
    ("step", "-2147483648", "from -2147483647 to 2147483647"),
    ("cluster_atoms", "2147483648", "from -2147483647 to 2147483647"),
    ("note", "half \ud800 of one", "note: character 6 is U+D800, a control character or half of one"),
    ("note", "a\0b", "note: character 2 is U+0000"),
    ("note", "bell \x07", "note: character 6 is U+0007"),
    ("sample", "a\x1bb", "sample: character 2 is U+001B"),
    ("note", "x" * 131_100, "note has 131100 bytes; at most 100000 are accepted"),
    ("note", "é" * 50_001, "note has 100002 bytes"),
    ("gasket", "x" * 2_001, "gasket has 2001 bytes; at most 2000"),
    ("pressure", "1e300 GPa", "pressure 1e+300 GPa is not possible: from -1 GPa to 10000 GPa"),
    ("pressure", "-5 GPa", "pressure -5 GPa is not possible: from -1 GPa to 10000 GPa"),
    ("pressure", "-20 kbar", "pressure -2 GPa is not possible"),
    ("pressure", "1 ± 1e5 GPa", "pressure_sigma 100000 GPa is not possible: from 0 GPa to 10000 GPa"),
    ("temperature", "1e6 K", "temperature 1000000 K is not possible: from 0 K to 100000 K"),
    ("ruby_wavelength", "-694 nm", "ruby_wavelength -694 nm is not possible"),
    ("time", "2300-01-01", "from 1900-01-01 00:00:00 UTC to 2200-01-01 00:00:00 UTC"),
    ("time", "0001-01-01T00:00:00+14:00", "is not possible"),
]


@pytest.mark.parametrize(
    ("name", "text", "words"), WRONG, ids=[f"{name} {number}" for number, (name, *_) in enumerate(WRONG)]
)
def test_refused_everywhere_in_the_same_words(empty: Archive, tmp_path: Path, name: str, text: str, words: str) -> None:
    """By ``--set``, in a run sheet and its table, and as a correction."""
    path = write_columns(tmp_path / "a.xdi")
    with pytest.raises(CallError) as by_option:
        prepare([path], [*(pair for pair in SETTINGS if not pair.startswith(f"{name}=")), f"{name}={text}"])
    assert words in str(by_option.value)
    prepared = prepare([sheet(tmp_path, {name: text})], [])
    assert (len(prepared.entries), prepared.refused) == (0, 1)
    told = str(prepared.problems[0])
    assert words in told
    assert "run-sheet.yaml:" in told
    if name not in ("sample", "cluster_atoms"):
        assert empty.ingest([path], SETTINGS).added == 1
        with pytest.raises(CallError) as by_edit:
            empty.set("run = run-1", [f"{name}={text}"], reason="slip")
        assert words in str(by_edit.value)


def quoted(text: str) -> str:
    """A YAML scalar that says exactly this text."""
    return '"' + "".join(one if one.isascii() and one.isalnum() else f"\\U{ord(one):08X}" for one in text) + '"'


def sheet(folder: Path, stated: dict[str, str]) -> Path:
    fields = dict(pair.split("=", 1) for pair in SETTINGS) | stated
    path = folder / "run-sheet.yaml"
    lines = [f"{name}: {quoted(text)}" for name, text in fields.items()]
    path.write_text("\n".join([*lines, "files: a.xdi", ""]))
    return path


def test_a_long_cell_of_a_table_is_refused_with_its_line(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.xdi")
    (tmp_path / "scans.csv").write_text(f"file,note\na.xdi,{'x' * 131_100}\n")
    path = sheet(tmp_path, {})
    path.write_text(path.read_text() + "scans: scans.csv\n")
    prepared = prepare([path], [])
    assert (len(prepared.entries), prepared.refused) == (0, 1)
    assert "scans.csv:2: field larger than field limit (131072)" in str(prepared.problems[0])


def test_the_limits_hold_for_every_field() -> None:
    for term in TERMS:
        if term.kind in ("word", "text"):
            checked({term.name: "x" * term.longest})
            with pytest.raises(InvalidData, match=f"{term.name} has {term.longest + 1} bytes"):
                checked({term.name: "x" * (term.longest + 1)})
            continue
        low, high = term.limits
        checked({term.name: low})
        checked({term.name: high})
        assert (low == 0) or not term.name.endswith("_sigma")
        for value in (np.nextafter(low, -np.inf), np.nextafter(high, np.inf), np.inf, -np.inf):
            with pytest.raises(InvalidData, match=f"^{term.name} .* is not possible: from "):
                checked({term.name: value})
    assert {term.unit for term in TERMS if term.kind == "number"} <= LIMITS.keys()
    check_text("note", "two\nlines,\ta tab, Kβ, 面, 🙂")


def test_a_files_own_title_that_no_store_takes_is_left_out_with_a_warning(empty: Archive, tmp_path: Path) -> None:
    path = tmp_path / "a.prj"
    write_columns(path)
    raw = path.read_bytes().replace(b"# test\n", b"# a\x07bell\n")
    (tmp_path / "a.xdi").write_bytes(raw)
    report = empty.ingest([tmp_path / "a.xdi"], SETTINGS)
    assert (report.added, report.refused) == (1, 0)
    assert empty.verify().ok


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.text(max_size=12)
FAR = st.sampled_from(["1e300", "-5", "1" * 30, "nan", "inf", "-0", "9007199254740993", "2147483647", "1e-320", "1e4"])
NUMBERS = st.floats().map(repr) | st.floats(-2, 1e5).map(repr) | st.integers().map(str) | FAR


def written(term: Term) -> st.SearchStrategy[str]:
    if term.allowed:
        return st.sampled_from(term.allowed) | TEXT
    if term.kind in ("number", "integer"):
        return NUMBERS | st.tuples(NUMBERS, NUMBERS).map(" ± ".join) | TEXT
    if term.kind == "time":
        return st.datetimes().map(lambda moment: moment.isoformat()) | TEXT
    return TEXT | st.integers(1_990, 2_010).map("n".__mul__) | st.integers(33_330, 33_336).map("é ".__mul__)


FIXED = ("technique", "edge", "line", "origin")  # what the spectrum is; of few values
STATED = st.fixed_dictionaries({}, optional={term.name: written(term) for term in SETTABLE if term.name not in FIXED})
HARD = {
    "note": "two\nlines\r\n\tand <b>&amp; \"quotes\"; 'more', = + - @ \u2028 \ufeff \U0001f642 " + "é" * 9_900,
    "sample": "=1+1; DROP TABLE spectra; --",
    "run": "../../etc/passwd",
    "experiment": "a/b\\c:d*e?f|g",
    "pressure": "10000 GPa",
    "pressure_sigma": "10000",
    "temperature": "0 K",
    "step": "-2147483647",
    "time": "1900-01-01",
    "title": "n" * 100_000,
    "gasket": "g" * 2_000,
    "energy_shift": "-1e6",
    "culet": "1e-320",
}


NARROW = {"time": "2199-12-31T23:59:59.999999", "pressure": "-1 GPa", "step": "2147483647"}


def taken(stated: dict[str, str]) -> dict[str, str]:
    """What of it is accepted by itself."""
    found: dict[str, Any] = {}
    for name, text in stated.items():
        try:
            parse_value(BY_NAME[name], text)
        except InvalidData:
            continue
        found[name] = text
    return found


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(stated=STATED)
@example(stated=HARD)
@example(stated=NARROW)
def test_what_check_accepts_everything_accepts(stated: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_columns(folder / "a.xdi")
        path = sheet(folder, taken(stated))
        prepared = prepare([path], [])
        assert not (prepared.refused and stated in (HARD, NARROW)), prepared.problems
        if prepared.refused:
            # What is accepted one by one may contradict; then nothing is taken, and the message has its place.
            assert all(str(problem).startswith(str(folder)) for problem in prepared.problems)
            return
        archive = Archive.create(folder / "archive")
        report = archive.ingest([path])
        assert (report.added, report.refused) == (1, 0), report.problems
        assert archive.ingest([path]).unchanged == 1
        assert archive.verify().ok
        names = [term.name for term in SETTABLE if not term.private]
        before = archive.query().columns(names)
        assert archive.query().to_xarray().sizes["spectrum"] == 1
        archive.share("xas", folder / "bundle", derived="")
        told = verify(folder / "bundle")
        assert told.ok, told.problems
        other = Archive.create(folder / "other")
        assert other.import_bundle(folder / "bundle").added == 1
        after = other.query().columns(names)
        for name in names:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)
        assert other.verify().ok
        if stated == HARD:
            assert before["note"][0] == HARD["note"].strip()
            assert before["pressure"][0] == 10_000.0
        for format in ("xdi", "nxxas", "athena", "csv"):
            out = archive.export("xas", folder / format, format=format)
            assert len(out.files) >= 1, out


def test_reasons_labels_and_models_come_by_the_same_check(empty: Archive, tmp_path: Path) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    head = empty.snapshot
    for text, words in (("half \udc80", "is U+DC80"), ("a\0b", "is U+0000"), ("x" * 100_001, "has 100001 bytes")):
        for change in (
            lambda text: empty.set("run = run-1", ["pressure=1 GPa"], reason=text),
            lambda text: empty.withdraw("run = run-1", reason=text),
            lambda text: empty.flag(empty.query(), "bad", text),
        ):
            with pytest.raises(InvalidData, match=f"reason.*{re.escape(words)}"):
                change(text)
    assert empty.snapshot == head
    path = tmp_path / "models.yaml"
    path.write_text(
        "models:\n  - model_id: m\n    compound: La3Ni2O7\n    parameters:\n"
        '      - {name: J, value: 1e300, unit: eV, note: "a\\0b"}\n'
    )
    told = "\n".join(str(problem) for problem in prepare([path], []).problems)
    assert "models.yaml:5: note: character 2 is U+0000" in told
    assert "models.yaml:5: value 1e+300 is not possible: from -1e+30 to 1e+30" in told
