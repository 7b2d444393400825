"""The table of operators. A new one is a module and a line here."""

from __future__ import annotations

from barospec.archive.operators import (
    agreement,
    align,
    align_to,
    background,
    deglitch,
    derivative,
    derivative_features,
    difference,
    edge_energy,
    edge_shift,
    feature,
    find_e0,
    first_moment,
    foil,
    iad,
    kbeta13_position,
    kbeta_prime,
    lcf,
    normalize,
    normalize_emission,
    pre_edge_peak,
    spin_state,
    track_peak,
    valence,
    valence_to_core,
    valence_vtc,
    white_line,
    whole_edge_shift,
)
from barospec.archive.operators.operator import Operator
from barospec.schemas.errors import NotFound, did_you_mean

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        foil.OPERATOR,
        align.OPERATOR,
        align_to.OPERATOR,
        deglitch.OPERATOR,
        normalize.OPERATOR,
        find_e0.OPERATOR,
        edge_energy.OPERATOR,
        edge_shift.OPERATOR,
        whole_edge_shift.OPERATOR,
        derivative.OPERATOR,
        derivative_features.OPERATOR,
        pre_edge_peak.OPERATOR,
        white_line.OPERATOR,
        feature.OPERATOR,
        track_peak.OPERATOR,
        difference.OPERATOR,
        lcf.OPERATOR,
        agreement.OPERATOR,
        valence.OPERATOR,
        background.OPERATOR,
        normalize_emission.OPERATOR,
        kbeta13_position.OPERATOR,
        kbeta_prime.OPERATOR,
        first_moment.OPERATOR,
        iad.OPERATOR,
        spin_state.OPERATOR,
        valence_to_core.OPERATOR,
        valence_vtc.OPERATOR,
    )
}


def find_operator(name: str) -> Operator:
    """Return the operator of that name.

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
