"""A refresh that is killed, again and again: nothing is lost, and no finished block is done twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from barospec import Archive
from barospec.archive.derived.store import read_entries
from barospec.archive.store.read import read_table
from barospec.archive.store.repository import Store
from barospec.archive.store.write import Writer

from .files_made import SETTINGS, write_columns
from .killed import run_killed

SPECTRA, BLOCK = 40, 4
PROGRAM = """
import sys
from barospec import Archive
Archive(sys.argv[1]).refresh(block=int(sys.argv[2]))
"""


def revisions(archive: Archive) -> Counter[str]:
    """How many entries each spectrum has."""
    root = Store(archive.location).read(archive.location.head())
    count = root["derived/edge_energy/revision"].shape[0]  # type: ignore[union-attr]
    return Counter(map(str, read_entries(root, "edge_energy", 0, count)["spectrum_id"]))


def test_a_killed_refresh_goes_on_where_it_was(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "archive")
    files = [write_columns(tmp_path / f"{n}.xdi", seed=n, points=60, e0=8335 + n / 8) for n in range(SPECTRA)]
    assert archive.ingest(files, [*SETTINGS, "energy_calibration=foil"]).ok
    archive.derive("edge_energy", "xas", ensemble=0)
    store = Store(archive.location)
    with store.transaction("set") as work:
        Writer(work.root, work.changes).edit_spectra("xas/Ni-K", range(SPECTRA), {"energy_shift": 0.5})
        work.message = "aligned"
    assert archive.derivations()[0]["stale"] == SPECTRA

    done = 0
    # When a block is finished: before the next is computed, before it is committed, and when it is.
    for place, number, after, finished in (
        ("icechunk:Session.commit", 1, True, 1),
        ("icechunk:Session.commit", 2, False, 1),
        ("icechunk:Session.commit", 2, True, 2),
    ):
        run_killed(PROGRAM, [str(archive.location.root), str(BLOCK)], place, number, after=after)
        entries = revisions(archive)
        assert set(entries.values()) <= {1, 2}
        before, done = done, sum(count == 2 for count in entries.values())
        assert done == before + finished * BLOCK < SPECTRA
        # Between two kills the archive answers, and tells what is fresh.
        row = archive.derivations()[0]
        assert (row["fresh"], row["stale"]) == (done, SPECTRA - done)
        with archive.ask("edge_energy > 8300 eV") as found:
            assert (found.count, found.stale) == (done, {"edge_energy": SPECTRA - done})
    [report] = archive.refresh()
    assert report.computed == SPECTRA - done
    assert set(revisions(archive).values()) == {2}
    selection = archive.query("xas")
    np.testing.assert_array_equal(
        selection.columns(["edge_energy"])["edge_energy"],
        selection.apply("edge_energy", ensemble=0)["edge_energy"].values,
    )


RUN_COUNT = 6
FIT_RUNS = """
import sys
from barospec import Archive
from barospec.catalogs.derived import run_sets
run_sets.RUNS = 1
Archive(sys.argv[1]).derive_runs("line", "edge_energy", "xas", ensemble=0)
"""


def test_fits_of_runs_that_are_killed_go_on_where_they_were(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "archive")
    rows = []
    for run in range(RUN_COUNT):
        for step in range(3):
            name = f"{run}-{step}.xdi"
            write_columns(tmp_path / name, seed=10 * run + step, points=60, e0=8340 + run * step)
            rows.append(f"  - {{file: {name}, run: run-{run}, pressure: {4 * step} GPa}}\n")
    head = (
        "sample: NiO\ntechnique: xas\nedge: Ni K\norigin: synthetic\nenergy_calibration: foil\nfiles: '*.xdi'\nscans:\n"
    )
    (tmp_path / "sheet.yaml").write_text(head + "".join(rows))
    report = archive.ingest([tmp_path / "sheet.yaml"])
    assert report.added == 3 * RUN_COUNT, report.problems[:2]

    def numbers() -> list[int]:
        root = Store(archive.location).read(archive.location.head())
        return [int(number) for number in read_table(root, "series_values", ["number"])["number"]]

    done = 0
    # The first commit of all says what the set is.
    for number, after, finished in ((3, False, 1), (2, True, 2)):
        run_killed(FIT_RUNS, [str(archive.location.root)], "icechunk:Session.commit", number, after=after)
        before, done = done, len(numbers())
        assert done == before + finished < RUN_COUNT
        # Between two kills the archive answers, and tells what is stored.
        row = archive.derivations("edge_energy-slope")[0]
        assert (row["fresh"], row["stale"], row["missing"]) == (done, 0, RUN_COUNT - done)
        with archive.ask("runs where edge_energy_slope is known") as found:
            assert found.count == done
    report = archive.derive_runs("line", "edge_energy", "xas", ensemble=0)
    assert report.computed == RUN_COUNT - done
    assert numbers() == list(range(RUN_COUNT))
