"""Annotations of spectra: flags, labels, notes. They are versioned and searchable; the data do not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from barospec._queries import QueryMethods
from barospec.catalogs.index import database
from barospec.schemas.errors import CallError, NotFound

if TYPE_CHECKING:
    from barospec.catalogs.selection.selection import Selection


class AnnotationMethods(QueryMethods):
    """Methods of an archive that annotate spectra."""

    def flag(self, spectra: str | Sequence[str] | Selection, flag: str, reason: str = "") -> list[str]:
        """Flag spectra: ``good``, ``check`` or ``bad``. Queries exclude bad ones and count them.

        Parameters
        ----------
        spectra : str, sequence of str, or Selection
            spectrum_ids or their beginnings, or the result of a query.
        flag : str
            Replaces an earlier flag. It belongs to the spectrum, not to a revision: replaced data stay flagged until the
            flag is changed.
        reason : str
            Required for ``bad``.

        Returns
        -------
        list of str
            The spectra whose flag or reason changed.
        """
        from barospec.catalogs.index.annotations import check_flag

        flag = check_flag(flag)
        if flag == "bad" and not reason.strip():
            raise CallError('a bad flag needs a reason: barospec flag ID bad "glitch at 8350 eV".')
        shown = self._told(spectra)
        new = [subject for subject, (old, why, _) in shown.items() if (old, why or "") != (flag, reason)]
        return self._annotate("flag", new, flag, reason)

    def unflag(self, spectra: str | Sequence[str] | Selection, reason: str = "") -> list[str]:
        """Remove flags; return the spectra that had one."""
        new = [subject for subject, (old, _, _) in self._told(spectra).items() if old]
        return self._annotate("unflag", new, "", reason)

    def label(self, spectra: str | Sequence[str] | Selection, label: str, reason: str = "") -> list[str]:
        """Add a label to spectra, found by ``labels contains WORD``; return the spectra that did not have it."""
        from barospec.catalogs.index.annotations import check_label

        label = check_label(label)
        new = [subject for subject, (_, _, labels) in self._told(spectra).items() if label not in labels]
        return self._annotate("label", new, label, reason)

    def unlabel(self, spectra: str | Sequence[str] | Selection, label: str, reason: str = "") -> list[str]:
        """Remove a label from spectra; return the spectra that had it."""
        from barospec.catalogs.index.annotations import check_label

        label = check_label(label)
        new = [subject for subject, (_, _, labels) in self._told(spectra).items() if label in labels]
        return self._annotate("unlabel", new, label, reason)

    def note(self, spectra: str | Sequence[str] | Selection, text: str) -> list[str]:
        """Add a note to spectra, found by ``remarks contains WORD``; return their ids."""
        text = " ".join(text.split())
        if not text:
            raise CallError('the note is empty. Write one: barospec note ID "beam lost at 8400 eV".')
        return self._annotate("note", list(self._told(spectra)), text, "")

    def _told(self, spectra: str | Sequence[str] | Selection) -> dict[str, tuple[str | None, str | None, list[str]]]:
        """Return flag, its reason and the labels of each spectrum, by complete spectrum_id."""
        self._must_be_newest()
        if isinstance(spectra, str):
            ids = [self.identify(spectra)]
        elif hasattr(spectra, "columns"):
            ids = [str(identity) for identity in spectra.columns(["spectrum_id"])["spectrum_id"]]
        else:
            ids = [self.identify(one) for one in spectra]
        if not ids:
            raise NotFound("no spectra were named, so nothing was written. Name at least one.")
        with self.connection() as connection:
            rows = database.values(
                connection,
                "SELECT DISTINCT spectrum_id, flag, flag_reason, labels FROM spectra "
                "WHERE spectrum_id IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            )
        known = {row[0]: (row[1], row[2], (row[3] or "").split(", ")) for row in rows}
        return {identity: known[identity] for identity in dict.fromkeys(ids)}

    def _annotate(self, action: str, subjects: Sequence[str], value: str, reason: str) -> list[str]:
        from barospec.catalogs.index.annotations import write_annotations

        if not subjects:
            return []
        store: Any = self._store
        line = " ".join(filter(None, [action, value[:60]]))
        many = f"{len(subjects)} spectra" if len(subjects) > 1 else subjects[0]
        message = f"{line}: {many}" + (f" ({reason[:80]})" if reason else "")
        snapshot = write_annotations(store, action, subjects, value, reason, message)
        if snapshot:
            self._finish(store, snapshot, follow=True)
        return list(subjects)
