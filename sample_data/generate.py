"""Generate the raw files of the sample archive: ``python -m barospec.sample_data.generate [DIR]``.

All files follow from ``truth.yaml``: the same truth gives the same files. Without DIR the files of this package
are rewritten; with DIR a complete copy of the raw folder is written there.
"""

from __future__ import annotations

import shutil
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from barospec.sample_data import RAW
from barospec.sample_data.hamiltonian import hamiltonian_text
from barospec.sample_data.spectra import Array, emission, normalized
from barospec.sample_data.truth import (
    grid,
    la_l3_edge,
    load_truth,
    ni_foil_edge,
    ni_k_edge,
    ni_kb_emission,
)
from barospec.sample_data.writers import RawScan, write_bliss, write_columns, write_table, write_xdi
from barospec.schemas.errors import InvalidData

# Not generated: run sheets, structures, and the FEFF10 results with their inputs.
BY_HAND = ("*.yaml", "models/*.yaml", "models/README.md", "structures/*.cif", "feff/*/feff.inp", "feff/*/xmu.dat")

# Kind of spectrum, beamline and material of each run.
RUNS = {
    "run-1": ("ni_k", "BM23", "La3Ni2O7"),
    "run-2": ("ni_k", "BM23", "La3Ni2O7"),
    "run-3": ("ni_k", "BM23", "La3Ni2O7"),
    "run-4": ("ni_k", "ID24", "La3Ni2O7"),
    "run-5": ("la_l3", "ID24", "La3Ni2O7"),
    "run-6": ("ni_kb", "ID20", "La3Ni2O7"),
    "NiO": ("ni_k", "BM23", "NiO"),
}
EDGES = {"ni_k": "Ni K", "la_l3": "La L3", "ni_kb": "Ni K"}


@dataclass(frozen=True, slots=True)
class Point:
    """One scan of a P-T path: step and repeat (from 1), conditions, and the pressure that determines its curve."""

    step: int
    repeat: int
    pressure: float
    shape_pressure: float
    temperature: float | None
    direction: str
    method: str


def route(truth: dict[str, Any], run: str) -> list[Point]:
    """Return the scans of a run in the order of its P-T path.

    Parameters
    ----------
    truth : dict
    run : str
        A key of ``routes`` in the truth file.

    Returns
    -------
    list of Point
        Pressures in GPa, temperatures in K.

    Examples
    --------
    >>> [point.pressure for point in route(load_truth(), "run-2")][-1]
    15.6
    """
    held = truth["edge_shift"]["cooling"].get(run)
    points = []
    for step, (repeats, pressure, temperature, direction, method) in enumerate(truth["routes"][run]["points"], start=1):
        # While a run cools the curve does not change, although the pressure drifts.
        shape = held if direction == "cooling" else pressure
        points += [
            Point(step, repeat, pressure, shape, temperature, direction, method) for repeat in range(1, repeats + 1)
        ]
    return points


def generator(truth: dict[str, Any], label: str) -> np.random.Generator:
    """Return a separate random number generator for each scan, so that adding one changes no other.

    >>> bool(generator({"seed": 1}, "a").random() == generator({"seed": 1}, "a").random())
    True
    """
    return np.random.default_rng([truth["seed"], zlib.crc32(label.encode())])


def absorbance(truth: dict[str, Any], kind: str, material: str, pressure: float, run: str, energy: Array) -> Array:
    """Return the noise-free absorbance of sample and anvils: edge step times the normalized edge, on a line.

    Parameters
    ----------
    truth : dict
    kind : {"ni_k", "la_l3"}
    material : str
    pressure : float
        In GPa.
    run : str
        Determines edge step and background.
    energy : ndarray, shape (n,)
        In eV.

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> truth = load_truth()
    >>> mu = absorbance(truth, "ni_k", "NiO", 0.0, "ambient", np.array([8200.0, 8600.0]))
    >>> bool(mu[1] > mu[0])
    True
    """
    edge = la_l3_edge(truth, pressure) if kind == "la_l3" else ni_k_edge(truth, material, pressure)
    constant, slope = truth["counting"]["background"][run]
    line = constant + slope * (energy - truth["grids"][kind][0][0])
    return np.asarray(line + truth["counting"]["edge_step"][run] * normalized(energy, edge), dtype=np.float64)


def _counts(
    truth: dict[str, Any], beamline: str, mu: Array, energy: Array, rng: np.random.Generator, *, foil: bool
) -> dict[str, Array]:
    """Return counts before and behind the sample, and behind the foil if there is one."""
    counting = truth["counting"]
    i0 = counting["i0"][beamline] * np.exp(-counting["i0_decay_per_point"] * np.arange(energy.size))
    behind = {"i0": i0, "itrans": i0 * np.exp(-mu)}
    if foil:
        reference = truth["ni_foil"]["edge_step"] * normalized(energy, ni_foil_edge(truth))
        reference = reference + counting["foil_thickness_of_background"]
        behind["irefer"] = behind["itrans"] * np.exp(-reference)
    return {name: rng.poisson(expected).astype(np.float64) for name, expected in behind.items()}


class _Clock:
    """Dates of successive scans; only their order has a meaning."""

    def __init__(self, truth: dict[str, Any]) -> None:
        self.now = datetime.fromisoformat(truth["first_scan"])
        self.step = timedelta(minutes=truth["minutes_per_scan"])

    def tick(self) -> datetime:
        self.now += self.step
        return self.now


def _scan(
    truth: dict[str, Any], run: str, kind: str, beamline: str, material: str, point: Point, time: datetime
) -> RawScan:
    rng = generator(truth, f"{run} {kind} {material} {point.step} {point.repeat}")
    energy = grid(truth, kind)
    counting = truth["counting"]
    if kind == "ni_kb":
        curve = emission(energy, ni_kb_emission(truth, material, point.shape_pressure))
        monitor = rng.poisson(counting["xes_monitor"], energy.size).astype(np.float64)
        expected = counting["xes_maximum"][run] * curve
        channels = {"iemission": rng.poisson(expected).astype(np.float64), "i0": monitor}
    else:
        if run in ("run-2", "run-3"):
            energy = np.round(energy + rng.normal(0.0, counting["encoder_jitter"], energy.size), 5)
        mu = absorbance(truth, kind, material, point.shape_pressure, run, energy)
        channels = _counts(truth, beamline, mu, energy, rng, foil=kind == "ni_k" and beamline == "BM23")
    return RawScan(
        energy=energy,
        channels=channels,
        sample=f"{material} (SYNTHETIC)",
        formula=material,
        beamline=f"{beamline} (simulated)",
        edge=EDGES[kind],
        temperature=point.temperature,
        time=time,
    )


def _row(truth: dict[str, Any], point: Point) -> list[str | float]:
    """Return the conditions of a point as a row of the scan table; `_HEADER` names the columns."""
    sigma = truth["pressure_sigma"]
    spread = round(sigma["constant"] + sigma["relative"] * point.pressure, 2)
    if point.temperature is None:
        raise InvalidData(
            f"truth.yaml: routes: step {point.step} has no temperature, which a scan table needs. "
            "Give one in K, or use no table for the run, as for run-1."
        )
    warm = point.temperature >= 300
    t_sigma = truth["temperature_sigma"]["value"] * (2 if warm else 1)
    return [point.step, point.pressure, spread, point.method, point.temperature, t_sigma, point.direction]


_HEADER = (
    "step",
    "pressure (GPa)",
    "pressure_sigma (GPa)",
    "pressure_method",
    "temperature (K)",
    "temperature_sigma (K)",
    "direction",
)


def _write_run(truth: dict[str, Any], run: str, folder: Path, clock: _Clock) -> None:
    kind, beamline, material = RUNS[run]
    points = route(truth, run)
    scans = [_scan(truth, run, kind, beamline, material, point, clock.tick()) for point in points]
    if run in ("run-2", "run-3"):
        # In run-3 one reference channel has no last point, as after a missed trigger.
        write_bliss(folder / run / f"{run}_SYNTHETIC.h5", scans, short_reference=4 if run == "run-3" else None)
        rows = [[f"{i}.1", *_row(truth, point)] for i, point in enumerate(points, start=1)]
        suffix = "xlsx" if run == "run-3" else "csv"
        write_table(folder / f"{run}-scans.{suffix}", ["scan", *_HEADER], rows)
        return
    suffix = "xdi" if beamline == "BM23" else "dat"
    names = [f"{run}/{run}_{i:02d}_SYNTHETIC.{suffix}" for i in range(1, len(points) + 1)]
    for name, scan in zip(names, scans, strict=True):
        if suffix == "xdi":
            write_xdi(folder / name, scan)
        elif kind == "ni_kb":
            write_columns(folder / name, scan, ["energy_eV", "counts", "monitor"])
        elif run == "run-4":
            write_columns(folder / name, scan, ["Ebragg", "I0", "I1"], unit="keV")
        else:
            write_columns(folder / name, scan, ["energy_eV", "I0", "I1"])
    if run not in ("run-1", "run-4"):  # their pressures are unknown, see the truth file
        rows = [[name, *_row(truth, point)] for name, point in zip(names, points, strict=True)]
        write_table(folder / f"{run}-scans.csv", ["file", *_HEADER], rows)


def _write_ambient(truth: dict[str, Any], folder: Path, clock: _Clock) -> None:
    for kind, beamline, repeats in (
        ("ni_k", "BM23", truth["ambient"]["xas_repeats"]),
        ("ni_kb", "ID20", truth["ambient"]["xes_repeats"]),
    ):
        rows: list[list[str | float]] = []
        technique = "xes" if kind == "ni_kb" else "xas"
        for material in truth["ambient"]["materials"]:
            for repeat in range(1, repeats + 1):
                point = Point(1, repeat, 1e-4, 0.0, 300.0, "none", "ambient")
                scan = _scan(truth, "ambient", kind, beamline, material, point, clock.tick())
                name = f"ambient/{material}_{technique}_{repeat:02d}_SYNTHETIC"
                if kind == "ni_k":
                    name += ".xdi"
                    write_xdi(folder / name, scan)
                else:
                    name += ".dat"
                    write_columns(folder / name, scan, ["energy_eV", "counts", "monitor"])
                rows.append([name, scan.sample, material])
        write_table(folder / f"ambient-{technique}-scans.csv", ["file", "sample", "material"], rows)


def generate(folder: Path = RAW) -> list[Path]:
    """Write all raw files and scan tables of the sample archive.

    Parameters
    ----------
    folder : Path
        Output folder; a folder other than the raw folder of the package also gets copies of the run sheets,
        structures and FEFF10 results, so that it is complete.

    Returns
    -------
    list of Path
        Every file of the folder, sorted.
    """
    truth = load_truth()
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() != RAW.resolve():
        for source in _by_hand():
            target = folder / source.relative_to(RAW)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    clock = _Clock(truth)
    _write_ambient(truth, folder, clock)
    for run in RUNS:
        _write_run(truth, run, folder, clock)
    hamiltonian = folder / "models" / "trilayer_SYNTHETIC_hr.dat"
    hamiltonian.parent.mkdir(exist_ok=True)
    hamiltonian.write_text(hamiltonian_text(truth), encoding="utf-8", newline="\n")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _by_hand() -> Iterator[Path]:
    for pattern in BY_HAND:
        yield from sorted(RAW.glob(pattern))


def main(arguments: list[str]) -> int:
    """Run the command line: an optional folder.

    >>> main(["a", "b"])
    usage: python -m barospec.sample_data.generate [DIR]
    2
    """
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: python -m barospec.sample_data.generate [DIR]")
        return 2
    folder = Path(arguments[0]) if arguments else RAW
    files = generate(folder)
    size = sum(path.stat().st_size for path in files)
    print(
        f"{folder}: {len(files)} files, {size / 1e6:.1f} MB. All spectra but those in feff/ are synthetic, and so is the Hamiltonian in models/."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
