"""Derived values: stored, indexed, fresh or not; what was computed is what is found, and stale is never served as fresh."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barospec import Archive
from barospec.archive.derived.store import ABSOLUTE, count_entries
from barospec.archive.operators.registry import OPERATORS
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Writer
from barospec.catalogs.index import build, database
from barospec.catalogs.query.resolve import compile_operators
from barospec.catalogs.query.resolve.derived_rows import _OWN
from barospec.catalogs.query.resolve.operator_table import VERSIONS
from barospec.cli import show
from barospec.schemas.errors import CallError, Conflict, InvalidData, NotFound, QueryError
from barospec.schemas.vocabulary import SPECTRUM_TERMS

from .files_made import SETTINGS, write_columns

CALIBRATED = [*SETTINGS, "energy_calibration=foil"]
REFERENCES = "2: run-1 and step = 1; 3: run-1 and step = 2"


@contextmanager
def raised(name: str, version: int) -> Iterator[None]:
    """An operator whose version has risen, as in a later release: in the registry and in the table compiled of it."""
    operator, before = OPERATORS[name], VERSIONS[name]
    OPERATORS[name], VERSIONS[name] = replace(operator, version=version), version
    try:
        yield
    finally:
        OPERATORS[name], VERSIONS[name] = operator, before


def add(archive: Archive, folder: Path, number: int, *, replacing: bool = False, e0: float = 0.0, **more: Any) -> str:
    path = write_columns(folder / f"{number}.xdi", seed=number, e0=e0 or 8340.0 + number)
    given = {"step": number, "pressure": f"{number} GPa"} | more
    settings = [*CALIBRATED, *(f"{key}={value}" for key, value in given.items())]
    report = archive.ingest([path], settings, replace=replacing)
    assert report.ok, report.problems
    with archive.ask(f"step = {number}", columns=["spectrum_id"], include=["bad"]) as found:
        return str(next(iter(found.rows))[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four calibrated spectra with their edge energies and valences stored."""
    folder = tmp_path_factory.mktemp("made")
    archive = Archive.create(folder / "archive")
    for number in range(1, 5):
        add(archive, folder, number)
    archive.derive("edge_energy", "Ni K")
    archive.derive("edge_energy", "Ni K", fraction=0.5, ensemble=0)
    archive.derive("valence", "Ni K", references=REFERENCES)
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Archive:
    """The same, to be changed."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Archive(tmp_path / "archive")


def counts(archive: Archive, text: str, **options: Any) -> tuple[int, dict[str, int], dict[str, int]]:
    with archive.ask(text, **options) as found:
        return found.count, found.stale, found.uncalibrated


def edit(archive: Archive, values: dict[str, Any], rows: list[int]) -> None:
    store = Store(archive.location)
    with store.transaction("set") as work:
        Writer(work.root, work.changes).edit_spectra("xas/Ni-K", rows, values)
        work.message = f"set {values}"
    build.publish(store, archive.snapshot)


def entries(archive: Archive, name: str) -> int:
    return count_entries(Store(archive.location).read(archive.snapshot), name)


def state(archive: Archive, name: str) -> tuple[int, int, int, int]:
    row = archive.derivations(name)[0]
    return row["fresh"], row["stale"], row["failed"], row["missing"]


def test_the_table_of_operators_is_current() -> None:
    assert compile_operators.TABLE.read_text("utf-8") == compile_operators.table(), (
        "run python -m barospec.catalogs.query.resolve.compile_operators"
    )


def test_every_energy_is_known_to_be_absolute_or_not() -> None:
    # A new output in eV has to be put into ABSOLUTE, or here.
    relative = {
        "align_shift", "align_to_shift", "pre1", "pre2", "norm1", "norm2", "edge_shift", "whole_edge_shift", "agreement_shift",
        "pre_edge_area", "white_line_area", "feature_area", "feature_area_change", "difference_area", "vtc_area", "vtc_width",
        "vtc_shift",
    }  # fmt: skip
    energies = {
        name
        for operator in OPERATORS.values()
        for name, output in operator.outputs.items()
        if output.unit == "eV" and "_sigma" not in name
    }
    assert energies - relative == ABSOLUTE


def test_what_is_stored_is_what_is_computed(made: Path) -> None:
    archive = Archive(made / "archive")
    selection = archive.query("Ni K")
    lazy = selection.apply("edge_energy").compute()
    stored = selection.to_xarray(derived=["edge_energy", "edge_energy[fraction=0.5]"])
    for name in ("edge_energy", "edge_energy_sigma"):
        np.testing.assert_array_equal(stored[name].values, lazy[name].values)
        assert stored[name].attrs["units"] == "eV"
    half = selection.apply("edge_energy", fraction=0.5, ensemble=0).compute()
    np.testing.assert_array_equal(stored["edge_energy[fraction=0.5]"].values, half["edge_energy"].values)
    assert json.loads(stored["edge_energy"].attrs["provenance"])[0]["steps"][-1]["operator"] == "edge_energy"
    limit = float(np.sort(lazy["edge_energy"].values)[1])
    assert counts(archive, f"edge_energy > {limit!r} eV")[0] == 2
    assert counts(archive, f"edge_energy > {limit / 1000!r} keV")[0] == 2


def test_storing_again_computes_nothing_and_the_same_in_other_words_is_the_same_set(own: Archive) -> None:
    before = own.snapshot
    for given in ({}, {"fraction": 0.8}, {"far": 10}):
        report = own.derive("edge_energy", "Ni K", **given)
        assert (report.name, report.computed, report.fresh) == ("edge_energy", 0, 4)
    assert own.derive("normalize | edge_energy(fraction=0.8)", "Ni K").name == "edge_energy"
    assert own.snapshot == before
    with pytest.raises(Conflict, match='stored already, as "edge_energy"'):
        own.derive("edge_energy", "Ni K", name="other")
    with pytest.raises(Conflict, match="is the name of other"):
        own.derive("edge_energy", "Ni K", name="valence", fraction=0.7)


def test_a_replaced_spectrum_is_stale_until_it_is_refreshed(own: Archive, tmp_path: Path) -> None:
    assert counts(own, "edge_energy > 8300 eV") == (4, {}, {})
    add(own, tmp_path, 3, replacing=True, e0=8350.0)
    assert counts(own, "edge_energy > 8300 eV") == (3, {"edge_energy": 1}, {})
    assert counts(own, "edge_energy > 8300 eV", include=["stale"]) == (4, {}, {})
    assert counts(own, "edge_energy > 8300 eV including stale") == (4, {}, {})
    assert counts(own, "edge_energy is missing")[0] == 0
    asked = "derived values with quantity = edge_energy"
    assert counts(own, asked) == (3, {"edge_energy": 1}, {})
    assert [row["state"] for row in own.derived_values(f"{asked} including stale sorted by step")] == 2 * ["fresh"] + [
        "stale", "fresh",
    ]  # fmt: skip
    [stale] = own.derived_values("with quantity = edge_energy and state = stale")
    assert (stale["set"], stale["value_unit"], stale["pressure"]) == ("edge_energy", "eV", 3.0)
    assert stale["value"] < 8346 < own.curve(stale["spectrum_id"])[0].max()
    assert "edge_energy(" in stale["chain"]
    assert counts(own, "edge_energy > 8345 eV")[0] == 1  # the stale value would not tell that the edge has moved
    assert own.derivations("edge_energy")[0]["because"] == [
        {"reason": "revision 2 has replaced the data of revision 1", "count": 1}
    ]
    assert own.why(_id(own, 3), "edge_energy")["value"]["fresh"] is False
    [report] = own.refresh("edge_energy")
    assert (report.computed, entries(own, "edge_energy")) == (1, 5)
    assert counts(own, "edge_energy > 8350 eV") == (1, {}, {})
    assert own.refresh("edge_energy")[0].computed == 0


def test_a_new_version_of_an_operator_makes_its_values_stale(own: Archive) -> None:
    tagged = own.snapshot
    with raised("normalize", 99):
        assert counts(own, "edge_energy > 8300 eV") == (0, {"edge_energy": 4}, {})
        assert own.derivations("valence")[0]["because"] == [
            {"reason": "normalize was version 1 and is now 99", "count": 4}
        ]
        assert [report.computed for report in own.refresh()] == [4, 4, 4]
        assert counts(own, "edge_energy > 8300 eV") == (4, {}, {})
        # The past was computed with the old version, whatever is fresh today.
        assert counts(Archive(own.location.root, at=tagged), "edge_energy > 8300 eV")[0] == 0
    assert counts(own, "edge_energy > 8300 eV")[0] == 0  # the older program does not trust the newer numbers either
    assert counts(Archive(own.location.root, at=tagged), "edge_energy > 8300 eV")[0] == 4


def test_a_condition_that_does_not_enter_changes_nothing_and_a_shift_does(own: Archive) -> None:
    edit(own, {"pressure": 7.5}, [0, 1])
    assert state(own, "edge_energy") == (4, 0, 0, 0)
    before = own.query("Ni K").columns(["edge_energy"])["edge_energy"]
    edit(own, {"energy_shift": 1.5}, [1])
    assert state(own, "edge_energy") == (3, 1, 0, 0)
    assert "energy_shift was none and is now 1.5" in own.derivations("edge_energy")[0]["because"][0]["reason"]
    assert state(own, "valence") == (0, 4, 0, 0)  # spectrum 2 is a reference of it
    assert {report.name: report.computed for report in own.refresh()} == {
        "edge_energy": 1,
        "edge_energy-2": 1,
        "valence": 4,
    }
    after = own.query("Ni K").columns(["edge_energy"])["edge_energy"]
    np.testing.assert_allclose(after - before, [0.0, 1.5, 0.0, 0.0], atol=1e-9)


def test_another_reference_makes_values_stale(own: Archive, tmp_path: Path) -> None:
    own.derive("valence", "Ni K", name="foils", references="2: run-1 below 1.5 GPa; 3: run-1 at 2 GPa")
    assert state(own, "foils") == (4, 0, 0, 0)
    add(own, tmp_path, 9, pressure="0.5 GPa")
    assert state(own, "foils") == (0, 4, 0, 1)
    assert 'the reference "run = run-1 and pressure < 1.5 GPa" of valence has changed' in str(
        own.derivations("foils")[0]["because"]
    )
    with pytest.raises(CallError, match="computed itself"):
        own.derive("valence", "Ni K", references="2: edge_energy > 8300 eV; 3: step = 2")


def test_every_stored_value_is_a_row_of_the_derived_values(own: Archive) -> None:
    own.derive_runs("line", "edge_energy", "Ni K")
    names = ["edge_energy", "edge_energy[fraction=0.5, ensemble=0]", "valence"]
    wide = own.query("Ni K").columns(["spectrum_id", *names])
    rows = own.derived_values(f"with quantity in ({', '.join(map(json.dumps, names))})")
    long = {(row["spectrum_id"], row["quantity"]): row["value"] for row in rows}
    assert len(long) == len(rows) == 12
    assert long == {
        (one, name): value for name in names for one, value in zip(wide["spectrum_id"], wide[name], strict=True)
    }
    quantities = {row["quantity"].partition("[")[0] for row in own.derived_values()}
    assert quantities == {"edge_energy", "edge_energy_windows", "valence"}  # no uncertainties, no values of whole runs
    assert not {field.name for field in _OWN} & {term.name for term in SPECTRUM_TERMS}


def test_several_sets_have_names_of_their_own(own: Archive) -> None:
    for said in ("edge_energy[fraction=0.5]", "edge_energy[ensemble=0]", "edge_energy[edge_energy-2]", "edge energy"):
        assert counts(own, f"{said} > 8300 eV")[0] == 4
    with pytest.raises(QueryError, match="may mean"):
        counts(own, "edge_energy[normalize] > 8300 eV")
    with pytest.raises(QueryError, match=r"Stored: edge_energy \(set edge_energy\)"):
        counts(own, "edge_energy[fraction=0.6] > 8300 eV")
    own.change_derivation("edge_energy-2", preferred=True)
    half = own.query("Ni K").columns(["edge_energy"])["edge_energy"]
    np.testing.assert_array_equal(half, own.query("Ni K").apply("edge_energy", fraction=0.5)["edge_energy"].values)
    assert counts(own, "edge_energy[fraction=0.8, ensemble=32] > 8300 eV")[0] == 4
    own.change_derivation("edge_energy-2", status="dropped")
    assert [row["name"] for row in own.derivations()] == ["edge_energy", "valence"]
    report = own.derive("edge_energy", "Ni K", fraction=0.5, ensemble=0)
    assert (report.name, report.fresh, report.computed) == ("edge_energy-2", 4, 0)


def test_energies_of_uncalibrated_axes_are_left_out_and_counted(own: Archive) -> None:
    edit(own, {"energy_calibration": "none"}, [0])
    own.refresh()
    assert counts(own, "edge_energy > 8300 eV") == (3, {}, {"edge_energy": 1})
    assert counts(own, "edge_energy > 8300 eV including uncalibrated") == (4, {}, {})
    assert counts(own, "derived values with quantity = edge_energy") == (3, {}, {"edge_energy": 1})
    assert counts(own, "derived values with quantity = edge_energy including uncalibrated") == (4, {}, {})
    edit(own, {"energy_shift": 1.5}, [0])
    [both] = own.derived_values("with quantity = edge_energy and step = 1 including stale and uncalibrated")
    assert both["state"] == "stale and uncalibrated"
    own.refresh()
    assert counts(own, "edge_energy_sigma > 0 eV")[0] == 4  # a difference needs no calibration
    assert counts(own, "runs where edge_energy changes by more than 0.1 eV")[0] == 1
    row = own.query("step = 1").to_xarray(derived=["edge_energy"], include=["uncalibrated"])
    assert row["edge_energy"].values[0] > 8300
    assert np.isnan(own.query("step = 1").to_xarray(derived=["edge_energy"])["edge_energy"].values[0])


def test_a_spectrum_without_a_value_is_failed_and_says_why(own: Archive, tmp_path: Path) -> None:
    path = tmp_path / "flat.xdi"
    lines = "\n".join(f"{energy:.1f} 1.0" for energy in np.linspace(8250, 8500, 60))
    path.write_text(
        f"# XDI/1.0 a/1\n# Element.symbol: Ni\n# Element.edge: K\n# Column.1: energy eV\n# Column.2: mutrans\n# ///\n# x\n#---\n# energy mutrans\n{lines}\n"
    )
    assert own.ingest([path], [*CALIBRATED, "step=8"]).ok
    [report] = own.refresh("edge_energy", missing=True)
    assert (report.computed, report.failed) == (1, 1)
    assert state(own, "edge_energy") == (4, 0, 1, 0)
    with own.ask("edge_energy > 8300 eV") as found:
        assert (found.count, found.missing) == (4, {"edge_energy": 1})
        assert "has no value for" in " ".join(found.notes)
    with own.ask("derived values edge_energy") as found:
        assert (found.count, found.noun) == (4, "derived values")
        assert "has no value for" in " ".join(found.notes)
    [failed] = own.derived_values("with quantity = edge_energy and state = failed")
    assert failed["value"] is None
    value = own.why(_id(own, 8), "edge_energy")["value"]
    assert value["value"] is None
    assert value["quality"] != "ok"


def test_new_spectra_are_computed_as_they_come_in_if_the_archive_says_so(own: Archive, tmp_path: Path) -> None:
    add(own, tmp_path, 5)
    assert state(own, "edge_energy") == (4, 0, 0, 1)
    own.change_derivation("edge_energy", follow=True)
    add(own, tmp_path, 6)
    assert state(own, "edge_energy") == (5, 0, 0, 1)  # what was missing before stays for --missing
    add(own, tmp_path, 6, replacing=True, e0=8360.0)
    assert state(own, "edge_energy") == (5, 0, 0, 1)
    add(own, tmp_path, 7, origin="measured", edge="Fe K")
    assert state(own, "edge_energy") == (5, 0, 0, 1)
    own.refresh("edge_energy", missing=True)
    assert state(own, "edge_energy") == (6, 0, 0, 0)
    own.change_derivation("edge_energy", follow=False)
    add(own, tmp_path, 10)
    assert state(own, "edge_energy")[3] == 1


def test_curves_and_values_for_each_reference_are_stored(own: Archive) -> None:
    own.derive("normalize", "Ni K")
    group = Store(own.location).read(own.snapshot)["derived/normalize"]
    norm = own.query("Ni K").apply("normalize")["norm"].values
    np.testing.assert_array_equal(np.asarray(group["norm"]), norm)
    assert group["norm"].chunks == (64, 1024)
    assert group["energy"].shape == group["norm"].shape
    assert counts(own, "e0 > 8300 eV")[0] == 4
    own.derive("lcf", "Ni K", low=8330.0, high=8380.0, references="a: step = 1; b: step = 2")
    shares = own.query("Ni K sorted by step").columns(["lcf_fraction[a]", "lcf_fraction[b]"])
    lazy = own.query("Ni K sorted by step").apply("lcf", low=8330.0, high=8380.0, references="a: step = 1; b: step = 2")
    np.testing.assert_array_equal(shares["lcf_fraction[b]"], lazy["lcf_fraction"].values[:, 1])
    assert counts(own, "lcf_fraction[a] > 0.9")[0] == 1


def test_the_record_of_a_number_gives_its_bits_again(own: Archive, tmp_path: Path) -> None:
    identity = _id(own, 3)
    for name in ("edge_energy", "edge_energy[fraction=0.5]", "valence"):
        record = json.loads(json.dumps(own.why(identity, name), default=str))
        again = own.recompute(record)
        assert again["same_bits"], name
        assert (again["difference"], again["changed"]) == (0.0, [])
    assert record["entity"]["file"]["name"].endswith("3.xdi")
    assert len(record["entity"]["file"]["sha256"]) == 64
    assert record["activity"]["derive"]["references"]["valence"][0]["spectra"][0][0] == _id(own, 1)
    # It holds for the data of then, whatever came after.
    add(own, tmp_path, 3, replacing=True, e0=8350.0)
    add(own, tmp_path, 1, replacing=True, e0=8351.0)
    assert own.recompute(record)["same_bits"]
    changed = f"edge_energy was version {VERSIONS['edge_energy']} and is now 5"
    with raised("edge_energy", 5):
        assert own.recompute(record)["changed"] == [changed]
    wrong = json.loads(json.dumps(record))
    wrong["value"]["outputs"]["valence"] += 1e-9
    told = own.recompute(wrong)
    assert not told["same_bits"]
    assert math.isclose(told["difference"], 1e-9 / abs(wrong["value"]["outputs"]["valence"]), rel_tol=1e-3)
    assert not told["agrees"]
    wrong["activity"]["derive"]["input_snapshot"] = "0" * 20
    with pytest.raises(NotFound):
        own.recompute(wrong)


def test_a_number_of_another_version_of_the_software_agrees_or_differs(
    own: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As stored with another numpy: within 1e-12 of itself is told as agreement, more as a difference, with the reason."""
    identity = _id(own, 3)
    record = copy.deepcopy(own.why(identity, "valence"))
    was = record["activity"]["derive"]["software"]["numpy"]
    record["activity"]["derive"]["software"]["numpy"] = "1.26.0"
    value = record["value"]["outputs"]["valence"]
    for relative, agrees in ((4e-13, True), (-4e-13, True), (4e-12, False)):
        record["value"]["outputs"]["valence"] = value * (1 + relative)
        told = own.recompute(record)
        assert (told["same_bits"], told["agrees"]) == (False, agrees)
        assert told["changed"] == [f"numpy was 1.26.0 and is now {was}"]
        monkeypatch.setattr(type(own), "why", lambda *_: record)
        show.command(identity, archive=str(own.location.place), why="valence", recompute=True)
        said = capsys.readouterr().out.splitlines()[-1]
        monkeypatch.undo()
        assert said.startswith(
            "computed again: agrees, apart by 4e-13" if agrees else "computed again: DIFFERS by 4e-12"
        )
        assert said.endswith(f"relative (numpy was 1.26.0 and is now {was})")


def test_flags_labels_and_notes_are_events_that_alter_no_data(own: Archive) -> None:
    before, tagged = own.query("Ni K").to_xarray(), own.snapshot
    first, second = _id(own, 1), _id(own, 2)
    assert own.flag(first[:6], "bad", "glitch at 8350") == [first]
    assert own.flag(first, "bad", "glitch at 8350") == []
    with own.ask("Ni K") as found:
        assert (found.count, found.flagged) == (3, 1)
    for text, count in (("flag = bad", 1), ("flagged", 1), ("bad spectra", 1), ("Ni K including bad", 4)):
        assert counts(own, text)[0] == count, text
    assert counts(own, "flag != bad")[0] == 3
    assert counts(own, "not flag = bad")[0] == 3
    assert counts(own, "edge_energy > 8300 eV")[0] == 3
    own.flag([second], "check")
    assert counts(own, "flag is known")[0] == 2
    assert own.unflag(own.query("flag = bad"), "looked again") == [first]
    assert own.unflag([first]) == []
    own.label([first, second], "figure 2")
    own.note(first, "beam lost at 8400 eV")
    assert counts(own, 'labels contains "figure 2"')[0] == 2
    assert counts(own, "remarks contains beam and labels contains figure")[0] == 1
    with own.ask("labels contains figure") as found:
        assert found.missing == {}  # who has no label has none: no gap
    own.unlabel(second, "figure 2")
    assert counts(own, "labels contains figure")[0] == 1
    assert [event["action"] for event in own.show(first)["events"]] == ["flag", "unflag", "label", "note"]
    after = own.query("Ni K").to_xarray()
    np.testing.assert_array_equal(before["mu"].values, after["mu"].values)
    assert counts(Archive(own.location.root, at=tagged), "flagged")[0] == 0
    rebuilt = build.publish(Store(own.location), own.snapshot, rebuild=True)
    with database.connect(rebuilt) as connection:
        told = database.values(connection, "SELECT flag, labels, remarks FROM spectra WHERE spectrum_id = ?", [first])
    assert told == [(None, "figure 2", "beam lost at 8400 eV")]
    with pytest.raises(CallError, match="a bad flag needs a reason"):
        own.flag(first, "bad")
    with pytest.raises(CallError, match="Did you mean bad"):
        own.flag(first, "badd", "x")
    with pytest.raises(CallError, match="without a comma"):
        own.label(first, "a, b")


def test_what_cannot_be_stored_is_refused_before_anything_is_written(own: Archive) -> None:
    before = own.snapshot
    with pytest.raises(InvalidData, match="nothing to store"):
        own.derive("kbeta_prime", "Ni K")
    with pytest.raises(CallError, match="has a parameter"):
        own.derive("edge_energy", "Ni K", fracton=0.5)
    with pytest.raises(CallError, match="needs reference"):
        own.derive("edge_shift", "Ni K")
    with pytest.raises(InvalidData, match="finds no spectra"):
        own.derive("edge_shift", "Ni K", reference="step = 77")
    with pytest.raises(CallError, match="can be found again"):
        own.derive("edge_shift", "Ni K", reference=own.query("step = 1").to_xarray())
    with pytest.raises(CallError, match="limit"):
        own.derive("edge_energy", "Ni K limit 2", fraction=0.7, follow=True)
    with pytest.raises(NotFound, match="Did you mean edge_energy"):
        own.refresh("edge_enrgy")
    with pytest.raises(CallError, match="earlier state"):
        Archive(own.location.root, at=before).derive("edge_energy", "Ni K", fraction=0.7)
    assert own.snapshot == before


def _id(archive: Archive, number: int) -> str:
    return str(archive.query(f"step = {number}", include=["bad"]).columns(["spectrum_id"])["spectrum_id"][0])
