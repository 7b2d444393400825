"""Pictures of spin models: what they draw, and what they say about their numbers."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from barospec.archive.spins.sheets.model_record import ModelRecord
from barospec.archive.spins.sheets.records import read_models
from barospec.catalogs.plots import spins
from barospec.sample_data import RAW
from barospec.schemas.errors import CallError, InvalidData


@pytest.fixture(scope="module")
def records() -> list[ModelRecord]:
    return read_models(RAW / "models" / "La4Ni3O10.yaml")


def drawn(figure: Figure) -> str:
    """Renders the figure; gives all its text."""
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    texts = [t.get_text() for axes in figure.axes for t in (*axes.texts, *(axes.get_legend() or figure).findobj())
             if hasattr(t, "get_text")]  # fmt: skip
    return " ".join([*texts, *(label.get_text() for axes in figure.axes for label in axes.get_yticklabels()),
                     figure.get_supxlabel()])  # fmt: skip


def test_levels_are_published_at_the_ends_and_interpolated_between(records: list[ModelRecord]) -> None:
    figure = spins.levels(records)
    assert "INTERPOLATED" in drawn(figure)
    lines = [np.asarray(line.get_ydata()) for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert len(lines) == 20
    first = np.sort([line[0] for line in lines])
    assert first[0] == 0
    assert first[1] == pytest.approx(0.0724346654, abs=1e-9)


def test_weights_cross_where_they_should() -> None:
    assert "0.962" in drawn(spins.weights())


def test_couplings_name_what_is_not_printed(records: list[ModelRecord]) -> None:
    text = drawn(spins.couplings(records))
    assert "not printed" in text
    assert "vacancy J(ml), cluster, high P" in text
    with pytest.raises(InvalidData, match="published models"):
        spins.couplings(records, "La3Ni2O7")


def test_correlations_take_a_few_temperatures() -> None:
    assert "40 K" in drawn(spins.correlations(temperatures=(0.0, 40.0)))
    with pytest.raises(CallError, match="4 or fewer"):
        spins.correlations(temperatures=(0.0, 1.0, 2.0, 3.0, 4.0))


def test_chain_shows_the_crossing_of_the_scales(records: list[ModelRecord]) -> None:
    figure = spins.chain(records, points=9)
    assert "E_CT 3.21 eV" in drawn(figure)
    outer, _, j_zz = (np.asarray(line.get_ydata()) for line in figure.axes[0].lines[3:6])
    assert outer[0] > j_zz[0]
    assert outer[-1] < j_zz[-1]
