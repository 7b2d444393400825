"""Pressure from gauge readings: ruby scales, temperature correction, readings before and after a scan.

A scale turns the relative shift x = λ/λ0 - 1 of the ruby R1 line at 300 K into a pressure. All functions take arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barospec.schemas.errors import InvalidData, did_you_mean
from barospec.schemas.values import show_value
from barospec.schemas.vocabulary import BY_NAME, PRESSURE_SCALES

Array = NDArray[np.float64]

ROOM = 300.0
# Within it a line needs no correction: 0.007 nm/K times 5 K is 0.1 GPa, as much as rubies differ.
ROOM_TOLERANCE = 5.0
# R1 of different rubies varies by 0.3 Å between 150 and 400 K (Vos and Schouten 1991, doi:10.1063/1.348903).
CORRECTION_SIGMA = 0.03
# R1 is between these at any temperature below 900 K and pressure below 300 GPa.
PLAUSIBLE = (690.0, 830.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A calibration of the ruby R1 line: P(x), its inverse and its slope dP/dx, in GPa; x is the relative shift."""

    name: str
    a: float
    b: float
    source: str
    form: str = "power"

    def pressure(self, x: Array) -> Array:
        """Return P(x): (A/B) [(1+x)^B - 1], or A x (1 + B x)."""
        if self.form == "power":
            return np.asarray(self.a / self.b * np.expm1(self.b * np.log1p(x)))
        return np.asarray(self.a * x * (1 + self.b * x))

    def shift(self, pressure: Array) -> Array:
        """Return the relative shift at a pressure; NaN below the range of the scale."""
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.form == "power":
                return np.asarray(np.expm1(np.log1p(pressure * self.b / self.a) / self.b))
            return np.asarray((np.sqrt(1 + 4 * self.b * pressure / self.a) - 1) / (2 * self.b))

    def slope(self, x: Array) -> Array:
        """Return the slope dP/dx in GPa."""
        if self.form == "power":
            return np.asarray(self.a * (1 + x) ** (self.b - 1))
        return np.asarray(self.a * (1 + 2 * self.b * x))


SCALES: Mapping[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale("ruby Mao 1978", 1904.0, 5.0, "Mao et al., J. Appl. Phys. 49, 3276 (1978), doi:10.1063/1.325277"),
        Scale("ruby Mao 1986", 1904.0, 7.665, "Mao, Xu and Bell, J. Geophys. Res. 91, 4673 (1986), doi:10.1029/JB091iB05p04673"),
        Scale("ruby Dewaele 2004", 1904.0, 9.5, "Dewaele, Loubeyre and Mezouar, Phys. Rev. B 70, 094112 (2004), doi:10.1103/PhysRevB.70.094112"),
        Scale("ruby Chijioke 2005", 1876.0, 10.71, "Chijioke et al., J. Appl. Phys. 98, 114905 (2005), doi:10.1063/1.2135877"),
        Scale("Ruby2020", 1870.0, 5.63, "Shen et al., High Press. Res. 40, 299 (2020), doi:10.1080/08957959.2020.1791107", "polynomial"),
    )
}  # fmt: skip
assert set(SCALES) | {"other"} == set(PRESSURE_SCALES)


def find_scale(name: str) -> Scale:
    """Return the scale of that name.

    >>> find_scale("ruby Mao 1986").b
    7.665
    """
    if name not in SCALES:
        raise InvalidData(
            f'pressure_scale "{name}" has no formula here; choose from {", ".join(SCALES)}.{did_you_mean(name, list(SCALES))}'
        )
    return SCALES[name]


def _datchi(temperature: Array) -> Array:
    """Return the shift of R1 from 296 K in nm; constant below 50 K, measured up to 900 K."""
    d = temperature - 296.0
    warm = 0.00746 * d - 3.01e-6 * d**2 + 8.76e-9 * d**3
    cold = 0.00664 * d + 6.76e-6 * d**2 - 2.33e-8 * d**3
    shift = np.where(d >= 0, warm, np.where(temperature >= 50, cold, -0.887))
    return np.where((temperature >= 0) & (temperature <= 900), shift, np.nan)


def _ragan(temperature: Array) -> Array:
    """Return the wavelength of R1 in nm from its wavenumber, a cubic in T; 0 to 600 K."""
    t = temperature
    wavelength = 1e7 / (14423.0 + 4.49e-2 * t - 4.81e-4 * t**2 + 3.71e-7 * t**3)
    return np.where((t >= 0) & (t <= 600), wavelength, np.nan)


CORRECTIONS: Mapping[str, tuple[Callable[[Array], Array], str]] = {
    "Datchi 2007": (_datchi, "Datchi et al., High Press. Res. 27, 447 (2007), doi:10.1080/08957950701659593"),
    "Ragan 1992": (_ragan, "Ragan, Gustavsen and Schiferl, J. Appl. Phys. 72, 5539 (1992), doi:10.1063/1.351951"),
}


def ruby_pressure(
    wavelength: ArrayLike,
    reference: ArrayLike,
    scale: str,
    *,
    temperature: ArrayLike = ROOM,
    reference_temperature: ArrayLike = ROOM,
    correction: str | None = None,
    wavelength_sigma: ArrayLike = np.nan,
    reference_sigma: ArrayLike = 0.0,
) -> tuple[Array, Array]:
    """Return the pressure from the wavelength of the ruby R1 line.

    Parameters
    ----------
    wavelength, reference : array_like
        R1 in nm at pressure, and at ambient pressure with the same spectrometer.
    scale : str
        A name in `SCALES`.
    temperature, reference_temperature : array_like
        Of the ruby in K when each line was read.
    correction : str, optional
        A name in `CORRECTIONS`: shift of R1 with temperature at constant pressure, assumed independent of
        pressure. Needed if the two temperatures differ by more than 5 K.
    wavelength_sigma, reference_sigma : array_like
        Standard uncertainties in nm.

    Returns
    -------
    pressure, sigma : ndarray
        In GPa. Sigma is that of the readings, with 0.03 nm for a correction; the calibration's own is not in it
        (about 2 % of the pressure, common to all readings on one scale). NaN where no uncertainty is given.

    Raises
    ------
    InvalidData
        For a wavelength outside the range of R1, a temperature that needs a correction or is outside its range.

    Examples
    --------
    >>> pressure, sigma = ruby_pressure(699.75, 694.24, "ruby Mao 1986", wavelength_sigma=0.02)
    >>> print(f"{pressure:.2f} +- {sigma:.2f} GPa")
    15.52 +- 0.06 GPa
    """
    line, base = np.asarray(wavelength, float), np.asarray(reference, float)
    for name, values in (("ruby_wavelength", line), ("ruby_reference", base)):
        if np.any((values < PLAUSIBLE[0]) | (values > PLAUSIBLE[1])):
            raise InvalidData(
                f"{name} {values} nm is not a ruby R1 line, which is near 694 nm and moves up with pressure."
            )
    here, there = np.asarray(temperature, float), np.asarray(reference_temperature, float)
    added = np.zeros(np.broadcast(here, there).shape)
    if correction is not None:
        if correction not in CORRECTIONS:
            raise InvalidData(f'ruby_correction "{correction}" is not known; choose from {", ".join(CORRECTIONS)}.')
        moved = CORRECTIONS[correction][0]
        line = line - (moved(here) - moved(there))
        if np.any(np.isnan(line)):
            raise InvalidData(f"ruby_correction {correction} does not reach to {here} K.")
        added = np.where(np.abs(here - there) > ROOM_TOLERANCE, CORRECTION_SIGMA, 0.0)
    elif np.any(np.abs(here - there) > ROOM_TOLERANCE):
        raise InvalidData(
            f"the ruby was at {here} K and its reference at {there} K, which moves the line by up to 0.9 nm (2.4 GPa). "
            f"State the correction, ruby_correction: {' or '.join(CORRECTIONS)}, or give a ruby_reference read at {here} K "
            f"with ruby_reference_temperature: {here} K."
        )
    x = line / base - 1.0
    found = find_scale(scale)
    slope = found.slope(x)
    spread = np.hypot(np.asarray(wavelength_sigma, float), added) / base
    sigma = slope * np.hypot(spread, np.asarray(reference_sigma, float) * line / base**2)
    return found.pressure(x), np.asarray(sigma)


def ruby_wavelength(pressure: ArrayLike, reference: ArrayLike, scale: str) -> Array:
    """Return the wavelength in nm of the ruby R1 line at a pressure in GPa, at 300 K: the inverse of `ruby_pressure`.

    >>> print(f"{ruby_wavelength(10.0, 694.24, 'Ruby2020'):.2f}")
    697.85
    """
    base = np.asarray(reference, float)
    return np.asarray(base * (1.0 + find_scale(scale).shift(np.asarray(pressure, float))))


def rescale_pressure(pressure: ArrayLike, scale: str, to: str, sigma: ArrayLike = np.nan) -> tuple[Array, Array]:
    """Convert a pressure to another scale.

    Parameters
    ----------
    pressure, sigma : array_like
        In GPa, on `scale`.
    scale, to : str
        Names in `SCALES`.

    Returns
    -------
    pressure, sigma : ndarray
        In GPa, on `to`. No reference wavelength is needed: both scales are functions of the relative shift.

    Raises
    ------
    InvalidData
        For a scale without formula.

    Examples
    --------
    >>> print(f"{rescale_pressure(24.0, 'ruby Mao 1986', 'ruby Dewaele 2004')[0]:.2f}")
    24.27
    """
    before, after = find_scale(scale), find_scale(to)
    x = before.shift(np.asarray(pressure, float))
    return after.pressure(x), np.asarray(np.asarray(sigma, float) * after.slope(x) / before.slope(x))


def interpolate(
    at: ArrayLike, place: ArrayLike, pressure: ArrayLike, sigma: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Interpolate pressure between readings, linear in time or step.

    Parameters
    ----------
    at : array_like, shape (n,)
        Positions of the wanted pressures.
    place, pressure, sigma : array_like, shape (m,)
        The readings; those at the same position are averaged.

    Returns
    -------
    pressure, sigma, before, after : ndarray, shape (n,)
        In GPa; the two readings on either side. NaN before the first and after the last reading: nothing is extrapolated.
        Sigma is propagated from the two readings, and NaN where one of them has none.

    Examples
    --------
    >>> found = interpolate([1.5, 9.0], [1.0, 2.0], [10.0, 12.0], [0.3, 0.4])
    >>> [part.tolist() for part in found]
    [[11.0, nan], [0.25, nan], [10.0, nan], [12.0, nan]]
    """
    wanted = np.asarray(at, float)
    places, values, spreads = (np.asarray(part, float) for part in (place, pressure, sigma))
    steps, index = np.unique(places, return_inverse=True)
    count = np.bincount(index, minlength=steps.size)
    mean = np.bincount(index, values, steps.size) / np.maximum(count, 1)
    error = np.sqrt(np.bincount(index, spreads**2, steps.size)) / np.maximum(count, 1)
    none = np.full(wanted.shape, np.nan)
    if steps.size == 0:
        return none, none.copy(), none.copy(), none.copy()
    right = np.clip(np.searchsorted(steps, wanted, side="left"), 0, steps.size - 1)
    left = np.where(steps[right] == wanted, right, np.maximum(right - 1, 0))
    inside = (wanted >= steps[0]) & (wanted <= steps[-1])
    width = np.where(right == left, 1.0, steps[right] - steps[left])
    share = np.where(right == left, 0.0, (wanted - steps[left]) / width)
    result = (1 - share) * mean[left] + share * mean[right]
    spread = np.where(right == left, error[left], np.hypot((1 - share) * error[left], share * error[right]))
    return tuple(np.where(inside, part, np.nan) for part in (result, spread, mean[left], mean[right]))  # type: ignore[return-value]


def from_gauge(conditions: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the pressure terms computed from a scan's ruby readings, and warnings.

    Parameters
    ----------
    conditions : mapping
        Terms of one scan; ``pressure``, where stated, is kept, and compared with the ruby.

    Returns
    -------
    terms : dict
        ``pressure``, ``pressure_sigma``, ``pressure_before``, ``pressure_after``, ``pressure_method``; empty where no
        ruby line is stated.
    warnings : list of str

    Raises
    ------
    InvalidData
        The line is stated without its reference or scale.
    """
    given = {part: conditions.get(f"ruby_wavelength{part}") for part in ("", "_before", "_after")}
    terms: dict[str, Any] = {}
    warnings: list[str] = []
    if any(value is not None for value in given.values()):
        lacking = [name for name in ("ruby_reference", "pressure_scale") if conditions.get(name) is None]
        if lacking:
            raise InvalidData(
                f"a ruby wavelength is stated without {' and '.join(lacking)}. Write ruby_reference: 694.24 (nm; the line at "
                f"ambient pressure on the same spectrometer) and pressure_scale: one of {', '.join(SCALES)}."
            )
        temperature = _ruby_temperature(conditions, warnings)
        for part, value in given.items():
            if value is not None:
                found, sigma = _one(conditions, float(value), temperature)
                terms[f"pressure{part}"] = found
                if part == "" and sigma == sigma:
                    terms["pressure_sigma"] = sigma
        if "pressure" in terms:
            terms["pressure_method"] = "measured"
    # Readings on both sides, from a ruby or stated: the scan is halfway, with a uniform drift of pressure.
    before, after = (_or_nan(terms.get(n, conditions.get(n))) for n in ("pressure_before", "pressure_after"))
    middle = (before + after) / 2
    if "pressure" not in terms and conditions.get("pressure") is None and not np.isnan(middle):
        terms["pressure"] = float(f"{middle:.10g}")
        own = _one(conditions, float(given["_before"]), temperature)[1] if given["_before"] is not None else np.nan
        drift = abs(after - before) / 12**0.5
        terms["pressure_sigma"] = float(np.hypot(0.0 if np.isnan(own) else own / 2**0.5, drift))
        terms["pressure_method"] = "interpolated"
    return _against_stated(terms, conditions, warnings), warnings


def _one(conditions: Mapping[str, Any], wavelength: float, temperature: float) -> tuple[float, float]:
    pressure, sigma = ruby_pressure(
        wavelength,
        conditions["ruby_reference"],
        conditions["pressure_scale"],
        temperature=temperature,
        reference_temperature=conditions.get("ruby_reference_temperature") or ROOM,
        correction=conditions.get("ruby_correction"),
        wavelength_sigma=_or_nan(conditions.get("ruby_wavelength_sigma")),
        reference_sigma=conditions.get("ruby_reference_sigma") or 0.0,
    )
    # Ten digits: the last bits of exp and log differ between machines and would look like a changed condition.
    return float(f"{float(pressure):.10g}"), float(f"{float(sigma):.6g}")


def _or_nan(value: Any) -> float:
    return np.nan if value is None else float(value)


def _ruby_temperature(conditions: Mapping[str, Any], warnings: list[str]) -> float:
    stated = conditions.get("ruby_temperature")
    if stated is not None:
        return float(stated)
    sample = conditions.get("temperature")
    if sample is None:
        warnings.append("neither ruby_temperature nor temperature is stated; 300 K is assumed for the ruby")
        return ROOM
    if abs(sample - ROOM) > ROOM_TOLERANCE:
        raise InvalidData(
            f"the sample is at {show_value(BY_NAME['temperature'], sample)}, but the temperature of the ruby is not stated. "
            "Write ruby_temperature: 300 K, or the temperature of the cell."
        )
    return float(sample)


def _against_stated(terms: dict[str, Any], conditions: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Prefer stated terms to computed ones, and report contradictions."""
    kept = dict(terms)
    for name, value in terms.items():
        stated = conditions.get(name)
        if stated is None:
            continue
        del kept[name]
        tolerance = max(0.05, 3 * (terms.get("pressure_sigma") or 0.0))
        if name in ("pressure", "pressure_before", "pressure_after") and abs(value - stated) > tolerance:
            warnings.append(
                f"{name} is stated as {stated:.6g} GPa, but the ruby line gives {value:.4g} GPa "
                f"({conditions['pressure_scale']}); the stated one is kept"
            )
    if conditions.get("pressure") is not None:
        # Uncertainty and method belong to the stated pressure, not to the ruby.
        kept.pop("pressure_sigma", None)
        kept.pop("pressure_method", None)
    return kept
