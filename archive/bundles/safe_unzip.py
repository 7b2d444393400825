"""Safe unpacking of untrusted zip archives: every member is checked before anything is written."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from barospec.archive.bundles.bagit import MOST_FILES, check_path
from barospec.schemas.errors import InvalidData, NotFound, UnreadableFile

RATIO = 200  # spectra of zeros may shrink a thousandfold, but in a bundle they are compressed already
MOST_BYTES = 1 << 40
FIXED = (1980, 1, 1, 0, 0, 0)  # the earliest time in zip: a bundle's bytes do not depend on the clock
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def folder_of(path: Path) -> Iterator[Path]:
    """Open the folder of a bundle, unpacked for the time of a ``with`` if it is a zip archive.

    Raises
    ------
    NotFound
        There is nothing at `path`.
    InvalidData, UnreadableFile
        See `unpack`.
    """
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise NotFound(f"there is no bundle at {path}.")
    if not zipfile.is_zipfile(path):
        raise UnreadableFile(f"{path} is neither a folder nor a zip archive; a bundle is one of them.")
    with TemporaryDirectory(prefix="barospec-") as made:
        yield unpack(path, Path(made))


def unpack(path: Path, into: Path) -> Path:
    """Unpack a zip archive into an empty folder; return its one top folder.

    Raises
    ------
    InvalidData
        For paths that leave the folder, links, encrypted or doubled members, unknown methods, members that grow more than
        `RATIO` times, more bytes than the disk has.
    UnreadableFile
        The archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked(path, archive.infolist(), into)
            for member in members:
                _extract(archive, member, into)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableFile(f"{path} is damaged: {error}. Compare it with its original.") from None
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be unpacked: {error.strerror or error}.") from None
    tops = sorted({member.filename.split("/")[0] for member in members})
    if len(tops) != 1 or not (into / tops[0]).is_dir():
        raise InvalidData(f"{path} holds {', '.join(tops[:5]) or 'nothing'}; a bundle is one folder.")
    return into / tops[0]


def _checked(path: Path, members: list[zipfile.ZipInfo], into: Path) -> list[zipfile.ZipInfo]:
    if len(members) > MOST_FILES:
        raise InvalidData(f"{path} holds more than {MOST_FILES} files; refused.")
    total = packed = 0
    seen: set[str] = set()
    for member in members:
        name = check_path(member.filename.removesuffix("/"))
        mode = member.external_attr >> 16
        if stat.S_ISLNK(mode) or (stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))):
            raise InvalidData(f"{path}: {name} is a link or a device; refused.")
        if member.flag_bits & 1 or member.compress_type not in _METHODS:
            raise InvalidData(f"{path}: {name} is encrypted or packed in an unusual way; refused.")
        if name.casefold() in seen:
            raise InvalidData(f"{path}: {name} is there twice; refused.")
        seen.add(name.casefold())
        if member.file_size > RATIO * member.compress_size + 4096:
            raise InvalidData(
                f"{path}: {name} would grow from {member.compress_size} to {member.file_size} bytes, more than "
                f"{RATIO} times: a zip bomb. Refused."
            )
        total += member.file_size
        packed += member.compress_size
    # Members that overlap claim more packed bytes than the file has.
    if packed > path.stat().st_size:
        raise InvalidData(f"{path}: its members overlap: a zip bomb. Refused.")
    free = shutil.disk_usage(into).free
    if total > min(MOST_BYTES, free):
        raise InvalidData(f"{path} unpacks to {total >> 20} MB, more than the {free >> 20} MB that are free; refused.")
    return members


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path) -> None:
    target = into / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("xb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


def pack(folder: Path, target: Path, top: str) -> None:
    """Write a folder as a zip archive, under the name `top` in it: sorted names, one time, nothing compressed.

    The bytes depend on the content alone. Large files of a bundle are compressed already, and tools read stored members in
    place.
    """
    from barospec.archive.bundles.bagit import files_in

    part = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name, path in files_in(folder):
                member = zipfile.ZipInfo(f"{top}/{name}", FIXED)
                member.external_attr = (stat.S_IFREG | 0o644) << 16
                member.create_system = 3
                with path.open("rb") as source, archive.open(member, "w", force_zip64=False) as out:
                    shutil.copyfileobj(source, out, 1 << 20)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
