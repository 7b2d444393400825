"""Model sheets as JSON and tables: the same models in every form, there and back, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.ingest.models import fingerprint
from barospec.archive.spins.sheets.model_record import ModelRecord, Parameter
from barospec.archive.spins.sheets.records import read_models
from barospec.archive.spins.sheets.sheets import is_model_sheet, write_models
from barospec.sample_data import RAW
from barospec.schemas.errors import BarospecError, CallError, InvalidData, UnreadableFile

from .test_cli import call

SAMPLE = RAW / "models" / "La4Ni3O10.yaml"
FACTS = {
    "compound": "La4Ni3O10",
    "structure": "measured",
    "stack": "trilayer",
    "scale": "eV",
    "status": "published",
    "hamiltonian": "-J_H X.Z + J_ZZ Z.Z",
    "hund_convention": "spin",
    "state_selection": "lowest",
    "operator_basis": "tensor",
    "source": "a paper",
}
LONG = ",".join([*FACTS, "model_id", "pressure", "name", "value", "unit", "layer", "quote", "note", "model_note"])
WIDE = ",".join([*FACTS, "model_id", "pressure", "J_H(m) (eV)", "J_H(l) (meV)", "J_ZZ [eV]", "note"])
COMMON = ",".join(FACTS.values())


def table(folder: Path, header: str, *rows: str, name: str = "models.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".csv"])
def test_committed_models_survive_every_form(suffix: str, tmp_path: Path) -> None:
    for sheet in sorted((RAW / "models").glob("*.yaml")):
        records = read_models(sheet)
        path = tmp_path / f"again{suffix}"
        write_models(records, path)
        assert is_model_sheet(path)
        again = read_models(path)
        assert [fingerprint(r) for r in again] == [fingerprint(r) for r in records]


def test_a_table_with_a_row_for_each_parameter(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        LONG,
        f'{COMMON},one,44.3 GPa,J_H,0.57,eV,,"J_H < 0.57, about",p,of the model',
        ",,,,,,,,,,,,J_ZZ,660 ± 10,meV,,,,",  # the rows below a model's first are its own
        f"{COMMON},two,1 bar,J_H,0.63,eV,m,,,",
    )
    one, two = read_models(path)
    assert [(p.name, p.value, p.unit, p.layer) for p in one.parameters] == [
        ("J_H", 0.57, "eV", ""),
        ("J_ZZ", 0.66, "eV", ""),
    ]
    assert one.parameters[1].sigma == pytest.approx(0.01)
    assert (one.pressure, one.metadata["note"], one.parameters[0].note) == (44.3, "of the model", "p")
    assert one.parameters[0].quote == "J_H < 0.57, about"
    assert [p.line for p in one.parameters] == [2, 3]
    assert two.pressure == pytest.approx(1e-4)
    assert two.value("J_H", layer="m") == 0.63


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_table_with_a_row_for_each_model(form: str, tmp_path: Path) -> None:
    rows = [f"{COMMON},one,44.3 GPa,0.534,609,0.66,", f"{COMMON},two,1 bar,0.574,,0.361,no J_H(l)"]
    path = table(tmp_path, WIDE, *rows)
    if form == "xlsx":
        book = openpyxl.Workbook()
        for line in (WIDE, *rows):
            book.active.append([float(cell) if cell[:2] == "0." else cell or None for cell in line.split(",")])
        path = tmp_path / "models.xlsx"
        book.save(path)
    assert is_model_sheet(path)
    one, two = read_models(path)
    assert [(p.name, p.value) for p in one.parameters] == [("J_H(m)", 0.534), ("J_H(l)", 0.609), ("J_ZZ", 0.66)]
    assert [p.name for p in two.parameters] == ["J_H(m)", "J_ZZ"]  # an empty cell is no parameter
    assert two.metadata["note"] == "no J_H(l)"


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (WIDE.replace("J_ZZ [eV]", "J_ZZ"), [f"{COMMON},one,1 bar,1,2,3,"], r':1: column "J_ZZ" is not a key.*"J_ZZ \(eV\)"'),
        (WIDE.replace("stack", "stak"), [f"{COMMON},one,1 bar,1,2,3,"], r'column "stak" is not a key.*Did you mean stack'),
        (WIDE, [f"{COMMON},one,1 bar,x,2,3,"], r'models.csv:2: value "x eV"'),
        (WIDE, [f"{COMMON},one,1 bar,1,2,3,"] * 2, r':3: model_id "one" is already that of line 2'),
        (LONG, [f"{COMMON},one,1 bar,J_H,1,eV,,,,", f"{COMMON},one,2 bar,J_ZZ,1,eV,,,,"], r':3: pressure is "2 bar" here'),
        (LONG, [f"{COMMON},one,1 bar,J_H,1,,,,,"], r":2: the parameter has no unit"),
        (LONG, [f"{COMMON},one,1 bar,J_H,1,eV,,,,"] * 2, r":3: J_H of the same layer and bond is already in line 2"),
        (LONG, [], r"no row below its header"),
        (LONG.replace("hund_convention", "[x]"), [f"{COMMON},one,1 bar,J_H,1,eV,,,,"], r"has no hund_convention"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_table_is_told_with_its_line(
    header: str, rows: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidData, match=message):
        read_models(table(tmp_path, header, *rows))


def test_json_tells_places_and_takes_what_yaml_would_not(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    model: dict[str, Any] = {**FACTS, "model_id": "a", "pressure": "1 bar", "temperature": None}
    model["parameters"] = [{"name": "J_H", "value": 5.7e-1, "unit": "eV", "quote": "\U0001d43d_H \\ude00 \t/"}]
    path.write_text(json.dumps({"models": [model]}, indent="\t"))  # tabs, and a pair of surrogates
    (record,) = read_models(path)
    assert record.parameters[0].value == 0.57
    assert record.parameters[0].quote == "\U0001d43d_H \\ude00 /"
    assert math.isnan(record.temperature)
    path.write_text(json.dumps({"models": [{**model, "stack": "trilayr"}]}, indent=1))
    with pytest.raises(InvalidData, match=r'models.json:\d+: stack "trilayr" is not one of.*Did you mean trilayer'):
        read_models(path)
    path.write_text('{"models": [\n {"a": 1,}]}')
    with pytest.raises(UnreadableFile, match=r"models.json:2:\d+: not JSON"):
        read_models(path)


NUMBERS = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: value + 0.0)
WORDS = st.text("abcXYZ 0.,;\"'#:{}[]éβ<>=%&|-", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(numbers=st.lists(NUMBERS, min_size=1, max_size=4), quote=WORDS, note=WORDS, pressure=st.floats(0, 500))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("suffix", [".yaml", ".json", ".csv"])
def test_any_model_survives(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, numbers: list[float], quote: str, note: str, pressure: float
) -> None:
    quote, note = " ".join(quote.split()), " ".join(note.split())
    parameters = tuple(Parameter(f"J{k}", "eV", value, quote=quote) for k, value in enumerate(numbers))
    facts = {key: FACTS[key] for key in ("structure", "stack", "scale", "status", "hamiltonian", "source")}
    metadata = {key: FACTS[key] for key in ("hund_convention", "state_selection", "operator_basis")} | {"note": note}
    record = ModelRecord("a", "La4Ni3O10", **facts, pressure=pressure, parameters=parameters, metadata=metadata)
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    write_models([record], path)
    assert fingerprint(read_models(path)[0]) == fingerprint(record)


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".csv"])
def test_a_sheet_truncated_or_with_flipped_bytes_is_read_or_refused(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole{suffix}"
    write_models(read_models(SAMPLE)[:2], whole)
    data = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    for part in range(50):
        content = bytearray(data[: len(data) * part // 50])
        _read_or_refuse(path, bytes(content))
        content = bytearray(data)
        content[len(data) * part // 50] ^= 1 << part % 8
        _read_or_refuse(path, bytes(content))


def _read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused = None
    try:
        records = read_models(path)
    except BarospecError as error:
        refused = str(error)
    if refused is not None:
        assert path.name in refused
        return
    assert records
    assert all(record.model_id and record.parameters for record in records)


def test_the_tables_of_the_documentation_are_read(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    long, wide = (part.split("```")[0] for part in text.split("```csv\n")[1:])
    (tmp_path / "long.csv").write_text(long, encoding="utf-8")
    (tmp_path / "wide.csv").write_text(wide, encoding="utf-8")
    (record,), (same, other) = read_models(tmp_path / "long.csv"), read_models(tmp_path / "wide.csv")
    assert [p.value for p in record.parameters] == [p.value for p in same.parameters] == [0.534, 0.609, 0.66]
    assert (len(other.parameters), other.pressure) == (2, pytest.approx(1e-4))


def test_every_form_is_ingested_and_recognized_in_every_other(empty: Archive, tmp_path: Path) -> None:
    assert empty.ingest([SAMPLE]).models == len(read_models(SAMPLE))
    records = empty.models("models").records
    for suffix in (".csv", ".json", ".yaml"):
        write_models(records, tmp_path / f"again{suffix}")
        report = empty.ingest([tmp_path / f"again{suffix}"])
        assert (report.models, report.unchanged, report.conflicts) == (0, len(records), 0)
    folder = tmp_path / "theory"
    folder.mkdir()
    write_models(records[:1], folder / "models.json")
    (folder / "plot.png").write_bytes(b"\x89PNG")
    told = empty.ingest([folder]).problems
    assert "its 1 other files were ignored" in str(told[0])


def test_the_verb_prints_numbers_and_writes_sheets(empty: Archive, tmp_path: Path) -> None:
    empty.ingest([SAMPLE])
    place = ["--archive", empty.location.root]
    found = json.loads(call("models", "La4Ni3O10 above 40 GPa with scale = eV", "--json", *place).stdout)
    assert {(row["parameter"], row["value"], row["unit"]) for row in found["rows"]} >= {("J_ZZ", 0.66, "eV")}
    assert found["count"] == len(found["rows"])
    out = tmp_path / "models.csv"
    done = call("models", "La4Ni3O10", "--output", out, *place)
    assert done.returncode == 0, done.stderr
    assert len(read_models(out)) == len(read_models(SAMPLE))
    assert call("models", "La4Ni3O10", "-o", tmp_path / "models.txt", *place).returncode == 2
    assert call("models", "La4Ni3O11", *place).returncode != 0


def test_other_files_are_no_model_sheets(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"model": [1]}')
    (tmp_path / "b.csv").write_text("energy,mu\n8300,1\n")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"run": "r"}))
    (tmp_path / "d.xlsx").write_bytes(b"PK")
    assert not any(is_model_sheet(path) for path in tmp_path.iterdir())
    with pytest.raises(CallError, match=r"as \.yaml, \.json or \.csv"):
        write_models([], tmp_path / "a.xlsx")
