"""Run the commands of la3ni2o7.md again and write their outputs.

``python docs/replay.py ARCHIVE`` runs each ``$ barospec ...`` on the sample archive; its output follows the command on the page.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "la3ni2o7.md"
BLOCK = re.compile(r"```console\n\$ (?P<command>.*?[^\\])\n(?P<output>.*?)```\n", re.DOTALL)


def words(command: str) -> list[str]:
    """Return the arguments of a ``barospec`` command, which can have several lines."""
    found = shlex.split(command.replace("\\\n", " "))
    assert found[0] == "barospec", command
    return found[1:]


def run(command: str) -> str:
    """Return the stdout of a command."""
    from typer.testing import CliRunner

    from barospec.cli.main import app

    done = CliRunner().invoke(app, words(command))
    if done.exit_code:
        raise RuntimeError(f"{command}: {done.exception or done.output}")
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


def main() -> None:
    """Write the page with the current outputs of its commands."""
    os.environ["BAROSPEC_ARCHIVE"] = sys.argv[1]
    text = PAGE.read_text("utf-8")
    made = BLOCK.sub(lambda m: f"```console\n$ {m['command']}\n{run(m['command'])}```\n", text)
    PAGE.write_text(made, "utf-8")


if __name__ == "__main__":
    main()
