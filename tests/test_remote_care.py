"""Care of an archive in a bucket: damage to any object is told, clearing keeps what tags name, purged data are deleted."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import barospec
from barospec import Archive
from barospec.archive.store import garbage_collection
from barospec.catalogs.index import database
from barospec.schemas.errors import BarospecError, NotFound

from .files_made import SETTINGS, write_columns
from .s3_service import BUCKET, Service
from .test_clearing import content_of, secrets
from .test_versions import ids, state


class Objects:
    """The objects of an archive, changed from outside."""

    def __init__(self, service: Service, address: str) -> None:
        self._client, self._prefix = service.client(), address.removeprefix(f"s3://{BUCKET}/")

    def names(self, folder: str = "") -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self._prefix}/{folder}")
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def read(self, name: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def delete(self, name: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=name)

    def everything(self) -> bytes:
        return b"\0".join(content_of(name, self.read(name)) for name in self.names())


@pytest.fixture
def archive(address: str, tmp_path: Path) -> Archive:
    """Two states, the first tagged; the second brings a sample of its own, which is corrected then."""
    files = [write_columns(tmp_path / f"scan{n}.dat", seed=n, points=40) for n in range(3)]
    made = Archive.create(address)
    made.ingest(files[:2], [*SETTINGS, "pressure=15.1 GPa"])
    made.tag("early")
    mine = [word for word in SETTINGS if not word.startswith("sample")]
    made.ingest(files[2:3], [*mine, "sample=SecretOxide", "pressure=16 GPa", "note=of a visitor"])
    made.set(ids(made, "SecretOxide")[0], ["medium=neon"], reason="the visitor said so")
    return made


def told(address: str) -> str:
    """What is said to be wrong, also by not opening it."""
    database._OPEN.clear()
    try:
        return "\n".join(f"{fault.where}: {fault.what}" for fault in Archive(address).verify().faults)
    except BarospecError as error:
        return str(error)


# What has to be named; and what has to be told in some way (an index is made anew from the store elsewhere).
NAMED = {"store/chunks/": 3, "store/manifests/": 2, "store/snapshots/": 2, "store/transactions/": 1, "seals/": 1}
TOLD = {"store/refs/": 2, "barospec.json": 1}


def test_damage_to_any_object_is_told(archive: Archive, address: str, service: Service, cache: Path) -> None:
    objects, chance = Objects(service, address), random.Random(8)
    report = archive.verify()
    assert (report.faults, report.checked["spectra"]) == ([], 3)
    assert any("verify --seal" in note for note in report.notes)
    assert archive.seal() == len(archive.log())
    report = archive.verify()
    assert (report.faults, report.notes) == ([], [])
    right = [state(Archive(address, at=at)) for at in (None, "early")]
    # Seals apart: what a damaged one has recorded cannot be compared.
    for folders in ([folder for folder in NAMED if folder != "seals/"], ["seals/"]):
        chosen = [name for folder in folders for name in chance.sample(objects.names(folder), NAMED[folder])]
        damaged = {name: objects.read(name) for name in chosen}
        for name, content in damaged.items():
            changed = bytearray(content)
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            objects.write(name, bytes(changed))
        found = told(address)
        missed = [name for name in damaged if name.rpartition("/")[2] not in found]
        for name in damaged.keys() - {*missed}:
            objects.write(name, damaged[name])
        if missed:  # bits of zstd's frames without a meaning; icechunk's empty first snapshot, which nothing reads
            assert len(missed) <= 2
            assert [state(Archive(address, at=at)) for at in (None, "early")] == right
        for name in missed:
            objects.write(name, damaged[name])
    for folder in TOLD:
        for name in objects.names(folder):
            before = objects.read(name)
            objects.write(name, before[:-3] + b"!" + before[-2:])
            assert told(address), name
            objects.delete(name)
            if "tag." not in name:  # a tag that is not there is none; `verify` of its history tells in words of `tag`
                assert told(address), name
            objects.write(name, before)
    gone = chance.choice(objects.names("store/manifests/"))
    before = objects.read(gone)
    objects.delete(gone)
    assert gone.rpartition("/")[2] in told(address)
    objects.write(gone, before)
    held = next(path for path in (cache).rglob(f"index-{archive.snapshot}.duckdb") if path.is_file())
    content = bytearray(held.read_bytes())
    content[len(content) // 2 :: 512] = bytes(255 - byte for byte in content[len(content) // 2 :: 512])
    database._OPEN.clear()
    held.write_bytes(bytes(content))
    assert "index" in told(address)
    shutil.rmtree(held.parent)
    assert told(address) == ""


def test_clearing_and_deleting(
    archive: Archive, address: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Objects(service, address)
    (name,) = ids(archive, "SecretOxide")
    lone = archive.log()[1].snapshot
    now, early = (state(Archive(address, at=at)) for at in (None, "early"))
    # What another writer may be putting there just now is not touched for a day, and that is said.
    waiting = archive.gc(keep_days=0)
    assert (waiting.removed, len(waiting.expired)) == ({}, 3)
    assert waiting.left_until is not None
    assert [state(Archive(address, at=at)) for at in (None, "early")] == [now, early]
    archive.tag("late")
    traces = secrets(archive, name)
    purged = archive.purge("SecretOxide", reason="not ours")
    assert (purged.ids, list(purged.tags), list(archive.tags())) == ([name], ["late"], ["early"])
    assert purged.cleared is not None
    assert purged.cleared.left_until is not None
    assert [trace for trace in traces if trace not in objects.everything()] == []
    monkeypatch.setattr(garbage_collection, "PATIENCE", garbage_collection.PATIENCE * 0)  # a day later
    done = archive.gc()
    assert (done.removed["snapshots"] >= 2, done.bytes > 0, done.left_until) == (True, True, None)
    with pytest.raises(NotFound):
        barospec.open(address, at=lone).query("")
    left = objects.everything()
    assert [trace for trace in traces if trace in left] == []
    assert state(Archive(address, at="early")) == early
    assert archive.verify(history=True).faults == []
    assert len(ids(archive)) == 2
