"""Pressure from ruby readings: scales against published numbers, corrections, run sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barospec._ingest import prepare
from barospec.archive.sheets.ruby_pressure import (
    CORRECTIONS,
    SCALES,
    from_gauge,
    interpolate,
    rescale_pressure,
    ruby_pressure,
    ruby_wavelength,
)
from barospec.schemas.errors import InvalidData

from .files_made import write_columns

SHEET = "run: r\nsample: NiO\ntechnique: xas\nedge: Ni K\norigin: synthetic\nfiles: '*.xdi'\n"


def pressures(folder: Path, text: str, files: int = 1) -> tuple[list[dict[str, object]], list[str]]:
    """Columns of each spectrum and the messages, of a sheet with so many files 0.xdi, 1.xdi, ..."""
    for number in range(files):
        write_columns(folder / f"{number}.xdi", seed=number)
    (folder / "sheet.yaml").write_text(SHEET + text, encoding="utf-8")
    found = prepare([folder / "sheet.yaml"])
    return [dict(entry.columns) for entry in found.entries], [
        f"{p.severity} {p}" for p in found.problems if p.severity != "note"
    ]


@pytest.mark.parametrize(
    ("scale", "slope"),
    [
        # dP/dλ at ambient pressure is A/λ0: 2.74 GPa/nm for A = 1904, the 0.365 nm/GPa of Piermarini et al. (1975).
        ("ruby Mao 1978", 1 / 0.365),
        ("ruby Mao 1986", 1 / 0.365),
        ("ruby Dewaele 2004", 1 / 0.365),
        ("ruby Chijioke 2005", 2.70),
        ("Ruby2020", 2.69),
    ],
)
def test_initial_slope_is_the_published_one(scale: str, slope: float) -> None:
    pressure, _ = ruby_pressure(694.25, 694.24, scale)
    assert pressure / 0.01 == pytest.approx(slope, rel=0.003)


def test_scales_at_a_known_shift() -> None:
    # Shen et al. 2020: Ruby2020 reaches 150 GPa near Δλ/λ0 = 0.0625; evaluated by hand: 1870 x (1 + 5.63 x).
    x = np.array([0.01, 0.0625])
    found, _ = ruby_pressure(694.25 * (1 + x), 694.25, "Ruby2020")
    np.testing.assert_allclose(found, [1870 * 0.01 * 1.0563, 1870 * 0.0625 * (1 + 5.63 * 0.0625)], rtol=1e-12)
    # Mao 1986 by hand: (1904/7.665)(1.01^7.665 - 1) = 19.6866.
    assert ruby_pressure(694.24 * 1.01, 694.24, "ruby Mao 1986")[0] == pytest.approx(19.6866, abs=1e-4)


def test_scales_differ_by_what_is_known() -> None:
    at_24 = [float(rescale_pressure(24.0, "ruby Mao 1986", to)[0]) for to in SCALES]
    assert max(at_24) - min(at_24) == pytest.approx(0.66, abs=0.02)
    # Ruby2020 lies within 1 % of Dewaele 2004 up to 100 GPa.
    for pressure in (10.0, 50.0, 100.0):
        assert float(rescale_pressure(pressure, "ruby Dewaele 2004", "Ruby2020")[0]) == pytest.approx(
            pressure, rel=0.015
        )


@given(st.sampled_from(sorted(SCALES)), st.sampled_from(sorted(SCALES)), st.floats(0.0, 120.0), st.floats(693.9, 694.6))
def test_wavelength_and_rescaling_round_trip(scale: str, other: str, pressure: float, reference: float) -> None:
    line = ruby_wavelength(pressure, reference, scale)
    assert float(ruby_pressure(line, reference, scale)[0]) == pytest.approx(pressure, abs=1e-8)
    there, sigma = rescale_pressure(pressure, scale, other, 0.1)
    back, same = rescale_pressure(there, other, scale, sigma)
    assert float(back) == pytest.approx(pressure, abs=1e-8)
    assert float(same) == pytest.approx(0.1, rel=1e-8)


def test_sigma_is_the_derivative() -> None:
    for scale in SCALES:
        up, down = (float(ruby_pressure(700.0 + d, 694.24, scale)[0]) for d in (1e-4, -1e-4))
        slope = (up - down) / 2e-4
        assert float(ruby_pressure(700.0, 694.24, scale, wavelength_sigma=0.05)[1]) == pytest.approx(
            0.05 * slope, rel=1e-5
        )
        up, down = (float(ruby_pressure(700.0, 694.24 + d, scale)[0]) for d in (1e-4, -1e-4))
        sigma = ruby_pressure(700.0, 694.24, scale, wavelength_sigma=0.0, reference_sigma=0.05)[1]
        assert float(sigma) == pytest.approx(0.05 * abs(up - down) / 2e-4, rel=1e-5)
    assert np.isnan(ruby_pressure(700.0, 694.24, "Ruby2020")[1])


def test_a_cold_line_without_correction_is_refused_and_would_be_wrong_by_gigapascals() -> None:
    with pytest.raises(InvalidData, match=r"State the correction, ruby_correction: Datchi 2007 or Ragan 1992"):
        ruby_pressure(698.0, 694.24, "ruby Mao 1986", temperature=10.0)
    uncorrected = float(ruby_pressure(698.0, 694.24, "ruby Mao 1986")[0])
    for name in CORRECTIONS:
        corrected = float(ruby_pressure(698.0, 694.24, "ruby Mao 1986", temperature=10.0, correction=name)[0])
        assert corrected - uncorrected == pytest.approx(2.68, abs=0.12)


def test_corrections_against_published_numbers() -> None:
    datchi, ragan = (CORRECTIONS[name][0] for name in ("Datchi 2007", "Ragan 1992"))
    # Datchi et al. 2007: -0.887 nm below 50 K relative to 296 K; both parts meet there within 0.01 nm, and at 296 K.
    assert float(datchi(np.array(20.0))) == -0.887
    assert float(datchi(np.array(50.0))) == pytest.approx(-0.887, abs=0.011)
    assert float(datchi(np.array(296.0))) == 0.0
    # 0.0068 nm/K near room temperature (Piermarini et al. 1975; Ragan et al. 1992).
    for shift in (datchi, ragan):
        assert float(shift(np.array(310.0)) - shift(np.array(290.0))) / 20 == pytest.approx(0.0071, abs=0.0005)
    assert np.isnan(datchi(np.array(950.0)))
    with pytest.raises(InvalidData, match="does not reach"):
        ruby_pressure(700.0, 694.24, "Ruby2020", temperature=700.0, correction="Ragan 1992")


def test_a_cold_reference_needs_no_correction() -> None:
    cold = float(ruby_pressure(697.0, 693.35, "Ruby2020", temperature=10.0, reference_temperature=10.0)[0])
    assert cold == pytest.approx(1870 * (3.65 / 693.35) * (1 + 5.63 * 3.65 / 693.35), rel=1e-12)


@pytest.mark.parametrize("line", [69.5, 14400.0, 0.694])
def test_what_is_no_ruby_line_is_refused(line: float) -> None:
    with pytest.raises(InvalidData, match="not a ruby R1 line"):
        ruby_pressure(line, 694.24, "Ruby2020")


def test_interpolation_between_readings() -> None:
    found = interpolate([0.0, 1.0, 2.5, 4.0, 4.1], [1.0, 4.0, 1.0], [10.0, 20.0, 12.0], [0.2, 0.4, 0.2])
    np.testing.assert_allclose(found[0], [np.nan, 11.0, 15.5, 20.0, np.nan])
    np.testing.assert_allclose(found[1][1], np.hypot(0.2, 0.2) / 2)
    np.testing.assert_allclose(found[1][2], np.hypot(0.5 * np.hypot(0.2, 0.2) / 2, 0.5 * 0.4))
    assert np.isnan(interpolate([1.0], [], [], [])[0]).all()


# Run sheets


def test_a_ruby_column_gives_the_pressure(tmp_path: Path) -> None:
    rows, said = pressures(
        tmp_path,
        """ruby_reference: 694.24 ± 0.01
pressure_scale: Mao 1986
temperature: 300 K
scans:
  - {file: 0.xdi, ruby_wavelength: 699.75 ± 0.02}
  - {file: 1.xdi, ruby_wavelength: 6997.5 Å}
""",
        2,
    )
    assert not said
    assert rows[0]["pressure"] == pytest.approx(15.52, abs=0.01)
    assert rows[0]["pressure_sigma"] == pytest.approx(np.hypot(0.02, 0.01 * 699.75 / 694.24) * 2.89, abs=0.002)
    assert (rows[0]["pressure_scale"], rows[0]["pressure_method"]) == ("ruby Mao 1986", "measured")
    assert rows[1]["pressure"] == rows[0]["pressure"]
    assert rows[1].get("pressure_sigma") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ruby_wavelength: 699\n", "without ruby_reference and pressure_scale"),
        ("ruby_wavelength: 699\nruby_reference: 694.2\npressure_scale: other\ntemperature: 300\n", "has no formula"),
        (
            "ruby_wavelength: 699\nruby_reference: 694.2\npressure_scale: Ruby2020\ntemperature: 10 K\n",
            "ruby_temperature: 300 K",
        ),
        (
            "ruby_wavelength: 699\nruby_reference: 694.2\npressure_scale: Ruby2020\nruby_temperature: 10 K\n",
            "State the correction",
        ),
        (
            "ruby_wavelength: 69.9\nruby_reference: 694.2\npressure_scale: Ruby2020\ntemperature: 300\n",
            "not a ruby R1 line",
        ),
    ],
)
def test_what_lacks_is_asked_for(text: str, expected: str, tmp_path: Path) -> None:
    rows, said = pressures(tmp_path, text)
    assert not rows
    assert any(expected in line for line in said), said


def test_an_assumed_room_temperature_is_told(tmp_path: Path) -> None:
    rows, said = pressures(tmp_path, "ruby_wavelength: 699\nruby_reference: 694.2\npressure_scale: Ruby2020\n")
    assert rows[0]["pressure"] == pytest.approx(13.43, abs=0.01)
    assert any("300 K is assumed" in line for line in said)


def test_a_correction_is_used_and_kept(tmp_path: Path) -> None:
    text = "ruby_wavelength: 699 ± 0.01\nruby_reference: 694.2\npressure_scale: Ruby2020\ntemperature: 10\nruby_temperature: 10\n"
    rows, said = pressures(tmp_path, text + "ruby_correction: Datchi 2007\n")
    assert not said
    assert rows[0]["pressure"] == pytest.approx(13.43 + 2.68, abs=0.02)
    assert rows[0]["ruby_correction"] == "Datchi 2007"
    assert float(str(rows[0]["pressure_sigma"])) > 0.08  # rubies differ


def test_contradictions_are_told_and_the_stated_pressure_kept(tmp_path: Path) -> None:
    text = "ruby_wavelength: 699\nruby_reference: 694.2\npressure_scale: Ruby2020\ntemperature: 300\npressure: 12.0\n"
    rows, said = pressures(tmp_path, text)
    assert rows[0]["pressure"] == 12.0
    assert any("stated as 12 GPa, but the ruby line gives 13.4" in line for line in said)
    rows, said = pressures(tmp_path, text.replace("12.0", "13.43"))
    assert rows[0]["pressure"] == 13.43
    assert not said


def test_the_nearer_reading_wins(tmp_path: Path) -> None:
    text = "ruby_reference: 694.2\npressure_scale: Ruby2020\ntemperature: 300\npressure: ambient\nscans:\n"
    rows, said = pressures(tmp_path, text + "  - {file: 0.xdi, ruby_wavelength: 699}\n  - {file: 1.xdi}\n", 2)
    assert not said
    assert rows[0]["pressure"] == pytest.approx(13.43, abs=0.01)
    assert rows[0]["pressure_method"] == "measured"
    assert rows[1]["pressure_method"] == "ambient"


def test_readings_before_and_after(tmp_path: Path) -> None:
    text = "ruby_reference: 694.2\npressure_scale: Ruby2020\ntemperature: 300\n"
    text += "ruby_wavelength_before: 699\nruby_wavelength_after: 699.4\nruby_wavelength_sigma: 0.02\n"
    rows, _ = pressures(tmp_path, text)
    before, after = (float(str(rows[0][name])) for name in ("pressure_before", "pressure_after"))
    assert rows[0]["pressure"] == pytest.approx((before + after) / 2)
    assert rows[0]["pressure_method"] == "interpolated"
    bare = {name: value for name, value in rows[0].items() if "pressure" not in name or name == "pressure_scale"}
    own = float(from_gauge({**bare, "ruby_wavelength": 699.0})[0]["pressure_sigma"])
    assert rows[0]["pressure_sigma"] == pytest.approx(np.hypot(own / 2**0.5, (after - before) / 12**0.5), rel=1e-3)


def test_interpolation_along_steps(tmp_path: Path) -> None:
    text = "interpolate_pressure: step\nscans: s.csv\n"
    (tmp_path / "s.csv").write_text("file,step,pressure\n0.xdi,1,1.0\n1.xdi,2,\n2.xdi,3,2.0\n3.xdi,4,\n")
    rows, said = pressures(tmp_path, text, 4)
    assert [row.get("pressure") for row in rows] == [1.0, 1.5, 2.0, None]
    assert (rows[1]["pressure_method"], rows[1]["pressure_before"], rows[1]["pressure_after"]) == (
        "interpolated",
        1.0,
        2.0,
    )
    assert rows[0].get("pressure_method") is None
    assert any("1 scans are before the first or after the last reading" in line for line in said)


def test_a_ruby_log_along_time_in_a_stated_zone(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("time,ruby_wavelength (nm)\n2024-05-03 10:00,694.2\n2024-05-03 12:00,699.0\n")
    (tmp_path / "s.csv").write_text("file,time\n0.xdi,2024-05-03T09:00:00+00:00\n1.xdi,2024-05-03 11:00\n")
    text = "ruby_log: log.csv\ninterpolate_pressure: time\ntime_zone: Europe/Paris\nscans: s.csv\ntemperature: 300\n"
    rows, said = pressures(tmp_path, text + "ruby_reference: 694.2\npressure_scale: Ruby2020\n", 2)
    assert not said
    # 09:00 UTC is 11:00 in Paris in May.
    assert [row["pressure"] for row in rows] == pytest.approx([6.715, 6.715], abs=0.01)
    assert rows[0]["pressure_scale"] == "Ruby2020"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ruby_log: none.csv\ninterpolate_pressure: time\n", "is not there"),
        ("ruby_log: log.csv\n", "needs interpolate_pressure"),
        ("interpolate_pressure: tim\n", "Did you mean time"),
        ("time_zone: Europe/Pariss\n", "Write it like Europe/Paris"),
    ],
)
def test_mistakes_about_logs_are_told(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("time,pressure\n2024-05-03 10:00,1\n")
    assert any(expected in line for line in pressures(tmp_path, text)[1])
