"""The archive as Python sees it: one class whose methods are the command line's verbs.

The only place that joins layers: ingest then publish the index; query then apply. Heavy imports are inside
methods, so that a query never pays for what it does not use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barospec.archive.head import Location, locate
from barospec.catalogs import find, index
from barospec.schemas.errors import CallError, NotFound
from barospec.schemas.vocabulary import BY_NAME, SPECTRUM_TERMS

if TYPE_CHECKING:
    import xarray as xr

    from barospec.archive.ingest import Report
    from barospec.archive.merge import MergeReport
    from barospec.archive.prepare import Prepared
    from barospec.archive.store import Commit, Store
    from barospec.catalogs.answer import Answer
    from barospec.catalogs.model_selection import ModelSelection
    from barospec.catalogs.saved import SavedQuery
    from barospec.catalogs.selection import Selection

PathLike = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]


class Archive:
    """One archive, at its newest snapshot or at a given one.

    Parameters
    ----------
    path : path-like
        The archive's folder.
    at : str, optional
        A tag, a snapshot or a date (UTC): answer as of then. Without it every call sees the newest snapshot.
    """

    def __init__(self, path: PathLike, at: str | None = None) -> None:
        self.location: Location = locate(path)
        self.at = at

    @classmethod
    def create(cls, path: PathLike, *, title: str = "") -> Archive:
        """Make an empty archive at `path`, a folder that is absent or empty."""
        from barospec.archive.store import Store

        store = Store.create(path, title=title)
        index.publish(store, store.location.head())
        return cls(path)

    def __repr__(self) -> str:
        return f"<barospec archive {self.location.root} at {self.at or 'the newest snapshot'}>"

    @property
    def snapshot(self) -> str:
        """The snapshot that answers."""
        return find.snapshot_of(self.location, self.at)

    @property
    def _store(self) -> Store:
        from barospec.archive.store import Store

        return Store(self.location)

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A read-only DuckDB connection to the index of this snapshot."""
        with find.opened(self.location, self.at) as (_, connection):
            yield connection

    # Find

    @contextmanager
    def ask(self, text: str | Mapping[str, Any] = "", **options: Any) -> Iterator[Answer]:
        """Ask in words; the answer streams its rows while the block lasts.

        See ``docs/query-language.md`` for the language, and `catalogs.answer.ask` for the options.
        """
        from barospec.catalogs.answer import ask

        with self.connection() as connection:
            yield ask(connection, text, **options)

    def query(self, text: str | Mapping[str, Any] = "", **conditions: Any) -> Selection:
        """The spectra that a query finds, as a selection to compute with.

        Parameters
        ----------
        text : str
            Such as ``"Ni K spectra above 14 GPa below 80 K"``; empty for all.
        **conditions
            Further conditions by field: ``run=["run-2", "run-3"]``, ``pressure=slice(14, None)``, ``temperature="< 80 K"``.

        Raises
        ------
        QueryError
            The text cannot be understood; the message has the place and what would be valid.
        """
        return find.select(self.location, self.at, text, **conditions)

    def runs(self, text: str = "") -> list[dict[str, Any]]:
        """The runs, each with its spectra, samples, edges and ranges; `text` narrows them ("above 14 GPa")."""
        with self.ask(f"runs {text}".strip()) as answer:
            return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def save(
        self,
        name: str,
        text: str | Mapping[str, Any],
        *,
        reason: str = "",
        replace: bool = False,
        **conditions: Any,
    ) -> SavedQuery:
        """Save a query under a name, in a commit of its own; ``@name`` then stands for it in every query.

        Parameters
        ----------
        name : str
            Letters, digits, ``_`` and ``-``.
        text : str
            The query; `conditions` join it as in `query`.
        reason : str
            For the history.
        replace : bool
            Give another meaning to a name that is in use.
        """
        from barospec.catalogs.saved import save

        self._must_be_newest()
        record, snapshot = save(self._store, self._look, name, text, reason=reason, replacing=replace, **conditions)
        if snapshot:
            index.publish(self._store, snapshot)
        return record

    def unsave(self, name: str, *, reason: str = "") -> SavedQuery:
        """Remove a saved query, in a commit of its own; earlier snapshots keep it."""
        from barospec.catalogs.saved import remove

        self._must_be_newest()
        record, snapshot = remove(self._store, self._look, name, reason=reason)
        if snapshot:
            index.publish(self._store, snapshot)
        return record

    def saved(self, *, history: bool = False) -> list[SavedQuery]:
        """The saved queries by name; with `history` also what they were before, and the removed ones."""
        from barospec.catalogs.saved import saved_queries

        with self.connection() as connection:
            return saved_queries(connection, history=history)

    @contextmanager
    def _look(self, snapshot: str) -> Iterator[Any]:
        with index.connect(index.publish(self._store, snapshot)) as connection:
            yield connection

    def _must_be_newest(self) -> None:
        if self.at is not None:
            raise CallError("an archive opened at an earlier state cannot be written; open it without at.")

    def fields(self) -> list[dict[str, Any]]:
        """Every field that can be searched, with unit, meaning, and count, range or commonest values here."""
        with self.connection() as connection:
            return index.describe_fields(connection)

    def identify(self, beginning: str) -> str:
        """The whole spectrum_id that begins so.

        Raises NotFound when there is none or more than one.
        """
        wanted = beginning.strip().lower()
        with self.connection() as connection:
            found = index.values(
                connection,
                "SELECT DISTINCT spectrum_id FROM spectra WHERE starts_with(spectrum_id, ?) LIMIT 4",
                [wanted],
            )
        if not wanted or not found:
            raise NotFound(f'no spectrum_id begins with "{beginning}". `barospec query` lists them.')
        if len(found) > 1:
            raise NotFound(
                f'"{beginning}" begins several: {", ".join(str(row[0]) for row in found)}. Write more of it.'
            )
        return str(found[0][0])

    def show(self, spectrum_id: str) -> dict[str, Any]:
        """All that is known about a spectrum: fields, the file's own header, revisions and events.

        Returns
        -------
        dict
            ``spectrum`` (field -> value), ``units``, ``header``, ``revisions``, ``events``, ``channels``, ``snapshot``.
        """
        from barospec.archive.layout import array, spectra_group
        from barospec.schemas.vocabulary import CHANNELS

        identifier = self.identify(spectrum_id)
        snapshot = self.snapshot
        with self.connection() as connection:
            names = [term.name for term in SPECTRUM_TERMS]
            rows = index.dicts(
                connection, "SELECT * FROM spectra WHERE spectrum_id = ? ORDER BY revision DESC", [identifier]
            )
            events = index.dicts(connection, "SELECT * FROM events WHERE subject = ? ORDER BY time", [identifier])
        newest = rows[0]
        root = self._store.read(snapshot)
        group = spectra_group(root, newest["grp"])
        header = ""
        if newest["header"] is not None:
            header = str(array(root, "tables/headers/text")[int(newest["header"])])
        return {
            "snapshot": snapshot,
            "spectrum": {name: newest[name] for name in names if newest[name] is not None},
            "units": {name: BY_NAME[name].unit for name in names if BY_NAME[name].unit and newest[name] is not None},
            "header": header,
            "channels": [name for name in CHANNELS if name in group],
            "revisions": [
                {key: row[key] for key in ("revision", "status", "ingested", "source_file", "source_sha256")}
                for row in rows
            ],
            "events": events,
        }

    def curve(self, spectrum_id: str) -> tuple[Any, Any]:
        """Energy (eV) and curve of one spectrum, each of shape (n,), without padding."""
        dataset = self._one(spectrum_id)
        data = next(name for name in ("mu", "intensity") if name in dataset)
        count = int(dataset["point_count"].item())
        return dataset["energy"].values[0, :count], dataset[data].values[0, :count]

    def _one(self, spectrum_id: str) -> xr.Dataset:
        import xarray as xr

        identifier = self.identify(spectrum_id)
        selection = self.query(f'spectrum_id = "{identifier}"')
        if not len(selection):
            raise NotFound(f"{identifier} is not active (withdrawn).")
        dataset = selection.to_xarray()
        assert isinstance(dataset, xr.Dataset)
        return dataset

    # Compute

    def apply(self, operators: str, text: str | Mapping[str, Any] = "", **parameters: Any) -> xr.Dataset | xr.DataTree:
        """Run an operator or a chain lazily over what a query finds. See `Selection.apply`."""
        return self.query(text).apply(operators, **parameters)

    # Models

    def models(self, text: str = "") -> ModelSelection:
        """The models that a query finds, such as ``"La4Ni3O10 above 40 GPa"`` or ``"with J_ZZ > 0.5 eV"``."""
        from barospec.archive.modelstore import read_models
        from barospec.catalogs.model_selection import ModelSelection

        question = text if re.search(r"\bmodels?\b", text) else f"models {text}".strip()
        with self.ask(question, columns=["model_id"]) as answer:
            if answer.noun != "models":
                raise CallError(f"the query is about {answer.noun}, not about models.")
            found, query, snapshot = [str(row[0]) for row in answer.rows], answer.canonical, answer.snapshot
        return ModelSelection(
            str(self.location.root), snapshot, query, tuple(read_models(self._store.read(snapshot), found))
        )

    def together(self, text: str) -> xr.DataTree:
        """Spectra and models that meet the same conditions, as one tree: ``/spectra/...`` and ``/models``.

        Raises QueryError for a condition that only one of them has, such as an edge.
        """
        import xarray as xr

        spectra, models = self.query(text), self.models(text)
        tree: dict[str, xr.Dataset] = {"/models": models.to_xarray()} if len(models) else {}
        for key in spectra.counts():
            part = spectra.sel(technique=key.split("/")[0]).to_xarray()
            tree[f"/spectra/{key}"] = part if isinstance(part, xr.Dataset) else part[key].to_dataset()
        return xr.DataTree.from_dict(tree, name="together")

    def store_output(self, dataset: xr.Dataset, message: str = "") -> str:
        """Keep an output of `ModelSelection.apply` in the archive, in one commit; returns the entry's name."""
        from barospec.archive.layout import Writer
        from barospec.archive.modelstore import store_output
        from barospec.archive.store import microseconds

        store = self._store
        with store.transaction("apply") as work:
            entry = store_output(Writer(work.root, work.changes), dataset, microseconds())
            work.message = message or f"{entry} of {dataset.sizes['model']} models stored"
        if work.snapshot:
            index.publish(store, work.snapshot)
        return entry

    def output(self, entry: str) -> xr.Dataset:
        """A stored output of models, lazily."""
        from barospec.archive.modelstore import read_output

        return read_output(self._store.read(self.snapshot), entry)

    # Put in

    def prepare(
        self, paths: Sequence[PathLike], settings: Sequence[str] = (), progress: Progress | None = None
    ) -> Prepared:
        """Read run sheets and files without writing anything; `settings` are ``FIELD=VALUE`` texts."""
        return prepare(paths, settings, progress)

    def ingest(
        self,
        paths: Sequence[PathLike],
        settings: Sequence[str] = (),
        *,
        replace: bool = False,
        strict: bool = False,
        message: str = "",
        progress: Progress | None = None,
    ) -> Report:
        """Put run sheets or files into the archive in one atomic commit, and publish its index.

        Parameters
        ----------
        paths : sequence of path-like
            Run sheets, files, or folders of them.
        settings : sequence of str
            ``FIELD=VALUE`` for files that no run sheet describes.
        replace : bool
            Take what contradicts the archive as a new revision; otherwise it is reported as a conflict.
        strict : bool
            Write nothing if anything is refused.
        message : str
            For the history.
        progress : callable, optional
            Called as ``progress(name, done, total)``.

        Returns
        -------
        Report
            Counts, the new snapshot, and every problem with its place.
        """
        self._must_be_newest()
        return self.take(prepare(paths, settings, progress), replace=replace, strict=strict, message=message)

    def take(self, prepared: Prepared, *, replace: bool = False, strict: bool = False, message: str = "") -> Report:
        """Write what `prepare` gave, in one commit, and publish its index. Parameters as in `ingest`."""
        from barospec.archive.ingest import Known, ingest

        self._must_be_newest()
        store = self._store

        def known(snapshot: str, ids: Sequence[str], sources: Sequence[tuple[str, ...]]) -> list[Known]:
            return index.lookup(index.publish(store, snapshot), ids, sources)

        report = ingest(store, prepared, known, replace=replace, strict=strict, message=message)
        if report.snapshot:
            index.publish(store, report.snapshot)
        return report

    def watch(
        self,
        folder: PathLike,
        sheet: PathLike | None = None,
        settings: Sequence[str] = (),
        *,
        replace: bool = False,
        settle: float = 10.0,
        every: float = 10.0,
    ) -> Iterator[Report]:
        """Put in what a measurement writes into a folder, as it comes; see `archive.watch.Watch`.

        Parameters
        ----------
        folder : path-like
            Where files appear; it may vanish and come back.
        sheet : path-like, optional
            The run sheet, read again when it changes. Without one, `settings` describe all files.
        settings : sequence of str
            ``FIELD=VALUE``.
        replace : bool
            Take what contradicts the archive as a new revision.
        settle : float
            Seconds that a file must rest before it is read.
        every : float
            Seconds between two commits at least.

        Yields
        ------
        Report
            One after each look at the folder, mostly empty. Stop asking to stop watching.
        """
        from barospec.archive.prepare import parse_settings
        from barospec.archive.watch import Watch

        self._must_be_newest()
        return Watch(
            Path(folder),
            self.take,
            sheet=None if sheet is None else Path(sheet),
            settings=parse_settings(settings),
            replace=replace,
            settle=settle,
            every=every,
        ).reports()

    def merge(
        self,
        text: str | Mapping[str, Any] = "",
        *,
        pressure: float = 0.05,
        temperature: float = 1.0,
        dry_run: bool = False,
        message: str = "",
    ) -> MergeReport:
        """Merge the repeats at each point among the spectra that a query finds, in one commit.

        Parameters
        ----------
        text : str
            Such as ``"run-2 above 10 GPa"``.
        pressure, temperature : float
            How far, in GPa and K, a repeat may lie from the first of its point.
        dry_run : bool
            Only say what would be merged.
        message : str
            For the history.

        Returns
        -------
        MergeReport
            Each point with its parents. Parents stay, and are hidden unless scans are asked for.
        """
        from barospec.archive.merge import Repeat, merge_repeats, repeats_from

        self._must_be_newest()
        store = self._store

        def repeats(snapshot: str) -> list[Repeat]:
            index.publish(store, snapshot)
            selection = find.select(self.location, snapshot, text, scans=True)
            ids = selection.columns(["spectrum_id"])["spectrum_id"].tolist()
            wanted = "SELECT * FROM spectra WHERE status = 'active' AND spectrum_id IN (SELECT unnest(?::VARCHAR[]))"
            with find.opened(self.location, snapshot) as (_, connection):
                return repeats_from(index.dicts(connection, wanted, [ids]))

        report = merge_repeats(
            store,
            repeats,
            lambda snapshot, ids, sources: index.lookup(index.publish(store, snapshot), ids, sources),
            pressure=pressure,
            temperature=temperature,
            dry_run=dry_run,
            message=message,
        )
        if report.snapshot:
            index.publish(store, report.snapshot)
        return report

    # Versions and care

    def log(self, limit: int | None = None) -> list[Commit]:
        """The history, newest first."""
        return list(self._store.history(self.snapshot, limit=limit))

    def tags(self) -> dict[str, str]:
        """Tag name -> snapshot."""
        return self.location.tags()

    def rebuild_index(self) -> Path:
        """Make the index of this snapshot anew from the arrays."""
        return index.publish(self._store, self.snapshot, rebuild=True)

    def catalog(self, path: PathLike, entries: Mapping[str, str] | None = None, *, pin: bool = False) -> dict[str, str]:
        """Write an intake catalog of named selections; returns name -> query.

        Parameters
        ----------
        path : path-like
            The catalog file; the archive is named relative to it.
        entries : mapping of str to str, optional
            Name -> query. Without it: everything, each kind of spectrum, each run, and the saved queries that find
            spectra.
        pin : bool
            Hold the entries at this snapshot instead of following the archive.
        """
        from barospec.catalogs.answer import spectra_of
        from barospec.catalogs.intake_catalog import slug, write_catalog
        from barospec.catalogs.saved import SELECTABLE

        target = Path(path)
        if entries is None:
            entries = {"all_spectra": "spectra"}
            with self.connection() as connection:
                for (key,) in index.values(
                    connection, "SELECT DISTINCT grp FROM spectra WHERE status = 'active' ORDER BY 1"
                ):
                    technique, kind = key.split("/")
                    edge = kind.replace("-", " ")
                    entries[slug(f"{technique} {edge}")] = f"{technique} {edge}"
                for (run,) in index.values(
                    connection, "SELECT DISTINCT run FROM spectra WHERE status = 'active' ORDER BY 1"
                ):
                    entries[slug(f"run {run}" if not run.startswith("run") else run)] = f'run = "{run}"'
            for saved in self.saved():
                if saved.noun in SELECTABLE:
                    name = slug(saved.name)
                    entries[f"saved_{name}" if name in entries else name] = f"@{saved.name}"
        with self.connection() as connection:
            understood = {name: spectra_of(connection, text) for name, text in entries.items()}
        place = os.path.relpath(self.location.root.resolve(), target.resolve().parent)
        write_catalog(
            target,
            Path(place).as_posix(),
            {name: (item.canonical, item.predicates) for name, item in understood.items()},
            title=f"selections of {self.location.root.name}",
            at=self.snapshot if pin else None,
        )
        return {name: item.canonical for name, item in understood.items()}


def prepare(paths: Sequence[PathLike], settings: Sequence[str] = (), progress: Progress | None = None) -> Prepared:
    """Read run sheets and files without an archive: what ``barospec check`` does."""
    from barospec.archive.prepare import parse_settings
    from barospec.archive.prepare import prepare as prepare_paths

    if not paths:
        raise CallError("name at least one run sheet, file or folder.")
    return prepare_paths([Path(path) for path in paths], parse_settings(settings), progress)


def open(path: PathLike, at: str | None = None) -> Archive:
    """Open an archive.

    Parameters
    ----------
    path : path-like
        Its folder.
    at : str, optional
        A tag, a snapshot or a date (UTC).

    Raises
    ------
    NotFound
        There is no archive at `path`; the message names the next command.
    """
    return Archive(path, at=at)
