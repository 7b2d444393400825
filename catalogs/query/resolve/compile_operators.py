"""Compile the table of operators for queries: ``python -m barospec.catalogs.query.resolve.compile_operators``.

The registry imports numpy and scipy, which takes a third of a second. A test fails when the table is stale.
"""

from __future__ import annotations

from pathlib import Path

TABLE = Path(__file__).with_name("operator_table.py")


def table() -> str:
    """Return the text of ``operator_table.py``."""
    from barospec.archive.operators.registry import OPERATORS

    lines = [
        '"""Generated from the registry of operators by compile_operators.py. Do not edit."""',
        "",
        "# ruff: noqa",
        "# fmt: off",
        "# operator -> version: values that an older one gave are stale",
        "VERSIONS: dict[str, int] = {",
        *(f"    {name!r}: {operator.version}," for name, operator in OPERATORS.items()),
        "}",
        "# operator -> the technique that it is for, empty for any",
        "TECHNIQUES: dict[str, str] = {",
        *(f"    {name!r}: {operator.technique!r}," for name, operator in OPERATORS.items()),
        "}",
        "# operator -> what it returns for a spectrum",
        "OUTPUTS: dict[str, tuple[str, ...]] = {",
    ]
    for name, operator in OPERATORS.items():
        numbers = tuple(output for output, about in operator.outputs.items() if not about.per_point)
        lines.append(f"    {name!r}: {numbers!r},")
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    TABLE.write_text(table(), "utf-8")
