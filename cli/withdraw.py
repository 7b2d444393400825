"""``barospec withdraw``."""

from __future__ import annotations

from barospec.cli._correction_options import (
    DryRunOption,
    JsonReport,
    ReasonOption,
    WhatArgument,
    YesOption,
    print_edited,
)
from barospec.cli._options import ArchiveOption, agree, open_archive

NAME = "withdraw"


def command(
    what: WhatArgument,
    reason: ReasonOption,
    archive: ArchiveOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonReport = False,
) -> None:
    """Withdraw spectra, so that queries exclude them.

    Queries still count them. Nothing is deleted, and earlier snapshots do not change. `barospec restore ID` reinstates a spectrum. To delete spectra permanently,
    use `barospec purge`.
    """
    opened = open_archive(archive)
    if not (dry_run or yes or opened.is_spectrum(what)):
        print_edited(opened.withdraw(what, reason=reason, dry_run=True), opened, dry_run=True, as_json=False)
        agree("Withdraw them?")
    print_edited(opened.withdraw(what, reason=reason, dry_run=dry_run), opened, dry_run=dry_run, as_json=as_json)
