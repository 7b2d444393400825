"""Vocabulary: one table of terms with meaning, unit, allowed values and level.

Records, store arrays, index columns, query fields, run-sheet keys, ``barospec fields`` and
``docs/fields.md`` all follow from `TERMS`; to add a term, add a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from barospec.schemas.units import find_unit

Kind = Literal["number", "integer", "word", "text", "time"]
Level = Literal["spectrum", "run", "sample", "structure", "bond", "literature"]
Need = Literal["required", "recommended", "optional", "system"]


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the vocabulary.

    Parameters
    ----------
    name : str
        As written in run sheets, queries, coordinates and columns.
    kind : {"number", "integer", "word", "text", "time"}
        ``word`` is a string with few different values (stored as a code, shown as a choice);
        ``text`` is any string; ``time`` is a UTC instant.
    meaning : str
        One sentence.
    unit : str
        Unit of the value in the store and in answers. Other units of the same dimension are converted.
    level : str
        What the value describes. Run and sample terms are inherited by their spectra and can be searched there.
    need : str
        ``required`` terms must be present for ingest; ``check`` counts ``recommended`` terms; ``system`` terms
        are written by the archive and cannot be set.
    allowed : tuple of str
        All values that a ``word`` can have; empty if any value is allowed.
    aliases : tuple of str
        Other spellings in queries and run sheets; each is unique to this term.
    applies : mapping
        Conditions on other terms; where they do not hold, this term is not applicable (instead of missing).
    private : bool
        Excluded from bundles and exports.
    sigma : str
        Name of the term with the standard uncertainty of this one.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    level: Level = "spectrum"
    need: Need = "optional"
    allowed: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    applies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    private: bool = False
    sigma: str = ""

    @property
    def dimension(self) -> str:
        """Return the dimension of the unit: "pressure", "energy", ...; empty for strings and plain numbers."""
        unit = find_unit(self.unit) if self.unit else None
        return unit.dimension if unit and unit.dimension != "number" else ""

    @property
    def limits(self) -> tuple[float, float]:
        """Return the lowest and highest value, in `unit`, or in microseconds since 1970; see `LIMITS`.

        >>> BY_NAME["pressure"].limits, BY_NAME["pressure_sigma"].limits
        ((-1.0, 10000.0), (0.0, 10000.0))
        """
        low, high = LIMITS[self.kind if self.kind != "number" else self.unit]
        return (0.0, high) if self.name.endswith("_sigma") else (low, high)

    @property
    def longest(self) -> int:
        """Return the maximum length of a word or text in bytes of UTF-8; texts that the archive writes, such as lists of parents, can be longer."""
        return LONGEST["system" if self.need == "system" else self.kind]


# Limits of numbers, by unit or kind: wide enough for every measurement and calculation, narrow enough that a wrong unit is found
# and that nothing overflows in store, index and tables. A pressure at ambient, read as a small shift of a line, can be below zero
# within its uncertainty; so the limit is -1 GPa and not 0.
LIMITS: Mapping[str, tuple[float, float]] = {
    "GPa": (-1.0, 1e4),
    "K": (0.0, 1e5),
    "nm": (0.0, 1e5),
    "µm": (0.0, 1e6),
    "Å": (0.0, 1e5),
    "Å³": (0.0, 1e12),
    "deg": (0.0, 360.0),
    "eV": (-1e6, 1e6),
    "": (-1e30, 1e30),  # a published number, in the unit of its source
    "integer": (1 - 2.0**31, 2.0**31 - 1),
    # 1900 and 2200: a table may count nanoseconds, which end in 2262.
    "time": (-2_208_988_800e6, 7_258_118_400e6),
}
LONGEST: Mapping[str, int] = {"word": 2_000, "text": 100_000, "system": 100_000}

_CALC = {"origin": ("calculated",)}
_XES = {"technique": ("xes",)}
_XAS = {"technique": ("xas",)}

TECHNIQUES = ("xas", "xes")
ORIGINS = ("measured", "calculated", "synthetic")
STATUSES = ("active", "superseded", "withdrawn", "reverted", "purged")
PRESSURE_METHODS = ("measured", "interpolated", "carried over", "nominal", "ambient")
PRESSURE_SCALES = ("ruby Mao 1978", "ruby Mao 1986", "ruby Dewaele 2004", "ruby Chijioke 2005", "Ruby2020", "other")
RUBY_CORRECTIONS = ("Datchi 2007", "Ragan 1992")
DIRECTIONS = ("compression", "decompression", "cooling", "warming", "none")
CALIBRATIONS = ("none", "foil", "reference", "calculated")
FLAGS = ("good", "check", "bad")
MODES = ("transmission", "fluorescence", "herfd", "electron yield", "emission", "calculation")

TERMS: tuple[Term, ...] = (
    # Identity of the spectrum
    Term("experiment", "word", "Beamtime or project; run names are unique within it.", level="run", need="recommended"),
    Term("run", "word", "One loading of one sample, measured along a pressure-temperature path.", level="run", need="required"),
    Term("sample", "word", "Name of the specimen, as its owner calls it.", level="sample", need="required"),
    Term("material", "word", "Chemical formula of the sample, such as La3Ni2O7.", level="sample", need="recommended", aliases=("compound", "formula")),
    Term("technique", "word", "X-ray absorption (xas) or emission (xes) spectroscopy.", need="required", allowed=TECHNIQUES),
    Term("edge", "word", 'Element and edge, such as "Ni K"; for xes, the core hole.', need="required"),
    Term("line", "word", "Emission line, such as Kβ.", applies=_XES, need="recommended"),
    Term("origin", "word", "Measured, calculated by a physics code, or synthetic (generated).", need="required", allowed=ORIGINS),
    Term("element", "word", "Chemical symbol of the absorbing or emitting element.", need="system"),
    Term("title", "text", "Name of the scan in the file."),
    Term("step", "integer", "Order along the P-T path of the run, from 1.", need="recommended"),
    Term("time", "time", "Start of the scan (UTC).", need="recommended", aliases=("date", "measured_at")),
    # Conditions
    Term("pressure", "number", "Pressure on the sample.", "GPa", need="recommended", aliases=("P",), sigma="pressure_sigma"),
    Term("pressure_sigma", "number", "Standard uncertainty of the pressure.", "GPa", need="recommended"),
    Term("pressure_before", "number", "Pressure read before the scan.", "GPa"),
    Term("pressure_after", "number", "Pressure read after the scan.", "GPa"),
    Term("pressure_method", "word", "Method by which the pressure of the scan is known.", need="recommended", allowed=PRESSURE_METHODS),
    Term("pressure_scale", "word", "Calibration that turned the gauge reading into a pressure.", need="recommended", allowed=PRESSURE_SCALES),
    Term("ruby_wavelength", "number", "Wavelength of the ruby R1 line at pressure.", "nm", sigma="ruby_wavelength_sigma"),
    Term("ruby_wavelength_sigma", "number", "Standard uncertainty of each ruby wavelength.", "nm"),
    Term("ruby_wavelength_before", "number", "Wavelength of the ruby R1 line before the scan.", "nm"),
    Term("ruby_wavelength_after", "number", "Wavelength of the ruby R1 line after the scan.", "nm"),
    Term("ruby_reference", "number", "Wavelength of the ruby R1 line at ambient pressure and the reference temperature.", "nm", sigma="ruby_reference_sigma"),
    Term("ruby_reference_sigma", "number", "Standard uncertainty of the ruby reference.", "nm"),
    Term("ruby_reference_temperature", "number", "Temperature at which the ruby reference was read; 300 K where not stated.", "K"),
    Term("ruby_temperature", "number", "Temperature of the ruby when its line was read.", "K"),
    Term("ruby_correction", "word", "How the ruby line was corrected for temperature.", allowed=RUBY_CORRECTIONS),
    Term("temperature", "number", "Temperature of the sample.", "K", need="recommended", aliases=("T",), sigma="temperature_sigma"),
    Term("temperature_sigma", "number", "Standard uncertainty of the temperature.", "K"),
    Term("temperature_sensor", "word", "Sensor of the temperature and its position.", level="run"),
    Term("direction", "word", "Direction along the P-T path.", allowed=DIRECTIONS),
    # Sample environment
    Term("medium", "word", "Pressure-transmitting medium, or none.", level="run", need="recommended"),
    Term("cell", "word", "Pressure cell.", level="run", need="recommended"),
    Term("anvils", "word", "Kind of anvils.", level="run", need="recommended"),
    Term("culet", "number", "Diameter of the anvils' culet.", "µm", level="run", need="recommended"),
    Term("gasket", "word", "Gasket material and thickness.", level="run"),
    # Instrument
    Term("facility", "word", "Facility of the measurement.", level="run", need="recommended"),
    Term("beamline", "word", "Beamline or instrument of the measurement.", level="run", need="recommended"),
    Term("mode", "word", "Detection mode of the signal.", need="recommended", allowed=MODES),
    Term("monochromator", "word", "Monochromator crystal, such as Si(111).", level="run", need="recommended"),
    Term("d_spacing", "number", "Lattice spacing of the monochromator crystal.", "Å", level="run"),
    Term("spectrometer", "word", "Emission spectrometer.", level="run", applies=_XES),
    Term("excitation_energy", "number", "Energy of the exciting beam.", "eV", level="run", applies=_XES),
    Term("detector", "word", "Detector of the signal.", level="run"),
    Term("energy_calibration", "word", "Reference of the energy calibration.", need="recommended", allowed=CALIBRATIONS),
    Term("energy_shift", "number", "Shift to add to the stored energies to calibrate them; the stored axis stays as recorded.", "eV"),
    Term("proposal", "word", "Proposal number.", level="run", private=True),
    Term("operator", "word", "Person who measured or calculated.", level="run", private=True),
    Term("note", "text", "Remarks from the run sheet."),
    # Calculated spectra
    Term("code", "word", "Program that calculated the spectrum.", applies=_CALC, need="recommended"),
    Term("code_version", "word", "Version of the program.", applies=_CALC, need="recommended"),
    Term("method", "word", "Method and its settings (scattering, self-consistency, broadening, relativity).", applies=_CALC, need="recommended"),
    Term("cluster_atoms", "integer", "Number of atoms in the calculated cluster.", applies=_CALC),
    Term("cluster_radius", "number", "Radius of the calculated cluster.", "Å", applies=_CALC),
    Term("absorber", "word", "Absorbing site in the structure.", applies=_CALC),
    Term("structure", "word", "Identifier of the structure record that was calculated, or that the sample had."),
    # Written by the archive
    Term("spectrum_id", "text", "Identity of the spectrum: 16 hex digits, fixed at first ingest.", need="system", aliases=("id",)),
    Term("revision", "integer", "1 at first ingest, plus one at each replacement.", need="system"),
    Term("status", "word", "State of the row: active, superseded by a revision, withdrawn, reverted by restoring an earlier state, or purged.", need="system", allowed=STATUSES),
    Term("signal", "word", "Formula of the curve from the recorded channels.", need="system"),
    Term("point_count", "integer", "Number of points of the curve.", need="system", aliases=("points",)),
    Term("energy_min", "number", "Lowest energy of the curve.", "eV", need="system"),
    Term("energy_max", "number", "Highest energy of the curve.", "eV", need="system"),
    Term("source_file", "text", "Name of the raw file, relative to the run sheet or as given.", need="system"),
    Term("source_scan", "text", "Scan within the raw file.", need="system", aliases=("scan",)),
    Term("source_sha256", "text", "sha256 of the raw file.", need="system"),
    Term("reader", "word", "Reader that parsed the file, with its version.", need="system"),
    Term("run_sheet", "word", "Run sheet that gave the conditions.", need="system"),
    Term("parents", "text", "Spectra that were averaged into this one.", need="system"),
    Term("merged_into", "text", "Average that contains this spectrum; such scans are hidden unless a query asks for scans.", need="system"),
    Term("bundle", "word", "Bundle that the spectrum was imported from.", need="system"),
    Term("bundle_revision", "integer", "Revision of the spectrum in the archive that the bundle was made from.", need="system"),
    Term("ingested", "time", "Time of ingest (UTC).", need="system"),
    # Annotations (`barospec flag`, `label`, `note`); stored as events
    Term("flag", "word", "Judgment of a person about the spectrum; queries exclude bad spectra unless they ask for them.", need="system", allowed=FLAGS),
    Term("flag_reason", "text", "Reason of the flag.", need="system"),
    Term("labels", "text", "Labels that people added, separated by commas.", need="system"),
    Term("remarks", "text", "Notes that people added.", need="system"),
    # Structures (one row each) and their bonds
    Term("structure_id", "text", "Identifier of the structure.", level="structure", need="required"),
    Term("space_group", "word", "Hermann-Mauguin symbol.", level="structure", need="recommended"),
    Term("a", "number", "Lattice parameter.", "Å", level="structure", need="required"),
    Term("b", "number", "Lattice parameter.", "Å", level="structure", need="required"),
    Term("c", "number", "Lattice parameter.", "Å", level="structure", need="required"),
    Term("alpha", "number", "Lattice angle.", "deg", level="structure"),
    Term("beta", "number", "Lattice angle.", "deg", level="structure"),
    Term("gamma", "number", "Lattice angle.", "deg", level="structure"),
    Term("volume", "number", "Cell volume.", "Å³", level="structure", need="system"),
    Term("bond", "word", "Elements of the bond, such as Ni-O.", level="bond", need="system"),
    Term("bond_length", "number", "Distance between the two sites.", "Å", level="bond", need="system"),
    Term("multiplicity", "integer", "Number of such distances around the first site.", level="bond", need="system"),
    # Literature values
    Term("quantity", "word", "Quantity that was published.", level="literature", need="required"),
    Term("value", "number", "The published number, in `value_unit`.", level="literature", need="required"),
    Term("value_sigma", "number", "Its published uncertainty.", level="literature"),
    Term("value_unit", "word", "Its unit.", level="literature", need="required"),
    Term("source", "text", "Source of the record (DOI, arXiv number, file).", level="literature", need="required"),
    Term("quote", "text", "The text as printed.", level="literature", need="recommended"),
)  # fmt: skip

BY_NAME: dict[str, Term] = {term.name: term for term in TERMS}
SPECTRUM_LEVELS = ("spectrum", "run", "sample")
SPECTRUM_TERMS: tuple[Term, ...] = tuple(term for term in TERMS if term.level in SPECTRUM_LEVELS)
ANNOTATIONS = ("flag", "flag_reason", "labels", "remarks")
SETTABLE: tuple[Term, ...] = tuple(term for term in SPECTRUM_TERMS if term.need != "system")

_SPELLINGS: dict[str, str] = {
    **{alias.casefold(): term.name for term in TERMS for alias in term.aliases},
    **{term.name.casefold(): term.name for term in TERMS},
}


def find_term(name: str) -> Term | None:
    """Return the term of a name or alias, ignoring case; spaces and hyphens count as underscores.

    >>> find_term("Cluster atoms").name
    'cluster_atoms'
    """
    key = _SPELLINGS.get(name.strip().casefold().replace(" ", "_").replace("-", "_"))
    return BY_NAME[key] if key else None


# X-ray notation. An edge is an element and a level; a line belongs to the core hole it fills.
LEVELS = ("K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5")
LINES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # name: (core hole, other spellings, casefolded and without spaces)
    "Kα": ("K", ("ka", "kalpha", "kα")),
    "Kβ": ("K", ("kb", "kbeta", "kβ", "kbeta1,3", "kb1,3", "kβ1,3", "kb13")),
    "Lα": ("L3", ("la1", "lalpha", "lα")),
    "Lβ": ("L2", ("lb1", "lbeta", "lβ")),
}
ASCII_LINES = {"Kα": "Ka", "Kβ": "Kb", "Lα": "La", "Lβ": "Lb"}


def find_line(text: str) -> str | None:
    """Return the emission line for the text "Kb", "Kbeta", "KB" or "Kβ".

    >>> find_line("Kb")
    'Kβ'
    """
    key = text.replace(" ", "").replace("ß", "β").casefold()
    for name, (_, spellings) in LINES.items():
        if key == name.casefold() or key in spellings:
            return name
    return None


ELEMENTS: tuple[str, ...] = tuple(
    """H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
    Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb
    Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf
    Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og""".split()
)


def find_edge(text: str, element: str = "") -> str | None:
    """Return the edge for the text "Ni K", "Ni-K", "NiK", "La L3" or, with `element` known, "K"; None otherwise.

    >>> find_edge("ni-k"), find_edge("LaL3"), find_edge("K", element="Ni")
    ('Ni K', 'La L3', 'Ni K')
    """
    compact = text.strip().replace("-", " ").replace("_", " ")
    parts = compact.split()
    if len(parts) == 1:
        for size in (2, 1):
            symbol, level = parts[0][:size].capitalize(), parts[0][size:].upper()
            if symbol in ELEMENTS and level in LEVELS:
                return f"{symbol} {level}"
        if element and parts[0].upper() in LEVELS:
            return f"{element} {parts[0].upper()}"
        return None
    if len(parts) == 2 and parts[0].capitalize() in ELEMENTS and parts[1].upper() in LEVELS:
        return f"{parts[0].capitalize()} {parts[1].upper()}"
    return None


def group_key(technique: str, edge: str, line: str = "") -> str:
    """Return the group of a kind of spectra in the store: ``xas/Ni-K``, ``xes/Ni-Kb``.

    >>> group_key("xes", "Ni K", "Kβ")
    'xes/Ni-Kb'
    """
    element, level = edge.split(" ")
    return f"{technique}/{element}-{ASCII_LINES.get(line, line) or level}"


DATA_NAME = {"xas": "mu", "xes": "intensity"}

# Recorded channels, with XDI names where they exist; stored next to the curve, all (spectrum, point).
CHANNELS: Mapping[str, str] = {
    "i0": "incident intensity",
    "itrans": "transmitted intensity",
    "ifluor": "fluorescence intensity",
    "irefer": "intensity behind the reference foil",
    "iemission": "emission intensity",
    "murecorded": "absorption as recorded, type of measurement not stated",
    "mutrans": "absorption in transmission, as recorded",
    "mufluor": "absorption in fluorescence, as recorded",
    "murefer": "absorption of the reference foil, as recorded",
    "normtrans": "normalized absorption in transmission, as recorded",
    "normfluor": "normalized absorption in fluorescence, as recorded",
    "mucalc": "calculated absorption",
    "mu0calc": "calculated absorption of the embedded atom",
    "sigma": "standard uncertainty of the curve, as recorded",
}

# Common names of a curve that was computed before; in the store, mu is the selected curve.
_NEUTRAL = ("mu", "xmu")


def find_channel(text: str) -> str | None:
    """Return the channel of a name, None if there is none.

    >>> find_channel("itrans"), find_channel("mu"), find_channel("mutrance")
    ('itrans', 'murecorded', None)
    """
    plain = text.strip()
    return plain if plain in CHANNELS else "murecorded" if plain.casefold() in _NEUTRAL else None
