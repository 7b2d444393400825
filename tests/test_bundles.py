"""Bundles: exactly the selection, readable by stock tools, sealed, the same bytes every time, nothing private."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import bagit
import duckdb
import intake
import numpy as np
import pytest
import xarray as xr
import yaml
import zarr
from typer.testing import CliRunner

import barospec
from barospec.archive.bundles import bagit as bags
from barospec.catalogs.bundles.build import Bundle
from barospec.catalogs.bundles.verify import verify
from barospec.catalogs.plots import spectra as pictures
from barospec.cli.main import app, run
from barospec.schemas.errors import CallError, Conflict, NotFound, QueryError

from .bundles_made import ABOVE, CHAINS, PRIVATE, opened, reseal

GROUP = "data/spectra/xas-Ni-K.zarr"


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def copy(sealed: Bundle, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(sealed.path, tmp_path / "copy"))


def test_exactly_the_selection_and_its_inputs_apart(sealed: Bundle, shared_path: Path) -> None:
    archive = opened(shared_path)
    wanted = archive.query(ABOVE)
    spectra = xr.open_zarr(sealed.path / GROUP, chunks=None)
    assert spectra.spectrum_id.values.tolist() == wanted.columns(["spectrum_id"])["spectrum_id"].tolist()
    assert (sealed.count, sealed.inputs, spectra.sizes["spectrum"]) == (4, 4, 4)
    inputs = xr.open_zarr(sealed.path / "data/inputs/xas-Ni-K.zarr", chunks=None)
    assert sorted(set(inputs["sample"].values.tolist())) == ["LaNiO3", "NiO"]
    mine = wanted.to_xarray().compute()
    for name in ("mu", "energy"):
        np.testing.assert_array_equal(spectra[name].values, mine[name].values)
    for name in ("pressure", "pressure_sigma", "temperature"):
        np.testing.assert_array_equal(spectra[name].values, wanted.columns([name])[name])
    assert spectra.pressure.attrs["units"] == "GPa"
    values = wanted.apply("edge_energy").compute()
    np.testing.assert_array_equal(spectra.edge_energy.values, values.edge_energy.values)
    assert spectra.edge_energy.attrs["units"] == "eV"


def test_stock_tools_open_it_without_a_warning(sealed: Bundle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xr.open_zarr(sealed.path / GROUP, chunks=None)
        assert not plain.mu.variable._in_memory  # lazy
        in_tasks = xr.open_zarr(sealed.path / GROUP)
        assert in_tasks.mu.chunks
        group = zarr.open_consolidated(str(sealed.path / GROUP))
        np.testing.assert_array_equal(np.asarray(group["mu"]), plain.mu.values)
        catalog = intake.open_catalog(str(sealed.path / "catalog.yaml"))
        assert list(catalog) == ["xas_ni_k", "inputs_xas_ni_k"]
        read = catalog["xas_ni_k"].read()
    assert read.identical(plain)
    text = (sealed.path / "catalog.yaml").read_text()
    assert str(sealed.path) not in text
    assert "dask" not in text.replace("for dask", "")


def test_tables_tell_what_the_arrays_tell(sealed: Bundle) -> None:
    spectra = xr.open_zarr(sealed.path / GROUP, chunks=None)
    with (sealed.path / "data/spectra.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = duckdb.read_parquet(str(sealed.path / "data/spectra.parquet")).fetchnumpy()
    with (sealed.path / "data/fields.csv").open(newline="") as file:
        fields = {row["field"]: row for row in csv.DictReader(file)}
    assert list(fields) == list(rows[0])
    for name in ("pressure", "edge_energy", "edge_energy_sigma", "valence"):
        expected = spectra[name].values
        np.testing.assert_array_equal([float(row[name] or "nan") for row in rows], expected)
        np.testing.assert_array_equal(np.ma.filled(table[name], np.nan), expected)
        assert fields[name]["unit"] == spectra[name].attrs["units"]
    assert [row["spectrum_id"] for row in rows] == table["spectrum_id"].tolist() == spectra.spectrum_id.values.tolist()
    inputs = (sealed.path / "data/inputs.csv").read_text().splitlines()
    assert len(inputs) == 5


def test_people_and_machines_find_what_it_is(sealed: Bundle) -> None:
    readme = (sealed.path / "README.md").read_text()
    for told in (
        "pressure > 10 GPa",
        sealed.snapshot,
        "fraction = 0.8",
        "CC-BY-4.0",
        "xr.open_zarr",
        "Carberry",
        "ERC",
    ):
        assert told in readme, told
    citation = yaml.safe_load((sealed.path / "CITATION.cff").read_text())
    assert citation["authors"][0] == {
        "family-names": "Carberry",
        "given-names": "Josiah",
        "orcid": "https://orcid.org/0000-0002-1825-0097",
        "affiliation": "ESRF",
    }
    assert citation["authors"][1] == {"family-names": "Lovelace", "given-names": "Ada"}
    assert (citation["type"], citation["license"]) == ("dataset", "CC-BY-4.0")
    datacite = json.loads((sealed.path / "datacite.json").read_text())
    assert datacite["types"]["resourceTypeGeneral"] == "Dataset"
    assert datacite["fundingReferences"] == [{"funderName": "ERC", "awardNumber": "123456"}]
    assert datacite["publisher"] == {"name": "A repository"}
    assert datacite["creators"][0]["affiliation"][0]["affiliationIdentifier"] == "https://ror.org/02550n020"
    assert datacite["rightsList"][0]["rightsUri"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert datacite["creators"][0]["nameIdentifiers"][0]["nameIdentifier"].endswith("0000-0002-1825-0097")
    for picture in ("conditions.png", "spectra-xas-Ni-K.png"):
        assert (sealed.path / "data/pictures" / picture).read_bytes().startswith(b"\x89PNG")
    records = sealed.path / "data/records"
    assert {path.stem for path in records.glob("*.json")} == {"runs", "samples"}


def test_crate_follows_the_rules_of_ro_crate(sealed: Bundle) -> None:
    """The MUSTs of RO-Crate 1.1 that need no network; its validator runs in test_bundles_tools.py."""
    crate = json.loads((sealed.path / "ro-crate-metadata.json").read_text())
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    graph = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(graph) == len(crate["@graph"])
    assert all("@type" in entity for entity in graph.values())
    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert {"name", "description", "datePublished", "license", "author", "publisher"} <= root.keys()
    for part in root["hasPart"]:
        assert (sealed.path / part["@id"]).exists(), part

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            return [value["@id"]] if list(value) == ["@id"] else []
        return [name for item in value for name in references(item)] if isinstance(value, list) else []

    known = {*graph, "https://w3id.org/ro/crate/1.1"}
    dangling = [name for entity in graph.values() for value in entity.values() for name in references(value)]
    assert set(dangling) <= known


@pytest.mark.filterwarnings("ignore:'count' is passed as positional argument:DeprecationWarning")  # by bagit
def test_seal_holds_for_other_tools(sealed: Bundle) -> None:
    bag = bagit.Bag(str(sealed.path))
    assert bag.validate()
    assert bag.info["External-Identifier"].endswith(sealed.snapshot)
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        done = subprocess.run(
            ["sha256sum", "-c", "--strict", "--quiet", manifest], cwd=sealed.path, capture_output=True
        )
        assert (done.returncode, done.stdout) == (0, b"")
    found = verify(sealed.path, recompute=True)
    assert found.ok, found.problems
    assert (found.spectra, found.inputs, found.identifier) == (4, 4, sealed.identifier)
    assert len(found.recomputed) == 9
    assert all("agrees for 4 spectra" in line for line in found.recomputed)


def test_same_selection_gives_the_same_bytes(sealed: Bundle, shared_path: Path, tmp_path: Path) -> None:
    """A copy of the archive elsewhere, another name of the bundle, another moment, another process' caches."""
    moved = shutil.copytree(shared_path, tmp_path / "elsewhere")
    again = opened(moved).share(ABOVE, tmp_path / "bundle", derived=CHAINS)
    first, second = files_of(sealed.path), files_of(again.path)
    assert [name for name in first if first[name] != second.get(name)] == []
    assert (first.keys(), sealed.identifier) == (second.keys(), again.identifier)


def test_zip_is_the_folder_and_deterministic(sealed: Bundle, shared_path: Path, tmp_path: Path) -> None:
    first = opened(shared_path).share(ABOVE, tmp_path / "bundle.zip", derived=CHAINS)
    assert first.identifier == sealed.identifier
    with zipfile.ZipFile(first.path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        packed = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        assert {name.partition("/")[0] for name in archive.namelist()} == {f"bundle-{first.identifier}"}
        assert archive.namelist() == sorted(archive.namelist())
    assert packed == files_of(sealed.path)
    found = verify(first.path)
    assert (found.ok, found.identifier) == (True, sealed.identifier)
    # Another process, as somebody else would start it: other hashes, place, time zone, language, number of threads.
    (tmp_path / "other").mkdir()
    command = [sys.executable, "-m", "barospec.cli.main", "share", ABOVE, "name", "--zip", "--with", CHAINS]
    strange = {
        "PYTHONHASHSEED": "77",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "tr_TR.UTF-8",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "40",
    }
    done = subprocess.run(
        [*command, "--archive", str(shared_path)],
        cwd=tmp_path / "other",
        env={**os.environ, **strange},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other" / "name.zip").read_bytes() == first.path.read_bytes()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bundle.zip", "name.zip", "other"]


@pytest.mark.parametrize("raw", [False, True])
def test_private_fields_stay_out_and_are_listed(shared_path: Path, tmp_path: Path, raw: bool) -> None:
    archive = opened(shared_path)
    made = archive.share("run-2 or run = NiO", tmp_path / "bundle", raw=raw)
    assert made.left_out["proposal"] == made.left_out["operator"] == 8
    assert made.left_out["values of operator in texts"] == 1
    assert made.left_out["absolute paths"] == 1
    assert ("the files' own headers" in made.left_out) is raw
    for name, content in files_of(made.path).items():
        text = content.decode("latin-1")
        found = PRIVATE.search(text)
        assert found is None or name.startswith("software/"), (name, found)
        assert str(shared_path.parent) not in text, name
    for name in ("i0", "itrans"):
        assert (name in zarr.open_group(str(made.path / GROUP), mode="r")) is raw
    spectra = xr.open_zarr(made.path / GROUP, chunks=None)
    assert any(note.startswith("taken by [left out] in [left out], see log.txt") for note in spectra["note"].values)
    assert verify(made.path).ok


def test_headers_that_may_go_out_are_cleaned(shared_path: Path, tmp_path: Path) -> None:
    archive = opened(shutil.copytree(shared_path, tmp_path / "archive"))
    private = [name for name in archive.settings()["private"] if name != "header"]
    archive.configure({"private": private})
    made = archive.share("run-2", tmp_path / "bundle", raw=True)
    headers = (made.path / "data/headers.json").read_text()
    assert "1e7 V/A" in headers
    assert PRIVATE.search(headers) is None
    assert any(name.startswith("header field") for name in made.left_out)


def test_origins_are_said_wherever_numbers_are(shared_path: Path, tmp_path: Path) -> None:
    made = opened(shared_path).share("origin in (synthetic, calculated)", tmp_path / "bundle")
    readme = (made.path / "README.md").read_text()
    assert "SYNTHETIC: generated, not measured" in readme
    assert "CALCULATED with a physics code" in readme
    for path, origin in (("xes-Ni-Kb", "synthetic"), ("xas-Ni-K", "calculated")):
        spectra = xr.open_zarr(made.path / f"data/spectra/{path}.zarr", chunks=None)
        assert set(spectra.origin.values) == {origin}
        assert origin.upper() in spectra.attrs["comment"]
    for name in ("CITATION.cff", "datacite.json", "ro-crate-metadata.json", "bag-info.txt", "data/spectra.csv"):
        text = (made.path / name).read_text()
        assert "synthetic" in text, name
        assert "calculated" in text, name


def test_pictures_say_what_they_show_however_long_the_query(shared_path: Path) -> None:
    found = opened(shared_path).query("run = run-6 and " + " and ".join(f"pressure > {n / 10} GPa" for n in range(40)))
    figure = pictures.spectra(found)
    figure.canvas.draw()
    (label,) = [text for text in figure.texts if "snapshot" in text.get_text()]
    box = label.get_window_extent()
    assert label.get_text().startswith("SYNTHETIC")
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert 0 <= box.y0 < box.y1 <= figure.bbox.y1


def test_state_of_a_snapshot_is_shared_later_too(shared_path: Path, tmp_path: Path) -> None:
    archive = opened(shutil.copytree(shared_path, tmp_path / "archive"))
    before = archive.share(ABOVE, tmp_path / "before", tag="v1")
    assert archive.tags()["v1"] == before.snapshot
    first = archive.query(ABOVE).columns(["spectrum_id"])["spectrum_id"][0]
    archive.set(str(first), {"pressure": "11.5 GPa"}, reason="ruby read again")
    after = archive.share(ABOVE, tmp_path / "after")
    assert after.identifier != before.identifier
    then = barospec.open(archive.location.root, at="v1")
    assert then.share(ABOVE, tmp_path / "again", tag="v1").identifier == before.identifier
    with pytest.raises(CallError, match="another snapshot"):
        archive.share(ABOVE, tmp_path / "other", tag="v1")


def test_calls_that_are_wrong_write_nothing(shared_path: Path, tmp_path: Path) -> None:
    archive = opened(shared_path)
    target = tmp_path / "bundle"
    with pytest.raises(CallError, match="nothing to share"):
        archive.share("La3Ni2O7 above 100 GPa", target)
    with pytest.raises(QueryError, match="pressuree"):
        archive.share("pressuree > 3", target)
    with pytest.raises(NotFound, match="edge_energy"):
        archive.share(ABOVE, target, derived="edge_enegry")
    with pytest.raises(CallError, match="xes"):
        archive.share(ABOVE, target, derived="kbeta_prime")
    with pytest.raises(Conflict, match="both give edge_energy"):
        archive.share(ABOVE, target, derived="edge_energy, edge_energy(fraction=0.5)")
    with pytest.raises(CallError, match="references"):
        archive.share(ABOVE, target, derived="valence")
    assert list(tmp_path.iterdir()) == []
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    with pytest.raises(Conflict, match="exists"):
        archive.share(ABOVE, target)
    with pytest.raises(Conflict, match="not a bundle"):
        archive.share(ABOVE, target, overwrite=True)
    assert (target / "thesis.txt").read_text() == "mine"


def test_interrupted_share_leaves_nothing(shared_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old bundle stays until the new one is sealed."""
    archive = opened(shared_path)
    old = archive.share("run = NiO", tmp_path / "bundle")

    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bags, "seal", stop)
        with pytest.raises(KeyboardInterrupt):
            archive.share(ABOVE, tmp_path / "bundle", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert verify(old.path).identifier == old.identifier
    assert archive.share(ABOVE, tmp_path / "bundle", overwrite=True).identifier != old.identifier
    assert verify(old.path).ok


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_is_told_and_leaves_nothing(
    code: int, shared_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code), str(tmp_path / "b"))

    monkeypatch.setattr("barospec.catalogs.bundles.build.write_citation", full)
    monkeypatch.setattr(sys, "argv", ["barospec", "share", "run = NiO", str(tmp_path / "b"), "-a", str(shared_path)])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert f"{tmp_path / 'b'}: {os.strerror(code).lower()}. The command did not finish" in told
    assert "internal error" not in told
    assert list(tmp_path.iterdir()) == []


# Damage: every file, random places


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_in_any_file_is_reported(copy: Path, seed: int) -> None:
    """One bit of every sealed file at once: each of them is named, by us and by sha256sum."""
    chance = random.Random(seed)
    names = [name for name in files_of(copy) if name not in (bags.PAYLOAD, bags.TAGS)]
    for name in names:
        flip(copy / name, chance)
    told = "\n".join(bags.verify(copy))
    assert [name for name in names if f"{name} has changed" not in told] == []
    found = verify(copy, recompute=True)
    assert len(found.problems) >= len(names)
    outputs = [
        subprocess.run(["sha256sum", "-c", "--strict", manifest], cwd=copy, capture_output=True, text=True)
        for manifest in (bags.PAYLOAD, bags.TAGS)
    ]
    assert all(done.returncode == 1 for done in outputs)
    failed = {
        line.removesuffix(": FAILED") for done in outputs for line in done.stdout.splitlines() if "FAILED" in line
    }
    assert failed == set(names)


def test_a_flipped_bit_in_a_manifest_is_reported(copy: Path) -> None:
    chance = random.Random(7)
    for name in (bags.PAYLOAD, bags.TAGS):
        whole = (copy / name).read_bytes()
        for _ in range(12):
            flip(copy / name, chance)
            assert bags.verify(copy), "a changed manifest passed"
            (copy / name).write_bytes(whole)
    assert bags.verify(copy) == []


def test_dropped_added_and_renamed_files_are_named(copy: Path) -> None:
    (copy / "data/spectra.csv").unlink()
    (copy / GROUP / "mu/c/0/0").rename(copy / GROUP / "mu/c/0/1")
    (copy / "data/notes.txt").write_text("hello")
    (copy / "software/extra.py").write_text("print(1)")
    (copy / "bag-info.txt").unlink()
    told = verify(copy).problems
    for expected in (
        "data/spectra.csv is missing.",
        f"{GROUP}/mu/c/0/0 was renamed to {GROUP}/mu/c/0/1.",
        "data/notes.txt was added after sealing.",
        "software/extra.py was added after sealing.",
        "bag-info.txt is missing.",
    ):
        assert expected in told, expected
    done = subprocess.run(["sha256sum", "-c", "--quiet", bags.PAYLOAD], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 1
    assert "spectra.csv" in done.stdout + done.stderr


@pytest.mark.parametrize("name", [bags.PAYLOAD, bags.TAGS, "bagit.txt", "data/bundle.json", f"{GROUP}/zarr.json"])
def test_a_dropped_file_that_everything_hangs_on(copy: Path, name: str) -> None:
    (copy / name).unlink()
    told = verify(copy).problems
    assert any(name.rpartition("/")[2] in problem for problem in told), told


def test_who_changes_numbers_and_seals_again_is_found_out(copy: Path) -> None:
    """Manifests cannot tell that; the fingerprints of spectra and the recomputed values do."""
    group = zarr.open_group(str(copy / GROUP), mode="r+")
    values = np.asarray(group["valence"])
    group["valence"][0] = values[0] + 0.01  # type: ignore[index]
    reseal(copy)
    assert bags.verify(copy) == []
    assert any("spectra.csv:2: valence differs from the arrays" in told for told in verify(copy).problems)
    text = (copy / "data/spectra.csv").read_text().replace(repr(float(values[0])), repr(float(values[0] + 0.01)))
    (copy / "data/spectra.csv").write_text(text)
    reseal(copy)
    assert verify(copy).ok
    again = verify(copy, recompute=True)
    assert again.problems == [f"recomputed: {GROUP.removeprefix('data/')}: valence DIFFERS for 1 of 4 spectra."]


# On the command line


def test_command_line(shared_path: Path, tmp_path: Path) -> None:
    run = CliRunner()
    base = ["--archive", str(shared_path)]
    made = run.invoke(app, ["share", ABOVE, str(tmp_path / "b"), "--with", "edge_energy", "--json", *base])
    assert made.exit_code == 0, made.stderr
    told = json.loads(made.stdout)
    assert (told["count"], told["left_out"]["proposal"]) == (4, 4)
    plain = run.invoke(app, ["share", ABOVE, str(tmp_path / "c"), *base])
    assert "excluded: proposal (4)" in plain.stderr
    assert "4 spectra shared" in plain.stdout
    again = run.invoke(app, ["share", ABOVE, str(tmp_path / "b"), *base])
    assert again.exit_code != 0
    good = run.invoke(app, ["verify", str(tmp_path / "b"), "--recompute", "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["ok"] is True
    (tmp_path / "b" / "README.md").write_text("other")
    bad = run.invoke(app, ["verify", str(tmp_path / "b")])
    assert bad.exit_code == 1
    assert "WRONG  README.md has changed" in bad.stdout


def test_names_of_stored_values_mean_what_they_mean_in_a_query(shared_path: Path, tmp_path: Path) -> None:
    archive = opened(shutil.copytree(shared_path, tmp_path / "archive"))
    chain = "edge_energy(fraction=0.5, ensemble=0) | valence"
    archive.derive(chain, "La3Ni2O7 measured", references="2: material = NiO; 3: material = LaNiO3")
    stored = archive.query(ABOVE).to_xarray(derived=["valence"])["valence"].values
    made = archive.share(ABOVE, tmp_path / "bundle", derived="valence")
    spectra = xr.open_zarr(made.path / GROUP, chunks=None)
    np.testing.assert_array_equal(spectra.valence.values, stored)
    assert "edge_energy(fraction=0.5, far=10, ensemble=0)" in spectra.valence.attrs["chain"]
    assert made.inputs == 4
    assert verify(made.path, recompute=True).ok
