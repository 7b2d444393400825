"""Makes the files beside it: one small file of each format, all of one invented curve. Run it after changing
it.

The curve is no measurement and no calculation: an arctan step at 8345 eV with a line on top, seen by
counters.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
ENERGY = np.round(np.linspace(8300.0, 8400.0, 41), 3)
MU = 0.2 + 1.5 * (np.arctan((ENERGY - 8345.0) / 2.0) / np.pi + 0.5) + 0.6 / (1 + ((ENERGY - 8350.0) / 3.0) ** 2)
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


def spec() -> None:
    """A scan 0 that is no spectrum, and a second scan 0 that is one, its energy in the second column."""
    energy = ENERGY / 1000
    head = """#F invented.spec
#E 1769895000
#D Sat Jan 31 23:30:00 2026
#O0 Two Theta  samz
#O1 mono

#S 0 ascan samz 1 2 2 0.1
#D Sat Jan 31 23:30:10 2026
#P0 30.5 1.25
#P1 8.3
#N 2
#L samz  I0
1.0 200000
1.5 199000
2.0 198000

#S 0 ascan Energy 8.3 8.4 40 1
#D Sat Jan 31 23:31:00 2026
#T 1 (Seconds)
#P0 30.5 1.75
#P1 8.3
#N 5
#L Epoch  Energy (keV)  Seconds  I0  I1
"""
    epoch = np.arange(41.0)
    rows = _rows(epoch, energy, np.ones(41), I0, ITRANS, form="{:.0f} {:.6f} {:.0f} {:.0f} {:.0f}")
    (HERE / "invented.spec").write_text(head + rows)


def fdmnes() -> None:
    """Raw output with two curves, and the convoluted output of an old version, which lacks E_edge."""
    first = (
        "# FDMNES program, Revision 1st of February 2026\n"
        "  8345.000   28  1  1     0.00000   -19.30749    -5.01332  1  1     8300.401  0.011948392     0.00000"
        " = E_edge, Z, n_edge, j_edge, Abs_before_edge, VO_interstitial, E_Fermi, ninitl, ninit1, Epsii,"
        " Atom_density, f0_forward\n"
        "    Energy    <xanes>     <xanes>_xx  (100)ss_0\n"
    )
    relative = ENERGY - 8345.0
    form = "{:10.3f}{:15.7E}{:15.7E}{:15.7E}"
    (HERE / "invented_out.txt").write_text(first + _rows(relative, MU, MU / 2, MU / 3, form=form))
    old = "    Energy    <xanes>\n" + _rows(relative, MU, form="{:10.3f}{:15.7E}")
    (HERE / "invented_2_conv.txt").write_text(old)


def quanty() -> None:
    """A Green's function as Quanty prints it, which is no SPEC file."""
    head = """#Spectra: 1
Emin______Emax       8.300000000000000E+03  8.400000000000000E+03
EminPole__EmaxPole   8.345000000000000E+03  8.350000000000000E+03
dE________Gamma      2.500000000000000E+00  1.000000000000000E-01
Energy               Re[0]                  Im[0]
"""
    rows = _rows(ENERGY, 0.1 * MU, -MU, form="{:19.12E} {:22.15E} {:22.15E}")
    (HERE / "invented_iso.spec").write_text(head + rows)


def athena() -> None:
    """A project with a sample, its reference, a label that stands twice, and pixels; gzipped Perl and JSON."""
    tied = {"bkg_z": "Ni", "fft_edge": "k", "bkg_e0": "8345.5", "bkg_pre1": "-40", "bkg_eshift": "0.5", "ln": 1}
    source = {"file": "/home/someone/hc-0000/sample.000", "titles": ["it's invented", "20 \u00b0C"]}
    pixels = [float(i) for i in range(41)]
    foil = np.round(ITRANS * np.exp(-MU[::-1]))
    groups: dict[str, dict[str, object]] = {
        "aaaaa": {
            "args": {"label": "sample", "referencegroup": "bbbbb", **tied, **source},
            "arrays": {"x": ENERGY, "y": np.log(I0 / ITRANS), "i0": I0, "signal": ITRANS},
        },
        "bbbbb": {
            "args": {"label": "  Ref sample", "referencegroup": "aaaaa", **tied},
            "arrays": {"x": ENERGY, "y": np.log(ITRANS / foil), "i0": ITRANS, "signal": foil},
        },
        "ccccc": {"args": {"label": "sample", "bkg_z": "Ni", "fft_edge": "k"}, "arrays": {"x": ENERGY, "y": MU}},
        "ddddd": {"args": {"label": "dispersive", "is_pixel": 1}, "arrays": {"x": np.array(pixels), "y": MU}},
    }
    first = "Athena project file -- Demeter version 0.9.26"
    text = f"# {first}\n# This file created at 2026-01-31T23:30:00\n\n"
    content: dict[str, object] = {"_____header1": f"# {first}", "_____journal": ["a note"]}
    for key, group in groups.items():
        args, arrays = group["args"], group["arrays"]
        assert isinstance(args, dict)
        assert isinstance(arrays, dict)
        text += f"$old_group = '{key}';\n"
        text += f"@args = ({','.join(f'{_perl(name)},{_perl(value)}' for name, value in args.items())});\n"
        lists = {name: [repr(float(value)) for value in values] for name, values in arrays.items()}
        text += "".join(f"@{name} = ({','.join(map(_perl, values))});\n" for name, values in lists.items())
        text += (
            "$xdi = bless( {'metadata' => {'Mono' => {'name' => 'Si(111)','d_spacing' => '3.1356'}}}, 'Xray::XDI' );\n"
        )
        text += "[record]   # create object and set arrays\n\n"
        content[key] = {"args": args, **lists}
    text += "@journal = ('a note');\n\n1;\n"
    content["_____order"] = list(groups)
    # The time in a gzip header would change the file at each run.
    (HERE / "invented.prj").write_bytes(gzip.compress(text.encode(), mtime=0))
    (HERE / "invented-json.prj").write_text(json.dumps(content, indent=1) + "\n")


def _perl(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_perl, value))}]"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    if escaped.isascii():
        return f"'{escaped}'"
    return '"' + "".join(c if c.isascii() else f"\\x{{{ord(c):x}}}" for c in str(value)) + '"'


def nxxas() -> None:
    """One entry of each of the three forms that share the name."""
    with h5py.File(HERE / "invented-nxxas.nxs", "w", libver=("earliest", "v110")) as file:
        for key in ("entry", "beams", "detectors"):
            entry = file.create_group(key)
            entry.attrs["NX_class"] = "NXentry"
            entry["definition"] = "NXxas"
        entry = file["entry"]
        entry["mode"] = "transmission"
        entry["element"] = "Ni"
        entry["absorption_edge"] = "K"
        _data(entry, "energy", ENERGY, "eV")
        entry["intensity"] = MU
        entry["sample/name"] = "invented"
        entry["sample/temperature"] = 10.0
        entry["sample/temperature"].attrs["units"] = "K"
        beams = file["beams"]
        beams["title"] = "as in the manual"
        beams["start_time"] = "2026-01-31T23:30:00+02:00"
        _data(beams, "inst/monochromator/energy", ENERGY / 1000, "keV")
        beams["inst"].attrs["NX_class"] = "NXinstrument"
        beams["inst/incoming_beam/data"] = I0
        beams["inst/absorbed_beam/data"] = ITRANS
        beams["data/mode"] = "Transmission"
        detectors = file["detectors"]
        _data(detectors, "instrument/monochromator/energy", ENERGY, "eV")
        _data(detectors, "instrument/monochromator/crystal/d_spacing", 3.1356, "Angstroms")
        detectors["instrument/i0/data"] = I0
        detectors["instrument/itrans/data"] = ITRANS
        detectors["sample/xrayedge/element"] = "Ni"
        detectors["sample/xrayedge/edge"] = "K"


def models() -> None:
    """Model files: a chain with 17 vectors (two lines of degeneracies), bands and densities of two codes."""
    folder = HERE / "models"
    folder.mkdir(exist_ok=True)
    vectors = range(-8, 9)
    degeneracies = [2 if abs(r) == 8 else 1 for r in vectors]
    cells = [f"{d:5d}" for d in degeneracies]
    head = f"an invented chain\n 2\n 17\n{''.join(cells[:15])}\n{''.join(cells[15:])}\n"
    rows = ""
    for r in vectors:
        for n in (1, 2):
            for m in (1, 2):
                value = 0.8 / (1 + abs(r)) if m == n else 0.1j * (m - n) * (r == 0)
                rows += f"{r:5d}    0    0{m:5d}{n:5d}{complex(value).real:12.6f}{complex(value).imag:12.6f}\n"
    (folder / "chain_hr.dat").write_text(head + rows)
    dos = "".join(f" {e:10.5f} {e + 3:10.5f} {(e + 3) / 2:10.5f}\n" for e in (-2.0, -1.0, 0.0, 1.0))
    label = "#  BAND  -1\n#EF=   {:.5f}          NENRG=  4\n# ENERGY  total-DOS  Ni-d\n"
    (folder / "case.dos1ev").write_text(label.format(0.0) + dos)
    (folder / "case.dos1").write_text(label.format(0.5) + dos)
    path = ((0.0, 0.0), (0.25, 0.125), (0.5, 0.25))
    bands = "".join(
        f"  bandindex:{band:6d}\n"
        + "".join(f"  {k:.5f} 0.00000 0.00000 {d:.5f} {band - 2 + k:9.5f}\n" for k, d in path)
        for band in (1, 2)
    )
    (folder / "case.spaghetti_ene").write_text(bands)
    _vasprun(folder / "vasprun.xml")


def _vasprun(path: Path) -> None:
    """Two spins, two k-points, three bands, two ions; two ionic steps, of which the second counts."""

    def sets(comment: str, parts: list[str]) -> str:
        return "".join(f'<set comment="{comment} {i}">{part}</set>\n' for i, part in enumerate(parts, 1))

    def step(shift: float) -> str:
        levels = [
            [[f"<r>{s + k + b + shift:.4f} {float(b < 2):.4f}</r>" for b in range(3)] for k in range(2)]
            for s in range(2)
        ]
        eigenvalues = sets("spin", [sets("kpoint", ["\n".join(k) for k in spin]) for spin in levels])
        energies = [-2.0, -1.0, 0.0, 1.0]
        total = sets("spin", ["\n".join(f"<r>{e:.4f} {s + e + 3:.4f} 0.0</r>" for e in energies) for s in range(2)])
        partial = sets(
            "ion",
            [
                sets("spin", ["\n".join(f"<r>{e:.4f} {i + s:.4f} {e + 3:.4f}</r>" for e in energies) for s in range(2)])
                for i in range(2)
            ],
        )
        fields = "<field>energy</field><field>     s</field><field>   dxy</field>"
        dos = f'<i name="efermi">{0.25 + shift:.4f}</i><total><array><set>{total}</set></array></total>'
        dos += f"<partial><array>{fields}<set>{partial}</set></array></partial>"
        again = dos.replace(f"{0.25 + shift:.4f}", "9.0000")
        bands = f"<eigenvalues><array><set>{eigenvalues}</set></array></eigenvalues>"
        # Weights that tell spin, k-point, band, ion and orbital apart by their digits.
        weights = sets(
            "spin",
            [
                sets(
                    "kpoint",
                    [
                        sets(
                            "band",
                            ["".join(f"<r>0.{s}{k}{b}{i}1 0.{s}{k}{b}{i}2</r>" for i in range(2)) for b in range(3)],
                        )
                        for k in range(2)
                    ],
                )
                for s in range(2)
            ],
        )
        orbitals = "<field>     s</field><field>   dxy</field>"
        bands += f"\n<projected>{bands}<array>{orbitals}<set>{weights}</set></array></projected>"
        return f'<calculation>{bands}\n<dos>{dos}</dos>\n<dos comment="interpolated">{again}</dos></calculation>\n'

    atoms = "".join(f"<rc><c>{element} </c><c>{i}</c></rc>" for i, element in ((1, "Ni"), (2, "O")))
    kpoints = '<varray name="kpointlist"><v>0 0 0</v><v>0.5 0 0</v></varray><varray name="weights"><v>0.25</v><v>0.75</v></varray>'
    generator = (
        '<generator><i name="program" type="string">vasp </i><i name="version" type="string">6.0.0  </i></generator>'
    )
    text = f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n {generator}\n<kpoints>{kpoints}</kpoints>\n'
    text += f'<atominfo><array name="atoms"><set>{atoms}</set></array></atominfo>\n'
    path.write_text(f"{text}{step(-1.0)}{step(0.0)}</modeling>\n")


def _data(group: h5py.Group, name: str, values: object, unit: str) -> None:
    group[name] = values
    group[name].attrs["units"] = unit


if __name__ == "__main__":
    for make in (xdi, xdac, table, feff, bliss, spec, fdmnes, quanty, athena, nxxas, models):
        make()
