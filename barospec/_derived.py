"""Derived values: computed once, stored with all that made them, searched like anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from barospec._queries import Finding
from barospec.catalogs.index import build, open
from barospec.schemas.errors import BarospecError, CallError, InvalidData, NotFound, did_you_mean

if TYPE_CHECKING:
    from barospec.archive.derived.store import Derivation
    from barospec.catalogs.derived.store_values import Derived, Progress
    from barospec.catalogs.selection.selection import Selection


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
        from barospec.catalogs.derived import store_values

        self._must_be_newest()
        selection = self.query(text) if isinstance(text, str | Mapping) else text
        wanted, query, selection = self._settled(operators, selection, mixed, parameters)
        if follow and selection.predicates.get("limit"):
            raise CallError(
                "a query with a limit cannot be followed: which spectra are meant changes with each ingest."
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
        """What is to be computed in full, for what in canonical form, and the spectra of the operator's technique."""
        from barospec.archive.compute.spectra import needed_channels
        from barospec.archive.derived.canonical_chain import settle
        from barospec.archive.operators.chain import parse_chain
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
                f"there is nothing to store: the query finds {found}, {operators} is for {technique or 'any'}."
            )
        key = next(iter(selection.counts()))
        channels = needed_channels(operators, selection.channels(key))
        with open.opened(self.location, selection.snapshot) as (_, connection):
            known = known_from(connection)
            query = canonical_text(known, asked, **narrower)
            wanted = settle(
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
        """Fit what an operator gives along a condition, run by run, and store slopes or breakpoints as values of the runs.

        Parameters
        ----------
        method : {"line", "breakpoint"}
            As in `catalogs.series`.
        operators : str
            Such as ``"edge_energy"``.
        text : str, mapping or Selection
            Which spectra; those of one run, sample and kind are fitted together.
        against : str
            A field of numbers, such as ``"temperature"``.
        output : str, optional
            Which number of the last operator; its first by default.
        name : str
            Of the set; by default from what it gives, such as ``edge_energy-slope``.
        follow : bool, optional
            Fit a run anew as spectra of it come in; False ends that.
        mixed, reason, progress, **parameters
            As in `derive`.

        Returns
        -------
        Derived
            How many runs were fitted, and for how many no number came out.
        """
        from barospec.catalogs.derived import run_sets, store_values

        self._must_be_newest()
        selection = self.query(text) if isinstance(text, str | Mapping) else text
        wanted, query, selection = self._settled(operators, selection, mixed, parameters)
        if selection.predicates.get("limit"):
            raise CallError("values of runs are of all their spectra; leave the limit out of the query.")
        store_values.try_out(selection, wanted)
        store, technique = self._store, next(iter(selection.counts())).split("/")[0]
        row = run_sets.define(
            store, self.location, wanted, query,
            method=method, against=against, output=output, technique=technique, name=name, follow=follow, reason=reason,
        )  # fmt: skip
        return self._fit(row, progress, stale=True, missing=True)

    def _fit(self, row: Mapping[str, Any], progress: Progress | None, *, stale: bool, missing: bool) -> Derived:
        """Fit the runs of a set that are due, and publish the index."""
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

        with open.opened(self.location, None) as (_, connection):
            return {str(row["name"]): row for row in sets_of(connection, dropped=True)}

    def derivations(self, name: str = "") -> list[dict[str, Any]]:
        """The sets of derived values, or one: what each is, and how many values are fresh, stale, failed or missing.

        Returns
        -------
        list of dict
            ``name``, ``of`` (spectra or runs, which the counts are of), ``field`` (how its first output is written in queries), ``fresh`` (with a value), ``failed`` (computed, and
            there was none), ``stale``, ``because`` (why, with counts), ``missing`` (spectra that meet its queries and were
            never computed), ``preferred``, ``follow``, ``chain``, ``references``, ``queries``, ``author``, ``time``.
        """
        from barospec.catalogs.derived.sets import describe

        rows = describe(self.location, self.snapshot)
        if name and not any(row["name"] == name for row in rows):
            known = [row["name"] for row in rows]
            hint = did_you_mean(name, known) or (f" There are {', '.join(known)}." if known else " None is stored.")
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
        """Compute anew exactly what is stale, in blocks that are committed one by one.

        Parameters
        ----------
        name : str
            A set; all without it.
        text : str
            Only spectra that this query finds; values of runs are left alone then.
        missing : bool
            Also spectra that meet a set's queries and never had a value.
        block, progress
            As in `derive`.

        Returns
        -------
        list of Derived
            What was done for each set.
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
        """Change what a set is used for, in a commit of its own; its values stay as they are.

        Parameters
        ----------
        name : str
        preferred : bool, optional
            Make it the set that its operator's outputs mean in queries.
        follow : bool, optional
            Compute new spectra that meet its queries as they come in.
        status : {"active", "dropped"}, optional
            A dropped set is searched no more; computing the same again brings it back.
        reason : str
            For the history.
        """
        from barospec.catalogs.derived import run_sets, store_values

        self._must_be_newest()
        store = self._store
        if name in self._sets_of_runs():
            if preferred is not None:
                raise CallError(f"{name} is of runs: the first set of a kind has the plain name, and keeps it.")
            snapshot = run_sets.change(store, name, follow=follow, status=status, reason=reason)
        else:
            snapshot = store_values.change(
                store, name, preferred=preferred, follow=follow, status=status, reason=reason
            )
        if snapshot:
            self._finish(store, snapshot)

    def why(self, spectrum_id: str, name: str) -> dict[str, Any]:
        """Where a stored value of a spectrum comes from: a record in the words of W3C PROV.

        Parameters
        ----------
        spectrum_id : str
            Or a unique beginning of it.
        name : str
            A derived field, such as ``edge_energy`` or ``edge_energy[fraction=0.5]``.
        """
        from barospec.catalogs.derived.provenance import provenance
        from barospec.catalogs.query.resolve.archive_schema import known_from

        identifier = self.identify(spectrum_id)
        with open.opened(self.location, self.at) as (snapshot, connection):
            return provenance(connection, known_from(connection), identifier, name, snapshot)

    def recompute(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Run a record of `why` again, on the snapshot that it was computed from.

        Returns
        -------
        dict
            ``outputs`` by name; ``same_bits``; ``difference``, the largest of a number from the stored one, relative to it;
            ``agrees``, whether that is at most 1e-12, what other versions of the software may make of the same formulas;
            ``changed``, what is not as it was then (operators, software, platform), which explains a difference.

        Raises
        ------
        NotFound
            The snapshot is not in the archive any more.
        """
        from barospec.catalogs.derived.recompute import recompute

        return recompute(self.location, record)

    def follow(self, snapshot: str) -> list[str]:
        """Compute what a commit brought for the sets that follow, and what earlier ones left; return what could not be done."""
        from barospec._after_commit import catch_up

        told = catch_up(self._store, self.location, snapshot)
        for row in self._sets_of_runs().values():
            if row["follow"] and row["status"] == "active":
                try:
                    self._fit_due(row, None, stale=True, missing=True)
                    build.publish(self._store, self.location.head())
                except BarospecError as error:
                    told.append(f"{row['name']} was not fitted with what came in: {error}")
        return told
