"""Makes the files beside it: one small file of each format, all of one invented curve. Run it after changing
it.

The curve is no measurement and no calculation: an arctan step at 8345 eV with a line on top, seen by
counters.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
ENERGY = np.round(np.linspace(8300.0, 8400.0, 41), 3)
MU = (
    0.2
    + 1.5 * (np.arctan((ENERGY - 8345.0) / 2.0) / np.pi + 0.5)
    + 0.6 / (1 + ((ENERGY - 8350.0) / 3.0) ** 2)
)
I0 = np.round(2.0e5 - 100.0 * np.arange(41))
ITRANS = np.round(I0 * np.exp(-MU))


def _rows(*columns: np.ndarray, form: str) -> str:
    return "".join(form.format(*row) + "\n" for row in zip(*columns, strict=True))


def xdi() -> None:
    """Energy, i0 and itrans with the fields that become conditions."""
    fields = """XDI/1.0 Invented/1
Column.1: energy eV
Column.2: i0
Column.3: itrans
Element.symbol: Ni
Element.edge: K
Facility.name: none
Beamline.name: test bench
Mono.name: Si(111)
Mono.d_spacing: 3.1356
Sample.name: invented nickel oxide
Sample.stoichiometry: Ni O
Sample.temperature: 10 K
Sample.pressure: 140 kbar
Scan.start_time: 2026-01-31T23:30:00+02:00
///
an invented curve
----
energy i0 itrans"""
    head = "".join(f"# {line}\n" for line in fields.split("\n"))
    (HERE / "invented.xdi").write_text(head + _rows(ENERGY, I0, ITRANS, form="{:.3f} {:.0f} {:.0f}"))


def xdac() -> None:
    """A column file of the XDAC layout, with Latin-1 in its title."""
    head = """XDAC V1.4 Datafile V1
"invented.001" created on 1/31/26 at 11:30:00 PM on T-0
Diffraction element= Si (111).  Ring energy= 2.80 GeV
E0= 8345.00
Gains= 8.00 9.00
invented curve at 30 \u00b0

--------------------------------------------------------------------------------
        Energy            I0            It
"""
    text = head + _rows(ENERGY, I0, ITRANS, form="{:14.5f}{:14.4f}{:14.4f}")
    (HERE / "invented-xdac.dat").write_bytes(text.encode("latin-1"))


def table() -> None:
    """A table that no layout knows: clock first, keV, labels without a comment sign, falling energies."""
    down = slice(None, None, -1)
    clock = 1_700_000_000.0 + np.arange(41)
    rows = _rows(clock, ENERGY[down] / 1000, I0[down], ITRANS[down], form="{:.1f}\t{:.6f}\t{:.0f}\t{:.0f}")
    (HERE / "invented-table.txt").write_text("a remark\nclock\tEnergy(keV)\tmonitor\tdiode\n" + rows)


def feff() -> None:
    """An ``xmu.dat`` as FEFF 10 writes it (one line uncommented), and its ``feff.inp``."""
    header = """# # invented                                                     FEFF 10.0.0
# # POT  SCF  40  4.2000   0, screened core-hole, AFOLP (folp(0)= 1.150)
# # Abs   Z=28 Rmt= 1.189 Rnm= 1.277 K  shell
# # Gam_ch=1.576E+00 H-L exch Vi= 0.000E+00 Vr= 0.000E+00
FMS rfms= 2.5000
# # PATH  Rmax=-1.000,  Keep_limit= 0.00, Heap_limit 0.00  Pwcrit= 2.50%
#  S02=1.000  Temp=   0.00
#  -----------------------------------------------------------------------
#  omega    e    k    mu    mu0     chi     @#
"""
    relative = ENERGY - 8345.0
    k = np.sign(relative) * np.sqrt(np.abs(relative) / 3.81)
    folder = HERE / "feff"
    folder.mkdir(exist_ok=True)
    columns = (ENERGY, relative, k, MU, MU * 0.9, MU * 0.1)
    form = "{:20.10f}{:20.10f}{:18.10f}{:20.10E}{:20.10E}{:20.10E}"
    (folder / "xmu.dat").write_text(header + _rows(*columns, form=form))
    octahedron = "".join(
        f"{x:8.4f} {y:8.4f} {z:8.4f} 1 O {abs(x + y + z):.3f}\n"
        for x, y, z in [(2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2), (2.9, 0, 0)]
    )
    cards = "TITLE invented\nEDGE K\nFMS 2.5 0\nPOTENTIALS\n0 28 Ni\n1 8 O\nATOMS\n0 0 0 0 Ni 0\n"
    (folder / "feff.inp").write_text(cards + octahedron + "END\n")


def bliss() -> None:
    """One fast scan with its slow part, an emission scan, and what goes wrong in real files."""
    with h5py.File(HERE / "invented-bliss.h5", "w", libver=("earliest", "v110")) as file:
        file.attrs.update({"creator": "Bliss", "NX_class": "NXroot", "default": "9.1"})
        fast = _entry(file, "1.1", "trigscan mono 8.3 8.4 41", "2026-01-31T23:30:00+02:00")
        counters = {
            "energy_enc": ENERGY / 1000,
            "I0": I0,
            "I1": ITRANS,
            "I2": 0 * I0,
            "mu_trans": np.log(I0 / ITRANS),
        }
        for name, values in counters.items():
            fast["measurement"][name] = values
        fast["measurement/slow"] = np.arange(40.0)
        fast["instrument/positioners/cryo"] = b"ERR"
        fast["instrument/positioners/mono"] = np.nan
        fast["instrument/positioners/samz"] = 1.25
        fast["instrument/positioners/samz"].attrs["units"] = "mm"
        _entry(file, "1.2", "trigscan mono 8.3 8.4 41", "2026-01-31T23:30:00+02:00")["measurement/Tcryo"] = [
            10.0,
            10.1,
        ]
        emission = _entry(file, "2.1", "ascan xes_en 8.27 8.25 40 1", "2026-02-01T00:10:00+02:00")
        emission["measurement/xes_en"] = np.linspace(8.27, 8.25, 41)
        emission["measurement/roi"] = np.round(1e4 * MU)
        emission["measurement/I0"] = I0
        emission["measurement/mono_e"] = 10.0 + 1e-7 * np.arange(41)
        emission["instrument/positioners/energy"] = 10.0
        emission["instrument/positioners/energy"].attrs["units"] = "keV"
        emission.attrs["default"] = "plotselect"
        plot = emission.create_group("plotselect")
        plot.attrs.update({"axes": ["xes_en"], "signal": "roi"})
        file["3.1"] = h5py.ExternalLink("not-here.h5", "/1.1")
        file["3.2"] = h5py.ExternalLink("not-here.h5", "/1.2")


def _entry(file: h5py.File, name: str, title: str, start: str) -> h5py.Group:
    entry = file.create_group(name)
    entry.attrs["NX_class"] = "NXentry"
    entry["title"] = title
    entry["start_time"] = start
    entry["end_time"] = start
    entry["sample/name"] = "invented"
    entry["instrument/name"] = "ESRF-id00"
    entry["instrument/name"].attrs["short_name"] = "id00"
    entry.create_group("instrument/positioners")
    entry.create_group("measurement")
    return entry


if __name__ == "__main__":
    for make in (xdi, xdac, table, feff, bliss):
        make()
