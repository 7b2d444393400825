"""Limits of the system: no more memory, no more open files. Every verb says so in a sentence, and no file is called damaged."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from barospec import Archive
from barospec.cli import main
from barospec.schemas.errors import StoreError, exhausted

from .files_made import SETTINGS, write_columns

FILES, MEMORY = "barospec: too many open files. ", "barospec: out of memory. "


def limited(kind: int, value: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that may not have more than `value` of something."""
    return subprocess.run(
        [sys.executable, "-m", "barospec.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(kind, (value, value)),
        check=False,
    )


@pytest.mark.parametrize("verb", ["ingest", "log", "verify", "gc", "doctor", "apply edge_energy spectra"])
def test_too_many_open_files_is_a_sentence(verb: str, empty: Archive, tmp_path: Path) -> None:
    root = empty.location.place
    path = write_columns(tmp_path / "a.xdi")
    empty.ingest([path], SETTINGS)
    head = empty.snapshot
    words = [*verb.split(), "--archive", root]
    if verb == "ingest":
        words += [str(write_columns(tmp_path / "b.xdi", seed=1)), *(f"--set={each}" for each in SETTINGS)]
    done = limited(resource.RLIMIT_NOFILE, 6, *words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(FILES), done.stderr
    assert "internal error" not in done.stderr
    assert empty.snapshot == head
    assert empty.verify().faults == []


def test_files_that_cannot_be_opened_are_not_damaged(empty: Archive, tmp_path: Path) -> None:
    empty.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if "manifests" in path.parts or "chunks" in path.parts:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return read(path)

    attempts: list[Callable[[], object]] = [empty.verify, empty.gc, empty.repair]
    for attempt in attempts:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "read_bytes", refuse)
            with pytest.raises(StoreError, match=r"^too many open files"):
                attempt()


class PanicException(BaseException):
    """As pyo3's: no Exception."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
        (OSError(errno.EMFILE, "Too many open files", "x"), FILES),
        (OSError(errno.ENFILE, "Too many open files in system"), FILES),
        (RuntimeError("can't start new thread"), MEMORY),
        (ImportError("x.so: failed to map segment from shared object"), MEMORY),
        (StoreError("a cannot be opened: x Generic error: Too many open files (os error 24)"), FILES),
        (PanicException('failed to create UnixStream: Os { code: 24, message: "Too many open files" }'), FILES),
    ],
)
@pytest.mark.parametrize("verb", sorted(str(each.name) for each in main.app.registered_commands))
def test_every_verb_says_that_the_system_refused(
    verb: str, error: BaseException, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(words: list[str]) -> Callable[[], None]:
        def call() -> None:
            assert words == [verb]
            raise error

        return call

    monkeypatch.delenv("BAROSPEC_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", ["barospec", verb])
    monkeypatch.setattr(main, "_called", refused)
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert len(told.splitlines()) == 1


def test_an_error_within_an_error_counts_and_others_do_not() -> None:
    error = ValueError("cannot be read")
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert exhausted(error).startswith("too many open files")
    assert exhausted(ValueError("cannot be read")) == exhausted(OSError(errno.ENOSPC, "No space left")) == ""
