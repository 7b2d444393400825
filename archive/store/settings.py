"""Settings of an archive: title, creators, license, private fields.

The table ``settings`` has a record for each change, with its value as JSON, revision, author, reason and time; the
newest revision of a name counts. So a tag keeps the settings of its time, and the history shows who changed what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from barospec.archive.store.read import count_records, read_table
from barospec.archive.store.repository import Store, Transaction, current_user, microseconds
from barospec.archive.store.write import Writer
from barospec.schemas.errors import CallError, InvalidData, did_you_mean
from barospec.schemas.vocabulary import SPECTRUM_TERMS

if TYPE_CHECKING:
    from barospec.archive.store.read import Group

# Kinds of text that bundles may exclude, beside the fields of the vocabulary.
PRIVATE_WORDS: Mapping[str, str] = {
    "source_path": "folders in the names of raw files and run sheets; the file's own name is kept",
    "header": "the raw file's own header",
    "run_sheet_text": "the text of run sheets",
    "actor": "authors in the history",
    "host": "names of machines",
}
DEFAULTS: Mapping[str, Any] = {
    "title": "",
    "description": "",
    "creators": [],
    "publisher": "",
    "license": "",
    "funding": [],
    "keywords": [],
    "contact": "",
    "private": [
        *(term.name for term in SPECTRUM_TERMS if term.private),
        *("source_path", "header", "run_sheet_text", "actor", "host"),
    ],
    "keep_days": None,
}
MEANING: Mapping[str, str] = {
    "title": "Title of the archive, one line.",
    "description": "Description of the archive, one paragraph.",
    "creators": "Persons, in order: name, orcid, affiliation, ror.",
    "publisher": "Publisher of the data, such as a laboratory or a repository.",
    "license": "SPDX identifier of the license of the data, such as CC-BY-4.0.",
    "funding": "Grants: funder, award, title, ror.",
    "keywords": "Keywords for searches.",
    "contact": "Mail address for questions.",
    "private": "Fields and kinds of text that bundles exclude.",
    "keep_days": "Minimum number of days of history that `gc` keeps, beside every tag; if not set, all of it.",
}
ALIASES: Mapping[str, str] = {"licence": "license", "creator": "creators", "authors": "creators", "keyword": "keywords"}
LONGEST = 20_000


def read_settings(root: Group) -> dict[str, Any]:
    """Read the settings as of a snapshot, defaults included.

    Parameters
    ----------
    root : Group
        The arrays of a snapshot, from `Store.read`.

    Returns
    -------
    dict
        Has every key of `DEFAULTS`. Creators are mappings with ``name`` and optionally ``orcid``, ``affiliation``, ``ror``.
    """
    found = json.loads(json.dumps(dict(DEFAULTS)))
    found["title"] = str(root.attrs.get("title", ""))  # as given to `barospec init`
    found.update({name: value for name, (_, value) in _newest(root).items() if name in DEFAULTS})
    return dict(found)


def settings_history(root: Group) -> list[dict[str, Any]]:
    """Return every change of a setting, oldest first: name, value, revision, author, reason, time (UTC)."""
    table = read_table(root, "settings")
    names = list(table)
    records = [dict(zip(names, row, strict=True)) for row in zip(*table.values(), strict=True)]
    return [
        {
            "name": str(record["name"]),
            "value": json.loads(str(record["value"])),
            "revision": int(record["revision"]),
            "author": str(record["author"]),
            "reason": str(record["reason"]),
            "time": datetime.fromtimestamp(int(record["time"]) / 1e6, UTC).replace(tzinfo=None),
        }
        for record in records
    ]


def change_settings(store: Store, changes: Mapping[str, Any], *, reason: str = "") -> tuple[dict[str, Any], str | None]:
    """Change settings, in one commit; return all of them and the snapshot, None if nothing changed.

    Parameters
    ----------
    store : Store
    changes : mapping
        Name -> value, or None for the default. Values are checked, see `check_setting`.
    reason : str
        For the history.

    Raises
    ------
    CallError
        A name that is not a setting.
    InvalidData
        An invalid value: an ORCID or ROR with a wrong check digit, an unknown license, ...
    """
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        key = setting_name(name)
        if key in checked:
            raise CallError(f'setting "{key}" is given twice.')
        checked[key] = check_setting(key, value)

    def write(work: Transaction) -> dict[str, Any]:
        before = read_settings(work.root)
        fresh = {name: value for name, value in checked.items() if before[name] != value}
        if fresh:
            append_settings(work, fresh, reason)
            work.message = f"settings: {', '.join(sorted(fresh))}"
        return read_settings(work.root)

    return store.write("settings", write)


def append_settings(work: Transaction, values: Mapping[str, Any], reason: str) -> None:
    """Write a new revision of some settings inside a transaction."""
    newest = _newest(work.root)
    now = microseconds()
    records = [
        {
            "name": name,
            "value": json.dumps(value, ensure_ascii=False, sort_keys=True),
            "revision": newest.get(name, (0, None))[0] + 1,
            "author": current_user(),
            "reason": reason,
            "time": now,
        }
        for name, value in sorted(values.items())
    ]
    Writer(work.root, work.changes).append_table("settings", records)


def _newest(root: Group) -> dict[str, tuple[int, Any]]:
    """Return name -> revision and value."""
    if not count_records(root, "settings"):
        return {}
    found: dict[str, tuple[int, Any]] = {}
    for name, value, revision in zip(
        *read_table(root, "settings", ["name", "value", "revision"]).values(), strict=True
    ):
        if int(revision) > found.get(str(name), (0, None))[0]:
            found[str(name)] = (int(revision), json.loads(str(value)))
    return found


def setting_name(name: str) -> str:
    """Return the canonical name of a setting.

    >>> setting_name("licence")
    'license'
    """
    key = name.strip().casefold().replace("-", "_")
    key = ALIASES.get(key, key)
    if key not in DEFAULTS:
        raise CallError(
            f'there is no setting "{name}".{did_you_mean(key, list(DEFAULTS))} Settings are {", ".join(DEFAULTS)}.'
        )
    return key


def check_setting(name: str, value: Any) -> Any:
    """Return a setting's value in its stored form; None and "" mean the default.

    >>> check_setting("license", "cc-by-4.0")
    'CC-BY-4.0'
    >>> check_setting("creators", [{"name": "Josiah Carberry", "orcid": "0000-0002-1825-0097"}])
    [{'name': 'Josiah Carberry', 'orcid': 'https://orcid.org/0000-0002-1825-0097'}]
    """
    if value is None or value == "":
        return json.loads(json.dumps(DEFAULTS[name]))
    checked = _CHECKS[name](name, value)
    if len(json.dumps(checked)) > LONGEST:
        raise InvalidData(f"{name} is longer than {LONGEST} characters.")
    return checked


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool | list | dict):
        raise InvalidData(f"{name} needs a text, not {json.dumps(value, default=str)[:60]}.")
    return " ".join(str(value).split())


def _items(name: str, value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _keywords(name: str, value: Any) -> list[str]:
    words = value.split(",") if isinstance(value, str) else _items(name, value)
    return list(dict.fromkeys(word for item in words if (word := _text(name, item))))


def _creators(name: str, value: Any) -> list[dict[str, str]]:
    return [_person(item) for item in _items(name, value)]


def _person(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        value = {"name": value}
    person = _record("creators", value, ("name", "orcid", "affiliation", "ror"), needed="name")
    if "orcid" in person:
        person["orcid"] = check_orcid(person["orcid"])
    if "ror" in person:
        person["ror"] = check_ror(person["ror"])
    return person


def _funding(name: str, value: Any) -> list[dict[str, str]]:
    found = []
    for item in _items(name, value):
        grant = _record(
            name, {"funder": item} if isinstance(item, str) else item, ("funder", "award", "title", "ror"), "funder"
        )
        if "ror" in grant:
            grant["ror"] = check_ror(grant["ror"])
        found.append(grant)
    return found


def _record(name: str, value: Any, keys: tuple[str, ...], needed: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidData(f"{name} needs mappings with {', '.join(keys)}, not {value!r}.")
    unknown = [str(key) for key in value if key not in keys]
    if unknown:
        raise InvalidData(f'{name}: "{unknown[0]}" is not one of {", ".join(keys)}.{did_you_mean(unknown[0], keys)}')
    found = {key: text for key in keys if value.get(key) is not None and (text := _text(f"{name}: {key}", value[key]))}
    if needed not in found:
        raise InvalidData(f"{name}: each needs {needed}; {json.dumps(dict(value), default=str)} has none.")
    return found


def check_orcid(text: str) -> str:
    """Return an ORCID iD as its address; raise if the check digit (ISO 7064 11,2) is wrong.

    >>> check_orcid("0000-0002-1825-0097")
    'https://orcid.org/0000-0002-1825-0097'
    """
    match = re.fullmatch(r"(?:https?://orcid\.org/)?(\d{4})-?(\d{4})-?(\d{4})-?(\d{3}[\dXx])/?", text.strip())
    if match is None:
        raise InvalidData(f'ORCID "{text}" is not four groups of four digits. Write it like 0000-0002-1825-0097.')
    digits = "".join(match.groups()).upper()
    total = 0
    for digit in digits[:15]:
        total = (total + int(digit)) * 2
    expected = "0123456789X"[(12 - total % 11) % 11]
    if digits[15] != expected:
        raise InvalidData(
            f'ORCID "{text}" has a wrong check digit: it should end in {expected}. Look for a typing error.'
        )
    return "https://orcid.org/" + "-".join(digits[start : start + 4] for start in range(0, 16, 4))


_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


def check_ror(text: str) -> str:
    """Return a ROR identifier of an organization as its address; raise if its check digits (ISO 7064 97,10) are wrong.

    >>> check_ror("02550n020")
    'https://ror.org/02550n020'
    """
    match = re.fullmatch(rf"(?:(?:https?://)?ror\.org/)?(0[{_BASE32}]{{6}})(\d\d)/?", text.strip().casefold())
    if match is None:
        raise InvalidData(
            f'ROR "{text}" is not an identifier. Write it like https://ror.org/02550n020; ror.org finds it.'
        )
    number = 0
    for char in match[1]:
        number = number * 32 + _BASE32.index(char)
    if int(match[2]) != 98 - number * 100 % 97:
        raise InvalidData(f'ROR "{text}" has wrong check digits. Look for a typing error.')
    return f"https://ror.org/{match[1]}{match[2]}"


def _license(name: str, value: Any) -> str:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    text = _text(name, value)
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        usual = ("CC-BY-4.0", "CC0-1.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "ODbL-1.0")
        raise InvalidData(
            f'license "{text}" is not an SPDX identifier.{did_you_mean(text, usual)} Usual for data: {", ".join(usual)}.'
        ) from None


def _contact(name: str, value: Any) -> str:
    text = _text(name, value)
    if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+", text):
        raise InvalidData(f'contact "{text}" is not a mail address. Write it like ada@example.org.')
    return text


def _private(name: str, value: Any) -> list[str]:
    known = [*(term.name for term in SPECTRUM_TERMS), *PRIVATE_WORDS]
    words = [str(word).strip() for word in (value.split(",") if isinstance(value, str) else _items(name, value))]
    words = [word for word in words if word and word != "none"]
    for word in words:
        if word not in known:
            raise InvalidData(
                f'private: "{word}" is neither a field nor one of {", ".join(PRIVATE_WORDS)}.{did_you_mean(word, known)} '
                'Write "none" to keep nothing private.'
            )
    return list(dict.fromkeys(words))


def _days(name: str, value: Any) -> int:
    try:
        days = int(str(value))
    except ValueError:
        days = -1
    if days < 0:
        raise InvalidData(f'{name} "{value}" is not a whole number of days, 0 or more.')
    return days


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "title": _text,
    "description": _text,
    "publisher": _text,
    "creators": _creators,
    "license": _license,
    "funding": _funding,
    "keywords": _keywords,
    "contact": _contact,
    "private": _private,
    "keep_days": _days,
}
