"""Archives in a bucket, against moto's S3 service: the same verbs, two machines at a time, and clear errors."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import duckdb
import intake
import numpy as np
import pytest
import yaml
from packaging.version import Version

import barospec
from barospec import Archive
from barospec.archive.store.repository import Store, _reader
from barospec.catalogs.index.files import folder
from barospec.cli.main import run
from barospec.schemas.errors import BarospecError, CallError, Conflict, LostRace, NotFound, StoreError, Unsupported

from .files_made import SETTINGS, write_columns
from .killed import COMMAND_LINE, run_killed
from .s3_service import BUCKET, KEY_ID, SECRET, Answer, Environment, Service, refusal

pytestmark = pytest.mark.usefixtures("bucket")


@pytest.fixture(scope="module")
def copied(service: Service, sample_path: Path) -> str:
    """The sample archive, copied file by file into the bucket as any tool for S3 does; tests must not write to it."""
    # Not through boto3, whose own work takes most of the time.
    connection = http.client.HTTPConnection(service.endpoint.removeprefix("http://"))
    for path in sample_path.rglob("*"):
        if path.is_file() and "index" not in path.parts:
            where = f"/{BUCKET}/sample/{path.relative_to(sample_path).as_posix()}"
            connection.request("PUT", where, path.read_bytes(), {"x-amz-acl": "public-read"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
    connection.close()
    return f"s3://{BUCKET}/sample"


def call(*words: str | Path) -> tuple[int, str, str]:
    """Run the command in this process: exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["barospec", *map(str, words)])
        try:
            run()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


# The same verbs


def test_a_new_archive_takes_spectra_and_answers(address: str, tmp_path: Path) -> None:
    archive = Archive.create(address, title="test")
    files = [write_columns(tmp_path / f"s{number}.xdi", seed=number) for number in range(3)]
    report = archive.ingest(files, SETTINGS)
    assert (report.added, report.ok) == (3, True)
    assert archive.ingest(files, SETTINGS).unchanged == 3
    assert archive.ingest([files[0]], [*SETTINGS, "pressure=2 GPa"]).conflicts == 1
    assert archive.ingest([files[0]], [*SETTINGS, "pressure=2 GPa"], replace=True).replaced == 1
    again = barospec.open(address)
    assert len(again.query("above 1 GPa")) == 1
    assert [commit.metadata["verb"] for commit in again.log()] == ["ingest", "ingest", "init"]
    local = Archive.create(tmp_path / "local")
    local.ingest(files, SETTINGS)
    for path in files[1:]:
        remote_rows, local_rows = (a.query(f'source_file = "{path.name}"').to_xarray() for a in (again, local))
        assert np.array_equal(remote_rows["mu"].values, local_rows["mu"].values, equal_nan=True)
    with pytest.raises(Conflict, match="archive already"):
        Archive.create(address)
    with pytest.raises(Conflict, match="not empty"):
        Archive.create(address.rpartition("/")[0])


def test_merge_saved_queries_and_tags(address: str, tmp_path: Path) -> None:
    archive = Archive.create(address)
    files = [write_columns(tmp_path / f"s{number}.xdi", seed=number) for number in range(2)]
    archive.ingest(files, [*SETTINGS, "pressure=2 GPa", "temperature=10 K", "step=1"])
    assert len(archive.merge("NiO").merged) == 1
    archive.save("low", "below 3 GPa")
    before = archive.snapshot
    archive._store.tag("v1", before)
    archive.unsave("low")
    assert len(archive.query("NiO")) == 1
    assert archive.tags() == {"v1": before}
    for at in ("v1", before, before[:9], "2999-01-01"):
        assert barospec.open(address, at=at).snapshot == (archive.snapshot if at.startswith("2999") else before)
    assert len(barospec.open(address, at="v1").query("@low")) == 1
    with pytest.raises(NotFound, match="Tags: v1"):
        _ = barospec.open(address, at="v2").snapshot
    with pytest.raises(Conflict):
        archive._store.tag("v1", archive.snapshot)


READING: dict[str, list[str]] = {
    "query": ["query", "all runs above 14 GPa", "--json"],
    "query spectra": ["query", "xas Ni K sorted by pressure", "--csv"],
    "runs": ["runs", "--json"],
    "fields": ["fields", "--json"],
    "log": ["log", "--json"],
    "saved": ["saved", "--json"],
    "apply": ["apply", "edge_energy", "xas Ni K run = run-2", "--json"],
    "apply models": ["apply", "spin_correlations", "models of La4Ni3O10", "--csv"],
    "series": ["series", "line", "edge_energy", "xas Ni K run = run-2", "--json"],
}


@pytest.mark.parametrize("name", READING)
def test_every_reading_verb_says_what_it_says_of_a_local_archive(name: str, copied: str, sample_path: Path) -> None:
    remote, local = (call(*READING[name], "--archive", place) for place in (copied, str(sample_path)))
    assert remote[0] == local[0] == 0, remote[2]
    assert remote[1] == local[1]
    assert len(remote[1]) > 20


def test_show_plot_and_an_index_made_anew(copied: str, sample: Archive, tmp_path: Path, cache: Path) -> None:
    identifier = str(sample.query("xas Ni K run = run-2").columns(["spectrum_id"])["spectrum_id"][0])
    assert Archive(copied).show(identifier) == sample.show(identifier)
    picture = tmp_path / "p.png"
    code, _, told = call("plot", "spectra", "xas Ni K run = run-2", "--archive", copied, "-o", picture)
    assert code == 0, told
    assert picture.stat().st_size > 10_000
    made = Archive(copied).rebuild_index()
    assert made.is_relative_to(cache)
    assert len(Archive(copied).query("spectra")) == len(sample.query("spectra"))


def test_a_query_reads_two_small_objects_once_its_index_is_there(service: Service, copied: str) -> None:
    assert call("query", "all runs above 14 GPa", "--archive", copied)[0] == 0
    service.requests.clear()
    code = f"""
import sys
sys.argv = ["barospec", "query", "all runs above 14 GPa", "--archive", {copied!r}, "--json"]
from barospec.cli.main import run
try:
    run()
except SystemExit as end:
    assert not end.code, end.code
print("\\n" + " ".join(sorted(m for m in sys.modules if "." not in m)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [path.rpartition("/")[2] for _, path in service.requests] == ["barospec.json", "ref.json"]
    if Version(duckdb.__version__) < Version("2"):
        return  # it imports numpy and pandas itself
    heavy = {"icechunk", "zarr", "numpy", "pandas", "xarray", "dask", "boto3", "botocore", "requests", "fsspec"}
    assert not set(done.stdout.splitlines()[-1].split()) & heavy


def test_selections_are_lazy(service: Service, copied: str) -> None:
    dataset = Archive(copied).query("xas Ni K above 14 GPa").to_xarray()
    service.requests.clear()
    assert dataset.sizes["spectrum"] > 10
    assert float(dataset.pressure.min()) > 14
    assert not service.requests
    assert np.isfinite(dataset["mu"].isel(spectrum=[0]).values).any()
    assert any("/chunks/" in path for _, path in service.requests)


def test_the_variable_and_a_path_name_it_too(copied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAROSPEC_ARCHIVE", copied + "/")
    assert json.loads(call("runs", "--json")[1])["count"] > 5
    assert barospec.open(Path(copied)).location.place == copied  # a Path eats one slash


def test_an_intake_catalog_names_the_address(copied: str, tmp_path: Path) -> None:
    Archive(copied).catalog(tmp_path / "c.yaml", {"high": "xas Ni K above 14 GPa"})
    text = (tmp_path / "c.yaml").read_text()
    assert yaml.safe_load(text)["entries"]["high"]["kwargs"]["archive"] == copied
    dataset = intake.open_catalog(str(tmp_path / "c.yaml"))["high"].read()
    assert dataset.sizes["spectrum"] == len(Archive(copied).query("xas Ni K above 14 GPa"))


# Two machines


ROUNDS = """
import sys, pathlib
import barospec
address, folder, number, rounds = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
archive = barospec.open(address)
for turn in range(rounds):
    print("ready", flush=True)
    sys.stdin.readline()  # both begin each round at once
    settings = [f"run=run-{number}", "sample=NiO", "origin=synthetic", "technique=xas", "edge=Ni K"]
    report = archive.ingest([folder / f"{number}-{turn}.xdi"], settings)
    assert (report.added, report.ok, bool(report.snapshot)) == (1, True, True), report
"""


def test_two_machines_ingest_at_the_same_time_and_all_arrives_once(address: str, tmp_path: Path) -> None:
    archive, rounds = Archive.create(address), 4
    for number in range(2):
        for turn in range(rounds):
            write_columns(tmp_path / f"{number}-{turn}.xdi", seed=100 * number + turn, points=20)
    writers = []
    for number in range(2):  # each with a cache of its own, as on two machines
        words = [sys.executable, "-c", ROUNDS, address, str(tmp_path), str(number), str(rounds)]
        variables = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / f"cache-{number}")}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        writers.append(subprocess.Popen(words, env=variables, text=True, **pipes))
    for _ in range(rounds):
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n", writer.communicate()
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
    for writer in writers:
        _, told = writer.communicate()
        assert writer.returncode == 0, told
    names = archive.query("spectra").columns(["source_file", "run"])
    assert sorted(names["source_file"]) == sorted(f"{n}-{t}.xdi" for n in range(2) for t in range(rounds))
    commits = [commit for commit in archive.log() if commit.metadata["verb"] == "ingest"]
    assert len(commits) == 2 * rounds


def test_a_lost_race_runs_again_on_what_is_there_then(address: str) -> None:
    archive = Archive.create(address)
    store, seen = Store(archive.location), []

    def body(work: Any) -> int:
        seen.append(work.parent)
        work.root.attrs["turn"] = len(seen)
        if len(seen) <= 2:  # someone else is quicker, twice
            with Store(archive.location).transaction("other") as other:
                other.root.attrs["other"] = len(seen)
                other.message = f"other {len(seen)}"
        work.message = "mine"
        return len(seen)

    turns, snapshot = store.write("test", body)
    assert turns == 3
    assert snapshot == archive.snapshot
    assert len(set(seen)) == 3
    assert [commit.message for commit in archive.log()][:3] == ["mine", "other 2", "other 1"]
    assert dict(store.read(archive.snapshot).attrs)["other"] == 2


def test_a_transaction_that_lost_the_race_says_so(address: str) -> None:
    archive = Archive.create(address)

    def late() -> None:
        with Store(archive.location).transaction("test") as work:
            work.root.attrs["late"] = 1
            work.message = "late"
            with Store(archive.location).transaction("other") as other:
                other.root.attrs["quick"] = 1
                other.message = "quick"

    with pytest.raises(LostRace, match="nothing was written"):
        late()
    assert archive.log()[0].message == "quick"
    assert "late" not in Store(archive.location).read(archive.snapshot).attrs


def test_a_commit_whose_answer_is_lost_is_not_done_twice(service: Service, address: str, tmp_path: Path) -> None:
    archive = Archive.create(address)
    lost: list[str] = []

    def fault(environ: Environment, start: Any) -> Iterable[bytes] | None:
        if environ["REQUEST_METHOD"] != "PUT" or "branch.main" not in environ["PATH_INFO"] or lost:
            return None
        lost.append(environ["PATH_INFO"])
        list(service.moto(environ, lambda *_: None))  # it arrives, and the answer does not
        start("500 Internal Server Error", [])
        return [b""]

    with service.failing(fault):
        report = archive.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    assert lost
    assert (report.added, report.unchanged, report.snapshot) == (1, 0, archive.snapshot)
    assert len(archive.log()) == 2


def test_a_killed_writer_leaves_what_was_there(service: Service, address: str, tmp_path: Path) -> None:
    archive = Archive.create(address)
    archive.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    before = archive.snapshot
    files = [str(write_columns(tmp_path / f"b{number}.xdi", seed=number + 1)) for number in range(5)]
    words = ["ingest", "--archive", address, *files, *(word for each in SETTINGS for word in ("--set", each))]
    for place in ("icechunk:IcechunkStore.set", "icechunk:Session.commit"):
        service.requests.clear()
        run_killed(COMMAND_LINE, words, place)
        assert archive.snapshot == before
    assert any(method == "PUT" and "/chunks/" in path for method, path in service.requests)
    assert archive.ingest([tmp_path], SETTINGS).added == 5
    assert len(archive.query("spectra")) == 6


def test_a_service_without_conditional_writes_is_refused(service: Service, address: str) -> None:
    def fault(environ: Environment, start: Any) -> Iterable[bytes] | None:
        environ.pop("HTTP_IF_MATCH", None)
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return None

    with service.failing(fault), pytest.raises(Unsupported, match="ignores the conditions"):
        Archive.create(address)
    assert Archive.create(address).location.place == address  # nothing is left in the way


# Errors


def _blackhole() -> socket.socket:
    """Takes connections and never answers."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(5)
    return silent


CODES: list[tuple[str, str, str]] = [
    ("403 Forbidden", "AccessDenied", "do not permit this"),
    ("403 Forbidden", "InvalidAccessKeyId", "access key is not known"),
    ("403 Forbidden", "SignatureDoesNotMatch", "secret key does not fit"),
    ("400 Bad Request", "ExpiredToken", "have expired"),
    ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
    ("301 Moved Permanently", "PermanentRedirect", "another region than us-east-1"),
    ("503 Service Unavailable", "SlowDown", "overloaded"),
]


@pytest.mark.parametrize(("status", "code", "told"), CODES)
def test_what_the_service_says_is_explained(service: Service, copied: str, status: str, code: str, told: str) -> None:
    archive = Archive(copied)
    lazy = archive.query("xas Ni K").to_xarray()["mu"]
    attempts: list[Callable[[], Any]] = [
        lambda: Archive(copied).query("spectra"), archive.log, lambda: lazy.isel(spectrum=[0]).values,
        lambda: archive.save("x", "spectra"), archive.tags,
    ]  # fmt: skip
    with service.failing(refusal(status, code)):
        for attempt in attempts[:1] if code == "SlowDown" else attempts:
            service.requests.clear()
            with pytest.raises(StoreError, match=told) as caught:
                attempt()
            assert SECRET not in str(caught.value)
            assert KEY_ID not in str(caught.value)
            assert len(str(caught.value)) < 400
            assert len(service.requests) < 30  # it is not asked again and again


def test_no_bucket_no_archive_no_service(copied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["query", "spectra"], ["log"], ["init", "s3://nobody-has-this/a"]):
        code, out, told = call(*words, *([] if words[0] == "init" else ["--archive", "s3://nobody-has-this/a"]))
        assert (code, out) == (1, "")
        assert "there is no such bucket at http://127.0.0.1" in told
        assert len(told.splitlines()) == 1
    with pytest.raises(NotFound, match=f"no archive at s3://{BUCKET}/elsewhere.*barospec init"):
        barospec.open(f"s3://{BUCKET}/elsewhere")
    monkeypatch.setattr(
        "barospec.archive.store.storage.bucket.ANSWER_SECONDS", 2
    )  # not to wait as long as a user should
    with _blackhole() as silent:
        for port in (silent.getsockname()[1], 9):
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            with pytest.raises(StoreError, match=f"127.0.0.1:{port} cannot be reached"):
                barospec.open(copied)


def trickle(answer: Iterable[bytes]) -> Iterable[bytes]:
    """An answer that takes very long, and never falls silent."""
    content = b"".join(answer) or b" " * 100
    for place in range(len(content)):
        yield content[place : place + 1]
        time.sleep(0.2 if place < 100 else 0)


def slow(service: Service, method: str, folder: str) -> Answer:
    """Answers of which some trickle."""

    def answer(environ: Environment, start: Any) -> Iterable[bytes]:
        mine = environ["REQUEST_METHOD"] == method and f"/store/{folder}/" in environ["PATH_INFO"]
        said = service.moto(environ, start)
        return trickle(said) if mine else said

    return answer


@pytest.mark.parametrize("folder", ["snapshots", "manifests", "chunks"])
def test_an_answer_that_does_not_end_is_given_up(
    service: Service, copied: str, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr("barospec.archive.store.storage.time_limits.ANSWER_SECONDS", 2)
    archive = Archive(copied)
    lazy = archive.query("xas Ni K").to_xarray()["mu"]
    _reader.cache_clear()  # with manifests that other tests have read

    def read() -> object:
        return Store(archive.location).read(archive.snapshot)["spectra"] if folder == "snapshots" else lazy.values

    attempts: list[Callable[[], object]] = [read, archive.log] if folder == "snapshots" else [read]
    with service.failing(slow(service, "GET", folder)):
        for attempt in attempts:
            with pytest.raises(StoreError, match=f"{copied}: no answer within 2 s") as caught:
                attempt()
            assert SECRET not in str(caught.value)
    assert int(np.isfinite(lazy.isel(spectrum=[0]).values).sum()) == int(lazy["point_count"][0])


def test_a_commit_without_an_answer_is_not_called_failed(
    service: Service, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive.create(address)
    monkeypatch.setattr("barospec.archive.store.storage.time_limits.COMMIT_SECONDS", 2)

    def late(environ: Environment, start: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PUT" and "/store/refs/" in environ["PATH_INFO"]:
            time.sleep(5)
        return service.moto(environ, start)

    with (
        service.failing(late),
        pytest.raises(StoreError, match=r"no answer within 2 s.*Whether the commit arrives is not known.*barospec log"),
    ):
        archive.ingest([write_columns(tmp_path / "a.dat")], SETTINGS)
    began = time.monotonic()
    while len(archive.log()) == 1 and time.monotonic() - began < 60:
        time.sleep(0.2)
    assert len(archive.log()) == 2  # it did
    assert archive.ingest([tmp_path / "a.dat"], SETTINGS).added == 0
    assert archive.verify().faults == []


@pytest.mark.parametrize(
    "text", ["s3://", "s3://UPPER/a", "s3://b", "s3://bucket/a b", "s3://bucket/../a", "s3://bucket/a?b"]
)
def test_an_address_that_cannot_be_one(text: str) -> None:
    with pytest.raises(CallError, match=r"bucket|prefix"):
        barospec.open(text)


def test_an_archive_behind_a_plain_web_server_is_a_wrong_call() -> None:
    with pytest.raises(CallError, match=r"docs/remote\.md"):
        barospec.open("https://example.org/archive")


def test_without_obstore_the_error_names_the_extra(copied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from barospec.archive.store.storage import bucket as remote

    remote._client.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(Unsupported, match=r"barospec\[s3\]"):
        barospec.open(copied)


# Keys


def test_keys_come_from_a_profile(
    service: Service, copied: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)
    credentials, config = tmp_path / "credentials", tmp_path / "config"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    # Nobody is asked over the network for them, not even the machine's own service.
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.endpoint)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", service.endpoint)
    service.requests.clear()
    with pytest.raises(StoreError, match="there are no credentials"):
        barospec.open(copied)
    assert service.requests == []
    credentials.write_text(f"[lab]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    config.write_text(
        f"[profile lab]\nregion = eu-north-1\nservices = own\n[services own]\ns3 =\n  endpoint_url = {service.endpoint}\n"
        "[profile signs-in]\nsso_session = x\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "lab")
    archive = Archive(copied)
    assert archive.query("xas Ni K run = run-2").to_xarray()["mu"].shape[0] == len(
        archive.query("xas Ni K run = run-2")
    )
    assert archive.log()
    monkeypatch.setenv("AWS_PROFILE", "lap")
    with pytest.raises(StoreError, match='no profile "lap"'):
        barospec.open(copied)
    monkeypatch.setenv("AWS_PROFILE", "signs-in")
    with pytest.raises(StoreError, match="export-credentials --profile signs-in"):
        barospec.open(copied)
    credentials.write_text(f"[lab\naws_secret_access_key = {SECRET}\n")
    with pytest.raises(StoreError, match="cannot be read as a profile file") as caught:
        barospec.open(copied)
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.delenv("AWS_PROFILE")
    with pytest.raises(StoreError, match="only one is set"):
        barospec.open(copied)


def test_a_public_bucket_is_read_without_keys(service: Service, copied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    signed: list[str] = []

    def fault(environ: Environment, start: Any) -> None:
        signed.extend([environ["PATH_INFO"]] if "HTTP_AUTHORIZATION" in environ else [])

    with service.failing(fault):
        archive = Archive(copied)
        assert np.isfinite(archive.query("xas Ni K run = run-2").to_xarray()["mu"].values).any()
    assert not signed


def test_keys_are_in_no_file_object_or_repr(service: Service, address: str, tmp_path: Path) -> None:
    archive = Archive.create(address)
    archive.ingest([write_columns(tmp_path / "a.xdi")], SETTINGS)
    archive.catalog(tmp_path / "c.yaml")
    client = service.client()
    prefix = address.removeprefix(f"s3://{BUCKET}/")
    objects = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    written = [client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in objects]
    written += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    location: Any = archive.location
    written += [repr(item).encode() for item in (archive, location, location.access, archive.query("spectra"))]
    assert len(written) > 30
    for word in (KEY_ID.encode(), SECRET.encode()):
        assert not any(word in content for content in written)


def test_a_damaged_marker_and_a_newer_format(service: Service, address: str) -> None:
    Archive.create(address)
    client, key = service.client(), address.removeprefix(f"s3://{BUCKET}/") + "/barospec.json"
    for body, error in (
        (b"\xff\xfe", StoreError),
        (b"{}", StoreError),
        (b'{"barospec_format": 99, "uuid": "x"}', Unsupported),
    ):
        client.put_object(Bucket=BUCKET, Key=key, Body=body)
        with pytest.raises(error) as caught:
            barospec.open(address)
        assert isinstance(caught.value, BarospecError)


def test_a_cache_that_cannot_be_written_is_told(copied: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="XDG_CACHE_HOME"):
        Archive(copied).query("spectra")
    assert not folder(Archive(copied).location).exists()
