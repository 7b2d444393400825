"""Reading in a process of its own, for formats whose C library crashes or hangs on damaged files.

One flipped byte of an HDF5 file can end the process with a segmentation fault or loop without end, which no
exception handler sees; a folder of a thousand files must survive it. The price is the start of an
interpreter, about 0.4 s a file.
"""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from barospec.schemas import errors
from barospec.schemas.errors import BarospecError, UnreadableFile
from barospec.schemas.records import Scan

# Seconds that a file may take, and more for each megabyte: slow shares pass, endless loops do not.
PATIENCE = 60.0
PATIENCE_PER_MB = 0.5


def read_isolated(module: str, path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Call ``read_scans(path, options)`` of a reader's module in a child process; see `call_isolated`."""
    return cast(list[Scan], call_isolated(module, "read_scans", path, options))


def call_isolated(module: str, function: str, path: Path, options: Mapping[str, Any], *more: Any) -> Any:
    """Call ``function(path, options, *more)`` of a reader's module in a child process; return or raise what it does.

    Parameters
    ----------
    module : str
        Full name of the module.
    function : str
        Its function.
    path : Path
        The file.
    options : mapping
        Plain values, as in `registry.read_file`.
    *more
        Further arguments, plain values too.

    Raises
    ------
    BarospecError
        As raised there; UnreadableFile when the child crashed or took too long.
    """
    megabytes = path.stat().st_size / 1e6 if path.is_file() else 0.0
    limit = PATIENCE + PATIENCE_PER_MB * megabytes
    # -P: the folder we are in must not shadow the installed package.
    command = [sys.executable, "-P", "-m", __name__]
    request = pickle.dumps((module, function, str(path), dict(options), more))
    try:
        # A group of its own: Ctrl-C is for the caller to answer, who may want this file first.
        done = subprocess.run(command, input=request, capture_output=True, timeout=limit, check=False, process_group=0)
    except subprocess.TimeoutExpired:
        raise UnreadableFile(
            f"{path}: reading took more than {limit:.0f} s and was stopped: damaged, or on a very slow disk? "
            "Compare it with its original."
        ) from None
    if done.returncode != 0:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        raise UnreadableFile(
            f"{path}: the library that reads it crashed (exit {done.returncode}; {last}): damaged. "
            "Compare it "
            "with its original."
        )
    kind, content = pickle.loads(done.stdout)
    if kind == "done":
        return content
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, BarospecError):
        raise known(content)
    raise UnreadableFile(f"{path}: cannot be read ({kind}: {content}). Damaged, truncated or still being written?")


def _serve() -> None:
    """Answer one request on standard input; whatever libraries print goes to standard error."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, function, path, options, more = pickle.load(sys.stdin.buffer)
    try:
        called = getattr(importlib.import_module(module), function)
        reply: tuple[str, Any] = ("done", called(Path(path), options, *more))
    except Exception as error:  # a damaged file can make a library raise anything
        text = str(error)
        reply = (type(error).__name__, text if isinstance(error, BarospecError) else text.split("\n", 1)[0])
    with answer:
        pickle.dump(reply, answer)


if __name__ == "__main__":
    _serve()
