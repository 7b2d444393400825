"""Archives in an S3-compatible bucket: address, access and newest snapshot.

Small requests go through obstore, which imports in 10 ms; icechunk, which moves the arrays, gets the same
endpoint, region and keys by `Remote.access`. Keys come from the environment or the standard profile files at each
use and are kept in no field, file or message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from barospec.archive.store.storage.bucket_access import Access, access, explain
from barospec.archive.store.storage.marker import FORMAT, MARKER, identity, snapshot_in
from barospec.schemas.errors import CallError, Conflict, NotFound, StoreError, Unsupported

if TYPE_CHECKING:
    from obstore.store import S3Store

# Long enough for a slow line: a service that does not answer is reported within half a minute.
CONNECT_SECONDS, ANSWER_SECONDS, TRIES = 5, 20, 2
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
SNAPSHOT_ID = re.compile(r"[0-9A-Z]{20}")
TAG_NAME = re.compile(r"[\w.-]+")
# Characters that obstore and icechunk both send unchanged.
PART = re.compile(r"[A-Za-z0-9._=+@-]+")


@dataclass(frozen=True, slots=True)
class Remote:
    """An archive at ``s3://bucket/prefix``: the same objects under the prefix as the files in a local one's folder.

    There is no lock and no index in the bucket: commits are conditional writes, and index files are in the user's
    cache, by UUID.
    """

    bucket: str
    prefix: str
    uuid: str = ""

    @property
    def place(self) -> str:
        """The address."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def index(self) -> Path | None:
        """None: index files are in the user's cache."""
        return None

    @property
    def access(self) -> Access:
        """Endpoint, region and keys at this moment."""
        return access(self.place)

    def key(self, name: str) -> str:
        """Return the whole key of an object of this archive."""
        return f"{self.prefix}/{name}".lstrip("/")

    def head(self) -> str:
        """Return the identifier of the newest snapshot: one small GET."""
        found = self.get("store/refs/branch.main/ref.json")
        if found is None:
            raise NotFound(
                f"{self.place} holds no finished archive: it has no branch. Create one with `barospec init`."
            )
        return snapshot_in(found, f"{self.place}/store/refs/branch.main/ref.json")

    def tags(self) -> dict[str, str]:
        """Return tag name -> snapshot id."""
        names = [name.split("/") for name in self.names("store/refs/")]
        deleted = {parts[-2] for parts in names if parts[-1] == "ref.json.deleted"}
        tagged = sorted(parts[-2] for parts in names if parts[-1] == "ref.json" and parts[-2].startswith("tag."))
        found = {name.removeprefix("tag."): self._tag(name) for name in tagged if name not in deleted}
        return {name: snapshot for name, snapshot in found.items() if snapshot is not None}

    def snapshot(self, at: str | None) -> str | None:
        """Return the snapshot of `at` if refs alone identify it: the head, a tag, or a whole snapshot id."""
        if at is None:
            return self.head()
        if SNAPSHOT_ID.fullmatch(at):
            try:
                return _seen(self, at)
            except FileNotFoundError:
                pass
        if TAG_NAME.fullmatch(at):
            tagged = self._tag(f"tag.{at}")
            if tagged and self.get(f"store/refs/tag.{at}/ref.json.deleted") is None:
                return tagged
        return None

    def _tag(self, name: str) -> str | None:
        path = f"store/refs/{name}/ref.json"
        found = self.get(path)
        return None if found is None else snapshot_in(found, f"{self.place}/{path}")

    def get(self, name: str) -> str | None:
        """Read the text of a small object; None if there is none. Raise StoreError if the bucket cannot be read."""
        try:
            return self.read(name).decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise StoreError(f"{self.place}/{name} is damaged: it should be text.") from None

    def read(self, name: str) -> bytes:
        """Read an object. Raise FileNotFoundError if there is none."""
        with self._speaking() as client:
            return bytes(client.get(self.key(name)).bytes())

    def version(self, name: str) -> str:
        """Return the ETag of an object. Raise FileNotFoundError if there is none."""
        with self._speaking() as client:
            return str(client.head(self.key(name))["e_tag"])

    def exists(self, name: str) -> bool:
        """Return True if there is such an object."""
        try:
            with self._speaking() as client:
                client.head(self.key(name))
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str = "", most: int | None = None) -> list[str]:
        """Return whole keys below a folder (default: the archive's), at most `most` of them."""
        found: list[str] = []
        with self._speaking() as client:
            for page in client.list(self.key(folder).rstrip("/") or None, chunk_size=most or 1000):
                found += [item["path"] for item in page]
                if most is not None and len(found) >= most:
                    break
        return found[:most]

    def put(self, name: str, text: str, *, if_etag: str | None = None) -> str:
        """Write a small object that does not exist, or still has this ETag; return its ETag. Raise Conflict otherwise."""
        with self._speaking() as client:
            mode: Any = "create" if if_etag is None else {"e_tag": if_etag}
            return str(client.put(self.key(name), text.encode(), mode=mode)["e_tag"])

    def overwrite(self, name: str, content: str | bytes) -> None:
        """Write a small object; replace an existing one."""
        with self._speaking() as client:
            client.put(self.key(name), content if isinstance(content, bytes) else content.encode())

    def delete(self, name: str) -> None:
        """Remove a small object."""
        with self._speaking() as client:
            client.delete(self.key(name))

    @contextmanager
    def _speaking(self) -> Iterator[S3Store]:
        """Open a client; convert its errors to ours, except FileNotFoundError if only the object is missing."""
        how = self.access
        client = _client(self.bucket, how)
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield client
        except FileNotFoundError as error:  # obstore's word for a missing object, and for a missing bucket
            if "<Code>NoSuchBucket" in str(error):
                raise explain(error, self.place, how) from None
            raise
        except (AlreadyExistsError, PreconditionError):
            raise Conflict(
                f"{self.place} was written by someone else at the same time. Look at the archive, and try again."
            ) from None
        except (BaseError, OSError) as error:
            raise explain(error, self.place, how) from None


def parse_address(text: str) -> Remote:
    """Parse bucket and prefix of ``s3://bucket/prefix``, without the archive's identity.

    >>> parse_address("s3://beamtimes/2026/nickelates/")
    Remote(bucket='beamtimes', prefix='2026/nickelates', uuid='')
    """
    bucket, _, prefix = re.sub("^s3:/+", "", text).partition("/")
    if not BUCKET.fullmatch(bucket):
        raise CallError(
            f'{text}: "{bucket}" cannot be a bucket. Write s3://bucket/prefix, such as s3://beamtimes/2026.'
        )
    parts = [part for part in prefix.split("/") if part]
    for part in parts:
        if not PART.fullmatch(part) or part in (".", ".."):
            raise CallError(f'{text}: "{part}" cannot be part of a prefix here. Use letters, digits and . _ - = + @.')
    return Remote(bucket, "/".join(parts))


def locate_remote(text: str) -> Remote:
    """Find the archive at an address; read and check its marker. Raise as `location.locate` does."""
    found = parse_address(text)
    marker = found.get(MARKER)
    if marker is None:
        raise NotFound(
            f"there is no archive at {found.place}. Correct the address, or create it: barospec init {found.place}"
        )
    return replace(found, uuid=identity(marker, f"{found.place}/{MARKER}", found.place))


def claim(text: str) -> Remote:
    """Check the location of a new archive: empty, in a bucket that honors conditional writes.

    Raises
    ------
    Conflict
        The location is not empty.
    Unsupported
        The service accepts a write whose condition fails: of two concurrent commits one would be lost.
    """
    new = replace(parse_address(text), uuid=str(uuid4()))
    if new.get(MARKER) is not None:
        raise Conflict(f"{new.place} is an archive already; nothing was changed.")
    if new.names(most=1):
        raise Conflict(f"{new.place} is not empty. Name a new prefix.")
    probe(new)
    return new


def probe(new: Remote) -> None:
    """Raise Unsupported unless the service refuses a write whose condition fails; leave nothing behind."""
    name = f"probe-{uuid4()}"
    first = new.put(name, "1")
    try:
        new.put(name, "2", if_etag=first)
        for condition in (None, first):
            try:
                new.put(name, "3", if_etag=condition)
            except Conflict:
                continue
            raise Unsupported(
                f"{new.access.endpoint or 'the service'} ignores the conditions of conditional writes (If-Match, "
                "If-None-Match), so of two concurrent commits one would be lost. Keep the archive in another service."
            )
    finally:
        with suppress(StoreError):  # an archive needs no right to delete; then one small object stays
            new.delete(name)


def mark(new: Remote) -> None:
    """Write the marker, which makes this an archive."""
    new.put(MARKER, json.dumps({"barospec_format": FORMAT, "uuid": new.uuid}) + "\n")


@lru_cache(maxsize=256)
def _seen(place: Remote, snapshot: str) -> str:
    """Return the snapshot if it exists; cached, as snapshots stay. A missing one is requested again."""
    if not place.exists(f"store/snapshots/{snapshot}"):
        raise FileNotFoundError(snapshot)
    return snapshot


@lru_cache(maxsize=4)
def _client(bucket: str, how: Access) -> S3Store:
    try:
        from obstore.store import S3Store
    except ImportError:
        raise Unsupported(
            'archives in a bucket need the obstore package: pip install "barospec[s3]" (or obstore).'
        ) from None
    options: Mapping[str, Any] = how.for_obstore()
    return S3Store(
        bucket,
        client_options={
            "allow_http": True,
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "timeout": f"{ANSWER_SECONDS}s",
        },
        retry_config={"max_retries": TRIES, "retry_timeout": timedelta(seconds=ANSWER_SECONDS)},
        **options,
    )
