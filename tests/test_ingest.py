"""Putting data in: idempotent, conflicts reported, the rest of a batch goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from barospec import Archive
from barospec._ingest import prepare
from barospec.archive.ingest.paths import parse_settings
from barospec.schemas.errors import CallError

from .files_made import SETTINGS, write_columns
from .realdata import REALDATA, needs_realdata


def test_second_ingest_adds_nothing(empty: Archive, tmp_path: Path) -> None:
    paths = [write_columns(tmp_path / f"{n}.xdi", seed=n) for n in range(3)]
    assert empty.ingest(paths, SETTINGS).added == 3
    head = empty.location.head()
    again = empty.ingest(paths, SETTINGS)
    assert (again.added, again.unchanged, again.snapshot, again.ok) == (0, 3, None, True)
    assert empty.location.head() == head


def test_a_renamed_copy_is_the_same_spectrum(empty: Archive, tmp_path: Path) -> None:
    first = write_columns(tmp_path / "a.xdi")
    empty.ingest([first], SETTINGS)
    shutil.copy(first, tmp_path / "b.xdi")
    assert empty.ingest([tmp_path / "b.xdi"], SETTINGS).unchanged == 1
    both = empty.ingest([first, tmp_path / "b.xdi"], SETTINGS)
    assert both.unchanged == 2
    assert len(empty.query()) == 1


def test_other_conditions_are_a_conflict_until_replaced(empty: Archive, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.xdi")
    empty.ingest([path], [*SETTINGS, "pressure=15.1 GPa"])
    identifier = str(empty.query().columns(["spectrum_id"])["spectrum_id"][0])
    conflict = empty.ingest([path], [*SETTINGS, "pressure=15.6 GPa"])
    assert (conflict.conflicts, conflict.snapshot, conflict.ok) == (1, None, False)
    assert "pressure 15.1 GPa -> 15.6 GPa" in str(conflict.problems[-1])
    assert "--replace" in str(conflict.problems[-1])
    replaced = empty.ingest([path], [*SETTINGS, "pressure=15.6 GPa"], replace=True)
    assert (replaced.replaced, replaced.ok) == (1, True)
    selection = empty.query()
    assert len(selection) == 1
    assert selection.columns(["spectrum_id"])["spectrum_id"][0] == identifier
    assert selection.columns(["pressure", "revision"])["pressure"][0] == 15.6
    shown = empty.show(identifier)
    assert [row["status"] for row in shown["revisions"]] == ["active", "superseded"]
    assert [event["action"] for event in shown["events"]] == ["replace"]
    # And the new state is recognized in turn.
    assert empty.ingest([path], [*SETTINGS, "pressure=15.6 GPa"]).unchanged == 1


def test_a_changed_file_of_the_same_name_is_a_conflict_and_keeps_its_id(empty: Archive, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.xdi", seed=1)
    empty.ingest([path], SETTINGS)
    before = empty.query().columns(["spectrum_id"])["spectrum_id"][0]
    write_columns(path, seed=2)
    assert empty.ingest([path], SETTINGS).conflicts == 1
    assert empty.ingest([path], SETTINGS, replace=True).replaced == 1
    selection = empty.query()
    assert selection.columns(["spectrum_id"])["spectrum_id"].tolist() == [before]
    assert float(selection.to_xarray().mu[0, 3]) == pytest.approx(float(np.loadtxt(path)[3, 1]), abs=1e-12)  # type: ignore[union-attr]


def test_the_same_file_twice_with_other_conditions_in_one_call(empty: Archive, tmp_path: Path) -> None:
    write_columns(tmp_path / "a.xdi")
    sheet = "sample: NiO\ntechnique: xas\nedge: Ni K\norigin: synthetic\nruns:\n  - {run: one, files: a.xdi}\n  - {run: two, files: a.xdi}\n"
    (tmp_path / "sheet.yaml").write_text(sheet)
    report = empty.ingest([tmp_path / "sheet.yaml"])
    assert (report.added, report.conflicts) == (1, 1)
    assert "run one -> two" in str(report.problems[-1])


def test_a_bad_file_does_not_stop_the_others(empty: Archive, tmp_path: Path) -> None:
    good = [write_columns(tmp_path / f"{n}.xdi", seed=n) for n in range(3)]
    (tmp_path / "bad.xdi").write_bytes(b"\x00\x01\x02" * 100)
    report = empty.ingest([*good, tmp_path / "bad.xdi", tmp_path / "absent.xdi"], SETTINGS)
    assert (report.added, report.refused, report.ok) == (3, 2, False)
    strict = empty.ingest([write_columns(tmp_path / "new.xdi", seed=9), tmp_path / "bad.xdi"], SETTINGS, strict=True)
    assert strict.snapshot is None
    assert len(empty.query()) == 3


def test_what_is_required_is_asked_for(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.xdi")
    found = prepare([path], ["run=x"])
    assert not found.entries
    assert found.refused == 1
    message = str(found.problems[-1])
    assert "sample, origin not stated" in message
    assert "--set origin=measured" in message


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("presure=3", "Did you mean pressure"),
        ("pressure", 'no "="'),
        ("pressure=23,7", "23.7 (GPa)"),
        ("spectrum_id=1", "no such field"),
        ("signal=mu", "choose from"),
    ],
)
def test_a_wrong_setting_is_a_wrong_call(setting: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CallError) as caught:
        prepare([write_columns(tmp_path / "a.xdi")], [setting])
    assert said in str(caught.value)


def test_settings_are_canonical() -> None:
    assert parse_settings(["Temperature=10 K", "format=xdi"]) == {"temperature": "10 K", "format": "xdi"}


def test_channels_and_values_come_back_bit_for_bit(empty: Archive, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.xdi", points=700)
    write_columns(tmp_path / "short.xdi", points=90, seed=4)
    empty.ingest([path, tmp_path / "short.xdi"], SETTINGS)
    for name in ("a.xdi", "short.xdi"):
        dataset = empty.query(f'source_file = "{name}"').to_xarray().compute()  # type: ignore[union-attr]
        raw = np.loadtxt(tmp_path / name)
        count = int(dataset.point_count[0])
        assert count == len(raw)
        np.testing.assert_array_equal(dataset.energy.values[0, :count], raw[:, 0])
        np.testing.assert_array_equal(dataset.mu.values[0, :count], raw[:, 1])


def test_structures_and_literature_are_found(sample: Archive) -> None:
    with sample.ask("structures of NiO") as answer:
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert rows
    assert all(row["material"] == "NiO" for row in rows)
    with sample.ask("literature with quantity = valence") as answer:
        found = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert (2.53, 0.05) in [(row["value"], row["value_sigma"]) for row in found]
    with sample.ask("bonds of NiO with bond = Ni-O") as answer:
        bonds = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert any(row["bond_length"] == pytest.approx(2.0885, abs=1e-4) and row["multiplicity"] == 6 for row in bonds)


@needs_realdata
def test_counters_can_be_named_without_a_run_sheet(empty: Archive) -> None:
    path = REALDATA / "bliss" / "NiSO4_SKa_XES_0001" / "NiSO4_SKa_XES_0001.h5"
    named = ["run=id26", "origin=measured", "sample=NiSO4", "technique=xes", "edge=S K", "line=Ka"]
    report = empty.ingest([path], [*named, "channels={energy: energy_tana, i0: I01, iemission: IFt}"])
    assert (report.added, report.ok) == (2, True), "\n".join(map(str, report.problems))
    assert list(empty.query("XES").counts()) == ["xes/S-Ka"]
    with pytest.raises(CallError, match="is not a mapping"):
        prepare([path], [*named, "channels=I01"])


def test_another_edge_than_the_files_own_is_a_warning(tmp_path: Path) -> None:
    found = prepare([write_columns(tmp_path / "a.xdi")], [*SETTINGS[:-1], "edge=Fe K"])
    assert [p.severity for p in found.problems if "edge is Ni K in the file" in p.message] == ["warning"]
