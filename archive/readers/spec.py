"""SPEC data files: every scan (``#S``) with an energy axis.

After the SPEC manual ("standard data file format"): ``#S number command``, ``#L`` labels two blanks apart,
``#O``/``#P`` names and positions of motors, ``#D`` date, ``@A`` multichannel spectra. Scans are called
``number.order`` as in silx: ``12.1``, and ``12.2`` for the second scan 12. Which column is what follows the tables
of ``channel_mapping.py``, or the caller's ``channels``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from barospec.archive.readers import channel_mapping, sample_environment, scans, tables
from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Problem, Scan
from barospec.schemas.units import find_unit

name = "spec"
version = 1
suffixes = (".spec", ".dat", ".mca")

_SCAN = re.compile(r"#S[ \t]+(\d+)(?:[ \t]+(.*))?")
_BEGINS = re.compile(
    rb"(?:#(?:F [^\n]*|E \d+|D [^\n]*|C [^\n]*|U [^\n]*|O\d+ [^\n]*|o\d+ [^\n]*|J\d+ [^\n]*|j\d+ [^\n]*)?\s*\n)*#S[ \t]+\d+"
)
# A header of many motors may fill the first 4096 bytes.
_ONLY_HEADER = re.compile(rb"#F [^\n]+\n(?:#[^\n]*\n|\s*\n)+#?[^\n]*\Z")
# APS 12-BM copies a few of SPEC's marks into a layout of its own, which has no #L.
_APS = re.compile(rb"^#C 1_Energy \(", re.MULTILINE)


@dataclass(slots=True)
class _Block:
    """One scan as text: number, order among those of its number, command, header lines and rows."""

    number: int
    order: int
    command: str
    line: int
    header: list[tuple[int, str]] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    first: int = 0
    shared: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.number}.{self.order}"

    def text(self, mark: str) -> str:
        """Return the first header line of a mark, such as ``#L``; the file's where the scan has none."""
        for line in (*(text for _, text in self.header), *self.shared):
            if line.startswith(f"{mark} "):
                return line[len(mark) :].strip()
        return ""


def sniff(head: bytes, filename: str) -> bool:
    """Check whether the first lines are SPEC's (``#F``, ``#E``, ``#O0``, ...) up to a first ``#S number``."""
    head = head.replace(b"\r\n", b"\n").lstrip()
    if _APS.search(head):
        return False
    return bool(_BEGINS.match(head)) or (head.startswith(b"#F ") and bool(_ONLY_HEADER.match(head)))


def read(path: Path, options: Mapping[str, Any]) -> list[Scan]:
    """Read all spectra of a SPEC file, in the order of the file.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``channels``: vocabulary channel, or ``energy``, to a column's label, to a list of labels to be summed, or
        to ``{counter: ..., unit: keV}``. Channels that it does not name follow the tables of ``channel_mapping.py``.

    Returns
    -------
    list of Scan
        Energy in eV. Scans without an energy axis (alignments, time scans) are a note of the first scan.

    Raises
    ------
    UnreadableFile, InvalidData
        See ``archive/readers/README.md``.
    """
    text, notes = tables.read_text(path)
    blocks = _blocks(text)
    if not blocks:  # also Quanty's ".spec", which has its own reader
        raise UnreadableFile(f"{path}: no scan (#S number command) in it: no SPEC file, or cut before its first scan.")
    wanted = channel_mapping.wanted_channels(options, str(path))
    found: list[Scan] = []
    other: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    for block in blocks:
        last = block is blocks[-1] and not text.endswith("\n") and bool(block.rows) and bool(block.rows[-1].strip())
        try:
            found.append(_scan(block, path, wanted, last))
        except channel_mapping.NoSpectrum as reason:
            other.setdefault(str(reason), []).append(block.name)
        except (InvalidData, UnreadableFile) as error:
            message = str(error).removeprefix(f"{path} [{block.name}]: ")
            notes.append(Problem("warning", f"not read: {message}", str(path), block.line, scan=block.name))
            refused.setdefault(message, []).append(block.name)
    if not found:
        raise InvalidData(channel_mapping.nothing_read(path, refused | other, notes))
    for why, names in other.items():
        notes.append(Problem("note", f"no spectrum in {channel_mapping.names_of(names)}: {why}", str(path)))
    found[0].problems[:0] = notes
    return found


def _blocks(text: str) -> list[_Block]:
    """Return the scans of a file; a header of the file (``#F``, ``#O``) holds for the scans after it."""
    blocks: list[_Block] = []
    times: Counter[int] = Counter()
    shared: list[str] = []
    block: _Block | None = None
    for number, line in enumerate(text.split("\n"), 1):
        start = _SCAN.match(line)
        if start:
            times[int(start[1])] += 1
            block = _Block(int(start[1]), times[int(start[1])], (start[2] or "").strip(), number, shared=shared)
            blocks.append(block)
        elif line.startswith(("#F ", "#E ")):
            # A file header in the middle of a file replaces the one before.
            shared = [line] if line.startswith("#F ") or block is not None else [*shared, line]
            block = None
        elif block is None:
            shared.append(line)
        elif line.startswith("#"):
            block.header.append((number, line))
            block.rows += [""] if block.rows else []  # rows are counted to report their lines
        elif line.startswith("@") or (block.rows and block.rows[-1].endswith("\\")):
            # Spectra of a multichannel analyzer, continued by a backslash, are no columns of the scan.
            block.rows.append(line if line.endswith("\\") else "")
            block.first = block.first or number
        elif line.strip() or block.rows:
            block.rows.append(line)
            block.first = block.first or number
    return blocks


def labels_of(line: str) -> list[str]:
    """Return labels of a ``#L`` line: two blanks or a tab apart, since a label may hold single ones.

    >>> labels_of("Two Theta  I0 mon  Seconds")
    ['Two Theta', 'I0 mon', 'Seconds']
    """
    return [label for label in re.split(r" {2,}|\t+", line.strip()) if label]


def _scan(block: _Block, path: Path, wanted: Mapping[str, Any], last: bool) -> Scan:
    place = f"{path} [{block.name}]"
    rows = ["" if line.endswith("\\") else line for line in block.rows]
    if not any(line.strip() for line in rows):
        raise channel_mapping.NoSpectrum("no rows of numbers (aborted before the first point)")
    table = tables.parse_table(rows, block.first, path, cut=last)
    labels = _labels(block, table, place)
    entry = channel_mapping.ScanEntry(
        block.name, path, {label: table.values[:, index] for index, label in enumerate(labels)}, _units(labels)
    )
    technique, axis, unit = channel_mapping.find_axis(entry, wanted.get("energy"))
    chosen = channel_mapping.choose(entry, technique, axis, wanted)
    energy = channel_mapping.in_ev(entry, axis, unit)
    channels = channel_mapping.alive(
        entry, {channel: channel_mapping.sum_of(entry, names) for channel, names in chosen.items()}, chosen
    )
    _tell_length(block, len(table.values), entry)
    conditions = {"technique": technique} | _conditions(block, entry)
    conditions |= sample_environment.temperature(entry, (), wanted.get("temperature"))
    problems = [*(Problem(p.severity, p.message, p.file, p.line, scan=block.name) for p in table.problems)]
    return scans.make_scan(
        path,
        energy,
        channels,
        name=block.name,
        lines=table.lines,
        title=block.command,
        conditions=conditions,
        header=_header(block, {"energy": [axis], **chosen}) | sample_environment.dead_time(entry, chosen),
        problems=[*problems, *entry.problems],
    )


def _labels(block: _Block, table: tables.Table, place: str) -> list[str]:
    """Return labels of the columns, each its own; InvalidData when they are not as many as the columns."""
    width = table.values.shape[1]
    line = block.text("#L")
    labels = labels_of(line)
    if len(labels) == 1 and len(line.split()) == width:
        labels = line.split()  # some programs put a single blank between all labels
    if len(labels) != width:
        raise InvalidData(
            f"{place}: {len(labels)} labels (#L) for {width} columns, so which column is what is not known. Correct "
            "the #L line: labels stand two blanks apart."
        )
    times = Counter(labels)
    seen: Counter[str] = Counter()
    named = []
    for label in labels:
        seen[label] += 1
        named.append(f"{label} ({seen[label]})" if times[label] > 1 else label)
    return named


def _units(labels: Sequence[str]) -> dict[str, str]:
    """Return units that labels state in brackets: "Energy (keV)"."""
    stated = {label: re.search(r"[(\[]\s*(\S+?)\s*[)\]]$", label) for label in labels}
    found = {
        label: {"kev": "keV", "ev": "eV"}.get(match[1].casefold(), match[1]) for label, match in stated.items() if match
    }
    return {label: unit for label, unit in found.items() if find_unit(unit)}


def _tell_length(block: _Block, points: int, entry: channel_mapping.ScanEntry) -> None:
    """Warn when a step scan (``ascan motor from to intervals time``) ended early."""
    match = re.match(r"\s*[ad]scan\s+\S+\s+\S+\s+\S+\s+(\d+)\s+\S+\s*$", block.command)
    if match and points < int(match[1]) + 1:
        entry.add_problem(
            "warning", f"{points} of {int(match[1]) + 1} points: aborted, truncated, or still being measured"
        )


def _conditions(block: _Block, entry: channel_mapping.ScanEntry) -> dict[str, Any]:
    start = block.text("#D")
    if not start:
        return {}
    if moment := scans.utc(start):
        return {"time": moment}
    entry.add_problem("note", f'the date "{start}" has no time zone; time (UTC) is left open')
    return {}


def _header(block: _Block, chosen: Mapping[str, list[str]]) -> dict[str, str]:
    """Return what the file says about the scan, without ``#F``, which may hold a path, and without the user's name."""
    header = {
        "command": block.command,
        "date": block.text("#D"),
        "counting": block.text("#T") or block.text("#M"),
        "comments": "\n".join(line[2:].strip() for _, line in block.header if line.startswith("#C ")),
        "channels": ", ".join(f"{channel}: {'+'.join(names)}" for channel, names in chosen.items()),
    }
    names, values = [], []
    for line in block.shared:
        if re.match(r"#O\d+ ", line):
            names += labels_of(line.split(" ", 1)[1])
    for _, line in block.header:
        if re.match(r"#P\d+ ", line):
            values += line.split()[1:]
    if names and len(names) == len(values):
        header |= {f"positioners.{motor}": value for motor, value in zip(names, values, strict=True)}
    return {key: text for key, text in header.items() if text.strip()}
