"""``barospec operators``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barospec.archive.operators.operator import Operator, Output
from barospec.cli._options import JsonOption
from barospec.cli._output import table, text_of, write_object
from barospec.schemas.errors import CallError

NAME = "operators"


def command(
    name: Annotated[
        str | None, typer.Argument(help="Operator to describe. Default: list all.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Draw the operator on example curves: .png, .pdf or .svg.", show_default=False
        ),
    ] = None,
) -> None:
    """List the analysis operators, or describe one of them.

    With a name: definition, parameters, outputs and source; with --output also a picture.
    """
    from barospec.archive.operators.registry import OPERATORS, find_operator
    from barospec.cli import operators_models

    if picture is not None:
        _draw(name, picture)
        return

    if name and name not in OPERATORS and operators_models.has(name):
        if as_json:
            found = operators_models.record(name)
            write_object({"count": 1}, list(found), [list(found.values())])
        else:
            operators_models.describe(name)
        return
    chosen = [find_operator(name)] if name else list(OPERATORS.values())
    if as_json:
        columns = [
            "name",
            "version",
            "technique",
            "summary",
            "inputs",
            "outputs",
            "parameters",
            "reference",
            "definition",
            "source",
        ]
        rows = [
            [
                op.name,
                op.version,
                op.technique,
                op.summary,
                list(op.inputs),
                {
                    key: {
                        "unit": out.unit,
                        "meaning": out.meaning,
                        "per_point": out.per_point,
                        "uncertainty": op.kind_of_sigma(key),
                    }
                    for key, out in op.outputs.items()
                },
                {key: {"default": op.defaults[key], "meaning": meaning} for key, meaning in op.parameters.items()},
                op.references and {"parameter": op.references.name, "meaning": op.references.meaning},
                op.definition,
                op.source,
            ]
            for op in chosen
        ]
        if not name:
            rows += [[*row, *[None] * (len(columns) - 4)] for row in operators_models.rows()]
        write_object({"count": len(rows)}, columns, rows)
        return
    if not name:
        table(
            ["operator", "version", "for", "gives"],
            [
                *([op.name, op.version, op.technique or "both", op.summary] for op in chosen),
                *operators_models.rows(),
            ],
        )
        return
    operator = chosen[0]
    print(f"{operator.name}, version {operator.version}: {operator.summary}\n")
    print(f"needs    {', '.join(operator.inputs)}")
    if operator.references is not None:
        wish = "" if operator.references.fewest else " (optional)"
        print(f"{operator.references.name:<10} {operator.references.meaning}{wish}")
    print(f"source   {operator.source}\n")
    if operator.definition:
        print(operator.definition + "\n")
    table(
        ["output", "unit", "per", "meaning"],
        [[key, o.unit, _per(o), o.meaning] for key, o in operator.outputs.items()],
    )
    kinds = {
        operator.kind_of_sigma(key): key for key in reversed(list(operator.outputs)) if operator.kind_of_sigma(key)
    }
    for kind, key in reversed(list(kinds.items())):
        print(f"\n{'..._sigma_norm' if key.endswith('_norm') else '..._sigma'}: {kind}", end="")
    if kinds:
        print(
            "\nother kinds: --with uncertainty=bootstrap or counting, by repeating the whole chain, or\nrepeats or pooled_repeats, from the scatter of repeated spectra (docs/operators.md)"
        )
    print()
    table(
        ["parameter", "default", "meaning"],
        [[key, text_of(operator.defaults[key]), text] for key, text in operator.parameters.items()],
    )
    if operator.example or operator.references is not None:
        print(f"\nexample: {_example(operator)}")
    print(f"\npicture: barospec operators {operator.name} -o {operator.name}.png", end="")
    print("\nquality: " + "; ".join(f"{code} {text}" for code, text in enumerate(operator.reasons)))


def _draw(name: str | None, picture: Path) -> None:
    from barospec.catalogs.plots import operators, spectra

    if not name:
        raise CallError("name the operator to draw: barospec operators edge_energy -o edge_energy.png.")
    spectra.save(operators.draw(name), picture)
    print(f"{name} drawn in {picture}, on example curves")


def _per(output: Output) -> str:
    return "point" if output.per_point else "reference" if output.per_reference else "spectrum"


def _example(operator: Operator) -> str:
    """Return an example command with the parameters that have no default."""
    words = [f"--with {name}={value:g}" for name, value in operator.example.items()]
    if operator.references is not None:
        named = '"..."' if not operator.references.several else '"2: ...; 3: ..."'
        words.append(f"--with {operator.references.name}={named}")
    return " ".join(["barospec apply", operator.name, '"..."', *words])
