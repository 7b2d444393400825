"""Answers to queries: rows, with counts of excluded and near-limit rows.

An answer has the query as it was understood and the number of rows that match, that were excluded (no value recorded,
field not applicable, withdrawn), and whose uncertainty reaches over a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from barospec.catalogs.query.answer.counts import counts_of, notes_on
from barospec.catalogs.query.answer.group_by import GROUPS, counted, grouped, keys_of, selected
from barospec.catalogs.query.answer.sql import Statement, Translator, columns_sql
from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema, known_from
from barospec.catalogs.query.resolve.ast_json import to_dict
from barospec.catalogs.query.resolve.fields import OF_SPECTRA, VALUES, Connection
from barospec.catalogs.query.resolve.keywords import Question, query_of
from barospec.catalogs.query.resolve.resolve import Resolved, resolve
from barospec.schemas.errors import QueryError, did_you_mean

CHUNK = 10_000
PIECE = 100_000
# Columns of a table of spectra by default; queried fields are added.
SHOWN = (
    *("spectrum_id", "experiment", "run", "sample", "technique", "edge", "line", "origin"),
    *("pressure", "pressure_sigma", "temperature", "source_file"),
)
# Columns of a table of derived values.
OF_VALUES = (
    *("spectrum_id", "run", "edge", "line", "origin", "pressure", "temperature"),
    *("quantity", "value", "value_sigma", "value_unit", "state", "set", "chain"),
)
# Identifying columns of the other tables; the rest follow.
FIRST = (
    *("structure_id", "model_id", "quantity", "bond", "bond_length", "multiplicity", "material", "space_group"),
    *("value", "value_sigma", "value_unit", "pressure", "pressure_sigma", "temperature"),
)


@dataclass(slots=True)
class Answer:
    """An answer: matching rows, and counts of the rows that were excluded.

    Parameters
    ----------
    noun : str
        Kind of row: ``spectra``, ``runs``, ...; ``counts`` for a count.
    canonical : str
        The query as understood; it gives the same answer again.
    snapshot : str
        The snapshot of the index.
    count : int
        Number of matching rows, whatever the limit.
    columns : list of str
    units : dict
        Unit of each column that has one.
    missing, not_applicable : dict of str to int
        Undecided rows, by the field that has no value or does not apply.
    withdrawn, flagged : int
        Matching rows that were withdrawn, or flagged as bad.
    stale, uncalibrated : dict of str to int
        Undecided rows, by the derived value that is out of date, or is an energy on an axis that was
        not calibrated.
    near_limit : int
        Rows whose uncertainty (one sigma, or the readings before and after) reaches over a limit;
        `near_inside` of them match.
    unlisted : list of tuple
        For ``runs`` and ``samples``: undecided groups, in the columns of the rows.
    notes : list of str
        Sentences to show with the answer.
    predicates : dict
        The query in structured form, for catalogs.
    statement : Statement
        The SQL of the rows.
    limit : int or None
        Maximum number of rows; `count` does not depend on it.
    """

    noun: str
    canonical: str
    snapshot: str
    count: int
    columns: list[str]
    units: dict[str, str]
    missing: dict[str, int]
    not_applicable: dict[str, int]
    withdrawn: int
    flagged: int
    stale: dict[str, int]
    uncalibrated: dict[str, int]
    near_limit: int
    near_inside: int
    unlisted: list[tuple[Any, ...]]
    notes: list[str]
    predicates: dict[str, Any]
    statement: Statement
    limit: int | None
    connection: Connection = field(repr=False)
    _held: list[tuple[Any, ...]] | None = field(default=None, repr=False)  # few rows, already fetched
    _piece: Statement | None = field(default=None, repr=False)  # for many rows in the store's order

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows one by one, fetched in chunks; each use runs the query again."""
        for chunk in self.chunks():
            yield from chunk

    def chunks(self, size: int = CHUNK) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in lists of at most `size`, which bounds the memory."""
        if self._held is not None:
            yield from (self._held[i : i + size] for i in range(0, len(self._held), size))
            return
        cursor = self.connection.cursor()
        try:
            for statement in self._pieces(cursor) if self._piece else [self.statement]:
                result = cursor.execute(statement.sql, statement.parameters)
                while chunk := result.fetchmany(size):
                    yield chunk
        finally:
            cursor.close()

    def _pieces(self, cursor: Any) -> Iterator[Statement]:
        """Yield the statement in pieces of the table's own order, so that DuckDB need not sort all rows before the first."""
        assert self._piece is not None
        places = cursor.execute("SELECT grp, min(row), max(row) FROM spectra GROUP BY grp ORDER BY grp").fetchall()
        for group, first, last in places:
            for start in range(first, last + 1, PIECE):
                here = {"group": group, "start": start, "stop": start + PIECE}
                yield Statement(self._piece.sql, self._piece.parameters | here)


def ask(
    connection: Connection,
    question: Question = "",
    *,
    scans: bool = False,
    limit: int | None = None,
    include: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    saved: Mapping[str, Any] | None = None,
    known: ArchiveSchema | None = None,
    **conditions: Any,
) -> Answer:
    """Ask an index.

    Parameters
    ----------
    connection : duckdb connection
        See `archive_schema.known_from` for the required tables.
    question : str, Query or dict
        Query text, a parsed query, or its structured form.
    scans : bool
        Include spectra that were merged into others.
    limit : int, optional
        Maximum number of rows.
    include : sequence of str
        Rows to include that are excluded by default: ``stale``, ``uncalibrated``, ``bad``.
    columns : sequence of str, optional
        Fields to show of each spectrum; ``["*"]`` for all.
    saved : mapping, optional
        Saved queries by name, for ``@name``.
    known : Known, optional
        Result of `known_from` for this index, to skip its 2 ms in repeated calls.
    **conditions
        Further conditions by field, see `keywords.query_of`.

    Returns
    -------
    Answer

    Raises
    ------
    QueryError
        If the question cannot be understood; with the position and the choices.

    Examples
    --------
    >>> import duckdb
    >>> index = duckdb.connect()
    >>> _ = index.execute("CREATE TABLE spectra (grp TEXT, row BIGINT, status TEXT, run TEXT, pressure DOUBLE)")
    >>> _ = index.execute("INSERT INTO spectra VALUES ('xas/Ni-K', 0, 'active', 'run-2', 15.6)")
    >>> _ = index.execute("CREATE TABLE field_values AS SELECT 'run' field, 'run-2' AS value, 1 AS count")
    >>> _ = index.execute("CREATE TABLE meta AS SELECT 'snapshot' AS key, 'S0' AS value")
    >>> found = ask(index, "above 140 kbar")
    >>> found.canonical, list(found.rows)
    ('pressure > 14 GPa', [('run-2', 15.6)])
    """
    known = known or known_from(connection, saved)
    resolved = resolve(query_of(question, limit=limit, include=include, **conditions), known, scans=scans)
    return answer(connection, resolved, known, columns=columns)


def answer(
    connection: Connection, resolved: Resolved, known: ArchiveSchema, *, columns: Sequence[str] | None = None
) -> Answer:
    """Answer a resolved query; see `ask`."""
    known = known.including(resolved.query.include)
    translator = Translator(resolved, known)
    counts = counts_of(connection, translator)
    keys, limit = keys_of(resolved), resolved.query.limit
    notes = [*resolved.notes, *notes_on(translator, counts)]
    held: list[tuple[Any, ...]] | None = None
    piece: Statement | None = None
    unlisted: list[tuple[Any, ...]] = []
    if resolved.query.count_by is not None:
        statement, names = counted(translator, keys or ())
        size = translator.statement(f"SELECT count(*) FROM ({statement.sql})")
        count = connection.execute(size.sql, size.parameters).fetchone()[0]
        statement.sql += f" LIMIT {limit:d}" if limit else ""
    elif keys is not None:
        statement, names = grouped(translator, keys)
        groups = connection.execute(statement.sql, statement.parameters).fetchall()
        listed = [group[:-1] for group in groups if group[-1]]
        statement.sql = f"SELECT * EXCLUDE (listed) FROM ({statement.sql}) WHERE listed" + (
            f" LIMIT {limit:d}" if limit else ""
        )
        unlisted = [group[:-1] for group in groups if not group[-1]]
        count, held = len(listed), listed[:limit]
    else:
        names = _columns(resolved, known, translator, columns)
        select = columns_sql(known.fields[resolved.table], names)
        statement = translator.statement(_rows_sql(translator, select))
        count, places = counts["count"], counts["places"]
        if places is not None:
            held = _few(connection, translator, select, places)
        elif resolved.table in OF_SPECTRA and not resolved.query.sort and limit is None:
            piece = translator.statement(_rows_sql(translator, select, _HERE))
    if keys is None and resolved.query.sort:
        notes += _unsorted(connection, translator)
    return Answer(
        noun=resolved.noun if resolved.query.count_by is None else "counts",
        canonical=ast.to_text(resolved.query),
        snapshot=known.snapshot,
        count=count,
        columns=names,
        units=_units(known, resolved.table, names),
        missing=counts["missing"],
        not_applicable=counts["not_applicable"],
        withdrawn=counts["withdrawn"],
        flagged=counts["flagged"],
        stale=counts["stale"],
        uncalibrated=counts["uncalibrated"],
        near_limit=counts["near_inside"] + counts["near_outside"],
        near_inside=counts["near_inside"],
        unlisted=unlisted,
        notes=notes,
        predicates=to_dict(resolved.query),
        statement=statement,
        limit=limit,
        connection=connection,
        _held=held,
        _piece=piece,
    )


def _unsorted(connection: Connection, translator: Translator) -> list[str]:
    """Return a note for each sort field that some matching rows lack: "latest 5" has not compared those."""
    notes = []
    for sort in translator.resolved.query.sort:
        name, column = sort.field[0], translator.resolved.fields[sort.field[0]].sql
        if translator.resolved.table in OF_SPECTRA and name in translator.known.complete:
            continue
        conditions = f"{translator.searched()} AND {translator.condition()} AND {column} IS NULL"
        statement = translator.statement(f"SELECT count(*) FROM {translator.source} WHERE {conditions}")
        number = connection.execute(statement.sql, statement.parameters).fetchone()[0]
        if number:
            notes.append(
                f"{number} matching {'row has' if number == 1 else 'rows have'} no {name} and {'comes' if number == 1 else 'come'} last."
            )
    return notes


def _columns(
    resolved: Resolved, known: ArchiveSchema, translator: Translator, asked: Sequence[str] | None
) -> list[str]:
    """Return the fields to show: those requested, or the default ones and those in the conditions."""
    fields = known.fields[resolved.table]
    if asked is not None and list(asked) != ["*"]:
        for name in asked:
            if known.find(resolved.table, name) is None:
                raise QueryError(f'There is no field "{name}" of {resolved.noun}.{did_you_mean(name, list(fields))}')
        return [found.name for name in asked if (found := known.find(resolved.table, name))]
    if asked is not None or resolved.table not in OF_SPECTRA:
        first = [name for name in FIRST if name in fields] if asked is None else []
        return [*first, *(name for name in fields if name not in first)]
    names = [name for name in (OF_VALUES if resolved.table == VALUES else SHOWN) if name in fields]
    for name in [*translator.conditioned(), *(sort.field[0] for sort in resolved.query.sort)]:
        names += [n for n in (name, resolved.fields[name].sigma) if n and n in fields and n not in names]
    return names


_HERE = '"grp" = $group AND "row" >= $start AND "row" < $stop'


def _rows_sql(translator: Translator, select: str, also: str = "TRUE") -> str:
    resolved = translator.resolved
    conditions = [part for part in (translator.searched(), translator.condition(), also) if part != "TRUE"]
    sql = f"SELECT {select} FROM {translator.source}" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
    if resolved.noun in GROUPS:  # order and limit apply to the runs, see `group_by`
        return f'{sql} ORDER BY "grp", "row"'
    return sql + _order(translator) + (f" LIMIT {resolved.query.limit:d}" if resolved.query.limit else "")


def _few(connection: Connection, translator: Translator, select: str, places: list[int]) -> list[tuple[Any, ...]]:
    """Return the rows at these positions of the table, in the requested order and number."""
    if not places:
        return []
    resolved, limit = translator.resolved, translator.resolved.query.limit
    where = f'FROM "{resolved.table}" WHERE rowid IN (SELECT unnest($places))'
    if resolved.table != "spectra" or resolved.query.sort:
        statement = translator.statement(f"SELECT {select} {where}{_order(translator)}")
    else:  # few rows are sorted faster here
        keys = ["rowid"] if translator.known.in_order else ['"grp"', '"row"']
        statement = translator.statement(f"SELECT {', '.join(keys)}, {select} {where}")
    bound = statement.parameters | {"places": places}
    found: list[tuple[Any, ...]] = connection.execute(statement.sql, bound).fetchall()
    if resolved.table == "spectra" and not resolved.query.sort:
        size = len(keys)
        found = [row[size:] for row in sorted(found, key=lambda row: row[:size])]
    return found[:limit]


def _order(translator: Translator) -> str:
    """Return ORDER BY: the requested order, then the order in the store, so that every answer has a defined order."""
    resolved = translator.resolved
    keys = [
        f"{resolved.fields[s.field[0]].sql} {'DESC' if s.descending else 'ASC'} NULLS LAST" for s in resolved.query.sort
    ]
    keys += ['"grp"', '"row"'] if resolved.table in OF_SPECTRA else ["rowid"]
    keys += ['"quantity"'] if resolved.table == VALUES else []
    return f" ORDER BY {', '.join(keys)}"


def _units(known: ArchiveSchema, table: str, names: Sequence[str]) -> dict[str, str]:
    units = {}
    for name in names:
        base = name.removesuffix("_min").removesuffix("_max").removesuffix("_change")
        found = known.fields[table].get(name) or known.fields[table].get(base)
        if found and found.unit:
            units[name] = found.unit
    return units


@dataclass(slots=True)
class Found:
    """The spectra that a question finds, as positions in the store, in the requested order."""

    canonical: str
    predicates: dict[str, Any]
    groups: Any
    rows: Any


def rows_of(
    connection: Connection, resolved: Resolved, known: ArchiveSchema, extra: Sequence[str] = ()
) -> dict[str, Any]:
    """Return positions of the selected spectra: numpy arrays ``grp`` and ``row`` of shape (n,), and `extra` fields.

    Only the lazy layer calls this; it imports numpy.
    """
    if resolved.table != "spectra" or resolved.query.count_by is not None:
        asked = resolved.noun if resolved.table != "spectra" else "counts"
        raise QueryError(f"A selection contains spectra, not {asked}.", resolved.query.text)
    known = known.including(resolved.query.include)
    translator = Translator(resolved, known)
    fields = known.fields["spectra"]
    select = ", ".join(['"grp"', '"row"', *([columns_sql(fields, list(extra))] if extra else [])])
    statement = rows_sql(translator, select)
    return dict(connection.execute(statement.sql, statement.parameters).fetchnumpy())


def rows_sql(translator: Translator, select: str) -> Statement:
    """Return the statement of the selected spectra with these columns; for runs, the matching spectra of the listed runs."""
    return translator.statement(_rows_sql(translator, select, selected(translator)))


def spectra_of(
    connection: Connection,
    question: Question = "",
    *,
    scans: bool = False,
    include: Sequence[str] = (),
    saved: Mapping[str, Any] | None = None,
    **conditions: Any,
) -> Found:
    """Return the spectra that a question finds; with the noun "runs" the matching spectra of those runs."""
    known = known_from(connection, saved)
    resolved = resolve(query_of(question, include=include, **conditions), known, scans=scans)
    found = rows_of(connection, resolved, known)
    return Found(ast.to_text(resolved.query), to_dict(resolved.query), found["grp"], found["row"])
