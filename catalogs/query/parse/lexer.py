"""Lexer of query texts: numbers with units, dates, quoted strings, and phrases for operators.

English phrases are resolved here, so that the grammar stays small: "at least", "no less than" and ">=" are one
token, and joining words ("with", "of", "where") are dropped. Anything but a fixed phrase is a
WORD, whose meaning (an edge, a run, a field) `resolve` finds in the archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from barospec.schemas.errors import QueryError
from barospec.schemas.units import find_unit

LONGEST_TEXT = 10_000
MOST_TOKENS = 2_000
DEEPEST = 40

NOUNS = {
    "runs": "runs",
    "spectra": "spectra",
    "scans": "scans",
    "samples": "samples",
    "derived values": "derived values",
    "structures": "structures",
    "bonds": "bonds",
    "literature": "literature",
    "models": "models",
}

# Phrase -> (token type, value, what must follow: "" anything, "number", "(", or "op").
# An entry with type "" is dropped. The longest match wins.
_Phrase = tuple[str, str, str]
_PHRASES: dict[tuple[str, ...], _Phrase] = {}


def _say(kind: str, value: str, *phrases: str, before: str = "") -> None:
    for phrase in phrases:
        _PHRASES[tuple(phrase.split())] = (kind, value, before)


def _drop(words: str) -> None:
    _say("", "", *words.split())


_drop("all every each any the which that with where whose having have has of for")
# "runs that have spectra above 14 GPa" are runs.
_say("", "", "have spectra", "has spectra", "having spectra", "with spectra", "whose spectra")
_drop("show find list give me please taken recorded on during everything anything")
_say("AND", "and", "and", "but")
_say("OR", "or", "or")
_say("NOT", "not", "not", "except", "except for", "excluding", "other than")
_say("OP", ">", "above", "over", "greater than", "more than", "higher than", "larger than", "longer than")
_say("OP", ">", "exceeding", "after", "later than")
_say("OP", "<", "below", "under", "less than", "lower than", "smaller than", "shorter than")
_say("OP", "<", "before", "earlier than")
_say("OP", ">=", "at least", "no less than", "since")
_say("OP", "<=", "at most", "no more than", "up to", "until")
_say("OP", "=", "equals", "equal to", "is equal to", "is", "are", "was", "were")
_say("OP", "!=", "is not", "are not", "was not", "were not")
_say("BETWEEN", "between", "between")
_say("FROM", "from", "from", before="number")
_say("TO", "to", "to", before="number")
_say("AT", "at", "at", "near", "around", "about", before="number")
_say("IN", "in", "in", "is in", "are in", before="(")
_say("NOTIN", "not in", "not in", "is not in", "are not in", before="(")
_say("CONTAINS", "contains", "contains", "contain", "containing")
for _verb in ("is", "are", "was", "were"):
    _say(
        "MISSING",
        "missing",
        "missing",
        f"{_verb} missing",
        f"{_verb} unknown",
        f"{_verb} not known",
        f"{_verb} null",
    )
    _say(
        "KNOWN",
        "known",
        "known",
        f"{_verb} known",
        f"{_verb} not missing",
        f"{_verb} not unknown",
        f"{_verb} not null",
    )
_say("WITHOUT", "without", "without", "lacking")
_say("SORT", "sort", "sorted by", "sort by", "ordered by", "order by")
_say("DESC", "desc", "descending", "desc")
_say("ASC", "asc", "ascending", "asc")
_say("LIMIT", "limit", "limit", "first", "top", before="number")
_say("LATEST", "latest", "latest", "newest", "last", before="number")
_say("EARLIEST", "earliest", "earliest", "oldest", before="number")
_say("COUNTBY", "count by", "count by", "counted by", "grouped by", "count per")
_say("COUNT", "count", "count", "how many")
_say("BY", "by", "by", "per")
_say("CHANGES", "changes", "changes by", "change by", "changed by", "varies by", "vary by")
for _verb in ("including", "include"):
    for _what in ("stale", "uncalibrated", "bad"):
        _say("INCLUDE", _what, f"{_verb} {_what}", f"{_verb} {_what} values", f"{_verb} {_what} spectra")
    _say("INCLUDE", "bad", f"{_verb} flagged", f"{_verb} flagged spectra")
    _say("INCLUDE", "stale uncalibrated", f"{_verb} stale and uncalibrated", f"{_verb} uncalibrated and stale")
_say("NOUN", "literature", "literature values")
_say("NOUN", "derived values", "stored values", "stored derived values")
for _plural, _noun in NOUNS.items():
    _say("NOUN", _noun, _plural)

# Operators before a number or a list, otherwise joining words ("XES of NiO at BM23", "spectra in run-2").
_JOINING = frozenset(("in", "from", "at", "to"))
_BEFORE_YEAR = frozenset(("since", "until", "before", "after", "in", "during"))
_COMPARING = frozenset(("OP", "BETWEEN", "FROM", "AT"))
_LONGEST_PHRASE = max(len(phrase) for phrase in _PHRASES)
_FIRST_WORDS = _JOINING.union(phrase[0] for phrase in _PHRASES)
# A word value that is also one of these needs quotes.
RESERVED = frozenset(word for phrase in _PHRASES for word in phrase) - {"stale", "uncalibrated", "bad", "flagged"}

_SPACE = re.compile(r"\s+")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|“([^”]*)”', re.DOTALL)
_DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])(?:-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?Z?)?)?(?![\w.:-])", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# May touch a number: a unit ("14GPa"); anything else makes the whole a word ("3f2a", "1T-TaS2").
_TOUCHING = re.compile(r"[^\s()\[\]{}<>=!≤≥≠±,;\"'“”@+–—-]+")
_PLUS_MINUS = re.compile(r"±|\+/-|\+-")
_OPERATOR = re.compile(r">=|=>|<=|=<|!=|<>|==|=|>|<|≥|≤|≠")
_OPERATORS = {"=>": ">=", "=<": "<=", "<>": "!=", "==": "=", "≥": ">=", "≤": "<=", "≠": "!="}
_RANGE_DASH = re.compile(r"\s*[-–—]\s*(?=[\d.])")
_PUNCTUATION = {"(": "LPAR", ")": "RPAR", ",": "COMMA"}
# "edge_energy[fraction=0.5]": one of several sets of derived values.
ADDRESSED = re.compile(r"[A-Za-z_]\w*\[[^\[\]]*\]")
_SIGMAS = re.compile(r"(?:at|by|with)\s+(\d+(?:\.\d+)?)\s*(?:sigmas?|σ)(?!\w)", re.IGNORECASE)
_SAVED = re.compile(r"@([\w-]+)")
# "Si(111)" and "Kβ1,3" are single words.
_WORD = re.compile(
    r"[Kk](?:β|b|beta)1,3\b|[^\s()\[\]{}<>=!≤≥≠±,;\"'“”@]+(?:\([\w.+/-]*\)[^\s()\[\]{}<>=!≤≥≠±,;\"'“”@]*)*"
)
_LEVEL_EDGE = re.compile(r"([A-Z][a-z]?[- ]?(?:K|[LM][1-5])|[Kk]|[LlMm][1-5])-edges?", re.IGNORECASE)
_LEVEL_AT_END = re.compile(r"(?:^|[A-Za-z]|-)(?:K|[LM][1-5])$")
SIMPLE_WORD = re.compile(r"[^\W\d_][\w./-]*(?<![.])")
FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


class Token(NamedTuple):
    """A token: its type in the grammar, its meaning, and its position in the text."""

    kind: str
    value: str
    start: int
    end: int


def unquote(body: str) -> str:
    r"""Return the content of a quoted string: a backslash takes the next character literally.

    >>> unquote(r'5\" disk')
    '5" disk'
    """
    return re.sub(r"\\(.)", r"\1", body, flags=re.DOTALL)


def tokens(text: str) -> list[Token]:
    """Split a query into tokens.

    Raises
    ------
    QueryError
        For a character or quote that is not allowed, or a text that is too long or too deeply nested.

    Examples
    --------
    >>> [token.kind for token in tokens("all runs above 14 GPa")]
    ['NOUN', 'OP', 'NUMBER', 'UNIT']
    """
    if len(text) > LONGEST_TEXT:
        raise QueryError(
            f"The query has {len(text)} characters; the maximum is {LONGEST_TEXT}.",
            hints=("Give long lists from Python: archive.query(spectrum_id=[...]).",),
        )
    bad = FORBIDDEN.search(text)
    if bad:
        shown = FORBIDDEN.sub("\ufffd", text)
        raise QueryError(f"The character U+{ord(bad[0]):04X} cannot be part of a query.", shown, bad.start(), bad.end())
    raw = list(_raw(text))
    if len(raw) > MOST_TOKENS:
        place = raw[MOST_TOKENS]
        raise QueryError(f"The query has more than {MOST_TOKENS} words.", text, place.start, place.end)
    return _check_depth(_phrases(raw, text), text)


def _raw(text: str) -> Iterator[Token]:
    """Yield numbers, units, dates, strings, signs, and unclassified WORDs."""
    position, previous = 0, Token("", "", 0, 0)
    while position < len(text):
        space = _SPACE.match(text, position)
        if space:
            position = space.end()
            continue
        for token in _next(text, position, previous):
            yield token
            previous = token
        position = previous.end


def _next(text: str, position: int, previous: Token) -> list[Token]:
    """Return the token at `position`; a number and its unit are two."""
    if text[position].isalpha() or text[position] == "_":
        return [_wordlike(text, position, previous)]
    if match := _STRING.match(text, position):
        body = next(group for group in match.groups() if group is not None)
        return [Token("STRING", body if match[3] is not None else unquote(body), position, match.end())]
    if text[position] in _PUNCTUATION:
        return [Token(_PUNCTUATION[text[position]], text[position], position, position + 1)]
    if match := _DATE.match(text, position):
        return [Token("DATE", match[0], position, match.end())]
    if (
        previous.kind in ("NUMBER", "UNIT")
        and (match := _RANGE_DASH.match(text, position))
        and (previous.end == position or match[0].rstrip() != match[0])
    ):
        return [Token("TO", match[0], position, match.end())]
    if match := _PLUS_MINUS.match(text, position):
        return [Token("PM", "±", position, match.end())]
    if match := _NUMBER.match(text, position):
        return _number(text, match, previous)
    if match := _OPERATOR.match(text, position):
        return [Token("OP", _OPERATORS.get(match[0], match[0]), position, match.end())]
    if match := _SAVED.match(text, position):
        return [Token("SAVED", match[1], position, match.end())]
    if match := _WORD.match(text, position):
        return [_word(text, match, previous)]
    if text[position] in "\"'“":
        raise QueryError("This quote is not closed.", text, position, len(text))
    raise QueryError(
        f'"{text[position]}" has no meaning here.',
        text,
        position,
        position + 1,
        ('Quote a name with signs: sample = "NiO [batch 2]".',),
    )


def _wordlike(text: str, position: int, previous: Token) -> Token:
    """Return the token at `position`, which has a letter or an underscore."""
    if text[position] in "abwABW" and (match := _SIGMAS.match(text, position)):
        return Token("SIGMAS", match[1], position, match.end())
    if match := ADDRESSED.match(text, position):
        return Token("WORD", match[0], position, match.end())
    match = _WORD.match(text, position)
    assert match is not None  # both begin a word
    return _word(text, match, previous)


def _number(text: str, match: re.Match[str], previous: Token) -> list[Token]:
    if previous.kind == "NUMBER" and (word := _WORD.match(text, match.start())) and find_unit(word[0]):
        return [Token("UNIT", word[0], word.start(), word.end())]  # "0.2 1/GPa"
    number = Token("NUMBER", match[0], match.start(), match.end())
    touching = _TOUCHING.match(text, match.end())
    if touching is None:
        return [number]
    unit = touching[0].rstrip(".")  # "14GPa." ends a sentence
    end = match.end() + len(unit)
    word = _WORD.match(text, match.start())
    assert word is not None  # digits, signs and dots are word characters
    is_range = _RANGE_DASH.match(text, end)
    if find_unit(unit) and (word.end() <= end + 1 or is_range or (unit == touching[0] and text[end : end + 1] in "±+")):
        found = [number, Token("UNIT", unit, touching.start(), end)]
        return [number] if not unit else found
    return [Token("WORD", word[0], word.start(), word.end())]


def _word(text: str, match: re.Match[str], previous: Token) -> Token:
    word, end = match[0], match.end()
    if end == len(text) and len(word) > 1:
        word = word.rstrip(".?") or word  # the end of a sentence
    if previous.kind == "NUMBER" and find_unit(word):
        return Token("UNIT", word, match.start(), end)
    head = word.split("(", 1)[0]
    if "(" in word and head.casefold() in RESERVED:  # "in(10)", "not(synthetic)"
        return Token("WORD", head, match.start(), match.start() + len(head))
    return Token("WORD", word, match.start(), end)


def _edges(raw: list[Token]) -> list[Token]:
    """Convert "Ni K-edge" and "Ni K edge" to Ni K, unless the word begins a condition of its own ("edge = ...")."""
    result: list[Token] = []
    for token, following in zip(raw, [*raw[1:], Token("", "", 0, 0)], strict=False):
        if token.kind != "WORD" or token.value[-1] not in "eEsS":
            pass
        elif level := _LEVEL_EDGE.fullmatch(token.value):
            token = Token("WORD", level[1], token.start, token.start + len(level[1]))
        elif token.value.casefold() in ("edge", "edges") and result:
            words = result[-1].value if result[-1].kind == "WORD" else ""
            if _LEVEL_AT_END.search(words) and (following.kind, following.value) not in (("OP", "="), ("OP", "!=")):
                continue
        result.append(token)
    return result


def _phrases(raw: list[Token], text: str) -> list[Token]:
    """Convert fixed phrases to operators, and drop joining words."""
    raw = _edges(raw)
    result: list[Token] = []
    position = 0
    while position < len(raw):
        token = raw[position]
        taken = 1
        if token.kind == "WORD" and (found := _longest_phrase(raw, position)):
            (kind, value, _), taken = found
            token = Token(kind, value, token.start, raw[position + taken - 1].end)
        following = raw[position + taken : position + taken + 2]
        if text[token.start : token.end].casefold() in _BEFORE_YEAR and following and _is_year(following):
            raw[position + taken] = Token("DATE", following[0].value, following[0].start, following[0].end)
        if token.kind in _COMPARING and result and result[-1].kind == "OP":
            verb = result[-1]
            # "pressure is above 14 GPa": the verb only joins. "is not above": it negates.
            if verb.value in ("=", "!=") and text[verb.start].isalpha():
                result[-1:] = [Token("NOT", "not", verb.start, verb.end)] if verb.value == "!=" else []
        if token.kind:
            result.append(token)
        position += taken
    return result


def is_year(written: str) -> bool:
    """Return True if a number as written can be a year.

    >>> is_year("2024"), is_year("14"), is_year("0000")
    (True, False, False)
    """
    return len(written) == 4 and written.isdecimal() and "1000" <= written < "9999"


def _is_year(following: list[Token]) -> bool:
    number = following[0]
    is_bare = len(following) == 1 or following[1].kind not in ("UNIT", "PM", "TO")
    return number.kind == "NUMBER" and is_bare and is_year(number.value)


def _longest_phrase(raw: list[Token], position: int) -> tuple[_Phrase, int] | None:
    if raw[position].value.casefold() not in _FIRST_WORDS:
        return None
    words: list[str] = []
    for token in raw[position : position + _LONGEST_PHRASE]:
        if token.kind != "WORD":
            break
        words.append(token.value.casefold())
    for size in range(len(words), 0, -1):
        phrase = _PHRASES.get(tuple(words[:size]))
        if phrase and _fits(phrase[2], raw, position + size):
            return phrase, size
    if words and words[0] in _JOINING:
        return ("", "", ""), 1
    return None


def _fits(before: str, raw: list[Token], position: int) -> bool:
    following = raw[position].kind if position < len(raw) else ""
    if before == "number":
        return following in ("NUMBER", "DATE")
    if before == "(":
        return following == "LPAR"
    return True


def _check_depth(found: list[Token], text: str) -> list[Token]:
    depth = nots = 0
    for token in found:
        depth += (token.kind == "LPAR") - (token.kind == "RPAR")
        nots = nots + 1 if token.kind == "NOT" else nots
        if depth > DEEPEST or nots > DEEPEST:
            raise QueryError(f"The query is nested deeper than {DEEPEST} levels.", text, token.start, token.end)
    return found
