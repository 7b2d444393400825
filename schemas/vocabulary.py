"""The one table of terms: what each name means, its unit, its values, and where it lives.

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
    """One name of the vocabulary.

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
        The unit that the value has in the store and in answers. Other units of its dimension convert.
    level : str
        What the value describes. Run and sample terms are inherited by their spectra and can be searched there.
    need : str
        ``required`` refuses ingest when missing; ``recommended`` is counted by ``check``; ``system`` terms
        are written by the archive and cannot be set.
    allowed : tuple of str
        All values a ``word`` may have; empty when open.
    aliases : tuple of str
        Other spellings understood in queries and run sheets; each names this term only.
    applies : mapping
        Conditions on other terms without which this one is not applicable (rather than missing).
    private : bool
        Left out of what is shared.
    sigma : str
        The term that holds this one's standard uncertainty.
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
        """What the unit measures: "pressure", "energy", ...; empty for strings and plain numbers."""
        unit = find_unit(self.unit) if self.unit else None
        return unit.dimension if unit and unit.dimension != "number" else ""

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value, in `unit`, or in microseconds since 1970; see `LIMITS`.

        >>> BY_NAME["pressure"].limits, BY_NAME["pressure_sigma"].limits
        ((-1.0, 10000.0), (0.0, 10000.0))
        """
        low, high = LIMITS[self.kind if self.kind != "number" else self.unit]
        return (0.0, high) if self.name.endswith("_sigma") else (low, high)

    @property
    def longest(self) -> int:
        """Bytes that a word or a text may have in UTF-8; what the archive writes itself, such as lists of parents, may be longer."""
        return LONGEST["system" if self.need == "system" else self.kind]


# What a number may be, by its unit or kind: wide enough for everything that was ever measured or calculated, narrow enough that a
# slip of unit is seen and that nothing overflows on its way through store, index and tables. A pressure at ambient, read as a small
# shift of a line, may come out below zero within its uncertainty; so the limit is -1 GPa and not 0.
LIMITS: Mapping[str, tuple[float, float]] = {
    "GPa": (-1.0, 1e4),
    "K": (0.0, 1e5),
    "nm": (0.0, 1e5),
    "µm": (0.0, 1e6),
    "Å": (0.0, 1e5),
    "Å³": (0.0, 1e12),
    "deg": (0.0, 360.0),
    "eV": (-1e6, 1e6),
    "": (-1e30, 1e30),  # a published number, in a unit of its own
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
    # What the spectrum is of
    Term("experiment", "word", "Beamtime or project; run names are unique within it.", level="run", need="recommended"),
    Term("run", "word", "One loading of one sample taken along a pressure-temperature route.", level="run", need="required"),
    Term("sample", "word", "Name of the specimen, as its owner calls it.", level="sample", need="required"),
    Term("material", "word", "Chemical formula of the sample, such as La3Ni2O7.", level="sample", need="recommended", aliases=("compound", "formula")),
    Term("technique", "word", "X-ray absorption (xas) or emission (xes) spectroscopy.", need="required", allowed=TECHNIQUES),
    Term("edge", "word", 'Element and edge, such as "Ni K"; for xes, the core hole.', need="required"),
    Term("line", "word", "Emission line, such as Kβ.", applies=_XES, need="recommended"),
    Term("origin", "word", "Measured, calculated by a physics code, or synthetic (generated).", need="required", allowed=ORIGINS),
    Term("element", "word", "Chemical symbol of the absorbing or emitting element.", need="system"),
    Term("title", "text", "What the file calls the scan."),
    Term("step", "integer", "Order along the run's route, from 1.", need="recommended"),
    Term("time", "time", "When the scan began (UTC).", need="recommended", aliases=("date", "measured_at")),
    # Conditions
    Term("pressure", "number", "Pressure on the sample.", "GPa", need="recommended", aliases=("P",), sigma="pressure_sigma"),
    Term("pressure_sigma", "number", "Standard uncertainty of the pressure.", "GPa", need="recommended"),
    Term("pressure_before", "number", "Pressure read before the scan.", "GPa"),
    Term("pressure_after", "number", "Pressure read after the scan.", "GPa"),
    Term("pressure_method", "word", "How the pressure is known at the scan.", need="recommended", allowed=PRESSURE_METHODS),
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
    Term("temperature_sensor", "word", "Where and with what the temperature was read.", level="run"),
    Term("direction", "word", "What was being done along the route.", allowed=DIRECTIONS),
    # Sample environment
    Term("medium", "word", "Pressure-transmitting medium, or none.", level="run", need="recommended"),
    Term("cell", "word", "Pressure cell.", level="run", need="recommended"),
    Term("anvils", "word", "Kind of anvils.", level="run", need="recommended"),
    Term("culet", "number", "Diameter of the anvils' culet.", "µm", level="run", need="recommended"),
    Term("gasket", "word", "Gasket material and thickness.", level="run"),
    # Instrument
    Term("facility", "word", "Where it was measured.", level="run", need="recommended"),
    Term("beamline", "word", "Instrument it was measured at.", level="run", need="recommended"),
    Term("mode", "word", "How the signal was detected.", need="recommended", allowed=MODES),
    Term("monochromator", "word", "Monochromator crystal, such as Si(111).", level="run", need="recommended"),
    Term("d_spacing", "number", "Lattice spacing of the monochromator crystal.", "Å", level="run"),
    Term("spectrometer", "word", "Emission spectrometer.", level="run", applies=_XES),
    Term("excitation_energy", "number", "Energy of the exciting beam.", "eV", level="run", applies=_XES),
    Term("detector", "word", "Detector of the signal.", level="run"),
    Term("energy_calibration", "word", "What the energy axis was calibrated against.", need="recommended", allowed=CALIBRATIONS),
    Term("energy_shift", "number", "Shift to add to the stored energies to calibrate them; the stored axis stays as recorded.", "eV"),
    Term("proposal", "word", "Proposal number.", level="run", private=True),
    Term("operator", "word", "Who measured or calculated.", level="run", private=True),
    Term("note", "text", "Remarks from the run sheet."),
    # Calculated spectra
    Term("code", "word", "Program that calculated the spectrum.", applies=_CALC, need="recommended"),
    Term("code_version", "word", "Its version.", applies=_CALC, need="recommended"),
    Term("method", "word", "Method and its settings (scattering, self-consistency, broadening, relativity).", applies=_CALC, need="recommended"),
    Term("cluster_atoms", "integer", "Number of atoms in the calculated cluster.", applies=_CALC),
    Term("cluster_radius", "number", "Radius of the calculated cluster.", "Å", applies=_CALC),
    Term("absorber", "word", "Absorbing site in the structure.", applies=_CALC),
    Term("structure", "word", "Identifier of the structure record that was calculated, or that the sample had."),
    # What the archive writes
    Term("spectrum_id", "text", "Identity of the spectrum: 16 hex digits, fixed at first ingest.", need="system", aliases=("id",)),
    Term("revision", "integer", "1 at first ingest, one more at each replacement.", need="system"),
    Term("status", "word", "Whether the row is active, superseded by a revision, withdrawn, reverted by restoring an earlier state, or purged.", need="system", allowed=STATUSES),
    Term("signal", "word", "How the curve was formed from the recorded channels.", need="system"),
    Term("point_count", "integer", "Number of points of the curve.", need="system", aliases=("points",)),
    Term("energy_min", "number", "Lowest energy of the curve.", "eV", need="system"),
    Term("energy_max", "number", "Highest energy of the curve.", "eV", need="system"),
    Term("source_file", "text", "Name of the raw file, relative to the run sheet or as given.", need="system"),
    Term("source_scan", "text", "Scan within the raw file.", need="system", aliases=("scan",)),
    Term("source_sha256", "text", "sha256 of the raw file.", need="system"),
    Term("reader", "word", "Reader that parsed the file, with its version.", need="system"),
    Term("run_sheet", "word", "Run sheet that gave the conditions.", need="system"),
    Term("parents", "text", "Spectra that were averaged into this one.", need="system"),
    Term("merged_into", "text", "The average that this spectrum is part of; hidden unless scans are asked for.", need="system"),
    Term("bundle", "word", "Bundle that the spectrum was imported from.", need="system"),
    Term("bundle_revision", "integer", "Its revision in the archive that the bundle was made from.", need="system"),
    Term("ingested", "time", "When the row entered the archive (UTC).", need="system"),
    # What people said about the spectrum afterwards (`barospec flag`, `label`, `note`); kept as events
    Term("flag", "word", "What somebody who looked thinks of it; bad ones are left out of queries that do not ask for them.", need="system", allowed=FLAGS),
    Term("flag_reason", "text", "Why it was flagged.", need="system"),
    Term("labels", "text", "Words that people attached to it, with commas between.", need="system"),
    Term("remarks", "text", "Notes that people attached to it.", need="system"),
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
    Term("multiplicity", "integer", "How often the distance occurs around the first site.", level="bond", need="system"),
    # Literature values
    Term("quantity", "word", "What the published number is.", level="literature", need="required"),
    Term("value", "number", "The published number, in `value_unit`.", level="literature", need="required"),
    Term("value_sigma", "number", "Its published uncertainty.", level="literature"),
    Term("value_unit", "word", "Its unit.", level="literature", need="required"),
    Term("source", "text", "Where the record comes from (DOI, arXiv number, file).", level="literature", need="required"),
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
    """The term of that name or alias, however capitalized; spaces and hyphens count as underscores.

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
    """The emission line meant by "Kb", "Kbeta", "KB" or "Kβ".

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
    """The edge meant by "Ni K", "Ni-K", "NiK", "La L3" or, with `element` known, "K"; None otherwise.

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
    """Where spectra of a kind lie: ``xas/Ni-K``, ``xes/Ni-Kb``.

    >>> group_key("xes", "Ni K", "Kβ")
    'xes/Ni-Kb'
    """
    element, level = edge.split(" ")
    return f"{technique}/{element}-{ASCII_LINES.get(line, line) or level}"


DATA_NAME = {"xas": "mu", "xes": "intensity"}

# Recorded channels, by XDI's names where it has them; stored beside the curve, all (spectrum, point).
CHANNELS: Mapping[str, str] = {
    "i0": "incident intensity",
    "itrans": "transmitted intensity",
    "ifluor": "fluorescence intensity",
    "irefer": "intensity behind the reference foil",
    "iemission": "emission intensity",
    "murecorded": "absorption as recorded, not said in which way",
    "mutrans": "absorption in transmission, as recorded",
    "mufluor": "absorption in fluorescence, as recorded",
    "murefer": "absorption of the reference foil, as recorded",
    "normtrans": "normalized absorption in transmission, as recorded",
    "normfluor": "normalized absorption in fluorescence, as recorded",
    "mucalc": "calculated absorption",
    "mu0calc": "calculated absorption of the embedded atom",
    "sigma": "standard uncertainty of the curve, as recorded",
}

# What people call a curve that was formed before, in whatever way; the store's own mu is the curve that was chosen.
_NEUTRAL = ("mu", "xmu")


def find_channel(text: str) -> str | None:
    """The channel of that name, None when there is none.

    >>> find_channel("itrans"), find_channel("mu"), find_channel("mutrance")
    ('itrans', 'murecorded', None)
    """
    plain = text.strip()
    return plain if plain in CHANNELS else "murecorded" if plain.casefold() in _NEUTRAL else None
