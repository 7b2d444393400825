"""Readers in several processes and threads while a writer publishes indexes: no error, and no answer of two snapshots."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Barrier

import numpy as np

from barospec import Archive
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Batch, Writer
from barospec.catalogs.index import build, database

PUBLICATIONS = 100
APPENDING = 10  # every so many states; setting temperatures alone is quicker
READERS = 3
# The writer waits for the readers' answers after so many states, and has asked each for so many.
WAITING, AHEAD = 5, 4
KEY = "xas/Ni-K"

Seen = tuple[str, int, frozenset[float], int]


def rows_at(number: int) -> int:
    """How many rows state `number` has."""
    return (number - 1) // APPENDING + 1


def commit(store: Store, number: int) -> str:
    """Commit state `number`: on every row the temperature is set to `number`, and now and then a row is added.

    So all temperatures of a snapshot are its number, and its rows are as many as `rows_at` says.
    """
    energy = np.array([8300.0, 8340.0])
    row = {
        "spectrum_id": f"{number:016x}", "revision": 1, "status": "active", "run": f"run-{number % 7}", "sample": "NiO",
        "technique": "xas", "edge": "Ni K", "origin": "synthetic", "temperature": float(number), "point_count": 2,
    }  # fmt: skip
    batch = Batch([energy], [{"mu": energy}], [row])
    for hashes in batch.hashes.values():
        hashes.append(os.urandom(32))
    with store.transaction("test") as work:
        writer = Writer(work.root, work.changes)
        held = rows_at(number - 1) if number > 1 else 0
        if held:
            writer.edit_spectra(KEY, range(held), {"temperature": float(number)})
        if rows_at(number) > held:
            writer.append_spectra(KEY, batch)
        work.message = f"state {number}"
    assert work.snapshot is not None
    build.publish(store, work.snapshot)
    return work.snapshot


def ask(archive: Archive, number: int) -> Seen:
    """One answer in the way of reader `number`: snapshot, rows, their temperatures, and a second count."""
    if number == 0:  # a selection fetches its columns later, when its index may be gone already
        selection = archive.query("NiO Ni K")
        found = selection.columns(["temperature", "run"])
        return selection.snapshot, len(selection), frozenset(map(float, found["temperature"])), len(found["run"])
    if number == 1:
        with archive.ask("runs of NiO below 1000 K") as answer:
            rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        matched = sum(row["matched"] for row in rows)
        temperatures = frozenset(row[end] for row in rows for end in ("temperature_min", "temperature_max"))
        return answer.snapshot, matched, temperatures, sum(row["of"] for row in rows)
    with archive.ask("NiO below 1000 K") as answer:
        place = answer.columns.index("temperature")
        temperatures = frozenset(row[place] for row in answer.rows)
    return answer.snapshot, answer.count, temperatures, sum(answer.missing.values()) + answer.count


def read(root: str, orders: Connection, number: int) -> None:
    """Ask once for each order, and send the answer; the writer goes on meanwhile."""
    while orders.recv():
        orders.send(ask(Archive(root), number))


def test_every_answer_is_of_exactly_one_snapshot(tmp_path: Path) -> None:
    store = Archive.create(tmp_path / "archive")._store
    numbers = {commit(store, 1): 1}
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(READERS)]
    words = [(str(tmp_path / "archive"), there, number) for number, (_, there) in enumerate(pipes)]
    readers = [context.Process(target=read, args=each, daemon=True) for each in words]
    for reader, (_, there) in zip(readers, pipes, strict=True):
        reader.start()
        there.close()  # so that the end of a reader is noticed
    orders = [here for here, _ in pipes]
    seen: list[list[Seen]] = [[] for _ in orders]
    for number in range(2, PUBLICATIONS + 2):
        if number % WAITING == 2:
            # Every answer to the orders so far, however slow the readers are; then orders that overlap what follows.
            for order, answers in zip(orders, seen, strict=True):
                answers += [order.recv() for _ in range(AHEAD)] if number > 2 else []
                for _ in range(AHEAD):
                    order.send(True)
        numbers[commit(store, number)] = number
    for order, answers in zip(orders, seen, strict=True):
        answers += [order.recv() for _ in range(AHEAD)]
        order.send(False)
    for reader, order in zip(readers, orders, strict=True):
        reader.join()
        order.close()
    for answers in seen:
        for snapshot, count, temperatures, counted_otherwise in answers:
            assert rows_at(numbers[snapshot]) == count == counted_otherwise
            assert temperatures == {float(numbers[snapshot])}
        states = [numbers[answer[0]] for answer in answers]
        assert states == sorted(states)  # nobody is thrown back
        assert len(set(states)) >= PUBLICATIONS // WAITING  # or nothing was tested


THREADS = 50
QUESTIONS = 8


def test_fifty_threads_read_beside_a_writer(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    store = Archive.create(root)._store
    numbers = {commit(store, 1): 1}
    begin = Barrier(THREADS + 1)

    def ask(thread: int) -> list[Seen]:
        archive, seen = Archive(root), []
        begin.wait()
        for question in range(QUESTIONS):
            if (thread + question) % 2:
                selection = archive.query("NiO Ni K")
                found = selection.columns(["temperature", "run"])
                temperatures = frozenset(map(float, found["temperature"]))
                seen.append((selection.snapshot, len(selection), temperatures, len(found["run"])))
            else:
                with archive.ask("NiO below 1000 K") as answer:
                    place = answer.columns.index("temperature")
                    temperatures = frozenset(row[place] for row in answer.rows)
                seen.append((answer.snapshot, answer.count, temperatures, answer.count))
        return seen

    def write() -> None:
        begin.wait()
        # More than databases stay open, and more than index files are kept.
        for number in range(2, 2 * database.MOST_OPEN + build.KEEP + 2):
            numbers[commit(store, number)] = number

    with ThreadPoolExecutor(THREADS + 1) as pool:
        readers = [pool.submit(ask, thread) for thread in range(THREADS)]
        writer = pool.submit(write)
        answers = [reader.result() for reader in readers]
        writer.result()
    for snapshot, count, temperatures, counted_otherwise in (one for seen in answers for one in seen):
        assert rows_at(numbers[snapshot]) == count == counted_otherwise
        assert temperatures == {float(numbers[snapshot])}
    assert sum(map(len, answers)) == THREADS * QUESTIONS
