"""Athena projects: both encodings, references, pixels, labels that stand twice, and the real projects."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barospec import Archive
from barospec.archive.operators.edge_energy import edge_energy
from barospec.archive.operators.normalize import normalize
from barospec.archive.readers import athena, athena_project, perl, registry
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Scan
from tests.realdata import REALDATA, needs_realdata

FILES = Path(__file__).parent / "files"
PERL, JSON = FILES / "invented.prj", FILES / "invented-json.prj"


def told(found: list[Scan]) -> str:
    return "\n".join(str(problem) for scan in found for problem in scan.problems)


def unpacked(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The sample as plain Perl text after changes."""
    text = gzip.decompress(PERL.read_bytes()).decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "plain.prj"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", [PERL, JSON])
def test_groups_become_scans_with_all_their_parameters(path: Path) -> None:
    found = athena.read(path, {})
    assert [scan.name for scan in found] == ["sample", "Ref sample", "sample [ccccc]"]
    sample, reference, _ = found
    assert sample.conditions["energy_shift"] == 0.5
    assert sample.conditions["mode"] == "transmission"
    assert sample.conditions["edge"] == "Ni K"
    # Energies stay those of the file: the shift is not applied.
    np.testing.assert_allclose(sample.energy[[0, -1]], [8300, 8400])
    np.testing.assert_allclose(sample.channels["mutrans"], np.log(sample.channels["i0"] / sample.channels["itrans"]))
    args = json.loads(sample.header["athena"])
    assert (args["bkg_e0"], args["bkg_pre1"], args["bkg_eshift"], args["ln"]) == ("8345.5", "-40", "0.5", 1)
    assert args["titles"] == ["it's invented", "20 \u00b0C"]
    assert set(reference.channels) == {"itrans", "irefer", "murefer"}
    assert reference.header["athena_role"] == "reference of sample"
    assert json.loads(reference.header["athena"])["label"] == "  Ref sample"
    np.testing.assert_array_equal(sample.channels["murefer"], reference.channels["murefer"])
    assert 'the label "sample" stands 2 times' in told(found)
    assert "[dispersive]: not read: its abscissa is in pixels" in told(found)
    assert found[0].header["journal"] == "a note"


def test_both_encodings_give_the_same() -> None:
    for one, other in zip(athena.read(PERL, {}), athena.read(JSON, {}), strict=True):
        np.testing.assert_array_equal(one.energy, other.energy)
        assert one.header["athena"] == other.header["athena"]
        assert set(one.channels) == set(other.channels)
        for channel, values in one.channels.items():
            np.testing.assert_array_equal(values, other.channels[channel])


def test_no_directory_gets_into_the_header() -> None:
    for path in (PERL, JSON):
        for scan in athena.read(path, {}):
            assert "hc-0000" not in str(scan.header)
        assert json.loads(athena.read(path, {})[0].header["athena"])["file"] == "sample.000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"column data file C:\Users\x\a b\NiO.000", "column data file NiO.000"),
        ("/home/x/p.prj, 1", "p.prj, 1"),
        ("N2 in I0/It", "N2 in I0/It"),
    ],
)
def test_paths_lose_their_directories(text: str, expected: str) -> None:
    assert athena_project.without_folders(text) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@x = ('8300.0'", "@x = ('83oo.0'", r'\[sample\]: not read: line 6: x: "83oo.0" is no number'),
        ("@x = ('8300.0',", "@x = (", "40 energies for 41 values"),
        ("'label','sample',", "'label','sample','datatype','chi',", "of type chi, which is no absorption"),
        ("@x = (", "@z = (", "it has no array x"),
        ("'bkg_z','Ni'", "'bkg_z','Xx'", 'bkg_z is "Xx" and fft_edge is "k": the edge is not known'),
        ("'bkg_eshift','0.5'", "'bkg_eshift','0.7'", 'reference "Ref sample" is shifted differently'),
        ("@args = (", "@args = ('label'],", "args: a comma was expected"),
        ("1;\n", "", "the project ends without its last line"),
    ],
)
def test_a_damaged_group_does_not_hide_the_others(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = unpacked(tmp_path, (old, new))
    if old == "1;\n":
        path.write_text(path.read_text().replace("\n1;", ""))
    found = athena.read(path, {})
    assert len(found) >= 2
    import re

    assert re.search(message, told(found))


def test_pixels_are_told_by_counting_too(tmp_path: Path) -> None:
    path = unpacked(tmp_path, ("'is_pixel',1", "'is_pixel',0"))
    assert "in pixels of a dispersive spectrometer" in told(athena.read(path, {}))


def test_fluorescence_is_told_by_its_numbers(tmp_path: Path) -> None:
    groups = json.loads(JSON.read_text())
    groups["aaaaa"]["y"] = [
        str(float(signal) / float(i0))
        for i0, signal in zip(groups["aaaaa"]["i0"], groups["aaaaa"]["signal"], strict=True)
    ]
    path = tmp_path / "fluorescence.prj"
    path.write_text(json.dumps(groups))
    sample = athena.read(path, {})[0]
    assert {"i0", "ifluor", "mufluor"} <= set(sample.channels)
    assert "mode" not in sample.conditions  # or electron yield


def test_counters_that_do_not_give_the_curve_are_told(tmp_path: Path) -> None:
    groups = json.loads(JSON.read_text())
    groups["aaaaa"]["i0"] = groups["aaaaa"]["y"]
    path = tmp_path / "odd.prj"
    path.write_text(json.dumps(groups))
    found = athena.read(path, {})
    assert set(found[0].channels) == {"i0", "murecorded", "murefer"}
    assert "the array signal is not kept" in told(found)


def test_a_project_without_spectra_lists_why(tmp_path: Path) -> None:
    groups = {key: value for key, value in json.loads(JSON.read_text()).items() if key in ("_____header1", "ddddd")}
    path = tmp_path / "pixels.prj"
    path.write_text(json.dumps(groups))
    with pytest.raises(InvalidData, match=r"pixels\.prj: no group of the project is a spectrum:(?s:.*)in pixels"):
        registry.read_file(path)


def test_truncated_and_hostile_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cut.prj"
    path.write_bytes(PERL.read_bytes()[:-8])
    with pytest.raises(UnreadableFile, match=r"cut\.prj: the packed data end early"):
        registry.read_file(path)
    monkeypatch.setattr(athena_project, "_MOST", 2048)
    with pytest.raises(UnreadableFile, match="unpacks to more than"):
        registry.read_file(PERL)


literal = st.recursive(
    st.none() | st.integers(-(10**17), 10**17) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


def written(value: Any) -> str:
    """A value as Data::Dumper writes it."""
    if value is None:
        return "undef"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{written(key)} => {written(item)}" for key, item in value.items()) + "}"
    return str(value) if isinstance(value, int) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@given(literal)
def test_perl_literals_round_trip(value: Any) -> None:
    assert perl.parse(written(value)) == value


@pytest.mark.parametrize(
    "text", ["", "(1", "[1)", "{1}", "system('x')", "1 2", "[1 2]", "'open", "[" * 200, "bless(1)"]
)
def test_what_is_no_perl_literal_is_refused(text: str) -> None:
    with pytest.raises(InvalidData):
        perl.parse(text)


def test_perl_escapes() -> None:
    assert perl.parse(r'"\x{e4}\n\x{110000}\$"') == "\u00e4\n\ufffd$"
    assert perl.parse(r"'a\nb'") == r"a\nb"
    assert perl.parse("bless( {'a' => 1.5e3}, 'Xray::XDI' )") == {"a": 1500.0}


def _curve_names(label: str) -> tuple[str, ...]:
    return ("murefer",) if label.strip().startswith("Ref ") else ("mutrans", "mufluor", "murecorded")


@needs_realdata
@pytest.mark.parametrize("name", ["NiO.prj", "LaCoO3.prj", "json_unzipped.prj"])
def test_real_projects_give_the_edge_energies_of_the_reference(name: str) -> None:
    facts = json.loads((REALDATA / "facts.json").read_text())[f"athena/{name}"]["groups"]
    _, found = registry.read_file(REALDATA / "athena" / name)
    seen = set()
    for scan in found:
        label = json.loads(scan.header["athena"])["label"]
        fact = facts[label]
        seen.add(label)
        curve = next(scan.channels[n] for n in _curve_names(label) if n in scan.channels)
        result = normalize(scan.energy[None], curve[None])
        crossing = edge_energy(scan.energy[None], result["norm"], result["e0"], fraction=0.8)
        assert scan.energy.size == fact["npts"]
        assert result["e0"][0] == pytest.approx(fact["e0"], abs=0.002)
        assert result["edge_step"][0] == pytest.approx(fact["edge_step"], rel=1e-4)
        assert crossing["edge_energy"][0] == pytest.approx(fact["e_08"], abs=0.002)
    assert seen == set(facts)


@needs_realdata
def test_real_project_with_its_foils() -> None:
    _, found = registry.read_file(REALDATA / "athena" / "NiO.prj")
    samples = [scan for scan in found if "athena_role" not in scan.header]
    assert (len(found), len(samples)) == (24, 12)
    for scan in samples:
        assert "murefer" in scan.channels
        args = json.loads(scan.header["athena"])
        # E0 in Athena is on the shifted axis; all scans of the series agree there.
        assert scan.conditions.get("energy_shift", 0.0) == float(args["bkg_eshift"])
        assert float(args["bkg_e0"]) == pytest.approx(8344.1, abs=0.4)
    merged = next(scan for scan in samples if scan.name == "NiO")
    first = samples[0]
    # The merge, whose axis Athena has shifted, begins where the first scan does with its shift added.
    assert merged.energy[0] == pytest.approx(first.energy[0] + first.conditions["energy_shift"], abs=1e-9)
    assert "sigma" in merged.channels
    assert "home" not in str([scan.header for scan in found])


@needs_realdata
def test_real_json_project_without_counters() -> None:
    _, found = registry.read_file(REALDATA / "athena" / "json_unzipped.prj")
    assert [scan.conditions["edge"] for scan in found] == ["Fe K"] * 4
    assert "whether in transmission or fluorescence" in told(found)
    assert all(set(scan.channels) <= {"murecorded", "sigma"} for scan in found)


def test_references_stay_beside_their_samples_until_asked_for(empty: Archive) -> None:
    said = ["sample=s", "run=r", "origin=synthetic"]
    report = empty.ingest([PERL], said)
    assert (report.added, report.skipped, report.refused, report.ok) == (2, 1, 0, True)
    assert [p.scan for p in report.problems if "--set signal=murefer" in p.message] == ["Ref sample"]
    # The foil's curve came with its sample's: what alignment needs is there.
    channels = {row["source_scan"]: row["channels"] for row in _shown(empty)}
    assert "murefer" in channels["sample"]
    # Asked for, each reference comes once: not also as a channel of its sample.
    report = empty.ingest([PERL], ["sample=foil", "run=foils", "origin=synthetic", "signal=murefer"])
    assert (report.added, report.skipped) == (1, 1)
    assert report.refused == 1  # a sample without any reference
    foil = empty.query("run = foils")
    assert foil.columns(["source_scan"])["source_scan"].tolist() == ["Ref sample"]
    np.testing.assert_array_equal(
        empty.curve(foil.columns(["spectrum_id"])["spectrum_id"][0])[1], athena.read(PERL, {})[1].channels["murefer"]
    )


def _shown(archive: Archive) -> list[dict[str, Any]]:
    ids = archive.query().columns(["spectrum_id"])["spectrum_id"]
    shown = [archive.show(str(name)) for name in ids]
    return [{"source_scan": item["spectrum"]["source_scan"], "channels": item["channels"]} for item in shown]


@needs_realdata
def test_real_project_is_aligned_on_its_own_foils(empty: Archive) -> None:
    """Whatever the drift of the energy scale, NiO lies 11.5 to 12 eV above its own foil."""
    report = empty.ingest([REALDATA / "athena" / "NiO.prj"], ["sample=NiO", "run=r", "origin=measured"])
    assert (report.added, report.skipped, report.refused) == (12, 12, 0)
    found = empty.apply("align(to=8331.5)", "run = r").compute()  # type: ignore[union-attr]
    assert np.isfinite(found["align_shift"].values).all()
    # The derivative of nickel has two maxima, and in one of the foils the second is the steeper: it is not taken, but told.
    assert np.ptp(found["foil_e0"].values) < 0.5
    assert (np.abs(found["foil_e0_other"].values - found["foil_e0"].values - 12.4) < 1).all()
    steepest = empty.apply("align(to=8331.5, equal=9)", "run = r").compute()  # type: ignore[union-attr]
    flipped = steepest["foil_e0"].values - found["foil_e0"].values > 5
    assert flipped.sum() == 1
    np.testing.assert_array_equal(found["align_quality"].values == 5, flipped)
