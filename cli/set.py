"""``barospec set``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._correction_options import DryRunOption, JsonReport, ReasonOption, WhatArgument, YesOption, tell
from barospec.cli._options import ArchiveOption, agree, open_archive

NAME = "set"


def command(
    what: WhatArgument,
    fields: Annotated[
        list[str],
        typer.Argument(metavar="FIELD=VALUE...", help='Such as pressure="15.6 ± 0.2 GPa"; FIELD= means "not known".'),
    ],
    reason: ReasonOption,
    archive: ArchiveOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonReport = False,
) -> None:
    """Correct conditions of a spectrum, or of all that a query finds.

    Values are read as in run sheets: units convert, a ± states the uncertainty. The correction is a commit with actor,
    time, reason, old and new value; tags and earlier snapshots keep the old ones, and the same file ingested again does
    not undo it. A new pressure loses uncertainty and method of the old one unless they are stated too; a pressure that
    came from a ruby line follows a correction of the line.
    """
    opened = open_archive(archive)
    if not (dry_run or yes or opened.is_spectrum(what)):
        tell(opened.set(what, fields, reason=reason, dry_run=True), opened, dry_run=True, as_json=False)
        agree("Change them?")
    tell(opened.set(what, fields, reason=reason, dry_run=dry_run), opened, dry_run=dry_run, as_json=as_json)
