"""NXxas: its three forms, what they leave open, and its border to BLISS."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from barospec.archive.readers import nxxas, registry
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Scan

FILES = Path(__file__).parent / "files"
SAMPLE = FILES / "invented-nxxas.nxs"


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """A copy of the sample after a change."""

    def change(action: Callable[[h5py.File], None]) -> Path:
        path = tmp_path / "changed.nxs"
        shutil.copy(SAMPLE, path)
        with h5py.File(path, "r+") as file:
            action(file)
        return path

    return change


def told(found: list[Scan]) -> str:
    return "\n".join(str(problem) for scan in found for problem in scan.problems)


def by_name(path: Path, **options: Any) -> dict[str, Scan]:
    return {scan.name: scan for scan in nxxas.read_scans(path, options)}


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


def test_three_forms_of_one_curve() -> None:
    found = by_name(SAMPLE)
    assert list(found) == ["beams", "detectors", "entry"]
    curve = found["entry"].channels["mutrans"]
    for name in ("beams", "detectors"):
        channels = found[name].channels
        np.testing.assert_allclose(np.log(channels["i0"] / channels["itrans"]), curve, atol=1e-4)
        np.testing.assert_allclose(found[name].energy, found["entry"].energy)
    assert found["entry"].conditions == {
        "technique": "xas",
        "mode": "transmission",
        "edge": "Ni K",
        "sample": "invented",
        "temperature": 10.0,
    }
    assert found["beams"].conditions["time"] == "2026-01-31T21:30:00Z"
    assert found["beams"].conditions["mode"] == "transmission"
    assert "edge" not in found["beams"].conditions  # the manual's form has no place for it
    assert found["detectors"].conditions["d_spacing"] == 3.1356
    assert found["detectors"].conditions["edge"] == "Ni K"
    assert 'element is "" and edge is ""' in told(list(found.values()))


def test_isolated_reading_gives_what_direct_reading_gives() -> None:
    for apart, here in zip(nxxas.read(SAMPLE, {}), nxxas.read_scans(SAMPLE, {}), strict=True):
        assert apart.header == here.header
        np.testing.assert_array_equal(apart.energy, here.energy)


def test_bliss_and_nxxas_have_one_claimant_each(changed: Any, tmp_path: Path) -> None:
    assert registry.claims(SAMPLE) == ["nxxas"]
    assert registry.claims(FILES / "invented-bliss.h5") == ["bliss"]
    # Converted from a BLISS file, it still names that.
    converted = changed(lambda file: file.attrs.__setitem__("creator", "Bliss"))
    assert registry.claims(converted) == ["nxxas"]
    with pytest.raises(InvalidData, match="no spectrum could be read"):
        registry.read_file(FILES / "invented-bliss.h5", format="nxxas")


@pytest.mark.parametrize(
    ("mode", "channel", "condition"),
    [
        ("Transmission", "itrans", "transmission"),
        ("Fluorescence Yield", "ifluor", "fluorescence"),
        ("Total Electron Yield", "ifluor", "electron yield"),
        ("Auger Electron Yield", "ifluor", "electron yield"),
    ],
)
def test_modes_of_the_manual(mode: str, channel: str, condition: str, changed: Any) -> None:
    scan = by_name(changed(lambda file: replace(file, "beams/data/mode", mode)))["beams"]
    assert set(scan.channels) == {"i0", channel}
    assert scan.conditions["mode"] == condition


def test_a_missing_mode_is_not_guessed(changed: Any) -> None:
    path = changed(lambda file: file.__delitem__("beams/data/mode"))
    found = nxxas.read_scans(path, {})
    assert "[beams]: not read: data/mode is missing, so what absorbed_beam measures is not known" in told(found)
    channels = {"i0": "instrument/incoming_beam/data", "ifluor": "instrument/absorbed_beam/data"}
    assert set(by_name(path, channels=channels)["beams"].channels) == {"i0", "ifluor"}
    path = changed(lambda file: file.__delitem__("entry/mode"))
    found = nxxas.read_scans(path, {})
    assert "no mode is stated; intensity is called murecorded" in told(found)


@pytest.mark.parametrize(
    ("definition", "channel", "condition"),
    [
        ("NXxas_trans", "mutrans", "transmission"),
        ("NXxas_tfy", "mufluor", "fluorescence"),
        ("NXxas_tey", "mufluor", "electron yield"),
        ("NXxas_herfd", "mufluor", "herfd"),
    ],
)
def test_definitions_of_techniques(definition: str, channel: str, condition: str, changed: Any) -> None:
    def action(file: h5py.File) -> None:
        del file["entry/mode"]
        replace(file, "entry/definition", definition)

    scan = by_name(changed(action))["entry"]
    assert set(scan.channels) == {channel}
    assert scan.conditions["mode"] == condition


def test_element_and_edge_as_groups_and_normalized_intensity(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        entry = file["entry"]
        del entry["element"], entry["absorption_edge"]
        entry["element/symbol"] = "La"
        entry["edge/name"] = "L3"
        entry["intensity"].attrs["long_name"] = "Normalized mu(E)"

    scan = by_name(changed(action))["entry"]
    assert scan.conditions["edge"] == "La L3"
    assert set(scan.channels) == {"normtrans"}


def test_a_stack_becomes_numbered_scans_and_subentries_are_found(changed: Any) -> None:
    def action(file: h5py.File) -> None:
        curve = file["entry/intensity"][()]
        replace(file, "entry/intensity", np.stack([curve, 2 * curve]))
        file.copy("entry", "beams/again")
        file["beams/again"].attrs["NX_class"] = "NXsubentry"
        file["other/data"] = np.arange(4.0)

    found = by_name(changed(action))
    assert list(found) == ["beams", "beams/again 1", "beams/again 2", "detectors", "entry 1", "entry 2"]
    np.testing.assert_allclose(found["entry 2"].channels["mutrans"], 2 * found["entry 1"].channels["mutrans"])


def test_an_energy_without_unit_is_told(changed: Any) -> None:
    path = changed(lambda file: file["beams/inst/monochromator/energy"].attrs.__delitem__("units"))
    found = nxxas.read_scans(path, {})
    assert "instrument/monochromator/energy has no unit; 8.3 to 8.4 is taken as keV" in told(found)


def test_quantities_without_a_unit_stay_open(changed: Any) -> None:
    path = changed(lambda file: file["entry/sample/temperature"].attrs.__delitem__("units"))
    assert "temperature" not in by_name(path)["entry"].conditions


def test_what_does_not_fit_is_refused_and_listed(changed: Any, tmp_path: Path) -> None:
    def action(file: h5py.File) -> None:
        replace(file, "entry/intensity", np.arange(7.0))
        del file["detectors/instrument/itrans"]
        replace(file, "beams/definition", "NXxasproc")

    with pytest.raises(InvalidData, match=r"NXxasproc(?s:.*)neither intensity(?s:.*)41 energies, but mutrans 7"):
        registry.read_file(changed(action))
    with pytest.raises(InvalidData, match=r"no dataset nowhere\. There are energy"):
        registry.read_file(SAMPLE, options={"channels": {"mutrans": "nowhere"}})
    path = tmp_path / "cut.nxs"
    path.write_bytes(SAMPLE.read_bytes()[:-2000])
    with pytest.raises(UnreadableFile, match=r"cut\.nxs: is truncated"):
        registry.read_file(path)
