"""Write the pages that follow from the code: fields, operators, and the run sheet's schema.

``make docs`` runs it; tests fail when a page is not current.
"""

from __future__ import annotations

import json
from pathlib import Path

from barospec.archive.compute.replicates import MEANING, OF_ONE, TOLERANCES
from barospec.archive.operators.registry import OPERATORS
from barospec.schemas.sheet import SIGNALS, json_schema
from barospec.schemas.units import UNITS
from barospec.schemas.vocabulary import TERMS

HERE = Path(__file__).parent


def fields() -> str:
    """The vocabulary as a page."""
    lines = [
        "# Fields",
        "",
        "Made from `schemas/vocabulary.py` by `make docs`. Units of the same dimension convert everywhere.",
        "",
    ]
    for level in ("sample", "run", "spectrum", "structure", "bond", "literature"):
        lines += [f"## {level}", "", "| field | unit | kind | stated | meaning |", "|---|---|---|---|---|"]
        for term in TERMS:
            if term.level == level:
                allowed = f" One of: {', '.join(term.allowed)}." if term.allowed else ""
                also = f" Also: {', '.join(term.aliases)}." if term.aliases else ""
                applies = "".join(
                    f" Only where {key} is {' or '.join(values)}." for key, values in term.applies.items()
                )
                private = " Left out of what is shared." if term.private else ""
                meaning = f"{term.meaning}{allowed}{also}{applies}{private}"
                lines.append(f"| `{term.name}` | {term.unit} | {term.kind} | {term.need} | {meaning} |")
        lines.append("")
    lines += ["## Units", "", "| unit | dimension | also |", "|---|---|---|"]
    lines += [f"| {unit.symbol} | {unit.dimension} | {', '.join(filter(None, unit.aliases))} |" for unit in UNITS]
    lines += ["", "## Signals", "", "| signal | formed as |", "|---|---|"]
    lines += [f"| {name} | {formula} |" for name, formula in SIGNALS.items()]
    return "\n".join(lines) + "\n"


UNCERTAINTIES = [
    "## Uncertainties",
    "",
    "Every `..._sigma` is one standard deviation, and its attribute `uncertainty` says of what. With any chain one chooses how it is found:",
    "",
    "| `--with uncertainty=` | sigma | with the reference's noise |",
    "|---|---|---|",
    "| `propagated` (default) | by formula, from noise found in each curve, through the fits of the normalization | yes |",
    "| `bootstrap` | scatter over repetitions of the whole chain with such noise, references included (`replicas=64`) | yes |",
    "| `counting` | the same with the counting noise of emission recorded in counts | yes |",
    f"| `repeats` | {MEANING['repeats']} | no |",
    f"| `pooled_repeats` | {MEANING['pooled_repeats']} | no |",
    "",
    f"Sigmas from repeats: spectra of one run, sample and route within {TOLERANCES['pressure']:g} GPa and "
    f"{TOLERANCES['temperature']:g} K that are walked one after the other are repeats of a point, as for `barospec merge`; the "
    f"coordinate `repeats` counts them. {OF_ONE}. Ask for `scans` where repeats have been merged.",
    "",
]


def operators() -> str:
    """The operators as a page."""
    lines = [
        "# Operators",
        "",
        "Made from `archive/operators/registry.py` by `make docs`. `barospec operators NAME` prints the same.",
        "",
        *UNCERTAINTIES,
    ]
    for operator in OPERATORS.values():
        lines += [
            f"## {operator.name}",
            "",
            f"{operator.summary} Version {operator.version}. Source: {operator.source}.",
            "",
        ]
        lines += [f"Needs: {', '.join(f'`{name}`' for name in operator.inputs)}.", ""]
        if operator.references is not None:
            wish = "" if operator.references.fewest else " (optional)"
            lines += [f"`{operator.references.name}`{wish}: {operator.references.meaning}.", ""]
        lines += [f"![{operator.name}](operators/{operator.name}.png)", ""]
        if operator.definition:
            lines += [operator.definition.replace("::\n", ":\n").replace("``", "`"), ""]
        lines += ["| output | unit | per | meaning |", "|---|---|---|---|"]
        for name, output in operator.outputs.items():
            lines.append(
                f"| `{name}` | {output.unit} | {'point' if output.per_point else 'reference' if output.per_reference else 'spectrum'} | {output.meaning} |"
            )
        lines += ["", "| parameter | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {operator.defaults[name]} | {meaning} |" for name, meaning in operator.parameters.items()
        ]
        lines += [
            "",
            "Quality codes: " + "; ".join(f"{code} {reason}" for code, reason in enumerate(operator.reasons)) + ".",
            "",
        ]
    return "\n".join(lines)


def pictures(folder: Path) -> None:
    """A picture of every operator, on made-up curves."""
    from barospec.catalogs.plots.operators import draw

    folder.mkdir(exist_ok=True)
    for name in OPERATORS:
        draw(name).savefig(folder / f"{name}.png", dpi=80, metadata={"Software": None})


PAGES = {
    "fields.md": fields,
    "operators.md": operators,
    "run-sheet.schema.json": lambda: json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n",
}


if __name__ == "__main__":
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")
        print(f"docs/{name}")
    pictures(HERE / "operators")
