"""Report of a verification."""

from __future__ import annotations

from dataclasses import dataclass, field

from barospec.schemas.errors import StoreError, exhausted

MOST = 1000


BACKUP = "Restore it from a backup, or the archive from a copy; `barospec log` and `--at` show which states can still be read."


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: location, message, advice."""

    where: str
    what: str
    todo: str = BACKUP


@dataclass(slots=True)
class Verified:
    """Counts and faults of a verification."""

    snapshot: str = ""
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.faults

    def count(self, what: str, number: int = 1) -> None:
        """Count checked items."""
        self.checked[what] = self.checked.get(what, 0) + number

    def blame(self, where: str, what: str, todo: str = BACKUP) -> None:
        """Report a fault; after a thousand, only count.

        Raises StoreError if it is not a fault: a file that could not be opened because too many are open is not damaged.
        """
        if sentence := exhausted(what):
            raise StoreError(sentence)
        if len(self.faults) < MOST:
            self.faults.append(Fault(where, what, todo))
        else:
            self.count("further faults")
