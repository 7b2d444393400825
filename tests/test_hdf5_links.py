"""HDF5 files that lead to other files: refused, or followed below the ingested folder and said so."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numcodecs.zstd import Zstd

import barospec.archive.readers
from barospec import Archive
from barospec._ingest import prepare
from barospec.archive.ingest.report import IngestReport
from barospec.archive.readers import bliss, hdf5, nxxas, registry
from barospec.archive.readers.subprocess_reader import read_isolated
from barospec.schemas.errors import BarospecError, InvalidData, UnreadableFile

from .realdata import REALDATA, needs_realdata

FILES = Path(__file__).parent / "files"
SECRET = "correct horse battery staple 17"
SETTINGS = ["run=run-1", "edge=Ni K", "origin=measured", "sample=S"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A text beside the ingested folder that only this user may read, and an HDF5 file with the same text."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = outside / "key.txt"
    path.write_text((SECRET + "\n") * 40)
    path.chmod(0o600)
    with h5py.File(outside / "key.h5", "w") as file:
        file["title"] = SECRET
        file["numbers"] = np.frombuffer(path.read_bytes()[:41], dtype="u1")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "beamtime"
    made.mkdir()
    return made


def scan_file(path: Path, action: Callable[[h5py.File], None] | None = None) -> Path:
    """The sample file with its one absorption scan, after a change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(FILES / "invented-bliss.h5", path)
    with h5py.File(path, "r+") as file:
        for key in ("2.1", "3.1", "3.2"):
            del file[key]
        file.flush()
        if action is not None:
            action(file)
    return path


def master_file(path: Path, links: dict[str, tuple[str, str]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["creator"] = "bliss"
        for key, (name, inside) in links.items():
            file[key] = h5py.ExternalLink(name, inside)
    return path


def replaced(name: str, make: Callable[[h5py.File, str], None]) -> Callable[[h5py.File], None]:
    def action(file: h5py.File) -> None:
        del file[name]
        make(file, name)

    return action


def content(folder: Path) -> bytes:
    """All bytes of all files, and what they unpack to."""
    found = b""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        found += raw + os.fsencode(path.name)
        for start in (match.start() for match in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), raw)):
            try:
                found += Zstd().decode(raw[start:])
            except (RuntimeError, ValueError):
                continue
    return found


def gives_nothing_away(archive: Archive, report: IngestReport, tmp_path: Path) -> None:
    """The secret is neither in the archive nor in a bundle of all of it, as text or as numbers."""
    numbers = np.frombuffer(SECRET.encode(), dtype="u1")
    kept = content(Path(archive.location.place))
    if report.added:
        archive.share("xas or xes", tmp_path / "bundle", derived="", raw=True)
        kept += content(tmp_path / "bundle")
    for kind in ("u1", "i2", "i4", "i8", "f4", "f8"):
        assert numbers.astype(kind).tobytes() not in kept


def raw_text(file: h5py.File, name: str, secret: Path) -> None:
    file.create_dataset(name, (1,), f"S{len(SECRET)}", external=[(str(secret), 0, len(SECRET))])


def raw_numbers(file: h5py.File, name: str, secret: Path) -> None:
    file.create_dataset(name, (41,), "u1", external=[(str(secret), 0, 41)])


@pytest.mark.parametrize(("name", "make"), [("1.1/title", raw_text), ("1.1/measurement/I0", raw_numbers)])
def test_external_raw_storage_is_refused(
    empty: Archive, tmp_path: Path, folder: Path, secret: Path, name: str, make: Callable[..., None]
) -> None:
    path = scan_file(folder / "scan.h5", replaced(name, lambda file, name: make(file, name, secret)))
    report = empty.ingest([folder], SETTINGS)
    assert (report.added, report.refused) == (0, 1)
    told = str(report.problems[0])
    assert f"{path}: dataset /{name} of scan.h5 keeps its values in another file, {secret}" in told
    gives_nothing_away(empty, report, tmp_path)


def test_external_raw_storage_beside_the_file_is_refused_too(empty: Archive, folder: Path) -> None:
    (folder / "values.raw").write_bytes(bytes(41))
    scan_file(folder / "scan.h5", replaced("1.1/measurement/I0", lambda f, n: raw_numbers(f, n, Path("values.raw"))))
    report = empty.ingest([folder / "scan.h5"], SETTINGS)
    assert (report.added, report.refused) == (0, 1)
    assert "another file, values.raw (external raw storage)" in str(report.problems[0])


def test_external_raw_storage_behind_links_is_refused(
    empty: Archive, tmp_path: Path, folder: Path, secret: Path
) -> None:
    scan_file(folder / "data" / "scan.h5", replaced("1.1/title", lambda f, n: raw_text(f, n, secret)))
    master_file(folder / "master.h5", {"a": ("data/scan.h5", "/1.1")})
    report = empty.ingest([folder / "master.h5"], SETTINGS)
    assert (report.added, report.refused) == (0, 1)
    assert "dataset /1.1/title of scan.h5 keeps its values in another file" in str(report.problems[0])
    gives_nothing_away(empty, report, tmp_path)


def test_external_raw_storage_of_an_nxxas_file_is_refused(
    empty: Archive, tmp_path: Path, folder: Path, secret: Path
) -> None:
    path = Path(shutil.copy(FILES / "invented-nxxas.nxs", folder / "scan.nxs"))
    with h5py.File(path, "r+") as file:
        entry = "entry"
        raw_text(file, f"{entry}/title", secret)
    with pytest.raises(UnreadableFile, match=r"title of scan.nxs keeps its values in another file"):
        nxxas.read(path, {})
    report = empty.ingest([path], SETTINGS)
    assert (report.added, report.refused) == (0, 1)
    gives_nothing_away(empty, report, tmp_path)


def virtual(file: h5py.File, name: str, source: str, inside: str, shape: tuple[int, ...] = (41,)) -> None:
    layout = h5py.VirtualLayout(shape, "f8")
    layout[:] = h5py.VirtualSource(source, inside, shape)
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("way", ["relative", "absolute", "symlink", "symlinked folder"])
def test_links_out_of_the_folder_are_not_followed(
    empty: Archive, tmp_path: Path, folder: Path, secret: Path, way: str
) -> None:
    target = {
        "relative": "../outside/key.h5",
        "absolute": str(secret.with_suffix(".h5")),
        "symlink": "inside.h5",
        "symlinked folder": "sub/key.h5",
    }[way]
    (folder / "inside.h5").symlink_to(secret.with_suffix(".h5"))
    (folder / "sub").symlink_to(secret.parent)

    def action(file: h5py.File) -> None:
        for name in ("1.1/title", "1.1/measurement/I2"):
            del file[name]
        file["1.1/title"] = h5py.ExternalLink(target, "/title")
        virtual(file, "1.1/measurement/I2", target, "numbers")

    path = scan_file(folder / "scan.h5", action)
    report = empty.ingest([path], SETTINGS)
    told = "\n".join(str(problem) for problem in report.problems)
    assert f"of scan.h5 points to {target}, outside of the folder beamtime; not followed" in told
    gives_nothing_away(empty, report, tmp_path)


def test_a_counter_outside_of_the_folder_costs_the_entry(
    empty: Archive, tmp_path: Path, folder: Path, secret: Path
) -> None:
    scan_file(
        folder / "scan.h5",
        replaced("1.1/measurement/I0", lambda f, n: virtual(f, n, str(secret.with_suffix(".h5")), "numbers")),
    )
    report = empty.ingest([folder], SETTINGS)
    assert (report.added, report.refused) == (0, 1)
    assert "the virtual dataset /1.1/measurement/I0 of scan.h5 takes values from numbers of" in str(report.problems[0])
    gives_nothing_away(empty, report, tmp_path)


def test_a_link_within_a_link_leads_nowhere_else(empty: Archive, tmp_path: Path, folder: Path, secret: Path) -> None:
    """A linked file that links out itself; a soft link through an external one; a virtual dataset of a link."""
    out = str(secret.with_suffix(".h5"))

    def action(file: h5py.File) -> None:
        del file["1.1/title"], file["1.1/measurement/I2"]
        file["out"] = h5py.ExternalLink(out, "/")
        file["numbers"] = h5py.ExternalLink(out, "/numbers")
        file["1.1/title"] = h5py.SoftLink("/out/title")
        virtual(file, "1.1/measurement/I2", ".", "numbers")

    scan_file(folder / "data" / "scan.h5", action)
    master_file(folder / "master.h5", {"a": ("data/scan.h5", "/1.1")})
    report = empty.ingest([folder / "master.h5"], SETTINGS)
    assert f"points to {out}, outside" in "\n".join(str(problem) for problem in report.problems)
    gives_nothing_away(empty, report, tmp_path)


def test_circles_and_references_end(empty: Archive, folder: Path) -> None:
    def action(file: h5py.File) -> None:
        file["1.1/round"] = h5py.SoftLink("/1.1/round")
        for key, other in (("4.1", "master.h5"), ("5.1", "scan.h5")):
            file[key] = h5py.ExternalLink(other, key)
        virtual(file, "1.1/measurement/loop", ".", "1.1/measurement/loop")
        file["1.1/measurement/pointer"] = np.array([file["1.1"].ref], dtype=h5py.ref_dtype)
        del file["1.1/title"]
        file["1.1/title"] = h5py.SoftLink("/1.1/round")

    scan_file(folder / "scan.h5", action)
    master_file(folder / "master.h5", {"4.1": ("scan.h5", "4.1"), "a": ("scan.h5", "1.1")})
    report = empty.ingest([folder / "master.h5"], SETTINGS)
    told = "\n".join(str(problem) for problem in report.problems)
    assert (report.added, report.refused) == (1, 0)
    assert "its links lead in a circle; not followed" in told
    with pytest.raises(InvalidData, match="is made of itself"):
        bliss.read(folder / "scan.h5", {"channels": {"energy": "energy_enc", "i0": "loop", "itrans": "I1"}})


def test_the_library_is_never_asked_for_sizes_of_endless_datasets(folder: Path, secret: Path) -> None:
    def action(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((41,), "f8", maxshape=(None,))
        source = h5py.VirtualSource(str(secret.with_suffix(".h5")), "numbers", (41,), maxshape=(None,))
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("1.1/measurement/endless", layout)

    scans = bliss.read(scan_file(folder / "scan.h5", action), {})
    told = "\n".join(str(problem) for problem in scans[0].problems)
    assert "dataset /1.1/measurement/endless of scan.h5 is virtual and of unlimited size; not read" in told


@pytest.mark.parametrize("first", ["master.h5", "data/scan.h5"])
def test_a_master_and_its_file_are_one_spectrum(empty: Archive, folder: Path, first: str) -> None:
    data = scan_file(folder / "data" / "scan.h5")
    master_file(folder / "master.h5", {"scan_1.1": ("data/scan.h5", "/1.1"), "scan_1.2": ("data/scan.h5", "/1.2")})
    second = {"master.h5": "data/scan.h5", "data/scan.h5": "master.h5"}[first]
    report = empty.ingest([folder / first], SETTINGS)
    assert (report.added, report.refused) == (1, 0), report.problems
    again = empty.ingest([folder / second], SETTINGS)
    assert (again.added, again.unchanged, again.conflicts) == (0, 1, 0), again.problems
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    found = empty.query().columns(["spectrum_id", "source_file", "source_scan", "source_sha256"])
    assert (found["source_file"][0], found["source_scan"][0], found["source_sha256"][0]) == ("scan.h5", "1.1", digest)
    assert found["spectrum_id"][0] == hashlib.sha256(f"{digest}\x001.1\0{signal_of(empty)}".encode()).hexdigest()[:16]


def signal_of(archive: Archive) -> str:
    return str(archive.query().columns(["signal"])["signal"][0])


def test_both_in_one_folder_are_taken_once(empty: Archive, folder: Path) -> None:
    scan_file(folder / "data" / "scan.h5")
    master_file(folder / "master.h5", {"scan_1.1": ("data/scan.h5", "/1.1")})
    report = empty.ingest([folder], SETTINGS)
    assert (report.added, report.unchanged, report.refused, report.conflicts) == (1, 1, 0, 0), report.problems
    assert "ingested once" in "\n".join(str(problem) for problem in report.problems)


def test_links_of_single_counters_and_whole_virtual_ones_are_the_same_spectrum_too(folder: Path) -> None:
    scan_file(folder / "data" / "scan.h5")
    with h5py.File(folder / "data" / "scan.h5") as file:
        names = list(file["1.1/measurement"])

    def linked(file: h5py.File) -> None:
        del file["1.1/measurement"]
        file["1.1/measurement"] = h5py.ExternalLink("data/scan.h5", "/1.1/measurement")

    def made(file: h5py.File) -> None:
        for name in names:
            size = file[f"1.1/measurement/{name}"].shape
            if len(size) == 1:
                del file[f"1.1/measurement/{name}"]
                virtual(file, f"1.1/measurement/{name}", "data/scan.h5", f"1.1/measurement/{name}", size)

    ids = {entry.spectrum_id for entry in prepare([folder / "data" / "scan.h5"], SETTINGS).entries}
    assert len(ids) == 1
    for action in (linked, made):
        prepared = prepare([scan_file(folder / "other.h5", action)], SETTINGS)
        assert [entry.spectrum_id for entry in prepared.entries] == list(ids), prepared.problems


def test_what_was_read_is_reported_and_hashed(folder: Path) -> None:
    data = scan_file(folder / "data" / "scan.h5")
    inner = folder / "data" / "deep" / "values.h5"
    inner.parent.mkdir()
    with h5py.File(data, "r+") as file, h5py.File(inner, "w") as deep:
        deep["values"] = file["1.1/measurement/I0"][()][::-1]
        del file["1.1/measurement/I0"]
        layout = h5py.VirtualLayout((41,), "f8")
        source = h5py.VirtualSource("deep/values.h5", "values", (41,))
        layout[20:] = source[20:]
        layout[:20] = source[:20]
        file.create_virtual_dataset("half", layout)
        virtual(file, "1.1/measurement/I0", ".", "half")
    master = master_file(folder / "master.h5", {"a": ("data/scan.h5", "/1.1")})
    scan = bliss.read(master, {})[0]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (data, inner, master)]
    assert scan.header["files_read"] == (
        f"scan.h5 sha256:{digests[0]}, values.h5 sha256:{digests[1]}, through sha256:{digests[2]}"
    )
    assert "links and virtual datasets lead to scan.h5, values.h5, read as well" in str(scan.problems)
    with h5py.File(data) as file:
        np.testing.assert_array_equal(scan.channels["i0"], file["1.1/measurement/I0"][()])
    assert "files_read" not in bliss.read(scan_file(folder / "plain.h5"), {})[0].header


def test_the_ingested_folder_is_the_bound(empty: Archive, folder: Path) -> None:
    """A link to a neighbor folder is followed when both were meant, and not when the file alone was."""
    scan_file(folder / "data" / "scan.h5")
    (folder / "masters").mkdir()
    master = master_file(folder / "masters" / "master.h5", {"a": ("../data/scan.h5", "/1.1")})
    alone = prepare([master], SETTINGS)
    assert (len(alone.entries), alone.refused) == (0, 1)
    assert "outside of the folder masters" in str(alone.problems[0])
    assert len(prepare([folder], SETTINGS).entries) == 2
    sheet = folder / "run-sheet.yaml"
    sheet.write_text(
        "experiment: e\ntechnique: xas\nedge: Ni K\norigin: measured\nruns:\n  - run: r\n    sample: S\n"
        "    files: masters/master.h5\n"
    )
    described = prepare([sheet], [])
    assert [entry.columns["source_file"] for entry in described.entries] == ["data/scan.h5"], described.problems


def test_a_source_that_is_missing_or_of_another_shape_is_an_error(folder: Path) -> None:
    """The library would put fill values in their place."""
    for source, size, words in (("gone.h5", 41, "is not there"), ("short.h5", 41, "no such part")):
        scan_file(folder / "scan.h5", replaced("1.1/measurement/I0", lambda f, n, s=source: virtual(f, n, s, "values")))
        with h5py.File(folder / "short.h5", "w") as file:
            file["values"] = np.ones(size - 1)
        with pytest.raises(BarospecError, match=words):
            bliss.read(folder / "scan.h5", {})


def test_only_one_module_of_the_readers_opens_hdf5_files() -> None:
    readers = Path(next(iter(barospec.archive.readers.__path__)))
    assert {path.name for path in readers.glob("*.py") if "import h5py" in path.read_text()} == {"hdf5.py"}
    assert "h5py" not in read_isolated.__code__.co_names


@needs_realdata
def test_real_master_and_file_have_one_identity() -> None:
    channels = "channels={energy: xes_en_texs, iemission: p100k_kit_small_roi, i0: I00}"
    stated = ["run=r", "edge=S K", "line=Ka", "origin=measured", "sample=NiSO4", channels]
    folder = REALDATA / "bliss"
    by_file = prepare([folder / "NiSO4_SKa_XES_0001" / "NiSO4_SKa_XES_0001.h5"], stated)
    by_master = prepare([folder / "blc16742_NiSO4.h5"], stated)
    assert by_file.entries, by_file.problems
    ids = [entry.spectrum_id for entry in by_file.entries]
    assert [entry.spectrum_id for entry in by_master.entries] == ids[: len(by_master.entries)]
    assert len(by_master.entries) == len(ids)


@needs_realdata
@pytest.mark.parametrize(
    "path", sorted(REALDATA.rglob("*.h5")) if REALDATA.is_dir() else [], ids=lambda path: path.name
)
def test_real_files_open(path: Path) -> None:
    """All but the master, whose counters need to be named, read without a refused link."""
    if path.name == "blc16742_NiSO4.h5" or "XES_0001" in path.name:
        pytest.skip("its counters must be named; see the test above")
    _, scans = registry.read_file(path)
    assert "not followed" not in str([scan.problems for scan in scans])
    with hdf5.open_file(path) as root:
        assert list(root)
