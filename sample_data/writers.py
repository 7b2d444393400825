"""Writers of raw files in beamline formats, with identical bytes each time.

Numbers have the digits of the counters; nothing in a file depends on the clock.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openpyxl
from numpy.typing import NDArray

from barospec.sample_data.spectra import Array

SYNTHETIC = "SYNTHETIC: made by barospec.sample_data.generate, not measured"


@dataclass(frozen=True, slots=True)
class RawScan:
    """One scan to write.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        In eV.
    channels : mapping of str to ndarray, each shape (n,)
        With the names of the vocabulary.
    sample, formula, beamline, edge : str
        `edge` as in "Ni K".
    temperature : float, optional
        In K; None writes none.
    time : datetime
        With a time zone.
    """

    energy: Array
    channels: Mapping[str, Array]
    sample: str
    formula: str
    beamline: str
    edge: str
    temperature: float | None
    time: datetime
    remarks: tuple[str, ...] = field(default=())


def _table(columns: Sequence[Array], digits: Sequence[int]) -> str:
    lines = (
        "  ".join(f"{value:.{places}f}" for value, places in zip(row, digits, strict=True))
        for row in zip(*columns, strict=True)
    )
    return "\n".join(lines) + "\n"


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Bytes, because text mode writes different line ends on different systems.
    path.write_bytes(text.encode("utf-8"))


def write_xdi(path: Path, scan: RawScan) -> None:
    """Write a scan as XDI 1.0, channels in counts.

    References
    ----------
    B. Ravel and M. Newville, J. Phys. Conf. Ser. 712, 012148 (2016).

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC
    >>> data = np.array([8300.0, 8301.0])
    >>> time = datetime(2000, 1, 1, tzinfo=UTC)
    >>> scan = RawScan(data, {"i0": data, "itrans": data}, "NiO", "NiO", "BM23", "Ni K", 300.0, time)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_xdi(Path(folder) / "a.xdi", scan)
    ...     (Path(folder) / "a.xdi").read_text().splitlines()[-1]
    '8301.0000  8301  8301'
    """
    element, level = scan.edge.split(" ")
    header = [
        "XDI/1.0 barospec-sample/1",
        "Column.1: energy eV",
        *(f"Column.{i}: {name}" for i, name in enumerate(scan.channels, start=2)),
        f"Element.symbol: {element}",
        f"Element.edge: {level}",
        "Mono.name: Si(111)",
        "Mono.d_spacing: 3.1356",
        "Facility.name: ESRF (simulated)",
        f"Beamline.name: {scan.beamline}",
        f"Sample.name: {scan.sample}",
        f"Sample.stoichiometry: {scan.formula}",
        *([] if scan.temperature is None else [f"Sample.temperature: {scan.temperature:g} K"]),
        f"Scan.start_time: {scan.time.isoformat()}",
        "///",
        SYNTHETIC,
        *scan.remarks,
        "-" * 40,
        "  ".join(["energy", *scan.channels]),
    ]
    text = "".join(f"# {line}\n" for line in header)
    columns = [scan.energy, *scan.channels.values()]
    _write_text(path, text + _table(columns, [4, *(0 for _ in scan.channels)]))


def write_columns(path: Path, scan: RawScan, labels: Sequence[str], *, unit: str = "eV") -> None:
    """Write a scan as plain columns below a free-text header whose last line holds `labels`.

    Parameters
    ----------
    path : Path
    scan : RawScan
    labels : sequence of str
        One for the energy and one per channel, in the order of ``scan.channels``.
    unit : {"eV", "keV"}
        Unit of the energy column.
    """
    header = [
        SYNTHETIC,
        f"sample {scan.sample}",
        f"beamline {scan.beamline}",
        f"edge {scan.edge}",
        f"date {scan.time.isoformat()}",
        *scan.remarks,
        "  ".join(labels),
    ]
    factor, places = (1e-3, 7) if unit == "keV" else (1.0, 4)
    columns = [scan.energy * factor, *scan.channels.values()]
    text = "".join(f"# {line}\n" for line in header)
    _write_text(path, text + _table(columns, [places, *(0 for _ in scan.channels)]))


def write_bliss(path: Path, scans: Sequence[RawScan], *, short_reference: int | None = None) -> None:
    """Write scans as one HDF5 file like ESRF BLISS.

    Scan n has fast channels in ``n.1`` and slow ones, with fewer points, in ``n.2``. Energies are in keV
    without a unit; some positioners are NaN or the bytes ``ERR``; differences of encoder readings have one point
    less; ``default`` names an entry that does not exist. All of this occurs in real files.

    Parameters
    ----------
    path : Path
    scans : sequence of RawScan
        With channels ``i0``, ``itrans`` and ``irefer``.
    short_reference : int, optional
        Index of a scan whose reference channel has no last point.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Old layout on purpose: it is the same in every HDF5 version and stores no time.
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        file.attrs["NX_class"] = "NXroot"
        file.attrs["creator"] = "Bliss (simulated)"
        file.attrs["title"] = SYNTHETIC
        file.attrs["file_name"] = path.name
        file.attrs["file_time"] = scans[0].time.isoformat()
        file.attrs["default"] = f"{len(scans) + 1}.1"
        for index, scan in enumerate(scans):
            _bliss_fast(file, f"{index + 1}.1", scan, lost_last=index == short_reference)
            _bliss_slow(file, f"{index + 1}.2", scan)


def _dataset(group: h5py.Group, name: str, value: Any, **attributes: str) -> None:
    dataset = group.create_dataset(name, data=value, track_times=False)
    dataset.attrs.update(attributes)


def _bliss_entry(file: h5py.File, name: str, scan: RawScan) -> h5py.Group:
    entry = file.create_group(name)
    entry.attrs["NX_class"] = "NXentry"
    low, high = scan.energy[0] / 1e3, scan.energy[-1] / 1e3
    _dataset(entry, "title", f"SYNTHETIC trigscan Emonotraj {low:.3f} {high:.3f} {scan.energy.size}")
    _dataset(entry, "start_time", scan.time.isoformat())
    _dataset(entry, "end_time", (scan.time + timedelta(minutes=5)).isoformat())
    sample = entry.create_group("sample")
    sample.attrs["NX_class"] = "NXsample"
    _dataset(sample, "name", scan.sample)
    writer = entry.create_group("writer")
    writer.attrs["NX_class"] = "NXnote"
    _dataset(writer, "status", "SUCCEEDED")
    instrument = entry.create_group("instrument")
    instrument.attrs["NX_class"] = "NXinstrument"
    _dataset(instrument, "name", scan.beamline)
    entry.create_group("measurement").attrs["NX_class"] = "NXcollection"
    return entry


def _counter(
    entry: h5py.Group,
    name: str,
    values: NDArray[np.floating[Any]],
    *,
    kind: str = "NXdetector",
    **attributes: str,
) -> None:
    """Write a counter or a moved axis to ``instrument``, linked from ``measurement``."""
    data = "value" if kind == "NXpositioner" else "data"
    group = entry["instrument"].create_group(name)
    group.attrs["NX_class"] = kind
    _dataset(group, data, values, **attributes)
    entry["measurement"][name] = h5py.SoftLink(f"{entry.name}/instrument/{name}/{data}")


def _bliss_fast(file: h5py.File, name: str, scan: RawScan, *, lost_last: bool) -> None:
    entry = _bliss_entry(file, name, scan)
    i0, itrans, irefer = (scan.channels[key] for key in ("i0", "itrans", "irefer"))
    seconds = 0.7 * np.arange(scan.energy.size)
    end = -1 if lost_last else None
    _counter(entry, "Emonotraj", np.round(scan.energy / 1e3, 5), kind="NXpositioner", units="keV")
    _counter(entry, "energy_enc", scan.energy / 1e3)
    _counter(entry, "I0", i0)
    _counter(entry, "I1", itrans)
    _counter(entry, "I2", irefer[:end])
    _counter(entry, "mu_trans", np.round(np.log(i0 / itrans), 6))
    _counter(entry, "mu_ref", np.round(np.log(itrans / irefer), 6)[:end])
    _counter(entry, "timer_trig", seconds, units="s")
    _counter(entry, "timer_delta", np.diff(seconds), units="s")
    for when in ("positioners_start", "positioners_end"):
        positioners = entry["instrument"].create_group(when)
        positioners.attrs["NX_class"] = "NXcollection"
        _dataset(positioners, "Emono", float("nan"), units="keV")
        _dataset(positioners, "Tsample", _kelvin(scan), units="K")
        _dataset(positioners, "sampy", 1.25, units="mm")
        _dataset(positioners, "membrane", np.bytes_("ERR"))


def _kelvin(scan: RawScan) -> float:
    return float("nan") if scan.temperature is None else float(scan.temperature)


def _bliss_slow(file: h5py.File, name: str, scan: RawScan) -> None:
    entry = _bliss_entry(file, name, scan)
    points = 4
    _counter(entry, "elapsed_time", 75.0 * np.arange(points), units="s")
    _counter(entry, "Tcryo", _kelvin(scan) + np.array([0.02, -0.01, 0.0, 0.01]), units="K")
    _counter(entry, "srcur", 196.0 - 0.05 * np.arange(points), units="mA")


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    r"""Write a scan table as CSV or xlsx, by the suffix of `path`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(Path(folder) / "a.csv", ["scan", "pressure (GPa)"], [["1.1", 0.9]])
    ...     (Path(folder) / "a.csv").read_text()
    'scan,pressure (GPa)\n1.1,0.9\n'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        _write_text(path, text.getvalue())
        return
    book = openpyxl.Workbook()
    sheet = book.active
    for row in [header, *rows]:
        sheet.append(list(row))
    packed = io.BytesIO()
    book.save(packed)
    path.write_bytes(_without_clock(packed.getvalue()))


def _without_clock(xlsx: bytes) -> bytes:
    """Return the same workbook with all dates set to 2000-01-01, uncompressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"2000-01-01T00:00:00Z", content)
            info = zipfile.ZipInfo(name, date_time=(2000, 1, 1, 0, 0, 0))
            target.writestr(info, content)
    return out.getvalue()
