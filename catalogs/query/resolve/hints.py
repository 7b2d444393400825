"""Hints for words that the query language does not accept."""

from __future__ import annotations

from collections.abc import Mapping

from barospec.catalogs.query.resolve.operator_table import OUTPUTS

_ORDER = 'For the {0} value write "sorted by pressure{1} limit 1".'
_DATE = 'Write a date (UTC): "since 2024-05-31", "in 2024-05".'
_RECORDED = '"without pressure" matches rows with no pressure recorded, "medium = none" a cell without medium.'

# Casefolded word -> hint for the error on an unknown word.
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
    "only": "Omit it: all conditions apply anyway.",
    "spectrum": 'One spectrum is found by "spectrum_id = 3334" (any unique beginning), or `barospec show 3334`.',
    "sigma": 'The uncertainty of a field has its name: "pressure_sigma < 0.5 GPa".',
    "average": "Averages are computed, see `barospec operators`; the query finds what they are computed from.",
}

# Names of common elements; symbols are accepted for all.
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

# Outputs of operators, and models: real words even if the archive has no such values.
COMPUTED = frozenset(
    {"local_moment", "effective_spin", "formal_spin", *OUTPUTS, *(name for names in OUTPUTS.values() for name in names)}
)


def with_symbol(phrase: str) -> str:
    """Return the phrase with an element's name at its beginning replaced by the symbol.

    >>> with_symbol("nickel K"), with_symbol("silicone oil")
    ('Ni K', 'silicone oil')
    """
    first, *rest = phrase.split(" ")
    return " ".join([ELEMENT_NAMES.get(first.casefold(), first), *rest])
