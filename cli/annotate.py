"""``barospec flag``, ``unflag``, ``label``, ``unlabel`` and ``note``: what people say about spectra."""

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

Ids = Annotated[list[str], typer.Argument(help="Beginnings of spectrum_ids.", show_default=False)]
Where = Annotated[
    str | None, typer.Option("--where", help="All spectra that a query finds, instead of ids.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the history.", show_default=False)]


def flag(
    words: Annotated[
        list[str],
        typer.Argument(help='spectrum_ids, then good, check or bad, then the reason: 3fa9 bad "glitch at 8350 eV".'),
    ],
    archive: ArchiveOption = None,
    where: Where = None,
) -> None:
    """Say what you think of spectra; bad ones are left out of queries, counted, and shown with --bad.

    A flag belongs to the history like everything else: `show` tells who said it when and why, `--at` answers with the flags
    of then, `unflag` takes it back. The data stay as they are.
    """
    place = next((i for i, word in enumerate(words) if word.casefold() in FLAGS), None)
    if place is None:
        raise CallError(
            f'name a flag after the ids, one of {", ".join(FLAGS)}: barospec flag 3fa9 bad "glitch at 8350".'
        )
    opened = open_archive(archive)
    changed = opened.flag(_subjects(opened, words[:place], where), words[place], " ".join(words[place + 1 :]))
    _tell(changed, f"flagged {words[place].casefold()}")


def unflag(
    ids: Annotated[list[str] | None, typer.Argument(help="Beginnings of spectrum_ids.", show_default=False)] = None,
    archive: ArchiveOption = None,
    where: Where = None,
    reason: Reason = "",
) -> None:
    """Take the flags of spectra back. The history keeps them."""
    opened = open_archive(archive)
    _tell(opened.unflag(_subjects(opened, ids or [], where, bad=True), reason), "unflagged")


def label(
    words: Annotated[list[str], typer.Argument(help='spectrum_ids, and the label last: 3fa9 "figure 2".')],
    archive: ArchiveOption = None,
    where: Where = None,
    reason: Reason = "",
) -> None:
    """Attach a word to spectra; "labels contains WORD" finds them. (`tag` names snapshots.)"""
    opened = open_archive(archive)
    _tell(opened.label(_subjects(opened, words[:-1], where), words[-1], reason), f"labeled {words[-1]}")


def unlabel(
    words: Annotated[list[str], typer.Argument(help="spectrum_ids, and the label last.")],
    archive: ArchiveOption = None,
    where: Where = None,
    reason: Reason = "",
) -> None:
    """Take a word off spectra. The history keeps it."""
    opened = open_archive(archive)
    _tell(opened.unlabel(_subjects(opened, words[:-1], where), words[-1], reason), f"no longer labeled {words[-1]}")


def note(
    words: Annotated[list[str], typer.Argument(help='spectrum_ids, and the note last: 3fa9 "beam lost at 8400 eV".')],
    archive: ArchiveOption = None,
    where: Where = None,
) -> None:
    """Attach a remark to spectra; "remarks contains WORD" finds them, `show` prints them."""
    opened = open_archive(archive)
    _tell(opened.note(_subjects(opened, words[:-1], where), words[-1]), "annotated")


def _subjects(
    opened: Archive, ids: Sequence[str], where: str | None, *, bad: bool = False
) -> Sequence[str] | Selection:
    if bool(ids) == (where is not None):
        raise CallError("name spectra, by the beginnings of their spectrum_ids or with --where QUERY (one of the two).")
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
