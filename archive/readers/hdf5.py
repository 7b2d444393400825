"""The one way to HDF5 files: opening one, and looking into one that may be damaged or may point at other files.

The HDF5 library itself follows external links, virtual datasets and external raw storage to any file that this user may
read, a private key among them. So it is only ever asked for hard links, in files that were opened here; every other link is
resolved by `Links`, which keeps to the folder that is ingested. Readers get `Hdf5Group` and `Dataset`, never h5py's objects.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barospec.schemas.errors import InvalidData, UnreadableFile
from barospec.schemas.records import Held, Problem, Scan

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# In every file of that application definition, in none of BLISS's own.
NXXAS = b"NXxas"


# Names and attributes of BLISS and NeXus files lie before the data of the first scans.
_SEARCHED = 32 * 2**20


def mentions(path: Path, pattern: bytes) -> bool:
    """Check whether a pattern, in any capitalization, occurs in the first 32 MB of a file.

    Parameters
    ----------
    path : Path
        The file.
    pattern : bytes
        A regular expression of at most some 30 characters.

    Returns
    -------
    bool
        False when the file cannot be read.
    """
    expression = re.compile(pattern, re.IGNORECASE)
    tail = b""
    try:
        with path.open("rb") as file:
            for _ in range(_SEARCHED // 2**20):
                block = file.read(2**20)
                if expression.search(tail + block):
                    return True
                if not block:
                    return False
                tail = block[-64:]
    except OSError:
        return False
    return False


# Links on the way to one member, and virtual datasets within each other, beyond which it is a circle.
MOST_LINKS = 32
_UNLIMITED = 2**64 - 1
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class _Opened:
    """A file that is open: where its links count from, and what it was when it was opened."""

    file: h5py.File
    place: Path
    state: tuple[int, int]


@dataclass(slots=True)
class Links:
    """The files that reading one file leads to.

    Attributes
    ----------
    main : Path
        The file that is read.
    folder : Path
        Links are followed to files below it only; resolved.
    """

    main: Path
    folder: Path
    _stack: ExitStack
    _opened: dict[Path, _Opened] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)
    _read: dict[Path, None] = field(default_factory=dict)
    _followed: dict[Path, None] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)

    def open(self, place: Path) -> Hdf5Group:
        """Return the root of a file that may be read; UnreadableFile when it is damaged or locked."""
        path = place.resolve()
        if path not in self._opened:
            state = _state(path)
            self._opened[path] = _Opened(self._stack.enter_context(_open(place)), place, state)
        return Hdf5Group(self._opened[path].file["/"], self, path, "")

    def begin(self) -> None:
        """Forget which files were read: an entry begins."""
        self._read.clear()

    def touch(self, path: Path) -> None:
        """Note that something in a file was read."""
        self._read[path] = None

    def follow(self, start: Hdf5Group, path: str, left: list[int]) -> Hdf5Group | Dataset | None:
        """Return what is at a path; None where it is missing, damaged, or not to be followed."""
        node: Hdf5Group | Dataset | None = start
        if path.startswith("/"):
            node = self.open(self._opened[start.path].place)
        for name in path.split("/"):
            if name in ("", "."):
                continue
            if not isinstance(node, Hdf5Group):
                return None
            node = self._step(node, name, left)
        return node

    def _step(self, group: Hdf5Group, name: str, left: list[int]) -> Hdf5Group | Dataset | None:
        import h5py

        key = name.encode("utf-8", "surrogateescape")
        try:
            kind = group.item.id.links.get_info(key).type
            if kind == h5py.h5l.TYPE_HARD:
                found = h5py.h5o.open(group.item.id, key)
            elif kind in (h5py.h5l.TYPE_SOFT, h5py.h5l.TYPE_EXTERNAL):
                target = group.item.id.links.get_val(key)
            else:
                return None
        except (KeyError, OSError, RuntimeError, ValueError):
            return None
        where = f"{group.name}/{name}"
        if kind == h5py.h5l.TYPE_HARD:
            if isinstance(found, h5py.h5g.GroupID):
                return Hdf5Group(h5py.Group(found), self, group.path, where)
            return self._dataset(found, group.path, where) if isinstance(found, h5py.h5d.DatasetID) else None
        left[0] -= 1
        if left[0] < 0:
            self._refused[where] = f"{where} in {group.path.name}: its links lead in a circle; not followed"
            return None
        if kind == h5py.h5l.TYPE_SOFT:
            return self.follow(group, os.fsdecode(target), left)
        file, inside = (os.fsdecode(part) for part in target)
        root = self.linked(group.path, file, where)
        return None if root is None else self.follow(root, "/" + inside, left)

    def _dataset(self, found: Any, path: Path, where: str) -> Dataset | None:
        """Return a dataset, unless its numbers are in a file of no format, which is checked before anything else."""
        import h5py

        try:
            made = found.get_create_plist()
            count = made.get_external_count()
            if count:
                raw = os.fsdecode(made.get_external(0)[0])
            virtual = made.get_layout() == h5py.h5d.VIRTUAL
            # The library opens the sources of such a dataset to learn its size.
            endless = virtual and any(
                _is_endless(space(n))
                for n in range(made.get_virtual_count())
                for space in (made.get_virtual_vspace, made.get_virtual_srcspace)
            )
        except (KeyError, OSError, RuntimeError, ValueError):
            return None
        if count:
            raise UnreadableFile(
                f"{self.main}: dataset {where} of {path.name} keeps its values in another file, {raw} (external raw "
                "storage), which may be any file of this computer. Such files are refused; write the values into the HDF5 "
                f"file, such as with: h5repack -l {where or '/'}:CONTI {path.name} NEW.h5"
            )
        if endless:
            self._refused[where] = (
                f"dataset {where} of {path.name} is virtual and of unlimited size; not read. Copy its values into the file"
            )
            return None
        return Dataset(h5py.Dataset(found), self, path, where, virtual)

    def linked(self, source: Path, name: str, where: str) -> Hdf5Group | None:
        """Return the root of the file `name` that the file `source` points to; None when it is not to be read."""
        place = self._opened[source].place.parent / name
        try:
            path = place.resolve()
            inside, there = path.is_relative_to(self.folder), path.is_file()
        except (OSError, RuntimeError, ValueError):
            return None
        if not inside:
            self._refused[name] = (
                f"{where or '/'} of {source.name} points to {name}, outside of the folder {self.folder.name or '/'}; not "
                "followed. Put both files below one folder and ingest that"
            )
            return None
        if not there:
            return None
        try:
            root = self.open(place)
        except UnreadableFile as error:
            self._refused[name] = f"{where or '/'} of {source.name}: {error}"
            return None
        if path != self.main.resolve():
            self._followed[path] = None
        return root

    def why_not(self, name: str) -> bool:
        """Check whether links to a file of this name were refused, which `problems` says."""
        return name in self._refused

    def problems(self) -> list[Problem]:
        """Return notes on which files were read beside the main one, and which links were not followed."""
        found = [Problem("warning", message + ".", str(self.main)) for message in self._refused.values()]
        if self._followed:
            names = ", ".join(path.name for path in list(self._followed)[:6]) + (
                f", ... ({len(self._followed)} files)" if len(self._followed) > 6 else ""
            )
            message = f"links and virtual datasets lead to {names}, read as well; their sha256 are in the header"
            found.append(Problem("note", message, str(self.main)))
        return found

    def complete(
        self, scans: Iterable[Scan], key: str, group: Hdf5Group, used: Iterable[Dataset], finished: bool
    ) -> None:
        """Say in scans of one entry which files they come from, if it is more than the main one.

        Parameters
        ----------
        scans : iterable of Scan
            Changed in place.
        key : str
            What their names begin with: the entry's name in the main file.
        group : Hdf5Group
            The entry.
        used : iterable of Dataset
            Where the energies and channels come from.
        finished : bool
            Whether all files are expected to rest.

        Raises
        ------
        UnreadableFile
            One that should rest has changed.
        """
        main = self.main.resolve()
        homes = {dataset.home(group) for dataset in used}
        if set(self._read) <= {main} and all(path == main for path, _ in homes):
            return
        for path in (main, *self._read):
            if path not in self._digests:
                self._digests[path] = self._digest(path, finished)
        others = sorted(set(self._read) - {main}, key=lambda path: path.name)
        read = [f"{path.name} sha256:{self._digests[path]}" for path in others]
        # Without its name: a master file is often called by the proposal's number.
        read.append(f"through sha256:{self._digests[main]}")
        home = homes.pop() if len(homes) == 1 else None
        for scan in scans:
            scan.header["files_read"] = ", ".join(read)
            if home is not None and home[0] != main:
                scan.held = Held(home[0], home[1] + scan.name.removeprefix(key), self._digests[home[0]])

    def _digest(self, path: Path, finished: bool) -> str:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _state(path) == self._opened[path].state:
            return digest
        if finished:
            raise UnreadableFile(
                f"{self.main}: {path.name}, to which it leads, changed while it was read; is it still being written? "
                "Try again later."
            )
        return ""


@dataclass(frozen=True, slots=True)
class Hdf5Group:
    """A group: names of its members, and where it is. `get` gives a member."""

    item: h5py.Group
    links: Links
    path: Path
    name: str

    def __iter__(self) -> Iterator[str]:
        self.links.touch(self.path)
        return iter(self.item)

    @property
    def root(self) -> Hdf5Group:
        """The root of its file."""
        return Hdf5Group(self.item.file["/"], self.links, self.path, "")

    def target(self, key: str) -> str:
        """Return the file that a member links to, "" without such a link."""
        import h5py

        key_bytes = key.encode("utf-8", "surrogateescape")
        try:
            if self.item.id.links.get_info(key_bytes).type != h5py.h5l.TYPE_EXTERNAL:
                return ""
            return os.fsdecode(self.item.id.links.get_val(key_bytes)[0])
        except (KeyError, OSError, RuntimeError, ValueError):
            return ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: its shape and type, and with ``[()]`` its values."""

    item: h5py.Dataset
    links: Links
    path: Path
    name: str
    virtual: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array; () where it is empty."""
        return tuple(self.item.shape or ())

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.item.size or 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        kind: np.dtype[Any] = self.item.dtype
        return kind

    def __getitem__(self, everything: tuple[()]) -> Any:
        """Read all values.

        Raises
        ------
        InvalidData
            A source of a virtual dataset is not there, or not to be read.
        UnreadableFile
            It is compressed by what is not installed.
        OSError
            It is damaged.
        """
        return self._values(MOST_LINKS)

    def _values(self, left: int) -> Any:
        self.links.touch(self.path)
        if self.virtual:
            return self._assembled(left)
        return self._unpacked(lambda: self.item[()])

    def _unpacked(self, read: Callable[[], Any]) -> Any:
        """Return what `read` gives; where it fails since a compression is not installed, the error says which."""
        try:
            return read()
        except OSError:
            if not (lacking := _missing_filter(self.item)):
                raise
        raise UnreadableFile(f"{self.links.main}: dataset {self.name} of {self.path.name} is compressed by {lacking}")

    def _sources(self) -> Iterator[tuple[Any, Any, str, str]]:
        """Return each part of a virtual dataset: its place here, its place there, file and dataset."""
        made = self.item.id.get_create_plist()
        for n in range(made.get_virtual_count()):
            yield (
                made.get_virtual_vspace(n),
                made.get_virtual_srcspace(n),
                made.get_virtual_filename(n),
                made.get_virtual_dsetname(n),
            )

    def _source(self, file: str, name: str) -> Dataset:
        """Return a dataset that this one is made of; InvalidData where the library would put fill values in its place."""
        root = self.links.open(self.links._opened[self.path].place) if file == "." else None
        root = root or self.links.linked(self.path, file, self.name)
        found = None if root is None else self.links.follow(root, "/" + name, [MOST_LINKS])
        if not isinstance(found, Dataset):
            raise InvalidData(
                f"{self.links.main}: the virtual dataset {self.name} of {self.path.name} takes values from {name} of {file}, "
                "which is not there, or outside of the ingested folder. Put the file there, or copy the values."
            )
        return found

    def _assembled(self, left: int) -> NDArray[Any]:
        import h5py

        shape, kind = self.shape, self.dtype
        if left <= 0 or kind.kind not in "fiu":
            why = f"holds {kind}" if left > 0 else "is made of itself"
            raise InvalidData(
                f"{self.links.main}: the virtual dataset {self.name} of {self.path.name} {why}; not read."
            )
        values = np.full(shape, self.item.fillvalue, dtype=kind)
        for here, there, file, name in self._sources():
            source = self._source(file, name)
            if source.virtual:
                inner = source._values(left - 1)
            else:
                self.links.touch(source.path)
            try:
                part = _placed(there, source.shape)
                if not source.virtual:
                    source._unpacked(partial(source.item.id.read, here, part, values))
                    continue
                # In memory: the library knows best which values a selection means.
                with h5py.File("inner", "w", driver="core", backing_store=False) as memory:
                    memory.create_dataset("values", data=inner).id.read(here, part, values)
            except UnreadableFile:
                raise
            except (OSError, RuntimeError, TypeError, ValueError) as error:
                raise InvalidData(
                    f"{self.links.main}: the virtual dataset {self.name} of {self.path.name} takes values from {name} of "
                    f"{file}, which has the shape {source.shape} and no such part ({error}). Make it again."
                ) from None
        return values

    def home(self, entry: Hdf5Group) -> tuple[Path, str]:
        """Return file and entry that hold the values; of a virtual dataset that is another one, whole, those of that one."""
        dataset, left = self, MOST_LINKS
        while dataset.virtual:
            sources = list(dataset._sources())
            here, there, file, name = sources[0] if sources else (None, None, "", "")
            if left == 0 or len(sources) != 1 or not _is_whole(here):
                break
            source = dataset._source(file, name)
            if source.shape != dataset.shape or not _is_whole(_placed(there, source.shape)):
                break
            dataset, left = source, left - 1
        if dataset.path == entry.path and dataset.name.startswith(f"{entry.name}/"):
            return dataset.path, entry.name.strip("/")
        return dataset.path, dataset.name.strip("/").split("/")[0]


@contextmanager
def open_file(path: Path, options: Mapping[str, Any] = _NO_OPTIONS) -> Iterator[Hdf5Group]:
    """Open an HDF5 file for reading; return its root.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``folder``: links and virtual datasets are followed to files below it; default: the folder of the file.

    Raises
    ------
    UnreadableFile
        Saying whether it is locked by its writer, truncated, or damaged; or naming a dataset whose values are in a file that
        is no HDF5 file.
    """
    with ExitStack() as stack:
        folder = Path(options.get("folder") or path.parent).resolve()
        yield Links(path, folder, stack).open(path)


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return stat.st_size, stat.st_mtime_ns


def _open(path: Path) -> h5py.File:
    import h5py

    with suppress(ImportError):  # an extra; a dataset that needs it says so
        import hdf5plugin  # noqa: F401  registers the compressions that detectors use

    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        text = str(error)
        if "truncated" in text:
            why = "is truncated: still being written or copied? Try again when that has ended."
        elif "unable to lock" in text or isinstance(error, BlockingIOError):
            why = "is locked by the program that writes it. Try again when it has ended, or read a copy."
        else:
            why = f"is no readable HDF5 file ({text.splitlines()[0]}): damaged, or still being written?"
        raise UnreadableFile(f"{path}: {why}") from None


def _is_endless(space: Any) -> bool:
    """Check whether a selection grows with what it is taken from."""
    import h5py

    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return False
    _, _, count, block = space.get_regular_hyperslab()
    return _UNLIMITED in (*count, *block)


def _placed(selection: Any, shape: tuple[int, ...]) -> Any:
    """Place a selection in a dataset of this shape: a file does not keep how large a virtual dataset's source was."""
    import h5py

    space = h5py.h5s.create_simple(shape)
    kind = selection.get_select_type()
    if kind == h5py.h5s.SEL_HYPERSLABS:
        if len(selection.shape) != len(shape):
            raise ValueError(f"{len(selection.shape)} dimensions")
        space.select_none()
        if selection.is_regular_hyperslab():
            start, stride, count, block = selection.get_regular_hyperslab()
            space.select_hyperslab(start, count, stride, block, h5py.h5s.SELECT_SET)
        else:
            for first, last in selection.get_select_hyper_blocklist():
                size = tuple(int(b) - int(a) + 1 for a, b in zip(first, last, strict=True))
                space.select_hyperslab(tuple(map(int, first)), (1,) * len(shape), None, size, h5py.h5s.SELECT_OR)
    elif kind == h5py.h5s.SEL_POINTS:
        space.select_elements(selection.get_select_elem_pointlist())
    if not space.select_valid():
        raise ValueError("beyond its end")
    return space


def _is_whole(space: Any) -> bool:
    """Check whether a selection is everything, in its order."""
    import h5py

    in_order = space.get_select_type() in (h5py.h5s.SEL_ALL, h5py.h5s.SEL_HYPERSLABS)
    return bool(in_order and space.get_select_npoints() == space.get_simple_extent_npoints())


def _missing_filter(item: h5py.Dataset) -> str:
    """Return the compression of a dataset that is not installed, with the remedy; "" when all are."""
    import h5py

    made = item.id.get_create_plist()
    for n in range(made.get_nfilters()):
        code, _, _, name = made.get_filter(n)
        if not h5py.h5z.filter_avail(code):
            called = os.fsdecode(name).split(";")[0].strip() or "a filter without name"
            return (
                f'{called} (HDF5 filter {code}), which is not installed. Install it: pip install "barospec[hdf5plugin]". '
                "If that is there, write the file without this filter, such as with h5repack."
            )
    return ""


def by_number(key: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 9.1 before 10.1."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", key) if part]


def get(group: Hdf5Group | Dataset | None, key: str) -> Any:
    """Return a member, or None when it is missing, a broken link, unreadable, or in a file that is not to be read."""
    return group.links.follow(group, key.strip("/"), [MOST_LINKS]) if isinstance(group, Hdf5Group) else None


def attribute(item: Any, key: str) -> str:
    """Return an attribute as text (the first, of several); "" when there is none."""
    if item is None:
        return ""
    item.links.touch(item.path)
    try:
        return _decode(item.item.attrs.get(key))
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return ""


def text_of(item: Any) -> str:
    """Return a dataset as text; "" when it is none or cannot be read."""
    if not isinstance(item, Dataset):
        return ""
    try:
        return _decode(item[()])
    except (OSError, RuntimeError, ValueError, TypeError):
        return ""


def _decode(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def scalar(item: Any) -> float | None:
    """Return a scalar dataset as a number; None for b'ERR' and the like."""
    if not isinstance(item, Dataset):
        return None
    try:
        return float(item[()])
    except (OSError, RuntimeError, ValueError, TypeError):
        return None
