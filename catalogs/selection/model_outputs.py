"""Stored outputs of models, and results from files of theory codes, found by queries on models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from barospec.catalogs.index import database
from barospec.catalogs.query.answer.sql import Translator
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import Values, known_from
from barospec.catalogs.query.resolve.fields import Field
from barospec.catalogs.query.resolve.resolve import resolve
from barospec.schemas.errors import CallError

# Metadata of theory-code files, among the fields of models.
OF_FILES = ("material", "pressure", "temperature", "source_file", "source_sha256")


@dataclass(frozen=True, slots=True)
class _WithMaterials:
    """Values of models, and materials of files that have no model."""

    models: Values
    materials: Sequence[str]

    def of(self, field: Field, like: str = "") -> list[str]:
        return [*self.models.of(field, like), *(self.materials if field.name == "material" else ())]

    def find(self, field: Field, word: str) -> list[str]:
        return list(dict.fromkeys([*self.models.find(field, word), *self._same([field], word)]))

    def close(self, fields: Sequence[Field], word: str) -> list[str]:
        return self.models.close(fields, word)

    def readings(self, fields: Sequence[Field], word: str) -> list[tuple[str, str]]:
        more = [("material", value) for value in self._same(fields, word)]
        return list(dict.fromkeys([*self.models.readings(fields, word), *more]))

    def containing(self, fields: Sequence[Field], word: str) -> list[str]:
        return self.models.containing(fields, word)

    def covers(self, wide: tuple[Field, str], narrow: Iterable[tuple[Field, str]]) -> bool:
        return self.models.covers(wide, narrow)

    def _same(self, fields: Sequence[Field], word: str) -> list[str]:
        asked = any(field.name == "material" for field in fields)
        return [value for value in self.materials if asked and value.casefold() == word.casefold()]


def find_outputs(connection: Any, text: str, outputs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Find the stored outputs that match a query on models.

    An output of an operator matches if any of its models does; a result from a file matches if the file's material, pressure
    or temperature meet the conditions, and no condition needs a model.

    Parameters
    ----------
    connection : duckdb connection
    text : str
        Such as ``"models of La4Ni3O10 above 40 GPa"``.
    outputs : sequence of mapping
        From `archive.ingest.models.list_outputs`.

    Raises
    ------
    QueryError, CallError
        If the question cannot be understood, or is not about models.
    """
    known = known_from(connection)
    files = [row for row in outputs if not row["models"]]
    materials = sorted({str(row["material"]) for row in files if row["material"]})
    known = replace(known, values=_WithMaterials(known.values, materials))
    resolved = resolve(parse(text), known)
    if resolved.table != "models":
        raise CallError(f"the query is about {resolved.table}, not about models.")
    translator = Translator(resolved, known)
    where = f"({translator.searched()}) AND ({translator.condition()})"
    entries = ", ".join(f"$entry{n}" for n in range(len(files)))
    bound: dict[str, Any] = {f"entry{n}": row["entry"] for n, row in enumerate(files)}
    columns = [f"[{entries}] AS model_id", "'active' AS status"]
    for name in OF_FILES:
        bound |= {f"{name}{n}": row[name] for n, row in enumerate(files)}
        columns.append(f"[{', '.join(f'${name}{n}' for n in range(len(files)))}] AS {name}")
    found = _names(connection, translator, f"SELECT model_id FROM models WHERE {where}", {})
    if files:
        spread = ", ".join(f"unnest({name}) AS {name}" for name in ("model_id", *OF_FILES))
        table = (
            f"SELECT * FROM models WHERE FALSE UNION ALL BY NAME "
            f"SELECT {spread}, status FROM (SELECT {', '.join(columns)})"
        )
        found |= _names(connection, translator, f"SELECT model_id FROM ({table}) WHERE {where}", bound)
    return [row for row in outputs if row["entry"] in found or found & set(str(row["models"]).split(", "))]


def _names(connection: Any, translator: Translator, sql: str, bound: Mapping[str, Any]) -> set[str]:
    statement = translator.statement(sql)
    rows = database.values(connection, statement.sql, {**statement.parameters, **bound})
    return {str(row[0]) for row in rows}
