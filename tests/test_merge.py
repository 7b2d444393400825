"""Repeats merged: mean, standard error, parents hidden and kept, merging again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from barospec import Archive

from .files_made import SETTINGS, write_columns
from .test_cli import call


def fill(archive: Archive, folder: Path, points: list[tuple[int, float | None, int]], start: int = 0) -> list[Path]:
    """Files of points (step, pressure, repeats)."""
    made = []
    for step, pressure, repeats in points:
        for _ in range(repeats):
            path = write_columns(folder / f"{start + len(made):02}.xdi", seed=start + len(made))
            made.append(path)
            stated = [] if pressure is None else [f"pressure={pressure} ± 0.2 GPa"]
            archive.ingest([path], [*SETTINGS, f"step={step}", "temperature=300", *stated])
    return made


def test_mean_standard_error_and_parents(empty: Archive, tmp_path: Path) -> None:
    paths = fill(empty, tmp_path, [(1, 1.0, 3), (2, 5.0, 1)])
    before = empty.query().columns(["spectrum_id"])["spectrum_id"].tolist()
    report = empty.merge()
    assert (len(report.merged), report.single) == (1, 1)
    assert len(empty.query()) == 2
    assert len(empty.query("scans")) == 5
    dataset = empty.query("pressure < 2").to_xarray(channels=True).compute()  # type: ignore[union-attr]
    raw = np.stack([np.loadtxt(path)[:, 1] for path in paths[:3]])
    np.testing.assert_allclose(dataset["mu"].values[0], raw.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(dataset["sigma"].values[0], raw.std(axis=0, ddof=1) / 3**0.5, rtol=1e-9)
    merged = empty.show(report.merged[0].spectrum_id)
    assert merged["spectrum"]["parents"].split(", ") == list(report.merged[0].parents)
    assert set(report.merged[0].parents) < set(before)
    assert merged["spectrum"]["title"] == "mean of 3 scans"
    assert (merged["spectrum"]["pressure"], merged["spectrum"]["pressure_sigma"]) == (1.0, 0.2)
    assert [event["action"] for event in merged["events"]] == ["merge"]
    for parent in report.merged[0].parents:
        assert empty.show(parent)["spectrum"]["merged_into"] == report.merged[0].spectrum_id


def test_merging_again_changes_nothing_until_a_repeat_comes(empty: Archive, tmp_path: Path) -> None:
    paths = fill(empty, tmp_path, [(1, 1.0, 2)])
    first = empty.merge().merged[0].spectrum_id
    head = empty.location.head()
    again = empty.merge()
    assert (again.merged, again.unchanged, again.snapshot, empty.location.head()) == ([], 1, None, head)
    fill(empty, tmp_path, [(1, 1.0, 1)], start=2)
    second = empty.merge().merged[0]
    assert len(second.parents) == 3
    assert second.spectrum_id != first
    assert empty.query().columns(["spectrum_id"])["spectrum_id"].tolist() == [second.spectrum_id]
    assert empty.show(first)["spectrum"]["status"] == "superseded"
    # The parents' files are still recognized.
    assert empty.ingest(paths, [*SETTINGS, "step=1", "temperature=300", "pressure=1.0 ± 0.2 GPa"]).unchanged == 2


@pytest.mark.parametrize(
    ("points", "groups"),
    [
        ([(1, 1.0, 2), (2, 1.02, 1)], [3]),  # a repeat under its own step
        ([(1, 1.0, 2), (2, 1.2, 2)], [2, 2]),
        ([(1, 1.0, 1), (2, 5.0, 1), (3, 1.0, 1)], []),  # back at a pressure is another point
        ([(1, None, 2), (2, None, 1)], [2]),  # pressure not known: the step decides
    ],
)
def test_points_follow_the_route(
    points: list[tuple[int, float | None, int]], groups: list[int], empty: Archive, tmp_path: Path
) -> None:
    fill(empty, tmp_path, points)
    report = empty.merge(dry_run=True)
    assert sorted(len(point.parents) for point in report.merged) == groups
    assert report.snapshot is None


def test_different_calibration_or_sample_is_never_merged(empty: Archive, tmp_path: Path) -> None:
    for number, extra in enumerate(["energy_shift=0 eV", "energy_shift=0.5 eV", "sample=other", "mode=fluorescence"]):
        path = write_columns(tmp_path / f"{number}.xdi", seed=number)
        empty.ingest([path], [*SETTINGS, "step=1", "pressure=1", "temperature=300", extra])
    assert not empty.merge().merged


def test_a_shorter_repeat_counts_where_it_was_measured(empty: Archive, tmp_path: Path) -> None:
    for number, points in enumerate((120, 60)):
        path = write_columns(tmp_path / f"{number}.xdi", seed=number, points=points)
        empty.ingest([path], [*SETTINGS, "step=1", "pressure=1", "temperature=300"])
    merged = empty.merge().merged[0]
    energy, curve = empty.curve(merged.spectrum_id)
    assert (len(energy), np.isfinite(curve).all()) == (120, True)


def test_the_command(empty: Archive, tmp_path: Path) -> None:
    fill(empty, tmp_path, [(1, 1.0, 2), (2, 5.0, 2)])
    archive = ["--archive", str(empty.location.root)]
    dry = call("merge", "pressure < 2", "--dry-run", *archive)
    assert "2 scans would be merged into 1 spectrum" in dry.stdout
    done = call("merge", "pressure < 2", *archive, "--json")
    found = json.loads(done.stdout)
    assert (found["count"], found["rows"][0]["repeats"], len(found["rows"][0]["parents"])) == (1, 2, 2)
    assert 0 < found["rows"][0]["error"] < 0.01
    assert len(empty.query()) == 3
