"""Queries as plain dicts and lists, for JSON and YAML: the form in intake catalogs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from barospec.catalogs.query.parse import ast
from barospec.catalogs.query.parse.ast import Expr
from barospec.catalogs.query.parse.lexer import DEEPEST, FORBIDDEN, NOUNS
from barospec.catalogs.query.resolve.fields import INCLUDABLE
from barospec.schemas.errors import QueryError

_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
_LIMITS = ("<", "<=", ">", ">=")


def to_dict(query: ast.Query) -> dict[str, Any]:
    """Return the structured form of a query.

    >>> to_dict(ast.Query("runs", ast.Compare(("pressure",), ">", ast.Number(14.0, "GPa"))))
    {'noun': 'runs', 'where': {'field': 'pressure', 'op': '>', 'value': {'number': 14.0, 'unit': 'GPa'}}}
    """
    result: dict[str, Any] = {"noun": query.noun}
    if query.where is not None:
        result["where"] = _expr_to(query.where)
    if query.count_by is not None:
        result["count_by"] = [_name_to(name) for name in query.count_by]
    if query.sort:
        result["sort"] = [{"field": _name_to(s.field), "descending": s.descending} for s in query.sort]
    if query.limit is not None:
        result["limit"] = query.limit
    if query.include:
        result["include"] = list(query.include)
    return result


def _name_to(name: ast.Name) -> Any:
    return name[0] if len(name) == 1 else list(name)


def _value_to(value: ast.Value) -> Any:
    if isinstance(value, ast.Number):
        return {"number": value.value, "unit": value.unit} if value.unit else {"number": value.value}
    return {"date": value.text} if isinstance(value, ast.Date) else _name_to(value.words)


def _expr_to(node: Expr) -> dict[str, Any]:
    match node:
        case ast.And() | ast.Or():
            return {"and" if isinstance(node, ast.And) else "or": [_expr_to(item) for item in node.items]}
        case ast.Not():
            return {"not": _expr_to(node.item)}
        case ast.Phrase():
            return {"words": list(node.words)}
        case ast.Saved():
            return {"saved": node.name}
        case ast.Missing():
            return {"field": _name_to(node.field), "op": "missing"}
        case ast.Contains():
            return {"field": _name_to(node.field), "op": "contains", "value": _name_to(node.words.words)}
        case ast.In():
            return {
                "field": _name_to(node.field),
                "op": "in",
                "values": [_value_to(value) for value in node.values],
            }
        case ast.Between():
            ends = {"low": _value_to(node.low), "high": _value_to(node.high)}
            return {"field": _name_to(node.field), "op": "between", **ends, **_sigmas_to(node)}
        case ast.Within():
            ends = {"value": _value_to(node.value), "sigma": _value_to(node.sigma)}
            return {"field": _name_to(node.field), "op": "within", **ends}
        case ast.At():
            return {"field": _name_to(node.field), "op": "at", "value": _value_to(node.value)}
        case ast.Changes():
            test = {"field": _name_to(node.field), "op": f"changes by {node.op}", "value": _value_to(node.value)}
            return {**test, **_sigmas_to(node)}
    width = {} if node.width is None else {"sigma": _value_to(node.width)}
    test = {"field": _name_to(node.field), "op": node.op, "value": _value_to(node.value)}
    return {**test, **width, **_sigmas_to(node)}


def _sigmas_to(node: ast.Compare | ast.Between | ast.Changes) -> dict[str, Any]:
    return {"sigmas": node.sigmas} if node.sigmas else {}


def from_dict(data: Any) -> ast.Query:
    """Return the query of a structured form.

    Raises
    ------
    QueryError
        If the form is not one that `to_dict` writes; names the wrong part.

    Examples
    --------
    >>> from_dict({"noun": "runs", "where": {"field": "edge", "op": "=", "value": "Ni K"}}).where.field
    ('edge',)
    """
    data = _mapping(data, {"noun", "where", "count_by", "sort", "limit", "include"}, "a query")
    include = tuple(sorted({_text(word) for word in _list(data.get("include", []), "include")}))
    if not set(include) <= set(INCLUDABLE):
        raise _wrong(f"include {list(include)!r}", f"some of {', '.join(INCLUDABLE)}")
    noun, limit = data.get("noun", "spectra"), data.get("limit")
    if noun not in NOUNS:
        raise _wrong(f"noun {noun!r}", f"one of {', '.join(NOUNS)}")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 10**9):
        raise _wrong(f"limit {limit!r}", "a whole number, 1 or more")
    sort = [_mapping(key, {"field", "descending"}, "a sort key") for key in _list(data.get("sort", []), "sort")]
    count_by = data.get("count_by")
    return ast.Query(
        noun=noun,
        where=_expr_from(data["where"], 0) if data.get("where") is not None else None,
        count_by=None if count_by is None else tuple(_name_from(name) for name in _list(count_by, "count_by")),
        sort=tuple(ast.Sort(_name_from(key.get("field")), key.get("descending") is True) for key in sort),
        limit=limit,
        include=include,
        noun_given="noun" in data,
    )


def _wrong(came: str, expected: str) -> QueryError:
    return QueryError(f"A structured query has {came[:200]}; expected {expected}.")


def _mapping(data: Any, keys: set[str], what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not set(data) <= keys:
        raise _wrong(f"{data!r} for {what}", f"a mapping with keys among {', '.join(sorted(keys))}")
    return data


def _list(data: Any, what: str) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise _wrong(f"{data!r} for {what}", "a list")
    return list(data)


def _text(data: Any) -> str:
    if not isinstance(data, str) or FORBIDDEN.search(data):
        raise _wrong(f"{data!r}", "a text")
    return data


def _name_from(data: Any) -> ast.Name:
    return tuple(_text(word) for word in (data if isinstance(data, list | tuple) else [data]))


def _number_from(data: Any) -> ast.Number:
    value = _mapping(data, {"number", "unit"}, "a number")
    number = value.get("number")
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _wrong(f"{number!r}", "a number")
    try:
        number = float(number)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong("a number that is not finite", "a finite number")
    return ast.Number(number, _text(value.get("unit", "")), ast.number_text(number))


def _value_from(data: Any) -> ast.Value:
    if isinstance(data, Mapping) and "date" in data:
        date = ast.Date(_text(_mapping(data, {"date"}, "a date")["date"]))
        try:
            date.interval()
        except (ValueError, OverflowError):
            raise _wrong(f"{date.text!r}", "a date such as 2024-05-31") from None
        return date
    return _number_from(data) if isinstance(data, Mapping) else ast.Words(_name_from(data))


def _expr_from(data: Any, depth: int) -> Expr:
    if depth > DEEPEST:
        raise QueryError(f"The structured query is nested deeper than {DEEPEST} levels.")
    keys = {"and", "or", "not", "words", "saved", "field", "op", "value", "values", "low", "high", "sigma", "sigmas"}
    data = _mapping(data, keys, "a condition")
    for key, join in (("and", ast.both), ("or", ast.either)):
        if set(data) == {key} and (items := _list(data[key], key)):
            single = [_expr_from(item, depth + 1) for item in items]
            return ast.And(tuple(single)) if key == "and" and len(single) == 1 else join(single)
    if set(data) == {"not"}:
        return ast.negate(_expr_from(data["not"], depth + 1))
    if set(data) == {"words"}:
        return ast.Phrase(_name_from(_list(data["words"], "words")))
    if set(data) == {"saved"}:
        return ast.Saved(_text(data["saved"]))
    return _condition_from(data)


def _sigmas_from(data: Mapping[str, Any]) -> float:
    sigmas = data.get("sigmas", 0.0)
    if isinstance(sigmas, bool) or not isinstance(sigmas, int | float) or not 0 <= sigmas <= 100:
        raise _wrong(f"sigmas {sigmas!r}", "a number from 0 to 100")
    return float(sigmas)


def _condition_from(data: Mapping[str, Any]) -> Expr:
    name, op, rest = _name_from(data.get("field", ())), data.get("op"), set(data) - {"field", "op", "sigmas"}
    sigmas = _sigmas_from(data)
    if op in _LIMITS and rest in ({"value"}, {"value", "sigma"}) and (sigmas or "sigma" in rest):
        width = _number_from(data["sigma"]) if "sigma" in rest else None
        return ast.Compare(name, str(op), _number_from(data["value"]), width=width, sigmas=sigmas)
    if op in {f"changes by {limit}" for limit in _LIMITS} and rest == {"value"}:
        return ast.Changes(name, str(op).removeprefix("changes by "), _value_from(data["value"]), sigmas=sigmas)
    if op == "between" and sigmas and rest == {"low", "high"}:
        return ast.Between(name, _number_from(data["low"]), _number_from(data["high"]), sigmas=sigmas)
    if sigmas:
        raise _wrong(f"{data!r}", "sigmas beside a limit only")
    if op in _COMPARISONS and rest == {"value"}:
        return ast.Compare(name, str(op), _value_from(data["value"]))
    if op == "missing" and not rest:
        return ast.Missing(name)
    if op == "contains" and rest == {"value"}:
        return ast.Contains(name, ast.Words(_name_from(data["value"])))
    if op == "in" and rest == {"values"} and _list(data["values"], "values"):
        return ast.In(name, tuple(_value_from(value) for value in data["values"]))
    if op == "between" and rest == {"low", "high"}:
        return ast.Between(name, _value_from(data["low"]), _value_from(data["high"]))
    if op == "within" and rest == {"value", "sigma"}:
        value, sigma = _number_from(data["value"]), _number_from(data["sigma"])
        if sigma.value < 0 or sigma.unit != value.unit:
            raise _wrong(f"{data!r}", "a width that is not negative, in the unit of the value")
        return ast.Within(name, value, sigma)
    if op == "at" and rest == {"value"}:
        return ast.At(name, _number_from(data["value"]))
    raise _wrong(
        f"{dict(data)!r} for a condition",
        'such as {"field": "pressure", "op": ">", "value": {"number": 14, "unit": "GPa"}}',
    )
