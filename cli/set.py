"""``barospec set``."""

from __future__ import annotations

from typing import Annotated

import typer

from barospec.cli._correction_options import (
    DryRunOption,
    JsonReport,
    ReasonOption,
    WhatArgument,
    YesOption,
    print_edited,
)
from barospec.cli._options import ArchiveOption, agree, open_archive

NAME = "set"


def command(
    what: WhatArgument,
    fields: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE...",
            help='New values as FIELD=VALUE, such as pressure="15.6 ± 0.2 GPa"; FIELD= means "not known".',
        ),
    ],
    reason: ReasonOption,
    archive: ArchiveOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonReport = False,
) -> None:
    """Correct the conditions of one or more spectra.

    The correction is one commit with author, time, reason, old and new values. Tags and earlier snapshots keep the old values.
    Ingesting the same file again does not undo the correction. Values are written as in run sheets: units are converted, and ± gives
    the uncertainty. A new pressure removes the old uncertainty and method unless you give them too. If you correct a ruby line, the
    pressure computed from it changes as well.
    """
    opened = open_archive(archive)
    if not (dry_run or yes or opened.is_spectrum(what)):
        print_edited(opened.set(what, fields, reason=reason, dry_run=True), opened, dry_run=True, as_json=False)
        agree("Change them?")
    print_edited(opened.set(what, fields, reason=reason, dry_run=dry_run), opened, dry_run=dry_run, as_json=as_json)
