"""The archive's own settings: checked, versioned, read as of a tag."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import barospec
from barospec import Archive
from barospec.archive.store.settings import DEFAULTS, check_orcid, check_ror, check_setting
from barospec.schemas.errors import CallError, InvalidData

# Published examples: orcid.org's documentation (Josiah Carberry), ror.org's (ESRF, CNRS).
ORCID = "0000-0002-1825-0097"
RORS = ("02550n020", "02feahw73", "05gzmn429")


def test_defaults_are_safe(empty: Archive) -> None:
    settings = empty.settings()
    assert settings == DEFAULTS
    assert {"proposal", "operator", "source_path", "actor", "host"} <= set(settings["private"])
    settings["private"].clear()
    assert empty.settings() == DEFAULTS


def test_changes_are_versioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive.create(tmp_path / "a", title="as given to init")
    assert archive.settings()["title"] == "as given to init"
    monkeypatch.setenv("BAROSPEC_ACTOR", "ada")
    archive.configure({"licence": "cc-by-4.0", "keywords": "nickelates, pressure, nickelates"}, reason="for the paper")
    first = archive.snapshot
    archive.configure({"title": "Nickelates", "license": "CC0-1.0"})
    now = archive.settings()
    assert (now["title"], now["license"], now["keywords"]) == ("Nickelates", "CC0-1.0", ["nickelates", "pressure"])
    then = barospec.open(archive.location.root, at=first).settings()
    assert (then["title"], then["license"]) == ("as given to init", "CC-BY-4.0")
    newest = archive.settings_history()[-2:]
    assert [(r["name"], r["revision"], r["author"]) for r in newest] == [("license", 2, "ada"), ("title", 1, "ada")]
    before = archive.snapshot
    assert archive.configure({"title": " Nickelates "})["title"] == "Nickelates"
    assert archive.snapshot == before, "what is so already makes no commit"
    archive.configure({"title": None})
    assert archive.settings()["title"] == ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("license", "CC-BY", "SPDX"),
        ("creators", [{"orcid": ORCID}], "needs name"),
        ("creators", [{"name": "A", "orcid": "0000-0002-1825-0098"}], "should end in 7"),
        ("creators", [{"name": "A", "orcid": "12"}], "0000-0002-1825-0097"),
        ("creators", [{"name": "A", "mail": "x"}], "mail"),
        ("creators", [{"name": "A", "ror": "02550n021"}], "check digits"),
        ("creators", 7, "mappings"),
        ("funding", [{"award": "1"}], "needs funder"),
        ("contact", "ada", "mail address"),
        ("private", "propsal", "Did you mean proposal"),
        ("keep_days", "-1", "0 or more"),
        ("title", ["a"], "text"),
        ("description", "x" * 30_000, "longer"),
    ],
)
def test_wrong_values_are_refused(empty: Archive, name: str, value: object, said: str) -> None:
    before = empty.snapshot
    with pytest.raises(InvalidData, match=said):
        empty.configure({name: value, "keywords": ["x"]})
    assert empty.snapshot == before


def test_unknown_settings_are_refused(empty: Archive) -> None:
    with pytest.raises(CallError, match="Did you mean title"):
        empty.configure({"titel": "x"})
    with pytest.raises(CallError, match="twice"):
        empty.configure({"license": "MIT", "licence": "MIT"})


@given(st.integers(0, 10**15 - 1), st.integers(0, 15), st.integers(1, 10))
def test_orcid_notices_each_wrong_digit(number: int, place: int, step: int) -> None:
    body = f"{number:015d}"
    right = [digit for digit in "0123456789X" if _accepted(check_orcid, body + digit)]
    assert len(right) == 1
    text = list(body + right[0])
    choices = "0123456789X" if place == 15 else "0123456789"
    wrong = choices[(choices.index(text[place]) + step) % len(choices)]
    if wrong != text[place]:
        text[place] = wrong
        assert not _accepted(check_orcid, "".join(text))


def _accepted(check: object, text: str) -> bool:
    try:
        check(text)  # type: ignore[operator]
    except InvalidData:
        return False
    return True


@pytest.mark.parametrize("ror", RORS)
def test_ror_of_real_organizations(ror: str) -> None:
    assert check_ror(ror) == check_ror(f"https://ror.org/{ror}") == f"https://ror.org/{ror}"
    assert not _accepted(check_ror, ror[:-1] + str((int(ror[-1]) + 1) % 10))


def test_private_can_be_emptied() -> None:
    assert check_setting("private", "none") == []
    assert check_setting("private", "proposal, note") == ["proposal", "note"]


def test_from_a_file(tmp_path: Path, empty: Archive) -> None:
    wanted = {"title": "T", "creators": [{"name": "Ada", "orcid": ORCID, "affiliation": "ESRF", "ror": RORS[0]}]}
    assert empty.configure(yaml.safe_load(yaml.safe_dump(wanted)))["creators"][0]["ror"].endswith(RORS[0])
