"""Derived values: computed once, stored with their provenance, searchable like conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from barospec._queries import QueryMethods
from barospec.catalogs.index import build
from barospec.catalogs.index.open import opened
from barospec.schemas.errors import BarospecError, CallError, InvalidData, NotFound, did_you_mean

if TYPE_CHECKING:
    from barospec.archive.derived.store import Derivation
    from barospec.catalogs.derived.store_values import Derived, Progress
    from barospec.catalogs.selection.selection import Selection


class DerivedMethods(QueryMethods):
    """Methods of an archive that store and refresh outputs of operators."""

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
        """Compute an operator or a chain for the spectra of a query and store the outputs of its last operator.

        Parameters
        ----------
        operators : str
            Such as ``"edge_energy"``.
        text : str, mapping or Selection
            Query of the spectra. Values that are stored and fresh are not computed again.
        name : str
            Name of the set; by default the name of the operator. Another chain or other parameters need another set.
        preferred : bool
            Use this set for the plain name of the operator in queries. By default the first set is used.
        follow : bool, optional
            Also compute spectra that are added later and match the query; False stops this.
        mixed : bool
            Allow references of another origin.
        reason : str
            Recorded in the history.
        block : int, optional
            Spectra per commit.
        progress : callable, optional
            Called as ``progress(name, done, total)``.
        **parameters
            For the operators, as in `apply`.

        Raises
        ------
        InvalidData
            If the query finds no spectra of the operator's technique.
        """
        from barospec.catalogs.derived import store_values

        self._must_be_newest()
        selection = self.query(text) if isinstance(text, str | Mapping) else text
        wanted, query, selection = self._settled(operators, selection, mixed, parameters)
        if follow and selection.predicates.get("limit"):
            raise CallError(
                "a query with a limit cannot be followed, because each ingest changes which spectra it finds. Remove the limit."
            )
        if name:
            from barospec.archive.store.repository import check_name

            check_name(name, "the name of derived values")
        store_values.try_out(selection, wanted)
        store = self._store
        made = store_values.define(store, wanted, query, name=name, preferred=preferred, follow=follow, reason=reason)
        size = store_values.check_block(block or store_values.BLOCK)
        report = store_values.store_values(store, self.location, made, selection, block=size, progress=progress)
        self._finish(store, self.location.head())
        return report

    def _settled(
        self, operators: str, selection: Selection, mixed: bool, parameters: Mapping[str, Any]
    ) -> tuple[Derivation, str, Selection]:
        """Return the complete chain, the canonical query, and the spectra of the operator's technique."""
        from barospec.archive.compute.spectra import needed_channels
        from barospec.archive.derived.canonical_chain import canonical_chain
        from barospec.archive.operators.chain.execute import parse_chain
        from barospec.archive.operators.registry import find_operator
        from barospec.catalogs.index.references import canonical_reference
        from barospec.catalogs.query.resolve.archive_schema import known_from
        from barospec.catalogs.selection.saved_queries import canonical_text
        from barospec.schemas.vocabulary import DATA_NAME

        technique = find_operator(parse_chain(operators)[-1][0]).technique
        asked, kinds, narrower = selection.query, selection.counts(), {}
        if technique and any(not key.startswith(technique) for key in kinds):
            narrower = {"technique": technique}
            selection = selection.sel(**narrower)
        if not len(selection):
            found = ", ".join(f"{count} of {key}" for key, count in kinds.items()) or "none"
            raise InvalidData(
                f"nothing to store: the query finds {found}, but {operators} needs {technique or 'any technique'}."
            )
        key = next(iter(selection.counts()))
        channels = needed_channels(operators, selection.channels(key))
        with opened(self.location, selection.snapshot) as (_, connection):
            known = known_from(connection)
            query = canonical_text(known, asked, **narrower)
            wanted = canonical_chain(
                operators,
                ["energy", DATA_NAME[key.split("/")[0]], *channels],
                parameters,
                lambda query: canonical_reference(known, query),
                mixed=mixed,
            )
        return wanted, query, selection

    def derive_runs(
        self,
        method: str,
        operators: str,
        text: str | Mapping[str, Any] | Selection = "",
        *,
        against: str = "pressure",
        output: str | None = None,
        name: str = "",
        follow: bool | None = None,
        mixed: bool = False,
        reason: str = "",
        progress: Progress | None = None,
        **parameters: Any,
    ) -> Derived:
        """Fit the output of an operator along a condition for each run; store slopes or breakpoints as values of runs.

        Parameters
        ----------
        method : {"line", "breakpoint"}
            As in `catalogs.series.along`.
        operators : str
            Such as ``"edge_energy"``.
        text : str, mapping or Selection
            Query of the spectra; spectra of one run, sample and kind are fitted together.
        against : str
            Numeric field, such as ``"temperature"``.
        output : str, optional
            Output of the last operator; its first by default.
        name : str
            Name of the set; by default made from its output, such as ``edge_energy-slope``.
        follow : bool, optional
            Fit a run again when spectra are added to it; False stops this.
        mixed, reason, progress, **parameters
            As in `derive`.

        Returns
        -------
        Derived
            Number of runs fitted, and number of runs without a result.
        """
        from barospec.catalogs.derived import run_sets, store_values

        self._must_be_newest()
        selection = self.query(text) if isinstance(text, str | Mapping) else text
        wanted, query, selection = self._settled(operators, selection, mixed, parameters)
        if selection.predicates.get("limit"):
            raise CallError("values of runs need all spectra of a run. Remove the limit from the query.")
        store_values.try_out(selection, wanted)
        store, technique = self._store, next(iter(selection.counts())).split("/")[0]
        row = run_sets.define(
            store, self.location, wanted, query,
            method=method, against=against, output=output, technique=technique, name=name, follow=follow, reason=reason,
        )  # fmt: skip
        return self._fit(row, progress, stale=True, missing=True)

    def _fit(self, row: Mapping[str, Any], progress: Progress | None, *, stale: bool, missing: bool) -> Derived:
        """Fit the runs of a set that need it, and publish the index."""
        report = self._fit_due(row, progress, stale=stale, missing=missing)
        self._finish(self._store, self.location.head())
        return report

    def _fit_due(self, row: Mapping[str, Any], progress: Progress | None, *, stale: bool, missing: bool) -> Derived:
        from barospec.catalogs.derived import run_sets

        snapshot = self.location.head()
        entries = run_sets.due(self.location, snapshot, row, stale=stale, missing=missing)
        return run_sets.store_runs(self._store, self.location, row, entries, snapshot, progress)

    def _sets_of_runs(self) -> dict[str, dict[str, Any]]:
        from barospec.catalogs.index.series import sets_of

        with opened(self.location, None) as (_, connection):
            return {str(row["name"]): row for row in sets_of(connection, dropped=True)}

    def derivations(self, name: str = "") -> list[dict[str, Any]]:
        """Return the sets of derived values, or one of them, with the numbers of fresh, stale, failed and missing values.

        Returns
        -------
        list of dict
            ``name``, ``of`` (spectra or runs, the objects counted), ``field`` (name of its first output in queries), ``fresh`` (with a value), ``failed`` (computed without a
            result), ``stale``, ``because`` (reasons with counts), ``missing`` (spectra that match its queries and were
            never computed), ``preferred``, ``follow``, ``chain``, ``references``, ``queries``, ``author``, ``time``.
        """
        from barospec.catalogs.derived.sets import describe

        rows = describe(self.location, self.snapshot)
        if name and not any(row["name"] == name for row in rows):
            known = [row["name"] for row in rows]
            hint = did_you_mean(name, known) or (f" Stored: {', '.join(known)}." if known else " None are stored.")
            raise NotFound(f'no derived values are stored as "{name}".{hint}')
        return [row for row in rows if name in ("", row["name"])]

    def refresh(
        self,
        name: str = "",
        text: str | Mapping[str, Any] = "",
        *,
        missing: bool = False,
        block: int | None = None,
        progress: Progress | None = None,
    ) -> list[Derived]:
        """Recompute stale values, in blocks that are committed one by one.

        Parameters
        ----------
        name : str
            Name of a set. Default: all sets.
        text : str
            Recompute only spectra that this query finds; values of runs do not change then.
        missing : bool
            Also compute spectra that match the queries of a set and never had a value.
        block, progress
            As in `derive`.

        Returns
        -------
        list of Derived
            Report of each set.
        """
        from barospec.archive.derived.store import find_derivation, read_derivations
        from barospec.catalogs.derived import store_values
        from barospec.catalogs.derived.refresh import refresh

        self._must_be_newest()
        store = self._store
        build.publish(store, self.location.head())
        root = store.read(self.location.head())
        runs = self._sets_of_runs()
        if name in runs:
            return [self._fit(runs[name], progress, stale=True, missing=missing)]
        known = [find_derivation(root, name)] if name else read_derivations(root).values()
        within = self.query(text, include=["bad"]) if text else None
        size = store_values.check_block(block or store_values.BLOCK)
        reports = [
            refresh(store, self.location, each, within=within, missing=missing, block=size, progress=progress)
            for each in known
            if each.status == "active"
        ]
        self._finish(store, self.location.head())
        if not name and within is None and not self.pending:
            active = [row for row in runs.values() if row["status"] == "active"]
            reports += [self._fit(row, progress, stale=True, missing=missing) for row in active]
        return reports

    def change_derivation(
        self,
        name: str,
        *,
        preferred: bool | None = None,
        follow: bool | None = None,
        status: str | None = None,
        reason: str = "",
    ) -> None:
        """Change the role of a set, in one commit; its values do not change.

        Parameters
        ----------
        name : str
        preferred : bool, optional
            Use this set for the plain name of the operator in queries.
        follow : bool, optional
            Also compute spectra that are added later and match its queries.
        status : {"active", "dropped"}, optional
            Queries do not use a dropped set; computing the same values again restores it.
        reason : str
            Recorded in the history.
        """
        from barospec.catalogs.derived import run_sets, store_values

        self._must_be_newest()
        store = self._store
        if name in self._sets_of_runs():
            if preferred is not None:
                raise CallError(f"{name} is a set of runs: the first set of a kind has the plain name and keeps it.")
            snapshot = run_sets.change(store, name, follow=follow, status=status, reason=reason)
        else:
            snapshot = store_values.change(
                store, name, preferred=preferred, follow=follow, status=status, reason=reason
            )
        if snapshot:
            self._finish(store, snapshot)

    def why(self, spectrum_id: str, name: str) -> dict[str, Any]:
        """Return the provenance of a stored value of a spectrum as a W3C PROV record.

        Parameters
        ----------
        spectrum_id : str
            A unique beginning is enough.
        name : str
            A derived field, such as ``edge_energy`` or ``edge_energy[fraction=0.5]``.
        """
        from barospec.catalogs.derived.provenance import provenance
        from barospec.catalogs.query.resolve.archive_schema import known_from

        identifier = self.identify(spectrum_id)
        with opened(self.location, self.at) as (snapshot, connection):
            return provenance(connection, known_from(connection), identifier, name, snapshot)

    def recompute(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Compute a record of `why` again, on the snapshot that it was computed from.

        Returns
        -------
        dict
            ``outputs`` by name; ``same_bits``; ``difference``, the largest relative difference from a stored number;
            ``agrees``, True if it is at most 1e-12, which other versions of the software can cause;
            ``changed``, changes of operators, software or platform since then, which explain a difference.

        Raises
        ------
        NotFound
            If the snapshot is no longer in the archive.
        """
        from barospec.catalogs.derived.recompute import recompute

        return recompute(self.location, record)

    def follow(self, snapshot: str) -> list[str]:
        """Compute the values of new spectra for the sets that follow; return what could not be computed."""
        from barospec._after_commit import catch_up

        shown = catch_up(self._store, self.location, snapshot)
        for row in self._sets_of_runs().values():
            if row["follow"] and row["status"] == "active":
                try:
                    self._fit_due(row, None, stale=True, missing=True)
                    build.publish(self._store, self.location.head())
                except BarospecError as error:
                    shown.append(f"{row['name']} was not fitted with the new spectra: {error}")
        return shown
