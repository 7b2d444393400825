"""A whole folder at once: what is sound arrives, what is broken is listed, in one commit; parsing in worker processes."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from barospec import Archive
from barospec._ingest import prepare
from barospec.archive.ingest import commit as writing
from barospec.archive.ingest import parse_pool
from barospec.archive.ingest.parse_pool import Job, parse, parse_file
from barospec.archive.ingest.temp_buffer import Spool

from .files_made import SETTINGS, write_columns
from .test_cli import call

HEAD = "# XDI/1.0 made/1\n# Element.symbol: Ni\n# Element.edge: K\n"
BARE = ["run=run-1", "sample=NiO", "origin=synthetic", "technique=xas"]


def _hdf5(path: Path) -> bytes:
    with h5py.File(path, "w") as file:
        file["1.1/measurement/energy_enc"] = np.linspace(8.2, 8.7, 1000)
        file["1.1/measurement/I0"] = np.ones(1000)
        file["1.1/title"] = "bliss"
    content = path.read_bytes()
    path.unlink()
    return content


def broken(folder: Path) -> dict[str, bytes]:
    """Twenty files, each broken in its own way."""
    good = write_columns(folder / "good").read_bytes()
    (folder / "good").unlink()
    table = "# Column.1: energy eV\n# Column.2: mutrans\n# ///\n#----\n# energy mutrans\n"
    rows = "".join(f"{8300 + n} {n}\n" for n in range(50))
    hdf5 = _hdf5(folder / "h")
    return {
        "empty.xdi": b"",
        "zeros.xdi": bytes(4096),
        "header-only.xdi": (HEAD + table).encode(),
        "cut-in-header.xdi": good[:60],
        "one-point.xdi": (HEAD + table + "8300 1\n").encode(),
        "words.xdi": (HEAD + table + "eight nine\nten eleven\n").encode(),
        "nan.xdi": (HEAD + table + "".join(f"{8300 + n} nan\n" for n in range(50))).encode(),
        "no-energy.xdi": (HEAD + table.replace("energy eV", "pixel").replace("energy mu", "pixel mu") + rows).encode(),
        "no-channel.xdi": (HEAD + table.replace("mutrans", "temperature") + rows).encode(),
        "angle-without-d.xdi": (HEAD + table.replace("energy eV", "angle deg") + rows).encode(),
        "wrong-unit.xdi": (HEAD + table.replace("energy eV", "energy seconds") + rows).encode(),
        "milli.xdi": (HEAD + table + "".join(f"{8.3 + n / 1e3:.4f} {n}\n" for n in range(50)))
        .encode()
        .replace(b" eV", b""),
        "newer.xdi": (HEAD.replace("1.0", "2.0") + table + rows).encode(),
        "no-edge.xdi": ("# XDI/1.0 made/1\n" + table + rows).encode(),
        "packed.xdi": gzip.compress(good),
        "page.html": b"<html><body>404</body></html>",
        "notes.txt": b"Cell 3, loaded on Tuesday.\n",
        "cut.h5": hdf5[: len(hdf5) // 2],
        "garbled.h5": hdf5[:8] + bytes(reversed(hdf5[8:])),
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 files, 20 of them broken."""
    made = tmp_path_factory.mktemp("thousand")
    for number in range(980):
        write_columns(made / f"scan-{number:04}.xdi", seed=number, points=60)
    wrong = broken(made)
    assert len(wrong) == 20
    for name, content in wrong.items():
        (made / name).write_bytes(content)
    return made


def test_980_of_1000_arrive_in_one_commit(folder: Path, tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "archive")
    before = len(archive.log())
    done = call("ingest", folder, *(f"--set={text}" for text in BARE), "--archive", tmp_path / "archive")
    assert done.returncode == 1
    assert "980 added" in done.stdout
    assert "20 refused" in done.stdout
    assert "Traceback" not in done.stderr
    for name in broken(tmp_path):
        lines = [line for line in done.stderr.splitlines() if name in line and line.startswith("error: ")]
        assert len(lines) == 1, (name, lines)
        # A reason, not only the name.
        assert len(lines[0].split(name, 1)[1].strip(": .")) > 20, lines
    assert len(archive.query()) == 980
    assert len(archive.log()) == before + 1


def test_strict_takes_none(folder: Path, tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "archive")
    head = archive.location.head()
    done = call("ingest", folder, *(f"--set={text}" for text in BARE), "--strict", "--archive", tmp_path / "archive")
    assert done.returncode == 1
    assert "Nothing was written (--strict): 20 refused" in done.stdout
    assert archive.location.head() == head


def test_workers_give_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(path) for path in sorted(folder.iterdir())[:150] + sorted(folder.glob("*.h5"))]
    here = list(parse(jobs, workers=1))
    monkeypatch.setattr(parse_pool, "WORTH", 0.0)
    there = list(parse(jobs, workers=2))
    assert [p.path for p in there] == [job.path for job in jobs]
    for a, b in zip(here, there, strict=True):
        assert (a.reader, a.sha256, str(a.error), len(a.scans)) == (b.reader, b.sha256, str(b.error), len(b.scans))
        for one, two in zip(a.scans, b.scans, strict=True):
            np.testing.assert_array_equal(one.energy, two.energy)
            assert one.conditions == two.conditions


def test_a_crash_costs_the_file_that_caused_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_columns(tmp_path / f"{n}.xdi", seed=n) for n in range(8)]
    worker = parse_pool._Worker()
    ask = worker._ask

    def crash(jobs: list[Job]) -> list[parse_pool.Parsed]:
        found = ask(jobs)
        if any(job.path.name == "5.xdi" for job in jobs):
            assert worker._process is not None
            os.kill(worker._process.pid, signal.SIGKILL)
            raise EOFError
        return found

    monkeypatch.setattr(worker, "_ask", crash)
    found = worker.parse([Job(path) for path in paths])
    worker.stop()
    assert [parsed.path.name for parsed in found if parsed.error] == ["5.xdi"]
    assert "crashed" in str(found[5].error)
    assert all(parsed.scans for parsed in found if parsed.path.name != "5.xdi")


def test_stopping_early_leaves_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_pool, "WORTH", 0.0)
    started: list[int] = []
    ask = parse_pool._Worker._ask

    def noted(self: parse_pool._Worker, jobs: list[Job]) -> list[parse_pool.Parsed]:
        found = ask(self, jobs)
        assert self._process is not None
        started.append(self._process.pid)
        return found

    monkeypatch.setattr(parse_pool._Worker, "_ask", noted)
    stream = parse([Job(path) for path in sorted(folder.glob("*.xdi"))], workers=2)
    for _ in range(20):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert started
    for pid in set(started):  # closing has waited for them
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_columns(tmp_path / "a.xdi")
    read: Callable[..., object] = parse_pool.registry.read_file

    def slow(*words: object) -> object:
        found = read(*words)
        with path.open("a") as file:
            file.write("8501.0 1.0\n")
        return found

    monkeypatch.setattr(parse_pool.registry, "read_file", slow)
    assert "changed while it was read" in str(parse_file(Job(path)).error)
    assert parse_file(Job(path, growing=True)).error is None


def test_a_vanished_file_is_an_error_of_ours(tmp_path: Path) -> None:
    assert "absent.xdi" in str(parse_file(Job(tmp_path / "absent.xdi")).error)


def test_a_batch_is_one_commit_however_many(empty: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BATCH", 7)
    paths = [write_columns(tmp_path / f"{n:02}.xdi", seed=n, points=50 + n % 3) for n in range(30)]
    before = len(empty.log())
    assert empty.ingest(paths, SETTINGS).added == 30
    assert len(empty.log()) == before + 1
    for name in ("00.xdi", "13.xdi", "29.xdi"):
        identifier = empty.query(f'source_file = "{name}"').columns(["spectrum_id"])["spectrum_id"][0]
        energy, curve = empty.curve(str(identifier))
        raw = np.loadtxt(tmp_path / name)
        np.testing.assert_array_equal(energy, raw[:, 0])
        np.testing.assert_array_equal(curve, raw[:, 1])
    assert empty.ingest(paths, SETTINGS).unchanged == 30


def test_curves_beyond_the_limit_go_to_a_file() -> None:
    spool = Spool(limit=1000)
    rng = np.random.default_rng(0)
    data = [(rng.random(n), {"mu": rng.random(n), "i0": rng.random(n)}) for n in (3, 500, 1, 40)]
    held = [spool.put(energy, signals) for energy, signals in data]
    for curves, (energy, signals) in reversed(list(zip(held, data, strict=True))):
        found, named = curves.load()
        np.testing.assert_array_equal(found, energy)
        assert named.keys() == signals.keys()
        np.testing.assert_array_equal(named["i0"], signals["i0"])


def test_a_grown_file_gives_its_new_scans_only(empty: Archive, tmp_path: Path) -> None:
    path = tmp_path / "grow.h5"
    for count in (1, 3):
        _bliss(path, count)
        report = empty.ingest([path], ["run=r", "sample=s", "origin=synthetic", "edge=Ni K"])
        assert not report.conflicts
    assert (report.added, report.unchanged) == (2, 1)
    assert len(empty.query()) == 3


def _bliss(path: Path, scans: int) -> None:
    energy = np.linspace(8.2, 8.7, 60)
    with h5py.File(path, "w") as file:
        file.attrs["creator"] = "bliss"
        for number in range(1, scans + 1):
            rng = np.random.default_rng(number)
            file[f"{number}.1/measurement/energy_enc"] = energy
            file[f"{number}.1/measurement/mu_trans"] = np.arctan((energy - 8.34) * 500) + rng.normal(size=60) * 1e-3
            file[f"{number}.1/end_time"] = "2024-05-03T10:00:00+02:00"


# Values that people write


@pytest.mark.parametrize(
    ("field", "text", "shown"),
    [
        ("pressure", "ambient", "0.000101325 GPa, pressure_method ambient"),
        ("pressure", "1 bar", "0.0001 GPa"),
        ("pressure", "237 kbar", "23.7 GPa"),
        ("pressure", "-", "not known"),
        ("pressure", "n/a", "not known"),
        ("temperature", "n/a", "not known"),
        ("temperature", "20 degC", "293.15 K"),
        ("temperature", "10 ± 1 K", "10 K, temperature_sigma 1 K"),
    ],
)
def test_what_is_understood_is_shown_as_understood(field: str, text: str, shown: str, tmp_path: Path) -> None:
    write_columns(tmp_path / "a.xdi")
    (tmp_path / "s.yaml").write_text(
        f"run: r\nsample: s\norigin: synthetic\nfiles: a.xdi\n{field}: {text!r}\n", encoding="utf-8"
    )
    done = call("check", tmp_path / "s.yaml")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith(field) and text in line)
    assert line.endswith(shown)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("temperature", "room temperature", 'temperature "room temperature" is not a reading'),
        ("temperature", "RT", "is not a reading"),
        ("temperature", "ambient", "is not a reading"),
        ("pressure", "23,7", "Write 23.7 (GPa)"),
        ("pressure", "high", "is not a number"),
        ("pressure", "15 K", "is expected"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(field: str, text: str, said: str, tmp_path: Path) -> None:
    write_columns(tmp_path / "a.xdi")
    sheet = tmp_path / "s.yaml"
    sheet.write_text(f"run: r\nsample: s\norigin: synthetic\nfiles: a.xdi\n{field}: {text!r}\n", encoding="utf-8")
    done = call("check", sheet)
    assert done.returncode == 1
    assert f"s.yaml:5:{len(field) + 3}: {field}" in done.stderr
    assert said in done.stderr
    # In a table, with the table's line.
    (tmp_path / "t.csv").write_text(f'file,{field}\na.xdi,"{text}"\n')
    sheet.write_text("run: r\nsample: s\norigin: synthetic\nfiles: a.xdi\nscans: t.csv\n")
    found = prepare([sheet])
    assert any("t.csv:2" in str(problem) and said in str(problem) for problem in found.problems)
    assert not found.entries
