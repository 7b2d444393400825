"""BLISS HDF5: the traps of real files, made by hand and on the real ones."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from barospec.archive.readers import bliss, hdf5, registry
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Scan
from tests.realdata import REALDATA, needs_realdata

SAMPLE = Path(__file__).parent / "files" / "invented-bliss.h5"


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """A copy of the sample after a change."""

    def change(action: Callable[[h5py.File], None]) -> Path:
        path = tmp_path / "changed.h5"
        shutil.copy(SAMPLE, path)
        with h5py.File(path, "r+") as file:
            action(file)
        return path

    return change


def told(scan: Scan) -> str:
    return "\n".join(str(problem) for problem in scan.problems)


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


def test_sample_has_an_absorption_and_an_emission_scan() -> None:
    absorption, emission = bliss.read_scans(SAMPLE, {})
    assert (absorption.name, emission.name) == ("1.1", "2.1")
    assert set(absorption.channels) == {"i0", "itrans", "mutrans"}
    np.testing.assert_allclose(absorption.energy[[0, -1]], [8300, 8400])
    ratio = np.log(absorption.channels["i0"] / absorption.channels["itrans"])
    np.testing.assert_allclose(absorption.channels["mutrans"], ratio)
    assert absorption.conditions["time"] == "2026-01-31T21:30:00Z"
    assert absorption.header["channels"] == "energy: energy_enc, i0: I0, itrans: I1, irefer: I2, mutrans: mu_trans"
    assert absorption.header["positioners.samz"] == "1.25 mm"
    assert "energy_enc has no unit; 8.3 to 8.4 is taken as keV" in told(absorption)
    assert "2 positioners have no value (cryo, mono)" in told(absorption)
    assert "all values are zero, dropped: irefer (I2)" in told(absorption)
    assert 'the default entry "9.1" is not in the file' in told(absorption)
    assert "2 entries (3.1 to 3.2) link to not-here.h5" in told(absorption)
    assert "no spectrum in 1.2: no energy axis among its counters (Tcryo)" in told(absorption)
    assert emission.conditions["technique"] == "xes"
    assert emission.conditions["excitation_energy"] == 10000.0
    np.testing.assert_allclose(emission.energy[[0, -1]], [8270, 8250])
    assert "iemission is roi, which the file plots by default" in told(emission)


def test_stated_units_are_taken_without_a_warning(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        file["1.1/measurement/energy_enc"].attrs["units"] = "KeV"
        replace(file, "2.1/measurement/xes_en", np.linspace(8270, 8250, 41))
        file["2.1/measurement/xes_en"].attrs["units"] = "eV"

    absorption, emission = bliss.read_scans(changed(action), {})
    np.testing.assert_allclose(absorption.energy[[0, -1]], [8300, 8400])
    np.testing.assert_allclose(emission.energy[[0, -1]], [8270, 8250])
    assert "has no unit" not in told(absorption) + told(emission)


def test_the_caller_names_counters_units_and_sums() -> None:
    channels = {"energy": {"counter": "energy_enc", "unit": "keV"}, "i0": "i0", "itrans": ["I1", "I1"]}
    scan = bliss.read_scans(SAMPLE, {"channels": channels})[0]
    assert "has no unit" not in told(scan)
    plain = bliss.read_scans(SAMPLE, {})[0]
    np.testing.assert_allclose(scan.channels["itrans"], 2 * plain.channels["itrans"])


def test_one_point_more_or_less_is_cut_with_a_warning() -> None:
    scan = bliss.read_scans(SAMPLE, {"channels": {"irefer": "slow"}})[0]
    assert scan.energy.size == scan.channels["irefer"].size == scan.channels["i0"].size == 40
    assert "lengths differ (energy 41, irefer 40, i0 41" in told(scan)
    assert "all are cut to the first 40" in told(scan)


def test_channels_of_quite_different_length_are_refused(changed: Any) -> None:
    path = changed(lambda file: replace(file, "1.1/measurement/slow", np.arange(20.0)))
    with pytest.raises(InvalidData, match=r"differ in length \(energy 41, irefer 20"):
        bliss.read_scans(path, {"channels": {"energy": "energy_enc", "irefer": "slow"}})


def test_ambiguous_counters_are_listed(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        del file["2.1"]
        file["1.1/measurement/itrans"] = np.arange(41.0)

    with pytest.raises(InvalidData, match=r"1.1: itrans and I1|1.1: I1 and itrans") as caught:
        bliss.read_scans(changed(action), {})
    assert "channels: {energy: energy_enc, i0: I0, itrans: I1}" in str(caught.value)
    assert "mu_trans" in str(caught.value)
    found = bliss.read_scans(changed(action), {"channels": {"itrans": "I1"}})
    assert found[0].name == "1.1"


def test_an_entry_that_cannot_be_read_does_not_hide_the_others(changed: Any) -> None:
    path = changed(lambda file: file.__setitem__("1.1/measurement/itrans", np.arange(41.0)))
    (emission,) = bliss.read_scans(path, {})
    assert emission.name == "2.1"
    assert "[1.1]: not read: " in told(emission)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"i00": "I0"}, 'no channel "i00"'),
        ({"i0": "Izero"}, "no 1-D counter Izero. There are .*energy_enc"),
        ({"energy": "Izero"}, "no counter Izero"),
        ({"energy": "mu_trans"}, "mu_trans has no unit, and .* is neither keV nor eV"),
        ({"i0": {"name": "I0"}}, "is not understood"),
        ("I0", "write channels:"),
    ],
)
def test_wrong_channels_are_refused_with_the_remedy(channels: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        registry.read_file(SAMPLE, options={"channels": channels})


def test_unfinished_scans_are_left_for_later(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        del file["1.1/end_time"]
        file["1.1/writer/status"] = "RUNNING"
        del file["2.1/end_time"]

    (emission,) = bliss.read_scans(changed(action), {})
    assert "not finished (writer status RUNNING)" in told(emission)
    assert "no end_time: the scan may be unfinished" in told(emission)


def test_aborted_scans_are_taken_with_a_warning(changed: Any) -> None:
    path = changed(lambda file: file.__setitem__("1.1/end_reason", "USER_ABORT"))
    assert "the scan ended with USER_ABORT" in told(bliss.read_scans(path, {})[0])


def test_time_without_a_zone_is_no_instant(changed: Any) -> None:
    path = changed(lambda file: replace(file, "1.1/start_time", "2026-01-31T23:30:00"))
    scan = bliss.read_scans(path, {})[0]
    assert "time" not in scan.conditions
    assert "has no time zone" in told(scan)


def test_slow_thermometer_gives_the_temperature_only_with_a_unit_and_alone(changed: Any) -> None:
    plain = bliss.read_scans(SAMPLE, {})[0]
    assert "temperature" not in plain.conditions
    assert "temperature is left open; thermometers are Tcryo in 1.2, without unit" in told(plain)

    def kelvin(file: h5py.File) -> None:
        file["1.2/measurement/Tcryo"].attrs["units"] = "K"

    scan, emission = bliss.read_scans(changed(kelvin), {})
    assert scan.conditions["temperature"] == pytest.approx(10.05)
    assert scan.conditions["temperature_sigma"] == pytest.approx(0.1 / np.sqrt(2), rel=1e-5)
    assert scan.conditions["temperature_sensor"] == "Tcryo"
    assert "temperature" not in emission.conditions  # 1.2 belongs to 1.1

    def two(file: h5py.File) -> None:
        kelvin(file)
        file["1.2/measurement/Tsample"] = [12.0, 12.1]

    assert "thermometers are Tcryo in 1.2, Tsample in 1.2, without unit" in told(bliss.read_scans(changed(two), {})[0])


@pytest.mark.parametrize(
    ("value", "unit", "kelvin"),
    [([26.85, 26.95], "degC", 300.05), ([10.0], "K", 10.0), ([np.nan, np.nan], "K", None), ([9e9, 9e9], "K", None)],
)
def test_temperatures_are_converted_and_checked(
    value: list[float], unit: str, kelvin: float | None, changed: Any
) -> None:
    def action(file: h5py.File) -> None:
        replace(file, "1.2/measurement/Tcryo", value)
        file["1.2/measurement/Tcryo"].attrs["units"] = unit

    scan = bliss.read_scans(changed(action), {})[0]
    assert scan.conditions.get("temperature") == (kelvin if kelvin is None else pytest.approx(kelvin))
    assert ("temperature_sigma" in scan.conditions) == (kelvin is not None and len(value) > 1)
    assert ("temperature is left open" in told(scan)) == (kelvin is None)


def test_the_caller_names_the_thermometer() -> None:
    scan = bliss.read_scans(SAMPLE, {"channels": {"temperature": "Tcryo"}})[0]
    assert scan.conditions["temperature"] == pytest.approx(10.05)
    with pytest.raises(InvalidData, match=r"temperature: no 1-D counter Tnowhere in 1\.1, 1\.2"):
        bliss.read_scans(SAMPLE, {"channels": {"temperature": "Tnowhere"}})


def test_dead_time_counters_are_recorded_and_not_applied(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        file["1.1/measurement/iff"] = np.arange(1.0, 42.0)
        file["1.1/measurement/fx_icr_det0"] = np.full(41, 2e5)
        file["1.1/measurement/fx_ocr_det0"] = np.full(41, 1e5)

    scan = bliss.read_scans(changed(action), {})[0]
    np.testing.assert_array_equal(scan.channels["ifluor"], np.arange(1.0, 42.0))
    assert scan.header["dead_time"] == "not corrected; recorded: fx_icr_det0 (mean 200000), fx_ocr_det0 (mean 100000)"
    assert "dead time is recorded (2 counters" in told(scan)
    assert "dead_time" not in bliss.read_scans(SAMPLE, {})[0].header


def test_entries_come_in_numeric_order(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        for name in ("10.1", "9.1"):
            file.copy("1.1", name)

    assert [scan.name for scan in bliss.read_scans(changed(action), {})] == ["1.1", "2.1", "9.1", "10.1"]
    assert sorted(["a_10.1", "a_9.2", "a_9.1"], key=hdf5.by_number) == ["a_9.1", "a_9.2", "a_10.1"]


def test_no_directory_gets_into_the_header(changed: Any) -> None:
    path = changed(lambda file: file.attrs.__setitem__("file_name", "/data/visitor/hc0000/id00/x.h5"))
    assert "hc0000" not in str([scan.header for scan in bliss.read_scans(path, {})])


def test_a_locked_file_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "locked.h5"
    shutil.copy(SAMPLE, path)
    with path.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(UnreadableFile, match=r"locked.h5: is locked by the program that writes it"):
            registry.read_file(path)


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    path.write_bytes(SAMPLE.read_bytes()[:-5000])
    with pytest.raises(UnreadableFile, match=r"cut\.h5: is truncated"):
        registry.read_file(path)


def test_hdf5_of_others_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["entry/data"] = np.arange(5.0)
    assert registry.claims(path) == []
    with pytest.raises(InvalidData, match=r"other.h5: no spectrum could be read:\s+entry: no 1-D counters"):
        registry.read_file(path, format="bliss")


def test_search_in_a_file_finds_what_lies_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * (2**20 - 3) + b"MeasureMent" + b"x" * 100)
    assert hdf5.mentions(path, b"measurement")
    assert not hdf5.mentions(path, b"nowhere")
    assert not hdf5.mentions(tmp_path / "missing", b"x")


@needs_realdata
def test_real_laser_heating_file() -> None:
    fact = json.loads((REALDATA / "facts.json").read_text())["bliss/id24_laser_heated_Fe.h5"]["spectra"]["39.1"]
    _, found = registry.read_file(REALDATA / "bliss" / "id24_laser_heated_Fe.h5")
    (scan,) = found
    assert scan.name == "39.1"
    assert scan.energy.size == fact["n"]
    assert scan.energy.min() == pytest.approx(fact["emin"], abs=1e-9)
    assert scan.energy.max() == pytest.approx(fact["emax"], abs=1e-9)
    assert scan.conditions["beamline"] == "ID24"
    assert 'default entry "52.1"' in told(scan)
    assert "no spectrum in 39.2" in told(scan)
    slope = np.gradient(scan.channels["mutrans"], scan.energy)
    assert scan.energy[np.argmax(slope[10:-10]) + 10] == pytest.approx(fact["e0"], abs=3.0)
    by_hand = registry.read_file(
        REALDATA / "bliss" / "id24_laser_heated_Fe.h5",
        options={"channels": {"energy": {"counter": "mtraj_center", "unit": "keV"}, "i0": "I0", "itrans": "I1"}},
    )[1][0]
    assert by_hand.energy.size == 410
    assert "lengths differ (energy 410, i0 411" in told(by_hand)


@needs_realdata
def test_real_emission_file_directly_and_through_its_master() -> None:
    fact = json.loads((REALDATA / "facts.json").read_text())["bliss/blc16742_NiSO4.h5"]
    master = REALDATA / "bliss" / "blc16742_NiSO4.h5"
    with pytest.raises(InvalidData, match=r"which counter is i0\?(?s:.*)120 entries") as caught:
        registry.read_file(master)
    assert "p100k_kit_small_roi" in str(caught.value)
    channels = {"energy": "xes_en_texs", "iemission": "p100k_kit_small_roi", "i0": "I00"}
    _, linked = registry.read_file(master, options={"channels": channels})
    assert [scan.name for scan in linked] == fact["scans"][:2]
    broken = [problem for problem in linked[0].problems if "which is not there" in problem.message]
    assert sum(int(problem.message.split()[0]) for problem in broken) == len(fact["scans"]) - 2
    _, direct = registry.read_file(
        REALDATA / "bliss" / "NiSO4_SKa_XES_0001" / "NiSO4_SKa_XES_0001.h5", options={"channels": channels}
    )
    for one, other in zip(linked, direct, strict=True):
        np.testing.assert_array_equal(one.channels["iemission"], other.channels["iemission"])
        np.testing.assert_allclose(one.energy[[0, -1]], [2312.0, 2302.0])
        assert one.conditions["technique"] == "xes"
        assert "blc16742" not in str(one.header)
    assert direct[0].channels["iemission"][0] == 1213
    assert direct[0].channels["i0"][0] == 2974186.25


BLOCKED = """
import sys
from pathlib import Path
from barospec.archive.readers import bliss
from barospec.schemas.errors import UnreadableFile

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hdf5plugin":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    print(bliss.read_scans(Path(sys.argv[1]), {})[0].channels["i0"].sum())
except UnreadableFile as error:
    print(error)
"""


@pytest.mark.parametrize(("counter", "channel"), [("I0", "i0"), ("I1", "itrans")])
def test_a_compression_of_detectors_needs_the_extra(changed: Any, counter: str, channel: str) -> None:
    """With the package the numbers come; without it, the message names filter, dataset and extra."""
    plain = bliss.read_scans(SAMPLE, {})[0].channels[channel]

    def action(file: h5py.File) -> None:
        name = f"1.1/measurement/{counter}"
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=values, chunks=values.shape, **hdf5plugin.Zstd())

    path = changed(action)
    np.testing.assert_array_equal(bliss.read(path, {})[0].channels[channel], plain)
    told = blocked(path)
    assert f"{path}: dataset /1.1/measurement/{counter} of changed.h5 is compressed by " in told
    assert "(HDF5 filter 32015), which is not installed" in told
    assert 'pip install "barospec[hdf5plugin]"' in told
    # What the library has itself needs no extra.
    assert float(blocked(SAMPLE)) == bliss.read_scans(SAMPLE, {})[0].channels["i0"].sum()


def blocked(path: Path) -> str:
    """What reading gives in a process that has no hdf5plugin."""
    command = [sys.executable, "-P", "-c", BLOCKED, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def test_a_filter_that_nobody_has_is_named(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        values = file["1.1/measurement/I0"][()]
        del file["1.1/measurement/I0"]
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(values.shape)
        made.set_filter(511, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(values.shape)
        dataset = h5py.h5d.create(file["1.1/measurement"].id, b"I0", h5py.h5t.NATIVE_DOUBLE, space, made)
        # As written by a program that has the filter.
        dataset.write_direct_chunk((0,), values.tobytes(), filter_mask=0)

    with pytest.raises(UnreadableFile, match=r"compressed by .* \(HDF5 filter 511\), which is not installed"):
        bliss.read(changed(action), {})
