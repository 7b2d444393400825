"""XDI and column files: known answers, and the official bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barospec.archive.readers import registry, scans, xdi
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile, Unsupported
from barospec.schemas.records import Scan
from tests.realdata import REALDATA, needs_realdata

FILES = Path(__file__).parent / "files"


def read_one(path: Path, **options: Any) -> Scan:
    _, found = registry.read_file(path, options=options)
    assert len(found) == 1
    return found[0]


def told(scan: Scan, severity: str = "warning") -> str:
    return "\n".join(str(problem) for problem in scan.problems if problem.severity == severity)


def edited(tmp_path: Path, *changes: tuple[str, str], source: str = "invented.xdi") -> Path:
    text = (FILES / source).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / source
    path.write_text(text, encoding="utf-8")
    return path


def test_xdi_states_its_conditions() -> None:
    scan = read_one(FILES / "invented.xdi")
    assert scan.conditions == {
        "technique": "xas",
        "edge": "Ni K",
        "facility": "none",
        "beamline": "test bench",
        "monochromator": "Si(111)",
        "sample": "invented nickel oxide",
        "material": "NiO",
        "d_spacing": 3.1356,
        "temperature": 10.0,
        "pressure": 14.0,
        "time": "2026-01-31T21:30:00Z",
    }
    assert scan.header["Sample.pressure"] == "140 kbar"
    assert scan.header["comments"] == "an invented curve"
    assert scan.channels["i0"][0] == 200000
    assert scan.problems == []


@pytest.mark.parametrize(
    ("text", "kelvin"),
    [
        ("300K", 300.0),
        ("25 C", 298.15),
        ("25 degrees C", 298.15),
        ("10 +- 1 K", 10.0),
        ("room temperature", None),
        ("300", None),
        ("23,7 K", None),
        ("-", None),
        ("-5 K", None),
        ("20 GPa", None),
    ],
)
def test_xdi_temperature_is_a_number_with_a_unit_or_a_note(text: str, kelvin: float | None, tmp_path: Path) -> None:
    scan = read_one(edited(tmp_path, ("temperature: 10 K", f"temperature: {text}")))
    assert scan.conditions.get("temperature") == kelvin
    assert scan.header["Sample.temperature"] == text
    assert (f'"{text}" states no number with a unit' in told(scan, "note")) == (kelvin is None)


def test_xdi_energy_in_kev_and_unknown_units(tmp_path: Path) -> None:
    kev = edited(tmp_path, ("energy eV", "energy keV"))
    with pytest.raises(InvalidData, match=r"8.3e.06 to 8.4e.06 eV"):
        read_one(kev)
    with pytest.raises(InvalidData, match='column 1: the unit "pixel" is none of eV'):
        read_one(edited(tmp_path, ("energy eV", "energy pixel")))
    small = edited(tmp_path, ("energy eV", "energy"), *((f"\n{e:.3f} ", f"\n{e / 1000:.6f} ") for e in (8300.0,)))
    assert read_one(small).energy.size == 41  # one odd point does not make the axis keV
    assert "not plausible" in told(read_one(small))


def test_xdi_angle_needs_a_spacing(tmp_path: Path) -> None:
    energy = np.linspace(8300.0, 8400.0, 41).round(3)
    angles = np.degrees(np.arcsin(scans.HC / (2 * 3.1356 * energy)))
    rows = [(f"\n{e:.3f} ", f"\n{a:.9f} ") for e, a in zip(energy, angles, strict=True)]
    path = edited(tmp_path, ("energy eV", "angle degrees"), ("# energy i0", "# angle i0"), *rows)
    np.testing.assert_allclose(read_one(path).energy, energy, atol=1e-5)
    np.testing.assert_allclose(read_one(path, d_spacing="0.31356 nm").energy, energy, atol=1e-5)
    assert read_one(path, d_spacing=1.0).energy[0] > 20000
    path.write_text(path.read_text().replace("Mono.d_spacing: 3.1356", "Mono.d_spacing: 0"))
    with pytest.raises(InvalidData, match=r"no Mono\.d_spacing.*Give d_spacing"):
        read_one(path)


def test_xdi_contradictions_are_told(tmp_path: Path) -> None:
    scan = read_one(
        edited(tmp_path, ("# energy i0 itrans", "# energy itrans i0"), ("Element.edge: K", "Element.edge: Q"))
    )
    assert 'column 2 is "i0" by its field but "itrans" by the label line' in told(scan)
    assert 'Element.edge is "Q": the edge is not known' in told(scan)
    assert "edge" not in scan.conditions
    with pytest.raises(Unsupported, match=r"XDI 2\.0"):
        read_one(edited(tmp_path, ("XDI/1.0", "XDI/2.0")))


def test_xdi_with_other_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    plain = read_one(FILES / "invented.xdi")
    text = (FILES / "invented.xdi").read_bytes()
    for number, content in enumerate(
        [text.replace(b"\n", b"\r\n"), text.replace(b"\n", b"\r"), b"\xef\xbb\xbf" + text, text + b"\n\n\x1a"]
    ):
        path = tmp_path / f"{number}.xdi"
        path.write_bytes(content)
        scan = read_one(path)
        np.testing.assert_array_equal(scan.channels["itrans"], plain.channels["itrans"])
        assert scan.conditions == plain.conditions
        assert scan.problems == []


@needs_realdata
def test_real_xdi_files_are_as_the_reference_says() -> None:
    facts = json.loads((REALDATA / "facts.json").read_text())
    listed = {name: fact for name, fact in facts.items() if name.startswith("xdi/")}
    assert len(listed) >= 8
    for name, fact in listed.items():
        scan = read_one(REALDATA / name)
        assert scan.energy.size == fact["npts"]
        assert [scan.energy.min(), scan.energy.max()] == fact["erange"]
        assert ["energy", *scan.channels] == fact["labels"]
        assert scan.conditions["edge"] == f"{fact['element']} {fact['edge']}"
        assert scan.conditions["d_spacing"] == fact["dspacing"]
        assert "temperature" not in scan.conditions
        assert told(scan) == ""


@needs_realdata
def test_real_xdi_with_a_stated_temperature_and_with_a_foreign_abscissa() -> None:
    assert read_one(REALDATA / "xdi" / "cu_metal_10K.xdi").conditions["temperature"] == 10.0
    path = REALDATA / "xdi" / "nonxafs_1d.xdi"
    with pytest.raises(InvalidData, match=r'column 1 is "x mm".*columns: \{energy'):
        read_one(path)
    scan = read_one(path, columns={"energy": {"column": 1, "unit": "eV"}, "i0": 2, "itrans": "itrans"})
    assert scan.energy[0] == 8779.0
    assert scan.channels["itrans"][0] == 550643.089065


# File of the official set: what is told ("" for nothing), in a warning, or in the error where it is refused.
BAD = {
    "bad_00": ("", False),
    "bad_01": ('bad_01.xdi:1: the first line is "#", not "# XDI/1.0"', False),
    "bad_02": ('Element.edge is "": the edge is not known', False),
    "bad_04": ('Element.edge is "Foo": the edge is not known', False),
    "bad_06": ('bad_06.xdi:28: no line "#----"', False),
    "bad_09": ('Column.5 "misc_fluor" is declared, but the rows have 4 columns', False),
    "bad_12": ("there is no Mono.d_spacing to turn it into an energy", True),
    "bad_13": ("bad_13.xdi:31: 3 cells where other rows have 4", False),
    "bad_15": ('bad_15.xdi:29: "nan" is not a finite number', False),
    "bad_17": ('bad_17.xdi:29: "1.4.9" is not a finite number', False),
    "bad_20": ('bad_20.xdi:8: "Family:key:  Value" is not a field', False),
    "bad_22": ('bad_22.xdi:8: "Family.key.subkey:  Value" is not a field', False),
}


@needs_realdata
def test_all_official_bad_files_are_covered() -> None:
    assert {path.stem for path in (REALDATA / "xdi-bad").glob("*.xdi")} == set(BAD)


@needs_realdata
@pytest.mark.parametrize("name", sorted(BAD))
def test_official_bad_files_are_read_with_a_warning_or_refused(name: str) -> None:
    expected, refused = BAD[name]
    path = REALDATA / "xdi-bad" / f"{name}.xdi"
    if refused:
        with pytest.raises(InvalidData) as caught:
            read_one(path)
        assert expected in str(caught.value)
        return
    scan = read_one(path)
    assert scan.energy.size == 12
    assert expected in told(scan)
    assert bool(told(scan)) == bool(expected)


def test_sniff_of_xdi_is_not_fooled_by_other_comments() -> None:
    assert not xdi.sniff(b"# a file about XDI/1.0\n# Columns: 3\n", "f")
    assert xdi.sniff(b"# XDI/1.0 GSE/1.0\r\n", "f")


def test_table_with_labels_clock_kev_and_falling_energy() -> None:
    path = FILES / "invented-table.txt"
    reference = read_one(FILES / "invented.xdi")
    for layout in (
        {"energy": "Energy(keV)", "i0": "monitor", "itrans": "diode"},
        {"energy": {"column": "2", "unit": "keV"}, "i0": 3, "itrans": "4"},
        {"energy": "energy", "i0": "MONITOR", "itrans": ["diode"]},
    ):
        scan = read_one(path, columns=layout)
        np.testing.assert_allclose(scan.energy, reference.energy[::-1], atol=1e-6)
        np.testing.assert_array_equal(scan.channels["itrans"], reference.channels["itrans"][::-1])
        assert told(scan) == ""
        assert scan.header["header"].startswith("a remark")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"energy": 2, "itrns": 3}, r'no channel "itrns". Did you mean itrans'),
        ({"energy": 9}, r'energy: there is no column "9". There are columns 1 to 4, called clock'),
        ({"energy": "phase"}, r'there is no column "phase"'),
        ({"i0": 2}, "neither energy nor angle"),
        ({"energy": {"column": 2, "unit": "mm"}}, 'the unit "mm" is none of'),
        ({"energy": {"colum": 2}}, "is not understood"),
        ({"angle": 2}, "an angle needs d_spacing"),
        ({"energy": 1, "i0": 3}, "which is no x-ray energy"),
        ({"energy": "Energy(keV)"}, "no channel with a finite value"),
        ("1 2 3", "not a mapping"),
    ],
)
def test_wrong_layouts_are_refused_with_the_remedy(layout: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message) as caught:
        read_one(FILES / "invented-table.txt", columns=layout)
    assert "invented-table.txt" in str(caught.value)


def test_small_energies_without_a_unit_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "kev.txt"
    path.write_text("".join(f"{12 + i / 100} {i}\n" for i in range(9)))
    with pytest.raises(InvalidData, match="12 are too small for eV"):
        read_one(path, columns={"energy": 1, "mutrans": 2})
    assert read_one(path, columns={"energy": {"column": 1, "unit": "keV"}, "mutrans": 2}).energy[1] == 12010.0


def test_columns_without_a_layout_describe_what_is_there() -> None:
    with pytest.raises(InvalidData, match=r"4 columns labelled clock, .*from line 3 on.*columns: \{"):
        registry.read_file(FILES / "invented-table.txt", format="columns")


def test_columns_are_summed_and_comma_separated(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("energy_eV,a,b\n8300,1,10\n8301,2,20\n8302,,30\n")
    scan = read_one(path, columns={"energy": "energy_eV", "ifluor": ["a", 3]})
    np.testing.assert_array_equal(scan.channels["ifluor"], [11, 22, np.nan])
    assert "c.csv:4" in told(scan)


# First and last energy in eV, points, and the first values of channels, read off the files by eye.
LAYOUTS = {
    "APS12BM_2019": (6339.0, 6984.74, 492, {"i0": 197525, "itrans": 81565.6, "irefer": 95249.8}),
    "ESRF_BM08_LISA_2021": (10906.925247165695, 11505.616485957466, 198, {"i0": 1522483, "itrans": 1461948}),
    "Hematite_pt1_01": (7069.99, 7249.0, 555, {"i0": 13464, "ifluor": 5104.34}),
    "NSLS_XDAC_2011": (6912.0019, 7757.71515, 422, {"i0": 4484, "itrans": 3516, "irefer": 15912}),
    "PFBL12C_2005": (12049.08320257476, 13243.311517890812, 818, {"i0": 252916, "itrans": 592687}),
    "SSRL1_2006": (25284.998, 26534.926, 455, {"i0": 147360.797, "itrans": 131905.5, "irefer": 240204.703}),
}


@needs_realdata
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_real_beamline_layouts(name: str) -> None:
    first, last, count, channels = LAYOUTS[name]
    path = REALDATA / "columns" / f"{name}.dat"
    assert registry.claims(path) == ["columns"]
    scan = read_one(path)
    assert scan.energy.size == count
    np.testing.assert_allclose(scan.energy[[0, -1]], [first, last], rtol=1e-12)
    for channel, value in channels.items():
        assert scan.channels[channel][0] == value
    assert scan.conditions["technique"] == "xas"
    assert "read as" in told(scan, "note")


# The same files as a run sheet would describe them: keV, a clock first, falling angles, sums.
DESCRIBED: dict[str, dict[str, Any]] = {
    "APS12BM_2019": {"energy": {"column": 1, "unit": "keV"}, "i0": 4, "itrans": 5, "irefer": 6},
    "ESRF_BM08_LISA_2021": {"energy": 1, "i0": 2, "itrans": 3, "irefer": 6},
    "Hematite_pt1_01": {"energy": "Energy", "i0": "Io", "ifluor": "FY_c"},
    "NSLS_XDAC_2011": {"energy": {"column": "1", "unit": "eV"}, "i0": "I0", "itrans": "3", "irefer": "16"},
    "PFBL12C_2005": {"angle": {"column": 2, "unit": "deg"}, "d_spacing": "3.13551 Å", "i0": 4, "itrans": 5},
    "SSRL1_2006": {"energy": 3, "i0": 4, "itrans": 5, "irefer": 6},
}


@needs_realdata
@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_real_files_described_by_a_run_sheet_are_as_their_layout(name: str) -> None:
    path = REALDATA / "columns" / f"{name}.dat"
    known, described = read_one(path), read_one(path, columns=DESCRIBED[name])
    np.testing.assert_allclose(described.energy, known.energy, rtol=1e-12)
    for channel, values in described.channels.items():
        np.testing.assert_array_equal(values, known.channels[channel])
    if name == "NSLS_XDAC_2011":
        summed = read_one(path, columns={"energy": 1, "i0": 2, "ifluor": ["Ifch1", "Ifch2", "6", 7]})
        assert summed.channels["ifluor"][0] == 845 + 509 + 708 + 362


@needs_realdata
def test_real_dead_time_column_is_recorded_and_not_applied() -> None:
    scan = read_one(REALDATA / "columns" / "Hematite_pt1_01.dat", columns={"energy": 1, "i0": 2, "ifluor": "FY"})
    assert scan.header["dead_time"] == "not corrected here; recorded in columns DeadTime"
    assert scan.channels["ifluor"][0] == 5027
    assert "dead_time" not in read_one(REALDATA / "columns" / "SSRL1_2006.dat").header


@needs_realdata
def test_real_9809_file_tells_that_its_angles_disagree() -> None:
    scan = read_one(REALDATA / "columns" / "PFBL12C_2005.dat")
    assert "differs from the requested one by up to 16.7 eV" in told(scan)
    asked = {"angle": {"column": "Angle(c)", "unit": "deg"}, "i0": 4, "itrans": 5, "d_spacing": "3.13551"}
    scan = read_one(REALDATA / "columns" / "PFBL12C_2005.dat", columns=asked)
    # The header's block table says 12049 to 13260 eV, five decimals of an angle are 0.1 eV.
    np.testing.assert_allclose(scan.energy[[0, -1]], [12049.0, 13260.0], atol=0.1)


@needs_realdata
def test_real_file_without_header_is_read_with_a_layout_only() -> None:
    path = REALDATA / "columns" / "generic_columns_no_header.dat"
    with pytest.raises(UnreadableFile, match="columns:"):
        read_one(path)
    scan = read_one(path, columns={"energy": 1, "i0": 2, "itrans": 3})
    reference = read_one(REALDATA / "columns" / "ESRF_BM08_LISA_2021.dat")
    np.testing.assert_array_equal(scan.channels["itrans"], reference.channels["itrans"])


@needs_realdata
def test_real_files_have_one_claimant() -> None:
    claimants = {
        "athena": "athena",
        "fdmnes": "fdmnes",
        "spec": "spec",
        "wannier90": None,
        "feff": "feff",
        "xdi": "xdi",
    }
    for folder, reader in claimants.items():
        for path in (REALDATA / folder).iterdir():
            assert registry.claims(path) == ([reader] if reader else [])


def test_no_library_error_leaves_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, options: Any) -> list[Scan]:
        raise KeyError("mu")

    monkeypatch.setattr(xdi, "read", broken)
    with pytest.raises(BarospecError, match=r"invented.xdi: cannot be read as xdi \(KeyError: 'mu'\)"):
        read_one(FILES / "invented.xdi")
