"""SPEC: scan 0, repeated numbers, the axis in any column, and agreement with silx where that is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barospec.archive.readers import registry, spec
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Scan
from tests.realdata import REALDATA, needs_realdata

SAMPLE = Path(__file__).parent / "files" / "invented.spec"
QUANTY = Path(__file__).parent / "files" / "invented_iso.spec"


def told(found: list[Scan]) -> str:
    return "\n".join(str(problem) for scan in found for problem in scan.problems)


def edited(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = SAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "edited.spec"
    path.write_text(text)
    return path


def test_scan_zero_twice_and_the_axis_in_the_second_column() -> None:
    found = spec.read(SAMPLE, {})
    (scan,) = found
    assert scan.name == "0.2"
    assert scan.title == "ascan Energy 8.3 8.4 40 1"
    np.testing.assert_allclose(scan.energy[[0, -1]], [8300, 8400])
    assert scan.channels["i0"][0] == 200000
    assert scan.header["positioners.Two Theta"] == "30.5"
    assert scan.header["positioners.mono"] == "8.3"
    assert "no spectrum in 0.1: no energy axis among its counters (samz, I0)" in told(found)
    assert "has no time zone" in told(found)
    assert "time" not in scan.conditions
    assert all(problem.severity == "note" for problem in scan.problems)


def test_quanty_and_spec_are_not_mistaken_for_each_other() -> None:
    assert registry.claims(SAMPLE) == ["spec"]
    assert registry.claims(QUANTY) == ["quanty"]
    with pytest.raises(UnreadableFile, match="no scan"):
        registry.read_file(QUANTY, format="spec")


@pytest.mark.parametrize(
    ("head", "claimed"),
    [
        (b"#S 1 ascan x 1 2 3 1\n#L x  y\n", True),
        (b"\n#F f\n#E 1\n#D today\n#O0 a  b\n\n#S 0 ct\n", True),
        (b"#F f\n#D today\n" + b"#O0 motor  motor\n" * 300, True),
        (b"#C remark only\n# 1 2\n", False),
        (b"#Spectra: 1\n", False),
        (b"#D Tue\n#S Scan 29; exafsscan\n#C 1_Energy (keV)\n", False),
        (b"#F is for fish\n1 2\n", False),
    ],
)
def test_sniff(head: bytes, claimed: bool) -> None:
    assert spec.sniff(head[:4096], "f") == claimed


def test_the_caller_names_columns_and_sums(tmp_path: Path) -> None:
    path = edited(tmp_path, ("Energy (keV)", "enc"))
    with pytest.raises(InvalidData, match=r"no energy axis among its counters \(Epoch, enc(?s:.*)channels: \{energy"):
        spec.read(path, {})
    channels = {"energy": {"counter": "enc", "unit": "keV"}, "i0": "I0", "itrans": ["I1", "I1"]}
    (scan,) = spec.read(path, {"channels": channels})
    (plain,) = spec.read(SAMPLE, {})
    np.testing.assert_array_equal(scan.channels["itrans"], 2 * plain.channels["itrans"])
    assert scan.conditions["technique"] == "xas"


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"i00": "I0"}, 'no channel "i00"'),
        ({"i0": "Izero"}, "no 1-D counter Izero. There are Epoch"),
        ("I0", "write channels:"),
    ],
)
def test_wrong_channels_are_refused_with_the_remedy(channels: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        registry.read_file(SAMPLE, options={"channels": channels})


def test_labels_with_single_blanks_and_repeated_labels(tmp_path: Path) -> None:
    one = edited(tmp_path, ("#L Epoch  Energy (keV)  Seconds  I0  I1", "#L Epoch Energy Seconds I0 I1"))
    (scan,) = spec.read(one, {})
    np.testing.assert_allclose(scan.energy[0], 8300)
    assert "Energy has no unit; 8.3 to 8.4 is taken as keV" in told([scan])
    twice = edited(tmp_path, ("Seconds  I0  I1", "I0  I0  I1"))
    with pytest.raises(InvalidData, match=r"I0 \(1\) and I0 \(2\) could both be i0"):
        spec.read(twice, {})
    few = edited(tmp_path, ("Energy (keV)  Seconds  I0  I1", "Energy (keV)  I0  I1"))
    with pytest.raises(InvalidData, match=r"4 labels \(#L\) for 5 columns"):
        spec.read(few, {})


def test_an_aborted_scan_tells_how_far_it_came(tmp_path: Path) -> None:
    lines = SAMPLE.read_text().split("\n")
    path = tmp_path / "aborted.spec"
    path.write_text("\n".join(lines[:-6]) + "\n")
    found = spec.read(path, {})
    assert found[0].energy.size == 36
    assert "36 of 41 points: aborted" in told(found)


def test_damaged_cells_are_told_with_their_line_and_never_become_zero(tmp_path: Path) -> None:
    number = 1 + next(i for i, line in enumerate(SAMPLE.read_text().split("\n")) if line.startswith("3 8.307500"))
    path = edited(tmp_path, ("3 8.307500 1 199700", "#C a pause\n3 8.307500 1 x"), ("5 8.312500", "5 8.31.25"))
    found = spec.read(path, {})
    assert np.isnan(found[0].channels["i0"][3])
    assert found[0].energy.size == 40
    assert f'edited.spec:{number + 1} [0.2]: "x" is not a finite number' in told(found)
    assert "1 point(s) without an energy are dropped" in told(found)


def test_multichannel_spectra_are_passed_over(tmp_path: Path) -> None:
    path = edited(tmp_path, ("\n1 8.302500", "\n@A 1 2 3 \\\n 4 5 6\n1 8.302500"))
    np.testing.assert_array_equal(spec.read(path, {})[0].energy, spec.read(SAMPLE, {})[0].energy)


def test_temperature_is_taken_only_when_certain(tmp_path: Path) -> None:
    (scan,) = spec.read(edited(tmp_path, ("  Seconds", "  Tsample (K)")), {})
    assert (scan.conditions["temperature"], scan.conditions["temperature_sigma"]) == (1.0, 0.0)
    found = spec.read(edited(tmp_path, ("  Seconds", "  Tsample")), {})
    assert "temperature" not in found[0].conditions
    assert "temperature is left open; thermometers are Tsample in 0.2, without unit" in told(found)
    (scan,) = spec.read(
        edited(tmp_path, ("  Seconds", "  Tsample")),
        {"channels": {"temperature": {"counter": "Tsample", "unit": "degC"}}},
    )
    assert scan.conditions["temperature"] == 274.15


def test_dead_time_is_recorded_and_not_applied(tmp_path: Path) -> None:
    path = edited(tmp_path, ("Seconds  I0  I1", "icr_1  I0  IF"))
    found = spec.read(path, {})
    assert found[0].header["dead_time"] == "not corrected; recorded: icr_1 (mean 1)"
    np.testing.assert_array_equal(found[0].channels["ifluor"], spec.read(SAMPLE, {})[0].channels["itrans"])
    assert "dead time is recorded (1 counters" in told(found)


def test_agrees_with_silx_on_sound_files() -> None:
    specfile = pytest.importorskip("silx.io.specfile", reason="silx is a peer for this test only")
    peer = specfile.SpecFile(str(SAMPLE))
    assert peer.keys() == ["0.1", "0.2"]
    (scan,) = spec.read(SAMPLE, {})
    np.testing.assert_allclose(scan.energy, peer["0.2"].data[1] * 1000, rtol=1e-12)
    np.testing.assert_array_equal(scan.channels["itrans"], peer["0.2"].data[4])
    assert peer["0.2"].motor_names == ["Two Theta", "samz", "mono"]


@needs_realdata
def test_real_file() -> None:
    path = REALDATA / "spec" / "Co-foil_EXAFS_23107.dat"
    with pytest.raises(InvalidData, match=r"mono1_energy_acs(?s:.*)channels: \{energy: LABEL"):
        registry.read_file(path)
    channels = {
        "energy": {"counter": "mono1_energy_acs", "unit": "eV"},
        "i0": ["albaem02_ch1", "albaem02_ch2"],
        "itrans": "albaem02_ch3",
        "irefer": "albaem02_ch4",
    }
    _, (scan,) = registry.read_file(path, options={"channels": channels})
    assert scan.name == "23107.1"
    assert scan.energy.size == 4096
    np.testing.assert_array_equal(scan.energy[[0, -1]], [7509.0, 8829.0])
    assert scan.channels["itrans"][0] == 2.6053057861328125e-06
    assert scan.channels["i0"][-1] == pytest.approx(5.216504516601563e-07 + 5.20315673828125e-07, rel=1e-12)
    assert told([scan]) == ""
    mu = np.log(scan.channels["i0"] / scan.channels["itrans"])
    smooth = np.convolve(mu, np.ones(9) / 9, mode="same")
    assert scan.energy[20:-20][np.argmax(np.gradient(smooth)[20:-20])] == pytest.approx(7709, abs=10)  # Co K
