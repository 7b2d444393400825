"""What keeps an archive right over the years: its settings, corrections, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barospec.catalogs import index
from barospec.finding import Finding


class Keeping(Finding):
    """Settings, corrections, versions."""

    def settings(self) -> dict[str, Any]:
        """What the archive says of itself, defaults included; see `archive.settings.DEFAULTS`."""
        from barospec.archive.settings import read_settings

        return read_settings(self._store.read(self.snapshot))

    def settings_history(self) -> list[dict[str, Any]]:
        """Every change of a setting, oldest first: name, value, revision, author, reason, time."""
        from barospec.archive.settings import settings_history

        return settings_history(self._store.read(self.snapshot))

    def configure(self, changes: Mapping[str, Any], *, reason: str = "") -> dict[str, Any]:
        """Change settings, in a commit of its own; returns all of them.

        Parameters
        ----------
        changes : mapping
            Such as ``{"license": "CC-BY-4.0", "creators": [{"name": "Ada", "orcid": "0000-0002-1825-0097"}]}``; None
            takes the default.
        reason : str
            For the history.

        Raises
        ------
        CallError
            A name that is no setting.
        InvalidData
            A value that cannot be one.
        """
        from barospec.archive.settings import change_settings

        self._must_be_newest()
        after, snapshot = change_settings(self._store, changes, reason=reason)
        if snapshot:
            index.publish(self._store, snapshot)
        return after
