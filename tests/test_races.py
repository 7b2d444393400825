"""Lost races, as in a bucket where nothing can be locked: every verb that writes begins again, from what is there then."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.catalogs.index import database

from .files_made import SETTINGS, write_columns


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Without the lock, as in a bucket: another writer that is quicker, once, than each verb."""
    monkeypatch.setattr(Store, "_lock", lambda *_: nullcontext())
    commit, beaten = Store._commit, ["rival", "init"]

    def late(store: Store, session: Any, verb: str, work: Any, beside: Any) -> None:
        if verb not in beaten:
            beaten.append(verb)
            with Store(store.location).transaction("rival") as other:
                other.root.attrs["rival"] = work.parent
                other.message = f"before {verb}"
        commit(store, session, verb, work, beside)

    monkeypatch.setattr(Store, "_commit", late)
    return beaten


def test_every_verb_that_writes_begins_again_after_a_lost_race(tmp_path: Path, rival: list[str]) -> None:
    archive = Archive.create(tmp_path / "a")
    files = [write_columns(tmp_path / f"s{number}.xdi", seed=number) for number in range(3)]
    assert archive.ingest(files, [*SETTINGS, "pressure=2 GPa", "pressure_scale=ruby Mao 1986"]).added == 3
    first, second, third = (str(name) for name in archive.query("").columns(["spectrum_id"])["spectrum_id"])
    named, verbs = archive.snapshot, ["ingest"]

    def did(verb: str) -> None:
        verbs.append(verb)
        assert [commit.metadata["verb"] for commit in archive.log(2)] == [verb, "rival"]
        rival[:] = ["rival", "init"]

    assert archive.configure({"title": "T"})["title"] == "T"
    did("settings")
    assert archive.tag("v1").snapshot == archive.log(3)[2].snapshot, "the state it was called for"
    did("tag")
    archive.tag("v2", at=named)
    did("tag")
    assert archive.untag("v2") == named
    did("tag")
    assert set(archive.tags()) == {"v1"}
    assert len(archive.set(first, ["pressure=5 GPa", "pressure_scale=ruby Mao 1986"], reason="misread").edits) == 1
    did("set")
    assert len(archive.rescale_pressure("above 4 GPa", "ruby Dewaele 2004").changed) == 1
    did("rescale_pressure")
    archive.withdraw(second, reason="x")
    did("withdraw")
    archive.reinstate(second, reason="x")
    did("restore")
    archive.flag(third, "bad", "glitch")
    did("flag")
    archive.save("low", "below 3 GPa")
    did("save")
    archive.derive("edge_energy", "")
    assert [commit.metadata["verb"] for commit in archive.log(3)] == ["derive", "derive", "rival"]
    assert [row["fresh"] for row in archive.derivations()] == [2]
    assert archive.restore("v1").set_back == 1
    did("restore")
    assert len(archive.query("pressure = 2 GPa")) == 3
    with archive.connection() as connection:
        events = database.values(connection, "SELECT action, count(*) FROM events GROUP BY ALL ORDER BY 1")
    assert dict(events) == {
        "tag": 2,
        "untag": 1,
        "set": 1,
        "rescale_pressure": 1,
        "withdraw": 1,
        "restore": 3,
        "flag": 1,
        "annotate": 1,
    }
