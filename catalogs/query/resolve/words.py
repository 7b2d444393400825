"""Words without an operator: "La3Ni2O7 Ni K", "XES of NiO", "run-2", "calculated".

The conventions of the field come first (an edge, a line, a technique, an origin), then the values of the
archive. A word with two meanings is accepted only if one of them includes the other, and the answer notes
it.
"""

from __future__ import annotations

import re

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr, Span
from barospec.catalogs.query.parse.lexer import NOUNS
from barospec.catalogs.query.resolve.archive_schema import AMBIGUOUS, TABLES
from barospec.catalogs.query.resolve.comparisons import ComparisonResolver, meant_units, same_unit
from barospec.catalogs.query.resolve.context import Context
from barospec.catalogs.query.resolve.fields import VALUES, Field
from barospec.catalogs.query.resolve.hints import COMPUTED, INSTEAD, with_symbol
from barospec.schemas.errors import QueryError, did_you_mean
from barospec.schemas.units import find_unit
from barospec.schemas.vocabulary import ELEMENTS, ORIGINS, STATUSES, find_edge, find_line

TECHNIQUE_WORDS = {"xas": "xas", "xes": "xes", "xanes": "xas", "exafs": "xas"}
# The order in which overlapping meanings are preferred, if the preferred one includes the others.
PREFERRED = ("element", "material", "sample", "run", "mode")
_LONGEST_VALUE = 6  # words of a value that may be written without quotes
_LONGEST_NAME = 3  # words of a field name


# Words of the language, as suggestions for misspelled words.
OFTEN_MISTYPED = (
    "above",
    "below",
    "under",
    "between",
    "since",
    "before",
    "after",
    "sorted",
    "missing",
    "latest",
    "without",
    "contains",
    "derived",
)


class WordResolver:
    """Finds the conditions of words, within a `Context`."""

    def __init__(self, context: Context, meaning: ComparisonResolver) -> None:
        self._context, self._meaning = context, meaning
        self._known, self._table = context.known, context.table

    def field_at_end(self, words: ast.Name) -> int:
        """Return how many of the last words name a field; 0 if they do not."""
        for size in range(min(_LONGEST_NAME, len(words)), 0, -1):
            if self._known.find(self._table, " ".join(words[-size:])):
                return size
        return 0

    def conditions(self, words: ast.Name, span: Span) -> list[Expr]:
        """Return the conditions of the words, one after the other."""
        result: list[Expr] = []
        position = 0
        while position < len(words):
            condition, taken = self._next(words[position:], span)
            result.append(condition)
            position += taken
        return result

    def _next(self, words: ast.Name, span: Span) -> tuple[Expr, int]:
        if words[0].casefold() in ("flagged", "labeled", "labelled"):
            name = "flag" if words[0].casefold() == "flagged" else "labels"
            if field := self._known.find(self._table, name):
                return ast.Not(ast.Missing((self._context.use(field).name,), span), span), 1
        for size in range(min(_LONGEST_VALUE, len(words)), 0, -1):
            reading = self._reading(" ".join(words[:size]), span)
            if reading:
                return self._equal(*reading, span), size
        for size in range(min(_LONGEST_NAME, len(words)), 0, -1):
            field = self._known.find(self._table, " ".join(words[:size]))
            if field:
                return self._field_and_value(field, words, size, span)
        raise self._unknown(words, span)

    def _equal(self, field: Field, value: str, span: Span) -> Expr:
        self._context.use(field)
        return ast.Compare((field.name,), "=", ast.Words((value,), span), span)

    def _field_and_value(self, field: Field, words: ast.Name, size: int, span: Span) -> tuple[Expr, int]:
        """Parse a field followed directly by its value: "run run-2", "element Ni"."""
        for more in range(min(_LONGEST_VALUE, len(words) - size), 0, -1) if field.kind == "word" else ():
            value = self._meaning.value(field, " ".join(words[size : size + more]))
            if value is not None:
                return self._equal(field, value, span), size + more
        name = field.name
        if (computed := "_".join(words[: size + 1]).casefold()) in COMPUTED:
            raise self._computed(computed, " ".join(words[: size + 1]), span)
        if len(words) > size and field.kind == "word":
            raise self._meaning.unknown_value(field, words[size], self._place(words[size], span))
        unit = f" {field.unit}" if field.unit else ""
        example = f'"{name} = ..."' if field.kind in ("word", "text") else f'"{name} > 1{unit}"'
        raise self._context.error(
            f'"{words[0]}" is a field without a condition.',
            self._place(words[0], span),
            f'Write a condition such as {example}, "{name} is known" or "{name} is missing".',
        )

    def _reading(self, phrase: str, span: Span) -> tuple[Field, str] | None:
        """Return the only meaning of a phrase, checked against the archive."""
        if phrase.casefold() in AMBIGUOUS and not self._known.find(self._table, phrase):
            raise self._ambiguous_name(phrase, span)
        convention = self._convention(phrase) or self._convention(with_symbol(phrase))
        if convention:
            field, value = convention
            found = self._meaning.value(field, value)
            if found is None:
                raise self._meaning.unknown_value(field, value, self._place(phrase, span))
            return field, found
        candidates = self._candidates(phrase) or self._candidates(with_symbol(phrase))
        if not candidates:
            return None
        if len(candidates) == 1:
            return candidates[0]
        return self._choose(phrase, candidates, span)

    def _convention(self, phrase: str) -> tuple[Field, str] | None:
        """Return the edge, line, technique or origin of a phrase by the conventions of the field."""
        named = {
            # "NiK" in one word counts only as written, or "ok" would be the oxygen K edge.
            "edge": find_edge(phrase) if " " in phrase or "-" in phrase or phrase[:1].isupper() else None,
            "line": find_line(phrase),
            "technique": TECHNIQUE_WORDS.get(phrase.casefold()),
            "origin": phrase.casefold() if phrase.casefold() in ORIGINS else None,
        }
        for name, value in named.items():
            field = self._known.find(self._table, name)
            if value and field:
                return field, value
        return None

    def _candidates(self, phrase: str) -> list[tuple[Field, str]]:
        fields = self._known.fields[self._table]
        words = [field for field in fields.values() if field.kind == "word" and field.name != "status"]
        # A set of derived values is often named like its quantity; "set = ..." selects it.
        words = [field for field in words if field.table != VALUES or field.name in ("quantity", "state")]
        by_field: dict[str, list[str]] = {}
        for name, value in self._known.values.readings(words, phrase):
            by_field.setdefault(name, []).append(value)
        found = []
        for name, values in by_field.items():
            exact = phrase if phrase in values else values[0] if len(values) == 1 else None
            # K is a unit and a level rather than potassium.
            if exact is not None and not (name == "element" and (phrase == "K" or phrase not in ELEMENTS)):
                found.append((fields[name], exact))
        return found

    def _choose(self, phrase: str, candidates: list[tuple[Field, str]], span: Span) -> tuple[Field, str]:
        ranked = sorted(
            candidates,
            key=lambda c: (PREFERRED.index(c[0].name) if c[0].name in PREFERRED else 99, c[0].name),
        )
        readings = [ast.to_text(ast.Compare((field.name,), "=", ast.Words((value,)))) for field, value in ranked]
        first, others = ranked[0], ranked[1:]
        if first[0].name in PREFERRED and self._known.values.covers(first, others):
            self._context.notes.append(
                f'"{phrase}" was read as {readings[0]}, which includes {" and ".join(readings[1:])}.'
            )
            return first
        raise self._context.error(
            f'"{phrase}" has several meanings in this archive.',
            self._place(phrase, span),
            *(f"Perhaps: {reading}" for reading in readings),
        )

    def _computed(self, name: str, phrase: str, span: Span) -> QueryError:
        return self._context.error(
            f"{name} is computed; no {self._context.noun} in this archive have it stored.",
            self._place(phrase, span),
            "`barospec operators` lists computations over a query; `barospec apply` runs them.",
        )

    def _ambiguous_name(self, phrase: str, span: Span) -> QueryError:
        choices = AMBIGUOUS[phrase.casefold()]
        there = [name for name in choices if self._known.find(self._table, name)]
        hint = f"In this archive: {', '.join(there)}." if there else "This archive has none of these fields."
        return self._context.error(
            f'"{phrase}" may mean {", ".join(choices[:-1])} or {choices[-1]}; name one.',
            self._place(phrase, span),
            hint,
        )

    def _unknown_address(self, phrase: str, place: Span) -> QueryError:
        """Return the error for an ``output[...]`` that names no set of derived values, or several."""
        found = [field.name for field in self._known.addressed(self._table, phrase)]
        if found:
            return self._context.error(f'"{phrase}" may mean {" or ".join(found)}; be more specific.', place)
        output = phrase.partition("[")[0].strip()
        there = [
            f"{field.name} (set {field.stored.derivation})"
            for field in self._known.fields.get(self._table, {}).values()
            if field.stored and field.stored.output.casefold() == output.casefold()
        ]
        hint = f"Stored: {', '.join(there)}." if there else f"No {output} is stored: barospec apply OPERATOR --store."
        return self._context.error(f'No stored values match "{phrase}".', place, hint)

    def _place(self, word: str, span: Span) -> Span:
        """Return the position of the word in the part of the text that `span` covers."""
        text = self._context.text
        start = text.find(word, span[0], max(span[1], span[0] + len(word)))
        if start < 0:
            start = text.find(word.split(" ")[0], span[0])
        return (start, min(start + len(word), len(text))) if start >= 0 else span

    def _unknown(self, words: ast.Name, span: Span) -> QueryError:
        """Return the error for a word that is neither a value nor a field."""
        word = words[0]
        place = self._place(word, span)
        if "[" in word:
            return self._unknown_address(word, place)
        if "edge" not in self._known.fields[self._table] and (find_edge(" ".join(words[:2])) or word in ELEMENTS):
            hint = "Query spectra or runs."
            return self._context.error(f'"{word}" applies to spectra; {self._context.noun} have no edge.', place, hint)
        if word == "K":
            hints = ('"80 K" is a temperature, "Ni K" an edge, "element = K" potassium.',)
            return self._context.error('"K" alone is ambiguous.', place, *hints)
        number = re.match(r"([+-]?[\d.]+)(\D.*)", word)
        symbol = number[2] if number else word
        same = same_unit(symbol)
        if same and (number or self._context.text[: place[0]].rstrip()[-1:].isdigit()):
            return self._context.error(f'"{symbol}" is not a unit. Did you mean {" or ".join(same)}?', place)
        if word in ELEMENTS and self._known.find(self._table, "element"):
            return self._meaning.unknown_value(self._known.fields[self._table]["element"], word, place)
        if allowed := self._allowed(words):
            return self._meaning.unknown_value(*allowed, place)
        if find_unit(word):
            return self._context.error(f'The unit "{word}" has no number before it.', place)
        other = self._elsewhere(word)
        if other:
            return self.unknown_field(word, place)
        like = meant_units(word)
        if like and self._context.text[: place[0]].rstrip()[-1:].isdigit():
            return self._context.error(f'"{word}" is not a unit. Did you mean {like[0]}?', place)
        # Misspelled words of the language are as likely as those of the archive.
        choices = [*self._choices(word), *OFTEN_MISTYPED]
        hint = "`barospec fields` lists the fields and their values; quote a value of several words."
        fields = [f for f in self._known.fields[self._table].values() if f.kind == "word" and f.name != "status"]
        inside = self._known.values.containing(fields, word)
        if inside:
            parts = [ast.to_text(ast.Contains((field,), ast.Words((word,)))) for field in inside]
            hint = f'It is part of a value. Write "{parts[0]}"' + "".join(f', or "{part}"' for part in parts[1:]) + "."
        if word.casefold() in INSTEAD:
            return self._context.error(f'"{word}" is not part of the query language.', place, INSTEAD[word.casefold()])
        if word.casefold() in STATUSES:
            hint = f'Only active rows are searched by default; add "status = {word.casefold()}".'
        return self._context.error(
            f'"{word}" is neither a field nor a value in this archive.{did_you_mean(word, choices)}',
            place,
            hint,
        )

    def _allowed(self, words: ast.Name) -> tuple[Field, str] | None:
        """Return a value that the vocabulary allows but the archive lacks."""
        for size in range(min(_LONGEST_VALUE, len(words)), 0, -1):
            phrase = " ".join(words[:size]).casefold()
            for field in self._known.fields[self._table].values():
                if phrase in (value.casefold() for value in field.allowed) and field.name != "status":
                    return field, phrase
        return None

    def _choices(self, word: str) -> list[str]:
        fields = self._known.fields[self._table].values()
        names = [name for field in fields for name in (field.name, *field.aliases) if len(name) > 1]
        values = self._known.values.close([f for f in fields if f.kind == "word"], word)
        return [*names, *values, *NOUNS, *TECHNIQUE_WORDS, *ORIGINS]

    def _elsewhere(self, name: str) -> list[str]:
        """List the nouns that have a field of that name."""
        nouns = [noun for noun, table in TABLES.items() if table != self._table and self._known.find(table, name)]
        # Every spectrum field works for derived values too.
        return [noun for noun in nouns if TABLES[noun] != VALUES or "spectra" not in nouns]

    def unknown_field(self, phrase: str, span: Span) -> QueryError:
        """Return the error for a name that is not a field of the queried noun."""
        place = self._place(phrase, span)
        if phrase.casefold() in AMBIGUOUS:
            return self._ambiguous_name(phrase, span)
        if "[" in phrase:
            return self._unknown_address(phrase, place)
        if (computed := phrase.casefold().replace(" ", "_")) in COMPUTED:
            return self._computed(computed, phrase, span)
        nouns = self._elsewhere(phrase)
        if nouns:
            return self._context.error(
                f'"{phrase}" is not a field of {self._context.noun}, but of {" and ".join(nouns)}.',
                place,
                f'Query those: "{nouns[0]} with {phrase} ...".',
            )
        names = [
            name for f in self._known.fields[self._table].values() for name in (f.name, *f.aliases) if len(name) > 1
        ]
        return self._context.error(
            f'"{phrase}" is not a field of {self._context.noun}.{did_you_mean(phrase, names)}',
            place,
            "`barospec fields` lists all fields.",
        )
