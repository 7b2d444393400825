"""The text form of a chain: ``normalize(pre1=-150) | edge_energy(fraction=0.5)``."""

from __future__ import annotations

import re
from typing import Any

from barospec.schemas.errors import QueryError

Step = tuple[str, dict[str, Any]]

_TOKEN = re.compile(
    r"""\s*(?: (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
        | (?P<word>[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)?)
        | (?P<text>"[^"]*"|'[^']*')
        | (?P<sign>[|(),=]) )""",
    re.VERBOSE,
)
_WORDS: dict[str, Any] = {"none": None, "true": True, "false": False, "yes": True, "no": False}


def parse_chain(text: str) -> list[Step]:
    """Read a chain as people write it.

    Parameters
    ----------
    text : str
        Operators separated by ``|``, parameters in parentheses; values are numbers, words or quoted text, and
        ``none``, ``true`` and ``false`` mean what they say.

    Returns
    -------
    list of (name, parameters)

    Raises
    ------
    QueryError
        With the place. Whether names exist is `prepare`'s business.

    Examples
    --------
    >>> parse_chain("normalize | edge_energy(fraction=0.5)")
    [('normalize', {}), ('edge_energy', {'fraction': 0.5})]
    """
    tokens = _tokens(text)
    steps: list[Step] = []
    position = 0
    while True:
        kind, name, start, end = tokens[position]
        if kind != "word" or "." in name:
            raise QueryError("the name of an operator is expected here.", text, start, end, _EXAMPLE)
        position += 1
        parameters: dict[str, Any] = {}
        if tokens[position][1] == "(" and tokens[position][0] == "sign":
            position = _parameters(text, tokens, position + 1, parameters)
        steps.append((name, parameters))
        kind, value, start, end = tokens[position]
        if kind == "end":
            return steps
        if value != "|":
            raise QueryError('"|" or the end of the chain is expected here.', text, start, end, _EXAMPLE)
        position += 1


_EXAMPLE = ("write for example: normalize(pre1=-150) | edge_energy(fraction=0.5)",)
_Token = tuple[str, str, int, int]


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise QueryError(f'"{text[start]}" has no meaning here.', text, start, start + 1, _EXAMPLE)
        tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup), match.end()))
        position = match.end()
    return [*tokens, ("end", "", len(text), len(text))]


def _parameters(text: str, tokens: list[_Token], position: int, into: dict[str, Any]) -> int:
    """Read ``name=value, ...)`` from `position` on; returns the position behind it."""
    while tokens[position][1] != ")" or tokens[position][0] != "sign":
        kind, name, start, end = tokens[position]
        if kind != "word":
            raise QueryError('the name of a parameter or ")" is expected here.', text, start, end, _EXAMPLE)
        if name in into:
            raise QueryError(f"{name} is given twice.", text, start, end)
        if tokens[position + 1][:2] != ("sign", "="):
            _, _, start, end = tokens[position + 1]
            raise QueryError(f'"=" and a value are expected after {name}.', text, start, end, _EXAMPLE)
        kind, value, start, end = tokens[position + 2]
        if kind in ("sign", "end"):
            raise QueryError(f"the value of {name} is expected here.", text, start, end, _EXAMPLE)
        into[name] = _value(kind, value)
        position += 3
        kind, value, start, end = tokens[position]
        if (kind, value) == ("sign", ","):
            position += 1
        elif (kind, value) != ("sign", ")"):
            raise QueryError('"," or ")" is expected here.', text, start, end, _EXAMPLE)
    return position + 1


def _value(kind: str, text: str) -> Any:
    if kind == "number":
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if kind == "text":
        return text[1:-1]
    return _WORDS.get(text.lower(), text)
