"""``barospec runs``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._options import ArchiveOption, AtOption, CsvOption, JsonOption, open_archive
from barospec.cli.query import print_answer

NAME = "runs"


def command(
    text: Annotated[str, typer.Argument(help='Conditions, such as "above 14 GPa". Default: all runs.')] = "",
    archive: ArchiveOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List runs: spectra, samples, edges, pressure range."""
    with open_archive(archive, at).ask(f"runs {text}".strip()) as answer:
        print_answer(answer, as_json=as_json, as_csv=as_csv)
