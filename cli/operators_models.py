"""Operators over models: list and describe them for ``barospec operators``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from barospec.cli._output import table, text_of

if TYPE_CHECKING:
    from barospec.archive.spins.outputs import Outputs
    from barospec.archive.spins.registry import ModelOperator

# They need more than a model's parameters, so the registry has no row for them.
BESIDE = {
    "paper_against_exact": "Compare published numbers with exact ones and give the reason for each difference; nothing is fitted.",
    "sensitivity": "Compute any of the above over a box of parameters: the share in which statements hold, and the spread of the outputs.",
}
HOW = {
    "paper_against_exact": 'barospec apply paper_against_exact "models of La4Ni3O10"',
    "sensitivity": 'barospec apply sensitivity "models of La4Ni3O10" --with of=hopping_to_spins --with box.U_d=4:8 '
    '--with holds="abs(J_lt) > abs(J_mt); J_ZZ > 300 meV" --with points=256 -o shares.png',
}


def rows() -> list[list[Any]]:
    """Return name, version, energy scale and summary of each operator."""
    from barospec.archive.spins.registry import MODEL_OPERATORS

    listed: list[list[Any]] = [
        [op.name, op.version, f"models, {op.scale}", op.summary] for op in MODEL_OPERATORS.values()
    ]
    return [*listed, *([name, 1, "models", summary] for name, summary in BESIDE.items())]


def has(name: str) -> bool:
    """Return True if an operator of that name works on models."""
    from barospec.archive.spins.registry import MODEL_OPERATORS

    return name in MODEL_OPERATORS or name in BESIDE


def record(name: str) -> dict[str, Any]:
    """Return the description of one operator as plain values."""
    from barospec.archive.spins.registry import find_model_operator

    if name in BESIDE:
        return {"name": name, "version": 1, "technique": "models", "summary": BESIDE[name], "example": HOW[name]}
    operator = find_model_operator(name)
    return {
        "name": name,
        "version": operator.version,
        "technique": f"models at the {operator.scale} scale",
        "summary": operator.summary,
        "inputs": list(inputs(operator)),
        "stacks": list(operator.stacks),
        "outputs": {
            key: {"unit": out.unit, "meaning": out.meaning, "per": list(out.dims[1:])}
            for key, out in outputs(operator).items()
        },
        "parameters": {key: {"default": default, "meaning": text} for key, (default, text) in operator.options.items()},
        "source": operator.source,
    }


def inputs(operator: ModelOperator) -> tuple[str, ...]:
    """Return the model parameters that the operator takes, for the stack with the most parameters."""
    from barospec.archive.compute.models import parameter_names

    return max((parameter_names(operator, stack) for stack in operator.stacks), key=len)


def outputs(operator: ModelOperator) -> Outputs:
    """Return the outputs of the operator, found by calling it once."""
    from barospec.archive.compute.models import parameter_names

    stated = {"convention": "kanamori", "e_ct_reference": "high-spin d8"}
    options = {key: stated.get(key) if default is None else default for key, (default, _) in operator.options.items()}
    stack = "trilayer" if "trilayer" in operator.stacks else operator.stacks[0]
    return operator.func(stack, dict.fromkeys(parameter_names(operator, stack), 1.0), 1.0, **options)


def describe(name: str) -> None:
    """Print the description of one operator."""
    found = record(name)
    print(f"{name}, version {found['version']}: {found['summary']}\n")
    if name in BESIDE:
        print(f"example: {found['example']}")
        return
    print(f"takes    {found['technique']}: {', '.join(found['inputs'])} (eV)")
    print(f"stacks   {', '.join(found['stacks'])}")
    print(f"source   {found['source']}\n")
    if name in ("electron_cluster", "hopping_to_spins"):
        print(_LIMIT + "\n")
    table(
        ["output", "unit", "per", "meaning"],
        [[key, o["unit"], ", ".join(o["per"]) or "model", o["meaning"]] for key, o in found["outputs"].items()],
    )
    if found["parameters"]:
        print()
        shown = [[key, text_of(o["default"]), o["meaning"]] for key, o in found["parameters"].items()]
        table(["option", "default", "meaning"], shown)
    print(f'\nexample: barospec apply {name} "models of La4Ni3O10"' + _example(found))


# Counted with the code of the cluster, for four layers.
_LIMIT = (
    "Clusters have two or three layers. All states of a sector enter the transformation: 10 to 150 for three layers, but 35 to 1,988 for four, "
    "whose eight spins have 1,430 invariants instead of 132. Spin models (spin_spectrum and others) are not so limited: see `multilayer`."
)


def _example(found: dict[str, Any]) -> str:
    given = {"convention": "kanamori", "e_ct_reference": '"high-spin d8"'}
    words = [f" --with {key}={given[key]}" for key in found["parameters"] if key in given]
    if "E_CT" in found["inputs"]:
        words.append(' --with sweep.E_CT="2.5;3;3.5"')
    return "".join(words)
