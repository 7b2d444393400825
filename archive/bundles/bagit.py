"""Sealed folders after BagIt 1.0 (RFC 8493): every file has a sha256 in a manifest, and no file beside them is tolerated.

The payload is under ``data/``; the files that explain it are beside it, sealed by the tag manifest. Stricter than the RFC, so
that any changed byte shows: one algorithm, lowercase digests, two spaces, sorted lines, no links, no fetch.txt.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from barospec.schemas.errors import InvalidData

DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
PAYLOAD, TAGS = "manifest-sha256.txt", "tagmanifest-sha256.txt"
BLOCK = 1 << 20
MOST_FILES = 2_000_000
MOST_TEXT = 512 << 20  # a manifest of two million lines is half of that
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}

Progress = Callable[[str, int, int], None]


def check_path(name: str) -> str:
    """Return a file's name within a bundle unchanged, if it can only be a path inside the bundle.

    Raises
    ------
    InvalidData
        For absolute paths, ``..``, drive letters, backslashes, control characters, names that a system reserves.

    Examples
    --------
    >>> check_path("data/spectra/xas-Ni-K.zarr/mu/c/0/0")
    'data/spectra/xas-Ni-K.zarr/mu/c/0/0'
    >>> check_path("../outside")
    Traceback (most recent call last):
    barospec.schemas.errors.InvalidData: the path "../outside" does not stay inside the bundle; refused.
    """
    parts = name.split("/")
    # PurePosixPath would quietly drop "." and "//", and two spellings of one file are two files to a manifest.
    wrong = not name or "\\" in name or ":" in name or len(name) > 1000 or PurePosixPath(name).is_absolute()
    wrong = wrong or any(part in ("", ".", "..") or part != part.strip() or len(part) > 255 for part in parts)
    wrong = wrong or any(ord(char) < 32 or ord(char) == 127 for char in name)
    if wrong or any(part.split(".")[0].casefold() in _RESERVED or part.endswith(".") for part in parts):
        raise InvalidData(f'the path "{name[:100]!s}" does not stay inside the bundle; refused.')
    return name


def files_in(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder by name with slashes, sorted. Raise InvalidData for links and special files."""
    found: list[tuple[str, Path]] = []
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(root).as_posix()
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(path)
                elif stat.S_ISREG(mode):
                    found.append((name, path))
                else:
                    kind = "a link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
                    raise InvalidData(f"{name} is {kind}; a bundle holds plain files only. Refused.")
                if len(found) > MOST_FILES:
                    raise InvalidData(f"{root} holds more than {MOST_FILES} files; refused.")
    yield from sorted(found)


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file, read a megabyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(path: Path, digests: Mapping[str, str]) -> None:
    """Write lines ``digest, two spaces, name`` as ``sha256sum -c`` reads them."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def read_manifest(path: Path) -> dict[str, str]:
    """Read name -> digest. Raise InvalidData with the line unless lines are sorted, well-formed and of safe names."""
    if path.stat().st_size > MOST_TEXT:
        raise InvalidData(f"{path.name} is larger than {MOST_TEXT >> 20} MB; refused.")
    found: dict[str, str] = {}
    before = ""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path.name}: byte {error.start} is not UTF-8: damaged.") from None
    if text and not text.endswith("\n"):
        raise InvalidData(f"{path.name}: the last line is cut off: damaged.")
    for number, line in enumerate(text.split("\n")[:-1], 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise InvalidData(f'{path.name}:{number}: "{line[:90]}" is not "sha256, two spaces, name": damaged.')
        name = check_path(match[2])
        if name <= before:
            raise InvalidData(f"{path.name}:{number}: {name} is out of order or listed twice: damaged.")
        found[name] = match[1]
        before = name
    return found


def seal(root: Path, info: Mapping[str, str], progress: Progress | None = None) -> str:
    """Write the declaration, ``bag-info.txt`` and both manifests of a finished folder; return the bundle's id.

    Parameters
    ----------
    root : Path
        Holds ``data/`` and tag files.
    info : mapping of str to str
        For ``bag-info.txt``; ``Payload-Oxum`` is added.
    progress : callable, optional
        ``progress(name, done, total)``.
    """
    files = list(files_in(root))
    digests: dict[str, str] = {}
    size = 0
    for done, (name, path) in enumerate(files):
        if progress:
            progress("sealing", done, len(files))
        digests[name] = sha256_of(path)
        size += path.stat().st_size if name.startswith("data/") else 0
    payload = {name: digest for name, digest in digests.items() if name.startswith("data/")}
    lines = [f"{key}: {_one_line(value)}\n" for key, value in info.items() if value]
    made = {
        "bagit.txt": DECLARATION,
        "bag-info.txt": "".join([*lines, f"Payload-Oxum: {size}.{len(payload)}\n"]),
    }
    for name, text in made.items():
        (root / name).write_text(text, encoding="utf-8", newline="\n")
    write_manifest(root / PAYLOAD, payload)
    tags = {name: digest for name, digest in digests.items() if name not in payload}
    tags |= {name: sha256_of(root / name) for name in (*made, PAYLOAD)}
    write_manifest(root / TAGS, tags)
    return bundle_id(root)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def bundle_id(root: Path) -> str:
    """Return the 16 hex digits that name a sealed folder: from the sha256 of its tag manifest."""
    return sha256_of(root / TAGS)[:16]


def verify(root: Path, progress: Progress | None = None) -> list[str]:
    """Return one message for each changed, missing, added or renamed file; an empty list if nothing changed.

    Reads each file once, in blocks, and follows no link. Damage raises nothing.
    """
    wrong: list[str] = []
    sealed: dict[str, str] = {}
    for name in (PAYLOAD, TAGS):
        try:
            listed = read_manifest(root / name)
        except FileNotFoundError:
            wrong.append(f"{name} is missing: the bundle is incomplete.")
            continue
        except InvalidData as error:
            wrong.append(str(error))
            continue
        stray = [item for item in listed if item.startswith("data/") != (name == PAYLOAD)]
        wrong += [f"{name} lists {item}, which belongs in the other manifest." for item in stray]
        sealed |= listed
    try:
        present = dict(files_in(root))
    except InvalidData as error:
        return [*wrong, str(error)]
    declared = present.get("bagit.txt")
    if declared is not None and declared.stat().st_size < 1000 and declared.read_bytes() != DECLARATION.encode():
        wrong.append("bagit.txt does not declare BagIt 1.0 in UTF-8.")
    missing = sorted(sealed.keys() - present.keys())
    added = sorted(present.keys() - sealed.keys() - {TAGS})
    lost = {sealed[name]: name for name in missing}
    for done, (name, path) in enumerate(present.items()):
        if progress:
            progress("checking bytes", done, len(present))
        if name in sealed and sha256_of(path) != sealed[name]:
            wrong.append(f"{name} has changed: its sha256 is not the sealed one.")
    for name in added:
        before = lost.get(sha256_of(present[name])) if lost else None
        wrong.append(f"{before} was renamed to {name}." if before else f"{name} was added after sealing.")
        missing = [item for item in missing if item != before]
    return wrong + [f"{name} is missing." for name in missing]
