"""Time limits for icechunk: calls on a bucket, and reads and writes through zarr.

Icechunk gives up a request that is silent for some time, but not a slow one, and on some damaged files it never
returns. A thread that does not return cannot be stopped; it ends with the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import icechunk
from icechunk.store import IcechunkStore

from barospec.schemas.errors import StoreError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

T = TypeVar("T")
# For one request to a bucket; for a commit; for clearing, which checks each object. A network answers within seconds; a
# longer wait is hopeless.
ANSWER_SECONDS, COMMIT_SECONDS, CLEARING_SECONDS = 120.0, 600.0, 6 * 3600.0


class Unanswered(StoreError):
    """No answer within the time limit."""


def within(seconds: float, place: str, call: Callable[[], T]) -> T:
    """Return the result of a call, or raise its error; raise Unanswered if it does neither in time.

    >>> within(5, "s3://b/a", lambda: 1)
    1
    """
    results: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="barospec-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not results:
        raise _unanswered(seconds, place)
    return results[0]


def each_within(seconds: float, place: str, found: Iterable[T]) -> Iterator[T]:
    """Yield the elements of an iterable, with a time limit for each."""
    iterator, end = iter(found), object()
    while (element := within(seconds, place, lambda: next(iterator, end))) is not end:
        yield element  # type: ignore[misc]  # all but the end are T


class Patient(IcechunkStore):
    """The zarr store of a session, with a time limit for each read and write; listing and deleting need no request."""

    place: str

    @classmethod
    def of(cls, session: icechunk.Session, place: str) -> Patient:
        """Return the store of a session on the archive at `place`."""
        store = session.store
        patient = cls(store._store, for_fork=False, read_only=store.read_only)
        patient.place = place
        return patient

    async def _within(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise _unanswered(ANSWER_SECONDS, self.place) from None

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read one object, or a range of it."""
        return await self._within(super().get(key, prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read ranges of objects."""
        return await self._within(super().get_partial_values(prototype, key_ranges))

    async def exists(self, key: str) -> bool:
        """Return True if there is such an object."""
        return await self._within(super().exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Write one object."""
        await self._within(super().set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write one object that does not exist."""
        await self._within(super().set_if_not_exists(key, value))


def _unanswered(seconds: float, place: str) -> Unanswered:
    return Unanswered(
        f"{place}: no answer within {seconds:.0f} s. Check the network and the service, and try again; `barospec verify` finds damage."
    )
