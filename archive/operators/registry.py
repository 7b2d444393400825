"""The table of operators. A new one is a module and a line here."""

from __future__ import annotations

from barospec.archive.operators import edge_energy, normalize
from barospec.archive.operators.record import Operator
from barospec.schemas.errors import NotFound, did_you_mean

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        normalize.OPERATOR,
        edge_energy.OPERATOR,
    )
}


def find_operator(name: str) -> Operator:
    """The operator of that name.

    Raises
    ------
    NotFound
        With the nearest names.

    Examples
    --------
    >>> find_operator("edge_energy").inputs[:3]
    ('energy', 'norm', 'e0')
    """
    try:
        return OPERATORS[name]
    except KeyError:
        hint = did_you_mean(name, list(OPERATORS)) or f" There are {', '.join(OPERATORS)}."
        raise NotFound(f'there is no operator "{name}".{hint} See barospec operators.') from None
