"""What to say about a text that the grammar does not take, or that can be read in two ways."""

from __future__ import annotations

from collections.abc import Sequence

from barospec.catalogs.query.parse.ast import Span
from barospec.catalogs.query.parse.lexer import NOUNS, Lexeme


class Fault(Exception):
    """A problem found by a rule, which does not know the whole text."""

    def __init__(self, problem: str, span: Span, *hints: str) -> None:
        self.problem, self.span, self.hints = problem, span, hints


def ambiguous_or(span: Span) -> Fault:
    """What to say when "or" stands beside conditions that nothing joins."""
    return Fault(
        'Without parentheses, "or" beside conditions that only stand side by side can be read in two ways.',
        span,
        '"(Ni K or La L3) above 10 GPa": both edges above 10 GPa;',
        '"Ni K or (La L3 above 10 GPa)": every Ni K, and La L3 above 10 GPa.',
    )


_SAYS = {
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


def unexpected(stream: Sequence[Lexeme], position: int, expected: dict[str, int], text: str) -> Fault:
    """What to say about a token that cannot stand where it stands."""
    token, before = stream[position], stream[position - 1] if position else Lexeme("", "", 0, 0)
    after = stream[position + 1] if position + 1 < len(stream) else token
    here, said = (token.start, token.end), text[before.start : before.end]
    choices = [phrase for kind, phrase in _SAYS.items() if kind in expected]
    hints = (f"Here may stand: {', '.join(choices)}.",) if choices else ()
    if token.kind == "COMMA" and before.kind == after.kind == "NUMBER" and after.end - before.start < 30:
        unit = stream[position + 2].value if stream[position + 2].kind == "UNIT" else ""
        right = f"{said}.{after.value} {unit}".rstrip()
        return Fault(
            f'"{said},{after.value}" is not a number: decimals take a point.',
            (before.start, after.end),
            f'Write "{right}"; for a list "in ({said}, {after.value})".',
        )
    if token.kind == "TO" and before.kind == after.kind == "NUMBER":
        said = text[before.start : after.end]
        hint = 'A range is written "between 10 and 20 GPa", a date 2024-05-31.'
        return Fault(f'"{said}" is no date, and no range can stand here.', (before.start, after.end), hint)
    if token.kind == "COMMA":
        hint = (
            f'Several values of one field: "run in ({said}, ...)", or "{said} or ...".' if before.kind == "WORD" else ""
        )
        problem = 'A comma only stands between the values of a list; join conditions with "and" or "or".'
        return Fault(problem, here, *filter(None, [hint]))
    opened = sum((t.kind == "LPAR") - (t.kind == "RPAR") for t in stream[:position])
    if token.kind == "RPAR" and opened <= 0:
        return Fault("There is no opening parenthesis to this one.", here)
    if token.kind == "$END" and "RPAR" in expected and opened > 0:
        return Fault("A parenthesis is not closed.", here, 'Add ")".')
    if token.kind in ("MISSING", "KNOWN", "CONTAINS", "PM", "UNIT", "TO", "ASC", "DESC", "BY"):
        return Fault(f'"{text[token.start : token.end]}" has nothing before it to refer to.', here, *hints)
    if token.kind == "$END":
        return Fault(f'The query ends too early, after "{said}".', here, *hints)
    place = f' after "{said}"' if said else ""
    return Fault(f'"{text[token.start : token.end]}" cannot stand here{place}.', here, *hints)
