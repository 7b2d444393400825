"""Errors for query texts that the grammar rejects, or that are ambiguous."""

from __future__ import annotations

from collections.abc import Sequence

from barospec.catalogs.query.parse.ast import Span
from barospec.catalogs.query.parse.lexer import NOUNS, Token


class Fault(Exception):
    """A problem found by a grammar rule, which does not know the whole text."""

    def __init__(self, problem: str, span: Span, *hints: str) -> None:
        self.problem, self.span, self.hints = problem, span, hints


def ambiguous_or(span: Span) -> Fault:
    """Return the fault for an "or" next to conditions without a connective."""
    return Fault(
        'Without parentheses, "or" next to conditions without a connective is ambiguous.',
        span,
        '"(Ni K or La L3) above 10 GPa": both edges above 10 GPa;',
        '"Ni K or (La L3 above 10 GPa)": every Ni K, and La L3 above 10 GPa.',
    )


_NAMES = {
    "NUMBER": "a number",
    "WORD": "a word",
    "OP": 'a comparison ("above", ">", ...)',
    "UNIT": "a unit",
    "AND": '"and"',
    "OR": '"or"',
    "RPAR": '")"',
    "LPAR": '"("',
    "COMMA": '","',
    "DATE": "a date (2024-05-31)",
    "TO": '"to"',
    "NOUN": "a noun (" + ", ".join(NOUNS) + ")",
}


def unexpected(stream: Sequence[Token], position: int, expected: dict[str, int], text: str) -> Fault:
    """Return the fault for a token that the grammar does not allow here."""
    token, before = stream[position], stream[position - 1] if position else Token("", "", 0, 0)
    after = stream[position + 1] if position + 1 < len(stream) else token
    here, shown = (token.start, token.end), text[before.start : before.end]
    choices = [phrase for kind, phrase in _NAMES.items() if kind in expected]
    hints = (f"Expected: {', '.join(choices)}.",) if choices else ()
    if token.kind == "COMMA" and before.kind == after.kind == "NUMBER" and after.end - before.start < 30:
        unit = stream[position + 2].value if stream[position + 2].kind == "UNIT" else ""
        right = f"{shown}.{after.value} {unit}".rstrip()
        return Fault(
            f'"{shown},{after.value}" is not a number: use a decimal point.',
            (before.start, after.end),
            f'Write "{right}"; for a list "in ({shown}, {after.value})".',
        )
    if token.kind == "TO" and before.kind == after.kind == "NUMBER":
        shown = text[before.start : after.end]
        hint = 'Write a range as "between 10 and 20 GPa", a date as 2024-05-31.'
        return Fault(f'"{shown}" is not a date, and a range is not allowed here.', (before.start, after.end), hint)
    if token.kind == "COMMA":
        hint = (
            f'Several values of one field: "run in ({shown}, ...)", or "{shown} or ...".'
            if before.kind == "WORD"
            else ""
        )
        problem = 'Commas separate the values of a list; join conditions with "and" or "or".'
        return Fault(problem, here, *filter(None, [hint]))
    opened = sum((t.kind == "LPAR") - (t.kind == "RPAR") for t in stream[:position])
    if token.kind == "RPAR" and opened <= 0:
        return Fault("The opening parenthesis is missing.", here)
    if token.kind == "$END" and "RPAR" in expected and opened > 0:
        return Fault("A parenthesis is not closed.", here, 'Add ")".')
    if token.kind in ("MISSING", "KNOWN", "CONTAINS", "PM", "UNIT", "TO", "ASC", "DESC", "BY"):
        return Fault(f'"{text[token.start : token.end]}" needs something before it.', here, *hints)
    if token.kind == "$END":
        return Fault(f'The query ends too early, after "{shown}".', here, *hints)
    place = f' after "{shown}"' if shown else ""
    return Fault(f'"{text[token.start : token.end]}" is not allowed here{place}.', here, *hints)
