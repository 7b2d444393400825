"""State during the resolution of one query text: the archive's schema, the text, fields in use, notes."""

from __future__ import annotations

from barospec.catalogs.query.parse.ast import Span
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema
from barospec.catalogs.query.resolve.fields import Field
from barospec.schemas.errors import QueryError


class Context:
    """The state of one walk over a query text.

    Attributes
    ----------
    known : ArchiveSchema
        Fields and values of the archive.
    text, noun, table : str
        The query, its kind of row, and the table of its rows.
    inside : tuple of str
        Names of the enclosing saved queries, the outermost first.
    fields : dict of str to Field
        Fields that the query depends on.
    notes : list of str
        Notes for the answer on how the text was understood.
    """

    def __init__(self, known: ArchiveSchema, text: str, noun: str, table: str, inside: tuple[str, ...] = ()) -> None:
        self.known, self.text, self.noun, self.table, self.inside = known, text, noun, table, inside
        self.fields: dict[str, Field] = {}
        self.notes: list[str] = []

    def error(self, problem: str, span: Span, *hints: str) -> QueryError:
        """Return an error at a position of this text."""
        error = QueryError(problem, self.text, *span, hints=hints)
        if self.inside:
            error.add_note(f"This is the text of the saved query @{self.inside[-1]}.")
        return error

    def use(self, field: Field) -> Field:
        """Record that the query depends on a field, and return it."""
        self.fields[field.name] = field
        return field
