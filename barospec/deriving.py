"""Derived values: computed once, stored with all that made them, searched like anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from barospec.catalogs import find, index
from barospec.finding import Finding
from barospec.schemas.errors import CallError, InvalidData

if TYPE_CHECKING:
    from barospec.archive.derived import Derivation
    from barospec.catalogs.derive import Derived, Progress
    from barospec.catalogs.selection import Selection


class Deriving(Finding):
    """What an archive does with values that operators gave."""

    def derive(
        self,
        operators: str,
        text: str | Mapping[str, Any] | Selection = "",
        *,
        name: str = "",
        preferred: bool = False,
        follow: bool | None = None,
        mixed: bool = False,
        reason: str = "",
        block: int | None = None,
        progress: Progress | None = None,
        **parameters: Any,
    ) -> Derived:
        """Compute an operator or a chain over what a query finds and store the values of its last operator.

        Parameters
        ----------
        operators : str
            Such as ``"edge_energy"``.
        text : str, mapping or Selection
            Which spectra. What is stored and fresh already is not computed again.
        name : str
            Of the set; by default the operator's. Another chain or other parameters make another set.
        preferred : bool
            Make the set the one that the operator's outputs mean in queries; the first is, until another is chosen.
        follow : bool, optional
            Compute new spectra that meet the query as they come in; False ends that.
        mixed : bool
            Allow references of another origin.
        reason : str
            For the history.
        block : int, optional
            Spectra to a commit.
        progress : callable, optional
            Called as ``progress(name, done, total)``.
        **parameters
            For the operators, as in `apply`.

        Raises
        ------
        InvalidData
            The query finds no spectra that the operator is for.
        """
        from barospec.catalogs import derive

        self._must_be_newest()
        selection = self.query(text) if isinstance(text, str | Mapping) else text
        wanted, selection = self._settled(operators, selection, mixed, parameters)
        if follow and selection.predicates.get("limit"):
            raise CallError("a query with a limit cannot be followed: which spectra are meant changes with each ingest.")
        if name:
            from barospec.archive.store import check_name

            check_name(name, "the name of derived values")
        derive.try_out(selection, wanted)
        store = self._store
        made = derive.define(
            store, wanted, selection.query, name=name, preferred=preferred, follow=follow, reason=reason
        )
        size = derive.check_block(block or derive.BLOCK)
        report = derive.store_values(store, self.location, made, selection, block=size, progress=progress)
        index.publish(store, self.location.head())
        return report

    def _settled(
        self, operators: str, selection: Selection, mixed: bool, parameters: Mapping[str, Any]
    ) -> tuple[Derivation, Selection]:
        """What is to be computed in full, and the spectra that it is defined for."""
        from barospec.archive.apply import needed_channels
        from barospec.archive.derived_chain import settle
        from barospec.archive.operators.chain import parse_chain
        from barospec.archive.operators.registry import find_operator
        from barospec.catalogs.derived_refs import canonical_reference
        from barospec.catalogs.known import known_from
        from barospec.schemas.vocabulary import DATA_NAME

        technique = find_operator(parse_chain(operators)[-1][0]).technique
        kinds = selection.counts()
        if technique and any(not key.startswith(technique) for key in kinds):
            selection = selection.sel(technique=technique)
        if not len(selection):
            found = ", ".join(f"{count} of {key}" for key, count in kinds.items()) or "none"
            raise InvalidData(f"there is nothing to store: the query finds {found}, {operators} is for {technique or 'any'}.")
        key = next(iter(selection.counts()))
        channels = needed_channels(operators, selection.channels(key))
        with find.opened(self.location, selection.snapshot) as (_, connection):
            known = known_from(connection)
            wanted = settle(
                operators,
                ["energy", DATA_NAME[key.split("/")[0]], *channels],
                parameters,
                lambda query: canonical_reference(known, query),
                mixed=mixed,
            )
        return wanted, replace(selection, predicates=dict(selection.predicates))
