"""``barospec flag``, ``unflag``, ``label``, ``unlabel`` and ``note``: annotations of spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from barospec.cli._options import ArchiveOption, open_archive
from barospec.schemas.errors import CallError
from barospec.schemas.values import counted
from barospec.schemas.vocabulary import FLAGS

if TYPE_CHECKING:
    from barospec import Archive
    from barospec.catalogs.selection.selection import Selection

Ids = Annotated[list[str], typer.Argument(help="Spectra: spectrum_ids, or the beginnings of them.", show_default=False)]
Where = Annotated[
    str | None,
    typer.Option("--where", help="A query: all spectra that it finds, instead of spectrum_ids.", show_default=False),
]
Reason = Annotated[str, typer.Option("--reason", help="Reason, recorded in the history.", show_default=False)]


def flag(
    words: Annotated[
        list[str],
        typer.Argument(
            help='One or more spectrum_ids, then good, check or bad, then the reason: 3fa9 bad "glitch at 8350 eV".'
        ),
    ],
    archive: ArchiveOption = None,
    where: Where = None,
) -> None:
    """Flag spectra as good, check or bad.

    Queries exclude bad spectra and count them; `barospec query --bad` includes them. The data do not change. "check" means that
    somebody should look at the spectrum. The history records who set a flag, when and why: `show` prints it, `--at` reads the flags of
    an earlier state, and `unflag` removes a flag. A reason is required for bad.
    """
    place = next((i for i, word in enumerate(words) if word.casefold() in FLAGS), None)
    if place is None:
        raise CallError(
            f'no flag found. Name one after the spectrum_ids, {", ".join(FLAGS)}: barospec flag 3fa9 bad "glitch at 8350".'
        )
    opened = open_archive(archive)
    changed = opened.flag(_subjects(opened, words[:place], where), words[place], " ".join(words[place + 1 :]))
    _tell(changed, f"flagged {words[place].casefold()}")


def unflag(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Spectra: spectrum_ids, or the beginnings of them.", show_default=False)
    ] = None,
    archive: ArchiveOption = None,
    where: Where = None,
    reason: Reason = "",
) -> None:
    """Remove the flags of spectra.

    The history keeps the old flags.
    """
    opened = open_archive(archive)
    _tell(opened.unflag(_subjects(opened, ids or [], where, bad=True), reason), "unflagged")


def label(
    words: Annotated[list[str], typer.Argument(help='One or more spectrum_ids, then the label: 3fa9 "figure 2".')],
    archive: ArchiveOption = None,
    where: Where = None,
    reason: Reason = "",
) -> None:
    """Add a label to spectra.

    The query "labels contains WORD" finds them. Labels belong to spectra. To name a state of the whole archive, use `barospec tag`.
    """
    opened = open_archive(archive)
    _tell(opened.label(_subjects(opened, words[:-1], where), words[-1], reason), f"labeled {words[-1]}")


def unlabel(
    words: Annotated[list[str], typer.Argument(help="One or more spectrum_ids, then the label.")],
    archive: ArchiveOption = None,
    where: Where = None,
    reason: Reason = "",
) -> None:
    """Remove a label from spectra.

    The history keeps the old label.
    """
    opened = open_archive(archive)
    _tell(opened.unlabel(_subjects(opened, words[:-1], where), words[-1], reason), f"no longer labeled {words[-1]}")


def note(
    words: Annotated[
        list[str], typer.Argument(help='One or more spectrum_ids, then the note: 3fa9 "beam lost at 8400 eV".')
    ],
    archive: ArchiveOption = None,
    where: Where = None,
) -> None:
    """Add a note to spectra.

    `show` prints the note, and the query "remarks contains WORD" finds the spectra.
    """
    opened = open_archive(archive)
    _tell(opened.note(_subjects(opened, words[:-1], where), words[-1]), "annotated")


def _subjects(
    opened: Archive, ids: Sequence[str], where: str | None, *, bad: bool = False
) -> Sequence[str] | Selection:
    if bool(ids) == (where is not None):
        raise CallError(
            "name the spectra either by spectrum_id (the beginning is enough) or with --where QUERY, not both."
        )
    if where is None:
        return ids
    return opened.query(where, include=["bad"] if bad else [])


def _tell(changed: Sequence[str], what: str) -> None:
    shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
    print(
        f"{counted(len(changed), 'spectra')} {what}: {shown}" if changed else f"nothing to do: all are {what} already."
    )


COMMANDS: dict[str, Callable[..., None]] = {
    "flag": flag,
    "unflag": unflag,
    "label": label,
    "unlabel": unlabel,
    "note": note,
}
