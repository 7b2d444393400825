"""Perl literals as Data::Dumper writes them: strings, numbers, lists and hashes. Nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from barospec.schemas.errors import InvalidData

_TOKEN = re.compile(
    r"""\s*(?:
        '(?P<single>(?:[^'\\]|\\.)*)'
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>undef|bless)\b
      | (?P<mark>=>|[()\[\]{},])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# Project files nest four deep; a damaged one may claim more than Python's stack holds.
_DEEPEST = 40

Token = tuple[str, str]


def parse(text: str) -> Any:
    r"""Parse a Perl literal.

    Parameters
    ----------
    text : str
        A string, a number, ``undef``, ``(...)``, ``[...]``, ``{... => ...}`` or ``bless( value, 'Class' )``.

    Returns
    -------
    str, int, float, None, list or dict
        A number that is quoted stays a string; the class of a blessed value is dropped.

    Raises
    ------
    InvalidData
        Where the text is anything else.

    Notes
    -----
    Syntax after perldoc perldata and Data::Dumper (Indent = 1, as Athena writes its projects).

    Examples
    --------
    >>> parse("('x', 1, [2.5, undef], {'a' => 'it\\'s'})")
    ['x', 1, [2.5, None], {'a': "it's"}]
    """
    tokens = list(_tokens(text))
    value, end = _value(tokens, 0, 0)
    if end != len(tokens):
        raise InvalidData(f'unexpected "{tokens[end][1][:20]}" after the value')
    return value


def _tokens(text: str) -> Iterator[Token]:
    place = 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise InvalidData(f'"{text[place : place + 20].strip()}" is no Perl literal (character {place + 1})')
        yield match.lastgroup, match[match.lastgroup]
        place = match.end()


def _value(tokens: list[Token], at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at a token, and the index after it."""
    if at >= len(tokens) or depth > _DEEPEST:
        raise InvalidData("ends within a value" if at >= len(tokens) else "nested too deeply")
    kind, text = tokens[at]
    if kind == "single":
        return re.sub(r"\\(['\\])", r"\1", text), at + 1
    if kind == "double":
        return re.sub(r"\\(?:x\{([0-9a-fA-F]{1,6})\}|(.))", _unescaped, text, flags=re.DOTALL), at + 1
    if kind == "number":
        return (int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)), at + 1
    if text == "undef":
        return None, at + 1
    if text == "bless":
        items, end = _items(tokens, at + 1, depth + 1)
        if len(items) != 2:
            raise InvalidData("bless wants a value and a class")
        return items[0], end
    if text not in _CLOSING:
        raise InvalidData(f'unexpected "{text}"')
    items, end = _items(tokens, at, depth + 1)
    if text == "{":
        if len(items) % 2:
            raise InvalidData("a hash wants pairs")
        return {str(key): value for key, value in zip(items[::2], items[1::2], strict=True)}, end
    return items, end


def _items(tokens: list[Token], at: int, depth: int) -> tuple[list[Any], int]:
    """Return what is between brackets, and the index after the closing one."""
    closing = _CLOSING.get(tokens[at][1]) if at < len(tokens) else None
    if closing is None:
        raise InvalidData("a bracket was expected")
    at += 1
    items: list[Any] = []
    while at < len(tokens) and tokens[at] != ("mark", closing):
        value, at = _value(tokens, at, depth)
        items.append(value)
        if at < len(tokens) and tokens[at] in (("mark", ","), ("mark", "=>")):
            at += 1
        elif at < len(tokens) and tokens[at] != ("mark", closing):
            raise InvalidData(f'a comma was expected before "{tokens[at][1][:20]}"')
    if at >= len(tokens):
        raise InvalidData(f'"{closing}" is missing')
    return items, at + 1


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        code = int(match[1], 16)
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    return _ESCAPES.get(match[2], match[2])
