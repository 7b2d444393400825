"""What people say that the language does not take, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping

from barospec.catalogs.query.resolve.operator_table import OUTPUTS

_ORDER = 'For the {0} value write "sorted by pressure{1} limit 1".'
_DATE = 'Write a date (UTC): "since 2024-05-31", "in 2024-05".'
_RECORDED = '"without pressure" asks for what has no pressure recorded, "medium = none" for a cell without medium.'

# Word, casefolded -> a hint for the error that says that the word is unknown.
INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(("highest", "maximum", "max", "largest"), _ORDER.format("largest", " descending")),
    **dict.fromkeys(("lowest", "minimum", "min", "smallest"), _ORDER.format("smallest", "")),
    **dict.fromkeys(("today", "yesterday", "week", "month", "ago"), _DATE),
    **dict.fromkeys(("no", "none"), _RECORDED),
    **dict.fromkeys(("x-ray", "xray", "absorption"), 'Say "XAS" or "XES".'),
    "including": 'Write "including stale", "including uncalibrated" or "including bad".',
    "derived": 'Write "derived values of run-2" for a table of them; they are fields of spectra too: "edge_energy > 8346 eV".',
    "room": 'Write "at 300 K".',
    "low": 'Write a limit, such as "below 80 K".',
    "high": 'Write a limit, such as "above 14 GPa".',
    "only": "Leave it out: all conditions hold anyway.",
    "spectrum": 'One spectrum is found by "spectrum_id = 3334" (any unique beginning), or `barospec show 3334`.',
    "sigma": 'The uncertainty of a field has its name: "pressure_sigma < 0.5 GPa".',
    "average": "Averages are computed, see `barospec operators`; the query finds what they are computed from.",
}

# Names of the elements that spectra are commonly taken of; symbols are understood for all.
ELEMENT_NAMES: Mapping[str, str] = {
    "oxygen": "O", "silicon": "Si", "phosphorus": "P", "sulfur": "S", "sulphur": "S", "chlorine": "Cl", "calcium": "Ca",
    "titanium": "Ti", "vanadium": "V", "chromium": "Cr", "manganese": "Mn", "iron": "Fe", "cobalt": "Co", "nickel": "Ni",
    "copper": "Cu", "zinc": "Zn", "gallium": "Ga", "germanium": "Ge", "arsenic": "As", "selenium": "Se", "bromine": "Br",
    "strontium": "Sr", "yttrium": "Y", "zirconium": "Zr", "niobium": "Nb", "molybdenum": "Mo", "ruthenium": "Ru",
    "rhodium": "Rh", "palladium": "Pd", "silver": "Ag", "cadmium": "Cd", "indium": "In", "tin": "Sn", "antimony": "Sb",
    "tellurium": "Te", "iodine": "I", "barium": "Ba", "lanthanum": "La", "cerium": "Ce", "praseodymium": "Pr",
    "neodymium": "Nd", "samarium": "Sm", "europium": "Eu", "gadolinium": "Gd", "ytterbium": "Yb", "hafnium": "Hf",
    "tantalum": "Ta", "tungsten": "W", "rhenium": "Re", "osmium": "Os", "iridium": "Ir", "platinum": "Pt", "gold": "Au",
    "bismuth": "Bi", "thorium": "Th", "uranium": "U",
}  # fmt: skip

# What operators return, and models; an archive may hold such values, and where it does not, it is no misspelling.
COMPUTED = frozenset(
    {"local_moment", "effective_spin", "formal_spin", *OUTPUTS, *(name for names in OUTPUTS.values() for name in names)}
)


def with_symbol(said: str) -> str:
    """The phrase with an element's name at its beginning replaced by the symbol.

    >>> with_symbol("nickel K"), with_symbol("silicone oil")
    ('Ni K', 'silicone oil')
    """
    first, *rest = said.split(" ")
    return " ".join([ELEMENT_NAMES.get(first.casefold(), first), *rest])
