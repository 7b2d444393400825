"""Run sheets: values as written, inheritance, every mistake with its place."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import openpyxl
import pytest
import yaml

from barospec import Archive, sample_data
from barospec._ingest import prepare
from barospec.archive.readers.spreadsheet import read_table, split_header
from barospec.archive.sheets.run_sheet import read_sheet
from barospec.schemas.errors import UnreadableFile
from barospec.schemas.sheet import json_schema

from .files_made import write_columns

ROOT = Path(__file__).parents[1]
MINIMAL = "run: run-2\nsample: NiO\ntechnique: xas\nedge: Ni K\norigin: synthetic\nfiles: '*.xdi'\n"


def sheet(folder: Path, text: str, files: int = 1) -> Path:
    for number in range(files):
        write_columns(folder / f"{number}.xdi", seed=number)
    path = folder / "run-sheet.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def said(path: Path) -> list[str]:
    return [
        str(problem).replace(str(path.parent) + "/", "")
        for problem in prepare([path]).problems
        if problem.severity == "error"
    ]


def test_the_minimal_sheet(tmp_path: Path) -> None:
    found = prepare([sheet(tmp_path, MINIMAL, files=3)])
    assert not found.refused
    assert [entry.columns["source_file"] for entry in found.entries] == ["0.xdi", "1.xdi", "2.xdi"]
    assert {entry.group for entry in found.entries} == {"xas/Ni-K"}
    assert found.completeness()["pressure"] == (0, 3)


def test_inheritance_from_top_to_run_to_row(tmp_path: Path) -> None:
    path = sheet(
        tmp_path,
        """
sample: NiO
technique: xas
edge: Ni K
origin: synthetic
temperature: 300 K
medium: none
runs:
  - run: one
    files: 0.xdi
    pressure: 15.1 ± 0.3
    scans:
      - {pressure: 156 kbar, step: 1}
  - run: two
    files: [1.xdi]
    temperature: 10 ± 1 K
""",
        files=2,
    )
    one, two = (entry.columns for entry in prepare([path]).entries)
    # The uncertainty belonged to the inherited pressure, not to the row's.
    assert (one["pressure"], one.get("pressure_sigma"), one["temperature"], one["step"]) == (15.6, None, 300.0, 1)
    assert (two["temperature"], two["temperature_sigma"], two["medium"]) == (10.0, 1.0, "none")


def test_scalars_are_taken_as_written(tmp_path: Path) -> None:
    found = read_sheet(
        sheet(tmp_path, MINIMAL.replace("NiO", "no") + "scans:\n  - {file: 0.xdi, scan: 1.10, note: 010}\n")
    )
    row = (found.runs[0].rows or [])[0]
    assert (row.scan, row.conditions["sample"], row.conditions["note"]) == ("1.10", "no", "010")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "presure: 3\n", 'run-sheet.yaml:7:1: "presure" is not a key here. Did you mean pressure'),
        (MINIMAL + 'pressure: "23,7"\n', 'run-sheet.yaml:7:11: pressure "23,7" is not a number. Write 23.7 (GPa)'),
        (MINIMAL + "temperature: 20 GPa\n", "run-sheet.yaml:7:14: temperature"),
        (MINIMAL + "temperature: room temperature\n", "is not a reading"),
        (MINIMAL + "run: other\n", '"run" is given twice'),
        (MINIMAL + "spectrum_id: abc\n", "is written by the archive itself"),
        (MINIMAL.replace("*.xdi", "*.xyz"), 'files "*.xyz" matches nothing'),
        (MINIMAL.replace("files: '*.xdi'\n", ""), "the sheet names no files"),
        (MINIMAL + "signal: transmision\n", "Did you mean transmission"),
        (MINIMAL + "scans: none.csv\n", "is not there"),
        (MINIMAL + "scans:\n  - {file: 7.xdi}\n", "file 7.xdi was not found"),
        (MINIMAL + "scans:\n  - {file: 0.xdi, scan: 9.9}\n", "scan 9.9 of 0.xdi was not found"),
        (MINIMAL + "runs: [{run: x}]\n", "a run without files"),
        (MINIMAL + "literature:\n  - {quantity: valence, value: 2.53}\n", "needs value_unit, source"),
        ("- a list\n", "a run sheet is a mapping"),
        ("run: [1\n", "not YAML"),
        ("run: \x00\n", "not YAML"),
        ("", "a run sheet is a mapping"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, expected: str, tmp_path: Path) -> None:
    assert any(expected in message for message in said(sheet(tmp_path, text))), said(sheet(tmp_path, text))


def test_a_mistake_spoils_its_row_only(tmp_path: Path) -> None:
    path = sheet(tmp_path, MINIMAL + "scans: scans.csv\n", files=3)
    (tmp_path / "scans.csv").write_text(
        'file,pressure (kbar),[comment]\n0.xdi,10,first\n1.xdi,"1,5",typed badly\n2.xdi,-,\n'
    )
    found = prepare([path])
    assert [entry.columns.get("pressure") for entry in found.entries] == [1.0, None]
    assert found.refused == 1
    assert "scans.csv:3" in said(path)[0]


def test_a_table_in_xlsx_keeps_the_scan_as_shown(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.append(["scan", "pressure [kbar]", "temperature"])
    page.append([1.1, 237, 300])
    page["A2"].number_format = "0.00"
    book.save(tmp_path / "t.xlsx")
    rows = list(read_table(tmp_path / "t.xlsx"))
    assert rows == [(2, {"scan": "1.10", "pressure [kbar]": "237", "temperature": "300"})]
    assert split_header("pressure [kbar]") == ("pressure", "kbar")


def test_semicolons_and_tabs_separate_too(tmp_path: Path) -> None:
    for separator in ";\t":
        (tmp_path / "t.csv").write_text(f"file{separator}pressure\na.xdi{separator}3\n")
        assert list(read_table(tmp_path / "t.csv")) == [(2, {"file": "a.xdi", "pressure": "3"})]


def test_skipped_scans_are_counted(tmp_path: Path) -> None:
    found = prepare([sheet(tmp_path, MINIMAL + "scans:\n  - {file: 0.xdi, skip: shutter closed}\n")])
    assert (len(found.entries), found.skipped, found.refused) == (0, 1, 0)


def test_sheet_overrules_the_file_and_says_so(tmp_path: Path) -> None:
    path = sheet(tmp_path, MINIMAL.replace("Ni K", "Fe K"))
    found = prepare([path])
    assert found.entries[0].columns["edge"] == "Fe K"
    assert any("edge is Ni K in the file, Fe K as stated" in p.message for p in found.problems)


def test_yaml_bombs_and_cycles_do_no_harm(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    assert said(sheet(tmp_path, bomb))
    assert said(sheet(tmp_path, "run: &r {x: *r}\nfiles: '*.xdi'\n"))
    with pytest.raises(UnreadableFile):
        read_sheet(sheet(tmp_path, "[" * 5000))


@pytest.mark.parametrize("path", sample_data.sheets(), ids=lambda path: path.name)
def test_sample_sheets_satisfy_the_schema(path: Path) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(yaml.safe_load(path.read_text()))


def test_written_schema_is_current() -> None:
    assert json.loads((ROOT / "docs" / "run-sheet.schema.json").read_text()) == json_schema(), "run `make docs`"


def test_sample_is_complete(sample: Archive) -> None:
    assert len(sample.query()) == 106
    with sample.ask("count by origin") as answer:
        assert {row[0]: row[1] for row in answer.rows} == {"synthetic": 93, "calculated": 13}
