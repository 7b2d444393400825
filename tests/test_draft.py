"""Drafted run sheets: what files say, blanks for the rest, and a draft that passes once they are filled."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from barospec._ingest import prepare
from barospec.archive.ingest.draft_sheet import BLANK, SCANS, SHEET, draft
from barospec.archive.ingest.edge_table import ENERGIES, edge_energy, suggest_edges, suggest_lines
from barospec.archive.readers.ruby_log import find_ruby_log
from barospec.archive.readers.spreadsheet import read_table
from barospec.sample_data import RAW
from barospec.schemas.errors import CallError, InvalidData

from .files_made import write_columns
from .realdata import REALDATA, needs_realdata
from .test_cli import call

FILLED = {
    "run": "run-7",
    "sample": "NiO",
    "technique": "xas",
    "edge": "Ni K",
    "line": "Kb",
    "origin": "measured",
    "time_zone": "Europe/Paris",
    "pressure_scale": "Ruby2020",
    "ruby_reference": "694.24 nm",
}


def fill(sheet: Path) -> None:
    """Replace each blank as a person would."""
    text = re.sub(
        rf"(\w+):  {BLANK}.*", lambda found: f"{found[1]}: {FILLED[found[1]]}", sheet.read_text(encoding="utf-8")
    )
    sheet.write_text(text, encoding="utf-8")


def write(folder: Path, beside: Path | None = None) -> Path:
    made = draft(folder, beside)
    target = beside or folder
    target.mkdir(exist_ok=True)
    for name, text in made.files.items():
        (target / name).write_text(text, encoding="utf-8")
    return target / SHEET


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_draft_passes_once_its_blanks_are_filled(elsewhere: bool, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(3):
        write_columns(raw / f"scan {number}.xdi", seed=number)
    shutil.copy(next((RAW / "run-2").glob("*.h5")), raw / "run-2.h5")
    (raw / "notes.txt").write_text("cell 3\n")
    sheet = write(raw, tmp_path / "sheets" if elsewhere else None)
    before = prepare([sheet])
    assert not before.entries
    assert before.refused  # no blank passes unnoticed
    fill(sheet)
    found = prepare([sheet])
    assert not found.refused, "\n".join(map(str, found.problems))
    assert len(found.entries) == 3 + 16
    assert {entry.columns["run"] for entry in found.entries} == {"run-7"}


def test_pressures_go_into_the_scan_table(tmp_path: Path) -> None:
    for number in range(2):
        write_columns(tmp_path / f"{number}.xdi", seed=number)
    sheet = write(tmp_path)
    fill(sheet)
    table = tmp_path / SCANS
    head, *rows = table.read_text().splitlines()
    place = head.split(",").index("pressure (GPa)")
    cells = [row.split(",") for row in rows]
    for number, row in enumerate(cells):
        row[place] = f"{number + 1.5}"
    table.write_text("\n".join([head, *map(",".join, cells)]) + "\n")
    assert [entry.columns["pressure"] for entry in prepare([sheet]).entries] == [1.5, 2.5]


def test_the_scan_list_says_what_the_files_say(tmp_path: Path) -> None:
    shutil.copy(next((RAW / "run-2").glob("*.h5")), tmp_path / "run-2.h5")
    sheet = write(tmp_path)
    rows = [row for _, row in read_table(tmp_path / SCANS)]
    assert [row["scan"] for row in rows][:3] == ["1.1", "2.1", "3.1"]
    assert rows[0]["[from eV]"].startswith("8199.9")
    assert rows[0]["[time UTC]"].startswith("2000-01-01 ")
    text = sheet.read_text()
    assert f"edge:  {BLANK}: by the energies Ni K (steepest at 83" in text
    assert "Er L3 8358 eV" in text  # other edges in the range are named
    assert "# technique: xas by the files" in text


def test_kinds_of_scans_become_runs(tmp_path: Path) -> None:
    for name, e0 in (("a", 8340.0), ("b", 8341.0)):
        write_columns(tmp_path / f"{name}.xdi", e0=e0)
    text = write_columns(tmp_path / "c.xdi").read_text()
    (tmp_path / "c.xdi").write_text(text.replace("symbol: Ni", "symbol: Er").replace("edge: K", "edge: L3"))
    made = draft(tmp_path)
    assert made.files[SHEET].count("- run:") == 2
    assert "# edge: Er L3 by the files" in made.files[SHEET]
    assert len(made.files) == 3


def test_a_ruby_log_is_found_and_used(tmp_path: Path) -> None:
    write_columns(tmp_path / "0.xdi")
    (tmp_path / "ruby.csv").write_text(
        "date,lambda [nm],T (K),remark\n2024-05-03 10:00,694.9,300,\n2024-05-03 11:00,695.3,300,x\n"
    )
    sheet = write(tmp_path)
    text = sheet.read_text()
    assert "lambda [nm] is ruby_wavelength" in text
    assert "not used: remark" in text
    assert "interpolate_pressure: time" in text
    fill(sheet)
    table = tmp_path / SCANS
    table.write_text("file,time,temperature\n0.xdi,2024-05-03 10:30,300\n")
    found = prepare([sheet])
    assert not found.refused
    assert found.entries[0].columns["pressure"] == pytest.approx(
        1870 * 0.86 / 694.24 * (1 + 5.63 * 0.86 / 694.24), abs=0.01
    )


@pytest.mark.parametrize(
    "text",
    [
        "file,time,pressure\na,2024-01-01,1\n",
        "x,y\n1,2\n",
        "time,temperature\n2024-01-01,3\n",
        "time,P,pressure\n1,2,3\n",
        "",
    ],
)
def test_other_tables_are_no_logs(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert find_ruby_log(tmp_path / "t.csv") is None


def test_a_folder_without_spectra_says_why(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("cell 3\n")
    with pytest.raises(InvalidData, match=r"notes\.txt: of no known format"):
        draft(tmp_path)
    with pytest.raises(CallError, match="is not a folder"):
        draft(tmp_path / "absent")


def test_the_command_overwrites_nothing(tmp_path: Path) -> None:
    write_columns(tmp_path / "0.xdi")
    done = call("sheet", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Blanks to fill in" in done.stdout
    assert "barospec check" in done.stdout
    before = (tmp_path / SHEET).read_bytes()
    again = call("sheet", tmp_path)
    assert again.returncode == 1
    assert "exists, so nothing was written" in again.stderr
    assert (tmp_path / SHEET).read_bytes() == before


@needs_realdata
def test_edges_of_real_files_are_suggested_right(tmp_path: Path) -> None:
    wanted = {
        "NiS_rt_01": "Ni K",
        "Ni_metal_rt_01": "Ni K",
        "MnO2_rt_01": "Mn K",
        "cu_metal_rt": "Cu K",
        "se_znse_rt": "Se K",
    }
    for name, edge in wanted.items():
        folder = tmp_path / name
        folder.mkdir()
        lines = (REALDATA / "xdi" / f"{name}.xdi").read_bytes().split(b"\n")
        (folder / "scan.xdi").write_bytes(b"\n".join(line for line in lines if b"Element." not in line))
        text = draft(folder).files[SHEET]
        assert f"by the energies {edge} (" in text, (name, text)


def test_edge_energies_are_those_of_the_literature() -> None:
    # X-ray Data Booklet (LBNL 2009), table 1-1; in eV.
    for edge, energy in {"Ni K": 8333, "Fe K": 7112, "La L3": 5483, "Cu K": 8979, "Mn K": 6539, "Au L3": 11919}.items():
        assert edge_energy(edge) == pytest.approx(energy, abs=1.0)
    assert edge_energy("Ni L9") is None
    for energies in ENERGIES.values():
        order = [energies[name] for name in ("K", "L1", "L2", "L3") if name in energies]
        assert order == sorted(order, reverse=True)
    assert suggest_edges(8250, 8600, 8345.0, elements=("Er",))[0][0] == "Er L3"
    assert suggest_edges(300_000.0, 300_001.0, 300_000.5) == []
    assert suggest_lines(7400, 7500, 7470.0)[0][:2] == ("Ni K", "Kα")
