"""Bundles and exports: write, import and verify them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barospec._queries import PathLike, QueryMethods
from barospec.catalogs.index import build
from barospec.catalogs.index.known_rows import lookup
from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    from barospec.archive.bundles.reader import BundleReader
    from barospec.archive.exports.common import Exported
    from barospec.archive.ingest.prepared import Prepared
    from barospec.archive.ingest.report import IngestReport
    from barospec.archive.store.known_row import ExistingRow
    from barospec.catalogs.bundles.build import Bundle
    from barospec.catalogs.bundles.verify import VerifiedBundle

Progress = Callable[[str, int, int], None]


def _silent(name: str, done: int, total: int) -> None:
    """Ignore progress."""


class BundleMethods(QueryMethods):
    """Methods of an archive for bundles and exported files."""

    def share(
        self,
        text: str | Mapping[str, Any],
        target: PathLike,
        *,
        derived: str | Sequence[str] = (),
        tag: str = "",
        raw: bool = False,
        paper: PathLike | None = None,
        zipped: bool = False,
        overwrite: bool = False,
        mixed: bool = False,
        progress: Progress = _silent,
    ) -> Bundle:
        """Write the spectra of a query to a sealed bundle; see ``docs/bundles.md``.

        Parameters
        ----------
        text : str or mapping
            A query.
        target : path-like
            A new folder, or a file ending in ``.zip``.
        derived : str or sequence of str
            Operators or chains whose values are included, separated by commas: ``"edge_energy, valence(references='...')"``.
        tag : str
            Create a permanent tag of the snapshot in the archive, and record its name in the bundle.
        raw : bool
            Include recorded channels and file headers, without private fields.
        paper : path-like, optional
            A ``paper.yaml`` to fill in and check.
        zipped : bool
            Write a zip archive.
        overwrite : bool
            Replace an existing bundle.
        mixed : bool
            Allow references of another origin than the spectra.
        progress : callable
            ``progress(name, done, total)``.

        Returns
        -------
        Bundle
            Identifier, counts, excluded fields, and the verdicts on the numbers of the paper.

        Raises
        ------
        CallError, QueryError
            If the query finds nothing, or the call is wrong.
        Conflict
            If the target or the tag exists.
        """
        from barospec.catalogs.bundles.build import Options, share
        from barospec.catalogs.derived.requested import split_chains
        from barospec.catalogs.papers.paper import read_paper

        store = self._store
        selection = self.query(text)
        snapshot = selection.snapshot
        if tag and self.location.tags().get(tag, snapshot) != snapshot:
            raise CallError(f'the tag "{tag}" names another snapshot. Choose another name, or share with --at {tag}.')
        written = next(iter(store.history(snapshot, limit=1))).time
        options = Options(
            derived=split_chains(derived),
            raw=raw,
            mixed=mixed,
            paper=read_paper(Path(paper)) if paper is not None else None,
            tag=tag,
        )
        made = share(
            self.location,
            selection,
            Path(target),
            written,
            self._settings,
            options,
            zipped=zipped,
            overwrite=overwrite,
            progress=progress,
        )
        if tag and tag not in self.location.tags():
            store.tag(tag, snapshot)
        return made

    @property
    def _settings(self) -> Mapping[str, Any]:
        from barospec.archive.store.settings import read_settings

        return read_settings(self._store.read(self.snapshot))

    def import_bundle(
        self, bundle: PathLike, *, replace: bool = False, message: str = "", progress: Progress = _silent
    ) -> IngestReport:
        """Import a bundle into the archive, in one commit: the selected spectra, their inputs and records.

        Parameters
        ----------
        bundle : path-like
            A folder or a zip archive. It is verified first, and refused if anything is wrong.
        replace : bool
            Store data that differ from the archive as a new revision; otherwise they are reported as conflicts.
        message : str
            Commit message.
        progress : callable
            ``progress(name, done, total)``.

        Returns
        -------
        Report
            As for an ingest. Each spectrum keeps its ``spectrum_id`` and records its ``bundle`` and original revision.

        Raises
        ------
        InvalidData
            If the bundle is damaged or hostile; nothing is written then.
        """
        from barospec.archive.bundles.reader import BundleReader
        from barospec.archive.bundles.safe_unzip import folder_of
        from barospec.archive.ingest.commit import ingest
        from barospec.catalogs.bundles.verify import must_be_whole

        self._must_be_newest()
        store = self._store
        with folder_of(Path(bundle)) as root:
            must_be_whole(root, progress)
            reader = BundleReader.open(root)
            prepared = reader.prepared()
            snapshot = self.snapshot
            known = lookup(build.publish(store, snapshot), [e.spectrum_id for e in prepared.entries], [])
            already = self._reconcile(prepared, reader, {row.spectrum_id: row for row in known}, snapshot)

        def look(snapshot: str, ids: Sequence[str], sources: Sequence[tuple[str, ...]]) -> list[ExistingRow]:
            # Spectra of a bundle are identified by their ids; a file of the same name elsewhere is another file.
            return lookup(build.publish(store, snapshot), ids, [])

        shown = message or f"bundle {reader.identifier}: {reader.described['query']}"
        report = ingest(store, prepared, look, replace=replace, message=shown)
        report.unchanged += already
        if report.snapshot:
            self._finish(store, report.snapshot, follow=True)
            report.pending = self.pending
        return report

    def _reconcile(
        self, prepared: Prepared, reader: BundleReader, known: Mapping[str, ExistingRow], snapshot: str
    ) -> int:
        """Recognize spectra that the archive has, although the bundle excludes channels and private fields."""
        from barospec.archive.bundles.redact import Policy
        from barospec.archive.ingest.commit import check_number
        from barospec.archive.ingest.models import fingerprint, read_models
        from barospec.catalogs.bundles.records import structure_records

        sealed, settings = reader.sealed(), {"private": reader.private}
        for entry in prepared.entries:
            row = known.get(entry.spectrum_id)
            if row is None:
                continue
            policy = Policy(settings)
            for name in policy.fields:
                policy.learn(name, [row.columns.get(name)])
            for name, value in row.columns.items():
                given = entry.columns.get(name)
                clean = policy.file_name if name in ("source_file", "run_sheet") else policy.text
                hidden = name in policy.fields and given is None
                if hidden or (isinstance(value, str) and given != value and clean(value) == given):
                    entry.columns[name] = value
            digest = bytes.fromhex(sealed.get(entry.spectrum_id, ""))
            if digest and check_number(digest) == row.content:
                entry.content = digest
        stated = {str(record["structure_id"]): record for record in reader.records("structures")}
        with self.connection() as connection:
            held = {row["structure_id"]: row for row in structure_records(connection, sorted(stated), [])}
        same = {
            name
            for name, row in held.items()
            if Policy(settings).clean(row) | _OWN_RECORD == stated[name] | _OWN_RECORD
        }
        # The archive's fingerprint covers the sheet of a model, which may contain more than is stored and shared.
        models = {record.model_id: fingerprint(record) for record in read_models(self._store.read(snapshot))}
        before = len(prepared.structures) + len(prepared.models)
        prepared.structures = [record for record in prepared.structures if record.structure_id not in same]
        prepared.models = [r for r in prepared.models if models.get(r.model_id) != fingerprint(r)]
        return before - len(prepared.structures) - len(prepared.models)

    def export(
        self,
        text: str | Mapping[str, Any],
        folder: PathLike,
        *,
        format: str = "xdi",
        overwrite: bool = False,
        progress: Progress = _silent,
    ) -> Exported:
        """Write the spectra of a query to files for other tools.

        Parameters
        ----------
        text : str or mapping
            A query.
        folder : path-like
            Folder for the files; created if it does not exist.
        format : str
            ``xdi``, ``athena``, ``nxxas`` or ``csv``.
        overwrite : bool
            Replace existing files of the same name.
        progress : callable
            ``progress(name, done, total)``.

        Returns
        -------
        Exported
            Files, and spectra that could not be written, with reasons.
        """
        from barospec.catalogs.bundles.export import export

        return export(self.query(text), Path(folder), format, self._settings, overwrite=overwrite, progress=progress)


# Fields that differ between two archives with the same structure.
_OWN_RECORD: dict[str, Any] = {"revision": 0, "source_sha256": "", "run_sheet": "", "origin": "", "bonds": []}


def verify_bundle(path: PathLike, *, recompute: bool = False, progress: Progress = _silent) -> VerifiedBundle:
    """Verify every byte and rule of a bundle; with `recompute` also compute every derived value again.

    Parameters
    ----------
    path : path-like
        A folder or a zip archive.
    recompute : bool
        Compute derived values again and compare.
    progress : callable
        ``progress(name, done, total)``.
    """
    from barospec.catalogs.bundles.verify import verify

    return verify(Path(path), recompute=recompute, progress=progress)
