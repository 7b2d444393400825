"""Live ingest: finished scans only, restarts, hiccups, edits of the sheet, and the command as it is used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import typer

from barospec import Archive
from barospec.archive.ingest.paths import parse_settings
from barospec.archive.ingest.watch import Folder, Watch
from barospec.archive.readers import bliss
from barospec.cli.ingest_watch import Wanted, follow
from barospec.schemas.errors import CallError, StoreError

from .files_made import SETTINGS, edge, write_columns
from .killed import COMMAND_LINE, run_killed

BLISS = ["run=r", "sample=s", "origin=synthetic", "edge=Ni K"]


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    made = tmp_path / "raw"
    made.mkdir()
    return made


def watch(archive: Archive, raw: Path, clock: Clock, sheet: Path | None = None, **options: object) -> Watch:
    settings = {} if sheet else parse_settings(SETTINGS)
    return Watch(raw, archive.ingest_prepared, sheet=sheet, settings=settings, clock=clock, **options)  # type: ignore[arg-type]


def looks(watcher: Watch, clock: Clock, seconds: float) -> list[str]:
    """Look once a second for a while; what was said, and the number of spectra that came in as "+n"."""
    said = []
    for _ in range(round(seconds)):
        report = watcher.look()
        said += [str(problem) for problem in report.problems if problem.severity != "note"]
        if report.added or report.replaced:
            said.append(f"+{report.added}" + (f" ~{report.replaced}" if report.replaced else ""))
        clock.now += 1.0
    return said


def test_a_file_is_taken_once_it_rests(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = watch(empty, raw, clock, settle=5.0)
    path = raw / "a.xdi"
    whole = write_columns(path).read_text().splitlines(keepends=True)
    for count in range(20, len(whole), 20):  # written bit by bit, each 3 s: never rests for 5 s
        path.write_text("".join(whole[:count]))
        os.utime(path, ns=(0, count))
        assert looks(watcher, clock, 3) == []
    path.write_text("".join(whole))
    assert looks(watcher, clock, 5) == []
    assert looks(watcher, clock, 5) == ["+1"]
    assert looks(watcher, clock, 60) == []
    assert int(empty.query().columns(["point_count"])["point_count"][0]) == 120


def test_hidden_partial_and_empty_files_wait(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = watch(empty, raw, clock, settle=1.0)
    write_columns(raw / ".a.xdi.swp")
    write_columns(raw / "b.xdi.part")
    (raw / "c.xdi").touch()
    assert looks(watcher, clock, 30) == []
    (raw / "b.xdi.part").rename(raw / "b.xdi")
    assert looks(watcher, clock, 30) == ["+1"]


def test_commits_are_at_most_every_ten_seconds(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = watch(empty, raw, clock, settle=1.0, every=10.0)
    commits = len(empty.log())
    for number in range(12):
        write_columns(raw / f"{number}.xdi", seed=number)
        looks(watcher, clock, 3)
    looks(watcher, clock, 15)
    assert len(empty.query()) == 12
    assert len(empty.log()) - commits <= 5  # 51 s of measurement


def test_a_restart_recognizes_what_is_there(empty: Archive, raw: Path, clock: Clock) -> None:
    for number in range(3):
        write_columns(raw / f"{number}.xdi", seed=number)
    assert looks(watch(empty, raw, clock, settle=1.0), clock, 5) == ["+3"]
    write_columns(raw / "3.xdi", seed=3)
    head = empty.location.head()
    assert looks(watch(empty, raw, clock, settle=1.0), clock, 5) == ["+1"]
    assert empty.location.head() != head
    assert len(empty.query()) == 4


def test_a_share_that_goes_away_is_waited_for(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = watch(empty, raw, clock, settle=1.0)
    write_columns(raw / "a.xdi")
    assert looks(watcher, clock, 20) == ["+1"]
    raw.rename(raw.with_name("away"))
    said = looks(watcher, clock, 30)
    assert len(said) == 1  # told once
    assert "waiting for it to return" in said[0]
    raw.with_name("away").rename(raw)
    write_columns(raw / "b.xdi", seed=1)
    assert looks(watcher, clock, 30) == ["+1"]
    raw.rename(raw.with_name("away"))
    assert len(looks(watcher, clock, 5)) == 1  # and told again when it goes again


def test_a_broken_file_is_told_once_and_read_again_when_it_changes(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = watch(empty, raw, clock, settle=2.0)
    (raw / "a.xdi").write_text("# XDI/1.0\n# Column.1: energy eV\n")
    said = looks(watcher, clock, 300)
    assert len(said) == 1
    assert "a.xdi" in said[0]
    write_columns(raw / "a.xdi")
    assert looks(watcher, clock, 30) == ["+1"]


def test_a_locked_archive_is_tried_again(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = watch(empty, raw, clock, settle=1.0)
    take = watcher.ingest

    def locked(*words: object, **options: object) -> object:
        raise StoreError("another writer has held the archive for 600 s")

    watcher.ingest = locked  # type: ignore[assignment]
    write_columns(raw / "a.xdi")
    said = looks(watcher, clock, 40)
    assert len(said) == 1
    assert "will be tried again" in said[0]
    watcher.ingest = take
    assert looks(watcher, clock, 20) == ["+1"]


def test_a_file_that_grew_after_all_becomes_a_revision(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = watch(empty, raw, clock, settle=2.0)
    lines = write_columns(raw / "a.xdi").read_text().splitlines(keepends=True)
    (raw / "a.xdi").write_text("".join(lines[:-30]))
    assert looks(watcher, clock, 20) == ["+1"]
    (raw / "a.xdi").write_text("".join(lines))
    assert looks(watcher, clock, 20) == ["+0 ~1"]
    assert int(empty.query().columns(["point_count"])["point_count"][0]) == 120


def test_an_edited_sheet_is_read_again(empty: Archive, raw: Path, tmp_path: Path, clock: Clock) -> None:
    sheet = tmp_path / "sheet.yaml"
    text = "run: r\nsample: s\norigin: synthetic\nfiles: raw/*.xdi\nscans: scans.csv\n"
    (tmp_path / "scans.csv").write_text("file,pressure\nraw/a.xdi,\nraw/b.xdi,2.0\n")
    sheet.write_text(text)
    watcher = watch(empty, raw, clock, sheet, settle=1.0)
    assert looks(watcher, clock, 5) == []  # nothing matches yet, and that is no mistake
    write_columns(raw / "a.xdi")
    write_columns(raw / "unlisted.xdi", seed=7)
    assert looks(watcher, clock, 20) == ["+1"]
    (tmp_path / "scans.csv").write_text("file,pressure\nraw/a.xdi,1.5\nraw/b.xdi,2.0\n")
    assert looks(watcher, clock, 20) == ["+0 ~1"]
    sheet.write_text(text + "presure: 3\n")
    assert any("Did you mean pressure" in line for line in looks(watcher, clock, 20))
    write_columns(raw / "b.xdi", seed=1)
    looks(watcher, clock, 20)
    sheet.write_text(text)
    assert looks(watcher, clock, 20) == ["+1"]
    assert sorted(empty.query().columns(["pressure"])["pressure"]) == [1.5, 2.0]


def _begin(file: h5py.File, number: int) -> None:
    group = file.create_group(f"{number}.1")
    group["title"] = "fscan"
    for name in ("energy_enc", "mu_trans"):
        group.create_dataset(f"measurement/{name}", (0,), "f8", maxshape=(None,), chunks=(64,))


def _add(file: h5py.File, number: int, start: int, stop: int) -> None:
    energy = np.linspace(8250.0, 8500.0, 120)
    for name, values in (("energy_enc", energy / 1000), ("mu_trans", edge(energy, seed=number))):
        target = file[f"{number}.1/measurement/{name}"]
        target.resize((stop,))
        target[start:stop] = values[start:stop]


def _end(file: h5py.File, number: int) -> None:
    file[f"{number}.1/end_time"] = "2024-05-03T10:00:00+02:00"


def test_a_growing_hdf5_gives_finished_scans_only(empty: Archive, raw: Path, clock: Clock) -> None:
    watcher = Watch(raw, empty.ingest_prepared, settings=parse_settings(BLISS), clock=clock, settle=5.0)
    path = raw / "data.h5"
    with h5py.File(path, "w") as file:
        file.attrs["creator"] = "bliss"
    counts = []
    for number in range(1, 4):
        for start in range(0, 120, 40):
            with h5py.File(path, "a") as file:
                if start == 0:
                    _begin(file, number)
                _add(file, number, start, start + 40)
            looks(watcher, clock, 4)
            counts.append(len(empty.query()))
        with h5py.File(path, "a") as file:
            _end(file, number)
    looks(watcher, clock, 40)
    assert len(empty.query()) == 3
    # Each scan came during the next one, and never before its end.
    assert counts[:3] == [0, 0, 0]
    assert all(count <= number // 3 for number, count in enumerate(counts))
    assert max(counts) >= 1
    assert set(empty.query().columns(["point_count"])["point_count"]) == {120}


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of entries as they are read, in this process."""
    opened: list[str] = []
    scan = bliss._scan

    def counting(key: str, *words: object) -> object:
        opened.append(key)
        return scan(key, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(bliss, "_scan", counting)
    here = {"scans_since": bliss.scans_since, "read_scans": bliss.read_scans}
    monkeypatch.setattr(bliss, "call_isolated", lambda module, name, *words: here[name](*words))
    monkeypatch.setattr(bliss, "read_isolated", lambda module, *words: bliss.read_scans(*words))
    return opened


def _append(path: Path, number: int, *, whole: bool = True) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["creator"] = "bliss"
        _begin(file, number)
        file[f"{number}.1/measurement/energy_enc"].attrs["units"] = "keV"
        file[f"{number}.2/measurement/epoch"] = np.arange(3.0)
        _add(file, number, 0, 120)
        if whole:
            _end(file, number)
            file[f"{number}.2/end_time"] = "2024-05-03T10:00:00+02:00"


def test_what_a_new_scan_costs_does_not_grow_with_its_file(
    empty: Archive, raw: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _counted(monkeypatch)
    watcher = Watch(raw, empty.ingest_prepared, settings=parse_settings(BLISS), clock=clock, settle=5.0)
    path = raw / "data.h5"
    costs: list[int] = []
    for number in range(1, 201):
        _append(path, number)
        if number % 25 == 0:
            before = len(opened)
            # At every third look the file has come to rest meanwhile.
            said = looks(watcher, clock, 40 if number % 75 == 0 else 12)
            assert said == ["+25"]
            costs.append(len(opened) - before)
    assert costs == [50] * 8  # 25 scans of two parts, however many there are in the file
    assert len(empty.query()) == 200
    # A restart reads the file once more and recognizes everything.
    again = Watch(raw, empty.ingest_prepared, settings=parse_settings(BLISS), clock=clock, settle=5.0)
    assert looks(again, clock, 12) == []
    assert len(empty.query()) == 200


def test_another_file_of_the_same_name_is_read_from_its_beginning(
    empty: Archive, raw: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _counted(monkeypatch)
    watcher = Watch(raw, empty.ingest_prepared, settings=parse_settings(BLISS), clock=clock, settle=5.0)
    path = raw / "data.h5"
    for number in (1, 2):
        _append(path, number)
    assert looks(watcher, clock, 12) == ["+2"]
    opened.clear()
    _append(raw / "new.part", 1)
    _append(raw / "new.part", 7, whole=False)
    (raw / "new.part").replace(path)
    looks(watcher, clock, 30)
    assert "1.1" in opened
    opened.clear()
    with h5py.File(path, "a") as file:
        _end(file, 7)
    looks(watcher, clock, 12)
    # Its slow part has not ended: the scan is in, and looked at again.
    assert set(opened) == {"7.1", "7.2"}
    assert len(empty.query()) == 3


def test_readings_between_which_pressures_lie_are_read_again(empty: Archive, raw: Path, clock: Clock) -> None:
    """With interpolate_pressure, a scan's pressure follows from others of its file, so all are read."""
    sheet = raw.parent / "sheet.yaml"
    rows = "  - {scan: '1.1', pressure: 1 GPa, step: 1}\n  - {scan: '2.1', step: 2}\n  - {scan: '3.1', pressure: 3 GPa, step: 3}\n"
    head = "run: r\nsample: s\ntechnique: xas\nedge: Ni K\norigin: synthetic\nfiles: raw/*.h5\ninterpolate_pressure: step\n"
    sheet.write_text(f"{head}scans:\n{rows}")
    watcher = watch(empty, raw, clock, sheet, settle=5.0)
    for number in (1, 2, 3):
        _append(raw / "data.h5", number)
        looks(watcher, clock, 25)
    columns = empty.query("scans sorted by step").columns(["pressure"])["pressure"]
    assert columns.tolist() == [1.0, 2.0, 3.0]


def test_a_sheet_must_be_one(empty: Archive, raw: Path, clock: Clock) -> None:
    with pytest.raises(CallError, match=r"\.yaml"):
        watch(empty, raw, clock, raw / "sheet.txt")


def test_the_listing_survives_files_that_vanish(raw: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    write_columns(raw / "a.xdi")
    (raw / "gone.xdi").symlink_to(raw / "nowhere")
    folder = Folder(raw, 1.0, clock)
    folder.look()
    clock.now += 2
    assert [path.name for path in folder.look()] == ["a.xdi"]


# The command, in a process of its own, with a writer in another


@pytest.fixture
def command(tmp_path: Path, raw: Path) -> Iterator[list[str]]:
    Archive.create(tmp_path / "archive")
    sets = [f"--set={text}" for text in (*SETTINGS, "pressure=2 GPa")]
    words = [
        "ingest",
        "--watch",
        str(raw),
        *sets,
        "--settle",
        "1",
        "--every",
        "1",
        "--archive",
        str(tmp_path / "archive"),
    ]
    yield [sys.executable, "-W", "error", "-m", "barospec.cli.main", *words]
    shutil.rmtree(raw)


def arrive(raw: Path, numbers: range) -> None:
    """Finished files, each under its name when it is whole."""
    for number in numbers:
        write_columns(raw / f".{number}", seed=number).rename(raw / f"{number:02}.xdi")


def lines_until(watching: subprocess.Popen[str], text: str, count: int = 1) -> str:
    """What it printed up to `count` lines with `text` in them."""
    assert watching.stdout is not None
    said: list[str] = []
    while sum(text in line for line in said) < count:
        said.append(watching.stdout.readline())
        assert said[-1], f"it ended: {''.join(said)}{watching.communicate()}"
    return "".join(said)


def test_kills_and_restarts_lose_and_repeat_nothing(command: list[str], raw: Path, tmp_path: Path) -> None:
    archive, words = Archive(tmp_path / "archive"), command[5:]
    arrive(raw, range(8))
    run_killed(COMMAND_LINE, words, "icechunk:Session.commit")
    assert len(archive.query()) == 0
    arrive(raw, range(8, 16))
    run_killed(COMMAND_LINE, words, "icechunk:Session.commit", after=True)
    assert len(archive.query()) == 16
    arrive(raw, range(16, 24))
    run_killed(COMMAND_LINE, words, "barospec.archive.store.checksums:write_seal")
    assert len(archive.query()) == 24
    arrive(raw, range(24, 32))
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out = lines_until(watching, ".xdi [1]", 8)
        arrive(raw, range(32, 40))
        out += lines_until(watching, ".xdi [1]", 8)
    finally:
        watching.send_signal(signal.SIGTERM)
        rest, err = watching.communicate()
    assert watching.returncode == 0, err
    assert err.startswith("watching")
    assert "all spectra shown are in the archive" in err
    assert "16 spectra added, 0 problems" in out + rest
    assert sorted(archive.query().columns(["source_file"])["source_file"]) == [f"{n:02}.xdi" for n in range(40)]
    assert set(archive.query().columns(["point_count"])["point_count"]) == {120}
    assert set(archive.query().columns(["revision"])["revision"]) == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_work_in_hand(
    number: signal.Signals,
    raw: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = Archive.create(tmp_path / "archive")
    write_columns(raw / "a.xdi")
    take, came = Archive.ingest_prepared, []

    def interrupt() -> int:
        os.kill(os.getpid(), number)
        came.append(number)
        return 1

    def interrupted(self: Archive, *args: Any, **options: Any) -> Any:
        # It comes while DuckDB works, which would answer an exception with an error of its own.
        if not came:
            with self.connection() as connection:
                connection.create_function("interrupt", interrupt, [], "INTEGER", side_effects=True)  # type: ignore[arg-type]
                assert connection.execute("SELECT sum(interrupt()) FROM range(1)").fetchall() == [(1,)]
        return take(self, *args, **options)

    monkeypatch.setattr(Archive, "ingest_prepared", interrupted)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    settings = (*SETTINGS, "pressure=2 GPa")
    try:
        with pytest.raises(typer.Exit) as ended:
            follow(archive, Wanted(raw, None, settings, False, "", tmp_path / "live.png", settle=0.0, every=0.0))
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    assert ended.value.exit_code == 0
    assert came == [number]
    assert "1 spectrum added, 0 problems" in capsys.readouterr().out
    assert len(archive.query()) == 1


def test_then_shows_each_value_and_draws_over_the_previous_pressure(
    command: list[str], raw: Path, tmp_path: Path
) -> None:
    archive = Archive(tmp_path / "archive")
    first = write_columns(tmp_path / "first.xdi", e0=8339.0)
    archive.ingest([first], [*SETTINGS, "pressure=1 GPa"])
    write_columns(raw / "a.xdi", e0=8341.0, seed=1)
    words = [*command, "--then", "edge_energy(fraction=0.5, ensemble=0)", "--picture", str(tmp_path / "live.png")]
    watching = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out = lines_until(watching, "live.png")
    finally:
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate()
    assert watching.returncode == 0, err
    line = next(line for line in out.splitlines() if "a.xdi [1]" in line)
    assert "edge_energy 8341" in line
    assert "2 GPa" in line
    assert "live.png: 2 GPa over 1 GPa" in out
    assert (tmp_path / "live.png").read_bytes().startswith(b"\x89PNG")


def _with_foil(path: Path, drift: float, shift: float, seed: int) -> Path:
    """A scan whose whole energy scale is off by `drift`, sample edge and foil alike, and whose sample moved by `shift`."""
    energy = np.linspace(8200.0, 8700.0, 401) + drift
    sample, foil = edge(energy, 8340.0 + drift + shift, seed), edge(energy, 8332.0 + drift, seed + 50)
    rows = "\n".join(f"{e:.4f} {m:.8f} {f:.8f}" for e, m, f in zip(energy, sample, foil, strict=True))
    head = "# XDI/1.0 made/1\n# Element.symbol: Ni\n# Element.edge: K\n# Column.1: energy eV\n# Column.2: mutrans\n"
    path.write_text(f"{head}# Column.3: murefer\n# ///\n# test\n#----\n# energy mutrans murefer\n{rows}\n")
    return path


def test_align_and_edge_shift_need_nothing_more_during_a_run(
    empty: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shifts are against the run's first spectrum, on the scale of the foils; what was not given is told, once."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def measured(self: Archive, *args: Any, **options: Any) -> Iterator[Any]:
        for number, (pressure, drift, shift) in enumerate([(1, 0.0, 0.0), (5, 3.0, 0.4), (9, -2.0, 0.8)]):
            path = _with_foil(tmp_path / f"{number}.xdi", drift, shift, number)
            yield self.ingest([path], [*SETTINGS, f"pressure={pressure} GPa"])

    monkeypatch.setattr(Archive, "watch", measured)
    wanted = Wanted(tmp_path, None, SETTINGS, False, "align | edge_shift", tmp_path / "live.png", settle=0.0, every=0.0)
    try:
        with pytest.raises(typer.Exit):
            follow(empty, wanted)
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    found = capsys.readouterr()
    lines = [line for line in found.out.splitlines() if "points" in line]
    shifts = [float(line.split("edge_shift ")[1].split()[0]) for line in lines]
    np.testing.assert_allclose(shifts, [0.0, 0.4, 0.8], atol=0.1)
    assert found.err.count("foils at 8333 eV, the tabulated Ni K edge") == 1
    assert found.err.count("(1 GPa), the first of run-1") == 1
    assert "live.png: 9 GPa over 5 GPa" in found.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--watch", "raw"], "--watch needs --sheet SHEET"),
        (["--watch", "raw", "--set", "run=r", "--strict"], "accepts only --sheet"),
        (["--watch", "raw", "--set", "run=r", "--then", "edge_enery"], "edge_energy"),
        (["--sheet", "s.yaml"], "--watch FOLDER"),
        ([], "name at least one"),
    ],
)
def test_wrong_calls(words: list[str], said: str, tmp_path: Path) -> None:
    Archive.create(tmp_path / "archive")
    done = subprocess.run(
        [sys.executable, "-m", "barospec.cli.main", "ingest", *words, "--archive", str(tmp_path / "archive")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
