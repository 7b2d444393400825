"""Write the pages generated from the code: fields, operators, and the schema of the run sheet.

``make docs`` runs it; tests fail if a page is not current.
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
    """Return the page of the vocabulary."""
    lines = [
        "# Fields",
        "",
        "Generated from `schemas/vocabulary.py` by `make docs`. Units of the same dimension are converted everywhere.",
        "",
    ]
    for level in ("sample", "run", "spectrum", "structure", "bond", "literature"):
        lines += [f"## {level}", "", "| field | unit | kind | stated | meaning |", "|---|---|---|---|---|"]
        for term in TERMS:
            if term.level == level:
                allowed = f" One of: {', '.join(term.allowed)}." if term.allowed else ""
                also = f" Also: {', '.join(term.aliases)}." if term.aliases else ""
                applies = "".join(f" Only if {key} is {' or '.join(values)}." for key, values in term.applies.items())
                private = " Excluded from bundles and exports." if term.private else ""
                meaning = f"{term.meaning}{allowed}{also}{applies}{private}"
                lines.append(f"| `{term.name}` | {term.unit} | {term.kind} | {term.need} | {meaning} |")
        lines.append("")
    lines += ["## Units", "", "| unit | dimension | also |", "|---|---|---|"]
    lines += [f"| {unit.symbol} | {unit.dimension} | {', '.join(filter(None, unit.aliases))} |" for unit in UNITS]
    lines += ["", "## Signals", "", "| signal | formula |", "|---|---|"]
    lines += [f"| {name} | {formula} |" for name, formula in SIGNALS.items()]
    return "\n".join(lines) + "\n"


UNCERTAINTIES = [
    "## Uncertainties",
    "",
    "Every `..._sigma` is one standard deviation; its attribute `uncertainty` describes it. For any chain you choose the method:",
    "",
    "| `--with uncertainty=` | sigma | includes the noise of the reference |",
    "|---|---|---|",
    "| `propagated` (default) | by formula, from the noise of each curve, propagated through the fits of the normalization | yes |",
    "| `bootstrap` | scatter over repetitions of the whole chain with simulated noise, references included (`replicas=64`) | yes |",
    "| `counting` | the same, with the counting noise of emission spectra recorded in counts | yes |",
    f"| `repeats` | {MEANING['repeats']} | no |",
    f"| `pooled_repeats` | {MEANING['pooled_repeats']} | no |",
    "",
    f"Sigmas from repeats: spectra of one run, sample and P-T path within {TOLERANCES['pressure']:g} GPa and "
    f"{TOLERANCES['temperature']:g} K that follow each other are repeats of a point, as for `barospec merge`; the "
    f"coordinate `repeats` counts them. {OF_ONE}. If repeats have been merged, write `scans` in the query.",
    "",
]


def operators() -> str:
    """Return the page of the operators."""
    lines = [
        "# Operators",
        "",
        "Generated from `archive/operators/registry.py` by `make docs`. `barospec operators NAME` prints the same.",
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
    """Draw a picture of every operator on example curves."""
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
