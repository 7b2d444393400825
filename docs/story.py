"""Run the commands of a page and write their outputs below them: ``python docs/story.py docs/derived.md``.

In a ``console`` block each command begins with ``$``; all commands run in one process, in order, on a copy of the sample
archive. A ``python`` block runs too; its output is in the following ``text`` block. A test compares the page with the current
outputs.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from pathlib import Path

BLOCK = re.compile(r"```console\n(?P<console>.*?)```|```python\n(?P<python>.*?)```\n\n```text\n(?P<text>.*?)```", re.S)
ACTOR = "ada"
PROGRESS = re.compile(r"[a-z]+ing: \d+ of \d+ .*")  # printed by long commands only


def told(page: str, archive: Path) -> str:
    """Return the page with the current outputs of its commands.

    Parameters
    ----------
    page : str
        Markdown.
    archive : path
        An archive with the sample data; the commands change it.
    """
    before = {name: os.environ.get(name) for name in ("BAROSPEC_ARCHIVE", "BAROSPEC_ACTOR", "CI")}
    os.environ.update({"BAROSPEC_ARCHIVE": str(archive), "BAROSPEC_ACTOR": ACTOR, "CI": "1"})
    try:
        return BLOCK.sub(lambda match: _block(match, archive), page)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _block(match: re.Match[str], archive: Path) -> str:
    if match["console"] is not None:
        parts = []
        for command in re.findall(r"^\$ (.*(?:\n> .*)*)", match["console"], re.M):
            parts.append(f"$ {command}\n{_command(command.replace(chr(10) + '> ', ' '))}")
        return f"```console\n{chr(10).join(parts)}```"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(match["python"].replace("my-archive", str(archive)), {})
    return f"```python\n{match['python']}```\n\n```text\n{out.getvalue()}```"


def _command(command: str) -> str:
    from barospec.cli.main import app

    words = shlex.split(command)
    assert words[0] == "barospec", command
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            app(words[1:], standalone_mode=False)
        except Exception as error:  # an error is an output too
            out.write(f"barospec: {error}\n")
    lines = (line.rstrip() for line in out.getvalue().splitlines())
    return "\n".join(line for line in lines if not PROGRESS.fullmatch(line)) + "\n"


VOLATILE = (
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{20}\b"), "SNAPSHOT"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"), "TIME"),
    (re.compile(r"\b(barospec|numpy|scipy) \d[\w.]*"), r"\1 VERSION"),
    (re.compile(r" {2,}|─+"), " "),
)


def stable(page: str) -> str:
    """Return a page without values that depend on time or machine: times, snapshots, versions, last digits."""
    for pattern, plain in VOLATILE:
        page = pattern.sub(plain, page)
    return re.sub(r"\d+\.\d+", lambda match: f"{float(match[0]):.4g}", page)


if __name__ == "__main__":
    import shutil
    import tempfile

    from barospec import Archive
    from barospec.sample_data import RAW

    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            Archive.create(Path(folder) / "archive", title="sample").ingest([RAW])
            text = Path(name).read_text(encoding="utf-8")
            Path(name).write_text(told(text, Path(folder) / "archive"), encoding="utf-8")
            shutil.rmtree(Path(folder) / "archive", ignore_errors=True)
