"""Bundles with nothing but stock tools: in virtual environments that have never heard of barospec.

One environment, filled in three steps: numpy and zarr; xarray and intake too; then the validator of RO-Crate, which cannot
be a test dependency since it wants an older rich than our linters do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import xarray as xr
import zarr
from filelock import FileLock

from barospec.archive.operators.chain.execute import parse_chain
from barospec.archive.operators.registry import OPERATORS
from barospec.catalogs.bundles.build import Bundle
from barospec.schemas.errors import Conflict

from .bundles_made import opened
from .s3_service import BUCKET, Service

GROUP = "data/spectra/xas-Ni-K.zarr"

PLAIN = """
import json, sys
import numpy as np, zarr
group = zarr.open_group(sys.argv[1] + "/data/spectra/xas-Ni-K.zarr", mode="r")
told = {name: np.asarray(group[name]).sum() for name in ("mu", "pressure", "edge_energy", "valence")}
told["ids"] = [str(name) for name in group["spectrum_id"][:]]
assert not {"xarray", "pandas", "scipy", "barospec"} & set(sys.modules)
print(json.dumps(told))
"""
STOCK = """
import json, sys, warnings
warnings.simplefilter("error")
import intake
catalog = intake.open_catalog(sys.argv[1] + "/catalog.yaml")
names = list(catalog)
spectra = catalog["xas_ni_k"].read()
lazy = not spectra.mu.variable._in_memory
told = {name: float(spectra[name].sum()) for name in ("mu", "pressure", "edge_energy", "valence")}
told |= {"names": names, "lazy": lazy, "ids": spectra.spectrum_id.values.tolist(), "inputs": catalog["inputs_xas_ni_k"].read().sizes["spectrum"]}
assert not {"dask", "barospec", "icechunk"} & set(sys.modules)
print(json.dumps(told))
"""
# By URL: a web server, and S3 with keys from the environment or without any.
URL = """
import json, sys, warnings
warnings.simplefilter("error")
import intake, numpy, xarray
url, options = sys.argv[1], json.loads(sys.argv[2])
spectra = xarray.open_zarr(url + "/data/spectra/xas-Ni-K.zarr", storage_options=options or None, chunks=None)
assert not spectra.mu.variable._in_memory
catalog = intake.open_catalog(url + "/catalog.yaml", **({"storage_options": options} if options else {}))
read = catalog["xas_ni_k"].read()
assert numpy.array_equal(read.mu.values, spectra.mu.values, equal_nan=True)
assert not {"dask", "barospec", "icechunk"} & set(sys.modules)
print(json.dumps({"names": list(catalog), "ids": read.spectrum_id.values.tolist(), "mu": float(read.mu[1].sum())}))
"""
REFERENCE = "material = NiO run = ambient"
BOTH = "2: material = NiO run = ambient; 3: material = LaNiO3 run = ambient"
# Every operator that `--with` allows; two that give values of one name cannot go into one bundle.
EVERY = [
    "align(to=8333)", "deglitch(at=8420)", "normalize", "find_e0", f"edge_shift(reference='{REFERENCE}')",
    f"whole_edge_shift(low=8335, high=8355, reference='{REFERENCE}')", "derivative", "derivative_features(beta_low=8338, beta_high=8350)",
    "pre_edge_peak(anchor=8345)", "white_line", f"feature(position=8360, low=8355, high=8365, reference='{REFERENCE}')",
    "track_peak(low=8340, high=8360)", f"difference(reference='{REFERENCE}')", f"lcf(low=8330, high=8380, references='{BOTH}')",
    f"agreement(low=8330, high=8400, reference='{REFERENCE}')", f"edge_energy(fraction=0.5) | valence(references='{BOTH}')",
    "background", "normalize_emission", "kbeta13_position", "kbeta_prime", "first_moment", f"iad(reference='{REFERENCE}')",
    f"spin_state(references='LS: material = LaNiO3 run = ambient; HS: {REFERENCE}')",
    f"valence_to_core(low=8318, high=8340) | valence_vtc(references='{BOTH}')",
]  # fmt: skip
OTHERS = ["foil", f"align_to(low=8330, high=8400, reference='{REFERENCE}')"]
# The validator fetches the JSON-LD context of RO-Crate; where there is no network, the one that ro-crate-py carries is served.
CRATE = """
import email.message, io, json, sys, urllib.request, urllib.response
from pathlib import Path
import requests, requests_cache, rocrate
context = (Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_bytes()
class Local(urllib.request.BaseHandler):
    handler_order = 1
    def https_open(self, request):
        head = email.message.Message()
        head["Content-Type"] = "application/ld+json"
        found = urllib.response.addinfourl(io.BytesIO(context), head, request.full_url, 200)
        found.msg = "OK"
        return found
urllib.request.install_opener(urllib.request.build_opener(Local))
def send(self, request, **_):
    found = requests.Response()
    known = request.url.startswith("https://w3id.org/ro/crate/")
    found.status_code, found._content = (200, context) if known else (404, b"")
    found.headers["Content-Type"], found.url, found.request = "application/ld+json", request.url, request
    return found
requests.Session.send = requests_cache.CachedSession.send = send
from rocrate_validator import models, services
wanted = services.ValidationSettings(
    rocrate_uri=sys.argv[1], profile_identifier="ro-crate-1.1", requirement_severity=models.Severity.REQUIRED
)
result = services.validate(wanted)
print(json.dumps({"passed": result.passed(), "issues": [str(issue.message) for issue in result.get_issues()]}))
"""


Urls = dict[str, tuple[str, dict[str, object]]]


@dataclass
class Tools:
    """A virtual environment, and what scripts printed in it after each step."""

    python: Path
    printed: dict[str, str] = field(default_factory=dict)

    def install(self, *packages: str) -> str:
        """Install packages; returns why that was not possible."""
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "install",
            "-q",
            "--no-compile",
            "--disable-pip-version-check",
            *packages,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        return "" if done.returncode == 0 else f"pip cannot install {' '.join(packages)}: {done.stderr.strip()[-200:]}"

    def run(self, name: str, *arguments: str | Path, cwd: Path, keys: dict[str, str] | None = None) -> None:
        """Keep what a script prints, or how it fails."""
        command = [self.python, "-I", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **(keys or {})})
        self.printed[name] = done.stdout if done.returncode == 0 else f"FAILED {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def moved(sealed: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy under another name in another place."""
    return Path(shutil.copytree(sealed.path, tmp_path_factory.mktemp("moved") / "from a colleague"))


@pytest.fixture(scope="module")
def every(sample_path: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Bundles with the values of every operator."""
    folder, archive = tmp_path_factory.mktemp("every"), opened(sample_path)
    query = "Ni K synthetic La3Ni2O7 above 19 GPa"
    return [archive.share(query, folder / f"b{n}", derived=chains).path for n, chains in enumerate((EVERY, OTHERS))]


@pytest.fixture(scope="module")
def urls(moved: Path, service: Service) -> Iterator[Urls]:
    """The bundle behind a plain static web server and in a public bucket: address and storage options."""
    client = service.client()
    for path in moved.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), BUCKET, f"bundle/{path.relative_to(moved)}", ExtraArgs={"ACL": "public-read"})

    class Static(SimpleHTTPRequestHandler):
        def list_directory(self, _: object) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    public = {"anon": True, "client_kwargs": {"endpoint_url": service.endpoint}}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Static, directory=str(moved))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        yield {"http": (at, {}), "s3": (f"s3://{BUCKET}/bundle", public), "s3 keys": (f"s3://{BUCKET}/bundle", {})}
        server.shutdown()


@pytest.fixture(scope="module")
def tools(
    moved: Path,
    every: list[Path],
    urls: Urls,
    sealed: Bundle,
    service: Service,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tools:
    """Everything is run here, step by step; once, though several processes may test."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    kept = shared / f"tools-{sealed.identifier}.json"
    with FileLock(shared / "tools.lock"):
        made = Tools(shared / "clean-venv" / "bin" / "python")
        if not kept.exists():
            made.printed = _steps(made, moved, every, urls, service.variables(), shared)
            kept.write_text(json.dumps(made.printed))
        made.printed = json.loads(kept.read_text())
    return made


def _steps(
    made: Tools, moved: Path, every: list[Path], urls: Urls, keys: dict[str, str], folder: Path
) -> dict[str, str]:
    # Without a pip of its own, which takes longer to install than all else.
    words = [sys.executable, "-m", "venv", "--without-pip", folder / "clean-venv"]
    subprocess.run(words, check=True, capture_output=True)
    why = made.install("numpy", "zarr")
    if why:
        return {"skip": why, "skip crate": why}
    made.run("check", moved / "check_numbers.py", cwd=folder)
    for number, bundle in enumerate(every):
        made.run(f"every {number}", bundle / "check_numbers.py", cwd=folder)
    made.run("plain", "-c", PLAIN, moved, cwd=folder)
    why = made.install("xarray", "intake")
    if why:
        return {"skip": why, "skip crate": why}
    made.run("stock", "-c", STOCK, moved, cwd=folder)
    why = made.install("s3fs")  # brings aiohttp, which fsspec reads http with
    if why:
        made.printed["skip url"] = why
    for kind, (url, options) in urls.items() if not why else ():
        made.run(kind, "-c", URL, url, json.dumps(options), cwd=folder, keys=keys)
    why = made.install("roc-validator>=0.13", "rocrate>=0.13")
    if why:
        made.printed["skip crate"] = why
    else:
        # The validator makes an address of the path and stumbles over spaces.
        plain = shutil.copytree(moved, folder / "crate")
        made.run("crate", "-c", CRATE, plain, cwd=folder)
    return made.printed


def values(tools: Tools, name: str) -> str:
    if "skip" in tools.printed:
        pytest.skip(tools.printed["skip"])
    assert not tools.printed[name].startswith("FAILED"), tools.printed[name]
    return tools.printed[name]


def test_numpy_and_zarr_alone(tools: Tools, sealed: Bundle) -> None:
    told = json.loads(values(tools, "plain"))
    spectra = xr.open_zarr(sealed.path / GROUP, chunks=None)
    for name in ("mu", "pressure", "edge_energy", "valence"):
        assert told[name] == float(np.asarray(spectra[name].values).sum())
    assert told["ids"] == spectra.spectrum_id.values.tolist()


def test_every_derived_value_is_recomputed_with_numpy_and_zarr_alone(tools: Tools) -> None:
    lines = values(tools, "check").splitlines()
    assert lines[0].startswith("scipy is not installed")
    assert lines[-1] == "9 of 9 agree."
    assert sum("agrees for 4 spectra" in line for line in lines) == 9


def test_xarray_and_intake_alone(tools: Tools, sealed: Bundle) -> None:
    told = json.loads(values(tools, "stock"))
    spectra = xr.open_zarr(sealed.path / GROUP, chunks=None)
    assert told["names"] == ["xas_ni_k", "inputs_xas_ni_k"]
    assert told["lazy"] is True
    assert told["inputs"] == 4
    for name in ("mu", "pressure", "edge_energy", "valence"):
        assert told[name] == pytest.approx(float(spectra[name].sum()), rel=1e-14)
    assert told["ids"] == spectra.spectrum_id.values.tolist()


def test_validator_of_ro_crate(tools: Tools) -> None:
    if "skip crate" in tools.printed:
        pytest.skip(tools.printed["skip crate"])
    assert json.loads(values(tools, "crate").splitlines()[-1]) == {"passed": True, "issues": []}


def test_check_numbers_finds_a_wrong_number(moved: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(moved, tmp_path / "copy"))
    group = zarr.open_group(str(copy / GROUP), mode="r+")
    group["edge_energy"][1] = float(np.asarray(group["edge_energy"])[1]) + 1e-4  # type: ignore[index]
    done = subprocess.run([sys.executable, copy / "check_numbers.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "edge_energy DIFFERS for 1 of 4 spectra" in done.stdout
    nothing = subprocess.run([sys.executable, copy / "check_numbers.py", tmp_path], capture_output=True, text=True)
    assert nothing.returncode == 2


@pytest.mark.parametrize("kind", ["http", "s3", "s3 keys"])
def test_by_url_with_stock_tools(kind: str, tools: Tools, sealed: Bundle) -> None:
    if "skip url" in tools.printed:
        pytest.skip(tools.printed["skip url"])
    told = json.loads(values(tools, kind))
    spectra = xr.open_zarr(sealed.path / GROUP, chunks=None)
    assert told["names"] == ["xas_ni_k", "inputs_xas_ni_k"]
    assert told["ids"] == spectra.spectrum_id.values.tolist()
    assert told["mu"] == float(spectra.mu[1].sum())


def test_every_operator_is_recomputed_with_numpy_and_zarr_alone(tools: Tools) -> None:
    chains = [step for chain in EVERY + OTHERS for step, _ in parse_chain(chain)]
    assert {*chains} == {*OPERATORS}
    for number, least in ((0, 150), (1, 5)):
        lines = values(tools, f"every {number}").splitlines()
        assert [line for line in lines if "DIFFERS" in line] == []
        count = sum("agrees for" in line for line in lines)
        assert count >= least
        assert lines[-1] == f"{count} of {count} agree."


def test_a_value_named_like_a_channel_that_goes_along_is_refused(sample_path: Path, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="murefer, which is also a recorded channel"):
        opened(sample_path).share("run = run-2 above 15 GPa", tmp_path / "b", derived="foil, align(to=8333)")
    assert list(tmp_path.iterdir()) == []


def test_each_altered_value_is_found(every: list[Path], tmp_path: Path) -> None:
    """One number of each derived array, a thousandth of it or of its sigma."""
    copy = Path(shutil.copytree(every[0], tmp_path / "copy"))
    altered = set()
    for one in json.loads((copy / "data/bundle.json").read_text())["derived"]:
        group = zarr.open_group(str(copy / "data" / one["group"]), mode="r+")
        for name in one["outputs"]:
            found = np.array(group[name])
            place = np.unravel_index(np.argmax(np.isfinite(found)), found.shape)
            integer = found.dtype.kind in "iu"
            found[place] = (
                1.0 if np.isnan(found[place]) else found[place] + 1 if integer else found[place] * 1.001 + 1e-6
            )
            group[name][:] = found  # type: ignore[index]
            altered.add(f"{one['group']}: {name} DIFFERS for 1 of")
    done = subprocess.run([sys.executable, copy / "check_numbers.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert {told for told in altered if told not in done.stdout} == set()
    assert "0 of" in done.stdout.splitlines()[-1]
