"""Try barospec as people install it, on every Python that this machine has: `make matrix`.

For each Python from 3.11 on: the built wheel with the newest dependencies in an environment of its own, the demo, and the
tests of what must not depend on versions. On the oldest one also the lowest versions that ``pyproject.toml`` allows, and an
upgrade from the last release with its archive. At last several of these environments work on one archive in turns. Needs
git, a package index and what ``pip install uv`` gives; runs with the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "matrix"
OLDEST = (3, 11)
PACKAGES = ("archive", "barospec", "cli", "schemas")  # left out of the tree that tests run in: the wheel brings them
SUITE = (
    "store",
    "frozen",
    "concurrency",
    "ingest",
    "ingest_folder",
    "index",
    "index_making",
    "verify",
    "versions",
    "clearing",
    "bundles",
    "bundles_import",
    "exports",
    "query_answers",
    "query_corpus",
    "query_text",
    "lazy",
    "apply",
    "derived",
    "intake",
    "remote",
    "remote_care",
)
SHOWN = ("icechunk", "zarr", "duckdb", "numpy", "xarray", "pandas")
# The last release: its commit, from which its wheel is built.
RELEASE, RELEASE_COMMIT = "0.1.0", "aaa23db531a000e2e6595856997090b51b142ead"


class Failed(Exception):
    """A step that did not do what it should."""


@dataclass
class Environment:
    """One Python with one set of versions."""

    name: str
    python: Path
    lowest: bool = False
    done: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Return where its packages are."""
        return WORK / self.name

    def run(self, program: str, *arguments: str | Path, cwd: Path = WORK, **variables: str) -> str:
        """Run a program of this environment; return its output, raise `Failed` with it when it fails."""
        return run(self.folder / "bin" / program, *arguments, cwd=cwd, **variables)


def run(*command: str | Path, cwd: Path = WORK, **variables: str) -> str:
    """Run a command and return what it writes to stdout and stderr."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    told = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | variables,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if told.returncode:
        raise Failed(f"$ {' '.join(map(str, command))}\n{told.stdout[-6000:]}\nexit code {told.returncode}")
    return told.stdout


def uv(*arguments: str | Path) -> str:
    """Run uv, which was installed beside the Python that runs this."""
    return run(Path(sys.executable).with_name("uv"), *arguments, cwd=ROOT)


def pythons() -> dict[tuple[int, int], Path]:
    """Return the Pythons of this machine from the oldest supported one on, newest patch each: on PATH and under pyenv."""
    places = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places += [version / "bin" for version in pyenv.iterdir()] if pyenv.is_dir() else []
    found: dict[tuple[int, int], tuple[tuple[int, ...], Path]] = {}
    for place in places:
        if not place.is_dir():
            continue
        for candidate in sorted(place.glob("python3*")):
            if not re.fullmatch(r"python3(\.\d+)?", candidate.name):
                continue
            ask = "import json, sys; print(json.dumps([*sys.version_info[:3], sys.version_info[3], sys.executable]))"
            told = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, cwd="/")
            if told.returncode:  # a shim of a version that is not switched on
                continue
            *version, level, executable = json.loads(told.stdout)
            minor = (version[0], version[1])
            if minor >= OLDEST and level == "final" and tuple(version) > found.get(minor, ((), None))[0]:
                found[minor] = tuple(version), Path(executable)
    return {minor: path for minor, (_, path) in sorted(found.items())}


def build() -> Path:
    """Build sdist and, from it, the wheel; return the wheel."""
    target = WORK / "dist"
    shutil.rmtree(target, ignore_errors=True)
    uv("build", "-q", "-o", target, ROOT)
    (wheel,) = target.glob("*.whl")
    (_,) = target.glob("*.tar.gz")
    return wheel


def lowest(python: Path) -> Path:
    """Write the lowest versions of our own dependencies that pyproject.toml allows, as constraints; return the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    given = [*project["dependencies"], *extras["s3"], *extras.get("hdf5plugin", ())]
    names = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in given}
    options = [part for extra in ("s3", "hdf5plugin") if extra in extras for part in ("--extra", extra)]
    told = uv(
        "pip", "compile", "-q", "--python", python, "--resolution", "lowest-direct", "--no-header", "--no-annotate",
        *options, "pyproject.toml",
    )  # fmt: skip
    pins = [line for line in told.splitlines() if line.partition("==")[0].lower() in names]
    target = WORK / "lowest.txt"
    target.write_text("\n".join(pins) + "\n")
    return target


def install(env: Environment, wheel: Path) -> None:
    """Make the environment: first the wheel alone, whose demo must run; then what the tests need besides."""
    uv("venv", "-q", "--clear", "--python", env.python, env.folder)
    limits = ["-c", lowest(env.python)] if env.lowest else []
    uv("pip", "install", "-q", "-p", env.folder, *limits, wheel)
    demo(env)
    uv("pip", "install", "-q", "-p", env.folder, *limits, f"barospec[test] @ {wheel.as_uri()}")
    listed = json.loads(uv("pip", "list", "-q", "-p", env.folder, "--format", "json"))
    versions = {package["name"]: package["version"] for package in listed}
    env.done["versions"] = ", ".join(f"{name} {versions[name]}" for name in SHOWN)


def demo(env: Environment) -> None:
    """Run the demo; no library may write warnings among its results."""
    target = WORK / "demo" / env.name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    told = env.run("barospec", "demo", target)
    (WORK / "demo" / f"{env.name}.txt").write_text(told)
    if strange := re.findall(r".*(?:WARN|Warning).*", told):
        raise Failed(f"the demo on {env.name} prints warnings:\n" + "\n".join(strange[:5]))
    env.run("barospec", "verify", "--archive", target)
    env.done["demo"] = "ok"


def tree() -> Path:
    """Copy the files of the checkout without the packages, so that tests meet the installed ones; return the folder."""
    target = WORK / "tree"
    shutil.rmtree(target, ignore_errors=True)
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and name.partition("/")[0] not in PACKAGES and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def test(env: Environment, where: Path, names: tuple[str, ...]) -> None:
    """Run tests against the installed wheel, and show pytest's last lines."""
    files = [f"tests/test_{name}.py" for name in names]
    began = time.monotonic()
    told = env.run("python", "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-o", "faulthandler_timeout=300",
                   *files, cwd=where)  # fmt: skip
    env.done["tests"] = f"{told.strip().splitlines()[-1].strip('= ')} [{time.monotonic() - began:.0f} s]"
    print(told.strip().splitlines()[-1], flush=True)


def answer(env: Environment, archive: Path, *words: str) -> dict[str, Any]:
    """Ask in JSON, on an archive."""
    told: dict[str, Any] = json.loads(env.run("barospec", *words, "--json", "--archive", archive))
    return told


def same(environments: list[Environment], archive: Path, *, compute: bool = True) -> int:
    """Compare what each environment says of one archive; return the number of spectra."""
    told = []
    for env in environments:
        rows = answer(env, archive, "query", "spectra")
        edges = answer(env, archive, "apply", "edge_energy", "XAS Ni K") if compute else {}
        told.append((env.name, rows, edges))
        env.run("barospec", "verify", "--archive", archive)
    _, rows, edges = told[0]
    for name, other_rows, other_edges in told[1:]:
        if other_rows != rows:
            raise Failed(f"{name} and {told[0][0]} answer a query differently")
        _compare(edges, other_edges, f"{name} and {told[0][0]}")
    return int(str(rows["count"]))


def _compare(left: object, right: object, who: str) -> None:
    """Raise unless two answers agree: words exactly, numbers within 1e-9 of themselves."""
    if isinstance(left, dict) and isinstance(right, dict) and set(left) == set(right):
        for key in left:
            if key not in ("software", "made"):
                _compare(left[key], right[key], who)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for first, second in zip(left, right, strict=True):
            _compare(first, second, who)
    elif isinstance(left, float) and isinstance(right, float):
        if abs(left - right) > 1e-9 * max(abs(left), abs(right)):
            raise Failed(f"{who} compute {left} and {right}")
    elif left != right:
        raise Failed(f"{who} say {left!r} and {right!r}")


def turns(environments: list[Environment], raw: Path) -> str:
    """Let environments write into one archive in turns; the next one reads, computes and verifies what each wrote."""
    archive = WORK / "turns"
    shutil.rmtree(archive, ignore_errors=True)
    environments[0].run("barospec", "init", archive)
    sheets = sorted(
        path for path in raw.rglob("*.yaml") if "experiment" in path.read_text() or "scans" in path.read_text()
    )
    count = 0
    turns = 3 * len(environments)
    for turn in range(turns):
        env = environments[turn % len(environments)]
        env.run("barospec", "ingest", sheets[turn * len(sheets) // turns], "--archive", archive)
        count = same([env, environments[(turn + 1) % len(environments)]], archive, compute=False)
    first, last = environments[0], environments[-1]
    ids = [str(row["spectrum_id"]) for row in answer(first, archive, "query", "spectra")["rows"]]
    last.run("barospec", "withdraw", ids[0], "--reason", "matrix", "--archive", archive)
    first.run("barospec", "apply", "edge_energy", "XAS Ni K", "--store", "--archive", archive)
    last.run("barospec", "tag", "matrix", "--archive", archive)
    # Both ways: what one clears, the other reads, writes and clears.
    for env, other in ((first, last), (last, first)):
        if answer(env, archive, "gc", "--keep-days", "0", "--yes")["dry_run"]:
            raise Failed(f"{env.name}: gc --yes was a dry run")
        other.run("barospec", "withdraw", ids[1], "--reason", "matrix", "--archive", archive)
        other.run("barospec", "restore", ids[1], "--archive", archive)
    same(environments, archive)
    for env, other in ((first, last), (last, first)):
        bundle = WORK / f"bundle-{env.name}"
        copy = WORK / f"copy-{other.name}"
        for folder in (bundle, copy):
            shutil.rmtree(folder, ignore_errors=True)
        env.run("barospec", "share", "XAS Ni K", bundle, "--with", "edge_energy", "--archive", archive)
        other.run("barospec", "verify", bundle)
        other.run("barospec", "init", copy)
        other.run("barospec", "import", bundle, "--archive", copy)
        env.run("barospec", "verify", "--archive", copy)
    return f"{len(environments)} environments on one archive of {count} spectra, bundles both ways: ok"


def upgrade(python: Path, wheel: Path) -> str:
    """Install the last release, make its archive and bundle, upgrade, and use them; return what was done."""
    if subprocess.run(
        ["git", "cat-file", "-e", f"{RELEASE_COMMIT}^{{commit}}"], cwd=ROOT, capture_output=True
    ).returncode:
        return f"upgrade from {RELEASE}: not tried, its commit {RELEASE_COMMIT[:7]} is not in this clone"
    source = WORK / f"release-{RELEASE}"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    packed = WORK / f"release-{RELEASE}.tar"
    run("git", "archive", "-o", packed, RELEASE_COMMIT, cwd=ROOT)
    shutil.unpack_archive(packed, source)
    env = Environment("upgrade", python)
    uv("venv", "-q", "--clear", "--python", python, env.folder)
    uv("pip", "install", "-q", "-p", env.folder, source)
    archive, bundle = WORK / "old-archive", WORK / "old-bundle"
    for folder in (archive, bundle):
        shutil.rmtree(folder, ignore_errors=True)
    env.run("barospec", "demo", archive)
    env.run("barospec", "share", "XAS Ni K", bundle, "--with", "edge_energy", "--archive", archive)
    before = answer(env, archive, "query", "spectra")
    edges = answer(env, archive, "apply", "edge_energy", "XAS Ni K")
    uv("pip", "install", "-q", "-p", env.folder, "--upgrade", wheel)
    if answer(env, archive, "query", "spectra")["rows"] != before["rows"]:
        raise Failed(f"after an upgrade from {RELEASE} a query answers differently")
    after = answer(env, archive, "apply", "edge_energy", "XAS Ni K")
    _compare(edges["rows"], after["rows"], f"{RELEASE} and this version")
    for checked in (("--archive", archive), (bundle,)):
        env.run("barospec", "verify", *checked)
    env.run("barospec", "withdraw", str(before["rows"][0]["spectrum_id"]), "--reason", "upgrade", "--archive", archive)
    env.run("barospec", "verify", "--archive", archive)
    return f"upgrade from {RELEASE} with its archive and bundle: ok"


def main() -> int:
    """Run all of it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="only these, such as 3.13; repeatable")
    parser.add_argument("--skip", action="append", default=[], help="leave out an environment's tests, such as py3.11")
    parser.add_argument("--no-tests", action="store_true", help="install, demo, turns and upgrade only")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    found = {
        minor: path
        for minor, path in pythons().items()
        if not options.python or f"{minor[0]}.{minor[1]}" in options.python
    }
    if not found:
        raise Failed("no Python from 3.11 on was found")
    environments = [Environment(f"py{minor[0]}.{minor[1]}", path) for minor, path in found.items()]
    if OLDEST in found:
        environments.insert(0, Environment("lowest", found[OLDEST], lowest=True))
    print("Pythons:", ", ".join(f"{'.'.join(map(str, minor))} ({path})" for minor, path in found.items()), flush=True)
    wheel, where = build(), tree()
    faults: list[str] = []
    for env in environments:
        try:
            install(env, wheel)
            print(f"{env.name}: demo ok; {env.done['versions']}", flush=True)
            if env.name not in options.skip and not options.no_tests:
                test(env, where, SUITE)
        except Failed as error:
            faults.append(f"{env.name}: {error}")
            print(faults[-1], flush=True)
    steps = [lambda: upgrade(environments[0].python, wheel)]
    ready = [env for env in environments if "versions" in env.done]
    if len(ready) > 1:
        steps.insert(0, lambda: turns(ready, ROOT / "sample_data" / "raw"))
    for step in steps:
        try:
            print(step(), flush=True)
        except Failed as error:
            faults.append(str(error))
            print(faults[-1], flush=True)
    print()
    for env in environments:
        print(
            f"{env.name:8} demo {env.done.get('demo', 'FAILED'):6} tests {env.done.get('tests', 'not run' if options.no_tests or env.name in options.skip else 'FAILED')}"
        )
    print(f"{len(faults)} faults" if faults else "The matrix is green.", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(str(error))
