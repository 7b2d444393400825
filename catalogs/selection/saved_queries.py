"""Saved queries: named in the archive, used as ``@superconducting`` in other queries.

Each save and each removal is a record of its own in an atomic commit, so that the history shows who changed what
when, and a tag keeps the queries of its time. The canonical form is stored: a word that gets a second
meaning later does not change a saved query. ``@names`` inside stay names, so that they follow their query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema, known_from
from barospec.catalogs.query.resolve.fields import Connection
from barospec.catalogs.query.resolve.keywords import Question, query_of
from barospec.catalogs.query.resolve.resolve import resolve
from barospec.schemas.errors import CallError, Conflict, NotFound, QueryError, did_you_mean

if TYPE_CHECKING:
    from barospec.archive.store.repository import Store, Transaction

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Nouns of queries that can select spectra.
SELECTABLE = ("spectra", "scans", "runs", "samples")


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """One record: a saved query, or the removal of one.

    Parameters
    ----------
    name : str
        Used as ``@name``.
    query : str
        Canonical form; the fields and values are those of the archive when it was saved.
    text : str
        Query text as typed.
    noun : str
        Kind of row: ``spectra``, ``runs``, ...; ``counts`` for a count.
    status : str
        ``active`` or ``removed``.
    author, reason : str
    revision : int
        1 for the first use of the name.
    time : datetime
        UTC.
    """

    name: str
    query: str
    text: str
    noun: str
    status: str
    author: str
    reason: str
    revision: int
    time: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Look(Protocol):
    """Opens the index of a snapshot, which is made if missing."""

    def __call__(self, snapshot: str) -> AbstractContextManager[Connection]:
        """Return a read-only connection for a ``with`` block."""


def _record(*values: Any) -> SavedQuery:
    known: list[Any] = ["" if value is None else value for value in values]
    return SavedQuery(*known)


def saved_queries(connection: Connection, *, history: bool = False) -> list[SavedQuery]:
    """Return the saved queries of the archive, by name; with `history` every record, the newest of each name first."""
    names = list(SavedQuery.__dataclass_fields__)
    rows = connection.execute(f"SELECT {', '.join(names)} FROM saved ORDER BY name, revision DESC").fetchall()
    found = [_record(*row) for row in rows]
    if history:
        return found
    newest: dict[str, SavedQuery] = {}
    for record in found:
        newest.setdefault(record.name, record)
    return [record for record in newest.values() if record.status == "active"]


def save(
    store: Store,
    look: Look,
    name: str,
    question: Question,
    *,
    reason: str = "",
    replacing: bool = False,
    **conditions: Any,
) -> tuple[SavedQuery, str | None]:
    """Save a query under a name, in one commit.

    Parameters
    ----------
    store : Store
    look : callable
        See `Look`; called inside the transaction, so that the query is checked against the snapshot it will follow.
    name : str
        Letters, digits, ``_`` and ``-``, beginning with a letter.
    question : str, Query or dict
        A query as for `answer.ask`; combined with `conditions`.
    reason : str
        Reason for the history.
    replacing : bool
        Replace the query of a name that is in use.

    Returns
    -------
    SavedQuery, str or None
        The record, and the new snapshot; None if the name had the same meaning already.

    Raises
    ------
    CallError, QueryError
        If the name is invalid, or the query cannot be understood or refers to itself.
    Conflict
        If the name is in use for something else, or a query built on it would break.
    """
    check_name(name)
    if question in ("", None) and not conditions:
        raise QueryError('The query is empty. Write one, such as "Ni K above 14 GPa".')
    query = query_of(question, **conditions)

    def write(work: Transaction) -> SavedQuery:
        with look(work.parent) as connection:
            earlier = _records_of(connection, name)
            normal = _checked(name, query, known_from(connection))
        canonical = ast.to_text(normal)
        old = earlier[0] if earlier and earlier[0].status == "active" else None
        if old is not None and old.query == canonical:
            return old
        if old is not None and not replacing:
            raise Conflict(
                f"@{name} is saved already, by {old.author} on {old.time:%Y-%m-%d}, as: {old.query}\n"
                f"Choose another name, or replace it with --replace (replace=True)."
            )
        record = SavedQuery(
            name=name,
            query=canonical,
            text=query.text or canonical,
            noun="counts" if normal.count_by is not None else normal.noun,
            status="active",
            author="",
            reason=reason,
            revision=earlier[0].revision + 1 if earlier else 1,
            time=_now(),
        )
        work.message = f"query @{name} {'replaced' if old else 'saved'}: {canonical}"
        return _append(work, record)

    return store.write("save", write)


def remove(store: Store, look: Look, name: str, *, reason: str = "") -> tuple[SavedQuery, str | None]:
    """Remove a saved query, in one commit; earlier snapshots keep it.

    Raises
    ------
    NotFound
        If no query of that name is saved.
    Conflict
        If other saved queries are built on it.
    """

    def write(work: Transaction) -> SavedQuery:
        with look(work.parent) as connection:
            known = known_from(connection)
            earlier = _records_of(connection, name)
        if not earlier or earlier[0].status != "active":
            near = did_you_mean(name, sorted(known.saved))
            raise NotFound(f"no query is saved as @{name}.{near} `barospec saved` lists them.")
        users = [other for other, query in sorted(known.saved.items()) if name in names_in(parse(query).where)]
        if users:
            listed = ", ".join(f"@{other}" for other in users)
            raise Conflict(
                f"@{name} is used by {listed}; remove or replace {'it' if len(users) == 1 else 'them'} first."
            )
        old = earlier[0]
        work.message = f"query @{name} removed"
        return _append(work, replace(old, status="removed", reason=reason, revision=old.revision + 1, time=_now()))

    return store.write("save", write)


def check_name(name: str) -> None:
    """Raise CallError unless `name` is valid after an @.

    >>> check_name("superconducting")
    """
    if not NAME.fullmatch(name):
        raise CallError(
            f'"{name}" is not a valid name of a query: use letters a-z, digits, "_" and "-" (at most 64), a letter first. '
            "Write it without @."
        )


def canonical_text(known: ArchiveSchema, question: Question, **conditions: Any) -> str:
    """Return a query in canonical form, with saved queries expanded."""
    return ast.to_text(resolve(query_of(question, **conditions), known).query)


def names_in(where: ast.Expr | None) -> set[str]:
    """Return the names of the saved queries in a condition.

    >>> sorted(names_in(parse("@warm or not (@cold and Ni K)").where))
    ['cold', 'warm']
    """
    if isinstance(where, ast.And | ast.Or):
        return set().union(*(names_in(item) for item in where.items))
    if isinstance(where, ast.Not):
        return names_in(where.item)
    return {where.name} if isinstance(where, ast.Saved) else set()


def _records_of(connection: Connection, name: str) -> list[SavedQuery]:
    """Return all records of a name, newest first; raise Conflict if the name differs from one in use only by case."""
    records = saved_queries(connection, history=True)
    for other in {record.name for record in records} - {name}:
        if other.casefold() == name.casefold():
            raise Conflict(f"@{other} differs from @{name} only by case. Use @{other}.")
    return [record for record in records if record.name == name]


def _checked(name: str, query: ast.Query, known: ArchiveSchema) -> ast.Query:
    """Return the query in normal form, after resolving it under its name and all queries built on it."""
    normal = resolve(query, known, keep_saved=True).query
    changed = replace(known, saved={**known.saved, name: ast.to_text(normal)})
    resolve(parse(f"@{name}"), changed)
    _refuse_broken(name, changed)
    return normal


def _refuse_broken(name: str, changed: ArchiveSchema) -> None:
    """Raise Conflict if a query built on `name` can no longer be understood."""
    for other, query in sorted(changed.saved.items()):
        if other != name:
            parsed = parse(query)
            if name in names_in(parsed.where):
                try:
                    resolve(parsed, changed)
                except QueryError as error:
                    raise Conflict(
                        f"@{other} is built on @{name} and would break: {error.problem} Nothing was changed."
                    ) from error


def _append(work: Any, record: SavedQuery) -> SavedQuery:
    from barospec.archive.store.repository import current_user
    from barospec.archive.store.write import Writer

    record = replace(record, author=current_user())
    values: Mapping[str, Any] = record.to_dict() | {"time": _microseconds(record.time)}
    Writer(work.root, work.changes).append_table("saved", [values])
    return record


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _microseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
