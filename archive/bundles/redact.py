"""Redaction of shared spectra: private fields, absolute paths, and private values in any text.

The defaults are safe; an archive's setting ``private`` replaces them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from barospec.schemas.vocabulary import SPECTRUM_TERMS

# Header fields whose name indicates a person, a proposal or a path on a disk.
HEADER_FIELDS = re.compile(
    r"(?i)(?:^|[._\s-])(?:proposal|visitor|users?|operators?|experimenters?|investigators?|persons?|people|contacts?|e?-?mail|"
    r"phone|badge|login|hostname|session|directory|folder|path|data_?dir|local_?contact|pi|esaf|gup|safety)(?:$|[._\s\d-])"
)
_FOLDERS = re.compile(r"(?:(?<=[\s\"'=(,;:])|^)(?:[A-Za-z]:[\\/]|file://+|\\\\|/|~/)(?:[^\\/\n\"']+[\\/])+")
_SHORTEST = 3  # a private value of one or two letters would match in every text
GONE = "[left out]"
PRIVATE = (*(term.name for term in SPECTRUM_TERMS if term.private), "source_path", "header")


class Policy:
    """Private fields and values, and counts of what was removed.

    Parameters
    ----------
    settings : mapping
        ``private``: names of fields, and of kinds of text: ``source_path`` (folders in the names of raw files and anywhere
        else), ``header`` (the raw files' own headers). Without it, `PRIVATE`.

    Examples
    --------
    >>> policy = Policy({})
    >>> policy.learn("proposal", ["HC-4321"])
    >>> policy.text("/data/visitor/hc4321/id24/NiO_0001.h5 of HC-4321")
    'NiO_0001.h5 of [left out]'
    >>> sorted(policy.left_out)
    ['absolute paths', 'values of proposal in texts']
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        stated = settings.get("private")
        self._private = frozenset(PRIVATE if stated is None else map(str, stated))
        self.fields = frozenset(term.name for term in SPECTRUM_TERMS if term.name in self._private)
        self.keeps_headers = "header" not in self._private
        self._values: dict[str, re.Pattern[str]] = {}
        self.left_out: Counter[str] = Counter()

    @property
    def names(self) -> list[str]:
        """Names of private fields and kinds of text, to apply the same policy again."""
        return sorted(self._private)

    @property
    def _keeps_paths(self) -> bool:
        return "source_path" not in self._private

    def file_name(self, value: str) -> str:
        """Return the name of a raw file or a run sheet, without its folders if those are private."""
        if self._keeps_paths:
            return self.text(value)
        _, slash, name = value.replace("\\", "/").rpartition("/")
        if slash:
            self.left_out["folders of source files"] += 1
        return self.text(name)

    def learn(self, field: str, values: Iterable[Any]) -> None:
        """Remember the values of a private field, so that they are found in titles, notes and headers too."""
        texts = sorted({str(value).strip() for value in values if value is not None}, key=len, reverse=True)
        # HC-4321 is also written hc4321 and HC 4321.
        spelled = [
            r"[-_\s]?".join(re.escape(part) for part in re.findall(r"[^\W\d_]+|\d+|[^\w\s-]+", text))
            for text in texts
            if len(text) >= _SHORTEST
        ]
        if spelled:
            self._values[field] = re.compile(rf"(?i)(?<!\w)(?:{'|'.join(spelled)})(?!\w)")

    def drop(self, field: str, count: int) -> None:
        """Count a field that is removed from `count` spectra."""
        if count:
            self.left_out[field] += count

    def text(self, value: str) -> str:
        """Return a text without folders of absolute paths and without private values."""
        found, paths = (value, 0) if self._keeps_paths else _FOLDERS.subn("", value)
        if paths:
            self.left_out["absolute paths"] += paths
        for field, pattern in self._values.items():
            found, count = pattern.subn(GONE, found)
            if count:
                self.left_out[f"values of {field} in texts"] += count
        return found

    def header(self, text: str) -> str:
        """Return a file's header (JSON) without private fields; its other values go through `text`."""
        try:
            content = json.loads(text) if text else {}
        except ValueError:
            content = {"header": text}
        return json.dumps(self._clean(content, judge=True), ensure_ascii=False, sort_keys=True)

    def clean(self, record: Any) -> Any:
        """Return a record, lists and mappings, with all its texts cleaned; its keys stay."""
        return self._clean(record, judge=False)

    def _is_private(self, key: str) -> bool:
        return bool(self._private) and (key in self._private or HEADER_FIELDS.search(key) is not None)

    def _clean(self, value: Any, *, judge: bool) -> Any:
        if isinstance(value, Mapping):
            kept = {}
            for key, item in value.items():
                if judge and self._is_private(str(key)):
                    if item not in (None, "", [], {}):
                        self.left_out[f"header field {key}"] += 1
                    continue
                kept[str(key)] = self._clean(item, judge=judge)
            return kept
        if isinstance(value, list | tuple):
            return [self._clean(item, judge=judge) for item in value]
        if not isinstance(value, str):
            return value
        if judge and value.startswith(("{", "[")):  # parameters that a reader keeps as JSON within a header
            try:
                return json.dumps(self._clean(json.loads(value), judge=True), ensure_ascii=False, sort_keys=True)
            except ValueError:
                pass
        return self.text(value)
