"""Fixtures: an empty archive, the sample archive (built once), and the guard against bare imports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import barospec
from barospec.api import Archive
from barospec.catalogs.bundle import Bundle

from .bundles_made import ABOVE, CHAINS, make_archive, opened

# The same examples in every run, so that a failure is the change's own; BAROSPEC_EXPLORE=1 looks for new ones.
settings.register_profile(
    "barospec",
    deadline=None,
    derandomize=not os.environ.get("BAROSPEC_EXPLORE"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("barospec")

BARE = ("archive", "catalogs", "cli", "schemas", "sample_data")


@pytest.fixture
def empty(tmp_path: Path) -> Archive:
    """A new archive without spectra."""
    return Archive.create(tmp_path / "archive")


@pytest.fixture(scope="session")
def sample_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample archive, ingested from its raw files; tests must not write to it."""
    from barospec.sample_data import RAW

    path = tmp_path_factory.mktemp("sample") / "archive"
    archive = Archive.create(path, title="sample")
    report = archive.ingest([RAW])
    assert report.ok, "\n".join(map(str, report.problems))
    return path


@pytest.fixture
def sample(sample_path: Path) -> Archive:
    """The sample archive, opened."""
    opened = barospec.open(sample_path)
    assert isinstance(opened, Archive)
    return opened


@pytest.fixture(scope="session")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small archive of `bundles_made`, for bundles and exports; tests must not write to it."""
    return make_archive(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def sealed(shared_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of it with derived values and inputs; tests copy it before they change it."""
    return opened(shared_path).share(ABOVE, tmp_path_factory.mktemp("sealed") / "bundle", derived=CHAINS)


@pytest.fixture(scope="session", autouse=True)
def no_second_registry() -> Iterator[None]:
    """A folder imported under its bare name would make a second copy of every table in it."""
    yield
    imported = [name for name in BARE if name in sys.modules]
    assert not imported, f"imported under a bare name: {imported}"
