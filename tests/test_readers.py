"""What holds for every reader: a sample, one claimant, units, and damaged files without a traceback."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.readers import bliss, registry, scans, subprocess_reader, tables
from barospec.schemas.errors import BarospecError, CallError, InvalidData, UnreadableFile
from barospec.schemas.records import Scan
from barospec.schemas.units import find_unit
from barospec.schemas.vocabulary import BY_NAME, CHANNELS

FILES = Path(__file__).parent / "files"
# A reader without a row here fails test_every_reader_has_a_sample.
SAMPLES = {
    "athena": FILES / "invented.prj",
    "bliss": FILES / "invented-bliss.h5",
    "columns": FILES / "invented-xdac.dat",
    "fdmnes": FILES / "invented_out.txt",
    "feff": FILES / "feff" / "xmu.dat",
    "nxxas": FILES / "invented-nxxas.nxs",
    "quanty": FILES / "invented_iso.spec",
    "spec": FILES / "invented.spec",
    "xdi": FILES / "invented.xdi",
}
# Damaged files of these are read in a process of its own, which takes time.
HDF5 = ("bliss", "nxxas")
ENERGY = np.round(np.linspace(8300.0, 8400.0, 41), 3)
each_reader = pytest.mark.parametrize("name", sorted(registry.READERS))


def check_scans(found: list[Scan]) -> None:
    """What every scan must be, whatever file it comes from."""
    assert found
    for scan in found:
        assert scan.energy.dtype == np.float64
        assert scan.energy.size >= 2
        assert np.isfinite(scan.energy).all()
        low, high = scans.PLAUSIBLE_EV
        assert low <= np.median(scan.energy) <= high
        assert scan.channels
        for channel, values in scan.channels.items():
            assert channel in CHANNELS
            assert values.shape == scan.energy.shape
            assert np.isfinite(values).any()
        for term, value in scan.conditions.items():
            known = BY_NAME[term]
            assert known.need != "system"
            assert value not in (None, "")
            assert isinstance(value, float | int) == (known.kind in ("number", "integer"))
            assert not known.allowed or value in known.allowed
        assert all(isinstance(text, str) for text in scan.header.values())
        assert all(problem.message and problem.file for problem in scan.problems)


def read_anything(path: Path, **options: Any) -> list[Scan] | None:
    """Read a file that may be damaged: its scans, or None when it was refused with a message."""
    refused = None
    try:
        _, found = registry.read_file(path, **options)
    except BarospecError as error:
        refused = str(error)
    if refused is not None:
        assert str(path) in refused
        return None
    check_scans(found)
    return found


def test_every_reader_has_a_sample() -> None:
    assert set(SAMPLES) == set(registry.READERS)


@each_reader
def test_reader_declares_what_the_contract_wants(name: str) -> None:
    reader = registry.READERS[name]
    assert isinstance(reader, ModuleType)
    assert reader.name == name
    assert reader.version >= 1
    assert reader.suffixes


@each_reader
def test_sample_is_claimed_by_its_reader_alone_and_read(name: str) -> None:
    assert registry.claims(SAMPLES[name]) == [name]
    reader, found = registry.read_file(SAMPLES[name])
    assert reader.name == name
    check_scans(found)
    np.testing.assert_allclose(found[0].energy, ENERGY, atol=1e-9)


@each_reader
def test_sniff_needs_no_file(name: str) -> None:
    head = SAMPLES[name].read_bytes()[: registry.HEAD]
    assert registry.READERS[name].sniff(head, "not-there")
    assert not registry.READERS[name].sniff(b"", "not-there")


@each_reader
def test_file_truncated_anywhere_is_read_or_refused(name: str, tmp_path: Path) -> None:
    data = SAMPLES[name].read_bytes()
    path = tmp_path / SAMPLES[name].name
    whole = registry.read_file(SAMPLES[name])[1][0]
    for part in range(50):
        path.write_bytes(data[: len(data) * part // 50])
        found = read_anything(path)
        if found is None:
            continue
        # HDF5 and gzip notice any cut.
        assert name not in (*HDF5, "athena")
        # Text that was cut gives the beginning of the curve; a last row that is not whole is told. A cut
        # between two rows leaves a file that is in order.
        between = path.read_bytes().rstrip(b" ").endswith(b"\n")
        sure = found[0].energy.size - (not between)
        np.testing.assert_array_equal(found[0].energy[:sure], whole.energy[:sure])
        for channel, values in found[0].channels.items():
            np.testing.assert_array_equal(values[:sure], whole.channels[channel][:sure])
        assert between or any("row" in str(problem) for problem in found[0].problems)


@pytest.mark.parametrize("name", sorted(set(registry.READERS) - set(HDF5)))
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_of_text_are_read_or_refused(name: str, data: st.DataObject) -> None:
    _flip(name, data)


@pytest.mark.parametrize("name", HDF5)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_flipped_bytes_of_hdf5_are_read_or_refused(name: str, data: st.DataObject) -> None:
    _flip(name, data)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_flipped_bytes_of_an_unzipped_project_are_read_or_refused(data: st.DataObject) -> None:
    # In a gzipped project, the checksum refuses nearly all of them.
    _flip("athena", data, gzip.decompress(SAMPLES["athena"].read_bytes()))
    _flip("athena", data, (FILES / "invented-json.prj").read_bytes())


def _flip(name: str, data: st.DataObject, of: bytes | None = None) -> None:
    content = bytearray(SAMPLES[name].read_bytes() if of is None else of)
    places = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=8)
    for place, value in data.draw(places):
        content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAMPLES[name].name
        path.write_bytes(bytes(content))
        read_anything(path)
        read_anything(path, format=name)


@each_reader
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\x89HDF\r\n\x1a\n", b"# XDI/1.0\n", b"1 2\n", b"\xff\xfe"])
def test_rubbish_is_refused_by_every_reader(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rubbish"
    path.write_bytes(content)
    with pytest.raises((UnreadableFile, InvalidData), match="rubbish"):
        registry.read_file(path, format=name)


def test_model_files_are_told_from_spectra() -> None:
    for path in sorted((FILES / "models").iterdir()):
        with pytest.raises(UnreadableFile, match=r"a model file, no spectrum.*read_model\(path\)"):
            registry.find_reader(path)
    with pytest.raises(CallError, match=r"wannier90 is a format of models, not of spectra: it holds hoppings"):
        registry.find_reader(SAMPLES["xdi"], format="wannier90")


def test_a_crash_of_the_library_is_an_error_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "crashing.py"
    module.write_text("import os\ndef read_scans(path, options):\n    os.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UnreadableFile, match=r"some\.h5: the library that reads it crashed"):
        subprocess_reader.read_isolated("crashing", Path("some.h5"), {})


def test_an_endless_loop_in_the_library_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "endless.py"
    module.write_text("import time\ndef read_scans(path, options):\n    time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(subprocess_reader, "PATIENCE", 1.0)
    with pytest.raises(UnreadableFile, match="took more than 1 s"):
        subprocess_reader.read_isolated("endless", Path("some.h5"), {})


def test_isolated_reading_gives_what_direct_reading_gives() -> None:
    apart, here = bliss.read(SAMPLES["bliss"], {}), bliss.read_scans(SAMPLES["bliss"], {})
    assert [scan.name for scan in apart] == [scan.name for scan in here] == ["1.1", "2.1"]
    assert apart[0].problems == here[0].problems
    np.testing.assert_array_equal(apart[1].channels["iemission"], here[1].channels["iemission"])


def test_a_file_that_nobody_claims_tells_how_to_describe_it(tmp_path: Path) -> None:
    path = tmp_path / "curve.txt"
    path.write_text("8300 1 2\n8301 1 2\n8302 1 3\n")
    with pytest.raises(UnreadableFile, match=r"curve\.txt: of no known format.*--format NAME.*columns: \{"):
        registry.find_reader(path)
    options = {"columns": {"energy": 1, "itrans": 2, "i0": 3}}
    reader, found = registry.read_file(path, options=options)
    assert reader.name == "columns"
    np.testing.assert_array_equal(found[0].channels["i0"], [2, 2, 3])


def test_two_claimants_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.READERS["feff"], "sniff", lambda head, filename: True)
    with pytest.raises(UnreadableFile, match=r"feff and xdi both claim this file.*--format feff"):
        registry.find_reader(SAMPLES["xdi"])
    assert registry.find_reader(SAMPLES["xdi"], format="xdi").name == "xdi"


def test_unknown_format_suggests_the_nearest() -> None:
    with pytest.raises(CallError, match=r'no format "xdy".*Did you mean xdi\?'):
        registry.find_reader(SAMPLES["xdi"], format="xdy")


def test_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"gone\.xdi: cannot be opened"):
        registry.read_file(tmp_path / "gone.xdi")


def test_the_registry_imports_no_numpy_and_no_h5py() -> None:
    code = (
        "import sys, barospec.archive.readers.registry as r; assert len(r.READERS) >= 4; "
        "print([m for m in ('numpy', 'h5py', 'gemmi') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.5", 1.5),
        ("-2.", -2.0),
        (".86E+04", 8600.0),
        ("1.0D3", 1000.0),
        ("1.4.9", None),
        ("1_000", None),
        ("", None),
    ],
)
def test_numeric(cell: str, value: float | None) -> None:
    assert tables.numeric(cell) == value
    assert tables.is_row(f"{cell} 1") == (value is not None)


def test_rows_that_do_not_fit_keep_their_first_number_only(tmp_path: Path) -> None:
    lines = [
        "1 10 20",
        "2 10",
        "",
        "3 10 20 30",
        "4 x 20",
        "5 1_0 20",
        "6 11 21",
        "7 12 22",
        "8 1 2",
        "9 1 2",
        "10 3",
    ]
    table = tables.parse_table(lines, 5, tmp_path / "f", cut=True)
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert np.isnan(table.values[[1, 2], 1:]).all()
    np.testing.assert_array_equal(table.values[3:5, 1:], [[np.nan, 20], [np.nan, 20]])
    assert table.lines.tolist() == [5, 6, 8, 9, 10, 11, 12, 13, 14]
    assert [problem.line for problem in table.problems] == [15, 6, 8, 9, 10]
    assert '"x"' in table.problems[3].message


def test_a_table_of_mostly_bad_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match='f:2: "a" is not a finite number; so it is in 2 of 3 rows'):
        tables.parse_table(["1 a", "2 b", "3 4"], 2, tmp_path / "f")


@given(st.lists(st.floats(1.0, 89.0), min_size=1, max_size=20), st.floats(0.5, 10.0))
def test_angles_give_back_their_energies(angles: list[float], d_spacing: float) -> None:
    energy = scans.energy_from_angle(np.array(angles), d_spacing)
    back = np.degrees(np.arcsin(scans.HC / (2 * d_spacing * energy)))
    np.testing.assert_allclose(back, angles, rtol=1e-9)


def test_hc_is_the_defined_constant() -> None:
    planck, light, charge = 6.62607015e-34, 299792458, 1.602176634e-19  # exact, SI of 2019
    assert pytest.approx(planck * light / charge * 1e10, rel=1e-15) == scans.HC


def test_axis_is_checked_not_repaired(tmp_path: Path) -> None:
    energy = np.array([8300.0, 8302.0, 8301.0, 8303.0, 8303.0, np.nan])
    scan = scans.make_scan(tmp_path / "f", energy, {"mutrans": np.arange(6.0)}, lines=np.arange(10, 16))
    np.testing.assert_array_equal(scan.energy, energy[:5])
    told = {problem.line: problem.message for problem in scan.problems}
    assert set(told) == {15, 12, 14}
    assert "goes back from 8302 to 8301" in told[12]
    with pytest.raises(InvalidData, match="Is its unit keV"):
        scans.make_scan(tmp_path / "f", energy / 1000, {"mutrans": np.arange(6.0)})


def test_units_of_energy_convert_and_others_are_refused() -> None:
    assert find_unit("keV") is not None
    np.testing.assert_allclose(scans.scale_to(np.array([8.3]), "KeV", "eV", "f"), [8300.0])
    with pytest.raises(InvalidData, match='f: the unit "mm" is none of eV, keV or meV'):
        scans.scale_to(np.array([8.3]), "mm", "eV", "f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2001-06-26T22:27:31", None),
        ("2001-06-26 22:27:31Z", "2001-06-26T22:27:31Z"),
        ("2001-06-26T22:27:31-05:00", "2001-06-27T03:27:31Z"),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_only_times_with_a_zone_are_instants(text: str, expected: str | None) -> None:
    assert scans.utc(text) == expected
