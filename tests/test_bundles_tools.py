"""Bundles with nothing but stock tools: in virtual environments that have never heard of barospec.

One environment, filled in three steps: numpy and zarr; xarray and intake too; then the validator of RO-Crate, which cannot
be a test dependency since it wants an older rich than our linters do.
"""

from __future__ import annotations

import json
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
from filelock import FileLock

from barospec.catalogs.bundle import Bundle

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


@dataclass
class Tools:
    """A virtual environment, and what scripts printed in it after each step."""

    python: Path
    printed: dict[str, str] = field(default_factory=dict)

    def install(self, *packages: str) -> str:
        """Install packages; returns why that was not possible."""
        command = [self.python, "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", *packages]
        done = subprocess.run(command, capture_output=True, text=True)
        return "" if done.returncode == 0 else f"pip cannot install {' '.join(packages)}: {done.stderr.strip()[-200:]}"

    def run(self, name: str, *arguments: str | Path, cwd: Path) -> None:
        """Keep what a script prints, or how it fails."""
        command = [self.python, "-I", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
        self.printed[name] = done.stdout if done.returncode == 0 else f"FAILED {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def moved(sealed: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy under another name in another place."""
    return Path(shutil.copytree(sealed.path, tmp_path_factory.mktemp("moved") / "from a colleague"))


@pytest.fixture(scope="module")
def tools(moved: Path, sealed: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """Everything is run here, step by step; once, though several processes may test."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    kept = shared / f"tools-{sealed.identifier}.json"
    with FileLock(shared / "tools.lock"):
        made = Tools(shared / "clean-venv" / "bin" / "python")
        if not kept.exists():
            made.printed = _steps(made, moved, shared)
            kept.write_text(json.dumps(made.printed))
        made.printed = json.loads(kept.read_text())
    return made


def _steps(made: Tools, moved: Path, folder: Path) -> dict[str, str]:
    subprocess.run([sys.executable, "-m", "venv", folder / "clean-venv"], check=True, capture_output=True)
    why = made.install("numpy", "zarr")
    if why:
        return {"skip": why, "skip crate": why}
    made.run("check", moved / "check_numbers.py", cwd=folder)
    made.run("plain", "-c", PLAIN, moved, cwd=folder)
    why = made.install("xarray", "intake")
    if why:
        return {"skip": why, "skip crate": why}
    made.run("stock", "-c", STOCK, moved, cwd=folder)
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
    import zarr

    copy = Path(shutil.copytree(moved, tmp_path / "copy"))
    group = zarr.open_group(str(copy / GROUP), mode="r+")
    group["edge_energy"][1] = float(np.asarray(group["edge_energy"])[1]) + 1e-4  # type: ignore[index]
    done = subprocess.run([sys.executable, copy / "check_numbers.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "edge_energy DIFFERS for 1 of 4 spectra" in done.stdout
    nothing = subprocess.run([sys.executable, copy / "check_numbers.py", tmp_path], capture_output=True, text=True)
    assert nothing.returncode == 2


@pytest.fixture
def server(moved: Path) -> Iterator[str]:
    """A plain static web server over the bundle."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(moved))) as httpd:
        thread = Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_behind_a_static_web_server(server: str, moved: Path) -> None:
    here = xr.open_zarr(moved / GROUP, chunks=None)
    there = xr.open_zarr(f"{server}/{GROUP}", chunks=None)
    assert there.identical(here.load())
