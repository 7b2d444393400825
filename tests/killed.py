"""Child processes that kill themselves: at a chosen call, counted, so that no clock decides where."""

from __future__ import annotations

import signal
import subprocess
import sys

# Runs first in the child. An "after" kill lets the call do its work first; places are named as pkgutil.resolve_name does.
PREAMBLE = """
def _kill_at(owner, name, number, after):
    import os, pkgutil, signal
    target = pkgutil.resolve_name(owner)
    call, calls = getattr(target, name), [0]

    def counting(*args, **options):
        calls[0] += 1
        if calls[0] != number:
            return call(*args, **options)
        if after:
            call(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(target, name, counting)
"""
COMMAND_LINE = "from barospec.cli.main import run; run()"


def run_killed(program: str, words: list[str], place: str, number: int = 1, *, after: bool = False) -> None:
    """Run `program` in a child that gets SIGKILL at a call; fail when the call never came.

    Parameters
    ----------
    program : str
        Python code.
    words : list of str
        Its arguments.
    place : str
        Function that is counted, such as ``icechunk:Session.commit``. A function that was imported by name counts where
        it was imported to.
    number : int
        Which call kills, from 1.
    after : bool
        Kill when the call has returned instead of before it.
    """
    module, _, path = place.partition(":")
    owner, _, name = path.rpartition(".")
    begin = f"{PREAMBLE}\n_kill_at({f'{module}:{owner}' if owner else module!r}, {name!r}, {number}, {after})\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == -signal.SIGKILL, f"no kill at {place}, call {number}: {done.stderr.decode()}"
