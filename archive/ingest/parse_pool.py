"""Parsing of many files: in this process while that is quicker, else in worker processes.

A worker is a separate interpreter that imports readers only and answers on a pipe. It is not a fork (a process with
threads hangs in one) and not `multiprocessing`'s spawn, which runs the caller's script again in each worker and ends the
pool at one crash; here a crash costs the file that caused it.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

from barospec.archive.readers import registry
from barospec.schemas.errors import BarospecError, UnreadableFile
from barospec.schemas.records import Problem, Scan

# Remaining seconds of parsing for which workers pay: they start in 0.3 to 0.5 s each, see benchmarks/files.py.
WORTH = 1.5
# Seconds of parsing in one request: long against the pipe, short against the whole.
REQUEST = 0.1
MAX_FILES = 64


@dataclass(frozen=True, slots=True)
class Job:
    """A file to parse; ``growing`` ones may change meanwhile.

    ``seen`` holds names of entries that had ended before, which some formats can skip.
    """

    path: Path
    format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    growing: bool = False
    seen: tuple[str, ...] | None = None


@dataclass(slots=True)
class Parsed:
    """Result of parsing a file: its scans, or the error.

    ``sha256`` is "" if the file was still growing or was read in part. ``ended`` are the entries that need not be read
    again.
    """

    path: Path
    reader: str = ""
    sha256: str = ""
    scans: list[Scan] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    error: BarospecError | None = None


def parse_file(job: Job) -> Parsed:
    """Read one file and its sha256; any failure is in ``error``.

    Parameters
    ----------
    job : Job

    Returns
    -------
    Parsed
        A file that changed while it was read has an error: the sha256 does not match the scans.
    """
    try:
        before = job.path.stat()
        part = None
        if job.seen is not None:
            part = registry.read_since(job.path, job.format, job.options, job.seen)
        if part is not None and (part[1] or job.seen or job.growing):
            reader, scans, ended, problems = part
        else:
            ended, problems = [], []
            reader, scans = registry.read_file(job.path, job.format, job.options)
        digest = ""
        if part is None or not (job.growing or job.seen):
            with job.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = job.path.stat()
        if not job.growing and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise UnreadableFile(f"{job.path}: changed while it was read; is it still being written? Try again later.")
    except BarospecError as error:
        return Parsed(job.path, error=error)
    except OSError as error:
        reason = error.strerror or error
        return Parsed(job.path, error=UnreadableFile(f"{job.path}: cannot be read: {reason}."))
    return Parsed(job.path, f"{reader.name} {reader.version}", digest, scans, ended, problems)


def parse(jobs: Sequence[Job], workers: int | None = None) -> Iterator[Parsed]:
    """Parse files, in their order.

    Parameters
    ----------
    jobs : sequence of Job
    workers : int, optional
        Maximum number of processes; default: the cores that this process may use. With 1, or while the rest takes less than
        `WORTH` seconds at the present pace, files are parsed in this process.

    Yields
    ------
    Parsed
        One for each job. At most a few dozen parsed files are in memory.
    """
    count = _cores() if workers is None else workers
    spent = 0.0
    for done, job in enumerate(jobs):
        # The first file pays for the import of its reader and is no measure.
        pace = spent / (done - 1) if done > 1 else 0.0
        if count > 1 and pace * (len(jobs) - done) > WORTH:
            yield from _pooled(jobs[done:], min(count, len(jobs) - done), pace)
            return
        start = time.perf_counter()
        parsed = parse_file(job)
        spent += time.perf_counter() - start if done else 0.0
        yield parsed


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pooled(jobs: Sequence[Job], count: int, pace: float) -> Iterator[Parsed]:
    size = max(1, min(MAX_FILES, int(REQUEST / pace)))
    idle: SimpleQueue[_Worker] = SimpleQueue()
    workers = [_Worker() for _ in range(count)]
    for worker in workers:
        idle.put(worker)

    def run(batch: Sequence[Job]) -> list[Parsed]:
        worker = idle.get()
        try:
            return worker.parse(batch)
        finally:
            idle.put(worker)

    waiting: deque[Future[list[Parsed]]] = deque()
    try:
        with ThreadPoolExecutor(count) as threads:
            try:
                for start in range(0, len(jobs), size):
                    waiting.append(threads.submit(run, jobs[start : start + size]))
                    if len(waiting) > 2 * count:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                # Also when the caller stops early, so that no worker waits.
                for future in waiting:
                    future.cancel()
                for worker in workers:
                    worker.kill()
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A worker process, started at first use and again after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def parse(self, jobs: Sequence[Job]) -> list[Parsed]:
        """Parse in the process; return an empty list once it is killed."""
        if self._killed:
            return []
        try:
            return self._ask(jobs)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.stop()
        # One of them crashed the process; parsed one by one, the others are read and it is found.
        if len(jobs) > 1 or self._killed:
            return [parsed for job in jobs for parsed in self.parse([job])]
        message = f"{jobs[0].path}: the library that reads it crashed: damaged. Compare it with its original."
        return [Parsed(jobs[0].path, error=UnreadableFile(message))]

    def _ask(self, jobs: Sequence[Job]) -> list[Parsed]:
        if self._process is None:
            # -P: the current folder must not shadow the installed package.
            command = [sys.executable, "-P", "-m", __name__]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            # A separate process group: this process handles Ctrl-C.
            self._process = subprocess.Popen(command, process_group=0, **pipes)  # type: ignore[call-overload]
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(list(jobs), process.stdin)
        process.stdin.flush()
        return cast(list[Parsed], pickle.load(process.stdout))

    def kill(self) -> None:
        """Kill the process from another thread; its work is lost."""
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End the process, if there is one, and close its pipes."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _serve() -> None:
    """Answer requests on standard input until it ends; output printed by libraries is kept out of the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            jobs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump([parse_file(job) for job in jobs], answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    # By its real name, so that pickled objects do not belong to "__main__".
    from barospec.archive.ingest import parse_pool

    parse_pool._serve()
