"""Explanation of a query: how it is understood and answered. For ``barospec query --explain``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from barospec.catalogs.query.answer.answer import ask
from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.resolve.ast_json import from_dict
from barospec.catalogs.query.resolve.fields import Connection
from barospec.catalogs.query.resolve.keywords import Question

# Names of the informative steps of DuckDB's plan; the others only pass columns on.
_STEPS = {
    "HASH_JOIN": "join",
    "HASH_GROUP_BY": "grouping",
    "PERFECT_HASH_GROUP_BY": "grouping",
    "UNGROUPED_AGGREGATE": "aggregate",
    "ORDER_BY": "sort",
    "TOP_N": "sort of the first rows",
    "STREAMING_LIMIT": "limit",
    "LIMIT": "limit",
}


def explain(
    connection: Connection,
    question: Question = "",
    **asked: Any,
) -> dict[str, Any]:
    """Explain how a question is understood and answered.

    Parameters
    ----------
    connection, question, **asked
        As for `answer.ask`.

    Returns
    -------
    dict
        ``snapshot``; ``query``, the canonical text; ``tree``, the conditions as lines of an outline; ``predicates``, the structured form;
        ``sql`` of the rows and its ``parameters``; ``plan``, the steps of DuckDB, one per line.
    """
    found = ask(connection, question, **asked)
    rows = connection.execute(f"EXPLAIN (FORMAT json) {found.statement.sql}", found.statement.parameters).fetchall()
    return {
        "snapshot": found.snapshot,
        "query": found.canonical,
        "tree": tree(from_dict(found.predicates)),
        "predicates": found.predicates,
        "sql": found.statement.sql,
        "parameters": found.statement.parameters,
        "plan": plan_lines(json.loads(rows[0][1])),
    }


def tree(query: ast.Query) -> list[str]:
    r"""Return the query as an outline, one line per node.

    >>> from barospec.catalogs.query.parse.parser import parse
    >>> print("\n".join(tree(parse("runs where pressure > 14 GPa and not (edge = X or line is missing)"))))
    runs
      and
        pressure > 14 GPa
        not
          or
            edge = X
            line is missing
    """
    lines = [query.noun]
    if query.where is not None:
        lines += [f"  {line}" for line in _branch(query.where)]
    if query.count_by is not None:
        lines.append("  count by " + (", ".join(" ".join(name) for name in query.count_by) or "nothing: one number"))
    for sort in query.sort:
        lines.append(f"  sorted by {' '.join(sort.field)} {'descending' if sort.descending else 'ascending'}")
    if query.limit is not None:
        lines.append(f"  limit {query.limit}")
    return lines


def _branch(node: ast.Expr) -> list[str]:
    if isinstance(node, ast.And | ast.Or):
        word = "and" if isinstance(node, ast.And) else "or"
        return [word, *(f"  {line}" for item in node.items for line in _branch(item))]
    if isinstance(node, ast.Not) and not isinstance(node.item, ast.Missing | ast.In):
        return ["not", *(f"  {line}" for line in _branch(node.item))]
    return [ast.to_text(node)]


def plan_lines(plan: Any) -> list[str]:
    """List the tables that DuckDB reads, the conditions that it tests while reading, and the steps after."""
    lines: list[str] = []
    steps: Counter[str] = Counter()
    pending = list(plan)
    while pending:
        node = pending.pop(0)
        name, details = node["name"].strip(), node.get("extra_info", {})
        if name in ("SEQ_SCAN", "TABLE_SCAN"):
            table = str(details.get("Table", "?")).split(".")[-1].strip('"')
            line = f"reads {len(_texts(details.get('Projections')))} columns of {table}"
            filters = " and ".join(_texts(details.get("Filters")))
            lines.append(f"{line} where {filters}" if filters else line)
        elif name in _STEPS:
            steps[_STEPS[name]] += 1
        pending = node.get("children", []) + pending
    if steps:
        counted = (f"{count} {step}{'s' if count > 1 and ' ' not in step else ''}" for step, count in steps.items())
        lines.append("then: " + ", ".join(counted))
    return lines or ["nothing to read: the conditions exclude every row"]


def _texts(value: Any) -> list[str]:
    return [] if value in (None, "") else [str(item) for item in value] if isinstance(value, list) else [str(value)]
