"""Every operator has a picture in the documentation, and can be drawn anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from barospec.archive.operators.registry import OPERATORS
from barospec.catalogs.plots import operators
from barospec.cli import operators as verb
from barospec.schemas.errors import CallError, NotFound

DOCS = Path(__file__).parents[1] / "docs"


def test_every_operator_has_a_drawing_and_a_picture() -> None:
    assert set(operators.DRAWN) == set(OPERATORS)
    assert {path.stem for path in (DOCS / "operators").glob("*.png")} == set(OPERATORS)
    page = (DOCS / "operators.md").read_text("utf-8")
    assert [name for name in OPERATORS if f"(operators/{name}.png)" not in page] == []


def test_numbers_in_a_picture_are_the_operators_own() -> None:
    figure = operators.draw("valence")
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    # Made half way between the references; the feature C of the reference moves its edge by a little.
    value = float(next(text for text in told if text.startswith("valence = ")).split()[2])
    assert value == pytest.approx(2.5, abs=0.05)


def test_a_picture_shows_something(tmp_path: Path) -> None:
    import matplotlib as mpl

    app = typer.Typer()
    app.command()(verb.command)
    path = tmp_path / "iad.png"
    done = CliRunner().invoke(app, ["iad", "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert "example" in done.stdout
    drawn = mpl.image.imread(path)
    assert np.ptp(drawn) > 0.5
    assert isinstance(CliRunner().invoke(app, ["-o", str(path)]).exception, CallError)
    with pytest.raises(NotFound, match="iad"):
        operators.draw("idd")
