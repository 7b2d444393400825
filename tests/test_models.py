"""Models in the archive: found by the same queries, computed lazily, kept with their conventions."""

from __future__ import annotations

import json
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

from barospec import Archive
from barospec.archive.compute.models import apply_models, interpolate_models
from barospec.archive.ingest.models import read_models, symbol
from barospec.archive.spins.registry import MODEL_OPERATORS
from barospec.archive.store.repository import Store
from barospec.schemas.errors import CallError, InvalidData, NotFound, QueryError

from .test_cli import call

SHEETS = Path(__file__).parents[1] / "sample_data" / "raw" / "models"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of the sample's models alone."""
    made = Archive.create(tmp_path_factory.mktemp("models") / "a")
    report = made.ingest([SHEETS])
    assert report.ok
    assert report.models == 11
    return made


def identifiers(archive: Archive, text: str) -> list[str]:
    return [record.model_id for record in archive.models(text).records]


def test_models_are_found_by_the_same_queries(archive: Archive) -> None:
    high = identifiers(archive, "models of La4Ni3O10 above 40 GPa")
    assert set(high) == {f"La4Ni3O10-{kind}" for kind in ("Hartree-high", "eV-high", "sub-eV-high", "sub-eV-vacancy")}
    assert set(identifiers(archive, "J_ZZ > 500 meV")) == {"La4Ni3O10-eV-high", "La3Ni2O7-eV-high", "La5Ni3O11-eV-high"}
    assert identifiers(archive, "models with J_lt < 0") == ["La4Ni3O10-sub-eV-high"]
    assert identifiers(archive, "models with formal_spin = 0.5") == ["La4Ni3O10-sub-eV-high"]
    with pytest.raises(QueryError, match="local_moment, effective_spin or formal_spin"):
        archive.models("spin = 1")
    with pytest.raises(QueryError, match="is a unit of pressure"):
        archive.models("J_ZZ > 3 GPa")
    with pytest.raises(QueryError, match="J_ZZ"):
        archive.models("J_ZX > 0.1")


def test_a_second_ingest_adds_nothing_and_a_change_is_a_conflict(archive: Archive, tmp_path: Path) -> None:
    assert archive.ingest([SHEETS]).unchanged == 11
    own = Archive.create(tmp_path / "own")
    text = (SHEETS / "La4Ni3O10.yaml").read_text()
    (tmp_path / "m.yaml").write_text(text)
    assert own.ingest([tmp_path / "m.yaml"]).models == 7
    (tmp_path / "m.yaml").write_text(text.replace("{name: J_ZZ, value: 0.66", "{name: J_ZZ, value: 0.67"))
    conflict = own.ingest([tmp_path / "m.yaml"])
    assert (conflict.conflicts, conflict.unchanged, conflict.snapshot) == (1, 6, None)
    assert "La4Ni3O10-eV-high is in the archive with other content" in str(conflict.problems[-1])
    assert own.ingest([tmp_path / "m.yaml"], replace=True).replaced == 1
    assert [r.value("J_ZZ") for r in own.models("scale = eV above 40 GPa").records] == [0.67]


def test_what_came_in_comes_out(archive: Archive) -> None:
    from barospec.archive.spins.sheets.records import read_models as from_sheet

    stored = {record.model_id: record for record in read_models(Store(archive.location).read(archive.snapshot))}
    for path in SHEETS.glob("*.yaml"):
        for record in from_sheet(path):
            kept = stored[record.model_id]
            assert (kept.compound, kept.scale, kept.status, kept.hamiltonian) == (
                record.compound, record.scale, record.status, record.hamiltonian,
            )  # fmt: skip
            assert [(p.name, p.unit, p.quote) for p in kept.parameters] == [
                (p.name, p.unit, p.quote) for p in record.parameters
            ]
            np.testing.assert_array_equal([p.value for p in kept.parameters], [p.value for p in record.parameters])


def test_reference_correlations_lazily(archive: Archive) -> None:
    found = archive.models("La4Ni3O10 with scale = eV below 1 GPa").apply("spin_correlations", temperature=[0, 300])
    assert isinstance(found, xr.Dataset)
    assert dask.is_dask_collection(found)
    pairs = found.spin_correlation.compute().sel(model="La4Ni3O10-eV-low")
    reference = {
        "Xu.Xl": (0.2497771984, 0.2336457829),
        "Xu.Xm": (-0.3709721653, -0.3545330987),
        "Zu.Zm": (-0.4459742685, -0.4424596823),
    }
    for name, values in reference.items():
        one, other = name.split(".")
        np.testing.assert_allclose(pairs.sel(site_i=one, site_j=other), values, atol=1e-9)
    assert found.spin_correlation.attrs["units"]
    assert json.loads(found.attrs["provenance"])["steps"][0]["operator"] == "spin_correlations"


def test_a_grid_equals_single_points(archive: Archive) -> None:
    models = archive.models("La4Ni3O10 with scale = eV")
    ratios, kelvin = [0.2, 0.5, 0.9], [0.0, 100.0]
    grid = models.apply("local_moment", temperature=kelvin, sweep={"J_ZZ": ratios})
    assert isinstance(grid, xr.Dataset)
    assert grid.local_moment.dims == ("model", "J_ZZ", "temperature", "layer")
    computed = grid.local_moment.compute()
    for ratio in ratios:
        for temperature in kelvin:
            single = models.apply("local_moment", temperature=temperature, sweep={"J_ZZ": ratio})
            assert isinstance(single, xr.Dataset)
            np.testing.assert_allclose(
                computed.sel(J_ZZ=ratio, temperature=temperature),
                single.local_moment.squeeze(["J_ZZ", "temperature"]),
                atol=1e-12,
            )


@pytest.mark.parametrize("name", MODEL_OPERATORS)
def test_every_operator_runs_over_the_stored_models(name: str, archive: Archive) -> None:
    operator = MODEL_OPERATORS[name]
    options = {"convention": "kanamori", "e_ct_reference": "high-spin d8"} if operator.scale == "Hartree" else {}
    sweep = {"E_CT": [2.54]} if operator.scale == "Hartree" else {}
    found = archive.models("La4Ni3O10").apply(name, temperature=[10.0], sweep=sweep, **options)
    assert isinstance(found, xr.Dataset)
    for variable in found.data_vars.values():
        assert variable.attrs["units"]
        assert variable.attrs["long_name"]
    first = found[next(iter(found.data_vars))].compute()
    assert np.isfinite(first).any()


def test_several_stacks_are_a_tree(archive: Archive) -> None:
    tree = archive.models("models with scale = eV above 40 GPa").apply("spin_spectrum")
    assert isinstance(tree, xr.DataTree)
    assert set(tree.children) == {"trilayer", "bilayer", "monolayer_bilayer"}


def test_between_two_pressures_is_an_interpolation_and_says_so(archive: Archive) -> None:
    models = archive.models("La4Ni3O10 with scale = eV").at_pressures([0.000101325, 20.0])
    assert [record.status for record in models.records] == ["published", "interpolated"]
    assert 0.36 < models.records[1].value("J_ZZ") < 0.66
    found = models.apply("spin_spectrum")
    assert found.standing.values.tolist() == ["published", "interpolated"]  # type: ignore[union-attr]
    with pytest.raises(InvalidData, match="nothing is extrapolated"):
        interpolate_models(archive.models("La4Ni3O10 with scale = eV").records, [60.0])


def test_what_nobody_stated_must_be_given(archive: Archive) -> None:
    models = archive.models("La4Ni3O10 with scale = Hartree")
    with pytest.raises(CallError, match="needs convention"):
        models.apply("electron_cluster", sweep={"E_CT": [3.0]})
    with pytest.raises(InvalidData, match="takes models of"):
        models.apply("spin_spectrum")
    with pytest.raises(NotFound, match="spin_spectrum"):
        models.apply("spin_spectrm")
    with pytest.raises(CallError, match="no parameter"):
        archive.models("scale = eV").only(stack="trilayer").apply("spin_spectrum", sweep={"J_XX": [1.0]})


def test_a_missing_parameter_gives_nan_and_not_a_guess(archive: Archive) -> None:
    records = archive.models("La4Ni3O10 with scale = Hartree").records
    found = apply_models(records, "electron_cluster", convention="kanamori", e_ct_reference="high-spin d8")
    assert np.isnan(found.J_ZZ.compute()).all()  # E_CT is printed as a range only


def test_outputs_are_kept_and_read_back(archive: Archive, tmp_path: Path) -> None:
    own = Archive.create(tmp_path / "own")
    own.ingest([SHEETS])
    computed = own.models("La4Ni3O10 with scale = eV").apply("spin_correlations", temperature=[0, 300])
    assert isinstance(computed, xr.Dataset)
    entry = own.store_output(computed)
    kept = own.output(entry)
    assert dask.is_dask_collection(kept.spin_correlation.data)
    xr.testing.assert_allclose(kept.spin_correlation.drop_attrs(), computed.spin_correlation.drop_attrs())
    assert kept.attrs["provenance"] == computed.attrs["provenance"]
    with pytest.raises(NotFound, match=entry):
        own.output("spin_correlation-1")


def test_spectra_and_models_of_one_pressure_range_together(sample: Archive) -> None:
    tree = sample.together("pressure > 19 GPa")
    assert {"models", "spectra"} <= set(tree.children)
    assert float(tree["models"].pressure.min()) > 19
    assert float(tree["spectra/xas/Ni-K"].pressure.min()) > 19


def test_a_synthetic_model_says_so(archive: Archive) -> None:
    assert identifiers(archive, "models with origin = synthetic") == ["SYNTHETIC-Hartree-low"]
    table = archive.models("origin = synthetic").to_xarray()
    assert {"t_perp_pZ", "t_perp_pZ_u", "t_perp_pZ_m_um", "t_perp_pZ_m_ml"} <= set(table.data_vars)


def test_symbols_are_fields() -> None:
    assert [symbol("J(lt)"), symbol("J_H", "m"), symbol("t_perp_pZ")] == ["J_lt", "J_H_m", "t_perp_pZ"]


@pytest.mark.parametrize("view", ["couplings", "levels", "correlations", "weights", "chain"])
def test_pictures_of_models(view: str, archive: Archive, tmp_path: Path) -> None:
    done = call(
        "plot", "spins", "models of La4Ni3O10", "--view", view, "-o", tmp_path / "p.png", "-a", archive.location.root
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_on_the_command_line(archive: Archive) -> None:
    where = archive.location.root
    done = call("apply", "spin_correlations", "models of La4Ni3O10", "-w", "temperature=0;300", "-a", where, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    found = {(r["model"], r["temperature"], r["of"]): r["value"] for r in rows if r["quantity"] == "spin_correlation"}
    assert found["La4Ni3O10-eV-low", 0.0, "Xu Xl"] == pytest.approx(0.2497771984, abs=1e-9)
    table = call("apply", "paper_against_exact", "models of La4Ni3O10", "-a", where, "--csv")
    assert '"J(lt), one J_H",high pressure,eV,-0.28,-0.269' in table.stdout
    wrong = call("apply", "spin_correlations", "models of La4Ni3O10", "-w", "temperature=warm", "-a", where)
    assert (wrong.returncode, "is not a list of numbers" in wrong.stderr) == (2, True)


def test_other_multilayers_can_be_put_in(empty: Archive, tmp_path: Path) -> None:
    sheet = tmp_path / "four.csv"
    sheet.write_text(
        "model_id,compound,structure,stack,scale,status,pressure,hamiltonian,hund_convention,state_selection,"
        "operator_basis,source,J_H(1) (eV),J_H(2) (eV),J_ZZ (eV)\n"
        "four,La5Ni4O13,assumed,multilayer_4,eV,assumed,40 GPa,-J_H X.Z + J_ZZ Z.Z,spin,lowest,tensor,a guess,0.5,0.6,0.66\n"
    )
    assert empty.ingest([sheet]).models == 1
    models = empty.models("models of La5Ni4O13")
    alone = models.apply("spin_spectrum", sweep={"J_ZZ": [0.0]})
    assert isinstance(alone, xr.Dataset)
    # Four triplets on their own: -J_H/4 each.
    assert float(alone.energy.min()) == pytest.approx(-(0.5 + 0.6) / 2, abs=1e-12)
    found = models.apply("spin_correlations").compute()
    assert isinstance(found, xr.Dataset)
    z = [float(found.spin_correlation.sel(site_i=f"Z{k}", site_j=f"Z{k + 1}").squeeze()) for k in (1, 2, 3)]
    assert z[0] == pytest.approx(z[2], abs=1e-12)  # the mirror
    assert z[0] < 0
    assert z[1] < 0
    both = models.apply("effective_hamiltonian").compute()
    assert isinstance(both, xr.Dataset)
    assert float(both.coupling.sel(invariant="S1.S2").squeeze()) == pytest.approx(
        float(both.coupling.sel(invariant="S3.S4").squeeze()), abs=1e-10
    )
