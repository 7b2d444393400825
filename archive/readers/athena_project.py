"""Athena projects as groups: gzipped or plain, Perl text or JSON. What the groups mean is in ``athena.py``."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from barospec.archive.readers import perl, tables
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Problem

GZIP = b"\x1f\x8b"
MARK = "Athena project file"
ARRAYS = ("x", "y", "i0", "signal", "stddev")
# Larger than any project; a damaged or hostile file may claim to hold a thousand times its size.
_MOST = 512 * 2**20
_STATEMENT = re.compile(r"\s*[$@%](\w+)\s*=\s*(.*?)\s*;\s*$")
# Directories of an absolute path, at the beginning of a text or after a blank.
_FOLDERS = re.compile(r"(?:(?<=\s)|^)(?:[A-Za-z]:[\\/]|[\\/])(?:[^\\/\n]*[\\/])*")


@dataclass(slots=True)
class AthenaGroup:
    """One group: its key in the project, parameters, arrays, XDI metadata; `wrong` says what is damaged."""

    key: str
    args: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, tables.Array] = field(default_factory=dict)
    xdi: dict[str, Any] = field(default_factory=dict)
    wrong: list[tuple[str, int]] = field(default_factory=list)
    line: int = 0

    @property
    def label(self) -> str:
        """The name people gave it, or its key."""
        return " ".join(str(self.args.get("label") or "").split()) or self.key

    def flag(self, name: str) -> bool:
        """Check whether a parameter is switched on; Perl and JSON write 1, "1" and true."""
        return str(self.args.get(name) or "0").strip().casefold() not in ("0", "", "0.0", "false", "no")


@dataclass(slots=True)
class Project:
    """All groups of a project, with its header lines, its journal and what is wrong with the file."""

    groups: list[AthenaGroup] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    journal: str = ""
    problems: list[Problem] = field(default_factory=list)


def beginning(head: bytes) -> str:
    """Read the first characters of a file that may be gzipped; "" where it cannot be unpacked.

    >>> beginning(b"# Athena project file -- Demeter version 0.9.26")[:21]
    '# Athena project file'
    """
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(31).decompress(head, 1024)
        except zlib.error:
            return ""
    return head[:1024].decode("latin-1")


def read_project(path: Path) -> Project:
    """Read the groups of an Athena project.

    Parameters
    ----------
    path : Path
        The file, gzipped or not, in Perl text (Demeter's and Athena's own) or JSON.

    Returns
    -------
    Project
        Paths in parameters without their directories.

    Raises
    ------
    UnreadableFile
        When it is no project, damaged or truncated.

    Notes
    -----
    Layout after the Athena users' guide (project files) and real projects: ``$old_group``, ``@args``, arrays
    and ``[record]`` for each group; JSON has the same names in an object for each group.
    """
    project = Project()
    text = _text(path, project)
    if MARK not in text[:1024]:
        raise UnreadableFile(f'{path}: "{MARK}" does not stand in its first lines: no Athena project, or damaged.')
    if text.lstrip().startswith("{"):
        _read_json(text, path, project)
    else:
        _read_perl(text, path, project)
    for group in project.groups:
        group.args, group.xdi = without_folders(group.args), without_folders(group.xdi)
    return project


def without_folders(value: Any) -> Any:
    """Return the same parameters with file names in place of absolute paths, which hold proposal numbers and names.

    >>> without_folders({"file": "/home/someone/2014/NiO.000", "titles": ["N2 in I0/It"]})
    {'file': 'NiO.000', 'titles': ['N2 in I0/It']}
    """
    if isinstance(value, str):
        return _FOLDERS.sub("", value)
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    return value


def _text(path: Path, project: Project) -> str:
    raw = path.read_bytes()
    if not raw.startswith(GZIP):
        text, project.problems = tables.read_text(path)
        return text
    unpacker = zlib.decompressobj(31)
    try:
        data = unpacker.decompress(raw, _MOST)
    except zlib.error as error:
        raise UnreadableFile(f"{path}: cannot be unpacked ({error}): damaged. Compare it with its original.") from None
    if unpacker.unconsumed_tail:
        raise UnreadableFile(f"{path}: unpacks to more than {_MOST // 2**20} MB, which is no project.")
    if not unpacker.eof:
        raise UnreadableFile(f"{path}: the packed data end early: truncated, or still being written?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        project.problems.append(Problem("note", "not UTF-8; read as Latin-1", str(path)))
        return data.decode("latin-1")


def _read_perl(text: str, path: Path, project: Project) -> None:
    group: AthenaGroup | None = None
    ended = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#"):
            project.header += [line.lstrip("# ").rstrip()] if not project.groups and group is None else []
            continue
        if line.startswith("[record]"):
            project.groups += [group] if group is not None else []
            group = None
        ended = ended or line.strip() == "1;"
        match = _STATEMENT.match(line)
        if match is None:
            if group is not None and line.strip():
                group.wrong.append((f'"{line.strip()[:30]}" is no statement', number))
            continue
        name = match[1]
        if name == "old_group":
            group = AthenaGroup("", line=number)
        if group is not None or name == "journal":
            _statement(name, match[2], number, group, project)
    if group is not None or not ended:
        where = "within a group, which is skipped" if group is not None else "without its last line"
        project.problems.append(
            Problem("warning", f"the project ends {where} (a row is missing): truncated?", str(path))
        )


def _statement(name: str, literal: str, number: int, group: AthenaGroup | None, project: Project) -> None:
    """Take what a line assigns; a line that cannot be understood spoils its group only."""
    try:
        value = perl.parse(literal)
        if name == "journal":
            project.journal = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
        elif group is None:
            return
        elif name == "old_group":
            group.key = str(value)
        elif name == "args" and isinstance(value, list) and len(value) % 2 == 0:
            group.args = {str(key): item for key, item in zip(value[::2], value[1::2], strict=True)}
        elif name in ARRAYS:
            group.arrays[name] = _numbers(value)
        elif name == "xdi" and isinstance(value, dict):
            group.xdi = value
        elif name == "args":
            raise InvalidData("args is no list of pairs")
    except InvalidData as error:
        if group is not None:
            group.wrong.append((f"{name}: {error}", number))


def _read_json(text: str, path: Path, project: Project) -> None:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        reason = getattr(error, "msg", "nested too deeply")
        raise UnreadableFile(
            f"{path}:{line}: no valid JSON ({reason}): damaged, truncated or still being written?"
        ) from None
    if not isinstance(content, dict):
        raise UnreadableFile(f"{path}: the JSON text is no object; an Athena project is one.")
    project.header = [str(content[key]).lstrip("# ") for key in sorted(content) if key.startswith("_____header")]
    journal = content.get("_____journal")
    project.journal = "\n".join(map(str, journal)) if isinstance(journal, list) else ""
    order = content.get("_____order")
    keys = [key for key in content if not key.startswith("_____")]
    listed = [key for key in order if key in keys] if isinstance(order, list) else []
    for key in dict.fromkeys([*listed, *keys]):
        entry = content[key]
        group = AthenaGroup(key)
        project.groups.append(group)
        if not isinstance(entry, dict) or not isinstance(entry.get("args"), dict):
            group.wrong.append((f'"{key}" has no args', 0))
            continue
        group.args = entry["args"]
        group.xdi = entry["xdi"] if isinstance(entry.get("xdi"), dict) else {}
        for name in ARRAYS:
            if name in entry:
                try:
                    group.arrays[name] = _numbers(entry[name])
                except InvalidData as error:
                    group.wrong.append((f"{name}: {error}", 0))


def _numbers(value: Any) -> tables.Array:
    """Return a list of numbers or of their texts; NaN where one is undefined."""
    if not isinstance(value, list):
        raise InvalidData("is no list")
    found = [tables.numeric(item) if isinstance(item, str) else item for item in value]
    for item, text in zip(found, value, strict=True):
        if text is not None and (item is None or isinstance(item, bool) or not isinstance(item, int | float)):
            raise InvalidData(f'"{str(text)[:20]}" is no number')
    return np.array([np.nan if item is None else item for item in found], dtype=np.float64)
