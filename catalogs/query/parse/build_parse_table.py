"""Compile ``grammar.lark`` into ``parse_table.py``: ``python -m barospec.catalogs.query.parse.build_parse_table``.

Lark is needed here and in the tests only. Measured on 2 cores with Python 3.11: importing lark takes
14-32 ms and building the parser 50 ms (3.5 ms from lark's own pickle), a third of a cold query in all;
importing the tables takes under 1 ms. They do not depend on lark's internals at run time and write nothing
into a user's cache.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

GRAMMAR = Path(__file__).with_name("grammar.lark")
TABLES = Path(__file__).with_name("parse_table.py")


def digest() -> str:
    """Return the sha256 of the grammar; a test compares it to detect stale tables."""
    return hashlib.sha256(GRAMMAR.read_bytes()).hexdigest()


def lark_parser(**options: Any) -> Any:
    """Return lark's own parser of the grammar (LALR, with our tokens). The tests compare the tables with it."""
    from lark import Lark, Token
    from lark.lexer import Lexer

    from barospec.catalogs.query.parse.lexer import tokens

    class OurTokens(Lexer):
        def __init__(self, _configuration: Any) -> None: ...

        def lex(self, text: str) -> Any:  # type: ignore[override]
            return (Token(t.kind, t.value, start_pos=t.start, end_pos=t.end) for t in tokens(text))

    return Lark(GRAMMAR.read_text("utf-8"), parser="lalr", lexer=OurTokens, maybe_placeholders=False, **options)


def tables() -> str:
    """Return the text of ``parse_table.py``."""
    parse_table = lark_parser().parser.parser._parse_table
    rules = sorted({_rule(t) for row in parse_table.states.values() for a, t in row.values() if a.name == "Reduce"})
    lines = []
    for state, row in sorted(parse_table.states.items()):
        actions = []
        for name, (action, target) in sorted(row.items()):
            if action.name == "Reduce":
                # Reductions are negative, so that one integer encodes both.
                target = -1 - rules.index(_rule(target))
            actions.append(f"{str(name)!r}: {target}")
        lines.append(f"    {state}: {{{', '.join(actions)}}},")
    return "\n".join(
        [
            '"""Generated from grammar.lark by build_parse_table.py. Do not edit."""',
            "",
            "# ruff: noqa",
            "# fmt: off",
            f"GRAMMAR_SHA256 = {digest()!r}",
            f"START = {parse_table.start_states['start']}",
            f"END = {parse_table.end_states['start']}",
            "# (symbol, number of parts, handler): an empty handler passes on, an underscore collects",
            "RULES: list[tuple[str, int, str]] = [",
            *(f"    {rule}," for rule in rules),
            "]",
            "# state -> symbol -> next state, or -1 - rule to reduce by",
            "STATES: dict[int, dict[str, int]] = {",
            *lines,
            "}",
            "",
        ]
    )


def _rule(rule: Any) -> tuple[str, int, str]:
    name, size = str(rule.origin.name), len(rule.expansion)
    if rule.alias:
        return name, size, str(rule.alias)
    if name.startswith("_"):
        return name, size, "_"
    return name, size, "" if rule.options.expand1 and size == 1 else name


if __name__ == "__main__":
    TABLES.write_text(tables(), "utf-8")
