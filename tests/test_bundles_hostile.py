"""Bundles of people who mean ill: refused with a message; nothing outside is written, nothing runs, memory is bounded."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from barospec import Archive
from barospec.archive.bundles.bagit import check_path
from barospec.archive.bundles.zarr_groups import unpacked_size
from barospec.catalogs.bundles.build import Bundle
from barospec.catalogs.bundles.verify import verify
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile

from .bundles_made import reseal

GROUP = "data/spectra/xas-Ni-K.zarr"
BOUND = 128 << 20


@pytest.fixture
def copy(sealed: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed.path, tmp_path / "copy"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive that must stay empty."""
    return Archive.create(tmp_path_factory.mktemp("target") / "archive")


def refused(path: Path, target: Archive, *words: str) -> None:
    """Refused by `verify` and by `import`, for the expected reason, in little memory."""
    snapshot = target.snapshot
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        told = "\n".join(verify(path, recompute=True).problems)
    except BarospecError as error:
        told = str(error)
    with pytest.raises(BarospecError):
        target.import_bundle(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    for word in words:
        assert word in told, told
    assert grown < BOUND
    assert target.snapshot == snapshot


# Zip archives


def packed(path: Path, members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            if change:
                change(member)
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "b/../../evil.txt",
        "/tmp/evil.txt",
        "b\\..\\evil.txt",
        "C:/evil.txt",
        "b//evil",
        "b/./evil",
        "b/nul.txt",
    ],
)
def test_paths_that_leave_the_bundle(tmp_path: Path, target: Archive, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    refused(packed(inner / "b.zip", {"b/data/bundle.json": b"{}", name: b"x"}), target, "refused")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "b.zip"]
    with pytest.raises(InvalidData):
        check_path(name)


def test_links_and_devices_in_a_zip(tmp_path: Path, target: Archive) -> None:
    for mode in (stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666):

        def special(member: zipfile.ZipInfo, mode: int = mode) -> None:
            member.external_attr = mode << 16

        refused(packed(tmp_path / "b.zip", {"b/data": b"/etc"}, special), target, "link or a device")


def test_zip_bomb(tmp_path: Path, target: Archive) -> None:
    def squeezed(member: zipfile.ZipInfo) -> None:
        member.compress_type = zipfile.ZIP_DEFLATED

    refused(packed(tmp_path / "b.zip", {"b/data/zeros": bytes(32 << 20)}, squeezed), target, "zip bomb")


def test_zip_that_lies_about_its_sizes(tmp_path: Path, target: Archive) -> None:
    """The directory says that a member is small; what unpacks is longer than that."""
    path = tmp_path / "b.zip"
    content = bytes(range(256)) * 4096

    def squeezed(member: zipfile.ZipInfo) -> None:
        member.compress_type = zipfile.ZIP_DEFLATED

    packed(path, {"b/data/long": content}, squeezed)
    size = struct.pack("<I", len(content))
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 100)))
    refused(path, target)


def test_members_that_overlap_or_come_twice(tmp_path: Path, target: Archive) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("b/x", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("b/x", b"2")
    refused(tmp_path / "b.zip", target, "is there twice")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("b/a", os.urandom(4000))
        archive.writestr("b/b", os.urandom(10))
        archive.filelist[1].header_offset = 0
        archive.filelist[1].file_size = archive.filelist[1].compress_size = 4000
        archive.filelist[1].CRC = archive.filelist[0].CRC
    refused(tmp_path / "c.zip", target)


@pytest.mark.parametrize("cut", [10, 200, 5000])
def test_cut_off_and_foreign_files(sealed: Bundle, tmp_path: Path, target: Archive, cut: int) -> None:
    members = {f"b/{path.name}": path.read_bytes() for path in sealed.path.glob("*.*")}
    path = packed(tmp_path / "b.zip", members)
    path.write_bytes(path.read_bytes()[:-cut])
    refused(path, target)
    path.write_bytes(b"not a zip at all")
    with pytest.raises(UnreadableFile, match="neither a folder nor a zip"):
        verify(path)


# Folders


def test_links_in_a_folder(copy: Path, target: Archive, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not yours")
    (copy / "data/notes").symlink_to(secret)
    refused(copy, target, "is a link")
    (copy / "data/notes").unlink()
    shutil.rmtree(copy / "data/pictures")
    (copy / "data/pictures").symlink_to(tmp_path)
    refused(copy, target, "is a link")


@pytest.mark.parametrize(
    "path", ["../../outside.zarr", "/etc/passwd", "spectra/xas-Ni-K.zarr/../../..", "inputs/x.zarr"]
)
def test_groups_that_lie_elsewhere(copy: Path, target: Archive, path: str) -> None:
    edited(copy / "data/bundle.json", lambda content: content["groups"][0].update(path=path))
    reseal(copy)
    refused(copy, target, "is no group of a bundle")


def edited(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_array(root: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change an array's metadata in both places where they stand."""
    edited(root / GROUP / name / "zarr.json", change)
    edited(root / GROUP / "zarr.json", lambda content: change(content["consolidated_metadata"]["metadata"][name]))
    reseal(root)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [10**12, 160]}, "larger than any bundle's"),
        ({"shape": [9_000_000, 160]}, "chunks are declared, but fewer are there"),
        ({"shape": [4, 199_999]}, "chunks are declared, but fewer are there"),
        ({"shape": [-1, 160]}, "do not fit together"),
        ({"shape": [4, True]}, "do not fit together"),
        ({"shape": [4.0, 160]}, "do not fit together"),
        ({"shape": "many"}, "are not stated"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1 << 20, 1 << 20]}}}, "larger than any"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 1]}}}, "are none that a bundle has"),
        ({"data_type": "object"}, "none that a bundle has"),
        ({"data_type": {"name": "null_terminated_bytes", "configuration": {"length_bytes": 1 << 40}}}, "none that a"),
        ({"data_type": "numpy.datetime64"}, "none that a bundle has"),
        ({"codecs": [{"name": "pickle"}]}, "codecs"),
        ({"codecs": [{"name": "numcodecs.pickle"}, {"name": "zstd"}]}, "codecs"),
        ({"codecs": [{"name": "bytes"}, {"name": "gzip"}]}, "codecs"),
        ({"storage_transformers": [{"name": "x"}]}, "transformers"),
        ({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}}, "chunk names"),
        ({"dimension_names": ["spectrum", "__class__"]}, "dimensions"),
        ({"fill_value": {"x": 1}}, "fill value"),
        ({"node_type": "group"}, "no Zarr v3 array"),
    ],
)
def test_arrays_that_no_bundle_has(copy: Path, target: Archive, change: dict[str, Any], words: str) -> None:
    change_array(copy, "mu", lambda content: content.update(change))
    refused(copy, target, words)


def test_a_chunk_that_unpacks_to_more_than_declared(copy: Path, target: Archive) -> None:
    bomb = numcodecs.Zstd(level=1).encode(bytes(256 << 20))
    assert len(bomb) < 1 << 20
    (copy / GROUP / "mu/c/0/0").write_bytes(bomb)
    reseal(copy)
    refused(copy, target, "would unpack to 268435456 bytes")


def test_a_chunk_that_lies_about_its_size(copy: Path, target: Archive) -> None:
    """The frame's head says what is declared, its content is longer."""
    whole = bytearray(numcodecs.Zstd(level=1).encode(bytes(64 << 20)))
    honest = (copy / GROUP / "mu/c/0/0").read_bytes()
    wanted = unpacked_size(honest)
    assert whole[4] >> 6 == 2, "four bytes of size"
    start = 5 + (0 if whole[4] & 0x20 else 1)
    whole[start : start + 4] = struct.pack("<I", wanted)
    (copy / GROUP / "mu/c/0/0").write_bytes(bytes(whole))
    reseal(copy)
    refused(copy, target)


VERIFY = """
import resource, sys
from barospec.catalogs.bundles.verify import verify
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # a failure of this test is not to take the machine along
from pathlib import Path
found = verify(Path(sys.argv[1]))
status = Path("/proc/self/status")
# On Linux, getrusage counts what the process was before it became this one: the tests' own memory.
peak = status.read_text().partition("VmHWM:")[2].split()[0] if status.exists() else resource.getrusage(0).ru_maxrss
print(found.ok, int(peak) >> 10)
print(*found.problems, sep="\\n")
"""


def verified_apart(path: Path) -> tuple[int, str]:
    """Peak memory in MB and the problems that `verify` finds, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", VERIFY, str(path)], capture_output=True, text=True, timeout=300, check=True
    )
    first, _, told = done.stdout.partition("\n")
    ok, megabytes = first.split()
    assert ok == "False"
    return int(megabytes), told


SKIPPABLE = struct.pack("<II", 0x184D2A50, 8) + bytes(8)
FRAME = numcodecs.Zstd(level=1, checksum=True).encode(bytes(64 << 20))


@pytest.mark.parametrize("name", ["mu/c/0/0", "run/c/0"])
def test_a_chunk_of_many_frames(copy: Path, target: Archive, name: str) -> None:
    """340 kB that unpack to 10 GB, behind a first frame that is as declared."""
    path = copy / GROUP / name
    many = path.read_bytes() + FRAME * 160
    assert len(many) < 400_000
    path.write_bytes(many)
    reseal(copy)
    megabytes, told = verified_apart(copy)
    assert f"{len(FRAME) * 160} bytes follow its zstd frame; a chunk of a bundle is one frame" in told
    assert f"{name}: " in told
    assert megabytes < 500
    refused(copy, target, "follow its zstd frame")


def test_the_size_of_a_chunk_is_that_of_all_its_frames() -> None:
    rng = np.random.default_rng(7)
    for size in (0, 1, 255, 256, 257, 65_791, 65_792, 1 << 17, (1 << 17) + 1, 1 << 20):
        for content in (bytes(size), rng.bytes(size), (b"run-2" * size)[:size]):
            for checksum in (False, True):
                packed = numcodecs.Zstd(level=3, checksum=checksum).encode(content)
                assert unpacked_size(packed) == size
                for more in (packed, SKIPPABLE, b"\0", FRAME):
                    with pytest.raises(InvalidData, match=f"{len(more)} bytes follow its zstd frame"):
                        unpacked_size(packed + more)
                for cut in {1, 4, 5, len(packed) // 2, len(packed) - 1}:
                    with pytest.raises(InvalidData, match=r"cut off|does not begin|hold .* at most|not say"):
                        unpacked_size(packed[:cut])
    with pytest.raises(InvalidData, match="does not begin with a zstd frame"):
        unpacked_size(SKIPPABLE + packed)
    with pytest.raises(InvalidData, match="does not state its unpacked size"):
        unpacked_size(bytes.fromhex("28b52ffd0458") + packed[6:])
    # A frame that claims 2^40 bytes in one block of four.
    with pytest.raises(InvalidData, match="its blocks hold 4 at most"):
        unpacked_size(bytes.fromhex("28b52ffde0") + (1 << 40).to_bytes(8, "little") + bytes.fromhex("210000") + b"abcd")


@pytest.mark.parametrize(
    "text",
    [
        struct.pack("<I", 0xFFFFFFFF),
        struct.pack("<II", 4, 0xFFFFFFF0) + b"ab",
        struct.pack("<I", 4) + struct.pack("<I", 2) * 2,
        b"",
    ],
)
def test_texts_that_claim_to_be_long(copy: Path, target: Archive, text: bytes) -> None:
    (copy / GROUP / "run/c/0").write_bytes(numcodecs.Zstd(level=1, checksum=True).encode(text or b"\0"))
    reseal(copy)
    refused(copy, target)


def test_metadata_that_differ_in_their_two_places(copy: Path, target: Archive) -> None:
    edited(copy / GROUP / "mu/zarr.json", lambda content: content.update(shape=[4, 100]))
    reseal(copy)
    refused(copy, target, "differ from those of the group")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("data/bundle.json", "[" * 100_000, "bundle.json"),
        ("data/bundle.json", "{}", "states no version"),
        ("data/bundle.json", '{"barospec_bundle": 99}', "Upgrade barospec"),
        ("data/bundle.json", "\x00\x01", "not valid JSON"),
        (f"{GROUP}/zarr.json", "[]", "no Zarr v3 group"),
        ("catalog.yaml", "!!python/object/apply:os.system ['touch /tmp/owned']", "not plain YAML"),
        ("catalog.yaml", "a: &a [x,x]\nb: &b [*a,*a]\n", "damaged beyond reading"),
    ],
)
def test_texts_that_no_bundle_has(copy: Path, target: Archive, name: str, text: str, words: str) -> None:
    (copy / name).write_text(text)
    reseal(copy)
    refused(copy, target, words)


def test_catalog_that_would_run_or_read_something_else(copy: Path, target: Archive, tmp_path: Path) -> None:
    catalog = (copy / "catalog.yaml").read_text()
    for old, new, words in (
        ("intake.readers.readers:XArrayDatasetReader", "os:system", "would run os:system"),
        ("{CATALOG_DIR}/data/spectra/xas-Ni-K.zarr", "/etc/passwd", "outside the bundle"),
        ("{CATALOG_DIR}/data/spectra", "{CATALOG_DIR}/data/../../spectra", "outside the bundle"),
    ):
        assert old in catalog
        (copy / "catalog.yaml").write_text(catalog.replace(old, new))
        reseal(copy)
        refused(copy, target, words)


def test_nothing_of_a_bundle_is_executed(copy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for path in [copy / "check_numbers.py", *copy.rglob("software/**/*.py")]:
        path.write_text(f"open({str(mark)!r}, 'w').close()\n")
    reseal(copy)
    assert verify(copy, recompute=True).ok
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"edge_energy": {"ensemble": 10**9}},
        {"edge_energy": {"ensemble": 32, "far": 1e300}},
        {"edge_energy": {"ensemble": [0] * 100_000}},
    ],
)
def test_parameters_that_would_compute_for_ever(copy: Path, target: Archive, change: dict[str, Any]) -> None:
    edited(copy / "data/bundle.json", lambda content: content["derived"][0]["parameters"].update(change))
    reseal(copy)
    refused(copy, target, "implausibly")


def test_values_that_the_vocabulary_does_not_allow(copy: Path, target: Archive) -> None:
    group = zarr.open_group(str(copy / GROUP), mode="r+")
    group["origin"][0] = "imagined"  # type: ignore[index]
    reseal(copy)
    refused(copy, target, "imagined")


def test_numbers_that_are_none(copy: Path, target: Archive) -> None:
    group = zarr.open_group(str(copy / GROUP), mode="r+")
    group["energy"][0, 3] = np.inf  # type: ignore[index]
    reseal(copy)
    refused(copy, target, "an energy that is not a number")


def test_more_points_than_there_are(copy: Path, target: Archive) -> None:
    group = zarr.open_group(str(copy / GROUP), mode="r+")
    group["point_count"][0] = 10**9  # type: ignore[index]
    reseal(copy)
    refused(copy, target, "claims 1000000000 points")


def test_ids_that_come_twice(copy: Path, target: Archive) -> None:
    group = zarr.open_group(str(copy / GROUP), mode="r+")
    group["spectrum_id"][0] = str(np.asarray(group["spectrum_id"])[1])  # type: ignore[index]
    reseal(copy)
    refused(copy, target, "comes twice")


def test_references_that_are_not_there(copy: Path, target: Archive) -> None:
    shutil.rmtree(copy / "data/inputs")
    edited(copy / "data/bundle.json", lambda content: content["groups"].pop())
    reseal(copy)
    refused(copy, target, "which is not in the bundle")
