"""Errors that barospec raises on purpose, grouped by what a caller does next.

A message has the place, what was found, what was expected and what to do. ``exit_code`` is the one that the
command line returns: 1 when the data or the archive are the reason, 2 when the call itself is wrong.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence


class BarospecError(Exception):
    """Base of all errors that are raised on purpose; print the message without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *getattr(self, "__notes__", [])])


class NotFound(BarospecError, KeyError):
    """An archive, spectrum, tag, snapshot, operator or field that does not exist."""

    # KeyError prints the repr of its argument; print the message instead.
    def __str__(self) -> str:
        return "\n".join([str(self.args[0]) if self.args else "", *getattr(self, "__notes__", [])])


class InvalidData(BarospecError, ValueError):
    """Data or a run sheet that cannot be accepted: correct them and try again."""


class UnreadableFile(BarospecError, OSError):
    """A file that is damaged, truncated, still being written, or of an unknown format."""


class Unsupported(BarospecError):
    """Valid data of a newer version, or of a dialect that this version does not read."""


class Conflict(BarospecError):
    """New data that differ from the archive; nothing was written. Use ``--replace`` or keep the old data."""


class StoreError(BarospecError):
    """A store that is damaged, locked or unreachable."""


class LostRace(StoreError):
    """Another machine committed first, so nothing was written. Repeat the operation on the new state."""


class CallError(BarospecError, ValueError):
    """A wrong call: an argument that is not valid for any data."""

    exit_code = 2


class QueryError(CallError):
    """A query text that cannot be understood, with the position and what would be valid there.

    Parameters
    ----------
    problem : str
        What is wrong, in one sentence.
    text : str
        The whole query.
    start, end : int
        The position in `text`, in characters, end excluded.
    hints : tuple of str
        Valid alternatives, nearest first; each is printed on its own line.
    """

    def __init__(
        self, problem: str, text: str = "", start: int = 0, end: int | None = None, hints: tuple[str, ...] = ()
    ) -> None:
        self.problem = problem
        self.text = text
        self.start = max(0, min(start, len(text)))
        self.end = max(self.start + 1, len(text) if end is None else end)
        self.hints = hints
        super().__init__(self._render())

    def _render(self) -> str:
        lines = [self.problem]
        if self.text:
            # One line of at most 100 characters around the position: errors fit on a screen.
            left = max(0, self.start - 60)
            shown = self.text[left : left + 100].replace("\n", " ").replace("\t", " ")
            width = max(1, min(self.end, left + len(shown)) - self.start)
            lines += [f"  {'…' if left else ''}{shown}", "  " + " " * (self.start - left + bool(left)) + "^" * width]
        return "\n".join([*lines, *(f"  {hint}" for hint in self.hints)])


# Messages of the system and the libraries when memory or file handles run out.
NO_MEMORY = (
    "Out of Memory Error",
    "Cannot allocate memory",
    "bad allocation",
    "can't start new thread",
    "failed to map segment",
    "Unable to allocate",
)
NO_FILES = "Too many open files"
MEMORY_SENTENCE = (
    "out of memory. The command did not finish. Close other programs, or ask for fewer spectra at a time; "
    "a limit that was set (ulimit -v, or that of a batch job) may be too low."
)
FILES_SENTENCE = "too many open files. The command did not finish. Allow this shell more with `ulimit -n 4096`, and run the command again."


def exhausted(error: BaseException | str) -> str:
    """Return a sentence if the system ran out of memory or of open files, "" for any other error.

    >>> exhausted(OSError(24, "Too many open files"))[:20]
    'too many open files.'
    >>> exhausted("it is damaged")
    ''
    """
    texts = [error] if isinstance(error, str) else []
    seen: BaseException | None = error if isinstance(error, BaseException) else None
    while seen is not None and len(texts) < 10:
        if isinstance(seen, MemoryError) or getattr(seen, "errno", None) == errno.ENOMEM:
            return MEMORY_SENTENCE
        if getattr(seen, "errno", None) in (errno.EMFILE, errno.ENFILE):
            return FILES_SENTENCE
        texts.append(str(seen))
        seen = seen.__cause__ or (None if isinstance(seen, BarospecError) else seen.__context__)
    if any(NO_FILES in text for text in texts):
        return FILES_SENTENCE
    return MEMORY_SENTENCE if any(said in text for said in NO_MEMORY for text in texts) else ""


def nearest(word: str, choices: Sequence[str], count: int = 3) -> list[str]:
    """Return the names most similar to `word`, best first; empty if none is similar.

    >>> nearest("presure", ["pressure", "temperature"])
    ['pressure']
    """
    from difflib import get_close_matches  # needed only after an error

    lower = {choice.lower(): choice for choice in choices}
    return [lower[match] for match in get_close_matches(word.lower(), list(lower), n=count, cutoff=0.6)]


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """Return a suggestion for the end of an error message, or nothing.

    >>> did_you_mean("presure", ["pressure", "temperature"])
    ' Did you mean pressure?'
    """
    close = nearest(word, choices)
    return f" Did you mean {' or '.join(close)}?" if close else ""
