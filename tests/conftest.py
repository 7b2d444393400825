"""Fixtures: an empty archive, the sample archive (built once), and the guard against bare imports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

import barospec
from barospec import Archive
from barospec.catalogs.bundles.build import Bundle

from .bundles_made import ABOVE, CHAINS, make_archive, opened

if TYPE_CHECKING:
    from .s3_service import Service

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


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Moto's S3, with one bucket."""
    from .s3_service import BUCKET, Service

    running = Service()
    running.client().create_bucket(Bucket=BUCKET)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this machine keeps the indexes of archives in buckets."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bucket(service: Service, monkeypatch: pytest.MonkeyPatch, cache: Path) -> str:
    """Keys and address of the service in the environment, and nothing of this machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in service.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    from .s3_service import BUCKET

    return BUCKET


@pytest.fixture
def address(request: pytest.FixtureRequest, bucket: str) -> str:
    """A prefix of its own for each test."""
    return f"s3://{bucket}/tests/{request.node.name.translate({ord(c): '-' for c in '[]/ :'})}"


@pytest.fixture(scope="session", autouse=True)
def no_second_registry() -> Iterator[None]:
    """A folder imported under its bare name would make a second copy of every table in it."""
    yield
    imported = [name for name in BARE if name in sys.modules]
    assert not imported, f"imported under a bare name: {imported}"
